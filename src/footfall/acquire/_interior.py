"""Plain programme, few providers: a primal-dual interior-point method with predictor and corrector (Mehrotra 1992).

Visits y_ij >= 0, row slack s_i >= 0, loads z_j in [f_j, c_j]; multipliers lambda_i > 0 of the rows, l_j = u_j - w_j of
the providers, r_ij > 0 of y >= 0:

    sum_j y_ij + s_i = d_i      sum_i y_ij = z_j      lambda_i + l_j - v_ij = r_ij
    y r = s lambda = (c - z) u = (z - f) w = mu

Newton's step eliminates all but the m prices: with T_ij = y_ij/r_ij, L_i = sum_j T_ij + s_i/lambda_i and
q_j = 1/(u/(c - z) + w/(z - f)), the matrix is diag(sum_i T_ij + q_j) - sum_i T_i T_i'/L_i, dense (m, m), positive definite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba as nb
import numpy as np

from footfall.acquire._work import Work
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_MOST_STEPS = 120
_TIGHT = 1e-9  # floor and capacity this close (relative) are one equation


@nb.njit(cache=True, nogil=True)
def _assemble(row_start, provider, flow, reduced, slack, lam, ratio, row_weight, matrix):
    """T into ``ratio`` (E,), L into ``row_weight`` (n,), the providers' matrix (lower part) into ``matrix``."""
    matrix[:, :] = 0.0
    for i in range(len(slack)):
        a, b = row_start[i], row_start[i + 1]
        total = slack[i] / lam[i]
        for e in range(a, b):
            ratio[e] = flow[e] / reduced[e]
            total += ratio[e]
        row_weight[i] = total
        for e in range(a, b):
            j, t = provider[e], ratio[e]
            # the diagonal without cancellation: t (L - t)/L, L - t summed over the others
            others = slack[i] / lam[i]
            w = t / total
            for k in range(a, b):
                if k != e:
                    others += ratio[k]
                    if provider[k] < j:
                        matrix[j, provider[k]] -= w * ratio[k]
            matrix[j, j] += w * others


@nb.njit(cache=True, nogil=True)
def _row_terms(row_start, provider, target, reduced, ratio, dual_gap, target_s, lam, primal_gap, row_weight, part, terms):
    """R_i into ``part`` (n,) and the providers' sums of rc/r - T rd - T R/L into ``terms`` (m,)."""
    terms[:] = 0.0
    for i in range(len(lam)):
        a, b = row_start[i], row_start[i + 1]
        total = target_s[i] / lam[i] - primal_gap[i]
        for e in range(a, b):
            total += target[e] / reduced[e] - ratio[e] * dual_gap[e]
        part[i] = total
        for e in range(a, b):
            mine = target[e] / reduced[e] - ratio[e] * dual_gap[e]
            terms[provider[e]] += mine - ratio[e] * total / row_weight[i]


@nb.njit(cache=True, nogil=True)
def _edge_steps(row_start, provider, target, reduced, ratio, dual_gap, part, row_weight, d_price, d_lam, d_flow, d_reduced):
    """Steps of lambda, y and r from those of the prices."""
    for i in range(len(d_lam)):
        a, b = row_start[i], row_start[i + 1]
        total = part[i]
        for e in range(a, b):
            total -= ratio[e] * d_price[provider[e]]
        d_lam[i] = total / row_weight[i]
        for e in range(a, b):
            d_reduced[e] = d_lam[i] + d_price[provider[e]] + dual_gap[e]
            d_flow[e] = target[e] / reduced[e] - ratio[e] * d_reduced[e]


@nb.njit(cache=True, nogil=True)
def _residuals(row_start, provider, value, demand, flow, slack, lam, price, reduced, primal_gap, dual_gap, load):
    """d - sum y - s into ``primal_gap``, lambda + l - v - r into ``dual_gap``, sum_i y into ``load``."""
    load[:] = 0.0
    for i in range(len(lam)):
        total = slack[i]
        for e in range(row_start[i], row_start[i + 1]):
            total += flow[e]
            load[provider[e]] += flow[e]
            dual_gap[e] = lam[i] + price[provider[e]] - value[e] - reduced[e]
        primal_gap[i] = demand[i] - total


@nb.njit(cache=True, nogil=True)
def _longest(x, dx):
    """The longest step up to 1/STAY that keeps x >= 0."""
    step = 1.0 / 0.9995
    for k in range(len(x)):
        if dx[k] < 0.0 and -x[k] / dx[k] < step:
            step = -x[k] / dx[k]
    return step


@nb.njit(cache=True, nogil=True)
def _substitute(lower, right):
    """Solve L L' x = right for lower-triangular L, in place."""
    m = len(right)
    for j in range(m):
        total = right[j]
        for k in range(j):
            total -= lower[j, k] * right[k]
        right[j] = total / lower[j, j]
    for j in range(m - 1, -1, -1):
        right[j] /= lower[j, j]
        for k in range(j):
            right[k] -= lower[j, k] * right[j]


def solve_positive(matrix: Floats, right: Floats, lower: Floats | None = None) -> tuple[Floats, Floats]:
    """Solution of a positive semi-definite system (its lower part given) and its Cholesky factor.

    The diagonal is scaled to 1 and, where rounding has left it indefinite, lifted by as little as will do.
    """
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(matrix), 1e-300))
    if lower is None:
        scaled = matrix * scale[:, None] * scale
        lift = 1e-15
        while True:
            np.fill_diagonal(scaled, 1.0 + lift)
            try:
                lower = np.linalg.cholesky(scaled)
                break
            except np.linalg.LinAlgError:
                lift *= 100
    answer = right * scale
    _substitute(lower, answer)
    return answer * scale, lower


class _Point:
    """An iterate; arrays by edge (E,), row (n,) and provider (m,)."""

    def __init__(self, work: Work) -> None:
        rows = np.flatnonzero((work.demand > 0) & (np.diff(work.row_start) > 0))
        if len(rows) == work.n:
            self.row_start, self.provider, value = work.row_start, work.provider, work.value
        else:
            width = np.diff(work.row_start)
            keep = np.repeat(np.isin(np.arange(work.n), rows), width)
            self.row_start = np.concatenate([[0], np.cumsum(width[rows])]).astype(np.int64)
            self.provider, value = work.provider[keep], work.value[keep]
        demand, n, m = work.demand[rows], len(rows), work.m
        self.visit = float(demand.mean()) if n else 1.0
        self.worth = float(np.abs(value).max(initial=0.0)) or 1.0
        self.value = value.astype(np.float64) / self.worth
        self.demand = demand / self.visit
        width = np.diff(self.row_start)
        reach = np.bincount(self.provider, np.repeat(self.demand, width), minlength=m)
        self.high = np.where(reach > 0, np.minimum(work.capacity / self.visit, 2 * reach), 1.0)
        self.low = work.floor / self.visit
        self.low = np.minimum(self.low, self.high)
        self.fixed = (self.high - self.low <= _TIGHT * self.high) & (reach > 0)
        self.below = ~self.fixed & (self.low > 0)
        self.above = ~self.fixed
        self.flow = np.repeat(self.demand / (width + 1), width)
        self.slack = self.demand / (width + 1)
        start = np.bincount(self.provider, self.flow, minlength=m)
        room = self.high - self.low
        self.load = np.where(self.fixed, self.low, np.clip(start, self.low + 0.1 * room, self.high - 0.1 * room))
        self.price = np.zeros(m)
        self.lam = np.full(n, 2.0)
        self.reduced = self.lam[0] - self.value if n else self.value
        self.up = np.where(self.above, 0.5, 0.0)
        self.down = np.where(self.below, 0.5, 0.0)

    def pairs(self) -> int:
        """Number of complementary pairs."""
        return len(self.flow) + len(self.slack) + int(self.above.sum()) + int(self.below.sum())


def _gap(z: _Point) -> float:
    room_up, room_down = _rooms(z)
    return float(z.flow @ z.reduced + z.slack @ z.lam + room_up @ z.up + room_down @ z.down)


def _rooms(z: _Point) -> tuple[Floats, Floats]:
    return np.where(z.above, z.high - z.load, 1.0), np.where(z.below, z.load - z.low, 1.0)


@dataclass(slots=True)
class _Step:
    """Directions of all parts of a point."""

    flow: Floats
    slack: Floats
    load: Floats
    lam: Floats
    price: Floats
    reduced: Floats
    up: Floats
    down: Floats


class _Newton:
    """The matrix of one iterate, and its directions for given targets of the complementary products."""

    def __init__(self, z: _Point) -> None:
        self.z = z
        n, m, edges = len(z.slack), len(z.load), len(z.flow)
        self.ratio, self.weight, self.matrix = np.empty(edges), np.empty(n), np.empty((m, m))
        self.primal_gap, self.dual_gap, self.sums = np.empty(n), np.empty(edges), np.empty(m)
        _assemble(z.row_start, z.provider, z.flow, z.reduced, z.slack, z.lam, self.ratio, self.weight, self.matrix)
        _residuals(
            z.row_start, z.provider, z.value, z.demand, z.flow, z.slack, z.lam, z.price, z.reduced,
            self.primal_gap, self.dual_gap, self.sums,
        )  # fmt: skip
        self.room_up, self.room_down = _rooms(z)
        stiff = z.up / self.room_up + z.down / self.room_down
        self.q = np.where(z.fixed, 0.0, 1.0 / np.maximum(stiff, 1e-300))
        self.matrix[np.diag_indices(m)] += self.q
        self.load_gap = z.load - self.sums
        self.price_gap = np.where(z.fixed, 0.0, z.up - z.down - z.price)
        self.lower: Floats | None = None

    def step(self, edge: Floats, row: Floats, up: Floats, down: Floats) -> _Step:
        """Directions towards products y r, s lambda, (c - z) u, (z - f) w moved by the given amounts."""
        z, n, m = self.z, len(self.z.slack), len(self.z.load)
        part, terms = np.empty(n), np.empty(m)
        _row_terms(
            z.row_start, z.provider, edge, z.reduced, self.ratio, self.dual_gap, row, z.lam, self.primal_gap,
            self.weight, part, terms,
        )  # fmt: skip
        shift = -self.price_gap - up / self.room_up + down / self.room_down
        price, self.lower = solve_positive(self.matrix, terms - self.load_gap - self.q * shift, self.lower)
        lam, flow, reduced = np.empty(n), np.empty(len(z.flow)), np.empty(len(z.flow))
        _edge_steps(
            z.row_start, z.provider, edge, z.reduced, self.ratio, self.dual_gap, part, self.weight, price,
            lam, flow, reduced,
        )  # fmt: skip
        load = self.q * (price + shift)
        return _Step(
            flow=flow,
            slack=(row - z.slack * lam) / z.lam,
            load=load,
            lam=lam,
            price=price,
            reduced=reduced,
            up=np.where(z.above, (up + z.up * load) / self.room_up, 0.0),
            down=np.where(z.below, (down - z.down * load) / self.room_down, 0.0),
        )


def _lengths(z: _Point, step: _Step, room_up: Floats, room_down: Floats) -> tuple[float, float]:
    primal = min(
        _longest(z.flow, step.flow),
        _longest(z.slack, step.slack),
        _longest(room_up, np.where(z.above, -step.load, 0.0)),
        _longest(room_down, np.where(z.below, step.load, 0.0)),
    )
    dual = min(
        _longest(z.lam, step.lam),
        _longest(z.reduced, step.reduced),
        _longest(z.up, step.up),
        _longest(z.down, step.down),
    )
    return 0.9995 * primal, 0.9995 * dual


def _advance(z: _Point) -> None:
    newton = _Newton(z)
    mu = _gap(z) / z.pairs()
    up, down = np.where(z.above, newton.room_up * z.up, 0.0), np.where(z.below, newton.room_down * z.down, 0.0)
    edge, row = z.flow * z.reduced, z.slack * z.lam
    affine = newton.step(-edge, -row, -up, -down)
    p, d = _lengths(z, affine, newton.room_up, newton.room_down)
    after = float(
        (z.flow + p * affine.flow) @ (z.reduced + d * affine.reduced)
        + (z.slack + p * affine.slack) @ (z.lam + d * affine.lam)
        + np.where(z.above, newton.room_up - p * affine.load, 0.0) @ (z.up + d * affine.up)
        + np.where(z.below, newton.room_down + p * affine.load, 0.0) @ (z.down + d * affine.down)
    )
    aim = mu * min(1.0, max(after / z.pairs() / mu, 0.0)) ** 3
    step = newton.step(
        aim - edge - affine.flow * affine.reduced,
        aim - row - affine.slack * affine.lam,
        np.where(z.above, aim - up + affine.load * affine.up, 0.0),
        np.where(z.below, aim - down - affine.load * affine.down, 0.0),
    )
    p, d = _lengths(z, step, newton.room_up, newton.room_down)
    z.flow += p * step.flow
    z.slack += p * step.slack
    z.load += p * step.load
    z.lam += d * step.lam
    z.price += d * step.price
    z.reduced += d * step.reduced
    z.up += d * step.up
    z.down += d * step.down


def interior(work: Work, accuracy: float, look: Callable[[Floats, Floats | None], bool]) -> int:
    """Run until ``look(price, share or None)`` says enough, or no more can be gained; the number of steps.

    ``look`` is called at every step with the prices, and with shares (E,) as well once the products' sum is within
    ``accuracy`` of the objective.
    """
    z = _Point(work)
    if not len(z.flow):
        look(np.zeros(work.m), np.zeros(len(work.value)))
        return 0
    rows = (work.demand > 0) & (np.diff(work.row_start) > 0)
    keep = np.repeat(rows, np.diff(work.row_start))
    for number in range(1, _MOST_STEPS + 1):
        before = (z.flow.copy(), z.price.copy())
        _advance(z)
        if not (np.isfinite(z.flow).all() and np.isfinite(z.price).all()):
            z.flow, z.price = before
        reward = abs(float(z.flow @ z.value))
        close = _gap(z) <= accuracy * max(reward, 1e-12)
        share: Floats | None = None
        if close or number == _MOST_STEPS or z.flow is before[0]:
            share = np.zeros(len(work.value))
            share[keep] = z.flow / np.repeat(z.demand, np.diff(z.row_start))
        if look(z.price * z.worth, share) or z.flow is before[0]:
            return number
    return _MOST_STEPS
