"""Segment x provider: the provider's posterior times the segment's effect, corrected by the pair's own visits.

    rate(i, j) = provider(j) x segment(i) x own(i, j)

The provider is judged by its *other* segments (its category where there are none), so that no visit counts twice;
segment effects and own deviations have spreads of their own, from the same family of hyperpriors. Sparse pairs
thus fall back to provider x segment, rich ones stand on their own visits. Source of the form: the multiplicative
credibility model of Buehlmann & Gisler (2005), section 4.13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from footfall.model import Floats, Ints
from footfall.value.posterior import Shrunk, shrink
from footfall.value.sums import sum_by

_OWN_GRID = np.exp(np.linspace(math.log(0.03), math.log(1.5), 10))
_OWN_LOG_SD = 0.75
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Crossed:
    """Posterior of every pair, float64 (P,): mean and relative variance of the rate (inverse: of 1 / rate)."""

    mean: Floats
    relative_variance: Floats


def cross(
    count: Floats,
    exposure: Floats,
    segment: Ints,
    provider: Ints,
    providers: Shrunk,
    category: Ints,
    n_segments: int,
    *,
    cv_median: float = 0.5,
    inverse: bool = False,
) -> Crossed:
    """Posteriors of pairs; count, exposure: float64 (P,), effective; the rest as in posterior.shrink.

    providers: what shrink returned for providers; category: int64 (J,).
    """
    prior_mean = providers.prior_mean[category]
    prior_shape = 1.0 / providers.prior_relative_variance[category] + (2.0 if inverse else 0.0)
    prior_rate = prior_mean * (prior_shape - 1.0) if inverse else prior_shape / prior_mean
    n_providers = category.shape[0]
    effect, effect_variance = np.ones(n_segments), np.zeros(n_segments)
    top = prior_shape + sum_by(provider, count, n_providers)
    for _ in range(_ROUNDS if n_segments > 1 else 0):
        rate = top / (prior_rate + sum_by(provider, effect[segment] * exposure, n_providers))
        expected = rate[provider] * exposure
        weight = 1.0 / (1.0 + (0.5 * cv_median) ** 2 * effect[segment] * expected)
        fit = shrink(
            sum_by(segment, weight * count, n_segments),
            sum_by(segment, weight * expected, n_segments),
            np.zeros(n_segments, dtype=np.int64),
            1,
            fallback=(1.0, 1.0),
            cv_median=cv_median,
        )
        mass = sum_by(segment, expected, n_segments) + 1e-12
        effect = fit.mean * mass.sum() / (fit.mean * mass).sum()
        effect_variance = fit.relative_variance
    scaled = effect[segment] * exposure
    all_scaled = sum_by(provider, scaled, n_providers)
    other_shape = np.maximum(top[provider] - count, prior_shape[provider])
    other_rate = np.maximum(prior_rate[provider] + all_scaled[provider] - scaled, prior_rate[provider])
    base = other_shape / other_rate  # provider's rate at segment effect 1, from the other segments
    known = 1.0 / other_shape + effect_variance[segment]
    own = _own_spread(count, base * scaled, known, cv_median) if n_segments > 1 else 0.0
    shape = 1.0 / (known + own)
    posterior_shape = shape + count
    posterior_rate = shape / (base * effect[segment]) + exposure
    if inverse:
        low = np.maximum(posterior_shape - 1.0, 1.0)
        return Crossed(posterior_rate / low, 1.0 / np.maximum(posterior_shape - 2.0, 1.0))
    return Crossed(posterior_shape / posterior_rate, 1.0 / posterior_shape)


def _own_spread(count: Floats, expected: Floats, known: Floats, cv_median: float) -> float:
    """Relative variance between pairs beyond provider x segment: gamma-Poisson likelihood, averaged over a grid."""
    used = expected > 0.0
    fit = _own_likelihood(count[used], expected[used], known[used], _OWN_GRID)
    fit = fit - 0.5 * (np.log(_OWN_GRID / (0.5 * cv_median)) / _OWN_LOG_SD) ** 2
    weight = np.exp(fit - fit.max())
    return float((weight * _OWN_GRID**2).sum() / weight.sum())


@numba.njit(cache=True)
def _own_likelihood(count: Floats, expected: Floats, known: Floats, grid: Floats) -> Floats:
    out = np.zeros(grid.shape[0])
    for h in range(grid.shape[0]):
        total = 0.0
        for j in range(count.shape[0]):
            a = 1.0 / (known[j] + grid[h] ** 2)
            total += math.lgamma(a + count[j]) - math.lgamma(a)
            total += a * math.log(a) - (a + count[j]) * math.log(a + expected[j])
        out[h] = total
    return out
