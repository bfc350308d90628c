"""The truth of a simulated marketplace: the rates of each day, and what a journey is worth.

A **journey** is one visitor's way at one shop: a first visit, return visits on later days and, for some, an
order. One that starts on day u at shop j from channel c (k is the shop's category)

    buys with probability p = p(c, j, u), on day u + D, D in 0 .. window_days - 1 with probabilities delay[k];
    comes again on day u + o (o >= 1) with probability rho[k, o], independently for each o, as long as o < D;
    is there on the day of its order for certain, and never after its order.

So the expected visits of a journey on day u + o are linear in p for o >= 1:

    h(o, p) = rho_o + p g_o,   g_o = P(D = o) - rho_o P(D <= o),   h(0, p) = 1

and all the rest follows without sampling, since an order belongs to the first visit of its journey:

    journey value   = p x order value x (1 - refund share)        per NEW journey
    visits on day t = sum over o of new journeys(t - o) x h(o, p(t - o))
    true value      = journey value x new journeys(t) / visits(t)   per visit of day t, return visits too
    steady value    = journey value / sum over o of h(o, p)       the same where demand and rates stand still

A delay is less than ``window_days`` whole days, so the first visit is within the window by the clock as by
the calendar.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from footfall.errors import ConfigError
from footfall.learn.market import MAX_CONVERSION, Category, MarketSettings
from footfall.model import Floats, Ints

Bools = npt.NDArray[np.bool_]

_WEEKEND = np.array([-0.6, -0.8, -0.7, -0.3, 0.4, 1.2, 0.8])  # Monday first; sums to 0
_SEASON_DAYS = 91.0


def segment_name(channel: str, category: str) -> str:
    """Name of a segment in the truth and in shares: ``channel | category``, as facts name it."""
    return f"{channel} | {category}"


def delay_probabilities(category: Category, window_days: int) -> Floats:
    """P(order on day o of the journey), shape (window_days,), sums to 1."""
    out = np.zeros(window_days)
    out[0] = 1.0
    if window_days > 1:
        out[0] = category.same_day
        out[1:] = (1.0 - category.same_day) * _lognormal_days(category, window_days)
    return out


def return_probabilities(category: Category, window_days: int) -> Floats:
    """rho: probability of a return visit on day o of a journey, shape (window_days,); rho[0] is 0."""
    out = np.zeros(window_days)
    if window_days > 1:
        out[1:] = np.minimum(category.returns * _lognormal_days(category, window_days), 0.9)
    return out


def _lognormal_days(category: Category, window_days: int) -> Floats:
    """Lognormal density at whole days 1 .. window_days - 1, scaled to sum to 1."""
    days = np.arange(1, window_days, dtype=np.float64)
    z = (np.log(days) - np.log(category.delay_median_days)) / category.delay_log_sd
    logs = -0.5 * z * z - np.log(days)
    weight = np.exp(logs - logs.max())
    return np.asarray(weight / weight.sum())


class World:
    """The rates of every day, in arrays (channels C, shops J): all pairs, since a shop has one category.

    ``segments``: names, channel-major (S = C K,); ``category``: int64 (J,), index into ``categories``;
    ``first_day``: int64 (J,), 0 for shops there from the start; ``fakes``: bool (J,); ``refund_share``:
    float64 (J,); ``delay``, ``returns``, ``lift`` (g above): float64 (K, window_days).
    """

    def __init__(self, settings: MarketSettings) -> None:
        self.settings = settings
        rng = np.random.default_rng((settings.seed, 0))
        j = settings.shops
        self.categories = settings.categories[: min(len(settings.categories), j)]
        self.category: Ints = (np.arange(j) % len(self.categories)).astype(np.int64)
        self.provider_ids = tuple(f"shop-{i + 1:0{max(3, len(str(j)))}d}" for i in range(j))
        self.segments = tuple(segment_name(c, k.name) for c in settings.channels for k in self.categories)
        self.first_day = self._draw_newcomers(rng)
        self.fakes = self._draw_fakes(rng)
        self._size = self._draw_sizes(rng)
        self._draw_rates(rng)
        self.delay: Floats = np.array([delay_probabilities(x, settings.window_days) for x in self.categories])
        self.returns: Floats = np.array([return_probabilities(x, settings.window_days) for x in self.categories])
        self.lift: Floats = self.delay - self.returns * np.cumsum(self.delay, axis=1)
        self.lift[:, 0] = 0.0
        self._fall_mask = self._find_fall()
        self._demand = self._draw_demand(rng)
        self._demand *= settings.visitors / self._visits_in_log()

    # ------------------------------------------------------------ what is drawn once

    def _draw_newcomers(self, rng: np.random.Generator) -> Ints:
        """Opening days, (J,): a few in the last third of the log; each category has a shop from day 0."""
        s = self.settings
        first = np.zeros(s.shops, dtype=np.int64)
        free = np.arange(len(self.categories), s.shops)
        count = min(round(s.newcomer_share * s.shops), len(free))
        low, high = -(-2 * s.days // 3), s.days - 2
        if count and low <= high:
            first[rng.choice(free, count, replace=False)] = rng.integers(low, high, count, endpoint=True)
        return first

    def _draw_fakes(self, rng: np.random.Generator) -> Bools:
        out = np.zeros(self.settings.shops, dtype=np.bool_)
        old = rng.permutation(np.flatnonzero(self.first_day == 0))
        out[old[: self.settings.fakes]] = not self.settings.equal_values
        return out

    def _draw_sizes(self, rng: np.random.Generator) -> Floats:
        """Weights of the market's own shares, (C, J); newcomers and fakes are small."""
        c, j = len(self.settings.channels), self.settings.shops
        size = rng.lognormal(0.0, 0.7, j)
        size[(self.first_day > 0) | self.fakes] *= 0.3
        return np.asarray(size * rng.lognormal(0.0, 0.25, (c, j)))

    def _draw_rates(self, rng: np.random.Generator) -> None:
        """Levels of shops and channels around their category's, and the random walks they take."""
        s, of = self.settings, self.category
        c, j, k = len(s.channels), s.shops, len(self.categories)
        spread = 0.0 if s.equal_values else 1.0
        level = np.array([x.conversion for x in self.categories])[of] * rng.lognormal(0.0, 0.25, (c, 1))
        shop = rng.lognormal(0.0, s.conversion_sd * spread, j) * rng.lognormal(0.0, s.fit_sd * spread, (c, j))
        self._conversion: Floats = level * shop
        worth = np.array([x.order_value for x in self.categories])[of] * rng.lognormal(0.0, 0.05, (c, 1))
        self._order_value: Floats = worth * rng.lognormal(0.0, s.order_value_sd * spread, j)
        refund = np.array([x.refund_share for x in self.categories])[of]
        self.refund_share: Floats = np.minimum(refund * rng.lognormal(0.0, 0.25 * spread, j), 0.5)
        sd = s.drift_sd * spread
        self._drift: Floats = np.cumsum(rng.normal(0.0, sd, (s.days, j)), axis=0)
        self._value_drift: Floats = np.cumsum(rng.normal(0.0, sd / 2, (s.days, j)), axis=0)
        self._phase: Floats = rng.uniform(0.0, 2 * np.pi, k)
        self._season = s.season_amplitude * spread

    def _draw_demand(self, rng: np.random.Generator) -> Floats:
        """Shares of demand of (channel, category), (C, K), sum 1; a channel is 0.8 of the one before."""
        channel = 0.8 ** np.arange(len(self.settings.channels))
        category = np.array([x.demand_share for x in self.categories])
        out = channel[:, None] * category * rng.lognormal(0.0, 0.15, (len(channel), len(category)))
        return np.asarray(out / out.sum())

    def _find_fall(self) -> Bools:
        """Shops whose conversion falls, (J,)."""
        fall = self.settings.fall
        if fall is None:
            return np.zeros(self.settings.shops, dtype=np.bool_)
        names = [self.categories[k].name for k in self.category]
        mask = np.array([fall.target in pair for pair in zip(self.provider_ids, names, strict=True)])
        if not mask.any():
            way_out = f"name one such as {self.provider_ids[0]} or {names[0]}"
            raise ConfigError(f"fall: no shop or category is called {fall.target!r}", way_out)
        return mask

    # ------------------------------------------------------------ rates of a day

    def conversion(self, day: int) -> Floats:
        """Orders per new journey of that day, (C, J); days before the log have the rates of day 0."""
        t = min(max(day, 0), self.settings.days - 1)
        angle = 2 * np.pi * (self.settings.start_day.toordinal() + t) / _SEASON_DAYS + self._phase
        season = 1.0 + self._season * np.sin(angle)
        out = np.clip(self._conversion * np.exp(self._drift[t]) * season[self.category], 1e-6, MAX_CONVERSION)
        fall = self.settings.fall
        if fall is not None:
            out[:, self._fall_mask] = np.interp(t, [fall.first_day, fall.last_day], [fall.start, fall.end])
        return np.asarray(out)

    def order_value(self, day: int) -> Floats:
        """Expected amount of an order of a journey of that day, major units, before refunds, (C, J)."""
        t = min(max(day, 0), self.settings.days - 1)
        return np.asarray(self._order_value * np.exp(self._value_drift[t]))

    def journey_value(self, day: int) -> Floats:
        """Expected attributed net GMV of one NEW journey of that day, major units, (C, J)."""
        return np.asarray(self.conversion(day) * self.order_value(day) * (1.0 - self.refund_share))

    def visits_per_journey(self, day: int) -> Floats:
        """Expected visits of a journey that starts on that day, the first included, (C, J)."""
        of = self.category
        return np.asarray(1.0 + self.returns.sum(1)[of] + self.conversion(day) * self.lift.sum(1)[of])

    def demand(self, day: int) -> Floats:
        """Expected new journeys of (channel, category) on that day, (C, K)."""
        weekday = (self.settings.start_day.toordinal() + day + 6) % 7
        week = 1.0 + np.array([x.weekend for x in self.categories]) * _WEEKEND[weekday]
        return np.asarray(self._demand * week)

    def is_open(self, day: int) -> Bools:
        """Whether a shop is open on that day, (J,)."""
        return np.asarray(self.first_day <= max(day, 0))

    def initial_shares(self, day: int) -> Floats:
        """The market's own shares of a segment's new journeys, (C, J); a segment's sum to 1."""
        weight = self._size * self.is_open(day)
        totals = np.stack([weight[:, self.category == k].sum(1) for k in range(len(self.categories))], axis=1)
        return np.asarray(weight / totals[:, self.category])

    def new_journeys(self, day: int) -> Floats:
        """Expected new journeys under the market's own shares, (C, J)."""
        return np.asarray(self.demand(day)[:, self.category] * self.initial_shares(day))

    def visits_at(self, offset: int, start: int) -> Floats:
        """Expected visits on day ``start`` + ``offset`` of a journey that starts on day ``start``, (C, J).

        Journeys from before the log (``start`` < 0) are there only where they never buy: the log then has
        return visits from its first day on, and still no order whose first visit it does not hold.
        """
        if offset == 0:
            return np.ones((len(self.settings.channels), self.settings.shops))
        rho, p = self.returns[self.category, offset], self.conversion(start)
        if start < 0:
            return np.asarray((1.0 - p) * rho)
        return np.asarray(rho + p * self.lift[self.category, offset])

    def _visits_in_log(self) -> float:
        """Expected visits over the whole log under the market's own shares, at the present demand."""
        days, window = self.settings.days, self.settings.window_days
        # column o: sum over the offsets below o
        rho = np.cumsum(np.pad(self.returns, ((0, 0), (1, 0))), axis=1)[self.category]
        lift = np.cumsum(np.pad(self.lift, ((0, 0), (1, 0))), axis=1)[self.category]
        total = 0.0
        for start in range(1 - window, days):
            low, high = max(1, -start), min(window, days - start)
            p, again = self.conversion(start), rho[:, high] - rho[:, low]
            if high <= low:  # the last day of the log, or a window of one day: first visits only
                visits = np.full(p.shape, float(start >= 0))
            elif start < 0:
                visits = (1.0 - p) * again
            else:
                visits = 1.0 + again + p * (lift[:, high] - lift[:, low])
            total += float((self.new_journeys(start) * visits).sum())
        return total

    # ------------------------------------------------------------ segments

    def to_pairs(self, cells: Floats) -> Floats:
        """(C, J) as (S, J), 0 where the category differs."""
        c, j, k = len(self.settings.channels), self.settings.shops, len(self.categories)
        out = np.zeros((c, k, j))
        out[:, self.category, np.arange(j)] = cells
        return out.reshape(c * k, j)

    def to_cells(self, pairs: Floats) -> Floats:
        """(S, J) as (C, J)."""
        c, j, k = len(self.settings.channels), self.settings.shops, len(self.categories)
        return np.asarray(pairs.reshape(c, k, j)[:, self.category, np.arange(j)])
