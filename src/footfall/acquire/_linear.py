"""Dense positive definite systems: scaled Cholesky with a lift of the diagonal where rounding asks for it."""

from __future__ import annotations

import numba as nb
import numpy as np

from footfall.model import Floats

# mypy: disable-error-code="no-untyped-def,untyped-decorator"


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
        scaled = matrix * scale[:, None] * scale
        lift = 1e-15
        while True:
            np.fill_diagonal(scaled, 1.0 + lift)
            try:
                lower = np.linalg.cholesky(scaled)
                break
            except np.linalg.LinAlgError:
                lift *= 100
    answer = right * scale
    _substitute(lower, answer)
    return answer * scale, lower
