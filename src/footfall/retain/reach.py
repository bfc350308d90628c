"""Reach: which persons can be written to, by which contact; each step of a journey needs its own channel's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from footfall.ports import Engine
from footfall.retain.listed import keyed
from footfall.retain.statements import text

NO_ADDRESS = "no address"  # the log tells none, and nobody took one back: it may tell one yet
NOBODY = pa.table({"who": pa.array([], pa.string())})  # a list of whom not that is empty


@dataclass(frozen=True, slots=True)
class Reach:
    """ways: each person with each contact by which they can be written to: person, needs, address, timezone, language,
    name. unwilling: person, who can be written to by none, since they or an operator said so."""

    ways: pa.Table
    unwilling: pa.Table


def reach(engine: Engine, people: pa.Array, needs: Sequence[str], suppressed: pa.Table, consent: str) -> Reach:
    """Who of these persons can be written to by which of these contacts. suppressed: ``who``, the list of whom not as
    ``listed.whom_not`` gives it."""
    looked = pa.concat_tables(
        rows.append_column("needs", pa.repeat(each, rows.num_rows))
        for each in dict.fromkeys(needs)
        for rows in [looked_at(engine, people, each, suppressed, consent)]
    )
    can = pc.is_null(looked["why_not"])
    ways = looked.filter(can).drop_columns("why_not")
    said = pc.unique(looked.filter(pc.not_equal(looked["why_not"], NO_ADDRESS))["person"])
    unwilling = said.filter(pc.invert(pc.is_in(said, value_set=ways["person"].combine_chunks())))
    return Reach(ways, pa.table({"person": unwilling}))


def looked_at(engine: Engine, people: pa.Array, needs: str, suppressed: pa.Table, consent: str) -> pa.Table:
    """person, address, timezone, language, name, why_not (null: they can be written to) of each, by one contact."""
    return engine.query(
        text("reach"),
        {"consent": consent, "no_address": NO_ADDRESS},
        given_people=keyed(_addressed(engine, people, needs)),
        given_suppressed=suppressed,
    )


def out_of_way(entries: pa.Table, ways: pa.Table) -> pa.ChunkedArray:
    """Of entries (person, needs), whose persons can be written to, but not by what their step needs; bool."""
    by_step = pc.is_in(_keys(entries), value_set=_keys(ways).combine_chunks())
    by_any = pc.is_in(entries["person"], value_set=ways["person"].combine_chunks())
    return pc.and_not(by_any, by_step)


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["person"], pc.fill_null(rows["needs"], ""), "\x1f")


def _addressed(engine: Engine, people: pa.Array, needs: str) -> pa.Table:
    """person, address, taken_back: the contact that a channel needs, and whether they said that it is theirs no more;
    the person's own identifier where it needs none."""
    given = pa.table({"person": people})
    if needs == "person":
        given = given.append_column("address", pc.utf8_slice_codeunits(people, 2))
        return given.append_column("taken_back", pa.repeat(False, given.num_rows))
    column = {"email": "c.email", "phone": "c.phone"}[needs]
    return engine.query(
        f"SELECT g.person, {column} AS address, coalesce({column}_taken_back, FALSE) AS taken_back "  # noqa: S608
        "FROM given g LEFT JOIN contacts c ON c.person = g.person",
        None,
        given=given,
    )
