"""Timing: when a follow-up is worth sending, when it is too late, when a reminder to buy again is due.

An unconverted visitor of age a still buys with chance left(a) = c (1 - F(a)) / (1 - c F(a)), c the category's
conversion, F the share of orders placed within a days of the visit (value/delay.py). Of the buyers who did not buy on
the first day,

    follow_up   the day by which a quarter have come: the quick ones need no message, the others are still deciding
    last_call   the day by which three quarters have come
    too_late    the day by which nine of ten buyers have come: a tenth is left of what the visit promised

Where nine of ten buyers come before a follow-up would go out, none is worth sending.

Of the customers who buy again (value/repurchase.py), ``remind`` is the day by which half have come back by themselves,
``lapsing`` the day by which nine of ten have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from footfall.model import Floats
from footfall.value.delay import DelayCurves
from footfall.value.repurchase import Repurchase

SHOWN_DAYS = (0, 1, 3, 7, 14, 28)
FEWEST = 30  # orders or gaps below which a category's moments lean on the others', and it is said


@dataclass(frozen=True, slots=True)
class Moments:
    """Days after the visit (follow-ups) or after the last purchase (reminders) of one category; None: not known.

    left_at_follow_up, left_at_too_late: chance that an unconverted visitor still buys. curve: F(0..reach). gap_curve:
    share of customers who bought again within 0..reach days. thin: what is said of few orders or few repurchases.
    """

    category: str
    orders: float
    conversion: float
    curve: Floats
    follow_up: int | None
    last_call: int | None
    too_late: int | None
    left_at_follow_up: float | None
    left_at_too_late: float | None
    repurchases: float
    gap_curve: Floats
    remind: int | None
    lapsing: int | None
    thin: str


def moments(
    categories: tuple[str, ...],
    delay: DelayCurves,
    orders: Floats,
    visits: Floats,
    gap_categories: tuple[str, ...],
    gaps: Repurchase | None,
) -> tuple[Moments, ...]:
    """Moments of all categories.

    orders, visits: float64 (C,), of each category of ``delay``. gap_categories: those of ``gaps``; None where nobody
    bought.
    """
    found = []
    for c, name in enumerate(categories):
        g = gap_categories.index(name) if gaps is not None and name in gap_categories else None
        found.append(_moments(name, delay.cdf[c], float(orders[c]), float(visits[c]), g, gaps, len(categories) == 1))
    return tuple(found)


def _moments(
    name: str, curve: Floats, orders: float, visits: float, g: int | None, gaps: Repurchase | None, alone: bool
) -> Moments:
    conversion = min(orders / visits, 1.0) if visits > 0 else 0.0
    late = (curve - curve[0]) / max(1.0 - curve[0], 1e-12)
    decided = orders > 0 and curve[0] < 1.0 - 1e-9

    def day(share: float, of: Floats) -> int | None:
        return int(np.argmax(of >= share)) if decided else None

    follow_up, last_call, too_late = day(0.25, late), day(0.75, late), day(0.9, curve)
    if follow_up is not None and too_late is not None and too_late <= follow_up:
        follow_up = last_call = None
    if last_call is not None and too_late is not None:
        last_call = min(last_call, too_late)  # later than that is no call
    closed = float(gaps.closed[g]) if gaps is not None and g is not None else 0.0
    gap_curve = 1.0 - gaps.survival[g] if gaps is not None and g is not None else np.zeros(0)
    remind, lapsing = (
        _whole(gaps.quantile(g, level)) if gaps is not None and g is not None and closed and not gaps.thin else None
        for level in (0.5, 0.9)
    )
    few = [
        text
        for count, text in ((orders, f"{orders:,.0f} orders"), (closed, f"{closed:,.0f} repurchases"))
        if count < FEWEST
    ]
    return Moments(
        category=name,
        orders=orders,
        conversion=conversion,
        curve=curve,
        follow_up=follow_up,
        last_call=last_call,
        too_late=too_late,
        left_at_follow_up=None if follow_up is None else left(conversion, float(curve[follow_up])),
        left_at_too_late=None if too_late is None else left(conversion, float(curve[too_late])),
        repurchases=closed,
        gap_curve=gap_curve,
        remind=remind,
        lapsing=lapsing,
        thin=_thin(few, alone) if few else "",
    )


def _thin(few: list[str], alone: bool) -> str:
    leaning = "there is no other category to lean on" if alone else "it leans on the other categories"
    return f"only {' and '.join(few)}: {leaning}"


def left(conversion: float, within: float) -> float:
    """Chance that a visitor who has not bought yet still does: Bayes on conversion and F of the visit's age."""
    return conversion * (1.0 - within) / max(1.0 - conversion * within, 1e-12)


def _whole(days: float) -> int | None:
    return None if np.isnan(days) else int(days)


def row(found: Moments) -> dict[str, Any]:
    """A row of ``footfall timing``."""
    reach = len(found.curve) - 1
    return {
        "category": found.category,
        "orders": found.orders,
        "conversion": found.conversion,
        **{f"within_{d}": float(found.curve[min(d, reach)]) for d in SHOWN_DAYS},
        "follow_up": found.follow_up,
        "last_call": found.last_call,
        "too_late": found.too_late,
        "left_at_follow_up": found.left_at_follow_up,
        "left_at_too_late": found.left_at_too_late,
        "repurchases": found.repurchases,
        "bought_again": float(found.gap_curve[-1]) if len(found.gap_curve) else None,
        "remind": found.remind,
        "lapsing": found.lapsing,
        "note": found.thin,
    }
