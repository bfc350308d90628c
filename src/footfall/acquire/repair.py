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
def _clip(row_start, provider, demand, capacity, share, flow, load, slack):
    """Visits from shares: rows above 1 and then columns above capacity are scaled down."""
    load[:] = 0.0
    for i in range(len(demand)):
        total = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            total += max(share[e], 0.0)
        scale = demand[i] / max(total, 1.0)
        for e in range(row_start[i], row_start[i + 1]):
            flow[e] = max(share[e], 0.0) * scale
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
def _raise_cheaply(row_start, provider, value, column, demand, floor, price, flow, load, slack):
    """Floors in deficit take row slack, then visits of other providers above their floors, where the loss is least.

    The loss of a visit moved within a row from k to j is (v_ik - l_k) - (v_ij - l_j); slack counts as v - l = 0.
    """
    column_start, column_row, column_edge = column
    for j in range(len(floor)):
        if load[j] >= floor[j]:
            continue
        a, b = column_start[j], column_start[j + 1]
        loss = np.empty(b - a)
        for at in range(a, b):
            i = column_row[at]
            best = 0.0
            for e in range(row_start[i], row_start[i + 1]):
                best = max(best, value[e] - price[provider[e]])
            loss[at - a] = best - (value[column_edge[at]] - price[j])
        for t in np.argsort(loss):
            i, to = column_row[a + t], column_edge[a + t]
            amount = min(floor[j] - load[j], slack[i])
            slack[i] -= amount
            flow[to] += amount
            load[j] += amount
            while load[j] < floor[j]:
                worst, at = np.inf, -1
                for e in range(row_start[i], row_start[i + 1]):
                    k = provider[e]
                    if k != j and flow[e] > 0.0 and load[k] > floor[k] and value[e] - price[k] < worst:
                        worst, at = value[e] - price[k], e
                if at < 0:
                    break
                k = provider[at]
                amount = min(floor[j] - load[j], flow[at], load[k] - floor[k])
                flow[at] -= amount
                load[k] -= amount
                flow[to] += amount
                load[j] += amount
                if amount <= 1e-15 * demand[i]:
                    break
            if load[j] >= floor[j]:
                break


@nb.njit(cache=True, nogil=True)
def _fill(row_start, provider, value, demand, capacity, flow, load, slack):
    """Row slack goes to the best-valued provider with spare capacity, as long as that is worth something."""
    for i in range(len(demand)):
        while slack[i] > 1e-15 * demand[i]:
            best, at = 0.0, -1
            for e in range(row_start[i], row_start[i + 1]):
                if value[e] > best and load[provider[e]] < capacity[provider[e]]:
                    best, at = value[e], e
            if at < 0:
                break
            j = provider[at]
            amount = min(slack[i], capacity[j] - load[j])
            flow[at] += amount
            slack[i] -= amount
            load[j] += amount
            if amount < slack[i]:  # the provider is full, whatever rounding says
                load[j] = capacity[j]


@nb.njit(cache=True, nogil=True)
def _shares(row_start, provider, demand, flow, share, load, slack):
    """Shares from visits where there is demand; loads and slack counted anew from them."""
    load[:] = 0.0
    for i in range(len(demand)):
        used = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            if demand[i] > 0.0:
                share[e] = flow[e] / demand[i]
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

    1. rows above 1 and columns above capacity are scaled down; 2. floors in deficit take the cheapest visits at
    ``price``, and what is still short comes along residual paths (exact, see ``_flow``); 3. with ``fill``, slack goes
    to the best-valued spare capacity. Raises InfeasibleError where floors cannot all be met.
    """
    flow, load, slack = np.empty(len(share)), np.empty(work.m), np.empty(work.n)
    _clip(work.row_start, work.provider, work.demand, work.capacity, share, flow, load, slack)
    if (load < work.floor).any():
        if fill:
            _raise_cheaply(
                work.row_start, work.provider, work.value, work.column, work.demand, work.floor, price,
                flow, load, slack,
            )  # fmt: skip
        level, row_level = np.empty(work.m, dtype=np.int64), np.empty(work.n, dtype=np.int64)
        if not raise_to_floors(
            work.row_start, work.provider, work.column, work.demand, work.floor, flow, slack, load, level, row_level
        ):
            refuse_conflict(work, load, level >= 0, row_level >= 0, names)
    if fill:
        _fill(work.row_start, work.provider, work.value, work.demand, work.capacity, flow, load, slack)
    plan = share.copy()
    _shares(work.row_start, work.provider, work.demand, flow, plan, load, slack)
    return plan, load, slack
