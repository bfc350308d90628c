"""What makes a certificate: a bound that its own rounding cannot have made, and the gap to the best plan.

Any prices bound the optimum (weak duality), but only as well as their sum can be added up. Where limits leave no room
within, prices that prove the most run off along a ray on which large terms cancel; what is left of such a sum is noise,
and may lie below the optimum. Such prices are not believed: a bound counts where its rounding is small against it.
"""

from __future__ import annotations

import numpy as np

from footfall.model import Floats

ROUNDING = 4 * float(np.finfo(np.float64).eps)  # of the sum of all terms' sizes: what adding them up may lose
_BELIEVED = 1e-9  # of the bound: the rounding that a bound may have
_LEAST = 1e-14  # of the scale of the gap, likewise, where bounds are near 0
_EQUAL = 1e-15  # of the scale: a bound and a plan that differ by no more are equal
_CROSSED = 1e-7  # of the bound: a plan that is worth so much more than the bound proves the bound wrong


def rounding(scale: float, traffic: float, price: Floats, capacity: Floats, floor: Floats, shift: float = 0.0) -> float:
    """What the dual at prices (m,) may be wrong by, in reward.

    scale: sum of demand x largest |value|. traffic: total demand. capacity, floor: (m,), visits. shift: the largest
    amount that further prices put on an edge, in reward per visit.
    """
    if not len(price):
        return ROUNDING * (scale + traffic * shift)
    size = np.abs(price)
    side = np.where(price > 0, capacity, floor)
    held = size > 0
    largest = float(size.max())
    return ROUNDING * (scale + traffic * (largest + shift) + float(size[held] @ side[held]))


def sure_rounding(size: float, terms: int) -> float:
    """What a sum of ``terms`` products may be wrong by at most; size: the sum of theirs (Higham 2002, 3.1)."""
    return (terms + 4) * float(np.finfo(np.float64).eps) * size


def believed(bound: float, noise: float, scale: float) -> bool:
    """Whether a bound with that much rounding proves anything; False where either is not finite."""
    return bool(np.isfinite(bound)) and noise <= max(_BELIEVED * abs(bound), _LEAST * scale)


def relative_gap(bound: float, objective: float, scale: float) -> float:
    """(bound - objective) / |bound|: 0 where they are equal to rounding, infinite where the bound proves nothing.

    scale: what bounds near 0 are measured against.
    """
    missing = bound - objective
    if not np.isfinite(missing) or missing < -max(_CROSSED * abs(bound), _LEAST * scale):
        return float(np.inf)
    if missing <= _EQUAL * scale:
        return 0.0
    return float(missing / max(abs(bound), 1e-9 * scale))
