"""The solver's passes over blocks of rows, for whoever keeps the rows on several machines.

A block holds some segments with all their edges; prices go out to the blocks, a few numbers a provider come back and
are added. Everything here is a function of arrays: no threads, no files, no state. One step of a method on a cluster is

    parts = [entropy_part(block, price) for block in blocks]      # a map, wherever the blocks are
    dual = combine(parts)                                         # a reduce: in a fixed order, the same bits each time
    bound = dual.value + limits_part(price, capacity, floor)

Blocks cut from one problem at the same rows give the same bits on one machine and on many. Formulas and their sources
stand in docs/solver.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from footfall.acquire import _entropy_kernels, _ridge_kernels, kernels
from footfall.acquire._blocks import cut_rows
from footfall.acquire.problem import Problem
from footfall.errors import ProblemError
from footfall.model import Floats


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """k segments with their edges, in rows.

    demand: float64 (k,), visits. row_start: int64 (k + 1,), from 0. provider: int32 (e,), in [0, providers). value and
    reference: float32 or float64 (e,), both the same; reference and tau (float64 (k,), reward per visit) only for the
    programme with relative entropy. providers: m, of the whole problem.
    """

    demand: Floats
    row_start: npt.NDArray[np.int64]
    provider: npt.NDArray[np.int32]
    value: npt.NDArray[Any]
    providers: int
    reference: npt.NDArray[Any] | None = None
    tau: Floats | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """What a block's rows, or several blocks together, add to a dual.

    value: the rows' part of the dual. load: float64 (m,), visits. curve: float64 (m,), a diagonal above the Hessian.
    plain: the rows' part of the plain programme's H(l), nan where it was not counted.
    """

    value: float
    load: Floats
    curve: Floats
    plain: float = np.nan


@dataclass(frozen=True, eq=False, slots=True)
class Worth:
    """What shares are worth: reward sum d x v, and cost sum d tau (x log(x/p) - x + p), 0 without a reference."""

    reward: float
    cost: float


def split(problem: Problem, count: int) -> list[Block]:
    """About ``count`` blocks of a problem with about as many edges each, as views of its arrays; at least one.

    Raises ProblemError for problems with largest shares or linear limits, whose passes are not by blocks.
    """
    if problem.upper is not None or problem.limits:
        raise ProblemError(
            "blocks hold neither largest shares nor linear limits",
            "solve this problem on one machine, or express its limits as capacities and floors",
        )
    if count < 1:
        raise ProblemError(f"count {count} of blocks must be 1 or more")
    made, cuts = [], cut_rows(problem.row_start, count)
    for first, last in pairwise(cuts):
        a, b = int(problem.row_start[first]), int(problem.row_start[last])
        made.append(
            Block(
                demand=problem.demand[first:last],
                row_start=problem.row_start[first : last + 1] - a,
                provider=problem.provider[a:b],
                value=problem.value[a:b],
                providers=problem.providers,
                reference=None if problem.reference is None else problem.reference[a:b],
            )
        )
    return made


def signal_part(block: Block) -> tuple[Floats, float, float]:
    """sum_j p_ij max(v_ij, 0) of each row (k,); and over rows where that is above 0, its visits' sum and the visits.

    The sums of all blocks give ``usual`` for ``with_tau``: their quotient (1 where no row has a signal).
    """
    if block.reference is None:
        raise ProblemError("the block has no reference; inertia > 0 needs reference shares")
    signal, mass = np.empty(len(block.demand)), np.empty(len(block.demand))
    _entropy_kernels.row_signals(block.row_start, block.value, block.reference, 0, len(signal), signal, mass)
    heard = signal > 0
    return signal, float(block.demand[heard] @ signal[heard]), float(block.demand[heard].sum())


def with_tau(block: Block, signal: Floats, usual: float, inertia: float) -> Block:
    """The block with tau = inertia x signal; rows without a signal get ``usual``, and their values count as 0."""
    if not (np.isfinite(inertia) and inertia > 0):
        raise ProblemError(f"inertia {inertia} must be finite and above 0; at 0 no tau is needed")
    silent, value = ~(signal > 0), block.value
    if silent.any():
        value = value.copy()
        _entropy_kernels.silence(block.row_start, silent, value)
    return replace(block, value=value, tau=inertia * np.where(silent, usual, signal))


def _entropic(block: Block) -> tuple[Any, ...]:
    if block.reference is None or block.tau is None:
        raise ProblemError("the block has no reference or no tau", "set them by with_tau")
    rows = block.row_start.view(np.uint64), np.ascontiguousarray(block.provider).view(np.uint32)
    return (*rows, block.value, block.reference, block.tau, block.demand)


def entropy_part(block: Block, price: Floats) -> Part:
    """The programme with relative entropy at prices (m,): an exact pass, in float64. +inf shuts a provider."""
    return _exact(block, price)[0]


def entropy_shares(block: Block, price: Floats) -> Floats:
    """The shares x = p exp((v - l) / tau) / max(1, S) of ``entropy_part``, float64 (e,)."""
    return _exact(block, price)[1]


def _exact(block: Block, price: Floats) -> tuple[Part, Floats]:
    share, sums = np.empty(len(block.provider)), np.zeros((2, block.providers))
    kernel: Any = _entropy_kernels.entropy_shares
    value, _ = kernel(*_entropic(block), price, 0, len(block.demand), share, sums[0], sums[1])
    return Part(float(value), sums[0], sums[1]), share


def quick_entropy_part(
    block: Block, price: Floats, shift: npt.NDArray[np.float32] | None = None
) -> tuple[Part, npt.NDArray[np.float32]]:
    """As ``entropy_part`` in float32, less a constant: to find prices by, not to certify.

    shift: float32 (k,), what the block's last quick pass gave back, or None at first; exponents are counted from it.
    """
    sums = np.zeros((2, block.providers))
    own = np.zeros(len(block.demand), dtype=np.float32) if shift is None else shift.copy()
    kernel: Any = _entropy_kernels.entropy_loads
    at = price.astype(np.float32)
    value, _ = kernel(*_entropic(block), at, own, 0, len(block.demand), sums[0], sums[1])
    return Part(float(value), sums[0], sums[1]), own


def ridge_part(block: Block, price: Floats, ridge: float) -> Part:
    """The plain programme with a ridge (reward per visit and share, > 0) at prices (m,), in float64, with H(l)."""
    if not ridge > 0:
        raise ProblemError(f"ridge {ridge} must be above 0")
    share, sums = np.empty(len(block.provider)), np.zeros((2, block.providers))
    rows = (block.row_start, block.provider, block.value, block.demand)
    value, plain = kernels.ridge_rows(*rows, price, ridge, 0, len(block.demand), share, sums[0], sums[1])
    return Part(float(value), sums[0], sums[1], float(plain))


def quick_ridge_part(block: Block, price: Floats, ridge: float) -> Part:
    """As ``ridge_part`` in float32: to find prices by, not to certify."""
    if not ridge > 0:
        raise ProblemError(f"ridge {ridge} must be above 0")
    single, size = np.float32, np.float32(ridge)
    sums = np.zeros((block.providers, 2))
    widest = int(np.diff(block.row_start).max(initial=0))
    rows = (block.row_start, block.provider, block.value.astype(single, copy=False), block.demand)
    found = _ridge_kernels.ridge_rows(*rows, price.astype(single), size, 0, len(block.demand), widest, sums)
    return Part(float(found[0]), sums[:, 0].copy(), sums[:, 1] / ridge, float(found[1]))


def bound_part(block: Block, price: Floats) -> float:
    """The rows' part of H(l), the plain programme's bound, at prices (m,)."""
    rows = (block.row_start, block.provider, block.value, block.demand)
    return float(kernels.bound_rows(*rows, price, 0, len(block.demand)))


def worth_part(block: Block, share: npt.NDArray[Any]) -> Worth:
    """What shares (e,) of the block's edges are worth, summed in float64."""
    if block.reference is None or block.tau is None:
        rows = (block.row_start, block.value, block.demand)
        return Worth(float(kernels.worth_rows(*rows, share, 0, len(block.demand))), 0.0)
    data = (block.row_start.view(np.uint64), block.value, block.reference, block.tau, block.demand)
    reward, cost = _entropy_kernels.entropy_worth(*data, share, 0, len(block.demand))
    return Worth(float(reward), float(cost))


def limits_part(price: Floats, capacity: Floats, floor: Floats) -> float:
    """h(l) = sum_j c_j max(l_j, 0) - f_j max(-l_j, 0), which belongs to no block; all (m,)."""
    up = price > 0
    return float(capacity[up] @ price[up]) + float(floor @ np.minimum(price, 0.0))


def combine(parts: Sequence[Part]) -> Part:
    """The sum of blocks, in their order. Raises ProblemError without any."""
    if not parts:
        raise ProblemError("there are no parts to combine")
    value, plain = parts[0].value, parts[0].plain
    load, curve = parts[0].load.copy(), parts[0].curve.copy()
    for part in parts[1:]:
        value, plain = value + part.value, plain + part.plain
        load += part.load
        curve += part.curve
    return Part(value, load, curve, plain)
