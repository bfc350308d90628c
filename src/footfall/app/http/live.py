"""What a worker decides from: the plan in force, its pacing and its leases, kept fresh beside the event loop.

One thread asks the state and the ledger; the event loop takes over what it brings, between two requests. Where the
state is away, the worker goes on with what it has until its leases end, and then answers that there is no capacity.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from footfall.acquire.book import Book, Leaser, LocalDay
from footfall.acquire.decide import Decider, decode_decision, warm
from footfall.acquire.live import LivePlan, Roster
from footfall.app import decisions
from footfall.app.build import SystemClock, Workspace
from footfall.app.http.metrics import Metrics
from footfall.app.opening import open_day, published
from footfall.errors import FootfallError, StorageError
from footfall.model import Decision, Pacing
from footfall.ports import Inbox

if TYPE_CHECKING:
    from footfall.app.http.commit import GroupCommit

POLL_S = 1.0
FAILED_S = 5.0


def local_day(here: Workspace, moment: datetime) -> LocalDay:
    """The local day of a moment, with its bounds in UTC (a day of a change of the clock has 23 or 25 hours)."""
    day = moment.astimezone(here.zone).date()
    begins = datetime.combine(day, datetime.min.time(), here.zone).astimezone(UTC)
    ends = datetime.combine(day + timedelta(days=1), datetime.min.time(), here.zone).astimezone(UTC)
    return LocalDay(day, begins, ends)


class Live:
    """The decider of one worker; ``decider`` is None until a plan is published."""

    def __init__(self, here: Workspace, inbox: Inbox, commit: GroupCommit, metrics: Metrics, log: Any) -> None:
        self.decider: Decider | None = None
        self._here = here
        self._inbox = inbox
        self._commit = commit
        self._metrics = metrics
        self._log = log
        self._settings = here.config.live
        # asked at every decision, and the workspace's own clock looks into the environment each time
        self._by_system = isinstance(here.clock, SystemClock) and not here.clock.fixed
        self._leaser: Leaser | None = None  # until the state was there once
        self._plan: LivePlan | None = None
        self._pacing: Pacing | None = None
        self._opened: int | None = None  # version of the plan whose capacities the ledger was given
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="live")
        self._looked = 0.0
        self._trouble = ""
        self._failed = (-1, 0.0)  # commits so far when a failure was first seen, and when
        self._task: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Whether the state did not answer at the last turn."""
        return bool(self._trouble)

    def now(self) -> datetime:
        """Now, UTC."""
        return datetime.now(UTC) if self._by_system else self._here.clock.now()

    async def start(self) -> None:
        """Take over what is in force, then keep it fresh."""
        await asyncio.get_running_loop().run_in_executor(self._pool, warm)
        await self._turn()
        self._task = asyncio.create_task(self._keep_fresh())

    async def close(self) -> None:
        """Give the leases back."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.decider = None
        try:
            if self._leaser is not None:
                await asyncio.get_running_loop().run_in_executor(self._pool, self._leaser.close)
        except FootfallError as error:
            self._log.warning("leases were not given back; they end by themselves", error=error.message)
        self._pool.shutdown(wait=True)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._rest_s())
            try:
                await self._turn()
            except Exception as error:  # noqa: BLE001 - a defect of one turn must not end all later ones: it is logged
                self._log.exception("a defect", error=type(error).__name__)

    def _rest_s(self) -> float:
        """Until the next turn, which comes early where the day ends: its leases do, too."""
        rest = self._settings.lease_interval_s
        left = (self.decider.book.ends - self.now()).total_seconds() if self.decider is not None else rest
        return left + 0.001 if 0 <= left < rest else rest

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            look = loop.time() - self._looked >= POLL_S
            if look:
                self._looked = loop.time()
                plan, pacing = await loop.run_in_executor(self._pool, self._in_force)
            else:
                plan, pacing = self._plan, self._pacing
            if plan is None:
                return
            book = await loop.run_in_executor(self._pool, self._turned, plan)
        except FootfallError as error:
            if self._trouble != error.message:
                self._log.warning("the state does not answer", error=error.message)
            self._trouble = error.message
            return
        if self._trouble:
            self._trouble = ""
            self._log.info("the state answers again")
        self._take_over(plan, pacing, book)

    def _turned(self, plan: LivePlan) -> Book:
        """The book to draw from; in the thread."""
        here = self._here
        if self._leaser is None:
            self._leaser = Leaser(
                here.ledger,
                Roster(),
                self._settings,
                self._inbox.id,
                lambda moment: local_day(here, moment),
                lambda: f"w-{uuid.uuid4().hex}",
            )
        if plan.version != self._opened:
            open_day(here, plan)
            self._opened = plan.version
        return self._leaser.turn(plan, self.now())

    def _in_force(self) -> tuple[LivePlan | None, Pacing | None]:
        """The published plan and its pacing of today; in the thread."""
        here = self._here
        version = published(here)
        if version is None:
            return None, None
        plan = self._plan
        if plan is None or plan.version != version:
            stored = here.state.plan(version)
            plan = None if stored is None else LivePlan.of(stored)
        day = local_day(here, self.now()).day
        before = self._pacing
        pacing = here.ledger.pacing(version, day)
        if before is not None and pacing is not None and before.version == pacing.version:
            pacing = before
        return plan, pacing

    def _take_over(self, plan: LivePlan, pacing: Pacing | None, book: Book) -> None:
        """On the event loop, between two requests."""
        if self.decider is None:
            rng = np.random.default_rng()
            columns = self._here.config.value.segment
            self.decider = Decider(
                plan,
                pacing,
                book,
                self._settings,
                rng,
                segment_columns=columns,
                new_id=lambda: decisions.new_id(self.now()),
                recall=self._recall,
            )
        else:
            if self.decider.book.roster is not book.roster:
                self._log.warning("more providers that the plan does not know were asked for than there is room for")
            if self.decider.book is not book:
                self.decider.use(book)
            book.fit()
            if self._plan is not plan or self._pacing is not pacing:
                self.decider.publish(plan, pacing)
        if self._plan is not plan or self._pacing is not pacing:
            self._log.info("in force", plan=plan.version, pacing=pacing.version if pacing else 0)
        self._plan, self._pacing = plan, pacing
        self._metrics.set("footfall_plan_version", float(plan.version))
        self._metrics.set("footfall_pacing_version", float(pacing.version if pacing else 0))

    def _recall(self, visitor_id: str, key: str) -> Decision | None:
        """What a worker of this host logged for a returning visitor."""
        try:
            body = self._inbox.stuck(visitor_id, key, self.now())
        except StorageError as error:
            self._log.warning("sticky choices cannot be read", error=error.message)
            return None
        return None if body is None else decode_decision(body)

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether events can be acknowledged and the state answers; what is in force and what was held back."""
        from footfall.app import nightly

        loop = asyncio.get_running_loop()
        checks: dict[str, Any] = {"inbox": "ok", "state": "ok"}
        if self._failing_now(loop.time()):
            checks["inbox"] = "the inbox could not be written at the last try"
        try:
            record = await loop.run_in_executor(None, self._here.state.get, nightly.RECORD)
        except FootfallError as error:
            checks["state"], record = error.message, None
        ok = checks["inbox"] == checks["state"] == "ok"
        checks["plan_version"] = self._plan.version if self._plan else None
        checks["pacing_version"] = self._pacing.version if self._pacing else None
        if record is not None:
            checks["nightly"] = dict(record)
        return ok, checks

    def _failing_now(self, now: float) -> bool:
        """Whether the last write failed. After ``FAILED_S`` without a try it is time that requests come and try."""
        if not self._commit.failing:
            return False
        if self._failed[0] != self._commit.commits:
            self._failed = (self._commit.commits, now)
        return now - self._failed[1] < FAILED_S
