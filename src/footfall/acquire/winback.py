"""What would win a provider's lost visits back: the rise in conversion (or in order value) that does,
checked.

The rise is guessed from the closed form at the other providers' prices, then found by bisection on plans
solved again with this provider's values raised. Values are conversion x order value, so the same rise of
either has the same effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from footfall.acquire.compare import Solve
from footfall.acquire.limits import CHANGE_UP, EXCLUDE, PIN, SHARE_CAP
from footfall.acquire.plan import PlanDetail
from footfall.acquire.reference import row_totals
from footfall.model import Floats

MOST = 10.0  # the largest rise that is looked for, as a factor
SOLVES = 16
TRIES = 2  # small steps up from the guess before the largest rise is tried
CLOSE = 1.0005  # a bracket of factors this narrow is enough
NEAR = 0.5  # visits
NEAR_SHARE = 0.005  # of today's visits


@dataclass(frozen=True, slots=True)
class WinBack:
    """The rise that brings tomorrow's visits to today's; ``blocked_by`` names what forbids it where none
    does.

    rise: 0.25 = a quarter more conversion, or a quarter more order value. conversion, order_value: as they
    are (by visits at the reference shares); conversion_needed, order_value_needed: either one alone is
    enough. visits: tomorrow's visits at that rise, from a plan solved again.
    """

    rise: float | None = None
    conversion: float | None = None
    conversion_needed: float | None = None
    order_value: float | None = None
    order_value_needed: float | None = None
    visits: float | None = None
    blocked_by: str = ""


def win_back(detail: PlanDetail, j: int, today: float, tomorrow: float, solve: Solve) -> WinBack | None:
    """What would bring provider j's visits back to ``today``; None where tomorrow loses less than half a
    visit.
    """
    if tomorrow >= today - NEAR:
        return None
    near = max(NEAR, NEAR_SHARE * today)
    blocked = _blocked(detail, j, today - near)
    if blocked:
        return WinBack(blocked_by=blocked)
    found = _search(
        lambda factor: _visits_at(detail, j, factor, solve), tomorrow, today, near, _guess(detail, j, today)
    )
    if found is None:
        return WinBack(blocked_by=f"others: no rise up to {MOST:g} times as much is enough")
    return _told(detail, j, *found)


def _search(
    visits_at: Callable[[float], float], tomorrow: float, today: float, near: float, guess: float
) -> tuple[float, float] | None:
    """The least factor found, with its visits, at which they are at least ``today - near``; None where none
    is.

    Visits do not fall as the factor rises. The first factor is the guess, the next stand where a straight
    line through the bracket's ends meets ``today``; a bracket that shrinks slowly is halved.
    """
    low, under = 1.0, tomorrow
    reached: tuple[float, float] | None = None
    factor = min(max(guess, 1 + 1e-6), MOST)
    for number in range(SOLVES):
        visits = visits_at(factor)
        if visits >= today - near:
            reached = factor, visits
            if visits <= today + near:
                break
        else:
            low, under = factor, visits
        if reached is None:
            if factor >= MOST:
                break
            factor = MOST if number >= TRIES else min(factor * 1.3, MOST)
            continue
        if reached[0] / low < CLOSE:
            break
        line = (today - under) / max(reached[1] - under, 1e-12) if number % 3 else 0.5
        factor = low + (reached[0] - low) * min(max(line, 0.05), 0.95)
    return reached


def _blocked(detail: PlanDetail, j: int, wanted: float) -> str:
    """The limit that keeps provider j below ``wanted`` visits whatever its value; empty where none does."""
    pairs, bounds = detail.pairs, detail.bounds
    mine = pairs.edges.provider == j
    if bounds.hard_high[j] <= 0:
        return bounds.high_name(j)
    if not pairs.open[mine].any():
        return EXCLUDE
    demand = np.where(mine, detail.inputs.demand.visits[pairs.edges.segment], 0.0)
    if float(demand @ np.maximum(detail.share_cap * pairs.open, pairs.pin)) < wanted:
        if float(demand @ np.where(pairs.open & ~pairs.pinned, 1.0, pairs.pin)) >= wanted:
            return SHARE_CAP
        return "demand" if pairs.open[mine].all() else EXCLUDE
    if bounds.high[j] < wanted:
        return _why_high(detail, j, wanted, demand)
    if detail.part is None:
        return "demand"
    free = detail.part.problem.provider == j
    if not free.any():
        return "no reference share"
    if not (detail.part.problem.value[free] > 0).any():
        return "a value that is not above 0"
    return ""


def _why_high(detail: PlanDetail, j: int, wanted: float, demand: Floats) -> str:
    """Name of the upper limit; of the rule that moved its base, where it is the largest change."""
    pairs, bounds = detail.pairs, detail.bounds
    name, factor = bounds.high_name(j), 1 + bounds.rise
    if name == CHANGE_UP and factor * float(demand @ pairs.reference) >= wanted:
        return PIN
    closed = (~pairs.open & (demand > 0)).any()
    if name == CHANGE_UP and closed and factor * float(demand @ pairs.share_today) >= wanted:
        return EXCLUDE
    return name


def _guess(detail: PlanDetail, j: int, today: float) -> float:
    """The factor at which the closed form, at the others' prices and no price of its own, gives today's
    visits.
    """
    part, allocation = detail.part, detail.allocation
    assert part is not None and allocation is not None
    problem, inertia = part.problem, detail.inputs.settings.inertia
    reference = problem.reference
    if inertia == 0 or reference is None:
        return 1.1
    mine = np.flatnonzero(problem.provider == j)
    rows = np.searchsorted(problem.row_start, mine, side="right") - 1
    pinned = float(detail.bounds.pinned[j])
    price = allocation.price[problem.provider].copy()
    price[problem.provider == j] = 0.0
    # only the rows of j matter; they are taken out once
    kept = np.isin(np.repeat(np.arange(problem.segments), np.diff(problem.row_start)), rows)
    row_start = np.concatenate(([0], np.cumsum(kept)))[problem.row_start]
    p, value, price = reference[kept].astype(np.float64), problem.value[kept].astype(np.float64), price[kept]
    own = problem.provider[kept] == j
    segment = np.repeat(np.arange(problem.segments), np.diff(row_start))
    low, high = 1.0, MOST
    for _ in range(40):
        factor = (low + high) / 2
        raised = np.where(own, value * factor, value)
        signal = row_totals(row_start, p * np.maximum(raised, 0.0))
        tau = inertia * np.where(signal > 0, signal, 1.0)[segment]
        weight = p * np.exp(np.clip((raised - price) / tau, -700, 700))
        share = weight / np.maximum(row_totals(row_start, weight), 1.0)[segment]
        if pinned + float((problem.demand[segment] * share)[own].sum()) >= today:
            high = factor
        else:
            low = factor
    return high


def _visits_at(detail: PlanDetail, j: int, factor: float, solve: Solve) -> float:
    """Provider j's visits in a plan solved again with its positive values ``factor`` times as high."""
    part, allocation = detail.part, detail.allocation
    assert part is not None and allocation is not None
    problem, settings = part.problem, detail.inputs.settings
    raise_here = (problem.provider == j) & (problem.value > 0)
    options: dict[str, Any] = {"gap": settings.gap, "time_limit_s": settings.time_limit_s}
    again = solve(
        replace(problem, value=np.where(raise_here, problem.value * factor, problem.value)),
        inertia=settings.inertia,
        prices=allocation.price,
        **options,
    )
    return float(again.load[j] + detail.bounds.pinned[j])


def _told(detail: PlanDetail, j: int, factor: float, visits: float) -> WinBack:
    pairs = detail.pairs
    mine = pairs.edges.provider == j
    weight = np.where(mine, detail.inputs.demand.visits[pairs.edges.segment] * pairs.reference, 0.0)
    conversion = float((weight * pairs.conversion).sum() / weight.sum())
    value = float((weight * pairs.value).sum() / weight.sum())
    order = value / conversion if conversion > 0 else None
    return WinBack(
        rise=factor - 1,
        conversion=conversion,
        conversion_needed=conversion * factor,
        order_value=order,
        order_value_needed=order * factor if order is not None else None,
        visits=visits,
    )
