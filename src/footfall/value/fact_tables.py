"""FactTables: sufficient statistics of visits, orders and refunds. They merge with ``+``, and rows never move.

Everything in them is a whole number, so merging is exact in any order, and so is equality.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from footfall.model import Ints

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
               amount_minor (of a refund that tells none, the amount of its order)
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
        visits, orders, refunds, providers, left_out = (_added(mine, theirs) for mine, theirs in pairs)
        return FactTables(visits, orders, refunds, _latest(providers), left_out)

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

        return FactTables(within(self.visits), within(self.orders), within(self.refunds), self.providers, self.left_out)

    def with_categories(self, categories: dict[str, str]) -> FactTables:
        """The same facts, with the category of each provider in ``categories`` (provider_id -> category)."""
        ids = self.providers["provider_id"].to_pylist()
        told = self.providers["category"].to_pylist()
        column = pa.array([categories.get(i, c) for i, c in zip(ids, told, strict=True)], pa.string())
        place = self.providers.schema.get_field_index("category")
        providers = self.providers.set_column(place, "category", column)
        return FactTables(self.visits, self.orders, self.refunds, providers, self.left_out)


def summed(table: pa.Table) -> pa.Table:
    """One row for each key, measures added up, rows of zeros dropped, sorted by key.

    Sums of decimals are exact; OverflowError where one has no place in decimal128. (Done by sorting and numpy, since
    pyarrow's own group_by wakes up a data frame library, which takes longer than most of what is added here.)
    """
    keys = [name for name in table.column_names if name not in _MEASURES]
    table = _sorted(table, keys)
    if not table.num_rows:
        return table
    starts = _starts(table, keys)
    total = table.take(pa.array(starts))
    some = np.zeros(len(starts), dtype=bool)
    for place, field in enumerate(table.schema):
        if field.name in _MEASURES:
            sums = _sums(table[field.name], starts)
            total = total.set_column(place, field, sums)
            some |= pc.not_equal(sums, 0).to_numpy(zero_copy_only=False)
    return total.filter(pa.array(some)).combine_chunks()


def _added(mine: pa.Table, theirs: pa.Table) -> pa.Table:
    """Both tables together: rows of days that only one of them has are passed on as they are."""
    if "day" not in mine.column_names:
        both = pa.concat_tables([mine, theirs])
        return both if "category" in both.column_names else summed(both)
    if not mine.num_rows or not theirs.num_rows:
        return mine if mine.num_rows else theirs
    # Days before and after all of theirs are cut off, which copies nothing: most of what is known, in an update. (So
    # the tables are in pieces.)
    days, their_days = (table["day"].cast(pa.int32()).to_numpy() for table in (mine, theirs))
    first, last = int(np.searchsorted(days, their_days[0])), int(np.searchsorted(days, their_days[-1], side="right"))
    parts = [mine.slice(0, first), _added_days(mine.slice(first, last - first), theirs), mine.slice(last)]
    return pa.concat_tables([part for part in parts if part.num_rows] or parts[:1])


def _added_days(mine: pa.Table, theirs: pa.Table) -> pa.Table:
    """``_added`` for tables that both have a day."""
    shared = pc.unique(theirs["day"]).filter(pc.is_in(pc.unique(theirs["day"]), pc.unique(mine["day"])))
    once, twice = [], []
    for table in (mine, theirs):
        if not len(shared):
            once.append(table)
            continue
        is_shared = pc.is_in(table["day"], shared)
        once.append(table.filter(pc.invert(is_shared)))
        twice.append(table.filter(is_shared))
    both = pa.concat_tables([*once, summed(pa.concat_tables(twice))] if twice else once)
    numbers = both["day"].cast(pa.int32()).to_numpy()
    if not np.all(numbers[1:] >= numbers[:-1]):  # within a day all is sorted, and stays so
        both = both.take(pa.array(np.argsort(numbers, kind="stable")))
    return both


def _latest(providers: pa.Table) -> pa.Table:
    """One row for each provider: its first day, the category told last (of two at once the greater name)."""
    keys = ["provider_id", "category_ts", "category"]
    providers = _sorted(providers, keys)  # what is null comes first, so that the last row is what was told last
    if not providers.num_rows:
        return providers
    starts = _starts(providers, keys[:1])
    ends = np.append(starts[1:], providers.num_rows) - 1
    days = providers["first_day"].cast(pa.int32()).to_numpy()
    first = pa.array(np.minimum.reduceat(days, starts), pa.int32()).cast(pa.date32())
    latest = providers.take(pa.array(ends))
    return latest.set_column(latest.schema.get_field_index("first_day"), PROVIDERS.field("first_day"), first)


def _sorted(table: pa.Table, keys: list[str]) -> pa.Table:
    """The rows by ``keys``, ascending, nulls first. (By one number a row: a third of what sort_indices takes.)"""
    order, groups = np.zeros(table.num_rows, dtype=np.int64), 1
    for key in keys:
        codes, size = _codes(table[key])
        if groups > (2**63 - 1) // size:
            order = np.unique(order, return_inverse=True)[1]
            groups = table.num_rows
        order = order * size + codes
        groups *= size
    return table.take(pa.array(np.argsort(order))).combine_chunks()


def _codes(column: pa.ChunkedArray) -> tuple[Ints, int]:
    """Numbers from 0 in the order of the values, nulls before all of them; and how many there are."""
    encoded = pc.dictionary_encode(column.combine_chunks(), null_encoding="mask")
    values = encoded.dictionary
    ranks = np.empty(len(values) + 1, dtype=np.int64)
    ranks[pc.array_sort_indices(values).to_numpy()] = np.arange(1, len(values) + 1)
    ranks[-1] = 0
    places = encoded.indices.fill_null(len(values)).to_numpy()
    return ranks[places], len(values) + 1


def _starts(table: pa.Table, keys: list[str]) -> Ints:
    """Where each group of equal keys begins in a sorted table, int64 (groups,)."""
    begins = np.zeros(table.num_rows, dtype=bool)
    begins[0] = True
    for key in keys:
        codes = pc.dictionary_encode(table[key].combine_chunks(), null_encoding="encode").indices.to_numpy()
        begins[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(begins)


def _sums(column: pa.ChunkedArray, starts: Ints) -> pa.Array:
    """Sums of the groups that begin at ``starts``: of int64, or of decimal128 by its four 32-bit limbs."""
    values = pa.concat_arrays(column.chunks)
    if not pa.types.is_decimal(column.type):
        return pa.array(np.add.reduceat(values.to_numpy(), starts))
    limbs = np.frombuffer(values.buffers()[1], dtype="<u4")[4 * values.offset : 4 * (values.offset + len(values))]
    parts = limbs.reshape(-1, 4).astype(np.int64)
    parts[:, 3] = parts[:, 3].astype(np.int32)  # the limb that has the sign
    sums = np.add.reduceat(parts, starts, axis=0)
    for place in range(3):
        sums[:, place + 1] += sums[:, place] >> 32
    if np.any(sums[:, 3] != sums[:, 3].astype(np.int32)):
        raise OverflowError("a sum of amounts has more than 38 digits")
    whole = (sums & 0xFFFFFFFF).astype("<u4")
    return pa.Array.from_buffers(column.type, len(starts), [None, pa.py_buffer(whole.tobytes())])


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
