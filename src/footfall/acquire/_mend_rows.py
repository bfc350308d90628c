"""The sweeps of ``_mend``: compiled kernels over rows and over columns below their floors.

Sweeps over rows read loads of before and write shares and slack of their own rows only, so blocks may run in threads;
loads of after are added into an array of each block's own. Visits are demand x share.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_IDLE = 1e-12  # slack in parts of the row that is not worth giving away
_PICKS = 32  # cheapest edges of a column that are looked at first; then eight times as many, and so on


@nb.njit(cache=True, nogil=True)
def trim_rows(row_start, provider, demand, share, first, last, load, slack):
    """Shares below 0 become 0 and rows above 1 are scaled to 1."""
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        d = demand[i]
        total = 0.0
        for e in range(a, b):
            if share[e] < 0.0:
                share[e] = 0.0
            total += share[e]
        if total > 1.0:
            for e in range(a, b):
                share[e] /= total
            total = 1.0
        for e in range(a, b):
            x = share[e]
            if x > 0.0:
                load[provider[e]] += d * x
        slack[i] = d * (1.0 - total)


@nb.njit(cache=True, nogil=True)
def shrink_rows(row_start, provider, demand, share, factor, first, last, load, slack):
    """Columns are scaled by ``factor`` (m,), at most 1."""
    for i in range(first, last):
        d = demand[i]
        total = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            if share[e] > 0.0:
                j = provider[e]
                share[e] *= factor[j]
                total += share[e]
                load[j] += d * share[e]
        slack[i] = d * max(1.0 - total, 0.0)


@nb.njit(cache=True, nogil=True)
def raise_rows(row_start, provider, demand, share, lift, give, first, last, load, slack):
    """Columns j ask for ``lift[j]`` of each of their shares; slack gives first, others up to ``give[k]`` of theirs.

    Nobody gives more than a part ``give`` of any share, nor gets more than ``lift``: so no load passes its floor.
    """
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        d = demand[i]
        asked, offered = 0.0, 0.0
        for e in range(a, b):
            asked += share[e] * lift[provider[e]]
            offered += share[e] * give[provider[e]]
        if asked > 0.0 and d > 0.0:
            idle = min(max(slack[i], 0.0) / d, asked)
            taken = min(asked - idle, offered)
            got = (idle + taken) / asked
            lost = taken / offered if taken > 0.0 else 0.0
            for e in range(a, b):
                j = provider[e]
                share[e] *= 1.0 + got * lift[j] - lost * give[j]
            slack[i] = max(slack[i] - d * idle, 0.0)
        for e in range(a, b):
            if share[e] > 0.0:
                load[provider[e]] += d * share[e]


@nb.njit(cache=True, nogil=True)
def _take(row_start, provider, value, demand, floor, price, share, load, slack, i, to, j):
    """Visits of row i to edge ``to`` of provider j, until its floor is met or the row has no more to give."""
    d = demand[i]
    amount = min(floor[j] - load[j], slack[i])
    if amount > 0.0:
        slack[i] -= amount
        share[to] += amount / d
        load[j] += amount
    while load[j] < floor[j]:
        worst, at = np.inf, -1
        for e in range(row_start[i], row_start[i + 1]):
            k = provider[e]
            if k != j and share[e] > 0.0 and load[k] > floor[k] and value[e] - price[k] < worst:
                worst, at = value[e] - price[k], e
        if at < 0:
            return
        k = provider[at]
        held = d * share[at]
        amount = min(floor[j] - load[j], held, load[k] - floor[k])
        share[at] = share[at] - amount / d if amount < held else 0.0
        load[k] -= amount
        share[to] += amount / d
        load[j] += amount
        if amount <= 1e-9 * d and amount < held:
            if load[k] - floor[k] <= 1e-9 * d:
                load[k] = min(load[k], floor[k])  # what is left is rounding
            else:
                return


@nb.njit(cache=True, nogil=True)
def raise_columns(
    row_start, provider, value, demand, floor, price, allowed, share, load, slack, best, wanted, starts, rows, edges
):
    """Floors of the providers ``wanted`` take visits edge by edge, cheapest first; in place.

    allowed: references (E,), where edges with 0 take nothing, or empty. best: (n,) of max(0, max_k (v_ik - l_k)), or
    nan where it was not needed yet. starts, rows, edges: columns of ``wanted``.
    """
    for q in range(len(wanted)):
        j = wanted[q]
        a, b = starts[q], starts[q + 1]
        loss = np.empty(b - a)
        for at in range(a, b):
            i, edge = rows[at], edges[at]
            if demand[i] <= 0.0 or (len(allowed) > 0 and not allowed[edge] > 0.0):
                loss[at - a] = np.inf
                continue
            if math.isnan(best[i]):
                top = 0.0
                for e in range(row_start[i], row_start[i + 1]):
                    top = max(top, value[e] - price[provider[e]])
                best[i] = top
            loss[at - a] = best[i] - (value[edge] - price[j])
        seen, picks = -np.inf, _PICKS
        while load[j] < floor[j] and seen < np.inf:
            upto = np.inf
            if picks < b - a:
                upto = np.partition(loss, picks)[picks]
            some = np.flatnonzero((loss > seen) & (loss <= upto) & (loss < np.inf))
            for t in some[np.argsort(loss[some])]:
                _take(
                    row_start, provider, value, demand, floor, price, share, load, slack, rows[a + t], edges[a + t], j
                )
                if load[j] >= floor[j]:
                    break
            seen = upto
            picks *= 8


@nb.njit(cache=True, nogil=True)
def fill_best(row_start, provider, value, demand, capacity, share, load, slack, margin):
    """Row slack goes to the best-valued providers with spare capacity, as long as that is worth something."""
    for i in range(len(demand)):
        d = demand[i]
        while slack[i] > _IDLE * d:
            best, at = 0.0, -1
            for e in range(row_start[i], row_start[i + 1]):
                j = provider[e]
                if value[e] > best and load[j] < capacity[j] * (1.0 - margin):
                    best, at = value[e], e
            if at < 0:
                break
            j = provider[at]
            room = capacity[j] * (1.0 - margin) - load[j]
            amount = min(slack[i], room)
            share[at] += amount / d
            slack[i] -= amount
            load[j] = capacity[j] if amount >= room else load[j] + amount


@nb.njit(cache=True, nogil=True)
def _worthwhile(x, theta, v, p, tau):
    """By how much x may grow to (1 + theta) x with v - tau log(x / p) staying at least 0."""
    lift = v / tau
    if lift > 80.0:
        return theta * x
    return max(min(theta * x, p * math.exp(lift) - x), 0.0)


@nb.njit(cache=True, nogil=True)
def fill_ask(row_start, provider, value, reference, tau, demand, share, spare, slack, first, last, asked):
    """What rows with slack would give to columns with spare capacity, added to ``asked`` (m,), in visits."""
    for i in range(first, last):
        d = demand[i]
        if not slack[i] > _IDLE * d:
            continue
        held = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            if spare[provider[e]] > 0.0:
                held += share[e]
        if held > 0.0:
            theta = slack[i] / d / held
            for e in range(row_start[i], row_start[i + 1]):
                j = provider[e]
                if spare[j] > 0.0 and share[e] > 0.0:
                    asked[j] += d * _worthwhile(share[e], theta, value[e], reference[e], tau[i])


@nb.njit(cache=True, nogil=True)
def fill_give(row_start, provider, value, reference, tau, demand, share, spare, part, slack, first, last):
    """Give ``part`` (m,) of what ``fill_ask`` counted; shares in place, slack to be counted anew."""
    for i in range(first, last):
        d = demand[i]
        if not slack[i] > _IDLE * d:
            continue
        held = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            if spare[provider[e]] > 0.0:
                held += share[e]
        if held > 0.0:
            theta = slack[i] / d / held
            for e in range(row_start[i], row_start[i + 1]):
                j = provider[e]
                if spare[j] > 0.0 and share[e] > 0.0:
                    share[e] += part[j] * _worthwhile(share[e], theta, value[e], reference[e], tau[i])
