"""The common motion of a category: by which factor all of its providers' rates stood higher or lower at each age.

Orders of an age are Poisson with mean x(a) exp(level + t(a)), x(a) what the providers' own mean rates expect of the
visits of that age. t is Gaussian, t(0) = 0, with Cov(t(a), t(b)) = q m + s^2 m M + c m^2 (3 M - m) / 6, m and M
being the smaller and the larger of a and b: a random walk, a slope, and a walk of the slope (Wahba 1978, JRSS B 40,
364-372, the cubic spline's covariance). Single days may stand out (weekdays): their counts are scaled down to what
they are worth. Laplace's approximation (Rasmussen & Williams 2006, algorithm 3.1), q, s and c on a grid, averaged by
likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from footfall.model import Floats, Ints
from footfall.value.sums import sum_by

_WALK_SD = np.array([0.0, 0.004, 0.012, 0.035])  # a day
_SLOPES = ((0.0, 0.0), (0.015, 0.0), (0.015, 0.001), (0.015, 0.003))  # sd of the slope a day, of its daily change
_WALK_PRIOR = np.array([0.40, 0.30, 0.22, 0.08])
_SLOPE_PRIOR = np.array([0.50, 0.20, 0.20, 0.10])
_LEVEL_VARIANCE = 4.0
_ROUNDS = 6
_STEEP = 6.0  # |log rate| where Newton's steps are held, in counts that fit no rate at all
_FARTHEST = 2.0  # |log factor| beyond which a trend is not followed
_WEEK = 7
_OWN_TRENDS = 100  # categories with a trend of their own, the largest; the others share one


@dataclass(frozen=True, slots=True)
class Trends:
    """Trends of C categories over ages 0..A in B bins of age.

    factor: float64 (C, A + 1), rate at the age over that at age 0. bin_of_age: int64 (A + 1,).
    covariance: float64 (C, B, B), of the log factor.
    """

    factor: Floats
    bin_of_age: Ints
    covariance: Floats


def fit_trends(orders: Floats, expected: Floats, category: Ints, age: Ints, n_categories: int, ages: int) -> Trends:
    """Trends from orders and expected orders, float64 (N,) each, of rows with a category and an age in 0..ages - 1."""
    if n_categories <= _OWN_TRENDS:
        return _fit(orders, expected, category, age, n_categories, ages)
    total = sum_by(category, orders, n_categories)
    shared = np.full(n_categories, _OWN_TRENDS)
    shared[np.argsort(-total, kind="stable")[:_OWN_TRENDS]] = np.arange(_OWN_TRENDS)
    fit = _fit(orders, expected, shared[category], age, _OWN_TRENDS + 1, ages)
    return Trends(fit.factor[shared], fit.bin_of_age, fit.covariance[shared])


@numba.njit(cache=True)
def mixed_variance(
    start: Ints,
    age: Ints,
    own: Floats,
    rest: Floats,
    of_category: Floats,
    category: Ints,
    step_variance: Floats,
    bin_of_age: Ints,
    covariance: Floats,
) -> Floats:
    """Relative variance that delay curves and trends leave on rates under mixes of ages, float64 (J,).

    start, age: the cells of J providers. own: float64 (N,), their parts of the mixes; rest: float64 (J,), the part of
    the category's mix, of_category: float64 (C, A + 1); the parts of a provider sum to 1. category: int64 (J,).
    step_variance: as in DelayCurves; bin_of_age, covariance: as in Trends.
    """
    ages, reach = of_category.shape[1], step_variance.shape[1] - 1
    n_bins = covariance.shape[1]
    out = np.zeros(rest.shape[0])
    binned = np.empty(n_bins)
    for j in range(rest.shape[0]):
        of = category[j]
        binned[:] = 0.0
        younger = 0.0
        c = start[j]
        for a in range(ages):
            mix = rest[j] * of_category[of, a]
            if c < start[j + 1] and age[c] == a:
                mix += own[c]
                c += 1
            binned[bin_of_age[a]] += mix
            younger += mix
            if a < reach:
                out[j] += younger**2 * step_variance[of, a + 1]
        trend = 0.0
        for i in range(n_bins):
            for k in range(n_bins):
                trend += binned[i] * covariance[of, i, k] * binned[k]
        out[j] += max(trend, 0.0)
    return out


def _fit(orders: Floats, expected: Floats, category: Ints, age: Ints, n_categories: int, ages: int) -> Trends:
    bins = _bins(ages)
    n_bins = int(bins[-1]) + 1
    place = category * n_bins + bins[age]
    y, x = (sum_by(place, number, n_categories * n_bins).reshape(-1, n_bins) for number in (orders, expected))
    middle = np.bincount(bins, np.arange(ages)) / np.bincount(bins)
    if n_bins == 1:
        return Trends(np.ones((n_categories, ages)), bins, np.zeros((n_categories, 1, 1)))
    walk, slope = np.minimum(middle[:, None], middle[None]), middle[:, None] * middle[None]
    bend = walk**2 * (3.0 * np.maximum(middle[:, None], middle[None]) - walk) / 6.0
    prior = np.log(_WALK_PRIOR[:, None] * _SLOPE_PRIOR[None]).ravel()
    known = _known(y, x, np.bincount(bins))
    y, x = y * known, x * known
    grid = [w * w * walk + s * s * slope + c * c * bend for w in _WALK_SD for s, c in _SLOPES]
    fits = [_laplace(k, y, x) for k in grid]
    evidence = np.array([f[0] for f in fits]).T + prior  # (C, grid)
    pooled = _normalised(evidence.sum(axis=0) - (n_categories - 1) * prior)
    evidence += np.log(0.5 * pooled + 0.5 * np.exp(prior)) - prior
    weight = _normalised(evidence)
    means = np.stack([f[1] for f in fits], axis=1)  # (C, grid, B)
    mean = (weight[:, :, None] * means).sum(axis=1)
    off = means - mean[:, None]
    covariance = np.einsum("cg,cgi,cgj->cij", weight, off, off)
    for g, fit in enumerate(fits):
        covariance += weight[:, g, None, None] * fit[2]
    mean = np.clip(mean, -_FARTHEST, _FARTHEST)
    return Trends(np.exp(_interpolate(mean, middle, ages)), bins, covariance)


def _bins(ages: int) -> Ints:
    """Bin of each age: single days for three weeks, then ever wider, about 35 bins for 60 days."""
    edges, width = [0], 1.0
    while edges[-1] < ages:
        if edges[-1] >= 21:
            width *= 1.12
        edges.append(edges[-1] + int(width))
    return np.searchsorted(np.array(edges[1:]), np.arange(ages), side="right").astype(np.int64)


def _known(y: Floats, x: Floats, width: Ints) -> Floats:
    """What a bin's counts are worth next to Poisson ones, in (0, 1], (C, B): 1 / (1 + noise x orders / days).

    noise: relative variance of single days around the week, by moments over the bins of one day, each category
    leaning on none at all with the weight of a week.
    """
    single = int((width == 1).sum())
    if single < _WEEK:
        return np.ones_like(y)
    kernel = np.ones(_WEEK)

    def around(z: Floats) -> Floats:
        return np.stack([np.convolve(row, kernel, "valid") for row in z[:, :single]])

    inner = slice(_WEEK // 2, _WEEK // 2 + single - _WEEK + 1)
    fitted = x[:, inner] * around(y) / np.maximum(around(x), 1e-300)
    kept = 1.0 - 1.0 / _WEEK  # a day moves its own week
    beyond = ((y[:, inner] - fitted) ** 2 - kept * fitted).sum(axis=1)
    scale = (fitted**2).sum(axis=1)
    prior = scale / max(fitted.shape[1], 1) * _WEEK
    noise = np.maximum(beyond, 0.0) / np.maximum(kept * scale + prior, 1e-300)
    expected = x * (y.sum(axis=1) / np.maximum(x.sum(axis=1), 1e-300))[:, None]
    known: Floats = 1.0 / (1.0 + noise[:, None] * expected / width)
    return known


def _interpolate(mean: Floats, middle: Floats, ages: int) -> Floats:
    return np.stack([np.interp(np.arange(ages), middle, row) for row in mean])


def _normalised(log_weight: Floats) -> Floats:
    weight = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
    normalised: Floats = weight / weight.sum(axis=-1, keepdims=True)
    return normalised


def _laplace(motion: Floats, y: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
    """Log evidence (C,), mean (C, B) and covariance (C, B, B) of t = f - f(0) for one prior of the motion.

    f is level plus motion; y, x: float64 (C, B), orders and expected orders; bins without exposure say nothing.
    """
    n_bins = y.shape[1]
    prior = motion + _LEVEL_VARIANCE
    eye = np.eye(n_bins)
    f = np.zeros_like(y)
    alpha = np.zeros_like(y)
    for _ in range(_ROUNDS):
        mu = x * np.exp(f)
        root = np.sqrt(mu)
        b = eye + root[:, :, None] * prior * root[:, None, :]
        right = mu * f + y - mu
        inner = np.linalg.solve(b, (root * (right @ prior))[:, :, None])[:, :, 0]
        alpha = right - root * inner
        f = np.clip(alpha @ prior, -_STEEP, _STEEP)
    mu = x * np.exp(f)
    root = np.sqrt(mu)
    b = eye + root[:, :, None] * prior * root[:, None, :]
    log_det = np.linalg.slogdet(b)[1]
    evidence = (y * f - mu).sum(axis=1) - 0.5 * (alpha * f).sum(axis=1) - 0.5 * log_det
    scaled = root[:, :, None] * prior
    posterior = prior - np.swapaxes(scaled, 1, 2) @ np.linalg.solve(b, scaled)
    difference = eye.copy()
    difference[:, 0] -= 1.0
    return evidence, f - f[:, :1], difference @ posterior @ difference.T
