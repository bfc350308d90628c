"""Checks of the log's days: days without events, a single day, days that stand out, levels that shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from footfall.model import Finding, Floats
from footfall.texts import say

_NEAR_DAYS = 7  # days on either side that a day is compared with
_FEWEST_NEAR = 4  # of them there must be
_JUMP = 2.5  # times above or below the usual number
_NOISE_SDS = 6.0  # and more than so many Poisson standard deviations away
_WEEKS = 3  # from so many on, the weekday's habit is taken out first
_WEEKDAYS = (
    say("Mondays"),
    say("Tuesdays"),
    say("Wednesdays"),
    say("Thursdays"),
    say("Fridays"),
    say("Saturdays"),
    say("Sundays"),
)


def day_findings(days: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Findings from rows of ``day`` (date, ascending) and ``events``, one for each day with events."""
    known = [row["day"] for row in days]
    events = np.array([row["events"] for row in days], dtype=np.float64)
    return [_length(known), *_gaps(known), *_outliers(known, events), *_shifts(known, events)]


def _length(days: Sequence[date]) -> Finding:
    if len(days) > 1:
        text = say("the log runs from {first} to {last}", first=days[0], last=days[-1])
        return Finding("days", "ok", text, len(days))
    return Finding(
        "days",
        "warning",
        say("the log holds a single day, {day}: orders that come later, and what changes, cannot be seen", day=days[0]),
        1,
        way_out=say("import more days; four weeks make a good start"),
    )


def _gaps(days: Sequence[date]) -> list[Finding]:
    have = set(days)
    span = [days[0] + timedelta(days=i) for i in range((days[-1] - days[0]).days + 1)]
    missing = [day for day in span if day not in have]
    closed = _closed_weekdays(days) if len(span) >= 7 * _WEEKS else set()
    holes = [day for day in missing if day.weekday() not in closed]
    found = []
    if closed:
        names = ", ".join(_WEEKDAYS[w] for w in sorted(closed))
        text = say("there is no event on any of the {weekdays}", weekdays=names)
        way_out = say("fine where you are closed then")
        found.append(Finding("weekdays", "note", text, len(missing) - len(holes), way_out=way_out))
    if holes:
        text = say("days inside the log without events: {days:,}", days=len(holes))
        way_out = say("import the missing days; until then they look like days without visitors")
        found.append(Finding("gaps", "warning", text, len(holes), _ranges(holes)[:5], way_out))
    else:
        found.append(Finding("gaps", "ok", say("no day inside the log is without events")))
    return found


def _closed_weekdays(days: Sequence[date]) -> set[int]:
    return set(range(7)) - {day.weekday() for day in days}


def _ranges(days: Sequence[date]) -> tuple[str, ...]:
    runs: list[list[date]] = []
    for day in days:
        if runs and day - runs[-1][-1] == timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    return tuple(str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]} ({len(r)} days)" for r in runs)


def usual_levels(days: Sequence[date], events: Floats) -> tuple[Floats, Floats]:
    """Events without the weekday's habit, and their median on the days around (NaN where too few), both (n,).

    events: float64 (n,), of each day. The habit is a weekday's median over the median of all days.
    """
    level = events / _habits(days, events)
    numbers = np.array([day.toordinal() for day in days])
    usual = np.full(len(days), np.nan)
    for i, day in enumerate(numbers):
        near = (np.abs(numbers - day) <= _NEAR_DAYS) & (numbers != day)
        if near.sum() >= _FEWEST_NEAR:
            usual[i] = np.median(level[near])
    return level, usual


def _habits(days: Sequence[date], events: Floats) -> Floats:
    habits = np.ones(len(days))
    if (days[-1] - days[0]).days + 1 < 7 * _WEEKS:
        return habits
    weekdays = np.array([day.weekday() for day in days])
    middle = np.median(events)
    for weekday in np.unique(weekdays):
        habits[weekdays == weekday] = np.median(events[weekdays == weekday]) / middle
    return habits


def _stands_out(value: float, usual: float) -> bool:
    far = value > _JUMP * usual or value * _JUMP < usual
    return bool(far and abs(value - usual) > _NOISE_SDS * np.sqrt(max(usual, 1.0)))


def _outliers(days: Sequence[date], events: Floats) -> list[Finding]:
    level, usual = usual_levels(days, events)
    odd = [i for i in range(len(days)) if not np.isnan(usual[i]) and _stands_out(level[i], usual[i])]
    ends = [i for i in odd if i in (0, len(days) - 1) and level[i] < usual[i]]
    inside = [i for i in odd if i not in ends]

    def lines(which: list[int]) -> tuple[str, ...]:
        return tuple(
            f"{days[i]}: {events[i]:,.0f} events, {level[i] / usual[i]:.2g} times the usual" for i in which[:5]
        )

    found = []
    if inside:
        found.append(
            Finding(
                "days that stand out",
                "warning",
                say("days with far more or far fewer events than those around them: {days:,}", days=len(inside)),
                len(inside),
                lines(inside),
                say("look for an export that broke off or ran twice, or for a campaign; import broken days again"),
            )
        )
    if ends:
        text = say("the first or last day of the log has far fewer events than its neighbours and may be incomplete")
        way_out = say("import the rest of that day, or end the period before it (--to)")
        found.append(Finding("incomplete days", "note", text, len(ends), lines(ends), way_out))
    return found or [
        Finding("days that stand out", "ok", say("no day has far more or far fewer events than those around it"))
    ]


def _shifts(days: Sequence[date], events: Floats) -> list[Finding]:
    """Levels that changed for good: the median of the week before against the week from a day on."""
    level = events / _habits(days, events)
    n = len(days)
    changes, strength = np.zeros(n + 1), np.zeros(n + 1)
    for i in range(_NEAR_DAYS, n - _NEAR_DAYS + 1):
        before, after = level[i - _NEAR_DAYS : i], level[i : i + _NEAR_DAYS]
        if _stands_out(float(np.median(after)), float(np.median(before))):
            changes[i] = np.median(after) / np.median(before)
            strength[i] = abs(np.log(after.mean() / before.mean()))  # means are sharpest where the change is
    firsts = [i for i in range(n) if changes[i] and i == i - 7 + int(np.argmax(strength[i - 7 : i + 8]))]
    if not firsts:
        return []
    where = tuple(f"about {days[i]}: {changes[i]:.2g} times the week before" for i in firsts[:5])
    return [
        Finding(
            "level",
            "warning",
            say("lasting changes of the number of events a day: {changes:,}", changes=len(firsts)),
            len(firsts),
            where,
            say("see whether tracking was changed or a source added; `--from` starts the counting after it"),
        )
    ]
