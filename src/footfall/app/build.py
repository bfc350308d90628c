"""Build: the only place where adapters are named. A folder goes in, a ``Workspace`` with its parts comes out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from footfall import config as settings
from footfall import zones
from footfall.config import Config
from footfall.disk import check_place
from footfall.errors import ConfigError, WorkspaceError
from footfall.model import ImportSummary
from footfall.ports import Clock, Entries, Inbox, Keys, Leadership, Ledger, Offers, Outbox, State, Store

if TYPE_CHECKING:
    from footfall.stores.engine import DuckEngine


class SystemClock:
    """The machine's clock; FOOTFALL_NOW (ISO, UTC) stands in for it in demonstrations and tests."""

    @property
    def fixed(self) -> bool:
        """Whether FOOTFALL_NOW stands in for the time."""
        return bool(os.environ.get("FOOTFALL_NOW"))

    def now(self) -> datetime:
        """Now, in UTC."""
        fixed = os.environ.get("FOOTFALL_NOW")
        if fixed:
            try:
                moment = datetime.fromisoformat(fixed)
            except ValueError:
                raise ConfigError(
                    f"FOOTFALL_NOW={fixed!r} is no ISO date and time", "for example 2026-11-22T08:00:00"
                ) from None
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        return datetime.now(UTC)


@dataclass(frozen=True)
class Workspace:
    """A folder with settings, lake and state, and the parts that work on it."""

    directory: Path
    config: Config
    clock: Clock
    answer_s: float = 0.0  # after which a state that does not answer is taken for away; 0: it may take what it needs

    @cached_property
    def store(self) -> Store:
        """The event lake."""
        from footfall.stores.lake import Lake

        store = Lake(self.lake / "events")
        self._hold_fixed(store)
        return store

    def _hold_fixed(self, store: Store) -> None:
        """Refuse another currency or zone than the log was taken in with: amounts and days in it are stored by them."""
        path = self.lake / "workspace.json"
        now = {"currency": self.config.workspace.currency, "timezone": self.config.workspace.timezone}
        if path.exists():
            try:
                held = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                held = now
            changed = [key for key in now if held.get(key, now[key]) != now[key]]
            if not changed:
                return
            if store.version() >= 0:
                key = changed[0]
                raise ConfigError(
                    f"footfall.toml: [workspace] {key} is {now[key]!r}, but the log was taken in with {held[key]!r}",
                    f"put {key} = {held[key]!r} back, or make another workspace and import the files into it",
                )
        if os.access(path.parent, os.W_OK):
            path.write_text(json.dumps(now), encoding="utf-8")

    @cached_property
    def state(self) -> State:
        """Plans and providers."""
        from footfall.stores.state import SqlState

        return SqlState(self.state_url, self.answer_s)

    @property
    def state_url(self) -> str:
        """Where the state is, with its password: never to be shown or logged."""
        url = settings.state_url_from_environment() or self.config.state.url
        if url:
            return url
        folder = self.directory / "state"
        folder.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{folder / 'footfall.db'}"

    @property
    def has_state_elsewhere(self) -> bool:
        """Whether the state is not in the folder: a backup holds none of it."""
        return bool(settings.state_url_from_environment() or self.config.state.url)

    @property
    def shared(self) -> bool:
        """Whether other hosts may share the state or the lake."""
        return self.has_state_elsewhere or bool(self.config.state.lake)

    @property
    def shown_state(self) -> str:
        """Where the state is, as it may be shown: without a password."""
        from footfall.stores.schema import place

        return place(self.state_url)

    @property
    def lake(self) -> Path:
        """The folder of the log; several hosts may share one."""
        return self.directory / (self.config.state.lake or "lake")

    @property
    def common(self) -> Path:
        """Where plans' inputs are kept: with the log where hosts share it, so that each can explain them."""
        return self.lake if self.config.state.lake else self.directory

    @cached_property
    def decisions(self) -> Store:
        """The log of decisions: a lake of its own, seen as the view ``decisions``."""
        from footfall.model import DECISION_COLUMNS
        from footfall.stores.lake import Lake

        return Lake(self.lake / "decisions", columns=DECISION_COLUMNS, view="decisions")

    @cached_property
    def inbox(self) -> Inbox:
        """What this host acknowledged and has not moved to the lake yet."""
        from footfall.stores.inbox import SqliteInbox

        return SqliteInbox(self.directory / "inbox" / "inbox.db")

    @cached_property
    def ledger(self) -> Ledger:
        """Capacity of live decisions, shared by all workers."""
        from footfall.stores.ledger import SqlLedger

        return SqlLedger(self.state_url, self.answer_s)

    @cached_property
    def keys(self) -> Keys:
        """Keys of the service."""
        from footfall.stores.keys import SqlKeys

        return SqlKeys(self.state_url, self.answer_s)

    @cached_property
    def offers(self) -> Offers:
        """Coupons and gifts."""
        from footfall.stores.offers import SqlOffers

        return SqlOffers(self.state_url, self.answer_s)

    @cached_property
    def entries(self) -> Entries:
        """Who is in which journey."""
        from footfall.stores.entries import SqlEntries

        return SqlEntries(self.state_url, self.answer_s)

    @cached_property
    def outbox(self) -> Outbox:
        """Messages before they go."""
        from footfall.stores.outbox import SqlOutbox

        return SqlOutbox(self.state_url, self.answer_s)

    @cached_property
    def leadership(self) -> Leadership:
        """Which of several hosts plans and compacts."""
        from footfall.stores.leader import SqlLeadership

        return SqlLeadership(self.state_url, self.answer_s)

    def open_engine(self) -> DuckEngine:
        """An engine with the workspace's limits, to be closed."""
        from footfall.stores.engine import DuckEngine

        scratch = self.directory / "state" / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        return DuckEngine(self.config.record.memory_mb, self.config.record.threads, scratch)

    @contextmanager
    def engine(self) -> Iterator[DuckEngine]:
        """An engine with the workspace's limits, closed at the end."""
        engine = self.open_engine()
        try:
            yield engine
        finally:
            engine.close()

    @property
    def quarantine(self) -> Path:
        """Where rows are kept aside."""
        return self.directory / "quarantine"

    @property
    def facts_directory(self) -> Path:
        """Where facts are kept between runs; may be deleted at any time."""
        return self.directory / "state" / "facts"

    @property
    def zone(self) -> ZoneInfo:
        """The zone of local days."""
        return zones.zone(self.config.workspace.timezone)

    def today(self) -> date:
        """The local day of now."""
        return self.clock.now().astimezone(self.zone).date()

    def last_day(self) -> date:
        """The last local day with events that is not in the future: the day to value visitors as of."""
        limit = self.today() + timedelta(days=1)
        known = self.store.days()
        days = [day for day in known if day <= limit]
        if not days and known:
            raise WorkspaceError(
                f"the log of {self.directory} lies in the future: it begins on {known[0]}, and today is {self.today()}",
                "`footfall import --list` shows what brought it, and `--remove` takes that out",
            )
        if not days:
            raise WorkspaceError(
                f"the log of {self.directory} is empty", "read events with `footfall import FILE` first"
            )
        return days[-1]

    def last_complete_day(self) -> date:
        """The last day with events that is over: the day to plan from. Where there is only today, today."""
        last = self.last_day()
        earlier = [day for day in self.store.days() if day < self.today()]
        return earlier[-1] if last >= self.today() and earlier else last

    def record(self, frame: object, **options: object) -> ImportSummary:
        """Take in any Arrow-capable data frame, as ``footfall import`` does a file.

        ``options``: event, mapping (field -> column), fixed (field -> value), decimal, time_zone, source.
        """
        from footfall.app import recording

        return recording.record(self, frame, **options)


def open_workspace(directory: Path | str | None = None, clock: Clock | None = None) -> Workspace:
    """Open the workspace in ``directory``, else in FOOTFALL_WORKSPACE, else in the current folder."""
    folder = Path(directory) if directory is not None else settings.workspace_from_environment()
    return Workspace(folder.absolute(), settings.load(folder), clock or SystemClock())


def make_workspace(
    directory: Path | str, overrides: dict[str, dict[str, object]] | None = None, clock: Clock | None = None
) -> Workspace:
    """Make a workspace; WorkspaceError where one is there already.

    ``overrides``: {section: {key: value}} of footfall.toml, for example {"workspace": {"currency": "EUR"}}.
    """
    from footfall.record.money import exponent

    directory = Path(directory)
    text = settings.template(overrides)
    config = settings.parse(text)
    exponent(config.workspace.currency)
    path = directory / settings.FILE_NAME
    if path.exists():
        raise WorkspaceError(
            f"there is a workspace at {directory} already",
            "change its footfall.toml, or choose another folder",
        )
    if directory.exists() and not directory.is_dir():
        raise WorkspaceError(f"{directory} is a file", "choose another folder")
    check_place(directory)
    for folder in ("lake", "quarantine", "state"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return open_workspace(directory, clock)
