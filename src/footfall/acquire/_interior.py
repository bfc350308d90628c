"""Few providers: a primal-dual interior-point method with predictor and corrector (Mehrotra 1992).

Visits y_ij >= 0, row slack s_i >= 0, loads z_j in [f_j, c_j]; multipliers lambda_i > 0 of the rows, l_j = u_j - w_j
of the providers, r_ij > 0 of y >= 0; q_ij = d_i p_ij, and tau_i = 0 in the plain programme:

    sum_j y_ij + s_i = d_i      sum_i y_ij = z_j      lambda_i + l_j - v_ij + tau_i log(y_ij / q_ij) + k_ij = r_ij
    y r = s lambda = (c - z) u = (z - f) w = h k = mu

An edge with a largest share has room h_ij = d_i u_ij - y_ij with multiplier k_ij > 0; elsewhere k_ij = 0. The rooms are
variables of their own: told from y and z by subtraction they would be lost to rounding near the limit.

Newton's step eliminates all but the m prices: with T_ij = y_ij / (r_ij + tau_i + k_ij y_ij / h_ij), L_i = sum_j T_ij +
s_i / lambda_i and b_j = 1 / (u / (c - z) + w / (z - f)), the matrix is diag(sum_i T_ij + b_j) - sum_i T_i T_i' / L_i,
dense (m, m) and positive definite. Each linear limit (``_coupling``) is one more of these rows, with load
sum_e a_e y_e: its part of the matrix is sum_e T_e (a_e - abar_i) a'_e, where abar_i is the mean of a over the row's T,
the slack among them with a = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from footfall.acquire._coupling import ByEdge, Coupling
from footfall.acquire._interior_limits import assemble_limits, limit_loads, limit_terms, pull_by_edge
from footfall.acquire._linear import solve_positive
from footfall.acquire._work import Work
from footfall.acquire.problem import row_sums
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

MOST_STEPS = 120
_TIGHT = 1e-9  # floor and capacity this close (relative) are one equation
_ROOM = 1e-150  # least room at a limit: where a floor and share caps meet, rooms shrink at every step
LOOSEN = (0.0, 1e-9, 1e-7, 1e-6, 1e-5)  # by how much limits are widened, one after the other, where prices run off
_NOTHING = 1e-3  # of the scale of rewards: a smaller reward may be one of 0, of which no part can be reached
_STAY = 0.9995  # part of the way to the boundary that a step may go


@nb.njit(cache=True, nogil=True)
def assemble_providers(row_start, provider, flow, stiff, slack, lam, ratio, row_weight, matrix):
    """T into ``ratio`` (E,), L into ``row_weight`` (n,), lower part of the providers' matrix into ``matrix``."""
    matrix[:, :] = 0.0
    for i in range(len(slack)):
        a, b = row_start[i], row_start[i + 1]
        total = slack[i] / lam[i]
        for e in range(a, b):
            ratio[e] = flow[e] / stiff[e]
            total += ratio[e]
        row_weight[i] = total
        for e in range(a, b):
            j = provider[e]
            w = ratio[e] / total
            others = slack[i] / lam[i]  # T (L - T) / L without cancellation
            for k in range(a, b):
                if k != e:
                    others += ratio[k]
                    if provider[k] < j:
                        matrix[j, provider[k]] -= w * ratio[k]
            matrix[j, j] += w * others


@nb.njit(cache=True, nogil=True)
def _row_terms(row_start, provider, aim, stiff, ratio, dual_gap, row_aim, lam, primal_gap, row_weight, part, terms):
    """Right sides: of the rows into ``part`` (n,), of the providers after elimination into ``terms`` (m,)."""
    terms[:] = 0.0
    for i in range(len(lam)):
        a, b = row_start[i], row_start[i + 1]
        total = row_aim[i] / lam[i] - primal_gap[i]
        for e in range(a, b):
            total += aim[e] / stiff[e] - ratio[e] * dual_gap[e]
        part[i] = total
        for e in range(a, b):
            mine = aim[e] / stiff[e] - ratio[e] * dual_gap[e]
            terms[provider[e]] += mine - ratio[e] * total / row_weight[i]


@nb.njit(cache=True, nogil=True)
def _edge_steps(row_start, provider, flow, tau, aim, stiff, ratio, dual_gap, part, row_weight, d_price, out):
    """Steps of lambda, y and r, into ``out`` = (d_lambda, d_flow, d_reduced), from those of the prices."""
    d_lam, d_flow, d_reduced = out
    for i in range(len(d_lam)):
        a, b = row_start[i], row_start[i + 1]
        total = part[i]
        for e in range(a, b):
            total -= ratio[e] * d_price[provider[e]]
        d_lam[i] = total / row_weight[i]
        for e in range(a, b):
            shift = d_lam[i] + d_price[provider[e]] + dual_gap[e]
            d_flow[e] = aim[e] / stiff[e] - ratio[e] * shift
            d_reduced[e] = shift + tau[e] * d_flow[e] / flow[e]


@nb.njit(cache=True, nogil=True)
def _residuals(row_start, provider, value, tau, usual, demand, flow, slack, lam, price, reduced, out):
    """What is missing from the equations, and loads, into ``out`` = (primal_gap (n,), dual_gap (E,), load (m,))."""
    primal_gap, dual_gap, load = out
    load[:] = 0.0
    for i in range(len(lam)):
        total = slack[i]
        for e in range(row_start[i], row_start[i + 1]):
            total += flow[e]
            load[provider[e]] += flow[e]
            dual_gap[e] = lam[i] + price[provider[e]] - value[e] - reduced[e]
            if tau[e] > 0.0:
                dual_gap[e] += tau[e] * math.log(flow[e] / usual[e])
        primal_gap[i] = demand[i] - total


@nb.njit(cache=True, nogil=True)
def _longest(x, dx):
    """The longest step up to 1/_STAY that keeps x >= 0."""
    step = 1.0 / _STAY
    for k in range(len(x)):
        if dx[k] < 0.0 and -x[k] / dx[k] < step:
            step = -x[k] / dx[k]
    return step


@nb.njit(cache=True, nogil=True)
def _dot(x, y):
    """Sum of products on the calling thread (see ``_linear`` for why not BLAS)."""
    total = 0.0
    for k in range(len(x)):
        total += x[k] * y[k]
    return total


class _Point:
    """An iterate over the rows with demand and edges; arrays by edge (E,), row (n,) and provider, then limit (m + k,).

    Visits are in parts of the mean demand, values and prices in parts of the largest value (or tau).
    """

    def __init__(self, work: Work, coupling: Coupling | None, loosen: float = 0.0) -> None:
        width = np.diff(work.row_start)
        rows = (work.demand > 0) & (width > 0)
        self.edges = np.repeat(rows, width)  # which of the work's edges take part
        width = width[rows]
        value = work.value[self.edges].astype(np.float64)
        entropic = work.reference is not None
        self.visit = float(work.demand[rows].mean()) if len(width) else 1.0
        self.worth = float(np.abs(value).max(initial=0.0)) or (float(work.tau.max()) if entropic else 1.0)
        self.row_start = np.concatenate([[0], np.cumsum(width)]).astype(np.int64)
        self.provider = work.provider[self.edges]
        self.demand, self.value = work.demand[rows] / self.visit, value / self.worth
        self.wide = np.repeat(self.demand, width)  # demand by edge
        even = np.repeat(1.0 / (width + 1), width)
        self.lam = np.full(len(width), 2.0)
        self.reduced = 2.0 - self.value
        self.tau, self.usual = np.zeros(len(value)), np.ones(len(value))
        if work.reference is None:
            self.flow, self.slack = self.wide * even, self.demand / (width + 1)
        else:
            reference = work.reference[self.edges].astype(np.float64)
            self.tau = np.repeat(work.tau[rows], width) / self.worth
            self.usual = self.wide * reference
            self.flow, self.slack = 0.9 * self.wide * (0.9 * reference + 0.1 * even), 0.1 * self.demand
            self.reduced = np.maximum(self.reduced + self.tau * np.log(self.flow / self.usual), 0.5)
        self._share_caps(work, loosen)
        self.limits: ByEdge | None = None
        if coupling is not None and coupling.k:
            number = np.where(self.edges, np.cumsum(self.edges) - 1, -1)
            coupling = coupling.part(number, self.row_start, self.demand)
            self.limits = coupling.by_edge(len(self.flow))
        self._bounds(work, coupling, loosen)

    def _share_caps(self, work: Work, loosen: float) -> None:
        upper = np.ones(len(self.flow)) if work.upper is None else work.upper[self.edges]
        self.capped = np.flatnonzero(upper < 1)
        most = np.maximum((self.wide * (upper + loosen))[self.capped], 2 * _ROOM)
        before = self.flow
        self.flow = before.copy()
        self.flow[self.capped] = np.minimum(before[self.capped], 0.5 * most)  # by subtraction it could become 0
        self.slack = self.slack + row_sums(self.row_start, before - self.flow)
        self.spare, self.press = most - self.flow[self.capped], np.full(len(most), 0.5)
        self.reduced[self.capped] += 0.5

    def _bounds(self, work: Work, coupling: Coupling | None, loosen: float) -> None:
        m = self.providers = work.m
        reach = np.bincount(self.provider, self.wide, minlength=m)
        self.high = np.where(reach > 0, np.minimum(work.capacity / self.visit, 2 * reach), 1.0)
        self.low = np.minimum(work.floor / self.visit, self.high)
        self.high = self.high + loosen * reach
        self.low = np.where(self.low > 0, np.maximum(self.low - loosen * reach, 0.0), 0.0)
        self.fixed = (self.high - self.low <= _TIGHT * self.high) & (reach > 0) & (loosen == 0)
        self.below: npt.NDArray[np.bool_] = ~self.fixed & (self.low > 0)
        self.above: npt.NDArray[np.bool_] = ~self.fixed
        start: Floats = np.bincount(self.provider, self.flow, minlength=m).astype(np.float64)
        if self.limits is not None and coupling is not None:
            start = np.concatenate([start, np.zeros(coupling.k)])
            self._limit_bounds(coupling, start[m:], loosen)
        room = self.high - self.low
        start = np.clip(start, self.low + 0.1 * room, self.high - 0.1 * room)
        self.load = np.where(self.fixed, self.low, start)
        self.room_up = np.where(self.above, self.high - self.load, 1.0)  # c - z where that is a variable, else 1
        self.room_down = np.where(self.below, self.load - self.low, 1.0)  # z - f likewise
        self.price = np.zeros(len(start))
        self.up, self.down = np.where(self.above, 0.5, 0.0), np.where(self.below, 0.5, 0.0)

    def _limit_bounds(self, coupling: Coupling, start: Floats, loosen: float) -> None:
        """Bounds of the limits behind those of the providers; where none can bind, they are still finite."""
        assert self.limits is not None
        limit_loads(self.limits.start, self.limits.limit, self.limits.weight, self.flow, start)
        span = np.maximum(coupling.most - coupling.least, 1e-6)
        high = np.minimum(coupling.high / self.visit, coupling.most + span)
        low = np.maximum(coupling.low / self.visit, coupling.least - span)
        high, low = np.maximum(high, low), np.minimum(high, low)  # beyond reach: a conflict, which others tell
        fixed = (high - low <= _TIGHT * np.maximum(np.abs(high), span)) & (loosen == 0)
        high, low = high + loosen * span, low - loosen * span
        self.high, self.low = np.concatenate([self.high, high]), np.concatenate([self.low, low])
        self.fixed = np.concatenate([self.fixed, fixed])
        self.below = np.concatenate([self.below, ~fixed & (np.isfinite(coupling.low) | np.isinf(coupling.high))])
        self.above = np.concatenate([self.above, ~fixed & (np.isfinite(coupling.high) | np.isinf(coupling.low))])

    def put_off(self, price: Floats) -> Floats:
        """The limits' prices times coefficients by edge; ``price`` (m + k,). Only where there are limits."""
        assert self.limits is not None
        out = np.empty(len(self.flow))
        pull_by_edge(self.limits.start, self.limits.limit, self.limits.weight, price[self.providers :], out)
        return out

    def products(self) -> float:
        """Sum of all complementary products: the gap of a point without residuals."""
        rows = _dot(self.flow, self.reduced) + _dot(self.slack, self.lam) + _dot(self.spare, self.press)
        return float(rows + _dot(self.room_up, self.up) + _dot(self.room_down, self.down))

    def pairs(self) -> int:
        """Number of complementary products."""
        edges = len(self.flow) + len(self.capped)
        return edges + len(self.slack) + int(self.above.sum()) + int(self.below.sum())

    def moved(self, step: _Step, primal: float, dual: float) -> tuple[Floats, ...]:
        """The parts after a step of these lengths: y, s, z, h, c - z, z - f, and lambda, l, r, u, w, k."""
        return (
            self.flow + primal * step.flow,
            self.slack + primal * step.slack,
            self.load + primal * step.load,
            np.maximum(self.spare - primal * step.flow[self.capped], _ROOM),
            np.maximum(self.room_up - primal * np.where(self.above, step.load, 0.0), _ROOM),
            np.maximum(self.room_down + primal * np.where(self.below, step.load, 0.0), _ROOM),
            self.lam + dual * step.lam,
            self.price + dual * step.price,
            self.reduced + dual * step.reduced,
            self.up + dual * step.up,
            self.down + dual * step.down,
            self.press + dual * step.press,
        )

    def put(self, parts: tuple[Floats, ...]) -> None:
        """Become that point."""
        self.flow, self.slack, self.load, self.spare, self.room_up, self.room_down = parts[:6]
        self.lam, self.price, self.reduced, self.up, self.down, self.press = parts[6:]


@dataclass(frozen=True, eq=False, slots=True)
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
    press: Floats


class _Newton:
    """The matrix of one iterate, and its directions for given changes of the complementary products."""

    def __init__(self, z: _Point) -> None:
        self.z = z
        n, m, edges = len(z.slack), len(z.load), len(z.flow)
        self.stiff = z.reduced + z.tau
        self.bend = z.press / z.spare  # k / h, by bounded edge
        self.stiff[z.capped] += self.bend * z.flow[z.capped]
        self.ratio, self.weight, self.matrix = np.empty(edges), np.empty(n), np.empty((m, m))
        self.primal_gap, self.dual_gap, load = np.empty(n), np.empty(edges), np.empty(m)
        assemble_providers(
            z.row_start, z.provider, z.flow, self.stiff, z.slack, z.lam, self.ratio, self.weight, self.matrix
        )
        value = z.value
        if z.limits is not None:
            by_edge = (z.limits.start, z.limits.limit, z.limits.weight)
            assemble_limits(
                z.row_start, z.provider, z.slack, z.lam, self.ratio, self.weight, *by_edge, z.providers, self.matrix
            )
            value = value - z.put_off(z.price)
        _residuals(
            z.row_start, z.provider, value, z.tau, z.usual, z.demand, z.flow, z.slack, z.lam, z.price, z.reduced,
            (self.primal_gap, self.dual_gap, load),
        )  # fmt: skip
        if z.limits is not None:
            limit_loads(*by_edge, z.flow, load[z.providers :])
        self.dual_gap[z.capped] += z.press
        stiff = z.up / z.room_up + z.down / z.room_down
        self.give = np.where(z.fixed, 0.0, 1.0 / np.maximum(stiff, 1e-300))
        self.matrix[np.diag_indices(m)] += self.give
        self.load_gap = z.load - load
        self.price_gap = np.where(z.fixed, 0.0, z.up - z.down - z.price)
        self.lower: Floats | None = None

    def step(self, edge: Floats, row: Floats, up: Floats, down: Floats, cap: Floats) -> _Step:
        """Directions that change y r, s lambda, (c - z) u, (z - f) w and h k by the given amounts, to first order."""
        z, n, m = self.z, len(self.z.slack), len(self.z.load)
        edge = edge.copy()
        edge[z.capped] -= z.flow[z.capped] * cap / z.spare
        part, terms = np.empty(n), np.empty(m)
        _row_terms(
            z.row_start, z.provider, edge, self.stiff, self.ratio, self.dual_gap, row, z.lam, self.primal_gap,
            self.weight, part, terms,
        )  # fmt: skip
        if z.limits is not None:
            by_edge = (z.limits.start, z.limits.limit, z.limits.weight)
            limit_terms(
                z.row_start, edge, self.stiff, self.ratio, self.dual_gap, part, self.weight, *by_edge,
                terms[z.providers :],
            )  # fmt: skip
        shift = -self.price_gap - up / z.room_up + down / z.room_down
        price, self.lower = solve_positive(self.matrix, terms - self.load_gap - self.give * shift, self.lower)
        lam, flow, reduced = np.empty(n), np.empty(len(z.flow)), np.empty(len(z.flow))
        dual_gap = self.dual_gap
        if z.limits is not None:
            pull = z.put_off(price)
            dual_gap, part = dual_gap + pull, part - row_sums(z.row_start, self.ratio * pull)
        _edge_steps(
            z.row_start, z.provider, z.flow, z.tau, edge, self.stiff, self.ratio, dual_gap, part, self.weight,
            price, (lam, flow, reduced),
        )  # fmt: skip
        load = self.give * (price + shift)
        press = cap / z.spare + self.bend * flow[z.capped]
        reduced[z.capped] += press
        return _Step(
            flow=flow,
            slack=(row - z.slack * lam) / z.lam,
            load=load,
            lam=lam,
            price=price,
            reduced=reduced,
            up=np.where(z.above, (up + z.up * load) / z.room_up, 0.0),
            down=np.where(z.below, (down - z.down * load) / z.room_down, 0.0),
            press=press,
        )

    def lengths(self, step: _Step) -> tuple[float, float]:
        """How far the primal and the dual parts may go."""
        z = self.z
        primal = min(
            _longest(z.flow, step.flow),
            _longest(z.slack, step.slack),
            _longest(z.room_up, np.where(z.above, -step.load, 0.0)),
            _longest(z.room_down, np.where(z.below, step.load, 0.0)),
            _longest(z.spare, -step.flow[z.capped]),
        )
        dual = min(
            _longest(z.lam, step.lam),
            _longest(z.reduced, step.reduced),
            _longest(z.up, step.up),
            _longest(z.down, step.down),
            _longest(z.press, step.press),
        )
        return _STAY * primal, _STAY * dual


def _advance(z: _Point) -> None:
    """One step: the predictor shows how far the products can fall, the corrector centres and mends its curvature."""
    newton = _Newton(z)
    mu = z.products() / z.pairs()
    up, down = np.where(z.above, z.room_up * z.up, 0.0), np.where(z.below, z.room_down * z.down, 0.0)
    edge, row, cap = z.flow * z.reduced, z.slack * z.lam, z.spare * z.press
    guess = newton.step(-edge, -row, -up, -down, -cap)
    here = z.moved(guess, 0.0, 0.0)
    z.put(z.moved(guess, *newton.lengths(guess)))
    after = z.products() / z.pairs()
    z.put(here)
    aim = mu * min(1.0, max(after / mu, 0.0)) ** 3
    step = newton.step(
        aim - edge - guess.flow * guess.reduced,
        aim - row - guess.slack * guess.lam,
        np.where(z.above, aim - up + guess.load * guess.up, 0.0),
        np.where(z.below, aim - down - guess.load * guess.down, 0.0),
        aim - cap + guess.flow[z.capped] * guess.press,
    )
    parts = z.moved(step, *newton.lengths(step))
    if all(np.isfinite(part).all() for part in parts):
        z.put(parts)


def with_room(run: Callable[[float], None], gap: Callable[[], float], wanted: float, quick: bool) -> None:
    """Run the interior point on the limits as they are; where that is ``quick``, then on slightly wider ones, until
    ``gap()`` is as wanted.
    """
    for loosen in LOOSEN if quick else LOOSEN[:1]:
        run(loosen)
        if gap() <= wanted:
            return


def interior(
    work: Work,
    accuracy: float,
    look: Callable[[Floats, Floats | None], bool],
    coupling: Coupling | None = None,
    least: float = 0.0,
    loosen: float = 0.0,
) -> None:
    """Run until ``look(price, share or None)`` says enough, or no step leads further.

    Where limits leave no room within, prices run off: ``loosen`` widens every limit by that part of the visits that can
    reach it, which holds them; the bound of such prices is near that of the problem itself.

    ``look`` is called at every step with prices (m,), those of the ``coupling``'s limits behind them (m + k,), and with
    shares (E,) as well once the products are within ``accuracy`` of the reward, or of ``least`` or a thousandth of the
    scale of rewards where that is more; it may raise to stop. Memory: one (m + k, m + k) matrix.
    """
    z = _Point(work, coupling, loosen)
    if not len(z.flow):
        look(np.zeros(len(z.load)), np.zeros(len(work.value)))
        return
    enough = max(least, _NOTHING * work.scale) / (z.visit * z.worth)
    for number in range(1, MOST_STEPS + 1):
        before = z.flow
        with np.errstate(over="ignore", invalid="ignore"):  # prices of a conflict grow without end; the step is refused
            _advance(z)
        stuck = z.flow is before or number == MOST_STEPS
        share: Floats | None = None
        if stuck or z.products() <= accuracy * max(abs(_dot(z.flow, z.value)), enough):
            share = np.zeros(len(work.value))
            share[z.edges] = z.flow / z.wide
        if look(z.price * z.worth, share) or stuck:
            return
