"""The solver against HiGHS, SciPy, exact rationals and closed forms."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from allocation_oracle import (
    check_limits,
    entropic_objective,
    highs_optimum,
    random_problem,
    rows_of,
    tau_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize

from footfall.acquire import Problem, solve
from footfall.errors import InfeasibleError, ProblemError

INERTIAS = (0.01, 3.0, 0.001, 0.1)


def one_row(demand, value, capacity, floor=None, reference=None):
    k = len(value)
    return Problem(
        np.array([demand], dtype=float),
        np.array([0, k]),
        np.arange(k, dtype=np.int32),
        np.array(value, dtype=float),
        np.array(capacity, dtype=float),
        np.zeros(k) if floor is None else np.array(floor, dtype=float),
        None if reference is None else np.array(reference, dtype=float),
    )


def against_highs(seed):
    problem = random_problem(seed)
    optimum = highs_optimum(problem)
    try:
        plain = solve(problem)
    except InfeasibleError:
        assert optimum is None
        return
    assert optimum is not None
    slack = 1e-7 * abs(optimum) + 1e-9
    assert plain.status == "optimal"
    assert plain.gap <= 1e-4
    assert plain.bound >= optimum - slack
    assert plain.objective <= optimum + slack
    assert plain.bound - plain.objective <= 1.0001e-4 * abs(plain.bound) + 1e-9
    assert plain.lp_bound == plain.bound
    check_limits(problem, plain)
    for inertia in (0.3, INERTIAS[seed % 4]):
        try:
            plan = solve(problem, inertia)
        except InfeasibleError:
            assert (problem.reference == 0).any()
            continue
        assert plan.status == "optimal"
        assert plan.lp_bound >= optimum - slack
        assert plan.lp_bound <= optimum + 1e-4 * abs(optimum) + 1e-9
        assert plan.reward <= optimum + slack
        assert plan.objective <= plan.bound
        check_limits(problem, plan)


@pytest.mark.parametrize("seed", range(72))
def test_bounds_hold_the_optimum_of_highs(seed):
    against_highs(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(72, 500))
def test_bounds_hold_the_optimum_of_highs_often(seed):
    against_highs(seed)


@given(seed=st.integers(1000, 10**6), n=st.integers(1, 6), m=st.integers(1, 6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_small_shape(seed, n, m):
    problem = random_problem(seed, (n, m))
    optimum = highs_optimum(problem)
    try:
        plan = solve(problem)
    except InfeasibleError:
        assert optimum is None
        return
    assert optimum is not None
    assert plan.objective - 1e-7 * abs(optimum) - 1e-9 <= optimum <= plan.bound + 1e-7 * abs(optimum) + 1e-9
    assert plan.status == "optimal"
    check_limits(problem, plan)


def exact_bound(problem, price):
    """H(l) in rationals: sum_i d_i max(0, max_j (v_ij - l_j)) + sum_j c_j l_j+ - f_j l_j-."""
    total, price = Fraction(0), [Fraction(x) for x in price]
    for i, d in enumerate(problem.demand):
        edges = range(problem.row_start[i], problem.row_start[i + 1])
        best = [Fraction(float(problem.value[e])) - price[problem.provider[e]] for e in edges]
        total += Fraction(d) * max([Fraction(0), *best])
    for j, worth in enumerate(price):
        if worth > 0:
            total += Fraction(problem.capacity[j]) * worth
        elif worth < 0:
            total += Fraction(problem.floor[j]) * worth
    return total


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_is_that_of_its_prices_in_exact_rationals(seed):
    problem = random_problem(seed, (3, 4), "change")
    plan = solve(problem)
    assert float(exact_bound(problem, plan.price)) == pytest.approx(plan.bound, rel=1e-9, abs=1e-9)
    reward = sum(
        Fraction(problem.demand[i]) * Fraction(plan.share[e]) * Fraction(problem.value[e])
        for e, i in enumerate(rows_of(problem))
    )
    assert float(reward) == pytest.approx(plan.objective, rel=1e-12)
    assert plan.objective == plan.reward


@pytest.mark.parametrize("seed", range(12))
def test_entropic_optimum_of_scipy(seed):
    """SLSQP on tiny cases: an independent convex method finds nothing above our bound, and comes near it."""
    problem = random_problem(seed, (2, 3), ("change", "loose", "random")[seed % 3])
    inertia = (0.1, 0.3, 1.0)[(seed // 3) % 3]
    tau = tau_of(problem, inertia)
    row = rows_of(problem)
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
    found = minimize(
        lambda x: -entropic_objective(problem, tau, np.maximum(x, 1e-15)) / scale,
        problem.reference,
        method="SLSQP",
        bounds=[(1e-15, 1)] * problem.edges,
        constraints=[
            LinearConstraint(sums, -np.inf, 1),
            LinearConstraint(loads, problem.floor, np.minimum(problem.capacity, 1e9)),
        ],
        options={"maxiter": 500, "ftol": 1e-13},
    )
    assert plan.objective == pytest.approx(entropic_objective(problem, tau, plan.share), rel=1e-9, abs=1e-9)
    broken = np.maximum(loads @ found.x - problem.capacity, 0).max() + np.maximum(sums @ found.x - 1, 0).max()
    broken += np.maximum(problem.floor - loads @ found.x, 0).max()
    if broken < 1e-7:
        assert -found.fun * scale <= plan.bound + 1e-6 * scale
    if found.success and broken < 1e-7:
        assert -found.fun * scale == pytest.approx(plan.objective, rel=1e-4, abs=1e-4 * scale)


@pytest.mark.parametrize("seed", [s for s in range(24) if s % 6 in (0, 5)])
def test_entropic_shares_are_the_closed_form_of_the_prices(seed):
    """x = p exp((v - l)/tau) / max(1, S), and prices have the signs of what binds (KKT, design, "Plan")."""
    problem = random_problem(seed, (6, 8))
    tau = tau_of(problem, 0.3)
    row = rows_of(problem)
    if (tau <= 0).any() or not len(row):
        return
    try:
        plan = solve(problem, 0.3)
    except InfeasibleError:
        return
    raw = problem.reference * np.exp((problem.value - plan.price[problem.provider]) / tau[row])
    expected = raw / np.maximum(1, np.bincount(row, raw, minlength=problem.segments))[row]
    np.testing.assert_allclose(plan.share, expected, atol=1e-6)
    binding_up, binding_down = plan.price > 1e-6, plan.price < -1e-6
    np.testing.assert_allclose(plan.load[binding_up], problem.capacity[binding_up], rtol=1e-5)
    np.testing.assert_allclose(plan.load[binding_down], problem.floor[binding_down], rtol=1e-5)


def test_two_providers_by_hand():
    """d = 10, v = (3, 1), c = (4, inf): 4 visits at 3 and 6 at 1 make 18; the capacity's price is 3 - 1."""
    plan = solve(one_row(10, [3, 1], [4, np.inf]))
    assert plan.objective == pytest.approx(18, rel=1e-7)
    np.testing.assert_allclose(plan.load, [4, 6], rtol=1e-7)
    np.testing.assert_allclose(plan.price, [2, 0], atol=1e-5)


def test_two_providers_with_inertia_by_hand():
    """v = (2, 0), p = (1/2, 1/2), inertia 1: tau = 1, odds = exp(2), and S > 1 so that the row is full."""
    plan = solve(one_row(1, [2, 0], [np.inf, np.inf], reference=[0.5, 0.5]), inertia=1.0)
    odds = np.exp(2.0)
    np.testing.assert_allclose(plan.share, [odds / (1 + odds), 1 / (1 + odds)], rtol=1e-12)
    assert plan.bound == pytest.approx(np.log(0.5 * np.exp(2.0) + 0.5), rel=1e-12)
    assert plan.lp_bound == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize("inertia", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("value", [0.0, 1.0, 7.5, -1.0])
def test_equal_values_leave_the_reference_where_it_is(value, inertia):
    problem = random_problem(5, (8, 10), "loose")
    usual = np.bincount(problem.provider, problem.demand[rows_of(problem)] * problem.reference, minlength=10)
    problem = Problem(
        problem.demand, problem.row_start, problem.provider, np.full(problem.edges, value),
        1.3 * usual, 0.7 * usual, problem.reference,
    )  # fmt: skip
    plan = solve(problem, inertia)
    np.testing.assert_allclose(plan.share, problem.reference, atol=1e-9)
    np.testing.assert_array_equal(plan.price, 0.0)
    assert plan.status == "optimal"


def test_a_row_without_signal_moves_only_as_far_as_limits_ask():
    """Two rows: the second has no positive value on its reference; a floor of 6 needs 1 visit more at provider 1."""
    problem = Problem(
        np.array([10.0, 10.0]), np.array([0, 2, 4]), np.array([0, 1, 0, 1], dtype=np.int32), np.array([2.0, 2, 0, -1]),
        np.full(2, np.inf), np.array([0.0, 11.0]), np.array([0.5, 0.5, 0.5, 0.5]),
    )  # fmt: skip
    free = solve(problem, 0.3)
    check_limits(problem, free)
    assert free.load[1] == pytest.approx(11.0, rel=1e-6)
    assert 0.5 <= free.share[3] < 0.56
    loose = Problem(
        problem.demand,
        problem.row_start,
        problem.provider,
        problem.value,
        problem.capacity,
        np.zeros(2),
        problem.reference,
    )
    np.testing.assert_allclose(solve(loose, 0.3).share, 0.5, atol=1e-12)


def test_negative_values_are_not_chosen():
    plan = solve(one_row(5, [-1, -2], [np.inf, np.inf]))
    np.testing.assert_array_equal(plan.share, 0)
    assert plan.unassigned[0] == 5
    assert plan.objective == plan.bound == 0


def test_a_floor_can_force_a_negative_value():
    plan = solve(one_row(5, [1, -2], [np.inf, np.inf], floor=[0, 1]))
    assert plan.objective == pytest.approx(4 - 2, rel=1e-7)
    assert plan.price[1] == pytest.approx(-3, rel=1e-5)


@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_empty_shapes(inertia):
    def arrays(n, m, start):
        return (
            np.ones(n),
            np.array(start),
            np.zeros(0, dtype=np.int32),
            np.zeros(0),
            np.ones(m),
            np.zeros(m),
            np.zeros(0),
        )

    for n, m, start in ((0, 0, [0]), (0, 3, [0]), (2, 3, [0, 0, 0]), (2, 0, [0, 0, 0])):
        plan = solve(Problem(*arrays(n, m, start)), inertia)
        assert plan.status == "optimal"
        assert plan.reward == plan.objective == plan.bound == 0
        np.testing.assert_array_equal(plan.unassigned, np.ones(n))
        assert plan.load.shape == plan.price.shape == (m,)


@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_capacity_zero_everywhere(inertia):
    plan = solve(one_row(3, [1, 2], [0, 0], reference=[0.5, 0.5]), inertia)
    np.testing.assert_array_equal(plan.share, 0)
    assert plan.unassigned[0] == 3
    assert plan.status == "optimal"
    if inertia:  # leaving the reference altogether costs d tau (p_0 + p_1), tau = 0.3 x 1.5
        assert plan.objective == pytest.approx(-3 * 0.45)


def test_float32_values_give_the_same_plan():
    problem = random_problem(6, (20, 30), "change")
    narrow = Problem(
        problem.demand, problem.row_start, problem.provider, problem.value.astype(np.float32), problem.capacity,
        problem.floor, problem.reference.astype(np.float32),
    )  # fmt: skip
    for inertia in (0.0, 0.3):
        wide, small = solve(problem, inertia), solve(narrow, inertia)
        assert small.objective == pytest.approx(wide.objective, rel=1e-5)
        check_limits(narrow, small, 1e-6)


@pytest.mark.parametrize("inertia", [0.0, 0.3])
@pytest.mark.parametrize("threads", [1, 3])
def test_same_threads_same_plan_and_warm_prices_are_quick(inertia, threads):
    problem = random_problem(30, (40, 60), "change")
    first, again = (solve(problem, inertia, threads=threads) for _ in range(2))
    np.testing.assert_array_equal(first.share, again.share)
    np.testing.assert_array_equal(first.price, again.price)
    warm = solve(problem, inertia, prices=first.price)
    assert warm.status == "optimal"
    assert warm.iterations <= first.iterations


@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_time_limit_and_interrupt_return_the_best_plan(inertia):
    problem = random_problem(30, (40, 60), "change")
    late = solve(problem, inertia, time_limit_s=0.0)
    assert late.status == "time_limit"
    assert late.gap > 1e-4
    check_limits(problem, late)

    def stop(iteration, bound, objective):
        assert np.isfinite(bound)
        if iteration == 3:
            raise KeyboardInterrupt

    stopped = solve(problem, inertia, progress=stop)
    assert stopped.status == "interrupted"
    assert stopped.iterations == 3
    assert stopped.bound >= stopped.objective
    check_limits(problem, stopped)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"inertia": -1.0}, "inertia"),
        ({"inertia": np.nan}, "inertia"),
        ({"gap": 0.0}, "gap"),
        ({"threads": 0}, "threads"),
        ({"time_limit_s": -1.0}, "time_limit_s"),
        ({"prices": np.zeros(7)}, "prices"),
        ({"inertia": 0.3}, "reference is None"),
    ],
)
def test_options_out_of_range(options, told):
    with pytest.raises(ProblemError, match=told):
        solve(one_row(1, [1, 2], [1, 1]), **options)


@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_descent_alone_reaches_the_gap(monkeypatch, inertia):
    """The method for many providers, on a problem that HiGHS can check."""
    from footfall.acquire import solver

    monkeypatch.setattr(solver, "_MOST_DENSE", 0)
    monkeypatch.setattr(solver, "_POLISHED", 0)
    problem = random_problem(3, (300, 40), "mixed")
    optimum = highs_optimum(problem)
    plan = solve(problem, inertia, gap=1e-3)
    assert plan.status == "optimal"
    assert plan.lp_bound >= optimum * (1 - 1e-7)
    assert plan.lp_bound <= optimum * (1 + 2e-3)
    assert plan.reward <= optimum * (1 + 1e-7)
    check_limits(problem, plan)
