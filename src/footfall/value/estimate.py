"""From counts to values: what a visit of the as-of day will have earned, net of refunds, when all has come in.

    Counts  ->  delay curves  ->  drift and weights  ->  conversion, order value, refund share  ->  Values

:func:`estimate` is the whole on one page. Pure: arrays in, arrays out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from footfall.model import Floats, Ints
from footfall.texts import say
from footfall.value.cells import gather
from footfall.value.counts import Counts, Figures, Settings, Values, check
from footfall.value.credibility import known_order_value, order_value, relative_spread
from footfall.value.drift import Motion, follow
from footfall.value.pairs import cross
from footfall.value.posterior import Shrunk, shrink, value_quantile
from footfall.value.sums import sum_by
from footfall.value.table import Table, matured, merged, tabulate
from footfall.value.trend import mixed_variance

__all__ = ["Counts", "Figures", "Settings", "Values", "estimate"]

_NO_ORDERS = (0.5, 10.0)  # orders and visits put to the whole pool, so that a log without orders has an answer
_NO_REFUNDS = (0.25, 10.0)


@dataclass(frozen=True, slots=True)
class _Effective:
    """Effective counts and exposures of providers (J,) and pairs (P,): what the posteriors are fed with."""

    count: Floats
    exposure: Floats
    pair_count: Floats
    pair_exposure: Floats
    evidence: Floats
    pair_evidence: Floats


def estimate(counts: Counts, settings: Settings | None = None) -> Values:
    """Values of all pairs, providers and segments as of the day of ``counts``.

    Raises InputError where arrays do not fit together, naming the array, the row and the bound.
    """
    settings = settings or Settings()
    check(counts)
    counts = merged(counts)
    table = tabulate(counts, settings.memory_days)
    motion = follow(table, settings.half_life_days)
    visits = _visit_evidence(table, motion)
    category, cv = counts.provider_category, settings.cv_median
    grouping = (category, counts.n_categories)
    conversion = shrink(visits.count, visits.exposure, *grouping, fallback=_NO_ORDERS, cv_median=cv)
    orders, kappa2 = _order_evidence(table, motion)
    spend = (
        known_order_value(len(category), counts.n_categories)
        if settings.unit_reward
        else order_value(orders.count, orders.exposure, kappa2, *grouping, cv_median=cv)
    )
    refund_share, refund_variance = _refund_share(table, motion, cv)
    common = _common_variance(table, motion, conversion.prior_mean[category] * visits.exposure)
    providers = _figures(
        (conversion.mean, spend.mean, refund_share),
        (conversion.relative_variance, spend.relative_variance, refund_variance, common),
        visits.evidence,
        matured(table, counts.pair_provider, table.n_providers, motion.trend),
        settings.interval,
    )
    pairs = _pair_figures(
        table, motion, settings, visits, orders, kappa2, conversion, spend, providers, (refund_variance, common)
    )
    return Values(
        pairs=pairs,
        providers=providers,
        segments=_segment_figures(table, motion, settings, pairs, common),
        delay=table.delay,
        refund_delay=table.refund_delay,
        reach_days=table.reach_days,
        younger_than_window=table.reach_days < counts.window_days,
        drift_sd=np.sqrt(motion.drift_variance),
        notes=_notes(table),
    )


def _visit_evidence(table: Table, motion: Motion) -> _Effective:
    """Effective orders and exposures: weighted rates kept, exposures cut by Kish's design effect and by drift."""
    counts, weight, exposed, by_provider = table.counts, motion.weight, motion.exposed, table.cells.by_key
    noisy = 1.0 + (motion.noise * motion.rate)[table.cells.key] * exposed
    s1, s2 = by_provider(weight * exposed), by_provider(weight**2 * exposed * noisy)
    orders = by_provider(weight * table.orders)
    exposure = _effective(s1, s2, motion.rate, motion.variance)
    evidence = by_provider(weight * table.mature) ** 2 / np.maximum(by_provider(weight**2 * table.mature), 1e-300)
    n_pairs = counts.pair_segment.shape[0]
    provider, age = table.visit_provider, counts.visit_age
    category = counts.provider_category[provider]
    w = gather(weight, table.visit_cell)
    row_mature = counts.visits * table.delay.at(category, age)
    row = row_mature * motion.trend[category, np.minimum(age, table.memory_days)]
    p1 = sum_by(counts.visit_pair, w * row, n_pairs)
    noisy_row = 1.0 + (motion.noise * motion.rate)[provider] * row
    p2 = sum_by(counts.visit_pair, w * w * row * noisy_row, n_pairs)
    e1 = sum_by(counts.visit_pair, w * row_mature, n_pairs)
    e2 = sum_by(counts.visit_pair, w * w * row_mature, n_pairs)
    w_order = gather(weight, table.order_cell)
    pair_orders = sum_by(counts.order_pair, w_order * counts.orders, n_pairs)
    of = counts.pair_provider
    pair_exposure = _effective(p1, p2, motion.rate[of], motion.variance[of])
    return _Effective(
        count=orders * exposure / np.maximum(s1, 1e-300),
        exposure=exposure,
        pair_count=pair_orders * pair_exposure / np.maximum(p1, 1e-300),
        pair_exposure=pair_exposure,
        evidence=evidence,
        pair_evidence=e1**2 / np.maximum(e2, 1e-300),
    )


def _effective(s1: Floats, s2: Floats, rate: Floats, drift: Floats) -> Floats:
    """Exposure whose Poisson noise equals sampling noise (Kish) plus drift: 1 / (s2 / s1^2 + rate x drift)."""
    safe = np.maximum(s1, 1e-300)
    return np.where(s1 > 0.0, 1.0 / (np.where(s1 > 0.0, s2 / safe / safe, 1.0) + rate * drift), 0.0)


def _order_evidence(table: Table, motion: Motion) -> tuple[_Effective, Floats]:
    """Effective orders (Kish) and their amounts by provider and pair, and the relative spread of amounts."""
    counts = table.counts
    n, n_pairs, key = table.n_providers, counts.pair_segment.shape[0], table.order_provider
    w = gather(motion.weight, table.order_cell)

    def kish(of: Ints, size: int) -> tuple[Floats, Floats, Floats]:
        s1 = sum_by(of, w * counts.orders, size)
        effective = s1**2 / np.maximum(sum_by(of, w * w * counts.orders, size), 1e-300)
        mean = sum_by(of, w * counts.amount, size) / np.maximum(s1, 1e-300)
        return effective, effective * mean, s1

    number, amount, _ = kish(key, n)
    pair_number, pair_amount, _ = kish(counts.order_pair, n_pairs)
    kappa2 = relative_spread(
        sum_by(key, counts.orders, n),
        sum_by(key, counts.amount, n),
        sum_by(key, counts.amount_sq, n),
        counts.provider_category,
        counts.n_categories,
    )
    return _Effective(number, amount, pair_number, pair_amount, number, pair_number), kappa2


def _refund_share(table: Table, motion: Motion, cv_median: float) -> tuple[Floats, Floats]:
    """Share of order value that will be refunded, and the relative variance it leaves on 1 - share, (J,) each."""
    counts, n = table.counts, table.n_providers
    if counts.refunds.sum() <= 0.0:
        return np.zeros(n), np.zeros(n)
    category, n_categories = counts.provider_category, counts.n_categories
    order_age = counts.order_age - counts.order_delay
    share = table.refund_delay.at(category[table.order_provider], order_age)
    w_order = gather(motion.weight, table.order_cell)
    w_refund = gather(motion.weight, table.refund_cell)
    count = sum_by(table.refund_provider, w_refund * counts.refunds, n)
    exposure = sum_by(table.order_provider, w_order * counts.orders * share, n)
    fit = shrink(count, exposure, category, n_categories, fallback=_NO_REFUNDS, cv_median=cv_median)
    size = _refund_size(table)[category]
    mean = np.minimum(fit.mean * size, 0.98)
    variance = fit.relative_variance * mean**2
    return mean, np.minimum(variance, mean * (1.0 - mean)) / (1.0 - mean) ** 2


def _refund_size(table: Table) -> Floats:
    """Mean amount of a refund over the mean amount of an order, (C,), shrunk to the pool's, that to 1."""
    counts, n = table.counts, table.counts.n_categories
    of_refund = counts.provider_category[table.refund_provider]
    of_order = counts.provider_category[table.order_provider]
    refunds, orders = sum_by(of_refund, counts.refunds, n), sum_by(of_order, counts.orders, n)
    amount = sum_by(of_order, counts.amount, n) / np.maximum(orders, 1e-300)
    expected = refunds * amount  # if every refund took back a mean order
    given = sum_by(of_refund, counts.refund_amount, n)
    if expected.sum() <= 0.0:
        return np.ones(n)
    unit = expected.sum() / refunds.sum()
    pool = (given.sum() + 5.0 * unit) / (expected.sum() + 5.0 * unit)
    own_unit = np.where(amount > 0.0, amount, unit)
    ratio: Floats = (given + 20.0 * own_unit * pool) / (expected + 20.0 * own_unit)
    return ratio


def _common_variance(table: Table, motion: Motion, expected: Floats) -> Floats:
    """Relative variance from the delay curve and the common trend, (J,), through each provider's mix of ages.

    A provider's own mix counts with its credibility (expected orders over those plus 4), its category's for the rest.
    """
    cells, n_categories = table.cells, table.counts.n_categories
    exposed = motion.weight * motion.exposed
    of_category = sum_by(table.cell_category * cells.ages + cells.age, exposed, n_categories * cells.ages)
    of_category = of_category.reshape(n_categories, cells.ages)
    of_category[of_category.sum(axis=1) <= 0.0, 0] = 1.0
    of_category /= of_category.sum(axis=1, keepdims=True)
    z = expected / (expected + 4.0)
    own = z[cells.key] * exposed / np.maximum(cells.by_key(exposed), 1e-300)[cells.key]
    return mixed_variance(
        cells.start,
        cells.age,
        own,
        1.0 - z,
        of_category,
        table.counts.provider_category,
        table.delay.step_variance,
        motion.trends.bin_of_age,
        motion.trends.covariance,
    )


def _figures(
    parts: tuple[Floats, Floats, Floats],
    variances: Sequence[Floats],
    evidence: Floats,
    plain: Floats,
    interval: float,
) -> Figures:
    """Multiply conversion, order value and what refunds leave; relative variances compound."""
    conversion, spend, refund_share = parts
    mean = conversion * spend * (1.0 - refund_share)
    relative = np.ones_like(mean)
    for variance in variances:
        relative = relative * (1.0 + variance)
    relative = np.maximum(relative - 1.0, 1e-12)
    return _with_interval(mean, relative, (conversion, spend, refund_share), evidence, plain, interval)


def _with_interval(
    mean: Floats,
    relative: Floats,
    parts: tuple[Floats, Floats, Floats],
    evidence: Floats,
    plain: Floats,
    interval: float,
) -> Figures:
    tail = 0.5 * (1.0 - interval)
    low = value_quantile(tail, mean, relative)
    high = value_quantile(1.0 - tail, mean, relative)
    return Figures(
        mean, mean * np.sqrt(relative), np.minimum(low, mean), np.maximum(high, mean), evidence, *parts, plain
    )


def _pair_figures(
    table: Table,
    motion: Motion,
    settings: Settings,
    visits: _Effective,
    orders: _Effective,
    kappa2: Floats,
    conversion: Shrunk,
    spend: Shrunk,
    providers: Figures,
    of_provider: tuple[Floats, Floats],
) -> Figures:
    """Figures of pairs; with one segment they are their provider's.

    of_provider: relative variances that a provider's pairs share, (J,) each: of refunds, of curve and trend.
    """
    counts, cv = table.counts, settings.cv_median
    of, category = counts.pair_provider, counts.provider_category
    plain = matured(table, np.arange(of.shape[0]), of.shape[0], motion.trend)
    refunds = providers.refund_share[of]
    own = (conversion.mean[of], spend.mean[of], refunds)
    if counts.n_segments == 1:
        relative = (providers.sd[of] / providers.mean[of]) ** 2
        return _with_interval(providers.mean[of], relative, own, visits.pair_evidence, plain, settings.interval)
    keys = (counts.pair_segment, of)
    rate = cross(visits.pair_count, visits.pair_exposure, *keys, conversion, category, counts.n_segments, cv_median=cv)
    value = (
        known_order_value(len(of), counts.n_categories)
        if settings.unit_reward
        else cross(
            orders.pair_count / kappa2[of],
            orders.pair_exposure / kappa2[of],
            *keys,
            spend,
            category,
            counts.n_segments,
            cv_median=cv,
            inverse=True,
        )
    )
    return _figures(
        (rate.mean, value.mean, refunds),
        (rate.relative_variance, value.relative_variance, *(variance[of] for variance in of_provider)),
        visits.pair_evidence,
        plain,
        settings.interval,
    )


def _segment_figures(table: Table, motion: Motion, settings: Settings, pairs: Figures, common: Floats) -> Figures:
    """Segments as their pairs' figures weighted by recent visits (evenly where there are none).

    Visits count here by their age alone: what a provider forgets of its rate, for having many orders, is no less of its
    part in the segment. A segment without any pair gets the mean of all pairs and a relative sd of 1.
    """
    counts, n = table.counts, table.counts.n_segments
    segment, of = counts.pair_segment, counts.pair_provider
    age = counts.visit_age - counts.visit_age.min(initial=counts.log_days)
    mass = sum_by(counts.visit_pair, 0.5 ** (age / settings.half_life_days) * counts.visits, segment.shape[0])
    mass = np.where(sum_by(segment, mass, n)[segment] > 0.0, mass, 1.0)
    total_mass = sum_by(segment, mass, n)
    share = mass / total_mass[segment]
    bare = total_mass <= 0.0

    def total(x: Floats) -> Floats:
        return np.where(bare, (mass * x).sum() / max(float(mass.sum()), 1e-300), sum_by(segment, share * x, n))

    mean, conversion = total(pairs.mean), total(pairs.conversion)
    gross = total(pairs.conversion * pairs.order_value)
    spend = gross / np.maximum(conversion, 1e-300)
    refunds = np.clip(1.0 - mean / np.maximum(gross, 1e-300), 0.0, 1.0)
    shared = pairs.mean * np.sqrt(common[of])  # curve and trend move all of a category together
    own = np.maximum(pairs.sd**2 - shared**2, 0.0)
    variance = sum_by(segment, share**2 * own, n) + total(shared) ** 2
    relative = np.where(bare, 1.0, variance / np.maximum(mean, 1e-300) ** 2)
    plain = matured(table, segment, n, motion.trend)
    evidence = sum_by(segment, pairs.evidence, n)
    parts = (conversion, spend, refunds)
    return _with_interval(mean, np.maximum(relative, 1e-12), parts, evidence, plain, settings.interval)


def _notes(table: Table) -> tuple[str, ...]:
    counts = table.counts
    notes = []
    if table.reach_days < counts.window_days:
        days = table.reach_days
        notes.append(
            say(
                "the log is younger than the window of {window} days: values count what comes within {days} of the "
                "visit",
                window=counts.window_days,
                days=say("1 day") if days == 1 else say("{days:d} days", days=days),
            )
        )
    if counts.orders.sum() <= 0.0:
        notes.append(say("no orders in the log: values stand on priors alone"))
    return tuple(notes)
