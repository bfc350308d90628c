"""``solve`` for problems with linear limits: which method when, and what comes out of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from footfall.acquire import _capped, kernels
from footfall.acquire._coupled import CoupledSearch, OverTimeError, Progress
from footfall.acquire._coupled_descent import descend_entropic
from footfall.acquire._coupling import Coupling, couple
from footfall.acquire._interior import interior, with_room
from footfall.acquire._limits_search import Solve, search_limit_prices
from footfall.acquire._passes import DualPoint
from footfall.acquire._phase_one import phase_one, phase_one_at_scale
from footfall.acquire._work import Work, entropic_work, plain_work
from footfall.acquire.budget import allocate_budget, is_single_budget
from footfall.acquire.conflict import LimitNames, refuse_limits
from footfall.acquire.problem import Allocation, Problem, Status
from footfall.errors import InfeasibleError, UnsolvedError
from footfall.model import Floats

_FINE = 1e-10  # gap that the interior point goes on to on small problems
_SMALL = 20_000  # edges
_MOST_DENSE = 5_000  # prices up to which their matrix is held
_QUICK = 4e9  # operations of one interior-point step that are worth its certainty from the start
_BEARABLE = 2e11  # operations of a step beyond which it is never taken
_MOST_PASSES = 3_000  # of descent
_SINGLE = 2e-6  # gap down to which solves without limits are quick
_BRIEF = 8  # solves without limits for a bound alone
_NEAR = 1e-6  # prices within this part of the largest value (or tau) may be 0 but for rounding
_FREE = 1e-9  # what exact zeros may cost, in parts of the bound


def solve_coupled(
    problem: Problem,
    inertia: float,
    gap: float,
    threads: int | None,
    prices: Floats | None,
    deadline: float | None,
    progress: Progress | None,
    names: LimitNames,
    solve: Callable[..., Allocation],
) -> Allocation:
    """As ``solver.solve``, for checked options and a problem with linear limits.

    Raises InfeasibleError with a proof where limits cannot all hold (of floors alone where these conflict already, and
    says so); UnsolvedError where neither a plan nor a proof was found. ``solve`` is that of problems without linear
    limits, called with (problem, gap=, prices=, ...).
    """
    if is_single_budget(problem, inertia):
        return allocate_budget(problem, gap)

    def inner(problem: Problem, *, gap: float, prices: Floats | None) -> Allocation:
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        answer = solve(problem, gap=gap, prices=prices, threads=threads, time_limit_s=left, names=names)
        if answer.status == "interrupted":
            raise KeyboardInterrupt
        return answer

    work = entropic_work(problem, inertia) if inertia > 0 else plain_work(problem)
    with CoupledSearch(work, couple(problem, work), names, gap, threads, deadline, progress) as search:
        start = np.zeros(work.m + len(problem.limits))
        if prices is not None:
            start[: work.m] = prices
        try:
            status = _run(search, problem, inner, search.allowed(start), gap)
        except InfeasibleError as floors:
            message = f"{floors.message}; linear limits were not looked at yet"
            raise InfeasibleError(message, floors.conflict, floors.way_out) from None
        if not search.found:
            status = _phase_one(problem, search, inner, status)
        lp_bound = search.bound if inertia == 0 else _plain_bound(problem, search, inner, gap, threads, deadline)
        return _allocation(problem, search, lp_bound, status)


def _run(search: CoupledSearch, problem: Problem, inner: Solve, start: Floats, gap: float) -> Status:
    try:
        if not _by_prices(search, gap):  # the search over limits' prices soon has plans of its own
            _offer_starts(search, start)
        if not (search.found and search.gap() <= gap and start.any()):
            _methods(search, problem, inner, start, gap)
        if search.found:
            _snap(search)
    except OverTimeError:
        _offer_starts(search, start, only_if_needed=True)
        return "optimal" if search.gap() <= gap else "time_limit"
    except KeyboardInterrupt:
        _offer_starts(search, start, only_if_needed=True)
        return "interrupted"
    return "optimal" if search.gap() <= gap else "stalled"


def _by_prices(search: CoupledSearch, gap: float) -> bool:
    """Whether the search goes over the limits' prices, around whole solves."""
    return search.work.reference is None and len(search.work.value) > _SMALL and gap >= _SINGLE


def _offer_starts(search: CoupledSearch, start: Floats, only_if_needed: bool = False) -> None:
    """Plans from the prices given and from none; ``only_if_needed``, where no plan has been found."""
    for price in (start, np.zeros(len(start)))[: 1 + bool(start.any())]:
        if not (only_if_needed and search.found):
            _offer_point(search, _at(search, price), plan=True)


def _at(search: CoupledSearch, price: Floats) -> DualPoint:
    work = search.work
    if work.reference is not None:
        return search.entropy(price)
    total = float(work.demand.sum())
    return search.ridge(price, max(1e-3 * work.scale / total, 1e-300) if total > 0 else 1.0)


def _offer_point(search: CoupledSearch, point: DualPoint, plan: bool) -> None:
    search.offer_price(point.price, point.value if search.work.reference is not None else point.plain)
    if plan:
        search.offer_share(point.share, point.price)


def _step_cost(work: Work, coupling: Coupling) -> float:
    """Operations of one interior-point step: the matrix row by row, its factor, the vectors."""
    overlap = 1.0 + len(coupling.edge) / max(len(work.value), 1)
    rows = float((np.diff(work.row_start) ** 2).sum()) * 4
    return rows + (work.m + coupling.k) ** 3 / 3 + (100.0 + 20.0 * overlap**2) * len(work.value)


def _methods(
    search: CoupledSearch, problem: Problem, inner: Solve, start: Floats, gap: float, brief: bool = False
) -> None:
    """Small problems go to the interior point at once; larger ones where nothing else gets there.

    ``brief``: only a bound is wanted, near the optimum.
    """
    work = search.work
    small = len(work.value) <= _SMALL
    target = min(gap, _FINE) if small else 0.5 * gap
    if search.gap() <= target:
        return
    cost, size = _step_cost(work, search.coupling), work.m + search.coupling.k
    dense = size <= _MOST_DENSE and cost <= _BEARABLE
    if _by_prices(search, gap):
        search_limit_prices(search, problem, inner, start, gap, *([_BRIEF] if brief else []))
    elif cost > _QUICK or not dense:
        descend_entropic(search, start, gap, _look_descent(search, gap), _MOST_PASSES)
    if search.gap() <= gap or not dense or (brief and not small):
        return
    with_room(
        lambda loosen: interior(work, target, _look_interior(search, target, brief), search.coupling, loosen=loosen),
        search.gap,
        gap,
        cost <= _QUICK,
    )


def _look_descent(search: CoupledSearch, target: float) -> Callable[[DualPoint, bool], bool]:
    def look(point: DualPoint, plan: bool) -> bool:
        _offer_point(search, point, plan)
        search.step()
        return search.gap() <= target or _hopeless(search)

    return look


def _look_interior(search: CoupledSearch, target: float, brief: bool) -> Callable[[Floats, Floats | None], bool]:
    def look(price: Floats, share: Floats | None) -> bool:
        price = search.allowed(price)
        if search.work.reference is None:
            search.offer_price(price, search.plain_bound(price))
        else:
            _offer_point(search, search.entropy(price), plan=share is not None)
        if share is not None:
            search.offer_share(share, price)
        search.step()
        return search.gap() <= target or search.settled() or _hopeless(search) or (brief and share is not None)

    return look


def _hopeless(search: CoupledSearch) -> bool:
    """Whether the bound is below what any plan would be worth, which proves that there is none."""
    work = search.work
    least = -2.0 * work.scale
    if work.reference is not None:  # x log(x/p) - x + p <= 1 + log(1/p) on shares
        reference = np.maximum(work.reference, 1e-300)
        row = np.maximum.reduceat(1.0 - np.log(reference), work.row_start[:-1][np.diff(work.row_start) > 0])
        wide = np.diff(work.row_start) > 0
        least -= float((work.demand * work.tau)[wide] @ row)
    return search.bound < least


def _snap(search: CoupledSearch) -> None:
    """Prices that are 0 but for rounding become 0, where that costs the bound nothing to speak of."""
    work, m = search.work, search.work.m
    typical = work.tau if work.reference is not None else np.abs(work.value)
    near = _NEAR * float(typical.max(initial=0.0))
    price = np.where(np.abs(search.price) <= near, 0.0, search.price)
    if work.reference is None:
        search.prefer(price, search.plain_bound(price), _FREE)
        return
    point = search.entropy(price)
    if search.prefer(price, point.value, _FREE) and m:
        search.offer_share(point.share, point.price, _FREE)


def _phase_one(problem: Problem, search: CoupledSearch, inner: Solve, status: Status) -> Status:
    """No plan so far: prove that there is none, or take the one that giving nothing leads to."""
    work, coupling = search.work, search.coupling
    try:
        if work.m + coupling.k < _MOST_DENSE and _step_cost(work, coupling) <= _QUICK:
            found = phase_one(work, coupling, search.tick)
        else:
            found = phase_one_at_scale(work, coupling, _open_part(problem, work), inner, search.tick)
    except OverTimeError:
        raise _unsolved(problem, True) from None
    refuse_limits(problem, work, coupling.unit, found, search.names)
    if not search.offer_share(found.share, np.zeros(work.m + coupling.k)):
        raise _unsolved(problem, status == "time_limit")
    return "optimal" if search.gap() <= search.wanted else status


def _unsolved(problem: Problem, in_time: bool) -> UnsolvedError:
    """in_time: whether a time limit ended the search."""
    names = ", ".join(limit.name for limit in problem.limits[:3])
    return UnsolvedError(
        "no plan that holds every limit was found, nor a proof that there is none",
        ("allow more time, or " if in_time else "") + f"loosen limits that are just met: {names}",
    )


def _open_part(problem: Problem, work: Work) -> Problem:
    """The problem with edges that carry nothing (at inertia > 0, without reference) closed."""
    if work.kept is None or work.reference is None:
        return problem
    upper = np.zeros(problem.edges)
    upper[work.kept] = 1.0 if problem.upper is None else problem.upper[work.kept]
    return replace(problem, upper=upper)


def _plain_bound(
    problem: Problem, search: CoupledSearch, inner: Solve, gap: float, threads: int | None, deadline: float | None
) -> float:
    """An upper bound of the plain programme, near its optimum where there is time."""
    work = plain_work(problem)
    with CoupledSearch(work, couple(problem, work), search.names, gap, threads, deadline) as plain:
        for price in (search.price, np.zeros(len(search.price))):
            plain.offer_price(price, plain.plain_bound(price))
        try:
            _methods(plain, problem, inner, search.price, max(gap, _SINGLE), brief=True)
        except (OverTimeError, KeyboardInterrupt):
            return plain.bound  # still a bound, only less tight
        return plain.bound


def _allocation(problem: Problem, search: CoupledSearch, lp_bound: float, status: Status) -> Allocation:
    work, m = search.work, search.work.m
    share = search.share
    if (work.demand <= 0).any():
        share = _idle_rows(search, share)
    share = work.spread(share)
    value, n = problem.value, problem.segments
    load, used = np.zeros(m), np.zeros(n)
    kernels.load_rows(problem.row_start, problem.provider, problem.demand, share, 0, n, load, used)
    reward = float(kernels.worth_rows(problem.row_start, value, problem.demand, share, 0, n))
    return Allocation(
        share=share,
        price=search.price[:m],
        load=load,
        unassigned=problem.demand * np.maximum(1.0 - used, 0.0),
        reward=reward,
        objective=search.objective,
        bound=max(search.bound, search.objective),
        gap=search.gap(),
        lp_bound=max(lp_bound, reward),
        iterations=search.iterations,
        status=status,
        limit_price=search.price[m:] / search.coupling.unit,
    )


def _idle_rows(search: CoupledSearch, share: Floats) -> Floats:
    """Shares of rows without demand: what the prices say, since no limit notices."""
    work = search.work
    if work.reference is not None:
        at_price = search.entropy(search.price).share
    else:
        at_price, price = np.zeros(len(share)), search.look_at(search.price)
        rows = (work.row_start, work.provider, search.shifted)
        if work.upper is None:
            kernels.best_edge_rows(*rows, price, 0, work.n, at_price)
        else:
            _capped.best_rows(*rows, work.upper, price, 0, work.n, at_price)
    return np.where(np.repeat(work.demand <= 0, np.diff(work.row_start)), at_price, share)
