"""Few segments, many providers: the plain programme turned round, so that segments have the prices.

The interior point (``_interior``) leaves one equation for each price. With n rows and many more providers it is
quicker to let each provider be a row of at most c_j visits and each segment a column of d_i: then n equations are left.
A floor is another edge of its provider's row, worth nothing, with room for c_j - f_j only; that the row is used up
wholly comes from adding the same amount K to all that it can earn. From the segments' prices lambda_i >= 0 the
providers' best ones follow:

    l_j = argmin_l  c_j max(l, 0) - f_j max(-l, 0) + sum_i d_i u_ij max(v_ij - lambda_i - l, 0)

(without share caps the largest v_ij - lambda_i, at least 0 where there is no floor), which bound the optimum as any do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numba as nb
import numpy as np

from footfall.acquire import kernels
from footfall.acquire._interior import interior
from footfall.acquire._work import Work
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

MOST_ROWS = 64
_LIFT = 2.0  # K, in parts of (n + 1) x the largest |value|: prices of a transport differ by less than that


def suits(rows: int, providers: int) -> bool:
    """Whether rows are so few, and providers so many, that the plain programme is better turned round, and that methods
    over many rows have nothing to go by."""
    return 0 < rows <= MOST_ROWS and providers > 4 * rows


def interior_by_providers(
    work: Work, accuracy: float, look: Callable[[Floats, Floats | None], bool], loosen: float = 0.0
) -> None:
    """``_interior.interior`` of the plain programme: the same ``look``, called with prices (m,) and shares (E,)."""
    turned = _Turned(work)

    def seen(segment_price: Floats, share: Floats | None) -> bool:
        return look(turned.prices(np.maximum(segment_price[:-1], 0.0)), None if share is None else turned.shares(share))

    interior(turned.work, accuracy, seen, loosen=loosen)


@nb.njit(cache=True, nogil=True)
def _best_prices(first, gain, most, capacity, floor, price):
    """The price at which a provider's best gains, up to their ``most`` visits, just use up what it may or must have."""
    for j in range(len(price)):
        used, k = 0.0, first[j]
        while k < first[j + 1]:
            used += most[k]
            if gain[k] > 0.0:
                if used >= capacity[j] and capacity[j] < np.inf:
                    price[j] = gain[k]
                    break
            elif used - most[k] >= floor[j]:
                break
            elif used >= floor[j]:
                price[j] = gain[k]
                break
            k += 1


class _Turned:
    """The programme with providers as rows; the last column takes what a provider may have beyond its floor."""

    def __init__(self, work: Work) -> None:
        self.original = work
        n, m, edges = work.n, work.m, len(work.value)
        row = np.repeat(np.arange(n), np.diff(work.row_start))
        upper = np.ones(edges) if work.upper is None else work.upper
        self.row, self.most = row, work.demand[row] * upper
        self.order = np.lexsort((row, work.provider))
        self.order = self.order[self.most[self.order] > 0]
        reach = np.bincount(work.provider, self.most, minlength=m)
        self.room = np.minimum(work.capacity, reach)
        floor = np.minimum(work.floor, self.room)
        floored = np.flatnonzero(floor > 0)
        largest = float(np.abs(work.value).max(initial=0.0)) or 1.0
        lift = np.zeros(m)
        lift[floored] = _LIFT * (n + 1) * largest
        spare = np.flatnonzero((floor > 0) & (self.room > floor))
        provider = np.concatenate([work.provider[self.order], spare])
        place = np.argsort(provider, kind="stable")  # a provider's edges, then what it has beyond its floor
        self.edge = np.concatenate([self.order, np.full(len(spare), -1)])[place]
        provider = provider[place]
        column = np.where(self.edge >= 0, row[self.edge], n).astype(np.int32)
        value = np.where(self.edge >= 0, work.value[self.edge].astype(np.float64), 0.0) + lift[provider]
        beyond = (self.room - floor)[provider]
        visits = np.where(self.edge >= 0, self.most[self.edge], beyond)
        room = self.room[provider]
        part = np.minimum(np.divide(visits, room, out=np.ones(len(visits)), where=room > 0), 1.0)
        uncapped = (self.edge >= 0) & (upper[self.edge] >= 1)
        start = np.concatenate([[0], np.cumsum(np.bincount(provider, minlength=m))]).astype(np.int64)
        self.provider, self.lift = provider, lift
        self.work = replace(
            work,
            demand=self.room,
            row_start=start,
            provider=column,
            value=value,
            capacity=np.concatenate([work.demand, [np.inf]]),
            floor=np.zeros(n + 1),
            reference=None,
            upper=np.where(uncapped, 1.0, part),
            column=kernels.transpose(start, column, n + 1),
            kept=None,
            total_edges=len(value),
            scale=float(self.room.sum()) * (largest + float(lift.max(initial=0.0))),
        )

    def shares(self, turned: Floats) -> Floats:
        """Shares of segments (E,) from those of providers."""
        real = self.edge >= 0
        visits = np.zeros(len(self.original.value))
        visits[self.edge[real]] = (turned * self.room[self.provider])[real]
        demand = self.original.demand[self.row]
        return np.divide(visits, demand, out=np.zeros(len(visits)), where=demand > 0)

    def prices(self, segment_price: Floats) -> Floats:
        """The providers' best prices (m,) beside those of the segments (n,)."""
        work = self.original
        gain = work.value.astype(np.float64) - segment_price[self.row]
        free = self.most > 0 if work.upper is None else (self.most > 0) & (work.upper >= 1)
        most = np.where(free, np.inf, self.most)
        order = np.lexsort((-gain, work.provider))
        first = np.concatenate([[0], np.cumsum(np.bincount(work.provider, minlength=work.m))])
        price = np.zeros(work.m)
        _best_prices(first, gain[order], most[order], work.capacity, work.floor, price)
        return price
