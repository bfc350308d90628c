"""Rows whose shares have upper bounds u: the passes of ``kernels`` for problems with ``upper``.

A row's dual has one more variable, the level t >= 0 of its sum: min over t of t + sum_e max over 0 <= x_e <= u_e of
x_e (v_e - l_e - t) - (its ridge or entropy). Every t gives an upper bound of the row, so a level that is off by
rounding leaves the certificate valid.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_PICKS = 8  # of the best gains of a row that are looked for one by one, before all are sorted


@nb.njit(cache=True, nogil=True)
def _knapsack_level(gain, upper):
    """The level t of max gain.x over 0 <= x <= upper, sum x <= 1: best gains first (Dantzig 1957), the last to fit."""
    room, level = 1.0, np.inf
    for _ in range(_PICKS):  # a few of the best mostly fill the row, without a sort
        best, width = 0.0, 0.0
        for k in range(len(gain)):
            if best < gain[k] < level:
                best, width = gain[k], upper[k]
            elif gain[k] == best:
                width += upper[k]
        if best <= 0.0:
            return 0.0
        level = best
        room -= width
        if room <= 0.0:
            return level
    room = 1.0
    for k in np.argsort(-gain):
        if gain[k] <= 0.0:
            break
        room -= upper[k]
        if room <= 0.0:
            return gain[k]
    return 0.0


@nb.njit(cache=True, nogil=True)
def _knapsack(gain, upper, level):
    """The knapsack's dual at a level: for any one at least its optimum."""
    total = level
    for k in range(len(gain)):
        if gain[k] > level:
            total += upper[k] * (gain[k] - level)
    return total


@nb.njit(cache=True, nogil=True)
def bound_rows(row_start, provider, value, upper, demand, price, first, last):
    """The rows' part of the plain programme's dual H(l): d_i times a fractional knapsack."""
    total = 0.0
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        gain = np.empty(b - a)
        for e in range(a, b):
            gain[e - a] = value[e] - price[provider[e]]
        total += demand[i] * _knapsack(gain, upper[a:b], _knapsack_level(gain, upper[a:b]))
    return total


@nb.njit(cache=True, nogil=True)
def best_rows(row_start, provider, value, upper, price, first, last, share):
    """Fill each row in the order of v - l where that is positive; for rows without demand."""
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        gain = np.empty(b - a)
        for e in range(a, b):
            share[e] = 0.0
            gain[e - a] = value[e] - price[provider[e]]
        room = 1.0
        for k in np.argsort(-gain):
            if gain[k] <= 0.0 or room <= 0.0:
                break
            share[a + k] = min(upper[a + k], room)
            room -= share[a + k]


@nb.njit(cache=True, nogil=True)
def _ridge_level(gain, upper, ridge, highest):
    """The least t >= 0 with sum clip((gain - t) / ridge, 0, upper) <= 1: Newton between shrinking ends.

    It is at most the knapsack's level ``highest``, above which upper bounds alone do not fill the row, and at least
    that less the ridge, where every gain from that level on is at its bound.
    """
    low, high = max(highest - ridge, 0.0), highest
    t = low
    for _ in range(100):
        total, slope = 0.0, 0.0
        for k in range(len(gain)):
            x = (gain[k] - t) / ridge
            if x >= upper[k]:
                total += upper[k]
            elif x > 0.0:
                total += x
                slope += 1.0 / ridge
        if total > 1.0:
            low = t
        else:
            high = t
        if (t == low and total <= 1.0) or abs(total - 1.0) <= 1e-14 or high - low <= 1e-16 * high:
            break
        t = t + (total - 1.0) / slope if slope > 0.0 else -1.0
        if not low < t < high:
            t = 0.5 * (low + high)
    return t


@nb.njit(cache=True, nogil=True)
def ridge_rows(row_start, provider, value, upper, demand, price, ridge, first, last, share, load, steep):
    """Rows of max (v - l).x - ridge/2 |x|^2 over 0 <= x <= upper, sum x <= 1; as ``kernels.ridge_rows``."""
    smooth = 0.0
    plain = 0.0
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        if a == b:
            continue
        gain = np.empty(b - a)
        for e in range(a, b):
            gain[e - a] = value[e] - price[provider[e]]
        level = _knapsack_level(gain, upper[a:b])
        plain += demand[i] * _knapsack(gain, upper[a:b], level)
        level = _ridge_level(gain, upper[a:b], ridge, level)
        gained = 0.0
        for e in range(a, b):
            x = (gain[e - a] - level) / ridge
            share[e] = max(min(x, upper[e]), 0.0)
            if x > 0.0:
                gained += share[e] * (gain[e - a] - 0.5 * ridge * share[e])
                load[provider[e]] += demand[i] * share[e]
                if x < upper[e]:
                    steep[provider[e]] += demand[i] / ridge
        smooth += demand[i] * gained
    return smooth, plain


@nb.njit(cache=True, nogil=True)
def entropy_row(lift, reference, upper, share):
    """Shares min(u, p exp(lift) / z), z >= 1 the least with a row sum of at most 1, into ``share``; returns log z.

    Edges beyond their bound are fixed there and the rest weighed anew: z only falls, so that no fixed edge comes back.
    Each round takes its own largest exponent, so that no edge is lost to underflow beside one at its bound.
    """
    share[:] = 0.0
    room, log_z = 1.0, np.inf
    while True:
        top = -np.inf
        for k in range(len(lift)):
            if share[k] == 0.0 and reference[k] > 0.0:
                top = max(top, lift[k])
        if top == -np.inf:
            return 0.0
        total = 0.0
        for k in range(len(lift)):
            if share[k] == 0.0 and reference[k] > 0.0:
                total += reference[k] * math.exp(lift[k] - top)
        # bounds that fill the row leave no room, but for rounding
        log_z = min(log_z, max(top + math.log(total) - math.log(max(room, 1e-17)), 0.0))
        more = False
        for k in range(len(lift)):
            if share[k] == 0.0 and reference[k] > 0.0 and reference[k] * math.exp(lift[k] - log_z) > upper[k]:
                share[k] = upper[k]
                room -= upper[k]
                more = True
        if not more:
            for k in range(len(lift)):
                if share[k] == 0.0 and reference[k] > 0.0:
                    share[k] = reference[k] * math.exp(lift[k] - log_z)
            return log_z


@nb.njit(cache=True, nogil=True)
def entropy_rows(
    row_start, provider, value, reference, upper, tau, mass, demand, price, first, last, share, load, steep
):
    """Rows of the entropic programme with x <= upper; as ``kernels.entropy_rows``.

    The row's value is the dual at t = tau log z: t + sum of tau x where x is free, of x (v - l - t) -
    tau (x log(x/p) - x) where it is at its bound, less tau x mass.
    """
    dual = 0.0
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        lift = np.empty(b - a)
        for e in range(a, b):
            lift[e - a] = (value[e] - price[provider[e]]) / tau[i]
        log_z = entropy_row(lift, reference[a:b], upper[a:b], share[a:b])
        worth = log_z - mass[i]
        for e in range(a, b):
            x = share[e]
            if x <= 0.0:
                continue
            load[provider[e]] += demand[i] * x
            if x >= upper[e]:
                worth += x * (lift[e - a] - log_z - math.log(x / reference[e]) + 1.0)
            else:
                worth += x
                steep[provider[e]] += demand[i] * x / tau[i]
        dual += demand[i] * tau[i] * worth
    return dual


@nb.njit(cache=True, nogil=True)
def entropy_curvature(row_start, provider, tau, demand, upper, share, full, curvature):
    """Add the dual's Hessian, sum_i d_i/tau_i (diag x_i - [row full] x_i x_i' / sum x_i) over the shares below their
    bounds, to ``curvature`` (m, m), lower part.
    """
    for i in range(len(demand)):
        if demand[i] <= 0.0:
            continue
        weight, free = demand[i] / tau[i], 0.0
        for e in range(row_start[i], row_start[i + 1]):
            if share[e] < upper[e]:
                free += share[e]
        for e in range(row_start[i], row_start[i + 1]):
            if share[e] <= 0.0 or share[e] >= upper[e]:
                continue
            j = provider[e]
            curvature[j, j] += weight * share[e]
            if full[i]:
                w = weight * share[e] / free
                for k in range(row_start[i], row_start[i + 1]):
                    if provider[k] <= j and share[k] < upper[k]:
                        curvature[j, provider[k]] -= w * share[k]
