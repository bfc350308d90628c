"""What else could be done under the same limits: keep today's shares, or shares in proportion to visitor
value.

Both are projected on the limits in the same way: the feasible plan nearest to the wanted shares in relative
entropy, found by the same solver with all values equal to 1. A small inertia (0.1) makes it send visits
rather than leave them unassigned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from footfall.acquire.problem import Allocation, Problem
from footfall.acquire.reference import row_totals
from footfall.model import Floats

Solve = Callable[..., Allocation]

PROJECTION_INERTIA = 0.1
SUPPORT = 1e-3  # share of a row spread evenly, so that floors stay within reach of a wanted share of 0


def project(problem: Problem, wanted: Floats, solve: Solve, **options: Any) -> Floats:
    """The feasible shares nearest to ``wanted`` (E,), rows summing to 1, under the problem's limits; float64
    (E,).
    """
    level = replace(problem, value=np.ones(problem.edges), reference=wanted)
    return solve(level, inertia=PROJECTION_INERTIA, **options).share


def proportional_shares(problem: Problem, value: Floats) -> Floats:
    """Shares of each row in proportion to visitor value, float64 (E,); equal where no value is above 0."""
    start, rows = problem.row_start, _rows(problem)
    weight = np.maximum(value, 0.0)
    weight = np.where((row_totals(start, weight) > 0)[rows], weight, 1.0)
    return with_support(problem, weight / row_totals(start, weight)[rows])


def with_support(problem: Problem, share: Floats) -> Floats:
    """(1 - SUPPORT) x share + SUPPORT x equal, float64 (E,)."""
    count = np.diff(problem.row_start)[_rows(problem)]
    mixed: Floats = (1 - SUPPORT) * share + SUPPORT / count
    return mixed


def reward(problem: Problem, share: Floats, value: Floats) -> float:
    """Expected reward a day of shares (E,): sum of demand x share x value."""
    return float((problem.demand[_rows(problem)] * share * value).sum())


def _rows(problem: Problem) -> Any:
    return np.repeat(np.arange(problem.segments), np.diff(problem.row_start))
