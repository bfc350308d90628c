"""Linear limits at scale and inertia > 0: accelerated descent on the prices of providers and limits together.

As ``_descent``, with the limits' prices lambda behind those of the providers. An edge moves its provider's price and
its limits' together, so the rows' curvature is at most the arrow-shaped matrix

    sum over edges of (d_i x_e / tau_i) b_e b_e',   b_e = (1 at its provider, a_ke at each limit),

diagonal in the m providers, dense only in the k limits' rows. A step is the exact
proximal step in that metric: for given lambda the providers' prices have a closed form, and lambda is found by cyclic
Newton steps on a piecewise quadratic (Tseng 2001), which cost O(m k). With a diagonal metric a budget over all edges,
which moves every price, took four times as many passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba as nb
import numpy as np

from footfall.acquire._coupled import CoupledSearch
from footfall.acquire._passes import DualPoint
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_REPAIR_WITHIN = 25.0  # a plan is tried once the dual gap is within this many times the target
_SWEEPS = 30  # over the limits in a proximal step
_LIFT = 0.2  # of a limit's bound, added to its curvature: its price moves by some five ridges a step at most

Look = Callable[[DualPoint, bool], bool]


@nb.njit(cache=True, nogil=True)
def _arrow(row_start, provider, demand, rate, share, first, limit, weight, total, cross, inner):
    """Sums a y into ``total`` (k,), and the metric's parts: providers by limits ``cross`` (m, k), ``inner`` (k, k)."""
    for i in range(len(demand)):
        for e in range(row_start[i], row_start[i + 1]):
            if share[e] <= 0.0 or first[e] == first[e + 1]:
                continue
            bend = rate[i] * share[e]
            for t in range(first[e], first[e + 1]):
                k = limit[t]
                total[k] += demand[i] * share[e] * weight[t]
                cross[provider[e], k] += bend * weight[t]
                for s in range(first[e], first[e + 1]):
                    inner[k, limit[s]] += bend * weight[t] * weight[s]


@nb.njit(cache=True, nogil=True)
def _kinked(z, high, low, stiff):
    """The minimum over p of stiff/2 (p - z)^2 + high max(p, 0) - low max(-p, 0)."""
    if z - high / stiff > 0.0:
        return z - high / stiff
    if z - low / stiff < 0.0:
        return z - low / stiff
    return 0.0


@nb.njit(cache=True, nogil=True)
def _proximal(point, load, diagonal, cross, inner, high, low, sweeps, new):
    """The least of -load.(p - point) + (p - point)' M (p - point) / 2 + worth of limits, by sweeps over the limits."""
    m, k = cross.shape
    move = np.zeros(k)
    new[:] = point
    for _sweep in range(sweeps):
        largest = 0.0
        for q in range(k):
            before = move[q]
            for _ in range(4):  # Newton in one price: the function is quadratic between few kinks
                slope, bend = -load[m + q], inner[q, q]
                for r in range(k):
                    slope += inner[q, r] * move[r]
                for j in range(m):
                    pull = load[j]
                    for r in range(k):
                        pull -= cross[j, r] * move[r]
                    p = _kinked(point[j] + pull / diagonal[j], high[j], low[j], diagonal[j])
                    slope += cross[j, q] * (p - point[j])
                    if p != 0.0:
                        bend -= cross[j, q] * cross[j, q] / diagonal[j]
                bend = max(bend, 1e-6 * inner[q, q], 1e-300)
                here = point[m + q] + move[q]
                there = _kinked(here - slope / bend, high[m + q], low[m + q], bend)
                move[q] = there - point[m + q]
                if abs(there - here) <= 1e-12 * (abs(there) + abs(here)):
                    break
            largest = max(largest, abs(move[q] - before) / (abs(point[m + q] + move[q]) + 1e-12))
        if largest <= 1e-9:
            break
    for j in range(m):
        pull = load[j]
        for r in range(k):
            pull -= cross[j, r] * move[r]
        new[j] = _kinked(point[j] + pull / diagonal[j], high[j], low[j], diagonal[j])
    for q in range(k):
        new[m + q] = point[m + q] + move[q]


@dataclass(frozen=True, eq=False, slots=True)
class _Metric:
    """The arrow: diagonal (m,), cross (m, k), inner (k, k)."""

    diagonal: Floats
    cross: Floats
    inner: Floats

    def times(self, x: Floats, scale: float) -> Floats:
        """The matrix, ``scale`` times, applied to x (m + k,)."""
        m = len(self.diagonal)
        top = self.diagonal * x[:m] + self.cross @ x[m:]
        return scale * np.concatenate([top, self.cross.T @ x[:m] + self.inner @ x[m:]])


class _Descent:
    """Prices under way, with momentum (Nesterov 1983), restarts and a metric that is doubled where it failed."""

    def __init__(self, search: CoupledSearch, start: Floats) -> None:
        self.search = search
        work, coupling = search.work, search.coupling
        self.high = np.concatenate([work.capacity, coupling.high])
        # a floor of 0 never pays: its price is held at 0 or more, which the limits' prices could else push below
        self.low = np.concatenate([np.where(work.floor > 0, work.floor, -np.inf), coupling.low])
        self.last, self.point, self.best, self.t, self.scale = start, start, start, 1.0, 1.0
        self.value = self.before = np.inf
        self.plain = False  # whether the last step was without momentum

    def measure(self, at: DualPoint, rate: Floats, least: Floats) -> tuple[Floats, _Metric]:
        """What providers and limits get at the point's shares, (m + k,), and the metric there."""
        work, coupling, entries = self.search.work, self.search.coupling, self.search.by_edge
        total, cross, inner = np.zeros(coupling.k), np.zeros((work.m, coupling.k)), np.zeros((coupling.k, coupling.k))
        _arrow(
            work.row_start, work.provider, work.demand, rate, at.share, entries.start, entries.limit, entries.weight,
            total, cross, inner,
        )  # fmt: skip
        inner[np.diag_indices(coupling.k)] += least[work.m :]
        return np.concatenate([at.load, total]), _Metric(np.maximum(at.steep, least[: work.m]), cross, inner)

    def missed(self, at: DualPoint, load: Floats, worth: float) -> float:
        """How far loads are from where the prices want them, in reward."""
        target: Floats = np.where(at.price > 0, self.high, np.where(at.price < 0, self.low, load))
        off = np.where(at.price != 0, np.abs(at.price) * np.abs(load - target), 0.0)
        return float(off.sum() + worth * (np.maximum(load - self.high, 0.0) + np.maximum(self.low - load, 0.0)).sum())

    def advance(self, at: DualPoint, load: Floats, metric: _Metric) -> None:
        """One proximal step from ``at``; back to the best, with a stiffer metric, where the dual rose."""
        if at.value < self.value:
            self.value, self.best = at.value, at.price
        elif self.plain and at.value > self.before + 1e-13 * abs(at.value):
            self.scale *= 2.0
            self.last = self.point = self.best
            self.t, self.before, self.plain = 1.0, np.inf, False
            return
        self.before = at.value
        new, s = np.empty(len(at.price)), self.scale
        _proximal(
            at.price, load, s * metric.diagonal, s * metric.cross, s * metric.inner, self.high, self.low, _SWEEPS, new
        )
        if float(metric.times(at.price - new, s) @ (new - self.last)) > 0:
            self.t = 1.0
        t = (1 + np.sqrt(1 + 4 * self.t * self.t)) / 2
        ahead = new + (self.t - 1) / t * (new - self.last)
        ahead = np.where(np.isinf(self.high), np.minimum(ahead, 0.0), ahead)
        self.point = np.where(np.isinf(self.low), np.maximum(ahead, 0.0), ahead)
        self.plain = self.t == 1.0
        self.t, self.last = t, new
        self.scale = max(1.0, 0.98 * self.scale)


def _least_metric(search: CoupledSearch, rate: float) -> Floats:
    """A floor under the metric, (m + k,): what gets nothing for now may not fly away, nor a limit's price run along
    with those of its providers, where rows do not hold it back.
    """
    work, coupling = search.work, search.coupling
    capacity = np.where(np.isinf(work.capacity), 0.0, work.capacity)
    least = max(1e-9 * float(work.demand.sum()) / max(work.m, 1), 1e-300)
    providers = 0.2 * np.maximum(np.maximum(0.2 * capacity, work.floor), least)
    bounds = np.where(np.isinf(coupling.low), 0.0, np.abs(coupling.low))
    bounds = np.maximum(bounds, np.where(np.isinf(coupling.high), 0.0, np.abs(coupling.high)))
    limits = _LIFT * np.maximum(np.maximum(bounds, 0.1 * (coupling.most - coupling.least)), least)
    return np.concatenate([providers, limits]) * rate


def descend_entropic(search: CoupledSearch, start: Floats, target: float, look: Look, most: int) -> None:
    """The programme with relative entropy. ``look(point, try a plan?)`` says enough; at most ``most`` passes."""
    work = search.work
    rate = work.demand / np.maximum(work.tau, 1e-300)
    worth = float(work.demand @ work.tau) / max(float(work.demand.sum()), 1e-300)
    least = _least_metric(search, 1.0 / max(worth, 1e-300))
    move = _Descent(search, start)
    for number in range(most):
        at = search.entropy(search.allowed(move.point))
        load, metric = move.measure(at, rate, least)
        close = move.missed(at, load, worth) < _REPAIR_WITHIN * target * max(abs(search.bound), 1e-9 * work.scale)
        if look(at, close and number % 5 == 0):
            return
        move.advance(at, load, metric)
