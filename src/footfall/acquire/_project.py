"""A plan that misses its limits by next to nothing, brought onto all of them at once.

Where limits can only just be met, moves within one row have no room: each would break another limit. Newton's step
towards the limits that are missed, or nearly bind, moves all rows together: the least change, in parts of each edge's
visits (sum_e dy_e^2 / y_e), that puts their sums where they belong. With T = y and slack s, its system is that of the
interior point (``_interior``): matrix diag(sum_i T_i) - sum_i T_i T_i' / L_i over the limits concerned.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from footfall.acquire._coupled_repair import MET
from footfall.acquire._coupling import ByEdge, Coupling
from footfall.acquire._interior import assemble_providers
from footfall.acquire._interior_limits import assemble_limits, limit_loads, pull_by_edge
from footfall.acquire._linear import solve_positive
from footfall.acquire._work import Work
from footfall.acquire.problem import row_sums
from footfall.model import Floats

MOST = 1_500  # limits of all kinds up to which this is done
_STEPS = 8
_NEAR = 1e-6  # a limit this close to binding, in parts of what it can be at all, is held where it binds
_HELD = 1e-12  # a breach of a floor or capacity that counts as none, in parts of the visits that can reach it
_NOTHING = (0.0, 1e-9, 1e-6)  # shares that are taken for 0, tried in turn: a limit of 0 allows no rest at all
_FAR = 1e-2  # of what a sum can be at all: beyond it this is no matter of rounding


def project(work: Work, coupling: Coupling, by_edge: ByEdge, share: Floats) -> Floats | None:
    """Shares (E,) near the given ones that hold every limit; None where steps do not lead there."""
    for least in _NOTHING:
        state = _State(work, coupling, by_edge, np.where(share <= least, 0.0, share))
        for _ in range(_STEPS):
            if state.met():
                return state.shares()
            if not state.step():
                break
    return None


class _State:
    """Visits by edge, and the limits of providers and then linear ones, (m + k,): sums, bounds, what they can be."""

    def __init__(self, work: Work, coupling: Coupling, by_edge: ByEdge, share: Floats) -> None:
        self.work, self.coupling, self.by_edge = work, coupling, by_edge
        self.wide = np.repeat(work.demand, np.diff(work.row_start))
        self.most = self.wide if work.upper is None else self.wide * work.upper
        self.low = np.concatenate([work.floor, coupling.low])
        self.high = np.concatenate([work.capacity, coupling.high])
        reach = np.bincount(work.provider, self.most, minlength=work.m)
        self.span = np.concatenate([reach, np.maximum(coupling.most, 0.0) - np.minimum(coupling.least, 0.0)])
        self.flow = self.wide * share
        self._within_rows()

    def _within_rows(self) -> None:
        """No edge below 0 or beyond its cap, no row beyond its demand; then what the limits' sums are."""
        work, m = self.work, self.work.m
        self.flow = np.clip(self.flow, 0.0, self.most)
        used = row_sums(work.row_start, self.flow)
        over = np.where(used > work.demand, work.demand / np.maximum(used, 1e-300), 1.0)
        self.flow *= np.repeat(over, np.diff(work.row_start))
        self.slack = np.maximum(work.demand - row_sums(work.row_start, self.flow), 0.0)
        self.total = np.zeros(len(self.low))
        self.total[:m] = np.bincount(work.provider, self.flow, minlength=m)
        entries = self.by_edge
        limit_loads(entries.start, entries.limit, entries.weight, self.flow, self.total[m:])

    def shares(self) -> Floats:
        """The shares of these visits; 0 in rows without demand."""
        return np.divide(self.flow, self.wide, out=np.zeros(len(self.flow)), where=self.wide > 0)

    def met(self) -> bool:
        """Whether every limit holds."""
        m, breach = self.work.m, np.maximum(np.maximum(self.total - self.high, self.low - self.total), 0.0)
        _, gross = self.coupling.amounts(self.work, self.shares())
        held = 0.1 * MET * self.coupling.scale(gross)
        return bool((breach[:m] <= _HELD * self.span[:m]).all() and (breach[m:] <= held).all())

    def step(self) -> bool:
        """Move onto the limits that are missed or near; False where that cannot be."""
        work, m = self.work, self.work.m
        near = _NEAR * self.span
        aim = np.where(
            self.total <= self.low + near, self.low, np.where(self.total >= self.high - near, self.high, np.nan)
        )
        held: npt.NDArray[np.int64] = np.flatnonzero(np.isfinite(aim) & (self.span > 0))
        missing = aim[held] - self.total[held]
        if not len(held) or (np.abs(missing) > _FAR * self.span[held]).any():
            return False
        loose = np.minimum(self.flow, self.most - self.flow) if work.upper is not None else self.flow
        loose = np.maximum(loose, 1e-200)
        ratio, weight, matrix = np.empty(len(loose)), np.empty(work.n), np.empty((len(aim), len(aim)))
        one, free = np.ones(work.n), np.maximum(self.slack, 1e-200)
        assemble_providers(work.row_start, work.provider, loose, np.ones(len(loose)), free, one, ratio, weight, matrix)
        entries = self.by_edge
        assemble_limits(
            work.row_start, work.provider, free, one, ratio, weight,
            entries.start, entries.limit, entries.weight, m, matrix,
        )  # fmt: skip
        price = np.zeros(len(aim))
        price[held], _ = solve_positive(matrix[np.ix_(held, held)], missing)
        if not np.isfinite(price).all():
            return False
        pull = np.empty(len(loose))
        pull_by_edge(entries.start, entries.limit, entries.weight, price[m:], pull)
        pull += price[:m][work.provider]
        mean = row_sums(work.row_start, loose * pull) / weight
        self.flow = self.flow + loose * (pull - np.repeat(mean, np.diff(work.row_start)))
        self._within_rows()
        return True
