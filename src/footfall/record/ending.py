"""Ending: whether the log of a day breaks off hours before those of the days before it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from footfall.ports import Engine
from footfall.record.queries import text

_NEAR_DAYS = 7  # days with events before it that a day is compared with
_FEWEST_DAYS = 3  # of them there must be
_LEAST_SHARE = 0.05  # of a day's events that come later on those days, below which nothing is said
_LEAST_EVENTS = 8  # of those a day: that none comes by chance has then a probability of exp(-8)


@dataclass(frozen=True, slots=True)
class Ending:
    """A day that breaks off.

    ended: its last event, in the log's zone. share: of the events of the days before, those after that time of day.
    """

    day: date
    ended: datetime
    share: float


def broken_off(engine: Engine, days: Sequence[date], zone: ZoneInfo) -> Ending | None:
    """How the last of ``days`` ends where it breaks off; None where it does not, or too little is known to tell.

    engine: the log is attached to it, these days at least. days: with events, ascending. Each of the days before must
    have gone on: a day that a shop closes early is no sign where other days do the same.
    """
    if len(days) <= _FEWEST_DAYS:
        return None
    day, before = days[-1], list(days[-1 - _NEAR_DAYS : -1])
    (row,) = engine.query("SELECT max(ts) AS ts FROM events WHERE day = $day", {"day": day}).to_pylist()
    ended = row["ts"].replace(tzinfo=UTC).astimezone(zone)
    if ended.date() != day:  # the log's days are those of another zone's clock
        return None
    cuts = [datetime.combine(other, ended.timetz(), zone).astimezone(UTC).replace(tzinfo=None) for other in before]
    rows = engine.query(text("later_that_day"), {"days": before, "cuts": cuts}).to_pylist()
    later = [row["later"] for row in rows]
    share = sum(later) / sum(row["events"] for row in rows)
    tells = min(later) > 0 and share >= _LEAST_SHARE and sum(later) >= _LEAST_EVENTS * len(later)
    return Ending(day, ended, share) if tells else None
