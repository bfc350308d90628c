"""Solve a plan's problem; where limits cannot all hold, let the lower ones yield, and say by how much.

The largest fall yields first, only among the providers whose floors are in conflict and only as far as
needed; then newcomer floors yield to traffic, pro rata among those in conflict. Operators' floors do not
yield: InfeasibleError. The largest rise yields, for all alike, before traffic is left unassigned that other
limits would take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from footfall.acquire.compare import Solve
from footfall.acquire.conflict import LimitNames
from footfall.acquire.inputs import PlanInputs
from footfall.acquire.limits import FLOOR_RULE, NEWCOMER_FLOOR, SHARE_CAP, Bounds, give_up, listing
from footfall.acquire.problem import Allocation, Problem
from footfall.errors import InfeasibleError
from footfall.model import ConflictingLimit, Floats, Ints
from footfall.texts import say

ROUNDS = 200  # conflicts resolved one after another before the largest fall is given up for all
UNASSIGNED = 1e-4  # of all demand: unassigned traffic below this is rounding
RISE_SOLVES = 6  # solves in the search for the smallest rise
MUCH = 0.5  # of all demand: newcomer floors above this are told
MARGIN = 1e-7  # floors yield by this much more than they must, against rounding


@dataclass(frozen=True, eq=False, slots=True)
class FreePart:
    """What pins leave to be decided: a problem over some of the pairs.

    pair: int64 (k,), position of each of the problem's edges among the pairs.
    """

    problem: Problem
    pair: Ints


Build = Callable[[Bounds], FreePart]


def solve_limits(
    build: Build, bounds: Bounds, solve: Solve, inputs: PlanInputs, **options: Any
) -> tuple[FreePart, Allocation, Bounds, tuple[str, ...]]:
    """Solve under ``bounds``, softened where need be; the part solved, its allocation, the bounds in force
    and notes.

    Raises InfeasibleError, limits by name, where operators' floors cannot all be met.
    """
    asked = bounds
    part, allocation, bounds = _with_floors(build, bounds, solve, inputs, options)
    part, allocation, bounds, notes = _with_rise(build, part, allocation, bounds, solve, options)
    return part, allocation, bounds, _floor_notes(asked, bounds, inputs) + notes


def _with_floors(
    build: Build, bounds: Bounds, solve: Solve, inputs: PlanInputs, options: dict[str, Any]
) -> tuple[FreePart, Allocation, Bounds]:
    for _ in range(ROUNDS):
        part = build(bounds)
        try:
            return part, solve(part.problem, **options), bounds
        except InfeasibleError as error:
            bounds = _yield_floors(bounds, error, inputs, part.problem)
    part = build(replace(bounds, fall=np.ones_like(bounds.fall)))
    return part, solve(part.problem, **options), replace(bounds, fall=np.ones_like(bounds.fall))


def _yield_floors(bounds: Bounds, error: InfeasibleError, inputs: PlanInputs, problem: Problem) -> Bounds:
    """Bounds in which this conflict is gone: change floors first, then newcomer floors, or InfeasibleError by
    name.
    """
    number = {f"provider {j} floor": j for j in range(len(inputs.providers))}
    inside = np.array([number[one.name] for one in error.conflict.limits if one.name in number], dtype=np.int64)
    if not len(inside):
        raise error
    excess = error.conflict.excess * (1 + MARGIN) + MARGIN
    # what each floor of the conflict asks for above the pins, and how much of that each kind of limit adds
    low = bounds.free_low()[inside]
    hard = np.minimum(np.maximum(bounds.hard_low - bounds.pinned, 0.0)[inside], low)
    rule = np.minimum(np.maximum(bounds.floor_rule - bounds.pinned, 0.0)[inside], low)
    change, newcomer = low - hard, hard - rule
    from_change = min(excess, float(change.sum()))
    from_newcomer = excess - from_change
    if from_newcomer > 0 and (rule.sum() > 0 or from_newcomer > newcomer.sum() * (1 + 2 * MARGIN) + 2 * MARGIN):
        raise _named(bounds, error, inside, inputs, problem)
    fall, floor = bounds.fall.copy(), bounds.newcomer_floor.copy()
    if from_change > 0:
        kept = low - change * min(from_change / float(change.sum()), 1.0)
        base = bounds.base[inside]
        wanted = 1 - (kept + bounds.pinned[inside]) / np.where(base > 0, base, 1.0)
        fall[inside] = np.where(change > 0, np.clip(np.maximum(wanted, fall[inside]), 0, 1), fall[inside])
    if from_newcomer > 0:
        scale = max(1 - from_newcomer / max(float(newcomer.sum()), 1e-300), 0.0)
        floor[inside] = np.where(newcomer > 0, bounds.pinned[inside] + newcomer * scale, floor[inside])
    return replace(bounds, fall=fall, newcomer_floor=floor)


def _named(
    bounds: Bounds, error: InfeasibleError, inside: Ints, inputs: PlanInputs, problem: Problem
) -> InfeasibleError:
    """The conflict by the names of the limits, without the largest change, which would have yielded."""
    hard = np.maximum(bounds.hard_low - bounds.pinned, 0.0)
    among = inside[hard[inside] > 0]
    excess = error.conflict.excess - float((bounds.free_low() - hard)[inside].clip(0).sum())
    lines = []
    for j in among.tolist():
        kind = FLOOR_RULE if bounds.floor_rule[j] >= bounds.newcomer_floor[j] else NEWCOMER_FLOOR
        bound = float(bounds.hard_low[j])
        # each gives in proportion to what it asks for above the pins
        give = excess * float(hard[j] / hard[among].sum())
        lines.append(ConflictingLimit(f"{kind} of {inputs.providers[j]}: {bound:g} visits", bound, 1.0, give))
    others = _other_names(inputs, problem)
    for one in error.conflict.limits:
        if one.name in others:
            name = f"{others[one.name]}: {one.bound:.4g} visits"
            lines.append(ConflictingLimit(name, one.bound, one.weight, 0.0))
    told = listing([one.name for one in lines if one.give > 0])
    return give_up(
        f"limits cannot all hold: {told} ask for {excess:.4g} visits more than their segments have",
        lines,
        excess,
    )


def _other_names(inputs: PlanInputs, problem: Problem) -> dict[str, str]:
    """The solver's names of demands and share caps, in the plan's words."""
    solver = LimitNames()
    names = {solver.demand(i): f"demand of {name}" for i, name in enumerate(inputs.segments)}
    if problem.upper is not None:
        rows = np.repeat(np.arange(problem.segments), np.diff(problem.row_start)).tolist()
        for i, j in zip(rows, problem.provider.tolist(), strict=True):
            names[solver.share_cap(j, i)] = f"{SHARE_CAP} of {inputs.providers[j]} in {inputs.segments[i]}"
    return names


def _floor_notes(asked: Bounds, held: Bounds, inputs: PlanInputs) -> tuple[str, ...]:
    notes, providers = [], inputs.providers
    fallen = np.flatnonzero((held.fall > asked.fall) & (held.base > 0))
    if len(fallen):
        who = [f"{providers[j]} (to {held.fall[j]:.1%})" for j in fallen.tolist()]
        notes.append(
            say(
                "largest change of {change:.0%} softened downwards, as floors cannot all be met: {who}",
                change=asked.fall[fallen[0]],
                who=listing(who),
            )
        )
    lower = np.flatnonzero(held.newcomer_floor < asked.newcomer_floor * (1 - 1e-4))
    if len(lower):
        who = [
            f"{providers[j]} ({held.newcomer_floor[j]:.4g} of {asked.newcomer_floor[j]:.4g})" for j in lower.tolist()
        ]
        notes.append(say("newcomer floor yields to the traffic there is: {who}", who=listing(who)))
    given, demand = float(held.newcomer_floor.sum()), float(inputs.demand.visits.sum())
    if given > MUCH * demand:
        notes.append(
            say(
                "newcomer floors take {share:.0%} of all visits; newcomer_visits = {visits} is much for this traffic, "
                "lower it",
                share=given / demand,
                visits=inputs.settings.newcomer_visits,
            )
        )
    return tuple(notes)


def _with_rise(
    build: Build,
    part: FreePart,
    allocation: Allocation,
    bounds: Bounds,
    solve: Solve,
    options: dict[str, Any],
) -> tuple[FreePart, Allocation, Bounds, tuple[str, ...]]:
    rounding = UNASSIGNED * max(float(part.problem.demand.sum()), 1e-12)
    over = float(allocation.unassigned.sum())
    if over <= rounding or not (bounds.high < bounds.hard_high).any():
        return part, allocation, bounds, ()
    demand = float(part.problem.demand.sum())
    widest = replace(bounds, rise=_widest_rise(bounds, demand))
    best_part = build(widest)
    best = solve(best_part.problem, **options)
    least = float(best.unassigned.sum())
    if over - least <= rounding:
        return part, allocation, bounds, ()
    low, high = _least_rise(bounds, widest.rise, demand - least), widest.rise
    found = best_part, best, widest
    trial = low
    for _ in range(RISE_SOLVES):
        bounds_now = replace(bounds, rise=trial)
        part_now = build(bounds_now)
        now = solve(part_now.problem, **options)
        if float(now.unassigned.sum()) <= least + rounding:
            found, high = (part_now, now, bounds_now), trial
        else:
            low = trial
        if high - low <= 0.02 * (1 + high):
            break
        trial = float(np.sqrt((1 + low) * (1 + high)) - 1)
    note = say(
        "largest change of {change:.0%} softened upwards to {rise:.1%}: otherwise {visits:.4g} visits would be left "
        "unassigned",
        change=bounds.rise,
        rise=found[2].rise,
        visits=over - least,
    )
    return *found, (note,)


def _widest_rise(bounds: Bounds, demand: float) -> float:
    """The rise beyond which the largest change stops nobody; nobody can be sent more than all demand."""
    can = bounds.base > 0
    most = np.minimum(bounds.hard_high, bounds.pinned + demand)[can]
    return max(float((most / bounds.base[can] - 1).max(initial=bounds.rise)), bounds.rise)


def _least_rise(bounds: Bounds, widest: float, wanted: float) -> float:
    """The least rise at which the upper limits add up to the visits wanted; no plan takes them below."""
    low, high = bounds.rise, widest
    for _ in range(50):
        middle = (low + high) / 2
        if float(replace(bounds, rise=middle).free_high().sum()) >= wanted:
            high = middle
        else:
            low = middle
    return high


def visits_per_row(demand: Floats, unassigned: Floats) -> Floats:
    """Unassigned visits that are more than rounding, float64 (n,)."""
    return np.where(unassigned > 1e-5 * demand + 1e-4, unassigned, 0.0)
