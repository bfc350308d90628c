"""The plain programme at scale: prices by ``_ridge``, a plan by ``_mend``, an allocation with its certificate.

Bounds and objectives are sums in double precision over the problem's own values; single precision only finds prices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from footfall.acquire import _ridge_kernels as rows
from footfall.acquire import kernels
from footfall.acquire._blocks import Crew, cut_rows
from footfall.acquire._certificate import believed, relative_gap, rounding
from footfall.acquire._mend import Mended, mend, settle
from footfall.acquire._ridge import LEVEL_STEPS, Market, Point, Search
from footfall.acquire._search import OutOfTimeError, Progress
from footfall.acquire._work import plain_work
from footfall.acquire.conflict import LimitNames
from footfall.acquire.problem import Allocation, Problem, Status
from footfall.model import Floats

_FINEST = 2e-6  # gap that single precision is worth trying for
_SIZES = (1e-20, 1e20)  # of the largest value: single precision must hold its square
_WITHIN = 3.5  # a plan is tried when what loads miss is within this many times the gap asked for
_WARM_WITHIN = 2.5  # from earlier prices, where a plan that will not do costs more than the steps that it saves
_AGAIN = 0.6  # after a plan that would not do, what is missed must have fallen to this part
_DOUBT = 60  # steps of a level after which unmet floors are tried, lest they cannot be met


def suits(problem: Problem, gap: float) -> bool:
    """Whether this method is for the problem at all; the size is for the caller to judge."""
    return problem.upper is None and not problem.limits and gap >= _FINEST and problem.edges > 0


class Certificate:
    """The least bound and the best plan so far of one problem, and when to try for a better one."""

    def __init__(self, problem: Problem, search: Search, names: LimitNames, free: float, scale: float) -> None:
        self.problem, self.market, self.search = problem, search.market, search
        self.names, self.scale = names, scale
        self.each = search.crew.each(search.cuts())
        self.bound, self.price = free, np.zeros(problem.providers)
        self.objective, self.iterations = -np.inf, 0
        self.share: npt.NDArray[Any] | None = None
        self.mended: Mended | None = None
        self._made: tuple[Floats, float] = (self.price, 1.0)
        self._whole = True  # False while the shares are written, so that an interrupt leaves no half of a plan
        self.closest: Point | None = None  # the point from which a plan would miss least
        self._near: Point | None = None  # the point of least known H since the last exact bound
        self._tried, self.within = np.inf, _WITHIN

    def gap(self) -> float:
        """(bound - objective) / |bound|; 0 where they are equal to rounding."""
        return relative_gap(self.bound, self.objective, self.scale)

    def certify(self, price: Floats) -> None:
        """H(l) in double precision; prices of providers without capacity are as high as need be."""
        p, shut = self.problem, np.where(self.market.shut, np.inf, price)
        data = (p.row_start, p.provider, p.value, p.demand, shut)
        parts = self.each(lambda _, a, b: kernels.bound_rows(*data, a, b))
        self.search.other += p.edges
        bound = float(sum(parts)) + rows.measure(price, np.zeros(len(price)), p.capacity, p.floor)[0]
        noise = rounding(self.scale, float(p.demand.sum()), price, p.capacity, p.floor)
        if bound < self.bound and believed(bound, noise, self.scale):
            self.bound, self.price = bound, price

    def plan(self, price: Floats, ridge: float) -> None:
        """A plan from the shares at these prices; InfeasibleError where there is none."""
        p, m = self.problem, self.market
        self._whole = False
        if self.share is None:
            self.share = np.empty(p.edges, dtype=p.value.dtype)
        shares: npt.NDArray[Any] = self.share
        at, size = self.search.screen.prices(price), np.float32(ridge)
        data = (m.row_start, m.index, m.value, m.demand, at, size)
        self.each(lambda _, a, b: rows.share_rows(*data, a, b, m.widest, shares))
        self.search.other += p.edges
        mended = self._mend(shares, price)
        if len(mended.short):
            work = plain_work(p)
            part = work.gather(shares)
            settle(work, part, self.names)
            shares[:] = work.spread(part)
            mended = self._mend(shares, price)
        worth = self.each(lambda _, a, b: kernels.worth_rows(p.row_start, p.value, p.demand, shares, a, b))
        self.mended, self.objective, self._made = mended, float(sum(worth)), (price, ridge)
        self._whole = True

    def _mend(self, share: npt.NDArray[Any], price: Floats) -> Mended:
        p = self.problem
        return mend(p.row_start, p.provider, p.value, p.demand, p.capacity, p.floor, share, price, each=self.each)

    def attempt(self, at: Point) -> None:
        """A plan and the bounds that go with it; the plan before stays where it was better."""
        before, made = self.objective, self._made
        self._tried = self.missing(at)
        for point in (at, self._near):
            if point is not None and (point is at or point.plain < at.plain):
                self.certify(point.price)
        self._near = None
        self.plan(at.price, at.ridge)
        if self.objective < before:
            self.plan(*made)

    def missing(self, at: Point) -> float:
        """About the gap that a plan from this point would have."""
        least = at.plain if self._near is None else min(at.plain, self._near.plain)
        return at.short / max(abs(least), 1e-9 * self.scale)

    def note(self, at: Point) -> None:
        """Take notice of a point, without looking at the edges."""
        if self.closest is None or at.short < self.closest.short:
            self.closest = at
        if at.plain < (self.bound if self._near is None else self._near.plain):
            self._near = at

    def worth_a_plan(self, at: Point, wanted: float) -> bool:
        """Whether a plan from here may well certify the gap."""
        return self.missing(at) < min(self.within * wanted, _AGAIN * self._tried)

    def finish(self) -> None:
        """The best that can be had without searching on."""
        if self._near is not None:
            self.certify(self._near.price)
            self._near = None
        if self.mended is None:
            at = self.closest
            self.plan(*(self._made if at is None else (at.price, at.ridge)))
        elif not self._whole:
            self.plan(*self._made)


def allocate(
    problem: Problem,
    gap: float,
    threads: int | None,
    prices: Floats | None,
    deadline: float | None,
    progress: Progress | None,
    names: LimitNames,
) -> Allocation | None:
    """As ``solver.solve`` at inertia 0, for a problem that ``suits``; None where all values are 0 or one is extreme."""
    with Crew(threads, problem.edges) as crew:
        broken = False
        try:
            found = _market(problem, crew)
        except KeyboardInterrupt:  # too early for any plan: there is one all the same, of no great worth
            found, broken = _market(problem, crew), True
        if found is None:
            return None
        market, free, scale = found
        search = Search(market, crew)
        best = Certificate(problem, search, names, free, scale)
        search.other += problem.edges
        if broken:
            best.finish()
            return _allocation(best, "interrupted")
        status = _run(best, gap, prices, deadline, progress)
        return _allocation(best, status)


def _market(problem: Problem, crew: Crew) -> tuple[Market, float, float] | None:
    """The market, H(0) and sum d max |v|."""
    data = (problem.row_start, problem.value, problem.demand)
    found = crew.each(cut_rows(problem.row_start, crew.count))(lambda _, a, b: rows.widest_row(*data, a, b))
    widest, largest = max(part[0] for part in found), max(part[1] for part in found)
    free, scale = sum(part[2] for part in found), sum(part[3] for part in found)
    visits = float(problem.demand.sum())
    if not (visits > 0 and scale > 0 and _SIZES[0] < largest < _SIZES[1]):
        return None
    narrow = np.uint16 if problem.providers <= 1 << 16 else np.int32
    market = Market(
        row_start=problem.row_start,
        index=problem.provider.astype(narrow, copy=False),
        value=problem.value.astype(np.float32, copy=False),
        demand=problem.demand,
        capacity=problem.capacity,
        floor=problem.floor,
        widest=int(widest),
        worth=(free if free > 0 else scale) / visits,
    )
    return market, float(free), float(scale)


def _run(
    best: Certificate, gap: float, prices: Floats | None, deadline: float | None, progress: Progress | None
) -> Status:
    """Search until the gap is certified; what ended it."""

    def tick() -> None:
        best.iterations += 1
        if progress is not None:
            progress(best.iterations, best.bound, best.objective if np.isfinite(best.objective) else np.nan)
        if deadline is not None and time.monotonic() > deadline:
            raise OutOfTimeError

    best.within = _WITHIN if prices is None else _WARM_WITHIN
    look = _look(best, gap, tick)
    try:
        best.search.run(prices, look, tick)
        if best.gap() > gap and best.closest is not None:
            best.attempt(best.closest)
    except OutOfTimeError:
        best.finish()
        return "optimal" if best.gap() <= gap else "time_limit"
    except KeyboardInterrupt:
        best.finish()
        return "interrupted"
    return "optimal" if best.gap() <= gap else "stalled"


def _look(best: Certificate, gap: float, tick: Callable[[], None]) -> Callable[[Point, bool], bool]:
    """What judges a point: tries for a plan where that promises to do, or where floors stay unmet for long."""
    level = [0.0, 0.0]  # ridge and steps taken on it

    def look(at: Point, last: bool) -> bool:
        best.note(at)
        tick()
        level[:] = [at.ridge, level[1] + 1 if at.ridge == level[0] else 1.0]
        doubtful = level[1] % _DOUBT == 0 and _far_below(best.market, at.load)
        if doubtful or best.worth_a_plan(at, gap):
            best.attempt(at)
        # a whole level that came no closer: finer ridges drown in the rounding of single precision
        worn = last and level[1] >= LEVEL_STEPS[1]
        lost = worn and best.closest is not None and best.closest.ridge > at.ridge
        return lost or best.gap() <= gap

    return look


def _far_below(market: Market, load: Floats) -> bool:
    """Whether loads miss a good part of the floors."""
    lack = float(np.maximum(market.floor - load, 0.0).sum())
    return lack > 1e-2 * float(market.floor.sum())


def _allocation(best: Certificate, status: Status) -> Allocation:
    assert best.share is not None
    assert best.mended is not None
    return Allocation(
        share=best.share,
        price=best.price,
        load=best.mended.load,
        unassigned=best.mended.slack,
        reward=best.objective,
        objective=best.objective,
        bound=max(best.bound, best.objective),
        gap=best.gap(),
        lp_bound=max(best.bound, best.objective),
        iterations=best.iterations,
        status=status,
        passes=best.search.passes,
    )
