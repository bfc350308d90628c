"""Lift: what a journey or an offer added, against the holdout that got nothing. Counts and sums in, intervals out.

    units of both arms -> Sums of each metric (they merge with +) -> Lift of the mean, with an interval

Units are persons who entered, split by a coin before anything was sent; outcomes count for all of them, reached or not
(intention to treat), so that whom the channel reached cannot bias the figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from footfall.errors import InputError

LEVEL = 0.95
POWER = 0.8
MISMATCH = 0.001  # p below which the split is not the planned one (Fabijan et al. 2019, KDD)
FEWEST_EVENTS = 10  # conversions of an arm below which no interval is worth a decision

Verdict = Literal["gain", "loss", "no effect seen", "not enough evidence"]


@dataclass(frozen=True, slots=True)
class Sums:
    """Sufficient statistics of one metric in one arm: units, sums of powers 1 to 3. Two of them merge with ``+``."""

    n: float
    total: float
    squares: float
    cubes: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares, self.cubes + other.cubes)

    @property
    def mean(self) -> float:
        """Sum over units; 0 without any."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """Sample variance of a unit; 0 with fewer than two."""
        return max(self.squares - self.n * self.mean**2, 0.0) / (self.n - 1) if self.n > 1 else 0.0

    @property
    def third(self) -> float:
        """Third central moment of a unit; 0 without any."""
        mean = self.mean
        return self.cubes / self.n - 3 * mean * self.squares / self.n + 2 * mean**3 if self.n else 0.0


def sums_of(metric: npt.ArrayLike) -> Sums:
    """Sums of a metric over units, (n,)."""
    values = np.asarray(metric, np.float64)
    if not np.isfinite(values).all():
        raise InputError("a metric has values that are not finite", "leave such units out of both arms, or mend them")
    return Sums(float(len(values)), float(values.sum()), float((values**2).sum()), float((values**3).sum()))


@dataclass(frozen=True, slots=True)
class Lift:
    """Treated less holdout, a unit: ``difference`` with its interval, and the same for all treated units together.

    relative: difference over the holdout's mean with an interval by the delta method; NaN where that mean is not
    clearly above 0.
    """

    treated: float
    holdout: float
    difference: float
    low: float
    high: float
    total: float
    total_low: float
    total_high: float
    relative: float
    relative_low: float
    relative_high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def lift(treated: Sums, holdout: Sums, level: float = LEVEL) -> Lift:
    """Difference of means with unequal variances (Welch 1947, Biometrika 34, 28-35), corrected for skewness.

    Money of few buyers among many is so skewed that beside a small holdout Welch's interval holds 90 to 93 % instead of
    95; Hall's transformation of the studentised difference mends it (Hall 1992, JRSS B 54, 221-228; for two samples
    Zhou & Dinh 2005, Biostatistics 6, 187-200). Its skewness is that of both arms together (``_skewness``).
    NaN intervals where an arm has fewer than two units.
    """
    difference = treated.mean - holdout.mean
    if min(treated.n, holdout.n) < 2 or treated.variance + holdout.variance <= 0:
        nan = math.nan  # nothing has been seen to vary: that says nothing of how sure the difference is
        return Lift(treated.mean, holdout.mean, difference, nan, nan, nan, nan, nan, nan, nan, nan)
    a, b = treated.variance / treated.n, holdout.variance / holdout.n
    spread = math.sqrt(a + b)
    free = (a + b) ** 2 / (a**2 / (treated.n - 1) + b**2 / (holdout.n - 1))
    skew = _skewness(treated, holdout)
    reach = student(0.5 + level / 2, free)
    below, above = (_unskewed(t, skew) * spread for t in (reach, -reach))
    relative = low = high = math.nan
    if holdout.mean > 2 * math.sqrt(b):
        relative = difference / holdout.mean
        ratio = treated.mean / holdout.mean
        wide = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(a + ratio**2 * b) / holdout.mean
        low, high = relative - wide, relative + wide
    n = treated.n
    return Lift(
        treated=treated.mean,
        holdout=holdout.mean,
        difference=difference,
        low=difference - below,
        high=difference - above,
        total=difference * n,
        total_low=(difference - below) * n,
        total_high=(difference - above) * n,
        relative=relative,
        relative_low=low,
        relative_high=high,
    )


def _skewness(treated: Sums, holdout: Sums) -> float:
    """Skewness of the difference of means, from a shape that both arms share.

    A coin made the arms and effects are small beside the spread of money, so their shape is one and told best by all
    units. Each arm's own third moment is out in step with its mean and variance: corrected by these, intervals of equal
    arms, where the skewness of the difference cancels (Cressie & Whitford 1986, Biometrical Journal 28, 131-148), held
    92 % where those of Welch held 95.
    """
    n, m = treated.n, holdout.n
    variance = (n * treated.variance + m * holdout.variance) / (n + m)
    shape = (n * treated.third + m * holdout.third) / (n + m) / math.sqrt(variance) ** 3
    return shape * (1 / n**2 - 1 / m**2) / math.sqrt(1 / n + 1 / m) ** 3


def _unskewed(t: float, skew: float) -> float:
    """The studentised value whose transformation t + skew (t^2 / 3 + 1 / 6) + skew^2 t^3 / 27 is ``t``."""
    if abs(skew) < 1e-8:
        return t
    inner = 1 + skew * (t - skew / 6)
    return 3 / skew * (math.copysign(abs(inner) ** (1 / 3), inner) - 1)


def lift_of_shares(treated: Sums, holdout: Sums, level: float = LEVEL) -> Lift:
    """As ``lift`` for metrics that are 0 or 1: one success and one failure are added to each arm for the interval.

    Agresti & Caffo (2000), The American Statistician 54, 280-288: it holds its level where conversions are few.
    """
    plain = lift(treated, holdout, level)
    if min(treated.n, holdout.n) < 1:
        return plain
    p, q = (treated.total + 1) / (treated.n + 2), (holdout.total + 1) / (holdout.n + 2)
    spread = math.sqrt(p * (1 - p) / (treated.n + 2) + q * (1 - q) / (holdout.n + 2))
    half = NormalDist().inv_cdf(0.5 + level / 2) * spread
    low, high, n = p - q - half, p - q + half, treated.n
    return Lift(
        treated=plain.treated,
        holdout=plain.holdout,
        difference=plain.difference,
        low=low,
        high=high,
        total=plain.total,
        total_low=low * n,
        total_high=high * n,
        relative=plain.relative,
        relative_low=plain.relative_low,
        relative_high=plain.relative_high,
    )


def mismatch(treated: float, holdout: float, planned_holdout: float) -> float:
    """Chance of a split at least as far from the planned one (chi-square, 1 degree of freedom); 1 without units.

    planned_holdout: share in (0, 1).
    """
    if not 0 < planned_holdout < 1:
        raise InputError(f"planned holdout {planned_holdout} must lie between 0 and 1", "a lift needs both arms")
    n = treated + holdout
    if n <= 0:
        return 1.0
    expected = n * planned_holdout
    chi2 = (holdout - expected) ** 2 / (expected * (1 - planned_holdout))
    return math.erfc(math.sqrt(chi2 / 2))


def more_units(treated: Sums, holdout: Sums, least: float, level: float = LEVEL, power: float = POWER) -> float:
    """Units still to enter until a difference of ``least`` a unit would be seen with ``power``; 0 if there are enough.

    The present split and variances carried forward: n = (z_level + z_power)^2 (s_t^2 / share_t + s_h^2 / share_h) /
    least^2 (Lachin 1981). inf where ``least`` is 0 or an arm is empty.
    """
    n = treated.n + holdout.n
    if least == 0 or min(treated.n, holdout.n) < 1:
        return math.inf
    z = NormalDist().inv_cdf(0.5 + level / 2) + NormalDist().inv_cdf(power)
    needed = z**2 * (treated.variance * n / treated.n + holdout.variance * n / holdout.n) / least**2
    return max(needed - n, 0.0)


def verdict(found: Lift, events: float, missing: float) -> Verdict:
    """What may be said. events: conversions of the arm that has fewer. missing: ``more_units`` for the least effect."""
    if events < FEWEST_EVENTS or math.isnan(found.low):
        return "not enough evidence"
    if found.clear:
        return "gain" if found.low > 0 else "loss"
    return "not enough evidence" if missing > 0 else "no effect seen"


def student(level: float, free: float) -> float:
    """Quantile of Student's t with ``free`` > 0 degrees of freedom: Newton inside a bracket, from the normal's."""
    z = NormalDist().inv_cdf(level)
    if free > 1e7 or level == 0.5:
        return z
    low, high = (0.0, 2 * z + 1) if level > 0.5 else (2 * z - 1, 0.0)
    while _student_cdf(high, free) < level:
        low, high = high, 2 * high
    while _student_cdf(low, free) > level:
        low, high = 2 * low, low
    log_c = math.lgamma((free + 1) / 2) - math.lgamma(free / 2) - 0.5 * math.log(free * math.pi)
    t = z if low < z < high else (low + high) / 2
    for _ in range(200):
        miss = _student_cdf(t, free) - level
        low, high = (low, t) if miss > 0 else (t, high)
        step = miss / math.exp(log_c - (free + 1) / 2 * math.log1p(t * t / free))
        before, t = t, t - step
        if not low < t < high:
            t = (low + high) / 2
        if abs(t - before) <= 1e-14 * max(1.0, abs(t)):
            break
    return t


def _student_cdf(t: float, free: float) -> float:
    """Distribution function of Student's t by the continued fraction of the incomplete beta (Lentz; A&S 26.5.8)."""
    x = free / (free + t * t)
    tail = 0.5 * _beta_share(x, free / 2, 0.5)
    return 1.0 - tail if t > 0 else tail


def _beta_share(x: float, a: float, b: float) -> float:
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta_share(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1))
    share = d
    for m in range(1, 500):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / (1.0 + factor * d)
            c = 1.0 + factor / c
            share *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return math.exp(log_front) * share / a
