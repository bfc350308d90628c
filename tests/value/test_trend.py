"""The common motion of categories."""

from __future__ import annotations

import numpy as np

from footfall.value.trend import fit_trends


def test_the_largest_categories_have_trends_of_their_own() -> None:
    """130 categories over 60 days, 127 of one order. Of the three large ones, one halved its rate in that
    time, one doubled it, and one stood still: 0.5, 2 and 1 is what their orders say of age 59 over age 0."""
    ages, small = 60, 127
    age = np.arange(ages)
    moved = (2.0 ** (age / 59.0), 2.0 ** (-age / 59.0), np.ones(ages))
    orders = np.concatenate([np.ones(small), *(400.0 * factor for factor in moved)])
    expected = np.concatenate([np.ones(small), *(np.full(ages, 400.0 * factor.mean()) for factor in moved)])
    category = np.concatenate([np.arange(small), np.repeat([small, small + 1, small + 2], ages)])
    rows = np.concatenate([np.arange(small) % ages, age, age, age])
    trends = fit_trends(orders, expected, category, rows, small + 3, ages)
    assert trends.factor.shape == (small + 3, ages)
    np.testing.assert_allclose(trends.factor[small:, -1], [2.0, 0.5, 1.0], rtol=0.12)
    assert (trends.factor[:, 0] == 1.0).all()
