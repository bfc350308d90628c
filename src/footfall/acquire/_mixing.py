"""The best mix of a few plans under a few limits: a tiny linear programme, by the simplex method.

    maximise  sum_t w_t r_t - sum_r most_r over_r + sum_r least_r left_r
    subject to  sum_t w_t = 1,   sum_t w_t g_rt - over_r + left_r = b_r,   w, over, left >= 0

Its dual has a price y_r in [least_r, most_r] for each limit: the least of cuts within a box. Any one plan, with what it
is over or leaves, is a basis to begin from. Dense, exact to rounding, and meant for tens of plans and limits (Dantzig
1951; Bland's rule, 1977, where it takes long).
"""

from __future__ import annotations

import numpy as np

from footfall.model import Floats

_MOST_STEPS = 2000
_PATIENT = 200  # steps by the steepest gain, before those that cannot cycle


def mix(reward: Floats, amount: Floats, bound: Floats, least: Floats, most: Floats) -> tuple[Floats, Floats]:
    """Weights of the plans (t,), which sum to 1, and prices of the limits (r,).

    reward: (t,). amount: (r, t). bound, least, most: (r,), 0 <= least <= most, all finite.
    """
    limits, plans = amount.shape
    size = np.maximum(np.abs(amount).max(axis=1, initial=0.0), np.maximum(np.abs(bound), 1e-300))
    worth = max(float(np.ptp(reward)), 1e-9 * float(np.abs(reward).max(initial=0.0)), 1e-300)
    start = int(np.argmax(reward))
    value = np.concatenate([(reward - reward[start]) / worth, -most * size / worth, least * size / worth])
    columns = np.zeros((limits + 1, plans + 2 * limits))
    columns[0, :plans] = 1.0
    columns[1:, :plans] = amount / size[:, None]
    columns[1:, plans : plans + limits] = -np.eye(limits)
    columns[1:, plans + limits :] = np.eye(limits)
    right = np.concatenate([[1.0], bound / size])
    left = right[1:] - columns[1:, start]
    basis = np.concatenate([[start], plans + np.arange(limits) + np.where(left >= 0, limits, 0)]).astype(np.int64)
    price = np.zeros(limits + 1)
    for step in range(_MOST_STEPS):
        matrix = columns[:, basis]
        at = np.linalg.solve(matrix, right)
        price = np.linalg.solve(matrix.T, value[basis])
        gain = value - price @ columns
        gain[basis] = 0.0
        entering = np.flatnonzero(gain > 1e-11 * max(float(np.abs(value).max()), 1.0))
        if not len(entering):
            break
        enter = int(entering[np.argmax(gain[entering])] if step < _PATIENT else entering[0])
        move = np.linalg.solve(matrix, columns[:, enter])
        up = np.flatnonzero(move > 1e-12)
        if not len(up):
            break
        ratio = np.maximum(at[up], 0.0) / move[up]
        ties = up[ratio <= ratio.min() * (1 + 1e-12) + 1e-300]
        basis[ties[np.argmin(basis[ties])]] = enter
    at = np.linalg.solve(columns[:, basis], right)
    weights = np.zeros(plans + 2 * limits)
    weights[basis] = np.maximum(at, 0.0)
    return weights[:plans] / max(float(weights[:plans].sum()), 1e-300), price[1:] * worth / size
