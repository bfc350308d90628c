"""How late rewards come: the share F(k) of ultimate orders (or refunds) that have come within k days.

What is seen on the as-of day is right-truncated: an order with delay k from a visit of age a is seen only if
k <= a. Read backwards in time, truncation becomes late entry, which hazards handle (Lagakos, Barraj & De Gruttola
1988; Lawless 1994, Canadian Journal of Statistics 22, 15-31; in insurance: the chain ladder, Mack 1993):

    h(k) = #{delay = k} / #{delay <= k}   over visits of age >= k,        F(k-1) = F(k) (1 - h(k)),  F(reach) = 1.

Each h(k) compares delays inside the same visit days, so F stays unbiased when rates differ from day to day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from footfall.model import Floats, Ints

_STRENGTHS = np.array([3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0])  # in orders
_SMOOTH_ORDERS = 2.0  # weight of the smooth shape behind the pool's hazards, in orders per day of delay


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
        spread: Floats = self.cdf * np.sqrt(log_variance)
        return np.minimum(spread, 0.5)

    @property
    def median_days(self) -> Floats:
        """Smallest delay with F >= 1/2, shape (C,)."""
        return np.argmax(self.cdf >= 0.5, axis=1).astype(np.float64)

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
    events = np.bincount(category * width + delay, count, n_categories * width).reshape(n_categories, width)
    leave = np.bincount(category * width + last + 1, count, n_categories * width).reshape(n_categories, width)
    at_risk = np.cumsum(events - leave, axis=1)
    return events[:, :-1].astype(np.float64), np.maximum(at_risk[:, :-1], 0.0)


def fit_delay(
    category: Ints, delay: Ints, age: Ints, count: Floats, n_categories: int, reach_days: int
) -> DelayCurves:
    """Delay curves of all categories, each shrunk to the pool, with the variance of the posterior hazards.

    Arguments as in :func:`reverse_hazard_counts`. The pool's hazards lean on the smooth shape
    F(k) = ((k+1)/(reach+1))^theta with the weight of two orders a day; a category's hazards lean on the pool's with
    a weight chosen by the beta-binomial likelihood over categories, averaged over a grid.
    """
    events, at_risk = reverse_hazard_counts(category, delay, age, count, n_categories, reach_days)
    pool_events, pool_risk = events.sum(axis=0), at_risk.sum(axis=0)
    prior = _smooth_hazards(pool_events, pool_risk)
    pool = (pool_events + _SMOOTH_ORDERS * prior) / (pool_risk + _SMOOTH_ORDERS)
    if n_categories == 1:
        alpha, beta = (_SMOOTH_ORDERS * prior)[None], (_SMOOTH_ORDERS * (1.0 - prior))[None]
    else:
        strength = _strength(events, at_risk, pool)
        # What the pool knows is worth at most what stands behind it.
        weight = np.minimum(strength, pool_risk + _SMOOTH_ORDERS)[None]
        alpha, beta = weight * pool, weight * (1.0 - pool)
    a, b = events + alpha, np.maximum(at_risk - events, 0.0) + beta
    hazard = a / (a + b)
    # Variance of log(1 - h) under Beta(a, b), delta method: h / ((1 - h) (a + b + 1)).
    variance = hazard / (np.maximum(1.0 - hazard, 1e-3) * (a + b + 1.0))
    hazard[:, 0] = 0.0
    variance[:, 0] = 0.0
    log_survival = np.log1p(-np.minimum(hazard, 1.0 - 1e-6))
    tail = np.cumsum(log_survival[:, ::-1], axis=1)[:, ::-1]
    cdf = np.ones_like(tail)
    cdf[:, :-1] = np.exp(tail[:, 1:])
    return DelayCurves(cdf=cdf, step_variance=variance, reach_days=reach_days)


def _smooth_hazards(events: Floats, at_risk: Floats) -> Floats:
    """Hazards of F(k) = ((k+1)/(reach+1))^theta with theta fitted to the pool: h(k) = 1 - (k/(k+1))^theta."""
    k = np.arange(events.shape[0], dtype=np.float64)
    # One early order and a third of one late: the weakest opinion that keeps theta finite.
    theta = (events[1:].sum() + 0.3) / ((at_risk[1:] * np.log1p(1.0 / np.maximum(k[1:], 1.0))).sum() + 1.0)
    hazards: Floats = 1.0 - np.exp(-theta * np.log1p(1.0 / np.maximum(k, 1.0)))
    hazards[0] = 0.0
    return hazards


def _strength(events: Floats, at_risk: Floats, pool: Floats) -> float:
    """Weight of the pool's hazards for a category, in orders: beta-binomial likelihood averaged over a grid."""
    likelihood = _beta_binomial(events, at_risk, pool, _STRENGTHS)
    weight = np.exp(likelihood - likelihood.max())
    return float(np.exp((weight * np.log(_STRENGTHS)).sum() / weight.sum()))


@numba.njit(cache=True)
def _beta_binomial(events: Floats, at_risk: Floats, pool: Floats, strengths: Floats) -> Floats:
    from math import lgamma

    out = np.zeros(strengths.shape[0])
    for g in range(strengths.shape[0]):
        s = strengths[g]
        for c in range(events.shape[0]):
            for k in range(1, events.shape[1]):
                n = at_risk[c, k]
                if n <= 0.0 or pool[k] <= 0.0 or pool[k] >= 1.0:
                    continue
                d = events[c, k]
                rest = max(n - d, 0.0)
                a = s * pool[k]
                b = s - a
                out[g] += (
                    lgamma(a + d) - lgamma(a) + lgamma(b + rest) - lgamma(b) + lgamma(s) - lgamma(s + d + rest)
                )
    return out
