"""Many edges at inertia > 0: accelerated multiplicative steps on the dual, quick passes, exact certificates.

Most passes run in float32 (``_entropy_kernels``) and only steer; bounds and plans come from passes in float64. Held
beside the problem: one float64 share an edge and some numbers a row. How and why stands in docs/solver.md, "Entropy at
scale".
"""

from __future__ import annotations

import time

import numpy as np

from footfall.acquire._certificate import believed, relative_gap
from footfall.acquire._entropic_newton import Newton, descend
from footfall.acquire._entropy_market import Dual, Market
from footfall.acquire._mend import Mended, mend, settle
from footfall.acquire._ridge_plan import allocate, suits
from footfall.acquire._search import OutOfTimeError, Progress
from footfall.acquire._work import entropic_work
from footfall.acquire.conflict import LimitNames
from footfall.acquire.problem import Allocation, Problem, Status
from footfall.model import Floats

_MOST_PASSES = 6_000
_FRESH = 6  # passes for which the dual's curvature is taken as known
_LONGEST = 4.0  # of a step, in parts of 1 / curvature: a factor e^4 of load
_SURE = 0.8  # a plan is tried once loads miss their aims by this part of the gap wanted
_TRIES = 25  # passes after which a plan is tried in any case; then twice as many, and so on
_SLOW = 100  # passes from which on these tries begin with Newton's steps
_NEWTON = 200.0  # exact passes that these may take at least; else as many as there were
_QUICK_NOISE, _EXACT_NOISE = 1e-8, 1e-14  # of the dual: rises that are rounding
_WELL_BOUND, _ROUGH = 1_000_000, 1e-2  # edges up to which the plain bound is as good as the gap; how good beyond
_FINEST = 2e-6  # gap of the plain programme that single precision is worth trying for
_HALVINGS = 30  # of the interval of shifts
_WAIT = 4  # passes
_FAR = 1e-3  # of all visits below floors
_FAILURES = 3  # returns to the best prices in a row, before steps are doubted
_BLUR = 1e-8  # of the bound: aims that quick passes cannot see
_STIFFEST = 2.0**24  # multiplier of the curvature at which steps lead nowhere


class Prices:
    """Prices under way: multiplicative steps with Nesterov's momentum, checked for descent.

    A step moves price j to where the load, taken as s_j exp(-rate_j (l - l_j)), meets the capacity or the floor.
    """

    def __init__(self, market: Market, start: Floats) -> None:
        self.market = market
        self.last = self.point = self.best = start
        self.best_at, self.value, self.before = Dual(np.inf, start, start, 0.0), np.inf, np.inf
        self.t, self.stiff, self.plain, self.shifted = 1.0, 1.0, False, False
        self.failed = 0  # returns to the best since it was found
        self.quiet, self.patience = _WAIT, _WAIT  # passes before a shift is tried, and after one has failed
        self.rate = np.full(market.m, 1.0 / market.worth if market.worth > 0 else 1.0)

    def learn(self, at: Dual) -> None:
        """Relative curvature, from a pass that counted it."""
        known = (at.load > 1e-200) & (at.curve > 0) & np.isfinite(at.curve)  # huge ones overflow in single precision
        self.rate[known] = at.curve[known] / at.load[known]

    def forget(self) -> None:
        """Values before this are not comparable with those to come."""
        self.value = self.before = np.inf
        self.last = self.point = self.best
        self.t, self.stiff, self.plain, self.failed = 1.0, 1.0, False, 0

    def target(self, price: Floats, load: Floats) -> Floats:
        """Where a step from ``price`` with these loads ends."""
        problem, rate = self.market.problem, self.stiff * self.rate
        with np.errstate(divide="ignore", invalid="ignore"):
            over = np.clip(np.log(load / problem.capacity), -_LONGEST, _LONGEST)
            under = np.clip(np.log(load / problem.floor), -_LONGEST, _LONGEST)
        high = np.where(np.isinf(problem.capacity) | self.market.closed, -np.inf, price + over / rate)
        low = np.where(problem.floor > 0, price + under / rate, np.inf)
        return np.where(high > 0, high, np.where(low < 0, low, 0.0))

    def shift(self, at: Dual) -> tuple[float, float]:
        """The best shift of all prices together from ``point``, and how far the dual should fall.

        Full rows do not notice a shift, so only limits and the other rows tell. Single prices hardly move where floors
        and capacities are close together, since each sees all the curvature and none of the others' steps.
        """
        problem, total, price = self.market.problem, float(at.load.sum()), self.point
        capacity = np.where(self.market.closed, 0.0, problem.capacity)

        def slope(delta: float) -> float:
            moved = price + delta
            limits = float(capacity[moved > 0].sum()) + float(problem.floor[moved < 0].sum())
            return at.soft * delta - total + limits

        low, high = -self.market.worth, self.market.worth
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if slope(middle) > 0 else (middle, high)
        delta = 0.5 * (low + high)
        moved = self.market.limits_worth(self.market.allowed(price + delta)) - self.market.limits_worth(price)
        return delta, total * delta - 0.5 * at.soft * delta * delta - moved

    def advance(self, at: Dual, noise: float) -> None:
        """One step from ``point``, whose dual is ``at``; from the best, without momentum, where it rose."""
        price, fallen = self.point, self.before - at.value
        shifted, self.shifted = self.shifted, False
        if at.value < self.value:
            self.value, self.best, self.best_at, self.failed = at.value, price, at, 0
        elif fallen < -noise * abs(at.value):
            self.failed += 1
            if shifted:
                self.quiet = self.patience = 2 * self.patience
            elif self.plain or self.failed > _FAILURES:
                self.stiff *= 2.0
            price, at = self.best, self.best_at
            self.last, self.t = price, 1.0
        self.before = at.value
        self.quiet -= 1
        if self.quiet < 0 and price is self.point and not shifted:
            delta, gain = self.shift(at)
            if gain > max(fallen, noise * abs(at.value)):
                self.point = self.last = self.market.allowed(price + delta)
                self.t, self.shifted, self.plain = 1.0, True, False
                return
        new = self.target(price, at.load)
        if float((self.rate * at.load * (price - new)) @ (new - self.last)) > 0:
            self.t = 1.0
        t = (1 + np.sqrt(1 + 4 * self.t * self.t)) / 2
        self.point = self.market.allowed(new + (self.t - 1) / t * (new - self.last))
        self.plain = self.t == 1.0
        self.t, self.last = t, new
        self.stiff = max(1.0, 0.98 * self.stiff)

    def missed(self, value: float, load: Floats) -> float:
        """About what a plan made of the shares at ``point`` falls short of the dual's ``value`` there.

        Exactly, shares at prices fall short by sum l_j (limit_j - s_j). Scaling a column down to its capacity loses
        l_j and the row's price a visit, so that the latter remains, and so it is with floors; curvature comes on top.
        """
        market, price = self.market, self.point
        problem = market.problem
        capacity = np.where(market.closed, np.inf, problem.capacity)
        spare = np.where(price > 0, price, 0.0) * np.maximum(np.where(np.isinf(capacity), load, capacity) - load, 0.0)
        extra = np.where(price < 0, -price * np.maximum(load - problem.floor, 0.0), 0.0)
        off = np.maximum(load - capacity, 0.0) + np.maximum(problem.floor - load, 0.0)
        bent = off * np.minimum(off / np.maximum(load, 1e-300), _LONGEST) / self.rate
        rows = max(value - market.limits_worth(price), 0.0) / max(market.traffic, 1e-300)
        return float((spare + extra + bent + rows * off).sum())


class Certificate:
    """The least bound with its prices, and the best plan: the prices it came from, and its shares while they last."""

    def __init__(self, market: Market, names: LimitNames, inertia: float, wanted: float) -> None:
        self.market, self.names, self._inertia, self._wanted = market, names, inertia, wanted
        self.bound, self.objective, self.reward = np.inf, -np.inf, 0.0
        self.price = np.zeros(market.m)
        self._best = (self.price, False)  # prices and whether filled, of the best plan
        self._held: tuple[Floats, bool] | None = None  # the same of ``share``
        self.share = np.empty(market.problem.edges)
        self.load, self.slack = np.zeros(market.m), np.zeros(market.n)
        self.scale = market.scale

    def gap(self) -> float:
        """(bound - objective) / |bound|; 0 where they are equal to rounding."""
        return relative_gap(self.bound, self.objective, self.scale)

    def scratch(self) -> Floats:
        """The array of shares, whose content is lost."""
        self._held = None
        return self.share

    def release(self) -> None:
        """Let go of the shares, which ``finish`` makes again: another solve needs the room."""
        self._held, self.share = None, np.empty(0)

    def offer(self, price: Floats, hurry: bool = False) -> None:
        """Exact bound of prices (m,), and the plan that their shares make; InfeasibleError where there is none.

        In a ``hurry`` shares far from the floors, which take long to mend, give way to the reference.
        """
        at = self.market.exact(price, self.scratch())
        bound = at.value
        lack = float(np.maximum(self.market.problem.floor - at.load, 0.0).sum())
        known: Floats | None = at.load
        if hurry and lack > _FAR * self.market.traffic:
            self.share[:], known = self.market.reference, None
        if bound < self.bound and believed(bound, self.market.rounding(price), self.scale):
            self.bound, self.price = bound, price
        for fill in (False, True)[: 2 - hurry]:
            self._mend(price, fill, None if fill else known)
            objective, reward = self.market.objective(self.share)
            self._held = here = (price, fill)
            if objective > self.objective:
                self.objective, self.reward, self._best = objective, reward, here
            if self.gap() <= self._wanted:
                return

    def _mend(self, price: Floats, fill: bool, load: Floats | None) -> None:
        """Bring ``share`` within the limits; its loads where they are known."""
        market = self.market
        problem = market.problem

        def once(fill: bool, load: Floats | None) -> Mended:
            return mend(
                problem.row_start, problem.provider, market.value, market.demand, problem.capacity, problem.floor,
                self.share, price, reference=market.reference, tau=market.tau, each=market.each, fill=fill, load=load,
            )  # fmt: skip

        made = once(fill, load)
        if len(made.short):
            work = entropic_work(problem, self._inertia)
            some = np.ascontiguousarray(work.gather(self.share))
            settle(work, some, self.names)
            self.share[:] = work.spread(some)
            made = once(False, None)
        self.load, self.slack = made.load, made.slack

    def finish(self) -> None:
        """Bring the best plan back, with the prices' own shares in rows without demand."""
        if self._held is not self._best:
            if not len(self.share):
                self.share = np.empty(self.market.problem.edges)
            price, filled = self._best
            load = self.market.exact(price, self.scratch()).load
            for fill in (False, True)[: 1 + filled]:
                self._mend(price, fill, None if fill else load)
        idle = np.flatnonzero(self.market.demand <= 0)
        if len(idle):
            own = np.empty(self.market.problem.edges)
            self.market.exact(self.price, own)
            for i in idle.tolist():
                row = slice(self.market.problem.row_start[i], self.market.problem.row_start[i + 1])
                self.share[row] = np.where(self.market.closed[self.market.problem.provider[row]], 0.0, own[row])


def solve_entropic(
    problem: Problem,
    inertia: float,
    gap: float,
    threads: int | None,
    prices: Floats | None,
    deadline: float | None,
    progress: Progress | None,
    names: LimitNames,
    beside: bool = True,
) -> Allocation:
    """``solve`` for inertia > 0 and problems without ``upper`` or further limits, checked by the caller.

    deadline: of time.monotonic. With ``beside``, a plain solve of its own gives ``lp_bound`` (to 1 % above a million
    edges), else H at the best prices.
    """
    with Market(problem, inertia, threads) as market:
        found = Certificate(market, names, inertia, gap)
        move = Prices(market, market.allowed(np.zeros(market.m) if prices is None else prices))
        run = _Run(market, move, found, gap, deadline, progress)
        status = run.until_done()
        lp_bound = market.plain_bound(found.price)
        if beside and status in ("optimal", "stalled"):
            if problem.edges > _WELL_BOUND:
                found.release()
            lp_bound = min(lp_bound, _plain_bound(problem, gap, threads, found.price, deadline, names))
        found.finish()
        reward = found.reward if market.value is problem.value else market.reward(found.share)
        return Allocation(
            share=found.share,
            price=found.price,
            load=found.load,
            unassigned=found.slack,
            reward=reward,
            objective=found.objective,
            bound=max(found.bound, found.objective),
            gap=found.gap(),
            lp_bound=max(lp_bound, reward),
            iterations=run.iterations,
            status=status,
            passes=run.iterations + run.other,
        )


def _plain_bound(
    problem: Problem, gap: float, threads: int | None, price: Floats, deadline: float | None, names: LimitNames
) -> float:
    """An upper bound of the plain programme from a solve of its own; infinite where there is none."""
    close = gap if problem.edges <= _WELL_BOUND else max(gap, _ROUGH)
    close = max(close, _FINEST)
    if not suits(problem, close):
        return np.inf
    plain = allocate(problem, close, threads, price, deadline, None, names)
    return np.inf if plain is None else plain.bound


class _Run:
    """The search: quick passes until a plan should do, then a certificate; exact passes where quick ones end."""

    def __init__(
        self,
        market: Market,
        move: Prices,
        found: Certificate,
        gap: float,
        deadline: float | None,
        progress: Progress | None,
    ) -> None:
        self.market, self.move, self.found, self.gap = market, move, found, gap
        self.iterations, self._deadline, self._progress = 0, deadline, progress
        self._newton_pays, self._since = True, (np.inf, 0)  # the dual and the passes at the last of these tries
        self.other = 0.0  # passes, and parts of them, that do not count as iterations
        self._try_at, self._close, self._exact = _TRIES, _SURE * gap, not market.moderate()

    def until_done(self) -> Status:
        """Search; what ended it. There is a plan afterwards."""
        try:
            while self.iterations < _MOST_PASSES and not self._pass():
                pass
        except OutOfTimeError:
            self._last_plan()
            return "optimal" if self.found.gap() <= self.gap else "time_limit"
        except KeyboardInterrupt:
            self._last_plan()
            return "interrupted"
        if self.found.gap() > self.gap:
            self.found.offer(self.move.best)
        return "optimal" if self.found.gap() <= self.gap else "stalled"

    def _last_plan(self) -> None:
        if not np.isfinite(self.found.objective):
            self.found.offer(self.move.best, hurry=True)

    def _pass(self) -> bool:
        """One pass and step; whether the search is over."""
        move, market = self.move, self.market
        if self._exact:
            at = market.exact(move.point, self.found.scratch())
        else:
            steep = self.iterations < 2 or self.iterations % _FRESH == 0
            at = market.quick(move.point, steep)
        if len(at.curve):
            move.learn(at)
        self._tick(at.value)
        due = self.iterations >= self._try_at
        if self._promises(at) or due:
            if self._offer(at.load):
                return True
            if due:
                self._try_at *= 2
                if self.iterations >= _SLOW and self._newton_pays:
                    return self._by_newton()
                self._since = (move.value, self.iterations)
        lost = move.failed > _FAILURES or self._close < _BLUR  # quick passes cannot tell better from worse any more
        if move.stiff > _STIFFEST or (lost and not self._exact):
            if self._exact:
                return self._by_newton() or True
            self._exact = True
            move.forget()
            return False
        move.advance(at, _EXACT_NOISE if self._exact else _QUICK_NOISE)
        return False

    def _tick(self, value: float) -> None:
        """Count a pass, tell it, and stop where the time is up."""
        self.iterations += 1
        if self._progress is not None:
            objective = self.found.objective
            self._progress(
                self.iterations, min(value, self.found.bound), objective if np.isfinite(objective) else np.nan
            )
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise OutOfTimeError

    def _promises(self, at: Dual) -> bool:
        """Whether a plan from the point may well certify the gap."""
        scale = max(abs(at.value), 1e-9 * self.found.scale)
        return self.move.missed(at.value, at.load) <= self._close * scale

    def _offer(self, load: Floats) -> bool:
        """Try for a plan from the point; whether it certifies the gap. Else the next must promise more."""
        self.found.offer(self._snapped(load))
        if self.iterations < self._try_at:
            self._close *= 0.3
        return self.found.gap() <= self.gap

    def _by_newton(self) -> bool:
        """Newton's steps for as long again as the search has taken; whether they certify the gap."""
        move = self.move

        def look(newton: Newton) -> bool:
            self._tick(newton.at.value)
            move.point = newton.price
            move.learn(newton.at)
            return self._promises(newton.at) and self._offer(newton.at.load)

        before, since, passes = move.value, self._since[0], self.iterations - self._since[1]
        newton = descend(self.market, move.best, max(float(self.iterations), _NEWTON), look)
        self.other += newton.spent - newton.looks
        self._since = (newton.at.value, self.iterations)
        self._newton_pays = (before - newton.at.value) * passes >= (since - before) * newton.spent
        move.best = move.point = newton.price
        if self.found.gap() > self.gap:
            self.found.offer(newton.price)
        move.forget()
        return self.found.gap() <= self.gap

    def _snapped(self, load: Floats) -> Floats:
        """The point with prices at 0 where a step would put them there: limits that do not bind cost nothing."""
        point = self.move.point
        return np.where(self.move.target(point, load) == 0, 0.0, point)
