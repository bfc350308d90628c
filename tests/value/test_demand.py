"""Demand forecasts on simulated weekly series: coverage, error against yesterday's count, and edges."""

from __future__ import annotations

import numpy as np
import pytest

from footfall.errors import InputError
from footfall.value.demand import forecast


def series(rng: np.random.Generator, n: int, days: int, walk: float, over: float) -> tuple[np.ndarray, np.ndarray]:
    """Daily visits (n, days) of segments from 2 to 2,000 a day with a weekly pattern, and the weekdays."""
    level = np.exp(rng.uniform(np.log(2), np.log(2000), n))
    pattern = np.exp(rng.normal(0, 0.25, 7)) * np.exp(rng.normal(0, 0.1, (n, 7)))
    weekday = np.arange(days) % 7
    mean = level[:, None] * np.exp(np.cumsum(rng.normal(0, walk, (n, days)), axis=1)) * pattern[:, weekday]
    if over > 0:
        mean = mean * rng.gamma(1 / over, over, mean.shape)
    return rng.poisson(mean).astype(float), weekday


@pytest.mark.parametrize("days", [14, 28, 90])
@pytest.mark.parametrize(("walk", "over"), [(0.0, 0.0), (0.02, 0.02), (0.04, 0.08)])
@pytest.mark.parametrize("horizon", [1, 7])
def test_backtest(days: int, walk: float, over: float, horizon: int) -> None:
    rng = np.random.default_rng(days + horizon)
    inside, ours, naive = [], [], []
    for _ in range(8):
        y, weekday = series(rng, 60, days + horizon, walk, over)
        mean, low, high = forecast(y[:, :days], weekday[:days], int(weekday[-1]), horizon)
        inside.append((low <= y[:, -1]) & (y[:, -1] <= high))
        ours.append(np.abs(mean - y[:, -1]))
        naive.append(np.abs(y[:, days - 1] - y[:, -1]))
    assert 0.80 <= np.mean(inside) <= (0.98 if over > 0 else 0.99)
    # A week ahead, yesterday's count has the right weekday, and is hard to beat but for its noise.
    assert np.mean(ours) < np.mean(naive) * (0.85 if horizon == 1 else 1.02)


@pytest.mark.parametrize("days", [1, 2, 5, 7, 8])
def test_short_logs(days: int) -> None:
    y, weekday = series(np.random.default_rng(days), 20, days, 0.02, 0.02)
    for target in range(7):
        mean, low, high = forecast(y, weekday, target, 1)
        assert np.isfinite(mean).all()
        assert (low >= 0).all()
        assert (low <= mean).all()
        assert (mean <= high).all()
    if days == 1:
        np.testing.assert_allclose(forecast(y, weekday, 3, 1)[0], y[:, 0], rtol=0.2, atol=1)


def test_zeros_stay_near_zero() -> None:
    mean, low, high = forecast(np.zeros((3, 30)), np.arange(30) % 7, 2, 1)
    assert (mean < 0.5).all()
    assert (low == 0).all()
    assert (high < 5).all()


def test_weekday_pattern_is_followed() -> None:
    # 100 on working days, 200 on Saturdays and Sundays, for eight weeks without noise.
    weekday = np.arange(56) % 7
    y = np.where(weekday >= 5, 200.0, 100.0)[None].repeat(2, axis=0)
    np.testing.assert_allclose(forecast(y, weekday, 0, 1)[0], 100, rtol=0.06)
    np.testing.assert_allclose(forecast(y, weekday, 5, 6)[0], 200, rtol=0.06)


def test_farther_is_wider() -> None:
    y, weekday = series(np.random.default_rng(1), 30, 60, 0.05, 0.01)
    near = forecast(y, weekday, 2, 1)
    far = forecast(y, weekday, 2, 14)
    assert (far[2] - far[1]).sum() > (near[2] - near[1]).sum()


@pytest.mark.parametrize(
    "arguments",
    [
        (np.zeros((2, 0)), np.zeros(0, dtype=np.int64), 0, 1),
        (np.zeros((2, 3)), np.zeros(2, dtype=np.int64), 0, 1),
        (-np.ones((2, 3)), np.zeros(3, dtype=np.int64), 0, 1),
        (np.zeros((2, 3)), np.full(3, 7), 0, 1),
        (np.zeros((2, 3)), np.zeros(3, dtype=np.int64), 7, 1),
        (np.zeros((2, 3)), np.zeros(3, dtype=np.int64), 0, 0),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    with pytest.raises(InputError):
        forecast(*arguments)


def test_farthest_is_no_narrower() -> None:
    """Of days decades ahead little is known: the interval never closes again, with means from 1 visit a day on."""
    rng = np.random.default_rng(5)
    visits = rng.poisson(np.array([[1.5], [6.0], [400.0]]), (3, 60)).astype(np.float64)
    before = np.zeros(3)
    for horizon in (1, 7, 70, 700, 7_000, 70_000, 700_000):
        mean, low, high = forecast(visits, np.arange(60) % 7, horizon % 7, horizon)
        assert (high / mean >= before - 1e-9).all(), horizon
        before = high / mean
    assert (high > 4 * mean).all() and (low < 0.05 * mean + 0.5).all()
