"""Coverage of 90 % intervals and bias of means, by simulation (slow). Figures of docs/value.md come from here."""

from __future__ import annotations

import numpy as np
import pytest
from visit_simulator import World, draw

from footfall.value.estimate import estimate

pytestmark = pytest.mark.slow

BASE = {
    "sizes": (2, 3, 6, 15),
    "median_delay": (0.3, 12.0, 0.5, 14.0),
    "refund_share": (0.0, 0.1, 0.2, 0.0),
    "daily_visits": (0.3, 120.0),
}
WORLDS = {
    "60 days": World(**BASE),
    "30 days": World(**BASE, log_days=29),
    "36 days, window 45": World(**BASE, log_days=35, window_days=45),
    "wide lognormal": World(**BASE, rate_cv=0.9),
    "narrow gamma": World(**BASE, rate_cv=0.35, rate_law="gamma"),
    "no drift": World(**BASE, drift_sd=0.0),
    "drift 2 % a day": World(**BASE, drift_sd=0.02),
    "common drift 2 % a day": World(**BASE, common_drift_sd=0.02),
    "only twos and threes": World(**{**BASE, "sizes": (2, 2, 3, 3)}),
    "hump-shaped delays": World(**BASE, delay_shape=1.6),
}
SEGMENTED = {
    "four segments": World(**BASE, n_segments=4),
    "four, own ways": World(**BASE, n_segments=4, own_cv=0.4),
    "twelve": World(**BASE, n_segments=12, segment_cv=0.6),
}


def cover(worlds: dict[str, World], draws: int, pairs: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Visits, whether slow, and whether the truth lay inside, of every provider (or pair) drawn."""
    rng = np.random.default_rng(20)
    visits, slow, inside = [], [], []
    for world in worlds.values():
        for _ in range(draws):
            counts, truth = draw(world, rng)
            values = estimate(counts)
            figures = values.pairs if pairs else values.providers
            value = truth.pair_value if pairs else truth.value
            category = truth.category[counts.pair_provider] if pairs else truth.category
            visits.append(truth.pair_visits if pairs else truth.visits)
            slow.append(np.array(world.median_delay)[category] > 5)
            inside.append((figures.low <= value) & (value <= figures.high))
    return np.concatenate(visits), np.concatenate(slow), np.concatenate(inside)


@pytest.mark.parametrize("pairs", [False, True], ids=["providers", "pairs"])
def test_coverage(pairs: bool) -> None:
    visits, slow, inside = cover(SEGMENTED if pairs else WORLDS, 20 if pairs else 30, pairs)
    assert inside.size > 2000
    bands = {"under 50": visits < 50, "50 to 500": (visits >= 50) & (visits <= 500), "over 500": visits > 500}
    for name, band in {**bands, **{f"{k}, slow": v & slow for k, v in bands.items()}}.items():
        share = inside[band].mean()
        print(f"{'pairs' if pairs else 'providers'}, {name}: {share:.3f} of {band.sum()}")
        assert 0.85 <= share <= 0.955, name


FALL = 1.5 * np.linspace(0.5, 1.0, 61)[None].ravel()  # newest first: from 6 % down to 3 % over 60 days


@pytest.mark.parametrize(("median_delay", "limit"), [(0.3, 0.06), (12.0, 0.10)])
def test_falling_rates_are_followed(median_delay: float, limit: float) -> None:
    # Weights 2^(-age / 28) alone would stand at 1 + 22.8 / 60 = 1.38 times the as-of rate, the mean age being 22.8.
    world = World(
        sizes=(10,), median_delay=(median_delay,), refund_share=(0.0,), daily_visits=(1500, 1500), newcomer_share=0.0,
        drift_sd=0.0, amount_cv=0.5, log_days=60, path=FALL,
    )  # fmt: skip
    rng = np.random.default_rng(2)
    matured, mean = [], []
    for _ in range(12):
        counts, truth = draw(world, rng)
        values = estimate(counts)
        matured.append(values.providers.matured.sum() / truth.gmv_per_visit.sum())
        mean.append(values.providers.mean.sum() / truth.value.sum())
    print(f"median delay {median_delay}: matured {np.mean(matured):.3f}, as-of mean {np.mean(mean):.3f}")
    assert abs(np.mean(matured) - 1) < 0.03
    assert abs(np.mean(mean) - 1) < limit


def test_weekdays_are_not_taken_for_drift() -> None:
    # Conversion swings by a quarter over the week; the as-of day has the mean of the week.
    path = 1 + 0.25 * np.sin(2 * np.pi * np.arange(60) / 7)
    world = World(**{**BASE, "daily_visits": (100.0, 1500.0)}, path=path, drift_sd=0.0)
    rng = np.random.default_rng(6)
    drift, inside = [], []
    for _ in range(20):
        counts, truth = draw(world, rng)
        values = estimate(counts)
        drift.append(values.drift_sd)
        inside.append((values.providers.low <= truth.value) & (truth.value <= values.providers.high))
    assert np.mean(drift) < 0.012
    assert 0.85 <= np.concatenate(inside).mean() <= 0.96
