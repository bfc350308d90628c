"""Kernels against their definitions: closed forms by KKT, sums by numpy, blocks against the whole."""

from __future__ import annotations

import numpy as np
import pytest
from allocation_oracle import entropic_objective, random_problem, rows_of, tau_of
from scipy.optimize import minimize

from footfall.acquire import kernels
from footfall.acquire._linear import solve_positive
from footfall.acquire._passes import Passes
from footfall.acquire._work import entropic_work, plain_work


def prices(problem, seed=0):
    return np.random.default_rng(seed).normal(0, 1, problem.providers)


@pytest.mark.parametrize("seed", range(12))
def test_bound_rows(seed):
    problem = random_problem(seed, (20, 15))
    price = prices(problem)
    gain = problem.value - price[problem.provider]
    best = np.zeros(problem.segments)
    np.maximum.at(best, rows_of(problem), gain)
    got = kernels.bound_rows(
        problem.row_start, problem.provider, problem.value, problem.demand, price, 0, problem.segments
    )
    assert got == pytest.approx(problem.demand @ best, rel=1e-12)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ridge", [0.01, 0.5, 20.0])
def test_ridge_rows_satisfy_kkt(seed, ridge):
    """x maximises a.x - g/2 |x|^2 over x >= 0, sum x <= 1 iff a - g x = t + s, t, s >= 0, complementary."""
    problem = random_problem(seed, (10, 12), "loose")
    work, price = plain_work(problem), prices(problem)
    with Passes(work, 1) as passes:
        point = passes.ridge(np.minimum(price, 0), ridge)
    gain = problem.value - np.minimum(price, 0)[problem.provider]
    for i in range(problem.segments):
        edges = slice(problem.row_start[i], problem.row_start[i + 1])
        x, slope = point.share[edges], gain[edges] - ridge * point.share[edges]
        assert x.sum() <= 1 + 1e-12
        if not (x > 0).any():
            assert (gain[edges] <= 0).all()
            continue
        t = slope[x > 0].mean()
        np.testing.assert_allclose(slope[x > 0], t, atol=1e-9)
        assert (slope[x == 0] <= t + 1e-9).all()
        assert t >= -1e-12
        assert t <= 1e-9 or x.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("inertia", [0.05, 0.5])
def test_entropy_rows_are_the_maximum_of_their_rows(seed, inertia):
    """Value = the objective at the shares less prices; no gradient step inside the simplex does better (SciPy)."""
    problem = random_problem(seed, (4, 5), "loose")
    tau = tau_of(problem, inertia)
    if (tau <= 0).any() or not problem.edges:
        return
    price = np.minimum(prices(problem), 0)
    with Passes(entropic_work(problem, inertia), 1) as passes:
        point = passes.entropy(price, tau)
    row = rows_of(problem)
    paid = float((problem.demand[row] * point.share) @ price[problem.provider])
    value = point.value - passes.limits_worth(price)
    assert value == pytest.approx(entropic_objective(problem, tau, point.share) - paid, rel=1e-9, abs=1e-9)
    slope = (
        problem.value - price[problem.provider] - tau[row] * np.log(np.maximum(point.share, 1e-300) / problem.reference)
    )
    used = np.bincount(row, point.share, minlength=problem.segments)
    for i in range(problem.segments):
        at = (row == i) & (point.share > 1e-200)
        np.testing.assert_allclose(slope[at], slope[at].mean(), atol=1e-8 * (1 + np.abs(slope[at]).max(initial=0)))
        assert used[i] <= 1 + 1e-12
        assert used[i] == pytest.approx(1) or np.abs(slope[at]).max() < 1e-8


def test_entropy_dual_has_loads_as_slope_and_steep_above_its_curvature():
    problem = random_problem(5, (10, 8), "loose")
    with Passes(entropic_work(problem, 0.3), 1) as passes:
        tau = passes.work.tau

        def rows(price):
            return passes.entropy(price, tau).value - passes.limits_worth(price)

        price = np.full(problem.providers, -0.3)
        point = passes.entropy(price, tau)
        for j in range(problem.providers):
            h = np.zeros(problem.providers)
            h[j] = 1e-5
            assert (rows(price + h) - rows(price - h)) / 2e-5 == pytest.approx(-point.load[j], rel=1e-4, abs=1e-4)
        curve = np.zeros((problem.providers, problem.providers))
        full = passes.used(point.share) >= 1 - 1e-12
        kernels.entropy_curvature(problem.row_start, problem.provider, tau, problem.demand, point.share, full, curve)
        curve = np.tril(curve) + np.tril(curve, -1).T
        step = np.random.default_rng(1).normal(0, 1e-4, problem.providers)
        moved = passes.entropy(price + step, tau).load - passes.entropy(price - step, tau).load
        np.testing.assert_allclose(moved, -2 * curve @ step, rtol=1e-3, atol=1e-6 * np.abs(moved).max())
        assert np.linalg.eigvalsh(np.diag(point.steep) - curve).min() > -1e-9


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_blocks_add_up_to_the_whole(threads):
    problem = random_problem(12, (40, 30), "change")
    price = prices(problem)
    with Passes(plain_work(problem), 1) as one, Passes(plain_work(problem), threads) as many:
        assert many.bound(price) == pytest.approx(one.bound(price), rel=1e-13)
        whole, parts = one.ridge(price, 0.3), many.ridge(price, 0.3)
        np.testing.assert_array_equal(parts.share, whole.share)
        np.testing.assert_allclose(parts.load, whole.load, rtol=1e-12)
        assert many.objective(whole.share) == pytest.approx(one.objective(whole.share), rel=1e-13)


def test_transpose_visits_every_edge_once():
    problem = random_problem(12, (40, 30))
    start, row, edge = kernels.transpose(problem.row_start, problem.provider, problem.providers)
    assert sorted(edge) == list(range(problem.edges))
    np.testing.assert_array_equal(row, rows_of(problem)[edge])
    for j in range(problem.providers):
        assert (problem.provider[edge[start[j] : start[j + 1]]] == j).all()


@pytest.mark.parametrize("m", [1, 7, 60, 130])
def test_solve_positive_is_numpys(m):
    root = np.random.default_rng(m).normal(size=(m, m))
    matrix, right = root @ root.T + 0.1 * np.eye(m), np.ones(m)
    answer, lower = solve_positive(np.tril(matrix), right)
    np.testing.assert_allclose(answer, np.linalg.solve(matrix, right), rtol=1e-7)
    again, _ = solve_positive(matrix, 2 * right, lower)
    np.testing.assert_allclose(again, 2 * answer, rtol=1e-12)


def test_solve_positive_lifts_a_singular_matrix():
    answer, _ = solve_positive(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([1.0, -1.0]))
    assert answer[0] - answer[1] == pytest.approx(1.0, rel=1e-6)


def test_rounded_simplex_value_of_scipy():
    """One row by SciPy's bounded optimiser in the two free shares."""
    value, ridge = np.array([1.0, 0.8]), 0.7
    share, load, steep = np.empty(2), np.zeros(2), np.zeros(2)
    got, _ = kernels.ridge_rows(
        np.array([0, 2]),
        np.array([0, 1], dtype=np.int32),
        value,
        np.ones(1),
        np.zeros(2),
        ridge,
        0,
        1,
        share,
        load,
        steep,
    )
    found = minimize(
        lambda x: -(value @ x - ridge / 2 * x @ x), [0.1, 0.1], method="SLSQP", bounds=[(0, 1)] * 2,
        constraints={"type": "ineq", "fun": lambda x: 1 - x.sum()}, options={"ftol": 1e-14},
    )  # fmt: skip
    assert got == pytest.approx(-found.fun, rel=1e-8)
    np.testing.assert_allclose(share, found.x, atol=1e-5)
