"""How late rewards come: the share F(k) of ultimate orders (or refunds) that have come within k days.

What is seen on the as-of day is right-truncated: an order with delay k from a visit of age a is seen only if
k <= a. Read backwards in time, truncation becomes late entry, which hazards handle (Lagakos, Barraj & De Gruttola
1988; Lawless 1994, Canadian Journal of Statistics 22, 15-31; in insurance: the chain ladder, Mack 1993):

    h(k) = #{delay = k} / #{delay <= k}   over visits of age >= k,        F(k-1) = F(k) (1 - h(k)),  F(reach) = 1.

Each h(k) compares delays inside the same visit days, so F stays unbiased when rates differ from day to day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from footfall.model import Floats, Ints
from footfall.value.sums import sum_by

_STRENGTHS = np.array([1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0])  # in orders
_BANDWIDTH = 0.35  # of log(1 + delay): days 9 to 17 speak for day 12
_PASSES = 3
_RATIO_EVENTS = 1.0  # late orders that the pool's level stands for: a category may well be twice as slow
_OUTSIDE_ORDERS = 1.5  # what pool and smoothness are worth in the variance, in orders at each delay


@dataclass(frozen=True, slots=True)
class DelayCurves:
    """Delay curves of C categories over delays 0..reach.

    cdf: float64 (C, reach + 1), F(k) within the reach, cdf[:, reach] = 1.
    step_variance: float64 (C, reach + 1), variance of log(1 - h(k)); [:, 0] is 0. log F(k) is the sum of the
        independent log(1 - h(l)) over l > k, so that its variance is the tail sum (Greenwood).
    reach_days: the largest delay that the log can show.
    """

    cdf: Floats
    step_variance: Floats
    reach_days: int

    @property
    def sd(self) -> Floats:
        """Standard deviation of F(k), shape (C, reach + 1), by the delta method."""
        tail = np.cumsum(self.step_variance[:, ::-1], axis=1)[:, ::-1]
        log_variance = np.zeros_like(tail)
        log_variance[:, :-1] = tail[:, 1:]
        spread: Floats = np.minimum(self.cdf * np.sqrt(log_variance), 0.5)
        return spread

    @property
    def median_days(self) -> Floats:
        """Smallest delay with F >= 1/2, shape (C,)."""
        median: Floats = np.argmax(self.cdf >= 0.5, axis=1).astype(np.float64)
        return median

    def at(self, category: Ints, age: Ints) -> Floats:
        """F(min(age, reach)) of each row."""
        return self.cdf[category, np.minimum(age, self.reach_days)]


def reverse_hazard_counts(
    category: Ints, delay: Ints, age: Ints, count: Floats, n_categories: int, reach_days: int
) -> tuple[Floats, Floats]:
    """Events and numbers at risk of the reverse-time hazards.

    category, delay, age: int64 (n,), delay <= min(age, reach); count: float64 (n,), orders of that row.
    Returns (events, at_risk), both float64 (C, reach + 1): #{delay = k} and #{delay <= k <= age}.
    """
    width = reach_days + 2
    last = np.minimum(age, reach_days)
    events = sum_by(category * width + delay, count, n_categories * width).reshape(n_categories, width)
    leave = sum_by(category * width + last + 1, count, n_categories * width).reshape(n_categories, width)
    at_risk = np.cumsum(events - leave, axis=1)
    return events[:, :-1].astype(np.float64), np.maximum(at_risk[:, :-1], 0.0)


def fit_delay(category: Ints, delay: Ints, age: Ints, count: Floats, n_categories: int, reach_days: int) -> DelayCurves:
    """Delay curves of all categories, shrunk to a smooth shape near the pool's, with the variance of the hazards.

    Arguments as in :func:`reverse_hazard_counts`. The weight of the smooth hazards, in orders, is chosen by their
    beta-binomial likelihood over all categories and delays, averaged over a grid. The variance counts the
    category's own orders at risk only: smoothing moves uncertainty between neighbouring delays, it removes little.
    """
    events, at_risk = reverse_hazard_counts(category, delay, age, count, n_categories, reach_days)
    smooth = _smooth_hazards(events, at_risk)
    strength = pooling_strength(events, at_risk, smooth)
    hazard = np.minimum((events + strength * smooth) / (at_risk + strength), 1.0 - 1e-6)
    variance = hazard / ((1.0 - hazard) * (at_risk + _OUTSIDE_ORDERS))
    hazard[:, 0] = 0.0
    variance[:, 0] = 0.0
    tail = np.cumsum(np.log1p(-hazard)[:, ::-1], axis=1)[:, ::-1]
    cdf = np.ones_like(tail)
    cdf[:, :-1] = np.exp(tail[:, 1:])
    return DelayCurves(cdf=cdf, step_variance=np.minimum(variance, 1.0), reach_days=reach_days)


def _smooth_hazards(events: Floats, at_risk: Floats) -> Floats:
    """Smooth reverse hazards of every category, (C, reach + 1).

    The frame is F(k) = ((k+1)/(reach+1))^theta, that is -log(1 - h(k)) = theta log(1 + 1/k). The pool's theta is
    fitted around each k (Gaussian weights in log k); a category's is the pool's times its own ratio of events to
    expected, overall and around k, each a gamma posterior. Smoothing the ratio of events to the last fit again takes
    most of a smoother's bias at the edges away (Jones, Linton & Nielsen 1995, Biometrika 82, 327-338).
    """
    k = np.arange(events.shape[1], dtype=np.float64)
    frame = np.zeros_like(k)
    frame[1:] = np.log1p(1.0 / k[1:])
    late = events * (k > 0)
    exposed = (at_risk - 0.5 * late) * frame  # half: those who leave at k were at risk for half of it
    near = np.exp(-0.5 * ((np.log1p(k)[:, None] - np.log1p(k)[None]) / _BANDWIDTH) ** 2)
    total, spent = late.sum(axis=0), exposed.sum(axis=0)
    theta = (total.sum() + 0.3) / (spent.sum() + 1.0)
    pool = np.full_like(k, theta)
    for _ in range(_PASSES):
        pool *= (near @ total + 1.0) / (near @ (spent * pool) + 1.0)
    expected = exposed * pool
    ratio = (late.sum(axis=1) + _RATIO_EVENTS) / (expected.sum(axis=1) + _RATIO_EVENTS)
    own = np.repeat(ratio[:, None], k.shape[0], axis=1)
    for _ in range(_PASSES):
        own *= (late @ near + _RATIO_EVENTS) / ((expected * own) @ near + _RATIO_EVENTS)
    hazards: Floats = -np.expm1(-own * pool * frame)
    return hazards


def pooling_strength(events: Floats, at_risk: Floats, smooth: Floats) -> float:
    """Weight of the smooth hazards, in orders: beta-binomial likelihood averaged over a grid."""
    likelihood = _beta_binomial(events, at_risk, smooth, _STRENGTHS)
    weight = np.exp(likelihood - likelihood.max())
    return float(np.exp((weight * np.log(_STRENGTHS)).sum() / weight.sum()))


@numba.njit(cache=True)
def _beta_binomial(events: Floats, at_risk: Floats, smooth: Floats, strengths: Floats) -> Floats:
    out = np.zeros(strengths.shape[0])
    for g in range(strengths.shape[0]):
        s = strengths[g]
        for c in range(events.shape[0]):
            for k in range(1, events.shape[1]):
                n, h = at_risk[c, k], smooth[c, k]
                if n <= 0.0 or h <= 0.0 or h >= 1.0:
                    continue
                d = events[c, k]
                rest = max(n - d, 0.0)
                a, b = s * h, s * (1.0 - h)
                out[g] += math.lgamma(a + d) - math.lgamma(a) + math.lgamma(b + rest) - math.lgamma(b)
                out[g] += math.lgamma(s) - math.lgamma(s + d + rest)
    return out
