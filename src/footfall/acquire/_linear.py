"""Dense positive definite systems: scaled Cholesky with a lift of the diagonal where rounding asks for it.

The factor is our own and runs on the calling thread: a threaded BLAS is a thousand times slower on small matrices
when its threads wait for busy cores, and its sums depend on their number.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_TILE = 48  # rows that stay in the cache together


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _factor(a):
    """Cholesky factor in place of the lower part of ``a``; False where a pivot is not positive."""
    m = len(a)
    for top in range(0, m, _TILE):
        below = min(top + _TILE, m)
        for left in range(0, below, _TILE):
            right = min(left + _TILE, m)
            for j in range(top, below):
                for i in range(left, min(right, j + 1)):
                    total = 0.0
                    for k in range(i):
                        total += a[j, k] * a[i, k]
                    if i < j:
                        a[j, i] = (a[j, i] - total) / a[i, i]
                    elif a[j, j] - total > 0.0:
                        a[j, j] = math.sqrt(a[j, j] - total)
                    else:
                        return False
    return True


@nb.njit(cache=True, nogil=True)
def _substitute(lower, right):
    """Solve L L' x = right for lower-triangular L, in place."""
    m = len(right)
    for j in range(m):
        total = right[j]
        for k in range(j):
            total -= lower[j, k] * right[k]
        right[j] = total / lower[j, j]
    for j in range(m - 1, -1, -1):
        right[j] /= lower[j, j]
        for k in range(j):
            right[k] -= lower[j, k] * right[j]


def solve_positive(matrix: Floats, right: Floats, lower: Floats | None = None) -> tuple[Floats, Floats]:
    """Solution of a positive semi-definite system (its lower part given, (m, m)) and its Cholesky factor.

    ``lower``: the factor of an earlier call with the same matrix. The diagonal is scaled to 1 and, where rounding has
    left the matrix indefinite, lifted by as little as will do.
    """
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(matrix), 1e-300))
    if lower is None:
        lift = 1e-15
        while True:
            lower = matrix * scale[:, None]
            lower *= scale
            np.fill_diagonal(lower, 1.0 + lift)
            if _factor(lower):
                break
            if not np.isfinite(lower).all():
                return np.full(len(right), np.nan), lower
            lift *= 100
    answer = right * scale
    _substitute(lower, answer)
    return answer * scale, lower
