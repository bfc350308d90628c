"""The allocation solver: a problem in; shares, prices and a certificate out.

How it works, with sources, stands in docs/solver.md. Few providers: an interior-point method. Every price vector met on the way gives an upper bound, every repaired plan a lower
one; the best of each make the certificate.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from footfall.acquire import kernels
from footfall.acquire._interior import interior
from footfall.acquire._passes import Passes
from footfall.acquire._polish import polish
from footfall.acquire._work import entropic_work, plain_work
from footfall.acquire.conflict import LimitNames
from footfall.acquire.problem import Allocation, Problem, Status, check_reference
from footfall.acquire.repair import repair
from footfall.errors import ProblemError
from footfall.model import Floats

Progress = Callable[[int, float, float], None]

_FINE = 1e-8  # gap that the second-order methods go on to, where the caller asks for less


_NEAR = 1e-6  # prices within this part of the largest value (or tau) may be 0 but for rounding
_FREE = 1e-9  # what exact zeros may cost, in parts of the bound
_PATIENCE = 6  # steps without a better gap after which one that will do is taken


class _StopError(Exception):
    """The time is up."""


class _Search:
    """The best bound and the best plan so far, and the reasons to stop."""

    def __init__(
        self, passes: Passes, names: LimitNames, gap: float, deadline: float | None, progress: Progress | None
    ) -> None:
        self.passes, self.names, self.deadline, self.progress = passes, names, deadline, progress
        self.wanted, self._best_gap, self._since = gap, np.inf, 0
        self.bound, self.objective = np.inf, -np.inf
        work = passes.work
        self.price = np.zeros(work.m)
        self.share, self.load, self.unassigned = np.zeros(len(work.value)), np.zeros(work.m), work.demand.copy()
        self.iterations = 0

    def gap(self) -> float:
        """(bound - objective) / |bound|, 0 where they are equal to rounding."""
        missing = self.bound - self.objective
        if missing <= 1e-15 * self.passes.work.scale:
            return 0.0
        return float(missing / max(abs(self.bound), 1e-9 * self.passes.work.scale))

    def offer_price(self, price: Floats, bound: float) -> None:
        """Note an upper bound."""
        if bound < self.bound:
            self.bound, self.price = bound, price

    def offer_share(self, share: Floats, price: Floats) -> None:
        """Repair shares into a plan and note its objective."""
        work = self.passes.work
        plan, load, unassigned = repair(work, share, price, self.names, fill=work.reference is None)
        objective = self.passes.objective(plan)
        if objective > self.objective:
            self.objective, self.share, self.load, self.unassigned = objective, plan, load, unassigned

    def settled(self) -> bool:
        """Whether the gap will do and has not become better for a while."""
        gap = self.gap()
        self._since = 0 if gap < 0.5 * self._best_gap else self._since + 1
        self._best_gap = min(gap, self._best_gap)
        return gap <= self.wanted and self._since >= _PATIENCE

    def step(self) -> None:
        """Count an iteration, tell it, and stop where the time is up."""
        self.iterations += 1
        if self.progress is not None:
            self.progress(self.iterations, self.bound, self.objective if np.isfinite(self.objective) else np.nan)
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise _StopError


def _plain(search: _Search, target: float) -> None:
    """The plain programme (inertia 0)."""
    passes = search.passes
    work = passes.work

    def look(price: Floats, share: Floats | None) -> bool:
        price = passes.allowed(price)
        search.offer_price(price, passes.bound(price))
        if share is not None:
            search.offer_share(share, price)
        search.step()
        return search.gap() <= target or search.settled()

    interior(work, 0.3 * target, look)
    _snap(search)


def _snap(search: _Search) -> None:
    """Prices that are 0 but for rounding become 0, where that costs the bound nothing to speak of."""
    work = search.passes.work
    typical = np.abs(work.value).max(initial=0.0)
    price = np.where(np.abs(search.price) <= _NEAR * typical, 0.0, search.price)
    bound = search.passes.bound(price)
    if bound <= search.bound + _FREE * max(abs(search.bound), 1e-9 * work.scale):
        search.price, search.bound = price, min(bound, search.bound)


def _entropic(search: _Search, target: float) -> None:
    """The programme with relative entropy to the reference (inertia > 0)."""
    passes = search.passes
    tau = passes.work.tau

    def look(price: Floats, share: Floats | None) -> bool:
        point = passes.entropy(passes.allowed(price), tau)
        search.offer_price(point.price, point.value)
        search.offer_share(point.share, point.price)
        if share is not None:
            search.offer_share(share, price)
        search.step()
        return search.gap() <= target or search.settled()

    look(np.zeros(passes.work.m), None)
    if search.gap() > target:
        interior(passes.work, target, look)
    typical = float(tau.max(initial=0.0))
    near = np.where(np.abs(search.price) <= _NEAR * typical, 0.0, search.price)
    point = polish(passes, near, search.step)
    if point.value <= search.bound + _FREE * max(abs(search.bound), 1e-9 * passes.work.scale):
        search.price, search.bound = point.price, min(search.bound, point.value)
    search.offer_share(point.share, point.price)


def solve(
    problem: Problem,
    inertia: float = 0.0,
    gap: float = 1e-4,
    threads: int | None = None,
    prices: Floats | None = None,
    time_limit_s: float | None = None,
    progress: Progress | None = None,
    names: LimitNames | None = None,
) -> Allocation:
    """Allocate visits: the most reward under the limits, held to the reference by ``inertia``.

    inertia: >= 0; 0 is the plain linear programme, else tau_i = inertia x sum_j p_ij max(v_ij, 0). gap: relative gap
    to certify. threads: None for as many as the size is worth. prices: float64 (m,), a warm start. time_limit_s:
    seconds, after which the best plan so far is returned. progress: called with (iteration, bound, objective or nan).
    names: names of the limits, for conflicts.

    Returns an Allocation whose status is "optimal" only where ``gap`` is certified. Raises ProblemError for arrays
    that are not valid, InfeasibleError with a proof where floors cannot all be met.
    """
    _check_options(problem, inertia, gap, threads, prices, time_limit_s)
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    names = names or LimitNames()
    work = entropic_work(problem, inertia) if inertia > 0 else plain_work(problem)
    start = np.zeros(work.m) if prices is None else prices
    start = np.where(np.isinf(work.capacity), np.minimum(start, 0.0), start)
    with Passes(work, threads) as passes:
        search = _Search(passes, names, gap, deadline, progress)
        target = min(gap, _FINE)
        search.offer_share(np.zeros(len(work.value)) if work.reference is None else work.reference, start)
        status: Status | None = None
        lp_bound = np.inf
        try:
            if work.reference is None:
                search.offer_price(start, passes.bound(start))
                _plain(search, target)
            else:
                search.offer_price(start, passes.entropy(start, work.tau).value)
                _entropic(search, target)
        except _StopError:
            status = "time_limit"
        except KeyboardInterrupt:
            status = "interrupted"
    if work.reference is None:
        lp_bound = search.bound
    else:
        lp_bound = _plain_bound(problem, search, gap, threads, deadline)
    return _allocation(problem, search, gap, lp_bound, status)


def _plain_bound(problem: Problem, search: _Search, gap: float, threads: int | None, deadline: float | None) -> float:
    """An upper bound of the plain programme, near its optimum where there is time."""
    work = plain_work(problem)
    with Passes(work, threads) as passes:
        plain = _Search(passes, search.names, gap, deadline, None)
        plain.offer_price(search.price, passes.bound(search.price))
        zero = np.zeros(work.m)
        plain.offer_price(zero, passes.bound(zero))
        try:
            _plain(plain, min(gap, _FINE))
        except (_StopError, KeyboardInterrupt):
            return plain.bound
    return plain.bound


def _allocation(
    problem: Problem, search: _Search, gap: float, lp_bound: float, status: Status | None
) -> Allocation:
    work, passes = search.passes.work, search.passes
    share = search.share
    idle = np.flatnonzero(work.demand <= 0)
    if work.reference is None:
        for i in idle:
            kernels.best_edge_rows(work.row_start, work.provider, work.value, search.price, i, i + 1, share)
    elif len(idle):
        at_price = passes.entropy(search.price, work.tau).share
        share = np.where(np.repeat(work.demand <= 0, np.diff(work.row_start)), at_price, share)
    final_gap = search.gap()
    if final_gap <= gap:
        status = "optimal"
    share = work.spread(share)
    reward = kernels.worth_rows(
        problem.row_start, problem.value.astype(np.float64), problem.demand, share, 0, problem.segments
    )
    return Allocation(
        share=share,
        price=search.price,
        load=search.load,
        unassigned=search.unassigned,
        reward=float(reward),
        objective=search.objective,
        bound=max(search.bound, search.objective),
        gap=final_gap,
        lp_bound=lp_bound,
        iterations=search.iterations,
        status=status or "stalled",
    )


def _check_options(
    problem: Problem, inertia: float, gap: float, threads: int | None, prices: Floats | None, time_limit_s: float | None
) -> None:
    if not (np.isfinite(inertia) and inertia >= 0):
        raise ProblemError(f"inertia {inertia} must be finite and 0 or more")
    if not 0 < gap < 1:
        raise ProblemError(f"gap {gap} must be between 0 and 1")
    if threads is not None and threads < 1:
        raise ProblemError(f"threads {threads} must be 1 or more")
    if time_limit_s is not None and not time_limit_s >= 0:
        raise ProblemError(f"time_limit_s {time_limit_s} must be 0 or more")
    if prices is not None:
        good = isinstance(prices, np.ndarray) and prices.dtype == np.float64 and prices.shape == (problem.providers,)
        if not good or not np.isfinite(prices).all():
            raise ProblemError(f"prices must be a finite float64 array of {problem.providers} entries")
    if problem.limits:
        raise ProblemError(
            f"linear limits beyond capacities are not supported yet ({len(problem.limits)} given)",
            "express them as capacities and floors",
        )
    if inertia > 0:
        check_reference(problem)
