"""Small problems whose limits are just met by a plan on a grid of sixteenths, so that all sums are exact in floats."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from footfall.acquire import LinearLimit, Problem

KINDS = ("plain", "caps", "limits", "both")


def just_met_problem(seed, kind, positive=False):
    """Values with ties; capacities, floors, share caps and linear limits at what one plan uses, or near it.

    kind: which limits there are beside capacities and floors. positive: values above 0, so that every row has a signal.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    n, m = int(rng.integers(1, 7)), int(rng.integers(1, 6))
    widths = rng.integers(1, m + 1, n)
    provider = np.concatenate([np.sort(rng.choice(m, k, replace=False)) for k in widths]).astype(np.int32)
    start = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
    edges, row = len(provider), np.repeat(np.arange(n), widths)
    demand = rng.choice([16.0, 32.0, 64.0, 96.0, 128.0], n)
    if rng.random() < 0.1:
        demand[rng.integers(n)] = 0.0
    value = (
        rng.integers(0, 10, edges).astype(float), rng.integers(-2, 5, edges) / 8,
        np.round(rng.lognormal(0, 1.5, edges), 2),
    )[int(rng.integers(3))]  # fmt: skip
    share = _grid_plan(rng, start) / 16
    visits = demand[row] * share
    load = np.bincount(provider, visits, minlength=m)
    near = lambda: rng.choice([0.0, 1.0, 16.0, 64.0], m)  # noqa: E731
    capacity = np.where(rng.random(m) < 0.4, load, np.where(rng.random(m) < 0.5, np.inf, load + near()))
    floor = np.where(rng.random(m) < 0.4, load, np.where(rng.random(m) < 0.5, 0.0, np.maximum(load - near(), 0.0)))
    reference = rng.integers(1, 9, edges).astype(float)
    reference /= np.bincount(row, reference, minlength=n)[row]
    upper, limits = None, ()
    if kind in ("caps", "both"):
        wider = np.minimum(share + rng.integers(0, 9, edges) / 16, 1.0)
        upper = np.where(rng.random(edges) < 0.5, share, np.where(rng.random(edges) < 0.5, 1.0, wider))
    if kind in ("limits", "both"):
        limits = tuple(_limit(rng, visits, f"limit {k}") for k in range(int(rng.integers(1, 5))))
    value = np.abs(value) + 0.125 if positive else value
    return Problem(demand, start, provider, value, capacity, floor, reference, limits, upper)


def _grid_plan(rng, start):
    units = np.zeros(start[-1])
    for a, b in pairwise(start):
        left = 16 if rng.random() < 0.7 else int(rng.integers(0, 17))
        for e in rng.permutation(np.arange(a, b)):
            units[e] = int(rng.integers(0, left + 1)) if rng.random() < 0.8 else left
            left -= int(units[e])
    return units


def _limit(rng, visits, name):
    count = int(rng.integers(1, len(visits) + 1))
    edge = np.sort(rng.choice(len(visits), count, replace=False)).astype(np.int64)
    coefficient = (np.ones(count), rng.integers(-3, 4, count).astype(float), rng.integers(1, 9, count).astype(float))[
        int(rng.integers(3))
    ]
    now, room = float(coefficient @ visits[edge]), float(rng.choice([0, 0, 0, 1, 16]))
    low, high = ((-np.inf, now + room), (now - room, np.inf), (now - room, now + room), (now, now))[
        int(rng.integers(4))
    ]
    return LinearLimit(edge, coefficient, low, high, name)


def dual_value(problem, plan):
    """The plain dual at the plan's prices, counted edge by edge: an upper bound of any plan's reward."""
    worth = problem.value.astype(float) - plan.price[problem.provider]
    total = sum(
        (problem.capacity[j] if price > 0 else problem.floor[j]) * price for j, price in enumerate(plan.price) if price
    )
    for limit, price in zip(problem.limits, plan.limit_price, strict=True):
        np.subtract.at(worth, limit.edge, price * limit.coefficient)
        if price:
            total += (limit.high if price > 0 else limit.low) * price
    most = (problem.capacity[problem.provider] > 0) * (1.0 if problem.upper is None else problem.upper)
    for i in range(problem.segments):
        left, row = 1.0, range(problem.row_start[i], problem.row_start[i + 1])
        for e in sorted(row, key=lambda e: -worth[e]):
            if worth[e] <= 0 or left <= 0:
                break
            part = min(left, most[e])
            total += problem.demand[i] * worth[e] * part
            left -= part
    return float(total)
