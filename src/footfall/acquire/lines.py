"""The lines of a plan: pairs, providers and the limits that hold them, by name and with prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from footfall.acquire._work import entropic_work
from footfall.acquire.limits import EXCLUDE, PIN, SHARE_CAP
from footfall.acquire.reference import row_totals
from footfall.model import BindingLimit, Floats, Ints, PairLine, ProviderLine

if TYPE_CHECKING:
    from footfall.acquire.plan import PlanDetail

PRICED = 1e-6  # of the mean size of a value: a price below this is rounding
AT_BOUND = 1e-3  # of a share: a pair this near to its cap is held by it


def pair_lines(detail: PlanDetail) -> tuple[PairLine, ...]:
    """One line a pair, by segment and provider."""
    inputs, pairs = detail.inputs, detail.pairs
    segments, providers = inputs.segments, inputs.providers
    columns = zip(
        pairs.edges.segment.tolist(),
        pairs.edges.provider.tolist(),
        pairs.share_today.tolist(),
        pairs.reference.tolist(),
        detail.share.tolist(),
        pairs.visits_today.tolist(),
        detail.visits.tolist(),
        pairs.value.tolist(),
        pairs.low.tolist(),
        pairs.high.tolist(),
        strict=True,
    )
    return tuple(PairLine(segments[i], providers[j], *rest) for i, j, *rest in columns)


def provider_lines(
    detail: PlanDetail, limits: tuple[BindingLimit, ...], today: Floats, tomorrow: Floats
) -> tuple[ProviderLine, ...]:
    """One line a provider; its value is the mean over tomorrow's visits (today's, or its pairs', where it has
    none).
    """
    inputs, pairs = detail.inputs, detail.pairs
    held: dict[str, list[str]] = {}
    for limit in limits:
        held.setdefault(limit.provider_id, []).append(limit.name)
    value = inputs.fallback.mean.astype(np.float64)
    for weight in (np.ones(len(pairs.value)), pairs.visits_today, detail.visits):
        total = pairs.edges.by_provider(weight)
        summed = pairs.edges.by_provider(weight * pairs.value)
        value = np.where(total > 0, summed / np.where(total > 0, total, 1.0), value)
    pinned = pairs.edges.by_provider(pairs.pinned.astype(np.float64)) > 0
    closed = pairs.edges.by_provider((~pairs.open).astype(np.float64))
    excluded = (closed > 0) & (closed == pairs.edges.by_provider(np.ones(len(pairs.value))))
    price, bounds = detail.price, detail.bounds
    high, low = bounds.hard_high, np.minimum(bounds.hard_low, bounds.hard_high)
    change_high, change_low = bounds.change_high, (1 - bounds.fall) * bounds.base
    shut = np.flatnonzero(high <= 0)
    shut_by = dict(zip(shut.tolist(), bounds.high_names(shut), strict=True))
    lines = []
    for j, name in enumerate(inputs.providers):
        names = list(held.get(name, ()))
        if j in shut_by:
            names.append(shut_by[j])
        elif excluded[j]:
            names.append(EXCLUDE)
        if pinned[j]:
            names.append(PIN)
        lines.append(
            ProviderLine(
                provider_id=name,
                category=inputs.categories[j],
                newcomer=bool(pairs.newcomer[j]),
                visits_today=float(today[j]),
                visits_tomorrow=float(tomorrow[j]),
                value=float(value[j]),
                price=float(price[j]),
                limits=tuple(names),
                capacity=float(high[j]),
                floor=float(low[j]),
                change_high=float(change_high[j]),
                change_low=float(change_low[j]),
            )
        )
    return tuple(lines)


def binding_limits(detail: PlanDetail, tomorrow: Floats) -> tuple[BindingLimit, ...]:
    """The limits of providers that bind, by provider: those with a price."""
    if detail.part is None:
        return ()
    bounds, price = detail.bounds, detail.price
    least = PRICED * float(np.abs(detail.part.problem.value).mean())
    held = np.flatnonzero(np.abs(price) > least)
    high, low, limits = bounds.high, bounds.low, []
    for j, upper, lower in zip(held.tolist(), bounds.high_names(held), bounds.low_names(held), strict=True):
        name, bound = (upper, high[j]) if price[j] > 0 else (lower, low[j])
        if abs(tomorrow[j] - bound) <= 1e-2 * bound + 1e-6:
            limits.append(BindingLimit(detail.inputs.providers[j], name, float(bound), float(price[j])))
    return tuple(limits)


def share_cap_limits(detail: PlanDetail) -> tuple[BindingLimit, ...]:
    """Pairs held by ``max_provider_share``, with the price of the cap in reward per visit.

    By the optimality conditions the gain of a visit, v - l - tau log(x / p), is the same for all pairs of a
    full row that are not at their cap (at inertia 0, for those that have visits, and no more for the others),
    and 0 in a row that is not full; what a capped pair's gain exceeds it by is the price.
    """
    part, allocation = detail.part, detail.allocation
    if part is None or allocation is None or part.problem.upper is None:
        return ()
    problem = part.problem
    rows = np.repeat(np.arange(problem.segments), np.diff(problem.row_start))
    x, cap = allocation.share, detail.share_cap[part.pair]
    at_cap = (part.problem.upper < 1) & (x >= part.problem.upper * (1 - AT_BOUND)) & (problem.demand[rows] > 0)
    if not at_cap.any():
        return ()
    gain = _gain(detail, rows)
    unheld = ~at_cap & ((x > 0) | (detail.inputs.settings.inertia == 0))
    others = np.where(unheld, gain, -np.inf)
    best = np.full(problem.segments, -np.inf)
    np.maximum.at(best, rows, others)
    full = row_totals(problem.row_start, x) >= 1 - 1e-6
    row_value = np.where(full, np.maximum(best, 0.0), 0.0)
    inputs, limits = detail.inputs, []
    least = PRICED * float(np.abs(problem.value).mean())
    for k in np.flatnonzero(at_cap).tolist():
        price = float(gain[k] - row_value[rows[k]])
        if price > least:
            name = f"{SHARE_CAP} of {inputs.segments[rows[k]]}"
            bound = float(inputs.demand.visits[rows[k]] * cap[k])
            limits.append(BindingLimit(inputs.providers[problem.provider[k]], name, bound, price))
    return tuple(limits)


def _gain(detail: PlanDetail, rows: Ints) -> Floats:
    """What one more visit to each pair earns, net of prices and of the pull of the reference."""
    part, allocation = detail.part, detail.allocation
    assert part is not None and allocation is not None  # asked only where a problem was solved
    problem, inertia = part.problem, detail.inputs.settings.inertia
    gain: Floats = problem.value.astype(np.float64) - allocation.price[problem.provider]
    if inertia > 0:
        reference = problem.reference
        assert reference is not None
        signal = row_totals(problem.row_start, reference * np.maximum(problem.value, 0.0))[rows]
        # a row without a positive value counts as worth 0 to the solver, with the tau that it takes for it
        gain = np.where(signal > 0, gain, -allocation.price[problem.provider])
        tau = entropic_work(problem, inertia).tau[rows]
        some = (allocation.share > 0) & (reference > 0)
        ratio = np.where(some, allocation.share, 1.0) / np.where(some, reference, 1.0)
        gain = gain - tau * np.log(ratio)
    return gain
