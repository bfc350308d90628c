"""Mended shares against the limits, HiGHS's feasibility and the older repair."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from allocation_oracle import entropic_objective, highs_optimum, random_problem, rows_of, tau_of
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.acquire import Problem
from footfall.acquire._mend import mend, settle
from footfall.acquire._work import plain_work
from footfall.acquire.conflict import LimitNames
from footfall.acquire.repair import repair
from footfall.errors import InfeasibleError


def crooked(problem, seed, kind=np.float64):
    """Shares off by a lot: rows above and below 1, some negative, some 0."""
    rng = np.random.default_rng(seed)
    share = np.asarray(problem.reference) * rng.lognormal(0, rng.choice([0.01, 1.0]), problem.edges)
    share[rng.random(problem.edges) < 0.1] *= rng.choice([0.0, -1e-3])
    return share.astype(kind)


def arrays(problem):
    return (
        problem.row_start, problem.provider, problem.value, problem.demand, problem.capacity, problem.floor,
    )  # fmt: skip


def within(problem, share, tolerance, short=()):
    row = rows_of(problem)
    load = np.bincount(problem.provider, problem.demand[row] * share, minlength=problem.providers)
    assert (share >= 0).all()
    assert (np.bincount(row, share, minlength=problem.segments) <= 1 + tolerance).all()
    assert (load <= problem.capacity * (1 + tolerance)).all()
    met = np.ones(problem.providers, dtype=bool)
    met[short] = False
    assert (load >= problem.floor * (1 - tolerance))[met].all()
    return load


def mends(seed, inertia, kind=np.float64, size=None):
    """Mend crooked shares; what stays short is settled, or HiGHS finds no plan either."""
    problem = random_problem(seed, size)
    work = plain_work(problem)
    share = crooked(problem, seed, kind)[work.kept if work.kept is not None else slice(None)]
    kept = Problem(
        problem.demand, work.row_start, work.provider, work.value, problem.capacity, problem.floor,
        problem.reference if work.kept is None else problem.reference[work.kept],
    )  # fmt: skip
    price = np.random.default_rng(seed).normal(0, 0.3, problem.providers)
    entropy = {"reference": kept.reference, "tau": np.maximum(tau_of(kept, inertia), 0.01)} if inertia else {}
    tolerance = 1e-9 if kind == np.float64 else 1e-6
    made = mend(*arrays(kept), share, price, **entropy)
    load = within(kept, share, tolerance, made.short)
    np.testing.assert_allclose(made.load, load, rtol=tolerance, atol=1e-12)
    if not len(made.short):
        assert highs_optimum(problem) is not None
        return
    try:
        settle(work, share, LimitNames())
    except InfeasibleError as error:
        assert error.conflict.excess > 0
        assert highs_optimum(problem) is None
        return
    within(kept, share, tolerance)


@pytest.mark.parametrize("inertia", [0, 0.3])
@pytest.mark.parametrize("seed", range(24))
def test_limits_hold_or_highs_finds_no_plan_either(seed, inertia):
    mends(seed, inertia)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(24, 300))
def test_limits_hold_or_highs_finds_no_plan_either_often(seed, kind):
    mends(seed, 0.3 * (seed % 2), kind)


@given(seed=st.integers(1000, 10**6), n=st.integers(1, 6), m=st.integers(1, 6), inertia=st.sampled_from([0, 0.3]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_small_shape(seed, n, m, inertia):
    mends(seed, inertia, np.float64, (n, m))


def test_float32_shares_hold_limits_to_a_millionth():
    for seed in (3, 10, 16):
        mends(seed, 0.3, np.float32, (60, 12))
        mends(seed, 0, np.float32, (60, 12))


def test_hand_case_takes_the_cheapest_visits():
    """Two rows of 10 visits; provider 1 must get 4 and is 1 worse in row 0, 3 worse in row 1: all 4 come from row 0."""
    rows = (np.array([0, 2, 4]), np.array([0, 1, 0, 1], dtype=np.int32), np.array([5.0, 4.0, 5.0, 2.0]))
    share = np.array([1.0, 0.0, 1.0, 0.0])
    made = mend(
        *rows, np.array([10.0, 10.0]), np.array([np.inf, np.inf]), np.array([0.0, 4.0]), share, np.zeros(2)
    )  # fmt: skip
    np.testing.assert_allclose(share, [0.6, 0.4, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(made.load, [16.0, 4.0])
    assert not len(made.short)


def test_hand_case_raises_in_proportion_with_entropy():
    """Provider 1 has 2 of 20 visits, the same in both rows, and must get 4: each row gives 1, whatever values say."""
    rows = (np.array([0, 2, 4]), np.array([0, 1, 0, 1], dtype=np.int32), np.array([5.0, 4.0, 5.0, 2.0]))
    share = np.array([0.9, 0.1, 0.9, 0.1])
    mend(
        *rows, np.array([10.0, 10.0]), np.array([np.inf, np.inf]), np.array([0.0, 4.0]), share, np.zeros(2),
        reference=share.copy(), tau=np.ones(2),
    )  # fmt: skip
    np.testing.assert_allclose(share, [0.8, 0.2, 0.8, 0.2], atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_plain_plans_are_as_good_as_those_of_the_older_repair(seed):
    problem = random_problem(seed * 6 + 3, (60, 12), "mixed")
    work = plain_work(problem)
    share = np.maximum(crooked(problem, seed), 0)[work.kept if work.kept is not None else slice(None)]
    price = np.zeros(work.m)
    try:
        older, *_ = repair(work, share, price, LimitNames(), fill=True)
    except InfeasibleError:
        return
    mine = share.copy()
    mend(work.row_start, work.provider, work.value, work.demand, work.capacity, work.floor, mine, price)
    worth = work.demand[np.repeat(np.arange(work.n), np.diff(work.row_start))] * work.value
    assert worth @ mine >= worth @ older - 1e-6 * abs(worth @ older)


@pytest.mark.parametrize("seed", range(6))
def test_filling_slack_raises_the_entropic_objective(seed):
    problem = random_problem(seed, (40, 60), "random")
    tau = np.maximum(tau_of(problem, 0.3), 1e-6)
    share = np.maximum(crooked(problem, seed), 0)
    entropy = {"reference": problem.reference, "tau": tau}
    bare, filled = share.copy(), share.copy()
    mend(*arrays(problem), bare, np.zeros(60), **entropy, fill=False)
    mend(*arrays(problem), filled, np.zeros(60), **entropy)
    before, after = (entropic_objective(problem, tau, x) for x in (bare, filled))
    assert after >= before - 1e-12 * abs(before)


def test_blocks_in_threads_give_the_same_shares():
    problem = random_problem(9, (60, 12), "change")
    tau = np.maximum(tau_of(problem, 0.3), 1e-6)
    made = []
    with ThreadPoolExecutor(3) as pool:
        spans = [(0, 0, 20), (1, 20, 41), (2, 41, 60)]
        for each in (
            lambda work: [work(*span) for span in spans],
            lambda work: list(pool.map(lambda span: work(*span), spans)),
        ):
            share = crooked(problem, 9)
            mend(*arrays(problem), share, np.zeros(12), reference=problem.reference, tau=tau, each=each)
            made.append(share)
    assert (made[0] == made[1]).all()
