"""A world of providers with known values, drawn as counts; it shares no code with the estimator.

Orders of a visit day are Poisson with a log rate that walks from day to day; delays are rounded gamma or geometric
variables cut at the window; amounts are lognormal or gamma; refunds fall on single orders, days later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from footfall.value.estimate import Counts


@dataclass
class World:
    """What is drawn; every field can be set by a test."""

    sizes: tuple[int, ...] = (3, 8)  # providers of each category
    median_delay: tuple[float, ...] = (0.5, 12.0)
    delay_shape: float = 1.0
    log_days: int = 59
    window_days: int = 60
    rate: float = 0.04
    rate_cv: float = 0.5
    rate_law: str = "lognormal"
    category_cv: float = 0.6
    spend: float = 80.0
    spend_cv: float = 0.4
    amount_cv: float = 0.8
    drift_sd: float = 0.01
    common_drift_sd: float = 0.0
    daily_visits: tuple[float, float] = (0.3, 80.0)  # log-uniform between
    newcomer_share: float = 0.15
    refund_share: tuple[float, ...] = (0.0, 0.15)
    refund_days: float = 4.0
    n_segments: int = 1
    segment_cv: float = 0.3
    own_cv: float = 0.15
    path: np.ndarray | None = None  # common multiplier of rates by age


@dataclass
class Truth:
    """As-of-day truths: per provider and per pair, and the visit-weighted GMV over the log."""

    value: np.ndarray
    pair_value: np.ndarray
    visits: np.ndarray
    pair_visits: np.ndarray
    category: np.ndarray
    gmv_per_visit: np.ndarray
    plain: np.ndarray
    conversion: np.ndarray
    spend: np.ndarray
    keep: np.ndarray
    cdf: np.ndarray


def spread(rng: np.random.Generator, cv: float, law: str, size: int) -> np.ndarray:
    """Draws with mean 1 and coefficient of variation cv."""
    if cv == 0:
        return np.ones(size)
    if law == "gamma":
        return rng.gamma(1 / cv**2, cv**2, size)
    s2 = np.log1p(cv**2)
    return rng.lognormal(-s2 / 2, np.sqrt(s2), size)


def delay_law(median: float, shape: float, window: int) -> np.ndarray:
    """Probabilities of delays 0..window with about that median."""
    k = np.arange(window + 1)
    if median < 1:  # mostly the same day
        p = 0.5 ** (k / max(median, 0.1))
    else:
        # Weibull, its survival at whole days; cut at the window
        scale = median / np.log(2) ** (1 / shape)
        edge = np.exp(-((np.arange(window + 2) / scale) ** shape))
        p = edge[:-1] - edge[1:]
    return p / p.sum()


def draw(world: World, rng: np.random.Generator) -> tuple[Counts, Truth]:
    """One log of the world, and the truth behind it."""
    n_c, ages = len(world.sizes), world.log_days + 1
    category = np.repeat(np.arange(n_c), world.sizes)
    n_j = category.shape[0]
    base = world.rate * spread(rng, world.category_cv, "lognormal", n_c)
    rate0 = base[category] * spread(rng, world.rate_cv, world.rate_law, n_j)
    own = np.cumsum(rng.normal(0, world.drift_sd, (n_j, ages)), axis=1)
    common = np.cumsum(rng.normal(0, world.common_drift_sd, (n_c, ages)), axis=1)
    walk = own + common[category]
    rate = rate0[:, None] * np.exp(walk - walk[:, :1])  # age 0 first
    if world.path is not None:
        rate = rate * world.path[None, :ages]
    spend = world.spend * spread(rng, 0.5, "lognormal", n_c)[category] * spread(rng, world.spend_cv, "gamma", n_j)
    share = np.array(world.refund_share)[category] * np.minimum(spread(rng, 0.3, "gamma", n_j), 3)
    segment_effect = spread(rng, world.segment_cv if world.n_segments > 1 else 0, "lognormal", world.n_segments)
    low, high = np.log(world.daily_visits)
    size = np.exp(rng.uniform(low, high, n_j))
    newcomer = rng.random(n_j) < world.newcomer_share
    first = np.where(newcomer, np.minimum(rng.integers(0, 8, n_j), world.log_days), world.log_days)
    weekday = 1 + 0.4 * np.sin(2 * np.pi * np.arange(ages) / 7) + 0.3 * np.sin(2 * np.pi * np.arange(ages) / 45)
    mix = rng.dirichlet(np.full(world.n_segments, 2.0), n_j)

    pair_provider = np.repeat(np.arange(n_j), world.n_segments)
    pair_segment = np.tile(np.arange(world.n_segments), n_j)
    factor = segment_effect[pair_segment] * (
        spread(rng, world.own_cv, "gamma", n_j * world.n_segments) if world.n_segments > 1 else 1.0
    )
    mean_visits = size[:, None] * weekday * (np.arange(ages) <= first[:, None])
    pair_mean = mean_visits[pair_provider] * mix.ravel()[:, None]
    visits = rng.poisson(pair_mean)
    pair_rate = rate[pair_provider] * factor[:, None]
    orders = rng.poisson(visits * pair_rate)

    p, a = np.nonzero(orders)
    op, oa = np.repeat(p, orders[p, a]), np.repeat(a, orders[p, a])
    laws = np.array([delay_law(m, world.delay_shape, world.window_days) for m in world.median_delay])
    cumulative = np.cumsum(laws, axis=1)
    u = rng.random(op.shape[0])
    oc = category[pair_provider[op]]
    delay = np.empty_like(op)
    for c in range(n_c):
        delay[oc == c] = np.minimum(np.searchsorted(cumulative[c], u[oc == c]), world.window_days)
    amount = spend[pair_provider[op]] * spread(rng, world.amount_cv, "lognormal", op.shape[0])
    refunded = rng.random(op.shape[0]) < share[pair_provider[op]]
    refund_delay = rng.geometric(1 / (world.refund_days + 1), op.shape[0]) - 1
    seen = delay <= oa
    seen_refund = seen & refunded & (refund_delay <= oa - delay)

    v_pair, v_age = np.nonzero(visits)
    s, r = seen, seen_refund
    one = np.ones(op.shape[0])
    counts = Counts(
        n_segments=world.n_segments,
        n_categories=n_c,
        provider_category=category,
        pair_segment=pair_segment,
        pair_provider=pair_provider,
        visit_pair=v_pair,
        visit_age=v_age,
        visits=visits[v_pair, v_age].astype(float),
        order_pair=op[s],
        order_age=oa[s],
        order_delay=delay[s],
        orders=one[s],
        amount=amount[s],
        amount_sq=amount[s] ** 2,
        refund_pair=op[r],
        refund_visit_age=oa[r],
        refund_order_age=(oa - delay)[r],
        refund_delay=refund_delay[r],
        refunds=one[r],
        refund_amount=amount[r],
        log_days=world.log_days,
        window_days=world.window_days,
    )
    reach = min(world.log_days, world.window_days)
    cut = cumulative[category, reach]
    keep = 1 - share
    weight = mix * (factor.reshape(n_j, -1))
    conversion = rate[:, 0] * weight.sum(axis=1) * cut
    pair_conversion = (rate[:, 0] * cut)[pair_provider] * factor
    pv = visits.sum(axis=1)
    jv = np.bincount(pair_provider, pv, n_j)
    flow = np.bincount(pair_provider, (visits * pair_rate).sum(axis=1), n_j) * spend * cut
    with np.errstate(invalid="ignore", divide="ignore"):
        truth = Truth(
            value=conversion * spend * keep,
            pair_value=pair_conversion * (spend * keep)[pair_provider],
            visits=jv,
            pair_visits=pv,
            category=category,
            gmv_per_visit=flow / jv,
            plain=np.bincount(pair_provider[op[s]], amount[s], n_j) / jv,
            conversion=conversion,
            spend=spend,
            keep=keep,
            cdf=cumulative,
        )
    return counts, truth
