"""Calibration: what the lifetime model would have forecast some days ago, beside what came, by tenths of customers.

The check of Fader, Hardie & Lee (2005, section 5): fitted on what was known on the cut day only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow.compute as pc

from footfall.errors import InputError
from footfall.ports import Engine
from footfall.retain.customers import customers
from footfall.retain.statements import text

COLUMNS = ("decile", "customers", "forecast", "actual", "forecast_each", "actual_each")


@dataclass(frozen=True, slots=True)
class Calibration:
    """rows: tenths of the customers known on ``cut``, those with the highest forecast first, then all ("all").

    forecast, actual: purchase days of the tenth in the ``days`` after the cut.
    """

    cut: date
    days: int
    rows: tuple[dict[str, Any], ...]


def calibrate(engine: Engine, last: date, days: int, exponent: int, lettered: bool) -> Calibration:
    """Forecasts for the ``days`` (>= 1) before and with ``last``, from the relations of ``customers.relations``.

    InputError where too few had bought again by then for a forecast.
    """
    if days < 1:
        raise InputError(f"{days} days are held out", "give at least 1")
    cut = last - timedelta(days=days)
    known = customers(engine, cut, exponent, lettered)
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
