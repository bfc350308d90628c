"""Limits that cannot all hold: found, proved and put into words.

Only floors can conflict with demand: rows give at most d_i, capacities are at least the floors (checked on input).
The proof is a Hall set from the maximum flow: floors of the named providers, weight 1 each, ask for more than the
demand of all segments that may send to them, weight 1 each; a segment whose largest shares of those providers come to
less than its demand counts with these instead. Its excess is counted exactly (rationals).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from footfall.acquire._work import Work
from footfall.errors import InfeasibleError
from footfall.model import Conflict, ConflictingLimit, Floats

MET = 1e-9  # a floor counts as met when short by less than this part of the floors in question
_TOLD = 3  # limits named in the message


@dataclass(frozen=True, slots=True)
class LimitNames:
    """Names of the limits in reports: one for each provider's floor and for each segment's demand.

    share_caps: names the largest share of a provider in a segment, called with (provider, segment).
    """

    floors: Sequence[str] = ()
    demands: Sequence[str] = ()
    share_caps: Callable[[int, int], str] | None = None

    def floor(self, j: int) -> str:
        """Name of provider j's floor."""
        return self.floors[j] if len(self.floors) else f"provider {j} floor"

    def demand(self, i: int) -> str:
        """Name of segment i's demand."""
        return self.demands[i] if len(self.demands) else f"segment {i} demand"

    def share_cap(self, j: int, i: int) -> str:
        """Name of the largest share of provider j in segment i."""
        return self.share_caps(j, i) if self.share_caps is not None else f"share cap of provider {j} in segment {i}"


def refuse_conflict(
    work: Work, load: Floats, providers: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_], names: LimitNames
) -> None:
    """Raise InfeasibleError for the Hall set (``providers``, ``rows``) of a maximum flow with loads ``load``.

    Returns without raising where the excess is only rounding: at most MET of the floors in the set.
    """
    inside, sending = np.flatnonzero(providers & (work.floor > 0)), np.flatnonzero(rows)
    asked = sum((Fraction(float(work.floor[j])) for j in inside), Fraction(0))
    there = sum((Fraction(float(work.demand[i])) for i in sending), Fraction(0))
    caps, capped = _share_caps(work, providers, rows, names)
    there += capped
    if asked - there <= Fraction(MET) * asked:
        return
    give = np.maximum(work.floor - load, 0.0)
    floors = [ConflictingLimit(names.floor(j), float(work.floor[j]), 1.0, float(give[j])) for j in inside.tolist()]
    demands = [ConflictingLimit(names.demand(i), float(work.demand[i]), 1.0, 0.0) for i in sending.tolist()]
    excess = float(asked - there)
    held, raise_caps = (" within their share caps", " or raise the share caps") if caps else ("", "")
    told = ", ".join(limit.name for limit in floors[:_TOLD])
    more = f" and {len(floors) - _TOLD} more" if len(floors) > _TOLD else ""
    raise InfeasibleError(
        f"floors cannot all be met: {told}{more} ask for {float(asked):.6g} visits, but the segments that may send "
        f"to them have {float(there):.6g}{held}; {excess:.6g} too many",
        Conflict(tuple(floors + demands + caps), excess),
        f"lower these floors by {excess:.6g} visits in all, or make more segments eligible{raise_caps}"
        + (" (at inertia > 0 a pair without reference share carries nothing)" if work.reference is not None else ""),
    )


def _share_caps(
    work: Work, providers: npt.NDArray[np.bool_], rows: npt.NDArray[np.bool_], names: LimitNames
) -> tuple[list[ConflictingLimit], Fraction]:
    """Bounds of the edges from other segments into the Hall set, which all are full, and their sum in visits."""
    if work.upper is None:
        return [], Fraction(0)
    row = np.repeat(np.arange(work.n), np.diff(work.row_start))
    edges = np.flatnonzero(providers[work.provider] & ~rows[row] & (work.demand[row] > 0))
    caps, total = [], Fraction(0)
    for e in edges.tolist():
        visits = Fraction(float(work.demand[row[e]])) * Fraction(float(work.upper[e]))
        name = names.share_cap(int(work.provider[e]), int(row[e]))
        caps.append(ConflictingLimit(name, float(visits), 1.0, 0.0))
        total += visits
    return caps, total
