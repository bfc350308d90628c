"""Pacing: the plan's prices, moved during its day so that what is still to come meets what is left of the limits.

The day so far tells how many decisions are still to come in each segment; what was delivered tells what is left of
each capacity and floor. The offsets o solve the plan's own problem for the rest of the day, at prices l + o: with the
residual bounds low_j <= load_j(o) <= high_j, coordinate steps on the dual,

    up = l + o + log(load / high) / steepness        price where the upper bound binds
    down = l + o + log(load / low) / steepness       where the lower one does
    l + o <- up if up > 0, down if down < 0, else 0  (complementary slackness)

damped and repeated; steepness is -d log(load) / d price. A pacing moves each offset by a bounded step towards that, so
that a wrong count of a few minutes does not throw prices about; leases, not prices, keep capacities.

The largest change is counted, as in the plan, from the reference shares of the day's demand, here of the demand as it
turns out; hard capacities and floors are visits as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from footfall.acquire._pacing_kernels import loads
from footfall.acquire.live import LivePlan
from footfall.config import LiveSettings
from footfall.errors import InputError
from footfall.model import Floats

_ROUNDS = 80
_DAMPING = 0.6
_TRUST = 50.0  # decisions of a segment that weigh as much as what all segments tell
_TRUST_DAY = 0.3  # part of the day's forecast that has to come before arrivals outweigh it: profiles are wrong, too
_SIGMAS = 3.0  # of the draws still to come, above a floor
_AHEAD = 1.3  # of what a floor still needs
_LEAST = 1e-9


@dataclass(frozen=True, eq=False, slots=True)
class DaySoFar:
    """What a pacing knows of its day, in the plan's order of segments (n,) and providers (m,).

    elapsed: share of the day's traffic expected by now, in [0, 1] (``expected_share``). arrivals: float64 (n,), first
    decisions so far. held: float64 (m,), visits of decisions that are committed or outstanding. organic: float64 (m,),
    visits that came without a decision.
    """

    elapsed: float
    arrivals: Floats
    held: Floats
    organic: Floats


@dataclass(frozen=True, eq=False, slots=True)
class Paced:
    """offsets: float64 (m,), reward per visit. remaining: float64 (n,), visits of decisions still to come. load:
    float64 (m,), what each provider is expected to have by the day's end. wanted: offsets without the bounded step.
    """

    offsets: Floats
    remaining: Floats
    load: Floats
    wanted: Floats


def pace(plan: LivePlan, so_far: DaySoFar, before: Floats, settings: LiveSettings, kept: float = 1.0) -> Paced:
    """The next offsets of a plan's prices.

    before: float64 (m,), the offsets in force (zeros at first). kept: share of decisions that become visits, in (0, 1].
    Raises InputError for arrays of another length or values out of range.
    """
    _check(plan, so_far, before, kept)
    remaining = kept * remaining_decisions(plan.demand, so_far)
    high, low = residual_bounds(plan, so_far, remaining, settings.explore)
    wanted = _solve(plan, remaining, high, low, before, settings)
    step = settings.pacing_step * plan.usual_tau
    offsets = before + np.clip(wanted - before, -step, step)
    load, _ = _loads(plan, remaining, offsets, settings.explore)
    return Paced(offsets, remaining, load + so_far.held + so_far.organic, wanted)


def remaining_decisions(demand: Floats, so_far: DaySoFar) -> Floats:
    """Decisions still to come by segment, float64 (n,).

    What was forecast for the rest of the day x the ratio of arrivals to forecast so far; segments with few arrivals
    lean on the ratio of all, and that on 1 (gamma-Poisson, priors worth ``_TRUST`` decisions and ``_TRUST_DAY``).
    """
    expected = demand * so_far.elapsed
    prior = _TRUST + _TRUST_DAY * demand.sum()
    ratio = (so_far.arrivals.sum() + prior) / (expected.sum() + prior)
    own = (so_far.arrivals + _TRUST * ratio) / (expected + _TRUST)
    rest: Floats = demand * (1.0 - so_far.elapsed) * own
    return rest


def residual_bounds(plan: LivePlan, so_far: DaySoFar, remaining: Floats, explore: float) -> tuple[Floats, Floats]:
    """Least and most visits of the decisions to come, as (high, low), float64 (m,) each, 0 <= low <= high."""
    edges = plan.edges
    whole = so_far.arrivals + remaining
    planned = edges.by_provider(plan.demand[edges.segment] * plan.reference)
    turned_out = edges.by_provider(whole[edges.segment] * plan.reference)
    scale = np.where(planned > 0, turned_out / np.where(planned > 0, planned, 1.0), 1.0)
    free = plan.free
    count = np.bincount(edges.segment[free], minlength=len(whole))
    even = edges.by_provider(np.where(free, explore * (whole / np.maximum(count, 1))[edges.segment], 0.0))
    with np.errstate(invalid="ignore"):
        risen = np.where(np.isfinite(plan.change_high), plan.change_high * scale, np.inf)
    # the largest change holds the plan's part of the draw; the even part comes on top of it, as of the plan itself
    most = np.minimum(plan.capacity, np.maximum((1 - explore) * risen + even, plan.floor))
    least = np.minimum(np.maximum(plan.floor, (1 - explore) * plan.change_low * scale + even), most)
    left = max(1.0 - so_far.elapsed, 0.0)
    to_come = so_far.organic * left / max(so_far.elapsed, 0.05)  # organic visits go on as they came
    done = so_far.held + so_far.organic + to_come
    high = np.maximum(most - done, 0.0)
    low = np.maximum(least - done, 0.0)
    need = np.maximum(plan.floor - done, 0.0)
    # A floor is aimed at with a margin that melts away with what is still needed: draws are draws, and where less comes
    # than foretold it is too late to begin. What is met early costs what it costs late.
    low = np.maximum(low, np.where(need > 0, _AHEAD * need + _SIGMAS * np.sqrt(need + 1), 0.0))
    high = np.maximum(high, np.where(need > 0, np.minimum(low, np.maximum(plan.capacity - done, 0.0)), 0.0))
    return high, np.minimum(low, high)


def _solve(
    plan: LivePlan, remaining: Floats, high: Floats, low: Floats, before: Floats, settings: LiveSettings
) -> Floats:
    limit = settings.pacing_limit * plan.usual_tau
    lowest, highest = plan.price - limit, plan.price + limit
    price = np.clip(plan.price + before, lowest, highest)
    for _ in range(_ROUNDS):
        load, steep = _loads(plan, remaining, price - plan.price, settings.explore)
        give = np.maximum(load, _LEAST) / np.maximum(steep, _LEAST)  # 1 / steepness, reward per visit
        give = np.minimum(np.maximum(give, plan.usual_tau / 10), plan.usual_tau * 2)
        with np.errstate(divide="ignore"):
            up = price + give * np.log(np.maximum(load, _LEAST) / np.maximum(high, _LEAST))
            down = price + give * np.log(np.maximum(load, _LEAST) / np.maximum(low, _LEAST))
        goal = np.where(up > 0, up, np.where((down < 0) & (low > 0), down, 0.0))
        goal = np.where(load <= _LEAST, price, np.clip(goal, lowest, highest))
        moved = _DAMPING * (goal - price)
        price = price + moved
        if np.abs(moved).max(initial=0.0) < 1e-6 * plan.usual_tau:
            break
    return np.clip(price - plan.price, -limit, limit)


def _loads(plan: LivePlan, visits: Floats, offset: Floats, explore: float) -> tuple[Floats, Floats]:
    load, steep = np.zeros(len(plan.providers)), np.zeros(len(plan.providers))
    edges = plan.edges
    loads(
        edges.row_start,
        edges.provider,
        plan.share,
        plan.cap,
        plan.pin,
        plan.free,
        plan.room,
        visits,
        plan.tau,
        explore,
        offset,
        load,
        steep,
    )
    return load, (1 - explore) * steep


def expected_share(profile: Sequence[float] | Floats, hour: float) -> float:
    """Share of a day's traffic expected before ``hour`` of the local day, in [0, 1].

    profile: traffic of each hour of the local day, (24,), >= 0, on any scale; even where it is all 0.
    """
    weight = np.asarray(profile, dtype=np.float64)
    if weight.shape != (24,) or not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise InputError("a profile needs 24 figures of 0 or more", "give the traffic of each hour of the local day")
    if weight.sum() <= 0:
        weight = np.ones(24)
    before = np.concatenate(([0.0], np.cumsum(weight / weight.sum())))
    return float(np.interp(hour, np.arange(25), np.minimum(before, 1.0)))


def _check(plan: LivePlan, so_far: DaySoFar, before: Floats, kept: float) -> None:
    n, m = len(plan.segments), len(plan.providers)
    if not 0 <= so_far.elapsed <= 1:
        raise InputError(f"elapsed = {so_far.elapsed} must be between 0 and 1", "see expected_share")
    if not 0 < kept <= 1:
        raise InputError(
            f"kept = {kept} must be above 0 and at most 1", "it is the share of decisions that are visited"
        )
    for name, array, size in (
        ("arrivals", so_far.arrivals, n),
        ("held", so_far.held, m),
        ("organic", so_far.organic, m),
        ("before", before, m),
    ):
        if array.shape != (size,):
            raise InputError(f"{name} has shape {array.shape}; it must be ({size},)", "use the plan's order")
        if not np.isfinite(array).all() or (name != "before" and (array < 0).any()):
            raise InputError(f"{name} holds a figure that is negative or not finite", "count it again")
