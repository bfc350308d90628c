"""What became of a day's decisions, counted from the drained log: what the ledger settles and pacing goes by.

All counts are totals of the day so far, so that counting again changes nothing and a keeper that was killed misses
nothing. The engine has to show the lake's ``events`` and ``decisions`` of the day, of the one before and of the one
after. These statements run on the embedded engine only: the keeper's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

import numpy as np

from footfall.acquire.live import LivePlan
from footfall.acquire.pacing import DaySoFar, expected_share
from footfall.errors import ConfigError
from footfall.model import EVENT_NAMES, VISIT, Delivered, Floats
from footfall.ports import Engine

_MARK = re.compile(r"\{([a-z_]+)\}")
PROFILE_DAYS = 28


@dataclass(frozen=True, eq=False, slots=True)
class DayCount:
    """delivered: by provider. arrivals: first decisions by segment."""

    delivered: Mapping[str, Delivered]
    arrivals: Mapping[str, int]

    @property
    def kept(self) -> float:
        """Share of settled reservations that a visit kept, in (0, 1]; leaning on 1 while there are few."""
        committed = sum(one.committed for one in self.delivered.values()) / VISIT
        released = sum(one.released for one in self.delivered.values()) / VISIT
        return (committed + 20) / (committed + released + 20)


def count_day(
    engine: Engine, day: date, now: datetime, reservation_s: float, visit_events: tuple[str, ...]
) -> DayCount:
    """Count a local day as of ``now`` (aware); reservations older than ``reservation_s`` without a visit are released.

    What is still in an inbox is not seen: take ``now`` no later than the oldest event that is not drained yet.
    """
    marks = {"visit_events": _names(visit_events)}
    days = {"day": day, "before": day - timedelta(days=1), "after": day + timedelta(days=1)}
    expired = now.astimezone(UTC).replace(tzinfo=None) - timedelta(seconds=reservation_s)
    engine.execute(_statement("first_decisions", marks), {k: days[k] for k in ("day", "before")})
    engine.execute(_statement("decided_visits", marks), days)
    engine.execute(_statement("kept_choices", marks), {"reservation_us": int(reservation_s * 1e6)})
    rows = engine.query(_statement("delivered", marks), {"day": day, "expired": expired, "visit": VISIT}).to_pylist()
    arrivals = engine.query(_statement("arrivals", marks), {"day": day}).to_pylist()
    return DayCount(
        {
            row["provider_id"]: Delivered(row["committed"], row["outstanding"], row["released"], row["organic"])
            for row in rows
        },
        {row["segment"]: row["decisions"] for row in arrivals},
    )


def reserved_by(engine: Engine, worker_id: str) -> dict[tuple[date, str], int]:
    """What a worker's logged decisions reserved by (day, provider), millionths of a visit: for ``Ledger.reclaim``."""
    rows = engine.query(_statement("reserved_by_worker", {}), {"worker_id": worker_id}).to_pylist()
    return {(row["day"], row["provider_id"]): row["reserved"] for row in rows}


def hourly_profile(engine: Engine, day: date, zone: str, visit_events: tuple[str, ...]) -> Floats:
    """Visit events by hour of the local day over the 28 days before ``day``, float64 (24,)."""
    days = {"first": day - timedelta(days=PROFILE_DAYS), "last": day - timedelta(days=1)}
    found = engine.query(_statement("hourly", {"visit_events": _names(visit_events)}), {**days, "zone": zone})
    profile = np.zeros(24)
    for row in found.to_pylist():
        profile[row["hour"]] = row["events"]
    return profile


def day_so_far(plan: LivePlan, count: DayCount, profile: Floats, hour: float) -> DaySoFar:
    """The figures of a count in the plan's order, as ``pace`` takes them. hour: of the local day, in [0, 24]."""
    nothing = Delivered()
    found = [count.delivered.get(name, nothing) for name in plan.providers]
    return DaySoFar(
        elapsed=expected_share(profile, hour),
        arrivals=np.array([count.arrivals.get(name, 0) for name in plan.segments], dtype=np.float64),
        held=np.array([(one.committed + one.outstanding) / VISIT for one in found], dtype=np.float64),
        organic=np.array([one.organic / VISIT for one in found], dtype=np.float64),
    )


def _statement(name: str, marks: Mapping[str, str]) -> str:
    text = files("footfall.acquire").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")
    return _MARK.sub(lambda found: marks[found.group(1)], text)


def _names(names: tuple[str, ...]) -> str:
    for name in names:
        if name not in EVENT_NAMES:
            raise ConfigError(f"a recipe names the event {name!r}, which is none", f"use: {', '.join(EVENT_NAMES)}")
    return ", ".join(f"'{name}'" for name in names) or "NULL"
