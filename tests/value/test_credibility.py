"""Order value against Buehlmann and Straub's formulas and Hachemeister's data."""

from __future__ import annotations

import numpy as np

from footfall.value.credibility import buehlmann_straub, order_value, relative_spread

# Hachemeister (1975), average claim amounts and claim numbers of five states over twelve quarters; printed in
# Buehlmann & Gisler (2005), and in the R package actuar as ``hachemeister``.
CLAIMS = np.array(
    [
        [1738, 1642, 1794, 2051, 2079, 2234, 2032, 2035, 2115, 2262, 2267, 2517],
        [1364, 1408, 1597, 1444, 1342, 1675, 1470, 1448, 1464, 1831, 1612, 1471],
        [1759, 1685, 1479, 1763, 1674, 2103, 1502, 1622, 1828, 2155, 2233, 2059],
        [1223, 1146, 1010, 1257, 1426, 1532, 1953, 1123, 1343, 1243, 1762, 1306],
        [1456, 1499, 1609, 1741, 1482, 1572, 1606, 1735, 1607, 1573, 1613, 1690],
    ],
    dtype=float,
)
NUMBERS = np.array(
    [
        [7861, 9251, 8706, 8575, 7917, 8263, 9456, 8003, 7365, 7832, 7849, 9077],
        [1622, 1742, 1523, 1515, 1622, 1602, 1964, 1515, 1527, 1748, 1654, 1861],
        [1147, 1357, 1329, 1204, 998, 1077, 1277, 1218, 896, 1003, 1108, 1121],
        [407, 396, 348, 341, 315, 328, 352, 331, 287, 384, 321, 342],
        [2902, 3172, 3046, 3068, 2693, 2910, 3275, 2697, 2663, 3017, 3242, 3425],
    ],
    dtype=float,
)


def test_hachemeister() -> None:
    # actuar's manual, cm(~state, hachemeister, weights): collective premium 1683.713, between 89638.73,
    # within 139120026, credibility .9847 .9276 .8985 .7279 .9588.
    weight = NUMBERS.sum(axis=1)
    mean = (CLAIMS * NUMBERS).sum(axis=1) / weight
    within = (NUMBERS * (CLAIMS - mean[:, None]) ** 2).sum() / (5 * 11)
    np.testing.assert_allclose(within, 139120026, rtol=1e-6)
    fit = buehlmann_straub(mean, weight, within)
    np.testing.assert_allclose(fit.between, 89638.73, rtol=1e-6)
    np.testing.assert_allclose(fit.collective, 1683.713, rtol=1e-6)
    np.testing.assert_allclose(fit.credibility, [0.9847, 0.9276, 0.8985, 0.7279, 0.9588], atol=1e-4)


def test_order_value_is_a_credibility_mean() -> None:
    # Many providers with known cv = .5 between means around 100 and kappa = .8 within: Z = n / (n + K),
    # K = kappa^2 (1 + 1 / cv^2) = 3.2, by hand.
    rng = np.random.default_rng(1)
    n = 3000
    mean = 1 / rng.gamma(2 + 1 / 0.25, 1 / (100 * (1 + 1 / 0.25)), n)  # inverse gamma, mean 100, cv .5
    orders = rng.integers(1, 12, n).astype(float)
    amount = mean * 0.64 * rng.gamma(orders / 0.64)
    fit = order_value(orders, amount, np.full(n, 0.64), np.zeros(n, dtype=np.int64), 1)
    z = orders / (orders + 3.2)
    expected = z * amount / orders + (1 - z) * 100
    assert np.abs(fit.mean / expected - 1).mean() < 0.02
    error = ((fit.mean - mean) ** 2).mean()
    assert error < ((amount / orders - mean) ** 2).mean()
    assert abs(error / (fit.mean**2 * fit.relative_variance).mean() - 1) < 0.2


def test_spread_of_amounts_is_found_and_shrunk() -> None:
    rng = np.random.default_rng(3)
    own = rng.lognormal(4.0, np.sqrt(np.log1p(0.49)), (50, 200))  # cv .7
    orders = np.full(50, 200.0)
    zero = np.zeros(50, dtype=np.int64)
    found = relative_spread(orders, own.sum(axis=1), (own**2).sum(axis=1), zero, 1)
    np.testing.assert_allclose(found.mean(), 0.49, rtol=0.1)
    alone = relative_spread(np.ones(1), np.array([9.0]), np.array([81.0]), zero[:1], 1)
    np.testing.assert_allclose(alone, 0.7)  # one order says nothing about spread


def test_equal_amounts() -> None:
    # Everybody's orders are 100: no provider may be far from it, and the spread must not be 0.
    orders = np.array([5.0, 80.0, 1.0, 0.0])
    zero = np.zeros(4, dtype=np.int64)
    kappa2 = relative_spread(orders, 100 * orders, 1e4 * orders, zero, 1)
    fit = order_value(orders, 100 * orders, kappa2, zero, 1)
    assert (kappa2 > 0).all()
    np.testing.assert_allclose(fit.mean, 100.0, rtol=0.15)
    np.testing.assert_allclose(fit.mean[1], 100.0, rtol=0.01)


def test_no_orders_at_all() -> None:
    zero = np.zeros(2, dtype=np.int64)
    kappa2 = relative_spread(np.zeros(2), np.zeros(2), np.zeros(2), zero, 1)
    fit = order_value(np.zeros(2), np.zeros(2), kappa2, zero, 1)
    assert np.isfinite(fit.mean).all()
    assert (fit.relative_variance > 0).all()
