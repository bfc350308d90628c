"""FactTables: sufficient statistics of visits, orders and refunds. They merge with ``+``, and rows never move.

Everything in them is a whole number, so merging is exact in any order, and so is equality.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

AMOUNT = pa.decimal128(38, 0)

VISITS = pa.schema(
    [("day", pa.date32()), ("segment", pa.string()), ("provider_id", pa.string()), ("visits", pa.int64())]
)
ORDERS = pa.schema(
    [
        ("day", pa.date32()),
        ("segment", pa.string()),
        ("provider_id", pa.string()),
        ("delay_days", pa.int32()),
        ("orders", pa.int64()),
        ("amount_minor", AMOUNT),
        ("amount_sq", AMOUNT),
    ]
)
REFUNDS = pa.schema(
    [
        ("day", pa.date32()),
        ("segment", pa.string()),
        ("provider_id", pa.string()),
        ("order_delay_days", pa.int32()),
        ("refund_delay_days", pa.int32()),
        ("refunds", pa.int64()),
        ("amount_minor", AMOUNT),
    ]
)
PROVIDERS = pa.schema(
    [
        ("provider_id", pa.string()),
        ("category", pa.string()),
        ("category_ts", pa.timestamp("us")),
        ("first_day", pa.date32()),
    ]
)
# Events that could not be counted, by reason.
LEFT_OUT = pa.schema([("reason", pa.string()), ("events", pa.int64())])

_MEASURES = frozenset({"visits", "orders", "refunds", "amount_minor", "amount_sq", "events"})


@dataclass(frozen=True, slots=True, eq=False)
class FactTables:
    """Counts and sums behind every figure. ``day`` is always the local day of the visit.

    visits     day, segment, provider_id -> visits
    orders     + delay_days (local day of the order - of the visit) -> orders, amount_minor, and
               amount_sq, the sum of squares
    refunds    + order_delay_days, refund_delay_days (day of the refund - of the order) -> refunds,
               amount_minor
    providers  provider_id -> category (the latest known, or null), category_ts (when it was told), first_day
    left_out   reason -> events that are in no other table: "refund without order", "order without provider"

    Amounts are decimal128(38, 0) in minor units, and exact. Rows are sorted by their keys; none counts zero.
    """

    visits: pa.Table
    orders: pa.Table
    refunds: pa.Table
    providers: pa.Table
    left_out: pa.Table

    @classmethod
    def of(
        cls, visits: pa.Table, orders: pa.Table, refunds: pa.Table, providers: pa.Table, left_out: pa.Table
    ) -> FactTables:
        """Facts of these tables, whatever the order of their rows; columns are cast to this module's schemas."""
        return cls(
            summed(visits.cast(VISITS)),
            summed(orders.cast(ORDERS)),
            summed(refunds.cast(REFUNDS)),
            _latest(providers.cast(PROVIDERS)),
            summed(left_out.cast(LEFT_OUT)),
        )

    @classmethod
    def grouped(
        cls, visits: pa.Table, orders: pa.Table, refunds: pa.Table, providers: pa.Table, left_out: pa.Table
    ) -> FactTables:
        """Facts of tables that have each key once and no zeros, as the .sql files give them."""
        return cls(
            _sorted(visits.cast(VISITS), ["day", "segment", "provider_id"]),
            _sorted(orders.cast(ORDERS), ["day", "segment", "provider_id", "delay_days"]),
            _sorted(refunds.cast(REFUNDS), REFUNDS.names[:5]),
            _sorted(providers.cast(PROVIDERS), ["provider_id"]),
            _sorted(left_out.cast(LEFT_OUT), ["reason"]),
        )

    @classmethod
    def empty(cls) -> FactTables:
        """Facts of an empty log."""
        return cls(*(schema.empty_table() for schema in (VISITS, ORDERS, REFUNDS, PROVIDERS, LEFT_OUT)))

    def tables(self) -> dict[str, pa.Table]:
        """The tables by name."""
        return {
            "visits": self.visits,
            "orders": self.orders,
            "refunds": self.refunds,
            "providers": self.providers,
            "left_out": self.left_out,
        }

    def __add__(self, other: FactTables) -> FactTables:
        pairs = zip(self.tables().values(), other.tables().values(), strict=True)
        return FactTables.of(*(pa.concat_tables(pair) for pair in pairs))

    def minus(self, other: FactTables) -> FactTables:
        """Take the counts of ``other`` away. Providers stay: a latest and a first cannot be taken back."""
        taken = {name: _negated(table) for name, table in other.tables().items() if name != "providers"}
        return self + FactTables(providers=PROVIDERS.empty_table(), **taken)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FactTables):
            return NotImplemented
        pairs = zip(self.tables().values(), other.tables().values(), strict=True)
        return all(mine.equals(theirs) for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]

    def as_of(self, day: date) -> FactTables:
        """What was known at the end of ``day``: visits, orders and refunds up to it, each by its own day.

        Attribution and identity are today's: a visitor identified later is one person in the past as well.
        """
        last = _number(day)
        orders = _days(self.orders, "day", "delay_days")
        refunds = _days(self.refunds, "day", "order_delay_days", "refund_delay_days")
        return FactTables(
            self.visits.filter(pc.less_equal(_days(self.visits, "day"), last)),
            self.orders.filter(pc.less_equal(orders, last)),
            self.refunds.filter(pc.less_equal(refunds, last)),
            self.providers.filter(pc.less_equal(_days(self.providers, "first_day"), last)),
            self.left_out,
        )

    def between(self, first: date | None = None, last: date | None = None) -> FactTables:
        """Visits of the days ``first`` to ``last``, both included, with all of their own orders and refunds.

        An order counts on the day of its visit, so that orders / visits is the conversion of these visits; one
        placed after ``last`` by such a visit is in. For what was known on a day, take ``.as_of(day)`` as well.
        """

        def within(table: pa.Table) -> pa.Table:
            if first is not None:
                table = table.filter(pc.greater_equal(table["day"], pa.scalar(first, pa.date32())))
            if last is not None:
                table = table.filter(pc.less_equal(table["day"], pa.scalar(last, pa.date32())))
            return table

        return FactTables(
            within(self.visits), within(self.orders), within(self.refunds), self.providers, self.left_out
        )

    def with_categories(self, categories: dict[str, str]) -> FactTables:
        """The same facts, with the category of each provider in ``categories`` (provider_id -> category)."""
        ids = self.providers["provider_id"].to_pylist()
        told = self.providers["category"].to_pylist()
        column = pa.array([categories.get(i, c) for i, c in zip(ids, told, strict=True)], pa.string())
        place = self.providers.schema.get_field_index("category")
        providers = self.providers.set_column(place, "category", column)
        return FactTables(self.visits, self.orders, self.refunds, providers, self.left_out)


def summed(table: pa.Table) -> pa.Table:
    """One row for each key, measures added up, rows of zeros dropped, sorted by key."""
    measures = [name for name in table.column_names if name in _MEASURES]
    keys = [name for name in table.column_names if name not in _MEASURES]
    total = table.group_by(keys).aggregate([(name, "sum") for name in measures])
    total = total.select([*keys, *(f"{name}_sum" for name in measures)]).rename_columns(table.column_names)
    some = pc.not_equal(total[measures[0]], 0)
    for name in measures[1:]:
        some = pc.or_(some, pc.not_equal(total[name], 0))
    return _sorted(total.filter(some).cast(table.schema), keys)


def _latest(providers: pa.Table) -> pa.Table:
    """One row for each provider: its first day, the category told last (of two at once the greater name)."""
    first = providers.group_by("provider_id").aggregate([("first_day", "min")])
    told = providers.filter(pc.is_valid(providers["category"]))
    last = told.group_by("provider_id").aggregate([("category_ts", "max")])
    keys = ["provider_id", "category_ts"]
    told = told.join(last, keys, ["provider_id", "category_ts_max"], join_type="inner")
    told = told.group_by("provider_id").aggregate([("category", "max"), ("category_ts", "max")])
    both = first.join(told, "provider_id", join_type="left outer")
    both = both.select(["provider_id", "category_max", "category_ts_max", "first_day_min"])
    return _sorted(both.rename_columns(PROVIDERS.names).cast(PROVIDERS), ["provider_id"])


def _sorted(table: pa.Table, keys: list[str]) -> pa.Table:
    return table.sort_by([(key, "ascending") for key in keys]).combine_chunks()


def _negated(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if field.name in _MEASURES:
            table = table.set_column(place, field, pc.negate(table[field.name]))
    return table


def _number(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()


def _days(table: pa.Table, start: str, *delays: str) -> pa.ChunkedArray:
    days = table[start].cast(pa.int32())
    for delay in delays:
        days = pc.add(days, table[delay])
    return days
