"""Lifetimes: the published fits on CDNOW, other libraries' formulas on random customers, and data too thin to fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from footfall.errors import InputError
from footfall.value._lifetime_kernels import psi
from footfall.value.lifetime import BgNbd, GammaGamma, fit_bg_nbd, fit_gamma_gamma

CDNOW = Path(__file__).parents[3] / "shared" / "data" / "cdnow"
needs_cdnow = pytest.mark.skipif(not CDNOW.is_dir(), reason=f"the CDNOW sample is not at {CDNOW}")
END = date(1997, 9, 30)  # of the 39 weeks of calibration, as in the paper


def cdnow_customers() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Repeats, recency, age (weeks) in the calibration period, mean money of repeats, purchase days of the holdout."""
    days: dict[str, dict[date, float]] = {}
    for line in (CDNOW / "CDNOW_sample.txt").read_text().splitlines():
        _, customer, day, _, money = line.split()
        when = date(int(day[:4]), int(day[4:6]), int(day[6:]))
        days.setdefault(customer, {}).setdefault(when, 0.0)
        days[customer][when] += float(money)
    rows = []
    for bought in days.values():
        first, inside = min(bought), sorted(day for day in bought if day <= END)
        repeats = inside[1:]
        money = float(np.mean([bought[day] for day in repeats])) if repeats else 0.0
        rows.append(
            (len(repeats), (inside[-1] - first).days / 7, (END - first).days / 7, money, len(bought) - len(inside))
        )
    return tuple(np.array(column, float) for column in zip(*rows, strict=True))  # type: ignore[return-value]


@needs_cdnow
def test_the_published_fit_of_cdnow() -> None:
    # Fader, Hardie & Lee (2005), table 2: r = .243, alpha = 4.414, a = .793, b = 2.426, LL = -9582.4, from the summary
    # whose weeks are rounded to two decimals.
    summary = np.loadtxt(CDNOW / "customers_summary.csv", delimiter=",", skiprows=1)
    fit = fit_bg_nbd(*summary.T[1:])
    assert len(summary) == 2357
    assert fit.converged
    assert (fit.r, fit.alpha, fit.a, fit.b) == pytest.approx((0.2426, 4.4135, 0.7929, 2.4258), abs=1e-4)
    assert fit.log_likelihood == pytest.approx(-9582.43, abs=0.01)


@needs_cdnow
def test_the_holdout_of_cdnow() -> None:
    # The sample's own purchase days of the 39 weeks after calibration: 1,882.
    x, recency, age, _, later = cdnow_customers()
    forecast = fit_bg_nbd(x, recency, age).expected(x, recency, age, 39)
    assert later.sum() == 1882
    assert abs(forecast.sum() / later.sum() - 1) <= 0.13


@needs_cdnow
def test_the_published_gamma_gamma_of_cdnow() -> None:
    # Fader & Hardie (2013), section 4: p = 6.25, q = 3.74, gamma = 15.44 from the 946 customers with repeats.
    x, _, _, money, _ = cdnow_customers()
    fit = fit_gamma_gamma(x[x > 0], money[x > 0])
    assert fit.customers == 946
    assert (fit.p, fit.q, fit.gamma) == pytest.approx((6.25, 3.74, 15.44), abs=0.02)


def test_the_unit_of_time_does_not_matter() -> None:
    x, recency, age = drawn(3000, BgNbd(0.8, 6.0, 1.1, 2.5, 0.0, 0, True), seed=5)
    weeks, days = fit_bg_nbd(x, recency, age), fit_bg_nbd(x, recency * 7, age * 7)
    assert days.alpha == pytest.approx(weeks.alpha * 7, rel=1e-6)
    assert (days.r, days.a, days.b) == pytest.approx((weeks.r, weeks.a, weeks.b), rel=1e-6)
    assert days.expected(x, recency * 7, age * 7, 70) == pytest.approx(weeks.expected(x, recency, age, 10), rel=1e-6)
    # A density in days is a seventh of one in weeks, once for each repeat purchase.
    assert days.log_likelihood == pytest.approx(weeks.log_likelihood - x.sum() * np.log(7))


def test_known_parameters_are_found_again() -> None:
    truth = BgNbd(0.8, 6.0, 1.1, 2.5, 0.0, 0, True)
    fits = [fit_bg_nbd(*drawn(4000, truth, seed=seed)) for seed in range(8)]
    for name in ("r", "alpha", "a", "b"):
        found = np.array([getattr(fit, name) for fit in fits])
        assert abs(found.mean() - getattr(truth, name)) < 4 * found.std(ddof=1) / np.sqrt(8)


def test_weights_stand_for_customers() -> None:
    x, recency, age = drawn(800, BgNbd(0.8, 6.0, 1.1, 2.5, 0.0, 0, True), seed=6)
    weight = np.arange(800) % 3 + 1.0
    twice = [np.repeat(part, weight.astype(int)) for part in (x, recency, age)]
    once, many = fit_bg_nbd(x, recency, age, weight), fit_bg_nbd(*twice)
    assert (once.r, once.alpha, once.a, once.b) == pytest.approx((many.r, many.alpha, many.a, many.b), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    r=st.floats(0.05, 5), alpha=st.floats(0.2, 50), a=st.floats(0.05, 4), b=st.floats(0.1, 9),
    x=st.integers(0, 30), share=st.floats(0.01, 1), age=st.floats(0.5, 200), ahead=st.floats(0.1, 400),
)  # fmt: skip
def test_expected_purchases_are_the_integral_of_the_model(
    r: float, alpha: float, a: float, b: float, x: int, share: float, age: float, ahead: float
) -> None:
    # The purchase rate at time T + u of one who was alive at T with drop-out p: lambda exp(-lambda p u), with
    # lambda ~ gamma(r + x, alpha + T), p ~ beta(a, b + x) (section 4.3 of the paper); lambda is integrated by hand.
    fit = BgNbd(r, alpha, a, b, 0.0, 0, True)
    recency = share * age if x else 0.0
    shape, late = r + x, alpha + age

    # integral over u of E[lambda exp(-lambda p u)] = (1 - (late / (late + p ahead))^shape) / p
    def bought(p: np.ndarray) -> np.ndarray:
        return -np.expm1(-shape * np.log1p(p * ahead / late)) / p

    # Trapezoids in t = logit(p), of which all is analytic within pi of the real line: exact to e^(-2 pi^2 / 0.2).
    t = np.arange(-700, 700, 0.2)
    log_p, log_rest = -np.logaddexp(0, -t), -np.logaddexp(0, t)
    density = np.exp(a * log_p + (b + x) * log_rest - special.betaln(a, b + x))
    assert 0.2 * density.sum() == pytest.approx(1, rel=1e-9)
    total = 0.2 * float(density @ bought(np.exp(log_p)))
    alive = fit.alive([x], [recency], [age])[0]
    assert fit.expected([x], [recency], [age], ahead)[0] == pytest.approx(total * alive, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    r=st.floats(0.02, 50), alpha=st.floats(1, 500), p=st.floats(0.01, 0.99), x=st.integers(0, 30),
    share=st.floats(0.01, 1), age=st.floats(0.5, 200), ahead=st.floats(1, 400),
)  # fmt: skip
def test_expected_purchases_where_all_drop_out_alike(
    r: float, alpha: float, p: float, x: int, share: float, age: float, ahead: float
) -> None:
    # a, b -> infinity with a / (a + b) = p, where the likelihood of a short log often ends: the rate above with one p
    # for all, integrated by hand. beta(1e9 p, 1e9 (1 - p)) has a spread of at most 2e-5.
    fit = BgNbd(r, alpha, 1e9 * p, 1e9 * (1 - p), 0.0, 0, True)
    recency = share * age if x else 0.0
    bought = -np.expm1(-(r + x) * np.log1p(p * ahead / (alpha + age))) / p
    alive = fit.alive([x], [recency], [age])[0]
    assert fit.expected([x], [recency], [age], ahead)[0] == pytest.approx(bought * alive, rel=1e-5)


@settings(deadline=None)  # the first call compiles
@given(x=st.floats(1e-4, 1e7))
def test_digamma_and_trigamma(x: float) -> None:
    log, first, second = psi(x)
    assert log == pytest.approx(special.gammaln(x), rel=1e-12, abs=1e-12)
    assert first == pytest.approx(special.digamma(x), rel=1e-11, abs=1e-12)
    assert second == pytest.approx(special.polygamma(1, x), rel=1e-11)


def test_money_is_shrunk_to_the_mean() -> None:
    # Fader & Hardie (2013), equation 5: a weighted mean of one's own and the population's.
    fit = GammaGamma(p=6.25, q=3.74, gamma=15.44, log_likelihood=0.0, customers=946, converged=True)
    few, many = fit.expected([1, 100], [80.0, 80.0])
    assert fit.mean < few < many < 80
    assert fit.expected([0], [np.nan])[0] == pytest.approx(fit.mean)
    weight = 6.25 * 3 / (6.25 * 3 + 2.74)
    assert fit.expected([3], [80.0])[0] == pytest.approx(weight * 80 + (1 - weight) * fit.mean)


def test_thin_or_wrong_data_are_refused() -> None:
    with pytest.raises(InputError, match="2 customers bought again"):
        fit_bg_nbd([1, 2, 0], [1.0, 2.0, 0.0], [3.0, 3.0, 3.0])
    with pytest.raises(InputError, match="row 1: frequency 1, recency 4, age 3"):
        fit_bg_nbd([0, 1], [0.0, 4.0], [3.0, 3.0])
    with pytest.raises(InputError, match="row 0: frequency 0, recency 1"):
        fit_bg_nbd([0, 1], [1.0, 2.0], [3.0, 3.0])
    with pytest.raises(InputError, match="row 0: frequency nan"):
        fit_bg_nbd([np.nan], [0.0], [3.0])
    with pytest.raises(InputError, match="row 1: count 1, mean -2"):
        fit_gamma_gamma([1, 1], [2.0, -2.0])
    with pytest.raises(InputError, match="one length"):
        fit_bg_nbd([1, 2], [0.0], [3.0, 3.0])


def test_a_likelihood_without_a_maximum_is_told() -> None:
    # Nobody ever drops out: a / b runs to 0.
    rng = np.random.default_rng(3)
    x = rng.poisson(5.0, 500) + 1.0
    fit = fit_bg_nbd(x, np.full(500, 10.0), np.full(500, 10.0))
    assert not fit.converged
    assert fit.alive([5], [10.0], [10.0])[0] > 0.99


def drawn(n: int, truth: BgNbd, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Customers of the model, simulated purchase by purchase."""
    rng = np.random.default_rng(seed)
    rate, drop, age = rng.gamma(truth.r, 1 / truth.alpha, n), rng.beta(truth.a, truth.b, n), rng.uniform(5, 80, n)
    x, last, now, alive = np.zeros(n), np.zeros(n), np.zeros(n), np.ones(n, bool)
    while alive.any():
        i = np.flatnonzero(alive)
        now[i] += rng.exponential(1 / rate[i])
        alive[i[now[i] >= age[i]]] = False
        i = i[now[i] < age[i]]
        x[i] += 1
        last[i] = now[i]
        alive[i[rng.random(len(i)) < drop[i]]] = False
    return x, last, age


def test_grocery_households_ahead_of_their_past_rate(real: Callable[[str], Path]) -> None:
    """Complete Journey, weeks 1 to 30 against 31 to 40: no worse per household than the past rate carried forward."""
    log = pq.read_table(
        real("complete-journey") / "transactions.parquet", columns=["household_id", "week", "transaction_timestamp"]
    )
    day = log["transaction_timestamp"].to_numpy().astype("datetime64[D]").astype(np.int64)
    visits = np.unique(np.column_stack((log["household_id"].to_numpy(), day, log["week"].to_numpy())), axis=0)
    past, ahead = visits[visits[:, 2] <= 30], visits[visits[:, 2] > 30]
    start, now, end = day.min(), past[:, 1].max(), ahead[:, 1].max()
    household, at = np.unique(past[:, 0], return_inverse=True)
    count = np.bincount(at).astype(float)
    first, last = np.full(len(household), end), np.full(len(household), start)
    np.minimum.at(first, at, past[:, 1])
    np.maximum.at(last, at, past[:, 1])
    known = ahead[np.isin(ahead[:, 0], household)]
    actual = np.bincount(np.searchsorted(household, known[:, 0]), minlength=len(household))
    customers = (count - 1, (last - first).astype(float), (now - first).astype(float))
    forecast = fit_bg_nbd(*customers).expected(*customers, float(end - now))
    carried = count / (now - start + 1) * (end - now)
    assert np.abs(forecast - actual).mean() <= np.abs(carried - actual).mean()
    assert forecast.sum() == pytest.approx(actual.sum(), rel=0.05)
