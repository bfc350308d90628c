"""Which pairs are eligible, and the reference shares from which tomorrow's shares start.

A pair (segment, provider) is eligible that had a visit within ``eligible_days``, or whose provider is a
newcomer in its category's segments, or that is listed. The reference p_ij is the delivered share over the
last ``reference_days`` among the eligible; newcomers together get ``newcomer_share`` of a segment, nobody
else is mixed. That nobody else is mixed makes delivered = planned shares an exact fixed point where all
values are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from footfall.errors import InputError
from footfall.model import Floats, Ints

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class DailyVisits:
    """Visits by day, segment and provider; each triple at most once, in any order.

    day: int64 (r,), days since the log's first day. segment, provider: int64 (r,), positions in the inputs'
    names. visits: float64 (r,), >= 0.
    """

    day: Ints
    segment: Ints
    provider: Ints
    visits: Floats

    def check(self, segments: int, providers: int) -> None:
        """Refuse arrays of unequal length, positions outside the names, and visits that are no counts."""
        rows = len(self.day)
        for name, column, size in (
            ("segment", self.segment, segments),
            ("provider", self.provider, providers),
        ):
            if len(column) != rows:
                raise InputError(
                    f"daily visits: {name} has {len(column)} entries, day has {rows}",
                    "give one of each a row",
                )
            if rows and (column.min() < 0 or column.max() >= size):
                raise InputError(f"daily visits: a {name} index is outside 0..{size - 1}", "index into the names given")
        if len(self.visits) != rows:
            raise InputError(f"daily visits: visits has {len(self.visits)} entries, day has {rows}", "give one a row")
        if not (np.isfinite(self.visits).all() and (self.visits >= 0).all()):
            raise InputError("daily visits: a count is negative or not finite", "visits are counts, 0 or more")

    def within(self, last: int, days: int) -> DailyVisits:
        """The rows of the ``days`` days that end with day ``last``."""
        keep = (self.day > last - days) & (self.day <= last)
        return DailyVisits(self.day[keep], self.segment[keep], self.provider[keep], self.visits[keep])


@dataclass(frozen=True, eq=False, slots=True)
class Edges:
    """Pairs in rows by segment, ascending by provider within a row.

    row_start: int64 (n + 1,). segment, provider: int64 (E,).
    """

    row_start: Ints
    segment: Ints
    provider: Ints
    providers: int

    def positions(self, segment: Ints, provider: Ints) -> Ints:
        """Position of each pair, int64; -1 where the pair is not there."""
        keys = self.segment * self.providers + self.provider
        wanted = segment * self.providers + provider
        if not len(keys):
            return np.full(len(wanted), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, at, -1)

    def by_provider(self, entry: Floats) -> Floats:
        """Sums of a per-pair array by provider, float64 (m,)."""
        return np.bincount(self.provider, weights=entry, minlength=self.providers).astype(np.float64)

    def total(self, visits: DailyVisits) -> Floats:
        """Visits of each pair, float64 (E,); rows of ``visits`` at other pairs are left out."""
        at = self.positions(visits.segment, visits.provider)
        found = at >= 0
        return np.bincount(at[found], weights=visits.visits[found], minlength=len(self.segment)).astype(np.float64)


def edges_from_keys(keys: Ints, segments: int, providers: int) -> Edges:
    """Rows from pair keys ``segment * providers + provider``, in any order, repeats allowed."""
    unique = np.unique(keys).astype(np.int64)
    segment = unique // max(providers, 1)
    row_start = np.searchsorted(segment, np.arange(segments + 1)).astype(np.int64)
    return Edges(row_start, segment, unique % max(providers, 1), providers)


def find_newcomers(first_day: Sequence[date | None], log_first_day: date, as_of: date, newcomer_days: int) -> Bools:
    """Whether each provider is a newcomer, bool (m,).

    A newcomer was first seen at most ``newcomer_days`` before ``as_of`` in a log that is older than that, or
    is listed and was never seen (None).
    """
    old_enough = (as_of - log_first_day).days > newcomer_days
    return np.array(
        [first is None or (old_enough and (as_of - first).days <= newcomer_days) for first in first_day],
        dtype=bool,
    )


def newcomer_keys(visits: DailyVisits, category: Sequence[str], newcomer: Bools, segments: int) -> Ints:
    """Pair keys of newcomers with the segments in which their category had visits, int64."""
    providers = len(newcomer)
    names, code = np.unique(np.asarray(category, dtype=object).astype(str), return_inverse=True)
    had = np.zeros((len(names), segments), dtype=bool)
    seen = visits.visits > 0
    had[code[visits.provider[seen]], visits.segment[seen]] = True
    who = np.flatnonzero(newcomer)
    row, segment = np.nonzero(had[code[who]])
    return segment.astype(np.int64) * providers + who[row]


def row_totals(row_start: Ints, entry: Floats) -> Floats:
    """Sums of a per-pair array by segment, float64 (n,)."""
    sums = np.zeros(len(row_start) - 1)
    filled = np.flatnonzero(np.diff(row_start) > 0)
    if len(filled):
        sums[filled] = np.add.reduceat(entry, row_start[filled])
    return sums


def delivered_shares(edges: Edges, recent: Floats, older: Floats, among: Bools) -> Floats:
    """Delivered shares among some of the pairs, float64 (E,); rows sum to 1, or to 0 where none of them is
    there.

    recent, older: visits of each pair over the reference days and over the eligible days. A segment whose
    pairs had no visits in the reference days takes those of the eligible days; one that had none there
    either, equal shares.
    """
    rows = edges.segment
    weight = np.where(among, recent, 0.0)
    empty = row_totals(edges.row_start, weight) == 0
    weight = np.where(empty[rows] & among, older, weight)
    empty = row_totals(edges.row_start, weight) == 0
    weight = np.where(empty[rows] & among, 1.0, weight)
    total = row_totals(edges.row_start, weight)
    return weight / np.where(total > 0, total, 1.0)[rows]


def mix_newcomers(edges: Edges, share: Floats, newcomer: Bools, among: Bools, newcomer_share: float) -> Floats:
    """(1 - s) x share + s x equal over the segment's newcomers, in the segments that have some; float64 (E,).

    newcomer: bool (m,). A newcomer keeps its delivered part too; nobody else is mixed.
    """
    here = newcomer[edges.provider] & among
    count = row_totals(edges.row_start, here.astype(np.float64))[edges.segment]
    mixed = (1 - newcomer_share) * share + newcomer_share * here / np.maximum(count, 1)
    return np.where(count > 0, mixed, share)
