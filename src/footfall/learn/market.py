"""Settings of a simulated marketplace: categories, sizes, how much shops differ and rates move."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from footfall.errors import ConfigError

MAX_CONVERSION = 0.5


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} = {value} is out of its range", f"give a number from {low} to {high}")


@dataclass(frozen=True, slots=True)
class Category:
    """What shops of a category have in common. Money in major units, shares and probabilities in 0 .. 1.

    ``same_day`` of the orders come on the first day, the others after a lognormal time of
    ``delay_median_days`` and ``delay_log_sd``; ``returns`` is the expected number of return visits of a
    journey without an order. Raises ``ConfigError`` where a figure is out of its range.
    """

    name: str
    demand_share: float
    conversion: float  # orders per new journey
    order_value: float
    order_log_sd: float
    same_day: float
    delay_median_days: float
    delay_log_sd: float
    returns: float
    refund_share: float
    weekend: float  # strength of the weekday pattern of demand; 0.3 means about a third more on Saturdays
    repurchase_share: float  # of the buyers, how many start another journey at the same shop
    repurchase_median_days: float

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        for name, low, high in (
            ("conversion", 1e-6, MAX_CONVERSION),
            ("order_log_sd", 0.0, 3.0),
            ("same_day", 0.0, 1.0),
            ("delay_log_sd", 0.05, 3.0),
            ("delay_median_days", 0.1, 1000.0),
            ("returns", 0.0, 10.0),
            ("refund_share", 0.0, 0.5),
            ("weekend", 0.0, 1.0),
            ("repurchase_share", 0.0, 1.0),
            ("repurchase_median_days", 0.1, 1000.0),
            ("demand_share", 1e-9, 1e9),
            ("order_value", 1e-9, 1e9),
        ):
            _check(f"category {self.name}: {name}", getattr(self, name), low, high)


CATEGORIES: tuple[Category, ...] = (
    Category("snacks", 0.35, 0.10, 60.0, 0.45, 0.88, 1.5, 0.5, 0.15, 0.02, 0.05, 0.60, 6.0),
    Category("fashion", 0.30, 0.055, 220.0, 0.55, 0.45, 2.5, 0.7, 0.50, 0.18, 0.15, 0.25, 21.0),
    Category("electronics", 0.20, 0.035, 900.0, 0.65, 0.25, 6.0, 0.6, 0.80, 0.08, 0.10, 0.08, 40.0),
    Category("furniture", 0.15, 0.022, 1800.0, 0.70, 0.05, 11.0, 0.6, 1.20, 0.05, 0.30, 0.03, 60.0),
)


@dataclass(frozen=True, slots=True)
class Fall:
    """Let the conversion of new journeys fall in a straight line, at a shop or in a whole category.

    ``target``: a provider_id or a category's name. Up to day ``first_day`` it is ``start``, from ``last_day``
    on it is ``end`` (days counted from 0), whatever shop, channel, season and drift would make of it. Raises
    ``ConfigError`` where a figure is out of its range.
    """

    target: str
    first_day: int
    last_day: int
    start: float = 0.06
    end: float = 0.03

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        _check("fall: start", self.start, 1e-6, MAX_CONVERSION)
        _check("fall: end", self.end, 1e-6, MAX_CONVERSION)
        if self.last_day <= self.first_day:
            raise ConfigError(f"fall: last_day = {self.last_day} is not after first_day = {self.first_day}")


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """All that a marketplace is made from; the same settings give the same marketplace, byte for byte.

    ``visitors``: visits aimed at over the whole log with the market's own shares, return visits included,
    fake orders' not. ``channels`` x ``categories`` are the segments, channel-major. ``equal_values``: shops
    of a category differ in size only; no drift, no season, no fakes. ``fakes``: how many shops fake orders,
    each ``fake_order_rate`` of its usual visits a day, 24 at least. Raises ``ConfigError`` where a setting is
    out of its range.
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
    fit_sd: float = 0.20  # between channels within a shop: not every shop suits every visitor
    drift_sd: float = 0.015  # a day, of the logarithm of conversion; order value moves half as much
    season_amplitude: float = 0.08
    newcomer_share: float = 0.08
    fakes: int = 1
    fake_order_rate: float = 0.08
    fall: Fall | None = None
    equal_values: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        for name, low, high in (
            ("shops", 1, 1_000_000),
            ("days", 1, 10_000),
            ("visitors", 1, 10**11),
            ("seed", 0, 2**63),
            ("window_days", 1, 400),
            ("fakes", 0, self.shops),
            ("conversion_sd", 0, 2),
            ("order_value_sd", 0, 2),
            ("fit_sd", 0, 2),
            ("drift_sd", 0, 0.5),
            ("season_amplitude", 0, 0.9),
            ("newcomer_share", 0, 0.5),
            ("fake_order_rate", 0, 1),
            ("currency_exponent", 0, 4),
        ):
            _check(name, getattr(self, name), low, high)
        for name, labels in (
            ("channels", self.channels),
            ("categories", tuple(c.name for c in self.categories)),
        ):
            if not labels or len(set(labels)) < len(labels) or not all(labels):
                raise ConfigError(f"{name} must be different, non-empty names; got {labels}")
