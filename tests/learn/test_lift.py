"""Lift against other libraries, real randomised data and simulations whose effect is known."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from footfall.errors import InputError
from footfall.learn.lift import Sums, lift, lift_of_shares, mismatch, more_units, student, sums_of, verdict


@given(level=st.floats(0.51, 0.9999), free=st.floats(1, 1e6))
def test_quantiles_of_student(level: float, free: float) -> None:
    assert student(level, free) == pytest.approx(stats.t.ppf(level, free), rel=1e-6)


def test_welch_as_scipy_has_it() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.exponential(3.0, 400), rng.exponential(2.5, 60)
    # Without skewness (each sample beside its mirror image) it is Welch's interval.
    a, b = np.concatenate((a, 6 - a)), np.concatenate((b, 5 - b))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    found = lift(sums_of(a), sums_of(b))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.total == pytest.approx(800 * (a.mean() - b.mean()))


def test_sums_merge() -> None:
    values = np.random.default_rng(2).normal(5, 2, 90)
    parts = sums_of(values[:30]) + sums_of(values[30:])
    assert parts.variance == pytest.approx(values.var(ddof=1))
    assert parts.third == pytest.approx(stats.moment(values, 3), abs=1e-9)


def test_a_split_that_is_not_the_planned_one() -> None:
    # scipy's chi-square on 9,300 : 700 against 9 : 1.
    assert mismatch(9300, 700, 0.1) == pytest.approx(stats.chisquare([9300, 700], [9000, 1000]).pvalue, rel=1e-6)
    assert mismatch(9000, 1000, 0.1) == 1.0
    with pytest.raises(InputError):
        mismatch(10, 0, 0.0)


def test_units_still_needed_give_the_power_that_is_asked_for() -> None:
    # Lachin's formula for equal arms: 16 s^2 / d^2 an arm at 80 % power, two-sided 5 % (Lehr 1992: 15.7 exactly).
    arm = Sums(100, 0.0, 99.0, 0.0)  # variance 1
    assert more_units(arm, arm, 0.1) + 200 == pytest.approx(2 * 15.7 / 0.01, rel=0.001)
    assert more_units(arm, arm, 10.0) == 0
    assert math.isinf(more_units(arm, Sums(0, 0, 0, 0), 0.1))


@pytest.mark.parametrize(
    ("arm", "visit", "conversion", "spend"),
    [("Mens E-Mail", 0.07946, 0.00819, 0.869), ("Womens E-Mail", 0.03771, 0.00273, 0.415)],
)
def test_a_randomised_mailing(
    real: Callable[[str], Path], arm: str, visit: float, conversion: float, spend: float
) -> None:
    # Effects of this half of Hillstrom's test as published beside the data.
    (path,) = real("hillstrom-email").iterdir()
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    of = {name: [row for row in rows if row["segment"] == name] for name in (arm, "No E-Mail")}

    def sums(name: str, column: str) -> Sums:
        return sums_of([float(row[column]) for row in of[name]])

    for column, expected, how in (
        ("visit", visit, lift_of_shares),
        ("conversion", conversion, lift_of_shares),
        ("spend", spend, lift),
    ):
        found = how(sums(arm, column), sums("No E-Mail", column))
        assert found.difference == pytest.approx(expected, abs=5e-4)
        assert found.low < found.difference < found.high
        assert found.clear


def drawn(rng: np.random.Generator, n: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Conversions and lognormal money of n persons."""
    bought = rng.random(n) < rate
    return bought.astype(float), np.where(bought, rng.lognormal(3.5, 0.8, n), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "gain"), [(0.03, 0.0), (0.03, 0.01), (0.1, 0.02)])
def test_intervals_cover_a_known_effect(rate: float, gain: float) -> None:
    # Nominal 95 %; over 4,000 draws the standard error of the coverage is .35 %.
    rng = np.random.default_rng(7)
    money_a_buyer = math.exp(3.5 + 0.8**2 / 2)
    inside = np.zeros(2)
    draws = 4000
    for _ in range(draws):
        (c1, m1), (c0, m0) = drawn(rng, 9000, rate + gain), drawn(rng, 1000, rate)
        shares, money = lift_of_shares(sums_of(c1), sums_of(c0)), lift(sums_of(m1), sums_of(m0))
        inside += (shares.low <= gain <= shares.high, money.low <= gain * money_a_buyer <= money.high)
    coverage = inside / draws
    assert (coverage >= 0.93).all() and (coverage <= 0.97).all(), coverage


def test_without_an_effect_it_says_so() -> None:
    rng = np.random.default_rng(8)
    said = {"gain": 0, "loss": 0, "no effect seen": 0, "not enough evidence": 0}
    for _ in range(200):
        (c1, _), (c0, _) = drawn(rng, 45_000, 0.05), drawn(rng, 5_000, 0.05)
        found = lift_of_shares(sums_of(c1), sums_of(c0))
        missing = more_units(sums_of(c1), sums_of(c0), 0.02)
        said[verdict(found, c0.sum(), missing)] += 1
    assert said["gain"] + said["loss"] <= 20  # 5 % of 200, and four standard errors
    assert said["not enough evidence"] == 0


def test_few_conversions_are_not_evidence() -> None:
    found = lift_of_shares(Sums(900, 9, 9, 9), Sums(100, 0, 0, 0))
    assert verdict(found, 0, math.inf) == "not enough evidence"
    assert math.isnan(lift(Sums(5, 1, 1, 1), Sums(1, 0, 0, 0)).low)
