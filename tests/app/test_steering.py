"""What became of a day's decisions, counted by hand; leases of dead workers; when a nightly plan is made, published."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pyarrow as pa
import pytest
from msgspec import structs
from serving import simple_plan

from footfall import make_workspace
from footfall.acquire.decide import encode_decision
from footfall.acquire.live import LivePlan
from footfall.app import nightly, recording, steering
from footfall.app.build import Workspace, open_workspace
from footfall.app.draining import Drainer, compact
from footfall.app.opening import OPENED
from footfall.config import ServeSettings
from footfall.errors import FootfallError, InputError, WorkspaceError
from footfall.model import VISIT, Decision, Delivered, Finding, Plan, ProviderLine
from footfall.record.fakes import Habits, Suspect
from footfall.testing import FixedClock
from footfall.testing.state import sample_plan

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = NOW.date()


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "shop", clock=FixedClock(NOW))


def decision(name: str, minutes_ago: float, *choices: str, **changes: Any) -> Decision:
    parts = {1: (VISIT,), 2: (600_000, 400_000)}[len(choices)]
    made = Decision(
        message_id=name,
        ts=NOW - timedelta(minutes=minutes_ago),
        day=DAY,
        visitor_id=f"visitor-{name}",
        segment="email",
        candidates=None,
        unavailable=(),
        eligible=2,
        slots=len(choices),
        choices=choices,
        propensities=(0.5,) * len(choices),
        reserved=parts,
        explore=0.05,
        mode="live",
        answered=None,
        repeat_of=None,
        reason=None,
        plan_version=1,
        pacing_version=0,
        worker_id="w1",
    )
    return structs.replace(made, **changes)


def log(here: Workspace, decisions: list[Decision], visits: list[tuple[str, str, float, str | None]]) -> None:
    """Put decisions and visits (visitor, provider, minutes ago, decision named) into the lake."""
    here.inbox.append([("decision", encode_decision(one) + b"\n") for one in decisions])
    drainer = Drainer(here)
    assert drainer.drain().decisions == len(decisions)
    drainer.close()
    rows = [
        {
            "ts": (NOW - timedelta(minutes=ago)).isoformat(),
            "name": "page_view",
            "visitor_id": visitor,
            "provider_id": provider,
            "decision_id": named,
        }
        for visitor, provider, ago, named in visits
    ]
    if rows:
        recording.record(here, pa.Table.from_pylist(rows))


def delivered(here: Workspace, *known: str) -> dict[str, Delivered]:
    with here.engine() as engine:
        steering._attach(here, engine, DAY)
        return steering.delivered(here, engine, DAY, NOW, known)


def test_what_became_of_reservations_and_visits(here: Workspace) -> None:
    """reservation_s is 1800: 30 minutes, and a minute for the way to the lake."""
    log(
        here,
        [
            decision("kept", 40, "a"),
            decision("late", 50, "a"),  # its visit comes 35 minutes later: too late
            decision("waits", 10, "a"),
            decision("expired", 32, "b"),
            decision("slack", 30.5, "b"),  # expired, but its visit may still be on its way to the lake
            decision("two", 20, "a", "b"),  # its visitor goes to b
            decision("again", 15, "a", repeat_of="waits-not", reserved=(0,)),
            decision("shadow", 15, "a", mode="shadow", reserved=(0,)),
        ],
        [
            ("v1", "a", 39, "kept"),
            ("v1", "a", 38, "kept"),  # the same visit: one person, provider and day
            ("v2", "a", 15, "late"),
            ("v3", "b", 19, "two"),
            ("v4", "b", 5, None),
            ("v5", "b", 5, "unknown"),
        ],
    )
    assert delivered(here) == {
        # kept: 1; waits: 1 and 0.6 of two are outstanding; late: 1 released, its visit organic
        "a": Delivered(VISIT, VISIT + 600_000, VISIT, VISIT),
        # two's visit keeps 0.4, the other 0.6 of that visit and two more visits are organic
        "b": Delivered(400_000, VISIT, VISIT, 2 * VISIT + 600_000),
    }


def test_a_sticky_repeats_visit_keeps_the_first_decisions_reservation(here: Workspace) -> None:
    log(
        here,
        [decision("first", 20, "a"), decision("repeat", 10, "a", repeat_of="first", reserved=(0,))],
        [("v1", "a", 9, "repeat")],
    )
    assert delivered(here) == {"a": Delivered(committed=VISIT)}


def test_strangers_have_no_place_in_the_ledger(here: Workspace) -> None:
    """Whoever sends events can name providers without end; only those with a capacity or a reservation are kept."""
    here.ledger.open_day(DAY, {"b": 10.0})
    visits = [("v", "b", 9, None), *[("v", f"stranger-{i}", 9, None) for i in range(50)]]
    log(here, [decision("d", 10, "a")], visits)
    assert delivered(here) == {"a": Delivered(outstanding=VISIT)}
    assert delivered(here, "b") == {"a": Delivered(outstanding=VISIT), "b": Delivered(organic=VISIT)}
    steering.settle(here)
    assert {name: one.delivered for name, one in here.ledger.allowances(DAY).items()} == delivered(here, "b")


def test_dead_workers_leases_come_back_less_what_they_logged(here: Workspace) -> None:
    ledger = here.ledger
    ledger.open_day(DAY, {"a": 10.0})
    ledger.enter("w1", here.inbox.id, NOW - timedelta(seconds=60))
    assert ledger.lease("w1", DAY, {"a": 5 * VISIT}, NOW - timedelta(seconds=90)) == {"a": 5 * VISIT}
    reclaimer = steering.Reclaimer(here)
    here.inbox.append([("decision", encode_decision(decision("d", 2, "a")) + b"\n")])
    assert reclaimer.turn() == 0  # what it logged waits in the inbox
    drainer = Drainer(here)
    drainer.drain()
    drainer.close()
    assert reclaimer.turn() == 4 * VISIT
    assert ledger.allowances(DAY)["a"].leased == VISIT
    assert reclaimer.turn() == 0


def test_leases_of_a_host_that_never_returns_come_back_once_its_reservations_have_ended(here: Workspace) -> None:
    """reservation_s is 1800, with a minute's slack; the worker's time ended 30 and then 32 minutes ago."""
    ledger = here.ledger
    ledger.open_day(DAY, {"a": 100.0})
    for worker, ago in (("w1", 32), ("later", 30)):
        ledger.enter(worker, "another-host", NOW - timedelta(minutes=ago))
        assert ledger.lease(worker, DAY, {"a": 3 * VISIT}, NOW - timedelta(minutes=40)) == {"a": 3 * VISIT}
    log(here, [decision("known", 40, "a")], [])  # of worker w1
    steering.settle(here)
    assert ledger.allowances(DAY)["a"].leased == 4 * VISIT
    log(here, [decision("drained-late", 39, "a")], [])
    steering.settle(here)
    allowance = ledger.allowances(DAY)["a"]
    assert (allowance.leased, allowance.delivered.released) == (5 * VISIT, 2 * VISIT)


def plan_of(changes: dict[str, tuple[float, float]], newcomers: tuple[str, ...] = ()) -> Plan:
    lines = tuple(
        ProviderLine(name, "all", name in newcomers, today, tomorrow, 1.0, 0.0, ())
        for name, (today, tomorrow) in changes.items()
    )
    return replace(sample_plan(), providers=lines, gap=1e-4)


def test_a_plan_that_passes_has_no_doubts() -> None:
    settings = ServeSettings()
    quiet = plan_of({"a": (100, 130), "b": (100, 70), "small": (1, 9), "new": (50, 900)}, ("new",))
    assert nightly.doubts(quiet, [Finding("bots", "warning", "some")], [], settings) == ()
    wild = plan_of({"a": (100, 151), "b": (100, 49)})
    (told,) = nightly.doubts(wild, [], [], settings)
    assert "publish_change" in told and "51%" in told
    (told,) = nightly.doubts(replace(quiet, gap=0.01), [], [], settings)
    assert "gap" in told
    (told,) = nightly.doubts(replace(quiet, gap=float("nan")), [], [], settings)
    assert "gap" in told
    (told,) = nightly.doubts(quiet, [Finding("refunds", "error", "more refunds than orders")], [], settings)
    assert "more refunds" in told
    # a shop that fakes orders is not sent visitors for them unseen; where it loses, the plan may go
    habits = Habits(744, 12, 1.0, 1.0, 1.0)
    faked = [Suspect(name, habits, 756, ("same amount", "equal intervals"), ("v1",)) for name in ("a", "b")]
    (told,) = nightly.doubts(plan_of({"a": (100, 110), "b": (100, 90)}), [], faked, settings)
    assert "'a'" in told and "exclude_visitors" in told


def test_a_plan_that_is_published_meanwhile_keeps_its_capacities(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had read the plan before wrote its capacities back, up to the next pacing."""
    first, second = (here.state.save_plan(replace(simple_plan({"a": 1.0}), day=DAY)).version for _ in range(2))
    here.state.publish(first)
    write = here.ledger.open_day
    written: list[dict[str, float]] = []
    other = open_workspace(here.directory, here.clock)
    of = LivePlan.of
    monkeypatch.setattr(LivePlan, "capacities", lambda plan: {"a": 100.0 - plan.version})

    def late(stored: Plan) -> LivePlan:
        monkeypatch.setattr(LivePlan, "of", of)
        here.state.publish(second)
        assert steering.in_force(other)
        assert other.ledger.allowances(DAY)["a"].capacity == int((100 - second) * VISIT)
        return of(stored)

    def open_day(day: date, capacity: dict[str, float]) -> None:
        written.append(capacity)
        write(day, capacity)

    monkeypatch.setattr(here.ledger, "open_day", open_day)
    monkeypatch.setattr(LivePlan, "of", late)
    steering.in_force(here)
    assert written == [{"a": 100.0 - first}, {"a": 100.0 - second}]
    assert here.ledger.allowances(DAY)["a"].capacity == int((100 - second) * VISIT)
    assert here.state.get(OPENED) == {"day": DAY.isoformat(), "plan_version": second}


@pytest.mark.parametrize(
    ("record", "clock", "plan_at", "in_force", "expected"),
    [
        (None, "00:14", "00:15", None, False),
        (None, "00:15", "00:15", None, True),
        (None, "18:00", "00:15", None, True),  # the service was down at night
        ({"night": "2026-11-21"}, "00:15", "00:15", None, True),
        ({"night": "2026-11-22"}, "09:00", "00:15", None, False),
        (None, "09:00", "00:15", date(2026, 11, 21), True),
        (None, "09:00", "00:15", date(2026, 11, 22), False),  # somebody published today's plan already
        (None, "09:00", "", None, False),
    ],
)
def test_when_a_plan_is_due(record: Any, clock: str, plan_at: str, in_force: date | None, expected: bool) -> None:
    now = datetime.fromisoformat(f"2026-11-22T{clock}:00+08:00")
    plan = None if in_force is None else replace(sample_plan(), day=in_force)
    assert nightly.due(record, now, plan_at, plan) is expected


def test_a_plan_that_cannot_be_made_leaves_yesterdays_and_says_why(here: Workspace) -> None:
    kept = here.state.publish(here.state.save_plan(sample_plan()).version).version
    record = nightly.make(here, here.config.serve, lambda: True)
    assert record["published"] is False and "log" in record["reasons"][0]
    assert here.state.get(nightly.RECORD) == record
    assert [v for v, status in here.state.versions().items() if status == "published"] == [kept]


def test_a_night_that_fails_for_the_places_sake_is_tried_again(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut of the state is no verdict on tonight's plan; limits that conflict are."""
    raised: list[FootfallError] = [WorkspaceError("the state is away"), InputError("row 3 of the capacities")]

    def cut(*_: object, **__: object) -> None:
        raise raised[0]

    monkeypatch.setattr("footfall.app.planning.plan", cut)
    record = nightly.make(here, here.config.serve, lambda: True)
    assert record["reasons"] == ["the state is away"] and not nightly.held_back(record)
    made = datetime.fromisoformat(record["at"]).astimezone(here.zone)
    assert not nightly.due(record, made, "00:00", None)
    assert nightly.due(record, made + timedelta(seconds=60), "00:00", None)
    del raised[0]
    record = nightly.make(here, here.config.serve, lambda: True)
    assert nightly.held_back(record) and not nightly.due(record, made + timedelta(minutes=5), "00:00", None)


@pytest.mark.parametrize("hangs", [False, True], ids=["away", "hangs"])
def test_the_drain_goes_on_while_the_state_does_not(
    here: Workspace, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    """What looks after the inbox asks the state, the drain does not: it neither waits for it nor fails with it."""
    from footfall.app import logs
    from footfall.app.http.metrics import Metrics
    from footfall.app.keeper import Keeper

    keeper, asked, back = Keeper(here, here.config.serve, Metrics(), logs.set_up("test", "error")), Event(), Event()
    drains = 0

    def gone(*_: object) -> None:
        asked.set()
        if hangs:
            back.wait(30)
        raise WorkspaceError("the state is away")

    def drain() -> None:
        nonlocal drains
        drains += asked.is_set()
        if drains == 3:
            keeper.stop.set()

    monkeypatch.setattr(here.ledger, "gone", gone)
    monkeypatch.setattr(keeper, "drain", drain)
    timer = Timer(20, keeper.stop.set)
    timer.start()
    keeper.run(lambda: None)
    timer.cancel()
    back.set()
    assert drains >= 3
    assert keeper.metrics.value("footfall_task_failures", "drain") == 0
    assert hangs or keeper.metrics.value("footfall_task_failures", "inbox") == 1


def test_what_a_task_is_at_when_the_keeper_ends_is_brought_to_its_end(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A letter that is being handed over would be in doubt, and never be sent again."""
    from footfall.app import logs
    from footfall.app.http.metrics import Metrics
    from footfall.app.keeper import Keeper

    keeper, begun, done = Keeper(here, here.config.serve, Metrics(), logs.set_up("test", "error")), Event(), Event()

    def task() -> None:
        begun.set()
        keeper.stop.wait(30)
        time.sleep(0.3)
        done.set()

    monkeypatch.setattr(keeper, "look_after_inbox", task)
    monkeypatch.setattr(keeper, "drain", lambda: keeper.stop.set() if begun.is_set() else None)
    keeper.run(lambda: None)
    assert done.is_set()


def test_small_files_are_joined_when_their_day_is_over(here: Workspace) -> None:
    for number in range(3):
        rows = [{"ts": f"2026-11-20T08:0{number}:00Z", "name": "page_view", "visitor_id": "v", "provider_id": "a"}]
        recording.record(here, pa.Table.from_pylist(rows))
    assert len(here.store.files()) == 3
    assert compact(here) == 3
    assert len(here.store.files()) == 1
    assert compact(here) == 0


def test_local_days_have_23_or_25_hours_where_the_clock_changes(tmp_path: Path) -> None:
    from footfall.app.http.live import local_day

    here = make_workspace(tmp_path / "paris", {"workspace": {"timezone": "Europe/Paris"}})
    spring = local_day(here, datetime(2026, 3, 29, 12, tzinfo=UTC))
    autumn = local_day(here, datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert spring.ends - spring.begins == timedelta(hours=23)
    assert autumn.ends - autumn.begins == timedelta(hours=25)
    assert spring.begins == datetime(2026, 3, 28, 23, tzinfo=UTC)


@pytest.mark.slow
def test_the_keepers_night(tmp_path: Path) -> None:
    """A plan that passes is published and opens the day; one that does not leaves the one before, and says why."""
    from serving import configure, planned_workspace

    from footfall.app import logs
    from footfall.app.build import open_workspace
    from footfall.app.http.metrics import Metrics
    from footfall.app.keeper import Keeper

    folder = planned_workspace(tmp_path / "shop")
    metrics = Metrics()

    def night(**settings: object) -> dict[str, Any]:
        configure(folder, {"serve": {"plan_at": "00:00", **settings}})
        here = open_workspace(folder)
        here.state.put(nightly.RECORD, {"night": "1999-01-01", "published": True})
        with here.state._writing() as connection:  # type: ignore[attr-defined]
            import sqlalchemy as sa

            connection.execute(sa.text("UPDATE plans SET status = 'retired'"))
        before = here.state.plan()
        assert before is not None
        here.state.publish(here.state.save_plan(replace(before, day=before.day - timedelta(days=3))).version)
        keeper = Keeper(here, here.config.serve, metrics, logs.set_up("test", "error"))
        keeper.hold()
        assert keeper.leads
        keeper.plan()
        keeper.plan()  # once a night
        here.leadership.release(keeper.holder)
        record = here.state.get(nightly.RECORD)
        assert record is not None
        (published,) = [v for v, status in here.state.versions().items() if status == "published"]
        newest = max(here.state.versions())
        assert record["version"] == newest
        assert (published == newest) is record["published"]
        return dict(record)

    assert night()["published"]
    assert metrics.value("footfall_plan_held_back") == 0
    here = open_workspace(folder)
    assert set(here.ledger.allowances(here.today())) == {"shop-a", "shop-b"}
    held = night(publish_change=1e-9)
    assert not held["published"] and "publish_change" in held["reasons"][0]
    assert metrics.value("footfall_plan_held_back") == 1


def test_pacing_moves_prices_of_what_is_over_its_share(here: Workspace) -> None:
    """Half of the day's decisions went to a provider whose capacity is nearly used up: its price rises, by one step."""
    from serving import simple_plan

    from footfall.acquire.live import LivePlan

    plan = simple_plan({"a": 0.5, "b": 0.5}, visits=200.0)
    providers = (replace(plan.providers[0], capacity=60.0), plan.providers[1])
    here.state.save_plan(replace(plan, providers=providers, day=DAY))
    log(here, [decision(f"d{i}", 20, "a" if i % 2 else "b") for i in range(100)], [])
    paced = steering.settle(here)
    assert paced is not None and paced.plan_version == 1 and paced.day == DAY
    live = LivePlan.of(here.state.plan(1))  # type: ignore[arg-type]
    step = here.config.live.pacing_step * live.usual_tau
    assert 0 < paced.offsets["a"] <= step * (1 + 1e-9)
    allowances = here.ledger.allowances(DAY)
    assert allowances["a"].capacity == 60 * VISIT
    assert allowances["a"].delivered.outstanding == 50 * VISIT
