"""Entropic passes over blocks of rows at tens of millions of edges: compiled for whole vectors at a time.

A block is worked off in chunks of some thousand edges that stay in the first-level cache. Steps over the edges of a
chunk are straight loops that LLVM turns into vector code; steps by row move 16 edges at a time and may write past a
row's end, where the next row writes after them. Powers of two come from a polynomial on [-1/2, 1/2] and the bits of the
exponent (Cody & Waite 1980): relative error 1e-7 in float32, 3e-16 in float64, as good as the library's.

Row sums are held relative to 2^shift, so that neither end of the range of floats is met; rows that leave it are weighed
anew about their largest weight.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

CHUNK = 2048  # edges worked on at a time, beside the widest row
_VECTOR = {"contract", "nnan", "nsz"}  # what the steps may do to floats; sums keep their order
_SUM = {"contract", "nnan", "nsz", "reassoc"}  # rows' sums may be taken in lanes
_LN2, _LOG2E = math.log(2), math.log2(math.e)
_U0, _U16 = np.uint64(0), np.uint64(16)
_FEW32, _MANY32 = np.float32(2.0**-60), np.float32(2.0**60)
_FEW64, _MANY64 = 2.0**-400, 2.0**400


_CHEBYSHEV = np.polynomial.chebyshev.Chebyshev.interpolate(np.exp2, 6, domain=[-0.5, 0.5])
_S0, _S1, _S2, _S3, _S4, _S5, _S6 = (
    np.float32(c) for c in _CHEBYSHEV.convert(kind=np.polynomial.Polynomial).coef
)  # of 2^f on [-1/2, 1/2]
_D0, _D1, _D2, _D3, _D4, _D5, _D6, _D7, _D8, _D9, _D10, _D11, _D12 = (
    _LN2**k / math.factorial(k) for k in range(13)
)  # its Taylor series
_SHIFTER32, _BITS32 = np.float32(1.5 * 2**23), np.int32(np.float32(1.5 * 2**23).view(np.int32))
_SHIFTER64, _BITS64 = 1.5 * 2**52, np.int64(np.float64(1.5 * 2**52).view(np.int64))
_LOW32, _HIGH32, _LOW64, _HIGH64 = np.float32(-126), np.float32(126), -1000.0, 1000.0
_PLACE32, _PLACE64 = np.int32(23), np.int64(52)
_HALF_ROOT = np.int64(np.float64(math.sqrt(0.5)).view(np.int64))


def _bits(taken: Any, given: Any, kind: Any) -> Any:
    """The same bits as another type."""

    @intrinsic
    def same_bits(typingctx, x):
        def generate(context, builder, signature, args):
            return builder.bitcast(args[0], kind)

        return given(taken), generate

    return same_bits


_int32_bits = _bits(types.float32, types.int32, ir.IntType(32))
_float32_of = _bits(types.int32, types.float32, ir.FloatType())
_int64_bits = _bits(types.float64, types.int64, ir.IntType(64))
_float64_of = _bits(types.int64, types.float64, ir.DoubleType())


@nb.njit(inline="always")
def _exp2_single(a):
    a = min(max(a, _LOW32), _HIGH32)
    t = a + _SHIFTER32  # its low bits are the nearest integer
    f = a - (t - _SHIFTER32)
    q = _S0 + f * (_S1 + f * (_S2 + f * (_S3 + f * (_S4 + f * (_S5 + f * _S6)))))
    return _float32_of(_int32_bits(q) + ((_int32_bits(t) - _BITS32) << _PLACE32))


@nb.njit(inline="always")
def _exp2_double(a):
    a = min(max(a, _LOW64), _HIGH64)
    t = a + _SHIFTER64
    f = a - (t - _SHIFTER64)
    q = _D6 + f * (_D7 + f * (_D8 + f * (_D9 + f * (_D10 + f * (_D11 + f * _D12)))))
    q = _D0 + f * (_D1 + f * (_D2 + f * (_D3 + f * (_D4 + f * (_D5 + f * q)))))
    return _float64_of(_int64_bits(q) + ((_int64_bits(t) - _BITS64) << _PLACE64))


@nb.njit(inline="always")
def _log(x):
    """ln x of a positive normal float64: x = 2^n m with m in [sqrt(1/2), sqrt(2)), ln m = 2 artanh((m-1)/(m+1))."""
    b = _int64_bits(x) - _HALF_ROOT
    n = b >> _PLACE64
    m = _float64_of(b - (n << _PLACE64) + _HALF_ROOT)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    q = 1 / 9 + z * (1 / 11 + z * (1 / 13 + z * (1 / 15 + z * (1 / 17 + z * (1 / 19)))))
    return n * _LN2 + 2.0 * s + 2.0 * s * z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * q)))


@nb.njit(nogil=True, fastmath=_VECTOR, error_model="numpy")
def _gains(provider, value, price, gain):
    """v - l of a chunk."""
    for k in range(len(provider)):
        gain[k] = price[provider[k]]
    for k in range(len(provider)):
        gain[k] = value[k] - gain[k]


@nb.njit(nogil=True, fastmath=_VECTOR, error_model="numpy")
def _by_row(starts, base, x, factor, less, out):
    """out = x factor[row] - less[row]."""
    for r in range(len(factor)):
        q, s = factor[r], less[r]
        c, b = starts[r] - base, starts[r + 1] - base
        while c < b:
            for k in range(_U16):
                out[c + k] = x[c + k] * q - s
            c += _U16


@nb.njit(nogil=True, fastmath=_VECTOR, error_model="numpy")
def _scaled(starts, base, x, factor, out):
    """out = x factor[row]."""
    for r in range(len(factor)):
        q = factor[r]
        c, b = starts[r] - base, starts[r + 1] - base
        while c < b:
            for k in range(_U16):
                out[c + k] = x[c + k] * q
            c += _U16


@nb.njit(nogil=True, fastmath=_SUM, error_model="numpy")
def _row_sums(starts, base, x, sums):
    none = np.float32(0)
    for r in range(len(sums)):
        c, b = starts[r] - base, starts[r + 1] - base
        s = none
        while c < b:
            width = b - c
            for k in range(_U16):
                s += x[c + k] if k < width else none
            c += _U16
        sums[r] = s


@nb.njit(nogil=True, fastmath=_VECTOR, error_model="numpy")
def _weights_single(reference, lift, weight):
    for k in range(len(reference)):
        weight[k] = np.float32(reference[k]) * _exp2_single(lift[k])


@nb.njit(nogil=True, fastmath=_VECTOR, error_model="numpy")
def _weights_double(reference, lift, weight):
    for k in range(len(reference)):
        weight[k] = reference[k] * _exp2_double(lift[k])


@nb.njit(nogil=True, fastmath=_VECTOR, error_model="numpy")
def _add_loads(provider, visits, load):
    for k in range(len(provider)):
        load[provider[k]] += visits[k]


@nb.njit(nogil=True)
def _weigh_anew(provider, value, reference, price, rate, few, many, starts, base, shift, weight, sums):
    """Rows whose sum has left the range: weights about the largest of them."""
    for r in range(len(sums)):
        if few < sums[r] < many:
            continue
        a, b = starts[r] - base, starts[r + 1] - base
        top = -np.inf
        for k in range(a, b):
            if reference[k] > 0.0:
                lift = (np.float64(value[k]) - price[provider[k]]) * rate[r] + math.log2(reference[k])
                top = max(top, lift)
        if not top > -np.inf:  # nothing can flow
            sums[r] = 0.0
            continue
        shift[r] = top
        total = 0.0
        for k in range(a, b):
            weight[k] = 0.0
            if reference[k] > 0.0:
                lift = (np.float64(value[k]) - price[provider[k]]) * rate[r] - shift[r]
                weight[k] = reference[k] * 2.0 ** min(lift, 1000.0)
            total += weight[k]
        sums[r] = total


@nb.njit(nogil=True)
def _widest(row_start, first, last):
    widest = _U0
    for i in range(first, last):
        widest = max(widest, row_start[i + 1] - row_start[i])
    return np.int64(widest)


@nb.njit(nogil=True)
def _chunk_end(row_start, first, last):
    """One past the last row of the chunk of at most CHUNK edges and rows that begins at ``first``."""
    end = first + 1
    while end < last and end - first < CHUNK and row_start[end + 1] - row_start[first] <= np.uint64(CHUNK):
        end += 1
    return end


@nb.njit(nogil=True, fastmath=_VECTOR, error_model="numpy")
def _rows_single(sums, demand, tau, shift, worth, scale, soft):
    """Rows' parts of the dual (less a constant), visits per weight, and curvature in a shift of all prices."""
    for r in range(len(sums)):
        s = np.float64(max(sums[r], np.float32(1e-37)))
        at = np.float64(shift[r])
        log_s = _LN2 * at + _log(s)
        unit = np.float64(_exp2_single(shift[r]))
        worth[r] = demand[r] * tau[r] * (log_s if log_s >= 0.0 else s * unit - 1.0)
        scale[r] = np.float32(demand[r] * (1.0 / s if log_s >= 0.0 else unit))
        soft[r] = 0.0 if log_s >= 0.0 else demand[r] * s * unit / tau[r]


@nb.njit(cache=True, nogil=True, fastmath=_VECTOR, error_model="numpy")
def entropy_loads(row_start, provider, value, reference, tau, demand, price, shift, first, last, load, steep):
    """The quick pass: adds d x to ``load`` (m,) and, unless that is empty, d x / tau to ``steep`` (m,).

    row_start: uint64 (n + 1,). provider: uint32 (E,). value, reference: float32 or float64 (E,). tau, demand: float64
    (n,). price: float32 (m,), +inf where there is no capacity. shift: float32 (n,), 0 at first and kept from pass to
    pass. load, steep: float64. Returns the rows' part of the dual, sum d tau (log S if S >= 1, else S - 1), and its
    curvature in a shift of all prices, sum d S / tau over rows with S < 1. Relative error of single weights 1e-7 times
    the largest exponent, at least 3e-7; sums over rows are float64.
    """
    size = CHUNK + _widest(row_start, first, last) + 16
    x, y = np.zeros(size, np.float32), np.zeros(size, np.float32)
    sums, scale, rate = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
    worth, bend = np.empty(CHUNK), np.empty(CHUNK)
    dual, soft = 0.0, 0.0
    i = first
    while i < last:
        end = _chunk_end(row_start, i, last)
        rows, base = end - i, row_start[i]
        starts, a, b = row_start[i : end + 1], base, row_start[end]
        whom, v, p = provider[a:b], value[a:b], reference[a:b]
        for r in range(rows):
            rate[r] = np.float32(_LOG2E / tau[i + r])
        _gains(whom, v, price, x)
        _by_row(starts, base, x, rate[:rows], shift[i:end], y)
        _weights_single(p, y, x)
        _row_sums(starts, base, x, sums[:rows])
        for r in range(rows):
            if not _FEW32 < sums[r] < _MANY32:
                _weigh_anew(whom, v, p, price, rate, _FEW32, _MANY32, starts, base, shift[i:end], x, sums[:rows])
                break
        _rows_single(sums[:rows], demand[i:end], tau[i:end], shift[i:end], worth, scale, bend)
        for r in range(rows):
            dual += worth[r]
            soft += bend[r]
        _scaled(starts, base, x, scale[:rows], y)
        _add_loads(whom, y, load)
        if len(steep) > 0:
            for r in range(rows):
                scale[r] /= np.float32(tau[i + r])
            _scaled(starts, base, x, scale[:rows], y)
            _add_loads(whom, y, steep)
        i = end
    return dual, soft


@nb.njit(cache=True, nogil=True, fastmath=_VECTOR, error_model="numpy")
def entropy_shares(row_start, provider, value, reference, tau, demand, price, first, last, share, load, steep):
    """The exact pass: as ``entropy_loads`` in float64 throughout, and writes shares.

    price: float64 (m,). share: float64 or float32 (E,). Returns the rows' part of the dual with the reference's sums P:
    sum d tau (log S + 1 - P if S >= 1, else S - P), and the curvature in a shift. Rows of no demand get
    their shares too.
    """
    size = CHUNK + _widest(row_start, first, last) + 16
    x, y = np.zeros(size), np.zeros(size)
    sums, mass, scale, rate = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    shift = np.empty(CHUNK)
    dual, soft = 0.0, 0.0
    i = first
    while i < last:
        end = _chunk_end(row_start, i, last)
        rows, base = end - i, row_start[i]
        starts, a, b = row_start[i : end + 1], base, row_start[end]
        whom, v, p = provider[a:b], value[a:b], reference[a:b]
        shift[:rows] = 0.0
        rate[:rows] = _LOG2E / tau[i:end]
        for k in range(b - a):
            y[k] = p[k]
        _row_sums(starts, base, y, mass[:rows])
        _gains(whom, v, price, x)
        _by_row(starts, base, x, rate[:rows], shift[:rows], y)
        _weights_double(p, y, x)
        _row_sums(starts, base, x, sums[:rows])
        for r in range(rows):
            if not _FEW64 < sums[r] < _MANY64:
                _weigh_anew(whom, v, p, price, rate, _FEW64, _MANY64, starts, base, shift, x, sums[:rows])
                break
        for r in range(rows):
            log_s = _LN2 * shift[r] + (math.log(sums[r]) if sums[r] > 0.0 else -np.inf)
            full = log_s >= 0.0
            whole = 0.0 if full else math.exp(log_s)
            dual += demand[i + r] * tau[i + r] * ((log_s + 1.0 if full else whole) - mass[r])
            scale[r] = 1.0 / sums[r] if full else 2.0 ** shift[r]
            soft += demand[i + r] / tau[i + r] * whole
        _scaled(starts, base, x, scale[:rows], y)
        for k in range(b - a):
            share[a + np.uint64(k)] = y[k]
        _scaled(starts, base, y, demand[i:end], x)
        _add_loads(whom, x, load)
        if len(steep) > 0:
            _scaled(starts, base, y, demand[i:end] / tau[i:end], x)
            _add_loads(whom, x, steep)
        i = end
    return dual, soft


@nb.njit(nogil=True, fastmath=_VECTOR, error_model="numpy")
def _terms(share, value, reference, worth, cost):
    """x v, and x log(x / p) - x + p, of a chunk; x > 0 = p costs infinity."""
    for k in range(len(share)):
        x, p = np.float64(share[k]), np.float64(reference[k])
        worth[k] = x * value[k]
        entropy = x * (_log(max(x, 1e-300)) - _log(max(p, 1e-300)))
        cost[k] = (entropy if p > 0.0 or x <= 0.0 else np.inf) + p - x


@nb.njit(cache=True, nogil=True, fastmath=_VECTOR, error_model="numpy")
def entropy_worth(row_start, value, reference, tau, demand, share, first, last):
    """Reward sum d x v and cost sum d tau (x log(x/p) - x + p) of shares, float64. As ``entropy_shares``."""
    size = CHUNK + _widest(row_start, first, last) + 16
    worth, cost = np.zeros(size), np.zeros(size)
    worths, costs = np.empty(CHUNK), np.empty(CHUNK)
    reward, lost = 0.0, 0.0
    i = first
    while i < last:
        end = _chunk_end(row_start, i, last)
        rows, base = end - i, row_start[i]
        starts, a, b = row_start[i : end + 1], base, row_start[end]
        _terms(share[a:b], value[a:b], reference[a:b], worth, cost)
        _row_sums(starts, base, worth, worths[:rows])
        _row_sums(starts, base, cost, costs[:rows])
        for r in range(rows):
            d = demand[i + r]
            if d > 0.0:
                reward += d * worths[r]
                lost += d * tau[i + r] * costs[r]
        i = end
    return reward, lost


@nb.njit(cache=True, nogil=True)
def row_signals(row_start, value, reference, first, last, signal, mass):
    """sum_j p max(v, 0) of each row into ``signal`` (n,), sum_j p into ``mass`` (n,)."""
    for i in range(first, last):
        worth, total = 0.0, 0.0
        for e in range(row_start[i], row_start[i + 1]):
            p = np.float64(reference[e])
            total += p
            worth += p * max(np.float64(value[e]), 0.0)
        signal[i], mass[i] = worth, total


@nb.njit(cache=True, nogil=True)
def silence(row_start, silent, value):
    """Values of silent rows become 0, in place."""
    for i in range(len(silent)):
        if silent[i]:
            value[row_start[i] : row_start[i + 1]] = 0.0
