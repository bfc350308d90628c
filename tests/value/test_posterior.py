"""Gamma posteriors against scipy: negative binomial likelihood integrated by brute force, gamma quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from footfall.value.posterior import gamma_quantile, shrink, value_quantile

GROUP = np.zeros(6, dtype=np.int64)
FALLBACK = (0.5, 10.0)


@pytest.mark.parametrize("relative_variance", [5.0, 1.0, 0.25, 0.01, 0.002])
@pytest.mark.parametrize("probability", [0.05, 0.5, 0.95])
def test_gamma_quantile_is_scipys(relative_variance: float, probability: float) -> None:
    ours = gamma_quantile(probability, np.array([3.0]), np.array([relative_variance]))
    theirs = stats.gamma.ppf(probability, 1 / relative_variance, scale=3 * relative_variance)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_value_quantile_lies_between_gamma_and_lognormal() -> None:
    mean, relative = np.array([2.0]), np.array([0.8])
    s = np.sqrt(np.log1p(0.8))
    for p in (0.05, 0.95):
        edges = sorted((stats.gamma.ppf(p, 1.25, scale=1.6), stats.lognorm.ppf(p, s, scale=2 * np.exp(-s * s / 2))))
        assert edges[0] <= value_quantile(p, mean, relative)[0] <= edges[1]


def test_posterior_against_a_brute_force_mixture() -> None:
    # Negative binomial likelihood (scipy) on a fine grid of mean and cv; flat in log mean over four decades, the
    # same lognormal hyperprior. Our grid is coarse and its prior of the mean weak: agreement within 2 %.
    count = np.array([3.0, 12.0, 0.0, 30.0, 7.0, 2.0])
    exposure = np.array([100.0, 150.0, 80.0, 900.0, 120.0, 20.0])
    means = np.exp(np.linspace(np.log(0.002), np.log(1.0), 300))
    cvs = np.exp(np.linspace(np.log(0.02), np.log(4.0), 120))
    m, c = np.meshgrid(means, cvs, indexing="ij")
    a = 1 / c**2
    b = a / m
    log_weight = stats.norm.logpdf(np.log(c / 0.5), scale=0.5)
    for y, e in zip(count, exposure, strict=True):
        log_weight = log_weight + stats.nbinom.logpmf(y, a, b / (b + e))
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean = np.array([(weight * (a + y) / (b + e)).sum() for y, e in zip(count, exposure, strict=True)])
    second = np.array(
        [(weight * (a + y) * (a + y + 1) / (b + e) ** 2).sum() for y, e in zip(count, exposure, strict=True)]
    )
    ours = shrink(count, exposure, GROUP, 1, fallback=FALLBACK)
    np.testing.assert_allclose(ours.mean, mean, rtol=0.03)
    np.testing.assert_allclose(np.sqrt(ours.relative_variance), np.sqrt(second / mean**2 - 1), rtol=0.05)


def test_rich_members_keep_their_own_rate() -> None:
    rate = np.array([0.02, 0.05, 0.08])
    fit = shrink(1e6 * rate, np.full(3, 1e6), np.zeros(3, dtype=np.int64), 1, fallback=FALLBACK)
    np.testing.assert_allclose(fit.mean, rate, rtol=1e-3)
    # Poisson alone: relative variance 1 / count.
    np.testing.assert_allclose(fit.relative_variance, 1 / (1e6 * rate), rtol=0.01)


def test_two_members_are_not_pulled_to_one_point() -> None:
    # 5 and 8 orders of 100 visits each: maximum likelihood of the spread would be 0.
    fit = shrink(np.array([5.0, 8.0]), np.full(2, 100.0), np.zeros(2, dtype=np.int64), 1, fallback=FALLBACK)
    assert 0.05 < fit.mean[0] < fit.mean[1] < 0.08
    assert fit.mean[1] - fit.mean[0] > 0.01


def test_empty_member_has_its_groups_prior() -> None:
    count, exposure = (
        np.array([50.0, 60.0, 40.0, 0.0, 5.0, 6.0]),
        np.array([1000.0, 1000.0, 1000.0, 0.0, 1000.0, 900.0]),
    )
    group = np.array([0, 0, 0, 0, 1, 1])
    fit = shrink(count, exposure, group, 2, fallback=FALLBACK)
    np.testing.assert_allclose(fit.mean[3], fit.prior_mean[0], rtol=1e-9)
    np.testing.assert_allclose(fit.relative_variance[3], fit.prior_relative_variance[0], rtol=1e-9)
    assert fit.prior_mean[0] > 3 * fit.prior_mean[1]


def test_empty_group_leans_on_the_pool() -> None:
    count, exposure = np.array([50.0, 60.0, 40.0, 0.0]), np.array([1000.0, 1000.0, 1000.0, 0.0])
    fit = shrink(count, exposure, np.array([0, 0, 1, 2]), 3, fallback=FALLBACK)
    assert 0.03 < fit.mean[3] < 0.08
    assert fit.relative_variance[3] > 0.2


def test_more_members_alike_pull_harder() -> None:
    few = shrink(np.array([5.0, 50.0]), np.array([100.0, 500.0]), np.zeros(2, dtype=np.int64), 1, fallback=FALLBACK)
    many = shrink(
        np.r_[5.0, np.full(40, 50.0)], np.r_[100.0, np.full(40, 500.0)], np.zeros(41, dtype=np.int64), 1,
        fallback=FALLBACK,
    )  # fmt: skip
    assert many.mean[0] > few.mean[0]
    assert many.relative_variance[0] < few.relative_variance[0]


def test_nothing_at_all_is_finite() -> None:
    fit = shrink(np.zeros(3), np.zeros(3), np.array([0, 1, 1]), 2, fallback=FALLBACK)
    for array in (fit.mean, fit.relative_variance, fit.prior_mean):
        assert np.isfinite(array).all()
        assert (array > 0).all()
