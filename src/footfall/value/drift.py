"""Rates move: how much an older visit still says about the as-of day.

Two motions are told apart. A category's providers rise and fall together: the *trend*, a random walk with a slope,
fitted to the category's total. Beyond it each provider's log rate walks with variance q a day: its own *drift*.
Reading visits from the newest to the oldest, the linear filter of that walk (Kalman 1960; for counts Harvey &
Fernandes 1989, JBES 7, 407-417) gives a visit day of age a the weight

    W(a) = 2^(-a / half_life) prod over the ages s in 1..a of 1 / (1 + q B(s)),

B(s) being the weighted expected orders of age s and older. Any weights leave the relative variance

    sum W^2 e / (r (sum W e)^2)  +  q sum over k >= 1 of (share of W e on ages >= k)^2,

sampling (with Kish's design effect) and what the walk has moved since; the posterior uses their sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from footfall.model import Floats, Ints
from footfall.value.sums import sum_by
from footfall.value.table import Table
from footfall.value.trend import Trends, fit_trends

_WORKING_SHAPE = 4.0  # gamma shape between providers at the working spread of 0.5
_DAILY_SD = np.array([0.0, 0.005, 0.01, 0.02, 0.04, 0.08])
_DAILY_SD_PRIOR = np.array([0.30, 0.25, 0.20, 0.15, 0.08, 0.02])
_LARGEST_PROVIDERS = 300  # of a category, that its drift is measured on


@dataclass(frozen=True, slots=True)
class Motion:
    """How rates move and what that does to weights.

    drift_variance: float64 (C,), daily variance of a provider's own log rate.
    trends: the categories' common motion. rate: float64 (J,), working rates as of age 0.
    weight: float64 (J, A + 1); variance: float64 (J,), relative variance of the weighted rate from own drift.
    """

    drift_variance: Floats
    trends: Trends
    rate: Floats
    weight: Floats
    variance: Floats

    @property
    def trend(self) -> Floats:
        """A category's common rate at each age over that at age 0, (C, A + 1)."""
        return self.trends.factor


def follow(table: Table, half_life_days: float) -> Motion:
    """Measure trend and drift, and weight visit days accordingly."""
    category, n_categories = table.counts.provider_category, table.counts.n_categories
    rate, _ = _working_rates(table.orders, table.mature, category, n_categories)
    trends = fit_trends(table.orders, table.mature * rate[:, None], category, n_categories)
    exposed = table.mature * trends.factor[category]
    rate, level = _working_rates(table.orders, exposed, category, n_categories)
    q = _drift_variance(table.orders, exposed, level, category, n_categories)
    weight, variance = drift_weights(exposed, rate, q[category], half_life_days)
    return Motion(q, trends, rate, weight, variance)


def _working_rates(orders: Floats, exposed: Floats, category: Ints, n_categories: int) -> tuple[Floats, Floats]:
    """Orders per exposure of providers (J,), shrunk to their category's at the working spread; and those (C,)."""
    count, exposure = orders.sum(axis=1), exposed.sum(axis=1)
    pool = (count.sum() + 0.5) / (exposure.sum() + 10.0)
    top, bottom = sum_by(category, count, n_categories), sum_by(category, exposure, n_categories)
    level = (top + 1.0) / (bottom + 1.0 / pool)
    return (count + _WORKING_SHAPE) / (exposure + _WORKING_SHAPE / level[category]), level


def _drift_variance(orders: Floats, exposed: Floats, level: Floats, category: Ints, n_categories: int) -> Floats:
    """Daily variance of own drift by category, (C,): posterior mean on a grid, each category leaning on all."""
    total = orders.sum(axis=1)
    rank = np.lexsort((-total, category))
    position = np.empty_like(rank)
    first = np.searchsorted(category[rank], np.arange(n_categories))
    position[rank] = np.arange(rank.shape[0]) - first[category[rank]]
    used = np.flatnonzero((position < _LARGEST_PROVIDERS) & (total > 0.0))
    own = _walk_likelihood(orders[used], exposed[used], level[category[used]], _DAILY_SD**2)
    by_category = np.zeros((n_categories, _DAILY_SD.shape[0]))
    np.add.at(by_category, category[used], own)
    pool = _normalised(by_category.sum(axis=0) + np.log(_DAILY_SD_PRIOR))
    # Half of the prior is the pool's verdict, half what is thought before any log was read.
    prior = np.log(0.5 * pool + 0.5 * _DAILY_SD_PRIOR)
    variance: Floats = _normalised(by_category + prior) @ _DAILY_SD**2
    return variance


def _normalised(log_weight: Floats) -> Floats:
    weight = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
    normalised: Floats = weight / weight.sum(axis=-1, keepdims=True)
    return normalised


@numba.njit(cache=True)
def _walk_likelihood(orders: Floats, exposed: Floats, level: Floats, q: Floats) -> Floats:
    """Log likelihood (n, grid) of orders by age under a walking gamma-Poisson rate, one day ahead at a time.

    The gamma (shape, rate) keeps its mean overnight while 1 / shape grows by q (Harvey & Fernandes 1989).
    """
    n, ages = orders.shape
    out = np.zeros((n, q.shape[0]))
    for j in range(n):
        for g in range(q.shape[0]):
            a = 4.0
            b = a / level[j]
            for t in range(ages - 1, -1, -1):
                forget = 1.0 / (1.0 + q[g] * a)
                a *= forget
                b *= forget
                e, y = exposed[j, t], orders[j, t]
                if e <= 0.0:
                    continue
                out[j, g] += math.lgamma(a + y) - math.lgamma(a) + a * math.log(b / (b + e)) - y * math.log(b + e)
                a += y
                b += e
    return out


@numba.njit(cache=True)
def drift_weights(exposed: Floats, rate: Floats, q: Floats, half_life_days: float) -> tuple[Floats, Floats]:
    """Weights of every provider's visit days and the relative variance that its drift leaves.

    exposed: float64 (J, A + 1), visits x F(age) x trend by age; rate: float64 (J,), orders per exposure;
    q: float64 (J,), daily variance of the log rate. Returns weights (J, A + 1) and variance (J,).
    """
    providers, ages = exposed.shape
    weight = np.empty((providers, ages))
    variance = np.zeros(providers)
    base = 0.5 ** (1.0 / half_life_days)
    behind = np.empty(ages)
    for j in range(providers):
        b = 0.0
        for a in range(ages - 1, -1, -1):
            b = b * base / (1.0 + q[j] * b) + rate[j] * exposed[j, a]
            behind[a] = b
        w = 1.0
        total = 0.0
        for a in range(ages):
            if a > 0:
                w *= base / (1.0 + q[j] * behind[a])
            weight[j, a] = w
            total += w * exposed[j, a]
        if total <= 0.0:
            continue
        left = total
        for a in range(ages - 1):
            left -= weight[j, a] * exposed[j, a]
            variance[j] += q[j] * (max(left, 0.0) / total) ** 2
    return weight, variance
