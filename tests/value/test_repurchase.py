"""Repurchase gaps: Kaplan-Meier by lifelines, frailty by simulation, and what is due."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from footfall.value.repurchase import fit_repurchase


def drawn(people: int, variance: float, seed: int, mean_days: float = 20.0, log_days: int = 180):
    """Gaps of persons whose exponential rate is multiplied by a gamma frailty; all begin at a random day of the log."""
    rng = np.random.default_rng(seed)
    frailty = rng.gamma(1 / variance, variance, people) if variance else np.ones(people)
    person, gap, closed = [], [], []
    for i in range(people):
        day = int(rng.integers(0, log_days))
        while True:
            step = max(1, int(np.ceil(rng.exponential(mean_days / frailty[i]))))
            done = day + step < log_days
            person.append(i)
            gap.append(step if done else log_days - day)
            closed.append(int(done))
            day += step
            if not done:
                break
    return np.zeros(people, np.int64), np.array(person), np.array(gap), np.array(closed), frailty


def test_without_differences_between_persons_it_is_kaplan_meier() -> None:
    # lifelines' KaplanMeierFitter on the same gaps; ours is smoothed a little, hence the tolerance.
    category, person, gap, closed, _ = drawn(4000, 0.0, seed=1)
    fit = fit_repurchase(category, person, gap, closed)
    peer = KaplanMeierFitter().fit(gap, closed)
    days = np.array([3, 10, 20, 40, 80])
    assert fit.shape > 20  # no difference to speak of
    assert fit.survival[0, days] == pytest.approx(peer.predict(days).to_numpy(), abs=0.01)


@pytest.mark.parametrize("variance", [0.3, 1.0])
def test_the_spread_between_persons_is_found(variance: float) -> None:
    category, person, gap, closed, frailty = drawn(4000, variance, seed=2)
    fit = fit_repurchase(category, person, gap, closed)
    assert 1 / fit.shape == pytest.approx(variance, rel=0.2)
    posterior = (fit.shape + fit.gaps) / (fit.shape + fit.lived)
    assert np.corrcoef(posterior, frailty)[0, 1] > 0.6


def test_chances_of_buying_again_come_true() -> None:
    # The true chance within 14 days of an exponential clock: 1 - exp(-14 z / mean), whatever came before.
    category, person, gap, closed, frailty = drawn(6000, 0.6, seed=3)
    fit = fit_repurchase(category, person, gap, closed)
    truth = 1 - np.exp(-14 * frailty / 20.0)
    told = fit.within(14.0)
    assert told.mean() == pytest.approx(truth.mean(), abs=0.015)
    for low, high in ((0.0, 0.35), (0.35, 0.6), (0.6, 1.0)):
        rows = (told >= low) & (told < high)
        assert rows.sum() > 200
        assert truth[rows].mean() == pytest.approx(told[rows].mean(), abs=0.03)


def test_due_dates_hold_the_share_that_they_say() -> None:
    category, person, gap, closed, frailty = drawn(6000, 0.6, seed=4)
    due = fit_repurchase(category, person, gap, closed).due()
    rng = np.random.default_rng(5)
    wait = np.ceil(rng.exponential(20.0 / frailty))
    told = np.isfinite(due.median) & (due.chance > 0.9)
    assert (wait[told] <= due.median[told]).mean() == pytest.approx(0.5, abs=0.05)
    assert ((wait[told] >= due.low[told]) & (wait[told] <= due.high[told])).mean() == pytest.approx(0.8, abs=0.06)


def test_a_quick_buyer_is_due_before_a_slow_one() -> None:
    # Two persons of one category, weekly and monthly, among many between; both bought yesterday.
    _, person, gap, closed, _ = drawn(500, 0.6, seed=6)
    weekly = (np.full(13, 500), np.r_[np.full(12, 7), 1], np.r_[np.ones(12, int), 0])
    monthly = (np.full(5, 501), np.r_[np.full(4, 30), 1], np.r_[np.ones(4, int), 0])
    columns = [np.concatenate(parts) for parts in zip((person, gap, closed), weekly, monthly, strict=True)]
    due = fit_repurchase(np.zeros(502, np.int64), *columns).due()
    assert due.median[500] < due.median[501]
    assert due.chance[500] > due.chance[501]


def test_nobody_bought_twice() -> None:
    people = np.arange(50)
    fit = fit_repurchase(np.zeros(50, np.int64), people, np.full(50, 30), np.zeros(50, np.int64))
    assert fit.closed[0] == 0
    assert (fit.due().chance < 0.05).all()
    assert np.isnan(fit.quantile(0, 0.5)) or fit.survival[0, -1] > 0.95
