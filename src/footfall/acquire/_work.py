"""The problem as the solvers see it: edges that can carry something, with the row data of the entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from footfall.acquire import kernels
from footfall.acquire.problem import Problem, row_sums
from footfall.model import Floats

WIDE = 2_000_000  # edges up to which values are widened to float64 (one compiled version of each kernel)


@dataclass(frozen=True, eq=False, slots=True)
class Work:
    """Edges of capacity or upper share 0 are gone, and at inertia > 0 those without reference (all carry nothing).

    upper: float64 (E,), largest shares in (0, 1]; None where all are 1.
    tau, mass: (n,), only where ``reference`` is not None. column: (start, row, edge) by provider. kept: positions in
    the problem's edges, None where all were kept. scale: sum d (max|v| + tau), what a gap can be measured against.
    """

    demand: Floats
    row_start: npt.NDArray[np.int64]
    provider: npt.NDArray[np.int32]
    value: npt.NDArray[Any]
    capacity: Floats
    floor: Floats
    reference: npt.NDArray[Any] | None
    upper: Floats | None
    tau: Floats
    mass: Floats
    column: tuple[Any, Any, Any]
    kept: npt.NDArray[np.int64] | None
    total_edges: int
    scale: float
    left_out: float  # sum d tau p over edges left out: what leaving them costs the entropic objective

    @property
    def most(self) -> Floats:
        """Largest visits of each edge, float64 (E,), infinite where there is no bound; empty where none has one."""
        if self.upper is None:
            return np.zeros(0)
        visits = np.repeat(self.demand, np.diff(self.row_start)) * self.upper
        return np.where(self.upper < 1, visits, np.inf)

    @property
    def n(self) -> int:
        """Number of segments."""
        return len(self.demand)

    @property
    def m(self) -> int:
        """Number of providers."""
        return len(self.capacity)

    def gather(self, share: Floats) -> Floats:
        """The entries of a per-edge array of the problem that belong to this work's edges."""
        return share if self.kept is None else share[self.kept]

    def spread(self, share: Floats) -> Floats:
        """Shares on all edges of the problem; 0 on those left out."""
        if self.kept is None:
            return share
        full = np.zeros(self.total_edges)
        full[self.kept] = share
        return full


def plain_work(problem: Problem) -> Work:
    """The plain linear programme: every edge to a provider with capacity."""
    none = np.zeros(0)
    return _work(problem, _can_carry(problem), problem.value, None, none, none)


def entropic_work(problem: Problem, inertia: float) -> Work:
    """The programme with relative entropy to the reference, tau_i = inertia x sum_j p_ij max(v_ij, 0).

    Rows where that is 0 have no value signal: their values count as 0, with tau at the demand-weighted mean of the
    other rows (inertia itself where there is none), so that such a row is exactly its reference unless limits move
    it, and then moves least.
    """
    assert problem.reference is not None
    row_start, value, reference = problem.row_start, problem.value, problem.reference
    signal = row_sums(row_start, reference * np.maximum(value, 0).astype(np.float64))
    silent = ~(signal > 0)
    if silent.any():
        weight = problem.demand[~silent].sum()
        usual = float(problem.demand[~silent] @ signal[~silent]) / weight if weight > 0 else 1.0
        signal = np.where(silent, usual, signal)
        value = np.where(np.repeat(silent, np.diff(row_start)), value.dtype.type(0), value)
    mass = row_sums(row_start, reference)
    return _work(problem, (reference > 0) & _can_carry(problem), value, reference, inertia * signal, mass)


def _can_carry(problem: Problem) -> npt.NDArray[np.bool_]:
    open_: npt.NDArray[np.bool_] = problem.capacity[problem.provider] > 0
    return open_ if problem.upper is None else open_ & (problem.upper > 0)


def _work(
    problem: Problem,
    keep: npt.NDArray[np.bool_],
    value: npt.NDArray[Any],
    reference: npt.NDArray[Any] | None,
    tau: Floats,
    mass: Floats,
) -> Work:
    row_start, provider, kept, upper = problem.row_start, problem.provider, None, problem.upper
    if not keep.all():
        kept = np.flatnonzero(keep)
        row_start = np.concatenate([[0], np.cumsum(keep)])[row_start].astype(np.int64)
        provider, value = provider[kept], value[kept]
        reference = None if reference is None else reference[kept]
        upper = None if upper is None else upper[kept]
    narrow = value.dtype == np.float32 and (reference is None or reference.dtype == np.float32)
    real = np.float32 if narrow and len(value) > WIDE else np.float64
    value = np.ascontiguousarray(value, dtype=real)
    left_out = 0.0
    if reference is not None:
        gone = mass - row_sums(row_start, reference) if kept is not None else np.zeros(len(mass))
        left_out = float((problem.demand * tau) @ gone)
    tops = np.zeros(len(problem.demand))
    filled = np.flatnonzero(np.diff(row_start) > 0)
    if len(filled):
        tops[filled] = np.maximum.reduceat(np.abs(value), row_start[filled])
    return Work(
        demand=np.ascontiguousarray(problem.demand),
        row_start=np.ascontiguousarray(row_start),
        provider=np.ascontiguousarray(provider),
        value=value,
        capacity=problem.capacity,
        floor=problem.floor,
        reference=None if reference is None else np.ascontiguousarray(reference, dtype=real),
        upper=None if upper is None or (upper >= 1).all() else np.ascontiguousarray(upper, dtype=np.float64),
        tau=tau,
        mass=mass,
        column=kernels.transpose(row_start, provider, len(problem.capacity)),
        kept=kept,
        total_edges=problem.edges,
        scale=float(problem.demand @ tops) + (float(problem.demand @ tau) if len(tau) else 0.0),
        left_out=left_out,
    )
