"""Cells of key and age against sums laid out densely by numpy."""

from __future__ import annotations

import numpy as np

from footfall.value.cells import gather, lay_out


def test_cells_hold_what_a_row_for_each_age_would() -> None:
    rng = np.random.default_rng(3)
    keys, ages, numbers = rng.integers(0, 9, 40), rng.integers(0, 12, 40), rng.random(40)
    keys[keys == 4] = 5  # a key without rows
    cells, (first, second) = lay_out(9, 8, (keys[:25], ages[:25]), (keys[25:], ages[25:]))
    dense = np.zeros((9, 8))
    young = ages < 8
    np.add.at(dense, (keys[young], ages[young]), numbers[young])
    held = np.zeros((9, 8), dtype=bool)
    held[keys[young], ages[young]] = True
    total = cells.sum(first, numbers[:25]) + cells.sum(second, numbers[25:])
    np.testing.assert_array_equal(np.argwhere(held), np.stack([cells.key, cells.age], axis=1))
    np.testing.assert_allclose(total, dense[held])
    np.testing.assert_allclose(cells.by_key(total), dense.sum(axis=1))
    np.testing.assert_array_equal(np.diff(cells.start), held.sum(axis=1))
    np.testing.assert_allclose(gather(total, first), np.where(young, dense[keys, np.minimum(ages, 7)], 0.0)[:25])


def test_no_rows_at_all() -> None:
    none = np.zeros(0, dtype=np.int64)
    cells, (cell,) = lay_out(2, 8, (none, none))
    assert cells.start.tolist() == [0, 0, 0]
    assert gather(cells.sum(cell, np.zeros(0)), cell).tolist() == []
