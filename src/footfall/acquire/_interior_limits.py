"""The interior point's passes over the entries of linear limits: those of edge e are ``first[e]:first[e + 1]``."""

from __future__ import annotations

import numba as nb
import numpy as np

# mypy: disable-error-code="no-untyped-def,untyped-decorator"


@nb.njit(cache=True, nogil=True)
def assemble_limits(row_start, provider, slack, lam, ratio, row_weight, first, limit, weight, providers, matrix):
    """The limits' rows of the matrix (lower part), below those of the providers; centred, so that nothing cancels."""
    k = len(matrix) - providers
    mean, at, touched = np.zeros(k), np.zeros(k), np.empty(k, dtype=np.int64)
    for i in range(len(row_weight)):
        a, b = row_start[i], row_start[i + 1]
        count, left = 0, slack[i] / lam[i]
        for e in range(a, b):
            for t in range(first[e], first[e + 1]):
                if mean[limit[t]] == 0.0 and at[limit[t]] == 0.0:
                    touched[count] = limit[t]
                    at[limit[t]] = 1.0
                    count += 1
                mean[limit[t]] += ratio[e] * weight[t] / row_weight[i]
        for e in range(a, b):
            for s in range(count):
                at[touched[s]] = -mean[touched[s]]
            for t in range(first[e], first[e + 1]):
                at[limit[t]] += weight[t]
            for s in range(count):
                r = touched[s]
                matrix[providers + r, provider[e]] += ratio[e] * at[r]
                for q in range(count):
                    if touched[q] <= r:
                        matrix[providers + r, providers + touched[q]] += ratio[e] * at[r] * at[touched[q]]
        for s in range(count):
            for q in range(count):
                if touched[q] <= touched[s]:
                    matrix[providers + touched[s], providers + touched[q]] += left * mean[touched[s]] * mean[touched[q]]
        for s in range(count):
            mean[touched[s]] = 0.0
            at[touched[s]] = 0.0


@nb.njit(cache=True, nogil=True)
def limit_terms(row_start, aim, stiff, ratio, dual_gap, part, row_weight, first, limit, weight, terms):
    """The limits' right sides after elimination into ``terms`` (k,)."""
    terms[:] = 0.0
    for i in range(len(part)):
        for e in range(row_start[i], row_start[i + 1]):
            mine = aim[e] / stiff[e] - ratio[e] * dual_gap[e] - ratio[e] * part[i] / row_weight[i]
            for t in range(first[e], first[e + 1]):
                terms[limit[t]] += mine * weight[t]


@nb.njit(cache=True, nogil=True)
def pull_by_edge(first, limit, weight, price, out):
    """Sum over limits of price x coefficient, by edge, into ``out`` (E,)."""
    for e in range(len(out)):
        out[e] = 0.0
        for t in range(first[e], first[e + 1]):
            out[e] += price[limit[t]] * weight[t]


@nb.njit(cache=True, nogil=True)
def limit_loads(first, limit, weight, flow, load):
    """Add the edges' visits times coefficients to ``load`` (k,)."""
    for e in range(len(flow)):
        for t in range(first[e], first[e + 1]):
            load[limit[t]] += flow[e] * weight[t]
