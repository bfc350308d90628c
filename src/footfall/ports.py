"""The seams, on one page. An adapter implements one of these; ``testing/`` holds the contract it must pass.

Store    where events live            stores/lake.py (Delta on Parquet)
Engine   what runs the .sql files     stores/engine.py (DuckDB)
Inbox    what was acknowledged        stores/inbox.py (SQLite)
State    plans and small records      stores/state.py (SQLAlchemy)
Ledger   capacity of live decisions   stores/ledger.py (SQLAlchemy)
Keys     who may use the service      stores/keys.py (SQLAlchemy)
Leadership  which host leads          stores/leader.py (SQLAlchemy)
Offers   coupons and gifts            stores/offers.py (SQLAlchemy)
Outbox   messages before they go      stores/outbox.py (SQLAlchemy)
Channel  a way to reach a person      channels/ (SMTP, webhook, chat robots, files)
Clock    what time it is              app/build.py (the system's), testing.FixedClock
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from footfall.model import (
    Allowance,
    Caps,
    Coupon,
    Delivered,
    Held,
    Lead,
    Letter,
    Message,
    MessageStatus,
    Offer,
    OfferCount,
    Pacing,
    Plan,
    PlanStatus,
    Posted,
    Receipt,
    Redemption,
    Refusal,
    ServiceKey,
    Sticky,
)


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """Now, in UTC, aware."""
        ...


class Engine(Protocol):
    """Runs the .sql files, one statement each, in a small common subset of SQL."""

    def query(self, sql: str, params: Mapping[str, object] | None = None, /, **tables: pa.Table) -> pa.Table:
        """Run one statement; ``params`` fill ``$name`` marks, ``tables`` are visible under their names."""
        ...

    def execute(self, sql: str, params: Mapping[str, object] | None = None, /) -> None:
        """Run one statement for its effect (temporary tables and views)."""
        ...

    def close(self) -> None:
        """Give back memory and temporary files."""
        ...


class Store(Protocol):
    """The event lake: appended to in batches, each exactly once; partitioned by local day."""

    def version(self) -> int:
        """Version of the log; -1 before the first batch."""
        ...

    def files(self, first_day: date | None = None, last_day: date | None = None) -> tuple[str, ...]:
        """Parquet files that hold the log, or the part of it within the days, both included."""
        ...

    def file_days(self) -> Mapping[str, date]:
        """The day of each Parquet file that holds the log, by its path; all rows of a file are of one day."""
        ...

    def days(self) -> tuple[date, ...]:
        """Days that have events, ascending."""
        ...

    def attach(self, engine: Engine, first_day: date | None = None, last_day: date | None = None) -> None:
        """Make the log visible to ``engine`` as the view ``events`` (model.EVENT_COLUMNS), empty where it is empty."""
        ...

    def has_batch(self, batch_id: str) -> bool:
        """Whether the batch has been committed."""
        ...

    def staging(self, batch_id: str) -> Path:
        """A fresh folder inside the lake in which to write ``day=YYYY-MM-DD/*.parquet`` before ``commit``."""
        ...

    def commit(
        self,
        batch_id: str,
        staged: Path,
        notes: Mapping[str, str] | None = None,
        applied: tuple[str, int] | None = None,
    ) -> int:
        """Append the staged files as one transaction, once for a batch id; the rows added (0 where it was there).

        ``notes`` are small texts that come into force with the transaction, each under its key. ``applied`` (an
        application, a number) takes the place of the batch id: it is committed once for a number above the last.
        """
        ...

    def applied(self, application: str) -> int | None:
        """The last number that an application's transaction brought."""
        ...

    def replace(
        self, days: Sequence[date], staged: Path, batch_id: str = "", notes: Mapping[str, str] | None = None
    ) -> None:
        """Replace whole days by the staged files in one transaction (erasure, compaction) and purge the old bytes.

        Where the staged files bring a batch, it counts as committed with them, and ``notes`` as in ``commit``.
        """
        ...

    def compact(self, days: Sequence[date], fewest: int = 2) -> int:
        """Join the small files of each day, where there are so many, under ``lock``; the files that were joined.

        The rows stay as they are, and those who attached before may go on reading for some minutes.
        """
        ...

    def rewrites(self) -> tuple[int, int]:
        """(versions of the last transaction that replaced rows, of the last that joined files); -1 where none did."""
        ...

    def note(self, key: str) -> str | None:
        """The newest text that a transaction brought under ``key``."""
        ...

    def lock(self, wait_s: float = 600.0) -> AbstractContextManager[None]:
        """The one writer's lock of this workspace; let go by the system when the process dies."""
        ...


InboxKind = Literal["event", "calls", "reject", "decision"]
"""What a body of the inbox holds, one or more lines: canonical events that passed the checks, JSON objects; requests of
the tracking API whose calls passed them, as they came (``record.tracking.KeptCalls``); events that did not pass, with
what is wrong; decisions."""


class Packed(bytes):
    """A body, or several joined, as ``Inbox.pack`` made them smaller: their parts may be joined as they are."""

    __slots__ = ()


class Inbox(Protocol):
    """What was acknowledged and is not in the lake yet: bodies in the order of their sequence numbers."""

    @property
    def id(self) -> str:
        """A UUID that stays with the inbox: the application id under which the lake knows its sequence numbers."""
        ...

    def append(self, rows: Sequence[tuple[InboxKind, bytes]], sticky: Sequence[Sticky] = ()) -> int:
        """Put rows at the end, all or none, durable on return; the sequence of the last one (0 for none).

        Bodies may be packed already, so that less time is spent here. ``sticky`` are written in the same transaction.
        StorageError where they cannot be written.
        """
        ...

    def pack(self, body: bytes) -> bytes:
        """The body ``Packed``, where that makes it smaller; else as it is."""
        ...

    def read(self, after: int, most_bytes: int) -> Sequence[tuple[int, InboxKind, bytes]]:
        """Rows after a sequence, in order: the first, and those after it with which it is ``most_bytes`` at most."""
        ...

    def delete(self, through: int) -> None:
        """Remove the rows up to this sequence, which is never given again."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Rows that wait, by kind; ``bytes`` of the whole inbox on disk; ``last`` sequence given."""
        ...

    def stuck(self, visitor_id: str, key: str, now: datetime) -> bytes | None:
        """The body that was kept last for this visitor and key, while it holds."""
        ...

    def unstick(self, now: datetime) -> int:
        """Forget what no longer holds, ten thousand at most; how many."""
        ...

    def forget(self, visitors: Sequence[str]) -> int:
        """Erase what visitors were to get again, and the bytes of all rows that are gone; how many choices."""
        ...

    def renew(self) -> str:
        """Take another id: the lake knows higher sequences of this one than were given (a copy was put back)."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class State(Protocol):
    """Plans, providers and small settings."""

    def save_plan(self, plan: Plan) -> Plan:
        """Store a plan under the next version and return it with that version."""
        ...

    def plan(self, version: int | None = None, status: PlanStatus | None = None) -> Plan | None:
        """The plan of that version, else the newest of that status, else the newest."""
        ...

    def plans(self) -> tuple[Plan, ...]:
        """All plans, newest first."""
        ...

    def versions(self) -> Mapping[int, PlanStatus]:
        """version -> status of all plans, newest first; reads no plan, so it may be asked often."""
        ...

    def publish(self, version: int) -> Plan:
        """Make this version the published one and retire the one before; atomic."""
        ...

    def rollback(self) -> Plan:
        """Put the plan back that was in force before this one; again, the one before that. InputError where none is."""
        ...

    def put_providers(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert or update providers (provider_id, category, name); the number stored."""
        ...

    def providers(self) -> Mapping[str, Mapping[str, str]]:
        """provider_id -> {category, name}."""
        ...

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store a small JSON record under a key."""
        ...

    def put_once(self, key: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Store a small JSON record unless there is one under the key; the one that is kept, the same for all."""
        ...

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The record under a key."""
        ...


class Keys(Protocol):
    """Keys of the service, kept as hashes."""

    def create(self, scopes: Sequence[str], name: str, at: datetime) -> tuple[ServiceKey, str]:
        """Make a key; the record and the secret text, which is not kept and cannot be shown again."""
        ...

    def find(self, text: str) -> ServiceKey | None:
        """The key of that secret text, unless it was revoked or never was."""
        ...

    def all(self) -> tuple[ServiceKey, ...]:
        """Every key that was made, revoked ones too, oldest first."""
        ...

    def any(self) -> bool:
        """Whether a key was ever made here."""
        ...

    def revoke(self, prefix: str, at: datetime) -> ServiceKey:
        """End a key; a second time changes nothing. InputError if there is no such key."""
        ...


class Leadership(Protocol):
    """Who of several hosts plans and compacts."""

    def hold(self, holder: str, lease_s: float) -> Lead:
        """Renew the lead of ``holder`` for ``lease_s`` seconds, take it where it is free, else see who has it."""
        ...

    def release(self, holder: str) -> None:
        """Give the lead up at once, where ``holder`` has it."""
        ...


class Ledger(Protocol):
    """Capacity of the day's live decisions, shared by all workers of all hosts; amounts in millionths of a visit.

    A worker enters, renews, takes leases ahead of need and gives back what it did not use. The keeper settles what
    became of decisions, and takes back the leases of workers that are gone. Every method is one transaction.
    """

    def open_day(self, day: date, capacity: Mapping[str, float]) -> None:
        """Set the capacity of providers on a day, visits (inf: no limit); providers not named keep theirs."""
        ...

    def enter(self, worker_id: str, host_id: str, until: datetime) -> None:
        """Let a worker hold leases until then; its decisions are in the inbox ``host_id``."""
        ...

    def renew(self, worker_id: str, until: datetime) -> bool:
        """Hold on until then; False where its leases have been taken back: it may not use them any more."""
        ...

    def lease(self, worker_id: str, day: date, wanted: Mapping[str, int], now: datetime) -> Mapping[str, int]:
        """Grant each provider's amount or what whole visits remain for this worker; never above the capacity."""
        ...

    def give_back(self, worker_id: str, day: date, amounts: Mapping[str, int]) -> None:
        """Return what was leased and not reserved; at most what the worker was granted."""
        ...

    def settle(self, day: date, delivered: Mapping[str, Delivered]) -> None:
        """Record the day's totals so far of the drained log; the same totals twice change nothing."""
        ...

    def gone(self, host_id: str | None, now: datetime) -> tuple[str, ...]:
        """Workers of a host (None: of all hosts) whose time ran out before ``now``."""
        ...

    def reclaim(self, worker_id: str, reserved: Mapping[tuple[date, str], int], now: datetime) -> int:
        """Take back a gone worker's leases less what its logged decisions reserved by (day, provider); the sum."""
        ...

    def recall(self, worker_id: str, reserved: Mapping[tuple[date, str], int], now: datetime) -> int:
        """Free what a worker of a host that does not come back is not known to have reserved; the sum.

        Again before each ``settle``, since its host may come back with more after all.
        """
        ...

    def allowances(self, day: date) -> Mapping[str, Allowance]:
        """The day's allowances by provider."""
        ...

    def add_pacing(self, pacing: Pacing) -> Pacing:
        """Store a pacing under the next version and return it with that version."""
        ...

    def pacing(self, plan_version: int, day: date | None = None, version: int | None = None) -> Pacing | None:
        """The pacing of that version of that plan, else its newest (of that day)."""
        ...


class Offers(Protocol):
    """The ledger of coupons and gifts: a use is reserved, then committed, released or expired; committed once."""

    def issue(self, offer: Offer, person: str, code: str, now: datetime) -> Coupon:
        """Give ``person`` the code, once for an offer and a person: the coupon that they have, where they do."""
        ...

    def join(self, ids: Mapping[str, str], shown: str) -> None:
        """Persons who turned out to be others, by their identifiers in the log, old -> now: coupons and uses go along,
        as in ``Entries.join``; of two coupons of one offer the one with the code ``shown`` stays."""
        ...

    def owner(self, code: str) -> str:
        """Whose own code it is, "" where it is nobody's."""
        ...

    def reserve(
        self,
        offers: Mapping[str, Offer],
        code: str,
        person: str,
        order_id: str,
        order_minor: int,
        provider_id: str,
        key: str,
        now: datetime,
        hold_s: float,
    ) -> Redemption | Refusal:
        """Hold a use for an order, if ceilings in number and money leave room.

        One ``key`` has one use: it is answered as long as it is held or final, and held anew where it was given back.
        """
        ...

    def commit(self, redemption_id: str, now: datetime) -> Redemption | Refusal:
        """Make a reserved use final; harmless where it is. Refused where it was released, or has expired."""
        ...

    def release(self, redemption_id: str, now: datetime) -> Redemption | Refusal:
        """Give a reserved use back; harmless where that is done. A committed one is refused."""
        ...

    def expire(self, now: datetime) -> int:
        """Give back all reservations whose time is over; how many."""
        ...

    def counts(self) -> tuple[OfferCount, ...]:
        """What became of each offer, by name."""
        ...

    def spent(self, offer: str, within: Mapping[str, tuple[datetime, datetime]] | None = None) -> Mapping[str, int]:
        """person -> money of an offer's committed uses, minor units; ``within``: of these persons, each from when to
        when the use was reserved (UTC, without zone)."""
        ...

    def forget(self, people: Sequence[str]) -> int:
        """Make these persons' coupons and their uses nobody's; how many. Codes, money and all counts stay."""
        ...


class Entries(Protocol):
    """Who is in which journey; rows go in and out in bulk. Columns: those of ``model.Entry``."""

    def add(self, rows: pa.Table) -> None:
        """Put entries in; one that is there already is left as it is."""
        ...

    def latest(self, journey: str) -> pa.Table:
        """Of each person who ever was in the journey the entry that goes on, else the newest, in the arm of
        the first."""
        ...

    def active(self, journey: str) -> pa.Table:
        """Entries that go on."""
        ...

    def all(self, journey: str) -> pa.Table:
        """All entries of a journey."""
        ...

    def letters(self, journey: str, now: datetime) -> pa.Table:
        """person, entry, template, channel, messages: what stands in the outbox, whatever became of it, of entries that
        go on and are due."""
        ...

    def move(self, journey: str, rows: pa.Table) -> None:
        """Set step, due_at, status and reason of entries (person, entry and these four)."""
        ...

    def counts(self) -> Sequence[Mapping[str, Any]]:
        """Persons by journey, arm, status and reason."""
        ...

    def journeys(self) -> tuple[str, ...]:
        """Names of all journeys that anybody ever entered."""
        ...

    def persons(self) -> Sequence[str]:
        """Keys of all persons of whom anything is kept: entries, messages, coupons, and that nothing is to be sent."""
        ...

    def join(self, pairs: Mapping[str, str]) -> int:
        """Persons who turned out to be others, key -> key: what is kept of them becomes the others', in one write.

        Entries are counted anew in the order in which they began. Whoever was in a journey under both keys goes on with
        the entry that began first; of the later one, messages that wait are cancelled. Whoever has two coupons of one
        offer keeps the newest unused one. How many keys had entries.
        """
        ...

    def keys_now(self, names: Collection[str]) -> tuple[tuple[str, str], ...]:
        """Of these keys of persons, or identifiers of the log, those which have become others by a sign-in or an alias:
        (as it was asked for, key by now)."""
        ...

    def forget(self, people: Sequence[str]) -> int:
        """Erase these persons' entries, whether they are named as in the log or as in journeys; how many."""
        ...


class Outbox(Protocol):
    """Messages, each a row before it is sent; claimed with a lease, marked before it is handed over, settled after."""

    def add(self, messages: Sequence[Message]) -> int:
        """Put messages in that wait; those whose journey, person, step and entry are there are left. How many."""
        ...

    def claim(self, worker: str, now: datetime, most: int, lease_s: float) -> tuple[Message, ...]:
        """Up to ``most`` messages that are due, for this worker only until the lease is over: those that were tried
        least first, so that one that nobody takes is in no other's way; of each the most valuable first."""
        ...

    def hand(
        self,
        message_id: str,
        worker: str,
        now: datetime,
        caps: Caps,
        lease_s: float,
        settled: Sequence[tuple[str, Receipt, datetime | None]] = (),
    ) -> Held | None:
        """Mark a claimed message as being handed over; None where it may go, else why it is held back.

        Checked in the same transaction: the lease, suppressions of person and address, caps. ``settled`` are receipts
        of messages before it, as in ``settle``, so that each message costs one write.
        """
        ...

    def settle(self, worker: str, now: datetime, settled: Sequence[tuple[str, Receipt, datetime | None]]) -> None:
        """Record receipts; a retry waits until the time beside it."""
        ...

    def hold(self, message_id: str, worker: str, held: Held) -> None:
        """Put a claimed message back until a time, or cancel it."""
        ...

    def release(self, reason: str, now: datetime, journeys: Sequence[str] | None = None) -> int:
        """Let messages that wait because of this reason of ``hold``, or one that begins so, be due now, of some
        journeys or all; how many."""
        ...

    def revive(self, reason: str, journey: str, since: datetime) -> int:
        """Let a journey's messages that were due after ``since`` and cancelled for this reason wait again, held for the
        same reason until ``release``; how many."""
        ...

    def against(self, message: Message, now: datetime, caps: Caps) -> Held | None:
        """What would hold a message back now, as ``hand`` will ask again: the list of whom not, caps."""
        ...

    def give_back(self, worker: str) -> int:
        """Let what this worker has claimed and not handed over wait again; how many."""
        ...

    def recover(self, now: datetime, idempotent: Sequence[str], *, alone: bool = False) -> Mapping[str, int]:
        """Free claims whose lease is over, or, where the caller knows that no worker is left, all: "waiting" again, or
        "unknown" where they were being handed over to a channel that is not idempotent; how many of each."""
        ...

    def doubt(self, now: datetime, reason: str, revived: Sequence[str] = ()) -> int:
        """All that is not done with is "unknown": it may have gone, and nobody can tell; how many. What was cancelled
        for one of the reasons ``revived`` is not done with, either."""
        ...

    def cancel(self, reason: str, journey: str | None = None, of: Collection[str] | None = None) -> int:
        """Cancel messages that wait, of a journey, of persons or addresses, however these are spelled; how many."""
        ...

    def waiting(self) -> pa.Table:
        """Messages that wait: message_id, journey, person, entry, channel, address, language, context, lacks_address
        (as ``overtake`` found it)."""
        ...

    def channels(self) -> frozenset[str]:
        """Channels of all messages that are not done with."""
        ...

    def overtake(self, rows: pa.Table, now: datetime, lacking: str) -> int:
        """Messages that wait, by message_id: cancelled with their ``reason``, or, where that is null, with this
        ``address``, ``language`` and ``context``; without any address they wait for the reason ``lacking`` until there
        is one, and count against no cap. How many were cancelled."""
        ...

    def retry(self, message_id: str, reason: str, now: datetime) -> None:
        """Ask for a dead, unknown or cancelled message again: cancelled for this reason, until ``revive``."""
        ...

    def suppress(self, rows: Sequence[tuple[str, str]], now: datetime, over: str = "") -> int:
        """Add (address or person, reason) to whom nothing is sent any more; how many are new. Who is there stays with
        the reason that is there, unless that begins with ``over``."""
        ...

    def unsuppress(self, who: str) -> tuple[str, ...]:
        """Take an address or person off that list, and what messages or sign-ins know as the same person; what stood
        there."""
        ...

    def unlist(self, people: Sequence[str], reason: str) -> int:
        """Take these off that list where they stand on it for a reason that begins so, and with them all who stand on
        it for the very same; how many."""
        ...

    def suppressed(self) -> Mapping[str, str]:
        """Address or person -> reason."""
        ...

    def suppressed_for(self, reason: str) -> pa.Table:
        """who, at: addresses and persons on that list for this reason, and since when (UTC, without zone)."""
        ...

    def messages(
        self, status: MessageStatus | None = None, journey: str | None = None, most: int = 100
    ) -> tuple[Posted, ...]:
        """Messages with what became of them, newest due first."""
        ...

    def costs(self, journey: str) -> pa.Table:
        """person, handed_at (UTC, without zone), step, cost: letters that may have reached somebody. cost: of the step
        as it was when the letter was planned; null where the letter does not say."""
        ...

    def posted(self, message_id: str) -> Posted | None:
        """One message with what became of it."""
        ...

    def counts(self) -> Mapping[tuple[str, str], int]:
        """(journey, status) -> messages."""
        ...

    def pressure(self, now: datetime) -> pa.Table:
        """person, day, week: messages that wait or may have reached the person within 24 hours and within 7 days."""
        ...

    def forget(self, people: Sequence[str]) -> int:
        """Erase all messages to these persons, sent or waiting; how many. To whom nothing is sent any more stays."""
        ...


class Channel(Protocol):
    """A way to reach a person. ``idempotent``: the same message_id twice reaches them once."""

    name: str
    idempotent: bool

    def send(self, letter: Letter) -> Receipt:
        """Hand a letter over. Never raises for what the other side does; the receipt says it."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
