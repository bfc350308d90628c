"""The allocation solver against HiGHS on the same instances: time to a certified gap of 1e-4, and what both reach.

    python benchmarks/solver/run.py [--edges 200000] [--seed 1]

Instances: lognormal values, popularity by Zipf, about 12 visits a segment, 20 edges a segment, total capacity 0.85
of the traffic, a tenth of the providers with floors. HiGHS solves the plain programme (inertia 0) by its interior
point method.
"""

from __future__ import annotations

import argparse
import sys
import time

import highspy
import numpy as np

from footfall.acquire import Problem, solve


def instance(edges: int, seed: int) -> Problem:
    """A seeded instance of about so many edges."""
    rng = np.random.default_rng(seed)
    n, m = max(1, edges // 20), max(2, int((edges / 20) ** 0.75))
    popularity = 1.0 / np.arange(1, m + 1) ** 0.8
    degree = np.minimum(m, rng.poisson(19, n) + 1)
    drawn = rng.choice(m, size=int(degree.sum()), p=popularity / popularity.sum())
    keys = np.unique(np.repeat(np.arange(n), degree) * m + drawn)
    row, provider = keys // m, (keys % m).astype(np.int32)
    row_start = np.searchsorted(row, np.arange(n + 1)).astype(np.int64)
    demand = rng.poisson(12, n) + 1.0
    quality = rng.lognormal(0, 0.5, m)
    value = quality[provider] * rng.lognormal(1, 0.3, len(keys))
    reference = popularity[provider] * rng.lognormal(0, 0.3, len(keys))
    reference /= np.repeat(np.add.reduceat(reference, row_start[:-1]), np.diff(row_start))
    today = np.bincount(provider, weights=demand[row] * reference, minlength=m)
    capacity = 0.85 * today * rng.uniform(0.7, 1.3, m)
    floor = np.where(rng.random(m) < 0.1, 0.5 * capacity, 0.0)
    return Problem(demand, row_start, provider, value, capacity, floor, reference)


def highs(problem: Problem) -> tuple[float, float]:
    """Seconds and objective of HiGHS's interior point method on the plain programme."""
    n, m, e = len(problem.demand), len(problem.capacity), len(problem.provider)
    row = np.repeat(np.arange(n), np.diff(problem.row_start))
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = e, n + m
    model.sense_ = highspy.ObjSense.kMaximize
    model.col_cost_ = problem.demand[row] * problem.value
    model.col_lower_, model.col_upper_ = np.zeros(e), np.full(e, highspy.kHighsInf)
    model.row_lower_ = np.concatenate([np.full(n, -highspy.kHighsInf), problem.floor])
    model.row_upper_ = np.concatenate([np.ones(n), problem.capacity])
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = np.arange(0, 2 * e + 1, 2, dtype=np.int32)
    model.a_matrix_.index_ = np.stack([row, n + problem.provider], axis=1).ravel().astype(np.int32)
    model.a_matrix_.value_ = np.stack([np.ones(e), problem.demand[row]], axis=1).ravel()
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("solver", "ipm")
    solver.passModel(model)
    began = time.perf_counter()
    solver.run()
    return time.perf_counter() - began, float(solver.getInfo().objective_function_value)


def main() -> int:
    """Print a line for each inertia; 1 where a gap is not certified or the bound is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    problem = instance(options.edges, options.seed)
    solve(instance(2_000, 0))  # compiles
    solve(instance(2_000, 0), inertia=0.3)
    seconds, optimum = highs(problem)
    print(f"{len(problem.provider):,} edges, {len(problem.demand):,} segments, {len(problem.capacity):,} providers")
    print(f"HiGHS interior point  {seconds:8.2f} s   objective {optimum:,.2f}")
    wrong = False
    for inertia in (0.0, 0.3):
        began = time.perf_counter()
        answer = solve(problem, inertia=inertia)
        taken = time.perf_counter() - began
        over = max(0.0, float(np.max(answer.load / np.maximum(problem.capacity, 1e-300) - 1)))
        print(
            f"inertia {inertia:<4g}          {taken:8.2f} s   reward {answer.reward:,.2f}  gap {answer.gap:.1e}  "
            f"HiGHS / ours {seconds / taken:.1f}  largest violation {over:.1e}  "
            f"LP bound / optimum {answer.lp_bound / optimum:.6f}"
        )
        wrong |= answer.gap > 1e-4 or answer.lp_bound < optimum * (1 - 1e-7)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
