"""What is logged of visits, refunds and fake orders, written in the columns of an outside exporter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from footfall.learn.journeys import Columns, Visits
from footfall.learn.market import MarketSettings
from footfall.learn.world import World
from footfall.model import Ints

_NAMES = ("page_view", "view_item", "add_to_cart", "purchase", "refund")
_PAGE_VIEW, _VIEW_ITEM, _ADD_TO_CART, _PURCHASE, _REFUND = range(5)
_ITEMS = 24  # of a shop
_MAX_VIEWS = 4
_SECOND = 1_000_000  # microseconds
_DAY_S = 86_400
_VISIT_S = 1_800  # longer than any visit: none starts later before midnight, so that all end on their day
# relative traffic of the 24 hours: a dip at night, peaks at noon and in the evening
_HOURS = (2, 1, 1, 1, 1, 1, 2, 3, 5, 6, 7, 7, 8, 7, 6, 6, 6, 6, 7, 8, 10, 10, 8, 5)
_FAKE_STEP_S = 97.0
_DEVICES, _DEVICE_WEIGHTS = ("phone", "desktop", "tablet"), (0.70, 0.24, 0.06)
_COUNTRIES, _COUNTRY_WEIGHTS = ("CN", "HK", "TW", "SG", "MY"), (0.80, 0.07, 0.07, 0.04, 0.02)
_HASH_BITS = 10


def event_schema(currency_exponent: int = 2) -> pa.Schema:
    """Columns of the events; ``amount`` is in major units, exact; ``ts`` in UTC."""
    kinds = {"ts": pa.timestamp("us", tz="UTC"), "amount": pa.decimal128(18, currency_exponent)}
    names = (
        "message_id",
        "ts",
        "name",
        "visitor_id",
        "provider_id",
        "item_id",
        "order_id",
        "amount",
        "currency",
        "category",
        "channel",
        "device",
        "country",
    )
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def visitor_text(numbers: Ints) -> pa.Array:
    """visitor_id of visitors' numbers."""
    return _numbered("v", numbers)


@dataclass(frozen=True, slots=True)
class Rows(Columns):
    """Events as numbers, int64 (n,) each: ``ts`` in microseconds since 1970 UTC; -1 for no item or order."""

    ts: Ints
    name: Ints
    visitor: Ints
    cell: Ints
    item: Ints
    order: Ints
    amount: Ints


def draw_rows(rng: np.random.Generator, visits: Visits, midnight: int) -> Rows:
    """Events of the visits of one day, visit after visit, each in order of time; ``midnight`` as ``Rows.ts``.

    A visit is a page view, 0 to 4 item views, perhaps a cart, and the order last; gaps are 3 s to 280 s.
    """
    n = len(visits.visitor)
    buys = visits.order >= 0
    views = np.minimum(rng.geometric(0.5, n) - 1, _MAX_VIEWS)
    views = np.where(buys, np.maximum(views, 1), views)
    cart = buys | ((views > 0) & (rng.random(n) < 0.10))
    counts = 1 + views + cart + buys
    visit = np.repeat(np.arange(n), counts)
    first = np.cumsum(counts) - counts
    place = np.arange(len(visit)) - first[visit]
    name = np.where(place == 0, _PAGE_VIEW, np.where(place <= views[visit], _VIEW_ITEM, _ADD_TO_CART))
    bought = buys[visit] & (place == counts[visit] - 1)
    gap = np.minimum(3.0 + rng.exponential(45.0, len(visit)), 280.0) * _SECOND
    clock = np.cumsum(gap.astype(np.int64))
    ts = midnight + _starts(rng, n)[visit] + clock - clock[first][visit]
    return Rows(
        ts=ts,
        name=np.where(bought, _PURCHASE, name),
        visitor=visits.visitor[visit],
        cell=visits.cell[visit],
        item=np.where(place == 0, -1, rng.integers(0, _ITEMS, len(visit))),
        order=np.where(bought, visits.order[visit], -1),
        amount=np.where(bought, visits.amount[visit], 0),
    )


def _starts(rng: np.random.Generator, n: int) -> Ints:
    """Microseconds of the day at which visits start, (n,)."""
    cumulated = np.append(0.0, np.cumsum(_HOURS) / np.sum(_HOURS))
    part = np.interp(rng.random(n), cumulated, np.linspace(0.0, 1.0, len(cumulated)))
    return (part * (_DAY_S - _VISIT_S) * _SECOND).astype(np.int64)


def refund_rows(rng: np.random.Generator, refunds: Visits, midnight: int) -> Rows:
    """One refund event for each order of ``refunds``, in office hours."""
    n = len(refunds.visitor)
    ts = midnight + rng.integers(9 * 3600, 18 * 3600, n) * _SECOND
    none, kind = np.full(n, -1), np.full(n, _REFUND)
    return Rows(ts, kind, refunds.visitor, refunds.cell, none, refunds.order, refunds.amount)


def fake_rows(fakes: Visits, midnight: int) -> Rows:
    """Orders nobody wanted: from three at night on, at equal steps, paid two seconds after the page view."""
    n = len(fakes.visitor)
    step = min(_FAKE_STEP_S, 20 * 3600 / max(n, 1))
    ts = midnight + ((3 * 3600 + step * np.arange(n)) * _SECOND).astype(np.int64)
    none, nothing = np.full(n, -1), np.zeros(n, dtype=np.int64)
    opened = Rows(ts, np.full(n, _PAGE_VIEW), fakes.visitor, fakes.cell, none, none, nothing)
    paid = Rows(ts + 2 * _SECOND, np.full(n, _PURCHASE), fakes.visitor, fakes.cell, nothing, fakes.order, fakes.amount)
    return Rows.concat([opened, paid])


class EventWriter:
    """Turns rows into tables of ``event_schema``: the few texts are looked up, the many are numbers."""

    def __init__(self, settings: MarketSettings, world: World) -> None:
        self._settings = settings
        self._schema = event_schema(settings.currency_exponent)
        self._providers = pa.array(world.provider_ids)
        self._items = pa.array([f"{p}-item-{i + 1:02d}" for p in world.provider_ids for i in range(_ITEMS)])
        self._categories = pa.array([world.categories[k].name for k in world.category])
        self._channels = pa.array(settings.channels)
        # device and country stay with the visitor: looked up in a fixed table by a hash of the number
        rng = np.random.default_rng(0)
        self._device_of = rng.choice(len(_DEVICES), 2**_HASH_BITS, p=_DEVICE_WEIGHTS)
        self._country_of = rng.choice(len(_COUNTRIES), 2**_HASH_BITS, p=_COUNTRY_WEIGHTS)

    def table(self, rows: Rows, first_message: int) -> pa.Table:
        """Rows as a table in the same order; message ids count on from ``first_message``."""
        n, shops = len(rows.ts), self._settings.shops
        shop, channel = pa.array(rows.cell % shops), pa.array(rows.cell // shops)
        # Fibonacci hashing (Knuth 1998, vol. 3, 6.4): the high bits of a product with 2^64 / golden ratio
        mixed = (rows.visitor.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _HASH_BITS)
        shown, ordered = rows.item >= 0, rows.order >= 0
        item = (rows.cell % shops)[shown] * _ITEMS + rows.item[shown]
        money = _decimals(rows.amount[ordered], self._settings.currency_exponent)
        columns = {
            "message_id": _numbered(f"m{self._settings.seed}-", np.arange(first_message, first_message + n)),
            "ts": pa.array(rows.ts, self._schema.field("ts").type),
            "name": pa.array(_NAMES).take(pa.array(rows.name)),
            "visitor_id": visitor_text(rows.visitor),
            "provider_id": self._providers.take(shop),
            "item_id": _scatter(self._items.take(pa.array(item)), shown),
            "order_id": _scatter(_numbered("o", rows.order[ordered]), ordered),
            "amount": _scatter(money, ordered),
            "currency": _scatter(pa.repeat(self._settings.currency, len(money)), ordered),
            "category": self._categories.take(shop),
            "channel": self._channels.take(channel),
            "device": pa.array(_DEVICES).take(pa.array(self._device_of[mixed])),
            "country": pa.array(_COUNTRIES).take(pa.array(self._country_of[mixed])),
        }
        return pa.table(columns, schema=self._schema)


def _numbered(prefix: str, numbers: Ints) -> pa.Array:
    """Texts such as ``o17``."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def _decimals(minor: Ints, exponent: int) -> pa.Array:
    """Minor units as exact decimals: the two 64-bit words of a 128-bit integer, low word first."""
    words = np.stack([minor, minor >> 63], axis=1)
    return pa.Array.from_buffers(pa.decimal128(18, exponent), len(minor), [None, pa.py_buffer(words.tobytes())])


def _scatter(values: pa.Array, where: npt.NDArray[np.bool_]) -> pa.Array:
    """``values`` one after the other at the places where ``where`` is true, null elsewhere."""
    if not len(values):
        return pa.nulls(len(where), values.type)
    index = np.maximum(np.cumsum(where) - 1, 0)
    return values.take(pa.array(index, mask=~where))
