"""Small logs for the tests of plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from footfall.acquire.inputs import PairValues, PlanInputs, ProviderValues
from footfall.acquire.reference import DailyVisits
from footfall.config import PlanSettings
from footfall.model import DemandForecast

FIRST = date(2026, 1, 1)
NOW = datetime(2026, 2, 10, 6, tzinfo=UTC)


def market(
    daily: np.ndarray,
    value: np.ndarray,
    demand: Sequence[float] | None = None,
    *,
    days: int = 40,
    conversion: float | np.ndarray = 0.05,
    settings: Mapping[str, Any] | None = None,
    first_seen: Mapping[int, int] | None = None,
    history: DailyVisits | None = None,
    fallback: float = 5.0,
    **more: Any,
) -> PlanInputs:
    """``daily`` (n, m) visits on each of the last ``days`` days, ``value`` (n, m); first_seen: provider ->
    days ago.
    """
    daily = np.asarray(daily, dtype=float)
    n, m = daily.shape
    segment, provider = np.nonzero(daily)
    seen = dict(first_seen or {})
    if history is None:
        day = np.repeat(np.arange(days), len(segment))
        i, j = np.tile(segment, days), np.tile(provider, days)
        keep = np.array([d >= days - 1 - seen.get(int(k), days) for d, k in zip(day, j, strict=True)], dtype=bool)
        history = DailyVisits(day[keep], i[keep], j[keep], daily[i, j][keep])
    as_of = FIRST + timedelta(days=days - 1)
    wanted = np.asarray(daily.sum(axis=1) if demand is None else demand, dtype=float)
    segments = tuple(f"s{i + 1}" for i in range(n))
    providers = tuple(f"shop-{j + 1}" for j in range(m))
    mean = np.asarray(value, dtype=float)[segment, provider]
    rate = np.broadcast_to(np.asarray(conversion, dtype=float), daily.shape)[segment, provider]
    flat = np.full(m, fallback)
    return PlanInputs(
        day=as_of + timedelta(days=1),
        as_of=as_of,
        log_first_day=FIRST,
        segments=segments,
        providers=providers,
        first_day=tuple(as_of - timedelta(days=seen[j]) if j in seen else FIRST for j in range(m)),
        visits=history,
        demand=DemandForecast(as_of + timedelta(days=1), segments, wanted, wanted * 0.9, wanted * 1.1),
        values=PairValues(segment, provider, mean, mean * 0.9, mean * 1.1, rate.copy()),
        fallback=ProviderValues(flat, flat * 0.8, flat * 1.2, np.full(m, 0.05)),
        settings=PlanSettings(**dict(settings or {})),
        **more,
    )


def two_shops(**more: Any) -> PlanInputs:
    """Two shops with 100 visitors a day each, worth 5.7 and 7.3."""
    return market(np.array([[100.0, 100.0]]), np.array([[5.7, 7.3]]), **more)
