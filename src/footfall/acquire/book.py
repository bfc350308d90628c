"""What one worker has leased for one day, and the turn that keeps it ahead of need.

Book       parts that may still be reserved, by position in the roster; draws take them out (``_live_kernels.draw``)
Leaser     talks to the ledger in a thread of its own: enters, renews, leases, gives back
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from footfall.acquire import _live_kernels as kernels
from footfall.acquire.live import LivePlan, Roster
from footfall.config import LiveSettings
from footfall.model import VISIT, Ints
from footfall.ports import Ledger

NEVER = datetime.min.replace(tzinfo=UTC)
EVER = datetime.max.replace(tzinfo=UTC)
_AHEAD = 0.02  # of a provider's planned visits that a worker holds at least
_TURNS_AHEAD = 8  # of the use between two turns
_REST_S = 2.0  # after a grant of nothing, until it is asked for again
ANEW = timedelta(minutes=5)  # between two rosters: each lets its room of unknown ids into the ledger


class Book:
    """Leases of one worker on one local day.

    ``parts``: int64 (roster.size,), millionths of a visit. begins, ends: the day, UTC. until: when the leases end
    unless they are renewed; after it nothing is eligible.
    """

    def __init__(
        self,
        roster: Roster,
        day: date,
        worker_id: str = "",
        begins: datetime = NEVER,
        ends: datetime = EVER,
        until: datetime = EVER,
    ) -> None:
        self.roster = roster
        self.day = day
        self.worker_id = worker_id
        self.begins = begins
        self.ends = ends
        self.until = until
        self.parts: Ints = np.zeros(roster.size, dtype=np.int64)
        self._changing = threading.Lock()

    def valid_at(self, moment: datetime) -> bool:
        """Whether the leases may be used then."""
        return self.begins <= moment < self.ends and moment < self.until

    def fit(self) -> None:
        """Make room for all positions of the roster; only from the thread that draws."""
        if len(self.parts) < self.roster.size:
            with self._changing:
                grown = np.zeros(self.roster.size, dtype=np.int64)
                grown[: len(self.parts)] = self.parts
                self.parts = grown

    def credit(self, amounts: Mapping[str, int]) -> None:
        """Add leases by provider id, millionths of a visit."""
        at = self.roster.positions(list(amounts))
        amount = np.fromiter(amounts.values(), dtype=np.int64, count=len(amounts))
        with self._changing:
            there = (at >= 0) & (at < len(self.parts))
            kernels.credit(self.parts, at[there], amount[there])

    def credit_at(self, at: Ints, amount: Ints) -> None:
        """Add parts by position, int64 (k,) each."""
        kernels.credit(self.parts, at, amount)

    def take(self, most: Mapping[str, int] | None = None) -> dict[str, int]:
        """Take out all that is left, by provider id. most: no more than that of each, of others nothing."""
        with self._changing:
            at = np.arange(min(len(self.roster.names), len(self.parts)), dtype=np.int64)
            bound = np.full(len(at), np.iinfo(np.int64).max)
            if most is not None:
                bound[:] = [most.get(name, 0) for name in self.roster.names[: len(at)]]
            taken = np.zeros_like(at)
            kernels.take(self.parts, at, bound, taken)
        return {self.roster.names[j]: int(taken[j]) for j in np.flatnonzero(taken).tolist()}


@dataclass(frozen=True, slots=True)
class LocalDay:
    """A local day with its bounds in UTC."""

    day: date
    begins: datetime
    ends: datetime


class Leaser:
    """Keeps a worker's books ahead of need. ``turn`` blocks on the database: call it in a thread, one at a time.

    A worker that was taken for dead gets a new id, and a new book with it: what it had leased is gone. So does one that
    has no room for more ids that no plan names, with a new roster, in which those still asked for take a place.
    """

    def __init__(
        self,
        ledger: Ledger,
        roster: Roster,
        settings: LiveSettings,
        host_id: str,
        local_day: Callable[[datetime], LocalDay],
        new_id: Callable[[], str],
    ) -> None:
        """local_day: the local day of a moment. new_id: an id that no other process has."""
        self._ledger = ledger
        self._roster = roster
        self._settings = settings
        self._host_id = host_id
        self._local_day = local_day
        self._new_id = new_id
        self._book: Book | None = None
        self._left: Book | None = None  # drawn from until the one after it is taken over
        self._anew_after = NEVER
        self._seen: Ints = np.zeros(0, dtype=np.int64)
        self._resting: dict[str, datetime] = {}
        self._opened: set[str] = set()
        self._heeded = 0  # version of the plan that the book is held to

    @property
    def lease(self) -> timedelta:
        """How long a lease lasts without being renewed."""
        return timedelta(seconds=self._settings.lease_s)

    def turn(self, plan: LivePlan, now: datetime) -> Book:
        """Renew, open the day where it has begun, lease what runs short; the book to draw from.

        plan: its capacities are in the ledger. What a new one lowered is given back before anybody draws by it.
        """
        today = self._local_day(now)
        self._return_left()
        book = self._book
        if book is not None and self._roster.refused and now >= self._anew_after:
            self._anew_after = now + ANEW
            self._left, self._roster = book, self._roster.anew()
            self._book = book = None
        if book is not None and book.day != today.day:
            self._return(book)
            book = self._book = None
        if book is not None and book.until - now < self.lease * 2 / 3:
            until = now + self.lease
            if not self._ledger.renew(book.worker_id, until):
                book.until = NEVER
                book = None
            else:
                book.until = until - self.lease / 10  # our clock against the ledger's: we stop first
        if book is None:
            book = self._enter(plan, today, now)
        elif plan.version != self._heeded:
            self._heed(book)
        self._heeded = plan.version
        self._open_new(book, plan)
        self._top_up(book, plan, now)
        return book

    def close(self) -> None:
        """Give everything back; draws from the book find nothing after it."""
        self._return_left()
        if self._book is not None:
            self._book.until = NEVER
            self._return(self._book)
            self._book = None

    def _enter(self, plan: LivePlan, today: LocalDay, now: datetime) -> Book:
        worker_id, until = self._new_id(), now + self.lease
        self._roster.take_in(plan.providers)
        if not self._ledger.allowances(today.day):
            self._ledger.open_day(today.day, plan.capacities())
        self._ledger.enter(worker_id, self._host_id, until)
        self._book = Book(self._roster, today.day, worker_id, today.begins, today.ends, until - self.lease / 10)
        self._seen = self._book.parts.copy()
        self._resting, self._opened = {}, set(plan.providers)
        return self._book

    def _heed(self, book: Book) -> None:
        """Give back what the ledger, which a new plan may have lowered, has no room for any more."""
        over = {}
        for name, one in self._ledger.allowances(book.day).items():
            left = one.capacity - one.leased + one.delivered.released - one.delivered.organic
            if left < 0:
                over[name] = -left
        returned = book.take(over)
        if returned:
            self._seen[self._roster.positions(list(returned))] -= list(returned.values())
            self._ledger.give_back(book.worker_id, book.day, returned)

    def _open_new(self, book: Book, plan: LivePlan) -> None:
        """Allowances for ids that the plan does not know: a newcomer's floor, unless the settings say otherwise."""
        new = [name for name in self._roster.names[: len(book.parts)] if name not in self._opened]
        if new:
            known = self._ledger.allowances(book.day)
            visits = self._settings.unknown_visits
            visits = plan.newcomer_visits if visits < 0 else visits
            wanted = {n: float(visits) for n in new if n not in known or known[n].capacity == 0}
            self._ledger.open_day(book.day, wanted)
            self._opened.update(new)

    def _top_up(self, book: Book, plan: LivePlan, now: datetime) -> None:
        parts = book.parts.copy()
        if len(self._seen) < len(parts):
            self._seen = np.concatenate((self._seen, np.zeros(len(parts) - len(self._seen), dtype=np.int64)))
        used = np.maximum(self._seen - parts, 0)
        target = np.maximum(self._settings.lease_block * VISIT, _TURNS_AHEAD * used)
        at = self._roster.take_in(plan.providers)
        here = at < len(parts)
        target[at[here]] = np.maximum(target[at[here]], (_AHEAD * VISIT * plan.load[here]).astype(np.int64))
        names = self._roster.names
        short = np.flatnonzero(parts[: len(names)] < target[: len(names)] // 2).tolist()
        wanted = {names[j]: int(target[j] - parts[j]) for j in short if self._resting.get(names[j], now) <= now}
        granted = self._ledger.lease(book.worker_id, book.day, wanted, now) if wanted else {}
        rest = now + timedelta(seconds=_REST_S)
        self._resting = {n: t for n, t in self._resting.items() if t > now} | {
            n: rest for n in wanted if n not in granted
        }
        if granted:
            book.credit(granted)
        self._seen = parts
        for name, amount in granted.items():
            self._seen[self._roster.positions([name])[0]] += amount

    def _return_left(self) -> None:
        if self._left is not None:
            self._return(self._left)
            self._left = None

    def _return(self, book: Book) -> None:
        self._ledger.give_back(book.worker_id, book.day, book.take())
