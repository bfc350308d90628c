"""Linear limits at scale and inertia 0: a search over their few prices, around whole solves without them.

With limits' prices lambda held, the problem is the plain one with values v - sum_k lambda_k a_ke. Its solve gives a
bound phi(lambda) of the whole, and a plan with reward r and sums q that cuts phi from below: phi(lambda') >= r +
worth(lambda') - lambda'.q. The next prices are the least of these cuts within a box around the best so far (Kelley
1960; the box-step method of Marsten, Hogan & Blankenship 1975), and the dual of that small programme is the best mix of
the plans so far that holds the limits (Dantzig & Wolfe 1960). Plans are convex: a mix of them holds whatever each of
them holds. With all values 0 and prices within 1, the same search finds the least total breach of the limits, and the
prices that prove it (``least_breach``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from footfall.acquire._coupled import CoupledSearch
from footfall.acquire._coupling import Coupling, couple
from footfall.acquire._interior import interior
from footfall.acquire._work import Work, plain_work
from footfall.acquire.problem import Allocation, LinearLimit, Problem
from footfall.model import Floats

_MOST = 60  # solves
_TRIES = 25  # solves without a mix that holds the limits, after which somebody should see whether there can be one
_FIRST_BOX = 0.3  # half width of the first box, in parts of a typical value for each unit of a limit
_GROW, _FALL = 2.0, 0.4  # the box, after a step that was as good as promised, and after one that was not
_BREACH_GAP = 1e-4  # to which a breach is measured
_INNER = 0.5  # part of the gap asked for that a solve may leave
_ROUGH = 3e-3  # gap of the first solves
_PATIENCE = 3  # steps in a row that were not as good as promised, after which the box falls: each adds its cut first
_MEMORY = 1e9  # bytes of plans kept beyond those in use
_TINY = 1e-6  # a cut's weight that is left out of the mix


class Solve(Protocol):
    """A solve of a problem without linear limits."""

    def __call__(self, problem: Problem, *, gap: float, prices: Floats | None) -> Allocation:
        """The allocation at inertia 0."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class _Cut:
    """A plan: shares (E,), reward, and the limits' sums (k,)."""

    share: Floats
    reward: float
    amount: Floats


def search_limit_prices(
    search: CoupledSearch, problem: Problem, solve: Solve, start: Floats, gap: float, most: int = _MOST
) -> None:
    """Offer bounds and plans to ``search`` until it has certified ``gap``, or no step leads further.

    start: (m + k,), prices of providers and limits. At most ``most`` solves.
    """
    work, coupling, m = search.work, search.coupling, search.work.m
    provider_price: Floats | None = start[:m] if start.any() else None
    centre = at = coupling.allowed(start[m:])
    box, best, promised = np.full(coupling.k, np.inf), np.inf, -np.inf
    cuts: list[_Cut] = []
    failures = 0
    for number in range(most):
        hoped = (best - promised) / max(abs(best), 1e-300) if number > 1 else np.inf
        inner = max(_INNER * gap, min(_ROUGH, 0.1 * search.gap(), 0.3 * hoped))
        answer = solve(_priced(problem, search, at), gap=inner, prices=provider_price)
        provider_price = answer.price
        bound = answer.bound + coupling.worth(at)
        search.offer_price(np.concatenate([answer.price, at]), bound)
        cuts.append(_cut(search, work.gather(np.asarray(answer.share, dtype=np.float64))))
        if number == 0:
            box = _FIRST_BOX * _unit_worth(search, cuts[0])
        elif bound <= best - 0.3 * (best - promised):
            centre, box, failures = at, np.where(np.abs(at - centre) >= 0.99 * box, _GROW * box, box), 0
        else:
            failures += 1
            centre, box = (at if bound < best else centre), (box if failures % _PATIENCE else _FALL * box)
        best = min(best, bound)
        weights, held = _mix(cuts, coupling)
        if held:
            search.offer_share(_blend(cuts, weights), search.price)
        search.step()
        if search.gap() <= gap or best < -2.0 * work.scale or (number > _TRIES and not search.found):
            return
        at, promised, in_box = _next(cuts, coupling, centre, box)
        if not np.isfinite(at).all():
            return
        _thin(cuts, weights + in_box, work)


@dataclass(frozen=True, eq=False, slots=True)
class Breach:
    """The least total breach of limits by plans that hold all else: shares (E,), prices (m + k,) within 1, what they
    prove, and by how much each limit is broken (k,).
    """

    share: Floats
    price: Floats
    excess: float
    give: Floats


def least_breach(search: CoupledSearch, problem: Problem, solve: Solve, tick: Callable[[], None]) -> Breach:
    """What limits must give at least, in parts of their largest coefficients; ``search`` is over a work of values 0.

    ``tick`` is called at every solve and may raise to stop.
    """
    work, coupling = search.work, search.coupling
    bare = replace(problem, value=np.zeros(problem.edges), reference=None)
    box, at, price = np.ones(coupling.k), np.zeros(coupling.k), None
    cuts: list[_Cut] = []
    ray, excess, weights = np.zeros(work.m + coupling.k), 0.0, np.zeros(0)
    for _ in range(_MOST):
        tick()
        answer = solve(_priced(bare, search, at), gap=_BREACH_GAP, prices=price)
        price = answer.price
        proved = -(answer.bound + coupling.worth(at))
        if proved > excess:
            ray, excess = np.concatenate([answer.price, at]), proved
        cuts.append(_cut(search, work.gather(np.asarray(answer.share, dtype=np.float64))))
        at, promised, weights = _next(cuts, coupling, np.zeros(coupling.k), box)
        if -promised - excess <= max(_BREACH_GAP * excess, 1e-10 * float(work.demand.sum())):
            break
    share = _blend(cuts, weights / max(float(weights.sum()), 1e-300))
    amount, _ = coupling.amounts(work, share)
    give = np.maximum(amount - coupling.high, 0.0) + np.maximum(coupling.low - amount, 0.0)
    return Breach(share, ray, excess, give)


def _thin(cuts: list[_Cut], weights: Floats, work: Work) -> None:
    """Let go of plans that carry nothing, oldest first, where all of them would take too much memory."""
    most = max(4, int(_MEMORY / (8.0 * max(len(work.value), 1))))
    idle = [number for number in range(len(cuts) - 1) if weights[number] <= _TINY]
    for number in sorted(idle[: max(len(cuts) - most, 0)], reverse=True):
        del cuts[number]


def _priced(problem: Problem, search: CoupledSearch, price: Floats) -> Problem:
    """The problem without linear limits, its values less their prices (k,)."""
    m = search.work.m
    search.look_at(np.concatenate([np.zeros(m), price]))
    value = search.shifted.copy()
    if search.work.kept is not None:
        full = problem.value.astype(np.float64)
        full[search.work.kept] = value
        value = full
    return replace(problem, value=value, limits=(), reference=None)


def _cut(search: CoupledSearch, share: Floats) -> _Cut:
    amount, _ = search.coupling.amounts(search.work, share)
    return _Cut(share, search.worth(share), amount)


def _unit_worth(search: CoupledSearch, cut: _Cut) -> Floats:
    """Reward of a visit for each unit that it puts into the limits, (k,)."""
    _, gross = search.coupling.amounts(search.work, cut.share)
    visits = float(search.work.demand.sum())
    worth = abs(cut.reward) / max(visits, 1e-300) or 1.0
    each = np.maximum(gross / max(visits, 1e-300), 0.02)
    return worth / each


def _next(cuts: list[_Cut], coupling: Coupling, centre: Floats, box: Floats) -> tuple[Floats, float, Floats]:
    """The least of the cuts in the box: prices (k,), what it promises, and the cuts' weights."""
    low, high = coupling.allowed(centre - box), coupling.allowed(centre + box)
    found = {"price": np.zeros(0), "share": np.zeros(0)}
    work, limits = _programme(cuts, coupling, low, high)

    def look(price: Floats, share: Floats | None) -> bool:
        if share is not None:
            found["price"], found["share"] = price, share
        return share is not None

    interior(work, 1e-9, look, limits, least=1e-6 * work.scale)
    at = np.clip(found["price"][work.m : work.m + coupling.k] / limits.unit[: coupling.k], low, high)
    promised = max(cut.reward - float(at @ cut.amount) for cut in cuts) + coupling.worth(at)
    return at, promised, found["share"][: len(cuts)]


def _mix(cuts: list[_Cut], coupling: Coupling) -> tuple[Floats, bool]:
    """Weights of the best mix of plans that holds the limits, and whether there is one."""
    found = {"share": np.zeros(len(cuts))}
    work, limits = _programme(cuts, coupling, None, None)

    def look(_: Floats, share: Floats | None) -> bool:
        if share is not None:
            found["share"] = share
        return share is not None

    interior(work, 1e-9, look, limits, least=1e-6 * work.scale)
    weights = np.maximum(found["share"], 0.0)
    total = float(weights.sum())
    if not np.isfinite(total) or total <= 0:
        return weights, False
    weights = np.where(weights > _TINY * total, weights, 0.0)
    weights /= weights.sum()
    amount = np.sum([w * cut.amount for w, cut in zip(weights, cuts, strict=True)], axis=0)
    return weights, bool((coupling.breach(amount) <= 1e-5 * coupling.scale(np.abs(amount))).all())


def _programme(cuts: list[_Cut], coupling: Coupling, low: Floats | None, high: Floats | None) -> tuple[Work, Coupling]:
    """The small programme: shares of one visit among the plans, held to the limits; prices stay within low and high.

    A limit that is over its high may be relieved at its price's upper end, one that is not may be filled at the lower:
    these are rows of their own. Without ends there are none.
    """
    k, plans = coupling.k, len(cuts)
    amount = np.array([cut.amount for cut in cuts])
    size = np.maximum(np.abs(amount).max(axis=0), 1e-12)
    worst = min(cut.reward for cut in cuts)
    value = np.array([cut.reward for cut in cuts]) - worst
    demand, width = np.ones(1), [plans]
    columns = [(np.arange(plans), amount[:, q]) for q in range(k)]
    if low is not None and high is not None:
        far = 4.0 * (size + np.where(np.isinf(coupling.high), 0, np.abs(coupling.high)))
        far = far + np.where(np.isinf(coupling.low), 0, np.abs(coupling.low))
        value = np.concatenate([value, np.stack([-high * far, low * far], axis=1).ravel()])
        demand, width = np.ones(1 + 2 * k), [plans] + [1] * (2 * k)
        columns = [
            (
                np.concatenate([np.arange(plans), [plans + 2 * q, plans + 2 * q + 1]]),
                np.concatenate([amount[:, q], [-far[q], far[q]]]),
            )
            for q in range(k)
        ]
    edges = len(value)
    limits = [
        LinearLimit(edge.astype(np.int64), weight, float(coupling.low[q]), float(coupling.high[q]), f"{q}")
        for q, (edge, weight) in enumerate(columns)
    ]
    limits.append(LinearLimit(np.arange(plans), np.ones(plans), 1.0, 1.0, "one"))
    problem = Problem(
        demand=demand,
        row_start=np.concatenate([[0], np.cumsum(width)]).astype(np.int64),
        provider=np.arange(edges, dtype=np.int32),
        value=value,
        capacity=np.full(edges, np.inf),
        floor=np.zeros(edges),
        limits=tuple(limits),
    )
    work = plain_work(problem)
    return work, couple(problem, work)


def _blend(cuts: list[_Cut], weights: Floats) -> Floats:
    share = np.zeros(len(cuts[0].share))
    for cut, weight in zip(cuts, weights, strict=True):
        if weight > 0:
            share += weight * cut.share
    return share
