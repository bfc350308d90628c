"""RFM: customers by recency, frequency and money in fifths, and the tier that operators know them by.

Scores 1 to 5 by rank (Hughes 1994, Strategic Database Marketing); equal figures get equal scores. Nobody is loyal, a
champion or one who cannot be lost before a second purchase day, whatever the first one brought.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from footfall.model import Floats, Ints

# Rows: recency score 1 to 5; columns: the mean of frequency and money scores, rounded, 1 to 5.
TIERS = (
    ("lost", "lost", "at risk", "at risk", "cannot lose"),
    ("lost", "sleeping", "at risk", "at risk", "cannot lose"),
    ("sleeping", "sleeping", "needs attention", "loyal", "loyal"),
    ("new", "promising", "potential", "loyal", "champion"),
    ("new", "promising", "potential", "champion", "champion"),
)

_ONCE = 3  # the column beyond which a tier speaks of habit


@dataclass(frozen=True, slots=True)
class Tiers:
    """Scores int64 (n,), 1 to 5, 5 best; and the tier's name."""

    recency: Ints
    frequency: Ints
    money: Ints
    name: npt.NDArray[np.object_]


def fifths(figures: Floats) -> Ints:
    """Scores 1 to 5 by the mean rank of equal figures, int64 (n,); all 3 where all are equal."""
    if not len(figures):
        return np.zeros(0, np.int64)
    _, at, count = np.unique(figures, return_inverse=True, return_counts=True)
    below = np.cumsum(count) - count
    middle = (below + count / 2) / len(figures)
    return np.minimum(np.floor(5 * middle[at.ravel()]).astype(np.int64) + 1, 5)


def tiers(since_days: Floats, purchase_days: Floats, spend: Floats) -> Tiers:
    """Tiers of customers from days since the last purchase, number of purchase days and money, float64 (n,) each."""
    recency, frequency, money = fifths(-since_days), fifths(purchase_days), fifths(spend)
    both = np.floor((frequency + money) / 2 + 0.5).astype(np.int64)
    both = np.where(purchase_days > 1, both, np.minimum(both, _ONCE))
    names = np.array(TIERS, dtype=object)
    return Tiers(recency, frequency, money, names[recency - 1, both - 1] if len(both) else np.zeros(0, object))
