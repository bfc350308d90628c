"""Limits that leave no room within: the certificate still holds. HiGHS, Clarabel and sums by hand are the oracles."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from allocation_oracle import check_certificate, check_limits, highs_optimum
from just_met_oracle import KINDS, dual_value, just_met_problem
from linear_limits_oracle import breach, clarabel_entropic, highs_limited

from footfall.acquire import LinearLimit, Problem, solve
from footfall.acquire._certificate import believed, relative_gap


def against_highs(seed, kind):
    problem = just_met_problem(seed, kind)
    optimum = (highs_limited if problem.limits else highs_optimum)(problem)
    assert optimum is not None  # a plan on the grid holds every limit
    plan = solve(problem)
    scale = float(problem.demand.sum() * np.abs(problem.value).max())
    slack = 1e-7 * max(abs(optimum), 1e-2 * scale) + 1e-9
    if abs(optimum) > 1e-9 * scale:
        check_certificate(plan, optimum, slack)
    else:  # a gap is then told in parts of next to nothing, which bounds may not reach
        assert optimum - slack <= plan.bound <= 1e-3 * scale
        assert optimum - slack <= plan.objective <= optimum + slack
    assert dual_value(problem, plan) == pytest.approx(plan.bound, abs=slack)
    check_limits(problem, plan)
    assert breach(problem, plan.share) <= 1e-9


def against_clarabel(seed, kind):
    problem = just_met_problem(seed, kind, positive=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Clarabel itself says where it is less accurate
        optimum = clarabel_entropic(problem, 0.3)
    plan = solve(problem, 0.3)
    slack = 1e-6 * max(abs(optimum), 1e-2 * float(problem.demand.sum() * np.abs(problem.value).max())) + 1e-9
    check_certificate(plan, optimum, slack)
    check_limits(problem, plan)
    assert breach(problem, plan.share) <= 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_plans_between_highs_and_the_bound(kind):
    for seed in range(60):
        against_highs(seed, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_with_inertia_as_clarabel_says(kind):
    for seed in range(12):
        against_clarabel(seed, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(5))
def test_thousands_between_highs_and_the_bound(part, kind):
    for seed in range(60 + part * 1000, 60 + (part + 1) * 1000):
        against_highs(seed, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_with_inertia(kind):
    for seed in range(12, 600):
        against_clarabel(seed, kind)


def test_share_caps_that_meet_the_floors():
    """By hand: provider 0 can only just have its 50, provider 2 takes 100, provider 1 what is left of its segment."""
    problem = Problem(
        demand=np.array([100.0, 100.0, 100.0]),
        row_start=np.array([0, 1, 3, 4]),
        provider=np.array([0, 1, 2, 2], dtype=np.int32),
        value=np.array([0.3, 0.2, 0.4, 0.5]),
        capacity=np.array([50.0, 50.0, 100.0]),
        floor=np.array([50.0, 35.0, 100.0]),
        reference=None,
        upper=np.array([0.5, 0.77, 0.77, 0.9]),
    )
    plan = solve(problem)
    # 50 x .3 + visits of provider 1 (at most 50) x .2 + 10 of segment 1 and 90 of segment 2 at .4 and .5
    assert plan.reward == pytest.approx(50 * 0.3 + 50 * 0.2 + 10 * 0.4 + 90 * 0.5, rel=1e-6)
    assert plan.bound == pytest.approx(74.0, rel=1e-6)


def test_floors_of_groups_that_take_all_there_is():
    """By hand: 130 to provider 0 and 30 to provider 1 are all visits; at least 15 of them on the last edge."""
    problem = Problem(
        demand=np.array([100.0, 30.0, 30.0]),
        row_start=np.array([0, 1, 3, 5]),
        provider=np.array([0, 0, 1, 0, 1], dtype=np.int32),
        value=np.array([6.0, 2.0, 2.0, 4.0, 8.0]),
        capacity=np.array([np.inf, 30.0]),
        floor=np.array([130.0, 30.0]),
        reference=None,
        limits=(
            LinearLimit(np.array([4]), np.array([1.0]), 15.0, np.inf, "last edge"),
            LinearLimit(np.array([1, 2, 3, 4]), np.ones(4), 60.0, np.inf, "segments 1 and 2"),
        ),
    )
    plan = solve(problem)
    assert plan.reward == pytest.approx(100 * 6 + 30 * 2 + 30 * 8, rel=1e-6)
    assert plan.bound == pytest.approx(900.0, rel=1e-6)


def test_a_bound_below_a_plan_proves_nothing():
    assert relative_gap(70.0, 74.0, 100.0) == np.inf
    assert relative_gap(74.0, 74.0 + 1e-15, 100.0) == 0.0
    assert relative_gap(np.nan, 74.0, 100.0) == np.inf
    assert believed(74.0, 1e-12, 100.0)
    assert not believed(74.0, 1.0, 100.0)
    assert not believed(np.inf, 1.0, 100.0)
