"""The truth of a simulated marketplace: its settings, the rates of each day, and what a visit is worth.

A **journey** is one visitor's way at one shop: a first visit, return visits on later days and, for some, an order.
A journey that starts on day u at shop j from channel c (category k is the shop's)

    buys with probability p = p(c, j, u), on day u + D, D in 0 .. window_days - 1 with probabilities delay[k],
    comes again on day u + o (o >= 1) with probability rho[k, o], independently for each o, as long as o < D,
    is there on the day of its order for certain, and never after its order.

So the expected visits of a journey on day u + o are linear in p (o >= 1):

    h(o, p) = rho_o + p g_o,   g_o = P(D = o) - rho_o P(D <= o),   h(0, p) = 1

and everything that a test wants to know follows without sampling:

    journey value   = p x order value x (1 - refund share)           per NEW journey
    visits on day t = sum over o of new journeys(t - o) x h(o, p(t - o))
    true value      = journey value x new journeys(t) / visits(t)    per visit of day t, return visits included
    steady value    = journey value / sum over o of h(o, p)          the same where demand and rates stand still

because an order is attributed to the journey's first visit. A delay is less than ``window_days`` whole days, so the
first visit is within the window by the clock as by the calendar.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from footfall.errors import ConfigError
from footfall.model import Floats, Ints

Bools = npt.NDArray[np.bool_]

_WEEKEND = np.array([-0.6, -0.8, -0.7, -0.3, 0.4, 1.2, 0.8])  # Monday first; sums to 0
_SEASON_DAYS = 91.0
_MAX_CONVERSION = 0.5


@dataclass(frozen=True, slots=True)
class Category:
    """What shops of a category have in common. Money in major units, shares and probabilities in 0 .. 1.

    ``same_day`` of the orders come on the first day, the others after a lognormal time of ``delay_median_days`` and
    ``delay_log_sd``; ``returns`` is the expected number of return visits of a journey without an order.
    """

    name: str
    demand_share: float
    conversion: float
    order_value: float
    order_log_sd: float
    same_day: float
    delay_median_days: float
    delay_log_sd: float
    returns: float
    refund_share: float
    weekend: float  # strength of the weekday pattern of demand
    repurchase_share: float  # of the buyers, how many start another journey at the same shop
    repurchase_median_days: float


CATEGORIES: tuple[Category, ...] = (
    Category("snacks", 0.35, 0.10, 60.0, 0.45, 0.88, 1.5, 0.5, 0.15, 0.02, 0.05, 0.60, 6.0),
    Category("fashion", 0.30, 0.055, 220.0, 0.55, 0.45, 2.5, 0.7, 0.50, 0.18, 0.15, 0.25, 21.0),
    Category("electronics", 0.20, 0.035, 900.0, 0.65, 0.25, 6.0, 0.6, 0.80, 0.08, 0.10, 0.08, 40.0),
    Category("furniture", 0.15, 0.022, 1800.0, 0.70, 0.05, 11.0, 0.6, 1.20, 0.05, 0.30, 0.03, 60.0),
)


@dataclass(frozen=True, slots=True)
class Fall:
    """Let journeys' conversion at a shop, or in a whole category, fall in a straight line.

    ``target``: a provider_id or a category's name. Up to day ``first_day`` it is ``start``, from ``last_day`` on it is
    ``end`` (days from 0), whatever shop, channel, season and drift would make of it.
    """

    target: str
    first_day: int
    last_day: int
    start: float = 0.06
    end: float = 0.03


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """Everything that a marketplace is made from; the same settings give the same marketplace, byte for byte.

    ``visitors``: visits aimed at over the whole log with the market's own shares, return visits included (>= 1).
    ``channels`` x ``categories`` are the segments, channel-major. ``equal_values``: shops of a category differ in size
    only; no drift, no season, no fakes. ``fakes``: shops that fake orders, ``fake_order_rate`` of their visits a day.
    Raises ``ConfigError`` where a setting is out of its range.
    """

    shops: int = 60
    days: int = 30
    visitors: int = 900_000
    seed: int = 0
    start_day: date = date(2026, 9, 1)
    channels: tuple[str, ...] = ("search", "feed", "ads", "direct")
    categories: tuple[Category, ...] = CATEGORIES
    window_days: int = 30
    currency: str = "CNY"
    currency_exponent: int = 2
    conversion_sd: float = 0.40  # between shops, of the logarithm
    order_value_sd: float = 0.35
    fit_sd: float = 0.20  # between channels within a shop: not all shops suit all visitors
    drift_sd: float = 0.015  # a day, of the logarithm of conversion; order value moves half as much
    season_amplitude: float = 0.08
    newcomer_share: float = 0.08
    fakes: int = 1
    fake_order_rate: float = 0.08
    fall: Fall | None = None
    equal_values: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        for name, low in (
            ("shops", 1),
            ("days", 1),
            ("visitors", 1),
            ("seed", 0),
            ("window_days", 1),
            ("fakes", 0),
        ):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} = {getattr(self, name)} is below {low}", f"give {name} >= {low}")
        for name, high in (
            ("conversion_sd", 2.0),
            ("order_value_sd", 2.0),
            ("fit_sd", 2.0),
            ("drift_sd", 0.5),
            ("season_amplitude", 0.9),
            ("newcomer_share", 0.5),
            ("fake_order_rate", 1.0),
            ("currency_exponent", 4),
        ):
            if not 0 <= getattr(self, name) <= high:
                raise ConfigError(f"{name} = {getattr(self, name)} is not within 0 and {high}")
        for name, labels in (("channels", self.channels), ("categories", [c.name for c in self.categories])):
            if not labels or len(set(labels)) < len(labels) or not all(labels):
                raise ConfigError(
                    f"{name} must be different, non-empty names; got {', '.join(labels) or 'none'}"
                )
        if self.fakes > self.shops:
            raise ConfigError(f"fakes = {self.fakes} is more than shops = {self.shops}")


def delay_probabilities(category: Category, window_days: int) -> Floats:
    """P(order on day o of the journey), shape (window_days,), sums to 1; at most ``window_days`` - 1 days."""
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
    """Lognormal density at whole days 1 .. window_days - 1, normalised to sum to 1."""
    days = np.arange(1, window_days, dtype=np.float64)
    z = (np.log(days) - np.log(category.delay_median_days)) / category.delay_log_sd
    weight = np.exp(-0.5 * z * z) / days
    return np.asarray(weight / weight.sum())


class World:
    """The rates of every day. Arrays are (channels C, shops J); a shop has one category, so a cell is a segment x shop.

    ``category``: int64 (J,), index into ``categories``; ``first_day``: int64 (J,), 0 for shops there from the start;
    ``refund_share``: float64 (J,); ``delay``, ``returns``: float64 (K, window_days).
    """

    def __init__(self, settings: MarketSettings) -> None:
        self.settings = settings
        rng = np.random.default_rng((settings.seed, 0))
        c, j, t = len(settings.channels), settings.shops, settings.days
        self.categories = settings.categories[: min(len(settings.categories), j)]
        k = len(self.categories)
        self.category: Ints = (np.arange(j) % k).astype(np.int64)
        self.provider_ids = tuple(f"shop-{i + 1:0{max(3, len(str(j)))}d}" for i in range(j))
        self.first_day = self._draw_newcomers(rng)
        self.fakes = self._draw_fakes(rng)
        spread = 0.0 if settings.equal_values else 1.0
        of = self.category
        self._conversion: Floats = (
            np.array([x.conversion for x in self.categories])[of]
            * rng.lognormal(0.0, 0.25, (c, 1))
            * rng.lognormal(0.0, settings.conversion_sd * spread, j)
            * rng.lognormal(0.0, settings.fit_sd * spread, (c, j))
        )
        self._order_value: Floats = (
            np.array([x.order_value for x in self.categories])[of]
            * rng.lognormal(0.0, 0.05, (c, 1))
            * rng.lognormal(0.0, settings.order_value_sd * spread, j)
        )
        base_refund = np.array([x.refund_share for x in self.categories])[of]
        self.refund_share: Floats = np.minimum(base_refund * rng.lognormal(0.0, 0.25 * spread, j), 0.5)
        drift = settings.drift_sd * spread
        self._drift: Floats = np.cumsum(rng.normal(0.0, drift, (t, j)), axis=0) if drift else np.zeros((t, j))
        self._value_drift: Floats = (
            np.cumsum(rng.normal(0.0, drift / 2, (t, j)), axis=0) if drift else self._drift
        )
        self._phase: Floats = rng.uniform(0.0, 2 * np.pi, k)
        self._season = settings.season_amplitude * spread
        self._size: Floats = self._draw_sizes(rng)
        self.delay: Floats = np.array([delay_probabilities(x, settings.window_days) for x in self.categories])
        self.returns: Floats = np.array(
            [return_probabilities(x, settings.window_days) for x in self.categories]
        )
        # h(o, p) = returns + p x lift for o >= 1, see the head of this file
        self.lift: Floats = self.delay - self.returns * np.cumsum(self.delay, axis=1)
        self.lift[:, 0] = 0.0
        self._fall_mask = self._find_fall()
        self._demand: Floats = self._draw_demand(rng)
        self._demand *= settings.visitors / self._visits_in_log()

    # ------------------------------------------------------------ what is drawn once

    def _draw_newcomers(self, rng: np.random.Generator) -> Ints:
        """Opening days, (J,): 0, or within the last third of the log for a few; each category keeps a shop from day 0."""
        s = self.settings
        first = np.zeros(s.shops, dtype=np.int64)
        free = np.arange(len(self.categories), s.shops)
        count = min(int(round(s.newcomer_share * s.shops)), len(free))
        low, high = -(-2 * s.days // 3), max(s.days - 2, 1)
        if count and low <= high:
            first[rng.choice(free, count, replace=False)] = rng.integers(low, high, count, endpoint=True)
        return first

    def _draw_fakes(self, rng: np.random.Generator) -> Bools:
        out = np.zeros(self.settings.shops, dtype=np.bool_)
        old = np.flatnonzero(self.first_day == 0)
        chosen = rng.permutation(old)[: self.settings.fakes]
        out[chosen] = not self.settings.equal_values
        return out

    def _draw_sizes(self, rng: np.random.Generator) -> Floats:
        """Weights of the market's own shares, (C, J); newcomers and fakes are small."""
        c, j = len(self.settings.channels), self.settings.shops
        size = rng.lognormal(0.0, 0.7, j)
        size[(self.first_day > 0) | self.fakes] *= 0.3
        return np.asarray(size * rng.lognormal(0.0, 0.25, (c, j)))

    def _draw_demand(self, rng: np.random.Generator) -> Floats:
        """Shares of demand of (channel, category), (C, K), sum 1."""
        channel = 0.8 ** np.arange(len(self.settings.channels))
        category = np.array([x.demand_share for x in self.categories])
        out = channel[:, None] * category * rng.lognormal(0.0, 0.15, (len(channel), len(category)))
        return np.asarray(out / out.sum())

    def _find_fall(self) -> Bools | None:
        fall = self.settings.fall
        if fall is None:
            return None
        names = [self.categories[k].name for k in self.category]
        mask = np.array([fall.target in (p, n) for p, n in zip(self.provider_ids, names, strict=True)])
        if not mask.any():
            raise ConfigError(
                f"fall: no shop or category is called {fall.target!r}",
                f"for example {self.provider_ids[0]!r}",
            )
        return mask

    # ------------------------------------------------------------ rates of a day

    def conversion(self, day: int) -> Floats:
        """Orders per new journey of that day, (C, J); days before the log have the rates of day 0."""
        t = min(max(day, 0), self.settings.days - 1)
        angle = 2 * np.pi * (self.settings.start_day.toordinal() + t) / _SEASON_DAYS + self._phase
        season = 1.0 + self._season * np.sin(angle)
        out = self._conversion * np.exp(self._drift[t]) * season[self.category]
        out = np.clip(out, 1e-6, _MAX_CONVERSION)
        fall = self.settings.fall
        if fall is not None and self._fall_mask is not None:
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
        """The market's own shares of a segment's new journeys, (C, J); those of a category sum to 1 in each channel."""
        weight = self._size * self.is_open(day)
        totals = np.stack([weight[:, self.category == k].sum(1) for k in range(len(self.categories))], axis=1)
        return np.asarray(weight / totals[:, self.category])

    def new_journeys(self, day: int) -> Floats:
        """Expected new journeys under the market's own shares, (C, J)."""
        return np.asarray(self.demand(day)[:, self.category] * self.initial_shares(day))

    def visits_at(self, offset: int, start: int) -> Floats:
        """Expected visits on day ``start`` + ``offset`` of a journey that starts on day ``start``, (C, J).

        Journeys from before the log (``start`` < 0) are there only where they never buy: the log then holds return
        visits from its first day on, and still no order whose first visit it does not hold.
        """
        if offset == 0:
            return np.ones((len(self.settings.channels), self.settings.shops))
        rho = self.returns[self.category, offset]
        if start < 0:
            return np.asarray((1.0 - self.conversion(start)) * rho)
        return np.asarray(rho + self.conversion(start) * self.lift[self.category, offset])

    def _visits_in_log(self) -> float:
        """Expected visits over the whole log under the market's own shares, at the present demand."""
        days, window, of = self.settings.days, self.settings.window_days, self.category
        rho = np.concatenate([np.zeros((len(self.returns), 1)), np.cumsum(self.returns, axis=1)], axis=1)
        lift = np.concatenate([np.zeros((len(self.lift), 1)), np.cumsum(self.lift, axis=1)], axis=1)
        total = 0.0
        for start in range(1 - window, days):
            low, high = max(1, -start), max(1, min(window, days - start))
            p = self.conversion(start)
            again = (rho[:, high] - rho[:, low])[of] if high > low else np.zeros(len(of))
            if start < 0:
                visits = (1.0 - p) * again
            else:
                visits = 1.0 + again + p * (lift[:, high] - lift[:, low])[of]
            total += float((self.new_journeys(start) * visits).sum())
        return total
