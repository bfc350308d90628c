"""A single budget: HiGHS as the oracle, the bound in rationals, cases by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from linear_limits_oracle import breach, highs_limited

from footfall.acquire import LinearLimit, Problem, solve
from footfall.acquire.budget import is_single_budget, spend_budget


def offers(seed, customers=200, options=4):
    """Offers with ties, free offers, worthless ones, customers without demand and rows of uneven width."""
    rng = np.random.default_rng(seed)
    width = rng.integers(0, options + 1, customers)
    edges = int(width.sum())
    provider = np.concatenate([np.arange(k) for k in width]).astype(np.int32)
    value, cost = rng.lognormal(0, 1, edges), rng.lognormal(0, 1, edges)
    if seed % 3 == 1:
        value, cost = np.round(value), np.round(cost)
    if seed % 3 == 2:
        value -= 0.5
        cost[rng.random(edges) < 0.2] = 0.0
    demand = np.where(rng.random(customers) < 0.1, 0.0, rng.integers(1, 4, customers).astype(float))
    every = cost @ np.repeat(demand, width)
    budget = float(every * rng.choice([0.0, 0.01, 0.1, 0.3, 2.0]))
    edge = np.arange(edges)
    if seed % 2:
        edge = rng.permutation(edge)
    limit = LinearLimit(edge, cost[edge], -np.inf, budget, "budget")
    start = np.concatenate([[0], np.cumsum(width)]).astype(np.int64)
    return Problem(demand, start, provider, value, np.full(options, np.inf), np.zeros(options), limits=(limit,))


def against_highs(seed, customers=200):
    problem = offers(seed, customers)
    assert is_single_budget(problem, 0.0) or not problem.edges
    plan, optimum = solve(problem, gap=1e-9), highs_limited(problem)
    assert plan.status == "optimal"
    assert plan.reward == pytest.approx(optimum, rel=1e-8, abs=1e-8)
    assert plan.bound >= optimum * (1 - 1e-9)
    assert breach(problem, plan.share) <= 1e-12
    assert (plan.share >= 0).all()
    used = np.bincount(np.repeat(np.arange(problem.segments), np.diff(problem.row_start)), plan.share, problem.segments)
    assert (used <= 1 + 1e-15).all()
    mixed = (plan.share > 0) & (plan.share < 1)
    assert mixed.sum() <= 2  # one customer's two options


@pytest.mark.parametrize("seed", range(20))
def test_optimum_of_highs(seed):
    against_highs(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 180))
def test_optimum_of_highs_often(seed):
    against_highs(seed, (1, 7, 60, 500)[seed % 4])


def test_more_customers_than_the_sample():
    """The bracket comes from a sample; all customers of one kind in front mislead it, and it must widen."""
    rng = np.random.default_rng(0)
    n = 30_000
    value, cost = rng.lognormal(0, 1, 2 * n), rng.lognormal(0, 1, 2 * n)
    value[: n // 50] *= 1e4
    for part in (1e-9, 1e-3, 0.2, 0.999):
        budget = part * float(cost.reshape(n, 2).min(1).sum())
        plan = spend_budget(np.arange(0, 2 * n + 1, 2), value, cost, np.ones(n), budget)
        assert plan.spent <= budget * (1 + 1e-12)
        assert plan.bound - plan.reward <= 1e-9 * plan.bound


def test_by_hand():
    """Values 6, 5, 4 at costs 1, 2, 4, budget 2: the first whole, half of the second; a unit more is worth 2.5."""
    plan = spend_budget(np.arange(4), np.array([6.0, 5, 4]), np.array([1.0, 2, 4]), np.ones(3), 2.0)
    np.testing.assert_allclose(plan.share, [1, 0.5, 0])
    assert plan.reward == pytest.approx(8.5)
    assert plan.price == pytest.approx(2.5)
    assert plan.spent == pytest.approx(2.0)


def test_of_two_options_alike_the_cheaper_is_taken():
    plan = spend_budget(np.array([0, 2]), np.array([3.0, 3.0]), np.array([2.0, 1.0]), np.ones(1), 10.0)
    np.testing.assert_array_equal(plan.share, [0, 1])
    assert plan.price == 0


def test_nothing_to_spend_takes_what_is_free():
    plan = spend_budget(np.array([0, 2, 3]), np.array([5.0, 1, 2]), np.array([1.0, 0, 3]), np.ones(2), 0.0)
    np.testing.assert_array_equal(plan.share, [0, 1, 0])
    assert plan.bound == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_is_that_of_its_price_in_exact_rationals(seed):
    problem = offers(seed)
    limit, plan = problem.limits[0], solve(problem)
    cost, price = dict(zip(limit.edge.tolist(), limit.coefficient.tolist(), strict=True)), plan.limit_price[0]
    total = Fraction(float(price)) * Fraction(limit.high)
    for i in range(problem.segments):
        edges = range(int(problem.row_start[i]), int(problem.row_start[i + 1]))
        gains = [Fraction(float(problem.value[e])) - Fraction(float(price)) * Fraction(cost[e]) for e in edges]
        total += Fraction(float(problem.demand[i])) * max([Fraction(0), *gains])
    assert plan.bound == pytest.approx(float(total), rel=1e-12)


def test_what_is_no_single_budget():
    problem = offers(0)
    limit = problem.limits[0]
    for change in ({"low": 1.0, "high": 2.0}, {"coefficient": -limit.coefficient}, {"high": np.inf}):
        fields = {"edge": limit.edge, "coefficient": limit.coefficient, "low": limit.low, "high": limit.high} | change
        other = Problem(
            problem.demand, problem.row_start, problem.provider, problem.value, problem.capacity, problem.floor,
            limits=(LinearLimit(**fields, name="x"),),
        )  # fmt: skip
        assert not is_single_budget(other, 0.0)
    assert not is_single_budget(problem, 0.3)
