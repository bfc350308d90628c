"""Calibration: what the lifetime model would have forecast some days ago, beside what came, by tenths of customers.

The check of Fader, Hardie & Lee (2005, section 5): fitted on what was known on the cut day only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pyarrow.compute as pc

from footfall.errors import InputError
from footfall.ports import Engine
from footfall.retain.customers import customers
from footfall.retain.statements import text
from footfall.value.lifetime import FEWEST_REPEATERS, fit_bg_nbd

COLUMNS = ("decile", "customers", "forecast", "actual", "forecast_each", "actual_each")


@dataclass(frozen=True, slots=True)
class Calibration:
    """rows: tenths of the customers known on ``cut``, those with the highest forecast first, then all ("all").

    forecast, actual: purchase days of the tenth in the ``days`` after the cut.
    """

    cut: date
    days: int
    rows: tuple[dict[str, Any], ...]


def calibrate(engine: Engine, last: date, days: int, exponent: int) -> Calibration:
    """Forecasts for the ``days`` (>= 1) before and with ``last``, from the relations of ``customers.relations``.

    InputError where too few had bought again by then for a forecast.
    """
    if days < 1:
        raise InputError(f"{days} days are held out", "give at least 1")
    cut = last - timedelta(days=days)
    known = customers(engine, cut, exponent, datetime.combine(cut, time.max, UTC))
    if known.purchases is None:
        raise InputError(
            f"as of {cut}: {'; '.join(known.notes)}", "hold fewer days out, or come back when the log is longer"
        )
    frequency, recency, age = (
        np.asarray(known.buyers[name].to_numpy(), np.float64) for name in ("frequency", "recency_days", "age_days")
    )
    forecast = known.purchases.expected(frequency, recency, age, float(days))
    engine.execute(text("purchase_days"), {"as_of": last})
    later = engine.query(text("bought_later"), {"cut": cut})
    at = pc.index_in(known.buyers["person"], value_set=later["person"].combine_chunks())
    counts = np.r_[np.asarray(later["days"].to_numpy(), np.int64), 0]
    actual = counts[np.asarray(pc.fill_null(at, later.num_rows).to_numpy(), np.int64)]
    order = np.argsort(-forecast, kind="stable")
    parts = [(str(k), part) for k, part in enumerate(np.array_split(order, 10), 1) if len(part)]
    rows = [_row(name, forecast[part], actual[part]) for name, part in [*parts, ("all", order)]]
    return Calibration(cut, days, tuple(rows))


def misses(engine: Engine, as_of: date, span_days: int) -> str:
    """What is to be said of forecasts that would have missed by more than a quarter, and by more than chance; else "".

    A glance at the total: fitted on the first three quarters of ``span_days``, the time from the first purchase to
    ``as_of``, beside the last quarter. Reads ``purchase_days``; refunds of the last quarter count as known before it.
    """
    days = span_days // 4
    if days < 1:
        return ""
    rows = engine.query(text("held_out"), {"cut": as_of - timedelta(days=days)})
    frequency, recency, age, later = (
        np.asarray(rows[name].to_numpy(), np.float64) for name in ("frequency", "recency_days", "age_days", "later")
    )
    if (frequency > 0).sum() < FEWEST_REPEATERS:
        return ""
    forecast = float(fit_bg_nbd(frequency, recency, age).expected(frequency, recency, age, float(days)).sum())
    actual, off = float(later.sum()), abs(forecast - float(later.sum()))
    if off <= 0.25 * max(actual, 1.0) or off <= 3.0 * max(actual, 1.0) ** 0.5:
        return ""
    way = "high" if forecast > actual else "low"
    return (
        f"forecasts run {way} here: {days} days ago they would have been {forecast:,.0f} purchase days until now, and "
        f"{actual:,.0f} came; `--calibrate {days}` shows by tenths of customers"
    )


def _row(decile: str, forecast: Any, actual: Any) -> dict[str, Any]:
    n = len(forecast)
    return {
        "decile": decile,
        "customers": n,
        "forecast": float(forecast.sum()),
        "actual": int(actual.sum()),
        "forecast_each": float(forecast.mean()),
        "actual_each": float(actual.mean()),
    }
