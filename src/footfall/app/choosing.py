"""Which messages go when not all may: the most valuable of each person, and within a budget the most value for money.

It stands in app, and retain is handed it: the price of a budget is the same idea as the price of a capacity.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from footfall.model import Floats, Ints

_HALVINGS = 60


def choose(value: Floats, cost: Floats, person: Ints, cap: Ints, budget: float) -> npt.NDArray[np.bool_]:
    """Which of n messages go, bool (n,): at most ``cap[person]`` to each, their costs within ``budget``.

    value, cost: major units (n,), cost >= 0. One price on money, found by bisection: at a price, each person's messages
    of greatest value - price x cost above 0 go (Lagrange; Everett 1963, Operations Research 11, 399-417). What the
    budget still leaves goes to the next best that fit.
    """
    go = _best(value, person, cap)
    if float(cost[go].sum()) <= budget:
        return go
    low, high = 0.0, float(np.max(value / np.maximum(cost, 1e-300), initial=1.0, where=cost > 0)) * 2
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        fits = float(cost[_best(value - price * cost, person, cap)].sum()) <= budget
        low, high = (low, price) if fits else (price, high)
    go = _best(value - high * cost, person, cap)
    left = budget - float(cost[go].sum())
    count = np.bincount(person[go], minlength=len(cap))
    near = np.flatnonzero(~go & (value > 0))
    for k in near[np.argsort(-(value - high * cost)[near], kind="stable")][:1000]:
        if cost[k] <= left and count[person[k]] < cap[person[k]]:
            go[k] = True
            left -= float(cost[k])
            count[person[k]] += 1
    return go


def _best(worth: Floats, person: Ints, cap: Ints) -> npt.NDArray[np.bool_]:
    """Of each person's messages worth more than 0, the ``cap`` best; the first of equals."""
    order = np.lexsort((np.arange(len(worth)), -worth, person))
    sorted_person = person[order]
    first = np.flatnonzero(np.r_[True, sorted_person[1:] != sorted_person[:-1]]) if len(order) else np.zeros(0, int)
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    go = np.zeros(len(worth), bool)
    go[order] = (rank < cap[sorted_person]) & (worth[order] > 0)
    return go
