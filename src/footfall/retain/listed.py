"""The list of whom not, beside those whom a round may write to."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from footfall.addresses import listed_as, spellings


def whom_not(listed: Iterable[str]) -> pa.Table:
    """who: those on the list, in each spelling that may have been kept of them."""
    return pa.table({"who": pa.array(sorted({one for who in listed for one in spellings(who)}), pa.string())})


def keyed(people: pa.Table) -> pa.Table:
    """person, address, with three more keys of theirs on the list, each null where there is none.

    listed_as: of the address. small, small_id: of a person whose identifier holds an @, with and without its mark, as
    an address would be kept.
    """
    address, person = (people[name].combine_chunks() for name in ("address", "person"))
    nobody = pa.scalar(None, pa.string())
    small = pc.if_else(pc.match_substring(person, "@"), pc.utf8_lower(person), nobody)
    ids = pc.if_else(pc.is_valid(small), pc.utf8_slice_codeunits(person, 2), nobody)
    more = {"listed_as": _keys(address), "small": small, "small_id": _keys(ids)}
    for name, keys in more.items():
        people = people.append_column(name, keys)
    return people


def _keys(addresses: pa.Array) -> pa.Array:
    """``listed_as`` of each."""
    small = pc.utf8_lower(pc.utf8_trim_whitespace(addresses))
    # Plain ASCII is most, and its key are small letters; the rest is looked at one by one.
    plain = pc.and_(pc.string_is_ascii(small), pc.match_substring(small, "@"))
    plain = pc.fill_null(pc.and_(plain, pc.invert(pc.match_substring(small, "xn--"))), True)
    rest = [listed_as(address) for address in addresses.filter(pc.invert(plain)).to_pylist()]
    return pc.replace_with_mask(small, pc.invert(plain), pa.array(rest, small.type))
