"""What each key has sent, counted by every worker where all see it: the bound of a key is one for all of them.

A count-min sketch (Cormode and Muthukrishnan 2005) on the board that processes share (metrics.py): each worker counts
in a row of its own, so that there are no locks, in two cells a key. What others have counted is the lesser of the two
sums: a key is charged with another's requests only where both its cells are met, with a hundred busy keys one time in
25,000.
"""

from __future__ import annotations

from zlib import crc32

_BITS = 14
WIDTH = 2 << _BITS  # float64 cells of a row


class Spending:
    """One worker's view. Counts only grow."""

    def __init__(self, cells: memoryview[float], row: int = 0, rows: int = 1) -> None:
        """cells: float64 (rows x WIDTH,), shared. row: this worker's."""
        self._mine = cells[row * WIDTH : (row + 1) * WIDTH]
        self._others = [cells[at * WIDTH : (at + 1) * WIDTH] for at in range(rows) if at != row]

    @staticmethod
    def cells(key: str) -> tuple[int, int]:
        """The places of a key."""
        number = crc32(key.encode())
        return number & ((1 << _BITS) - 1), (1 << _BITS) + (number >> (32 - _BITS))

    def add(self, cells: tuple[int, int]) -> None:
        """Count a request."""
        for cell in cells:
            self._mine[cell] += 1.0

    def others(self, cells: tuple[int, int]) -> tuple[float, float]:
        """What other workers have counted there."""
        first, second = cells
        return sum([row[first] for row in self._others]), sum([row[second] for row in self._others])
