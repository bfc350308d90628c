"""Limits that cannot all hold: found, proved and put into words.

Without linear limits only floors can conflict with demand: rows give at most d_i, capacities are at least the floors
(checked on input). The proof is a Hall set from the maximum flow: floors of the named providers, weight 1 each, ask for
more than the demand of all segments that may send to them, weight 1 each; a segment whose largest shares of those
providers come to less than its demand counts with these instead. Its excess is counted exactly (rationals).

With linear limits the proof is a weight for each limit (Farkas 1902): floors and lows weighted together ask for more
than capacities, highs, demand and share caps weighted together can give, whatever the plan (see ``_phase_one``). A
segment's demand has the largest weight that one of its visits earns. That too is counted in rationals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from footfall.acquire._work import Work
from footfall.errors import InfeasibleError
from footfall.model import Conflict, ConflictingLimit, Floats

if TYPE_CHECKING:
    from footfall.acquire._phase_one import PhaseOne
    from footfall.acquire.problem import Problem

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

    def capacity(self, j: int) -> str:
        """Name of provider j's capacity."""
        return f"provider {j} capacity"

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


def refuse_limits(problem: Problem, work: Work, unit: Floats, found: PhaseOne, names: LimitNames) -> None:
    """Raise InfeasibleError where the prices of ``found`` prove, in rationals, that limits cannot all hold.

    unit: (k,), what the limits' prices and gives are in parts of. Returns where the excess is only rounding: at most
    MET of what the limits in question add up to.
    """
    if not found.excess > 0:
        return
    for decimals in (4, 7, 10, 17):  # short weights where they prove as much
        proof = _Proof(problem, work, np.round(found.price, decimals), unit, names)
        if float(proof.excess) >= (1 - 1e-6) * found.excess:
            break
    if proof.excess <= Fraction(MET) * proof.size:
        return
    limits = proof.limits(found)
    excess = float(proof.excess)
    giving = [limit for limit in limits if limit.give > 0]
    told = ", ".join(limit.name for limit in limits[:_TOLD])
    rest = f" and {len(limits) - _TOLD} more" if len(limits) > _TOLD else ""
    more = f" and {len(giving) - _TOLD} more" if len(giving) > _TOLD else ""
    gives = ", ".join(f"{limit.name} by {limit.give:.6g}" for limit in giving[:_TOLD])
    raise InfeasibleError(
        f"limits cannot all hold: {told}{rest}; weighted together they miss what is possible by {excess:.6g} visits",
        Conflict(tuple(limits), excess),
        f"the least that floors and linear limits must give in all: {gives or 'nothing to speak of'}{more}"
        + (" (at inertia > 0 a pair without reference share carries nothing)" if work.reference is not None else ""),
    )


class _Proof:
    """Weights on limits, and by how much what they ask for exceeds what there can be, in rationals."""

    def __init__(self, problem: Problem, work: Work, ray: Floats, unit: Floats, names: LimitNames) -> None:
        self.problem, self.work, self.names, self.unit = problem, work, names, unit
        m = work.m
        self.price, self.limit_price = ray[:m] + 0.0, ray[m:] / unit
        self.rows: dict[int, Fraction] = {}
        self.caps: dict[int, Fraction] = {}
        self.excess = self.size = Fraction(0)
        for j in np.flatnonzero(self.price).tolist():
            bound = work.floor[j] if self.price[j] < 0 else work.capacity[j]
            self._count(-Fraction(float(self.price[j])) * Fraction(float(bound)))
        for k in np.flatnonzero(self.limit_price).tolist():
            limit, price = problem.limits[k], float(self.limit_price[k])
            self._count(-Fraction(price) * Fraction(float(limit.low if price < 0 else limit.high)))
        self._rows()

    def _count(self, amount: Fraction) -> None:
        self.excess += amount
        self.size += abs(amount)

    def _rows(self) -> None:
        """What the rows can give at these weights: their best edge, or with share caps a fractional knapsack."""
        work = self.work
        coefficient = {}
        for k in np.flatnonzero(self.limit_price).tolist():
            full = np.zeros(self.problem.edges)
            full[self.problem.limits[k].edge] = self.problem.limits[k].coefficient
            coefficient[k] = full if work.kept is None else full[work.kept]
        gain = -self.price[work.provider]
        for k, column in coefficient.items():
            gain = gain - self.limit_price[k] * column
        moves = (self.price[work.provider] != 0) | np.any([c != 0 for c in coefficient.values()] or [False], axis=0)
        may = moves & (gain > -1e-9 * float(np.abs(gain).max(initial=0.0)))
        row = np.repeat(np.arange(work.n), np.diff(work.row_start))
        for i in np.unique(row[may & (work.demand[row] > 0)]).tolist():
            edges = range(int(work.row_start[i]), int(work.row_start[i + 1]))
            exact = {e: self._gain(e, coefficient) for e in edges}
            self._row(i, {e: g for e, g in exact.items() if g > 0})

    def _gain(self, e: int, coefficient: dict[int, Floats]) -> Fraction:
        gain = -Fraction(float(self.price[self.work.provider[e]]))
        for k, column in coefficient.items():
            gain -= Fraction(float(self.limit_price[k])) * Fraction(float(column[e]))
        return gain

    def _row(self, i: int, gain: dict[int, Fraction]) -> None:
        upper, demand = self.work.upper, Fraction(float(self.work.demand[i]))
        room, level = Fraction(1), Fraction(0)
        for e in sorted(gain, key=lambda e: -gain[e]):
            room -= 1 if upper is None else Fraction(float(upper[e]))
            if room <= 0:
                level = gain[e]
                break
        if level > 0:
            self.rows[i] = level
            self._count(-level * demand)
        for e, g in gain.items():
            if upper is not None and g > level:
                self.caps[e] = g - level
                self._count(-(g - level) * demand * Fraction(float(upper[e])))

    def limits(self, found: PhaseOne) -> list[ConflictingLimit]:
        """All limits with a weight: floors and linear limits, which give, then what stays as it is."""
        work, problem, names = self.work, self.problem, self.names
        nothing = 1e-9 * found.excess
        told = []
        for j in np.flatnonzero(self.price < 0).tolist():
            give = float(found.floor_give[j])
            told.append(
                ConflictingLimit(
                    names.floor(j), float(work.floor[j]), float(-self.price[j]), give if give > nothing else 0.0
                )
            )
        for k in np.flatnonzero(self.limit_price).tolist():
            limit, price, give = problem.limits[k], float(self.limit_price[k]), abs(float(found.limit_give[k]))
            side, bound = ("at least", limit.low) if price < 0 else ("at most", limit.high)
            give = give * float(self.unit[k]) if give > nothing else 0.0
            told.append(ConflictingLimit(f"{limit.name} ({side})", float(bound), abs(price), give))
        for j in np.flatnonzero(self.price > 0).tolist():
            told.append(ConflictingLimit(names.capacity(j), float(work.capacity[j]), float(self.price[j]), 0.0))
        for i, weight in self.rows.items():
            told.append(ConflictingLimit(names.demand(i), float(work.demand[i]), float(weight), 0.0))
        for e, weight in self.caps.items():
            i = int(np.searchsorted(work.row_start, e, side="right")) - 1
            visits = float(work.demand[i]) * float(work.upper[e]) if work.upper is not None else 0.0
            told.append(ConflictingLimit(names.share_cap(int(work.provider[e]), i), visits, float(weight), 0.0))
        return told
