"""From nearly feasible shares to a plan within all limits, lean enough for tens of millions of edges.

Shares are mended in place, in sweeps over blocks of rows that may run in threads (``each``). Besides them only vectors
of n and m entries are held, and columns only of providers that are below their floors, some at a time. The exact way
out for floors that stay unmet is ``settle``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from footfall.acquire import kernels
from footfall.acquire._flow import raise_to_floors
from footfall.acquire._mend_rows import (
    fill_ask,
    fill_best,
    fill_give,
    raise_columns,
    raise_rows,
    shrink_rows,
    trim_rows,
)
from footfall.acquire._work import Work
from footfall.acquire.conflict import LimitNames, refuse_conflict
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

Each = Callable[[Callable[[int, int, int], Any]], list[Any]]
"""Runs ``f(k, first, last)`` on each block k of rows ``first:last``, possibly in threads; answers in order of k."""

MARGIN = {np.dtype(np.float32): 1e-7, np.dtype(np.float64): 1e-12}  # what rounding of a share may add to a load
_SWEEPS = 6  # of raising in proportion, before edges are taken one by one
_LITTLE = 1e-7  # of all visits: so much is sooner moved edge by edge
_CHUNK = 2_000_000  # edges whose columns are held at once


@dataclass(frozen=True, eq=False, slots=True)
class Mended:
    """What the mended shares come to: visits by provider (m,), unassigned visits by row (n,), floors still unmet (k,).

    Where ``short`` is not empty the shares are not a plan yet: see ``settle``.
    """

    load: Floats
    slack: Floats
    short: npt.NDArray[np.int64]


@nb.njit(cache=True, nogil=True)
def _columns(row_start, provider, wanted, starts, rows, edges):
    """Rows and edges of the providers k = wanted[j] >= 0, from starts[k] on, in order of rows."""
    place = starts[:-1].copy()
    for i in range(len(row_start) - 1):
        for e in range(row_start[i], row_start[i + 1]):
            k = wanted[provider[e]]
            if k >= 0:
                rows[place[k]] = i
                edges[place[k]] = e
                place[k] += 1


@nb.njit(cache=True, nogil=True)
def _widths(provider, first, last, width):
    """Add the number of edges of each provider to ``width`` (m,)."""
    for e in range(first, last):
        width[provider[e]] += 1


def mend(
    row_start: npt.NDArray[np.int64],
    provider: npt.NDArray[Any],
    value: npt.NDArray[Any],
    demand: Floats,
    capacity: Floats,
    floor: Floats,
    share: npt.NDArray[Any],
    price: Floats,
    *,
    reference: npt.NDArray[Any] | None = None,
    tau: Floats | None = None,
    each: Each | None = None,
    fill: bool = True,
    load: Floats | None = None,
) -> Mended:
    """Mend ``share`` in place into a plan within all limits, at little loss; problems with largest shares not included.

    row_start: int64 (n + 1,). provider: any integers (E,). value: float32 or float64 (E,). demand: (n,) visits.
    capacity, floor: (m,) visits. share: float32 or float64 (E,), nearly feasible. price: (m,), reward per visit. With
    ``reference`` (E,) and ``tau`` (n,) the loss counted is that of the programme with relative entropy, else of the
    plain one; edges with reference 0 must have share 0 and keep it. each: how blocks of rows are run, None for one.
    fill: whether step 3 is wanted. load: (m,),
    what the shares come to, where they are known to be at least 0 and rows at most 1 (but for rounding): saves a sweep.

    1. Rows above 1 are scaled to 1, then columns above capacity to it. 2. Floors in deficit: with entropy, first in
    proportion to the shares (near the optimum all edges of a row are worth the same at the margin), then, as in the
    plain programme, edge by edge where the loss max_k (v_ik - l_k) - (v_ij - l_j) is least: row slack first, then the
    row's least worthy visits of providers above their floors. 3. Row slack goes to spare capacity: the best valued
    (plain), or in proportion to the shares as far as that raises the regularised objective.

    Rows and capacities are kept within 1e-12 (float64 shares; 1e-6 for float32), floors too unless named in ``short``.
    """
    run: Each = each if each is not None else lambda work: [work(0, 0, len(demand))]
    rows = (row_start, provider)
    job = _Job(rows, value, demand, capacity, floor, share, run)
    job.clip(load)
    if (job.load < floor).any():
        if reference is not None:
            job.raise_in_proportion()
        job.raise_by_edge(price, reference)
    if fill and reference is None:
        fill_best(*rows, value, demand, capacity, share, job.load, job.slack, job.margin)
    elif fill and tau is not None and reference is not None:
        job.fill_in_proportion(reference, tau)
    job.count()
    wanting = floor - job.load > 10 * job.margin * floor
    return Mended(job.load, job.slack, np.flatnonzero(wanting))


class _Job:
    """Loads and row slack of shares while they are mended."""

    def __init__(
        self,
        rows: tuple[npt.NDArray[np.int64], npt.NDArray[Any]],
        value: npt.NDArray[Any],
        demand: Floats,
        capacity: Floats,
        floor: Floats,
        share: npt.NDArray[Any],
        each: Each,
    ) -> None:
        self.rows, self.value, self.demand, self.share = rows, value, demand, share
        self.capacity, self.floor, self.each = capacity, floor, each
        self.margin = MARGIN[share.dtype]
        self.load, self.slack = np.zeros(len(capacity)), np.zeros(len(demand))

    def _sweep(self, kernel: Any, *more: Any) -> None:
        """Run ``kernel(rows, demand, share, *more, first, last, load, slack)``; loads added in order of blocks."""
        loads: dict[int, Floats] = {}

        def block(k: int, first: int, last: int) -> None:
            loads[k] = np.zeros(len(self.load))
            kernel(*self.rows, self.demand, self.share, *more, first, last, loads[k], self.slack)

        self.each(block)
        self.load = np.zeros(len(self.load))
        for k in sorted(loads):
            self.load += loads[k]

    def clip(self, known: Floats | None) -> None:
        """Rows above 1, then columns above capacity, are scaled down."""
        if known is None:
            self._sweep(trim_rows)
        else:
            self.load = known
        over = self.load > self.capacity
        if over.any() or known is not None:
            factor = np.ones(len(self.load))
            factor[over] = self.capacity[over] / self.load[over] * (1 - self.margin)
            self._sweep(shrink_rows, factor)

    def count(self) -> None:
        """Loads and slack anew from the shares."""
        self._sweep(trim_rows)

    def raise_in_proportion(self) -> None:
        """Columns below their floors are scaled up, at the cost of slack and of columns above theirs."""
        before = np.inf
        for _ in range(_SWEEPS):
            lack = np.maximum(self.floor - self.load, 0.0)
            lack[lack <= self.margin * self.floor] = 0.0
            total = float(lack.sum())
            if total <= _LITTLE * float(self.demand.sum()) or total > 0.7 * before:
                return
            before = total
            sound = np.maximum(self.load, 1e-300)
            lift = np.where(self.load > 0, lack / sound, 0.0)
            give = np.maximum(self.load - self.floor, 0.0) / sound
            self._sweep(raise_rows, lift, give)

    def raise_by_edge(self, price: Floats, reference: npt.NDArray[Any] | None) -> None:
        """Columns below their floors take visits edge by edge, some columns at a time."""
        short = np.flatnonzero(self.load < self.floor * (1 - self.margin))
        if not len(short):
            return
        row_start, provider = self.rows
        m = len(self.load)
        width = np.zeros(m, dtype=np.int64)
        _widths(provider, 0, len(provider), width)
        best = np.full(len(self.demand), np.nan)
        chunk = max(_CHUNK, len(provider) // 8)
        ends = np.cumsum(width[short])
        kind = np.int32 if len(provider) < 2**31 else np.int64
        allowed = np.zeros(0, dtype=self.value.dtype) if reference is None else reference
        while len(short):
            taken = max(1, int(np.searchsorted(ends, chunk, side="right")))
            now, ends = short[:taken], ends[taken:] - ends[taken - 1]
            short = short[taken:]
            wanted = np.full(m, -1, dtype=np.int64)
            wanted[now] = np.arange(len(now))
            starts = np.concatenate([[0], np.cumsum(width[now])])
            at, edges = np.empty(int(starts[-1]), dtype=np.int32), np.empty(int(starts[-1]), dtype=kind)
            _columns(row_start, provider, wanted, starts, at, edges)
            raise_columns(
                row_start, provider, self.value, self.demand, self.floor, price, allowed, self.share, self.load,
                self.slack, best, now, starts, at, edges,
            )  # fmt: skip

    def fill_in_proportion(self, reference: npt.NDArray[Any], tau: Floats) -> None:
        """Row slack to columns below capacity, in proportion to shares and as far as it pays."""
        spare = np.maximum(self.capacity * (1 - self.margin) - self.load, 0.0)
        asks: dict[int, Floats] = {}
        data = (self.value, reference, tau, self.demand, self.share)

        def ask(k: int, first: int, last: int) -> None:
            asks[k] = np.zeros(len(spare))
            fill_ask(*self.rows, *data, spare, self.slack, first, last, asks[k])

        self.each(ask)
        asked = np.zeros(len(spare))
        for k in sorted(asks):
            asked += asks[k]
        if not asked.any():
            return
        part = np.where(asked > spare, spare / np.maximum(asked, 1e-300), 1.0)
        self.each(lambda _, a, b: fill_give(*self.rows, *data, spare, part, self.slack, a, b))


def settle(work: Work, share: npt.NDArray[Any], names: LimitNames) -> None:
    """Raise floors that ``mend`` left unmet, exactly, in place; InfeasibleError with a proof where that cannot be.

    work: no largest shares; its columns are not used. share: float32 or float64 (E,), rows and capacities held. A
    maximum flow (see ``_flow``) over all columns: about 28 bytes an edge more while it runs.
    """
    column = kernels.transpose(work.row_start, work.provider, work.m)
    per_edge = np.repeat(work.demand, np.diff(work.row_start))
    flow = share * per_edge
    load, used = np.zeros(work.m), np.zeros(work.n)
    kernels.load_rows(work.row_start, work.provider, work.demand, share, 0, work.n, load, used)
    slack = np.maximum(work.demand * (1 - used), 0.0)
    level, row_level = np.empty(work.m, dtype=np.int64), np.empty(work.n, dtype=np.int64)
    if not raise_to_floors(
        work.row_start, work.provider, column, work.demand, work.floor, np.zeros(0), flow, slack, load,
        level, row_level,
    ):  # fmt: skip
        refuse_conflict(work, load, level >= 0, row_level >= 0, names)
    np.divide(flow, per_edge, out=share, where=per_edge > 0, casting="same_kind")
