"""Linear limits as the solvers see them: entries over a work's edges, in parts of each limit's largest coefficient.

A limit low <= sum a_e y_e <= high (y visits) has a signed price, as a provider has: positive, its high binds; negative,
its low does. Edges then are worth v_e - l_j - sum_k lambda_k a_ke, and the limits add high max(lambda, 0) -
low max(-lambda, 0) to the dual, which bounds the optimum for any prices (weak duality).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from footfall.acquire._certificate import ROUNDING
from footfall.acquire._work import Work
from footfall.acquire.problem import Problem
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

Ints = npt.NDArray[np.int64]


@nb.njit(cache=True, nogil=True)
def _shift(start, edge, weight, price, out):
    """Take sum_k price_k a_ke off each edge of ``out`` (E,)."""
    for k in range(len(price)):
        if price[k] != 0.0:
            for t in range(start[k], start[k + 1]):
                out[edge[t]] -= price[k] * weight[t]


@nb.njit(cache=True, nogil=True)
def _amounts(row_start, demand, share, start, edge, weight, total, gross):
    """Sums of a d x and |a| d x by limit; entries rise by edge within a limit."""
    for k in range(len(total)):
        i, net, sum_abs = 0, 0.0, 0.0
        for t in range(start[k], start[k + 1]):
            e = edge[t]
            while row_start[i + 1] <= e:
                i += 1
            visits = demand[i] * share[e]
            net += weight[t] * visits
            sum_abs += abs(weight[t]) * visits
        total[k], gross[k] = net, sum_abs


@nb.njit(cache=True, nogil=True)
def _reach(row_start, demand, start, edge, weight, least, most):
    """Bounds of each limit's sum for any plan: every row wholly on its least, or its largest, coefficient (or none)."""
    for k in range(len(least)):
        i, low, high = 0, 0.0, 0.0
        for t in range(start[k], start[k + 1]):
            e = edge[t]
            if row_start[i + 1] <= e:
                least[k] += demand[i] * low
                most[k] += demand[i] * high
                low, high = 0.0, 0.0
                while row_start[i + 1] <= e:
                    i += 1
            low, high = min(low, weight[t]), max(high, weight[t])
        if start[k + 1] > start[k]:
            least[k] += demand[i] * low
            most[k] += demand[i] * high


@nb.njit(cache=True, nogil=True)
def _by_edge(start, edge, weight, first, limit, coefficient):
    """The entries in order of the edges; ``first`` (E + 1,) is filled with where each edge's begin."""
    for t in range(len(edge)):
        first[edge[t] + 1] += 1
    for e in range(len(first) - 1):
        first[e + 1] += first[e]
    place = first[:-1].copy()
    for k in range(len(start) - 1):
        for t in range(start[k], start[k + 1]):
            at = place[edge[t]]
            limit[at], coefficient[at] = k, weight[t]
            place[edge[t]] = at + 1


@dataclass(frozen=True, eq=False, slots=True)
class ByEdge:
    """A coupling's entries by edge: those of edge e are ``start[e]:start[e + 1]``."""

    start: Ints
    limit: npt.NDArray[np.int32]
    weight: Floats


@dataclass(frozen=True, eq=False, slots=True)
class Coupling:
    """k linear limits over E edges; those of limit k stand at ``start[k]:start[k + 1]``, in rising order.

    unit: (k,), each limit's largest |coefficient|; weights, low and high are in parts of it. least, most: (k,), what
    the sums can be at all. names: (k,).
    """

    start: Ints
    edge: Ints
    weight: Floats
    unit: Floats
    low: Floats
    high: Floats
    least: Floats
    most: Floats
    names: tuple[str, ...]

    @property
    def k(self) -> int:
        """Number of limits."""
        return len(self.unit)

    def shifted(self, value: npt.NDArray[np.floating], price: Floats, out: Floats) -> Floats:
        """Values less the limits' prices (k,) on each edge, float64 (E,), into ``out``."""
        out[:] = value
        _shift(self.start, self.edge, self.weight, price, out)
        return out

    def amounts(self, work: Work, share: Floats) -> tuple[Floats, Floats]:
        """Sums of a y and of |a| y for shares (E,), each (k,)."""
        total, gross = np.zeros(self.k), np.zeros(self.k)
        _amounts(work.row_start, work.demand, share, self.start, self.edge, self.weight, total, gross)
        return total, gross

    def worth(self, price: Floats) -> float:
        """What the limits add to the dual; infinite where a price leans on a bound that is not there."""
        up, down = price > 0, price < 0
        return float(self.high[up] @ price[up]) + float(self.low[down] @ price[down])

    def rounding(self, price: Floats) -> float:
        """What ``worth`` may be wrong by."""
        size = np.abs(price)
        side = np.abs(np.where(price > 0, self.high, self.low))
        return ROUNDING * float(size[size > 0] @ side[size > 0])

    def allowed(self, price: Floats) -> Floats:
        """The prices with a finite worth that are nearest."""
        price = np.where(np.isinf(self.high), np.minimum(price, 0.0), price)
        return np.where(np.isinf(self.low), np.maximum(price, 0.0), price)

    def scale(self, gross: Floats) -> Floats:
        """What a breach is measured against: the larger bound, or what the plan puts in, whichever is more."""
        bounds = np.maximum(
            np.where(np.isinf(self.low), 0.0, np.abs(self.low)), np.where(np.isinf(self.high), 0.0, np.abs(self.high))
        )
        return np.maximum(np.maximum(bounds, gross), 1e-300)

    def breach(self, total: Floats) -> Floats:
        """By how much sums (k,) break the limits, >= 0."""
        return np.maximum(np.maximum(total - self.high, self.low - total), 0.0)

    def by_edge(self, edges: int) -> ByEdge:
        """The entries by edge; about 8 bytes an edge and 12 an entry."""
        first = np.zeros(edges + 1, dtype=np.int64)
        limit, weight = np.empty(len(self.edge), dtype=np.int32), np.empty(len(self.edge))
        _by_edge(self.start, self.edge, self.weight, first, limit, weight)
        return ByEdge(first, limit, weight)

    def part(self, number: Ints, row_start: Ints, demand: Floats) -> Coupling:
        """The same limits over other rows: ``number`` (E,) gives each edge's new number, -1 where it is gone."""
        entries = []
        for k in range(self.k):
            edge, weight = self.edge[self.start[k] : self.start[k + 1]], self.weight[self.start[k] : self.start[k + 1]]
            new = number[edge]
            entries.append((new[new >= 0], weight[new >= 0]))
        return _coupling(entries, self.unit, self.low, self.high, self.names, row_start, demand)


def _coupling(
    entries: list[tuple[Ints, Floats]],
    unit: Floats,
    low: Floats,
    high: Floats,
    names: tuple[str, ...],
    row_start: Ints,
    demand: Floats,
) -> Coupling:
    start = np.concatenate([[0], np.cumsum([len(edge) for edge, _ in entries])]).astype(np.int64)
    edge = np.concatenate([edge for edge, _ in entries] or [np.zeros(0, dtype=np.int64)])
    weight = np.concatenate([weight for _, weight in entries] or [np.zeros(0)])
    least, most = np.zeros(len(unit)), np.zeros(len(unit))
    _reach(row_start, demand, start, edge, weight, least, most)
    return Coupling(start, edge, weight, unit, low, high, least, most, names)


def couple(problem: Problem, work: Work) -> Coupling:
    """The problem's linear limits over the work's edges; entries of edges that carry nothing are left out."""
    number = None
    if work.kept is not None:
        number = np.full(problem.edges, -1, dtype=np.int64)
        number[work.kept] = np.arange(len(work.kept))
    entries, unit = [], np.ones(len(problem.limits))
    for k, limit in enumerate(problem.limits):
        edge, weight = limit.edge, limit.coefficient
        unit[k] = float(np.abs(weight).max(initial=0.0)) or 1.0
        if number is not None:
            edge = number[edge]
            edge, weight = edge[edge >= 0], weight[edge >= 0]
        if (edge[1:] < edge[:-1]).any():
            order = np.argsort(edge, kind="stable")
            edge, weight = edge[order], weight[order]
        entries.append((edge, weight / unit[k]))
    low = np.array([limit.low for limit in problem.limits], dtype=np.float64) / unit
    high = np.array([limit.high for limit in problem.limits], dtype=np.float64) / unit
    names = tuple(limit.name for limit in problem.limits)
    return _coupling(entries, unit, low, high, names, work.row_start, work.demand)
