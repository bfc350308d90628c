"""A simulated marketplace: the events an exporter would send, and beside them the truth they came from.

    market = Market(MarketSettings(shops=60, days=30, visitors=900_000, seed=1))
    for events in market.run():        # one Arrow table a day, in order of time
        ...
    market.truth(29)                   # what a visit was really worth on the last day

In a closed loop the caller sends the new journeys: ``market.step(day, shares)``. Return visits, orders and refunds of
earlier journeys come on later days by themselves. How truth follows from the settings: ``learn/market.py``.

Deliberately absent: visitors who compare several shops, and orders without a visit; each would make the truth a matter
of the attribution rule. Days are days of UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from footfall.errors import InputError, ProblemError
from footfall.learn.journeys import (
    ITEMS_PER_SHOP,
    NAMES,
    Rows,
    Visits,
    draw_outcomes,
    draw_returns,
    draw_rows,
    fake_rows,
    refund_rows,
    split_journeys,
)
from footfall.learn.market import CATEGORIES, Category, Fall, MarketSettings, World
from footfall.model import Floats, Ints

__all__ = [
    "CATEGORIES",
    "Category",
    "Fall",
    "Market",
    "MarketSettings",
    "event_schema",
    "expected_reward",
    "segment_name",
]

_DEVICES = ("phone", "desktop", "tablet")
_DEVICE_WEIGHTS = (0.70, 0.24, 0.06)
_COUNTRIES = ("CN", "HK", "TW", "SG", "MY")
_COUNTRY_WEIGHTS = (0.80, 0.07, 0.07, 0.04, 0.02)
_FAKE_VISITORS = 12
_FEWEST_FAKE_ORDERS = 24
_REPEAT_SHARE = 0.5  # of a shop's new journeys at most so many are made by customers who are due
_US_PER_DAY = 86_400_000_000


def segment_name(channel: str, category: str) -> str:
    """Name of a segment in the truth and in ``Market.step``: ``channel/category``."""
    return f"{channel}/{category}"


def event_schema(currency_exponent: int = 2) -> pa.Schema:
    """Columns of the events; ``amount`` is in major units, exact."""
    text = pa.string()
    return pa.schema(
        [
            ("message_id", text),
            ("ts", pa.timestamp("us", tz="UTC")),
            ("name", text),
            ("visitor_id", text),
            ("provider_id", text),
            ("item_id", text),
            ("order_id", text),
            ("amount", pa.decimal128(18, currency_exponent)),
            ("currency", text),
            ("category", text),
            ("channel", text),
            ("device", text),
            ("country", text),
        ]
    )


class Market:
    """One marketplace, stepped day by day from 0 to ``settings.days`` - 1.

    ``segments``: names, channel-major (S,); ``provider_ids``: (J,). Arrays of shape (S, J) below are in these orders.
    """

    def __init__(self, settings: MarketSettings) -> None:
        self.settings = settings
        self.world = World(settings)
        self.provider_ids: tuple[str, ...] = self.world.provider_ids
        self.segments: tuple[str, ...] = tuple(
            segment_name(c, k.name) for c in settings.channels for k in self.world.categories
        )
        self.next_day = 0
        self._sent: dict[int, Floats] = {}  # day -> expected new journeys (C, J), as they were sent
        self._visits: dict[int, list[Visits]] = defaultdict(list)
        self._refunds: dict[int, list[Visits]] = defaultdict(list)
        self._due: dict[int, list[Visits]] = defaultdict(list)  # buyers who are ready for another journey
        self._fake_visitors = _FAKE_VISITORS * int(self.world.fakes.sum())
        self._visitors = self._fake_visitors
        self._orders = 0
        self._messages = 0
        self._text = _Text(settings, self.world)

    # ------------------------------------------------------------ events

    def run(self) -> Iterator[pa.Table]:
        """Events of each day that is left, in order of time, with traffic by the market's own shares.

        One day is in memory at a time, and what is still to come of the journeys of the last ``window_days``.
        """
        while self.next_day < self.settings.days:
            yield self.step(self.next_day)

    def step(
        self, day_index: int, shares: npt.ArrayLike | Mapping[tuple[str, str], float] | None = None
    ) -> pa.Table:
        """Events of one day (``event_schema``), sorted by ``ts``; days are stepped in order.

        ``shares``: float64 (S, J) or {(segment, provider_id): share}, of each segment's new journeys; >= 0, a segment's
        sum to at most 1, and what is missing goes to no shop. None: the market's own. Raises ``InputError`` for a day
        out of order, ``ProblemError`` for shares that are not valid, or that send visitors to a shop of another
        category or not open yet.
        """
        if day_index != self.next_day or day_index >= self.settings.days:
            raise InputError(
                f"day {day_index} cannot be stepped: the next day is {self.next_day} of {self.settings.days}",
                "step the days in order, or make a new Market",
            )
        cells = self.world.initial_shares(day_index) if shares is None else self._cells(day_index, shares)
        if day_index == 0:
            self._warm_up()
        rng = np.random.default_rng((self.settings.seed, 1, day_index))
        self._sent[day_index] = self.world.demand(day_index)[:, self.world.category] * cells
        self._start_journeys(rng, day_index, cells)
        rows = self._rows(rng, day_index)
        self.next_day += 1
        table = self._text.table(rows, self._messages)
        self._messages += len(rows.ts)
        return table

    def _warm_up(self) -> None:
        """Return visits of journeys from before the log that never buy, so that its first days are days like others."""
        rng = np.random.default_rng((self.settings.seed, 2))
        for start in range(1 - self.settings.window_days, 0):
            cell = split_journeys(rng, self.world, start, self.world.initial_shares(start))
            cell = cell[rng.random(len(cell)) >= self.world.conversion(start).ravel()[cell]]
            self._schedule(rng, start, self._new_visitors(cell), np.full(len(cell), -1))

    def _new_visitors(self, cell: Ints) -> Visits:
        """First visits, nothing bought, of visitors never seen before."""
        n = len(cell)
        visitor = np.arange(self._visitors, self._visitors + n)
        self._visitors += n
        return Visits(visitor, cell, np.full(n, -1), np.zeros(n, dtype=np.int64))

    def _start_journeys(self, rng: np.random.Generator, day: int, shares: Floats) -> None:
        """Draw the day's new journeys and put all their visits, orders and refunds on their days."""
        fresh = self._new_visitors(split_journeys(rng, self.world, day, shares))
        fresh = self._let_customers_return(rng, day, fresh)
        outcome = draw_outcomes(rng, self.world, day, fresh.cell)
        buys = np.flatnonzero(outcome.delay >= 0)
        order = np.full(len(fresh.cell), -1)
        order[buys] = np.arange(self._orders, self._orders + len(buys))
        self._orders += len(buys)
        journeys = Visits(fresh.visitor, fresh.cell, order, outcome.amount)
        same_day = outcome.delay == 0
        first = Visits(
            fresh.visitor, fresh.cell, np.where(same_day, order, -1), np.where(same_day, outcome.amount, 0)
        )
        self._visits[day].append(first)
        self._schedule(rng, day, journeys, outcome.delay)
        for later, after in ((self._refunds, outcome.refund_after), (self._due, outcome.again_after)):
            who = np.flatnonzero(after >= 0)
            on = day + outcome.delay[who] + after[who]
            for there in np.unique(on[on < self.settings.days]):
                later[int(there)].append(journeys.take(who[on == there]))

    def _schedule(self, rng: np.random.Generator, start: int, journeys: Visits, delay: Ints) -> None:
        """Put the return visits of journeys on their days, with the order on the last where there is one."""
        for offset in range(max(1, -start), min(self.settings.window_days, self.settings.days - start)):
            who = draw_returns(rng, self.world, journeys.cell, delay, offset)
            if not len(who):
                continue
            buys = delay[who] == offset
            back = journeys.take(who)
            self._visits[start + offset].append(
                Visits(
                    back.visitor, back.cell, np.where(buys, back.order, -1), np.where(buys, back.amount, 0)
                )
            )

    def _let_customers_return(self, rng: np.random.Generator, day: int, fresh: Visits) -> Visits:
        """Give some of the new journeys to customers of the same shop who are due; the others wait for the next day.

        A customer is due at the earliest on the day after the last order and leaves the list with the new journey, so
        that journeys of one visitor at one shop never overlap. Rates are those of any journey.
        """
        due = self._due.pop(day, [])
        if not due or not len(fresh.cell):
            if due:
                self._due[day + 1].extend(due)
            return fresh
        shops = self.settings.shops
        waiting = Visits.concat(due)
        open_to = np.flatnonzero(rng.random(len(fresh.cell)) < _REPEAT_SHARE)
        place, shop = _rank_within(rng, fresh.cell[open_to] % shops)
        waiting_place, waiting_shop = _rank_within(rng, waiting.cell % shops)
        span = max(int(place.max(initial=0)), int(waiting_place.max(initial=0))) + 1
        _, left, right = np.intersect1d(
            shop * span + place, waiting_shop * span + waiting_place, assume_unique=True, return_indices=True
        )
        visitor = fresh.visitor.copy()
        visitor[open_to[left]] = waiting.visitor[right]
        still = np.ones(len(waiting.cell), dtype=np.bool_)
        still[right] = False
        if still.any():
            self._due[day + 1].append(waiting.take(still))
        return Visits(visitor, fresh.cell, fresh.order, fresh.amount)

    def _rows(self, rng: np.random.Generator, day: int) -> Rows:
        """All event rows of a day, in order of time."""
        midnight = self._midnight(day)
        parts = [draw_rows(rng, Visits.concat(self._visits.pop(day)), midnight)]
        refunds = self._refunds.pop(day, [])
        if refunds:
            parts.append(refund_rows(rng, Visits.concat(refunds), midnight))
        for number, shop in enumerate(np.flatnonzero(self.world.fakes)):
            parts.append(fake_rows(self._fake_orders(number, int(shop)), midnight))
        rows = Rows.concat(parts)
        return rows.take(np.argsort(rows.ts, kind="stable"))

    def _fake_orders(self, number: int, shop: int) -> Visits:
        """The fake orders of one day at a shop: few visitors in turn, always the same amount."""
        settings = self.settings
        usual = settings.fake_order_rate * settings.visitors / settings.days * self._size_share(shop)
        n = max(_FEWEST_FAKE_ORDERS, round(usual))
        visitor = number * _FAKE_VISITORS + np.arange(n) % _FAKE_VISITORS
        cell = np.full(n, (len(settings.channels) - 1) * settings.shops + shop)
        order = np.arange(self._orders, self._orders + n)
        self._orders += n
        level = round(float(self.world.order_value(0)[-1, shop])) * 10**settings.currency_exponent
        return Visits(visitor, cell, order, np.full(n, max(level, 1)))

    def _size_share(self, shop: int) -> float:
        """Share of all new journeys that the market itself sends to a shop on the first day."""
        journeys = self.world.new_journeys(0)
        return float(journeys[:, shop].sum() / journeys.sum())

    def _midnight(self, day: int) -> int:
        epoch = date(1970, 1, 1).toordinal()
        return (self.settings.start_day.toordinal() - epoch + day) * _US_PER_DAY

    def _cells(self, day: int, shares: npt.ArrayLike | Mapping[tuple[str, str], float]) -> Floats:
        """Shares (S, J) as (C, J), checked."""
        if isinstance(shares, Mapping):
            array = np.zeros((len(self.segments), len(self.provider_ids)))
            rows = {name: i for i, name in enumerate(self.segments)}
            columns = {name: j for j, name in enumerate(self.provider_ids)}
            for (segment, provider), share in shares.items():
                if segment not in rows or provider not in columns:
                    raise ProblemError(
                        f"shares name ({segment}, {provider}), which this market does not have"
                    )
                array[rows[segment], columns[provider]] = share
        else:
            array = np.asarray(shares, dtype=np.float64)
        return self._check_shares(day, array)

    def _check_shares(self, day: int, array: Floats) -> Floats:
        expected = (len(self.segments), len(self.provider_ids))
        if array.shape != expected:
            raise ProblemError(f"shares have shape {array.shape}, not {expected} (segments x providers)")
        if not np.isfinite(array).all() or (array < 0).any():
            raise ProblemError("shares must be finite and not negative")
        worst = int(array.sum(1).argmax())
        if array[worst].sum() > 1 + 1e-6:
            raise ProblemError(
                f"shares of segment {self.segments[worst]} sum to {array[worst].sum():.6f}, above 1"
            )
        wrong = np.argwhere((array > 0) & ~self.eligible(day))
        if len(wrong):
            segment, provider = self.segments[wrong[0, 0]], self.provider_ids[wrong[0, 1]]
            raise ProblemError(
                f"shares send {segment} to {provider}, which is of another category or not open on day {day}",
                "give shares only where Market.eligible(day) is true",
            )
        return self._to_cells(array)

    # ------------------------------------------------------------ truth

    def eligible(self, day_index: int) -> npt.NDArray[np.bool_]:
        """Pairs whose category agrees and whose shop is open on that day, bool (S, J)."""
        open_now = np.broadcast_to(
            self.world.is_open(day_index), (len(self.settings.channels), self.settings.shops)
        )
        return self._to_pairs(open_now.astype(np.float64)) > 0

    def initial_shares(self, day_index: int) -> Floats:
        """The market's own shares, (S, J); each segment's sum to 1."""
        return self._to_pairs(self.world.initial_shares(day_index))

    def demand(self, day_index: int) -> Floats:
        """Expected new journeys of each segment on that day, (S,)."""
        return self.world.demand(day_index).ravel()

    def journey_value(self, day_index: int) -> Floats:
        """Expected attributed net GMV per NEW journey of that day, major units, (S, J); 0 where not eligible."""
        return np.asarray(self._to_pairs(self.world.journey_value(day_index)) * self.eligible(day_index))

    def visit_value(self, day_index: int) -> Floats:
        """The truth's ``true_value``, (S, J): expected attributed net GMV per visit of that day; 0 where not eligible."""
        return np.asarray(self._to_pairs(self._true_value(day_index)) * self.eligible(day_index))

    def expected_visits(self, day_index: int) -> Floats:
        """Expected visits of each pair on that day, return visits included, (S, J)."""
        return self._to_pairs(self._expected_visits(day_index))

    def truth(self, day_index: int) -> pa.Table:
        """What was true on a day, one row for each segment and open provider of its category.

        - ``true_value``: expected attributed net GMV / expected visits of that day, return visits of earlier journeys
          among them (whose number depends on what was sent on earlier days; days not stepped yet count as sent by the
          market's own shares). ``steady_value``: the same where demand and rates stand still.
        - ``journey_value``: expected attributed net GMV per new journey: what sending one more new visitor earns.
        - ``conversion``: orders per visit; ``journey_conversion``: per new journey; ``order_value``: before refunds;
          ``refund_share``: of orders, all refunded in full. true_value = conversion x order_value x (1 - refund_share).
        - ``new_journeys``, ``visits``: expected, of the pair; ``segment_journeys``, ``segment_visits``: of the segment,
          whose journeys may be more than those of its shops where shares leave some unassigned.
        - ``fakes``: the shop fakes orders; neither they nor their visits are in any figure here.

        Money in major units. Raises ``InputError`` for a day outside the log.
        """
        if not 0 <= day_index < self.settings.days:
            raise InputError(
                f"day {day_index} is outside the log, whose days are 0 to {self.settings.days - 1}"
            )
        world = self.world
        journeys, visits = self._journeys(day_index), self._expected_visits(day_index)
        p = world.conversion(day_index)
        per_visit = self._new_share(day_index)
        pairs = {
            "true_value": self._true_value(day_index),
            "steady_value": world.journey_value(day_index) / world.visits_per_journey(day_index),
            "journey_value": world.journey_value(day_index),
            "conversion": p * per_visit,
            "journey_conversion": p,
            "order_value": world.order_value(day_index),
            "refund_share": np.broadcast_to(world.refund_share, p.shape),
            "visits_per_journey": world.visits_per_journey(day_index),
            "new_journeys": journeys,
            "visits": visits,
        }
        rows, columns = np.nonzero(self.eligible(day_index))
        total = self._to_pairs(visits).sum(1)
        k = len(world.categories)
        of_segment = {
            "segment": pa.array([self.segments[i] for i in rows], pa.string()),
            "channel": pa.array([self.settings.channels[i // k] for i in rows], pa.string()),
            "category": pa.array([world.categories[i % k].name for i in rows], pa.string()),
            "provider_id": pa.array([self.provider_ids[j] for j in columns], pa.string()),
        }
        figures = {name: pa.array(self._to_pairs(v)[rows, columns]) for name, v in pairs.items()}
        rest = {
            "segment_journeys": pa.array(self.demand(day_index)[rows]),
            "segment_visits": pa.array(total[rows]),
            "fakes": pa.array(world.fakes[columns]),
        }
        return pa.table({**of_segment, **figures, **rest})

    def providers(self) -> pa.Table:
        """provider_id, category, name, first_day (date), fakes (bool), one row for each shop."""
        world = self.world
        kinds = [world.categories[k].name for k in world.category]
        return pa.table(
            {
                "provider_id": pa.array(self.provider_ids),
                "category": pa.array(kinds),
                "name": pa.array([f"{kind.capitalize()} {i + 1}" for i, kind in enumerate(kinds)]),
                "first_day": pa.array(
                    [self.settings.start_day + timedelta(days=int(d)) for d in world.first_day], pa.date32()
                ),
                "fakes": pa.array(world.fakes),
            }
        )

    def fake_visitor_ids(self) -> tuple[str, ...]:
        """The visitors who place the fake orders."""
        return tuple(f"v{i}" for i in range(self._fake_visitors))

    def _journeys(self, day: int) -> Floats:
        """Expected new journeys (C, J): as sent, else by the market's own shares."""
        return self._sent[day] if day in self._sent else self.world.new_journeys(day)

    def _expected_visits(self, day: int) -> Floats:
        parts = [
            self._journeys(day - o) * self.world.visits_at(o, day - o)
            for o in range(self.settings.window_days)
        ]
        return np.asarray(np.sum(parts, axis=0))

    def _new_share(self, day: int) -> Floats:
        """New journeys among the visits of a day, (C, J); of a steady journey where there are no visits at all."""
        visits = self._expected_visits(day)
        steady = 1.0 / self.world.visits_per_journey(day)
        return np.where(visits > 0, self._journeys(day) / np.where(visits > 0, visits, 1.0), steady)

    def _true_value(self, day: int) -> Floats:
        return np.asarray(self.world.journey_value(day) * self._new_share(day))

    def _to_pairs(self, cells: Floats) -> Floats:
        """(C, J) as (S, J), 0 where the category differs."""
        c, j, k = len(self.settings.channels), self.settings.shops, len(self.world.categories)
        out = np.zeros((c, k, j))
        out[:, self.world.category, np.arange(j)] = cells
        return out.reshape(c * k, j)

    def _to_cells(self, pairs: Floats) -> Floats:
        """(S, J) as (C, J)."""
        c, j, k = len(self.settings.channels), self.settings.shops, len(self.world.categories)
        return np.asarray(pairs.reshape(c, k, j)[:, self.world.category, np.arange(j)])


def expected_reward(market: Market, day_index: int, journeys: npt.ArrayLike) -> float:
    """Expected net GMV, major units, of sending ``journeys`` new journeys, float (S, J), on that day.

    New journeys, not visits: a plan moves who is sent where, and the return visits follow. Fake orders earn nothing.
    Raises ``ProblemError`` where the shape is wrong or journeys go where they cannot.
    """
    array = np.asarray(journeys, dtype=np.float64)
    values = market.journey_value(day_index)
    if array.shape != values.shape:
        raise ProblemError(f"journeys have shape {array.shape}, not {values.shape} (segments x providers)")
    if not np.isfinite(array).all() or (array[~market.eligible(day_index)] != 0).any():
        raise ProblemError("journeys must be finite, and 0 where a pair is not eligible on that day")
    return float((array * values).sum())


def _rank_within(rng: np.random.Generator, group: Ints) -> tuple[Ints, Ints]:
    """A random rank 0, 1, ... of each element within its group, and the groups, both (n,)."""
    n = len(group)
    mixed = rng.permutation(n)
    order = mixed[np.argsort(group[mixed], kind="stable")]
    ordered = group[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if n else np.zeros(0, dtype=np.int64)
    lengths = np.diff(np.r_[starts, n])
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n) - np.repeat(starts, lengths)
    return rank, group


class _Text:
    """Writes event rows as the columns of an outside exporter; dictionaries of the few, numbers for the many."""

    def __init__(self, settings: MarketSettings, world: World) -> None:
        self._settings = settings
        self._shops = settings.shops
        self._schema = event_schema(settings.currency_exponent)
        self._providers = pa.array(world.provider_ids)
        self._items = pa.array(
            [f"{p}-item-{i + 1:02d}" for p in world.provider_ids for i in range(ITEMS_PER_SHOP)]
        )
        self._categories = pa.array([world.categories[k].name for k in world.category])
        self._channels = pa.array(settings.channels)
        self._names = pa.array(NAMES)
        # device and country belong to the visitor: a fixed table is looked up by a hash of the visitor's number
        rng = np.random.default_rng(0)
        self._device_of = rng.choice(len(_DEVICES), 1024, p=_DEVICE_WEIGHTS)
        self._country_of = rng.choice(len(_COUNTRIES), 1024, p=_COUNTRY_WEIGHTS)

    def table(self, rows: Rows, first_message: int) -> pa.Table:
        """Rows as a table of ``event_schema``; message ids count on from ``first_message``."""
        n = len(rows.ts)
        shop, channel = rows.cell % self._shops, rows.cell // self._shops
        mixed = (rows.visitor.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(54)
        item = np.where(rows.item >= 0, shop * ITEMS_PER_SHOP + rows.item, 0)
        ordered = rows.order >= 0
        columns = [
            _numbered("e", np.arange(first_message, first_message + n)),
            pa.array(rows.ts, pa.timestamp("us", tz="UTC")),
            self._names.take(pa.array(rows.name)),
            _numbered("v", rows.visitor),
            self._providers.take(pa.array(shop)),
            self._items.take(pa.array(item, mask=rows.item < 0)),
            _scatter(_numbered("o", rows.order[ordered]), ordered),
            _scatter(_decimals(rows.amount[ordered], self._settings.currency_exponent), ordered),
            _scatter(pa.repeat(pa.scalar(self._settings.currency), int(ordered.sum())), ordered),
            self._categories.take(pa.array(shop)),
            self._channels.take(pa.array(channel)),
            pa.array(_DEVICES).take(pa.array(self._device_of[mixed])),
            pa.array(_COUNTRIES).take(pa.array(self._country_of[mixed])),
        ]
        return pa.Table.from_arrays(columns, schema=self._schema)


def _numbered(prefix: str, numbers: Ints) -> pa.Array:
    """Texts such as ``e17``."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def _decimals(minor: Ints, exponent: int) -> pa.Array:
    """Minor units as exact decimals: the two 64-bit words of a 128-bit integer, little end first."""
    words = np.stack([minor, minor >> 63], axis=1)
    return pa.Array.from_buffers(
        pa.decimal128(18, exponent), len(minor), [None, pa.py_buffer(words.tobytes())]
    )


def _scatter(values: pa.Array, where: npt.NDArray[np.bool_]) -> pa.Array:
    """``values`` at the places where ``where`` is true, null elsewhere."""
    index = np.cumsum(where) - 1
    return (
        values.take(pa.array(np.maximum(index, 0), mask=~where))
        if len(values)
        else pa.nulls(len(where), values.type)
    )
