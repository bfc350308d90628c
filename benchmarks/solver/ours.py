"""One measurement of Footfall's solver in a process of its own; JSON on stdout.

    python benchmarks/solver/ours.py solve M 1e-4 1        # measurement, instance, gap, threads

Seconds are processor seconds with one thread and by the clock with more; the best of a few where they are short.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numba as nb
import numpy as np
from instances import instance, moved, offers, with_limits

from footfall.acquire import Allocation, Problem, solve

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

INERTIA = 0.3


def _seconds(threads: int) -> float:
    return time.process_time() if threads == 1 else time.perf_counter()


def _best(run: Callable[[], Any], threads: int = 1, most: int = 3, enough_s: float = 6.0) -> tuple[float, Any]:
    """Least seconds of a few runs, and the last answer."""
    least, answer, spent = np.inf, None, 0.0
    for _ in range(most):
        began = _seconds(threads)
        answer = run()
        taken = _seconds(threads) - began
        least, spent = min(least, taken), spent + taken
        if spent > enough_s:
            break
    return float(least), answer


def violation(problem: Problem, plan: Allocation) -> float:
    """The worst breach of any row, floor, capacity or linear limit, relative; shares as they are, sums in float64."""
    share = np.asarray(plan.share, dtype=np.float64)
    row = np.repeat(np.arange(problem.segments), np.diff(problem.row_start))
    visits = problem.demand[row] * share
    load = np.bincount(problem.provider, visits, minlength=problem.providers)
    used = np.bincount(row, share, minlength=problem.segments)
    floored, worst = problem.floor > 0, max(float(used.max(initial=0.0)) - 1, -float(share.min(initial=0.0)))
    worst = max(worst, float(np.max(load / np.maximum(problem.capacity, 1e-300), initial=0.0)) - 1)
    worst = max(worst, float(np.max(1 - load[floored] / problem.floor[floored], initial=0.0)))
    for limit in problem.limits:
        parts = limit.coefficient * visits[limit.edge]
        size = max(float(np.abs(parts).sum()), 1e-300)
        worst = max(worst, (float(parts.sum()) - limit.high) / size, (limit.low - float(parts.sum())) / size)
    return max(worst, 0.0)


def _told(problem: Problem, seconds: float, plan: Allocation) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "gap": plan.gap,
        "status": plan.status,
        "passes": plan.passes,
        "violation": violation(problem, plan),
    }


def plain(size: str, gap: float, threads: int, real: str = "float32") -> dict[str, Any]:
    """A cold solve at inertia 0."""
    _warm_up(real)
    problem = replace(instance(size, real=real), reference=None)
    return _told(problem, *_best(lambda: solve(problem, gap=gap, threads=threads), threads))


def exact(size: str, gap: float, threads: int) -> dict[str, Any]:
    """The same with float64 values."""
    return plain(size, gap, threads, "float64")


def inertia(size: str, gap: float, threads: int) -> dict[str, Any]:
    """A cold solve at inertia 0.3."""
    _warm_up("float32")
    problem = instance(size)
    return _told(problem, *_best(lambda: solve(problem, INERTIA, gap, threads=threads), threads))


def memory(size: str, gap: float, threads: int) -> dict[str, Any]:
    """Peak bytes an edge above those of a process that has solved a small problem, the large one included."""
    _warm_up("float32")
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem = replace(instance(size), reference=None)
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = solve(problem, gap=gap, threads=threads)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    each = 1024 / problem.edges
    return {"bytes": (peak - base) * each, "problem": (made - base) * each, "gap": plan.gap, "status": plan.status}


def again(size: str, gap: float, threads: int) -> dict[str, Any]:
    """Tomorrow's problem from yesterday's prices, against cold, by turns."""
    _warm_up("float32")
    problem = replace(instance(size), reference=None)
    yesterday = solve(problem, gap=gap, threads=threads).price
    tomorrow = moved(problem)
    cold = warm = np.inf
    for _ in range(3):
        cold = min(cold, _best(lambda: solve(tomorrow, gap=gap, threads=threads), threads, 1)[0])
        taken, plan = _best(lambda: solve(tomorrow, gap=gap, threads=threads, prices=yesterday), threads, 1)
        warm = min(warm, taken)
    return _told(tomorrow, warm, plan) | {"cold": cold}


def limits(size: str, gap: float, threads: int) -> dict[str, Any]:
    """Three linear limits, against none."""
    _warm_up("float32")
    problem = replace(instance(size), reference=None)
    limited = replace(with_limits(instance(size)), reference=None)
    without, _ = _best(lambda: solve(problem, gap=gap, threads=threads), threads)
    return _told(limited, *_best(lambda: solve(limited, gap=gap, threads=threads), threads, 2)) | {"without": without}


def budget(size: str, gap: float, threads: int) -> dict[str, Any]:
    """A single budget; ``size`` customers with five options each."""
    solve(offers(1000))
    problem = offers(int(size))
    return _told(problem, *_best(lambda: solve(problem, gap=gap, threads=threads), threads, 9))


@nb.njit(cache=True, nogil=True, fastmath=True)
def _sum(array):
    total = array[0] - array[0]
    for e in range(len(array)):
        total += array[e]
    return total


def _stream(arrays: list[Any]) -> float:
    """Seconds to read these arrays once (sums in vectors)."""
    for array in arrays:
        _sum(array)
    return _best(lambda: [_sum(array) for array in arrays], most=9)[0]


def ridge_pass(size: str, _: float, __: int) -> dict[str, Any]:
    """One unscreened ridge pass at the prices of a solve, against a stream of the same bytes; one core."""
    from footfall.acquire import _ridge_plan
    from footfall.acquire._blocks import Crew
    from footfall.acquire._ridge import Search

    problem = replace(instance(size), reference=None)
    price = solve(problem, gap=1e-2, threads=1).price
    with Crew(1, problem.edges) as crew:
        found = _ridge_plan._market(problem, crew)
        assert found is not None
        market = found[0]
        screen = Search(market, crew).screen
        taken, _ = _best(lambda: screen.evaluate(price, 0.03 * market.worth), most=7)
        stream = _stream([market.row_start, market.index, market.value, market.demand])
    return {"seconds": taken, "stream": stream}


def entropic_pass(size: str, _: float, __: int) -> dict[str, Any]:
    """One quick entropic pass at the prices of a solve, likewise."""
    from footfall.acquire._entropic import Market

    problem = instance(size)
    price = solve(problem, INERTIA, gap=1e-2, threads=1).price
    with Market(problem, INERTIA, 1) as market:
        taken, _ = _best(lambda: market.quick(price, True), most=7)
        stream = _stream([
            problem.row_start, problem.provider, problem.value, problem.reference, market.tau, problem.demand
        ])  # fmt: skip
    return {"seconds": taken, "stream": stream}


def _warm_up(real: str) -> None:
    """Compile, or load what is compiled, on problems of every kind."""
    small = instance("XS", real=real)
    for problem in (small, replace(small, reference=None), with_limits(small, 1)):
        solve(problem, gap=1e-3)
    solve(instance("S", real=real), gap=1e-3)
    solve(instance("S", real=real), INERTIA, gap=1e-2)


MEASURES = {
    "plain": plain, "exact": exact, "inertia": inertia, "memory": memory, "again": again, "limits": limits,
    "budget": budget, "ridge-pass": ridge_pass, "entropic-pass": entropic_pass,
}  # fmt: skip

if __name__ == "__main__":
    name, size, gap, threads = sys.argv[1:5]
    print(json.dumps(MEASURES[name](size, float(gap), int(threads))))
