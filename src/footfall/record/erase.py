"""Erase a person: their events leave the lake, the rows kept aside and the disk. It cannot be undone.

Live decisions made for the person become nobody's: visitor and context go, what was drawn and reserved stays, so that
propensities and capacities remain true. What is kept elsewhere of the same person is erased by whoever keeps it
(``elsewhere``), and the rows kept aside are, before the log: a run that was cut off can then be made again, since the
log still tells the ids.

Who is erased follows identity (design: an anonymous event belongs to the latest user identified on its
device):

    a user id       the user, the ids that aliases merge with it, every device that no other user was
    identified on,
                    and of shared devices what belongs to the user
    a device id     all events of the device; where a single person was identified on it, that person as above

The days touched are written anew in one transaction of the store, which purges the old files. Where other
people's events name an id in their properties, as a JSON text of its own, it becomes ``"erased"``; ids inside
longer texts, such as addresses of pages, are not looked for there. Not touched: ids in footfall.toml
(exclude_visitors), backups, and the files that were imported; importing such a file again brings the person back. Facts
hold no ids, and are counted anew by themselves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from footfall.errors import InputError, WorkspaceError
from footfall.ports import Engine, Store
from footfall.record import quarantine
from footfall.record.queries import text

ERASED = '"erased"'
_MOST_USERS = 10_000  # more ids than that are no person, but a sender that aliases everybody to one id


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: events, rows kept aside, the days written anew, and whose they were.

    ``ids``: the ids that are gone. ``shared``: devices of the person that other people use too; only the
    person's own events of these are gone. ``others``: users of the given device who stay, because several
    people were identified on it. ``decisions`` were made nobody's; ``elsewhere``: rows by the place they were kept in.
    """

    events: int
    rejects: int
    days: tuple[date, ...]
    ids: tuple[str, ...]
    shared: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    decisions: int = 0
    elsewhere: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Person:
    users: frozenset[str]
    devices: frozenset[str]
    shared: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self.users | self.devices))


def forget(
    store: Store,
    engine: Engine,
    visitor: str,
    quarantine_dir: Path | None = None,
    progress: Callable[[float, float], None] | None = None,
    *,
    decisions: Store | None = None,
    elsewhere: Callable[[Sequence[str], Sequence[str]], AbstractContextManager[Mapping[str, int]]] | None = None,
) -> Erased:
    """Erase ``visitor`` (a visitor id or user id) and all of the same person, under the store's lock.

    progress: told (days done, days in all). decisions: the log of live decisions. elsewhere: given the person's ids,
    and devices that others use, too, erases what else is kept of the person, and tells rows by place; held until the
    log is clean, too. Raises InputError for an empty id; WorkspaceError where the workspace cannot be written, in which
    case either nothing or all of the log's part has happened; then run it again.
    """
    if not visitor:
        raise InputError("no id to erase", "name a visitor id or a user id")
    with store.lock():
        store.attach(engine)
        person = _resolve(engine, visitor)
        _find(engine, person)
        drawn = _forget_decisions(decisions, engine, person) if decisions is not None else 0
        with elsewhere(person.ids, person.shared) if elsewhere is not None else nullcontext({}) as other:
            if quarantine_dir is not None:
                quarantine.recover(quarantine_dir, store.has_batch)  # copies that a killed import left
            rejects = _clean_quarantine(quarantine_dir, person.ids) if quarantine_dir is not None else 0
            found = engine.query(text("erase_days"), None, tokens=_tokens(person.ids)).to_pylist()
            days = tuple(row["day"] for row in found)
            if days:
                _rewrite(store, engine, days, "erase_kept", "properties", person, progress)
            store.attach(engine)
    events = sum(row["events"] for row in found)
    return Erased(events, rejects, days, person.ids, person.shared, person.others, drawn, other)


def _forget_decisions(decisions: Store, engine: Engine, person: _Person) -> int:
    """Make the person's decisions nobody's; how many."""
    if decisions.version() < 0:
        return 0
    with decisions.lock():
        decisions.attach(engine)
        tables = {"users": _table(person.users), "devices": _table(person.devices)}
        engine.query(text("erase_decisions_find"), None, **tables)
        found = engine.query(text("erase_decisions_days"), None, tokens=_tokens(person.ids)).to_pylist()
        if found:
            days = [row["day"] for row in found]
            _rewrite(decisions, engine, days, "erase_decisions_kept", "context", person, None)
    return sum(row["decisions"] for row in found)


def _resolve(engine: Engine, visitor: str) -> _Person:
    """Whose ids go: the users merged by aliases, the devices that are theirs alone, those that are shared."""
    on_device = set(_ids(engine.query(text("erase_users_of_device"), {"id": visitor})))
    users = _merged(engine, {visitor})
    strangers = on_device - users
    others: tuple[str, ...] = ()
    if strangers:
        one = _merged(engine, {min(strangers)})
        if strangers <= one:
            users |= one
        else:
            others = tuple(sorted(strangers))
    devices = engine.query(text("erase_devices"), None, users=_table(users)).to_pylist()
    own = {row["id"] for row in devices if not row["shared"]} | {visitor}
    shared = tuple(row["id"] for row in devices if row["shared"] and row["id"] != visitor)
    return _Person(frozenset(users), frozenset(own), shared, others)


def _merged(engine: Engine, users: set[str]) -> set[str]:
    """``users`` and all ids that aliases make one person with them."""
    while True:
        grown = users | set(_ids(engine.query(text("erase_aliases"), None, users=_table(users))))
        if grown == users:
            return users
        if len(grown) > _MOST_USERS:
            raise InputError(
                f"aliases merge more than {_MOST_USERS:,} ids into one person, among them {min(grown)!r}",
                "that is no person; look for a sender that aliases everybody to one id",
            )
        users = grown


def _find(engine: Engine, person: _Person) -> None:
    users = _table(person.users)
    engine.query(text("erase_spans"), None, users=users, shared=_table(person.shared))
    engine.query(text("erase_find"), None, users=users, devices=_table(person.devices))


def _rewrite(
    store: Store,
    engine: Engine,
    days: Sequence[date],
    statement: str,
    told: str,
    person: _Person,
    progress: Callable[[float, float], None] | None,
) -> None:
    """Write days anew from what a statement leaves of each; ``told`` is the column that may name ids."""
    staged = store.staging(f"erase-{uuid4().hex}")
    try:
        for done, day in enumerate(days):
            store.attach(engine, day, day)
            kept = engine.query(text(statement))
            if kept.num_rows:
                folder = staged / f"day={day.isoformat()}"
                folder.mkdir()
                clean = _without_mentions(kept.drop_columns(["day"]), told, person.ids)
                pq.write_table(clean, folder / "part-0.parquet", compression="zstd")
            if progress is not None:
                progress(done + 1, len(days))
        store.replace(days, staged)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise WorkspaceError(
            f"the days cannot be written anew: {error.strerror or error}",
            "check free space and permissions, then run it again; nothing was erased",
        ) from error
    if staged.is_dir() and not any(staged.iterdir()):
        staged.rmdir()  # every event of these days is gone


def _without_mentions(kept: pa.Table, told: str, ids: Iterable[str]) -> pa.Table:
    texts = kept[told]
    for token in _tokens(ids)["token"].to_pylist():
        texts = pc.replace_substring(texts, pattern=token, replacement=ERASED)
    return kept.set_column(kept.schema.get_field_index(told), told, texts)


def _tokens(ids: Iterable[str]) -> pa.Table:
    """The ids as JSON texts, in both spellings of letters beyond ASCII."""
    tokens = {json.dumps(i, ensure_ascii=ascii_only) for i in ids for ascii_only in (True, False)}
    return pa.table({"token": pa.array(sorted(tokens), pa.string())})


def _table(ids: Iterable[str]) -> pa.Table:
    return pa.table({"id": pa.array(sorted(ids), pa.string())})


def _ids(found: pa.Table) -> list[str]:
    ids: list[str] = found["id"].to_pylist()
    return ids


# ---------------------------------------------------------------- rows kept aside

_REJECT_TEXTS = ("raw", "reason")  # columns of record/quarantine.py that come from a row


def _clean_quarantine(directory: Path, ids: Sequence[str]) -> int:
    """Remove rows that hold one of ``ids`` from every file below ``directory``; the rows removed."""
    if not directory.is_dir():
        return 0
    spellings = {s for i in ids for s in (i, json.dumps(i)[1:-1], json.dumps(i, ensure_ascii=False)[1:-1])}
    spellings |= {s.replace('"', '""') for s in spellings}
    # An id counts where it stands by itself: v1 is not found in v12, nor in order-v1.
    pattern = re.compile(r"(?<![\w-])(?:" + "|".join(re.escape(s) for s in sorted(spellings)) + r")(?![\w-])")
    removed = 0
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        try:
            clean = _clean_parquet if path.suffix == ".parquet" else _clean_lines
            removed += clean(path, pattern)
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise WorkspaceError(
                f"{path} cannot be cleaned: {error}",
                "the events are erased; delete this file or mend it, and run it again",
            ) from error
    return removed


def _clean_parquet(path: Path, pattern: re.Pattern[str]) -> int:
    table = pq.read_table(path, partitioning=None)
    texts = [table[name].to_pylist() for name in _REJECT_TEXTS]
    keep = [not any(v is not None and pattern.search(v) for v in row) for row in zip(*texts, strict=True)]
    removed = len(keep) - sum(keep)
    if removed:
        kept = table.filter(pa.array(keep, pa.bool_()))
        _replace(path, lambda to: pq.write_table(kept, to, compression="zstd"))
    return removed


def _clean_lines(path: Path, pattern: re.Pattern[str]) -> int:
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not pattern.search(line.decode("utf-8", errors="replace"))]
    removed = len(lines) - len(kept)
    if removed:
        _replace(path, lambda to: to.write_bytes(b"".join(kept)))
    return removed


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    fresh = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        write(fresh)
        with fresh.open("rb+") as handle:
            os.fsync(handle.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
