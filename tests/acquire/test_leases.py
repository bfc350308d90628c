"""Leases: whatever workers do, in threads or processes, and however they end, no capacity is exceeded.

What counts against a capacity: reservations of logged decisions that a visit kept or that still wait for one, and what
living workers hold. Lost are decisions that were drawn and never logged: nobody was answered by them.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_cases import plan_of

from footfall.acquire.book import ANEW, Book, Leaser, LocalDay
from footfall.acquire.decide import NO_CAPACITY, NO_PLACE, Ask, Decider, decode_decision, encode_decision
from footfall.acquire.live import LivePlan, Roster
from footfall.acquire.replay import Replay
from footfall.config import LiveSettings
from footfall.model import VISIT, Decision, Delivered
from footfall.stores import schema
from footfall.stores.ledger import SqlLedger

SETTINGS = LiveSettings(lease_block=3, lease_s=30.0, slot_weights=(1.0, 0.5))
START = datetime(2026, 2, 10, 8, tzinfo=UTC)
NAMES = tuple(f"shop-{j + 1}" for j in range(6))
CAPACITY = dict(zip(NAMES, (5.0, 9.0, 13.0, 40.0, 2.5, 0.0), strict=True))


def today(moment: datetime) -> LocalDay:
    begins = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return LocalDay(moment.date(), begins, begins + timedelta(days=1))


def six_shops() -> LivePlan:
    return LivePlan.of(plan_of(3, providers=6, segments=2))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    on_postgres = request.param == "postgres"
    url: str = request.getfixturevalue("postgres_schema") if on_postgres else f"sqlite:///{tmp_path / 'state.db'}"
    ledger = SqlLedger(url)
    with schema.writing(ledger._engine) as connection:
        for table in set(schema.metadata.sorted_tables) - {schema.revisions}:
            connection.execute(table.delete())
    ledger.open_day(START.date(), CAPACITY)
    ledger.close()
    yield url


class Worker:
    """One worker: a leaser and a decider; its id changes when it was taken for dead."""

    def __init__(self, ledger: SqlLedger, name: str, seed: int, now: datetime, spare: int = 4096) -> None:
        roster, self.plan = Roster(spare), six_shops()
        self._count = 0
        self._name = name
        self.leaser = Leaser(ledger, roster, SETTINGS, "host", today, self._new_id)
        book = self.leaser.turn(self.plan, now)
        self.decider = Decider(self.plan, None, book, SETTINGS, np.random.default_rng(seed))

    def _new_id(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count}"

    def turn(self, now: datetime) -> Book:
        book = self.leaser.turn(self.plan, now)
        if book is not self.decider.book:
            self.decider.use(book)
        return book

    def decide(self, now: datetime, slots: int) -> Decision:
        return self.decider.decide(Ask("v", "s1", None, now, slots))


def reserved(log: list[Decision]) -> Counter[str]:
    total: Counter[str] = Counter()
    for decision in log:
        total.update(dict(zip(decision.choices, decision.reserved, strict=True)))
    return total


def delivered(log: list[Decision], visited: set[str], now: datetime, reservation: timedelta) -> dict[str, Delivered]:
    """By hand: what each logged decision came to."""
    out: dict[str, Delivered] = {name: Delivered() for name in NAMES}
    for decision in log:
        for name, part in zip(decision.choices, decision.reserved, strict=True):
            one = out[name]
            if decision.message_id in visited:
                out[name] = Delivered(one.committed + part, one.outstanding, one.released, one.organic)
            elif decision.ts + reservation > now:
                out[name] = Delivered(one.committed, one.outstanding + part, one.released, one.organic)
            else:
                out[name] = Delivered(one.committed, one.outstanding, one.released + part, one.organic)
    return out


@pytest.mark.parametrize("seed", [0, 1, *[pytest.param(s, marks=pytest.mark.slow) for s in range(2, 40)]])
def test_any_order_of_lease_reserve_commit_expire_and_crash(url: str, seed: int) -> None:
    rng, ledger, now = random.Random(seed), SqlLedger(url), START
    reservation = timedelta(seconds=rng.choice([20, 60, 3600]))
    living: list[Worker] = []
    dead: list[str] = []
    log: list[Decision] = []
    visited: set[str] = set()
    made = 0
    for _ in range(150):
        act = rng.random()
        if not living or (act < 0.06 and len(living) < 4):
            made += 1
            living.append(Worker(ledger, f"w{made}", 1000 * seed + made, now))
            continue
        worker = rng.choice(living)
        if act < 0.5:
            decision = worker.decide(now, rng.randint(1, 3))
            fate = rng.random()
            if fate < 0.8:
                log.append(decode_decision(encode_decision(decision)))
                if decision.choices and rng.random() < 0.4:
                    visited.add(decision.message_id)
            elif fate < 0.95:
                worker.decider.release(decision)
        elif act < 0.65:
            worker.turn(now)
        elif act < 0.75:
            now += timedelta(seconds=rng.choice([1, 5, 12, 31]))
        elif act < 0.8:
            worker.leaser.close()
            living.remove(worker)
        elif act < 0.85:
            living.remove(worker)  # dies without a word
            dead.append(worker.decider.book.worker_id)
        else:
            ledger.settle(now.date(), delivered(log, visited, now, reservation))
            for worker_id in ledger.gone("host", now):
                mine = reserved([d for d in log if d.worker_id == worker_id])
                ledger.reclaim(worker_id, {(now.date(), name): n for name, n in mine.items()}, now)
        # what counts: kept or waiting as of the last settling, and what the living hold and may still use
        became = delivered(log, visited, now, reservation)
        for name in NAMES:
            holding = 0
            for one in living:
                if one.decider.book.valid_at(now):
                    holding += int(one.decider.book.parts[one.decider.book.roster.positions([name])[0]])
            used = became[name].committed + became[name].outstanding
            assert holding + used <= CAPACITY[name] * VISIT, (seed, name)
    ledger.close()


def test_workers_in_threads_share_what_there_is(url: str) -> None:
    """Four workers until nothing is left: not one visit more than the capacity, nearly all of it used."""
    found: list[list[Decision]] = [[] for _ in range(4)]

    def work(k: int) -> None:
        ledger = SqlLedger(url)
        worker = Worker(ledger, f"w{k}", k, START)
        idle = 0
        while idle < 40:
            decision = worker.decide(START, 1)
            if decision.choices:
                found[k].append(decision)
                idle = 0
            else:
                idle += 1
                worker.leaser._resting = {}
                worker.turn(START)
        worker.leaser.close()
        ledger.close()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    total = reserved([d for part in found for d in part])
    for name, visits in CAPACITY.items():
        assert total[name] == int(visits) * VISIT


def _process(url: str, name: str, seed: int, path: str, die_after: int, ready: Any = None) -> None:
    """Decide and log, one line a decision; at ``die_after`` drawn ones the process is gone, the last one not logged.

    ready: a barrier of all processes. Who lives on takes its time then, so that the others get what they die of.
    """
    ledger = SqlLedger(url)
    worker = Worker(ledger, name, seed, START)
    idle = drawn = 0
    if ready is not None:
        ready.wait(60)
    with open(path, "ab", buffering=0) as log:  # noqa: PTH123
        while idle < 25:
            decision = worker.decide(START, 1)
            if not decision.choices:
                idle += 1
                worker.leaser._resting = {}
                worker.turn(START)
                continue
            drawn += 1
            if ready is not None and not die_after:
                time.sleep(0.02)
            if drawn == die_after:
                os._exit(9)
            log.write(encode_decision(decision) + b"\n")
    worker.leaser.close()


@pytest.mark.slow
def test_workers_in_processes_and_some_that_die(url: str, tmp_path: Path) -> None:
    """What the dead had leased comes back less what they logged, and is used by the living."""
    context = multiprocessing.get_context("spawn")
    paths = [tmp_path / f"log-{k}" for k in range(3)]
    ready = context.Barrier(3)
    processes = [
        context.Process(target=_process, args=(url, f"w{k}", k, str(path), (4, 9, 0)[k], ready))
        for k, path in enumerate(paths)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=90)
    assert [p.exitcode for p in processes] == [9, 9, 0]
    log = [decode_decision(line) for path in paths for line in path.read_bytes().splitlines()]
    ledger, later = SqlLedger(url), START + timedelta(seconds=60)
    gone = ledger.gone("host", later)
    assert [name[:2] for name in gone] == ["w0", "w1", "w2"]
    for worker_id in gone:
        mine = reserved([d for d in log if d.worker_id == worker_id])
        back = ledger.reclaim(worker_id, {(START.date(), name): n for name, n in mine.items()}, later)
        assert (back == 0) == worker_id.startswith("w2")  # who ended in order has given back all
    ledger.close()
    _process(url, "w9", 9, str(paths[0]), 0)
    log = [decode_decision(line) for path in paths for line in path.read_bytes().splitlines()]
    total = reserved(log)
    assert total == {name: int(visits) * VISIT for name, visits in CAPACITY.items() if visits >= 1}


def test_a_worker_taken_for_dead_starts_anew(url: str) -> None:
    """It stops drawing before its time is over, and does not use what was taken back."""
    ledger = SqlLedger(url)
    worker = Worker(ledger, "w", 1, START)
    late = START + timedelta(seconds=28)
    assert worker.decide(START, 1).choices and not worker.decide(late, 1).choices
    after = START + timedelta(seconds=40)
    assert ledger.gone("host", after) == ("w-1",)
    ledger.reclaim("w-1", {}, after)
    book = worker.turn(after)
    assert book.worker_id == "w-2" and worker.decide(after, 1).choices
    ledger.close()


def test_leases_are_renewed_topped_up_and_given_back(url: str) -> None:
    ledger = SqlLedger(url)
    worker = Worker(ledger, "w", 1, START)
    now = START
    for _ in range(30):
        now += timedelta(seconds=12)
        assert worker.turn(now).worker_id == "w-1"
    worker.leaser.close()
    assert {one.leased for one in ledger.allowances(START.date()).values()} == {0}
    assert not worker.decide(now, 1).choices
    ledger.close()


def test_midnight_brings_a_new_book(url: str) -> None:
    ledger = SqlLedger(url)
    worker = Worker(ledger, "w", 1, START)
    tomorrow = START + timedelta(days=1)
    assert not worker.decide(tomorrow, 1).choices
    book = worker.turn(tomorrow)
    assert book.day == tomorrow.date() and book.worker_id == "w-2"
    decision = worker.decide(tomorrow, 1)
    assert decision.choices and decision.day == tomorrow.date()
    assert {one.leased for one in ledger.allowances(START.date()).values()} == {0}
    ledger.close()


def test_a_capacity_that_a_new_plan_lowers_holds_at_once(url: str) -> None:
    """Two workers hold three visits each; after 3 decisions the capacity is 4: one more is made, by both together."""
    ledger = SqlLedger(url)
    workers = [Worker(ledger, f"w{k}", k, START) for k in range(2)]
    ask = Ask("v", "s1", ("shop-4",), START)
    for worker in workers:
        worker.turn(START)
    made = [worker.decider.decide(ask) for worker, times in zip(workers, (2, 1), strict=True) for _ in range(times)]
    assert all(decision.choices for decision in made)
    others = {name: one.leased for name, one in ledger.allowances(START.date()).items() if name != "shop-4"}
    ledger.open_day(START.date(), {"shop-4": 4.0})
    now = START
    for worker in workers:
        worker.plan = replace(worker.plan, version=worker.plan.version + 1)
        worker.turn(now)
        worker.decider.publish(worker.plan)
    for name, leased in others.items():
        assert ledger.allowances(START.date())[name].leased >= leased, "nobody else's leases were given back"
    after = 0
    for _ in range(20):
        now += timedelta(seconds=3)
        for worker in workers:
            after += len(worker.decider.decide(Ask("v", "s1", ("shop-4",), now)).choices)
            worker.turn(now)
    assert after == 1
    ledger.close()


def test_unknown_candidates_get_an_allowance_of_a_newcomers_floor(url: str) -> None:
    ledger = SqlLedger(url)
    worker = Worker(ledger, "w", 1, START)
    ask = Ask("v", "s1", ("stranger",), START)
    assert not worker.decider.decide(ask).choices
    worker.turn(START)
    assert ledger.allowances(START.date())["stranger"].capacity == 20 * VISIT
    assert worker.decider.decide(ask).choices == ("stranger",)
    ledger.close()


def test_unknown_candidates_beyond_the_room_do_not_keep_others_out(url: str) -> None:
    """A flood of unknown ids takes all places; by the next turn there is room again, then once in five minutes."""
    ledger = SqlLedger(url)
    worker = Worker(ledger, "w", 1, START, spare=5)
    now, flood = START, tuple(f"flood-{i}" for i in range(9))

    def decide(*candidates: str) -> Decision:
        return worker.decider.decide(Ask("v", "s1", candidates, now))

    for number in range(2):
        decide(*(f"{name}-{number}" for name in flood))
        newcomer = f"newcomer-{number}"
        assert decide(newcomer).reason == NO_PLACE
        if number:  # five minutes have not passed: the ledger is not to be filled either
            now += timedelta(seconds=60)
            worker.turn(now)
            assert decide(newcomer).reason == NO_PLACE
            now += ANEW
        before = worker.decider.book
        drawn = decide("shop-4", "flood-0")
        assert worker.turn(now) is not before
        assert decide("shop-4").choices == ("shop-4",)
        assert decide(newcomer).reason == NO_CAPACITY
        now += timedelta(seconds=1)
        worker.turn(now)
        assert decide(newcomer).choices == (newcomer,)
        assert before.take() == {}, "what the roster before had leased was given back"
        assert Replay(worker.plan, None)(drawn).propensities == drawn.propensities
    worker.leaser.close()
    kept = {name: one.leased for name, one in ledger.allowances(START.date()).items() if one.leased}
    assert set(kept) == {"shop-4", "newcomer-0", "newcomer-1"}, "what was drawn: here nothing settles or expires it"
    ledger.close()


def test_a_lease_that_arrives_during_a_draw_is_not_lost() -> None:
    """One thread credits while another draws: what was credited less what was drawn is what is left, to the part."""
    plan = six_shops()
    roster = Roster()
    roster.take_in(plan.providers)
    book = Book(roster, START.date(), "w")
    decider = Decider(plan, None, book, SETTINGS, np.random.default_rng(1))
    credits = 4_000

    def credit() -> None:
        for _ in range(credits):
            book.credit({"shop-1": VISIT, "shop-2": VISIT})

    thread = threading.Thread(target=credit)
    thread.start()
    drawn = sum(decider.draw("s1", ("shop-1", "shop-2"))[0] >= 0 for _ in range(30_000))
    thread.join()
    left = sum(book.take().values())
    assert left == (2 * credits - drawn) * VISIT and drawn > 0
