"""Few segments, many providers: the programme turned round, against HiGHS and an exact sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from allocation_oracle import capped_problem, check_certificate, check_limits, highs_optimum, random_problem
from just_met_oracle import dual_value

from footfall.acquire import Problem, solve, solver
from footfall.acquire._few_rows import interior_by_providers
from footfall.acquire._work import plain_work
from footfall.errors import InfeasibleError


def turned_round(seed, make):
    """The programme's bound and plan by this method alone; None where floors cannot be met."""
    problem = make(seed, (1 + seed % 3, 15 + 10 * (seed % 4)))
    optimum = highs_optimum(problem)
    try:
        plan = solve(problem)
    except InfeasibleError:
        assert optimum is None
        return
    slack = 1e-7 * abs(optimum) + 1e-9
    check_certificate(plan, optimum, slack)
    assert dual_value(problem, plan) == pytest.approx(plan.bound, rel=1e-9, abs=slack)
    check_limits(problem, plan)


@pytest.fixture
def others(monkeypatch):
    """This method whatever the size; a list of the problems at which it had to give way to another."""
    asked, interior = [], solver.interior
    monkeypatch.setattr(solver, "_QUICK", -1.0)
    monkeypatch.setattr(solver, "_MOST_PASSES", 0)
    monkeypatch.setattr(solver, "interior", lambda *a, **k: asked.append(a[0]) or interior(*a, **k))
    return asked


@pytest.mark.parametrize("make", [random_problem, capped_problem])
def test_optimum_and_verdict_of_highs(make, others):
    for seed in range(48):
        turned_round(seed, make)
    assert len(others) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("make", [random_problem, capped_problem])
def test_optimum_and_verdict_of_highs_often(make, others):
    for seed in range(48, 2000):
        turned_round(seed, make)
    assert len(others) <= 10


def test_one_segment_and_many_providers():
    """By hand: floors first, then the best values up to their capacities until the visits are used up."""
    rng = np.random.default_rng(5)
    m = 30_000
    value, capacity = rng.lognormal(0, 1, m), rng.uniform(5, 40, m)
    floor = np.where(rng.random(m) < 0.3, rng.uniform(0, 4, m), 0.0)
    problem = Problem(
        np.array([10.0 * m]), np.array([0, m]), np.arange(m, dtype=np.int32), value, capacity, floor, None
    )
    plan = solve(problem)
    order = np.argsort(-value)
    extra = np.diff(np.minimum(np.cumsum((capacity - floor)[order]), 10.0 * m - floor.sum()), prepend=0.0)
    assert plan.status == "optimal"
    best = float(value @ floor + value[order] @ extra)
    assert plan.objective <= best * (1 + 1e-9) <= plan.bound * (1 + 2e-9)
    assert plan.objective >= best * (1 - 1e-4)
    check_limits(problem, plan)


def test_prices_follow_from_those_of_segments():
    """By hand: two providers of capacity 10 and 8, floors 0 and 6, and 20 visits, then 12."""
    problem = Problem(
        np.array([20.0]), np.array([0, 2]), np.array([0, 1], dtype=np.int32), np.array([5.0, 1.0]),
        np.array([10.0, 8.0]), np.array([0.0, 6.0]), None,
    )  # fmt: skip
    seen = []
    interior_by_providers(plain_work(problem), 1e-9, lambda *at: bool(seen.append(at)) or at[1] is not None)
    price, share = seen[-1]
    # all of both: the segment has 2 visits left over, so its price is 0, and the providers are worth their values
    np.testing.assert_allclose(price, [5.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(share, [0.5, 0.4], atol=1e-6)
    tight = replace(problem, demand=np.array([12.0]))
    interior_by_providers(plain_work(tight), 1e-9, lambda *at: bool(seen.append(at)) or at[1] is not None)
    # 6 to the floor of provider 1, and the rest, 6 of 10, to provider 0: a visit more would earn 5
    np.testing.assert_allclose(seen[-1][0], [0.0, -4.0], atol=1e-5)
    np.testing.assert_allclose(seen[-1][1], [0.5, 0.5], atol=1e-6)
