"""The last step at inertia > 0: prices to rounding, exactly 0 where no limit binds.

Projected Newton (Bertsekas 1982) on the dual sum_i d_i tau_i psi(S_i) + h(l) from prices near its minimum: prices at the
kink of h that the slopes f_j and c_j keep there stay at 0, the others take Newton's step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from footfall.acquire import kernels
from footfall.acquire._linear import solve_positive
from footfall.acquire._passes import DualPoint, Passes
from footfall.model import Floats

_MOST_STEPS = 12
_EXACT = 1e-14  # slope, in parts of the demand: nothing left to gain


def polish(passes: Passes, price: Floats, step_done: Callable[[], None]) -> DualPoint:
    """The best point of the dual that Newton's steps from ``price`` (m,) reach; memory (m, m)."""
    work = passes.work
    pinned = work.capacity - work.floor <= 0
    best = point = passes.entropy(price, work.tau)
    for _ in range(_MOST_STEPS):
        up, down = work.capacity - point.load, work.floor - point.load
        rising = (point.price > 0) | ((point.price == 0) & (up < 0))
        falling = (point.price < 0) | ((point.price == 0) & (down > 0))
        index = np.flatnonzero(rising | falling)
        slope = np.where(rising, up, np.where(falling, down, 0.0))
        if not len(index) or np.abs(slope).max() <= _EXACT * float(work.demand.sum()):
            break
        matrix = np.zeros((work.m, work.m))
        full = passes.used(point.share) >= 1.0 - 1e-12
        kernels.entropy_curvature(
            work.row_start, work.provider, work.tau, work.demand, point.share, full, matrix
        )
        part = matrix[np.ix_(index, index)]
        typical = float(np.diagonal(part).max(initial=0.0)) or 1.0
        part[np.diag_indices(len(index))] += 1e-13 * typical
        step = np.zeros(work.m)
        step[index], _ = solve_positive(part, -slope[index])
        there = point.price + step
        there = np.where((there * point.price < 0) & ~pinned, 0.0, there)
        point = passes.entropy(passes.allowed(there), work.tau)
        step_done()
        if not point.value < best.value:
            break
        best = point
    return best
