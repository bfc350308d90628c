"""One solve of one solver in a process of its own, scored by Footfall's exact bound and repaired plan; JSON on stdout.

    python benchmarks/solver/peers.py highs-pdlp M 1e-4 60       # solver, instance, tolerance, seconds it may take

Solvers: highs-ipm, highs-pdlp (highspy), ortools-pdlp, ortools-glop (ortools, which cannot share a process with
highspy). A solver is given the plain programme in visits, one thread, and its time is that of the call that solves:
neither the building of its model nor the scoring counts. A time limit that passes is the answer "over", not an error.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import numpy as np
from instances import instance
from scipy.sparse import csc_matrix, csr_matrix

from footfall.acquire import Problem, kernels
from footfall.acquire._work import plain_work
from footfall.acquire.conflict import LimitNames
from footfall.acquire.repair import repair

Answer = tuple[Any, Any, float]  # visits (E,), duals of the providers' rows (m,), seconds


def _matrix(problem: Problem) -> Any:
    n, edges = problem.segments, problem.edges
    row = np.repeat(np.arange(n), np.diff(problem.row_start))
    index = np.stack([row, n + problem.provider], axis=1).ravel()
    return csc_matrix((np.ones(2 * edges), index, np.arange(0, 2 * edges + 1, 2)), shape=(n + problem.providers, edges))


def highs(problem: Problem, method: str, tolerance: float, limit_s: float) -> Answer:
    """HiGHS: interior point (with crossover off) or PDLP."""
    import highspy

    edges, matrix = problem.edges, _matrix(problem)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = edges, matrix.shape[0]
    model.col_cost_ = -problem.value.astype(np.float64)
    model.col_lower_, model.col_upper_ = np.zeros(edges), np.full(edges, highspy.kHighsInf)
    model.row_lower_ = np.concatenate([np.full(problem.segments, -highspy.kHighsInf), problem.floor])
    model.row_upper_ = np.concatenate([problem.demand, problem.capacity])
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_, model.a_matrix_.index_ = matrix.indptr, matrix.indices
    model.a_matrix_.value_ = matrix.data
    solver = highspy.Highs()
    for name, value in (
        ("output_flag", False), ("solver", method), ("threads", 1), ("time_limit", limit_s), ("run_crossover", "off"),
        ("pdlp_optimality_tolerance", tolerance), ("ipm_optimality_tolerance", tolerance),
        ("primal_feasibility_tolerance", tolerance), ("dual_feasibility_tolerance", tolerance),
    ):  # fmt: skip
        solver.setOptionValue(name, value)
    solver.passModel(model)
    began = time.process_time()
    solver.run()
    seconds = time.process_time() - began
    solution = solver.getSolution()
    return np.array(solution.col_value), np.array(solution.row_dual)[problem.segments :], seconds


def ortools_pdlp(problem: Problem, _: str, tolerance: float, limit_s: float) -> Answer:
    """OR-Tools' PDLP."""
    from ortools.pdlp import solvers_pb2
    from ortools.pdlp.python import pdlp

    n, edges = problem.segments, problem.edges
    programme = pdlp.QuadraticProgram()
    programme.resize_and_initialize(edges, n + problem.providers)
    programme.objective_vector = -problem.value.astype(np.float64)
    programme.variable_lower_bounds = np.zeros(edges)
    programme.variable_upper_bounds = np.full(edges, np.inf)
    programme.constraint_matrix = _matrix(problem)
    programme.constraint_lower_bounds = np.concatenate([np.full(n, -np.inf), problem.floor])
    programme.constraint_upper_bounds = np.concatenate([problem.demand, problem.capacity])
    options = solvers_pb2.PrimalDualHybridGradientParams()
    options.num_threads = 1
    options.termination_criteria.time_sec_limit = limit_s
    options.termination_criteria.simple_optimality_criteria.eps_optimal_relative = tolerance
    options.termination_criteria.simple_optimality_criteria.eps_optimal_absolute = tolerance
    began = time.process_time()
    result = pdlp.primal_dual_hybrid_gradient(programme, options)
    seconds = time.process_time() - began
    return np.asarray(result.primal_solution), np.asarray(result.dual_solution)[n:], seconds


def ortools_glop(problem: Problem, _: str, __: float, limit_s: float) -> Answer:
    """OR-Tools' simplex."""
    from ortools.linear_solver.python import model_builder_helper as helper

    n, edges = problem.segments, problem.edges
    model = helper.ModelBuilderHelper()
    model.fill_model_from_sparse_data(
        np.zeros(edges), np.full(edges, np.inf), -problem.value.astype(np.float64),
        np.concatenate([np.full(n, -np.inf), problem.floor]), np.concatenate([problem.demand, problem.capacity]),
        csr_matrix(_matrix(problem)),
    )  # fmt: skip
    solver = helper.ModelSolverHelper("glop")
    solver.set_time_limit_in_seconds(limit_s)
    began = time.process_time()
    solver.solve(model)
    seconds = time.process_time() - began
    if not solver.has_solution():
        return np.zeros(edges), np.zeros(problem.providers), seconds
    return np.asarray(solver.variable_values()), np.asarray(solver.dual_values())[n:], seconds


def score(problem: Problem, visits: Any, dual: Any) -> dict[str, float]:
    """Gap by our bound at the solver's prices and our repair of its plan; the worst breach before that repair."""
    work = plain_work(problem)
    n, row = problem.segments, np.repeat(np.arange(problem.segments), np.diff(problem.row_start))
    best, price = np.inf, np.zeros(problem.providers)
    for trial in (dual, -dual):  # whichever sign the solver's convention has
        trial = np.where(np.isinf(problem.capacity), np.minimum(trial, 0), trial)
        worth = float(problem.capacity[trial > 0] @ trial[trial > 0]) + float(problem.floor @ np.minimum(trial, 0))
        bound = kernels.bound_rows(work.row_start, work.provider, work.value, work.demand, trial, 0, n) + worth
        if bound < best:
            best, price = bound, trial
    visits = np.maximum(visits, 0.0)
    load = np.bincount(problem.provider, visits, minlength=problem.providers)
    used = np.bincount(row, visits, minlength=n)
    breach = max(
        float(np.max(load / np.maximum(problem.capacity, 1e-300) - 1, initial=0)),
        float(np.max(1 - load / np.where(problem.floor > 0, problem.floor, 1), initial=0, where=problem.floor > 0)),
        float(np.max(used / np.maximum(problem.demand, 1e-300) - 1, initial=0)),
    )
    share = visits / np.maximum(problem.demand, 1e-300)[row]
    plan, _, _ = repair(work, share, price, LimitNames(), fill=True)
    value = kernels.worth_rows(work.row_start, work.value, work.demand, plan, 0, n)
    return {"gap": float((best - value) / abs(best)), "breach": breach}


SOLVERS = {
    "highs-ipm": (highs, "ipm"),
    "highs-pdlp": (highs, "pdlp"),
    "ortools-pdlp": (ortools_pdlp, ""),
    "ortools-glop": (ortools_glop, ""),
}


def main() -> int:
    """Solve, score, print."""
    name, size, tolerance, limit_s = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    problem = instance(size, real="float64")
    solver, method = SOLVERS[name]
    visits, dual, seconds = solver(problem, method, tolerance, limit_s)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    over = seconds >= 0.98 * limit_s
    told: dict[str, Any] = {"seconds": seconds, "over": over, "bytes": peak, "gap": None, "breach": None}
    if len(visits) == problem.edges and len(dual) == problem.providers and visits.any():
        told |= score(problem, visits, dual)
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
