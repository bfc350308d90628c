"""``solve`` at the edges of what is valid: scales, signs, emptiness, threads. Oracles: HiGHS and scaling laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from allocation_oracle import KINDS, check_limits, highs_optimum, random_problem

from footfall.acquire import LinearLimit, Problem, solve
from footfall.errors import InfeasibleError, ProblemError


def scaled(problem, visits, worth):
    return replace(
        problem,
        demand=problem.demand * visits,
        capacity=problem.capacity * visits,
        floor=problem.floor * visits,
        value=problem.value * worth,
    )


def wide(seed, n=300, m=90, k=80):
    """24,000 edges, so that the paths for many edges are taken; daily limits."""
    rng = np.random.default_rng(seed)
    provider = np.concatenate([np.sort(rng.choice(m, k, replace=False)) for _ in range(n)]).astype(np.int32)
    reference = rng.dirichlet(np.ones(k), n).ravel()
    demand, value = rng.lognormal(2, 1, n), rng.lognormal(0, 1, n * k)
    load = np.bincount(provider, np.repeat(demand, k) * reference, minlength=m)
    return Problem(demand, np.arange(0, n * k + 1, k), provider, value, 1.3 * load, 0.7 * load, reference)


@pytest.mark.parametrize("inertia", [0.0, 0.3])
@pytest.mark.parametrize("visits", [1e-12, 1e12])
@pytest.mark.parametrize("worth", [1e-12, 1e12])
def test_units_do_not_matter(inertia, visits, worth):
    """The optimum is homogeneous of degree one in visits and in worth."""
    for problem in (random_problem(6, (20, 12), "change"), random_problem(3, (20, 12), "mixed")):
        usual, plan = solve(problem, inertia, 1e-6), solve(scaled(problem, visits, worth), inertia, 1e-6)
        assert plan.status == "optimal"
        assert plan.objective == pytest.approx(usual.objective * visits * worth, rel=3e-6)
        assert plan.bound == pytest.approx(usual.bound * visits * worth, rel=3e-6)
        check_limits(scaled(problem, visits, worth), plan)


@pytest.mark.parametrize("inertia", [0.0, 0.3])
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("visits", "worth"), [(1e-12, 1e12), (1e12, 1e-12), (1e12, 1e12)])
def test_units_do_not_matter_with_many_edges(inertia, visits, worth):
    problem = wide(1)
    usual, plan = solve(problem, inertia), solve(scaled(problem, visits, worth), inertia)
    assert usual.status == plan.status == "optimal"
    assert plan.objective == pytest.approx(usual.objective * visits * worth, rel=2e-4)
    check_limits(scaled(problem, visits, worth), plan)


@pytest.mark.parametrize("limits", [(), (LinearLimit(np.arange(4), np.ones(4), -np.inf, 9.0, "all"),)])
def test_a_best_plan_that_is_worth_nothing_is_found(limits):
    """Two visits, floors of .99: the first can fill either for 0, the second the first for 0 and the other for -1."""
    problem = Problem(
        np.ones(2), np.array([0, 2, 4]), np.array([0, 1, 0, 1], dtype=np.int32), np.array([0.0, 0.0, 0.0, -1.0]),
        np.full(2, 1.5), np.full(2, 0.99), limits=limits,
    )  # fmt: skip
    plan = solve(problem)
    assert plan.status == "optimal"
    assert plan.objective == pytest.approx(0.0, abs=1e-12)
    check_limits(problem, plan)


def test_a_small_row_that_holds_all_the_value_is_certified():
    """3e-4 of 150 visits are worth anything, the rest sees none of their price: the optimum is HiGHS's."""
    capacity = np.array([40.918, 109.42, 6.4857e-5])
    problem = Problem(
        np.array([6.01, 3.2889e-4, 144.18]), np.array([0, 1, 3, 5]), np.array([0, 0, 2, 0, 1], dtype=np.int32),
        np.array([0.0, 0.0, 1.0662, 0.0, 0.0]), capacity, 0.998 * capacity,
    )  # fmt: skip
    plan, optimum = solve(problem), highs_optimum(problem)
    assert plan.status == "optimal"
    assert plan.objective == pytest.approx(optimum, rel=1e-7)
    assert plan.bound >= optimum * (1 - 1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("inertia", [0.0, 0.3])
@pytest.mark.parametrize("far", [1e6, 1e30, -1e30, -1e308])
def test_prices_far_beyond_the_values_are_no_start(inertia, far):
    """All of them: the cold plan. One of them: that of the same prices with 0 in its place."""
    problem = wide(1)
    cold = solve(problem, inertia)
    plan = solve(problem, inertia, prices=np.full(problem.providers, far))
    assert (plan.share == cold.share).all()
    assert plan.iterations == cold.iterations
    some, without = cold.price.copy(), cold.price.copy()
    some[3], without[3] = far, 0.0
    assert (solve(problem, inertia, prices=some).share == solve(problem, inertia, prices=without).share).all()


@pytest.mark.parametrize("inertia", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(6))
def test_values_below_zero_only_where_floors_ask(inertia, seed):
    problem = random_problem(seed, (10, 8), KINDS[seed])
    problem = replace(problem, value=-1.0 - np.abs(problem.value))
    optimum = highs_optimum(problem)
    if optimum is None:
        with pytest.raises(InfeasibleError):
            solve(problem, inertia)
        return
    plan = solve(problem, inertia, 1e-6)
    assert plan.status == "optimal"
    check_limits(problem, plan)
    assert plan.reward <= optimum + 1e-7 * (1 + abs(optimum))
    if inertia == 0:
        assert plan.reward == pytest.approx(optimum, rel=2e-6, abs=1e-9)
    else:
        assert plan.lp_bound >= optimum - 1e-7 * (1 + abs(optimum))


def test_values_below_zero_with_many_edges():
    problem = wide(2)
    problem = replace(problem, value=-1.0 - problem.value, capacity=np.full(problem.providers, np.inf))
    plan = solve(problem)
    assert plan.status == "optimal"
    check_limits(problem, plan)
    optimum = highs_optimum(problem)
    assert plan.reward == pytest.approx(optimum, rel=2e-4)
    assert plan.bound >= optimum - 1e-7 * abs(optimum)


@pytest.mark.parametrize("inertia", [0.0, 0.3])
@pytest.mark.parametrize("many", [False, True])
def test_one_and_two_threads_agree_and_repeat(inertia, many):
    problem = wide(3) if many else random_problem(6, (40, 30), "change")
    one, two, again = (solve(problem, inertia, 1e-4, threads=threads) for threads in (1, 2, 2))
    assert (two.share == again.share).all()
    assert (two.price == again.price).all()
    assert two.bound == again.bound
    assert abs(one.objective - two.objective) <= 1e-4 * abs(one.bound)
    assert abs(one.bound - two.bound) <= 1e-4 * abs(one.bound)


@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_no_edges_no_rows_no_demand(inertia):
    start, none = np.zeros(1, dtype=np.int64), np.zeros(0)
    nobody = Problem(none, start, np.zeros(0, dtype=np.int32), none, np.array([np.inf]), np.zeros(1), none)
    assert solve(nobody, inertia).objective == 0
    unreachable = Problem(
        np.ones(3), np.zeros(4, dtype=np.int64), np.zeros(0, dtype=np.int32), none, np.ones(2), np.zeros(2), none
    )
    plan = solve(unreachable, inertia)
    assert plan.status == "optimal"
    np.testing.assert_array_equal(plan.unassigned, np.ones(3))
    idle = replace(wide(4), demand=np.zeros(300), floor=np.zeros(90))
    plan = solve(idle, inertia)
    assert plan.status == "optimal"
    assert plan.objective == 0
    with pytest.raises(InfeasibleError) as caught:
        solve(replace(unreachable, floor=np.array([0.0, 0.5])), inertia)
    assert caught.value.conflict.excess == pytest.approx(0.5)


@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_a_budget_that_cannot_hold_the_floors_is_proved_with_its_relaxation(inertia):
    """Provider 0 must have 4 of 10 visits at 2 a visit: 8, but the budget is 5. By hand: 3 of budget must give, or
    1.5 visits of the floor; in parts of the largest coefficient that is 1.5 either way."""
    limit = LinearLimit(np.array([0, 1]), np.array([2.0, 1.0]), -np.inf, 5.0, "budget")
    problem = Problem(
        np.array([10.0]), np.array([0, 2]), np.array([0, 1], dtype=np.int32), np.array([3.0, 1.0]),
        np.array([10.0, 10.0]), np.array([4.0, 0.0]), np.array([0.5, 0.5]), limits=(limit,),
    )  # fmt: skip
    with pytest.raises(InfeasibleError) as caught:
        solve(problem, inertia)
    conflict = caught.value.conflict
    assert any("budget" in line.name for line in conflict.limits)
    assert sum(line.give for line in conflict.limits) > 0
    roomier = replace(limit, high=8.0)
    plan = solve(replace(problem, limits=(roomier,)), inertia)
    assert plan.status == "optimal"
    assert plan.load[0] == pytest.approx(4.0, rel=1e-6)


def test_rows_out_of_order_are_named():
    good = wide(5)
    start = good.row_start.copy()
    start[7], start[8] = start[8], start[7]
    with pytest.raises(ProblemError, match="row"):
        replace(good, row_start=start)
    provider = good.provider.copy()
    provider[170] = provider[161]
    with pytest.raises(ProblemError, match="row 2"):
        replace(good, provider=provider)
