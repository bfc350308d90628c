"""Random problems with linear limits; HiGHS is the oracle of the plain programme, Clarabel of the entropic one."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import highspy
import numpy as np
from allocation_oracle import capped_problem, random_problem, rows_of, tau_of
from scipy.sparse import csc_matrix

from footfall.acquire import LinearLimit


def limited_problem(seed, size=None, kind=None):
    """A random problem (a fifth of them with share caps) with one to four limits around what the reference gives.

    Coefficients: ones, lognormal, of either sign, or whole; a cap, a floor, a band or an equation, met or missed by the
    reference, over all edges or some, in order or not.
    """
    problem = capped_problem(seed, size, kind) if seed % 5 == 4 else random_problem(seed, size, kind)
    rng = np.random.default_rng(seed + 77)
    visits = problem.demand[rows_of(problem)] * problem.reference
    limits = []
    for number in range(int(rng.integers(1, 5))):
        count = int(rng.integers(0, problem.edges + 1)) if rng.random() < 0.5 else problem.edges
        edge = np.sort(rng.choice(problem.edges, count, replace=False)).astype(np.int64)
        if rng.random() < 0.3:
            rng.shuffle(edge)
        style = rng.integers(4)
        coefficient = (
            np.ones(count), rng.lognormal(0, 1, count), 50 * rng.normal(0, 1, count),
            np.round(rng.lognormal(0, 1, count)),
        )[style]  # fmt: skip
        now, size_ = float(coefficient @ visits[edge]), float(np.abs(coefficient) @ visits[edge])
        step = rng.uniform(-0.1, 0.3) * size_
        low, high = (
            (-np.inf, now - step), (now + step, np.inf), (now - 0.2 * abs(step), now + 0.2 * abs(step)),
            (now + 0.2 * step, now + 0.2 * step),
        )[rng.integers(4)]  # fmt: skip
        limits.append(LinearLimit(edge, coefficient, low, high, f"limit {number}"))
    return replace(problem, limits=tuple(limits))


def _entries(problem):
    at, column, weight = [], [], []
    base = problem.segments + problem.providers
    for k, limit in enumerate(problem.limits):
        at.append(np.full(len(limit.edge), base + k))
        column.append(limit.edge)
        weight.append(limit.coefficient)
    return at, column, weight


def highs_limited(problem, relax=False):
    """Optimum in visits by HiGHS, None where infeasible.

    ``relax``: the least total give of floors and linear limits, those in parts of their largest coefficient.
    """
    n, m, edges = problem.segments, problem.providers, problem.edges
    if not edges:
        met = (problem.floor <= 0).all() and all(limit.low <= 0 <= limit.high for limit in problem.limits)
        return 0.0 if met else None
    at, column, weight = _entries(problem)
    every = np.arange(edges)
    at, column = [rows_of(problem), n + problem.provider, *at], [every, every, *column]
    weight, cost, extra = [np.ones(edges), np.ones(edges), *weight], [-problem.value.astype(float)], 0
    rows = n + m + len(problem.limits)
    if relax:
        units = [float(np.abs(limit.coefficient).max(initial=0)) or 1.0 for limit in problem.limits]
        gives = [(n + j, 1.0, 1.0) for j in range(m)]
        gives += [(n + m + k, sign, 1.0 / unit) for k, unit in enumerate(units) for sign in (1.0, -1.0)]
        extra = len(gives)
        at.append(np.array([g[0] for g in gives]))
        column.append(edges + np.arange(extra))
        weight.append(np.array([g[1] for g in gives]))
        cost = [np.zeros(edges), np.array([g[2] for g in gives])]
    matrix = csc_matrix(
        (np.concatenate(weight), (np.concatenate(at), np.concatenate(column))), shape=(rows, edges + extra)
    )
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = edges + extra, rows
    lp.col_cost_ = np.concatenate(cost)
    most = np.full(edges, np.inf) if problem.upper is None else problem.demand[rows_of(problem)] * problem.upper
    most = np.where(problem.capacity[problem.provider] > 0, most, 0.0)
    lp.col_lower_, lp.col_upper_ = np.zeros(edges + extra), np.concatenate([most, np.full(extra, np.inf)])
    lp.row_lower_ = np.concatenate([np.full(n, -np.inf), problem.floor, [limit.low for limit in problem.limits]])
    lp.row_upper_ = np.concatenate([problem.demand, problem.capacity, [limit.high for limit in problem.limits]])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    solver = highspy.Highs()
    for name, value in (
        ("output_flag", False), ("primal_feasibility_tolerance", 1e-10), ("dual_feasibility_tolerance", 1e-10),
    ):  # fmt: skip
        solver.setOptionValue(name, value)
    solver.passModel(lp)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return (1 if relax else -1) * solver.getInfo().objective_function_value


def breach(problem, share):
    """The worst breach of a linear limit, in parts of the larger of its bounds and of what the plan puts in."""
    visits, worst = problem.demand[rows_of(problem)] * share, 0.0
    for limit in problem.limits:
        parts = limit.coefficient * visits[limit.edge]
        bounds = [abs(bound) for bound in (limit.low, limit.high) if np.isfinite(bound)]
        size = max([float(np.abs(parts).sum()), 1e-300, *bounds])
        worst = max(worst, (float(parts.sum()) - limit.high) / size, (limit.low - float(parts.sum())) / size)
    return worst


def clarabel_entropic(problem, inertia):
    """Objective of the entropic programme by cvxpy with Clarabel; None where infeasible."""
    import cvxpy

    row, edges, tau = rows_of(problem), problem.edges, tau_of(problem, inertia)
    weight, p = problem.demand[row] * tau[row], problem.reference
    x = cvxpy.Variable(edges, nonneg=True)
    visits = cvxpy.multiply(problem.demand[row], x)
    by_row = csc_matrix((np.ones(edges), (row, np.arange(edges))), shape=(problem.segments, edges))
    by_provider = csc_matrix((np.ones(edges), (problem.provider, np.arange(edges))), shape=(problem.providers, edges))
    limits = [by_row @ x <= 1, by_provider @ visits >= problem.floor]
    finite = np.isfinite(problem.capacity)
    limits.append((by_provider @ visits)[finite] <= problem.capacity[finite])
    if problem.upper is not None:
        limits.append(x <= problem.upper)
    for limit in problem.limits:
        if len(limit.edge):
            total = limit.coefficient @ visits[limit.edge]
            limits += [total <= limit.high] if np.isfinite(limit.high) else []
            limits += [total >= limit.low] if np.isfinite(limit.low) else []
    reward = (problem.demand[row] * problem.value) @ x - weight @ cvxpy.kl_div(x, p)
    programme = cvxpy.Problem(cvxpy.Maximize(reward), limits)
    programme.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return None if programme.status not in ("optimal", "optimal_inaccurate") else float(programme.value)


def check_farkas(problem, conflict, inertia=0.0):
    """The weights prove, in rationals, that no plan holds the limits; the excess is what they say.

    For any plan, sum over floors and lows of weight x bound <= sum over the rest of weight x bound, since each visit of
    a segment earns at most the segment's weight (with share caps: that and the weight of the edge's cap).
    """
    price = [Fraction(0)] * problem.providers
    limit_price = [Fraction(0)] * len(problem.limits)
    demand = [Fraction(0)] * problem.segments
    cap = {}
    names = {limit.name: k for k, limit in enumerate(problem.limits)}
    row = rows_of(problem)
    edge_of = {(int(j), int(i)): e for e, (i, j) in enumerate(zip(row, problem.provider, strict=True))}
    excess = Fraction(0)
    for one in conflict.limits:
        weight, words = Fraction(one.weight), one.name.split()
        assert one.weight > 0
        if one.name.rsplit(" (", 1)[0] in names:
            k, up = names[one.name.rsplit(" (", 1)[0]], one.name.endswith("(at most)")
            limit_price[k] += weight if up else -weight
            bound = problem.limits[k].high if up else problem.limits[k].low
            excess += (-1 if up else 1) * weight * Fraction(float(bound))
        elif words[-1] == "floor":
            price[int(words[1])] -= weight
            excess += weight * Fraction(float(problem.floor[int(words[1])]))
        elif words[-1] == "capacity":
            price[int(words[1])] += weight
            excess -= weight * Fraction(float(problem.capacity[int(words[1])]))
        elif words[-1] == "demand":
            demand[int(words[1])] += weight
            excess -= weight * Fraction(float(problem.demand[int(words[1])]))
        else:
            e = edge_of[int(words[4]), int(words[7])]
            cap[e] = weight
            excess -= weight * Fraction(float(problem.demand[row[e]])) * Fraction(float(problem.upper[e]))
    coefficient = [dict(zip(limit.edge.tolist(), limit.coefficient.tolist(), strict=True)) for limit in problem.limits]
    for e, (i, j) in enumerate(zip(row.tolist(), problem.provider.tolist(), strict=True)):
        carries = problem.capacity[j] > 0 and (problem.upper is None or problem.upper[e] > 0) and problem.demand[i] > 0
        if not carries or (inertia > 0 and problem.reference[e] <= 0):
            continue
        earned = -price[j] - sum(limit_price[k] * Fraction(a.get(e, 0.0)) for k, a in enumerate(coefficient))
        # weights are floats next to the rationals that they stand for
        assert earned <= demand[i] + cap.get(e, Fraction(0)) + Fraction(1e-13) * max(abs(earned), 1)
    assert excess > 0
    assert abs(float(excess) - conflict.excess) <= 1e-7 * conflict.excess + 1e-9 * abs(float(problem.demand.sum()))
    return excess
