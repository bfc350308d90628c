"""Linear limits at scale: accelerated descent on the prices of providers and limits together.

As ``_descent``, with the limits' prices behind those of the providers: a pass over values less the limits' prices, and
a pass over the limits' entries. A limit's curvature is counted as a provider's is, sum of a^2 d / g (or d x / tau).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from footfall.acquire._coupled import CoupledSearch
from footfall.acquire._passes import DualPoint
from footfall.model import Floats

_LEVEL_STEPS = 400
_SHRINK = 0.4  # of the ridge, from level to level
_FIRST, _LEAST = 0.1, 1e-5  # the ridge, in parts of the mean best value
_REPAIR_WITHIN = 25.0  # a plan is tried once the dual gap is within this many times the target
_EVERY = 25  # passes after which a plan is tried anyway
_COUPLED = 2.0  # how much stiffer a limit's price is than its own curvature: it moves together with the others'

Look = Callable[[DualPoint, bool], bool]


class _Descent:
    """Prices under way, with momentum (Nesterov 1983), restarts and a metric that is doubled where it failed."""

    def __init__(self, search: CoupledSearch, start: Floats) -> None:
        self.search = search
        work, coupling = search.work, search.coupling
        self.high = np.concatenate([work.capacity, coupling.high])
        self.low = np.concatenate([work.floor, coupling.low])
        self.last, self.point, self.best, self.t, self.scale = start, start, start, 1.0, 1.0
        self.value = self.before = np.inf
        self.plain = False  # whether the last step was without momentum

    def restart(self) -> None:
        """Start from the best prices without momentum: the dual itself has changed."""
        self.last = self.point = self.best
        self.t, self.value, self.before, self.plain = 1.0, np.inf, np.inf, False

    def loads(self, at: DualPoint) -> Floats:
        """What providers and limits get at the point's shares, (m + k,)."""
        sums, _ = self.search.coupling.amounts(self.search.work, at.share)
        return np.concatenate([at.load, sums])

    def metric(self, at: DualPoint, rate: Floats, smooth: bool, least: Floats) -> Floats:
        """The diagonal by which steps are measured, (m + k,)."""
        steep = self.search.coupling.curvature(self.search.work, rate, at.share, smooth)
        metric: Floats = np.maximum(np.concatenate([at.steep, _COUPLED * steep]), least)
        return metric

    def missed(self, at: DualPoint, load: Floats, worth: float) -> float:
        """How far loads are from where the prices want them, in reward."""
        target: Floats = np.where(at.price > 0, self.high, np.where(at.price < 0, self.low, load))
        off = np.where(at.price != 0, np.abs(at.price) * np.abs(load - target), 0.0)
        return float(off.sum() + worth * (np.maximum(load - self.high, 0.0) + np.maximum(self.low - load, 0.0)).sum())

    def advance(self, at: DualPoint, load: Floats, metric: Floats) -> None:
        """One proximal step from ``at``; back to the best, with a stiffer metric, where the dual rose."""
        if at.value < self.value:
            self.value, self.best = at.value, at.price
        elif at.value > self.before + 1e-13 * abs(at.value) and self.t > 1.0:
            if self.plain:
                self.scale *= 2.0
            self.last = self.point = self.best
            self.t, self.before, self.plain = 1.0, np.inf, False
            return
        self.before = at.value
        D = self.scale * metric
        z = at.price + load / D
        high, low = z - self.high / D, z - self.low / D
        new = np.where(high > 0, high, np.where(low < 0, low, 0.0))
        if float((D * (at.price - new)) @ (new - self.last)) > 0:
            self.t = 1.0
        t = (1 + np.sqrt(1 + 4 * self.t * self.t)) / 2
        self.point = new + (self.t - 1) / t * (new - self.last)
        self.plain = self.t == 1.0
        self.t, self.last = t, new
        self.scale = max(1.0, 0.98 * self.scale)


def _least_metric(search: CoupledSearch, rate: Floats | float) -> Floats:
    """A floor under the metric: limits that nobody touches for now may not fly away. ``rate`` is 1/g, or 1/tau (m,)."""
    work, coupling = search.work, search.coupling
    capacity = np.where(np.isinf(work.capacity), 0.0, work.capacity)
    least = 1e-9 * float(work.demand.sum()) / max(work.m, 1)
    providers = np.maximum(np.maximum(0.2 * capacity, work.floor), max(least, 1e-300)) * rate
    span = 0.05 * np.maximum(coupling.most - coupling.least, 1e-300)
    return np.concatenate([0.2 * providers, span * float(np.mean(rate))])


def descend_plain(search: CoupledSearch, start: Floats, target: float, look: Look, worth: float, most: int) -> None:
    """The plain programme; ``worth``: a typical best value. ``look(point, try a plan?)`` says enough.

    At most ``most`` passes over the edges.
    """
    work = search.work
    move = _Descent(search, start)
    ridge, steps = _FIRST * worth, 0
    while steps < most and ridge >= _LEAST * worth:
        theta = 0.4 if ridge >= 0.01 * worth else 0.1
        move.restart()
        for number in range(_LEVEL_STEPS):
            at = search.ridge(search.allowed(move.point), ridge)
            load = move.loads(at)
            steps += 1
            close = at.plain - at.value < _REPAIR_WITHIN * target * abs(search.bound)
            done = number >= 5 and move.missed(at, load, worth) < theta * (at.plain - at.value)
            if look(at, close and (done or number % _EVERY == _EVERY - 1)):
                return
            if done:
                break
            move.advance(at, load, move.metric(at, work.demand / ridge, False, _least_metric(search, 1.0 / ridge)))
        ridge *= _SHRINK


def descend_entropic(search: CoupledSearch, start: Floats, target: float, look: Look, most: int) -> None:
    """The programme with relative entropy; as ``descend_plain``."""
    work = search.work
    rate = work.demand / np.maximum(work.tau, 1e-300)
    worth = float(work.demand @ work.tau) / max(float(work.demand.sum()), 1e-300)
    move = _Descent(search, start)
    for number in range(most):
        at = search.entropy(search.allowed(move.point))
        load = move.loads(at)
        close = move.missed(at, load, worth) < _REPAIR_WITHIN * target * max(abs(search.bound), 1e-9 * work.scale)
        if look(at, close and number % 5 == 0):
            return
        least = _least_metric(search, 1.0 / max(worth, 1e-300))
        move.advance(at, load, move.metric(at, rate, True, least))
