"""Overtaken: what came after messages that wait, and what becomes of them by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from footfall.ports import Engine, Entries, Outbox
from footfall.retain.reach import NO_ADDRESS, NOBODY, looked_at
from footfall.retain.rules import language
from footfall.retain.statements import text

if TYPE_CHECKING:
    from footfall.retain.rounds import Setting

SCHEMA = pa.schema([(name, pa.string()) for name in ("message_id", "address", "language", "context", "reason")])
ADDRESSLESS = "waits for an address: the log tells none"


def overtaken(
    engine: Engine,
    entries: Entries,
    outbox: Outbox,
    setting: Setting,
    members: Mapping[str, pa.Array],
    held: Counter[tuple[str, str]],
) -> pa.Table:
    """Which messages that wait are no longer to go (reason), go to another address by now or otherwise, or have none
    (address is null): ``SCHEMA``. The list of whom not is asked when they are handed over.

    members: journey -> persons of its audience, where that was asked: not of a paused one. held: takes up how many of
    each journey wait for an address.
    """
    waiting, found = outbox.waiting(), []
    for name in pc.unique(waiting["journey"]).to_pylist():
        if name not in setting.journeys:
            continue
        mine = waiting.filter(pc.equal(waiting["journey"], name))
        rows = entries.all(name)
        mine = mine.join(rows.select(["person", "entry", "since"]), ["person", "entry"], join_type="left outer")
        first = rows.filter(pc.equal(rows["entry"], 1))  # whose arm is the person's, whoever signed in since
        held_out = first.filter(pc.equal(first["arm"], "holdout"))["person"].combine_chunks()
        mine = mine.append_column("is_held_out", pc.is_in(mine["person"], value_set=held_out))
        ends = setting.journeys[name].exit
        mine = mine.append_column("ends_with_purchase", pa.repeat("bought" in ends, mine.num_rows))
        left = pa.repeat(False, mine.num_rows)
        if "left" in ends and name in members:
            left = pc.invert(pc.is_in(mine["person"], value_set=members[name]))
        mine = mine.append_column("has_left", left)
        for channel in pc.unique(mine["channel"]).to_pylist():
            if channel not in setting.address_of:
                continue
            by = mine.filter(pc.equal(mine["channel"], channel)).combine_chunks()
            people = pc.unique(by["person"])
            rows = engine.query(
                text("overtaken"),
                {"no_address": NO_ADDRESS, "language": setting.language},
                given_waiting=by,
                given_reach=looked_at(engine, people, setting.address_of[channel], NOBODY, setting.consent),
                given_spoken=_spoken(engine, setting.language),
            )
            found.append(rows.select(SCHEMA.names).cast(SCHEMA))
            waits = pc.and_(pc.is_null(rows["reason"]), pc.is_null(rows["address"]))
            held[name, "letters wait for an address"] += int(pc.sum(waits).as_py() or 0)
    return pa.concat_tables(found) if found else SCHEMA.empty_table()


def _spoken(engine: Engine, otherwise: str) -> pa.Table:
    """told, language: what contacts say that they read, and the templates' language for it."""
    told = engine.query("SELECT DISTINCT language AS told FROM contacts WHERE language IS NOT NULL")["told"].to_pylist()
    spoken = [language(one, otherwise) for one in told]
    return pa.table({"told": pa.array(told, pa.string()), "language": pa.array(spoken, pa.string())})
