"""Gamma posteriors with empirical Bayes: many members (providers) in groups (categories) in one pool.

One likelihood serves conversion and order value. A member with rate r shows ``count`` over ``exposure`` with
likelihood r^count exp(-r exposure):

    conversion   count = orders, exposure = sum of w F(age); r = orders per visit ~ Gamma
    order value  count = orders / kappa^2, exposure = amount / kappa^2; 1 / r = mean order value, r ~ Gamma
                 (amounts gamma with coefficient of variation kappa). Its posterior mean is exactly Buehlmann &
                 Straub's credibility formula (Jewell 1974, ASTIN Bulletin 8, 77-90).

The spread between members has a lognormal hyperprior on its coefficient of variation; the group's mean leans on
the pool of the *other* groups; both are integrated on a grid (Gelman 2006, Bayesian Analysis 1, 515-534, on why a
spread fitted to few members must not be its maximum likelihood).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from footfall.model import Floats, Ints
from footfall.value.sums import sum_by

_CV_GRID = np.exp(np.linspace(math.log(0.04), math.log(3.0), 14))
_CV_LOG_SD = 0.5  # of the lognormal hyperprior: 90 % of its mass within a factor 2.3 of the median
_MEAN_POINTS = 17
_MEAN_WIDTH = 3.6  # half width of the grid of the group's mean, in sds
_POOL_LOG_SD = np.exp(np.linspace(math.log(0.05), math.log(2.5), 12))
_LONE_LOG_SD = 1.5  # of the mean of a group that stands alone, around the pooled mean
_CV_WORKING = 0.5
_GAMMA_PART = 0.1


@dataclass(frozen=True, slots=True)
class Shrunk:
    """Posterior of every member and prior of every group.

    mean, relative_variance: float64 (n,), of the member's rate (or of 1 / rate where inverse).
    prior_mean, prior_relative_variance: float64 (G,), of a member of the group that nothing is known about.
    """

    mean: Floats
    relative_variance: Floats
    prior_mean: Floats
    prior_relative_variance: Floats


def shrink(
    count: Floats,
    exposure: Floats,
    group: Ints,
    n_groups: int,
    *,
    fallback: tuple[float, float],
    cv_median: float = 0.5,
    inverse: bool = False,
) -> Shrunk:
    """Posterior means and relative variances of members' rates (``inverse``: of 1 / rate).

    count, exposure: float64 (n,), >= 0, fractions allowed; group: int64 (n,) in 0..n_groups-1.
    fallback: pseudo (count, exposure) of the whole pool, so that a log without any order has an answer.
    cv_median: median of the hyperprior of the coefficient of variation between members of a group, > 0.
    """
    x, v, pooled = _group_means(count, exposure, group, n_groups, fallback, inverse)
    seen = sum_by(group, count + exposure, n_groups) > 0.0
    prior_mean, prior_variance = _pool_of_others(x, v, pooled, seen)
    precision = 1.0 / prior_variance + 1.0 / v
    centre = (prior_mean / prior_variance + x / v) / precision
    offsets = np.linspace(-_MEAN_WIDTH, _MEAN_WIDTH, _MEAN_POINTS)
    # A spread above the working one makes the mean less certain than v says: leave room.
    log_mean = centre[:, None] + 1.3 / np.sqrt(precision)[:, None] * offsets
    log_prior = -0.5 * (log_mean - prior_mean[:, None]) ** 2 / prior_variance[:, None]
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], np.arange(n_groups + 1))
    y, e = count[order], exposure[order]
    log_weight = _log_weights(y, e, start, log_mean, _CV_GRID, inverse) + log_prior[:, None, :]
    log_weight += _spread_prior(log_weight, cv_median)[:, :, None]
    weight = np.exp(log_weight - log_weight.max(axis=(1, 2), keepdims=True))
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    mean, relative = _moments(y, e, start, log_mean, _CV_GRID, weight, inverse)
    centres = np.exp(log_mean)[:, None, :]
    group_mean = (weight * centres).sum(axis=(1, 2))
    second = (weight * centres**2 * (1.0 + _CV_GRID[None, :, None] ** 2)).sum(axis=(1, 2))
    back = np.empty_like(order)
    back[order] = np.arange(order.shape[0])
    return Shrunk(mean[back], relative[back], group_mean, second / group_mean**2 - 1.0)


def _spread_prior(log_weight: Floats, cv_median: float) -> Floats:
    """Log prior of the spread (G, cv): half the hyperprior, half what the other groups' likelihoods make of it."""
    hyper = _normalised(-0.5 * (np.log(_CV_GRID / cv_median) / _CV_LOG_SD) ** 2)
    top = log_weight.max(axis=2, keepdims=True)
    likelihood = np.log(np.exp(log_weight - top).sum(axis=2)) + top[:, :, 0]  # (G, cv)
    others = _normalised(likelihood.sum(axis=0) - likelihood + np.log(hyper))
    prior: Floats = np.log(0.5 * hyper + 0.5 * others)
    return prior


def _normalised(log_weight: Floats) -> Floats:
    weight = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
    normalised: Floats = weight / weight.sum(axis=-1, keepdims=True)
    return normalised


def _group_means(
    count: Floats, exposure: Floats, group: Ints, n_groups: int, fallback: tuple[float, float], inverse: bool
) -> tuple[Floats, Floats, float]:
    """log mean of each group, its variance, and the pooled log mean, at a working spread between members."""
    c, e = (exposure, count) if inverse else (count, exposure)
    pseudo_c, pseudo_e = fallback[::-1] if inverse else fallback
    overall = (c.sum() + pseudo_c) / (e.sum() + pseudo_e)
    mean = np.full(n_groups, overall)
    for _ in range(3):
        information = count if inverse else mean[group] * exposure
        k = 1.0 / (1.0 + _CV_WORKING**2 * information)
        top = sum_by(group, k * c, n_groups)
        bottom = sum_by(group, k * e, n_groups)
        # Half an event of the pooled mean keeps an empty group finite.
        half = 0.5 * overall if inverse else 0.5
        mean = (top + half) / (bottom + half / overall)
    informed = bottom if inverse else top
    return np.log(mean), 1.0 / (informed + 0.5), math.log(overall)


def _pool_of_others(x: Floats, v: Floats, pooled: float, seen: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Prior of each group's log mean from the other groups that were ``seen``: (mean, variance), each (G,).

    Normal-normal with the spread between groups on a grid (same lognormal hyperprior, median 0.5). A group of which
    nothing was seen says nothing of the others, and a group that alone was seen has no others.
    """
    if not seen.any():
        return np.full(x.shape, pooled), np.full(x.shape, _LONE_LOG_SD**2)
    s2 = _POOL_LOG_SD[:, None] ** 2
    weight = np.where(seen, 1.0 / (s2 + v), 0.0)
    total = weight.sum(axis=1, keepdims=True)
    centre = (weight * x).sum(axis=1, keepdims=True) / total
    fit = 0.5 * np.log(weight[:, seen]).sum(axis=1) - 0.5 * np.log(total[:, 0])
    fit -= 0.5 * (weight * (x - centre) ** 2).sum(axis=1)
    fit -= 0.5 * (np.log(_POOL_LOG_SD / 0.5) / _CV_LOG_SD) ** 2
    p = np.exp(fit - fit.max())[:, None]
    p /= p.sum()
    rest = np.maximum(total - weight, 1e-12)
    others = (total * centre - weight * x) / rest
    mean = (p * others).sum(axis=0)
    variance = (p * (s2 + 1.0 / rest + (others - mean) ** 2)).sum(axis=0)
    alone = seen & (seen.sum() == 1)
    return np.where(alone, pooled, mean), np.where(alone, _LONE_LOG_SD**2, np.minimum(variance, 2.0 * _LONE_LOG_SD**2))


@numba.njit(cache=True)
def _log_weights(count: Floats, exposure: Floats, start: Ints, log_mean: Floats, cv: Floats, inverse: bool) -> Floats:
    """Log likelihood (G, cv, mean) of members sorted by group; a group has its own grid of the mean."""
    groups, n_mean, n_cv = log_mean.shape[0], log_mean.shape[1], cv.shape[0]
    out = np.zeros((groups, n_cv, n_mean))
    for g in range(groups):
        for h in range(n_cv):
            a = 1.0 / cv[h] ** 2 + (2.0 if inverse else 0.0)
            gammas = 0.0
            members = 0
            for j in range(start[g], start[g + 1]):
                if count[j] > 0.0 or exposure[j] > 0.0:
                    gammas += math.lgamma(a + count[j]) - math.lgamma(a)
                    members += 1
            for m in range(n_mean):
                centre = math.exp(log_mean[g, m])
                b = centre * (a - 1.0) if inverse else a / centre
                logs = 0.0
                for j in range(start[g], start[g + 1]):
                    if count[j] > 0.0 or exposure[j] > 0.0:
                        logs += a * math.log1p(exposure[j] / b) + count[j] * math.log(b + exposure[j])
                out[g, h, m] = gammas - logs
    return out


@numba.njit(cache=True)
def _moments(
    count: Floats,
    exposure: Floats,
    start: Ints,
    log_mean: Floats,
    cv: Floats,
    weight: Floats,
    inverse: bool,
) -> tuple[Floats, Floats]:
    """Mean and relative variance of every member under its group's weights (G, cv, mean), each summing to 1."""
    n = count.shape[0]
    mean, relative = np.empty(n), np.empty(n)
    for g in range(log_mean.shape[0]):
        for j in range(start[g], start[g + 1]):
            first = 0.0
            second = 0.0
            for h in range(cv.shape[0]):
                shape = 1.0 / cv[h] ** 2 + (2.0 if inverse else 0.0)
                a = shape + count[j]
                for m in range(log_mean.shape[1]):
                    w = weight[g, h, m]
                    centre = math.exp(log_mean[g, m])
                    if inverse:
                        b = centre * (shape - 1.0) + exposure[j]
                        first += w * b / (a - 1.0)
                        second += w * b * b / ((a - 1.0) * (a - 2.0))
                    else:
                        b = shape / centre + exposure[j]
                        first += w * a / b
                        second += w * a * (a + 1.0) / (b * b)
            mean[j] = first
            relative[j] = max(second / first**2 - 1.0, 1e-12)
    return mean, relative


def gamma_quantile(probability: float, mean: Floats, relative_variance: Floats) -> Floats:
    """Quantile of gamma distributions given by mean >= 0 and relative variance > 0; shape (n,)."""
    return _gamma_quantile(probability, _normal_quantile(probability), mean, relative_variance)


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)


def value_quantile(probability: float, mean: Floats, relative_variance: Floats) -> Floats:
    """Quantile of a value: a product of gamma-like conversion and inverse-gamma-like order value, shape (n,).

    The skews of the logs of the two largely cancel, so a product lies between gamma and lognormal, nearer the
    second: the quantiles of both at the same mean and variance are averaged in the log, a quarter and three quarters
    (weights from the coverage simulations of docs/value.md).
    """
    spread = np.sqrt(np.log1p(relative_variance))
    log_normal = mean * np.exp(spread * (_normal_quantile(probability) - 0.5 * spread))
    gamma = np.maximum(gamma_quantile(probability, mean, relative_variance), 0.0)
    result: Floats = gamma**_GAMMA_PART * log_normal ** (1.0 - _GAMMA_PART)
    return result


@numba.njit(cache=True)
def _lower_gamma(a: float, x: float) -> float:
    """Regularised lower incomplete gamma P(a, x): series below a + 1, continued fraction above (Lentz)."""
    if x <= 0.0:
        return 0.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1.0:
        term = 1.0 / a
        total = term
        n = a
        for _ in range(2000):
            n += 1.0
            term *= x / n
            total += term
            if term < total * 1e-12:
                break
        return total * scale
    tiny = 1e-300
    b = x + 1.0 - a
    c = 1.0 / tiny
    d = 1.0 / b
    h = d
    for i in range(1, 2000):
        an = -i * (i - a)
        b += 2.0
        d = an * d + b
        if abs(d) < tiny:
            d = tiny
        c = b + an / c
        if abs(c) < tiny:
            c = tiny
        d = 1.0 / d
        step = d * c
        h *= step
        if abs(step - 1.0) < 1e-12:
            break
    return 1.0 - scale * h


@numba.njit(cache=True)
def _gamma_quantile(p: float, z: float, mean: Floats, relative_variance: Floats) -> Floats:
    """Wilson & Hilferty's start (1931), then Newton in log x kept inside a bracket."""
    out = np.empty(mean.shape[0])
    for j in range(mean.shape[0]):
        a = 1.0 / relative_variance[j]
        root = 1.0 - 1.0 / (9.0 * a) + z / (3.0 * math.sqrt(a))
        if a > 300.0:
            out[j] = mean[j] * root**3
            continue
        # x^a / (a Gamma(a)) is the small-x limit of P(a, x).
        small = (math.log(p) + math.lgamma(a + 1.0)) / a
        log_x = math.log(a * root**3) if root > 0.25 else min(small, math.log(a + 1.0))
        low, high = min(small - 1.0, -2.0), math.log(a + 20.0 * math.sqrt(a) + 40.0)
        for _ in range(60):
            x = math.exp(log_x)
            gap = _lower_gamma(a, x) - p
            if gap > 0.0:
                high = log_x
            else:
                low = log_x
            slope = math.exp(a * log_x - x - math.lgamma(a))
            step = log_x - gap / slope if slope > 1e-300 else low - 1.0
            new = step if low < step < high else 0.5 * (low + high)
            if abs(new - log_x) < 1e-10:
                break
            log_x = new
        out[j] = mean[j] * math.exp(log_x) / a
    return out
