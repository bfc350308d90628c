"""Passes of the ridge dual over blocks of rows, lean and in single precision: arrays in, loads and partial sums out.

Indices are uint16 or int32, values, prices and the ridge float32, demand and all sums float64. The gain of an edge is
a = v - l. A price so high that no gain can reach 0 shuts a provider. All kernels release the interpreter.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from footfall.acquire._lanes import WIDTH, fill, gains, keep, line_up, raise_levels, top, widest

# mypy: disable-error-code="no-untyped-def,untyped-decorator,call-arg,var-annotated"

_BLOCK = 1024  # edges whose gains are held at once: most of the nearest cache is for prices
_MANY = 64  # candidates of a row up to which sixteen rows' levels are sought together
_STEPS = 60  # of the level's search; each but the last drops a candidate


@nb.njit(cache=True, nogil=True, inline="always")
def _level(gain, count, level, ridge):
    """The t >= ``level`` with sum (gain - t)_+ = ridge, or ``level`` where less is above it (Michelot 1986).

    t rises at every step and each step but the last leaves a candidate out, so it ends.
    """
    for _ in range(_STEPS + count):
        total = 0.0
        above = 0
        for k in range(count):
            if gain[k] > level:
                total += gain[k]
                above += 1
        if above == 0:
            break
        following = np.float32((total - ridge) / above)
        if not following > level:
            break
        level = following
    return level


@nb.njit(cache=True, nogil=True, inline="always")
def _block_gains(row_start, index, value, price, base, edges, gain):
    """Gains of the edges ``base : base + edges`` into ``gain``: loads that wait for nothing."""
    whole = min(edges, max(len(value) - base - WIDTH + 1, 0))  # sixteen at a time may run beyond the block
    k = 0
    while k < whole:
        gains(value, index, price, base + k, gain, k)
        k += WIDTH
    while k < edges:
        gain[k] = value[base + k] - price[index[base + k]]
        k += 1


@nb.njit(cache=True, nogil=True, inline="always")
def _candidates(row_start, i, stop, gain, ridge, starts, bests, levels, near, which, whose):
    """The edges of rows ``i:stop`` within ``ridge`` of their row's best and above 0: gains less the best to ``near``,
    where they stand to ``which``, their row to ``whose``. Rows' first candidates, best gains and first levels to
    ``starts``, ``bests`` and ``levels``. Returns how many.
    """
    base, count = row_start[i], 0
    for r in range(stop - i):
        a = row_start[i + r] - base
        width = row_start[i + r + 1] - base - a
        best = top(gain, a, width)
        if width > 2 * WIDTH:
            for k in range(2 * WIDTH, width, 2 * WIDTH):
                best = max(best, top(gain, a + k, width - k))
        starts[r], bests[r], levels[r] = count, best, max(-ridge, -best)
        least = max(best - ridge, np.float32(0.0)) if best > np.float32(0.0) else np.float32(np.inf)
        begin = count
        count += keep(gain, a, width, least, best, near, which, count)
        count += keep(gain, a + WIDTH, width - WIDTH, least, best, near, which, count)
        if width > 2 * WIDTH:
            for k in range(2 * WIDTH, width, WIDTH):
                count += keep(gain, a + k, width - k, least, best, near, which, count)
        fill(whose, begin, r)
        for k in range(begin + WIDTH, count):
            whose[k] = r
    for r in range(stop - i, stop - i + WIDTH + 1):
        starts[r] = count
    return count


@nb.njit(cache=True, nogil=True, inline="always")
def _levels(near, starts, rows, ridge, table, levels):
    """Each row's level (see ``_level``), sixteen rows at once; rows of many candidates by themselves."""
    for r in range(0, rows, WIDTH):
        most = widest(starts, r)
        if most > _MANY:
            for q in range(r, min(r + WIDTH, rows)):
                levels[q] = _level(near[starts[q] :], starts[q + 1] - starts[q], levels[q], ridge)
            continue
        line_up(near, starts, r, most, table)
        for _ in range(_STEPS + most):
            if not raise_levels(table, most, levels, r, ridge):
                break


@nb.njit(cache=True, nogil=True)
def ridge_rows(row_start, index, value, demand, price, ridge, first, last, widest_row, sums):
    """Rows of max a.x - ridge/2 |x|^2 over x >= 0, sum x <= 1.

    Returns the blocks' parts of (the ridge dual, the plain dual, sum d a x) and adds d x and d [x > 0] of each edge to
    ``sums`` (m, 2): loads, and ridge times a diagonal above the dual's Hessian (a row's projection onto the simplex has
    slope at most 1/ridge). x = (a - t)_+ / ridge; only edges within ``ridge`` of the row's best can carry anything.
    These few are set aside a block of rows at a time, without branches that a processor would guess wrong: guesses, not
    numbers, are what a row costs. Gains count from the row's best, since differences of like numbers are exact.
    """
    size = _BLOCK + widest_row + 3 * WIDTH
    gain, near = np.empty(size, dtype=np.float32), np.empty(size, dtype=np.float32)
    which, whose = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
    starts = np.empty(_BLOCK + 2 * WIDTH, dtype=np.int64)
    bests, levels = np.empty(_BLOCK + WIDTH, dtype=np.float32), np.empty(_BLOCK + WIDTH, dtype=np.float32)
    table = np.empty((_MANY + 1) * WIDTH, dtype=np.float32)
    smooth, plain, carried = 0.0, 0.0, 0.0
    half, steep = np.float32(0.5), np.float32(1.0) / ridge
    i = first
    while i < last:
        base, stop = row_start[i], i + 1
        while stop < last and row_start[stop + 1] - base <= _BLOCK and stop - i < _BLOCK:
            stop += 1
        _block_gains(row_start, index, value, price, base, row_start[stop] - base, gain)
        count = _candidates(row_start, i, stop, gain, ridge, starts, bests, levels, near, which, whose)
        _levels(near, starts, stop - i, ridge, table, levels)
        for r in range(stop - i):
            plain += demand[i + r] * bests[r]
        for k in range(count):
            r = whose[k]
            d, j = demand[i + r], index[base + which[k]]
            excess = max(near[k] - levels[r], np.float32(0.0))
            x, here = excess * steep, bests[r] + near[k]
            sums[j, 0] += d * x
            sums[j, 1] += d if x > np.float32(0.0) else 0.0
            smooth += d * (x * (here - half * excess))
            carried += d * (x * here)
        i = stop
    return smooth, plain, carried


@nb.njit(cache=True, nogil=True)
def narrow_rows(row_start, index, value, demand, price, ridge, first, last, widest_row, sums):
    """As ``ridge_rows``, one row after the other: quicker where rows have two or three edges, as screened ones do."""
    near = np.empty(widest_row + 1, dtype=np.float32)
    smooth, plain, carried = 0.0, 0.0, 0.0
    half, steep, none = np.float32(0.5), np.float32(1.0) / ridge, np.float32(0.0)
    for i in range(first, last):
        a, width, d = row_start[i], row_start[i + 1] - row_start[i], demand[i]
        if width == 2:  # most rows: without a branch, as it would be wrongly guessed
            j, k = index[a], index[a + 1]
            one, two = value[a] - price[j], value[a + 1] - price[k]
            best = max(one, two, none)
            apart = abs(one - two)
            level = max(-(half * (apart + ridge) if apart < ridge else ridge), -best)  # from the best: see above
            excess, other = max((one - best) - level, none), max((two - best) - level, none)
            x, y = excess * steep, other * steep
            sums[j, 0] += d * x
            sums[j, 1] += d if excess > none else 0.0
            sums[k, 0] += d * y
            sums[k, 1] += d if other > none else 0.0
            plain += d * best
            smooth += d * (x * (one - half * excess) + y * (two - half * other))
            carried += d * (x * one + y * two)
            continue
        best = none
        for k in range(width):
            near[k] = value[a + k] - price[index[a + k]]
            best = max(best, near[k])
        if best <= none:
            continue
        plain += d * best
        for k in range(width):
            near[k] -= best
        level = _level(near, width, max(-ridge, -best), ridge)
        for k in range(width):
            excess = near[k] - level
            if excess > none:
                j, x, here = index[a + k], excess * steep, best + near[k]
                sums[j, 0] += d * x
                sums[j, 1] += d
                smooth += d * (x * (here - half * excess))
                carried += d * (x * here)
    return smooth, plain, carried


@nb.njit(cache=True, nogil=True)
def share_rows(row_start, index, value, demand, price, ridge, first, last, widest, share):
    """The shares x of ``ridge_rows`` into ``share`` (E,); rows without demand go to their best edge alone."""
    gain, few = np.empty(widest + 1, dtype=np.float32), np.empty(widest + 1, dtype=np.float32)
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        best = np.float32(0.0)
        for e in range(a, b):
            here = value[e] - price[index[e]]
            gain[e - a] = here
            best = max(best, here)
        if best <= np.float32(0.0):
            share[a:b] = 0.0
            continue
        if demand[i] <= 0.0:
            for k in range(b - a):
                x = gain[k] == best
                share[a + k] = np.float32(x)
                best = np.float32(np.inf) if x else best
            continue
        level = max(-ridge, -best)
        count = 0
        for k in range(b - a):
            gain[k] -= best
            few[count] = gain[k]
            count += gain[k] > level
        level = _level(few, count, level, ridge)
        if count == 1 and best >= ridge:
            level = -ridge
        for k in range(b - a):
            share[a + k] = max(gain[k] - level, np.float32(0.0)) / ridge


@nb.njit(cache=True, nogil=True)
def screen_rows(
    row_start, index, value, demand, box, ridge, first, last, widest, to_start, to_index, to_value, to_demand, fixed
):
    """Keep the edges that can carry anything at some prices in a box and ridges up to ``ridge``.

    box: float32 (m, 2), least and largest price. An edge carries only where a >= max(0, best) - ridge; in the box
    a <= v - least and best >= max (v - largest). Rows left with no edge carry nothing. A row left with one edge that is
    surely full is a constant: it adds d to ``fixed`` (m,) and is not kept. The others go to the ``to_`` arrays. Returns
    (rows kept, edges kept, edges of the widest, sum d v of the constants).
    """
    highest = np.empty(widest + 1, dtype=np.float32)
    rows, edges, most, constant = 0, 0, 0, 0.0
    to_start[0] = 0
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        best = np.float32(0.0)
        for e in range(a, b):
            j, v = index[e], value[e]
            highest[e - a] = v - box[j, 0]
            best = max(best, v - box[j, 1])
        least = best - ridge
        begin = edges
        for e in range(a, b):
            to_index[edges] = index[e]
            to_value[edges] = value[e]
            edges += highest[e - a] >= least
        if edges == begin:
            continue
        if edges == begin + 1 and best > ridge:
            fixed[to_index[begin]] += demand[i]
            constant += demand[i] * to_value[begin]
            edges = begin
            continue
        most = max(most, edges - begin)
        to_demand[rows] = demand[i]
        rows += 1
        to_start[rows] = edges
    return rows, edges, most, constant


@nb.njit(cache=True, nogil=True)
def chosen(row, seed):
    """A number in [0, 1) that depends on row and seed alone (SplitMix64's mixing; Steele, Lea & Flood 2014)."""
    z = np.uint64(row) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) / 9007199254740992.0


@nb.njit(cache=True, nogil=True)
def reach_rows(row_start, index, demand, first, last, seed, least, reach):
    """Add d / width of each edge to ``reach`` (m, 2): of all rows, and of those that ``chosen`` puts below ``least``;
    returns the rows and edges of the latter.
    """
    rows, edges = 0, 0
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        if a == b:
            continue
        part = demand[i] / (b - a)
        mine = chosen(i, seed) < least
        rows += mine
        edges += (b - a) * mine
        for e in range(a, b):
            j = index[e]
            reach[j, 0] += part
            if mine:
                reach[j, 1] += part
    return rows, edges


@nb.njit(cache=True, nogil=True)
def pick_rows(row_start, index, value, demand, first, last, seed, least, to_start, to_index, to_value, to_demand):
    """Copy the rows that ``chosen`` puts below ``least`` to the ``to_`` arrays."""
    rows, edges = 0, 0
    to_start[0] = 0
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        if a == b or not chosen(i, seed) < least:
            continue
        for e in range(a, b):
            to_index[edges] = index[e]
            to_value[edges] = value[e]
            edges += 1
        to_demand[rows] = demand[i]
        rows += 1
        to_start[rows] = edges


@nb.njit(cache=True, nogil=True)
def widest_row(row_start, value, demand, first, last):
    """(edges of the widest row, largest |value|, sum d max(0, max v), sum d max |v|)."""
    widest, largest, free, scale = 0, 0.0, 0.0, 0.0
    for i in range(first, last):
        a, b = row_start[i], row_start[i + 1]
        widest = max(widest, b - a)
        top, most = 0.0, 0.0
        for e in range(a, b):
            v = np.float64(value[e])
            top = max(top, v)
            most = max(most, abs(v))
        largest = max(largest, most)
        free += demand[i] * top
        scale += demand[i] * most
    return widest, largest, free, scale


@nb.njit(cache=True, nogil=True)
def measure(price, load, capacity, floor):
    """(h(l), sum |l| |load - its limit|, visits beyond limits, sum l load); on one thread, unlike BLAS.

    h(l) = sum_j c_j max(l_j, 0) - f_j max(-l_j, 0). The limit is the capacity where l > 0, the floor where l < 0.
    """
    worth, off, broken, paid = 0.0, 0.0, 0.0, 0.0
    for j in range(len(price)):
        p, s = price[j], load[j]
        limit = 0.0
        if p > 0.0:
            limit = capacity[j]
        elif p < 0.0:
            limit = floor[j]
        worth += p * limit
        off += abs(p) * abs(s - limit)
        broken += max(s - capacity[j], 0.0) + max(floor[j] - s, 0.0)
        paid += p * s
    return worth, off, broken, paid


@nb.njit(cache=True, nogil=True)
def widen(steep, base, memory, metric):
    """The metric becomes the largest of the diagonal now, a base, and what it was before, fading."""
    for j in range(len(metric)):
        metric[j] = max(steep[j], base[j], memory * metric[j])


@nb.njit(cache=True, nogil=True)
def proximal(price, load, capacity, floor, metric, stiff, last, new):
    """The proximal step from ``price`` into ``new`` (m,); returns whether sum D (l - new)(new - last) > 0.

    z = l + s/D; new = z - c/D where positive, else z - f/D where negative, else 0, with D = stiff x metric.
    """
    against = 0.0
    for j in range(len(price)):
        d = stiff * metric[j]
        z = price[j] + load[j] / d
        high, low = z - capacity[j] / d, z - floor[j] / d
        there = high if high > 0.0 else (low if low < 0.0 else 0.0)
        against += d * (price[j] - there) * (there - last[j])
        new[j] = there
    return against > 0.0
