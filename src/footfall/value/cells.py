"""Where a log holds anything: the ages of each key, and nothing in between.

Most providers of a long tail have a visit on two or three of the days that are remembered. A row for each age would
take a hundred times their facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from footfall.model import Floats, Ints
from footfall.value.sums import sum_by


@dataclass(frozen=True, slots=True)
class Cells:
    """N pairs of a key and an age that have rows, in ascending order; those of key j are start[j] to start[j + 1].

    start: int64 (n + 1,). key, age: int64 (N,), age in 0..ages - 1.
    """

    start: Ints
    key: Ints
    age: Ints
    ages: int

    def sum(self, cell: Ints, number: Floats) -> Floats:
        """Sum of ``number`` (m,) by cell, float64 (N,); rows in no cell are left out."""
        n = self.key.shape[0]
        return sum_by(cell, number, n + 1)[:n]

    def by_key(self, number: Floats) -> Floats:
        """Sum of ``number`` (N,) by key, float64 (n,)."""
        return sum_by(self.key, number, self.start.shape[0] - 1)


def lay_out(n: int, ages: int, *rows: tuple[Ints, Ints]) -> tuple[Cells, tuple[Ints, ...]]:
    """Cells of all rows (key in 0..n-1, age), and of each row its cell: N, which is none, from age ``ages`` on."""
    none = n * ages
    flat = np.concatenate([np.where(age < ages, key * ages + age, none) for key, age in rows])
    held, cell = np.unique(flat, return_inverse=True)
    held = held[: np.searchsorted(held, none)]
    key = held // ages
    cells = Cells(np.searchsorted(key, np.arange(n + 1)), key, held % ages, ages)
    edges = np.cumsum([age.shape[0] for _, age in rows])[:-1]
    return cells, tuple(np.split(cell, edges))


def gather(number: Floats, cell: Ints) -> Floats:
    """number (N,) of each row's cell, 0 for rows in no cell."""
    found: Floats = np.append(number, 0.0)[cell]
    return found
