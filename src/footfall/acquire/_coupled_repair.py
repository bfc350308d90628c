"""A plan that holds linear limits as well: what is over, or short, moves within rows where that costs least.

Floors, capacities and share caps hold on entry and are never given up. A move takes visits of a row from one edge (or
its slack) to another (or to slack); its price is the loss of v - l - sum lambda a for each unit by which the limit
improves. Every other limit keeps what room it has.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from footfall.acquire._coupling import ByEdge, Coupling
from footfall.acquire._work import Work
from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_ROUNDS = 12  # over all limits
_INSIDE = 1e-13  # how far inside a limit a plan is brought, in parts of its scale
MET = 1e-10  # a breach that counts as none, in parts of the limit's scale


@nb.njit(cache=True, nogil=True)
def _best_moves(
    row_start, provider, gain, demand, capacity, floor, most, flow, slack, load, at, ratio, source, target, potential
):
    """The cheapest move of each row that lowers sum at x y: its edges (-1 for slack), loss and gain a visit."""
    bounded = len(most) > 0
    for i in range(len(demand)):
        ratio[i] = np.inf
        if demand[i] <= 0.0:
            continue
        tiny = 1e-12 * demand[i]
        a, b = row_start[i], row_start[i + 1]
        for s in range(a - 1, b):
            if s < a:
                if slack[i] <= tiny:
                    continue
                have, g_s, a_s = slack[i], 0.0, 0.0
            else:
                have = min(flow[s], load[provider[s]] - floor[provider[s]])
                if have <= tiny:
                    continue
                g_s, a_s = gain[s], at[s]
            for t in range(a - 1, b):
                a_t = 0.0 if t < a else at[t]
                g_t = 0.0 if t < a else gain[t]
                if t == s or a_s - a_t <= 1e-9 or (g_s - g_t) >= ratio[i] * (a_s - a_t):
                    continue
                room = have
                if t >= a:
                    room = min(room, capacity[provider[t]] - load[provider[t]])
                    if bounded:
                        room = min(room, most[t] - flow[t])
                if room <= tiny:
                    continue
                ratio[i] = (g_s - g_t) / (a_s - a_t)
                source[i] = s if s >= a else -1
                target[i] = t if t >= a else -1
                potential[i] = room * (a_s - a_t)


@nb.njit(cache=True, nogil=True)
def _add_slopes(first, limit, weight, edge, sign, slope, touched, count):
    """Add the slopes of an edge's entries, times ``sign``, to ``slope``; note which limits were touched."""
    if edge >= 0:
        for t in range(first[edge], first[edge + 1]):
            slope[limit[t]] += sign * weight[t]
            touched[count] = limit[t]
            count += 1
    return count


@nb.njit(cache=True, nogil=True)
def _apply(
    provider, capacity, floor, most, flow, slack, load, at, order, source, target, part, missing,
    first, limit, weight, low, high, total, own, slope, touched,
):  # fmt: skip
    """Make the moves in order, each up to ``part`` of what it could, until ``missing`` is made up."""
    bounded = len(most) > 0
    for i in order:
        if missing <= 0.0:
            return
        s, t = source[i], target[i]
        rate = (at[s] if s >= 0 else 0.0) - (at[t] if t >= 0 else 0.0)
        amount = slack[i] if s < 0 else min(flow[s], load[provider[s]] - floor[provider[s]])
        if t >= 0:
            amount = min(amount, capacity[provider[t]] - load[provider[t]])
            if bounded:
                amount = min(amount, most[t] - flow[t])
        amount = min(amount * part, missing / rate)
        count = _add_slopes(first, limit, weight, s, -1.0, slope, touched, 0)
        count = _add_slopes(first, limit, weight, t, 1.0, slope, touched, count)
        for q in range(count):
            k = touched[q]
            if k != own and slope[k] > 1e-12:
                amount = min(amount, max(high[k] - total[k], 0.0) / slope[k])
            elif k != own and slope[k] < -1e-12:
                amount = min(amount, max(total[k] - low[k], 0.0) / -slope[k])
        amount = max(amount, 0.0)
        for q in range(count):
            k = touched[q]
            total[k] += slope[k] * amount
            slope[k] = 0.0
        if s >= 0:
            flow[s] -= amount
            load[provider[s]] -= amount
        else:
            slack[i] -= amount
        if t >= 0:
            flow[t] += amount
            load[provider[t]] += amount
        else:
            slack[i] += amount
        missing -= amount * rate


@nb.njit(cache=True, nogil=True)
def _fill(
    row_start, provider, value, gain, demand, capacity, most, flow, slack, load, first, limit, weight, low, high, total
):
    """Row slack goes to the best v - l - sum lambda a with v > 0 that has room in its provider and in every limit."""
    bounded = len(most) > 0
    for i in range(len(demand)):
        a, b = row_start[i], row_start[i + 1]
        for _ in range(b - a):
            if slack[i] <= 1e-15 * demand[i]:
                break
            best, at, amount = -np.inf, -1, 0.0
            for e in range(a, b):
                if value[e] <= 0.0 or gain[e] <= best:
                    continue
                room = min(slack[i], capacity[provider[e]] - load[provider[e]])
                if bounded:
                    room = min(room, most[e] - flow[e])
                for t in range(first[e], first[e + 1]):
                    k = limit[t]
                    if weight[t] > 0.0:
                        room = min(room, (high[k] - total[k]) / weight[t])
                    elif weight[t] < 0.0:
                        room = min(room, (total[k] - low[k]) / -weight[t])
                if room > 1e-12 * demand[i]:
                    best, at, amount = gain[e], e, room
            if at < 0:
                break
            flow[at] += amount
            slack[i] -= amount
            load[provider[at]] += amount
            for t in range(first[at], first[at + 1]):
                total[limit[t]] += weight[t] * amount


@nb.njit(cache=True, nogil=True)
def _visits(row_start, provider, demand, share, flow, load, slack):
    load[:] = 0.0
    for i in range(len(demand)):
        used = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            flow[e] = demand[i] * share[e]
            load[provider[e]] += flow[e]
            used += flow[e]
        slack[i] = max(demand[i] - used, 0.0)


@nb.njit(cache=True, nogil=True)
def _gains(row_start, provider, value, price, gain):
    for e in range(len(value)):
        gain[e] = value[e] - price[provider[e]]


@nb.njit(cache=True, nogil=True)
def _shares(row_start, demand, upper, flow, share):
    for i in range(len(demand)):
        if demand[i] <= 0.0:
            continue
        used = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            share[e] = max(flow[e], 0.0) / demand[i]
            if len(upper) > 0:
                share[e] = min(share[e], upper[e])
            used += share[e]
        if used > 1.0:
            for e in range(row_start[i], row_start[i + 1]):
                share[e] /= used


def hold_limits(
    work: Work, coupling: Coupling, by_edge: ByEdge, value: Floats, price: Floats, share: Floats, spread: bool
) -> Floats | None:
    """Shares (E,) near the given ones, which hold rows, floors and capacities, that hold the linear limits too.

    value: (E,), the true values less the limits' prices; price: (m,). spread: moves are shared out evenly over the rows
    (right where shares are the smooth optimum of an entropy, and filling up is not); else the cheapest come first, and
    slack is filled up afterwards. None where the limits are still broken by more than MET at the end.
    """
    now = _State(work, coupling, by_edge, share)
    _gains(work.row_start, work.provider, value, price, now.gain)
    _, gross = coupling.amounts(work, share)
    changed = not spread
    for round_ in range(_ROUNDS):
        scale = coupling.scale(gross)
        broken = np.flatnonzero(coupling.breach(now.total) > 0.1 * MET * scale)
        if not len(broken):
            break
        changed = True
        for k in broken.tolist():
            _mend(now, k, spread and round_ < _ROUNDS - 2, float(scale[k]))
    if not spread:
        _fill(
            work.row_start, work.provider, work.value, now.gain, work.demand, work.capacity, now.most, now.flow,
            now.slack, now.load, by_edge.start, by_edge.limit, by_edge.weight, coupling.low, coupling.high, now.total,
        )  # fmt: skip
    if not changed:
        return share
    plan = share.copy()
    _shares(work.row_start, work.demand, np.zeros(0) if work.upper is None else work.upper, now.flow, plan)
    total, gross = coupling.amounts(work, plan)
    return plan if (coupling.breach(total) <= MET * coupling.scale(gross)).all() else None


class _State:
    """Visits on the way: by edge, the rows' slack, the providers' loads, the limits' sums."""

    def __init__(self, work: Work, coupling: Coupling, by_edge: ByEdge, share: Floats) -> None:
        self.work, self.coupling, self.by_edge = work, coupling, by_edge
        self.total, self.most = coupling.amounts(work, share)[0], work.most
        self.flow, self.load, self.slack = np.empty(len(share)), np.empty(work.m), np.empty(work.n)
        self.gain = np.empty(len(share))
        _visits(work.row_start, work.provider, work.demand, share, self.flow, self.load, self.slack)


def _mend(now: _State, k: int, spread: bool, scale: float) -> None:
    """Move visits until limit k holds, or no row has a move left."""
    work, coupling, by_edge = now.work, now.coupling, now.by_edge
    over = float(now.total[k] - coupling.high[k])
    sign = 1.0 if over > 0 else -1.0
    inside = min(_INSIDE * scale, 0.25 * float(coupling.high[k] - coupling.low[k]))
    missing = (over if over > 0 else float(coupling.low[k] - now.total[k])) + inside
    at = np.zeros(len(now.flow))
    here = slice(coupling.start[k], coupling.start[k + 1])
    at[coupling.edge[here]] = sign * coupling.weight[here]
    ratio, potential = np.full(work.n, np.inf), np.zeros(work.n)
    source, target = np.full(work.n, -1, dtype=np.int64), np.full(work.n, -1, dtype=np.int64)
    _best_moves(
        work.row_start, work.provider, now.gain, work.demand, work.capacity, work.floor, now.most, now.flow, now.slack,
        now.load, at, ratio, source, target, potential,
    )  # fmt: skip
    rows, part = np.flatnonzero(np.isfinite(ratio)), 1.0
    if spread:
        part = min(1.0, 1.05 * missing / max(float(potential[rows].sum()), 1e-300))
    else:
        rows = rows[np.argsort(ratio[rows], kind="stable")]
    widest = int(np.diff(by_edge.start).max(initial=0))
    _apply(
        work.provider, work.capacity, work.floor, now.most, now.flow, now.slack, now.load, at, rows, source, target,
        part, missing, by_edge.start, by_edge.limit, by_edge.weight, coupling.low, coupling.high, now.total, k,
        np.zeros(coupling.k), np.zeros(2 * widest + 1, dtype=np.int64),
    )  # fmt: skip
