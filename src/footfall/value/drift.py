"""Rates move: how much an older visit still says about the as-of day.

Three motions are told apart. A category's providers rise and fall together: the *trend*, a random walk with a slope,
fitted to the category's total. Beyond it each provider's log rate walks with variance q a day: its own *drift*. And
single days stand out without consequence (weekdays, weather): *noise* of relative variance d, which must not pass
for drift, or estimates would chase Mondays. Reading visits from the newest to the oldest, the linear filter of that
walk (Kalman 1960; for counts Harvey & Fernandes 1989, JBES 7, 407-417) gives a visit day of age a the weight

    W(a) = 2^(-a / half_life) / (1 + d r e(a)) prod over the ages s in 1..a of 1 / (1 + q B(s)),

e(a) being the exposure of that age, r the rate, B(s) the weighted expected orders of age s and older. Any weights
leave the relative variance

    sum W^2 e (1 + d r e) / (r (sum W e)^2)  +  q sum over k >= 1 of (share of W e on ages >= k)^2,

sampling (with Kish's design effect) and what the walk has moved since; the posterior uses their sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from footfall.model import Floats, Ints
from footfall.value.cells import Cells
from footfall.value.sums import sum_by
from footfall.value.table import Table
from footfall.value.trend import Trends, fit_trends

_WORKING_SHAPE = 4.0  # gamma shape between providers at the working spread of 0.5
_DAILY_SD = np.array([0.0, 0.005, 0.01, 0.02, 0.04, 0.08])
_DAILY_SD_PRIOR = np.array([0.30, 0.25, 0.20, 0.15, 0.08, 0.02])
_DAY_NOISE = np.array([0.0, 0.01, 0.04, 0.16])
_DAY_NOISE_PRIOR = np.array([0.70, 0.15, 0.10, 0.05])
_LEAST_LEFT = 0.5
_MEASURED_PROVIDERS = 3000  # drift is measured on so many, the largest of each category


@dataclass(frozen=True, slots=True)
class Motion:
    """How rates move and what that does to weights.

    drift_variance: float64 (C,), daily variance of a provider's own log rate. noise: float64 (J,), relative
        variance of single days, of the provider's category.
    trends: the categories' common motion. rate: float64 (J,), working rates as of age 0.
    exposed: float64 (N,), mature visits of the table's cells along the trend. weight: float64 (N,), of those cells.
    variance: float64 (J,), relative variance of the weighted rate from own drift.
    """

    drift_variance: Floats
    noise: Floats
    trends: Trends
    rate: Floats
    exposed: Floats
    weight: Floats
    variance: Floats

    @property
    def trend(self) -> Floats:
        """A category's common rate at each age over that at age 0, (C, A + 1)."""
        return self.trends.factor


def follow(table: Table, half_life_days: float) -> Motion:
    """Measure trend and drift, and weight visit days accordingly."""
    category, n_categories = table.counts.provider_category, table.counts.n_categories
    cells, of_cell = table.cells, table.cell_category
    count = cells.by_key(table.orders)
    rate = _working_rates(count, cells.by_key(table.mature), category, n_categories)
    trends = fit_trends(table.orders, table.mature * rate[cells.key], of_cell, cells.age, n_categories, cells.ages)
    exposed = table.mature * trends.factor[of_cell, cells.age]
    rate = _working_rates(count, cells.by_key(exposed), category, n_categories)
    q, noise = _drift_and_noise(cells, table.orders, exposed, rate, category, n_categories)
    weight, variance = _weights(
        cells.start, cells.age, cells.ages, exposed, rate, q[category], noise[category], half_life_days
    )
    return Motion(q, noise[category], trends, rate, exposed, weight, variance)


def _working_rates(count: Floats, exposure: Floats, category: Ints, n_categories: int) -> Floats:
    """Orders per exposure of providers (J,), shrunk to their category's at the working spread."""
    pool = (count.sum() + 0.5) / (exposure.sum() + 10.0)
    top, bottom = sum_by(category, count, n_categories), sum_by(category, exposure, n_categories)
    level = (top + 1.0) / (bottom + 1.0 / pool)
    rate: Floats = (count + _WORKING_SHAPE) / (exposure + _WORKING_SHAPE / level[category])
    return rate


def _drift_and_noise(
    cells: Cells, orders: Floats, exposed: Floats, rate: Floats, category: Ints, n_categories: int
) -> tuple[Floats, Floats]:
    """Daily variance of own drift and variance of single days by category, (C,) each: posterior means on a grid."""
    total = cells.by_key(orders)
    rank = np.lexsort((-total, category))
    position = np.empty_like(rank)
    first = np.searchsorted(category[rank], np.arange(n_categories))
    position[rank] = np.arange(rank.shape[0]) - first[category[rank]]
    each = max(_MEASURED_PROVIDERS // n_categories, 3)
    used = np.flatnonzero((position < each) & (total > 0.0))
    q, noise = (x.ravel() for x in np.meshgrid(_DAILY_SD**2, _DAY_NOISE, indexing="ij"))
    own = _walk_likelihood(used, cells.start, cells.age, cells.ages, orders, exposed, rate, q, noise)
    by_category = np.zeros((n_categories, q.shape[0]))
    np.add.at(by_category, category[used], own)
    before = np.outer(_DAILY_SD_PRIOR, _DAY_NOISE_PRIOR).ravel()
    pool = _normalised(by_category.sum(axis=0) + np.log(before))
    # Half of the prior is the pool's verdict, half what is thought before any log was read.
    posterior = _normalised(by_category + np.log(0.5 * pool + 0.5 * before))
    # The trend was fitted to the same orders and took with it the part of own drift that large providers have in the
    # total: of variance q, q (1 - sum of squared shares) is left to be measured.
    whole = np.maximum(sum_by(category, total, n_categories), 1e-9)
    squares = sum_by(category, (total / whole[category]) ** 2, n_categories)
    return posterior @ q / np.maximum(1.0 - squares, _LEAST_LEFT), posterior @ noise


def _normalised(log_weight: Floats) -> Floats:
    weight = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
    normalised: Floats = weight / weight.sum(axis=-1, keepdims=True)
    return normalised


@numba.njit(cache=True)
def _walk_likelihood(
    used: Ints,
    start: Ints,
    age: Ints,
    ages: int,
    orders: Floats,
    exposed: Floats,
    rate: Floats,
    q: Floats,
    noise: Floats,
) -> Floats:
    """Log likelihood (n, grid) of orders by age under a walking gamma-Poisson rate, one day ahead at a time.

    used: int64 (n,), which providers. The gamma (shape, rate) keeps its mean overnight while 1 / shape grows by q
    (Harvey & Fernandes 1989); a day of its own noise predicts with 1 / shape + noise, and counts for the less.
    """
    out = np.zeros((used.shape[0], q.shape[0]))
    for i, j in enumerate(used):
        for g in range(q.shape[0]):
            a = 1.0  # vague: the first weeks must not be taken for drift where a provider is far from its category
            b = a / rate[j]
            c = start[j + 1] - 1
            for t in range(ages - 1, -1, -1):
                forget = 1.0 / (1.0 + q[g] * a)
                a *= forget
                b *= forget
                if c < start[j] or age[c] != t:
                    continue
                e, y = exposed[c], orders[c]
                c -= 1
                if e <= 0.0:
                    continue
                mean = a / b * e
                shape = a / (1.0 + noise[g] * a)
                out[i, g] += math.lgamma(shape + y) - math.lgamma(shape)
                out[i, g] += y * math.log(mean / (shape + mean)) - shape * math.log1p(mean / shape)
                known = 1.0 / (1.0 + noise[g] * mean)
                a += known * y
                b += known * e
    return out


@numba.njit(cache=True)
def _weights(
    start: Ints,
    age: Ints,
    ages: int,
    exposed: Floats,
    rate: Floats,
    q: Floats,
    noise: Floats,
    half_life_days: float,
) -> tuple[Floats, Floats]:
    """Weights of every provider's visit days and the relative variance that its drift leaves.

    start, age: the cells of J providers; exposed: float64 (N,), visits x F(age) x trend; rate: float64 (J,), orders
    per exposure; q: float64 (J,), daily variance of the log rate; noise: float64 (J,), relative variance of single
    days. Returns weights (N,) and variance (J,).
    """
    providers = start.shape[0] - 1
    weight = np.empty(exposed.shape[0])
    variance = np.zeros(providers)
    base = 0.5 ** (1.0 / half_life_days)
    behind = np.empty(ages)
    for j in range(providers):
        if start[j] == start[j + 1]:
            continue
        oldest = age[start[j + 1] - 1]
        b = 0.0
        c = start[j + 1] - 1
        for a in range(oldest, -1, -1):
            b = b * base / (1.0 + q[j] * b)
            if age[c] == a:
                expected = rate[j] * exposed[c]
                b += expected / (1.0 + noise[j] * expected)
                c = max(c - 1, start[j])
            behind[a] = b
        w = 1.0
        total = 0.0
        c = start[j]
        for a in range(oldest + 1):
            if a > 0:
                w *= base / (1.0 + q[j] * behind[a])
            if age[c] == a:
                weight[c] = w / (1.0 + noise[j] * rate[j] * exposed[c])
                total += weight[c] * exposed[c]
                c += 1
        if total <= 0.0:
            continue
        left = total
        c = start[j]
        for a in range(oldest):
            if age[c] == a:
                left -= weight[c] * exposed[c]
                c += 1
            variance[j] += q[j] * (max(left, 0.0) / total) ** 2
    return weight, variance
