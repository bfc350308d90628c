"""Kernels of customer lifetimes: likelihoods with their derivatives, and what a customer may still buy.

BG/NBD: Fader, Hardie & Lee (2005), "Counting Your Customers the Easy Way", Marketing Science 24(2), equations as
numbered there. Gamma-Gamma: Fader & Hardie (2013), "The Gamma-Gamma Model of Monetary Value". Derivatives are by hand.
Sums of log(r + k) stand in for differences of log-gamma, since x is a whole number: cheaper, and exact for large x.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_LARGE = 30.0  # (a - 1) |log(1 - z)| from which on the transformed series loses itself in large numbers
_E200 = math.log(1e200)


@nb.njit(cache=True, nogil=True)
def bg_nbd_rows(frequency, recency, age, weight, r, alpha, a, b, slope, bend):
    """Sum of w log L (equation 6) over customers, without the parts that depend on x alone (``bg_nbd_counts``).

    Adds the gradient in (r, alpha, a, b) to ``slope`` (4,) and the Hessian to ``bend`` (4, 4).
    With s = log A4 - log A3 the customer's part is log A3 + log(1 + e^s), and p = 1 / (1 + e^-s).
    """
    total = 0.0
    for i in range(len(frequency)):
        w, x, late = weight[i], frequency[i], alpha + age[i]
        log_late, shape = math.log(late), r + x
        total -= w * shape * log_late
        slope[0] -= w * log_late
        slope[1] -= w * shape / late
        bend[0, 1] -= w / late
        bend[1, 1] += w * shape / (late * late)
        if x == 0:
            continue
        early, tail = alpha + recency[i], b + x - 1.0
        s_r = log_late - math.log(early)
        s = math.log(a / tail) + shape * s_r
        inverse = 1.0 / late - 1.0 / early
        s_alpha, s_a, s_b = shape * inverse, 1.0 / a, -1.0 / tail
        dead = math.exp(-abs(s))
        total += w * (max(s, 0.0) + math.log1p(dead))
        p = 1.0 / (1.0 + dead) if s >= 0 else dead / (1.0 + dead)
        slope[0] += w * p * s_r
        slope[1] += w * p * s_alpha
        slope[2] += w * p * s_a
        slope[3] += w * p * s_b
        both = w * p * (1.0 - p)
        bend[0, 0] += both * s_r * s_r
        bend[0, 1] += both * s_r * s_alpha + w * p * inverse
        bend[0, 2] += both * s_r * s_a
        bend[0, 3] += both * s_r * s_b
        bend[1, 1] += both * s_alpha * s_alpha + w * p * shape * (1.0 / (early * early) - 1.0 / (late * late))
        bend[1, 2] += both * s_alpha * s_a
        bend[1, 3] += both * s_alpha * s_b
        bend[2, 2] += both * s_a * s_a - w * p * s_a * s_a
        bend[2, 3] += both * s_a * s_b
        bend[3, 3] += both * s_b * s_b + w * p * s_b * s_b
    return total


@nb.njit(cache=True, nogil=True)
def bg_nbd_counts(beyond, customers, r, alpha, a, b, slope, bend):
    """The parts of log A1 + log A2 that depend on x alone; ``beyond[k]`` is the weight of customers with x > k.

    log Gamma(r + x) - log Gamma(r) = sum over k < x of log(r + k), and the like in b and a + b.
    """
    total = customers * r * math.log(alpha)
    slope[0] += customers * math.log(alpha)
    slope[1] += customers * r / alpha
    bend[0, 1] += customers / alpha
    bend[1, 1] -= customers * r / (alpha * alpha)
    for k in range(len(beyond)):
        n, rk, bk, ck = beyond[k], r + k, b + k, a + b + k
        total += n * (math.log(rk) + math.log(bk / ck))
        slope[0] += n / rk
        slope[2] -= n / ck
        slope[3] += n / bk - n / ck
        bend[0, 0] -= n / (rk * rk)
        bend[2, 2] += n / (ck * ck)
        bend[2, 3] += n / (ck * ck)
        bend[3, 3] += n / (ck * ck) - n / (bk * bk)
    return total


@nb.njit(cache=True, nogil=True)
def alive_rows(frequency, recency, age, r, alpha, a, b, out):
    """P(alive | x, t_x, T) into ``out``; 1 for customers without a repeat (none drops out there).

    From equation 10's denominator; Fader, Hardie & Lee (2008), "Computing P(alive) Using the BG/NBD Model".
    """
    for i in range(len(frequency)):
        x = frequency[i]
        if x == 0:
            out[i] = 1.0
            continue
        s = math.log(a / (b + x - 1.0)) + (r + x) * math.log((alpha + age[i]) / (alpha + recency[i]))
        out[i] = 1.0 / (1.0 + math.exp(s)) if s < 700.0 else 0.0


@nb.njit(cache=True, nogil=True)
def expected_rows(frequency, recency, age, horizon, r, alpha, a, b, out):
    """E[purchases in (T, T + horizon] | x, t_x, T] into ``out`` (equation 10).

    With z = horizon / (alpha + T + horizon) and Euler's transformation of the hypergeometric function, the bracket
    over (a - 1) is -expm1(e L) / e - exp(e L) S, where e = a - 1, L = log(1 - z) and S is the series without its first
    term, over e: no division by 0 at a = 1, and no large powers. Where a is large (all drop out alike), exp(e L) runs
    to 0 and S to infinity; there equation 10 is summed as it stands (``_kept``).
    """
    e = a - 1.0
    for i in range(len(frequency)):
        x = frequency[i]
        z = horizon / (alpha + age[i] + horizon)
        log_rest = math.log1p(-z)
        low = a + b + x - 1.0
        if -e * log_rest > _LARGE:
            expected = low / e * (1.0 - _kept(r + x, b + x, low, z, log_rest))
        else:
            # S = sum over k >= 1 of (first)_k (e + 1)_(k-1) / (low)_k z^k / k!
            first = a + b - 1.0 - r
            term = first / low * z
            series = term
            k = 1.0
            while abs(term) > 1e-15 * abs(series) and k < 100_000.0:
                term *= (first + k) * (e + k) / ((low + k) * (k + 1.0)) * z
                series += term
                k += 1.0
            lost = -log_rest if e == 0.0 else -math.expm1(e * log_rest) / e
            expected = low * (lost - math.exp(e * log_rest) * series)
        if x > 0:
            s = math.log(a / (b + x - 1.0)) + (r + x) * math.log((alpha + age[i]) / (alpha + recency[i]))
            expected /= 1.0 + math.exp(min(s, 700.0))
        out[i] = expected


@nb.njit(cache=True, nogil=True)
def _kept(shape, stay, low, z, log_rest):
    """(1 - z)^shape 2F1(shape, stay; low; z) of positive numbers, log_rest = log(1 - z)."""
    term = series = 1.0
    log_scale, k = shape * log_rest, 0.0
    while k < 100_000.0:
        ratio = (shape + k) * (stay + k) / ((low + k) * (k + 1.0)) * z
        term *= ratio
        series += term
        k += 1.0
        if ratio < 1.0 and term <= 1e-17 * series:
            break
        if series > 1e200:
            term, series, log_scale = term * 1e-200, series * 1e-200, log_scale + _E200
    return math.exp(log_scale + math.log(series))


@nb.njit(cache=True, nogil=True)
def psi(x):
    """(log Gamma, digamma, trigamma) at x > 0: recurrence up to 8, then Stirling's series (Abramowitz & Stegun 6.1.41,
    6.3.18, 6.4.12)."""
    shift, first, second = 0.0, 0.0, 0.0
    product = 1.0
    while x < 8.0:
        product *= x
        first -= 1.0 / x
        second += 1.0 / (x * x)
        x += 1.0
    shift = -math.log(product)
    y = 1.0 / (x * x)
    log_x = math.log(x)
    gamma = (
        (x - 0.5) * log_x
        - x
        + 0.9189385332046727
        + (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y * (1 / 1188 - y * (691 / 360360 - y / 156)))))) / x
    )
    first += (
        log_x
        - 0.5 / x
        - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * (691 / 32760 - y / 12))))))
    )
    second += (
        1.0 / x
        + 0.5 * y
        + y / x * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - y * (5 / 66 - y * (691 / 2730 - y * 7 / 6))))))
    )
    return gamma + shift, first, second


@nb.njit(cache=True, nogil=True)
def gamma_gamma_rows(count, mean, weight, p, q, scale, slope, bend):
    """Sum of w log f(mean | p, q, gamma, x) over customers with x >= 1 purchases of positive mean (equation 1a).

    Adds the gradient in (p, q, gamma) to ``slope`` (3,) and the Hessian to ``bend`` (3, 3).
    """
    total = 0.0
    q_log, q_first, q_second = psi(q)
    log_scale = math.log(scale)
    for i in range(len(count)):
        x, z, w = count[i], mean[i], weight[i]
        px = p * x
        both_log, both_first, both_second = psi(px + q)
        px_log, px_first, px_second = psi(px)
        end = scale + x * z
        log_end, log_xz = math.log(end), math.log(x * z)
        total += w * (both_log - px_log - q_log + q * log_scale + px * log_xz - math.log(z) - (px + q) * log_end)
        slope[0] += w * x * (both_first - px_first + log_xz - log_end)
        slope[1] += w * (both_first - q_first + log_scale - log_end)
        slope[2] += w * (q / scale - (px + q) / end)
        bend[0, 0] += w * x * x * (both_second - px_second)
        bend[0, 1] += w * x * both_second
        bend[0, 2] -= w * x / end
        bend[1, 1] += w * (both_second - q_second)
        bend[1, 2] += w * (1.0 / scale - 1.0 / end)
        bend[2, 2] += w * ((px + q) / (end * end) - q / (scale * scale))
    return total


@nb.njit(cache=True, nogil=True)
def mirror(bend):
    """Fill the lower triangle from the upper."""
    for i in range(bend.shape[0]):
        for j in range(i):
            bend[i, j] = bend[j, i]
    return bend


def solve_damped(hessian: np.ndarray, slope: np.ndarray, damping: float) -> np.ndarray:
    """Levenberg's step up a slope: (-H + damping x scale) step = slope, scale the mean of |diag H|."""
    size = max(float(np.abs(np.diag(hessian)).mean()), 1e-300)
    return np.linalg.solve(-hessian + damping * size * np.eye(len(slope)), slope)
