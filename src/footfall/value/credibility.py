"""Mean order value by credibility: a provider's own orders against those of its category and the pool.

Buehlmann & Straub (1970, Mitteilungen der VSVM 70, 111-133) give the mean order value of provider j as

    Z_j own_j + (1 - Z_j) category,      Z_j = n_j / (n_j + K),      K = within variance / between variance.

Amounts spread in proportion to their mean, so the within variance is kappa^2 (m^2 + between variance) and
K = kappa^2 (1 + 1/cv^2), with cv the spread between providers; posterior.shrink integrates over cv.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from footfall.model import Floats, Ints
from footfall.value.posterior import Shrunk, shrink
from footfall.value.sums import sum_by

_POOL_KAPPA2 = 0.7  # squared coefficient of variation of order amounts before any is seen
_POOL_ORDERS = 2.0
_CATEGORY_ORDERS = 20.0
_PROVIDER_ORDERS = 40.0


@dataclass(frozen=True, slots=True)
class BuehlmannStraub:
    """The plain nonparametric estimators: collective mean, within and between variance, credibility Z (n,)."""

    collective: float
    within: float
    between: float
    credibility: Floats


def buehlmann_straub(mean: Floats, weight: Floats, within: float) -> BuehlmannStraub:
    """Credibility factors from means and weights, float64 (n,), n >= 2, weights > 0, and the within variance.

    Source: Buehlmann & Gisler, A Course in Credibility Theory (2005), section 4.8; the between variance is cut
    at 0, and the collective mean is weighted by credibility (plainly by weight where all of it is 0).
    """
    total = weight.sum()
    plain = (weight * mean).sum() / total
    c = total - (weight**2).sum() / total
    between = max(((weight * (mean - plain) ** 2).sum() - (mean.shape[0] - 1) * within) / c, 0.0)
    z = weight * between / (weight * between + within) if between > 0.0 else np.zeros_like(weight)
    collective = (z * mean).sum() / z.sum() if between > 0.0 else plain
    return BuehlmannStraub(float(collective), float(within), float(between), z)


def relative_spread(orders: Floats, amount: Floats, amount_sq: Floats, category: Ints, n_categories: int) -> Floats:
    """kappa^2 of each provider, float64 (J,): squared coefficient of variation of its order amounts.

    orders, amount, amount_sq: float64 (J,), sums over orders. Own spread is shrunk to the category's, that to the
    pool's, that to 0.7, with the weight of 40, 20 and 2 orders.
    """
    n = np.maximum(orders, 1e-300)
    free = np.maximum(orders - 1.0, 0.0)
    squares = np.maximum(amount_sq - amount**2 / n, 0.0) * (free > 0.0)
    own_mean = amount / n
    sample_variance = squares / np.maximum(free, 1e-300)
    # E[mean^2] exceeds the squared mean by variance / n.
    base = free * np.maximum(own_mean**2 - sample_variance / n, 0.1 * own_mean**2)
    top, bottom = squares.sum(), base.sum()
    scale = bottom / max(free.sum(), 1e-300)  # squared money: the prior orders are put on the log's scale
    if free.sum() <= 0.0 or scale <= 0.0:
        return np.full(orders.shape[0], _POOL_KAPPA2)
    pool = (top + _POOL_ORDERS * scale * _POOL_KAPPA2) / (bottom + _POOL_ORDERS * scale)
    c_top = sum_by(category, squares, n_categories)
    c_bottom = sum_by(category, base, n_categories)
    c_scale = np.where(c_bottom > 0.0, c_bottom / np.maximum(sum_by(category, free, n_categories), 1e-300), 1.0)
    by_category = (c_top + _CATEGORY_ORDERS * c_scale * pool) / (c_bottom + _CATEGORY_ORDERS * c_scale)
    prior = by_category[category]
    own_scale = np.where(base > 0.0, base / np.maximum(free, 1e-300), 1.0)
    result: Floats = (squares + _PROVIDER_ORDERS * own_scale * prior) / (base + _PROVIDER_ORDERS * own_scale)
    return result


def order_value(
    orders: Floats,
    amount: Floats,
    kappa2: Floats,
    category: Ints,
    n_categories: int,
    *,
    cv_median: float = 0.5,
) -> Shrunk:
    """Posterior of the mean order value of every provider.

    orders: float64 (J,), effective orders (Kish); amount: float64 (J,), mean amount x effective orders;
    kappa2: float64 (J,) from :func:`relative_spread`. With no order at all the pool's mean is 1 (major unit).
    """
    pseudo = 1e-3
    total = orders.sum()
    pooled = amount.sum() / total if total > 0.0 and amount.sum() > 0.0 else 1.0
    return shrink(
        orders / kappa2,
        amount / kappa2,
        category,
        n_categories,
        fallback=(pseudo, pseudo * pooled),
        cv_median=cv_median,
        inverse=True,
    )


def known_order_value(members: int, groups: int) -> Shrunk:
    """The order value 1 of every member, for certain: what an order earns where the recipe counts orders."""
    return Shrunk(np.ones(members), np.zeros(members), np.ones(groups), np.zeros(groups))
