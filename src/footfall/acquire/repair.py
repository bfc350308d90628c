"""From nearly feasible shares to a plan that holds every limit, at little loss of reward."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from footfall.acquire._flow import raise_to_floors
from footfall.acquire._work import Work
from footfall.acquire.conflict import LimitNames, refuse_conflict
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"


@dataclass(frozen=True, eq=False, slots=True)
class Repaired:
    """Visits by edge (E,), loads (m,) and row slack (n,), all within their limits."""

    flow: Floats
    load: Floats
    slack: Floats


@nb.njit(cache=True, nogil=True)
def _clip(row_start, provider, demand, capacity, upper, share, flow, load, slack):
    """Visits from shares: shares above their bound are cut, then rows above 1 and columns above capacity scaled."""
    load[:] = 0.0
    bounded = len(upper) > 0
    for i in range(len(demand)):
        total = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            flow[e] = max(min(share[e], upper[e]) if bounded else share[e], 0.0)
            total += flow[e]
        scale = demand[i] / max(total, 1.0)
        for e in range(row_start[i], row_start[i + 1]):
            flow[e] *= scale
            load[provider[e]] += flow[e]
    factor = np.ones(len(capacity))
    for j in range(len(capacity)):
        if load[j] > capacity[j]:
            factor[j] = capacity[j] / load[j]
    load[:] = 0.0
    for i in range(len(demand)):
        used = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            flow[e] *= factor[provider[e]]
            load[provider[e]] += flow[e]
            used += flow[e]
        slack[i] = max(demand[i] - used, 0.0)


@nb.njit(cache=True, nogil=True)
def _raise_cheaply(row_start, provider, value, column, demand, floor, most, price, flow, load, slack):
    """Floors in deficit take row slack, then visits of other providers above their floors, where the loss is least.

    The loss of a visit moved within a row from k to j is (v_ik - l_k) - (v_ij - l_j); slack counts as v - l = 0. Who
    has nothing to give never has again, so that a row's edges are gone through once, the cheapest first.
    """
    column_start, column_row, column_edge = column
    bounded = len(most) > 0
    best, cheapest = np.full(len(demand), np.nan), np.empty(len(value), dtype=np.int64)
    passed = np.full(len(demand), -1, dtype=np.int64)  # of a row's edges in that order; -1: not ordered yet
    for j in range(len(floor)):
        if load[j] >= floor[j]:
            continue
        a, b = column_start[j], column_start[j + 1]
        loss = np.empty(b - a)
        for at in range(a, b):
            i = column_row[at]
            if np.isnan(best[i]):
                best[i] = 0.0
                for e in range(row_start[i], row_start[i + 1]):
                    best[i] = max(best[i], value[e] - price[provider[e]])
            loss[at - a] = best[i] - (value[column_edge[at]] - price[j])
        for t in np.argsort(loss):
            i, to = column_row[a + t], column_edge[a + t]
            first, last = row_start[i], row_start[i + 1]
            room = max(most[to] - flow[to], 0.0) if bounded else np.inf
            amount = min(floor[j] - load[j], slack[i], room)
            slack[i] -= amount
            flow[to] += amount
            load[j] += amount
            room -= amount
            if load[j] < floor[j] and room > 0.0 and passed[i] < 0:
                gain = np.empty(last - first)
                for e in range(first, last):
                    gain[e - first] = value[e] - price[provider[e]]
                cheapest[first:last] = np.argsort(gain, kind="mergesort") + first
                passed[i] = 0
            while load[j] < floor[j] and room > 0.0 and passed[i] < last - first:
                at = cheapest[first + passed[i]]
                k = provider[at]
                if k == j or flow[at] <= 0.0 or load[k] <= floor[k]:
                    passed[i] += 1
                    continue
                amount = min(floor[j] - load[j], flow[at], load[k] - floor[k], room)
                flow[at] -= amount
                load[k] -= amount
                flow[to] += amount
                load[j] += amount
                room -= amount
                if amount <= 1e-15 * demand[i]:
                    break
            if load[j] >= floor[j]:
                break


@nb.njit(cache=True, nogil=True)
def _fill(row_start, provider, value, demand, capacity, most, flow, load, slack):
    """Row slack goes to the best-valued provider with spare capacity, as long as that is worth something."""
    bounded = len(most) > 0
    for i in range(len(demand)):
        if slack[i] <= 1e-15 * demand[i]:
            continue
        first, last = row_start[i], row_start[i + 1]
        loss = np.empty(last - first)
        for e in range(first, last):
            loss[e - first] = -value[e]
        for t in np.argsort(loss, kind="mergesort"):
            e = first + t
            if slack[i] <= 1e-15 * demand[i] or value[e] <= 0.0:
                break
            j = provider[e]
            if load[j] >= capacity[j] or (bounded and flow[e] >= most[e]):
                continue
            amount = min(slack[i], capacity[j] - load[j])
            if bounded and most[e] - flow[e] < amount:
                amount = most[e] - flow[e]
                flow[e] = most[e]
                slack[i] -= amount
                load[j] += amount
                continue
            flow[e] += amount
            slack[i] -= amount
            load[j] += amount
            if amount < slack[i]:  # the provider is full, whatever rounding says
                load[j] = capacity[j]


@nb.njit(cache=True, nogil=True)
def _shares(row_start, provider, demand, upper, flow, share, load, slack):
    """Shares from visits where there is demand; loads and slack counted anew from them."""
    load[:] = 0.0
    for i in range(len(demand)):
        used = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            if demand[i] > 0.0:
                share[e] = flow[e] / demand[i]
                if len(upper) > 0:
                    share[e] = min(share[e], upper[e])
                used += share[e]
        if used > 1.0:
            for e in range(row_start[i], row_start[i + 1]):
                share[e] /= used
            used = 1.0
        for e in range(row_start[i], row_start[i + 1]):
            load[provider[e]] += demand[i] * share[e]
        slack[i] = demand[i] * (1.0 - used)


def repair(work: Work, share: Floats, price: Floats, names: LimitNames, fill: bool) -> tuple[Floats, Floats, Floats]:
    """A plan within all limits, near ``share``: (share (E,), load (m,), unassigned visits (n,)).

    1. shares above their bound are cut, rows above 1 and columns above capacity scaled down; 2. floors in deficit take
    the cheapest visits at ``price``, and what is still short comes along residual paths (exact, see ``_flow``); 3. with
    ``fill``, slack goes to the best-valued spare capacity. Raises InfeasibleError where floors cannot all be met.
    """
    flow, load, slack = np.empty(len(share)), np.empty(work.m), np.empty(work.n)
    upper, most = np.zeros(0) if work.upper is None else work.upper, work.most
    _clip(work.row_start, work.provider, work.demand, work.capacity, upper, share, flow, load, slack)
    if (load < work.floor).any():
        if fill:
            _raise_cheaply(
                work.row_start, work.provider, work.value, work.column, work.demand, work.floor, most, price,
                flow, load, slack,
            )  # fmt: skip
        level, row_level = np.empty(work.m, dtype=np.int64), np.empty(work.n, dtype=np.int64)
        if not raise_to_floors(
            work.row_start, work.provider, work.column, work.demand, work.floor, most, flow, slack, load,
            level, row_level,
        ):  # fmt: skip
            refuse_conflict(work, load, level >= 0, row_level >= 0, names)
    if fill:
        _fill(work.row_start, work.provider, work.value, work.demand, work.capacity, most, flow, load, slack)
    plan = share.copy()
    _shares(work.row_start, work.provider, work.demand, upper, flow, plan, load, slack)
    return plan, load, slack
