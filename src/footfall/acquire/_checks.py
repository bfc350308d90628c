"""What the input checks share: a list of complaints, and the search for duplicate edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from footfall.errors import ProblemError

SHOWN = 10  # complaints listed in one error


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

    def each(self, where: npt.NDArray[Any], line: Callable[[int], str]) -> None:
        """Note a fault for each index; only those that will be shown are put into words."""
        for index in where[: SHOWN - len(self._lines)]:
            self._lines.append(line(int(index)))
        self._count += len(where)

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


@nb.njit(cache=True, nogil=True)
def _mark_duplicates(row_start, provider, seen, flag):  # type: ignore[no-untyped-def]
    for i in range(len(row_start) - 1):
        for e in range(row_start[i], row_start[i + 1]):
            flag[e] = seen[provider[e]] == i
            seen[provider[e]] = i


def duplicate_edges(
    row_start: npt.NDArray[np.int64], provider: npt.NDArray[np.int32], providers: int
) -> npt.NDArray[np.int64]:
    """Edges whose provider stands earlier in the same row; one pass, memory (m,) and one byte an edge."""
    flag = np.zeros(len(provider), dtype=np.bool_)
    _mark_duplicates(row_start, provider, np.full(providers, -1, dtype=np.int64), flag)
    return np.flatnonzero(flag)
