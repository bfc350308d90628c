"""Draws of live decisions: arrays in, choices out; the reservation is part of the same step.

A segment's row is float64 (size,), one entry a provider: its weight >= 0; UNKNOWN where the plan has no line for it
there; CLOSED where it is excluded; PINNED - share where the share is pinned. ``lease`` is int64 (size,), millionths of
a visit that this worker may still reserve. The kernels hold the interpreter's lock, so that no other thread sees a draw
without its reservation.

One slot, over what remains of the eligible (docs/live.md):

    pinned    pin_j / T
    free      (F / T) ((1 - e) q_j + e / K)      q: weights of known providers x (1 - s), and s evenly over unknown ones
    T = remaining pins + F,  F = 1 - all eligible pins (nothing where no free one remains)
"""

from __future__ import annotations

import numba as nb
import numpy as np

from footfall.model import VISIT

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

UNKNOWN = -1.0
CLOSED = -2.0
PINNED = -3.0

TOO_FEW = -1  # in place of a choice where fewer than the slots were eligible


@nb.njit(cache=True)
def lacking(row, lease, candidates, out):
    """Which candidates only a lease keeps out of a draw, bool (k,)."""
    size = min(len(row), len(lease))
    for c in range(len(candidates)):
        j = candidates[c]
        out[c] = not 0 <= j < size or (row[j] != CLOSED and lease[j] < VISIT)


@nb.njit(cache=True, error_model="numpy")
def draw(row, lease, candidates, uniform, first, explore, newcomers, parts, chosen, propensity, probability):
    """Draw ``len(chosen)`` providers without replacement and reserve them; the number of eligible candidates.

    candidates: int64 (k,), distinct positions, < 0 for none. uniform: float64, in [0, 1), used from ``first`` on, one a
    slot. parts: int64 (slots,), what each slot reserves. Writes chosen (positions, TOO_FEW at the end where there are
    too few), propensity (of each choice given those before it) and probability (k or more,), that of the first slot.
    """
    probability = probability[: len(candidates)]  # what stands behind is of another draw
    weight = _weigh(row, lease, candidates)
    eligible, pool = 0, -1.0
    for s in range(len(chosen)):
        if s == 0:
            eligible, pool = _spread(weight, pool, explore, newcomers, probability)
            at = _pick(probability, uniform[first])
            reached = probability
        else:
            if s == 1:
                reached = np.empty(len(candidates))
            _spread(weight, pool, explore, newcomers, reached)
            at = _pick(reached, uniform[first + s])
        if at < 0:
            chosen[s:] = TOO_FEW
            propensity[s:] = 0.0
            break
        j = candidates[at]
        chosen[s] = j
        propensity[s] = reached[at]
        lease[j] -= parts[s]
        weight[at] = CLOSED
    return eligible


@nb.njit(cache=True, error_model="numpy")
def draw_one(row, lease, candidates, uniform, explore, newcomers, part, probability):
    """As ``draw`` for one slot, by one number in [0, 1): (position or TOO_FEW, propensity). Few arrays cross over from
    Python, which is most of what a single draw costs."""
    probability = probability[: len(candidates)]
    weight = _weigh(row, lease, candidates)
    _spread(weight, -1.0, explore, newcomers, probability)
    at = _pick(probability, uniform)
    if at < 0:
        return TOO_FEW, 0.0
    j = candidates[at]
    lease[j] -= part
    return j, probability[at]


@nb.njit(cache=True, error_model="numpy")
def decide(row, lease, candidates, uniform, first, explore, newcomers, parts, chosen, propensity, probability, short):
    """As ``draw``; (eligible, choices drawn, candidates that only a lease keeps out).

    short: bool (k or more,), written: which those last are (``lacking``).
    """
    lacking(row, lease, candidates, short)
    lack = 0
    for c in range(len(candidates)):
        if short[c]:
            lack += 1
    eligible = draw(row, lease, candidates, uniform, first, explore, newcomers, parts, chosen, propensity, probability)
    drawn = 0
    while drawn < len(chosen) and chosen[drawn] >= 0:
        drawn += 1
    return eligible, drawn, lack


@nb.njit(cache=True)
def _weigh(row, lease, candidates):
    """The candidates' weights of a row, float64 (k,); CLOSED where a lease has less than a visit."""
    weight = np.empty(len(candidates))
    size = min(len(row), len(lease))
    for c in range(len(candidates)):
        j = candidates[c]
        weight[c] = row[j] if 0 <= j < size and lease[j] >= VISIT else CLOSED
    return weight


@nb.njit(cache=True, error_model="numpy")
def _spread(weight, pool, explore, newcomers, out):
    """Probabilities of one slot; the number of eligible, and F (made here where ``pool`` is < 0)."""
    known, pins = 0.0, 0.0
    closed, unknown, pinned = 0, 0, 0
    for w in weight:
        if w >= 0.0:
            known += w
        elif w == UNKNOWN:
            unknown += 1
        elif w == CLOSED:
            closed += 1
        else:
            pinned += 1
            pins += PINNED - w
    free = len(weight) - closed - pinned
    if pool < 0.0:
        pool = max(1.0 - pins, 0.0)
    mass = pool if free > 0 else 0.0
    if pins + mass <= 0.0:  # pins took all of the segment and are drawn already
        mass = 1.0
    each_unknown, of_known, even = 0.0, 0.0, 0.0
    if free > 0:
        mass_free = mass / (pins + mass)
        even = mass_free * explore / free
        told = mass_free * (1.0 - explore)
        if unknown > 0:
            each_unknown = told * (newcomers if known > 0.0 else 1.0) / unknown
        if known > 0.0:
            of_known = told * ((1.0 - newcomers) if unknown > 0 else 1.0) / known
        elif unknown == 0:
            even = mass_free / free
    if closed + unknown + pinned == 0:
        for c in range(len(weight)):
            out[c] = weight[c] * of_known + even
        return len(weight), pool
    for c in range(len(weight)):
        w = weight[c]
        if w >= 0.0:
            out[c] = w * of_known + even
        elif w == UNKNOWN:
            out[c] = each_unknown + even
        elif w == CLOSED:
            out[c] = 0.0
        else:
            out[c] = (PINNED - w) / (pins + mass) if pins > 0.0 else 0.0
    return len(weight) - closed, pool


@nb.njit(cache=True)
def _pick(probability, goal):
    """Where the running sum passes ``goal``; the last that can be drawn takes what rounding leaves."""
    reached = 0.0
    for c in range(len(probability)):
        reached += probability[c]
        if reached > goal:
            return c
    for c in range(len(probability) - 1, -1, -1):
        if probability[c] > 0.0:
            return c
    return TOO_FEW


@nb.njit(cache=True)
def draw_batch(
    rows, row_of, lease, candidates, uniform, explore, newcomers, parts, chosen, propensity, probability, eligible
):
    """Draw for many visitors, one after the other: row b by ``rows[row_of[b]]``; all arrays have a leading axis b.

    rows: float64 (r, size). row_of: int64 (b,). candidates: int64 (b, k). uniform: float64 (b, slots). parts: int64
    (slots,). chosen: int64 and propensity: float64 (b, slots); probability: float64 (b, k); eligible: int64 (b,).
    """
    for b in range(len(row_of)):
        eligible[b] = draw(
            rows[row_of[b]],
            lease,
            candidates[b],
            uniform[b],
            0,
            explore,
            newcomers,
            parts,
            chosen[b],
            propensity[b],
            probability[b],
        )


@nb.njit(cache=True)
def credit(lease, at, amount):
    """Add amounts to leases, int64 (k,) each: one step for other threads."""
    for k in range(len(at)):
        lease[at[k]] += amount[k]


@nb.njit(cache=True)
def take(lease, at, most, taken):
    """Take up to ``most`` out of leases, int64 (k,) each; ``taken`` says how much it was."""
    for k in range(len(at)):
        amount = min(max(lease[at[k]], 0), most[k])
        lease[at[k]] -= amount
        taken[k] = amount


@nb.njit(cache=True)
def repeated(at, stamp):
    """What is to be known of positions, int64 (k,): 0 where they are distinct; else the sum of 1 where some are < 0
    and of 2 where one stands there twice, or ``stamp`` (bool, all False) has no place for it."""
    found = 0
    for j in at:
        if j < 0:
            found |= 1
        elif j >= len(stamp) or stamp[j]:
            found |= 2
        else:
            stamp[j] = True
    for j in at:
        if 0 <= j < len(stamp):
            stamp[j] = False
    return found


@nb.njit(cache=True)
def within_caps(weight, cap, mass, out):
    """Shares of ``mass`` in proportion to weight, none above its cap: those above are held at it, the rest share again.

    weight, cap, out: float64 (k,). Where the caps together are below the mass, everyone is at its cap.
    """
    held = np.zeros(len(weight), dtype=np.bool_)
    for _ in range(len(weight)):
        left, total = mass, 0.0
        for k in range(len(weight)):
            if held[k]:
                left -= cap[k]
            else:
                total += weight[k]
        again = False
        scale = max(left, 0.0) / total if total > 0.0 else 0.0
        for k in range(len(weight)):
            if held[k]:
                out[k] = cap[k]
            else:
                out[k] = weight[k] * scale
                if out[k] > cap[k]:
                    held[k] = True
                    again = True
        if not again:
            return
