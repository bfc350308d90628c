"""Why a provider's visits change from today to tomorrow, in parts that sum to the change.

The parts are those of design.md, "Why": demand, eligibility and the newcomers' mass, then from the reference
to the plan (``path``) conversion, order value, the provider's own limits by name, others, boosts; what limits
leave unassigned and what the repair of the plan moves are lines of their own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from footfall.acquire._work import entropic_work
from footfall.acquire.compare import Solve
from footfall.acquire.inputs import PlanInputs
from footfall.acquire.limits import PIN, SHARE_CAP
from footfall.acquire.path import capped_shares, path_weights, sharp_ends, whole_parts
from footfall.acquire.plan import PlanDetail, plan_detail
from footfall.acquire.reference import row_totals
from footfall.acquire.rules import near
from footfall.acquire.solver import solve as default_solve
from footfall.acquire.winback import WinBack, win_back
from footfall.errors import ConfigError
from footfall.model import Floats

PLAIN_TAU = 0.02  # of the mean value of a row, where inertia is 0
NEIGHBOURS = 5
TOLD = 1e-6  # visits: a part below this goes into the last line

NAMES = {
    "demand": "demand",
    "eligibility": "eligibility",
    "newcomers": "newcomers' share",
    "conversion": "conversion",
    "order_value": "order value",
    "others": "others",
    "boost": "boosts",
    "unassigned": "left unassigned",
    "repair": "rounding",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One part of the change: ``visits`` sum to the change exactly, ``whole`` to that of whole visits, ``told`` to the
    change as people read it (``told_visits``).

    key: demand, eligibility, newcomers, conversion, order_value, limit, others, boost, unassigned or repair.
    detail: the limit's name for ``limit``. own, around: the provider's figure and that of those it competes
    with (orders per visit; order value in major units), for conversion and order_value.
    """

    key: str
    detail: str
    visits: float
    whole: int
    told: float
    own: float | None = None
    around: float | None = None

    @property
    def name(self) -> str:
        """The line's name in words."""
        return f"limit: {self.detail}" if self.key == "limit" else NAMES[self.key]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another provider of the same segments, and the visits it gains there; ``told`` as people read them."""

    provider_id: str
    visits: float
    told: float


def told_visits(today: float, tomorrow: float) -> tuple[float, float, float]:
    """Visits of two days and the change as people read them: whole, in tenths where neither day comes to 10.

    The change is the difference of the two as told, so that nothing that shows them gives one change two numbers.
    """
    places = _places(today, tomorrow)
    first, second = round(today, places), round(tomorrow, places)
    return first, second, round(second - first, places)


def _places(today: float, tomorrow: float) -> int:
    return 1 if max(today, tomorrow) < 9.95 else 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one provider's visits change from today to the planned day."""

    provider_id: str
    day: date
    as_of: date
    visits_today: float
    visits_tomorrow: float
    lines: tuple[Reason, ...]
    win_back: WinBack | None  # None where no visits are lost
    neighbours: tuple[Neighbour, ...]  # who gained in the same segments, most first
    notes: tuple[str, ...]

    @property
    def change(self) -> float:
        """Visits tomorrow less visits today; the lines sum to it."""
        return self.visits_tomorrow - self.visits_today

    @property
    def whole_today(self) -> int:
        """Today's visits, rounded."""
        return round(self.visits_today)

    @property
    def whole_tomorrow(self) -> int:
        """Tomorrow's visits, rounded: today's with the whole parts of the lines added up."""
        return round(self.visits_tomorrow)

    @property
    def told(self) -> tuple[float, float, float]:
        """Visits today, tomorrow and the change as people read them; the lines' ``told`` sum to it."""
        return told_visits(self.visits_today, self.visits_tomorrow)

    @property
    def places(self) -> int:
        """Decimals of what is told: 0, or 1 where neither day comes to 10 visits."""
        return _places(self.visits_today, self.visits_tomorrow)

    def rows(self) -> list[dict[str, Any]]:
        """The lines as plain rows: reason, visits, whole, told, own, around."""
        return [
            {"reason": r.name} | {name: getattr(r, name) for name in ("visits", "whole", "told", "own", "around")}
            for r in self.lines
        ]

    def as_dict(self) -> dict[str, Any]:
        """The explanation as plain values, for JSON."""
        return asdict(self) | {"change": self.change}

    def sentence(self) -> str:
        """The change and its three largest reasons, in one sentence."""
        largest = sorted((r for r in self.lines if r.told), key=lambda r: -abs(r.told))[:3]
        because = ", ".join(f"{r.name} {r.told:+,.{self.places}f}" for r in largest)
        today, tomorrow, _ = self.told
        moved = f"{self.provider_id}: {today:,.{self.places}f} visits today, {tomorrow:,.{self.places}f} planned"
        return f"{moved} ({because})" if because else moved


def explain(plan: PlanInputs | PlanDetail, provider: str, solve: Solve = default_solve) -> Explanation:
    """Explain one provider's part of the plan that these inputs make.

    plan: the plan's inputs, or its detail where it is at hand. Raises ConfigError, with near names, for a
    provider that the plan does not know, and whatever ``plan_detail`` raises.
    """
    inputs = plan.inputs if isinstance(plan, PlanDetail) else plan
    if provider not in inputs.providers:
        raise ConfigError(f"the plan knows no provider {provider!r}", near(provider, inputs.providers))
    detail = plan if isinstance(plan, PlanDetail) else plan_detail(plan, solve)
    j = inputs.providers.index(provider)
    mine = detail.pairs.edges.provider == j
    today, tomorrow = float(detail.pairs.visits_today[mine].sum()), float(detail.visits[mine].sum())
    notes: tuple[str, ...] = ()
    if inputs.settings.inertia == 0:
        notes = (f"inertia is 0; the reasons are those of a path at an inertia of {PLAIN_TAU} that ends at this plan",)
    return Explanation(
        provider_id=provider,
        day=inputs.day,
        as_of=inputs.as_of,
        visits_today=today,
        visits_tomorrow=tomorrow,
        lines=_lines(detail, j, today, tomorrow),
        win_back=win_back(detail, j, today, tomorrow, solve),
        neighbours=_neighbours(detail, j),
        notes=notes,
    )


def _lines(detail: PlanDetail, j: int, today: float, tomorrow: float) -> tuple[Reason, ...]:
    """All parts of the change, the repair line taking what the others leave."""
    before, path = _before_path(detail, j), _along_path(detail, j)
    limit = _limit_name(detail, j)
    parts: list[tuple[str, str, float, float | None, float | None]] = [
        ("demand", "", before["demand"], None, None),
        ("eligibility", "", before["eligibility"], None, None),
        ("newcomers", "", before["newcomers"], None, None),
        ("limit", PIN, before["pin"], None, None),
        ("conversion", "", path.conversion, path.own_conversion, path.around_conversion),
        ("order_value", "", path.order_value, path.own_order_value, path.around_order_value),
        ("limit", limit, path.limit, None, None),
        ("others", "", path.others, None, None),
        ("boost", "", path.boost, None, None),
        ("unassigned", "", path.unassigned, None, None),
        ("limit", SHARE_CAP, path.share_cap, None, None),
    ]
    always = ("demand", "conversion", "order_value")
    told = [part for part in parts if abs(part[2]) > TOLD or part[0] in always]
    told.append(("repair", "", tomorrow - today - sum(part[2] for part in told), None, None))
    visits_of = np.array([part[2] for part in told])
    whole = whole_parts(visits_of, round(tomorrow) - round(today))
    steps = 10 ** _places(today, tomorrow)
    shown = whole_parts(steps * visits_of, round(steps * told_visits(today, tomorrow)[2]))
    return tuple(
        Reason(key, name, visits, n, m / steps, own, around)
        for (key, name, visits, own, around), n, m in zip(told, whole, shown, strict=True)
    )


def _limit_name(detail: PlanDetail, j: int) -> str:
    """The provider's own limit that has the price."""
    return detail.bounds.high_name(j) if detail.price[j] > 0 else detail.bounds.low_name(j)


def _before_path(detail: PlanDetail, j: int) -> dict[str, float]:
    """Parts up to the reference with the pins set in."""
    pairs, inputs = detail.pairs, detail.inputs
    demand = inputs.demand.visits[pairs.edges.segment]
    start = pairs.pin.copy()
    if detail.part is not None:
        left = 1 - pairs.pinned_share[pairs.edges.segment[detail.part.pair]]
        reference = detail.part.problem.reference
        assert reference is not None  # every free part has one
        start[detail.part.pair] = left * reference
    mine = pairs.edges.provider == j
    steps = {
        "demand": demand * pairs.share_today - pairs.visits_today,
        "eligibility": demand * (pairs.share_open - pairs.share_today),
        "newcomers": demand * (pairs.reference - pairs.share_open),
        "pin": demand * (start - pairs.reference),
    }
    return {name: float(step[mine].sum()) for name, step in steps.items()}


@dataclass(frozen=True, slots=True)
class _Path:
    """Parts from the reference to the plan, visits; and the figures compared."""

    conversion: float = 0.0
    order_value: float = 0.0
    limit: float = 0.0
    others: float = 0.0
    boost: float = 0.0
    unassigned: float = 0.0
    share_cap: float = 0.0
    own_conversion: float | None = None
    around_conversion: float | None = None
    own_order_value: float | None = None
    around_order_value: float | None = None


def _along_path(detail: PlanDetail, j: int) -> _Path:
    """Sum the parts over the provider's segments."""
    part = detail.part
    if part is None:
        return _Path()
    problem = part.problem
    mine = np.flatnonzero(problem.provider == j)
    rows = np.searchsorted(problem.row_start, mine, side="right") - 1
    tau, silent = row_temperatures(detail)
    total, figures = np.zeros(7), np.zeros(5)
    for e, i in zip(mine.tolist(), rows.tolist(), strict=True):
        demand = float(problem.demand[i])
        if demand > 0 and tau[i] > 0:
            parts, compared = _row(detail, i, e, float(tau[i]), bool(silent[i]))
            total += demand * parts
            assert problem.reference is not None
            figures += demand * float(problem.reference[e]) * compared
    found = _Path(*total.tolist())
    if figures[0] <= 0:
        return found
    conversion, around, value, value_around = (figures[1:] / figures[0]).tolist()
    # an order value is money over orders: the ratio of the means, not the mean of the ratios
    return replace(
        found,
        own_conversion=conversion,
        around_conversion=around,
        own_order_value=value / conversion if conversion > 0 else None,
        around_order_value=value_around / around if around > 0 else None,
    )


def row_temperatures(detail: PlanDetail) -> tuple[Floats, Any]:
    """tau of each segment, float64 (n,), as the solver has it, and rows without a positive value, bool (n,).

    At inertia 0 it is 0.02 x the row's mean value.
    """
    part = detail.part
    assert part is not None  # asked only where a problem was solved
    problem = part.problem
    assert problem.reference is not None
    tau = entropic_work(problem, detail.inputs.settings.inertia or PLAIN_TAU).tau
    signal = row_totals(problem.row_start, problem.reference * np.maximum(problem.value, 0.0))
    return tau, ~(signal > 0)


def _row(detail: PlanDetail, i: int, e: int, tau: float, silent: bool) -> tuple[Floats, Floats]:
    """Parts of one segment per visit of demand: conversion, order value, limit, others, boost, unassigned,
    share cap.

    Also (1, conversion, that around, value, that around), to be averaged by reference visits.
    """
    part, allocation = detail.part, detail.allocation
    assert part is not None and allocation is not None and part.problem.reference is not None
    problem, pairs = part.problem, detail.pairs
    row = slice(int(problem.row_start[i]), int(problem.row_start[i + 1]))
    own, at = e - row.start, part.pair[row]
    p = part.problem.reference[row].astype(np.float64)
    price = allocation.price[problem.provider[row]]
    # in a row without a positive value the solver takes all values as 0: nothing there speaks for anybody
    value = np.zeros(len(p)) if silent else pairs.value[at]
    conversion = np.zeros(len(p)) if silent else pairs.conversion[at]
    extra = np.zeros(len(p)) if silent else problem.value[row].astype(np.float64) - value
    mean, mean_conversion = float(p @ value), float(p @ conversion)
    mean_order = mean / mean_conversion if mean_conversion > 0 else 0.0
    order = value[own] / conversion[own] if conversion[own] > 0 else 0.0
    gain, share = value + extra - price, allocation.share[row]
    upper = np.ones(len(p)) if problem.upper is None else problem.upper[row]
    chosen, sharp = np.zeros(len(p)), detail.inputs.settings.inertia == 0
    if sharp:
        p, chosen = sharp_ends(p, gain, tau, share, upper)
    weights, end = path_weights(p, gain + chosen - mean, tau, own)
    away = weights.copy()
    away[own] = 0.0
    g = weights[own]
    if sharp:
        after = float(end[own]) * (min(float(share.sum()), 1.0) - 1), 0.0
    else:
        free, capped = capped_shares(p, gain, tau, upper)
        after = float(free[own] - end[own]), float(capped[own] - free[own])
    mine, others, caps = _chosen(weights, chosen, own, bool(price[own]), (upper < 1) & (share >= upper))
    parts = np.array(
        [
            g * (conversion[own] - mean_conversion) * (order + mean_order) / 2,
            g * (order - mean_order) * (conversion[own] + mean_conversion) / 2,
            -g * price[own] + mine,
            -float(away @ (value - mean - price)) + others,
            g * extra[own] - float(away @ extra),
            after[0],
            after[1] + caps,
        ]
    )
    return parts, np.array([1.0, conversion[own], mean_conversion, value[own], mean])


def _chosen(weights: Floats, chosen: Floats, own: int, priced: bool, at_cap: Any) -> tuple[float, float, float]:
    """The choice between equals of a plan without inertia, as parts of own limit, others and share caps.

    A cap makes it where a pair is at its cap; else the own limit where it has a price; else the others' do.
    """
    away = weights * chosen
    away[own] = 0.0
    mine, caps = float(weights[own] * chosen[own]), -float(away[at_cap].sum())
    others = -float(away[~at_cap].sum())
    if at_cap[own]:
        return 0.0, others, caps + mine
    return (mine, others, caps) if priced else (0.0, others + mine, caps)


def _neighbours(detail: PlanDetail, j: int) -> tuple[Neighbour, ...]:
    """Who gained most in this provider's segments."""
    pairs = detail.pairs
    here = np.isin(pairs.edges.segment, pairs.edges.segment[pairs.edges.provider == j])
    today = pairs.edges.by_provider(np.where(here, pairs.visits_today, 0.0))
    tomorrow = pairs.edges.by_provider(np.where(here, detail.visits, 0.0))
    gained = tomorrow - today
    gained[j] = 0.0
    order = np.argsort(-gained, kind="stable")[:NEIGHBOURS]
    return tuple(
        Neighbour(detail.inputs.providers[k], float(gained[k]), told_visits(float(today[k]), float(tomorrow[k]))[2])
        for k in order.tolist()
        if gained[k] > 0
    )
