"""Linear limits: optimum and verdict of HiGHS, Clarabel at inertia > 0, proofs in rationals, cases by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from allocation_oracle import KINDS, check_limits, random_problem, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_limits_oracle import breach, check_farkas, clarabel_entropic, highs_limited, limited_problem

from footfall.acquire import LinearLimit, Problem, solve
from footfall.errors import InfeasibleError, UnsolvedError


def against_highs(problem):
    """Whether HiGHS and we agree that there is a plan, and what it is worth; the verdict."""
    optimum = highs_limited(problem)
    try:
        plan = solve(problem, gap=1e-6)
    except InfeasibleError as error:
        assert optimum is None
        check_farkas(problem, error.conflict)
        least = highs_limited(problem, relax=True)
        if "linear" in error.way_out:  # else floors alone conflict, and only they were looked at
            assert error.conflict.excess == pytest.approx(least, rel=1e-5, abs=1e-8 * (1 + problem.demand.sum()))
        return False
    assert optimum is not None
    size = 1e-7 * (abs(optimum) + float(np.abs(problem.value).max(initial=0)) * float(problem.demand.sum()) * 1e-3)
    assert plan.status == "optimal"
    assert plan.bound >= optimum - size
    assert plan.reward <= optimum + size
    assert plan.bound - plan.reward <= 1e-6 * abs(plan.bound) + size
    assert len(plan.limit_price) == len(problem.limits)
    check_limits(problem, plan)
    assert breach(problem, plan.share) <= 1e-9
    return True


def test_optimum_and_verdict_of_highs():
    met = sum(against_highs(limited_problem(seed)) for seed in range(20))
    assert 4 <= met <= 16  # both verdicts are well represented


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 260))
def test_optimum_and_verdict_of_highs_often(seed):
    against_highs(limited_problem(seed))


@pytest.mark.slow
@given(seed=st.integers(1000, 10**6), n=st.integers(1, 6), m=st.integers(1, 6), kind=st.sampled_from(KINDS))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_any_small_shape(seed, n, m, kind):
    against_highs(limited_problem(seed, (n, m), kind))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_entropic_optimum_of_clarabel(seed):
    problem = limited_problem(seed, ((3, 4), (8, 6), (12, 10))[seed % 3])
    problem = replace(problem, value=np.abs(problem.value) + 0.1)
    optimum = clarabel_entropic(problem, 0.4)
    try:
        plan = solve(problem, 0.4, gap=1e-7)
    except InfeasibleError as error:
        assert optimum is None
        check_farkas(problem, error.conflict, 0.4)
        return
    assert optimum is not None
    assert plan.status == "optimal"
    assert plan.bound >= optimum - 1e-6 * abs(optimum)
    assert plan.objective == pytest.approx(optimum, rel=1e-6, abs=1e-6)
    check_limits(problem, plan)
    assert breach(problem, plan.share) <= 1e-9


def one_row(value, capacity, limits, demand=10.0, reference=None):
    k = len(value)
    return Problem(
        np.array([demand]), np.array([0, k]), np.arange(k, dtype=np.int32), np.array(value, dtype=float),
        np.array(capacity, dtype=float), np.zeros(k), None if reference is None else np.array(reference), limits,
    )  # fmt: skip


def budget(high, cost, low=-np.inf):
    return LinearLimit(np.arange(len(cost)), np.array(cost, dtype=float), low, high, "budget")


def test_a_budget_by_hand():
    """10 visits, values 3 and 1, costs 2 and 0, budget 8: 4 visits to the first, 6 to the second; one unit more moves
    half a visit from 1 to 3, so the budget's price is 1.
    """
    plan = solve(one_row([3, 1], [100, 100], (budget(8.0, [2, 0]),)))
    np.testing.assert_allclose(plan.load, [4, 6], rtol=1e-9)
    assert plan.reward == pytest.approx(18)
    np.testing.assert_allclose(plan.limit_price, [1.0], rtol=1e-6)


def test_a_group_floor_by_hand():
    """At least 7 of 10 visits to the two worse providers: 3 x 5 + 7 x 2 = 29, and a visit more costs 3."""
    limit = LinearLimit(np.array([1, 2]), np.ones(2), 7.0, np.inf, "newcomers")
    plan = solve(one_row([5, 2, 1], [np.inf, np.inf, np.inf], (limit,)))
    np.testing.assert_allclose(plan.load, [3, 7, 0], atol=1e-7)
    np.testing.assert_allclose(plan.limit_price, [-3.0], rtol=1e-6)


def test_a_loose_limit_leaves_the_reference_where_it_is():
    """Equal values and nothing binding at inertia > 0: shares are the reference (design, closed form)."""
    plan = solve(one_row([2, 2], [100, 100], (budget(1e6, [1, 2]),), reference=[0.3, 0.7]), 0.3)
    np.testing.assert_allclose(plan.share, [0.3, 0.7], rtol=1e-9)
    assert (plan.limit_price == 0).all()


def test_a_conflict_is_named_with_its_least_give():
    """A floor of 8 for the group and a budget of 5 at cost 1: they miss each other by 3."""
    group = LinearLimit(np.array([0, 1]), np.ones(2), 8.0, np.inf, "group")
    with pytest.raises(InfeasibleError, match="limits cannot all hold") as told:
        solve(one_row([1, 1], [100, 100], (budget(5.0, [1, 1]), group)))
    conflict = told.value.conflict
    assert {limit.name for limit in conflict.limits} == {"budget (at most)", "group (at least)"}
    assert conflict.excess == pytest.approx(3.0, rel=1e-6)
    assert sum(limit.give for limit in conflict.limits) == pytest.approx(3.0, rel=1e-6)


def test_floors_in_conflict_say_that_linear_limits_were_not_looked_at():
    """10 visits, floors of 12: they are told first. With floors of 10 the cap of 5 shows up, 5 too little."""
    problem = one_row([1, 1], [100, 100], (budget(5.0, [1, 1]),))
    with pytest.raises(InfeasibleError, match="linear limits were not looked at yet") as told:
        solve(replace(problem, floor=np.array([6.0, 6.0])))
    assert [limit.name for limit in told.value.conflict.limits] == [
        "provider 0 floor", "provider 1 floor", "segment 0 demand",
    ]  # fmt: skip
    with pytest.raises(InfeasibleError, match=r"budget \(at most\)") as told:
        solve(replace(problem, floor=np.array([5.0, 5.0])))
    assert "not looked at" not in str(told.value)
    assert told.value.conflict.excess == pytest.approx(5.0)


def test_what_conflicts_is_feasible_once_it_has_given():
    checked = 0
    for seed in range(40):
        problem = limited_problem(seed)
        try:
            solve(problem)
        except InfeasibleError as error:
            gives = {limit.name: limit.give * (1 + 1e-6) + 1e-9 for limit in error.conflict.limits}
            floor = [max(f - gives.get(f"provider {j} floor", 0.0), 0.0) for j, f in enumerate(problem.floor)]
            limits = tuple(
                replace(
                    limit, low=limit.low - gives.get(f"{limit.name} (at least)", 0.0),
                    high=limit.high + gives.get(f"{limit.name} (at most)", 0.0),
                )
                for limit in problem.limits
            )  # fmt: skip
            if any(limit.give > 0 for limit in error.conflict.limits):
                solve(replace(problem, floor=np.array(floor), limits=limits))
                checked += 1
        if checked == 6:
            break
    assert checked == 6


def closed(problem, part):
    """The problem with a part of its providers closed."""
    shut = np.random.default_rng(problem.edges).random(problem.providers) < part
    return replace(problem, capacity=np.where(shut, 0.0, problem.capacity), floor=np.where(shut, 0.0, problem.floor))


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_nothing_is_missing_once_limits_have_given(part):
    """HiGHS's least total give of the relaxed problem is 0; all gives together are the excess, and not below it."""
    refused = 0
    for seed in range(40):
        problem = closed(limited_problem(seed), part)
        try:
            solve(problem)
        except InfeasibleError as error:
            if "linear" not in error.way_out:
                continue
            conflict, gives = error.conflict, {limit.name: limit.give for limit in error.conflict.limits}
            floor = [max(f - gives.get(f"provider {j} floor", 0.0), 0.0) for j, f in enumerate(problem.floor)]
            limits, told = [], sum(give for name, give in gives.items() if name.endswith("floor"))
            for limit in problem.limits:
                low, high = (gives.get(f"{limit.name} (at {side})", 0.0) for side in ("least", "most"))
                limits.append(replace(limit, low=limit.low - low, high=limit.high + high))
                told += (low + high) / (float(np.abs(limit.coefficient).max(initial=0.0)) or 1.0)
            relaxed = replace(problem, floor=np.array(floor), limits=tuple(limits))
            assert highs_limited(relaxed, relax=True) <= 1e-9 * conflict.excess
            assert (1 - 1e-12) * conflict.excess <= told <= (1 + 1e-6) * conflict.excess
            refused += 1
    assert refused >= 10


def test_where_nothing_is_open_lows_give_all_they_ask():
    """No visit can go anywhere: a low of 3 and a low of 40 at coefficients of 10, so 3 and 40 (4 visits) must go."""
    limits = (
        LinearLimit(np.array([0]), np.ones(1), 3.0, np.inf, "one"),
        LinearLimit(np.array([0, 1]), np.full(2, 10.0), 40.0, np.inf, "both"),
    )
    with pytest.raises(InfeasibleError) as told:
        solve(one_row([1, 1], [0, 0], limits))
    gives = {limit.name: limit.give for limit in told.value.conflict.limits}
    assert gives == pytest.approx({"one (at least)": 3.0, "both (at least)": 40.0}, rel=1e-12)
    assert told.value.conflict.excess == pytest.approx(7.0, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("inertia", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_the_methods_for_large_problems_on_one_that_highs_can_check(monkeypatch, seed, inertia):
    from footfall.acquire import _coupled_solver

    base = random_problem(seed, (400, 40), "mixed")
    visits = base.demand[rows_of(base)] * base.reference
    cost = np.random.default_rng(seed).lognormal(0, 0.5, base.edges)
    group = np.flatnonzero(base.provider % 3 == 0)
    limits = (
        LinearLimit(np.arange(base.edges), cost, -np.inf, 0.6 * float(cost @ visits), "budget"),
        LinearLimit(group, np.ones(len(group)), 0.25 * float(base.demand.sum()), np.inf, "group"),
    )
    problem = replace(base, value=np.abs(base.value), limits=limits)
    optimum = highs_limited(problem)
    if optimum is None:
        pytest.skip("this draw has no plan")
    for name, value in (("_SMALL", 0), ("_MOST_DENSE", 0), ("_QUICK", 0)):
        monkeypatch.setattr(_coupled_solver, name, value)
    plan = solve(problem, inertia, gap=1e-3)
    assert plan.status == "optimal"
    assert plan.lp_bound >= optimum * (1 - 1e-7)
    assert plan.reward <= optimum * (1 + 1e-7)
    check_limits(problem, plan)
    assert breach(problem, plan.share) <= 1e-9


@pytest.mark.slow
def test_a_conflict_at_scale_is_proved(monkeypatch):
    from footfall.acquire import _coupled_solver

    base = random_problem(1, (300, 30), "loose")
    group = np.flatnonzero(base.provider < 5)
    reach = float(base.demand[np.unique(rows_of(base)[group])].sum())
    limits = (
        LinearLimit(group, np.ones(len(group)), 0.9 * reach, np.inf, "group"),
        LinearLimit(group, np.ones(len(group)), -np.inf, 0.5 * reach, "cap"),
    )
    problem = replace(base, limits=limits)
    for name, value in (("_SMALL", 0), ("_MOST_DENSE", 0), ("_QUICK", 0)):
        monkeypatch.setattr(_coupled_solver, name, value)
    with pytest.raises(InfeasibleError) as told:
        solve(problem)
    check_farkas(problem, told.value.conflict)
    assert told.value.conflict.excess == pytest.approx(0.4 * reach, rel=1e-3)


def test_limits_without_edges_and_problems_without_rows():
    nothing = LinearLimit(np.zeros(0, dtype=np.int64), np.zeros(0), 0.0, 1.0, "nothing")
    plan = solve(one_row([1, 2], [5, 5], (nothing,)))
    assert plan.reward == pytest.approx(15)
    with pytest.raises(InfeasibleError):
        solve(one_row([1, 2], [5, 5], (replace(nothing, low=0.5),)))
    empty = Problem(np.zeros(0), np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32), np.zeros(0), np.ones(1),
                    np.zeros(1), limits=(nothing,))  # fmt: skip
    assert solve(empty).reward == 0


@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_out_of_time_there_is_a_plan_that_holds_or_none(inertia):
    """Never a plan that breaks a limit: what was found so far, or an error that says that nothing was."""
    told = set()
    for seed in range(24):
        problem = limited_problem(seed, (20, 12))
        try:
            plan = solve(problem, inertia, gap=1e-9, time_limit_s=0.0)
        except (UnsolvedError, InfeasibleError) as error:
            told.add(type(error).__name__)
            continue
        told.add(plan.status)
        check_limits(problem, plan)
        assert breach(problem, plan.share) <= 1e-9
        assert plan.bound >= plan.objective
    assert {"time_limit", "UnsolvedError"} <= told


def test_an_interrupt_keeps_the_best_plan():
    problem = limited_problem(6, (40, 30), "mixed")
    steps = []

    def stop(step, bound, objective):
        steps.append(step)
        if step == 3:
            raise KeyboardInterrupt

    try:
        plan = solve(problem, gap=1e-9, progress=stop)
    except (UnsolvedError, InfeasibleError):
        pytest.fail("this problem has a plan")
    assert steps == [1, 2, 3]
    assert plan.status in ("interrupted", "optimal")
    assert breach(problem, plan.share) <= 1e-9


def test_the_same_again():
    problem = limited_problem(8, (60, 12), "loose")
    one, two = solve(problem), solve(problem)
    np.testing.assert_array_equal(one.share, two.share)
    np.testing.assert_array_equal(one.limit_price, two.limit_price)
