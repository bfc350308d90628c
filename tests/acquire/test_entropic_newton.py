"""Newton's steps on the entropic dual: the curvature against differences of loads, and markets where prices crawl."""

from __future__ import annotations

import numpy as np
import pytest
from allocation_oracle import check_limits, random_problem, rows_of

from footfall.acquire import solve
from footfall.acquire._entropic import solve_entropic
from footfall.acquire._entropic_newton import Newton, curvature_rows, descend
from footfall.acquire._entropy_market import Market
from footfall.acquire.conflict import LimitNames


@pytest.mark.parametrize("seed", [6, 12, 13])
def test_curvature_is_the_slope_of_loads(seed):
    """Against central differences of the loads that the exact pass gives."""
    problem = random_problem(seed, (20, 9), "change")
    rng = np.random.default_rng(seed)
    with Market(problem, 0.3, 1) as market:
        price, step = rng.normal(0, 0.05, market.m), rng.normal(0, 1, market.m)
        share, bent = np.empty(problem.edges), np.zeros(market.m)
        market.exact(price, share)
        full = np.abs(np.bincount(rows_of(problem), share, problem.segments) - 1) < 1e-3
        assert full.any()
        curvature_rows(
            market.row_start, market.provider, market.tau, market.demand, share, step, 0, market.n, bent
        )  # fmt: skip
        away = 1e-7 * float(market.tau.min())
        up, down = (market.exact(price + sign * away * step, share).load for sign in (1, -1))
    np.testing.assert_allclose(bent, (down - up) / (2 * away), rtol=1e-4, atol=1e-5 * np.abs(bent).max())


@pytest.mark.parametrize(
    ("seed", "size", "kind"), [(2000, (7, 7), "tight"), (154065, (3, 7), "change"), (553696, (4, 4), "tight")]
)
def test_markets_that_fall_apart_are_certified(seed, size, kind):
    """First-order steps alone needed 1,600 passes and more for these, or stalled; interior point is the oracle."""
    problem = random_problem(seed, size, kind)
    best = solve(problem, 0.3, 1e-9)
    plan = solve_entropic(problem, 0.3, 1e-4, 1, None, None, None, LimitNames())
    assert plan.status == "optimal"
    assert plan.iterations < 400
    check_limits(problem, plan)
    assert plan.bound >= best.objective * (1 - 1e-9)
    assert plan.objective <= best.bound * (1 + 1e-9)


def test_every_step_falls_and_the_end_is_the_optimum():
    problem = random_problem(2000, (7, 7), "tight")
    best = solve(problem, 0.3, 1e-9)
    values = []
    with Market(problem, 0.3, 1) as market:

        def look(newton: Newton) -> bool:
            values.append(newton.at.value)
            return False

        newton = descend(market, market.allowed(np.zeros(market.m)), 2000.0, look)
    assert (np.diff(values) <= 0).all()
    assert newton.at.value == pytest.approx(best.bound, rel=1e-6)
    assert newton.looks == len(values) + 1 or newton.looks == len(values) + 2
    assert newton.spent > newton.looks
