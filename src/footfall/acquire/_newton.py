"""Programme with relative entropy, few providers: Newton's method on the dual in the m prices.

The dual is sum_i d_i tau_i psi(S_i) + h(l), smooth but for the kinks of h at l_j = 0, where the slope jumps from f_j to
c_j. With logarithmic barriers of weight theta (c_j - f_j)/2 on floor and capacity the kink is rounded off,

    h_theta(l) = sum_j (c_j + f_j)/2 l_j + (c_j - f_j)/2 phi(l_j),   phi'(l) = l / (theta + sqrt(theta^2 + l^2)),

a path that is followed to theta = 0 (Fiacco & McCormick 1968) by damped Newton steps with Armijo's rule; the barriers
cost at most theta sum_j (c_j - f_j). Rows with small tau_i are nearly linear, so tau_i = max(tau_i, level) comes
down along with theta. Last, the prices that the path leaves near 0 are set to 0 and Newton's method (projected,
Bertsekas 1982) on the dual itself gives the others to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from footfall.acquire import kernels
from footfall.acquire._interior import solve_positive
from footfall.acquire._passes import DualPoint, Passes
from footfall.model import Floats

_SHRINK = 0.2  # theta and the level of tau, from one to the next
_MOST_STEPS = 60  # a level
_LAST = 1e-11  # theta in parts of the largest tau or value: the end of the path

Look = Callable[[DualPoint], bool]


@dataclass(frozen=True, eq=False, slots=True)
class _Box:
    """Middle and half width (m,) of floor and capacity; a capacity that cannot bind is brought near."""

    middle: Floats
    half: Floats

    def rounded(self, price: Floats, theta: float) -> tuple[float, Floats, Floats]:
        """h_theta with its first and second derivatives by price."""
        root = np.sqrt(theta * theta + price * price)
        phi = root - theta - theta * np.log((theta + root) / (2 * theta))
        slope = self.middle + self.half * price / (theta + root)
        return float(self.middle @ price + self.half @ phi), slope, self.half * theta / (root * (theta + root))


def _box(passes: Passes) -> _Box:
    work = passes.work
    reach = np.bincount(work.provider, np.repeat(work.demand, np.diff(work.row_start)), minlength=work.m)
    high = np.maximum(np.minimum(work.capacity, 2 * reach), work.floor)
    return _Box((high + work.floor) / 2, (high - work.floor) / 2)


def _curvature(passes: Passes, tau: Floats, share: Floats) -> Floats:
    work = passes.work
    matrix = np.zeros((work.m, work.m))
    full = passes.used(share) >= 1.0 - 1e-12
    kernels.entropy_curvature(work.row_start, work.provider, tau, work.demand, share, full, matrix)
    return matrix


def _centre(
    passes: Passes, box: _Box, tau: Floats, theta: float, price: Floats, exact: float, step_done: Callable[[], None]
) -> Floats:
    """Minimise the rounded dual from ``price`` until Newton's decrement is below ``exact`` (reward)."""
    limit = 10.0 * max(theta, float(tau.max()))
    point = passes.entropy(price, tau)
    rows = point.value - passes.limits_worth(price)
    worth, slope, bend = box.rounded(price, theta)
    for _ in range(_MOST_STEPS):
        gradient = slope - point.load
        matrix = _curvature(passes, tau, point.share)
        matrix[np.diag_indices(len(price))] += bend
        typical = float(np.diagonal(matrix).max(initial=0.0)) or 1.0
        matrix[np.diag_indices(len(price))] += 1e-13 * typical
        step, _ = solve_positive(matrix, -gradient)
        step *= min(1.0, limit / (float(np.abs(step).max(initial=0.0)) or 1.0))
        decrement = -float(gradient @ step)
        step_done()
        if decrement <= exact:
            return price
        length = 1.0
        while length > 1e-12:
            there = price + length * step
            point_there = passes.entropy(there, tau)
            rows_there = point_there.value - passes.limits_worth(there)
            worth_there, slope, bend = box.rounded(there, theta)
            if rows_there + worth_there <= rows + worth - 1e-4 * length * decrement:
                break
            length *= 0.5
        else:
            return price
        if length == 1.0:
            limit *= 2.0
        price, point, rows, worth = there, point_there, rows_there, worth_there
    return price


def _polish(passes: Passes, price: Floats, step_done: Callable[[], None]) -> DualPoint:
    """Newton's method on the dual itself: prices at 0 that the gradient keeps there stay."""
    work = passes.work
    pinned = work.capacity - work.floor <= 0
    best = point = passes.entropy(price, work.tau)
    for _ in range(12):
        up, down = work.capacity - point.load, work.floor - point.load
        rising = (point.price > 0) | ((point.price == 0) & (up < 0))
        falling = (point.price < 0) | ((point.price == 0) & (down > 0))
        index = np.flatnonzero(rising | falling)
        gradient = np.where(rising, up, np.where(falling, down, 0.0))
        if not len(index) or np.abs(gradient).max() <= 1e-14 * float(work.demand.sum()):
            break
        part = _curvature(passes, work.tau, point.share)[np.ix_(index, index)]
        part = np.tril(part) + np.tril(part, -1).T
        typical = float(np.diagonal(part).max(initial=0.0)) or 1.0
        part[np.diag_indices(len(index))] += 1e-13 * typical
        move, _ = solve_positive(part, -gradient[index])
        step = np.zeros(work.m)
        step[index] = move
        there = point.price + step
        there = np.where((there * point.price < 0) & ~pinned, 0.0, there)
        point = passes.entropy(np.where(np.isinf(work.capacity), np.minimum(there, 0.0), there), work.tau)
        step_done()
        if not point.value < best.value:
            break
        best = point
    return best


def newton(passes: Passes, start: Floats, look: Look, step_done: Callable[[], None]) -> None:
    """Follow the path from prices ``start`` until ``look(point of the dual)`` says enough, or to its end.

    ``step_done`` is called once a Newton step and may raise to stop. Memory: one (m, m) matrix.
    """
    work = passes.work
    busy = (work.demand > 0) & (np.diff(work.row_start) > 0)
    if not busy.any():
        look(passes.entropy(np.zeros(work.m), work.tau))
        return
    least, total = float(work.tau[busy].min()), float(work.demand.sum())
    usual = float(work.demand @ work.tau) / total
    box, price, theta = _box(passes), start, 0.2 * usual
    if look(passes.entropy(np.zeros(work.m), work.tau)):
        return
    while True:
        tau = np.maximum(work.tau, theta)
        exact = 1e-3 * theta * total if theta > least else 1e-6 * theta * total
        price = _centre(passes, box, tau, theta, price, max(exact, 1e-16 * usual * total), step_done)
        if theta <= least:
            near = np.where(np.abs(price) <= 30 * theta, 0.0, price)
            near = np.where(np.isinf(work.capacity), np.minimum(near, 0.0), near)
            if look(_polish(passes, near, step_done)) or look(passes.entropy(near, work.tau)):
                return
        if theta <= _LAST * usual or theta <= 1e-6 * least:
            return
        theta *= _SHRINK
