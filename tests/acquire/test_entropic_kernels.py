"""The vectorised entropic passes against numpy's extended precision and the row-by-row kernels."""

from __future__ import annotations

import numpy as np
import pytest

from footfall.acquire import _entropy_kernels as passes


def rows(seed, widths, spread=1.0, kind=np.float64):
    """Rows of these widths over 50 or more providers; values spread over so many tau; a tenth of references 0."""
    rng = np.random.default_rng(seed)
    m = max(50, max(widths, default=0))
    start = np.concatenate([[0], np.cumsum(widths)]).astype(np.uint64)
    provider = np.concatenate([rng.choice(m, k, replace=False) for k in widths] or [[]]).astype(np.uint32)
    reference = rng.gamma(0.5, 1, len(provider)) * (rng.random(len(provider)) < 0.9)
    row = np.repeat(np.arange(len(widths)), widths)
    reference /= np.maximum(np.bincount(row, reference, minlength=len(widths)), 1e-300)[row]
    tau = rng.lognormal(0, 1, len(widths))
    value = spread * rng.normal(0, 1, len(provider)) * tau[row]
    demand = rng.lognormal(1, 1, len(widths))
    return start, provider, value.astype(kind), reference.astype(kind), tau, demand, rng.normal(0, 0.3, m)


def wanted(start, provider, value, reference, tau, demand, price):
    """Shares, loads, curvature, the dual and its curvature in a shift, in extended precision."""
    wide = np.longdouble
    row = np.repeat(np.arange(len(tau)), np.diff(start.astype(int)))
    lift = (value.astype(wide) - price[provider]) / tau[row].astype(wide)
    weight = reference.astype(wide) * np.exp(lift)
    total, mass = np.zeros(len(tau), dtype=wide), np.zeros(len(tau), dtype=wide)
    np.add.at(total, row, weight)
    np.add.at(mass, row, reference.astype(wide))
    share = weight / np.maximum(total, 1)[row]
    load, curve = np.zeros(len(price), dtype=wide), np.zeros(len(price), dtype=wide)
    np.add.at(load, provider, demand[row] * share)
    np.add.at(curve, provider, demand[row] * share / tau[row])
    full = total >= 1
    worth = np.where(full, np.log(np.maximum(total, 1)) + 1, total) - mass
    soft = (demand / tau * np.where(full, 0, total)).sum()
    return share, load, curve, (demand * tau * worth).sum(), soft


WIDTHS = {
    "usual": [20] * 300,
    "uneven": [0, 1, 3000, 0, 16, 17, 15, 2049, 1, 33, 0],
    "single": [1] * 5000,
    "none": [],
}


@pytest.mark.parametrize("spread", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("shape", WIDTHS)
def test_exact_pass_is_exact(shape, spread):
    data = rows(1, WIDTHS[shape], spread)
    share, load, curve, dual, soft = wanted(*data)
    _start, provider, _value, reference, tau, demand, price = data
    got, sums = np.empty(len(provider)), np.zeros((2, len(price)))
    found = passes.entropy_shares(*data[:6], price, 0, len(tau), got, sums[0], sums[1])
    np.testing.assert_allclose(got, share.astype(float), rtol=3e-15 * (10 + spread), atol=1e-250)
    assert (got[reference == 0] == 0).all()
    np.testing.assert_allclose(sums[0], load.astype(float), rtol=1e-12, atol=1e-250)
    np.testing.assert_allclose(sums[1], curve.astype(float), rtol=1e-12, atol=1e-250)
    assert found[0] == pytest.approx(float(dual), rel=1e-12, abs=1e-12 * float(demand @ tau))
    assert found[1] == pytest.approx(float(soft), rel=1e-12, abs=1e-250)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("shape", WIDTHS)
def test_quick_pass_is_near(shape, spread, kind):
    data = rows(2, WIDTHS[shape], spread, kind)
    start, _provider, _value, reference, tau, demand, price = data
    price = price.astype(np.float32)
    _, load, curve, dual, soft = wanted(*data[:6], price)
    mass = np.zeros(len(tau))
    np.add.at(mass, np.repeat(np.arange(len(tau)), np.diff(start.astype(int))), reference)
    shift = np.zeros(len(tau), dtype=np.float32)
    for _ in range(2):  # the second time with shifts of the first
        sums = np.zeros((2, len(price)))
        found = passes.entropy_loads(*data[:6], price, shift, 0, len(tau), sums[0], sums[1])
        near = 1e-6 * (1 + spread)
        np.testing.assert_allclose(sums[0], load.astype(float), rtol=near, atol=near * float(load.max(initial=0)))
        np.testing.assert_allclose(sums[1], curve.astype(float), rtol=near, atol=near * float(curve.max(initial=0)))
        whole = float(dual) + float((demand * tau) @ (mass - 1))
        assert found[0] == pytest.approx(whole, rel=1e-5, abs=1e-5 * float(demand @ tau))
        assert found[1] == pytest.approx(float(soft), rel=near, abs=1e-4 * float((demand / tau).sum()))


@pytest.mark.parametrize("shape", WIDTHS)
def test_worth_of_shares(shape):
    start, _, value, reference, tau, demand, _ = rows(3, WIDTHS[shape])
    row = np.repeat(np.arange(len(tau)), np.diff(start.astype(int)))
    share = reference * np.random.default_rng(0).lognormal(0, 2, len(row))
    share[::7] = 0
    x, p = share.astype(np.longdouble), reference.astype(np.longdouble)
    term = np.where(x > 0, x * np.log(np.maximum(x, 1e-300) / np.maximum(p, 1e-300)), 0) - x + p
    reward, cost = passes.entropy_worth(start, value, reference, tau, demand, share, 0, len(tau))
    scale = float(np.abs(demand[row] * share * value).sum())
    assert reward == pytest.approx(float((demand[row] * x * value).sum()), abs=1e-13 * scale)
    assert cost == pytest.approx(float((demand[row] * tau[row] * term).sum()), rel=1e-12)


def test_share_without_reference_costs_infinity():
    start, reference = np.array([0, 2], dtype=np.uint64), np.array([1.0, 0.0])
    data = (start, np.ones(2), reference, np.ones(1), np.ones(1))
    assert passes.entropy_worth(*data, np.array([0.5, 0.5]), 0, 1)[1] == np.inf
    assert passes.entropy_worth(*data, np.array([0.5, 0.0]), 0, 1)[1] < np.inf


def test_shut_providers_get_next_to_nothing():
    data = rows(4, WIDTHS["usual"])
    _start, provider, _value, _reference, tau, _demand, price = data
    price[:5] = np.inf
    got, sums = np.empty(len(provider)), np.zeros((2, len(price)))
    passes.entropy_shares(*data[:6], price, 0, len(tau), got, sums[0], sums[1])
    assert sums[0][:5].max() < 1e-290
    shift = np.zeros(len(tau), dtype=np.float32)
    passes.entropy_loads(*data[:6], price.astype(np.float32), shift, 0, len(tau), sums[1], np.zeros(0))
    assert sums[1][:5].max() < 1e-30


def test_rows_between_first_and_last_only():
    data = rows(5, WIDTHS["usual"])
    tau, price = data[4], data[6]
    parts, whole = np.zeros((2, len(price))), np.zeros(len(price))
    share, none = np.full(len(data[1]), -1.0), np.zeros(0)
    cut = passes.entropy_shares(*data[:6], price, 0, 123, share, parts[0], none)
    assert (share[123 * 20 :] == -1).all()
    rest = passes.entropy_shares(*data[:6], price, 123, len(tau), share, parts[1], none)
    dual = passes.entropy_shares(*data[:6], price, 0, len(tau), share, whole, none)
    np.testing.assert_allclose(parts.sum(axis=0), whole, rtol=1e-13)
    assert cut[0] + rest[0] == pytest.approx(dual[0], rel=1e-13)
