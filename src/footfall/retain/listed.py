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
    """person, address, with listed_as: the key of the address on the list, null where there is none."""
    addresses = people["address"].combine_chunks()
    small = pc.utf8_lower(pc.utf8_trim_whitespace(addresses))
    # Plain ASCII is most, and its key are small letters; the rest is looked at one by one.
    plain = pc.and_(pc.string_is_ascii(small), pc.match_substring(small, "@"))
    plain = pc.fill_null(pc.and_(plain, pc.invert(pc.match_substring(small, "xn--"))), True)
    rest = [listed_as(address) for address in addresses.filter(pc.invert(plain)).to_pylist()]
    keys = pc.replace_with_mask(small, pc.invert(plain), pa.array(rest, small.type))
    return people.append_column("listed_as", keys)
