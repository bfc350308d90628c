"""What the input checks share: a list of complaints, and searches for faults that need no arrays of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from footfall.errors import ProblemError

SHOWN = 10  # complaints listed in one error


@dataclass(frozen=True, eq=False, slots=True)
class Faults:
    """Where an array is wrong: the first places, and how many there are in all."""

    first: npt.NDArray[np.int64]
    count: int


class Complaints:
    """Faults found so far; the first ten are told, the rest counted."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, line: str) -> None:
        """Note one fault."""
        self._count += 1
        if len(self._lines) < SHOWN:
            self._lines.append(line)

    def each(self, faults: Faults, line: Callable[[int], str]) -> None:
        """Note a fault for each index; only those that will be shown are put into words."""
        for index in faults.first[: SHOWN - len(self._lines)]:
            self._lines.append(line(int(index)))
        self._count += faults.count

    def raise_any(self) -> None:
        """Raise ProblemError where anything was noted."""
        if not self._count:
            return
        lines = list(self._lines)
        if self._count > len(lines):
            lines.append(f"... and {self._count - len(lines)} more")
        raise ProblemError(
            "the allocation problem is not valid: " + "; ".join(lines), "correct these entries and solve again"
        )


def as_float(value: Any) -> float | None:
    """A number as a float; None where it is none, or none that a float holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


@nb.njit(cache=True, nogil=True)
def _outside(array, low, high, first):  # type: ignore[no-untyped-def]
    count = 0
    for e in range(len(array)):
        if not low <= array[e] <= high:  # nan as well
            if count < len(first):
                first[count] = e
            count += 1
    return count


def outside(array: npt.NDArray[Any], low: float, high: float) -> Faults:
    """Entries that are not a number from ``low`` to ``high``; no temporary array."""
    first = np.empty(SHOWN, dtype=np.int64)
    count = int(_outside(array, low, high, first))
    return Faults(first[: min(count, SHOWN)], count)


@nb.njit(cache=True, nogil=True)
def _above(low, high, first):  # type: ignore[no-untyped-def]
    count = 0
    for e in range(len(low)):
        if low[e] > high[e]:
            if count < len(first):
                first[count] = e
            count += 1
    return count


def above(low: npt.NDArray[Any], high: npt.NDArray[Any]) -> Faults:
    """Where ``low`` is above ``high``; no temporary array."""
    first = np.empty(SHOWN, dtype=np.int64)
    count = int(_above(low, high, first))
    return Faults(first[: min(count, SHOWN)], count)


@nb.njit(cache=True, nogil=True)
def _duplicates(row_start, provider, seen, first):  # type: ignore[no-untyped-def]
    count = 0
    for i in range(len(row_start) - 1):
        for e in range(row_start[i], row_start[i + 1]):
            if seen[provider[e]] == i:
                if count < len(first):
                    first[count] = e
                count += 1
            seen[provider[e]] = i
    return count


def duplicate_edges(row_start: npt.NDArray[np.int64], provider: npt.NDArray[np.int32], providers: int) -> Faults:
    """Edges whose provider stands earlier in the same row; one pass, memory (m,)."""
    first = np.empty(SHOWN, dtype=np.int64)
    count = int(_duplicates(row_start, provider, np.full(providers, -1, dtype=np.int64), first))
    return Faults(first[: min(count, SHOWN)], count)


@nb.njit(cache=True, nogil=True)
def _repeated(edge, seen):  # type: ignore[no-untyped-def]
    for t in range(len(edge)):
        if seen[edge[t]]:
            return t
        seen[edge[t]] = True
    return -1


@nb.njit(cache=True, nogil=True)
def _rises(edge):  # type: ignore[no-untyped-def]
    falls = 0  # one sum, which the compiler turns into vectors; a loop that may end early it does not
    for t in range(1, len(edge)):
        falls += edge[t] <= edge[t - 1]
    return falls == 0


def repeated(edge: npt.NDArray[np.int64], edges: int) -> int:
    """The first place at which an edge, in [0, edges), stands a second time; -1 where there is none.

    No memory where the edges rise, else one byte for each of ``edges``.
    """
    return -1 if _rises(edge) else int(_repeated(edge, np.zeros(edges, dtype=np.bool_)))
