"""The best bound and the best plan so far: what every method reports to, and what it may stop for."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from footfall.acquire._certificate import believed, relative_gap
from footfall.acquire._passes import DualPoint, Passes
from footfall.acquire.conflict import LimitNames
from footfall.acquire.repair import repair
from footfall.model import Floats

Progress = Callable[[int, float, float], None]

_PATIENCE = 6  # steps without a clearly better gap, after which one that will do is taken


class OutOfTimeError(Exception):
    """The time limit has passed; never leaves ``solve``."""


class Search:
    """Offers of prices and shares make the certificate: least bound and best repaired plan."""

    def __init__(
        self,
        passes: Passes,
        names: LimitNames,
        gap: float,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        work = passes.work
        self.passes, self.names, self.wanted = passes, names, gap
        self.bound, self.objective, self.iterations = np.inf, -np.inf, 0
        self.price, self.share = np.zeros(work.m), np.zeros(len(work.value))
        self.load, self.unassigned = np.zeros(work.m), work.demand.copy()
        self._deadline, self._progress = deadline, progress
        self._best_gap, self._since = np.inf, 0

    def gap(self) -> float:
        """(bound - objective) / |bound|; 0 where they are equal to rounding."""
        return relative_gap(self.bound, self.objective, self.passes.work.scale)

    def settled(self) -> bool:
        """Whether the gap will do and has not become clearly better for a while; asked once a step."""
        gap = self.gap()
        self._since = 0 if gap < 0.5 * self._best_gap else self._since + 1
        self._best_gap = min(gap, self._best_gap)
        return gap <= self.wanted and self._since >= _PATIENCE

    def offer_price(self, price: Floats, bound: float) -> None:
        """Note an upper bound and the prices (m,) that give it."""
        if bound < self.bound and self._believed(price, bound):
            self.bound, self.price = bound, price

    def _believed(self, price: Floats, bound: float) -> bool:
        work = self.passes.work
        if believed(bound, self.passes.rounding(price), work.scale):
            return True  # else a high price may be one that only small rows see
        return work.reference is None and believed(bound, self.passes.rounding_by_rows(price), work.scale)

    def prefer_price(self, price: Floats, bound: float, cost: float) -> None:
        """Take these prices instead, if their bound is above the best by no more than ``cost`` of it."""
        most = self.bound + cost * max(abs(self.bound), 1e-9 * self.passes.work.scale)
        if bound <= most and self._believed(price, bound):
            self.price, self.bound = price, min(bound, self.bound)

    def offer_share(self, share: Floats, price: Floats, cost: float = 0.0) -> None:
        """Repair shares (E,) into a plan and note it where its objective is the best, or short by no more than
        ``cost`` of the bound; InfeasibleError where there is no plan.
        """
        work = self.passes.work
        plan, load, unassigned = repair(work, share, price, self.names, fill=work.reference is None)
        objective = self.passes.objective(plan)
        allowance = cost * max(abs(self.bound), 1e-9 * work.scale) if cost else 0.0
        if objective > self.objective - allowance:
            self.objective, self.share, self.load, self.unassigned = objective, plan, load, unassigned

    def offer_point(self, point: DualPoint, plan: bool) -> None:
        """Note the bound of a dual point and, with ``plan``, what its shares make."""
        self.offer_price(point.price, point.value if self.passes.work.reference is not None else point.plain)
        if plan:
            self.offer_share(point.share, point.price)

    def step(self) -> None:
        """Count an iteration, tell it, and stop where the time is up."""
        self.iterations += 1
        if self._progress is not None:
            self._progress(self.iterations, self.bound, self.objective if np.isfinite(self.objective) else np.nan)
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise OutOfTimeError
