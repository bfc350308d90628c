"""The entropic programme at scale as its passes see it: arrays, threads over blocks of rows, sums in fixed order."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from footfall.acquire import _entropy_kernels as passes
from footfall.acquire import kernels
from footfall.acquire._blocks import Crew, cut_rows
from footfall.acquire._certificate import rounding
from footfall.acquire.problem import Problem
from footfall.model import Floats

_SIZES = (1e-25, 1e20)  # least tau and largest value that float32 passes can tell apart


class Dual(NamedTuple):
    """The dual at some prices: value, loads (m,), curvature by price (m,) or empty, and in a shift of all prices."""

    value: float
    load: Floats
    curve: Floats
    soft: float


class Market:
    """A problem at some inertia as the passes see it, with threads over blocks of rows; a context manager.

    tau: float64 (n,). scale: sum d (max|v| + tau). closed: bool (m,), no capacity. value is a copy only where silent
    rows count as 0.
    """

    def __init__(self, problem: Problem, inertia: float, threads: int | None = None) -> None:
        assert problem.reference is not None
        self.problem, self.n, self.m = problem, problem.segments, problem.providers
        self._crew = Crew(threads, problem.edges)
        cuts = cut_rows(problem.row_start, self._crew.count)
        self._count, self.each = len(cuts) - 1, self._crew.each(cuts)
        self.row_start = np.ascontiguousarray(problem.row_start).view(np.uint64)
        self.provider = np.ascontiguousarray(problem.provider).view(np.uint32)
        kind = np.result_type(problem.value, problem.reference)
        self.value = np.ascontiguousarray(problem.value, dtype=kind)
        self.reference = np.ascontiguousarray(problem.reference, dtype=kind)
        self.demand = np.ascontiguousarray(problem.demand)
        self.closed = problem.capacity <= 0
        self._shift = np.zeros(self.n, dtype=np.float32)
        self.tau = self._scales(inertia)
        self.traffic = float(self.demand.sum())
        self.scale = float(self.demand @ (self.tau + self._tops()))
        self.worth = float(self.demand @ self.tau) / self.traffic if self.traffic > 0 else 1.0

    def __enter__(self) -> Market:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._crew.__exit__(kind, error, at)

    def _scales(self, inertia: float) -> Floats:
        """tau by row; rows without a value signal get the others' mean and their values count as 0."""
        signal, mass = np.empty(self.n), np.empty(self.n)
        self.each(lambda _, a, b: passes.row_signals(self.row_start, self.value, self.reference, a, b, signal, mass))
        silent = ~(signal > 0)
        if silent.any():
            weight = float(self.demand[~silent].sum())
            usual = float(self.demand[~silent] @ signal[~silent]) / weight if weight > 0 else 1.0
            signal[silent] = usual
            self.value = self.value.copy()
            passes.silence(self.row_start, silent, self.value)
        signal *= inertia
        self._offset = float((self.demand * signal) @ (1.0 - mass))  # quick passes take the reference's sums as 1
        return signal

    def _tops(self) -> Floats:
        """Largest |value| of each row, (n,)."""
        tops, filled = np.zeros(self.n), np.flatnonzero(np.diff(self.problem.row_start) > 0)
        if len(filled):
            starts = self.problem.row_start[filled]
            most, least = (np.asarray(f.reduceat(self.value, starts)) for f in (np.maximum, np.minimum))
            tops[filled] = np.maximum(most, -least)
        return tops

    def rounding(self, price: Floats) -> float:
        """What a bound at these prices may be wrong by."""
        return rounding(self.scale, self.traffic, price, self.problem.capacity, self.problem.floor)

    def limits_worth(self, price: Floats) -> float:
        """h(l) = sum_j c_j max(l_j, 0) - f_j max(-l_j, 0)."""
        up = price > 0
        return float(self.problem.capacity[up] @ price[up]) + float(self.problem.floor @ np.minimum(price, 0.0))

    def allowed(self, price: Floats) -> Floats:
        """Prices with a finite bound; 0 where there is no capacity, which needs none."""
        return np.where(np.isinf(self.problem.capacity), np.minimum(price, 0.0), np.where(self.closed, 0.0, price))

    def _rows(self) -> tuple[Any, ...]:
        return (self.row_start, self.provider, self.value, self.reference, self.tau, self.demand)

    def quick(self, price: Floats, steep: bool) -> Dual:
        """The dual, nearly; its curvature only with ``steep``."""
        at = np.where(self.closed, np.inf, price).astype(np.float32)
        none = np.zeros(0)
        kernel: Any = passes.entropy_loads
        found = self._dual(
            price,
            steep,
            lambda a, b, sums: kernel(*self._rows(), at, self._shift, a, b, sums[0], sums[1] if steep else none),
        )
        return found._replace(value=found.value + self._offset)

    def exact(self, price: Floats, share: Floats) -> Dual:
        """The dual, an upper bound; shares into ``share``."""
        at = np.where(self.closed, np.inf, price)
        kernel: Any = passes.entropy_shares
        return self._dual(price, True, lambda a, b, sums: kernel(*self._rows(), at, a, b, share, sums[0], sums[1]))

    def _dual(self, price: Floats, steep: bool, run: Callable[[int, int, Floats], tuple[float, float]]) -> Dual:
        sums = np.zeros((self._count, 2, self.m))
        parts = self.each(lambda k, a, b: run(a, b, sums[k]))
        load, curve = sums.sum(axis=0)
        rows, soft = (float(sum(part[q] for part in parts)) for q in (0, 1))
        return Dual(rows + self.limits_worth(price), load, curve if steep else np.zeros(0), soft)

    def objective(self, share: Floats) -> tuple[float, float]:
        """What the programme maximises, and its reward part, of shares."""
        rows = (self.row_start, self.value, self.reference, self.tau, self.demand)
        parts = self.each(lambda _, a, b: passes.entropy_worth(*rows, share, a, b))
        reward, cost = (float(sum(part[q] for part in parts)) for q in (0, 1))
        return reward - cost, reward

    def plain_bound(self, price: Floats) -> float:
        """H(l) of the plain programme."""
        p, at = self.problem, np.where(self.closed, np.inf, price)
        parts = self.each(
            lambda _, a, b: kernels.bound_rows(self.row_start, self.provider, p.value, p.demand, at, a, b)
        )
        return float(sum(parts)) + self.limits_worth(price)

    def reward(self, share: Floats) -> float:
        """sum d x v, with the values of silent rows too."""
        p = self.problem
        return float(sum(self.each(lambda _, a, b: kernels.worth_rows(p.row_start, p.value, p.demand, share, a, b))))

    def moderate(self) -> bool:
        """Whether values and tau are of sizes that quick passes can hold."""
        largest = max(abs(float(self.value.max(initial=0))), abs(float(self.value.min(initial=0))))
        return largest < _SIZES[1] and float(self.tau.min(initial=1.0)) > _SIZES[0]
