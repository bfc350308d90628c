"""Problems with linear limits: the certificate, and the methods that work towards it.

Prices are those of the providers, then those of the limits, (m + k,). Every kernel sees values less the limits' prices;
so each price vector still gives an upper bound, and each plan that holds all limits a lower one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

import numpy as np

from footfall.acquire import kernels
from footfall.acquire._certificate import believed, relative_gap
from footfall.acquire._coupled_repair import hold_limits
from footfall.acquire._coupling import Coupling
from footfall.acquire._passes import DualPoint, Passes
from footfall.acquire._project import MOST as MOST_HELD
from footfall.acquire._project import project
from footfall.acquire._work import Work
from footfall.acquire.conflict import LimitNames
from footfall.acquire.repair import repair
from footfall.model import Floats

Progress = Callable[[int, float, float], None]

_PATIENCE = 6  # steps without a clearly better gap, after which one that will do is taken


class OverTimeError(Exception):
    """The time limit has passed; never leaves the solver."""


class CoupledSearch:
    """The best bound and the best plan so far, for a work with linear limits; a context manager that owns threads."""

    def __init__(
        self,
        work: Work,
        coupling: Coupling,
        names: LimitNames,
        gap: float,
        threads: int | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.work, self.coupling, self.names, self.wanted = work, coupling, names, gap
        self.shifted = np.array(work.value, dtype=np.float64)
        self.passes = Passes(replace(work, value=self.shifted), threads)
        self.by_edge = coupling.by_edge(len(work.value))
        self.bound, self.objective, self.iterations = np.inf, -np.inf, 0
        self.price, self.share = np.zeros(work.m + coupling.k), np.zeros(len(work.value))
        self._deadline, self._progress = deadline, progress
        self._best_gap, self._since = np.inf, 0

    def __enter__(self) -> CoupledSearch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.passes.__exit__(kind, error, at)

    @property
    def found(self) -> bool:
        """Whether any plan was found that holds every limit."""
        return bool(np.isfinite(self.objective))

    def gap(self) -> float:
        """(bound - objective) / |bound|; 0 where they are equal to rounding."""
        return relative_gap(self.bound, self.objective, self.work.scale)

    def settled(self) -> bool:
        """Whether the gap will do and has not become clearly better for a while; asked once a step."""
        gap = self.gap()
        self._since = 0 if gap < 0.5 * self._best_gap else self._since + 1
        self._best_gap = min(gap, self._best_gap)
        return gap <= self.wanted and self._since >= _PATIENCE

    def allowed(self, price: Floats) -> Floats:
        """The nearest prices whose bound is finite."""
        m = self.work.m
        return np.concatenate([self.passes.allowed(price[:m]), self.coupling.allowed(price[m:])])

    def look_at(self, price: Floats) -> Floats:
        """Let the passes see values less these limits' prices; the providers' prices (m,)."""
        m = self.work.m
        self.coupling.shifted(self.work.value, price[m:], self.shifted)
        return price[:m]

    def entropy(self, price: Floats) -> DualPoint:
        """The entropic dual at prices (m + k,), the limits' part included."""
        point = self.passes.entropy(self.look_at(price), self.work.tau)
        return replace(point, price=price, value=point.value + self.coupling.worth(price[self.work.m :]))

    def ridge(self, price: Floats, ridge: float) -> DualPoint:
        """The plain dual with a ridge, likewise."""
        point, worth = self.passes.ridge(self.look_at(price), ridge), self.coupling.worth(price[self.work.m :])
        return replace(point, price=price, value=point.value + worth, plain=point.plain + worth)

    def plain_bound(self, price: Floats) -> float:
        """H at prices (m + k,)."""
        return self.passes.bound(self.look_at(price)) + self.coupling.worth(price[self.work.m :])

    def worth(self, share: Floats) -> float:
        """What the programme maximises, for shares (E,)."""
        w = self.work
        total = float(kernels.worth_rows(w.row_start, w.value, w.demand, share, 0, w.n))
        if w.reference is None:
            return total
        cost = kernels.divergence_rows(w.row_start, w.reference, w.tau, w.demand, share, 0, w.n)
        return total - float(cost) - w.left_out

    def offer_price(self, price: Floats, bound: float) -> None:
        """Note an upper bound and its prices."""
        if bound < self.bound and self._believed(price, bound):
            self.bound, self.price = bound, price

    def _believed(self, price: Floats, bound: float) -> bool:
        mine, limits = price[: self.work.m], price[self.work.m :]
        noise = self.passes.rounding(mine, float(np.abs(limits).sum())) + self.coupling.rounding(limits)
        return believed(bound, noise, self.work.scale)

    def prefer(self, price: Floats, bound: float, cost: float) -> bool:
        """Take these prices if their bound is above the best by no more than ``cost`` of it."""
        most = self.bound + cost * max(abs(self.bound), 1e-9 * self.work.scale)
        if bound > most or not self._believed(price, bound):
            return False
        self.price, self.bound = price, min(bound, self.bound)
        return True

    def offer_share(self, share: Floats, price: Floats, cost: float = 0.0) -> bool:
        """Make shares (E,) a plan and note it where it is the best, or short by no more than ``cost`` of the bound.

        False where that failed. Raises InfeasibleError where floors alone cannot all be met.
        """
        provider_price, entropic = self.look_at(price), self.work.reference is not None
        plan, _, _ = repair(self.passes.work, share, provider_price, self.names, fill=False)
        held = hold_limits(self.work, self.coupling, self.by_edge, self.shifted, provider_price, plan, spread=entropic)
        found = held is not None and self._note(held, cost)
        if (not found or self.gap() > self.wanted) and self.work.m + self.coupling.k <= MOST_HELD:
            moved = project(self.work, self.coupling, self.by_edge, share)
            found |= moved is not None and self._note(moved, cost)
        return found

    def _note(self, plan: Floats, cost: float) -> bool:
        """Note a plan that holds all limits."""
        objective = self.worth(plan)
        allowance = cost * max(abs(self.bound), 1e-9 * self.work.scale) if cost else 0.0
        if objective > self.objective - allowance:
            self.objective, self.share = objective, plan
        return True

    def step(self) -> None:
        """Count an iteration, tell it, and stop where the time is up."""
        self.iterations += 1
        if self._progress is not None:
            self._progress(self.iterations, self.bound, self.objective if self.found else np.nan)
        self.tick()

    def tick(self) -> None:
        """Stop where the time is up."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise OverTimeError
