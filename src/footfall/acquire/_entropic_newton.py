"""Where single prices crawl: Newton's steps on the entropic dual, each price within a reach that it is trusted for.

A part of the market whose prices may move together, since its rows are full and few other rows look at it, hardly bends
the dual; single prices do not see that, the whole curvature does. A step is about the least of the model

    m(s) = slope.s + s'Cs / 2,   C = sum_i d_i / tau_i (diag x_i - [sum x_i = 1] x_i x_i')

in a box (More & Toraldo 1991): the kinks of h at 0 are walls of it (Bertsekas 1982), and so is each price's reach,
which grows where the model foretold the load and falls where it did not. So rows with small tau, which bend sharply,
hold back their own providers and no others. A product with C is a pass over the shares, cheaper than over the market.
"""

from __future__ import annotations

from collections.abc import Callable

import numba as nb
import numpy as np

from footfall.acquire._blocks import added
from footfall.acquire._entropy_market import Market
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_FIRST = 2.0  # reach, in parts of the step that changes a load by a factor e
_GROW, _FALL, _SHUN = 3.0, 0.5, 0.25  # reach: after a good step; after one that was not; of who was to blame for it
_OFF = 0.25  # of what was promised, by which a load may differ from the model's
_INNER, _CLOSE = 100, 0.1  # products for one step; slope that it may leave, in parts of that before
_LIFT = 1e-9  # of single curvatures, where the whole does not bend at all
_LEAST = 1e-15  # of the dual: a promise that is rounding
_PRODUCT = 0.5  # a product's time, in parts of an exact pass


@nb.njit(cache=True, nogil=True)
def curvature_rows(row_start, provider, tau, demand, share, step, first, last, out):
    """Add the rows' curvature times ``step`` (m,) to ``out`` (m,): sum_i d_i / tau_i (diag x_i - x_i x_i') step.

    Rows that are not full have no second part. share: float64 (E,).
    """
    for i in range(first, last):
        weight = demand[i] / tau[i]
        if not weight > 0.0:
            continue
        total, mean = 0.0, 0.0
        for e in range(row_start[i], row_start[i + 1]):
            total += share[e]
            mean += share[e] * step[provider[e]]
        mean = mean / total if total >= 1.0 - 1e-12 else 0.0
        for e in range(row_start[i], row_start[i + 1]):
            out[provider[e]] += weight * share[e] * (step[provider[e]] - mean)


class Newton:
    """Prices (m,) under way with their dual. ``looks`` counts points looked at, ``spent`` also products, in part."""

    def __init__(self, market: Market, price: Floats) -> None:
        problem = market.problem
        self.market, self.price, self.looks, self.spent = market, price, 1, 1.0
        self._share, self._other = np.empty(problem.edges), np.empty(problem.edges)
        self.at = market.exact(price, self._share)
        self._pinned = problem.capacity - problem.floor <= 1e-9 * problem.capacity  # h has no kink to speak of
        known = (self.at.load > 1e-200) & (self.at.curve > 0)
        rate = np.where(known, self.at.curve, 1.0) / np.where(known, self.at.load, market.worth)
        self._reach = _FIRST / rate

    def step(self) -> bool:
        """Look at the model's best point and go there if the dual is less; False where nothing is left to gain."""
        slope = self._slope()
        low, high = self._walls(slope)
        move, bent = self._least(slope, low, high)
        promised = -float(slope @ move) - 0.5 * float(move @ bent)
        if not promised > _LEAST * abs(self.at.value):
            return False
        there = np.where(move == -self.price, 0.0, self.price + move)
        there = self.market.allowed(there)
        at = self.market.exact(there, self._other)
        self.spent, self.looks = self.spent + 1.0, self.looks + 1
        size = np.abs(move)
        off = np.abs((self.at.load - bent) - at.load) * size  # what the model was wrong by, in reward
        poor = off > _OFF * np.maximum(np.abs(slope * move), promised / max(int((size > 0).sum()), 1))
        if not at.value < self.at.value:
            fallen = np.where(poor, _SHUN, _FALL) * np.minimum(self._reach, size)
            self._reach = np.where(size > 0, fallen, self._reach)
            return True
        grown = np.where(size >= _FALL * self._reach, _GROW * self._reach, self._reach)
        self._reach = np.where(poor, _SHUN * size, grown)
        self.price, self.at = there, at
        self._share, self._other = self._other, self._share
        return True

    def _slope(self) -> Floats:
        """Slope of the dual by price (m,), on the side that it may move to; 0 where the limits keep it at 0."""
        problem, price, load = self.market.problem, self.price, self.at.load
        up, down = np.where(self.market.closed, np.inf, problem.capacity) - load, problem.floor - load
        rising = (price > 0) | ((price == 0) & (up < 0))
        falling = (price < 0) | ((price == 0) & (down > 0))
        return np.where(self.market.closed, 0.0, np.where(rising, up, np.where(falling, down, 0.0)))

    def _walls(self, slope: Floats) -> tuple[Floats, Floats]:
        """How far each price may move down and up, (m,) each: within its reach, and not across 0."""
        still = (self.price == 0) & (slope == 0) | self.market.closed
        reach = np.where(still, 0.0, self._reach)
        kinked, price = ~self._pinned, self.price
        low = np.where(kinked & (price > 0), np.maximum(-reach, -price), -reach)
        high = np.where(kinked & (price < 0), np.minimum(reach, -price), reach)
        return np.where(kinked & (price == 0) & (slope < 0), 0.0, low), np.where(
            kinked & (price == 0) & (slope > 0), 0.0, high
        )

    def _times(self, step: Floats) -> Floats:
        """The curvature, lifted a little, times a step, both (m,)."""
        market = self.market

        def one(_: int, first: int, last: int) -> Floats:
            out = np.zeros(market.m)
            data = (market.row_start, market.provider, market.tau, market.demand, self._share)
            curvature_rows(*data, step, first, last, out)
            return out

        self.spent += _PRODUCT
        return added(market.each(one)) + _LIFT * self._single() * step

    def _single(self) -> Floats:
        """Curvature by single price (m,), above 0."""
        return np.maximum(self.at.curve, 1e-12 * max(float(self.at.curve.max(initial=0.0)), 1e-300))

    def _least(self, slope: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """About the model's least between the walls, and the curvature times it; (m,) each.

        Conjugate gradients, scaled by single curvatures. Where they meet walls, they begin anew along them.
        """
        step, bent = np.zeros(len(slope)), np.zeros(len(slope))
        single, until, first = self._single(), self.spent + _INNER * _PRODUCT, np.inf
        while self.spent < until:
            rest = slope + bent
            free = ~(((step <= low) & (rest > 0)) | ((step >= high) & (rest < 0)))
            rest = np.where(free, rest, 0.0)
            way = -rest / single
            size = -float(rest @ way)
            first = size if np.isinf(first) else first
            while size > _CLOSE**2 * first and self.spent < until:
                turned = self._times(way)
                bend = float(way @ turned)
                far = size / bend if bend > 0 else np.inf
                new = step + min(far, 1e300) * way
                if ((new < low) | (new > high)).any():
                    step, bent = self._to_walls((slope, step, bent), (way, turned), new, (low, high))
                    break
                step, bent = new, bent + far * turned
                rest = np.where(free, rest + far * turned, 0.0)
                now = float(rest @ (rest / single))
                way, size = now / size * way - rest / single, now
            else:
                break
        return step, bent

    def _to_walls(
        self, at: tuple[Floats, Floats, Floats], way: tuple[Floats, Floats], new: Floats, walls: tuple[Floats, Floats]
    ) -> tuple[Floats, Floats]:
        """From a step beyond the walls back to them, if that is good; else straight on to the first wall."""
        slope, step, bent = at
        move = np.clip(new, *walls) - step
        bowed = self._times(move)
        if 0.5 * float(move @ bowed) > -0.9 * float((slope + bent) @ move):
            wall = np.where(way[0] > 0, walls[1] - step, walls[0] - step)
            with np.errstate(divide="ignore", invalid="ignore"):
                reach = np.where(way[0] != 0, wall / way[0], np.inf)
            far = max(float(reach.min()), 0.0)
            move, bowed = np.where(reach <= far, wall, far * way[0]), far * way[1]
        return np.clip(step + move, *walls), bent + bowed


def descend(market: Market, price: Floats, most: float, look: Callable[[Newton], bool]) -> Newton:
    """Newton's steps from ``price`` (m,) for the time of about ``most`` exact passes: where they have led.

    ``look`` sees every step and says enough, or raises.
    """
    newton = Newton(market, price)
    while newton.spent < most and newton.step() and not look(newton):
        pass
    return newton
