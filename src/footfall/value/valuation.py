"""From facts to a table of values: plain figures that reconcile with the rows, the estimate beside them.

FactTables (as of a day)  ->  Counts (arrays)  ->  estimate  ->  Valuation  ->  rows for people
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from footfall.errors import NotEnoughDataError
from footfall.model import Ints
from footfall.value.counts import Counts, Figures, Settings, Values
from footfall.value.estimate import estimate
from footfall.value.fact_tables import FactTables

By = Literal["provider", "segment", "pair", "day"]
KEYS: dict[By, tuple[str, ...]] = {
    "provider": ("provider_id",),
    "segment": ("segment",),
    "pair": ("segment", "provider_id"),
    "day": ("day",),
}
ESTIMATE = ("value_mean", "value_sd", "value_low", "value_high", "evidence")


@dataclass(frozen=True, slots=True)
class Index:
    """What the positions in the arrays stand for. P pairs, J providers, n segments, C categories."""

    segments: tuple[str, ...]
    providers: tuple[str, ...]
    categories: tuple[str, ...]
    provider_category: Ints  # (J,)
    pair_segment: Ints  # (P,)
    pair_provider: Ints  # (P,)


@dataclass(frozen=True, slots=True)
class Valuation:
    """Facts as of a day, and the values they support."""

    as_of: date
    first_day: date
    exponent: int
    facts: FactTables
    index: Index
    counts: Counts
    values: Values


def valuate(
    facts: FactTables,
    as_of: date,
    *,
    exponent: int,
    window_days: int,
    settings: Settings,
    categories: Mapping[str, str],
    extra_pairs: Sequence[tuple[str, str]] = (),
) -> Valuation:
    """Values as of a day, from what was known on it.

    ``exponent``: decimals of the currency. ``categories``: provider_id -> category, above what events tell.
    ``extra_pairs``: (segment, provider_id) to value although they had no visit. Raises NotEnoughDataError where the
    log holds no visit on or before the day, or none that an estimate would still remember.
    """
    known = facts.as_of(as_of)
    if not known.visits.num_rows:
        raise NotEnoughDataError(f"there is no visit on or before {as_of}", "choose a later --as-of, or import events")
    last = pc.max(known.visits["day"]).as_py()
    if (as_of - last).days > settings.memory_days:
        raise NotEnoughDataError(
            f"the last visit before {as_of} was on {last}: nothing that old tells what a visit is worth",
            f"choose an --as-of up to {last + timedelta(days=settings.memory_days)}, or import later events",
        )
    told = dict(zip(facts.providers["provider_id"].to_pylist(), facts.providers["category"].to_pylist(), strict=True))
    index = _index(known, told | {key: name for key, name in categories.items() if name}, extra_pairs)
    first_day = pc.min(known.visits["day"]).as_py()
    counts = _counts(known, index, as_of, exponent, window_days, (as_of - first_day).days)
    return Valuation(as_of, first_day, exponent, known, index, counts, estimate(counts, settings))


def _index(facts: FactTables, categories: Mapping[str, str], extra_pairs: Sequence[tuple[str, str]]) -> Index:
    pairs = sorted({*pairs_of(facts), *extra_pairs})
    segments = tuple(sorted({segment for segment, _ in pairs}))
    providers = tuple(sorted({provider for _, provider in pairs}))
    of_provider = [categories.get(provider) or "all" for provider in providers]
    names = tuple(sorted(set(of_provider)))
    position = {name: i for i, name in enumerate(names)}
    segment_at = {name: i for i, name in enumerate(segments)}
    provider_at = {name: i for i, name in enumerate(providers)}
    return Index(
        segments,
        providers,
        names,
        np.array([position[name] for name in of_provider], dtype=np.int64),
        np.array([segment_at[segment] for segment, _ in pairs], dtype=np.int64),
        np.array([provider_at[provider] for _, provider in pairs], dtype=np.int64),
    )


def pairs_of(facts: FactTables) -> list[tuple[str, str]]:
    """(segment, provider_id) of all visits, each once."""
    seen = facts.visits.group_by(["segment", "provider_id"]).aggregate([]).to_pylist()
    return [(row["segment"], row["provider_id"]) for row in seen]


def _counts(facts: FactTables, index: Index, as_of: date, exponent: int, window_days: int, log_days: int) -> Counts:
    def age(table: pa.Table) -> Ints:
        return np.asarray((np.datetime64(as_of) - table["day"].to_numpy().astype("datetime64[D]")).astype(np.int64))

    visits, orders, refunds = facts.visits, facts.orders, facts.refunds
    unit = 10.0**exponent
    return Counts(
        n_segments=len(index.segments),
        n_categories=len(index.categories),
        provider_category=index.provider_category,
        pair_segment=index.pair_segment,
        pair_provider=index.pair_provider,
        visit_pair=pair_positions(index, visits),
        visit_age=age(visits),
        visits=_floats(visits["visits"]),
        order_pair=pair_positions(index, orders),
        order_age=age(orders),
        order_delay=_ints(orders["delay_days"]),
        orders=_floats(orders["orders"]),
        amount=_floats(orders["amount_minor"]) / unit,
        amount_sq=_floats(orders["amount_sq"]) / unit**2,
        refund_pair=pair_positions(index, refunds),
        refund_visit_age=age(refunds),
        refund_order_age=age(refunds) - _ints(refunds["order_delay_days"]),
        refund_delay=_ints(refunds["refund_delay_days"]),
        refunds=_floats(refunds["refunds"]),
        refund_amount=_floats(refunds["amount_minor"]) / unit,
        log_days=log_days,
        window_days=window_days,
    )


def pair_positions(index: Index, table: pa.Table) -> Ints:
    """Position of each row's (segment, provider_id) among the pairs of ``index``, int64."""
    width = len(index.providers)
    key = index.pair_segment * width + index.pair_provider  # ascending: pairs are sorted by name, and so are the names
    wanted = _codes(table["segment"], index.segments) * width + _codes(table["provider_id"], index.providers)
    return np.searchsorted(key, wanted)


def _codes(column: pa.ChunkedArray, names: tuple[str, ...]) -> Ints:
    return np.asarray(pc.index_in(column, value_set=pa.array(names, pa.string())).to_numpy(), dtype=np.int64)


def _floats(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), dtype=np.int64)


# ---------------------------------------------------------------- rows for people


def rows(valuation: Valuation, by: By, first: date | None = None, last: date | None = None) -> list[dict[str, Any]]:
    """One dictionary for each provider, segment, pair or day, in the order of the key.

    Plain figures count the visits of ``first`` to ``last`` (all by default) and the orders of those visits known on the
    as-of day; money in major units. The estimate is of a visit on the as-of day; of a day's own visits where ``by`` is
    day, and None for a day after the as-of day.
    """
    plain = plain_figures(valuation, by, first, last)
    shown: list[dict[str, Any]] = []
    for key, estimate_row in _estimates(valuation, by):
        if by == "day" and ((first and key[0] < first) or (last and key[0] > last)):
            continue
        shown.append(
            dict(zip(KEYS[by], key, strict=True)) | plain.get(key, _plain(0, 0, 0, valuation.exponent)) | estimate_row
        )
    if by == "day":
        later = sorted(key for key in plain if key[0] > valuation.as_of)
        shown += [{"day": key[0]} | plain[key] | dict.fromkeys(ESTIMATE) for key in later]
    return shown


def plain_figures(
    valuation: Valuation, by: By | None, first: date | None = None, last: date | None = None
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Plain figures by key; with ``by`` None the one total, under the empty key. Sums are exact."""
    known = valuation.facts if first is None and last is None else valuation.facts.between(first, last)
    keys = list(KEYS[by]) if by else []
    visits = _summed(known.visits, keys, ("visits",))
    orders = _summed(known.orders, keys, ("orders", "amount_minor"))
    return {
        key: _plain(
            counted["visits"],
            orders.get(key, {}).get("orders", 0),
            orders.get(key, {}).get("amount_minor", 0),
            valuation.exponent,
        )
        for key, counted in visits.items()
    }


def _summed(table: pa.Table, keys: list[str], sums: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, int]]:
    grouped = table.group_by(keys).aggregate([(name, "sum") for name in sums]) if table.num_rows else table.slice(0, 0)
    return {
        tuple(row[key] for key in keys): {name: int(row[f"{name}_sum"] or 0) for name in sums}
        for row in grouped.to_pylist()
    }


def _plain(visitors: int, orders: int, minor: int, exponent: int) -> dict[str, Any]:
    gmv = Decimal(minor).scaleb(-exponent)
    return {
        "visitors": visitors,
        "orders": orders,
        "gmv": gmv,
        "conversion": orders / visitors if visitors else None,
        "aov": float(gmv) / orders if orders else None,
        "visitor_value": float(gmv) / visitors if visitors else None,
    }


def _estimates(valuation: Valuation, by: By) -> list[tuple[tuple[Any, ...], dict[str, float]]]:
    index = valuation.index
    if by == "provider":
        return _lines([(name,) for name in index.providers], valuation.values.providers)
    if by == "segment":
        return _lines([(name,) for name in index.segments], valuation.values.segments)
    if by == "pair":
        keys = [
            (index.segments[s], index.providers[p])
            for s, p in zip(index.pair_segment, index.pair_provider, strict=True)
        ]
        return _lines(keys, valuation.values.pairs)
    return _by_day(valuation)


def _lines(keys: Sequence[tuple[Any, ...]], figures: Figures) -> list[tuple[tuple[Any, ...], dict[str, float]]]:
    columns = (figures.mean, figures.sd, figures.low, figures.high, figures.evidence)
    return [
        (key, dict(zip(ESTIMATE, (float(column[i]) for column in columns), strict=True))) for i, key in enumerate(keys)
    ]


def _by_day(valuation: Valuation) -> list[tuple[tuple[Any, ...], dict[str, float]]]:
    """Each day in a provider's place: its own visits, corrected for what is to come, drawn to the days' mean."""
    counts = valuation.counts
    ages = np.unique(counts.visit_age)[::-1]
    at = {int(age): i for i, age in enumerate(ages)}

    def place(values: Ints) -> Ints:
        return np.array([at[int(age)] for age in values], dtype=np.int64)

    one_each = replace(
        counts,
        n_segments=1,
        n_categories=1,
        provider_category=np.zeros(len(ages), dtype=np.int64),
        pair_segment=np.zeros(len(ages), dtype=np.int64),
        pair_provider=np.arange(len(ages), dtype=np.int64),
        visit_pair=place(counts.visit_age),
        order_pair=place(counts.order_age),
        refund_pair=place(counts.refund_visit_age),
    )
    values = estimate(one_each, Settings(half_life_days=36500.0))
    days = [(date.fromordinal(valuation.as_of.toordinal() - int(age)),) for age in ages]
    return _lines(days, values.providers)
