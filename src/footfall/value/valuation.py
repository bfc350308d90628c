"""From facts to a table of values: plain figures that reconcile with the rows, the estimate beside them.

FactTables (as of a day)  ->  Counts (arrays)  ->  estimate  ->  Valuation  ->  rows for people
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from footfall.errors import NotEnoughDataError
from footfall.model import Ints
from footfall.value.counts import Counts, Figures, Settings, Values
from footfall.value.estimate import estimate
from footfall.value.fact_tables import FactTables, summed

Column = Sequence[Any] | np.ndarray[Any, np.dtype[Any]]
By = Literal["provider", "segment", "pair", "day"]
KEYS: dict[By, tuple[str, ...]] = {
    "provider": ("provider_id",),
    "segment": ("segment",),
    "pair": ("segment", "provider_id"),
    "day": ("day",),
}
_NO_DECAY_DAYS = 36500.0  # half-life where each day is valued by its own visits
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
    settings: Settings
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
    return Valuation(as_of, first_day, exponent, known, index, counts, settings, estimate(counts, settings))


def _index(facts: FactTables, categories: Mapping[str, str], extra_pairs: Sequence[tuple[str, str]]) -> Index:
    extra = pa.array([pair[0] for pair in extra_pairs], pa.string()), pa.array([p for _, p in extra_pairs], pa.string())
    segment, provider = (
        pa.chunked_array([*facts.visits[name].chunks, more], pa.string())
        for name, more in zip(KEYS["pair"], extra, strict=True)
    )
    segments, providers = (tuple(sorted(pc.unique(column).to_pylist())) for column in (segment, provider))
    pairs = np.unique(_codes(segment, segments) * len(providers) + _codes(provider, providers))
    of_provider = [categories.get(provider) or "all" for provider in providers]
    names = tuple(sorted(set(of_provider)))
    position = {name: i for i, name in enumerate(names)}
    return Index(
        segments,
        providers,
        names,
        np.array([position[name] for name in of_provider], dtype=np.int64),
        pairs // len(providers),
        pairs % len(providers),
    )


def pairs_of(facts: FactTables) -> list[tuple[str, str]]:
    """(segment, provider_id) of all visits, each once."""
    return list(set(zip(facts.visits["segment"].to_pylist(), facts.visits["provider_id"].to_pylist(), strict=True)))


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


def _codes(column: pa.ChunkedArray, names: Sequence[Any]) -> Ints:
    """Position of each row among ``names``, int64; -1 where it is not there."""
    found = pc.index_in(column, value_set=pa.array(names, column.type))
    return np.asarray(pc.fill_null(found, -1).to_numpy(), dtype=np.int64)


def _floats(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), dtype=np.int64)


# ---------------------------------------------------------------- rows for people


class Rows(Sequence[dict[str, Any]]):
    """Rows of a table kept as columns, a tenth of their size; each is made when it is asked for."""

    def __init__(self, columns: Mapping[str, Column], plain: _Plain, figures: Mapping[str, Column]):
        self._columns, self._plain, self._figures = columns, plain, figures

    def __len__(self) -> int:
        return len(self._plain.visits)

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        row = {name: column[at] for name, column in self._columns.items()} | self._plain.row(at)
        for name, column in self._figures.items():
            row[name] = None if column[at] is None else float(column[at])
        return row


@dataclass(frozen=True, slots=True)
class _Plain:
    """Visits, orders and their amount by key, exact: int64 (n,), and whole numbers of any size."""

    visits: Ints
    orders: Ints
    minor: Column
    exponent: int

    def row(self, at: int) -> dict[str, Any]:
        visitors, orders = int(self.visits[at]), int(self.orders[at])
        gmv = Decimal(self.minor[at]).scaleb(-self.exponent)
        return {
            "visitors": visitors,
            "orders": orders,
            "gmv": gmv,
            "conversion": orders / visitors if visitors else None,
            "aov": float(gmv) / orders if orders else None,
            "visitor_value": float(gmv) / visitors if visitors else None,
        }


def rows(valuation: Valuation, by: By, first: date | None = None, last: date | None = None) -> Rows:
    """One row for each provider, segment, pair or day, in the order of the key.

    Plain figures count the visits of ``first`` to ``last`` (all by default) and the orders of those visits known on the
    as-of day; money in major units. The estimate is of a visit on the as-of day; of a day's own visits where ``by`` is
    day, and None for a day after the as-of day.
    """
    index, values = valuation.index, valuation.values
    known, exponent = valuation.facts.between(first, last), valuation.exponent
    if by == "day":
        each, figures = _by_day(valuation, known, first, last)
        return Rows({"day": each}, _plain_by(known, lambda t: _codes(t["day"], each), len(each), exponent), figures)
    if by == "pair":
        columns = {
            "segment": [index.segments[i] for i in index.pair_segment.tolist()],
            "provider_id": [index.providers[i] for i in index.pair_provider.tolist()],
        }
        plain = _plain_by(known, lambda t: pair_positions(index, t), len(index.pair_segment), exponent)
        return Rows(columns, plain, _estimates(values.pairs))
    (key,) = KEYS[by]
    names, of_names = (index.providers, values.providers) if by == "provider" else (index.segments, values.segments)
    plain = _plain_by(known, lambda t: _codes(t[key], names), len(names), exponent)
    return Rows({key: names}, plain, _estimates(of_names))


def total(valuation: Valuation) -> dict[str, Any]:
    """The plain figures of all that is known."""
    return _plain_by(valuation.facts, lambda t: np.zeros(t.num_rows, np.int64), 1, valuation.exponent).row(0)


def days(valuation: Valuation) -> Rows:
    """The plain figures of each day that has visits."""
    known = valuation.facts
    each = sorted(pc.unique(known.visits["day"]).to_pylist())
    return Rows({"day": each}, _plain_by(known, lambda t: _codes(t["day"], each), len(each), valuation.exponent), {})


def _plain_by(known: FactTables, key: Callable[[pa.Table], Ints], n: int, exponent: int) -> _Plain:
    """Plain figures of the keys 0..n-1; ``key`` gives that of each row of a table, -1 for rows to leave out."""

    def summed_by(table: pa.Table, measures: list[str]) -> tuple[Ints, pa.Table]:
        at = key(table)
        sums = summed(table.select(measures).append_column("key", pa.array(at)).filter(pa.array(at >= 0)))
        return sums["key"].to_numpy(), sums

    visits, orders, minor = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=object)
    at, sums = summed_by(known.visits, ["visits"])
    visits[at] = sums["visits"].to_numpy()
    at, sums = summed_by(known.orders, ["orders", "amount_minor"])
    orders[at] = sums["orders"].to_numpy()
    minor[at] = [int(amount) for amount in sums["amount_minor"].to_pylist()]
    return _Plain(visits, orders, minor, exponent)


def _estimates(figures: Figures) -> dict[str, Column]:
    columns = (figures.mean, figures.sd, figures.low, figures.high, figures.evidence)
    return dict(zip(ESTIMATE, columns, strict=True))


def _by_day(
    valuation: Valuation, known: FactTables, first: date | None, last: date | None
) -> tuple[list[date], dict[str, Column]]:
    """Each day in a provider's place: its own visits, corrected for what is to come, drawn to the days' mean.

    The days of ``first`` to ``last``, and those of ``known`` after the as-of day, which have no estimate.
    """
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
    values = estimate(one_each, replace(valuation.settings, half_life_days=_NO_DECAY_DAYS))
    days = [date.fromordinal(valuation.as_of.toordinal() - age) for age in ages.tolist()]
    shown = [i for i, day in enumerate(days) if (first is None or day >= first) and (last is None or day <= last)]
    later = sorted(day for day in pc.unique(known.visits["day"]).to_pylist() if day > valuation.as_of)
    figures: dict[str, Column] = {
        name: [column[i] for i in shown] + [None] * len(later) for name, column in _estimates(values.providers).items()
    }
    return [days[i] for i in shown] + later, figures
