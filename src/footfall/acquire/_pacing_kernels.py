"""Loads of live decisions at moved prices: arrays in, arrays out."""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from footfall.acquire._live_kernels import within_caps

# mypy: disable-error-code="no-untyped-def,untyped-decorator"


@nb.njit(cache=True, nogil=True)
def loads(row_start, provider, share, cap, pin, free, room, visits, tau, explore, offset, load, steep):
    """Add each provider's visits to ``load`` (m,), and visits x share / tau to ``steep`` (m,): how they fall by price.

    share, cap, pin: float64 (E,); free: bool (E,); visits, tau: float64 (n,), visits and reward per visit; offset:
    float64 (m,), reward per visit. The form is that of ``live.Rows`` under ``_live_kernels.draw`` with all of a
    segment's pairs eligible: pins first, of the rest a part ``explore`` evenly. room: float64 (n,), how far the sum of
    the weights may fall until the plan would rather leave visits unassigned: without it prices have no level where
    all capacities bind.
    """
    for i in range(len(visits)):
        a, b = row_start[i], row_start[i + 1]
        if visits[i] <= 0.0 or b == a:
            continue
        pins, count = 0.0, 0
        for e in range(a, b):
            pins += pin[e]
            count += free[e]
        mass = max(1.0 - pins, 0.0)
        weight, most, out = np.empty(count), np.empty(count), np.zeros(count)
        k = 0
        for e in range(a, b):
            if free[e]:
                weight[k] = share[e] * math.exp(-offset[provider[e]] / tau[i])
                most[k] = cap[e]
                k += 1
        within_caps(weight, most, mass, out)
        total = out.sum()
        served = mass * min(1.0, room[i] * weight.sum() / mass) if mass > 0.0 else 0.0
        k = 0
        for e in range(a, b):
            if free[e]:
                part = served * out[k] / total if total > 0.0 else 0.0
                k += 1
                load[provider[e]] += visits[i] * ((1.0 - explore) * part + explore * mass / count)
                steep[provider[e]] += visits[i] * part / tau[i]
            else:
                load[provider[e]] += visits[i] * pin[e]
