"""The large markets' path of the entropic programme against cvxpy with Clarabel, the older path and closed forms."""

from __future__ import annotations

import signal
import threading
import warnings
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from allocation_oracle import check_limits, entropic_objective, highs_optimum, random_problem, rows_of, tau_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from footfall.acquire import Problem, _entropic, solve
from footfall.acquire._entropic import solve_entropic
from footfall.acquire.conflict import LimitNames
from footfall.errors import InfeasibleError

INERTIAS = (0.3, 0.05, 3.0, 1.0, 0.1)
STALLS = (
    73,
    121,
    137,
    139,
)  # bands of 1e-3 or references of 1e-12 beside rows with tau of 1e-4: first order ends above


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
    assert plan.status == ("stalled" if seed in STALLS else "optimal")
    assert (plan.gap <= gap) == (plan.status == "optimal")
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
