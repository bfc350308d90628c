"""Largest shares of single edges: against HiGHS, SciPy, exact rationals, and the optimality conditions."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from allocation_oracle import (
    capped_problem,
    check_limits,
    entropic_objective,
    highs_optimum,
    random_problem,
    rows_of,
    tau_of,
)
from scipy.optimize import LinearConstraint, linprog, minimize

from footfall.acquire import Problem, solve
from footfall.acquire import _capped as capped
from footfall.acquire._passes import Passes
from footfall.acquire._work import entropic_work, plain_work
from footfall.acquire.conflict import LimitNames
from footfall.errors import InfeasibleError, ProblemError

KINDS = ("loose", "random", "change", "mixed")


def against_highs(seed):
    """Bounds on both sides of HiGHS's optimum at inertia 0, its bound at others; or both refuse."""
    problem = capped_problem(seed, kind=KINDS[seed % 4])
    optimum = highs_optimum(problem)
    try:
        plain = solve(problem)
    except InfeasibleError as error:
        assert optimum is None
        check_conflict(problem, error.conflict)
        return False
    assert optimum is not None
    slack = 1e-7 * abs(optimum) + 1e-9
    assert plain.status == "optimal"
    assert plain.bound >= optimum - slack
    assert plain.objective <= optimum + slack
    assert plain.bound - plain.objective <= 1.0001e-4 * abs(plain.bound) + 1e-9
    assert plain.lp_bound == plain.bound
    check_limits(problem, plain)
    for inertia in (0.3, (0.01, 3.0)[seed % 2]):
        try:
            plan = solve(problem, inertia)
        except InfeasibleError:
            assert (problem.reference == 0).any()
            continue
        assert plan.status == "optimal"
        assert plan.objective <= plan.bound
        assert optimum - slack <= plan.lp_bound <= optimum + 1e-4 * abs(optimum) + 1e-9
        assert plan.reward <= optimum + slack
        check_limits(problem, plan)
    return True


def check_conflict(problem, conflict):
    """The least relaxation of HiGHS; the proof counted in rationals over every edge into the set."""
    least = highs_optimum(problem, relax=True)
    assert conflict.excess == pytest.approx(least, rel=1e-7, abs=1e-9)
    assert sum(limit.give for limit in conflict.limits) == pytest.approx(least, rel=1e-7, abs=1e-9)
    assert all(limit.weight == 1 for limit in conflict.limits)
    names = [limit.name.split() for limit in conflict.limits]
    providers = {int(name[1]) for name in names if name[-1] == "floor"}
    whole = {int(name[1]) for name in names if name[-1] == "demand"}
    single = {(int(name[7]), int(name[4])) for name in names if name[0] == "share"}
    there = sum((Fraction(float(problem.demand[i])) for i in whole), Fraction(0))
    for e, i in enumerate(rows_of(problem).tolist()):
        j, u = int(problem.provider[e]), float(problem.upper[e])
        if j in providers and i not in whole and problem.demand[i] > 0 and u > 0:
            assert (i, j) in single
            there += Fraction(float(problem.demand[i])) * Fraction(u)
    asked = sum(Fraction(float(problem.floor[j])) for j in providers)
    assert float(asked - there) == conflict.excess > 0


def test_bounds_and_verdicts_of_highs():
    met = sum(against_highs(seed) for seed in range(60))
    assert 25 <= met <= 55  # both verdicts are well represented


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60, 500))
def test_bounds_and_verdicts_of_highs_often(seed):
    against_highs(seed)


@pytest.mark.parametrize("seed", range(12))
def test_entropic_optimum_of_scipy(seed):
    """SLSQP on tiny cases finds nothing above our bound, and comes near it."""
    problem = capped_problem(seed, (2, 3), ("loose", "change", "random")[seed % 3])
    problem = replace(problem, upper=np.maximum(problem.upper, 0.02))
    inertia = (0.1, 0.3, 1.0)[(seed // 3) % 3]
    tau, row = tau_of(problem, inertia), rows_of(problem)
    if not (tau[problem.demand > 0] > 0).all() or not problem.edges:
        return
    try:
        plan = solve(problem, inertia)
    except InfeasibleError:
        assert highs_optimum(problem) is None
        return
    loads = np.zeros((problem.providers, problem.edges))
    loads[problem.provider, np.arange(problem.edges)] = problem.demand[row]
    sums = (row == np.arange(problem.segments)[:, None]).astype(float)
    scale = abs(plan.objective) + 1
    limits = [
        LinearConstraint(sums, -np.inf, 1),
        LinearConstraint(-loads, -np.inf, -problem.floor),
        LinearConstraint(loads, -np.inf, np.minimum(problem.capacity, 1e9)),
    ]
    found = minimize(
        lambda x: -entropic_objective(problem, tau, np.maximum(x, 1e-15)) / scale,
        np.minimum(problem.reference, problem.upper),
        method="SLSQP",
        bounds=[(1e-15, u) for u in problem.upper],
        constraints=limits,
        options={"maxiter": 500, "ftol": 1e-13},
    )
    assert plan.objective == pytest.approx(entropic_objective(problem, tau, plan.share), rel=1e-9, abs=1e-9)
    broken = max(0.0, *(float((c.A @ found.x - c.ub).max()) for c in limits))
    if broken < 1e-7:
        assert -found.fun * scale <= plan.bound + 1e-6 * scale
        if found.success:
            assert -found.fun * scale == pytest.approx(plan.objective, rel=1e-4, abs=1e-4 * scale)


@pytest.mark.parametrize("inertia", [0.1, 1.0])
def test_equal_values_and_caps_that_do_not_bind_leave_the_reference(inertia):
    problem = random_problem(5, (8, 10), "loose")
    upper = np.minimum(problem.reference * 1.2, 1.0)
    plan = solve(replace(problem, value=np.full(problem.edges, 2.0), upper=upper), inertia)
    np.testing.assert_allclose(plan.share, problem.reference, atol=1e-9)
    np.testing.assert_array_equal(plan.price, 0.0)


@pytest.mark.parametrize("seed", range(10))
def test_optimality_conditions(seed):
    """v - l - tau log(x / p) is one level in a full row for all below their caps, at least that at the caps."""
    problem = capped_problem(seed, (6, 8), ("loose", "change")[seed % 2])
    problem = replace(problem, value=np.abs(problem.value) + 0.5, upper=np.maximum(problem.upper, 0.05))
    try:
        plan = solve(problem, 0.3)
    except InfeasibleError:
        assert highs_optimum(problem) is None
        return
    tau, row = tau_of(problem, 0.3), rows_of(problem)
    gain = problem.value - plan.price[problem.provider] - tau[row] * np.log(plan.share / problem.reference)
    at_cap = plan.share >= problem.upper * (1 - 1e-9)
    for i in range(problem.segments):
        mine = (row == i) & (plan.share > 1e-6)
        if not mine.any() or problem.demand[i] == 0:
            continue
        full = plan.share[row == i].sum() >= 1 - 1e-9
        level = gain[mine & ~at_cap].mean() if (mine & ~at_cap).any() else 0.0
        tolerance = 1e-4 * tau[i] + 1e-6
        if not full:
            assert abs(level) <= tolerance
        assert (np.abs(gain[mine & ~at_cap] - level) <= tolerance).all()
        assert (gain[mine & at_cap] >= level - tolerance).all()


def test_two_providers_by_hand():
    """d = 10, v = (3, 1), u = (0.4, 1): 4 visits at 3 and 6 at 1 make 18, and no provider's limit has a price."""
    problem = Problem(
        np.array([10.0]), np.array([0, 2]), np.array([0, 1], dtype=np.int32), np.array([3.0, 1.0]),
        np.full(2, np.inf), np.zeros(2), np.array([0.5, 0.5]), upper=np.array([0.4, 1.0]),
    )  # fmt: skip
    plan = solve(problem)
    assert plan.objective == pytest.approx(18, rel=1e-9)
    np.testing.assert_allclose(plan.share, [0.4, 0.6], rtol=1e-9)
    np.testing.assert_array_equal(plan.price, 0.0)
    np.testing.assert_allclose(solve(problem, 0.3).share, [0.4, 0.6], rtol=1e-9)
    none = solve(replace(problem, demand=np.zeros(1)))
    np.testing.assert_allclose(none.share, [0.4, 0.6])


def test_caps_that_leave_share_over():
    """u = (0.2, 0.3): half of the row stays unassigned, at any inertia."""
    problem = Problem(
        np.array([10.0]), np.array([0, 2]), np.array([0, 1], dtype=np.int32), np.array([3.0, 1.0]),
        np.full(2, np.inf), np.zeros(2), np.array([0.5, 0.5]), upper=np.array([0.2, 0.3], dtype=np.float32),
    )  # fmt: skip
    for inertia in (0.0, 0.3):
        plan = solve(problem, inertia)
        np.testing.assert_allclose(plan.unassigned, 5, rtol=1e-6)
        assert plan.status == "optimal"


def test_caps_of_one_are_no_caps():
    problem = random_problem(2, (6, 8))
    plain, capless = solve(problem, 0.3), solve(replace(problem, upper=np.ones(problem.edges)), 0.3)
    np.testing.assert_array_equal(plain.share, capless.share)
    assert plain.bound == capless.bound


@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_descent_alone_reaches_the_gap(monkeypatch, inertia):
    """The method for many providers, on a problem that HiGHS can check."""
    from footfall.acquire import solver

    monkeypatch.setattr(solver, "_MOST_DENSE", 0)
    monkeypatch.setattr(solver, "_POLISHED", 0)
    problem = random_problem(3, (200, 30), "mixed")
    problem = replace(problem, upper=np.full(problem.edges, 0.3), floor=np.minimum(problem.floor, 1.0))
    optimum = highs_optimum(problem)
    plan = solve(problem, inertia, gap=1e-3)
    assert plan.status == "optimal"
    assert optimum * (1 - 1e-7) <= plan.lp_bound <= optimum * (1 + 2e-3)
    assert plan.reward <= optimum * (1 + 1e-7)
    check_limits(problem, plan)


@pytest.mark.parametrize("seed", range(8))
def test_rows_are_those_of_scipy(seed):
    """One row at any prices: HiGHS (scipy.linprog) for the knapsack, SLSQP for the ridge's value."""
    problem = capped_problem(seed, (1, 5), "loose")
    problem = replace(problem, capacity=np.full(5, 10.0))
    if not problem.edges or problem.demand[0] == 0:
        return
    rng = np.random.default_rng(seed)
    price = rng.normal(0, 1, problem.providers)
    with Passes(plain_work(problem), 1) as passes:
        work = passes.work
        if not len(work.value):
            return
        gain = work.value - price[work.provider]
        upper = np.ones(len(gain)) if work.upper is None else work.upper
        found = linprog(-gain, A_ub=np.ones((1, len(gain))), b_ub=1, bounds=[(0, u) for u in upper])
        worth = passes.limits_worth(price)
        assert passes.bound(price) - worth == pytest.approx(-found.fun * problem.demand[0], rel=1e-9, abs=1e-12)
        for ridge in (0.1, 3.0):
            at = passes.ridge(price, ridge)
            smooth = minimize(
                lambda x, ridge=ridge: -(gain @ x) + ridge / 2 * x @ x, np.minimum(0.1, upper), method="SLSQP",
                jac=lambda x, ridge=ridge: -gain + ridge * x, bounds=[(0, u) for u in upper],
                constraints=[LinearConstraint(np.ones((1, len(gain))), -np.inf, 1)], options={"ftol": 1e-14},
            )  # fmt: skip
            assert at.value - worth == pytest.approx(-smooth.fun * problem.demand[0], rel=1e-7, abs=1e-9)
            assert at.plain == pytest.approx(passes.bound(price), rel=1e-12)
            assert (at.share <= upper).all() and at.share.sum() <= 1 + 1e-12


@pytest.mark.parametrize("seed", range(8))
def test_slope_of_the_dual_is_what_loads_leave(seed):
    """Danskin: the entropic dual's derivative in a price is -load (capacities and floors aside), by differences."""
    problem = capped_problem(seed, (4, 5), "loose")
    problem = replace(problem, capacity=np.full(5, 10.0))
    if not (tau_of(problem, 0.5) > 0).all() or not problem.edges:
        return
    price = np.random.default_rng(seed).normal(0, 1, problem.providers)
    with Passes(entropic_work(problem, 0.5), 1) as passes:
        tau, step = passes.work.tau, 1e-6
        at = passes.entropy(price, tau)
        scale = float(problem.demand.sum())
        for j in range(problem.providers):
            unit = step * np.eye(problem.providers)[j]
            up, down = passes.entropy(price + unit, tau), passes.entropy(price - unit, tau)
            worth = passes.limits_worth(price + unit) - passes.limits_worth(price - unit)
            slope = (up.value - down.value - worth) / (2 * step)
            assert slope == pytest.approx(-at.load[j], rel=1e-4, abs=1e-5 * scale)


def test_an_edge_at_its_cap_does_not_drown_the_others():
    """Exponents 9,000 apart: what the cap leaves still goes to the others, by p (log-sum-exp anew each round)."""
    share = np.empty(3)
    log_z = capped.entropy_row(np.array([9000.0, 1, 1]), np.array([0.2, 0.2, 0.6]), np.array([0.5, 1, 1]), share)
    np.testing.assert_allclose(share, [0.5, 0.125, 0.375], rtol=1e-12)
    assert log_z == pytest.approx(1 + np.log(0.8 / 0.5))


@pytest.mark.parametrize("cap", [1e-17, 1e-20, 1e-100, 1e-300, 5e-324])
@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_a_cap_that_is_next_to_nothing_is_a_cap_of_nothing(cap, inertia):
    """The plan is that of the same problem with 0 in place of the cap, and the edge takes nothing to speak of."""
    problem = random_problem(1, (6, 5), "random")
    problem = replace(problem, floor=np.zeros(problem.providers))
    upper = np.where(np.arange(problem.edges) % 3 == 0, cap, 1.0)
    plan = solve(replace(problem, upper=upper), inertia)
    without = solve(replace(problem, upper=np.where(upper < 1, 0.0, 1.0)), inertia)
    assert plan.status == without.status == "optimal"
    assert plan.objective == pytest.approx(without.objective, rel=1e-9)
    assert (plan.share[upper < 1] <= cap).all()


def test_a_conflict_names_the_share_caps():
    """Segment 0 (10 visits) may send provider 0 at most 3, segment 1 all of its 5: a floor of 9 is 1 too many."""
    problem = Problem(
        np.array([10.0, 5.0]), np.array([0, 2, 3]), np.array([0, 1, 0], dtype=np.int32), np.ones(3),
        np.full(2, 50.0), np.array([9.0, 0.0]), upper=np.array([0.3, 1.0, 1.0]),
    )  # fmt: skip
    with pytest.raises(InfeasibleError, match="8 within their share caps; 1 too many") as refused:
        solve(problem)
    limits = {limit.name: limit.bound for limit in refused.value.conflict.limits}
    assert limits == {
        "provider 0 floor": 9.0,
        "segment 1 demand": 5.0,
        "share cap of provider 0 in segment 0": pytest.approx(3.0),
    }
    names = LimitNames(share_caps=lambda j, i: f"cap {j}/{i}")
    with pytest.raises(InfeasibleError) as refused:
        solve(problem, names=names)
    assert "cap 0/0" in {limit.name for limit in refused.value.conflict.limits}
    assert solve(replace(problem, floor=np.array([8.0, 0.0]))).load[0] == pytest.approx(8)


@pytest.mark.parametrize(
    ("upper", "told"),
    [
        ([0.5, np.nan, 1.0], "row 0, provider 1: upper nan must be a share from 0 to 1"),
        ([0.5, 1.0, -0.1], "row 1, provider 0: upper -0.1"),
        ([1.5, 1.0, 1.0], "row 0, provider 0: upper 1.5"),
        ([1.0], "upper has 1 entries; it must have 3"),
    ],
)
def test_upper_that_is_no_share_is_refused(upper, told):
    with pytest.raises(ProblemError, match=told):
        Problem(
            np.ones(2), np.array([0, 2, 3]), np.array([0, 1, 0], dtype=np.int32), np.ones(3), np.full(2, 5.0),
            np.zeros(2), upper=np.array(upper),
        )  # fmt: skip
