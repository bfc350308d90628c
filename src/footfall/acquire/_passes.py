"""Passes over all rows, cut into blocks of like size that run in threads; sums in fixed order, so deterministic."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from footfall.acquire import _capped, kernels
from footfall.acquire._certificate import rounding, sure_rounding
from footfall.acquire._work import Work
from footfall.model import Floats

_WORTH_A_THREAD = 50_000  # edges


@dataclass(frozen=True, eq=False, slots=True)
class DualPoint:
    """A dual at some prices: value, plain dual H(l) where known (else inf), loads (m,), shares (E,).

    steep: (m,), a diagonal above the Hessian of the rows' part here.
    """

    price: Floats
    value: float
    plain: float
    load: Floats
    steep: Floats
    share: Floats


class Passes:
    """The kernels of ``kernels`` over the whole of a ``Work``; a context manager that owns its threads."""

    def __init__(self, work: Work, threads: int | None = None) -> None:
        edges = len(work.value)
        available = threads if threads is not None else min(os.cpu_count() or 1, max(1, edges // _WORTH_A_THREAD))
        count = max(1, min(available, work.n))
        cuts = np.searchsorted(work.row_start, np.linspace(0, edges, count + 1)[1:-1])
        self.work = work
        self._cuts = [0, *(int(c) for c in cuts), work.n]
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def __enter__(self) -> Passes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _each(self, run: Callable[[int, int, int], Any]) -> list[Any]:
        spans = [(k, a, b) for k, (a, b) in enumerate(zip(self._cuts[:-1], self._cuts[1:], strict=True))]
        if self._pool is None:
            return [run(*span) for span in spans]
        return list(self._pool.map(lambda span: run(*span), spans))

    def limits_worth(self, price: Floats) -> float:
        """h(l) = sum_j c_j max(l_j, 0) - f_j max(-l_j, 0)."""
        up = price > 0
        return float(self.work.capacity[up] @ price[up]) + float(self.work.floor @ np.minimum(price, 0.0))

    def rounding(self, price: Floats, shift: float = 0.0) -> float:
        """What a bound at these prices may be wrong by; ``shift``: the most that further prices put on an edge."""
        w = self.work
        return rounding(w.scale, float(w.demand.sum()), price, w.capacity, w.floor, shift)

    def rounding_by_rows(self, price: Floats) -> float:
        """What ``bound`` may be wrong by at most, from each row's own prices; one pass over the edges."""
        w = self.work
        rows = (w.row_start, w.provider, w.value, w.demand)
        size = float(sum(self._each(lambda k, a, b: kernels.size_rows(*rows, price, a, b))))
        side, held = np.where(price > 0, w.capacity, w.floor), price != 0
        size += float(np.abs(price[held]) @ side[held])
        return sure_rounding(size, w.n + w.m + int(np.diff(w.row_start).max(initial=0)))

    def allowed(self, price: Floats) -> Floats:
        """Prices with a finite bound: none above 0 where there is no capacity."""
        return np.where(np.isinf(self.work.capacity), np.minimum(price, 0.0), price)

    def bound(self, price: Floats) -> float:
        """H(l), at least the optimum of the plain programme."""
        w = self.work
        rows = (w.row_start, w.provider, w.value)
        if w.upper is None:
            parts = self._each(lambda k, a, b: kernels.bound_rows(*rows, w.demand, price, a, b))
        else:
            parts = self._each(lambda k, a, b: _capped.bound_rows(*rows, w.upper, w.demand, price, a, b))
        return float(sum(parts)) + self.limits_worth(price)

    def ridge(self, price: Floats, ridge: float) -> DualPoint:
        """The dual with a ridge of that size."""
        w = self.work
        share, sums = np.empty(len(w.value)), np.zeros((2, len(self._cuts) - 1, w.m))
        kernel: Any = kernels.ridge_rows if w.upper is None else _capped.ridge_rows
        rows = (w.row_start, w.provider, w.value, *(() if w.upper is None else (w.upper,)))
        parts = self._each(lambda k, a, b: kernel(*rows, w.demand, price, ridge, a, b, share, sums[0, k], sums[1, k]))
        worth = self.limits_worth(price)
        smooth, plain = (float(sum(part[q] for part in parts)) + worth for q in (0, 1))
        load, steep = sums.sum(axis=1)
        return DualPoint(price, smooth, plain, load, steep, share)

    def entropy(self, price: Floats, tau: Floats) -> DualPoint:
        """The dual of the entropic programme with tau (n,)."""
        w = self.work
        share, sums = np.empty(len(w.value)), np.zeros((2, len(self._cuts) - 1, w.m))
        kernel: Any = kernels.entropy_rows if w.upper is None else _capped.entropy_rows
        rows = (w.row_start, w.provider, w.value, w.reference, *(() if w.upper is None else (w.upper,)))
        parts = self._each(
            lambda k, a, b: kernel(*rows, tau, w.mass, w.demand, price, a, b, share, sums[0, k], sums[1, k])
        )
        load, steep = sums.sum(axis=1)
        return DualPoint(price, float(sum(parts)) + self.limits_worth(price), np.inf, load, steep, share)

    def used(self, share: Floats) -> Floats:
        """Row sums of shares, (n,)."""
        w, used = self.work, np.zeros(self.work.n)
        self._each(
            lambda k, a, b: kernels.load_rows(w.row_start, w.provider, w.demand, share, a, b, np.zeros(w.m), used)
        )
        return used

    def objective(self, share: Floats) -> float:
        """What the programme maximises: sum d x v, less the entropic term where there is a reference."""
        w = self.work
        worth = sum(self._each(lambda k, a, b: kernels.worth_rows(w.row_start, w.value, w.demand, share, a, b)))
        if w.reference is None:
            return float(worth)
        cost = self._each(
            lambda k, a, b: kernels.divergence_rows(w.row_start, w.reference, w.tau, w.demand, share, a, b)
        )
        return float(worth) - float(sum(cost)) - w.left_out
