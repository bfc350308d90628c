"""Removal: what imports brought, as a list, and one of them taken out of the log again.

The days that it has events on are written anew without them in one transaction of the store, which purges the old
files; a note of that transaction says that the batch is gone (history.py), so that its file counts as never imported.
What is kept aside of it goes, too. Facts are counted anew by themselves. What came through the live service has no file
that would bring it back, and stays.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from footfall.config import Config
from footfall.errors import InputError
from footfall.ports import Clock, Engine, Store
from footfall.record import history, quarantine
from footfall.record.intake import Sessions, new_batch_id, session
from footfall.record.quarantine import Settlement
from footfall.record.relations import sql
from footfall.record.session import Session


@dataclass(frozen=True, slots=True)
class Brought:
    """What one import brought and the log still has. All that the live service took in under one source is one line,
    with ``batch_id`` "". ``imported_at``: when it came first, UTC."""

    source: str
    batch_id: str
    events: int
    first_day: date
    last_day: date
    imported_at: datetime


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken out: the events, the days that they were on, and the batches that they had come in."""

    events: int
    days: tuple[date, ...]
    batch_ids: tuple[str, ...]


def imports(store: Store, engine: Engine) -> tuple[Brought, ...]:
    """Imports whose events are in the log, oldest first."""
    store.attach(engine)
    lines = []
    for row in engine.query(sql("imports")).to_pylist():
        came_by_file = store.has_batch(row["newest"])
        told = row["batches"] if came_by_file else [{"batch_id": "", **row}]
        lines += [
            Brought(
                row["source"], part["batch_id"], part["events"], part["first_day"], part["last_day"],
                part["imported_at"].replace(tzinfo=UTC),
            )
            for part in told
        ]  # fmt: skip
    return tuple(sorted(lines, key=lambda b: (b.imported_at, b.batch_id)))


def remove(
    store: Store, engine: Sessions, config: Config, clock: Clock, named: str, *, quarantine_dir: Path
) -> Removed:
    """Take out what the import ``named`` brought: a batch id, or a source, of which all imports go.

    Importing the file again brings it back. Events that it shared with a later file are in the log once, as the first
    one's, and go with it; importing the later file again adds them. Raises InputError where no import is called so,
    WorkspaceError where the log cannot be written: all stays as it was.
    """
    with session(store, engine, config, clock, quarantine_dir, "point", None, None) as place:
        work = Session(place.cursor)
        store.attach(work)
        work.set("footfall_named", named)
        batches = [str(row[0]) for row in work.rows(sql("named_batches"))]
        _check(store, work, named, batches)
        work.set("footfall_replaces", batches)
        found = work.rows(sql("replaced"))
        batch_id = new_batch_id(int(clock.now().timestamp()))
        staged = store.staging(batch_id)
        kept = quarantine.kept(quarantine_dir)
        contents = {kept[b].content for b in batches if b in kept}
        rejects = quarantine.Writer(quarantine_dir, batch_id, "csv", ",", "")
        try:
            _stay(store, work, [day for day, _ in found], staged)
            rejects.close(Settlement(superseded=tuple(batches), replaced=tuple(sorted(contents))))
            store.replace([day for day, _ in found], staged, batch_id, history.removal_notes(batches))
        except BaseException:
            if not store.has_batch(batch_id):
                rejects.drop()
                shutil.rmtree(staged, ignore_errors=True)
            raise
        rejects.publish()
        if staged.is_dir() and not any(staged.iterdir()):
            staged.rmdir()  # every event of these days is gone
    return Removed(sum(count for _, count in found), tuple(day for day, _ in found), tuple(batches))


def _stay(store: Store, work: Session, days: Sequence[date], staged: Path) -> None:
    """Stage what stays of the days."""
    store.attach(work, days[0], days[-1])
    work.execute(
        "CREATE OR REPLACE TEMPORARY VIEW held AS SELECT * FROM events "
        "WHERE NOT list_contains(getvariable('footfall_replaces'), batch_id)"
    )
    work.set("footfall_touched", list(days))
    work.copy_by_day(sql("beside"), staged)


def _check(store: Store, work: Session, named: str, batches: Sequence[str]) -> None:
    if not batches:
        sources = [str(row[0]) for row in work.rows("SELECT DISTINCT source FROM events WHERE source IS NOT NULL")]
        near = difflib.get_close_matches(named, sources, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(
            f"nothing in the log was imported as {named!r}{hint}",
            "`footfall import --list` shows the sources and batches that are there",
        )
    if not all(map(store.has_batch, batches)):
        raise InputError(
            f"{named!r} came through the live service, and no file could bring it back",
            "leave people out of all counts with [value] exclude_visitors, or erase one with `footfall forget`",
        )
