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
from footfall.acquire._coupling import Coupling, Ints, couple
from footfall.acquire._mixing import mix
from footfall.acquire._work import Work, plain_work
from footfall.acquire.conflict import LimitNames
from footfall.acquire.problem import Allocation, LinearLimit, Problem
from footfall.errors import InfeasibleError
from footfall.model import Floats

_MOST = 60  # solves
_TRIES = 25  # solves without a mix that holds the limits, after which somebody should see whether there can be one
_FIRST_BOX = 0.3  # half width of the first box, in parts of a typical value for each unit of a limit
_GROW, _FALL = 2.0, 0.4  # the box, after a step that was as good as promised, and after one that was not
_BREACH_GAP = 1e-4  # to which a breach is measured
_INNER = 0.5  # part of the gap asked for that a solve may leave
_ROUGH = 3e-3  # gap of the first solves
_PATIENCE = 3  # steps in a row that were not as good as promised, after which the box falls: each adds its cut first
_WORTH_SAMPLING = 500_000  # edges
_SAMPLE, _SAMPLE_GAP, _SAMPLE_MOST = 0.1, 5e-4, 20  # part of the rows; the gap and the solves that they are worth
_NEAR = 0.05  # the first box after a sample, in parts of its prices and of the usual box
_MEMORY = 1e9  # bytes of plans kept beyond those in use
_FORBIDDING = 1e4  # price of a breach, in parts of what plans differ by for a breach of all they put in
_BETTER, _NEARLY = 0.3, 1.15  # parts of the last mix's gap, and of the gap asked for, at which a mix is made a plan
_TINY = 1e-9  # a cut's weight that is left out of the mix


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
    sampled = not start[m:].any() and problem.edges >= _WORTH_SAMPLING
    if sampled:
        start = _from_sample(problem, coupling, solve, start)
        sampled = bool(start[m:].any())
    provider_price: Floats | None = start[:m] if start.any() else None
    centre = at = coupling.allowed(start[m:])
    box, best, promised = np.full(coupling.k, np.inf), np.inf, -np.inf
    cuts: list[_Cut] = []
    about = np.inf  # the gap that the best mix would have
    failures, mixed = 0, np.inf  # mixed: about the gap of the last mix that was made a plan
    for number in range(most):
        hoped = (best - promised) / max(abs(best), 1e-300) if number > 1 else np.inf
        inner = max(_INNER * gap, min(_ROUGH, 0.1 * min(search.gap(), about), 0.3 * hoped))
        answer = solve(_priced(problem, search, at), gap=inner, prices=provider_price)
        provider_price = answer.price
        bound = answer.bound + coupling.worth(at)
        search.offer_price(np.concatenate([answer.price, at]), bound)
        cuts.append(_cut(search, work.gather(np.asarray(answer.share, dtype=np.float64))))
        if number == 0:
            box = _FIRST_BOX * _unit_worth(search, cuts[0])
            if sampled:
                box = np.maximum(_NEAR * np.abs(at), _NEAR * box)
        elif bound <= best - 0.3 * (best - promised):
            centre, box, failures = at, np.where(np.abs(at - centre) >= 0.99 * box, _GROW * box, box), 0
        else:
            failures += 1
            centre, box = (at if bound < best else centre), (box if failures % _PATIENCE else _FALL * box)
        best = min(best, bound)
        weights, held = _mix(cuts, coupling)
        about = _about(search, cuts, weights) if held else np.inf
        over = best < -2.0 * work.scale or (number > _TRIES and not search.found) or number == most - 1
        at, promised, in_box = _next(cuts, coupling, centre, box)
        over = over or not np.isfinite(at).all()
        if held and (over or not search.found or about <= max(_BETTER * mixed, _NEARLY * gap)):
            mixed = about
            search.offer_share(_blend(cuts, weights), search.price)
        search.step()
        if over or search.gap() <= gap:
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


def _from_sample(problem: Problem, coupling: Coupling, solve: Solve, start: Floats) -> Floats:
    """Prices (m + k,) of a sample of the rows, with limits in proportion; ``start`` where that has no plan."""
    n, width = problem.segments, np.diff(problem.row_start)
    rows = np.random.default_rng(n).random(n) < _SAMPLE
    keep = np.repeat(rows, width)
    number = np.cumsum(keep) - 1
    visits = np.repeat(problem.demand, width)
    all_, some = (np.bincount(problem.provider, visits * part, problem.providers) for part in (1.0, keep))
    part = some / np.maximum(all_, 1e-300)
    limits = []
    for limit in problem.limits:
        here = keep[limit.edge]
        amount = np.abs(limit.coefficient) * visits[limit.edge]
        share = float(amount[here].sum()) / max(float(amount.sum()), 1e-300)
        edge = number[limit.edge[here]]
        limits.append(LinearLimit(edge, limit.coefficient[here], limit.low * share, limit.high * share, limit.name))
    sample = Problem(
        demand=problem.demand[rows],
        row_start=np.concatenate([[0], np.cumsum(width[rows])]).astype(np.int64),
        provider=problem.provider[keep],
        value=problem.value[keep],
        capacity=np.where(part > 0, problem.capacity * np.where(part > 0, part, 1.0), 0.0),
        floor=problem.floor * part,
        limits=tuple(limits),
        upper=None if problem.upper is None else problem.upper[keep],
    )
    work = plain_work(sample)
    search = CoupledSearch(work, couple(sample, work), LimitNames(), _SAMPLE_GAP, threads=1)
    try:
        search_limit_prices(search, sample, solve, np.zeros(work.m + coupling.k), _SAMPLE_GAP, _SAMPLE_MOST)
    except InfeasibleError:
        return start
    prices = search.price[work.m :] / search.coupling.unit * coupling.unit
    return np.concatenate([search.price[: work.m], coupling.allowed(prices)])


def _about(search: CoupledSearch, cuts: list[_Cut], weights: Floats) -> float:
    """The gap that a mix of plans would have, but for what making it a plan changes: no look at the edges."""
    reward = sum(weight * cut.reward for weight, cut in zip(weights, cuts, strict=True))
    return float((search.bound - reward) / max(abs(search.bound), 1e-9 * search.work.scale, 1e-300))


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
    ups, downs = np.flatnonzero(np.isfinite(coupling.high)), np.flatnonzero(np.isfinite(coupling.low))
    least = np.concatenate([np.maximum(low[ups], 0.0), np.maximum(-high[downs], 0.0)])
    most = np.concatenate([np.maximum(high[ups], 0.0), np.maximum(-low[downs], 0.0)])
    weights, price = _mixed(cuts, coupling, ups, downs, least, most)
    at = np.zeros(coupling.k)
    at[ups] += price[: len(ups)]
    at[downs] -= price[len(ups) :]
    at = np.clip(at, low, high)
    promised = max(cut.reward - float(at @ cut.amount) for cut in cuts) + coupling.worth(at)
    return at, promised, weights


def _mix(cuts: list[_Cut], coupling: Coupling) -> tuple[Floats, bool]:
    """Weights of the best mix of plans that holds the limits, and whether there is one."""
    ups, downs = np.flatnonzero(np.isfinite(coupling.high)), np.flatnonzero(np.isfinite(coupling.low))
    reward = np.array([cut.reward for cut in cuts])
    size = np.maximum(np.abs([cut.amount for cut in cuts]).max(axis=0), 1e-12)
    dear = _FORBIDDING * max(float(np.ptp(reward)), 1e-6 * float(np.abs(reward).max()), 1e-300) / size
    most = np.concatenate([dear[ups], dear[downs]])
    weights, _ = _mixed(cuts, coupling, ups, downs, np.zeros(len(most)), most)
    weights = np.where(weights > _TINY, weights, 0.0)
    weights /= weights.sum()
    amount = np.sum([w * cut.amount for w, cut in zip(weights, cuts, strict=True)], axis=0)
    return weights, bool((coupling.breach(amount) <= 1e-5 * coupling.scale(np.abs(amount))).all())


def _mixed(
    cuts: list[_Cut], coupling: Coupling, ups: Ints, downs: Ints, least: Floats, most: Floats
) -> tuple[Floats, Floats]:
    amount = np.array([cut.amount for cut in cuts]).T
    return mix(
        np.array([cut.reward for cut in cuts]),
        np.concatenate([amount[ups], -amount[downs]]),
        np.concatenate([coupling.high[ups], -coupling.low[downs]]),
        least,
        most,
    )


def _blend(cuts: list[_Cut], weights: Floats) -> Floats:
    share = np.zeros(len(cuts[0].share))
    for cut, weight in zip(cuts, weights, strict=True):
        if weight > 0:
            share += weight * cut.share
    return share
