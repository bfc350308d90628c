"""Rates move: how much an older visit still says about the as-of day.

A provider's log rate walks with variance q a day. Reading its visits from the newest to the oldest, the linear
filter of that walk (Kalman 1960; for counts Harvey & Fernandes 1989, JBES 7, 407-417) gives a visit day of age a
the weight

    W(a) = 2^(-a / half_life) prod over the days s between 0 and a of 1 / (1 + q B(s)),

B(s) being the expected orders that stand behind day s and all before it. Any weights have the relative variance

    sum W^2 e / (r (sum W e)^2)  +  q sum over k >= 1 of (share of W e on ages >= k)^2

(sampling, by Kish's design effect; and what the walk has moved since), which is what the posterior uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from footfall.model import Floats, Ints
from footfall.value.table import Table


@numba.njit(cache=True)
def drift_weights(exposure: Floats, rate: Floats, q: Floats, half_life_days: float) -> tuple[Floats, Floats]:
    """Weights of every provider's visit days and the relative variance that its drift leaves.

    exposure: float64 (J, A + 1), expected-share-of-orders exposure by age; rate: float64 (J,), orders per unit of
    exposure; q: float64 (J,), daily variance of the log rate. Returns weights (J, A + 1) and variance (J,).
    """
    providers, ages = exposure.shape
    weight = np.empty((providers, ages))
    variance = np.zeros(providers)
    base = 0.5 ** (1.0 / half_life_days)
    behind = np.empty(ages)
    for j in range(providers):
        b = 0.0
        for a in range(ages - 1, -1, -1):
            b = b * base / (1.0 + q[j] * b) + rate[j] * exposure[j, a]
            behind[a] = b
        w = 1.0
        total = 0.0
        for a in range(ages):
            if a > 0:
                w *= base / (1.0 + q[j] * behind[a])
            weight[j, a] = w
            total += w * exposure[j, a]
        left = total
        if total > 0.0:
            for a in range(ages - 1):
                left -= weight[j, a] * exposure[j, a]
                variance[j] += q[j] * (max(left, 0.0) / total) ** 2
        else:
            variance[j] = 0.0
    return weight, variance


@dataclass(frozen=True, slots=True)
class Motion:
    """How rates move and what that does to weights.

    drift_variance: float64 (C,), daily variance of a provider's own log rate.
    trend: float64 (C, A + 1), a category's common rate at each age over that at age 0.
    trend_covariance: float64 (C, A + 1, A + 1) or smaller grid, of log trend.
    rate: float64 (J,), working rates; weight: float64 (J, A + 1); variance: float64 (J,), from own drift.
    """

    drift_variance: Floats
    trend: Floats
    rate: Floats
    weight: Floats
    variance: Floats

    def trend_variance(self, category: Ints, mix: Floats) -> Floats:
        """Variance of the log trend through mixes of ages (J, A + 1), each summing to 1."""
        return np.zeros(category.shape[0])


def follow(table: Table, half_life_days: float) -> Motion:
    """Measure drift and trend, and weight visit days accordingly."""
    c = table.counts.provider_category
    C = table.counts.n_categories
    E, O = table.mature.sum(1), table.orders.sum(1)
    m = (O.sum() + 0.5) / (E.sum() + 10)
    mc = (np.bincount(c, O, C) + 1) / (np.bincount(c, E, C) + 1 / m)
    rate = (O + 4) / (E + 4 / mc[c])
    q = np.zeros(C)
    trend = np.ones((C, table.memory_days + 1))
    w, v = drift_weights(table.mature, rate, q[c], half_life_days)
    return Motion(q, trend, rate, w, v)
