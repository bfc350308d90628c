"""Repurchase: how many days pass from one purchase day to the next in a category, and when a person's next is due.

The last gap of a person is open: it is at least as long as seen. Hazards of closed gaps among those at risk handle that
(Kaplan & Meier 1958, JASA 53, 457-481), shrunk to the smoothed hazards of all categories. Persons differ: each has a
gamma frailty z of mean 1 that multiplies the hazards of all their gaps (Clayton 1978, Biometrika 65, 141-151), with
posterior mean (nu + gaps closed) / (nu + hazard lived through); baseline and frailties are fitted in turn (EM: Klein
1992, Biometrics 48, 795-806). Some never come back within the log's length; what is "due" is said of those who do,
beside the chance that one does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from footfall.model import Floats, Ints
from footfall.value.delay import pooling_strength
from footfall.value.sums import sum_by

FEWEST_REPURCHASES = 10  # of all categories together, below which no gap curve says when anybody is due
_BANDWIDTH = 0.15  # of log gap: weeks and months keep their peaks
_ROUNDS = 12  # of EM; the frailty's spread settles in about six
_SHAPES = np.exp(np.linspace(math.log(0.1), math.log(1000.0), 60))  # nu; 1 / nu is the variance of the frailty


@dataclass(frozen=True, slots=True)
class Repurchase:
    """Gap curves of C categories over 0..reach days, and what G persons (each in a category) have shown.

    hazard: float64 (C, reach + 1), cumulative, of a person of frailty 1. variance: float64 (C, reach + 1), of it
    (Greenwood 1926). closed: float64 (C,), gaps seen to their end. shape: nu of the frailty.
    category: int64 (G,). gaps: float64 (G,), closed. lived: float64 (G,), cumulative hazard over all of the person's
    gaps. since: int64 (G,), length of the open gap.
    """

    hazard: Floats
    variance: Floats
    closed: Floats
    shape: float
    category: Ints
    gaps: Floats
    lived: Floats
    since: Ints

    @property
    def reach_days(self) -> int:
        """The longest gap that the log can show."""
        return int(self.hazard.shape[1]) - 1

    @property
    def thin(self) -> bool:
        """Whether so few bought again that nothing is to be said of when."""
        return float(self.closed.sum()) < FEWEST_REPURCHASES

    @property
    def survival(self) -> Floats:
        """Share of purchases not followed by another within k days, of a new customer, (C, reach + 1)."""
        curve: Floats = (self.shape / (self.shape + self.hazard)) ** self.shape
        return curve

    @property
    def sd(self) -> Floats:
        """Standard deviation of ``survival``, by the delta method."""
        spread: Floats = self.survival * np.sqrt(self.variance) * self.shape / (self.shape + self.hazard)
        bounded: Floats = np.minimum(spread, 0.5)
        return bounded

    def quantile(self, category: int, level: float) -> float:
        """Days within which ``level`` of those new customers who come back do so; NaN where nobody does."""
        curve = self.survival[category]
        if curve[-1] >= 1.0 - 1e-9:
            return float("nan")
        return float(np.searchsorted(-curve, -(1.0 - level * (1.0 - curve[-1]))))

    def within(self, days: float) -> Floats:
        """Chance that each person buys again within ``days`` from now, (G,); as far as the log's length can tell."""
        later: Floats = self.since.astype(np.float64) + days
        return 1.0 - self._left(self._hazard_at(later) - self._hazard_at(self.since))

    def waited(self) -> Floats:
        """Of those like each person who come back at all, the share that takes longer than the person has by now, (G,).

        As of the last purchase; 1 on its day, 0 once nobody is known to take longer.
        """
        end = self.hazard[self.category, -1]
        never = self._from_purchase(end)
        share: Floats = np.clip((self._from_purchase(self._hazard_at(self.since)) - never) / (1.0 - never), 0.0, 1.0)
        return share

    def typical_days(self) -> Floats:
        """Days after the last purchase by which half of those like each person who come back have done so, (G,)."""
        held, power = self._held_then(), -1.0 / (self.shape + self.gaps)
        never = self._from_purchase(self.hazard[self.category, -1])
        days: Floats = self._day_of(held * ((1.0 - 0.5 * (1.0 - never)) ** power - 1.0))
        return days

    def _held_then(self) -> Floats:
        """What the gamma posterior held on the day of the last purchase."""
        held: Floats = self.shape + np.maximum(self.lived - self._hazard_at(self.since), 0.0)
        return held

    def _from_purchase(self, hazard: Floats) -> Floats:
        """Chance, as of the last purchase, of no other while the category's hazard comes to ``hazard``."""
        held = self._held_then()
        chance: Floats = (held / (held + hazard)) ** (self.shape + self.gaps)
        return chance

    def due(self) -> Due:
        """When the next purchase of each person is due."""
        now = self._hazard_at(self.since)
        chance = 1.0 - self._left(np.maximum(self.hazard[self.category, -1] - now, 0.0))
        held, power = self.shape + self.lived, -1.0 / (self.shape + self.gaps)
        days = {}
        for level in (0.1, 0.5, 0.9):
            target = now + held * ((1.0 - level * chance) ** power - 1.0)
            days[level] = np.where(chance > 1e-9, self._day_of(target) - self.since, np.nan)
        return Due(days[0.1], days[0.5], days[0.9], chance)

    def _left(self, ahead: Floats) -> Floats:
        """Chance of no purchase while the hazard grows by ``ahead``: the gamma posterior's Laplace transform."""
        held = self.shape + self.lived
        left: Floats = (held / (held + ahead)) ** (self.shape + self.gaps)
        return left

    def _hazard_at(self, day: Floats | Ints) -> Floats:
        at = np.clip(day, 0, self.reach_days)
        low = np.minimum(np.floor(at).astype(np.int64), max(self.reach_days - 1, 0))
        part = at - low
        here, there = self.hazard[self.category, low], self.hazard[self.category, np.minimum(low + 1, self.reach_days)]
        between: Floats = here + part * (there - here)
        return between

    def _day_of(self, hazard: Floats) -> Floats:
        """First day on which the category's cumulative hazard has reached ``hazard``, (G,)."""
        days = np.zeros(len(hazard))
        for c, curve in enumerate(self.hazard):
            rows = self.category == c
            days[rows] = np.searchsorted(curve, hazard[rows] * (1.0 - 1e-12))
        within: Floats = np.minimum(days, self.reach_days)
        return within


@dataclass(frozen=True, slots=True)
class Due:
    """When the next purchase of each person is due, in days from now, float64 (G,).

    low, median, high: quantiles 0.1, 0.5, 0.9 among those who come back within the log's length; NaN where the last
    purchase is longer ago than that. chance: that they come back within it at all, not having come yet.
    """

    low: Floats
    median: Floats
    high: Floats
    chance: Floats


def fit_repurchase(category: Ints, person: Ints, gap: Ints, closed: Ints) -> Repurchase:
    """Gap curves of all categories, and the persons in them.

    category: int64 (G,), of each person (one who buys in two categories is two). person (0..G-1), gap (days, >= 0),
    closed (1 where another purchase ended it): int64 (n,); exactly one gap of a person is open. Same-day purchases are
    one purchase day, so a closed gap is at least 1.
    """
    n_categories, people = int(category.max(initial=0)) + 1, len(category)
    of, reach = category[person], int(gap.max(initial=1))
    at = of * (reach + 1) + gap
    shape, size = (n_categories, reach + 1), n_categories * (reach + 1)
    events = sum_by(at, closed.astype(np.float64), size).reshape(shape)
    gaps = sum_by(person, closed.astype(np.float64), people)
    frailty, nu = np.ones(people), _SHAPES[-1]
    for _ in range(_ROUNDS):
        ends = sum_by(at, frailty[person], size).reshape(shape)
        at_risk = np.ascontiguousarray(np.cumsum(ends[:, ::-1], axis=1)[:, ::-1])
        hazard, variance = _hazards(events, at_risk)
        lived = sum_by(person, hazard[of, gap], people)
        nu, before = _shape(gaps, lived), nu
        frailty = (nu + gaps) / (nu + lived)
        if abs(math.log(nu / before)) < 1e-3:
            break
    since = np.zeros(people, np.int64)
    since[person[closed == 0]] = gap[closed == 0]
    return Repurchase(hazard, variance, events.sum(axis=1), nu, category, gaps, lived, since)


def _hazards(events: Floats, at_risk: Floats) -> tuple[Floats, Floats]:
    """Cumulative hazards (C, reach + 1) and their variance, shrunk to the pool's smoothed ones."""
    pool = _smooth(events.sum(axis=0), at_risk.sum(axis=0))
    smooth = np.repeat(pool[None], len(events), axis=0)
    # Frailties below 1 weigh the numbers at risk down; no more can leave than are there.
    risk = np.maximum(at_risk, events)
    strength = pooling_strength(events, risk, smooth)
    hazard = np.minimum((events + strength * smooth) / (risk + strength), 1.0 - 1e-9)
    hazard[:, 0] = 0.0
    steps = hazard / ((1.0 - hazard) * (risk + strength))
    return np.cumsum(-np.log1p(-hazard), axis=1), np.cumsum(steps, axis=1)


def _smooth(events: Floats, at_risk: Floats) -> Floats:
    """The pool's hazards, smoothed with Gaussian weights in log days."""
    k = np.maximum(np.arange(len(events), dtype=np.float64), 0.5)
    near = np.exp(-0.5 * ((np.log(k)[:, None] - np.log(k)[None]) / _BANDWIDTH) ** 2)
    late = events * (np.arange(len(events)) > 0)
    hazards: Floats = np.clip((near @ late) / np.maximum(near @ at_risk, 1e-300), 1e-9, 0.99)
    return hazards


def _shape(gaps: Floats, lived: Floats) -> float:
    """nu of the greatest marginal likelihood, product of Gamma(nu + n) nu^nu / (Gamma(nu) (nu + lived)^(nu + n))."""
    counts = np.bincount(gaps.astype(np.int64))
    beyond = counts[::-1].cumsum()[::-1][1:]  # persons with more than k closed gaps
    k = np.arange(len(beyond))
    value = [
        float(beyond @ np.log(nu + k)) + len(gaps) * nu * math.log(nu) - float((nu + gaps) @ np.log(nu + lived))
        for nu in _SHAPES
    ]
    return float(_SHAPES[int(np.argmax(value))])
