"""Up-to-date facts of a workspace: kept on disk, brought up to date by what new batches change.

    <directory>/facts.json            what is counted: batches, settings, and the folder that holds the tables
    <directory>/<folder>/*.arrow      the tables of FactTables, one file each; money-*.arrow for the next update
    <directory>/lock                  held while they are brought up to date

``facts.json`` is replaced in one step after its folder is whole, so a crash at any line leaves the state before, and
a reader sees the one or the other. All of it can be deleted: it is counted anew from the log.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import pyarrow as pa

from footfall.config import Config
from footfall.disk import held, sync, writing
from footfall.ports import Engine, Store
from footfall.value import arrow_files, kept_money, touched
from footfall.value.fact_tables import FactTables
from footfall.value.recipes import recipe
from footfall.value.relations import Progress, Rules, count
from footfall.value.seen import Counted, Seen, holds_all, look
from footfall.value.statements import fingerprint

__all__ = ["FactTables", "Rules", "Update", "facts", "forget", "rules_of", "update"]

LARGEST_UPDATE = 0.2  # above this share of new rows, counting all anew is faster


@dataclass(frozen=True, slots=True)
class Update:
    """Facts, and how they came: read as they were, brought up to date, or counted anew; ``new_events`` counted."""

    facts: FactTables
    how: Literal["read", "updated", "counted"]
    new_events: int


class _Money(NamedTuple):
    """Orders and refunds for the next update: ``new`` ones, beside what ``folder`` has in ``parts`` parts."""

    new: pa.Table
    folder: str = ""
    parts: int = 0
    kept: pa.Table | None = None


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    folder: str
    settings: str
    counted: Counted
    money_parts: int = 0  # of orders and refunds kept for the next update; 0 where they are not


def rules_of(config: Config, providers: Mapping[str, Mapping[str, str]] | None = None) -> Rules:
    """The rules that a workspace's settings and its providers (provider_id -> {category, name}) amount to."""
    told = {key: row["category"] for key, row in (providers or {}).items() if row.get("category")}
    return Rules(
        recipe=recipe(config.workspace.recipe),
        segment=config.value.segment,
        window_days=config.value.window_days,
        attribution=config.value.attribution,
        exclude_visitors=config.value.exclude_visitors,
        categories=told,
    )


def facts(
    store: Store,
    engine: Engine,
    config: Config,
    directory: Path,
    progress: Progress | None = None,
    providers: Mapping[str, Mapping[str, str]] | None = None,
) -> FactTables:
    """Up-to-date facts of the log.

    directory: where facts are kept. progress: told the name of each step. providers: provider_id -> {category, name}
    (``State.providers()``); its categories go before those that events tell.
    """
    rules = rules_of(config, providers)
    return update(store, engine, rules, directory, progress).facts.with_categories(dict(rules.categories or {}))


def update(
    store: Store,
    engine: Engine,
    rules: Rules,
    directory: Path,
    progress: Progress | None = None,
    largest_update: float = LARGEST_UPDATE,
) -> Update:
    """Bring the facts in ``directory`` up to date with the log, and return them.

    New batches are added by what they change, if they are at most ``largest_update`` of the log; the result equals
    counting all anew, bit for bit. Other settings, another version of the .sql files, and rows of the log that were
    replaced (by an erasure, or a file read anew) mean counting anew; files that were joined do not. Raises
    WorkspaceError where the directory cannot be written.
    """
    settings = fingerprint(rules)
    kept = _current(store, directory, settings)
    if kept is None:
        with held(directory / "lock"):
            kept = _current(store, directory, settings)  # another process may just have done it
            if kept is None:
                return _brought_up(store, engine, rules, directory, settings, progress, largest_update)
    return Update(kept, "read", 0)


def _brought_up(
    store: Store,
    engine: Engine,
    rules: Rules,
    directory: Path,
    settings: str,
    progress: Progress | None,
    largest_update: float,
) -> Update:
    state = _state(directory)
    then = state if state is not None and state.settings == settings else None
    now = look(store, engine, then.counted if then else None)
    found = None if then is None else _updated(engine, rules, directory, now, then, progress, largest_update)
    if found is None:
        has = now.counted.held
        anew = Update(count(engine, rules, progress, has), "counted", sum(now.counted.batches.values()))
        money = kept_money.counted(engine, rules)
        found = anew, None if money is None else _Money(money)
    _keep(directory, found[0].facts, _State(f"facts-{uuid.uuid4().hex[:12]}", settings, now.counted), found[1])
    return found[0]


def _updated(
    engine: Engine,
    rules: Rules,
    directory: Path,
    now: Seen,
    then: _State,
    progress: Progress | None,
    largest_update: float,
) -> tuple[Update, _Money | None] | None:
    """The facts on disk with what new batches change; None where all has to be counted anew."""
    if not holds_all(now.counted, then.counted):
        return None
    known = _tables(directory, then)
    batches, new = now.counted.batches, now.new(then.counted)
    added = sum(batches[batch] for batch in new)
    if known is None or added > largest_update * sum(batches.values()):
        return None
    try:
        money = kept_money.read(directory / then.folder, then.money_parts)
    except (FileNotFoundError, pa.ArrowException):
        return None
    if not new:
        same = None if money is None else _Money(money.slice(0, 0), then.folder, then.money_parts, money)
        return Update(known, "read", 0), same
    span = touched.Span(
        last_old_day=now.last_old_day,
        first_new_day=min(now.days[batch][0] for batch in new),
        last_new_day=max(now.days[batch][1] for batch in new),
    )
    changed = touched.change(engine, rules, new, span, now.counted.held, progress or (lambda _: None), money)
    if changed is None:
        return None
    found = Update(known + changed, "updated", added)
    if money is None or money.num_rows > kept_money.LARGEST_KEPT:
        return found, None
    return found, _Money(kept_money.added(engine, rules), then.folder, then.money_parts, money)


def forget(directory: Path) -> None:
    """Remove all rows about persons that stand beside the facts; for when somebody is erased from the log.

    They are there again after counting anew, which files that an erasure replaced lead to.
    """
    if directory.is_dir():
        with held(directory / "lock"), _writing(directory):
            for folder in directory.glob("facts-*"):
                kept_money.forget(folder)


# ---------------------------------------------------------------- on disk


def _current(store: Store, directory: Path, settings: str) -> FactTables | None:
    state = _state(directory)
    if state is None or state.settings != settings or state.counted.version != store.version():
        return None
    return _tables(directory, state)


def _state(directory: Path) -> _State | None:
    """What is counted; None where nothing is, or where the file is damaged: then all is counted anew."""
    try:
        return msgspec.json.decode((directory / "facts.json").read_bytes(), type=_State)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _tables(directory: Path, state: _State) -> FactTables | None:
    """The tables on disk; None where a newer state has just replaced them, or where they are damaged."""
    try:
        folder = directory / state.folder
        return FactTables(
            **{
                name: arrow_files.read(folder / f"{name}.arrow").cast(empty.schema)
                for name, empty in FactTables.empty().tables().items()
            }
        )
    except (FileNotFoundError, ValueError, pa.ArrowException):
        return None


def _keep(directory: Path, facts: FactTables, state: _State, money: _Money | None) -> None:
    old = _state(directory)
    with _writing(directory):
        folder = directory / state.folder
        folder.mkdir(parents=True)
        for name, table in facts.tables().items():
            arrow_files.write(folder / f"{name}.arrow", table)
            sync(folder / f"{name}.arrow")
        if money is not None:
            parts = kept_money.write(folder, money.new, directory / money.folder, money.parts, money.kept)
            sync(folder / f"money-{parts - 1}.arrow")
            state = msgspec.structs.replace(state, money_parts=parts)
        sync(folder)
        draft = folder / "facts.json"
        draft.write_bytes(msgspec.json.encode(state))
        sync(draft)
        draft.replace(directory / "facts.json")
        sync(directory)
        for other in directory.glob("facts-*"):  # the lock is held, so what is neither new nor in use is left over
            if other.name not in (state.folder, old.folder if old else ""):
                shutil.rmtree(other, ignore_errors=True)
        if old is not None and old.folder != state.folder:  # kept for who reads its tables just now
            kept_money.forget(directory / old.folder)


def _writing(directory: Path) -> AbstractContextManager[None]:
    way_out = "check free space and permissions, then run it again; the log is not touched"
    return writing(f"facts in {directory}", way_out)
