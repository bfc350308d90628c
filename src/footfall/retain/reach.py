"""Reach: which persons can be written to, by which contact; each step of a journey needs its own channel's."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from footfall.ports import Engine
from footfall.retain.listed import keyed
from footfall.retain.statements import text


def ways(engine: Engine, people: pa.Array, needs: Sequence[str], suppressed: pa.Table, consent: str) -> pa.Table:
    """Each person with each of these contacts by which they can be written to: person, needs, address, timezone,
    language, name. suppressed: ``who``, the list of whom not as ``listed.whom_not`` gives it."""
    found = []
    for each in dict.fromkeys(needs):
        rows = engine.query(
            text("reachable"),
            {"consent": consent},
            given_people=keyed(addressed(engine, people, each)),
            given_suppressed=suppressed,
        )
        found.append(rows.append_column("needs", pa.repeat(each, rows.num_rows)))
    return pa.concat_tables(found)


def out_of_way(entries: pa.Table, ways: pa.Table) -> pa.ChunkedArray:
    """Of entries (person, needs), whose persons can be written to, but not by what their step needs; bool."""
    by_step = pc.is_in(_keys(entries), value_set=_keys(ways).combine_chunks())
    by_any = pc.is_in(entries["person"], value_set=ways["person"].combine_chunks())
    return pc.and_not(by_any, by_step)


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["person"], pc.fill_null(rows["needs"], ""), "\x1f")


def addressed(engine: Engine, people: pa.Array, needs: str) -> pa.Table:
    """person, address: the contact that a channel needs; the person's own identifier where it needs none."""
    given = pa.table({"person": people})
    if needs == "person":
        return given.append_column("address", pc.utf8_slice_codeunits(people, 2))
    column = {"email": "c.email", "phone": "c.phone"}[needs]
    return engine.query(
        f"SELECT g.person, {column} AS address FROM given g LEFT JOIN contacts c ON c.person = g.person",  # noqa: S608
        None,
        given=given,
    )
