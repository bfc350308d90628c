"""Whether linear limits can hold at all: the least by which floors and limits must give, and the prices that prove it.

The elastic programme lets floors and linear limits give at a price of 1 for a visit (a limit's at its largest
coefficient): maximise - sum of what is given. Giving is visits from beyond: a row for each floor whose only edge leads
to that provider, and a row for each side of a limit. These rows have twice what could be asked of them, so that the
programme has room within even where no edge carries anything. Its dual is the problem's own with all values 0,

    F(l, lambda) = sum_i d_i max(0, max_e (-l_j - sum_k lambda_k a_ke)) + h(l, lambda)  >=  - least total give

for prices of at least -1 (floors) and of at most 1 (limits), so that prices with F < 0 are Farkas's proof. What is told
as given is what a plan within rows, capacities and share caps misses of floors and limits, counted from its shares:
with that given it holds everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from footfall.acquire import kernels
from footfall.acquire._coupled import CoupledSearch
from footfall.acquire._coupling import Coupling
from footfall.acquire._interior import interior
from footfall.acquire._limits_search import Solve, least_breach
from footfall.acquire._work import Work
from footfall.acquire.conflict import LimitNames
from footfall.acquire.problem import Problem
from footfall.acquire.repair import repair
from footfall.model import Floats

_FINE = 1e-11  # of the total demand: what is given up at most beyond the least
_ROOM = 2.0  # what there is to be given, in parts of the most that can be asked


@dataclass(frozen=True, eq=False, slots=True)
class PhaseOne:
    """share: (E,), a plan but for floors and limits. price: (m + k,), floors' scaled to >= -1 and limits' within 1.

    floor_give: (m,), visits that the plan misses. limit_give: (k,), how far low falls or high rises for it, in the
    coupling's units. excess: - F(price), in visits, as counted in floats.
    """

    share: Floats
    price: Floats
    floor_give: Floats
    limit_give: Floats
    excess: float


def _elastic(work: Work, coupling: Coupling) -> tuple[Work, Coupling]:
    """The elastic programme: its rows of giving stand behind those of the work, its provider of limits' likewise."""
    n, m, edges = work.n, work.m, len(work.value)
    floors = np.flatnonzero(work.floor > 0)
    short, over = (
        _ROOM * np.maximum(gap, 0.0) for gap in (coupling.low - coupling.least, coupling.most - coupling.high)
    )
    lows, highs = np.flatnonzero(np.isfinite(coupling.low)), np.flatnonzero(np.isfinite(coupling.high))
    sides, signs = np.concatenate([lows, highs]), np.concatenate([np.ones(len(lows)), -np.ones(len(highs))])
    demand = np.concatenate([work.demand, _ROOM * work.floor[floors], short[lows], over[highs]])
    extra = len(floors) + len(sides)
    row_start = np.concatenate([work.row_start, work.row_start[-1] + 1 + np.arange(extra)]).astype(np.int64)
    provider = np.concatenate([work.provider, floors, np.full(len(sides), m)]).astype(np.int32)
    entries = []
    for k in range(coupling.k):
        here = slice(coupling.start[k], coupling.start[k + 1])
        mine = np.flatnonzero(sides == k)
        entries.append(
            (
                np.concatenate([coupling.edge[here], edges + len(floors) + mine]).astype(np.int64),
                np.concatenate([coupling.weight[here], signs[mine]]),
            )
        )
    start = np.concatenate([[0], np.cumsum([len(e) for e, _ in entries])]).astype(np.int64)
    wide = replace(
        coupling,
        start=start,
        edge=np.concatenate([e for e, _ in entries]),
        weight=np.concatenate([w for _, w in entries]),
        least=coupling.least - over,
        most=coupling.most + short,
    )
    value = np.concatenate([np.zeros(edges), -np.ones(extra)])
    programme = replace(
        work,
        demand=demand,
        row_start=row_start,
        provider=provider,
        value=value,
        capacity=np.concatenate([work.capacity, [np.inf]]),
        floor=np.concatenate([work.floor, [0.0]]),
        reference=None,
        upper=None if work.upper is None else np.concatenate([work.upper, np.ones(extra)]),
        tau=np.zeros(0),
        mass=np.zeros(0),
        column=kernels.transpose(row_start, provider, m + 1),
        kept=None,
        total_edges=edges + extra,
        scale=float(demand[n:].sum()),
        left_out=0.0,
    )
    return programme, wide


def _rays(work: Work, price: Floats) -> list[Floats]:
    """Prices (m + 1 + k,) of the elastic programme as those of the problem, in the range where they prove something:
    all scaled down, or each cut off (which is better where a limit that nothing can break has any price at all).
    """
    m, floored = work.m, work.floor > 0
    providers, limits = np.where(floored, price[:m], np.maximum(price[:m], 0.0)), price[m + 1 :]
    largest = max(1.0, float((-providers).max(initial=0.0)), float(np.abs(limits).max(initial=0.0)))
    scaled = np.concatenate([providers, limits]) / largest
    if largest <= 1.0 + 1e-9:
        return [scaled]
    return [scaled, np.concatenate([np.maximum(providers, -1.0), np.clip(limits, -1.0, 1.0)])]


def phase_one(work: Work, coupling: Coupling, tick: Callable[[], None]) -> PhaseOne:
    """Solve the elastic programme by the interior point; ``tick`` is called at every step and may raise to stop."""
    programme, wide = _elastic(work, coupling)
    total = float(work.demand.sum()) + float(programme.demand[work.n :].max(initial=0.0))
    best = _Best(bare_search(work, coupling))

    def offer(price: Floats, share: Floats | None) -> bool:
        tick()
        best.offer_price(price)
        if share is not None:
            best.offer_share(share[: len(work.value)])
        return best.give - best.excess <= _FINE * total

    interior(programme, 0.1 * _FINE, offer, wide, least=total)
    return PhaseOne(best.share, best.price, best.floor_give, best.limit_give, best.excess)


def phase_one_at_scale(
    work: Work, coupling: Coupling, problem: Problem, solve: Solve, tick: Callable[[], None]
) -> PhaseOne:
    """The same where floors can be met (``solve`` says so), from a search over the limits' prices alone."""
    found = least_breach(bare_search(work, coupling), problem, solve, tick)
    return PhaseOne(found.share, found.price, np.zeros(work.m), found.give, found.excess)


def bare_search(work: Work, coupling: Coupling) -> CoupledSearch:
    """A search over the same limits with all values 0, whose bounds are F."""
    bare = replace(work, value=np.zeros(len(work.value)), reference=None)
    return CoupledSearch(bare, coupling, LimitNames(), _FINE, 1)


class _Best:
    """The strongest proof, and the plan that misses least of floors and limits, so far."""

    def __init__(self, own: CoupledSearch) -> None:
        work = own.work
        self.own, self.free = own, replace(own.work, floor=np.zeros(work.m))
        self.excess, self.price = 0.0, np.zeros(work.m + own.coupling.k)
        self.give, self.share = np.inf, np.zeros(len(work.value))
        self.floor_give, self.limit_give = np.zeros(work.m), np.zeros(own.coupling.k)

    def offer_price(self, price: Floats) -> None:
        """Note what prices of the elastic programme prove."""
        for ray in _rays(self.own.work, price):
            ray = self.own.allowed(ray)
            excess = -self.own.plain_bound(ray)
            if excess > self.excess:
                self.price, self.excess = ray, excess

    def offer_share(self, share: Floats) -> None:
        """Note by how much shares (E,), brought within rows, capacities and share caps, miss floors and limits."""
        plan, load, _ = repair(self.free, share, np.zeros(self.free.m), LimitNames(), fill=False)
        total, _ = self.own.coupling.amounts(self.free, plan)
        floor_give, limit_give = np.maximum(self.own.work.floor - load, 0.0), self.own.coupling.breach(total)
        give = float(floor_give.sum() + limit_give.sum())
        if give < self.give:
            self.give, self.share, self.floor_give, self.limit_give = give, plan, floor_give, limit_give
