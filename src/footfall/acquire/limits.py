"""The limits of a plan by name: capacity, newcomer floors, largest change, share caps, operators' floors and
caps.

Precedence: exclude, capacity, pin, newcomer floor, change; a lower one yields to a higher one and the plan's
notes say so. Operators' floors and caps are meant as they stand: where they cannot hold, the answer is
InfeasibleError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from footfall.acquire.reference import Bools, DailyVisits, Edges, row_totals
from footfall.errors import InfeasibleError
from footfall.model import Conflict, ConflictingLimit, Floats, Ints
from footfall.texts import say

CAPACITY_DAYS = 28

ROOM = 1e-6  # of what segments can send: left free by a newcomer floor that asks for it all

CAPACITY = "capacity"
CAP_RULE = "cap"
CHANGE_UP = "change up"
CHANGE_DOWN = "change down"
NEWCOMER_FLOOR = "newcomer floor"
FLOOR_RULE = "floor"
SHARE_CAP = "max provider share"
PIN = "pin"
EXCLUDE = "exclude"


@dataclass(frozen=True, eq=False, slots=True)
class Bounds:
    """Limits of each provider's visits a day, float64 (m,) each.

    capacity, cap_rule: upper limits. floor_rule, newcomer_floor: lower limits. base: visits at the reference
    shares with the pins set in, from which the largest change counts. pinned: visits that pins give. rise,
    fall: largest change upwards and downwards as shares of ``base``, in [0, inf] and [0, 1].
    """

    capacity: Floats
    cap_rule: Floats
    floor_rule: Floats
    newcomer_floor: Floats
    base: Floats
    pinned: Floats
    rise: float
    fall: Floats

    @property
    def hard_high(self) -> Floats:
        """What a provider can be sent at most, whatever the largest change; pins count as given."""
        return np.maximum(np.minimum(self.capacity, self.cap_rule), self.pinned)

    @property
    def hard_low(self) -> Floats:
        """What a provider must be sent at least, whatever the largest change."""
        return np.maximum(self.newcomer_floor, self.floor_rule)

    @property
    def change_high(self) -> Floats:
        """Upper side of the largest change; it yields to floors."""
        with np.errstate(invalid="ignore"):
            risen = np.where(self.base > 0, (1 + self.rise) * self.base, 0.0)
        return np.maximum(risen, self.hard_low)

    @property
    def high(self) -> Floats:
        """The upper limit in force."""
        return np.minimum(self.hard_high, np.maximum(self.change_high, self.pinned))

    @property
    def low(self) -> Floats:
        """The lower limit in force; the largest change yields to capacity."""
        return np.maximum(self.hard_low, np.minimum((1 - self.fall) * self.base, self.high))

    def free_high(self) -> Floats:
        """Room above the pinned visits."""
        return np.maximum(self.high - self.pinned, 0.0)

    def free_low(self) -> Floats:
        """What the pinned visits leave to be met."""
        return np.clip(self.low - self.pinned, 0.0, self.free_high())

    def high_names(self, who: Ints) -> list[str]:
        """Name of the limit that makes ``high``, of each of the providers ``who``."""
        changed, ruled = (self.high < self.hard_high)[who], (self.cap_rule < self.capacity)[who]
        names: list[str] = np.where(changed, CHANGE_UP, np.where(ruled, CAP_RULE, CAPACITY)).tolist()
        return names

    def low_names(self, who: Ints) -> list[str]:
        """Name of the limit that makes ``low``, of each of the providers ``who``."""
        changed, ruled = (self.low > self.hard_low)[who], (self.floor_rule >= self.newcomer_floor)[who]
        names: list[str] = np.where(changed, CHANGE_DOWN, np.where(ruled, FLOOR_RULE, NEWCOMER_FLOOR)).tolist()
        return names

    def high_name(self, j: int) -> str:
        """Name of the limit that makes ``high`` of provider j."""
        return self.high_names(np.array([j]))[0]

    def low_name(self, j: int) -> str:
        """Name of the limit that makes ``low`` of provider j."""
        return self.low_names(np.array([j]))[0]


def capacities(
    visits: DailyVisits,
    last: int,
    providers: Sequence[str],
    given: Mapping[str, float],
    factor: float,
    least: Floats,
) -> tuple[Floats, Bools]:
    """Visits a day that each provider can serve, float64 (m,), and which come from the file, bool (m,).

    Without a file: ``factor`` x the provider's largest day of the 28 days that end with day ``last``, but not
    below ``least`` (the newcomer floor, 0 for others). Where there was no visit in those days it is not
    known, and infinite: a shop that was away is held by the largest change and by pins, not shut out for
    ever.
    """
    recent = visits.within(last, CAPACITY_DAYS)
    slot, row = np.unique(recent.provider * CAPACITY_DAYS + (last - recent.day), return_inverse=True)
    largest = np.zeros(len(providers))
    np.maximum.at(largest, slot // CAPACITY_DAYS, np.bincount(row, recent.visits, len(slot)))
    capacity = np.where((largest > 0) | (least > 0), np.maximum(factor * largest, least), np.inf)
    listed = np.array([p in given for p in providers], dtype=bool)
    capacity[listed] = [float(given[p]) for p in providers if p in given]
    return capacity, listed


def share_caps(edges: Edges, today: Floats, receiving: Bools, setting: float) -> Floats:
    """Largest share of its segment for each pair, float64 (E,).

    ``setting``, or today's share where larger; and nobody is held below twice an equal share of the segment's
    k pairs that can receive visits: in a segment of two a cap of one half would leave nothing to move.
    """
    count = row_totals(edges.row_start, receiving.astype(np.float64))[edges.segment]
    return np.maximum(np.maximum(setting, today), np.minimum(1.0, 2 / np.maximum(count, 1)))


def give_up(message: str, limits: Sequence[ConflictingLimit], excess: float) -> InfeasibleError:
    """The error for limits that cannot all hold, with the proof and the least by which they must give."""
    giving = [f"the {one.name} by {one.give:,.6g}" for one in limits if one.give > 0]
    return InfeasibleError(message, Conflict(tuple(limits), excess), f"lower {listing(giving)}")


def check_floor_rules(
    bounds: Bounds,
    reach: Floats,
    providers: Sequence[str],
    from_file: Bools,
    beside: Callable[[int], Sequence[ConflictingLimit]],
) -> None:
    """Refuse operators' floors above the provider's own cap or capacity, or above what its segments can send.

    reach: float64 (m,), visits that the eligible segments can send each provider, pins included. beside: the exclusions
    and pins that bear on what a provider's segments can send it.
    """
    for j in np.flatnonzero(bounds.floor_rule > bounds.hard_high).tolist():
        floor, top = float(bounds.floor_rule[j]), float(bounds.hard_high[j])
        kind = CAP_RULE if bounds.cap_rule[j] < bounds.capacity[j] else CAPACITY
        source = " (from the file)" if kind == CAPACITY and from_file[j] else ""
        names = (
            f"{FLOOR_RULE} of {providers[j]}: {floor:g} visits",
            f"{kind} of {providers[j]}{source}: {top:g} visits",
        )
        limits = (
            ConflictingLimit(names[0], floor, 1.0, floor - top),
            ConflictingLimit(names[1], top, 1.0, 0.0),
        )
        raise give_up(f"limits cannot all hold: {names[0]}, but {names[1]}", limits, floor - top)
    for j in np.flatnonzero(bounds.floor_rule > reach * (1 + 1e-9)).tolist():
        floor, top = float(bounds.floor_rule[j]), float(reach[j])
        name, rules = f"{FLOOR_RULE} of {providers[j]}: {floor:g} visits", beside(j)
        why = "max_provider_share counts; a pair without visits in the reference days needs a pin to begin"
        raise give_up(
            f"limits cannot all hold: {name}, but its segments can send it {top:.4g} at most "
            f"({listing([rule.name for rule in rules]) if rules else why})",
            (ConflictingLimit(name, floor, 1.0, floor - top), *rules),
            floor - top,
        )


def newcomer_floors(
    newcomer: Bools, wanted: float, hard_high: Floats, reach: Floats, providers: Sequence[str]
) -> tuple[Floats, tuple[str, ...]]:
    """Newcomers' floors after they yield to capacity and to what their segments can send; with notes."""
    floor = np.where(newcomer, float(wanted), 0.0)
    notes = []
    # a floor that takes all there is leaves no room, and no finite price
    for limit in (hard_high, reach * (1 - ROOM)):
        lower = floor > limit * (1 + 10 * ROOM)
        if lower.any():
            who = listing([f"{providers[j]} ({limit[j]:.4g} of {wanted:g})" for j in np.flatnonzero(lower).tolist()])
            notes.append(
                say("newcomer floor yields to its capacity: {who}", who=who)
                if limit is hard_high
                else say("newcomer floor yields to what its segments can send: {who}", who=who)
            )
        floor = np.minimum(floor, limit)
    return floor, tuple(notes)


def listing(names: Sequence[str], most: int = 5) -> str:
    """Names in a row, the first few, with the number of the rest."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
