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
from footfall.learn.lift import (
    FEWEST_EVENTS,
    Sums,
    lift,
    lift_of_shares,
    mismatch,
    more_units,
    student,
    sums_of,
    verdict,
)


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


# Units and conversions of both arms; how uneven amounts are (sigma of the lognormal, or the tail of a Pareto), and what
# a treated buyer spends for one of a held-out buyer.
DESIGNS = {
    "equal arms, no effect": (200, 200, 0.18, 0.18, ("lognormal", 0.8), 1.0),
    "equal arms, some 40 buyers": (200, 200, 0.225, 0.18, ("lognormal", 0.8), 1.0),
    "equal arms, 20 buyers": (100, 100, 0.2, 0.2, ("lognormal", 0.8), 1.0),
    "equal arms, heavy amounts": (4000, 4000, 0.02, 0.02, ("lognormal", 1.2), 1.0),
    "equal arms, twice the buyers": (1000, 1000, 0.06, 0.03, ("lognormal", 1.2), 1.0),
    "a tenth held out, no effect": (9000, 1000, 0.03, 0.03, ("lognormal", 0.8), 1.0),
    "a tenth held out, a gain": (9000, 1000, 0.04, 0.03, ("lognormal", 0.8), 1.0),
    "a tenth held out, twice the buyers": (9000, 1000, 0.06, 0.03, ("lognormal", 0.8), 1.0),
    "a tenth held out, larger amounts": (9000, 1000, 0.05, 0.05, ("lognormal", 0.8), 1.2),
    "a tenth held out, a loss": (9000, 1000, 0.035, 0.05, ("lognormal", 1.2), 1.0),
    "a tenth held out, heavy amounts": (9000, 1000, 0.03, 0.03, ("lognormal", 1.2), 1.0),
    "a tenth held out, very heavy amounts": (9000, 1000, 0.03, 0.03, ("lognormal", 1.5), 1.0),
    "a tenth held out, Pareto amounts": (9000, 1000, 0.03, 0.03, ("pareto", 2.5), 1.0),
    "a tenth held out, many buyers": (45_000, 5000, 0.05, 0.04, ("lognormal", 1.2), 1.0),
    "a tenth held out, nearly all buy": (900, 100, 0.8, 0.8, ("lognormal", 0.8), 1.0),
    "20 buyers held out": (900, 100, 0.25, 0.2, ("lognormal", 0.8), 1.0),
}
DRAWS = 4000


def money_of(
    rng: np.random.Generator, n: int, rate: float, amounts: tuple[str, float], each: float
) -> tuple[list[Sums], np.ndarray]:
    """Sums of money of ``DRAWS`` arms of n persons, a buyer spending ``each`` on average, and the buyers of each."""
    buyers = rng.binomial(n, rate, DRAWS)
    kind, shape = amounts
    if kind == "pareto":
        spent = each * (1 + rng.pareto(shape, buyers.sum())) * (shape - 1) / shape
    else:
        spent = each * rng.lognormal(-(shape**2) / 2, shape, buyers.sum())
    of = np.repeat(np.arange(DRAWS), buyers)
    powers = (np.bincount(of, spent**k, DRAWS) for k in (1, 2, 3))
    return [Sums(n, *one) for one in zip(*powers, strict=True)], buyers


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS)
def test_intervals_of_money_cover_a_known_effect(design: str) -> None:
    # Nominal 95 %; over 4,000 draws the standard error of the coverage is .35 %. Draws of which too little is known for
    # any verdict (under 10 conversions in an arm) are left out.
    n, m, rate, base, amounts, each = DESIGNS[design]
    rng = np.random.default_rng(7)
    (treated, bought), (held, also) = money_of(rng, n, rate, amounts, each), money_of(rng, m, base, amounts, 1.0)
    truth = rate * each - base
    found = [lift(a, b) for a, b in zip(treated, held, strict=True)]
    told = np.minimum(bought, also) >= FEWEST_EVENTS
    inside = np.array([one.low <= truth <= one.high for one in found])[told]
    assert told.sum() >= 0.9 * DRAWS
    assert 0.93 <= inside.mean() <= 0.97, inside.mean()
    # Beside no effect, a verdict of one is the exception.
    if truth == 0:
        clear = np.array([one.clear for one in found])[told]
        assert clear.mean() <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "gain"), [(0.03, 0.0), (0.03, 0.01), (0.1, 0.02)])
def test_intervals_of_shares_cover_a_known_effect(rate: float, gain: float) -> None:
    rng = np.random.default_rng(7)
    treated, held = rng.binomial(9000, rate + gain, DRAWS), rng.binomial(1000, rate, DRAWS)
    found = [lift_of_shares(Sums(9000, a, a, a), Sums(1000, b, b, b)) for a, b in zip(treated, held, strict=True)]
    covered = np.mean([one.low <= gain <= one.high for one in found])
    assert 0.93 <= covered <= 0.97, covered


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
