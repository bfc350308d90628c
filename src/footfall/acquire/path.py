"""From the reference to the plan along a path, so that the change of one share falls into parts that add up.

Along pi(s) = softmax(log p + s a / tau), s from 0 to 1, a share moves by d pi_j / ds = [pi_j (1 - pi_j) a_j -
sum over k != j of pi_j pi_k a_k] / tau, so that

    pi_j(1) - p_j = g_j a_j - sum over k != j of g_k a_k

with g_j = integral of pi_j (1 - pi_j) ds / tau and g_k = integral of pi_j pi_k ds / tau. Integrals along a
straight path are the attribution of Aumann and Shapley (1974); they are taken by Gauss-Legendre quadrature
with 64 nodes, on halves again and again where a / tau is so large that one share takes over from another
between two nodes.
"""

from __future__ import annotations

import numpy as np

from footfall.acquire._capped import entropy_row
from footfall.model import Floats

NODES = 64
HALVINGS = 20
EXACT = 1e-10  # of a share: a stretch whose increments are met to this is not cut further
LEAST = 1e-9  # share of a row that counts as none where there is no inertia

_AT, _WEIGHT = np.polynomial.legendre.leggauss(NODES)


def path_shares(reference: Floats, advantage: Floats, tau: float, at: Floats) -> Floats:
    """pi(s) for each s of ``at`` (q,), float64 (q, k); reference (k,) >= 0 with a positive sum, advantage
    (k,).
    """
    there = reference > 0
    top = advantage[there].max()
    # pairs without reference share stay at 0 all along
    lift = np.where(there, np.minimum(advantage - top, 0.0), 0.0) / tau
    weight = reference * np.exp(np.multiply.outer(at, lift))
    shares: Floats = weight / weight.sum(axis=1, keepdims=True)
    return shares


def path_weights(reference: Floats, advantage: Floats, tau: float, own: int) -> tuple[Floats, Floats]:
    """The weights g (k,), at ``own`` that of its own advantage, and the end of the path pi(1) (k,).

    advantage: float64 (k,), reward per visit. tau: reward per visit, > 0.
    """
    weights, stretches = np.zeros(len(reference)), [(0.0, 1.0, 0)]
    exact = EXACT + 1e-14 * float(np.ptp(advantage)) / tau  # the second part is the rounding of exp
    while stretches:
        low, high, depth = stretches.pop()
        width = (high - low) / 2
        shares = path_shares(reference, advantage, tau, low + width * (_AT + 1))
        ends = path_shares(reference, advantage, tau, np.array([low, high]))
        slope = shares * (advantage - (shares @ advantage)[:, None]) / tau
        missed = float(np.abs(width * (_WEIGHT @ slope) - (ends[1] - ends[0])).max())
        if missed > exact and depth < HALVINGS:
            stretches += [(low, low + width, depth + 1), (low + width, high, depth + 1)]
            continue
        mine = shares[:, own]
        part = width * (_WEIGHT @ (mine[:, None] * shares)) / tau
        part[own] = width * float(_WEIGHT @ (mine * (1 - mine))) / tau
        weights += part
    return weights, path_shares(reference, advantage, tau, np.ones(1))[0]


def sharp_ends(reference: Floats, gain: Floats, tau: float, share: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """What a plan without inertia needs to lie on a path: (reference (k,) > 0, what to add to the gains (k,)).

    There all pairs with visits below their caps have the same gain v - l, the row's level, and which of these equals
    gets how much is not in the prices. Adding level + tau log(x / p) - gain makes the path end at the plan's shares
    x; a pair without visits keeps its gain where that already leaves it less than LEAST.
    """
    floored = np.maximum(reference, LEAST)
    floored = floored / floored.sum()
    total = float(share.sum())
    if total <= LEAST:
        return floored, np.zeros(len(gain))
    x = share / total
    inner = np.where(share < upper, x, 0.0)
    weight = inner if inner.sum() > LEAST else x
    level = float(weight @ gain) / float(weight.sum())
    wanted = level + tau * np.log(np.maximum(x, LEAST) / floored)
    ends: Floats = np.where(x > LEAST, wanted, np.minimum(wanted, gain))
    return floored, ends - gain


def capped_shares(reference: Floats, gain: Floats, tau: float, upper: Floats) -> tuple[Floats, Floats]:
    """A row's answer to prices, float64 (k,): p exp(gain / tau) / max(1, S), without and with caps on single
    shares.

    gain: value less price. With caps, x = min(upper, p exp(gain / tau) / z) with the least z >= 1 at which
    the row sums to at most 1.
    """
    free, capped = np.empty(len(gain)), np.empty(len(gain))
    entropy_row(gain / tau, reference, np.ones(len(gain)), free)
    entropy_row(gain / tau, reference, upper, capped)
    return free, capped


def whole_parts(parts: Floats, total: int) -> list[int]:
    """Whole numbers near ``parts`` (k,) that sum to ``total``, by largest remainder (Hamilton's method)."""
    low = np.floor(parts + 1e-9)
    missing = total - int(low.sum())
    order = np.argsort(-(parts - low), kind="stable")
    for step in range(abs(missing)):
        low[order[step % len(order)] if missing > 0 else order[-1 - step % len(order)]] += 1 if missing > 0 else -1
    return [int(part) for part in low]
