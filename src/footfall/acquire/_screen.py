"""Exact screening: only the edges that can carry anything at prices near the present ones are looked at.

A layer holds the edges that can carry at prices in a box ``low <= l <= high`` (a radius of its own for each provider)
and ridges up to its own. Layers are nested: the first is all edges, each next one a smaller box, made from the one
before it. An evaluation uses the innermost layer whose box holds the prices, and answers as all edges would.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from footfall.acquire import _ridge_kernels
from footfall.acquire._blocks import WORTH_A_THREAD, Crew, added, cut_rows
from footfall.model import Floats

rows: Any = _ridge_kernels  # compiled functions have no signature that a type checker could read
Floats32 = npt.NDArray[np.float32]

SHUT = np.float32(1e37)  # the price of a provider without capacity: no gain reaches 0
_BOXES = ((3.0, 30.0), (1.0, 10.0))  # radii of the nested boxes, in ridges and in recent steps of the price
_WIDER = (9.0, 90.0)  # one more, around them: at a small ridge still few edges, at a large one nearly all
_NARROW = 12  # edges of the widest row, up to which rows are better taken one after the other
_SLACK = 1.001  # of the ridge, against rounding of gains


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """Rows ``first:last`` of CSR arrays: int64 (n + 1,), uint16 or int32 (E,), float32 (E,), float64 (n,)."""

    row_start: npt.NDArray[np.int64]
    index: npt.NDArray[Any]
    value: Floats32
    demand: Floats
    first: int
    last: int
    widest: int

    @property
    def edges(self) -> int:
        """Number of edges of the rows."""
        return int(self.row_start[self.last] - self.row_start[self.first])

    @property
    def arrays(self) -> tuple[Any, ...]:
        """What every kernel takes first."""
        return self.row_start, self.index, self.value, self.demand


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """Pieces with the edges that can carry in the box; rows that are constant there are in ``fixed`` and ``constant``.

    low, high: float32 (m,). fixed: visits (m,) of rows surely full with one provider; constant: sum d v of these.
    """

    pieces: tuple[Piece, ...]
    low: Floats32
    high: Floats32
    ridge: float
    fixed: Floats
    constant: float
    edges: int

    def holds(self, price: Floats32, ridge: float) -> bool:
        """Whether an evaluation there is exact."""
        return ridge <= self.ridge and bool(((price >= self.low) & (price <= self.high)).all())


@dataclass(frozen=True, eq=False, slots=True)
class Sums:
    """The rows' parts at some prices: ridge dual, plain dual, sum d a x; loads, a diagonal above the Hessian (m,)."""

    smooth: float
    plain: float
    carried: float
    load: Floats
    steep: Floats


def whole(
    row_start: npt.NDArray[np.int64],
    index: npt.NDArray[Any],
    value: Floats32,
    demand: Floats,
    m: int,
    count: int,
    widest: int,
) -> Layer:
    """All edges, in ``count`` pieces."""
    cuts = cut_rows(row_start, count)
    pieces = tuple(Piece(row_start, index, value, demand, a, b, widest) for a, b in pairwise(cuts))
    far = np.full(m, np.inf, dtype=np.float32)
    return Layer(pieces, -far, far, np.inf, np.zeros(m), 0.0, len(index))


class Screen:
    """Layers over one set of rows; counts the edges that it looks at in ``work``."""

    def __init__(self, all_edges: Layer, shut: npt.NDArray[np.bool_], crew: Crew) -> None:
        self._layers, self._shut, self._crew = [all_edges], shut, crew
        self._space: dict[tuple[int, int], tuple[Any, ...]] = {}
        self._boxes: tuple[tuple[float, float], ...] = _BOXES
        self.work = 0

    def start_small(self) -> None:
        """Ridges will be small from the start: one more box, so that fewer looks go to all edges."""
        self._boxes = (_WIDER, *_BOXES)

    def prices(self, price: Floats) -> Floats32:
        """As the kernels take them."""
        return np.where(self._shut, SHUT, price.astype(np.float32))

    def settle(self, price: Floats, ridge: float, step: Floats, screen: bool) -> None:
        """Choose the layers for what comes: prices about ``price``, which lately moved by ``step`` (m,)."""
        at, layers = self.prices(price), self._layers
        while not layers[-1].holds(at, ridge):
            layers.pop()
        if not screen:
            return
        if len(layers) > len(self._boxes) and layers[-1].ridge > 2 * ridge:
            layers.pop()
        for part, moves in self._boxes[len(layers) - 1 :]:
            radius = part * ridge + moves * step
            layers.append(self._narrowed(layers[-1], price, radius, ridge))

    def _narrowed(self, outer: Layer, price: Floats, radius: Floats, ridge: float) -> Layer:
        far = np.float32(np.inf)
        low = np.maximum(outer.low, np.nextafter(self.prices(price - radius), -far))
        high = np.minimum(outer.high, np.nextafter(self.prices(price + radius), far))
        box = np.stack([low, high], axis=1)
        depth, widened = len(self._layers), np.float32(_SLACK * ridge)

        def one(k: int) -> tuple[Piece, Floats, float]:
            piece, fixed = outer.pieces[k], np.zeros(len(low))
            start, index, value, demand = space = self._room(depth, k, piece)
            n, edges, widest, constant = rows.screen_rows(
                *piece.arrays, box, widened, piece.first, piece.last, piece.widest, *space, fixed
            )
            kept = Piece(start[: n + 1], index[:edges], value[:edges], demand[:n], 0, n, widest)
            return kept, fixed, constant

        done = self._crew.map(one, range(len(outer.pieces)), outer.edges > WORTH_A_THREAD)
        self.work += outer.edges
        pieces = tuple(piece for piece, _, _ in done)
        fixed = added([outer.fixed, *(f for _, f, _ in done)])
        constant = outer.constant + sum(c for _, _, c in done)
        return Layer(pieces, low, high, ridge, fixed, constant, sum(piece.edges for piece in pieces))

    def _room(self, depth: int, k: int, piece: Piece) -> tuple[Any, ...]:
        """Arrays for the rows kept, reused; pages that are never written take no memory."""
        n, edges = piece.last - piece.first, piece.edges
        room = self._space.get((depth, k))
        if room is None or len(room[3]) < n or len(room[2]) <= edges:
            room = (
                np.empty(n + 1, dtype=np.int64),
                np.empty(edges + 1, dtype=piece.index.dtype),
                np.empty(edges + 1, dtype=np.float32),
                np.empty(n),
            )
            self._space[depth, k] = room
        return room

    def evaluate(self, price: Floats, ridge: float) -> Sums:
        """The rows' dual at prices within the innermost box (see ``settle``)."""
        layer, at, size = self._layers[-1], self.prices(price), np.float32(ridge)
        m = len(at)

        def one(piece: Piece) -> tuple[Floats, tuple[float, float, float]]:
            sums = np.zeros((m, 2))
            kernel = rows.narrow_rows if piece.widest <= _NARROW else rows.ridge_rows
            return sums, kernel(*piece.arrays, at, size, piece.first, piece.last, piece.widest, sums)

        done = self._crew.map(one, layer.pieces, layer.edges > WORTH_A_THREAD)
        self.work += layer.edges
        smooth, plain, carried = (sum(part[q] for _, part in done) for q in range(3))
        sums = added([part for part, _ in done])
        there = layer.constant - float(np.sum(layer.fixed * np.where(self._shut, 0.0, price)))
        return Sums(
            smooth=smooth + there - 0.5 * ridge * float(layer.fixed.sum()),
            plain=plain + there,
            carried=carried + there,
            load=sums[:, 0] + layer.fixed,
            steep=(sums[:, 1] + layer.fixed) / ridge,
        )
