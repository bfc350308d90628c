"""Sums by key: the one reduction that all of value is made of."""

from __future__ import annotations

import numpy as np

from footfall.model import Floats, Ints


def sum_by(key: Ints, number: Floats, n: int) -> Floats:
    """Sum of ``number`` (m,) over rows of equal ``key`` (m,) in 0..n-1; float64 (n,)."""
    return np.bincount(key, number, n).astype(np.float64, copy=False)
