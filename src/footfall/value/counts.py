"""What goes into an estimate and what comes out: frozen records, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from footfall.errors import InputError
from footfall.model import Floats, Ints
from footfall.value.delay import DelayCurves

_MEMORY_HALF_LIVES = 5


@dataclass(frozen=True, slots=True)
class Counts:
    """Sufficient statistics of a log as of one day. Rows with the same key add up.

    P pairs (segment, provider), V rows of visits, O of orders, R of refunds. Ages are days before the as-of day
    (0 = that day). Money is in major units.

    pair_segment, pair_provider: int64 (P,), each pair once: pairs that are eligible or were observed.
    visit_pair, visit_age: int64 (V,); visits: (V,), >= 0.
    order_pair, order_age (age of the *visit*), order_delay (days from visit to order, <= order_age, <= window):
        int64 (O,); orders, amount, amount_sq: (O,), number, sum and sum of squares of amounts.
    refund_pair, refund_visit_age, refund_order_age, refund_delay (days from order to refund, <= refund_order_age):
        int64 (R,); refunds, refund_amount: (R,).
    log_days: age of the oldest day in the log. window_days: within how many days of a visit an order is its own.
    """

    n_segments: int
    n_categories: int
    provider_category: Ints
    pair_segment: Ints
    pair_provider: Ints
    visit_pair: Ints
    visit_age: Ints
    visits: Floats
    order_pair: Ints
    order_age: Ints
    order_delay: Ints
    orders: Floats
    amount: Floats
    amount_sq: Floats
    refund_pair: Ints
    refund_visit_age: Ints
    refund_order_age: Ints
    refund_delay: Ints
    refunds: Floats
    refund_amount: Floats
    log_days: int
    window_days: int


@dataclass(frozen=True, slots=True)
class Settings:
    """How to estimate.

    half_life_days: > 0, the longest half-life of a visit's weight; measured drift shortens it.
    cv_median: > 0, median of the hyperprior of the spread between providers.
    interval: probability inside [low, high], in (0, 1).
    unit_reward: every order earns exactly 1 (clicks): an order value of 1 is known, not estimated.
    """

    half_life_days: float = 28.0
    cv_median: float = 0.5
    interval: float = 0.90
    unit_reward: bool = False

    def __post_init__(self) -> None:
        for name, ok, bound in (
            ("half_life_days", self.half_life_days > 0, "> 0"),
            ("cv_median", self.cv_median > 0, "> 0"),
            ("interval", 0 < self.interval < 1, "in (0, 1)"),
        ):
            if not ok:
                raise InputError(f"settings.{name} = {getattr(self, name)}, must be {bound}")

    @property
    def memory_days(self) -> int:
        """Visits that are older than the newest by more than this weigh under 3 % and are left out."""
        return math.ceil(_MEMORY_HALF_LIVES * self.half_life_days)


@dataclass(frozen=True, slots=True)
class Figures:
    """Estimates of n pairs, providers or segments, each float64 (n,), in major units per visit.

    mean, sd, low, high: expected ultimate net reward of a visit on the as-of day, and its interval; low >= 0.
    evidence: effective number of mature visits behind it (Kish 1965).
    conversion: ultimate orders per visit; order_value: mean amount of an order; refund_share: of that amount.
    matured: delay-corrected GMV / visits of the whole log, gross, without decay or shrinkage; nan without visits.
    """

    mean: Floats
    sd: Floats
    low: Floats
    high: Floats
    evidence: Floats
    conversion: Floats
    order_value: Floats
    refund_share: Floats
    matured: Floats


@dataclass(frozen=True, slots=True)
class Values:
    """What the log says: figures of pairs (P), providers (J) and segments (n), and the delay curves behind them.

    reach_days: values count what comes within so many days of the visit (the window, or the log where younger).
    younger_than_window: the log is younger than the window; reach_days is then less than the window.
    drift_sd: float64 (C,), daily sd of a provider's log rate. notes: what a reader has to know.
    """

    pairs: Figures
    providers: Figures
    segments: Figures
    delay: DelayCurves
    refund_delay: DelayCurves
    reach_days: int
    younger_than_window: bool
    drift_sd: Floats
    notes: tuple[str, ...]


def check(counts: Counts) -> None:
    """Raise InputError at the first array that does not fit, naming array, row, value and bound."""
    n_pairs = counts.pair_segment.shape[0]
    n_providers = counts.provider_category.shape[0]
    if counts.log_days < 0 or counts.window_days < 0:
        raise InputError(f"log_days = {counts.log_days}, window_days = {counts.window_days}: both must be >= 0")
    groups = (
        (("pair_segment", "pair_provider"), ()),
        (("visit_pair", "visit_age"), ("visits",)),
        (("order_pair", "order_age", "order_delay"), ("orders", "amount", "amount_sq")),
        (
            ("refund_pair", "refund_visit_age", "refund_order_age", "refund_delay"),
            ("refunds", "refund_amount"),
        ),
    )
    for keys, numbers in groups:
        n = getattr(counts, keys[0]).shape[0]
        for name in keys + numbers:
            array = getattr(counts, name)
            if array.shape != (n,):
                raise InputError(f"counts.{name} has shape {array.shape}, but counts.{keys[0]} has {n} rows")
        for name in numbers:
            _within(name, np.asarray(getattr(counts, name), dtype=np.float64), 0.0, np.inf)
    _within("provider_category", counts.provider_category, 0, counts.n_categories - 1)
    _within("pair_segment", counts.pair_segment, 0, counts.n_segments - 1)
    _within("pair_provider", counts.pair_provider, 0, n_providers - 1)
    for name in ("visit_pair", "order_pair", "refund_pair"):
        _within(name, getattr(counts, name), 0, n_pairs - 1)
    for name in ("visit_age", "order_age", "refund_visit_age", "refund_order_age"):
        _within(name, getattr(counts, name), 0, counts.log_days)
    _within("order_delay", counts.order_delay, 0, np.minimum(counts.order_age, counts.window_days))
    _within("refund_delay", counts.refund_delay, 0, counts.refund_order_age)


def _within(name: str, array: Floats | Ints, low: float, high: float | Ints) -> None:
    wrong = ~((array >= low) & (array <= high))
    if wrong.any():
        row = int(np.argmax(wrong))
        bound = np.broadcast_to(high, array.shape)[row]
        raise InputError(f"counts.{name}[{row}] = {array[row].item()!r}, must be from {low} to {bound}")
