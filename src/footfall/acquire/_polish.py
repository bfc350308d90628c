"""The last step at inertia > 0: prices to rounding, exactly 0 where no limit binds.

Projected Newton (Bertsekas 1982) on the dual sum_i d_i tau_i psi(S_i) + h(l) from prices near its minimum: prices at
the kink of h that the slopes f_j and c_j keep there stay at 0, the others take Newton's step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from footfall.acquire import _capped, kernels
from footfall.acquire._linear import solve_positive
from footfall.acquire._passes import DualPoint, Passes
from footfall.acquire._work import Work
from footfall.model import Floats

_MOST_STEPS = 12
_SHORTEST = 1e-3  # of Newton's step, where rows with small tau bend the dual sharply
_EXACT = 1e-14  # slope, in parts of the demand: nothing left to gain


def _slope(work: Work, point: DualPoint) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Slope of the dual by price on the side that it may move to, and the prices that may move."""
    up, down = work.capacity - point.load, work.floor - point.load
    rising = (point.price > 0) | ((point.price == 0) & (up < 0))
    falling = (point.price < 0) | ((point.price == 0) & (down > 0))
    slope = np.where(rising, up, np.where(falling, down, 0.0))
    return slope, np.flatnonzero(rising | falling)


def _newton_step(passes: Passes, point: DualPoint, slope: Floats, index: npt.NDArray[np.int64]) -> Floats:
    """Newton's step in the prices ``index``; 0 in the others."""
    work = passes.work
    matrix = np.zeros((work.m, work.m))
    full = passes.used(point.share) >= 1.0 - 1e-12
    rows = (work.row_start, work.provider, work.tau, work.demand)
    if work.upper is None:
        kernels.entropy_curvature(*rows, point.share, full, matrix)
    else:
        _capped.entropy_curvature(*rows, work.upper, point.share, full, matrix)
    part = matrix[np.ix_(index, index)]
    typical = float(np.diagonal(part).max(initial=0.0)) or 1.0
    part[np.diag_indices(len(index))] += 1e-13 * typical
    step = np.zeros(work.m)
    step[index], _ = solve_positive(part, -slope[index])
    return step


def polish(passes: Passes, price: Floats, step_done: Callable[[], None]) -> DualPoint:
    """The best point of the dual that Newton's steps from ``price`` (m,) reach; memory (m, m).

    Best is the flattest of those whose values are equal to rounding: there only the slope still tells them apart.
    """
    work = passes.work
    pinned = work.capacity - work.floor <= 0
    best = passes.entropy(price, work.tau)
    slope, index = _slope(work, best)
    steepest = float(np.abs(slope).max(initial=0.0))
    for _ in range(_MOST_STEPS):
        if steepest <= _EXACT * float(work.demand.sum()):
            break
        step, length = _newton_step(passes, best, slope, index), 1.0
        while length > _SHORTEST:
            there = best.price + length * step
            there = np.where((there * best.price < 0) & ~pinned, 0.0, there)
            point = passes.entropy(passes.allowed(there), work.tau)
            step_done()
            new_slope, new_index = _slope(work, point)
            flatter = float(np.abs(new_slope).max(initial=0.0))
            rounding = 1e-13 * (abs(best.value) + work.scale)
            if point.value < best.value - rounding or (point.value <= best.value + rounding and flatter < steepest):
                break
            length *= 0.25
        else:
            break
        best, slope, index, steepest = point, new_slope, new_index, flatter
    return best
