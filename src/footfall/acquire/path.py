"""From the reference to the plan along a path, so that the change of one share falls into parts that add up.

Along pi(s) = softmax(log p + s a / tau), s from 0 to 1, a share moves by d pi_j / ds = [pi_j (1 - pi_j) a_j -
sum over k != j of pi_j pi_k a_k] / tau, so that

    pi_j(1) - p_j = g_j a_j - sum over k != j of g_k a_k

with g_j = integral of pi_j (1 - pi_j) ds / tau and g_k = integral of pi_j pi_k ds / tau. Integrals along a
straight path are the attribution of Aumann and Shapley (1974); they are taken by Gauss-Legendre quadrature
with 64 nodes.
"""

from __future__ import annotations

import numpy as np

from footfall.model import Floats

NODES = 64

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
    shares = path_shares(reference, advantage, tau, (_AT + 1) / 2)
    mine = shares[:, own]
    weights = (_WEIGHT / 2) @ (mine[:, None] * shares) / tau
    weights[own] = float((_WEIGHT / 2) @ (mine * (1 - mine))) / tau
    return weights, path_shares(reference, advantage, tau, np.ones(1))[0]


def capped_shares(reference: Floats, gain: Floats, tau: float, upper: Floats) -> tuple[Floats, Floats]:
    """A row's answer to prices, float64 (k,): p exp(gain / tau) / max(1, S), without and with caps on single
    shares.

    gain: value less price. With caps, x = min(upper, p exp(gain / tau) / z) with the least z >= 1 at which
    the row sums to at most 1.
    """
    with np.errstate(divide="ignore"):
        logs = np.where(reference > 0, np.log(reference), -np.inf) + gain / tau
    top = max(float(logs.max()), 0.0)
    weight = np.exp(logs - top)  # of exp(top), so that nothing overflows
    free = weight / max(float(weight.sum()), np.exp(-top))
    if (free <= upper).all():
        return free, free
    capped = np.zeros(len(weight), dtype=bool)
    while True:
        room = 1 - float(upper[capped].sum())
        rest = float(weight[~capped].sum())
        scale = np.exp(top) if rest * np.exp(min(top, 700.0)) <= room else room / max(rest, 1e-300)
        x = np.where(capped, upper, weight * scale)
        over = ~capped & (x > upper)
        if not over.any():
            return free, x
        capped |= over


def whole_parts(parts: Floats, total: int) -> list[int]:
    """Whole numbers near ``parts`` (k,) that sum to ``total``, by largest remainder (Hamilton's method)."""
    low = np.floor(parts + 1e-9)
    missing = total - int(low.sum())
    order = np.argsort(-(parts - low), kind="stable")
    for step in range(abs(missing)):
        low[order[step % len(order)] if missing > 0 else order[-1 - step % len(order)]] += 1 if missing > 0 else -1
    return [int(part) for part in low]
