"""A single budget: at most one option for each customer, whatever all options together may cost.

    maximise  sum_i d_i sum_k x_ik v_ik   subject to  sum_k x_ik <= 1,  sum_i d_i sum_k x_ik a_ik <= budget

with costs a >= 0 has a dual in one price: L(p) = sum_i d_i max(0, max_k (v_ik - p a_ik)) + p budget, at least the
optimum for any p >= 0. Spending falls in p, so p is found by bisection (Dantzig 1957; for choices among options, Sinha
& Zoltners 1979), and at most one customer is given a mix of two options. A customer whose best option is the same at
both ends of a bracket keeps it in between, as max_k (v - p a) is convex in p: only the others are looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from footfall.acquire import kernels
from footfall.acquire._checks import outside
from footfall.acquire.problem import Allocation, Problem
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_SAMPLE = 4096  # customers from whom the first bracket is guessed
_MARGIN = 0.08  # by which their spending may differ from everybody's
_HALVINGS = 200
_WIDEN = 8  # tries for a bracket that holds the price


@dataclass(frozen=True, eq=False, slots=True)
class BudgetPlan:
    """share: float64 (E,). price: reward for a unit of budget, >= 0. reward, spent: of the plan. bound: at least the
    optimum. used: float64 (n,), the rows' sums. steps: looks at customers, in parts of all of them, rounded up.
    """

    share: Floats
    price: float
    reward: float
    spent: float
    bound: float
    used: Floats
    steps: int


@nb.njit(cache=True, nogil=True)
def _choice(value, cost, a, b, price):
    """The edge of the largest v - p a > 0, the cheaper of two alike; -1 for none."""
    best, at, least = 0.0, -1, 0.0  # at a gain of 0 nothing is cheaper than nothing
    for e in range(a, b):
        gain = value[e] - price * cost[e]
        if gain > best or (gain == best and cost[e] < least):
            best, at, least = gain, e, cost[e]
    return at


@nb.njit(cache=True, nogil=True)
def _sampled_spending(row_start, value, cost, demand, price, rows):
    total = 0.0
    for i in rows:
        at = _choice(value, cost, row_start[i], row_start[i + 1], price)
        if at >= 0:
            total += demand[i] * cost[at]
    return total


@nb.njit(cache=True, nogil=True)
def _bracket(row_start, value, cost, demand, low, high, rows, at_low, at_high):
    """Spending at two prices in one pass; customers whose choices differ into ``rows``, with their choices."""
    count, much, little = 0, 0.0, 0.0
    for i in range(len(demand)):
        best, best_high, at, at_h, cost_low, cost_high = 0.0, 0.0, -1, -1, 0.0, 0.0
        for e in range(row_start[i], row_start[i + 1]):
            v, a = value[e], cost[e]
            gain = v - low * a
            if gain > best or (gain == best and a < cost_low):
                best, at, cost_low = gain, e, a
            gain = v - high * a
            if gain > best_high or (gain == best_high and a < cost_high):
                best_high, at_h, cost_high = gain, e, a
        much += demand[i] * cost_low
        little += demand[i] * cost_high
        if at != at_h and demand[i] > 0.0:
            rows[count], at_low[count], at_high[count] = i, at, at_h
            count += 1
    return count, much, little


@nb.njit(cache=True, nogil=True)
def _halve(row_start, value, cost, demand, budget, low, high, little, rows, at_low, at_high, halvings):
    """Bisection on the customers who are still undecided; their lists shrink in place. Returns prices and the count."""
    count, looked = len(rows), 0
    at_middle = np.empty(count, dtype=np.int64)
    for _ in range(halvings):
        middle = 0.5 * (low + high)
        if count == 0 or not low < middle < high:
            break
        looked += count
        spent = little
        for q in range(count):
            i = rows[q]
            at_middle[q] = _choice(value, cost, row_start[i], row_start[i + 1], middle)
            if at_middle[q] != at_high[q]:
                if at_middle[q] >= 0:
                    spent += demand[i] * cost[at_middle[q]]
                if at_high[q] >= 0:
                    spent -= demand[i] * cost[at_high[q]]
        down = spent <= budget
        if down:
            high, little = middle, spent
        else:
            low = middle
        left = 0
        for q in range(count):
            dear, cheap = (at_low[q], at_middle[q]) if down else (at_middle[q], at_high[q])
            if dear != cheap:
                rows[left], at_low[left], at_high[left] = rows[q], dear, cheap
                left += 1
        count = left
    return low, high, count, looked


@nb.njit(cache=True, nogil=True)
def _write(row_start, value, cost, demand, price, share, used):
    """Everybody's choice at a price; reward, spending and the dual's part of the customers."""
    reward, spent, dual = 0.0, 0.0, 0.0
    for i in range(len(demand)):
        best, at, least = 0.0, -1, 0.0
        for e in range(row_start[i], row_start[i + 1]):
            v, a = value[e], cost[e]
            gain = v - price * a
            if gain > best or (gain == best and a < least):
                best, at, least = gain, e, a
        if at >= 0:
            share[at] = 1.0
            used[i] = 1.0
            reward += demand[i] * value[at]
        spent += demand[i] * least
        dual += demand[i] * best
    return reward, spent, dual


@nb.njit(cache=True, nogil=True)
def _spend_rest(value, cost, demand, budget, rows, at_low, at_high, reward, spent, share, used):
    """Undecided customers go over to the dearer choice while the budget lasts, the last one in part."""
    for q in range(len(rows)):
        i, dear, cheap = rows[q], at_low[q], at_high[q]
        if dear < 0:
            continue
        more = demand[i] * (cost[dear] - (cost[cheap] if cheap >= 0 else 0.0))
        gain = demand[i] * (value[dear] - (value[cheap] if cheap >= 0 else 0.0))
        if more <= 0.0 or gain <= 0.0:
            continue
        part = min(1.0, (budget - spent) / more)
        if part <= 0.0:
            break
        share[dear] = part
        if cheap >= 0:
            share[cheap] = 1.0 - part
        used[i] = part + (share[cheap] if cheap >= 0 else 0.0)
        reward += part * gain
        spent += part * more
    return reward, spent


@nb.njit(cache=True, nogil=True)
def _dearest(value, cost):
    """The price from which on nobody takes what costs anything."""
    most = 0.0
    for e in range(len(value)):
        if cost[e] > 0.0 and value[e] > most * cost[e]:
            most = value[e] / cost[e]
    return most


@nb.njit(cache=True, nogil=True)
def _is_every(edge):
    """Whether these are all edges in order."""
    wrong = 0
    for t in range(len(edge)):
        wrong += edge[t] != t
    return wrong == 0


def _guess(row_start: Any, value: Any, cost: Any, demand: Any, budget: float) -> tuple[float, float]:
    """A bracket of the price from a sample of the customers."""
    n = len(demand)
    rows = np.arange(n) if n <= _SAMPLE else np.sort(np.random.default_rng(n).integers(0, n, _SAMPLE))
    part = budget * len(rows) / max(n, 1)
    data = (row_start, value, cost, demand)
    ends = []
    for aim in (part * (1 + _MARGIN), part * (1 - _MARGIN)):
        low, high = 0.0, 1.0
        while _sampled_spending(*data, high, rows) > aim and high < 1e150:
            low, high = high, 4.0 * high
        for _ in range(24):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if _sampled_spending(*data, middle, rows) <= aim else (middle, high)
        ends.append((low, high))
    return ends[0][0], ends[1][1]


def spend_budget(
    row_start: npt.NDArray[np.int64], value: npt.NDArray[Any], cost: Floats, demand: Floats, budget: float
) -> BudgetPlan:
    """The best use of a budget; see the module.

    row_start: int64 (n + 1,). value: float32 or float64 (E,), reward of an option for one unit of demand. cost: float64
    (E,), >= 0. demand: float64 (n,), >= 0 (1 for a customer). budget: >= 0. The plan spends at most the budget, but for
    rounding (1e-12); gap (bound - reward) is that of the fraction that one customer gets.
    """
    n, data = len(demand), (row_start, value, cost, demand)
    rows, at_low, at_high = (np.empty(n, dtype=np.int64) for _ in range(3))
    low, high = _guess(*data, budget)
    count, steps = 0, n
    for number in range(_WIDEN):
        count, much, little = _bracket(*data, low, high, rows, at_low, at_high)
        steps += n
        if low > 0.0 and much <= budget:
            low, high = 0.0, max(low, np.nextafter(0.0, 1.0))
        elif little > budget:
            low, high = high, (4.0 * high if number < _WIDEN - 2 else max(float(_dearest(value, cost)), high) * 1.0001)
        else:
            break
    if low == 0.0 and much <= budget:  # there is enough for everybody's best
        low = high = 0.0
        count = 0
    some = (rows[:count], at_low[:count], at_high[:count])
    low, high, count, looked = _halve(*data, budget, low, high, little, *some, _HALVINGS)
    share, used = np.zeros(len(value)), np.zeros(n)
    reward, spent, dual = _write(*data, high, share, used)
    bound = dual + high * budget
    reward, spent = _spend_rest(
        value, cost, demand, budget, rows[:count], at_low[:count], at_high[:count], reward, spent, share, used
    )
    return BudgetPlan(
        share, float(high), float(reward), float(spent), max(float(bound), float(reward)), used,
        -(-(steps + n + int(looked)) // max(n, 1)),
    )  # fmt: skip


def is_single_budget(problem: Problem, inertia: float) -> bool:
    """Whether a problem is one budget and nothing else: costs >= 0, no capacity, floor or share cap."""
    if inertia != 0 or len(problem.limits) != 1 or problem.upper is not None or not problem.edges:
        return False
    limit = problem.limits[0]
    one_sided = limit.low <= 0 <= limit.high < np.inf
    open_ended = bool(np.isinf(problem.capacity).all() and (problem.floor <= 0).all())
    return one_sided and open_ended and outside(limit.coefficient, 0.0, np.inf).count == 0


def allocate_budget(problem: Problem, gap: float) -> Allocation:
    """The allocation of a problem that ``is_single_budget``."""
    limit = problem.limits[0]
    cost = limit.coefficient
    if len(limit.edge) != problem.edges or not _is_every(limit.edge):
        cost = np.zeros(problem.edges)
        cost[limit.edge] = limit.coefficient
    plan = spend_budget(problem.row_start, problem.value, cost, problem.demand, float(limit.high))
    load, used = np.zeros(problem.providers), np.empty(problem.segments)
    data = (problem.row_start, problem.provider, problem.demand, plan.share)
    kernels.load_rows(*data, 0, problem.segments, load, used)
    missing = (plan.bound - plan.reward) / max(plan.bound, 1e-300)
    return Allocation(
        share=plan.share,
        price=np.zeros(problem.providers),
        load=load,
        unassigned=problem.demand * np.maximum(1.0 - plan.used, 0.0),
        reward=plan.reward,
        objective=plan.reward,
        bound=plan.bound,
        gap=missing,
        lp_bound=plan.bound,
        iterations=plan.steps,
        status="optimal" if missing <= gap else "stalled",
        limit_price=np.array([plan.price]),
    )
