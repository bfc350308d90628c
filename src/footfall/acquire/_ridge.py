"""The plain programme at scale: a ridge on the rows, driven to zero, with momentum and exact screening.

    G_g(l) = sum_i d_i max { (v_i - l).x - g/2 |x|^2 : x >= 0, sum x <= 1 } + h(l)

is smooth but for h, so it falls by accelerated proximal steps in a diagonal metric (Nesterov 1983; Beck & Teboulle
2009) with restarts (O'Donoghue & Candes 2015). Its loads tell the price of each provider where to go; its prices bound
the plain programme by H(l). Cold starts come from a sample of the rows. docs/solver.md, "Ridge", has the derivation.

Linear limits: where limit k has price p_k, the rows see v_ie - sum_k p_k a_ke in place of the value, and h gains
sum_k high_k max(p_k, 0) - low_k max(-p_k, 0). So a search over these few prices goes around ``descend`` on a ``Market``
with ``value`` shifted so (``dataclasses.replace``), started from the prices before; the slope of p_k is what the
limit's sum over the shares (``_ridge_kernels.share_rows``) leaves of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from footfall.acquire._blocks import Crew, added, cut_rows
from footfall.acquire._screen import Floats32, Layer, Piece, Screen, rows, whole
from footfall.model import Floats

_COLD, _COARSE, _WARM = 0.03, 0.1, 0.003  # the first ridge, in parts of the mean best value
_WARMTH = ((_WARM, 0.12), (0.006, 1.0), (0.015, np.inf))  # that from earlier prices, by what loads miss of the bound
_LEAST = 1e-5
_SHRINK = 0.4
LEVEL_STEPS = (4, 600)  # least and most
_ROUGH = 0.01  # ridges from here on need not be solved well
_MEMORY = 0.97  # of a metric's entry, from step to step
_BASE = 0.3  # least load for the metric, in parts of the capacity
_SETTLING = 2  # first evaluations, while prices move too far to be worth screening
_FAR = 30.0  # mean best values: a given price farther off is brought to this, as no help for a start
_SAMPLE = 0.1  # of the rows, for a cold start
_WORTH_SAMPLING = 500_000  # edges
_SEED = 0x466F6F7466616C6C


@dataclass(frozen=True, eq=False)
class Market:
    """Rows as the kernels take them, and the providers' limits.

    row_start: int64 (n + 1,). index: uint16 or int32 (E,). value: float32 (E,), which may be shifted by the prices of
    linear limits. demand: (n,) visits. capacity, floor: (m,) visits. widest: edges of the widest row. worth: mean best
    value of a visit, > 0.
    """

    row_start: npt.NDArray[np.int64]
    index: npt.NDArray[Any]
    value: Floats32
    demand: Floats
    capacity: Floats
    floor: Floats
    widest: int
    worth: float

    @cached_property
    def shut(self) -> npt.NDArray[np.bool_]:
        """Providers without capacity (m,)."""
        return self.capacity <= 0

    @cached_property
    def least_price(self) -> Floats:
        """Below 0 only where there is a floor (m,)."""
        return np.where(self.floor > 0, -np.inf, 0.0)

    @cached_property
    def most_price(self) -> Floats:
        """Above 0 only where there is a capacity to bind (m,)."""
        return np.where(self.shut | np.isinf(self.capacity), 0.0, np.inf)


@dataclass(frozen=True, eq=False, slots=True)
class Point:
    """The dual at some prices, with the ridge and plain (H); the rows' reward, loads (m,), reward that loads miss."""

    price: Floats
    ridge: float
    smooth: float
    plain: float
    reward: float
    load: Floats
    steep: Floats
    missed: float

    @property
    def short(self) -> float:
        """About how far a plan from these prices would be from the bound, in reward."""
        return max(self.plain - self.reward, 0.0) + self.missed


Look = Callable[[Point, bool], bool]


def evaluate(market: Market, screen: Screen, price: Floats, ridge: float) -> Point:
    """The dual at prices (m,) that the screen is settled on."""
    sums = screen.evaluate(price, ridge)
    h, off, broken, paid = rows.measure(price, sums.load, market.capacity, market.floor)
    return Point(
        price=price,
        ridge=ridge,
        smooth=sums.smooth + h,
        plain=sums.plain + h,
        reward=sums.carried + paid,
        load=sums.load,
        steep=sums.steep,
        missed=off + market.worth * broken,
    )


class _Steps:
    """Accelerated proximal steps on one ridge's dual, which cannot run away.

    The metric is the largest recent diagonal above the Hessian, at least that of a part of the limits. It is exact only
    while the sets of edges that carry do not change; so where the dual rises clearly above the best, the search goes
    back there without momentum and with a stiffer metric.
    """

    def __init__(self, market: Market, price: Floats, ridge: float) -> None:
        capacity = np.where(np.isinf(market.capacity), 0.0, market.capacity)
        tiny = 1e-9 * float(market.demand.sum()) / max(len(capacity), 1)
        self.market = market
        self.base = np.maximum(np.maximum(_BASE * capacity, market.floor), max(tiny, 1e-300)) / ridge
        self.metric = np.zeros(len(price))
        self.last = self.best = price
        self.t, self.value, self.stiff = 1.0, np.inf, 1.0

    def following(self, at: Point) -> Floats:
        """The next point to look at."""
        market = self.market
        rows.widen(at.steep, self.base, _MEMORY, self.metric)
        if at.smooth < self.value:
            self.value, self.best = at.smooth, at.price
        elif at.smooth > self.value + 0.05 * (at.plain - at.smooth) + 1e-6 * abs(at.smooth):
            self.stiff *= 2.0
            self.t, self.last = 1.0, self.best
            self.value = np.inf  # the best is looked at again, for its gradient
            return self.best
        new = np.empty_like(at.price)
        if rows.proximal(at.price, at.load, market.capacity, market.floor, self.metric, self.stiff, self.last, new):
            self.t = 1.0
        t = (1 + np.sqrt(1 + 4 * self.t * self.t)) / 2
        point = new + (self.t - 1) / t * (new - self.last)
        self.t, self.last, self.stiff = t, new, max(1.0, 0.97 * self.stiff)
        return rounded(market, point)


def rounded(market: Market, price: Floats) -> Floats:
    """Prices that are exact in single precision; none above 0 without a capacity or below 0 without a floor, and 0
    where capacity is 0.
    """
    price = np.clip(price, market.least_price, market.most_price)
    return price.astype(np.float32).astype(np.float64)


def descend(
    market: Market, screen: Screen, start: Floats, ridges: Iterator[float], look: Look, unscreened: int,
    step: Floats | None = None,
) -> Floats:  # fmt: skip
    """Prices (m,) after the ridges in turn. ``look(point, end of a level?)`` says enough, or raises.

    unscreened: first evaluations that look at all edges. step: how far prices may move at first, (m,); else unknown.
    """
    price, number = rounded(market, start), 0
    step = np.zeros(len(start)) if step is None else step
    least, most = LEVEL_STEPS
    for ridge in ridges:
        steps = _Steps(market, price, ridge)
        theta = 1.0 if ridge >= _ROUGH * market.worth else 0.1
        for taken in range(1, most + 1):
            screen.settle(price, ridge, step, number >= unscreened)
            at = evaluate(market, screen, price, ridge)
            number += 1
            done = taken >= least and at.missed < theta * (at.plain - at.smooth)
            if look(at, done or taken == most):
                return price
            if done:
                break
            following = steps.following(at)
            step = np.maximum(0.8 * step, np.abs(following - price))
            price = following
    return price


def ridges_from(market: Market, first: float, least: float = _LEAST) -> Iterator[float]:
    """Ridges falling from ``first`` to ``least``, in parts of the worth of a visit."""
    while first >= least:
        yield first * market.worth
        first *= _SHRINK


def sampled(market: Market, all_edges: Layer, crew: Crew) -> tuple[Market, Layer]:
    """A sample of the rows, with limits in proportion to the visits that can reach each provider in it."""
    m = len(market.capacity)

    def reach(piece: Piece) -> tuple[Floats, tuple[int, int]]:
        sums = np.zeros((m, 2))
        taken = rows.reach_rows(
            piece.row_start, piece.index, piece.demand, piece.first, piece.last, _SEED, _SAMPLE, sums
        )
        return sums, taken

    reached = crew.map(reach, all_edges.pieces)
    sums = added([part for part, _ in reached])
    part = np.where(sums[:, 0] > 0, sums[:, 1] / np.maximum(sums[:, 0], 1e-300), 0.0)

    def pick(k: int) -> Piece:
        piece, (n, edges) = all_edges.pieces[k], reached[k][1]
        start, index = np.zeros(n + 1, dtype=np.int64), np.empty(edges, dtype=piece.index.dtype)
        value, demand = np.empty(edges, dtype=np.float32), np.empty(n)
        rows.pick_rows(*piece.arrays, piece.first, piece.last, _SEED, _SAMPLE, start, index, value, demand)
        return Piece(start, index, value, demand, 0, n, piece.widest)

    pieces = tuple(crew.map(pick, range(len(all_edges.pieces))))
    far = np.full(m, np.inf, dtype=np.float32)
    edges = sum(piece.edges for piece in pieces)
    small = replace(
        market,
        demand=np.concatenate([piece.demand for piece in pieces]),
        capacity=np.where(np.isinf(market.capacity), np.inf, market.capacity * part),
        floor=market.floor * part,
    )
    return small, Layer(pieces, -far, far, np.inf, np.zeros(m), 0.0, edges)


class Search:
    """Prices of a market, cold or from earlier ones; ``work`` counts passes over the edges, all of them."""

    def __init__(self, market: Market, crew: Crew) -> None:
        self.market, self.crew = market, crew
        self.edges = max(len(market.index), 1)
        self.all_edges = whole(
            market.row_start, market.index, market.value, market.demand, len(market.capacity), crew.count, market.widest
        )
        self.screen = Screen(self.all_edges, market.shut, crew)
        self.other = 0  # edges looked at outside the screen

    @property
    def passes(self) -> float:
        """Passes so far, in parts of all edges."""
        return (self.screen.work + self.other) / self.edges

    def cuts(self) -> list[int]:
        """Ends of the blocks of rows."""
        return cut_rows(self.market.row_start, self.crew.count)

    def run(self, start: Floats | None, look: Look, tick: Callable[[], None]) -> Floats:
        """Descend until ``look`` says enough; ``tick`` is called at every step of a sample."""
        market = self.market
        if start is not None:
            start = np.clip(start, -_FAR * market.worth, _FAR * market.worth)
            first, step = self._probed(start)
            self.screen.start_small()
            return descend(market, self.screen, start, ridges_from(market, first), look, 0, step)
        start, first = np.zeros(len(market.capacity)), _COARSE
        if self.edges >= _WORTH_SAMPLING:
            start, first = self._from_sample(tick), _COLD
        return descend(market, self.screen, start, ridges_from(market, first), look, _SETTLING)

    def _probed(self, start: Floats) -> tuple[float, Floats]:
        """The ridge that earlier prices (m,) are worth, in parts of the mean best value, and a first step from them."""
        market, price = self.market, rounded(self.market, start)
        ridge = _WARM * market.worth
        at = evaluate(market, self.screen, price, ridge)
        off = min(at.missed / max(abs(at.plain), 1e-300), np.finfo(float).max)
        first = next(ridge for ridge, most in _WARMTH if off <= most)
        return first, np.abs(_Steps(market, price, ridge).following(at) - price)

    def _from_sample(self, tick: Callable[[], None]) -> Floats:
        market, layer = sampled(self.market, self.all_edges, self.crew)
        screen = Screen(layer, self.market.shut, self.crew)

        def look(_: Point, __: bool) -> bool:
            tick()
            return False

        self.other += self.edges
        start, ridges = np.zeros(len(market.capacity)), iter([_COARSE * market.worth])
        price = descend(market, screen, start, ridges, look, LEVEL_STEPS[1])
        self.other += screen.work
        return price
