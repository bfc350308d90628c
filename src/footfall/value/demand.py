"""How many visits a segment will have: level x weekday, with an interval.

The weekday pattern is estimated by segment and shrunk to the pattern of all segments; the level is an exponentially
weighted mean of visits over the pattern (simple exponential smoothing, Hyndman & Athanasopoulos 2021, chapter 8),
its weight chosen for all segments together by the error so many days ahead as are asked for. The same errors give
the interval: Poisson noise, and beyond it what past forecasts of that horizon have missed.
"""

from __future__ import annotations

import numba
import numpy as np

from footfall.errors import InputError
from footfall.model import Floats, Ints
from footfall.value.posterior import gamma_quantile

_MEMORY_DAYS = 112  # older days say little about tomorrow
_WEEKDAY_HALF_LIFE_DAYS = 42.0
_FLAT_WEEKS = 0.7  # weeks of a flat pattern put to that of all segments
_OWN_PATTERN_VARIANCE = 0.015  # of a segment's weekday factors around the common ones
_PATTERN_ROUNDS = 4
_LEVEL_WEIGHTS = np.array([0.03, 0.06, 0.1, 0.15, 0.22, 0.3, 0.4, 0.55, 0.75])
_SHORT_LOG_WEIGHT = 0.3
_PRIOR_MISS = 0.03  # relative variance beyond Poisson a day ahead, before any forecast was checked
_PRIOR_MISS_DAY = 0.006  # and for each day more
_PRIOR_DAYS = 5.0  # weight of that opinion, in checked forecasts of every segment
_OWN_DAYS = 14.0  # weight of all segments' misses for one segment's, in checked forecasts
_MOST_MISS = 10.0  # relative variance, for days far ahead: with more of it (11.4) a gamma's upper quantile falls again
_UNSEEN_WEEKDAY = 0.09  # relative variance of a weekday never seen
_FIRST_CHECKED_DAY = 3
_TAIL = 0.05


def forecast(
    visits: Floats, weekday: Ints, target_weekday: int, horizon_days: int = 1
) -> tuple[Floats, Floats, Floats]:
    """Mean, low and high (90 %) of the visits of each segment on one day.

    visits: float64 (n, T), T >= 1, visits per day, oldest first, the last being the as-of day; weekday: int64 (T,),
    0..6; target_weekday: 0..6; horizon_days: >= 1, days from the as-of day to the target. Raises InputError.
    """
    _check(visits, weekday, target_weekday, horizon_days)
    y = np.ascontiguousarray(visits[:, -_MEMORY_DAYS:], dtype=np.float64)
    days = weekday[-_MEMORY_DAYS:]
    pattern = _patterns(y, days)
    factor = pattern[:, days]
    level, weight, miss = _level(y, factor, horizon_days)
    mean = level * pattern[:, target_weekday]
    beyond = np.minimum(miss + _weekday_variance(days, target_weekday), _MOST_MISS)
    poisson = mean * (1.0 + 1.0 / _effective_days(y.shape[1], weight))
    variance = poisson + beyond * mean**2 + 0.3  # the last for segments at rest
    safe = np.maximum(mean, 1e-6)
    relative = variance / safe**2
    # A gamma with the mean and variance; half a visit to both sides, as counts are whole.
    low = np.maximum(gamma_quantile(_TAIL, safe, relative) - 0.5, 0.0)
    high = gamma_quantile(1.0 - _TAIL, safe, relative) + 0.5
    return mean, np.minimum(low, mean), np.maximum(high, mean)


def _check(visits: Floats, weekday: Ints, target_weekday: int, horizon_days: int) -> None:
    if visits.ndim != 2 or visits.shape[1] < 1:
        raise InputError(f"visits has shape {visits.shape}, must be (segments, days) with at least one day")
    if weekday.shape != (visits.shape[1],):
        raise InputError(f"weekday has shape {weekday.shape}, but visits has {visits.shape[1]} days")
    if not (np.isfinite(visits).all() and (visits >= 0).all()):
        raise InputError("visits must be finite and >= 0")
    if weekday.min() < 0 or weekday.max() > 6 or not 0 <= target_weekday <= 6:
        raise InputError("weekdays must be from 0 to 6")
    if horizon_days < 1:
        raise InputError(f"horizon_days = {horizon_days}, must be >= 1")


def _patterns(y: Floats, days: Ints) -> Floats:
    """Factors of the weekdays of every segment, (n, 7), with mean 1 over the week."""
    length = y.shape[1]
    weight = 0.5 ** (np.arange(length - 1, -1, -1) / _WEEKDAY_HALF_LIFE_DAYS)
    seen = np.zeros((7, length))
    seen[days, np.arange(length)] = weight
    pattern = np.ones((y.shape[0], 7))
    for _ in range(_PATTERN_ROUNDS):
        # Ratio to the level of the week around the day, so that growth does not pass for a weekday; what part of
        # the week that is at the edges is made up for by the pattern found so far.
        factor = pattern[:, days]
        local = _moving_sum(y) / _moving_sum(factor)
        top, bottom = y @ seen.T, local @ seen.T  # (n, 7)
        unit = _FLAT_WEEKS * float(bottom.sum()) / float(weight.sum())
        if unit <= 0.0:
            return pattern
        common = (top.sum(axis=0) + unit) / (bottom.sum(axis=0) + unit)
        noise = _daily_noise(y, local * factor)
        # Own pattern against the common one: Poisson noise counts visits, day-to-day noise counts weeks.
        mean = bottom.sum(axis=1, keepdims=True) / weight.sum()
        prior = (1.0 + noise * mean) / _OWN_PATTERN_VARIANCE
        pattern = (top + prior * common) / (bottom + prior)
        pattern = pattern / pattern.mean(axis=1, keepdims=True)
    return pattern


def _moving_sum(x: Floats) -> Floats:
    """Sum over the seven days around each, cut at the edges; (n, T)."""
    total = np.concatenate([np.zeros((x.shape[0], 1)), np.cumsum(x, axis=1)], axis=1)
    t = np.arange(x.shape[1])
    result: Floats = total[:, np.minimum(t + 4, x.shape[1])] - total[:, np.maximum(t - 3, 0)]
    return result


def _daily_noise(y: Floats, fitted: Floats) -> float:
    """Relative variance from day to day beyond Poisson, pooled over segments."""
    beyond = float(((y - fitted) ** 2 - fitted).sum())
    scale = float((fitted**2).sum())
    return max(beyond / scale, 0.0) if scale > 0.0 else 0.0


def _weekday_variance(days: Ints, target_weekday: int) -> float:
    """Relative variance from weekdays not yet seen: the target's own, and what they make of the level."""
    seen = int((days == target_weekday).sum())
    kinds = np.unique(days).shape[0]
    own = _UNSEEN_WEEKDAY if seen == 0 else 0.1 * _UNSEEN_WEEKDAY / seen
    level: float = _UNSEEN_WEEKDAY * (7 - kinds) / (6 * kinds) * (1.0 if seen == 0 or kinds > 1 else 0.0)
    return own + level


def _level(y: Floats, factor: Floats, horizon_days: int) -> tuple[Floats, float, Floats]:
    """Level (n,), its weight of the newest day, and relative variance of forecasts beyond Poisson (n,)."""
    length = y.shape[1]
    horizon = max(1, min(horizon_days, (length - _FIRST_CHECKED_DAY) // 2))
    weight = _SHORT_LOG_WEIGHT
    if length > _FIRST_CHECKED_DAY + horizon:
        losses = [_ahead(y, factor, w, horizon)[1].sum() for w in _LEVEL_WEIGHTS]
        weight = float(_LEVEL_WEIGHTS[np.argmin(losses)])
    level, _, above, scale, checked = _ahead(y, factor, weight, horizon)
    prior = _PRIOR_MISS + _PRIOR_MISS_DAY * (horizon - 1)
    unit = scale.sum() / max(checked, 1) if scale.sum() > 0.0 else 1.0
    pooled = max((above.sum() + _PRIOR_DAYS * unit * prior) / (scale.sum() + _PRIOR_DAYS * unit), 0.0)
    own = _OWN_DAYS * np.maximum(level, 0.1) ** 2
    miss = np.maximum((above + own * pooled) / (scale + own), 0.3 * pooled)
    return level, weight, miss + _PRIOR_MISS_DAY * (horizon_days - horizon)


def _effective_days(length: int, weight: float) -> float:
    """(sum w)^2 / sum w^2 of the weights of the level (Kish 1965)."""
    w = (1.0 - weight) ** np.arange(length)
    return float(w.sum() ** 2 / (w**2).sum())


@numba.njit(cache=True)
def _ahead(y: Floats, factor: Floats, weight: float, horizon: int) -> tuple[Floats, Floats, Floats, Floats, int]:
    """Smooth every segment and check its forecasts ``horizon`` days ahead.

    Returns level, loss, squared errors above Poisson, their squared means, (n,) each, and the forecasts checked of
    each segment.
    """
    n, length = y.shape
    level, loss = np.zeros(n), np.zeros(n)
    above, scale = np.zeros(n), np.zeros(n)
    path = np.empty(length)
    first = _FIRST_CHECKED_DAY + horizon - 1
    for i in range(n):
        top, bottom, squares = 0.0, 0.0, 0.0
        for t in range(length):
            if t >= first:
                m = path[t - horizon] * factor[i, t]
                error = (y[i, t] - m) ** 2
                loss[i] += error / (m + 0.5 + 0.02 * m * m)
                # One broken day must not widen the interval for ever; a known day's factor is no forecast.
                above[i] += min(error, 16.0 * (m + 0.3 * m * m + 1.0)) - m * (1.0 + squares / (bottom * bottom))
                scale[i] += m * m
            top = top * (1.0 - weight) + y[i, t]
            bottom = bottom * (1.0 - weight) + factor[i, t]
            squares = squares * (1.0 - weight) ** 2 + factor[i, t]
            path[t] = top / bottom
        level[i] = path[length - 1]
    return level, loss, above, scale, max(length - first, 0)
