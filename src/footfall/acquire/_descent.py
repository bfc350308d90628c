"""Many providers: accelerated descent on the dual in the m prices, one pass over the edges an iteration.

The rows' part of the dual is smooth (a ridge at inertia 0, the entropy else) with gradient -s, the loads; h(l) enters
by its proximal step in a diagonal metric D. Momentum is Nesterov's (1983) as in FISTA (Beck & Teboulle 2009), restarted
where it points uphill (O'Donoghue & Candes 2015). D is an estimate, so every step without momentum is checked for
descent and D doubled where it failed. The ridge is driven to zero level by level.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from footfall.acquire._passes import DualPoint, Passes
from footfall.acquire._work import Work
from footfall.model import Floats

Look = Callable[[DualPoint, bool], bool]

_LEVEL_STEPS = 600
_SHRINK = 0.4  # of the ridge, from level to level
_FIRST, _LEAST = 0.1, 1e-5  # the ridge, in parts of the mean best value
_REPAIR_WITHIN = 25.0  # a plan is tried once the dual gap is within this many times the target


class _Momentum:
    """Prices under way: the last iterate, the extrapolated point, and the multiplier of the metric."""

    def __init__(self, work: Work, price: Floats) -> None:
        self.work = work
        self.last, self.point, self.t = price, price, 1.0
        self.scale, self.best, self.value = 1.0, price, np.inf
        self.before, self.plain = np.inf, False  # the last value; whether the last step was without momentum

    def restart(self) -> None:
        """Start from the best prices without momentum: the dual itself has changed."""
        self.last = self.point = self.best
        self.t, self.value, self.before, self.plain = 1.0, np.inf, np.inf, False

    def advance(self, at: DualPoint, metric: Floats) -> None:
        """One proximal step from ``at``, the dual at ``point``; back to the best with a stiffer metric on failure."""
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
        z = at.price + at.load / D
        high, low = z - self.work.capacity / D, z - self.work.floor / D
        new = np.where(high > 0, high, np.where(low < 0, low, 0.0))
        if float((D * (at.price - new)) @ (new - self.last)) > 0:
            self.t = 1.0
        t = (1 + np.sqrt(1 + 4 * self.t * self.t)) / 2
        self.point = new + (self.t - 1) / t * (new - self.last)
        self.plain = self.t == 1.0
        self.t, self.last = t, new
        self.scale = max(1.0, 0.98 * self.scale)


def _missed(passes: Passes, at: DualPoint, worth: float) -> float:
    """How far loads are from where the prices want them, in reward."""
    work = passes.work
    target = np.where(at.price > 0, np.where(np.isinf(work.capacity), at.load, work.capacity), work.floor)
    off = np.where(at.price != 0, np.abs(at.price) * np.abs(at.load - target), 0.0)
    broken = np.maximum(at.load - work.capacity, 0.0) + np.maximum(work.floor - at.load, 0.0)
    return float(off.sum() + worth * broken.sum())


def _weights(passes: Passes, load: Floats) -> Floats:
    """Visits by which a provider's metric is measured: its load, but not much below its limits."""
    work = passes.work
    capacity = np.where(np.isinf(work.capacity), 0.0, work.capacity)
    least = 1e-9 * float(work.demand.sum()) / max(work.m, 1)
    return np.maximum(np.maximum(load, 0.2 * capacity), np.maximum(work.floor, max(least, 1e-300)))


def descend_plain(
    passes: Passes, start: Floats, target: float, look: Look, bound: Callable[[], float], most: int
) -> None:
    """The plain programme. ``look(point, try a plan?)`` says enough; ``bound`` is the best bound so far.

    At most ``most`` passes over the edges.
    """
    work = passes.work
    total = float(work.demand.sum())
    free = passes.bound(np.zeros(work.m)) - passes.limits_worth(np.zeros(work.m))
    worth = free / total if total > 0 and free > 0 else work.scale / max(total, 1e-300)
    if not worth > 0:
        return
    move = _Momentum(work, start)
    ridge, steps = _FIRST * worth, 0
    while steps < most and ridge >= _LEAST * worth:
        theta = 0.4 if ridge >= 0.01 * worth else 0.1
        move.restart()
        for number in range(_LEVEL_STEPS):
            at = passes.ridge(passes.allowed(move.point), ridge)
            steps += 1
            close = at.plain - at.value < _REPAIR_WITHIN * target * abs(bound())
            missed = _missed(passes, at, worth)
            done = number >= 5 and missed < theta * (at.plain - at.value)
            if look(at, close and (done or number % 25 == 24)):
                return
            if done:
                break
            move.advance(at, np.maximum(at.steep, 0.2 * _weights(passes, at.load) / ridge))
        ridge *= _SHRINK


def descend_entropic(
    passes: Passes, start: Floats, target: float, look: Look, bound: Callable[[], float], most: int
) -> None:
    """The programme with relative entropy; as ``descend_plain``."""
    work = passes.work
    share = np.asarray(work.reference, dtype=np.float64)
    width = np.diff(work.row_start)
    visits = np.repeat(work.demand, width) * share
    cold = np.bincount(work.provider, visits / np.repeat(np.maximum(work.tau, 1e-300), width), minlength=work.m)
    usual = np.bincount(work.provider, visits, minlength=work.m)
    rate = np.where(usual > 0, cold / np.maximum(usual, 1e-300), 1.0)
    worth = float(work.demand @ work.tau) / max(float(work.demand.sum()), 1e-300)
    move = _Momentum(work, start)
    for number in range(most):
        at = passes.entropy(passes.allowed(move.point), work.tau)
        missed = _missed(passes, at, worth)
        close = missed < _REPAIR_WITHIN * target * max(abs(bound()), 1e-9 * work.scale)
        if look(at, close and number % 5 == 0):
            return
        move.advance(at, np.maximum(at.steep, 0.2 * _weights(passes, at.load) * rate))
