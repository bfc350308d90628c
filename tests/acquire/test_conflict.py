"""Infeasible floors: the verdict and the least relaxation of HiGHS; the proof checked in exact rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from allocation_oracle import check_limits, highs_optimum, random_problem, rows_of

from footfall.acquire import Problem, solve
from footfall.acquire.conflict import LimitNames
from footfall.errors import InfeasibleError


def harder(problem, factor):
    """The same problem with floors times ``factor`` (and capacities to match)."""
    floor = problem.floor * factor
    return Problem(
        problem.demand, problem.row_start, problem.provider, problem.value, np.maximum(problem.capacity, floor), floor,
        problem.reference,
    )  # fmt: skip


def check_proof(problem, conflict):
    """Floors of the set exceed the demand of every segment that may send to it, by exactly the excess."""
    providers = {int(limit.name.split()[1]) for limit in conflict.limits if limit.name.endswith("floor")}
    segments = {int(limit.name.split()[1]) for limit in conflict.limits if limit.name.endswith("demand")}
    may_send = {int(i) for i, j in zip(rows_of(problem), problem.provider, strict=True) if int(j) in providers}
    assert {i for i in may_send if problem.demand[i] > 0} <= segments
    asked = sum(Fraction(float(problem.floor[j])) for j in providers)
    there = sum((Fraction(float(problem.demand[i])) for i in segments), Fraction(0))
    assert asked > there
    assert float(asked - there) == conflict.excess
    assert all(limit.weight == 1 for limit in conflict.limits)


def against_highs(seed):
    problem = harder(random_problem(seed), (1.0, 1.6, 3.0)[seed % 3])
    optimum = highs_optimum(problem)
    try:
        plan = solve(problem)
    except InfeasibleError as error:
        assert optimum is None
        conflict = error.conflict
        least = highs_optimum(problem, relax=True)
        assert conflict.excess == pytest.approx(least, rel=1e-7, abs=1e-9)
        assert sum(limit.give for limit in conflict.limits) == pytest.approx(least, rel=1e-7, abs=1e-9)
        check_proof(problem, conflict)
        return True
    assert optimum is not None
    check_limits(problem, plan)
    return False


def test_verdict_and_least_relaxation_of_highs():
    refused = sum(against_highs(seed) for seed in range(96))
    assert 20 <= refused <= 76  # both verdicts are well represented


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(96, 400))
def test_verdict_and_least_relaxation_of_highs_often(seed):
    against_highs(seed)


@pytest.mark.parametrize("seed", range(12))
def test_the_relaxed_problem_is_feasible(seed):
    problem = harder(random_problem(seed, (10, 15), "change"), 1.7)
    with pytest.raises(InfeasibleError) as refused:
        solve(problem)
    floor = problem.floor.copy()
    for limit in refused.value.conflict.limits:
        if limit.name.endswith("floor"):
            floor[int(limit.name.split()[1])] -= limit.give
    relaxed = Problem(
        problem.demand, problem.row_start, problem.provider, problem.value, problem.capacity, np.maximum(floor, 0.0)
    )
    plan = solve(relaxed)
    assert plan.status == "optimal"
    check_limits(relaxed, plan)


def two_rows(floor, reference=None):
    """Segment 0 (5 visits) may send to providers 0 and 1, segment 1 (7 visits) to provider 2."""
    return Problem(
        np.array([5.0, 7.0]), np.array([0, 2, 3]), np.array([0, 1, 2], dtype=np.int32), np.ones(3), np.full(3, 50.0),
        np.array(floor, dtype=float), reference,
    )  # fmt: skip


def test_names_and_words():
    names = LimitNames(floors=("Anna: at least", "Bo: at least", "Cy: at least"), demands=("north", "south"))
    with pytest.raises(InfeasibleError, match="Anna: at least, Bo: at least ask for 8 visits") as refused:
        solve(two_rows([4, 4, 7]), names=names)
    conflict = refused.value.conflict
    assert [limit.name for limit in conflict.limits] == ["Anna: at least", "Bo: at least", "north"]
    assert conflict.excess == 3
    assert sum(limit.give for limit in conflict.limits) == 3
    assert "3 visits" in refused.value.way_out


def test_floors_that_use_up_all_demand_are_met():
    plan = solve(two_rows([2, 3, 7]))
    np.testing.assert_allclose(plan.load, [2, 3, 7], rtol=1e-12)
    assert plan.status == "optimal"


def test_a_provider_nobody_may_send_to():
    problem = Problem(
        np.array([5.0]),
        np.array([0, 1]),
        np.array([0], dtype=np.int32),
        np.ones(1),
        np.full(2, 9.0),
        np.array([0.0, 1.0]),
    )
    with pytest.raises(InfeasibleError, match="provider 1 floor") as refused:
        solve(problem)
    assert refused.value.conflict.excess == 1


def test_at_inertia_a_pair_without_reference_cannot_help():
    problem = two_rows([2, 2, 0], np.array([1.0, 0.0, 1.0]))
    assert solve(problem).status == "optimal"
    with pytest.raises(InfeasibleError, match="provider 1 floor") as refused:
        solve(problem, 0.3)
    assert "without reference" in refused.value.way_out


def test_visits_are_passed_along_a_chain():
    """Provider k is served by rows k and k + 1; the floor of the last must be fed through all of them."""
    n = 200
    start = np.arange(0, 2 * n + 1, 2)
    provider = np.stack([np.arange(n), np.arange(1, n + 1)], axis=1).ravel().astype(np.int32)
    floor = np.ones(n + 1)
    floor[0] = 0.0
    value = np.tile([2.0, 1.0], n)
    problem = Problem(np.ones(n), start, provider, value, np.full(n + 1, np.inf), floor)
    plan = solve(problem)
    np.testing.assert_allclose(plan.load[1:], 1.0, rtol=1e-9)
    assert plan.objective == pytest.approx(n)
    floor[0] = 1e-3
    with pytest.raises(InfeasibleError) as refused:
        solve(Problem(np.ones(n), start, provider, value, np.full(n + 1, np.inf), floor))
    assert refused.value.conflict.excess == pytest.approx(1e-3, rel=1e-9)
