"""A simulated marketplace: the events an exporter would send, and beside them the truth they came from.

    market = Market(MarketSettings(shops=60, days=30, visitors=900_000, seed=1))
    for events in market.run():        # one Arrow table a day, in order of time
        ...
    market.truth(29)                   # what a visit was really worth on the last day

In a closed loop the caller sends the new journeys: ``market.step(day, shares)``. Return visits, orders and
refunds of earlier journeys come on later days by themselves. How the truth follows from the rates:
``learn/world.py``.

Deliberately absent: visitors who compare several shops, and orders without a visit; each would make the truth
a matter of the attribution rule. Days are days of UTC: a workspace in another zone cuts some visits in two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from footfall.errors import InputError, ProblemError
from footfall.learn.events import (
    EventWriter,
    Rows,
    draw_rows,
    event_schema,
    fake_rows,
    refund_rows,
    visitor_text,
)
from footfall.learn.journeys import Visits, draw_outcomes, draw_returns, match_customers, split_journeys
from footfall.learn.market import CATEGORIES, Category, Fall, MarketSettings
from footfall.learn.world import Bools, World, segment_name
from footfall.model import Floats, Ints

__all__ = [
    "CATEGORIES",
    "Category",
    "Fall",
    "Market",
    "MarketSettings",
    "Shares",
    "event_schema",
    "expected_reward",
    "segment_name",
]

Shares = npt.ArrayLike | Mapping[tuple[str, str], float]

_FAKE_VISITORS = 12  # of a shop that fakes orders
_FEWEST_FAKE_ORDERS = 24
_REPEAT_SHARE = 0.5  # of a shop's new journeys, how many can be those of customers who are due
_US_PER_DAY = 86_400_000_000


class Market:
    """One marketplace, stepped day by day from 0 to ``settings.days`` - 1.

    ``segments``: names, channel-major (S,); ``provider_ids``: (J,). Arrays (S, J) are in these orders.
    """

    def __init__(self, settings: MarketSettings) -> None:
        self.settings = settings
        self.world = World(settings)
        self.segments = self.world.segments
        self.provider_ids = self.world.provider_ids
        self.next_day = 0
        self._sent: dict[int, Floats] = {}  # day -> expected new journeys (C, J), as they were sent
        self._visits: dict[int, list[Visits]] = defaultdict(list)
        self._refunds: dict[int, list[Visits]] = defaultdict(list)
        self._due: dict[int, list[Visits]] = defaultdict(list)  # buyers who are ready for another journey
        self._visitors = self._fake_visitors = _FAKE_VISITORS * int(self.world.fakes.sum())
        self._orders = 0
        self._messages = 0
        self._writer = EventWriter(settings, self.world)

    # ------------------------------------------------------------ events

    def run(self) -> Iterator[pa.Table]:
        """Events of each day that is left, in order of time, with traffic by the market's own shares.

        One day is in memory at a time, and what is still to come of the journeys of the last ``window_days``.
        """
        while self.next_day < self.settings.days:
            yield self.step(self.next_day)

    def step(self, day_index: int, shares: Shares | None = None) -> pa.Table:
        """Events of one day (``event_schema``), sorted by ``ts``; days are stepped in order.

        ``shares``: float64 (S, J) or {(segment, provider_id): share}, of each segment's new journeys; >= 0, a
        segment's sum to at most 1, and what is missing goes to no shop. None: the market's own.
        Raises ``InputError`` for a day out of order; ``ProblemError`` for shares that are not valid, or that
        send visitors to a shop of another category or one not open yet.
        """
        if day_index != self.next_day or day_index >= self.settings.days:
            raise InputError(
                f"day {day_index} cannot be stepped: the next is day {self.next_day} of {self.settings.days}",
                "step the days in order, or make a new Market",
            )
        cells = self.world.initial_shares(day_index) if shares is None else self._read(day_index, shares)
        if day_index == 0:
            self._warm_up()
        # a generator of its own for each day: what happened before does not change what chance brings today
        rng = np.random.default_rng((self.settings.seed, 1, day_index))
        self._sent[day_index] = self.world.demand(day_index)[:, self.world.category] * cells
        self._start_journeys(rng, day_index, cells)
        rows = self._rows(rng, day_index)
        table = self._writer.table(rows, self._messages)
        self._messages += len(rows.ts)
        self.next_day += 1
        return table

    def _warm_up(self) -> None:
        """Return visits of journeys from before the log that never buy, so that it starts like any day."""
        rng = np.random.default_rng((self.settings.seed, 2))
        for start in range(1 - self.settings.window_days, 0):
            cell = split_journeys(rng, self.world, start, self.world.initial_shares(start))
            cell = cell[rng.random(len(cell)) >= self.world.conversion(start).ravel()[cell]]
            self._schedule(rng, start, self._new_visitors(cell), np.full(len(cell), -1))

    def _new_visitors(self, cell: Ints) -> Visits:
        """Visits, nothing bought, of visitors never seen before."""
        n = len(cell)
        visitor = np.arange(self._visitors, self._visitors + n)
        self._visitors += n
        return Visits(visitor, cell, np.full(n, -1), np.zeros(n, dtype=np.int64))

    def _start_journeys(self, rng: np.random.Generator, day: int, shares: Floats) -> None:
        """Draw the day's new journeys and put all their visits, orders and refunds on their days."""
        fresh = self._new_visitors(split_journeys(rng, self.world, day, shares))
        visitor = self._let_customers_return(rng, day, fresh)
        outcome = draw_outcomes(rng, self.world, day, fresh.cell)
        buys = outcome.delay >= 0
        order = np.where(buys, self._orders + np.cumsum(buys) - 1, -1)
        self._orders += int(buys.sum())
        journeys = Visits(visitor, fresh.cell, order, outcome.amount)
        self._visits[day].append(journeys.buying(outcome.delay == 0))
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
            self._visits[start + offset].append(journeys.take(who).buying(delay[who] == offset))

    def _let_customers_return(self, rng: np.random.Generator, day: int, fresh: Visits) -> Ints:
        """Visitors of the new journeys: some are customers of the same shop who are due; others wait.

        A customer is due on the day after the last order at the earliest, and leaves the list with the new
        journey, so that journeys of one visitor at one shop never overlap. Their rates are those of any
        journey.
        """
        visitor, due = fresh.visitor.copy(), self._due.pop(day, [])
        if not due:
            return visitor
        waiting, shops = Visits.concat(due), self.settings.shops
        free = np.flatnonzero(rng.random(len(visitor)) < _REPEAT_SHARE)
        new, old = match_customers(rng, fresh.cell[free] % shops, waiting.cell % shops)
        visitor[free[new]] = waiting.visitor[old]
        still = np.ones(len(waiting.cell), dtype=np.bool_)
        still[old] = False
        self._due[day + 1].append(waiting.take(still))
        return visitor

    def _rows(self, rng: np.random.Generator, day: int) -> Rows:
        """All event rows of a day, in order of time."""
        days_since_1970 = self.settings.start_day.toordinal() - date(1970, 1, 1).toordinal() + day
        midnight = days_since_1970 * _US_PER_DAY
        parts = [draw_rows(rng, Visits.concat(self._visits.pop(day)), midnight)]
        if day in self._refunds:
            parts.append(refund_rows(rng, Visits.concat(self._refunds.pop(day)), midnight))
        for number, shop in enumerate(np.flatnonzero(self.world.fakes)):
            parts.append(fake_rows(self._fake_orders(number, int(shop)), midnight))
        rows = Rows.concat(parts)
        return rows.take(np.argsort(rows.ts, kind="stable"))

    def _fake_orders(self, number: int, shop: int) -> Visits:
        """The fake orders of one day at a shop: few visitors in turn, from the last channel, one amount."""
        settings, journeys = self.settings, self.world.new_journeys(0)
        usual = settings.visitors / settings.days * float(journeys[:, shop].sum() / journeys.sum())
        n = max(_FEWEST_FAKE_ORDERS, round(settings.fake_order_rate * usual))
        order = np.arange(self._orders, self._orders + n)
        self._orders += n
        visitor = number * _FAKE_VISITORS + np.arange(n) % _FAKE_VISITORS
        cell = np.full(n, (len(settings.channels) - 1) * settings.shops + shop)
        level = round(float(self.world.order_value(0)[-1, shop])) * 10**settings.currency_exponent
        return Visits(visitor, cell, order, np.full(n, max(level, 1)))

    def _read(self, day: int, shares: Shares) -> Floats:
        """Shares of any form as (C, J), checked."""
        array = self._place(shares) if isinstance(shares, Mapping) else np.asarray(shares, dtype=np.float64)
        wanted = (len(self.segments), len(self.provider_ids))
        if array.shape != wanted:
            raise ProblemError(f"shares have shape {array.shape}, not {wanted} (segments x providers)")
        if not np.isfinite(array).all() or (array < 0).any():
            raise ProblemError("shares must be finite and not negative")
        worst = int(array.sum(1).argmax())
        if array[worst].sum() > 1 + 1e-6:
            total = array[worst].sum()
            raise ProblemError(f"shares of segment {self.segments[worst]} sum to {total:.6f}, above 1")
        _refuse_elsewhere(self, day, array, "shares")
        return self.world.to_cells(array)

    def _place(self, shares: Mapping[tuple[str, str], float]) -> Floats:
        rows = {name: i for i, name in enumerate(self.segments)}
        columns = {name: j for j, name in enumerate(self.provider_ids)}
        array = np.zeros((len(rows), len(columns)))
        for (segment, provider), share in shares.items():
            if segment not in rows or provider not in columns:
                raise ProblemError(f"shares name ({segment}, {provider}), which this market does not have")
            array[rows[segment], columns[provider]] = share
        return array

    # ------------------------------------------------------------ truth

    def eligible(self, day_index: int) -> Bools:
        """Pairs whose category agrees and whose shop is open on that day, bool (S, J)."""
        cells = np.tile(self.world.is_open(day_index), (len(self.settings.channels), 1))
        return np.asarray(self.world.to_pairs(cells.astype(np.float64)) > 0)

    def initial_shares(self, day_index: int) -> Floats:
        """The market's own shares of new journeys, (S, J); a segment's sum to 1."""
        return self.world.to_pairs(self.world.initial_shares(day_index))

    def demand(self, day_index: int) -> Floats:
        """Expected new journeys of each segment on that day, (S,)."""
        return self.world.demand(day_index).ravel()

    def journey_value(self, day_index: int) -> Floats:
        """Expected attributed net GMV per NEW journey of that day, major units, (S, J); 0 if not eligible."""
        return self.world.to_pairs(self.world.journey_value(day_index)) * self.eligible(day_index)

    def true_value(self, day_index: int) -> Floats:
        """Expected attributed net GMV per visit of that day, major units, (S, J); 0 where not eligible."""
        return self.world.to_pairs(self._true_value(day_index)) * self.eligible(day_index)

    def expected_visits(self, day_index: int) -> Floats:
        """Expected visits of each pair on that day, return visits included, (S, J)."""
        return self.world.to_pairs(self._expected_visits(day_index))

    def truth(self, day_index: int) -> pa.Table:
        """What was true on a day, one row for each segment and open provider of its category.

        - ``true_value``: expected attributed net GMV / expected visits of that day. Return visits of earlier
          journeys are among them, so it depends a little on what was sent before (days not stepped yet count
          as sent by the market's own shares). ``steady_value``: the same where demand and rates stand still.
        - ``journey_value``: expected attributed net GMV per new journey: what sending one more of them earns.
        - ``conversion``: orders per visit; ``journey_conversion``: orders per new journey; ``order_value``:
          before refunds; ``refund_share``: of the orders, refunded in full. true_value = conversion x
          order_value x (1 - refund_share).
        - ``new_journeys``, ``visits``: expected, of the pair; ``demand``, ``segment_visits``: of the segment,
          whose new journeys (``demand``) are more than those of its shops where shares leave some unassigned.
        - ``fakes``: the shop fakes orders; neither they nor their visits are in any figure here.

        Money in major units. Raises ``InputError`` for a day outside the log.
        """
        if not 0 <= day_index < self.settings.days:
            raise InputError(f"day {day_index} is not in the log: its days are 0 to {self.settings.days - 1}")
        rows, columns = np.nonzero(self.eligible(day_index))
        world, k = self.world, len(self.world.categories)
        names = {
            "segment": [self.segments[i] for i in rows],
            "channel": [self.settings.channels[i // k] for i in rows],
            "category": [world.categories[i % k].name for i in rows],
            "provider_id": [self.provider_ids[j] for j in columns],
        }
        figures = {x: world.to_pairs(v)[rows, columns] for x, v in self._figures(day_index).items()}
        rest = {
            "demand": self.demand(day_index)[rows],
            "segment_visits": self.expected_visits(day_index).sum(1)[rows],
            "fakes": world.fakes[columns],
        }
        return pa.table({**{x: pa.array(v, pa.string()) for x, v in names.items()}, **figures, **rest})

    def _figures(self, day: int) -> dict[str, Floats]:
        """Figures of the truth table, each (C, J)."""
        world, conversion = self.world, self.world.conversion(day)
        value, per_journey = world.journey_value(day), world.visits_per_journey(day)
        return {
            "true_value": self._true_value(day),
            "steady_value": value / per_journey,
            "journey_value": value,
            "conversion": conversion * self._new_share(day),
            "journey_conversion": conversion,
            "order_value": world.order_value(day),
            "refund_share": np.tile(world.refund_share, (len(conversion), 1)),
            "visits_per_journey": per_journey,
            "new_journeys": self._journeys(day),
            "visits": self._expected_visits(day),
        }

    def providers(self) -> pa.Table:
        """provider_id, category, name, first_day (date), fakes (bool), one row for each shop."""
        world, start = self.world, self.settings.start_day
        kinds = [world.categories[k].name for k in world.category]
        return pa.table(
            {
                "provider_id": pa.array(self.provider_ids),
                "category": pa.array(kinds),
                "name": pa.array([f"{kind.capitalize()} {i + 1}" for i, kind in enumerate(kinds)]),
                "first_day": pa.array([start + timedelta(days=int(d)) for d in world.first_day], pa.date32()),
                "fakes": pa.array(world.fakes),
            }
        )

    def fake_visitor_ids(self) -> tuple[str, ...]:
        """The visitors who place the fake orders, and nothing else."""
        return tuple(visitor_text(np.arange(self._fake_visitors)).to_pylist())

    def _journeys(self, day: int) -> Floats:
        """Expected new journeys (C, J): as sent, else by the market's own shares."""
        return self._sent[day] if day in self._sent else self.world.new_journeys(day)

    def _expected_visits(self, day: int) -> Floats:
        total = np.zeros((len(self.settings.channels), self.settings.shops))
        for offset in range(self.settings.window_days):
            total += self._journeys(day - offset) * self.world.visits_at(offset, day - offset)
        return total

    def _new_share(self, day: int) -> Floats:
        """Share of new journeys among a day's visits, (C, J); the steady one where there are no visits."""
        visits = self._expected_visits(day)
        steady = 1.0 / self.world.visits_per_journey(day)
        return np.where(visits > 0, self._journeys(day) / np.where(visits > 0, visits, 1.0), steady)

    def _true_value(self, day: int) -> Floats:
        return self.world.journey_value(day) * self._new_share(day)


def expected_reward(market: Market, day_index: int, journeys: npt.ArrayLike) -> float:
    """Expected net GMV, major units, of sending ``journeys`` new journeys, float (S, J), on that day.

    New journeys, not visits: a plan moves who is sent where, and return visits follow by themselves. Fake
    orders earn nothing. Raises ``ProblemError`` for a wrong shape, or journeys to where they cannot go.
    """
    array = np.asarray(journeys, dtype=np.float64)
    values = market.journey_value(day_index)
    if array.shape != values.shape:
        raise ProblemError(f"journeys have shape {array.shape}, not {values.shape} (segments x providers)")
    if not np.isfinite(array).all():
        raise ProblemError("journeys must be finite")
    _refuse_elsewhere(market, day_index, array, "journeys")
    return float((array * values).sum())


def _refuse_elsewhere(market: Market, day: int, array: Floats, what: str) -> None:
    wrong = np.argwhere((array != 0) & ~market.eligible(day))
    if len(wrong):
        segment, provider = market.segments[wrong[0, 0]], market.provider_ids[wrong[0, 1]]
        raise ProblemError(
            f"{what} go from {segment} to {provider}: of another category, or not open on day {day}",
            "send visitors only where Market.eligible(day) is true",
        )
