"""Counts by provider and age, and the plain sums that estimates start from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np

from footfall.model import Floats, Ints
from footfall.value.cells import Cells, lay_out
from footfall.value.counts import Counts
from footfall.value.delay import DelayCurves, fit_delay
from footfall.value.sums import sum_by

_LOCAL_HALF_LIFE_DAYS = 7.0
_LOCAL_DAYS = 35  # five half-lives: days further back have no say in what is lacking


@dataclass(frozen=True, slots=True)
class Table:
    """Counts by provider and age 0..memory, with the delay curves that make them comparable.

    cells: N providers and ages that hold anything. visit_cell, order_cell, refund_cell: int64 (V,), (O,), (R,), each
    row's cell, N where it is older than the memory (a refund's is that of its order's visit).
    orders, mature: float64 (N,); mature = visits x F(age), visits whose orders have come.
    """

    counts: Counts
    reach_days: int
    memory_days: int
    delay: DelayCurves
    refund_delay: DelayCurves
    visit_provider: Ints
    order_provider: Ints
    refund_provider: Ints
    cells: Cells
    visit_cell: Ints
    order_cell: Ints
    refund_cell: Ints
    orders: Floats
    mature: Floats

    @property
    def n_providers(self) -> int:
        """Number of providers J."""
        return int(self.counts.provider_category.shape[0])

    @property
    def cell_category(self) -> Ints:
        """Category of each cell's provider, int64 (N,)."""
        category: Ints = self.counts.provider_category[self.cells.key]
        return category


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
    """Fit the delay curves and lay the counts out; visits over ``memory_days`` older than the newest are left out."""
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
    cells, (visit_cell, order_cell, refund_cell) = lay_out(
        category.shape[0],
        memory + 1,
        (visit_provider, counts.visit_age),
        (order_provider, counts.order_age),
        (refund_provider, counts.refund_visit_age),
    )
    orders = cells.sum(order_cell, counts.orders)
    mature = cells.sum(visit_cell, counts.visits) * delay.at(category[cells.key], cells.age)
    return Table(
        counts, reach, memory, delay, refund_delay, visit_provider, order_provider, refund_provider,
        cells, visit_cell, order_cell, refund_cell, orders, mature,
    )  # fmt: skip


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
    cells, (cell_v, cell_o) = lay_out(n, width, (key_v, counts.visit_age), (key_o, counts.order_age))
    exposure = cells.sum(cell_v, counts.visits * share * moved)
    lacking = cells.sum(cell_v, counts.visits * (1.0 - share) * moved)
    amount = cells.sum(cell_o, counts.amount)
    keep = 0.5 ** (1.0 / _LOCAL_HALF_LIFE_DAYS)
    more = _local_rest(cells.start, cells.age, amount, exposure, lacking, min(reach, width), width, keep)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = np.where(total_visits > 0.0, (gmv + more) / total_visits, np.nan)
    return ratio


@numba.njit(cache=True)
def _local_rest(
    start: Ints, age: Ints, amount: Floats, exposure: Floats, lacking: Floats, reach: int, ages: int, keep: float
) -> Floats:
    """Sum over ages < reach of lacking x (locally weighted amount / locally weighted exposure), of each key (n,).

    start, age: the cells of the keys; amount, exposure, lacking: float64 (N,).
    """
    n = start.shape[0] - 1
    out = np.zeros(n)
    top, bottom = np.empty(ages), np.empty(ages)
    for j in range(n):
        up, down = 0.0, 0.0
        c = start[j]
        for a in range(ages):  # what lies at ages <= a
            up *= keep
            down *= keep
            if c < start[j + 1] and age[c] == a:
                up += amount[c]
                down += exposure[c]
                c += 1
            top[a], bottom[a] = up, down
        up, down = 0.0, 0.0
        c = start[j + 1] - 1
        for a in range(ages - 1, -1, -1):  # and at ages > a
            top[a] += up
            bottom[a] += down
            if c >= start[j] and age[c] == a:
                up += amount[c]
                down += exposure[c]
                c -= 1
            up *= keep
            down *= keep
        for c in range(start[j], start[j + 1]):
            if age[c] < reach and bottom[age[c]] > 0.0:
                out[j] += lacking[c] * top[age[c]] / bottom[age[c]]
    return out
