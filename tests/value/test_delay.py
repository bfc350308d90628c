"""Delay curves against lifelines, a hand-made triangle and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from visit_simulator import delay_law

from footfall.value.delay import fit_delay, reverse_hazard_counts


def rows(triangle: dict[tuple[int, int], float]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(age, delay) -> count as category, delay, age, count."""
    age, delay = (np.array(x) for x in zip(*triangle, strict=True))
    return np.zeros(len(triangle), dtype=np.int64), delay, age, np.array(list(triangle.values()), dtype=float)


def test_counts_of_a_hand_made_triangle() -> None:
    # Visits of age 2, 1, 0 with orders by delay: 10 6 4 / 20 12 / 30. By hand, as a chain ladder:
    # h(2) = 4 / 20; h(1) = (6 + 12) / (16 + 32) = 18 / 48; so F(1) = .8, F(0) = .8 * 30 / 48 = .5.
    triangle = {(2, 0): 10, (2, 1): 6, (2, 2): 4, (1, 0): 20, (1, 1): 12, (0, 0): 30}
    events, risk = reverse_hazard_counts(*rows(triangle), 1, 2)
    assert events.tolist() == [[60, 18, 4]]
    assert risk.tolist() == [[60, 48, 20]]


def test_large_triangle_gives_the_chain_ladder() -> None:
    # The same triangle a thousand times larger: shrinkage has no say. Development factors of the chain ladder
    # (Mack 1993): 48 / 30 and 20 / 16, whose inverses multiply to F(0) = .5 and F(1) = .8.
    triangle = {(2, 0): 10, (2, 1): 6, (2, 2): 4, (1, 0): 20, (1, 1): 12, (0, 0): 30}
    category, delay, age, count = rows(triangle)
    curve = fit_delay(category, delay, age, 1000 * count, 1, 2)
    np.testing.assert_allclose(curve.cdf[0], [0.5, 0.8, 1.0], rtol=2e-3)
    # Greenwood by hand: var log F(0) = sum d / (n (n - d)) = 18 / (48 30) + 4 / (20 16), over 1000.
    expected = 0.5 * np.sqrt((18 / (48 * 30) + 4 / (20 * 16)) / 1000)
    np.testing.assert_allclose(curve.sd[0, 0], expected, rtol=2e-2)
    assert curve.median_days[0] in (0, 1)  # F(0) is a half, up to the shrinkage


@pytest.mark.slow
def test_agrees_with_lifelines_in_reversed_time() -> None:
    # Right truncation is left truncation of reversed time: an order with delay k from a visit of age a has the
    # reversed time R - k and enters at R - a. lifelines' Kaplan-Meier with late entry gives P(delay <= k).
    lifelines = pytest.importorskip("lifelines")
    rng = np.random.default_rng(5)
    reach = 20
    age = rng.integers(0, reach + 1, 40_000)
    delay = np.minimum(rng.geometric(0.15, 40_000) - 1, reach)
    seen = delay <= age
    age, delay = age[seen], delay[seen]
    fitter = lifelines.KaplanMeierFitter()
    # Half a day earlier, as lifelines counts who enters at t as at risk only after t.
    fitter.fit(reach - delay, entry=reach - age - 0.5)
    ours = fit_delay(np.zeros(age.size, dtype=np.int64), delay, age, np.ones(age.size), 1, reach)
    times = reach - np.arange(1, reach + 1)
    # Survival past reversed time R - k is P(delay < k) = F(k - 1).
    theirs = fitter.survival_function_at_times(times).to_numpy()
    np.testing.assert_allclose(ours.cdf[0, :-1], theirs, atol=0.012)


@pytest.mark.parametrize("falling", [False, True])
def test_unbiased_when_rates_fall(falling: bool) -> None:
    # Falling from 6 % to 3 % over the log; the curve must not take fewer recent orders for slower ones.
    rng = np.random.default_rng(11)
    law = delay_law(12.0, 1.0, 45)
    curves = []
    for _ in range(20):
        rate = np.linspace(0.03, 0.06, 46) if falling else np.full(46, 0.04)
        orders = rng.poisson(3000 * rate)
        age = np.repeat(np.arange(46), orders)
        delay = rng.choice(46, age.size, p=law)
        seen = delay <= age
        zero = np.zeros(seen.sum(), dtype=np.int64)
        curves.append(fit_delay(zero, delay[seen], age[seen], np.ones(seen.sum()), 1, 45).cdf[0])
    ratio = np.mean(curves, axis=0) / np.cumsum(law)
    assert abs(ratio[5] - 1) < 0.03
    assert abs(ratio[12] - 1) < 0.02
    assert abs(ratio[30] - 1) < 0.02


def test_sparse_category_leans_on_the_pool() -> None:
    rng = np.random.default_rng(2)
    age = rng.integers(0, 31, 20_000)
    delay = np.minimum(rng.geometric(0.2, 20_000) - 1, 30)
    seen = delay <= age
    age, delay = age[seen], delay[seen]
    category = np.zeros(age.size, dtype=np.int64)
    alone = fit_delay(category, delay, age, np.ones(age.size), 2, 30)  # category 1 has no order at all
    np.testing.assert_allclose(alone.cdf[1], alone.cdf[0], atol=0.06)
    assert (alone.sd[1, :10] > 3 * alone.sd[0, :10]).all()


def test_one_day_has_nothing_to_correct() -> None:
    zero = np.zeros(1, dtype=np.int64)
    curve = fit_delay(zero, zero, zero, np.array([7.0]), 1, 0)
    assert curve.cdf.tolist() == [[1.0]]
    assert curve.sd.tolist() == [[0.0]]


def test_curves_rise_to_one_without_any_order() -> None:
    none = np.zeros(0, dtype=np.int64)
    curve = fit_delay(none, none, none, np.zeros(0), 3, 14)
    assert (np.diff(curve.cdf, axis=1) >= 0).all()
    assert (curve.cdf[:, -1] == 1).all()
    assert np.isfinite(curve.sd).all()


def test_duplicate_rows_add_up() -> None:
    delay, age = np.array([0, 1, 1, 2]), np.array([2, 2, 2, 3])
    zero = np.zeros(4, dtype=np.int64)
    twice = fit_delay(zero, delay, age, np.array([5.0, 1.0, 2.0, 1.0]), 1, 3)
    once = fit_delay(zero[:3], delay[[0, 1, 3]], age[[0, 1, 3]], np.array([5.0, 3.0, 1.0]), 1, 3)
    np.testing.assert_array_equal(twice.cdf, once.cdf)
