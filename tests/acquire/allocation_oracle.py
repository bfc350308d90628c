"""Random allocation problems, HiGHS as the oracle of the plain programme, SciPy as that of the entropic one."""

from __future__ import annotations

from dataclasses import replace

import highspy
import numpy as np
from scipy.sparse import csc_matrix

from footfall.acquire import Problem

KINDS = ("change", "tight", "pinned", "mixed", "loose", "random")
SIZES = ((1, 1), (1, 2), (2, 1), (3, 5), (10, 20), (40, 60), (20, 150), (60, 12))


def rows_of(problem):
    return np.repeat(np.arange(problem.segments), np.diff(problem.row_start))


def random_problem(seed, size=None, kind=None):
    """Uneven demand, some rows empty or without demand, ties, zeros, negative values; limits by ``kind``."""
    rng = np.random.default_rng(seed)
    kind = kind or KINDS[seed % len(KINDS)]
    n, m = size or SIZES[(seed // len(KINDS)) % len(SIZES)]
    widths = [0 if rng.random() < 0.03 else int(rng.integers(1, m + 1)) for _ in range(n)]
    provider = np.concatenate([np.sort(rng.choice(m, k, replace=False)) for k in widths] or [[]]).astype(np.int32)
    start = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
    edges, row = len(provider), np.repeat(np.arange(n), widths)
    demand = rng.lognormal(2, 1.5, n)
    if rng.random() < 0.2:
        demand[rng.random(n) < 0.2] = 0
    value = rng.lognormal(0, 1, edges)
    style = rng.integers(5)
    if style == 1:
        value = np.round(value)
    elif style == 2:
        value -= 1.0
    elif style == 3:
        value[:] = 2.0
    elif style == 4:
        value *= rng.lognormal(0, 2, n)[row]
    reference = rng.gamma(0.5, 1, edges) + 1e-12
    reference /= np.bincount(row, reference, minlength=n)[row]
    usual = np.bincount(provider, demand[row] * reference, minlength=m).astype(float)
    floor, capacity = _limits(rng, kind, demand, usual)
    return Problem(demand, start, provider, value, capacity, floor, reference)


def capped_problem(seed, size=None, kind=None):
    """``random_problem`` with largest shares of single edges: one for all, at random, or just around the reference."""
    problem = random_problem(seed, size, kind)
    rng = np.random.default_rng(seed + 10**7)
    edges, style = problem.edges, rng.integers(4)
    if style == 0:
        upper = np.full(edges, rng.choice([0.2, 0.5, 0.8]))
    elif style == 1:
        upper = np.where(rng.random(edges) < 0.5, rng.random(edges), 1.0)
    elif style == 2:
        upper = np.minimum(problem.reference * rng.uniform(0.9, 2.0, edges), 1.0)
    else:
        upper = np.where(rng.random(edges) < 0.2, 0.0, rng.uniform(0.3, 1.0, edges))
    return replace(problem, upper=upper)


def _limits(rng, kind, demand, usual):
    m = len(usual)
    if kind == "change":
        return 0.7 * usual, 1.3 * usual
    if kind == "tight":
        return usual * (1 - 1e-3), usual * (1 + 1e-3)
    if kind == "pinned":
        return usual * (1 - 1e-12), usual
    if kind == "loose":
        return np.zeros(m), np.full(m, np.inf)
    if kind == "random":
        floor = usual * rng.uniform(0, 1.3, m) * (rng.random(m) < 0.7)
        return floor, np.maximum(floor, usual * rng.uniform(0.3, 3, m))
    popular = rng.pareto(1.2, m) + 0.1
    capacity = 0.85 * demand.sum() * popular / popular.sum()
    floor = np.where(rng.random(m) < 0.1, np.minimum(0.5 * usual, capacity), 0.0)
    capacity = np.where(rng.random(m) < 0.1, np.inf, capacity)
    shut = rng.random(m) < 0.1
    return np.where(shut, 0.0, floor), np.where(shut, 0.0, capacity)


def highs_optimum(problem, relax=False):
    """Optimum in visits by HiGHS, None where infeasible; with ``relax``, the least sum by which floors must give."""
    n, m, edges = problem.segments, problem.providers, problem.edges
    if not edges:  # HiGHS has no status for that
        short = float(problem.floor.sum())
        return short if relax else (None if short > 0 else 0.0)
    extra = m if relax else 0
    at = np.concatenate([rows_of(problem), n + problem.provider, n + np.arange(extra)])
    column = np.concatenate([np.arange(edges), np.arange(edges), edges + np.arange(extra)])
    matrix = csc_matrix((np.ones(len(at)), (at, column)), shape=(n + m, edges + extra))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = edges + extra, n + m
    lp.col_cost_ = np.concatenate([np.zeros(edges) if relax else -problem.value.astype(float), np.ones(extra)])
    lp.col_lower_, lp.col_upper_ = np.zeros(edges + extra), np.full(edges + extra, highspy.kHighsInf)
    if problem.upper is not None:
        lp.col_upper_ = np.concatenate([problem.demand[rows_of(problem)] * problem.upper, np.full(extra, np.inf)])
    lp.row_lower_ = np.concatenate([np.full(n, -highspy.kHighsInf), problem.floor])
    upper = np.full(m, np.inf) if relax else problem.capacity
    lp.row_upper_ = np.concatenate([problem.demand, np.where(np.isinf(upper), highspy.kHighsInf, upper)])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("primal_feasibility_tolerance", 1e-10)
    solver.setOptionValue("dual_feasibility_tolerance", 1e-10)
    solver.passModel(lp)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return (1 if relax else -1) * solver.getInfo().objective_function_value


def check_limits(problem, plan, tolerance=1e-9):
    """The plan breaks no row, capacity or floor by more than ``tolerance``, and reports its own loads."""
    row = rows_of(problem)
    load = np.bincount(problem.provider, problem.demand[row] * plan.share, minlength=problem.providers)
    used = np.bincount(row, plan.share, minlength=problem.segments)
    assert (plan.share >= 0).all()
    assert (used <= 1 + tolerance).all()
    if problem.upper is not None:
        assert (plan.share <= problem.upper * (1 + tolerance)).all()
    assert (load <= problem.capacity * (1 + tolerance)).all()
    assert (load >= problem.floor * (1 - tolerance)).all()
    assert (plan.share[problem.capacity[problem.provider] == 0] == 0).all()
    np.testing.assert_allclose(plan.load, load, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        plan.unassigned, problem.demand * (1 - used), atol=1e-9 * (1 + problem.demand.max(initial=0))
    )


def tau_of(problem, inertia):
    """tau_i = inertia x sum_j p_ij max(v_ij, 0), as the design defines it."""
    gain = problem.reference * np.maximum(problem.value, 0)
    return inertia * np.bincount(rows_of(problem), gain, minlength=problem.segments)


def entropic_objective(problem, tau, share):
    """sum d [ x v - tau (x log(x/p) - x + p) ] with 0 log 0 = 0."""
    row, p = rows_of(problem), problem.reference
    term = np.where(share > 0, share * np.log(np.maximum(share, 1e-300) / p), 0.0) - share + p
    return float((problem.demand[row] * (share * problem.value - tau[row] * term)).sum())


def check_certificate(plan, optimum, slack, gap=1e-4):
    """The optimum lies between the plan and its bound, to ``slack``, and both are within ``gap`` of it."""
    assert plan.status == "optimal"
    assert optimum - slack <= plan.bound <= optimum + 1.01 * gap * abs(optimum) + slack
    assert optimum - 1.01 * gap * abs(optimum) - slack <= plan.objective <= optimum + slack
