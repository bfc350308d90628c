"""Passes over rows of the allocation problem: arrays in, loads and partial sums out.

Every kernel works on the rows ``first:last`` of a CSR block and adds into the arrays it is given, so that blocks can
run in threads (nogil) and, later, on other machines. Sums are float64 whatever the type of the values.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

# mypy: disable-error-code="no-untyped-def,untyped-decorator"


@nb.njit(cache=True, nogil=True)
def size_rows(row_start, provider, value, demand, price, first, last):
    """Sum over rows of d max_j (|v_ij| + |l_j|): the size of what ``bound_rows`` adds up."""
    total = 0.0
    for i in range(first, last):
        most = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            most = max(most, abs(value[e]) + abs(price[provider[e]]))
        total += demand[i] * most
    return total


@nb.njit(cache=True, nogil=True)
def bound_rows(row_start, provider, value, demand, price, first, last):
    """Sum of d_i max(0, max_j (v_ij - l_j)): the rows' part of the plain programme's dual H(l)."""
    total = 0.0
    for i in range(first, last):
        best = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            best = max(best, value[e] - price[provider[e]])
        total += demand[i] * best
    return total


@nb.njit(cache=True, nogil=True)
def ridge_rows(row_start, provider, value, demand, price, ridge, first, last, share, load, steep):
    """Rows of max (v - l).x - ridge/2 |x|^2 over x >= 0, sum x <= 1; returns (ridge dual, plain dual) parts.

    The maximiser is (a - t)_+ / ridge with a = v - l and t >= 0 from the projection onto the simplex (Michelot 1986).
    Only edges within ``ridge`` of the row's best can carry anything. Writes ``share``, adds d x to ``load`` and
    d / ridge where x > 0 to ``steep``, a diagonal above the dual's Hessian.
    """
    smooth = 0.0
    plain = 0.0
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        best = 0.0
        for e in range(a, b):
            best = max(best, value[e] - price[provider[e]])
        plain += demand[i] * best
        if best <= 0.0:
            share[a:b] = 0.0
            continue
        level = max(best - ridge, 0.0)
        count = -1
        while True:
            total, above = 0.0, 0
            for e in range(a, b):
                gain = value[e] - price[provider[e]]
                if gain > level:
                    total += gain
                    above += 1
            if above == count or above == 0:
                break
            count = above
            level = max(level, (total - ridge) / above)
        gained = 0.0
        for e in range(a, b):
            gain = value[e] - price[provider[e]]
            x = max(gain - level, 0.0) / ridge
            share[e] = x
            if x > 0.0:
                gained += x * (gain - 0.5 * ridge * x)
                load[provider[e]] += demand[i] * x
                steep[provider[e]] += demand[i] / ridge
        smooth += demand[i] * gained
    return smooth, plain


@nb.njit(cache=True, nogil=True)
def entropy_rows(row_start, provider, value, reference, tau, mass, demand, price, first, last, share, load, steep):
    """Rows of max sum x (v - l) - tau sum (x log(x/p) - x + p) over x >= 0, sum x <= 1; returns the dual's part.

    x = p exp((v - l)/tau) / max(1, S), S = sum p exp((v - l)/tau); the row's value is tau (log S + 1 - mass) where
    S >= 1, else tau (S - mass), with mass = sum p (1 up to rounding). Writes ``share``, adds d x to ``load`` and
    d x / tau to ``steep``, a diagonal above the dual's Hessian.
    """
    dual = 0.0
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        top = -np.inf
        for e in range(a, b):
            if reference[e] > 0.0:
                top = max(top, (value[e] - price[provider[e]]) / tau[i])
        if top == -np.inf:
            share[a:b] = 0.0
            dual -= demand[i] * tau[i] * mass[i]
            continue
        total = 0.0
        for e in range(a, b):
            x = 0.0
            if reference[e] > 0.0:
                x = reference[e] * math.exp((value[e] - price[provider[e]]) / tau[i] - top)
            share[e] = x
            total += x
        log_s = top + math.log(total)
        scale = 1.0 / total if log_s >= 0.0 else math.exp(top)
        for e in range(a, b):
            share[e] *= scale
            load[provider[e]] += demand[i] * share[e]
            steep[provider[e]] += demand[i] * share[e] / tau[i]
        worth = log_s + 1.0 - mass[i] if log_s >= 0.0 else math.exp(log_s) - mass[i]
        dual += demand[i] * tau[i] * worth
    return dual


@nb.njit(cache=True, nogil=True)
def entropy_curvature(row_start, provider, tau, demand, share, full, curvature):
    """Add the dual's Hessian, sum_i d_i/tau_i (diag x_i - [row full] x_i x_i'), to ``curvature`` (m, m), lower part."""
    for i in range(len(demand)):
        if demand[i] <= 0.0:
            continue
        weight = demand[i] / tau[i]
        for e in range(row_start[i], row_start[i + 1]):
            j = provider[e]
            curvature[j, j] += weight * share[e]
            if full[i] and share[e] > 0.0:
                w = weight * share[e]
                for k in range(row_start[i], row_start[i + 1]):
                    if provider[k] <= j:
                        curvature[j, provider[k]] -= w * share[k]


@nb.njit(cache=True, nogil=True)
def worth_rows(row_start, value, demand, share, first, last):
    """Sum of d_i x_ij v_ij: plain reward of the rows."""
    total = 0.0
    for i in range(first, last):
        row = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            row += np.float64(share[e]) * value[e]
        total += demand[i] * row
    return total


@nb.njit(cache=True, nogil=True)
def divergence_rows(row_start, reference, tau, demand, share, first, last):
    """Sum of d_i tau_i (x log(x/p) - x + p): what departing from the reference costs; inf where x > 0 = p."""
    total = 0.0
    for i in range(first, last):
        row = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            x, p = share[e], reference[e]
            if x > 0.0:
                if p <= 0.0:
                    return np.inf
                row += x * math.log(x / p)
            row += p - x
        total += demand[i] * tau[i] * row
    return total


@nb.njit(cache=True, nogil=True)
def load_rows(row_start, provider, demand, share, first, last, load, used):
    """Add d x to ``load`` (m,), and write the rows' sums of x to ``used`` (n,)."""
    for i in range(first, last):
        row = 0.0
        for e in range(row_start[i], row_start[i + 1]):
            row += share[e]
            load[provider[e]] += demand[i] * share[e]
        used[i] = row


@nb.njit(cache=True, nogil=True)
def best_edge_rows(row_start, provider, value, price, first, last, share):
    """Put the whole row on its best edge by v - l where that is positive; for rows without demand."""
    for i in range(first, last):
        best, at = 0.0, -1
        for e in range(row_start[i], row_start[i + 1]):
            share[e] = 0.0
            gain = value[e] - price[provider[e]]
            if gain > best:
                best, at = gain, e
        if at >= 0:
            share[at] = 1.0


@nb.njit(cache=True, nogil=True)
def transpose(row_start, provider, providers):
    """Columns of a CSR block: (column_start int64 (m + 1,), row int32 (E,), edge int64 (E,)), rows ascending."""
    start = np.zeros(providers + 1, dtype=np.int64)
    for e in range(len(provider)):
        start[provider[e] + 1] += 1
    for j in range(providers):
        start[j + 1] += start[j]
    place = start[:-1].copy()
    row = np.empty(len(provider), dtype=np.int32)
    edge = np.empty(len(provider), dtype=np.int64)
    for i in range(len(row_start) - 1):
        for e in range(row_start[i], row_start[i + 1]):
            at = place[provider[e]]
            row[at] = i
            edge[at] = e
            place[provider[e]] = at + 1
    return start, row, edge
