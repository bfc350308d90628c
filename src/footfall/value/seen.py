"""The log as it stands beside what of it is counted: which batches are new, and whether the others are as they were."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from footfall.ports import Engine, Store
from footfall.value.identity import Held, held
from footfall.value.statements import text


class Counted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of the log facts were counted from."""

    version: int
    batches: dict[str, int]  # rows of each
    files: frozenset[str]  # short hashes of the paths that were counted
    rewrites: tuple[int, int]  # of the log: the versions that last replaced rows, and last joined files
    held: Held


class Seen(NamedTuple):
    """What the log holds now, and the new of it. ``days``: first and last of each batch that was looked at."""

    counted: Counted
    days: Mapping[str, tuple[date, date]]
    last_old_day: date

    def new(self, then: Counted) -> list[str]:
        """Batches that are not counted yet."""
        return sorted(self.counted.batches.keys() - then.batches.keys())


def look(store: Store, engine: Engine, then: Counted | None) -> Seen:
    """Attach the log to ``engine`` and see what it holds.

    Where nothing but files came since ``then``, no others are looked into.
    """
    version, files, rewrites = _attached(store, engine)
    if then is None or rewrites != then.rewrites or not then.files <= files.keys():
        rows = engine.query(text("batches"), {"first_day": date.min, "last_day": date.max}).to_pylist()
        known, has = dict[str, int](), held(engine)
    else:
        new = [day for name, day in files.items() if name not in then.files]
        span = {"first_day": min(new, default=date.max), "last_day": max(new, default=date.min)}
        found = engine.query(text("batches"), span).to_pylist()
        rows = [row for row in found if row["batch_id"] not in then.batches]
        known, more = then.batches, held(engine, **span)
        has = Held(then.held.users or more.users, then.held.visit_ids or more.visit_ids)
    batches = known | {row["batch_id"]: row["events"] for row in rows}
    days = {row["batch_id"]: (row["first_day"], row["last_day"]) for row in rows}
    old = [last for batch, (_, last) in days.items() if then is not None and batch in then.batches]
    old += [day for name, day in files.items() if then is not None and name in then.files]
    counted = Counted(version=version, batches=batches, files=frozenset(files), rewrites=rewrites, held=has)
    return Seen(counted, days, max(old, default=date.min))


def holds_all(now: Counted, then: Counted) -> bool:
    """Whether the log still holds all that was counted, as it was.

    Files that are gone were joined, if we joined some since; another tool may have replaced them otherwise.
    """
    if now.rewrites[0] != then.rewrites[0] or not then.batches.items() <= now.batches.items():
        return False
    return then.files <= now.files or now.rewrites[1] > then.rewrites[1]


def _attached(store: Store, engine: Engine) -> tuple[int, dict[str, date], tuple[int, int]]:
    """Attach the log; its version, hash and day of each file, and its rewrites, which are those of that version."""
    while True:
        version = store.version()
        store.attach(engine)
        files, rewrites = {_short(path): day for path, day in store.file_days().items()}, store.rewrites()
        if store.version() == version:
            return version, files, rewrites


def _short(path: str) -> str:
    """A hash of a file's batch, day and name: a workspace that is moved, or named by another path, keeps its facts."""
    return hashlib.sha256("/".join(Path(path).parts[-3:]).encode()).hexdigest()[:16]
