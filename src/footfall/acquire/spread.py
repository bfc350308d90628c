"""How visits are spread over providers."""

from __future__ import annotations

import math

import numpy as np

from footfall.acquire.reference import Bools
from footfall.model import Floats, Spread


def gini(visits: Floats) -> float:
    """Gini coefficient of visits (m,), >= 0: 0 where all have the same, (m - 1) / m where one has all.

    Mean absolute difference over twice the mean (Gini 1912), by the ordered-sample form of Sen (1973).
    """
    total, count = float(visits.sum()), len(visits)
    if total <= 0:
        return 0.0
    rank = np.arange(1, count + 1)
    return float(2 * (rank * np.sort(visits)).sum() / (count * total) - (count + 1) / count)


def spread_of(visits: Floats, newcomer: Bools) -> Spread:
    """Gini coefficient, share of the top tenth (at least one provider) and share of newcomers, of visits
    (m,).
    """
    total = float(visits.sum())
    if total <= 0:
        return Spread(0.0, 0.0, 0.0)
    top = math.ceil(len(visits) / 10)
    return Spread(
        gini=gini(visits),
        top_decile_share=float(np.sort(visits)[::-1][:top].sum()) / total,
        newcomer_share=float(visits[newcomer].sum()) / total,
    )
