"""The allocation solver: a problem in; shares, prices and a certificate out.

How it works, with sources, stands in docs/solver.md. Every price vector met on the way gives an upper bound, every
repaired plan a lower one; the best of each make the certificate. Problems of moderate size go to an interior-point
method, larger ones to accelerated descent on the dual, with the interior-point method to fall back on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from footfall.acquire import _capped, _few_rows, kernels
from footfall.acquire._coupled_solver import solve_coupled
from footfall.acquire._descent import descend_entropic, descend_plain
from footfall.acquire._entropic import solve_entropic
from footfall.acquire._interior import interior, with_room
from footfall.acquire._options import check_options, usable_start
from footfall.acquire._passes import DualPoint, Passes
from footfall.acquire._polish import polish
from footfall.acquire._ridge_plan import allocate, suits
from footfall.acquire._search import OutOfTimeError, Progress, Search
from footfall.acquire._work import Work, entropic_work, plain_work
from footfall.acquire.conflict import LimitNames
from footfall.acquire.problem import Allocation, Problem, Status, check_reference
from footfall.model import Floats

_FINE = 1e-10  # gap that the interior-point method goes on to on small problems, where the caller asks for less
_SMALL = 20_000  # edges
_MOST_DENSE = 5_000  # providers up to which an (m, m) matrix is held
_POLISHED = 1_500  # providers up to which prices are polished at inertia > 0
_QUICK = 4e9  # operations of one interior-point step that are worth its certainty from the start
_MOST_PASSES = 6_000  # of descent; a quarter where the interior-point method can follow
_COMMON = 250_000  # edges up to which they are polished
_BEARABLE = 2_000_000  # edges up to which interior point follows where descent over many edges did not certify
_NEAR = 1e-6  # prices within this part of the largest value (or tau) may be 0 but for rounding
_FREE = 1e-9  # what exact zeros may cost, in parts of the bound


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

    inertia: 0 is the plain linear programme, else 1e-200 or more: tau_i = inertia x sum_j p_ij max(v_ij, 0). gap: the
    relative gap to certify, in (0, 1). threads: None for as many as the size is worth. prices: float64 (m,), reward
    per visit, a warm start (none where they are far beyond the values). time_limit_s: seconds, after which the best
    plan so far is returned. progress: called with (iteration, bound, objective or nan). names: names of the limits, for
    conflicts.

    Returns an Allocation whose status is "optimal" only where ``gap`` is certified; at a time limit or an interrupt,
    the best plan so far, which holds all limits. Raises ProblemError for what is not valid, InfeasibleError with a
    proof where floors cannot all be met. Deterministic for a given number of threads.
    """
    check_options(problem, inertia, gap, threads, prices, time_limit_s, progress, names)
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    prices = usable_start(problem, inertia, prices)
    names = names or LimitNames()
    try:
        if inertia > 0:
            check_reference(problem)
        return _solved(problem, inertia, gap, threads, prices, deadline, progress, names)
    except (KeyboardInterrupt, SystemError) as error:
        if not _is_interrupt(error):
            raise
        # It came where no plan stood yet, while threads start or arrays are laid out: the quickest one still holds all.
        if inertia > 0:
            check_reference(problem)
        quick = _solved(problem, inertia, gap, threads, prices, time.monotonic(), None, names)
        return replace(quick, status="interrupted")


def _is_interrupt(error: BaseException) -> bool:
    """Ctrl-C; where it lands in compiled code, Python tells it as what is at the bottom of some SystemErrors."""
    cause: BaseException | None = error
    while isinstance(cause, SystemError):
        cause = cause.__cause__
    return isinstance(cause, KeyboardInterrupt)


def _solved(
    problem: Problem,
    inertia: float,
    gap: float,
    threads: int | None,
    prices: Floats | None,
    deadline: float | None,
    progress: Progress | None,
    names: LimitNames,
) -> Allocation:
    """``solve`` with its options checked: which method when."""
    if problem.limits:
        return solve_coupled(problem, inertia, gap, threads, prices, deadline, progress, names, solve)
    if inertia == 0 and _has_many_rows(problem, gap):
        large = allocate(problem, gap, threads, prices, deadline, progress, names)
        if large is not None and (large.status != "stalled" or problem.providers > _MOST_DENSE):
            return large
        prices = prices if large is None else large.price
    if inertia > 0 and problem.edges > _SMALL and problem.upper is None:
        polished = problem.providers <= _POLISHED and problem.edges <= _COMMON
        many = solve_entropic(problem, inertia, gap, threads, prices, deadline, progress, names, beside=not polished)
        reached = many.status == "optimal" or problem.providers > _MOST_DENSE or problem.edges > _BEARABLE
        if many.status in ("time_limit", "interrupted") or (reached and not polished):
            return many
        prices = many.price
    work = entropic_work(problem, inertia) if inertia > 0 else plain_work(problem)
    with Passes(work, threads) as passes:
        search = Search(passes, names, gap, deadline, progress)
        start = passes.allowed(np.zeros(work.m) if prices is None else prices)
        search.offer_share(np.zeros(len(work.value)) if work.reference is None else work.reference, start)
        status = _run(search, start, gap)
        if inertia == 0:
            return _allocation(problem, search, search.bound, status)
        return _allocation(problem, search, _plain_bound(problem, search, gap, threads, deadline), status)


def _has_many_rows(problem: Problem, gap: float) -> bool:
    """Whether the plain programme goes to the method over many rows."""
    few = _few_rows.suits(problem.segments, problem.providers)
    return problem.edges > _SMALL and suits(problem, gap) and not few


def _run(search: Search, start: Floats, gap: float) -> Status:
    """Search from the prices ``start``; what ended it."""
    entropic = search.passes.work.reference is not None
    try:
        for price in (start, np.zeros(len(start))):
            search.offer_point(_at(search.passes, price), plan=True)
        if search.gap() > gap or not start.any():
            _methods(search, start, gap)
        if entropic:
            _polish(search)
        else:
            _snap(search)
    except OutOfTimeError:
        return "optimal" if search.gap() <= gap else "time_limit"
    except KeyboardInterrupt:
        return "interrupted"
    return "optimal" if search.gap() <= gap else "stalled"


def _at(passes: Passes, price: Floats) -> DualPoint:
    """The dual at some prices, with shares worth repairing."""
    work = passes.work
    if work.reference is not None:
        return passes.entropy(price, work.tau)
    total = float(work.demand.sum())
    return passes.ridge(price, max(1e-3 * work.scale / total, 1e-300) if total > 0 else 1.0)


def _methods(search: Search, start: Floats, gap: float, brief: bool = False) -> None:
    """Interior point where it is quick; else descent first, and interior point where descent did not get there.

    ``brief``: a bound near the optimum will do.
    """
    work = search.passes.work
    target = min(gap, _FINE) if len(work.value) <= _SMALL else 0.5 * gap
    if search.gap() <= target:
        return
    costly = _step_cost(work) > _QUICK or work.m > _MOST_DENSE
    if costly and work.reference is None and _few_rows.suits(work.n, work.m):
        near = _look_interior(search, 0.5 * gap)
        turned = _few_rows.interior_by_providers
        with_room(lambda room: turned(work, 0.5 * gap, near, room), search.gap, gap, quick=True)
        if search.gap() <= gap:
            return
    if costly:
        descend = descend_plain if work.reference is None else descend_entropic
        most = _MOST_PASSES if work.m > _MOST_DENSE and not brief else _MOST_PASSES // 4
        descend(search.passes, start, gap, _look_descent(search, gap), lambda: search.bound, most)
        if search.gap() <= gap or brief or work.m > _MOST_DENSE:
            return
    look = _look_interior(search, target)
    with_room(lambda room: interior(work, target, look, loosen=room), search.gap, gap, _step_cost(work) <= _QUICK)


def _step_cost(work: Work) -> float:
    """Operations of one interior-point step: the matrix row by row, its factor, the vectors."""
    return float((np.diff(work.row_start) ** 2).sum()) * 4 + work.m**3 / 3 + 100.0 * len(work.value)


def _look_descent(search: Search, target: float) -> Callable[[DualPoint, bool], bool]:
    def look(point: DualPoint, plan: bool) -> bool:
        search.offer_point(point, plan)
        search.step()
        return search.gap() <= target

    return look


def _look_interior(search: Search, target: float) -> Callable[[Floats, Floats | None], bool]:
    passes = search.passes
    tau = passes.work.tau if passes.work.reference is not None else None

    def look(price: Floats, share: Floats | None) -> bool:
        price = passes.allowed(price)
        if tau is None:
            search.offer_price(price, passes.bound(price))
        else:
            search.offer_point(passes.entropy(price, tau), plan=True)
        if share is not None:
            search.offer_share(share, price)
        search.step()
        return search.gap() <= target or search.settled()

    return look


def _snap(search: Search) -> None:
    """Prices that are 0 but for rounding become 0, where that costs the bound nothing to speak of."""
    typical = float(np.abs(search.passes.work.value).max(initial=0.0))
    price = np.where(np.abs(search.price) <= _NEAR * typical, 0.0, search.price)
    search.prefer_price(price, search.passes.bound(price), _FREE)


def _polish(search: Search) -> None:
    """Prices to rounding, exactly 0 where nothing binds, and the plan that belongs to them."""
    passes = search.passes
    if passes.work.m > _POLISHED:
        return
    near = _NEAR * float(passes.work.tau.max(initial=0.0))
    point = polish(passes, np.where(np.abs(search.price) <= near, 0.0, search.price), search.step)
    search.prefer_price(point.price, point.value, _FREE)
    search.offer_share(point.share, point.price, _FREE)


def _plain_bound(problem: Problem, search: Search, gap: float, threads: int | None, deadline: float | None) -> float:
    """An upper bound of the plain programme, near its optimum where there is time."""
    if _has_many_rows(problem, gap):
        large = allocate(problem, gap, threads, search.price, deadline, None, search.names)
        if large is not None:
            return large.bound
    work = plain_work(problem)
    with Passes(work, threads) as passes:
        plain = Search(passes, search.names, gap, deadline)
        for price in (search.price, np.zeros(work.m)):
            plain.offer_price(price, passes.bound(price))
        plain.offer_share(work.gather(search.passes.work.spread(search.share)), search.price)
        try:
            _methods(plain, np.zeros(work.m), gap, brief=True)
        except (OutOfTimeError, KeyboardInterrupt):
            return plain.bound  # still a bound, only less tight
    return plain.bound


def _allocation(problem: Problem, search: Search, lp_bound: float, status: Status) -> Allocation:
    work, passes, share = search.passes.work, search.passes, search.share
    if (work.demand <= 0).any():
        share = _idle_rows(passes, share, search.price)
    share = work.spread(share)
    real = np.float32 if work.value.dtype == np.float32 else np.float64
    value = problem.value.astype(real, copy=False)
    reward = kernels.worth_rows(problem.row_start, value, problem.demand, share, 0, problem.segments)
    return Allocation(
        share=share,
        price=search.price,
        load=search.load,
        unassigned=search.unassigned,
        reward=float(reward),
        objective=search.objective,
        bound=max(search.bound, search.objective),
        gap=search.gap(),
        lp_bound=max(lp_bound, float(reward)),
        iterations=search.iterations,
        status=status,
    )


def _idle_rows(passes: Passes, share: Floats, price: Floats) -> Floats:
    """Shares of rows without demand: what the prices say, since no limit notices."""
    work = passes.work
    if work.reference is not None:
        at_price = passes.entropy(price, work.tau).share
    else:
        at_price = np.zeros(len(share))
        rows = (work.row_start, work.provider, work.value)
        if work.upper is None:
            kernels.best_edge_rows(*rows, price, 0, work.n, at_price)
        else:
            _capped.best_rows(*rows, work.upper, price, 0, work.n, at_price)
    return np.where(np.repeat(work.demand <= 0, np.diff(work.row_start)), at_price, share)
