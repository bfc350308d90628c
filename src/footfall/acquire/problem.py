"""The allocation problem, checked on construction, and the allocation that answers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from footfall.acquire._checks import Complaints, Faults, above, as_float, duplicate_edges, outside, repeated
from footfall.model import Floats

REFERENCE_TOLERANCE = 1e-6  # how far a row of the reference may be from 1

Status = Literal["optimal", "time_limit", "interrupted", "stalled"]


@dataclass(frozen=True, eq=False, slots=True)
class LinearLimit:
    """A further limit: ``low <= sum over k of coefficient[k] x demand[row of edge[k]] x share[edge[k]] <= high``.

    A budget has costs of a visit as coefficients; a group's floor or cap has 1 on the group's edges.
    edge: int64 (k,), positions in the problem's edge arrays, distinct; quickest to check where they rise.
    coefficient: float64 (k,), finite, any sign. low, high: visits (times the coefficient's unit), ``low <= high``,
    either may be infinite. name: for reports, distinct among a problem's limits.
    """

    edge: npt.NDArray[np.int64]
    coefficient: Floats
    low: float
    high: float
    name: str

    def __post_init__(self) -> None:
        _lay_out(self, ("edge", "coefficient"))


@dataclass(frozen=True, eq=False, slots=True)
class Problem:
    """Visits of n segments to m providers over E eligible pairs (edges), in rows by segment.

    demand: float64 (n,), visits, >= 0.
    row_start: int64 (n + 1,), edges of segment i are ``row_start[i]:row_start[i + 1]``; a row may be empty, and what it
    has then stays unassigned.
    provider: int32 (E,), in [0, m), distinct within a row.
    value: float32 or float64 (E,), reward per visit, finite, any sign.
    capacity: float64 (m,), visits, >= 0, may be +inf.
    floor: float64 (m,), visits, in [0, capacity], finite.
    reference: float32 or float64 (E,) shares >= 0, or None; at inertia > 0 each row sums to 1 (rows without demand
    may be all zero).
    limits: further linear limits.
    upper: float32 or float64 (E,), the largest share of each edge, in [0, 1], or None; 1 is no bound.

    Arrays are kept as they are, and never written to; those that are read-only or strided are copied.
    Raises ProblemError, which lists the first ten faults with row, provider and bound.
    """

    demand: Floats
    row_start: npt.NDArray[np.int64]
    provider: npt.NDArray[np.int32]
    value: npt.NDArray[Any]
    capacity: Floats
    floor: Floats
    reference: npt.NDArray[Any] | None = None
    limits: tuple[LinearLimit, ...] = ()
    upper: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        _lay_out(self, ("demand", "row_start", "provider", "value", "capacity", "floor", "reference", "upper"))
        found = Complaints()
        if _check_arrays(self, found) and _check_rows(self, found):
            _check_entries(self, found)
            _check_limits(self, found)
        found.raise_any()

    @property
    def segments(self) -> int:
        """n, the number of segments."""
        return len(self.demand)

    @property
    def providers(self) -> int:
        """m, the number of providers."""
        return len(self.capacity)

    @property
    def edges(self) -> int:
        """E, the number of eligible pairs."""
        return len(self.provider)


@dataclass(frozen=True, eq=False, slots=True)
class Allocation:
    """Shares, prices and the certificate: ``objective <= exact optimum <= bound``.

    share: float64 (E,). price: float64 (m,), reward per visit, positive where the capacity binds, negative where the
    floor does. load: float64 (m,), visits. unassigned: float64 (n,), visits. reward: sum of demand x share x value.
    objective, bound and gap are those of the problem solved (with the relative-entropy term where inertia > 0);
    lp_bound bounds the reward of any plan under the same limits. gap = (bound - objective) / |bound|.
    limit_price: float64 (k,), reward per unit of each linear limit, positive where its high binds, negative where its
    low does; empty without linear limits. passes: sweeps over the edges in search of prices, where these were counted
    (edges looked at, in parts of all). Shares are float32 in large problems whose values are.
    """

    share: Floats
    price: Floats
    load: Floats
    unassigned: Floats
    reward: float
    objective: float
    bound: float
    gap: float
    lp_bound: float
    iterations: int
    status: Status
    limit_price: Floats = field(default_factory=lambda: np.zeros(0))
    passes: float = 0.0


def _lay_out(holder: Any, names: tuple[str, ...]) -> None:
    """Arrays that the kernels would have to be compiled anew for become plain ones; what is none is told later."""
    for name in names:
        array = getattr(holder, name)
        if type(array) is np.ndarray and array.ndim == 1 and not (array.flags.c_contiguous and array.flags.writeable):
            object.__setattr__(holder, name, array.copy())


_LARGEST = float(np.finfo(np.float64).max)  # what is above it is infinite
_MOST_WORTH = 1e200  # demand x value, or visits of floors; squares of it are taken
_F64 = (np.dtype(np.float64),)
_REAL = (np.dtype(np.float32), np.dtype(np.float64))


def _check_arrays(problem: Problem, found: Complaints) -> bool:
    wanted: list[tuple[str, Any, tuple[np.dtype[Any], ...]]] = [
        ("demand", problem.demand, _F64),
        ("row_start", problem.row_start, (np.dtype(np.int64),)),
        ("provider", problem.provider, (np.dtype(np.int32),)),
        ("value", problem.value, _REAL),
        ("capacity", problem.capacity, _F64),
        ("floor", problem.floor, _F64),
    ]
    if problem.reference is not None:
        wanted.append(("reference", problem.reference, _REAL))
    if problem.upper is not None:
        wanted.append(("upper", problem.upper, _REAL))
    good = True
    for name, array, kinds in wanted:
        expected = " or ".join(k.name for k in kinds)
        if not isinstance(array, np.ndarray):
            found.add(f"{name} is {type(array).__name__}; it must be a numpy array of {expected}")
        elif type(array) is not np.ndarray:  # a masked array's numbers are not what they seem
            found.add(f"{name} is a {type(array).__name__}; it must be a plain numpy array (numpy.asarray)")
        elif array.dtype not in kinds:
            foreign = "" if array.dtype.isnative else " in the machine's own byte order"
            found.add(f"{name} has type {array.dtype}; it must be {expected}{foreign}")
        elif array.ndim != 1:
            found.add(f"{name} has shape {array.shape}; it must have one dimension")
        else:
            continue
        good = False
    if not good:
        return False
    edges, n, m = len(problem.provider), len(problem.demand), len(problem.capacity)
    shapes = [("row_start", problem.row_start, n + 1), ("value", problem.value, edges), ("floor", problem.floor, m)]
    if problem.reference is not None:
        shapes.append(("reference", problem.reference, edges))
    if problem.upper is not None:
        shapes.append(("upper", problem.upper, edges))
    for name, array, length in shapes:
        if len(array) != length:
            found.add(f"{name} has {len(array)} entries; it must have {length}")
            good = False
    return good


def _check_rows(problem: Problem, found: Complaints) -> bool:
    start, edges, m = problem.row_start, problem.edges, problem.providers
    if start[0] != 0:
        found.add(f"row_start begins with {start[0]}; it must begin with 0")
    if start[-1] != edges:
        found.add(f"row_start ends with {start[-1]}; it must end with the number of edges, {edges}")
    found.each(
        above(start[:-1], start[1:]),
        lambda i: f"row {i}: row_start falls from {start[i]} to {start[i + 1]}; it must not fall",
    )
    if found:
        return False
    j = problem.provider
    found.each(
        outside(j, 0, m - 1), lambda e: f"row {_row(problem, e)}, edge {e}: provider {j[e]} is outside 0..{m - 1}"
    )
    if found:
        return False
    found.each(
        duplicate_edges(start, j, m),
        lambda e: f"row {_row(problem, e)}: provider {j[e]} stands there twice (again at edge {e})",
    )
    return True


def _check_entries(problem: Problem, found: Complaints) -> None:
    d, c, f, v, p = problem.demand, problem.capacity, problem.floor, problem.value, problem.reference
    found.each(outside(d, 0, _LARGEST), lambda i: f"row {i}: demand {d[i]} must be finite and not negative")
    found.each(outside(c, 0, np.inf), lambda k: f"provider {k}: capacity {c[k]} must be 0 or more (inf for none)")
    found.each(outside(f, 0, _LARGEST), lambda k: f"provider {k}: floor {f[k]} must be finite and not negative")
    found.each(above(f, c), lambda k: f"provider {k}: floor {f[k]} is above its capacity {c[k]}")
    found.each(outside(v, -_LARGEST, _LARGEST), lambda e: f"{_edge(problem, e)}: value {v[e]} must be finite")
    if p is not None:
        found.each(
            outside(p, 0, _LARGEST),
            lambda e: f"{_edge(problem, e)}: reference {p[e]} must be finite and not negative",
        )
    u = problem.upper
    if u is not None:
        found.each(
            outside(u, 0, 1),
            lambda e: f"{_edge(problem, e)}: upper {u[e]} must be a share from 0 to 1 (1 for no bound)",
        )
    if not found:
        with np.errstate(over="ignore"):  # sums that are infinite are told
            visits, asked = float(d.sum()), float(f.sum())
        best = float(max(v.max(), -v.min())) if len(v) else 0.0
        if not visits * best <= _MOST_WORTH:
            found.add(
                f"demand of {visits:.3g} visits at values up to {best:.3g} is beyond {_MOST_WORTH:.0e}: "
                "sums would overflow; measure them in larger units"
            )
        if not asked <= _MOST_WORTH:
            found.add(f"floors of {asked:.3g} visits in all are beyond {_MOST_WORTH:.0e}: sums would overflow")


def _check_limits(problem: Problem, found: Complaints) -> None:
    if not isinstance(problem.limits, tuple):
        found.add(f"limits is {type(problem.limits).__name__}; it must be a tuple of LinearLimit")
        return
    names: dict[str, int] = {}
    for number, limit in enumerate(problem.limits):
        if not isinstance(limit, LinearLimit):
            found.add(f"limits[{number}] is {type(limit).__name__}; it must be a LinearLimit")
            continue
        if not isinstance(limit.name, str) or not limit.name:
            found.add(f"limits[{number}]: name {limit.name!r} must be a text that is not empty")
        elif limit.name in names:
            found.add(f"limits[{number}]: limit {limit.name!r} stands there already, as limits[{names[limit.name]}]")
        else:
            names[limit.name] = number
        _check_limit(problem, f"limit {limit.name!r}", limit, found)


def _check_limit(problem: Problem, where: str, limit: LinearLimit, found: Complaints) -> None:
    edge, coefficient, last = limit.edge, limit.coefficient, problem.edges - 1
    if type(edge) is not np.ndarray or edge.dtype != np.int64 or edge.ndim != 1:
        found.add(f"{where}: edge must be a numpy array of int64 with one dimension")
    elif type(coefficient) is not np.ndarray or coefficient.dtype != np.float64:
        found.add(f"{where}: coefficient must be a numpy array of float64")
    elif coefficient.shape != edge.shape:
        found.add(f"{where}: edge has {len(edge)} entries, coefficient has shape {coefficient.shape}")
    elif (beyond := outside(edge, 0, last)).count:
        found.each(beyond, lambda t: f"{where}: an edge is outside 0..{last} (entry {t} is {edge[t]})")
    elif (twice := repeated(edge, problem.edges)) >= 0:
        found.add(f"{where}: an edge stands there twice ({_edge(problem, int(edge[twice]))}, again as entry {twice})")
    else:
        found.each(
            outside(coefficient, -_LARGEST, _LARGEST),
            lambda t: f"{where}: a coefficient is not finite ({_edge(problem, int(edge[t]))}: {coefficient[t]})",
        )
    if as_float(limit.low) is None or as_float(limit.high) is None:
        found.add(f"{where}: low {_short(limit.low)} and high {_short(limit.high)} must be numbers that a float holds")
    elif not limit.low <= limit.high or limit.low == np.inf or limit.high == -np.inf:
        found.add(f"{where}: low {limit.low} and high {limit.high} leave no room")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 30 else f"{text[:30]}..."


def check_reference(problem: Problem) -> None:
    """Refuse a reference that is absent or whose rows do not sum to 1; needed where inertia > 0."""
    found = Complaints()
    if problem.reference is None:
        found.add("reference is None; inertia > 0 needs reference shares (or set inertia = 0)")
        found.raise_any()
        return
    sums = row_sums(problem.row_start, problem.reference)
    filled = np.diff(problem.row_start) > 0
    wrong = filled & (np.abs(sums - 1) > REFERENCE_TOLERANCE) & ~((problem.demand == 0) & (sums == 0))
    where = np.flatnonzero(wrong)
    found.each(Faults(where, len(where)), lambda i: f"row {i}: reference sums to {sums[i]:.9g}; it must sum to 1")
    found.raise_any()


def row_sums(row_start: npt.NDArray[np.int64], entry: npt.NDArray[Any]) -> Floats:
    """Sums of a per-edge array by row, float64 (n,); 0 for empty rows."""
    sums = np.zeros(len(row_start) - 1)
    filled = np.flatnonzero(np.diff(row_start) > 0)
    if len(filled):
        sums[filled] = np.add.reduceat(entry, row_start[filled], dtype=np.float64)
    return sums


def _row(problem: Problem, e: int) -> int:
    return int(np.searchsorted(problem.row_start, e, side="right")) - 1


def _edge(problem: Problem, e: int) -> str:
    return f"row {_row(problem, e)}, provider {problem.provider[e]}"
