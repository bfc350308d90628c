"""Make tomorrow's plan: inputs in, a ``Plan`` out, with prices, named limits, a certificate and comparisons.

The steps are those of docs/plan.md: pairs and reference, limits and pins, solve (softening what may yield),
compare, and put into records. Pure: the clock, the identity of the plan and the solver are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from footfall.acquire.compare import Solve, project, proportional_shares, reward, with_support
from footfall.acquire.inputs import PlanInputs, check_inputs
from footfall.acquire.limits import (
    CAP_RULE,
    CAPACITY_DAYS,
    EXCLUDE,
    PIN,
    Bounds,
    capacities,
    check_floor_rules,
    give_up,
    listing,
    newcomer_floors,
    share_caps,
)
from footfall.acquire.lines import binding_limits, pair_lines, provider_lines, share_cap_limits
from footfall.acquire.pairs import Pairs, make_pairs, newcomers_of
from footfall.acquire.problem import Allocation, Problem
from footfall.acquire.reference import Bools, row_totals
from footfall.acquire.rules import index_rules
from footfall.acquire.soften import FreePart, solve_limits, visits_per_row
from footfall.acquire.solver import solve as default_solve
from footfall.acquire.spread import spread_of
from footfall.model import Comparison, ConflictingLimit, Floats, Plan
from footfall.texts import say

Progress = Callable[[int, float, float], None]


@dataclass(frozen=True, eq=False, slots=True)
class PlanDetail:
    """The arrays behind a plan, for explanations; made again from the same inputs whenever they are needed.

    share: float64 (E,), tomorrow's share of its segment for each pair. share_cap: its largest.
    free_reference: the reference of the free part, rows sum to 1 over the pairs that are free. free_demand:
    float64 (n,), demand that no pin takes. part, allocation: the problem solved and its answer; None where
    nobody can receive visits.
    """

    inputs: PlanInputs
    pairs: Pairs
    bounds: Bounds
    share: Floats
    share_cap: Floats
    free_reference: Floats
    free_demand: Floats
    part: FreePart | None
    allocation: Allocation | None
    notes: tuple[str, ...]

    @property
    def visits(self) -> Floats:
        """Tomorrow's visits of each pair, float64 (E,)."""
        return self.inputs.demand.visits[self.pairs.edges.segment] * self.share

    @property
    def price(self) -> Floats:
        """Price of each provider's limits, reward per visit, float64 (m,)."""
        return np.zeros(len(self.inputs.providers)) if self.allocation is None else self.allocation.price


def make_plan(
    inputs: PlanInputs,
    plan_id: str,
    created_at: datetime,
    solve: Solve = default_solve,
    progress: Progress | None = None,
) -> Plan:
    """Tomorrow's plan, a draft with version 0.

    solve: the solver, ``acquire.solve`` or something with its face. progress: called with (iteration, bound,
    objective) during the main solve. Raises ConfigError for rules that name what is not there,
    InfeasibleError where limits that do not yield cannot all hold, NotEnoughDataError for an empty log.
    """
    return plan_of(plan_detail(inputs, solve, progress), plan_id, created_at, solve)


def plan_detail(inputs: PlanInputs, solve: Solve = default_solve, progress: Progress | None = None) -> PlanDetail:
    """Solve for tomorrow's shares; arguments and errors as in ``make_plan``."""
    check_inputs(inputs)
    rules = index_rules(inputs.rules, inputs.segments, inputs.providers)
    newcomer = newcomers_of(inputs)
    settings = inputs.settings
    # a newcomer's capacity is not known; without a floor it is the largest change that holds it
    least = np.where(newcomer, float(settings.newcomer_visits) or np.inf, 0.0)
    capacity, from_file = capacities(
        inputs.visits, inputs.last, inputs.providers, inputs.capacity, settings.capacity_factor, least
    )
    pairs, notes = make_pairs(inputs, rules, newcomer, np.minimum(capacity, rules.cap) <= 0)
    pairs, pin_notes = _fit_pins(inputs, pairs, capacity, rules.cap)
    free = _Free.of(inputs, pairs, np.minimum(capacity, rules.cap))
    bounds = Bounds(
        capacity=capacity,
        cap_rule=rules.cap,
        floor_rule=rules.floor,
        newcomer_floor=np.zeros_like(capacity),
        base=free.base,
        pinned=free.pinned,
        rise=settings.max_change,
        fall=np.full(len(capacity), min(settings.max_change, 1.0)),
    )
    check_floor_rules(bounds, free.reach, inputs.providers, from_file, lambda j: _rules_beside(inputs, pairs, j))
    top = bounds.hard_high
    floor, floor_notes = newcomer_floors(
        newcomer & (pairs.edges.by_provider(pairs.open.astype(np.float64)) > 0),
        settings.newcomer_visits,
        top,
        free.reach,
        inputs.providers,
    )
    bounds = replace(bounds, newcomer_floor=floor)
    return _solved(inputs, pairs, free, bounds, notes + pin_notes + floor_notes, solve, progress)


@dataclass(frozen=True, eq=False, slots=True)
class _Free:
    """What pins leave: pairs (E,) and their reference, demand (n,), share caps (E,); loads and reach (m,)."""

    pair: Bools
    reference: Floats
    demand: Floats
    share_cap: Floats
    upper: Floats
    pinned: Floats
    base: Floats
    reach: Floats

    @classmethod
    def of(cls, inputs: PlanInputs, pairs: Pairs, top: Floats) -> _Free:
        """Take pins out of demand and capacity; nobody whose pins fill its capacity stays free."""
        edges, demand = pairs.edges, inputs.demand.visits.astype(np.float64)
        rows, who = edges.segment, edges.provider
        pinned = edges.by_provider(demand[rows] * pairs.pin)
        free = pairs.open & ~pairs.pinned & (pinned < top)[who]
        left = 1 - pairs.pinned_share
        left[left < 1e-12] = 0.0
        reference = np.where(free, pairs.reference, 0.0)
        total = row_totals(edges.row_start, reference)
        # the pairs that pins leave free may all have a reference of 0: then equal shares among them
        equal = free & (total == 0)[rows]
        reference = np.where(equal, 1.0, reference)
        total = row_totals(edges.row_start, reference)[rows]
        reference = reference / np.where(total > 0, total, 1.0)
        free &= (reference > 0) | (inputs.settings.inertia == 0)
        cap = share_caps(edges, pairs.share_today, free, inputs.settings.max_provider_share)
        free_demand = demand * left
        upper = np.minimum(cap / np.where(left > 0, left, 1.0)[rows], 1.0)
        flow = free_demand[rows]
        return cls(
            pair=free,
            reference=reference,
            demand=free_demand,
            share_cap=cap,
            upper=upper,
            pinned=pinned,
            base=pinned + edges.by_provider(flow * reference),
            reach=pinned + edges.by_provider(flow * np.where(free, upper, 0.0)),
        )

    def part(self, inputs: PlanInputs, pairs: Pairs, bounds: Bounds) -> FreePart:
        """The problem under these bounds."""
        edges, high = pairs.edges, bounds.free_high()
        keep = self.pair & (high > 0)[edges.provider]
        pair = np.flatnonzero(keep)
        kept = np.concatenate(([0], np.cumsum(keep)))
        reference = np.where(keep, self.reference, 0.0)
        total = row_totals(edges.row_start, reference)[edges.segment]
        reference = reference / np.where(total > 0, total, 1.0)
        upper = self.upper[pair]
        problem = Problem(
            demand=self.demand,
            row_start=kept[edges.row_start].astype(np.int64),
            provider=edges.provider[pair].astype(np.int32),
            value=pairs.boosted[pair],
            capacity=high,
            floor=bounds.free_low(),
            reference=reference[pair],
            upper=upper if (upper < 1).any() else None,
        )
        return FreePart(problem, pair)


def _fit_pins(inputs: PlanInputs, pairs: Pairs, capacity: Floats, cap: Floats) -> tuple[Pairs, tuple[str, ...]]:
    """Pins after they yield to capacity, scaled down; InfeasibleError where a cap rule forbids them."""
    demand, who = inputs.demand.visits[pairs.edges.segment], pairs.edges.provider
    load = pairs.edges.by_provider(demand * pairs.pin)
    for j in np.flatnonzero((load > cap * (1 + 1e-9)) & (cap < capacity)).tolist():
        name = inputs.providers[j]
        names = f"pin of {name}: {load[j]:.4g} visits", f"{CAP_RULE} of {name}: {cap[j]:g} visits"
        over = float(load[j] - cap[j])
        limits = (
            ConflictingLimit(names[0], float(load[j]), 1.0, over),
            ConflictingLimit(names[1], float(cap[j]), 1.0, 0.0),
        )
        raise give_up(f"limits cannot all hold: {names[0]}, but {names[1]}", limits, over)
    over_full = np.flatnonzero(load > capacity * (1 + 1e-12))
    if not len(over_full):
        return pairs, ()
    scale = np.minimum(capacity / np.maximum(load, 1e-300), 1.0)
    told = [f"{inputs.providers[j]} ({capacity[j]:.4g} of {load[j]:.4g} visits)" for j in over_full]
    return replace(pairs, pin=pairs.pin * scale[who]), (say("pin yields to capacity: {who}", who=listing(told)),)


def _rules_beside(inputs: PlanInputs, pairs: Pairs, j: int) -> list[ConflictingLimit]:
    """The exclusions of provider j and the pins in its segments, with the visits that each leaves or takes."""
    own, who = pairs.edges.segment[pairs.edges.provider == j], inputs.providers[j]
    visits = {inputs.segments[i]: float(inputs.demand.visits[i]) for i in own.tolist()}

    def at(segment: str | None) -> str:
        return "" if segment is None else f" in {segment}"

    excluded = [f"{EXCLUDE} of {who}{at(e.segment)}" for e in inputs.rules.exclude if e.provider == who]
    lines = [ConflictingLimit(name, 0.0, 1.0, 0.0) for name in excluded]
    for pin in inputs.rules.pin:
        taken = pin.share * (sum(visits.values()) if pin.segment is None else visits.get(pin.segment, 0.0))
        if taken > 0 or (pin.provider == who and (pin.segment is None or pin.segment in visits)):
            name = f"{PIN} of {pin.provider}{at(pin.segment)}: {taken:.4g} visits"
            lines.append(ConflictingLimit(name, taken, 1.0, 0.0))
    return lines


def _solved(
    inputs: PlanInputs,
    pairs: Pairs,
    free: _Free,
    bounds: Bounds,
    notes: tuple[str, ...],
    solve: Solve,
    progress: Progress | None,
) -> PlanDetail:
    settings, share = inputs.settings, pairs.pin.copy()
    part: FreePart | None = None
    allocation: Allocation | None = None
    if free.pair.any() and free.demand.sum() > 0:
        options = {"inertia": settings.inertia, "gap": settings.gap, "time_limit_s": settings.time_limit_s}
        part, allocation, bounds, softened = solve_limits(
            lambda b: free.part(inputs, pairs, b),
            bounds,
            solve,
            inputs,
            progress=progress,
            **options,
        )
        notes += softened
        left = 1 - pairs.pinned_share[pairs.edges.segment[part.pair]]
        share[part.pair] = allocation.share * left
        if allocation.status != "optimal":
            status, certified = allocation.status, allocation.gap
            notes += (
                say("the solver stopped early ({status}); certified gap {gap:.2g}", status=status, gap=certified),
            )
    elif not len(pairs.open):
        days = settings.eligible_days
        notes += (say("nobody can receive visits: no provider had one in the last {days} days", days=days),)
    elif not pairs.open.any():
        notes += (say("nobody can receive visits: every provider is excluded or has a capacity of 0"),)
    elif inputs.demand.visits.sum() == 0:
        notes += (say("the demand forecast is 0 in every segment; there is nothing to plan"),)
    return PlanDetail(
        inputs=inputs,
        pairs=pairs,
        bounds=bounds,
        share=share,
        share_cap=free.share_cap,
        free_reference=free.reference,
        free_demand=free.demand,
        part=part,
        allocation=allocation,
        notes=notes,
    )


def plan_of(detail: PlanDetail, plan_id: str, created_at: datetime, solve: Solve = default_solve) -> Plan:
    """The record of a solved plan: lines, limits, comparison and certificate."""
    inputs, pairs = detail.inputs, detail.pairs
    visits = detail.visits
    today = pairs.edges.by_provider(pairs.visits_today)
    tomorrow = pairs.edges.by_provider(visits)
    limits = binding_limits(detail, tomorrow) + share_cap_limits(detail)
    comparison, objective, bound = _compare(detail, solve)
    unassigned = visits_per_row(inputs.demand.visits, inputs.demand.visits - row_totals(pairs.edges.row_start, visits))
    notes = detail.notes + _left_over(detail, float(unassigned.sum()), tomorrow)
    return Plan(
        plan_id=plan_id,
        version=0,
        day=inputs.day,
        as_of=inputs.as_of,
        created_at=created_at,
        status="draft",
        inertia=inputs.settings.inertia,
        demand=inputs.demand,
        pairs=pair_lines(detail),
        providers=provider_lines(detail, limits, today, tomorrow),
        limits=limits,
        unassigned={inputs.segments[i]: float(unassigned[i]) for i in np.flatnonzero(unassigned).tolist()},
        comparison=comparison,
        objective=objective,
        bound=bound,
        gap=_gap(detail, objective, bound),
        today=spread_of(today, pairs.newcomer),
        tomorrow=spread_of(tomorrow, pairs.newcomer),
        notes=notes,
        inputs=_recorded(inputs),
    )


def _left_over(detail: PlanDetail, left: float, tomorrow: Floats) -> tuple[str, ...]:
    """Notes on visits that nobody gets, and on capacities that were only taken to be."""
    inputs, capacity = detail.inputs, detail.bounds.capacity
    if left <= 0:
        return ()
    notes = [say("{left:.4g} of {visits:.4g} visits are left unassigned", left=left, visits=inputs.demand.visits.sum())]
    known = np.array([provider in inputs.capacity for provider in inputs.providers])
    full = ~known & (tomorrow >= capacity * (1 - 1e-3)) & (tomorrow > 0)
    if full.any():
        notes.append(
            say(
                "capacities that nobody told, taken as {factor:g} x a provider's largest day of {days}, are full "
                "(providers: {full:,}): give them with --capacity, or raise [plan] capacity_factor",
                factor=inputs.settings.capacity_factor,
                days=CAPACITY_DAYS,
                full=int(full.sum()),
            )
        )
    return tuple(notes)


def _gap(detail: PlanDetail, objective: float, bound: float) -> float:
    """Relative gap of the whole plan; pinned reward of the other sign must not make it look larger than it
    is.
    """
    size = max(abs(bound), abs(detail.allocation.bound) if detail.allocation is not None else 0.0)
    return max((bound - objective) / size, 0.0) if size else 0.0


def _compare(detail: PlanDetail, solve: Solve) -> tuple[Comparison, float, float]:
    """Comparison in true values (never boosted), objective and bound, the pinned reward in all of them."""
    pairs, part, allocation = detail.pairs, detail.part, detail.allocation
    demand = detail.inputs.demand.visits[pairs.edges.segment]
    pinned = float((demand * pairs.pin * pairs.value).sum())
    if part is None or allocation is None:
        return Comparison(pinned, pinned, pinned, pinned), pinned, pinned
    settings, problem = detail.inputs.settings, part.problem
    value = pairs.value[part.pair]
    options: dict[str, Any] = {"gap": max(settings.gap, 1e-4), "time_limit_s": settings.time_limit_s}
    reference = problem.reference
    assert reference is not None  # every free part has one
    today = reference if (reference > 0).all() else with_support(problem, reference)
    keep = project(problem, today, solve, **options)
    proportional = project(problem, proportional_shares(problem, value), solve, **options)
    lp_bound = allocation.lp_bound
    if (pairs.boost[part.pair] != 1).any():
        lp_bound = solve(replace(problem, value=value), inertia=settings.inertia, **options).lp_bound
    comparison = Comparison(
        plan=pinned + reward(problem, allocation.share, value),
        keep_shares=pinned + reward(problem, keep, value),
        proportional=pinned + reward(problem, proportional, value),
        lp_bound=pinned + lp_bound,
    )
    return comparison, pinned + allocation.objective, pinned + allocation.bound


def _recorded(inputs: PlanInputs) -> dict[str, object]:
    """The settings and rules that the plan keeps, as plain JSON values."""
    return {
        "settings": msgspec.to_builtins(inputs.settings),
        "rules": msgspec.to_builtins(inputs.rules),
        "capacity": dict(inputs.capacity),
        "pairs": [list(pair) for pair in inputs.pairs],
    }
