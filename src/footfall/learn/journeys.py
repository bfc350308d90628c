"""Draws of journeys: who comes, comes again, buys, sends back, and what they do during a visit.

Pure: arrays and a Generator in, arrays out. A **cell** is ``channel x shops + shop``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from footfall.learn.market import World
from footfall.model import Ints

PAGE_VIEW, VIEW_ITEM, ADD_TO_CART, PURCHASE, REFUND = range(5)
NAMES = ("page_view", "view_item", "add_to_cart", "purchase", "refund")
ITEMS_PER_SHOP = 24

_SECOND = 1_000_000  # microseconds
_DAY_S = 86_400
_VISIT_S = 1_800  # a visit is over before midnight: it starts at least so long before
_REFUND_DAYS = 14
_MAX_VIEWS = 4
# relative traffic of the 24 hours: a dip at night, peaks at noon and in the evening
_HOURS = np.array(
    [2, 1, 1, 1, 1, 1, 2, 3, 5, 6, 7, 7, 8, 7, 6, 6, 6, 6, 7, 8, 10, 10, 8, 5], dtype=np.float64
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Arrays of equal length that travel together."""

    @classmethod
    def concat(cls, parts: list[Self]) -> Self:
        """All parts, one after the other; there must be at least one."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Self:
        """The rows at ``index``."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True, slots=True)
class Visits(Columns):
    """Visits of one day, int64 (n,) each: ``order`` is -1 and ``amount`` (minor units) 0 where nothing is bought."""

    visitor: Ints
    cell: Ints
    order: Ints
    amount: Ints


@dataclass(frozen=True, slots=True)
class Rows(Columns):
    """Event rows before they are written as text: ``ts`` in microseconds since 1970 UTC, -1 for no item or order."""

    ts: Ints
    name: Ints
    visitor: Ints
    cell: Ints
    item: Ints
    order: Ints
    amount: Ints


@dataclass(frozen=True, slots=True)
class Outcomes(Columns):
    """What journeys come to, int64 (n,) each; -1 where there is no order, no refund, no further journey.

    ``delay``: days from the start to the order; ``refund_after``, ``again_after``: days from the order, >= 1.
    """

    delay: Ints
    amount: Ints
    refund_after: Ints
    again_after: Ints


def split_journeys(rng: np.random.Generator, world: World, day: int, shares: npt.NDArray[np.float64]) -> Ints:
    """Cells of the day's new journeys, (n,): demand is Poisson, each journey goes to a shop by ``shares`` (C, J).

    The number of a segment's journeys does not depend on the shares, so that two policies meet the same demand.
    """
    demand = world.demand(day)
    counts = rng.poisson(demand)
    out = np.zeros(shares.shape, dtype=np.int64)
    for k in range(demand.shape[1]):
        members = np.flatnonzero(world.category == k)
        for c in range(demand.shape[0]):
            row = shares[c, members]
            row = np.append(row, max(0.0, 1.0 - row.sum()))  # the last one is unassigned
            out[c, members] = rng.multinomial(counts[c, k], row / row.sum())[:-1]
    return np.repeat(np.arange(out.size, dtype=np.int64), out.ravel())


def draw_outcomes(rng: np.random.Generator, world: World, day: int, cell: Ints) -> Outcomes:
    """What the journeys that start on ``day`` in ``cell`` (n,) come to."""
    n = len(cell)
    out = Outcomes(np.full(n, -1), np.zeros(n, dtype=np.int64), np.full(n, -1), np.full(n, -1))
    buys = np.flatnonzero(rng.random(n) < world.conversion(day).ravel()[cell])
    if not len(buys):
        return out
    shop = cell[buys] % world.settings.shops
    kind = world.category[shop]
    cumulated = np.cumsum(world.delay, axis=1)
    cumulated[:, -1] = 1.0
    out.delay[buys] = (cumulated[kind] <= rng.random(len(buys))[:, None]).sum(1)
    sd = np.array([x.order_log_sd for x in world.categories])[kind]
    mean = world.order_value(day).ravel()[cell[buys]]
    amount = mean * np.exp(sd * rng.standard_normal(len(buys)) - 0.5 * sd * sd)
    out.amount[buys] = np.maximum(np.rint(amount * 10**world.settings.currency_exponent), 1)
    back = rng.random(len(buys)) < world.refund_share[shop]
    after = np.minimum(rng.geometric(0.25, len(buys)), _REFUND_DAYS)
    out.refund_after[buys] = np.where(back, after, -1)
    again = rng.random(len(buys)) < np.array([x.repurchase_share for x in world.categories])[kind]
    median = np.array([x.repurchase_median_days for x in world.categories])[kind]
    wait = np.maximum(np.rint(median * rng.lognormal(0.0, 0.4, len(buys))), 1)
    out.again_after[buys] = np.where(again, wait, -1)
    return out


def draw_returns(
    rng: np.random.Generator, world: World, cell: Ints, delay: Ints, offset: int
) -> npt.NDArray[np.intp]:
    """Which journeys come again on day ``offset`` (>= 1) of theirs: by chance before the order, for sure on its day."""
    rho = world.returns[:, offset][world.category[cell % world.settings.shops]]
    chance = rng.random(len(cell), dtype=np.float32) < rho
    return np.flatnonzero((chance & ((delay < 0) | (offset < delay))) | (delay == offset))


def draw_rows(rng: np.random.Generator, visits: Visits, midnight: int) -> Rows:
    """Events of the visits of one day, visit after visit, each in order of time; ``midnight`` in microseconds.

    A visit is a page view, 0 to 4 item views, perhaps a cart, and the order last; every gap is 3 s or more.
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
    name = np.where(place == 0, PAGE_VIEW, np.where(place <= views[visit], VIEW_ITEM, ADD_TO_CART))
    bought = buys[visit] & (place == counts[visit] - 1)
    name = np.where(bought, PURCHASE, name)
    gap = np.minimum(3.0 + rng.exponential(45.0, len(visit)), 280.0) * _SECOND
    clock = np.cumsum(gap.astype(np.int64))
    hours = np.concatenate([[0.0], np.cumsum(_HOURS) / _HOURS.sum()])
    start = np.interp(rng.random(n), hours, np.linspace(0.0, 1.0, 25)) * (_DAY_S - _VISIT_S) * _SECOND
    ts = midnight + start.astype(np.int64)[visit] + clock - clock[first][visit]
    return Rows(
        ts=ts,
        name=name,
        visitor=visits.visitor[visit],
        cell=visits.cell[visit],
        item=np.where(place == 0, -1, rng.integers(0, ITEMS_PER_SHOP, len(visit))),
        order=np.where(bought, visits.order[visit], -1),
        amount=np.where(bought, visits.amount[visit], 0),
    )


def refund_rows(rng: np.random.Generator, refunds: Visits, midnight: int) -> Rows:
    """One refund event for each order of ``refunds``, in office hours."""
    n = len(refunds.visitor)
    ts = midnight + rng.integers(9 * 3600, 18 * 3600, n) * _SECOND
    none = np.full(n, -1)
    return Rows(ts, np.full(n, REFUND), refunds.visitor, refunds.cell, none, refunds.order, refunds.amount)


def fake_rows(visits: Visits, midnight: int) -> Rows:
    """Orders nobody wanted: from three in the night on, at equal steps, paid two seconds after the page was opened."""
    n = len(visits.visitor)
    step = min(97.0, 20 * 3600 / max(n, 1))
    ts = midnight + ((3 * 3600 + step * np.arange(n)) * _SECOND).astype(np.int64)
    none = np.full(n, -1)
    nothing = np.zeros(n, dtype=np.int64)
    zero = np.zeros(n, dtype=np.int64)
    opened = Rows(ts, np.full(n, PAGE_VIEW), visits.visitor, visits.cell, none, none, nothing)
    paid = Rows(
        ts + 2 * _SECOND, np.full(n, PURCHASE), visits.visitor, visits.cell, zero, visits.order, visits.amount
    )
    return Rows.concat([opened, paid])
