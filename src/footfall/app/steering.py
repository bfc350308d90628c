"""Steering the day: what became of decisions goes to the ledger, and moves the prices (``acquire.pacing``).

settle    the drained log -> what is committed, outstanding, released, organic, by provider
pace      -> the next pacing of the published plan, where something has to move
reclaim   leases of workers that died come back, less what their logged decisions reserved
recall    so do those of hosts that do not come back, when all that they may have logged has expired
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from footfall.acquire.live import LivePlan
from footfall.acquire.pacing import DaySoFar, expected_share, pace
from footfall.app.build import Workspace
from footfall.app.opening import open_day, published
from footfall.model import VISIT, Delivered, Floats, Pacing
from footfall.ports import Engine
from footfall.value import statements
from footfall.value.recipes import recipe

SLACK_S = 60.0  # a visit may take so long from the client's clock to the lake before its reservation counts as expired
PROFILE_DAYS = 28
RESERVED_DAYS = 4  # at least those that the ledger keeps of a worker that was given up
_KEPT_PRIOR = 50.0


@cache
def _text(name: str) -> str:
    return files("footfall.app").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")


def _statement(here: Workspace, name: str) -> str:
    marks = statements.marks_of(recipe(here.config.workspace.recipe), here.config.value.segment, "first")
    return _text(name).replace("{visit_events}", marks["visit_events"])


def in_force(here: Workspace) -> LivePlan | None:
    """The plan in force, which today is opened by."""
    version = published(here)
    found = None if version is None else here.state.plan(version)
    if found is None:
        return None
    plan = LivePlan.of(found)
    open_day(here, plan)
    return plan


def settle(here: Workspace) -> Pacing | None:
    """Bring the ledger up to what the lake says of today (and of yesterday, just after midnight), then pace.

    The new pacing, None where nothing had to move.
    """
    plan = in_force(here)
    now, today = here.clock.now(), here.today()
    window = here.config.live.reservation_s + SLACK_S
    before = (now - timedelta(seconds=window)).astimezone(here.zone).date()
    with here.engine() as engine:
        days = {}
        for day in sorted({before, today}):
            _attach(here, engine, day)
            days[day] = delivered(here, engine, day, now, here.ledger.allowances(day))
        recall(here, now - timedelta(seconds=window))  # before settling: see ``Ledger.recall``
        for day, amounts in days.items():
            here.ledger.settle(day, amounts)
        arrivals = [] if plan is None else _arrivals(here, engine, today, now, plan.segments)
        profile = _profile(here, engine, today) if arrivals else {}
    return None if plan is None or not arrivals else _pace(here, plan, today, now, arrivals, profile)


def _attach(here: Workspace, engine: Engine, day: date) -> None:
    here.store.attach(engine, day, day + timedelta(days=1))
    here.decisions.attach(engine, day - timedelta(days=1), day)


def _times(here: Workspace, day: date, now: datetime) -> dict[str, object]:
    return {
        "day": day,
        "now": now.astimezone(UTC).replace(tzinfo=None),
        "reservation_s": here.config.live.reservation_s,
        "slack_s": SLACK_S,
    }


def delivered(
    here: Workspace, engine: Engine, day: date, now: datetime, known: Collection[str]
) -> dict[str, Delivered]:
    """What became of a day's reservations and visits, by provider; views ``events`` and ``decisions`` are attached.

    known: providers to tell in any case; of all others, those of which something was reserved.
    """
    found = engine.query(_statement(here, "delivered"), {**_times(here, day, now), "known": list(known)})
    return {
        row["provider_id"]: Delivered(row["committed"], row["outstanding"], row["released"], row["organic"])
        for row in found.to_pylist()
    }


def _arrivals(
    here: Workspace, engine: Engine, day: date, now: datetime, segments: Sequence[str]
) -> list[dict[str, Any]]:
    _attach(here, engine, day)
    asked = {**_times(here, day, now), "segments": list(segments)}
    found: list[dict[str, Any]] = engine.query(_statement(here, "arrivals"), asked).to_pylist()
    return found


def _profile(here: Workspace, engine: Engine, day: date) -> dict[int, int]:
    here.store.attach(engine, day - timedelta(days=PROFILE_DAYS), day - timedelta(days=1))
    zone = {"zone": here.config.workspace.timezone}
    return {row["hour"]: row["visits"] for row in engine.query(_statement(here, "profile"), zone).to_pylist()}


def _pace(
    here: Workspace,
    plan: LivePlan,
    day: date,
    now: datetime,
    arrivals: list[dict[str, Any]],
    profile: Mapping[int, int],
) -> Pacing | None:
    local = now.astimezone(here.zone)
    hours = [float(profile.get(hour, 0)) for hour in range(24)]
    by_segment = {row["segment"]: float(row["arrivals"]) for row in arrivals}
    allowances = here.ledger.allowances(day)

    def column(part: str) -> Floats:
        nothing = Delivered()
        told = [allowances[name].delivered if name in allowances else nothing for name in plan.providers]
        amounts = [d.organic if part == "organic" else d.committed + d.outstanding for d in told]
        return np.array(amounts, dtype=np.float64) / VISIT

    so_far = DaySoFar(
        elapsed=expected_share(hours, local.hour + local.minute / 60 + local.second / 3600),
        arrivals=np.array([by_segment.get(name, 0.0) for name in plan.segments], dtype=np.float64),
        held=column("held"),
        organic=column("organic"),
    )
    over, kept = (float(sum(row[name] for row in arrivals)) for name in ("over", "kept"))
    before = plan.offsets(here.ledger.pacing(plan.version, day))
    share = (kept + _KEPT_PRIOR) / (over + _KEPT_PRIOR)
    paced = pace(plan, so_far, before, here.config.live, min(share, 1.0))
    if np.abs(paced.offsets - before).max(initial=0.0) <= 1e-6 * plan.usual_tau:
        return None
    offsets = dict(zip(plan.providers, paced.offsets.tolist(), strict=True))
    moved = {name: offset for name, offset in offsets.items() if offset}
    return here.ledger.add_pacing(Pacing(0, day, plan.version, now, moved))


def recall(here: Workspace, ended: datetime) -> int:
    """Free the leases of workers whose time ended before that, on hosts that have not come back since.

    Whatever such a host has logged and not drained is past its reservation; the millionths of visits that came back.
    """
    gone = here.ledger.gone(None, ended)
    return sum(here.ledger.recall(worker, _reserved(here, worker), ended) for worker in gone)


def _reserved(here: Workspace, worker: str) -> dict[tuple[date, str], int]:
    """What a worker's drained decisions reserved in the last days, by (day, provider)."""
    today = here.today()
    with here.engine() as engine:
        here.decisions.attach(engine, today - timedelta(days=RESERVED_DAYS), today + timedelta(days=1))
        rows = engine.query(_text("reserved"), {"worker": worker}).to_pylist()
    return {(row["day"], row["provider_id"]): row["reserved"] for row in rows}


class Reclaimer:
    """Takes back the leases of this host's dead workers, once all that they logged is in the lake."""

    def __init__(self, here: Workspace) -> None:
        self._here = here
        self._marks: dict[str, int] = {}

    def turn(self) -> int:
        """Look for dead workers; the millionths of visits that came back."""
        here, now = self._here, self._here.clock.now()
        inbox = here.inbox
        gone = here.ledger.gone(inbox.id, now - timedelta(seconds=5))
        last = inbox.counts()["last"] if gone else 0
        for worker in gone:
            self._marks.setdefault(worker, last)
        waiting = inbox.read(0, 1)
        first = waiting[0][0] if waiting else None
        back = 0
        for worker in [w for w, mark in self._marks.items() if first is None or first > mark]:
            back += here.ledger.reclaim(worker, _reserved(here, worker), now)
            del self._marks[worker]
        return back
