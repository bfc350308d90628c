"""The keeper: one process a host. It drains the inbox; where its host leads, it also paces, compacts and plans.

    drain    every host    inbox -> lake, exactly once, each [serve] drain_s
    inbox    every host    old sticky choices are forgotten, dead workers' leases come back
    lead     every host    a lease in the state, renewed; who holds it does what follows
    settle   leader        what became of decisions -> ledger; gone workers' leases come back; a new pacing
    facts    leader        brought up to date each [serve] facts_s
    compact  leader        small files of closed days are joined
    plan     leader        each night at [serve] plan_at; published when it passes its checks
    retain   leader        a round of all journeys when new events are in the log, [retain] interval_s apart at least
    send     leader        what is due in the outbox goes, once a round has looked at it

Each runs in a thread of its own, so that a plan of minutes holds up neither the drain nor the lead. A task that fails
is logged, counted and tried again; all of them may be killed at any line.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from msgspec import structs

from footfall.app import allocating, logs, nightly
from footfall.app.build import Workspace, open_workspace
from footfall.app.http.metrics import Metrics
from footfall.app.http.server import opened, read_spec, tell_ready, watch
from footfall.config import FILE_NAME, ServeSettings
from footfall.errors import FootfallError
from footfall.ports import InboxKind

if TYPE_CHECKING:
    from footfall.app import draining, steering

COMPACT_S = 60.0
SEND_S = 5.0
LOOK_S = 5.0
LEAD_LOOK_S = 0.5  # between looks whether this host leads yet
ROUND_S = 900.0  # steps fall due by the clock, too
LOOKED_S = 60.0  # how long letters go by what the last round saw, at least, while events come
LAST_S = 5.0  # of the seconds after which the supervisor kills
NICE = 5  # answers go before bookkeeping where cores are few
_DRAIN_REST_S = 5.0  # at most, after drains that failed
_OF_JOURNEYS = ("journeys", "channels", "offers", "retain")  # sections that hold as they are written by now


class Keeper:
    """The tasks of one host and their timetable."""

    def __init__(self, here: Workspace, settings: ServeSettings, metrics: Metrics, log: Any) -> None:
        self.here = here
        self.settings = settings
        self.metrics = metrics
        self.log = log
        self.stop = threading.Event()
        self._reading = threading.Lock()
        self._looking = threading.Lock()
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"
        self._leading_until = 0.0
        self._failing: set[str] = set()
        self._reclaimer: steering.Reclaimer | None = None
        self._drainer: draining.Drainer | None = None
        self._written: tuple[int, int] | None = None  # stamp of the settings that journeys go by
        self._journeys = here
        self._rounded: tuple[int, float, float] | None = None  # version of the log at the last round, its begin and end
        self._era = 0  # of settings and leads: what a round saw in another one is not what holds now
        self._ask_again = 0.0  # whether a round has looked, while letters go
        self._faults: tuple[str, ...] = ()  # of templates, at the last round

    # ------------------------------------------------------------ the lead

    @property
    def leads(self) -> bool:
        """Whether this host leads, by its own clock: it ends no later than the lease in the state."""
        return time.monotonic() < self._leading_until

    def hold(self) -> None:
        """Renew the lead, take it, or see who has it."""
        lease_s = self.settings.lead_lease_s
        asked = time.monotonic()
        lead = self.here.leadership.hold(self.holder, lease_s)
        before = self.leads
        self._leading_until = asked + lease_s if lead.mine else 0.0
        self.metrics.set("footfall_leads", float(lead.mine))
        if lead.mine != before:
            self.log.info("leads" if lead.mine else "follows", holder=lead.holder, term=lead.term)
            self._begin_anew()

    # ------------------------------------------------------------ the tasks

    def drain(self) -> int:
        """One drain; rows moved."""
        from footfall.app import draining

        if self._drainer is None:
            self._drainer = draining.Drainer(self.here)
        moved = self._drainer.drain()
        self.metrics.add("footfall_drained_events", by=moved.events)
        self.metrics.add("footfall_drained_decisions", by=moved.decisions)
        return moved.events + moved.decisions

    def look_after_inbox(self) -> None:
        """Forget sticky choices that no longer hold, take back dead workers' leases, tell how many rows wait."""
        from footfall.app import steering

        self.here.inbox.unstick(self.here.clock.now())
        counts = self.here.inbox.counts()
        self.metrics.set("footfall_inbox_rows", sum(counts[kind] for kind in get_args(InboxKind)))
        self.metrics.set("footfall_inbox_bytes", float(counts["bytes"]))
        if self._reclaimer is None:
            self._reclaimer = steering.Reclaimer(self.here)
        self._reclaimer.turn()
        allocating.give_back()

    def settle(self) -> None:
        """What became of the day's decisions, gone workers' leases, and a new pacing."""
        from footfall.app import steering

        if self.here.state.versions():
            steering.settle(self.here)

    def facts(self) -> None:
        """Bring the facts up to date."""
        from footfall.app import valuing

        if self.here.store.version() >= 0:
            valuing.count(self.here)

    def compact(self) -> None:
        """Join small files of days that are over."""
        from footfall.app import draining

        draining.compact(self.here)

    def plan(self) -> None:
        """The nightly plan, where it is due."""
        from footfall.app import opening, steering

        state = self.here.state
        record = state.get(nightly.RECORD)
        version = opening.published(self.here)
        in_force = state.plan(version) if version is not None and self._may_be_due(record) else None
        self.metrics.set("footfall_plan_held_back", float(nightly.held_back(record)))
        now = self.here.clock.now().astimezone(self.here.zone)
        if not nightly.due(record, now, self.settings.plan_at, in_force) or not self.here.store.days():
            return
        made = nightly.make(self.here, self.settings, lambda: self.leads)
        if made["published"]:
            steering.in_force(self.here)
            self.log.info("planned", version=made["version"])
        else:
            self.log.warning("the nightly plan was not published", reasons=made["reasons"], version=made["version"])
        self.metrics.set("footfall_plan_held_back", float(nightly.held_back(made)))

    def retain(self) -> None:
        """A round of all journeys, where the log has grown since the last or a quarter of an hour has passed."""
        from footfall.app import messaging

        here, era = self._as_written()
        version, begun, last = here.store.version(), time.monotonic(), self._rounded
        known = last is not None and last[0] == version and begun - last[1] <= ROUND_S
        if version < 0 or known:
            return
        if not here.config.journeys:
            messaging.end_gone(here)
            self._remember(era, version, begun)
            return
        planned, done = messaging.one_round(here)
        self._remember(era, version, begun)
        if planned.faults and planned.faults != self._faults:
            self.log.warning("templates or audiences do not work; what depends on them waits", faults=planned.faults)
        self._faults = planned.faults
        for what, count in done.items():
            self.metrics.add("footfall_journeys", what, by=count)
        if any(done.values()):
            self.log.info("a round of journeys", **done)

    def send(self) -> None:
        """Hand over what is due; stops when the lead is lost or the service ends.

        Not before a round has looked at it: since it was planned, its person may have left, or another host have led.
        It stops where footfall.toml is changed meanwhile.
        """
        from footfall.app import messaging

        here, era = self._as_written()
        if not here.config.journeys or not self._has_looked():
            return
        self._ask_again = time.monotonic() + LOOK_S
        done = messaging.send(here, going=lambda: self._goes_on(era))
        for what, count in done.items():
            self.metrics.add("footfall_messages", what, by=count)

    def _as_written(self) -> tuple[Workspace, int]:
        """The workspace with what footfall.toml has on journeys by now, and the era of that: one that is paused there
        sends nothing. ConfigError where it is broken; nothing goes then."""
        with self._reading:
            stamp = self._stamp()
            if stamp != self._written:
                written = open_workspace(self.here.directory, self.here.clock).config
                changed = {name: getattr(written, name) for name in _OF_JOURNEYS}
                self._journeys = replace(self.here, config=structs.replace(self.here.config, **changed))
                self._written = stamp
                self._begin_anew()
            return self._journeys, self._era

    def _begin_anew(self) -> None:
        """From here on no round has looked: one that is at work goes by other settings, or for a lead that was lost."""
        with self._looking:
            self._era, self._rounded = self._era + 1, None

    def _remember(self, era: int, version: int, begun: float) -> None:
        """What a round of that era saw of the log."""
        with self._looking:
            if era == self._era:
                self._rounded = (version, begun, time.monotonic())

    def _goes_on(self, era: int) -> bool:
        """Whether letters go on: by the settings that they were begun with, while a round has looked."""
        same = era == self._era and self._stamp() == self._written
        if time.monotonic() > self._ask_again:
            self._ask_again = time.monotonic() + LOOK_S
            same = same and self._has_looked()
        return same and self.leads and not self.stop.is_set()

    def _stamp(self) -> tuple[int, int]:
        try:
            found = (self.here.directory / FILE_NAME).stat()
        except FileNotFoundError:
            return (0, 0)
        return found.st_mtime_ns, found.st_size

    def _has_looked(self) -> bool:
        """Whether a round of this lead knows the log as it is, or as it was a short while ago."""
        last = self._rounded
        if last is None:
            return False
        version, begun, ended = last
        late_s = max(LOOKED_S, 3 * self._journeys.config.retain.interval_s, 3 * (ended - begun))
        return time.monotonic() - begun <= late_s or self.here.store.version() == version

    def _may_be_due(self, record: Any) -> bool:
        """Spares reading the plan every few seconds: once a night it is asked for."""
        now = self.here.clock.now().astimezone(self.here.zone)
        return nightly.due(record, now, self.settings.plan_at, None)

    # ------------------------------------------------------------ the timetable

    def run(self, ready: Callable[[], None]) -> None:
        """Until ``stop``; ends after the drain that is under way and, within LAST_S, what other tasks are at (a letter
        that is handed over), and gives up the lead."""
        settings, live = self.settings, self.here.config.live
        every = [
            ("lead", settings.lead_lease_s / 4, self.hold, False),
            ("inbox", LOOK_S, self.look_after_inbox, False),
            ("pace", live.pacing_interval_s, self.settle, True),
            ("facts", settings.facts_s, self.facts, True),
            ("compact", COMPACT_S, self.compact, True),
            ("plan", 5.0, self.plan, True),
            ("retain", self.here.config.retain.interval_s, self.retain, True),
            ("send", SEND_S, self.send, True),
        ]
        tasks = [
            threading.Thread(target=self._repeat, args=(name, period, task, leader_only), daemon=True)
            for name, period, task, leader_only in every
            if period > 0
        ]
        for task in tasks:
            task.start()
        ready()
        self._drain_until_stopped()
        until = time.monotonic() + LAST_S
        for task in tasks:
            task.join(max(0.0, until - time.monotonic()))
        if self.leads:
            self._try("lead", lambda: self.here.leadership.release(self.holder))

    def _drain_until_stopped(self) -> None:
        rest = self.settings.drain_s
        while not self.stop.is_set():
            moved = self._try("drain", self.drain)
            rest = self.settings.drain_s if moved is not None else min(_DRAIN_REST_S, 2 * rest)
            self.stop.wait(rest)
        self._try("drain", self.drain)

    def _repeat(self, name: str, period: float, task: Callable[[], None], leader_only: bool) -> None:
        while leader_only and not self.leads and not self.stop.wait(min(period, LEAD_LOOK_S)):
            pass  # the first lead comes first, and what comes after it at once
        while not self.stop.is_set():
            if not leader_only or self.leads:
                self._try(name, task)
            self.stop.wait(period)

    def _try(self, name: str, task: Callable[[], Any]) -> Any:
        """Run a task; a failure is logged when it begins and counted every time."""
        try:
            done = task()
        except (FootfallError, OSError) as error:
            self.metrics.add("footfall_task_failures", name)
            if name not in self._failing:
                self.log.warning("a task fails", task=name, error=str(error))
            self._failing.add(name)
            return None
        except Exception as error:
            self.metrics.add("footfall_task_failures", name)
            self.log.exception("a defect", task=name, error=type(error).__name__)
            return None
        if name in self._failing:
            self._failing.discard(name)
            self.log.info("a task works again", task=name)
        return 0 if done is None else done


def main(arguments: list[str]) -> int:
    """Run until the supervisor ends or says so."""
    allocating.few_arenas()
    spec = read_spec(arguments)
    log = logs.set_up("keeper", spec.level)
    try:
        here = opened(spec, log)
    except FootfallError as error:
        log.error("cannot go on", error=error.message, way_out=error.way_out)
        return error.exit_status
    keeper = Keeper(here, spec.settings, Metrics(spec.board, spec.index, spec.rows), log)
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: keeper.stop.set())
    watch(spec, keeper.stop.set)
    keeper.run(lambda: tell_ready(spec))
    return 0


if __name__ == "__main__":
    status = main(sys.argv)
    logging.shutdown()
    os._exit(status)  # a task that is still at work in DuckDB would have the end of the interpreter abort the process
