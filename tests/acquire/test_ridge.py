"""The method for large plain programmes, forced on small ones, against HiGHS; its passes against their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from allocation_oracle import check_limits, highs_optimum, random_problem, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.acquire import Problem, kernels, solve, solver
from footfall.acquire import _ridge as ridge
from footfall.acquire import _ridge_kernels as ridge_kernels
from footfall.acquire import _ridge_plan as ridge_plan
from footfall.acquire._blocks import Crew
from footfall.acquire._ridge import rounded
from footfall.acquire._screen import Screen, whole
from footfall.acquire.conflict import LimitNames
from footfall.errors import InfeasibleError

LARGER = ((120, 25), (300, 40), (80, 150), (400, 8), (200, 1))


def allocate(problem, gap=1e-4, threads=1, prices=None, deadline=None, progress=None):
    """The large method whatever the size; None where it declines."""
    return ridge_plan.allocate(problem, gap, threads, prices, deadline, progress, LimitNames())


def check_single(problem, plan):
    """``check_limits`` for shares in single precision: no limit is broken by more than a millionth of it."""
    assert plan.share.dtype == np.float32
    row, share = rows_of(problem), plan.share.astype(float)
    load = np.bincount(problem.provider, problem.demand[row] * share, minlength=problem.providers)
    used = np.bincount(row, share, minlength=problem.segments)
    assert (share >= 0).all()
    assert (used <= 1 + 1e-6).all()
    assert (load <= problem.capacity * (1 + 1e-6)).all()
    assert (load >= problem.floor * (1 - 1e-6)).all()
    np.testing.assert_allclose(plan.load, load, rtol=1e-9, atol=1e-12)
    assert (np.abs(plan.unassigned - problem.demand * (1 - used)) <= 1e-6 * problem.demand).all()


def against_highs(problem, gap=1e-4):
    """The certificate holds HiGHS's optimum and the plan holds all limits; whether the gap was reached."""
    optimum = highs_optimum(problem)
    try:
        plan = allocate(problem, gap)
    except InfeasibleError:
        assert optimum is None
        return True
    if plan is None:
        assert not (problem.demand @ np.abs(np.maximum.reduceat(np.append(problem.value, 0), problem.row_start[:-1])))
        return True
    assert optimum is not None
    slack = 1e-7 * abs(optimum) + 1e-9
    assert plan.bound >= optimum - slack
    assert plan.objective <= optimum + slack
    if problem.value.dtype == np.float32:
        check_single(problem, plan)
    else:
        check_limits(problem, plan)
    row = rows_of(problem)
    exact = np.sum(problem.demand[row] * plan.share.astype(float) * problem.value)
    assert plan.objective == pytest.approx(exact, rel=1e-9, abs=1e-9)
    assert (plan.status == "optimal") == (plan.gap <= gap)
    return plan.status == "optimal"


def larger_problem(seed):
    problem = random_problem(
        seed, LARGER[seed % len(LARGER)], ("mixed", "random", "change", "loose", "tight")[seed % 7 % 5]
    )
    if seed % 2:
        return replace(problem, value=problem.value.astype(np.float32), reference=None)
    return problem


@pytest.mark.parametrize("seed", range(12))
def test_bounds_hold_the_optimum_of_highs(seed):
    against_highs(random_problem(seed))


@pytest.mark.parametrize("seed", range(7))
def test_larger_ones_reach_the_gap(seed):
    assert against_highs(larger_problem(seed), 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 260))
def test_bounds_hold_the_optimum_of_highs_often(seed):
    against_highs(random_problem(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(7, 90))
def test_larger_ones_hold_the_optimum_often(seed):
    against_highs(larger_problem(seed))


@pytest.mark.slow
@given(seed=st.integers(1000, 10**6), n=st.integers(1, 7), m=st.integers(1, 7))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_any_small_shape(seed, n, m):
    against_highs(random_problem(seed, (n, m)))


def dense_enough(problem):
    """``problem`` as the solver sees it: above the size from which the large method is used."""
    return problem.edges > solver._SMALL


def medium(seed=3, kind="mixed", size=(2_000, 60)):
    problem = random_problem(seed, size, kind)
    assert dense_enough(problem)
    return problem


@pytest.mark.parametrize("kind", ["mixed", "change", "loose", "tight", "pinned"])
def test_solve_reaches_the_optimum_of_highs_at_size(kind):
    """Through the front door: the large method, and the interior point where the former does not get there."""
    problem = random_problem(7, (500, 100), kind)
    assert dense_enough(problem)
    optimum, plan = highs_optimum(problem), solve(problem, threads=2)
    assert plan.status == "optimal"
    assert plan.bound >= optimum * (1 - 1e-7)
    assert optimum * (1 - 1e-4) <= plan.objective <= optimum * (1 + 1e-7)
    check_limits(problem, plan)


def test_passes_are_those_of_the_first_kernels():
    """Loads and both duals of the lean kernel are those of ``kernels.ridge_rows``, which other tests check by KKT."""
    problem = random_problem(12, (40, 30), "change")
    price = np.random.default_rng(0).normal(0, 1, 30).astype(np.float32).astype(float)
    share, load, steep = np.empty(problem.edges), np.zeros(30), np.zeros(30)
    data = (problem.row_start, problem.provider, problem.value, problem.demand, price)
    smooth, plain = kernels.ridge_rows(*data, 0.3, 0, 40, share, load, steep)
    sums, lean = np.zeros((30, 2)), np.empty(problem.edges, dtype=np.float32)
    index, value, low = problem.provider.astype(np.uint16), problem.value.astype(np.float32), price.astype(np.float32)
    few = (problem.row_start, index, value, problem.demand, low, np.float32(0.3))
    found = ridge_kernels.ridge_rows(*few, 0, 40, 30, sums)
    ridge_kernels.share_rows(*few, 0, 40, 30, lean)
    worth = np.sum(problem.demand[rows_of(problem)] * share * (problem.value - price[problem.provider]))
    np.testing.assert_allclose(found, (smooth, plain, worth), rtol=1e-5)
    np.testing.assert_allclose(sums[:, 0], load, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(lean, np.where(problem.demand[rows_of(problem)] > 0, share, lean), atol=1e-5)


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
@pytest.mark.parametrize(
    "widths", [(0, 1, 16, 17, 0, 32, 33, 70, 48, 0), (1500, 3, 2000, 0), (1,), (0, 0), (1,) * 1100, (2,) * 300]
)
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kernel", [ridge_kernels.ridge_rows, ridge_kernels.narrow_rows])
def test_rows_of_any_width(kernel, kind, widths, tied):
    """Empty rows, rows beyond a block, more rows than a block, many candidates: as the first kernels have it."""
    rng = np.random.default_rng(len(widths))
    m, start = 2000, np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
    edges, n = int(start[-1]), len(widths)
    index = np.concatenate([np.arange(w) for w in widths]).astype(kind)
    value = np.full(edges, 2.0) if tied else rng.normal(0, 1, edges)
    demand, price = rng.uniform(0, 3, n), np.zeros(m) if tied else rng.normal(0, 1, m)
    value, price = (x.astype(np.float32) for x in (value, price))
    share, load, steep, sums = np.empty(edges), np.zeros(m), np.zeros(m), np.zeros((m, 2))
    data = (start, index, value.astype(float), demand, price.astype(float))
    smooth, plain = kernels.ridge_rows(*data, 0.7, 0, n, share, load, steep)
    found = kernel(start, index, value, demand, price, np.float32(0.7), 0, n, max(widths), sums)
    worth = np.sum(np.repeat(demand, widths) * share * (value - price[index]))
    np.testing.assert_allclose(found, (smooth, plain, worth), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sums[:, 0], load, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        sums[:, 1], np.bincount(index[share > 0], np.repeat(demand, widths)[share > 0], m), rtol=1e-6
    )


@pytest.mark.parametrize("seed", range(4))
def test_screened_rows_answer_as_all_rows_do(seed):
    """Anywhere in the boxes the nested layers give the loads and both duals of all edges."""
    problem = replace(medium(seed, size=(900, 60)), reference=None)
    rng = np.random.default_rng(seed)
    with Crew(2, problem.edges) as crew:
        market, _, _ = ridge_plan._market(problem, crew)
        layer = whole(market.row_start, market.index, market.value, market.demand, problem.providers, 2, market.widest)
        every, screen = Screen(layer, market.shut, crew), Screen(layer, market.shut, crew)
        price = rounded(market, rng.normal(0, 0.3, problem.providers))
        ridge, step = 0.03 * market.worth, rng.uniform(0, 0.01, problem.providers)
        screen.settle(price, ridge, step, screen=True)
        for size in (ridge, 0.4 * ridge):
            near = rounded(market, price + rng.uniform(-0.9, 0.9, problem.providers) * ridge)
            assert screen._layers[-1].holds(screen.prices(near), size)
            few, all_ = screen.evaluate(near, size), every.evaluate(near, size)
            scale = abs(all_.plain)
            assert few.smooth == pytest.approx(all_.smooth, abs=1e-6 * scale)
            assert few.plain == pytest.approx(all_.plain, abs=1e-6 * scale)
            assert few.carried == pytest.approx(all_.carried, abs=1e-6 * scale)
            np.testing.assert_allclose(few.load, all_.load, rtol=1e-5, atol=1e-5 * market.demand.max())
        assert screen._layers[-1].edges < 0.8 * problem.edges


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_same_threads_same_plan_and_others_within_the_gap(real):
    problem = medium()
    problem = replace(problem, value=problem.value.astype(real), reference=None)
    first, again, one = (allocate(problem, 1e-3, threads) for threads in (2, 2, 1))
    np.testing.assert_array_equal(first.share, again.share)
    np.testing.assert_array_equal(first.price, again.price)
    assert first.bound == again.bound
    assert one.objective == pytest.approx(first.objective, rel=1e-3)
    assert first.share.dtype == real


def test_yesterdays_prices_save_passes():
    problem = medium(1)
    cold = allocate(problem)
    rng = np.random.default_rng(1)
    tomorrow = replace(
        problem,
        value=problem.value * rng.uniform(0.97, 1.03, problem.edges),
        capacity=np.maximum(problem.capacity * rng.uniform(0.95, 1.05, problem.providers), problem.floor),
    )
    anew, warm = allocate(tomorrow), allocate(tomorrow, prices=cold.price)
    assert warm.status == anew.status == "optimal"
    assert warm.passes < 0.65 * anew.passes
    assert warm.objective <= anew.bound * (1 + 1e-9)
    assert anew.objective <= warm.bound * (1 + 1e-9)


@pytest.mark.parametrize("price", [1.0, -1e300, 1e300])
def test_prices_from_nowhere_are_only_a_start(price):
    problem = medium(1)
    plan = allocate(problem, prices=np.full(problem.providers, price))
    assert plan.status == "optimal"
    assert plan.passes < 3 * allocate(problem).passes
    check_limits(problem, plan)


@pytest.mark.parametrize("at", [1, 3, 20])
def test_an_interrupt_returns_the_best_plan(at):
    problem = medium()

    def stop(iteration, bound, objective):
        assert np.isfinite(bound)
        if iteration == at:
            raise KeyboardInterrupt

    plan = solve(problem, progress=stop, threads=2)
    assert plan.status == "interrupted"
    assert plan.iterations == at
    assert plan.bound >= plan.objective
    check_limits(problem, plan)
    late = solve(problem, time_limit_s=0.0)
    assert late.status == "time_limit"
    check_limits(problem, late)


def test_a_sample_starts_a_large_problem(monkeypatch):
    monkeypatch.setattr(ridge, "_WORTH_SAMPLING", 20_000)
    problem = medium(size=(1_300, 40))
    assert against_highs(problem, 1e-3)
    assert allocate(problem, 1e-3).iterations > 10


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"capacity": np.zeros(60), "floor": np.zeros(60)}, 0.0),
        ({"capacity": np.full(60, np.inf), "floor": np.zeros(60)}, None),
        ({"value": -1.0}, None),
        ({"value": 2.0}, None),
        ({"value": 0.0}, None),
    ],
)
def test_extremes_at_size(change, told):
    """No capacity, no limits, all values negative, equal or 0: HiGHS's optimum, as everywhere."""
    problem = medium(size=(900, 60))
    change = {k: np.full(problem.edges, v) if k == "value" else v for k, v in change.items()}
    problem = replace(problem, **change)
    optimum, plan = highs_optimum(problem), solve(problem)
    if told is not None:
        assert optimum == told
    assert plan.status == "optimal"
    assert plan.bound >= optimum - 1e-7 * abs(optimum)
    assert plan.objective <= optimum + 1e-7 * abs(optimum)
    check_limits(problem, plan)


def test_one_provider_and_wide_rows():
    """m = 1 by hand: the best-valued visits up to the capacity; n = 1: the best values first."""
    rng = np.random.default_rng(0)
    n = 30_000
    demand, value = rng.uniform(1, 2, n), rng.uniform(0, 1, n)
    problem = Problem(
        demand, np.arange(n + 1), np.zeros(n, dtype=np.int32), value, np.array([0.3 * demand.sum()]), np.zeros(1)
    )
    order = np.argsort(-value)
    filled = np.minimum(np.cumsum(demand[order]), problem.capacity[0])
    best = float(np.diff(filled, prepend=0.0) @ value[order])
    plan = solve(problem)
    assert plan.objective <= best * (1 + 1e-9) <= plan.bound * (1 + 2e-9)
    assert plan.objective >= best * (1 - 1e-4)
    wide = Problem(
        np.array([10.0]), np.array([0, n]), np.arange(n, dtype=np.int32), value, np.full(n, 0.5), np.zeros(n)
    )
    best = 0.5 * float(np.sort(value)[-20:].sum())
    plan = solve(wide)
    assert plan.objective <= best * (1 + 1e-9) <= plan.bound * (1 + 2e-9)
    check_limits(wide, plan)


def test_floors_that_cannot_be_met_are_proved():
    problem = medium(size=(900, 60))
    reach = np.bincount(problem.provider, problem.demand[rows_of(problem)], minlength=60)
    floor = np.zeros(60)
    floor[7] = 1.01 * reach[7]
    with pytest.raises(InfeasibleError, match="provider 7 floor"):
        solve(replace(problem, floor=floor, capacity=np.maximum(problem.capacity, floor)))


def test_an_interrupt_amid_a_plan_leaves_no_half_of_one(monkeypatch):
    """The second plan is broken off when its shares are already overwritten; the first one is answered, whole."""
    problem, calls, mend = medium(1), [], ridge_plan.mend

    def broken(row_start, provider, value, demand, capacity, floor, share, *more, **options):
        calls.append(0)
        if len(calls) == 2:
            share[:] = 7.0
            raise KeyboardInterrupt
        return mend(row_start, provider, value, demand, capacity, floor, share, *more, **options)

    monkeypatch.setattr(ridge_plan, "mend", broken)
    monkeypatch.setattr(ridge_plan, "_WITHIN", 50.0)
    plan = allocate(problem)
    assert plan.status == "interrupted"
    assert len(calls) == 3
    assert plan.bound >= plan.objective
    check_limits(problem, plan)


@pytest.mark.slow
def test_more_providers_than_sixteen_bits_count():
    """70,000 providers with one visit each: the best value of every provider is by hand the least that is lost."""
    rng = np.random.default_rng(0)
    n, m, width = 20_000, 70_000, 8
    provider = np.sort(rng.integers(0, m // width, (n, width)) * width + np.arange(width), axis=1)
    value = rng.lognormal(0, 1, n * width)
    problem = Problem(
        np.ones(n),
        np.arange(0, n * width + 1, width),
        provider.ravel().astype(np.int32),
        value,
        np.ones(m),
        np.zeros(m),
    )
    optimum, plan = highs_optimum(problem), solve(problem)
    assert plan.status == "optimal"
    assert plan.bound >= optimum * (1 - 1e-7)
    assert optimum * (1 - 1e-4) <= plan.objective <= optimum * (1 + 1e-7)
    check_limits(problem, plan)


def test_an_interrupt_that_lands_in_compiled_code_is_one(monkeypatch):
    """Python raises SystemError, the interrupt its cause, where a compiled function ends with it (Objects/call.c)."""
    plain, calls = solver.plain_work, []

    def interrupted(problem):
        calls.append(problem)
        if len(calls) == 1:
            inner = SystemError("_numba_unpickle returned a result with an exception set")
            inner.__cause__ = KeyboardInterrupt()
            raise SystemError("transpose returned a result with an exception set") from inner
        return plain(problem)

    monkeypatch.setattr(solver, "plain_work", interrupted)
    problem = Problem(np.ones(1), np.array([0, 1]), np.zeros(1, np.int32), np.ones(1), np.ones(1), np.zeros(1), None)
    plan = solve(problem)
    assert plan.status == "interrupted"
    check_limits(problem, plan)

    def broken(problem):
        raise SystemError("of another kind")

    monkeypatch.setattr(solver, "plain_work", broken)
    with pytest.raises(SystemError):
        solve(problem)


def test_an_interrupt_while_the_reference_is_checked_is_one(monkeypatch):
    checked, calls = solver.check_reference, []

    def interrupted(problem):
        calls.append(problem)
        if len(calls) == 1:
            raise KeyboardInterrupt
        checked(problem)

    monkeypatch.setattr(solver, "check_reference", interrupted)
    one = np.ones(1)
    problem = Problem(one, np.array([0, 1]), np.zeros(1, np.int32), one, one, np.zeros(1), one)
    plan = solve(problem, inertia=0.3)
    assert plan.status == "interrupted"
    check_limits(problem, plan)
