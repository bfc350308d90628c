"""The large markets' path of the entropic programme against cvxpy with Clarabel, the older path and closed forms."""

from __future__ import annotations

import warnings
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from allocation_oracle import KINDS, check_limits, entropic_objective, highs_optimum, random_problem, rows_of, tau_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from footfall.acquire import Problem, solve, solver
from footfall.acquire._entropic import solve_entropic
from footfall.acquire.conflict import LimitNames
from footfall.errors import InfeasibleError

INERTIAS = (0.3, 0.05, 3.0, 1.0, 0.1)


def large(problem, inertia, gap=1e-4, threads=1, prices=None, deadline=None, progress=None):
    return solve_entropic(problem, inertia, gap, threads, prices, deadline, progress, LimitNames())


def regularised(problem, inertia):
    """tau and values as docs/solver.md defines them where rows have no value signal."""
    tau = tau_of(problem, inertia)
    silent = ~(tau > 0)
    weight = problem.demand[~silent].sum()
    usual = float(problem.demand[~silent] @ tau[~silent] / weight) if weight > 0 else inertia
    return np.where(silent, usual, tau), np.where(silent[rows_of(problem)], 0.0, problem.value)


def clarabel_optimum(problem, inertia):
    """The optimum by Clarabel at its tightest, None where it proves that there is none, nan where it fails."""
    tau, value = regularised(problem, inertia)
    row, p = rows_of(problem), problem.reference.astype(float)
    demand = problem.demand[row]
    use = (p > 0) & (problem.capacity[problem.provider] > 0) & (demand > 0)
    lost = float((demand * tau[row] * p)[~use].sum())
    if not use.any():
        return None if (problem.floor > 0).any() else -lost
    x = cp.Variable(int(use.sum()))
    weight = demand[use]
    unit = float(np.abs(weight * np.maximum(np.abs(value[use]), tau[row][use])).sum())
    worth = weight * value[use] / unit @ x - cp.sum(cp.multiply(weight * tau[row][use] / unit, cp.kl_div(x, p[use])))
    edges = np.arange(int(use.sum()))
    by_row = csr_matrix((np.ones(len(edges)), (row[use], edges)), shape=(problem.segments, len(edges)))
    total = max(float(problem.demand.sum()), 1e-300)
    loads = csr_matrix((weight / total, (problem.provider[use], edges)), shape=(problem.providers, len(edges)))
    limits = [by_row @ x <= 1]
    capped = np.isfinite(problem.capacity)
    if capped.any():
        limits.append(loads[capped] @ x <= problem.capacity[capped] / total)
    floored = problem.floor > 0
    if floored.any():
        limits.append(loads[floored] @ x >= problem.floor[floored] / total)
    task = cp.Problem(cp.Maximize(worth), limits)
    tight = {"tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9, "max_iter": 200}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "may be inaccurate": told by the status
        try:
            task.solve(solver=cp.CLARABEL, **tight)
        except cp.error.SolverError:
            return np.nan
    if task.status == "infeasible":
        return None
    return float(task.value) * unit - lost if task.status == "optimal" else np.nan


def against_clarabel(seed, inertia, size=None, kind=None, gap=1e-4):
    problem = random_problem(seed, size, kind)
    optimum = clarabel_optimum(problem, inertia)
    try:
        plan = large(problem, inertia, gap)
    except InfeasibleError as error:
        assert error.conflict.excess > 0
        assert optimum is None or highs_optimum(problem) is None
        return
    check_limits(problem, plan)
    tau, value = regularised(problem, inertia)
    scale = abs(plan.bound) + 1e-3 * float(problem.demand @ tau)
    if optimum is None or not np.isfinite(
        optimum
    ):  # Clarabel gave up or was wrong: bands of 1e-12, references of 1e-12
        optimum = solve(problem, inertia, 1e-9).objective
    assert plan.bound >= optimum - 1e-6 * scale
    assert plan.objective <= optimum + 1e-6 * scale
    assert plan.status == "optimal"
    assert plan.gap <= gap
    again = entropic_objective(replace(problem, value=value), tau, plan.share)
    assert plan.objective == pytest.approx(again, rel=1e-9, abs=1e-9 * scale)
    if highs_optimum(problem) is not None:
        assert plan.lp_bound >= highs_optimum(problem) - 1e-7 * scale


@pytest.mark.parametrize("seed", range(15))
def test_bound_and_plan_hold_the_optimum_of_clarabel(seed):
    against_clarabel(seed, INERTIAS[seed % 5])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(15, 150))
def test_bound_and_plan_hold_the_optimum_of_clarabel_often(seed):
    against_clarabel(seed, INERTIAS[seed % 5])


@given(seed=st.integers(1000, 10**6), n=st.integers(1, 6), m=st.integers(1, 6), inertia=st.sampled_from(INERTIAS))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_small_shape(seed, n, m, inertia):
    against_clarabel(seed, inertia, (n, m), "change")


@pytest.mark.slow
@given(seed=st.integers(1000, 10**6), n=st.integers(1, 8), m=st.integers(1, 8), kind=st.sampled_from(KINDS))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_small_shape_and_kind(seed, n, m, kind):
    problem = random_problem(seed, (n, m), kind)
    try:
        plan = large(problem, 0.3)
    except InfeasibleError:
        assert highs_optimum(problem) is None
        return
    check_limits(problem, plan)
    best = solve(problem, 0.3, 1e-9)
    scale = abs(best.bound) + 1e-6 * float(problem.demand.sum())
    assert plan.bound >= best.objective - 1e-6 * scale
    assert plan.objective <= best.bound + 1e-6 * scale
    assert plan.status == "optimal"


@pytest.mark.parametrize("inertia", [0.3, 3.0])
def test_fine_gaps_are_reached_by_exact_passes(inertia):
    problem = random_problem(6, (40, 60), "change")
    plan, older = large(problem, inertia, 1e-8), solve(problem, inertia, 1e-9)
    assert plan.status == "optimal"
    assert plan.gap <= 1e-8
    assert plan.objective == pytest.approx(older.objective, rel=1e-7)
    np.testing.assert_allclose(plan.load, older.load, rtol=1e-2, atol=1e-2)


def test_prices_are_zero_where_nothing_binds():
    problem = random_problem(6, (40, 60), "change")
    plan, older = large(problem, 1.0, 1e-6), solve(problem, 1.0, 1e-9)
    assert ((plan.price == 0) == (older.price == 0)).mean() > 0.95
    loose = random_problem(4, (40, 60), "loose")
    plan = large(loose, 0.3)
    assert not plan.price.any()
    assert plan.gap < 1e-12


def test_equal_values_and_loose_limits_leave_the_reference():
    problem = random_problem(4, (40, 60), "loose")
    same = replace(problem, value=np.full(problem.edges, 2.0))
    used = np.repeat(problem.demand > 0, np.diff(problem.row_start))
    np.testing.assert_allclose(large(same, 0.3).share[used], problem.reference[used], rtol=1e-12)


def test_share_and_value_in_float32_hold_limits_too():
    for seed in (0, 6, 12):
        problem = random_problem(seed, (60, 12), "change")
        single = replace(
            problem, value=problem.value.astype(np.float32), reference=problem.reference.astype(np.float32)
        )
        plan = large(single, 0.3)
        assert plan.status == "optimal"
        check_limits(single, plan)


def test_threads_agree_within_the_gap_and_repeat_exactly():
    problem = random_problem(12, (60, 12), "change")
    one, two, again = (large(problem, 0.3, 1e-5, threads) for threads in (1, 3, 3))
    assert (two.share == again.share).all()
    assert (two.price == again.price).all()
    assert one.objective == pytest.approx(two.objective, rel=1e-5)
    assert one.bound == pytest.approx(two.bound, rel=1e-5)


def test_warm_prices_save_passes():
    problem = random_problem(12, (60, 12), "change")
    cold = large(problem, 0.1)
    rng = np.random.default_rng(1)
    tomorrow = replace(problem, value=problem.value * rng.uniform(0.99, 1.01, problem.edges))
    assert large(tomorrow, 0.1, prices=cold.price).iterations < 0.65 * large(tomorrow, 0.1).iterations


def test_empty_problems():
    none = np.zeros(0)
    at = np.zeros(1, dtype=np.int64)
    nobody = Problem(none, at, np.zeros(0, dtype=np.int32), none, np.array([1.0]), np.array([0.0]), none)
    plan = large(nobody, 0.3)
    assert plan.status == "optimal"
    assert plan.objective == 0
    idle = Problem(
        np.zeros(2), np.array([0, 1, 1]), np.zeros(1, dtype=np.int32), np.ones(1), np.ones(1), np.zeros(1), np.ones(1)
    )
    assert large(idle, 0.3).share == pytest.approx([1.0])


def test_one_provider_and_its_capacity():
    """One row of 10 visits, one provider of capacity 4: share 0.4, price v - tau log 0.4 by hand."""
    problem = Problem(
        np.array([10.0]), np.array([0, 1]), np.zeros(1, dtype=np.int32), np.array([2.0]), np.array([4.0]),
        np.zeros(1), np.ones(1),
    )  # fmt: skip
    plan = large(problem, 0.5, 1e-9)
    np.testing.assert_allclose(plan.share, [0.4], rtol=1e-6)
    np.testing.assert_allclose(plan.price, [2.0 - 1.0 * np.log(0.4)], rtol=1e-3)


def test_zero_references_silent_rows_and_closed_providers():
    """Edges without reference or capacity carry nothing; rows without a value signal stay at their reference."""
    start, who = np.array([0, 3, 5]), np.array([0, 1, 2, 0, 1], dtype=np.int32)
    value = np.array([3.0, 1.0, 9.0, -1.0, -2.0])
    reference = np.array([0.5, 0.5, 0.0, 0.25, 0.75])
    problem = Problem(
        np.array([10.0, 10.0]), start, who, value, np.array([100.0, 100.0, 50.0]), np.zeros(3), reference
    )  # fmt: skip
    plan = large(problem, 0.3)
    assert plan.share[2] == 0
    np.testing.assert_allclose(plan.share[3:], reference[3:], rtol=1e-12)
    shut = replace(problem, capacity=np.array([100.0, 0.0, 50.0]))
    plan, older = large(shut, 0.3), solve(shut, 0.3)
    assert plan.share[1] == plan.share[4] == 0
    assert plan.objective == pytest.approx(older.objective, rel=1e-4)
    check_limits(shut, plan)


def test_floors_that_cannot_be_met_are_proved():
    problem = random_problem(0, (10, 20), "change")
    asked = replace(problem, floor=problem.floor * 2, capacity=problem.capacity * 3)
    assert highs_optimum(asked) is None
    with pytest.raises(InfeasibleError) as caught:
        large(asked, 0.3)
    assert caught.value.conflict.excess > 0


def test_a_floor_on_an_edge_without_reference_is_in_conflict():
    problem = Problem(
        np.array([10.0]), np.array([0, 2]), np.array([0, 1], dtype=np.int32), np.ones(2), np.full(2, 10.0),
        np.array([0.0, 1.0]), np.array([1.0, 0.0]),
    )  # fmt: skip
    with pytest.raises(InfeasibleError):
        large(problem, 0.3)


@pytest.mark.parametrize("prices", [None, "warm"])
def test_time_limit_and_interrupt_return_a_marked_plan(prices):
    problem = random_problem(7, (60, 12), "tight")
    start = None if prices is None else np.random.default_rng(0).normal(0, 0.1, 12)
    plan = large(problem, 0.1, 1e-9, prices=start, deadline=0.0)
    assert plan.status == "time_limit"
    check_limits(problem, plan)
    assert plan.objective < plan.bound
    assert plan.lp_bound >= highs_optimum(problem) * (1 - 1e-9)

    def stop(iteration, bound, objective):
        if iteration == 3:
            raise KeyboardInterrupt

    plan = large(problem, 0.1, 1e-9, prices=start, threads=2, progress=stop)
    assert plan.status == "interrupted"
    assert plan.iterations == 3
    check_limits(problem, plan)
    assert plan.objective < plan.bound


def test_progress_is_told_every_pass():
    told = []
    problem = random_problem(0, (60, 12), "change")
    plan = large(problem, 0.3, progress=lambda *state: told.append(state))
    assert [state[0] for state in told] == list(range(1, plan.iterations + 1))
    assert told[-1][1] == pytest.approx(plan.bound, rel=1e-3)


def test_extreme_values_start_with_exact_passes():
    problem = random_problem(0, (10, 20), "change")
    huge = replace(problem, value=problem.value * 1e30)
    plan, usual = large(huge, 0.3), large(problem, 0.3)
    assert plan.status == "optimal"
    assert plan.objective == pytest.approx(usual.objective * 1e30, rel=3e-4)


def test_solve_takes_this_path_for_many_edges(monkeypatch):
    """4,400 edges where 4,000 are many and 100 providers too many to polish: this path's certificate and H(l)."""
    for name, value in (("_SMALL", 4_000), ("_POLISHED", 100)):
        monkeypatch.setattr(solver, name, value)
    rng = np.random.default_rng(0)
    n, m, k = 220, 320, 20
    provider = np.concatenate([np.sort(rng.choice(m, k, replace=False)) for _ in range(n)]).astype(np.int32)
    reference = rng.dirichlet(np.ones(k), n).ravel()
    demand = rng.lognormal(2, 1, n)
    load = np.bincount(provider, np.repeat(demand, k) * reference, minlength=m)
    value = rng.lognormal(0, 1, n * k)
    problem = Problem(
        demand, np.arange(0, n * k + 1, k), provider, value, 1.3 * load, 0.7 * load, reference
    )  # fmt: skip
    plan = solve(problem, 0.3)
    assert plan.status == "optimal"
    check_limits(problem, plan)
    assert plan.lp_bound >= plan.reward
    own = large(problem, 0.3, threads=None)
    assert plan.objective == own.objective
    assert plan.lp_bound == own.lp_bound
    capped = solve(replace(problem, upper=np.full(n * k, 0.999)), 0.3)
    assert capped.objective <= plan.bound
