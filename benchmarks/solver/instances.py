"""Seeded allocation problems by name and size, for the benchmark and for whoever wants the same ones.

    from instances import instance, offers
    problem = instance("M")                                  # 2 million edges, float32 values, tight capacities
    problem = instance("L", limits="daily", real="float64")  # 20 million edges, floor 0.7 and capacity 1.3 of today

Segments have uneven rows (mean 20 edges, a tenth of them near 60, a tenth near 3), about 12 visits, and values that
are a provider's quality times a lognormal; an eighth of the rows has values in steps of a half, so that there are ties.
Popularity is Zipf-like (rank to the power -0.8). The generator is a counter-based SplitMix64 (Steele, Lea & Flood
2014) with a stream a row: the same numbers on every machine, in any order of the rows, and no array beside those of the
problem.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numba as nb
import numpy as np

from footfall.acquire import LinearLimit, Problem

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

SIZES = {  # edges (about), providers
    "XS": (20_000, 200),
    "S": (200_000, 1_000),
    "M": (2_000_000, 4_000),
    "L": (20_000_000, 20_000),
}
WIDTH = 20  # edges a row, on average
VISITS = 12.0
FLOORED = 0.1  # part of the providers with floors
Limits = Literal["tight", "loose", "daily"]


@nb.njit(cache=True, nogil=True)
def _next(state):
    """SplitMix64: the next state and a uniform number in (0, 1)."""
    state += np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return state, (np.float64(z >> np.uint64(11)) + 0.5) / 9007199254740992.0


@nb.njit(cache=True, nogil=True)
def _stream(seed, row):
    """The first state of a row's stream."""
    state = (np.uint64(seed) << np.uint64(40)) ^ np.uint64(row)
    for _ in range(3):
        state, u = _next(state)
        state ^= np.uint64(u * 9007199254740992.0)
    return state


@nb.njit(cache=True, nogil=True)
def _normal(state):
    """A standard normal number (Box & Muller 1958), one of the pair."""
    state, u = _next(state)
    state, v = _next(state)
    return state, math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)


@nb.njit(cache=True, nogil=True)
def _widths(seed, most, demand, width):
    """Visits (lognormal, mean VISITS) and number of edges of each row."""
    for i in range(len(width)):
        state = _stream(seed, i)
        state, z = _normal(state)
        demand[i] = VISITS * math.exp(0.5 * z - 0.125)
        state, u = _next(state)
        mean = 60.0 if u < 0.1 else (3.0 if u < 0.2 else 17.1)
        state, v = _next(state)
        width[i] = min(max(1, int(mean * (0.5 + v) + 0.5)), most)


@nb.njit(cache=True, nogil=True)
def _fill(seed, row_start, accept, alias, popularity, quality, provider, value, reference):
    """Distinct providers by popularity (Walker's alias table), values and reference shares of each row."""
    m = len(accept)
    seen = np.full(m, -1, dtype=np.int64)
    for i in range(len(row_start) - 1):
        a, b = row_start[i], row_start[i + 1]
        state = _stream(seed + 1, i)
        state, u = _next(state)
        stepped = u < 0.125
        e, tries = a, 0
        while e < b:
            state, u = _next(state)
            at = int(u * m)
            j = at if u * m - at < accept[at] else alias[at]
            tries += 1
            if tries > 40 * (b - a):  # a wide row over few providers: any that is left
                j = at
            if seen[j] == i:
                continue
            seen[j] = i
            k = e
            while k > a and provider[k - 1] > j:
                provider[k] = provider[k - 1]
                k -= 1
            provider[k] = j
            e += 1
        total = 0.0
        for e in range(a, b):
            state, z = _normal(state)
            worth = quality[provider[e]] * math.exp(1.0 + 0.3 * z)
            value[e] = max(0.5, math.floor(2.0 * worth + 0.5) / 2.0) if stepped else worth
            state, z = _normal(state)
            weight = popularity[provider[e]] * math.exp(0.3 * z)
            reference[e] = weight
            total += reference[e]
        for e in range(a, b):
            reference[e] /= total


@nb.njit(cache=True, nogil=True)
def _loads(row_start, provider, demand, share, load):
    for i in range(len(demand)):
        for e in range(row_start[i], row_start[i + 1]):
            load[provider[e]] += demand[i] * share[e]


def _alias(weight: Any) -> tuple[Any, Any]:
    """Walker's alias table (1977) of weights."""
    m = len(weight)
    scaled = weight * m / weight.sum()
    accept, alias = np.ones(m), np.arange(m)
    small, large = [j for j in range(m) if scaled[j] < 1], [j for j in range(m) if scaled[j] >= 1]
    while small and large:
        s, t = small.pop(), large[-1]
        accept[s], alias[s] = scaled[s], t
        scaled[t] -= 1 - scaled[s]
        if scaled[t] < 1:
            small.append(large.pop())
    return accept, alias


def instance(
    size: str | int,
    limits: Limits = "tight",
    real: Literal["float32", "float64"] = "float32",
    seed: int = 1,
    providers: int | None = None,
) -> Problem:
    """A problem of a named size ("XS", "S", "M", "L"), or of about so many edges.

    limits: "tight", capacities together 0.85 of the visits; "loose", 1.5 of them; both with floors at half of what a
    tenth of the providers gets today (or may get, if that is less); "daily", floor 0.7 and capacity 1.3 of today's
    visits for everyone. ``real``: type of values and reference; the same numbers but for rounding.
    """
    edges, m = SIZES[size] if isinstance(size, str) else (size, max(2, int((size / 20) ** 0.75)))
    m = providers or m
    n = max(1, edges // WIDTH)
    demand, width = np.empty(n), np.empty(n, dtype=np.int64)
    _widths(seed, m, demand, width)
    row_start = np.concatenate([[0], np.cumsum(width)]).astype(np.int64)
    rng = np.random.default_rng(seed)
    popularity = rng.permutation(1.0 / np.arange(1, m + 1) ** 0.8)
    quality = rng.lognormal(0, 0.5, m)
    provider = np.empty(row_start[-1], dtype=np.int32)
    value, reference = np.empty(len(provider), dtype=real), np.empty(len(provider), dtype=real)
    _fill(seed, row_start, *_alias(popularity), popularity, quality, provider, value, reference)
    today = np.zeros(m)
    _loads(row_start, provider, demand, reference, today)
    if limits == "daily":
        floor, capacity = 0.7 * today, 1.3 * today
    else:
        capacity = today * rng.uniform(0.7, 1.3, m)
        capacity *= {"tight": 0.85, "loose": 1.5}[limits] * demand.sum() / max(capacity.sum(), 1e-300)
        floor = np.where(rng.random(m) < FLOORED, 0.5 * np.minimum(today, capacity), 0.0)
    return Problem(demand, row_start, provider, value, capacity, floor, reference)


def moved(problem: Problem, seed: int = 2) -> Problem:
    """Tomorrow's problem: every value moved by up to 3 %, every capacity by up to 5 % (never below its floor)."""
    rng = np.random.default_rng(seed)
    value = problem.value.copy()
    for a in range(0, len(value), 1 << 20):  # by blocks: no float64 array of all edges
        part = value[a : a + (1 << 20)]
        part *= rng.uniform(0.97, 1.03, len(part)).astype(part.dtype)
    capacity = np.maximum(problem.capacity * rng.uniform(0.95, 1.05, problem.providers), problem.floor)
    return replace(problem, value=value, capacity=capacity)


def with_limits(problem: Problem, count: int = 3, seed: int = 3) -> Problem:
    """The same with linear limits that bind: a budget over all edges, then groups' caps and floors by turns.

    A visit costs between a half and 1.5 (by provider); the budget is 0.8 of what today's shares would cost. A group is
    a fifth of the providers; it is held to 0.7, or kept at 0.9, of what it gets today or could get.
    """
    rng = np.random.default_rng(seed)
    row = np.repeat(problem.demand, np.diff(problem.row_start))
    visits = row * np.asarray(problem.reference, dtype=np.float64)
    every = np.arange(problem.edges)
    today = np.bincount(problem.provider, visits, minlength=problem.providers)
    made = []
    for number in range(count):
        if number == 0:
            cost = rng.uniform(0.5, 1.5, problem.providers)[problem.provider]
            made.append(LinearLimit(every, cost, -np.inf, 0.8 * float(visits @ cost), "budget"))
            continue
        group = rng.random(problem.providers) < 0.2
        edge = np.flatnonzero(group[problem.provider])
        usual = float(np.minimum(today, problem.capacity)[group].sum())
        low, high = (-np.inf, 0.7 * usual) if number % 2 else (0.9 * usual, np.inf)
        made.append(LinearLimit(edge, np.ones(len(edge)), low, high, f"group {number}"))
    return replace(problem, limits=tuple(made))


def offers(customers: int = 1_000_000, options: int = 5, spend: float = 0.3, seed: int = 4) -> Problem:
    """A single budget: one of ``options`` offers for each customer, or none; the budget is ``spend`` of what the best
    offers would cost together. Values and costs are lognormal; option k costs about k + 1.
    """
    rng = np.random.default_rng(seed)
    edges = customers * options
    cost = ((1.0 + np.arange(options)) * rng.lognormal(0, 0.3, (customers, options))).ravel()
    value = (rng.lognormal(1, 0.5, (customers, 1)) * np.sqrt(1.0 + np.arange(options))).ravel()
    value *= rng.lognormal(0, 0.3, edges)
    best = value.reshape(customers, options).argmax(1)
    budget = spend * float(cost.reshape(customers, options)[np.arange(customers), best].sum())
    return Problem(
        demand=np.ones(customers),
        row_start=np.arange(0, edges + 1, options, dtype=np.int64),
        provider=np.tile(np.arange(options, dtype=np.int32), customers),
        value=value,
        capacity=np.full(options, np.inf),
        floor=np.zeros(options),
        limits=(LinearLimit(np.arange(edges), cost, -np.inf, budget, "budget"),),
    )
