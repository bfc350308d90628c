"""The whole estimate: worked cases, laws, edges, and the Google Merchandise Store."""

from __future__ import annotations

import csv
import gzip
import tracemalloc
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from visit_simulator import World, draw

from footfall.errors import InputError
from footfall.value.estimate import Counts, Figures, Settings, Values, estimate

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "google-merchandise-store"
NO_INTS, NO_FLOATS = np.zeros(0, dtype=np.int64), np.zeros(0)
ROWS = {
    "visit": ("visit_pair", "visit_age", "visits"),
    "order": ("order_pair", "order_age", "order_delay", "orders", "amount", "amount_sq"),
    "refund": (
        "refund_pair", "refund_visit_age", "refund_order_age", "refund_delay", "refunds", "refund_amount",
    ),
}  # fmt: skip
MONEY = {"amount": 1, "amount_sq": 2, "refund_amount": 1}


def shops(visits: list[float], orders: list[float], amount: float = 100.0, **other: object) -> Counts:
    """Shops of one segment, one category and one day; every order of the same amount."""
    n = len(visits)
    each = np.arange(n)
    o = np.array(orders, dtype=float)
    zero = np.zeros(n, dtype=np.int64)
    fields: dict[str, object] = {
        "n_segments": 1, "n_categories": 1, "provider_category": zero, "pair_segment": zero, "pair_provider": each,
        "visit_pair": each, "visit_age": zero, "visits": np.array(visits, dtype=float),
        "order_pair": each, "order_age": zero, "order_delay": zero, "orders": o,
        "amount": amount * o, "amount_sq": amount**2 * o,
        "refund_pair": NO_INTS, "refund_visit_age": NO_INTS, "refund_order_age": NO_INTS, "refund_delay": NO_INTS,
        "refunds": NO_FLOATS, "refund_amount": NO_FLOATS, "log_days": 0, "window_days": 30,
    }  # fmt: skip
    return Counts(**{**fields, **other})  # type: ignore[arg-type]


def sound(figures: Figures) -> None:
    for name in ("mean", "sd", "low", "high", "evidence", "conversion", "order_value", "refund_share"):
        assert np.isfinite(getattr(figures, name)).all(), name
    assert (figures.sd > 0).all()
    assert (figures.low >= 0).all()
    assert (figures.low <= figures.mean).all()
    assert (figures.mean <= figures.high).all()
    assert (figures.evidence >= 0).all()


def all_sound(values: Values) -> None:
    for figures in (values.pairs, values.providers, values.segments):
        sound(figures)


def test_two_shops_of_one_day() -> None:
    # 100 visitors each, 5 and 8 orders of 100: worth 5 and 8 plainly; together they say "about 6.5".
    values = estimate(shops([100, 100], [5, 8]))
    a, b = values.providers.mean
    assert 5 < a < b < 8
    assert values.providers.matured.tolist() == [5, 8]
    np.testing.assert_array_equal(values.pairs.mean, values.providers.mean)
    assert 6 < values.segments.mean[0] < 7
    assert values.reach_days == 0
    assert values.younger_than_window
    assert any("younger than the window of 30 days" in note and "within 0 days" in note for note in values.notes)
    all_sound(values)


@pytest.mark.parametrize(
    "counts",
    [
        shops([100, 100], [0, 0]),
        shops([100], [0]),
        shops([0], [0]),
        shops([1], [1]),
        shops([50, 60, 0], [3, 2, 0]),
        shops([3], [9], amount=1.0),
        shops([1e7, 5], [4e5, 0]),
        replace(shops([10], [1]), n_segments=3, n_categories=4),
        replace(shops([90, 80, 70], [4, 3, 0]), n_categories=2, provider_category=np.array([0, 0, 1])),
    ],
    ids=[
        "no orders",
        "one shop",
        "nothing",
        "one visit",
        "newcomer",
        "rich",
        "huge",
        "empty groups",
        "a category without orders",
    ],
)
def test_edges_are_sound(counts: Counts) -> None:
    all_sound(estimate(counts))


def odd(rng: np.random.Generator) -> Counts:
    """Counts that hang together and fit no model: orders without visits, free orders, refunds above orders."""
    providers, segments, categories = rng.integers(1, 6), rng.integers(1, 4), rng.integers(1, 4)
    log, window = int(rng.choice([0, 1, 2, 7, 30, 200])), int(rng.choice([0, 1, 7, 30]))
    cell = rng.choice(providers * segments, rng.integers(1, providers * segments + 1), replace=False)
    v, o = rng.integers(0, 30), rng.integers(0, 15)
    order_age = rng.integers(0, log + 1, o)
    delay = np.minimum(rng.integers(0, window + 1, o), order_age)
    orders = rng.choice([1.0, 2.0, 50.0], o)
    amount = orders * rng.choice([0.0, 1.0, 9.0, 1e7], o)
    of = rng.integers(0, o, min(o, 3)) if o else NO_INTS
    order_pair, left = rng.integers(0, cell.size, o), (order_age - delay)[of]
    return Counts(
        n_segments=int(segments), n_categories=int(categories),
        provider_category=rng.integers(0, categories, providers),
        pair_segment=cell // providers, pair_provider=cell % providers,
        visit_pair=rng.integers(0, cell.size, v), visit_age=rng.integers(0, log + 1, v),
        visits=rng.choice([0.0, 1.0, 5.0, 1e6], v),
        order_pair=order_pair, order_age=order_age, order_delay=delay, orders=orders, amount=amount,
        amount_sq=amount**2 / np.maximum(orders, 1) * rng.choice([1.0, 3.0], o),
        refund_pair=order_pair[of], refund_visit_age=order_age[of], refund_order_age=left,
        refund_delay=(left * rng.random(of.size)).astype(np.int64), refunds=np.ones(of.size),
        refund_amount=amount[of] * rng.choice([0.1, 1.0, 2.0], of.size), log_days=log, window_days=window,
    )  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(8))
def test_odd_counts_are_sound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(25):
        all_sound(estimate(odd(rng)))


def test_newcomer_has_the_prior_of_its_category() -> None:
    counts = shops([1000, 1200, 900, 0, 1000, 0], [50, 70, 40, 0, 5, 0], n_categories=2)
    counts = replace(counts, provider_category=np.array([0, 0, 0, 0, 1, 1]))
    providers = estimate(counts).providers
    assert 4 < providers.mean[3] < 8
    assert providers.mean[5] < 0.6 * providers.mean[3]
    assert providers.sd[3] > 2 * providers.sd[0]
    assert np.isnan(providers.matured[3])


def test_a_segment_is_its_pairs_by_their_recent_visits() -> None:
    """300 visits a day each for 30 days, one order in 5 against one in 200, of 100: 20 and .5 make 10.25, and noise."""
    days, rng = np.arange(30), np.random.default_rng(5)
    pair = np.repeat([0, 1], 30)
    orders = np.concatenate([rng.poisson(60.0, 30), rng.poisson(1.5, 30)]).astype(float)
    counts = Counts(
        n_segments=1, n_categories=1, provider_category=np.zeros(2, dtype=np.int64),
        pair_segment=np.zeros(2, dtype=np.int64), pair_provider=np.arange(2),
        visit_pair=pair, visit_age=np.tile(days, 2), visits=np.full(60, 300.0),
        order_pair=pair, order_age=np.tile(days, 2), order_delay=np.zeros(60, dtype=np.int64),
        orders=orders, amount=100.0 * orders, amount_sq=1e4 * orders,
        refund_pair=NO_INTS, refund_visit_age=NO_INTS, refund_order_age=NO_INTS, refund_delay=NO_INTS,
        refunds=NO_FLOATS, refund_amount=NO_FLOATS, log_days=29, window_days=30,
    )  # fmt: skip
    values = estimate(counts)
    assert values.segments.mean[0] == pytest.approx(values.pairs.mean.mean(), rel=1e-9)
    assert values.segments.low[0] < 10.25 < values.segments.high[0]


def test_more_evidence_is_narrower() -> None:
    width = []
    for times in (1, 4, 16, 64):
        f = estimate(shops([100 * times] * 3, [5 * times] * 3)).providers
        width.append((f.high - f.low)[0])
    assert (np.diff(width) < 0).all()


@pytest.fixture(scope="module")
def world() -> Counts:
    return draw(World(sizes=(3, 4), n_segments=3, log_days=40, daily_visits=(1.0, 60.0)), np.random.default_rng(7))[0]


def assert_same(a: Figures, b: Figures, scale: float = 1.0) -> None:
    for name in ("mean", "sd", "low", "high", "order_value", "matured"):
        np.testing.assert_allclose(getattr(b, name), scale * getattr(a, name), rtol=1e-7, err_msg=name)
    for name in ("evidence", "conversion", "refund_share"):
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-7, err_msg=name)


def test_memory_goes_by_rows_not_by_providers_and_ages() -> None:
    """20,000 providers with two visits each in 400 days: a single row of 8 bytes for each age, 141 of which are
    remembered, would be 23 MB, and an estimate needs many of them.
    """
    n, rng = 20_000, np.random.default_rng(11)
    estimate(shops([100, 100], [5, 8]))  # compiled before memory is looked at
    tail = shops(
        [1.0] * 2 * n, [1.0] * n, pair_segment=np.zeros(n, dtype=np.int64), pair_provider=np.arange(n),
        provider_category=np.zeros(n, dtype=np.int64), visit_pair=np.repeat(np.arange(n), 2),
        visit_age=rng.integers(0, 401, 2 * n), order_pair=np.arange(n), order_age=rng.integers(0, 401, n),
        order_delay=np.zeros(n, dtype=np.int64), log_days=400,
    )  # fmt: skip
    tracemalloc.start()
    try:
        estimate(tail)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6


def test_amounts_scale(world: Counts) -> None:
    scaled = replace(world, **{name: 100.0**power * getattr(world, name) for name, power in MONEY.items()})
    a, b = estimate(world), estimate(scaled)
    for level in ("pairs", "providers", "segments"):
        assert_same(getattr(a, level), getattr(b, level), 100.0)


def test_order_of_rows_and_duplicate_keys_do_not_matter(world: Counts) -> None:
    rng = np.random.default_rng(1)
    changes: dict[str, np.ndarray] = {}
    for names in ROWS.values():
        n = getattr(world, names[0]).shape[0]
        order = np.r_[rng.permutation(n), rng.permutation(n)]  # every row twice, each with half its numbers
        for name in names:
            array = getattr(world, name)[order]
            keys = name.endswith(("_pair", "_age", "_delay"))
            changes[name] = array if keys else array / 2
    a, b = estimate(world), estimate(replace(world, **changes))
    for level in ("pairs", "providers", "segments"):
        assert_same(getattr(a, level), getattr(b, level))


def test_names_of_providers_do_not_matter(world: Counts) -> None:
    turn = np.random.default_rng(2).permutation(world.provider_category.shape[0])
    category = np.empty_like(world.provider_category)
    category[turn] = world.provider_category
    turned = replace(world, provider_category=category, pair_provider=turn[world.pair_provider])
    a, b = estimate(world), estimate(turned)
    np.testing.assert_allclose(b.providers.mean[turn], a.providers.mean, rtol=1e-7)
    np.testing.assert_allclose(b.pairs.high, a.pairs.high, rtol=1e-7)


@pytest.mark.parametrize("categories", [1, 3])
@pytest.mark.parametrize("more", [1, 5, 120])
def test_categories_without_any_visit_change_nothing(categories: int, more: int) -> None:
    """Newcomers' categories, or those of a providers file, tell nothing of the others: neither level nor spread."""
    counts, _ = draw(World(sizes=(3,) * categories, median_delay=(2.0,) * categories, refund_share=(0.1,) * categories,
                           n_segments=2, log_days=20), np.random.default_rng(17))  # fmt: skip
    with_empty = replace(
        counts,
        n_categories=categories + more,
        provider_category=np.r_[counts.provider_category, np.arange(categories, categories + more)],
    )
    a, b = estimate(counts), estimate(with_empty)
    known = np.arange(counts.provider_category.shape[0])
    for name in ("mean", "sd", "low", "high", "evidence", "conversion", "order_value", "refund_share"):
        for level in ("pairs", "segments"):
            np.testing.assert_allclose(getattr(getattr(b, level), name), getattr(getattr(a, level), name), rtol=1e-7)
        np.testing.assert_allclose(getattr(b.providers, name)[known], getattr(a.providers, name), rtol=1e-7)
    sound(b.providers)


def test_late_orders_are_made_up_for() -> None:
    # 60 days, half of the orders later than 12 days: plain GMV / visits is a quarter low, the estimate is not.
    world = World(
        sizes=(10,), median_delay=(12.0,), refund_share=(0.0,), daily_visits=(1500, 1500), newcomer_share=0.0,
        drift_sd=0.0, amount_cv=0.5, log_days=60,
    )  # fmt: skip
    counts, truth = draw(world, np.random.default_rng(3))
    values = estimate(counts)
    assert truth.plain.sum() / truth.gmv_per_visit.sum() < 0.77
    assert abs(values.providers.matured.sum() / truth.gmv_per_visit.sum() - 1) < 0.03
    assert abs(values.providers.mean.sum() / truth.value.sum() - 1) < 0.03
    assert abs(values.segments.matured[0] / (truth.gmv_per_visit * truth.visits).sum() * truth.visits.sum() - 1) < 0.03
    assert 10 <= values.delay.median_days[0] <= 14


def test_a_click_is_worth_one_for_certain() -> None:
    # Every order earns 1 by the recipe: a visit is worth its rate of clicks, and nothing else makes it uncertain.
    counts = shops([1000.0, 1000.0, 40.0], [4.0, 9.0, 0.0], amount=1.0)
    known, guessed = (estimate(counts, Settings(unit_reward=unit)) for unit in (True, False))
    for figures in (known.providers, known.pairs, known.segments):
        np.testing.assert_array_equal(figures.order_value, 1.0)
        np.testing.assert_allclose(figures.mean, figures.conversion, rtol=1e-12)
    np.testing.assert_array_equal(known.providers.conversion, guessed.providers.conversion)
    assert (known.providers.sd < guessed.providers.sd).all()


def test_refunds_come_off() -> None:
    # A fifth of orders is refunded, within days; the youngest refunds are still to come.
    world = World(
        sizes=(6,), median_delay=(0.5,), refund_share=(0.2,), refund_days=6, daily_visits=(800, 800), drift_sd=0.0,
        newcomer_share=0.0, log_days=30, window_days=30,
    )  # fmt: skip
    counts, truth = draw(world, np.random.default_rng(4))
    values = estimate(counts)
    plain = counts.refund_amount.sum() / counts.amount.sum()
    owed = 1 - (truth.value * truth.keep).sum() / truth.value.sum()
    found = (truth.value * values.providers.refund_share).sum() / truth.value.sum()
    assert plain < 0.9 * owed
    assert abs(found - owed) < 0.02


def test_a_slow_refund_in_a_long_log() -> None:
    # 200 days of 100 visits and 10 orders; one order of every day is refunded 90 days later, so the true share is
    # a tenth, and refunds seen are only those of the 111 oldest days.
    days = 201
    age = np.arange(days)
    zero = np.zeros(days, dtype=np.int64)
    old = age[age >= 90]
    counts = replace(
        shops([1], [1]), visit_pair=zero, visit_age=age, visits=np.full(days, 100.0), order_pair=zero, order_age=age,
        order_delay=zero, orders=np.full(days, 10.0), amount=np.full(days, 500.0), amount_sq=np.full(days, 25_000.0),
        refund_pair=zero[: old.size], refund_visit_age=old, refund_order_age=old,
        refund_delay=np.full(old.size, 90), refunds=np.ones(old.size), refund_amount=np.full(old.size, 50.0),
        log_days=days - 1,
    )  # fmt: skip
    values = estimate(counts)
    assert values.refund_delay.median_days[0] == 90
    np.testing.assert_allclose(values.providers.refund_share, 0.1, atol=0.025)
    np.testing.assert_allclose(values.providers.mean, 4.5, rtol=0.05)


def test_sparse_pairs_fall_back_to_provider_times_segment() -> None:
    # Segment 1 converts twice as well at four providers; the fifth was seen in segment 0 only.
    rate = np.array([0.02, 0.03, 0.04, 0.05, 0.03])
    pair_segment, pair_provider = np.tile([0, 1], 5), np.repeat(np.arange(5), 2)
    visits = np.full(10, 20_000.0)
    visits[9] = 0.0
    orders = visits * rate[pair_provider] * np.where(pair_segment == 1, 2.0, 1.0)
    counts = replace(
        shops([1] * 10, list(orders), amount=10.0), n_segments=2, provider_category=np.zeros(5, dtype=np.int64),
        pair_segment=pair_segment, pair_provider=pair_provider, visits=visits,
    )  # fmt: skip
    pairs = estimate(counts).pairs
    np.testing.assert_allclose(pairs.conversion[:9], (orders / np.maximum(visits, 1))[:9], rtol=0.05)
    assert 0.045 < pairs.conversion[9] < 0.075
    assert pairs.sd[9] > 3 * pairs.sd[8]
    assert (pairs.high - pairs.low)[9] > 3 * (pairs.high - pairs.low)[8]


def test_large_logs_take_seconds() -> None:
    rng = np.random.default_rng(0)
    providers, segments, days = 5000, 40, 8
    pairs = providers * segments
    size = np.exp(rng.normal(-1, 1.5, pairs))
    visits = rng.poisson(size[None], (days, pairs))
    age, pair = np.nonzero(visits)
    number = visits[age, pair].astype(float)
    orders = rng.poisson(0.04 * number).astype(float)
    some = np.flatnonzero(orders)
    counts = replace(
        shops([1], [1]), n_segments=segments, n_categories=50, provider_category=np.arange(providers) % 50,
        pair_segment=np.tile(np.arange(segments), providers), pair_provider=np.repeat(np.arange(providers), segments),
        visit_pair=pair, visit_age=age, visits=number, order_pair=pair[some], order_age=age[some],
        order_delay=np.zeros(some.size, dtype=np.int64), orders=orders[some], amount=50 * orders[some],
        amount_sq=2500 * orders[some], log_days=days - 1,
    )  # fmt: skip
    values = estimate(counts)
    assert values.pairs.mean.shape == (pairs,)
    all_sound(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order_delay": np.array([1, 0])}, r"counts.order_delay\[0\] = 1, must be from 0 to 0"),
        ({"visit_age": np.array([0, 3])}, r"counts.visit_age\[1\] = 3, must be from 0 to 0"),
        ({"visits": np.array([1.0, -2.0])}, r"counts.visits\[1\] = -2.0"),
        ({"visits": np.array([1.0, np.nan])}, r"counts.visits\[1\] = nan"),
        ({"orders": np.array([1.0])}, r"counts.orders has shape \(1,\), but counts.order_pair has 2 rows"),
        ({"provider_category": np.array([0, 1])}, r"counts.provider_category\[1\] = 1, must be from 0 to 0"),
        ({"log_days": -1}, "log_days = -1"),
    ],
)
def test_wrong_counts_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        estimate(replace(shops([100, 100], [5, 8]), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"half_life_days": 0.0}, {"cv_median": -1.0}, {"interval": 1.0}])
def test_wrong_settings_are_named(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        Settings(**change)


def rows_of(name: str) -> list[dict[str, str]]:
    with gzip.open(DATA / name, "rt", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data/google-merchandise-store")
def test_google_merchandise_store() -> None:
    # Display: 172 visits, 4 orders, 32.09 a visit plainly, above Referral's 24.86 of 4,542 visits.
    day = [date.fromisoformat(row["started_at"][:10]) for row in rows_of("visits.csv.gz")]
    last = max(day)
    channels = sorted({row["channel"] for row in rows_of("visits.csv.gz")})
    seen: dict[str, tuple[int, int]] = {}
    for row, d in zip(rows_of("visits.csv.gz"), day, strict=True):
        seen.setdefault(row["visit_id"], (channels.index(row["channel"]), (last - d).days))
    orders = [(*seen[r["visit_id"]], float(r["amount"])) for r in rows_of("orders.csv.gz") if r["visit_id"] in seen]
    visit_pair, visit_age = (np.array(x) for x in zip(*seen.values(), strict=True))
    order_pair, order_age, amount = (np.array(x) for x in zip(*orders, strict=True))
    n = len(channels)
    counts = replace(
        shops([0] * n, [0] * n), visit_pair=visit_pair, visit_age=visit_age, visits=np.ones(visit_pair.size),
        order_pair=order_pair, order_age=order_age, order_delay=np.zeros(order_pair.size, dtype=np.int64),
        orders=np.ones(order_pair.size), amount=amount, amount_sq=amount**2,
        log_days=(last - min(day)).days, window_days=0,
    )  # fmt: skip
    figures = estimate(counts).providers
    display, referral = channels.index("Display"), channels.index("Referral")
    np.testing.assert_allclose(figures.matured[[display, referral]], [32.09, 24.86], atol=0.01)
    assert figures.mean[display] < 22
    assert figures.high[display] / figures.low[display] > 4
    assert figures.mean[referral] > figures.mean[display]
    sound(figures)
