"""Draws of journeys: who comes, comes again, buys, sends back.

Pure: arrays and a Generator in, arrays out. A **cell** is ``channel x shops + shop``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from footfall.learn.world import World
from footfall.model import Floats, Ints

_REFUND_DAYS = 14


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
    """Visits, int64 (n,) each: ``order`` is -1 and ``amount`` (minor units) 0 where nothing is bought."""

    visitor: Ints
    cell: Ints
    order: Ints
    amount: Ints

    def buying(self, where: npt.NDArray[np.bool_]) -> Visits:
        """The same visits, with their orders only at ``where``."""
        return Visits(self.visitor, self.cell, np.where(where, self.order, -1), np.where(where, self.amount, 0))


@dataclass(frozen=True, slots=True)
class Outcomes(Columns):
    """What journeys come to, int64 (n,) each; -1 where there is no order, no refund, no further journey.

    ``delay``: days from the start to the order; ``refund_after``, ``again_after``: days from the order, >= 1.
    """

    delay: Ints
    amount: Ints
    refund_after: Ints
    again_after: Ints


def split_journeys(rng: np.random.Generator, world: World, day: int, shares: Floats) -> Ints:
    """Cells of the day's new journeys, (n,): demand is Poisson, journeys go to shops by ``shares`` (C, J).

    How many journeys a segment has does not depend on the shares: two policies meet the same demand.
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


def draw_returns(rng: np.random.Generator, world: World, cell: Ints, delay: Ints, offset: int) -> npt.NDArray[np.intp]:
    """Which journeys come on day ``offset`` (>= 1) of theirs: by chance before the order, surely with it."""
    rho = world.returns[:, offset][world.category[cell % world.settings.shops]]
    chance = rng.random(len(cell)) < rho
    return np.flatnonzero((chance & ((delay < 0) | (offset < delay))) | (delay == offset))


def match_customers(
    rng: np.random.Generator, shop: Ints, waiting_shop: Ints
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pair new journeys with customers of the same shop at random, each at most once.

    ``shop`` (n,), ``waiting_shop`` (m,); gives the indices of the pairs into both.
    """
    place, waiting_place = _rank_within(rng, shop), _rank_within(rng, waiting_shop)
    span = max(int(place.max(initial=0)), int(waiting_place.max(initial=0))) + 1
    _, left, right = np.intersect1d(
        shop * span + place, waiting_shop * span + waiting_place, assume_unique=True, return_indices=True
    )
    return left, right


def _rank_within(rng: np.random.Generator, group: Ints) -> Ints:
    """A random rank 0, 1, ... of each element within its group, (n,)."""
    n = len(group)
    mixed = rng.permutation(n)
    order = mixed[np.argsort(group[mixed], kind="stable")]
    ordered = group[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[:n])
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))
    return rank
