"""Counts laid out by provider and age, and the plain sums that estimates start from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np

from footfall.model import Floats, Ints
from footfall.value.counts import Counts
from footfall.value.delay import DelayCurves, fit_delay
from footfall.value.sums import sum_by

_LOCAL_HALF_LIFE_DAYS = 7.0
_LOCAL_DAYS = 35  # five half-lives: days further back have no say in what is lacking


@dataclass(frozen=True, slots=True)
class Table:
    """Counts by provider and age 0..memory, with the delay curves that make them comparable.

    visits, orders, mature: float64 (J, memory + 1); mature = visits x F(age), visits whose orders have come.
    visit_share, order_share: F of each row's age, (V,) and (O,) (the order's own age in the ladder of refunds).
    visit_used, order_used, refund_used: bool, rows within the memory.
    """

    counts: Counts
    reach_days: int
    memory_days: int
    delay: DelayCurves
    refund_delay: DelayCurves
    visit_provider: Ints
    order_provider: Ints
    refund_provider: Ints
    visits: Floats
    orders: Floats
    mature: Floats

    @property
    def n_providers(self) -> int:
        """Number of providers J."""
        return int(self.counts.provider_category.shape[0])


def merged(counts: Counts) -> Counts:
    """The same counts with one row of visits for each pair and age; untouched where they are so, in ascending order."""
    key = counts.visit_pair * (counts.log_days + 1) + counts.visit_age
    if (np.diff(key) > 0).all():
        return counts
    unique, row = np.unique(key, return_inverse=True)
    return replace(
        counts,
        visit_pair=unique // (counts.log_days + 1),
        visit_age=unique % (counts.log_days + 1),
        visits=sum_by(row, counts.visits, unique.shape[0]),
    )


def tabulate(counts: Counts, memory_days: int) -> Table:
    """Fit the delay curves and lay out the counts; visits over ``memory_days`` older than the newest are left out."""
    category = counts.provider_category
    reach = min(counts.window_days, counts.log_days)
    newest = int(counts.visit_age.min()) if counts.visit_age.size else 0
    memory = max(reach, min(counts.log_days, newest + memory_days))
    visit_provider = counts.pair_provider[counts.visit_pair]
    order_provider = counts.pair_provider[counts.order_pair]
    refund_provider = counts.pair_provider[counts.refund_pair]
    delay = fit_delay(
        category[order_provider], counts.order_delay, counts.order_age, counts.orders, counts.n_categories, reach
    )
    slowest = int(counts.refund_delay.max()) if counts.refund_delay.shape[0] else 0
    # Nothing came later than the slowest refund; twice that leaves room, and keeps the ladder short.
    refund_delay = fit_delay(
        category[refund_provider],
        counts.refund_delay,
        counts.refund_order_age,
        counts.refunds,
        counts.n_categories,
        min(counts.log_days, 2 * slowest + 7),
    )
    n = category.shape[0]
    visits = by_age(visit_provider, counts.visit_age, counts.visits, n, memory)
    orders = by_age(order_provider, counts.order_age, counts.orders, n, memory)
    ages = np.arange(memory + 1)
    mature = visits * delay.cdf[category][:, np.minimum(ages, reach)]
    return Table(
        counts, reach, memory, delay, refund_delay, visit_provider, order_provider, refund_provider,
        visits, orders, mature,
    )  # fmt: skip


def by_age(key: Ints, age: Ints, number: Floats, n: int, memory_days: int) -> Floats:
    """Sum ``number`` by key and age into (n, memory + 1); older rows are left out."""
    used = age <= memory_days
    width = memory_days + 1
    flat = sum_by(key[used] * width + age[used], number[used], n * width)
    return flat.reshape(n, width)


def gather(weight: Floats, key: Ints, age: Ints) -> Floats:
    """weight[key, age], 0 for ages beyond its width."""
    width = weight.shape[1]
    found: Floats = np.where(age < width, weight[key, np.minimum(age, width - 1)], 0.0)
    return found


def matured(table: Table, key_of_pair: Ints, n: int, trend: Floats) -> Floats:
    """Delay-corrected GMV / visits of the whole log for n groups of pairs, float64 (n,), nan without visits.

    What the visits of each day still lack is their local GMV per visit times 1 - F(age) (Bornhuetter & Ferguson
    1972), local meaning weighted by 2^(-days apart / 7) around the day, along the category's trend. Dividing all
    GMV by all mature visits instead would favour old days' rates.
    trend: float64 (C, memory + 1), the category's rate by age over its rate at age 0.
    """
    counts = table.counts
    reach = table.reach_days
    key_v, key_o = key_of_pair[counts.visit_pair], key_of_pair[counts.order_pair]
    total_visits = sum_by(key_v, counts.visits, n)
    gmv = sum_by(key_o, counts.amount, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        if reach == 0:
            return np.where(total_visits > 0.0, gmv / total_visits, np.nan)
    width = min(table.memory_days, reach + _LOCAL_DAYS) + 1
    near = np.minimum(counts.visit_age, width - 1)
    category = counts.provider_category[table.visit_provider]
    share = table.delay.at(category, counts.visit_age)
    moved = trend[category, near]
    exposure = by_age(key_v, counts.visit_age, counts.visits * share * moved, n, width - 1)
    lacking = by_age(key_v, counts.visit_age, counts.visits * (1.0 - share) * moved, n, width - 1)
    amount = by_age(key_o, counts.order_age, counts.amount, n, width - 1)
    more = _local_rest(amount, exposure, lacking, min(reach, width), 0.5 ** (1.0 / _LOCAL_HALF_LIFE_DAYS))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = np.where(total_visits > 0.0, (gmv + more) / total_visits, np.nan)
    return ratio


@numba.njit(cache=True)
def _local_rest(amount: Floats, exposure: Floats, lacking: Floats, reach: int, keep: float) -> Floats:
    """Sum over ages < reach of lacking x (locally weighted amount / locally weighted exposure)."""
    n, width = amount.shape
    out = np.zeros(n)
    top, bottom = np.empty(width), np.empty(width)
    for j in range(n):
        up, down = 0.0, 0.0
        for a in range(width):  # what lies at ages <= a
            up = up * keep + amount[j, a]
            down = down * keep + exposure[j, a]
            top[a], bottom[a] = up, down
        up, down = 0.0, 0.0
        for a in range(width - 1, -1, -1):  # and at ages > a
            top[a] += up
            bottom[a] += down
            up = (up + amount[j, a]) * keep
            down = (down + exposure[j, a]) * keep
        for a in range(min(reach, width)):
            if bottom[a] > 0.0:
                out[j] += lacking[j, a] * top[a] / bottom[a]
    return out
