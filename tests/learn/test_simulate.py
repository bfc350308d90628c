"""The simulated marketplace: its log keeps the rules, and its truth is what a slow count of the log finds."""

import time
import tracemalloc
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from footfall.errors import ConfigError, InputError, ProblemError
from footfall.learn.events import event_schema
from footfall.learn.journeys import Outcomes, draw_outcomes
from footfall.learn.simulate import CATEGORIES, Fall, Market, MarketSettings, expected_reward
from footfall.learn.world import World, delay_probabilities, return_probabilities

SMALL = MarketSettings(shops=12, days=24, visitors=24_000, seed=5, channels=("search", "feed"), window_days=12)
START = datetime(2026, 9, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
Row = dict[str, Any]
# many orders of much the same amount: a slow count of a small log then says much about the truth
BUSY = tuple(replace(c, conversion=min(4 * c.conversion, 0.4), order_log_sd=0.2) for c in CATEGORIES)


@cache
def small() -> tuple[Market, pa.Table]:
    market = Market(SMALL)
    return market, pa.concat_tables(list(market.run()))


def rows_of(log: pa.Table) -> list[Row]:
    """Rows of a log, ``ts`` as microseconds and ``day`` as a date."""
    columns = {name: log[name] for name in log.column_names if name not in ("device", "country", "item_id")}
    columns["ts"] = log["ts"].cast(pa.int64())
    columns["day"] = day_of(log)
    return pa.table(columns).to_pylist()


def day_of(log: pa.Table) -> pa.ChunkedArray:
    """Day of UTC of each event."""
    return log["ts"].cast(pa.timestamp("us")).cast(pa.timestamp("s"), safe=False).cast(pa.date32(), safe=False)


def genuine(market: Market, log: pa.Table) -> pa.Table:
    """The log without the fake orders."""
    fakes = pa.array(market.fake_visitor_ids(), pa.string())
    return log.filter(pc.invert(pc.is_in(log["visitor_id"], fakes)))


# ---------------------------------------------------------------- the log


def test_same_settings_give_the_same_log() -> None:
    again = pa.concat_tables(list(Market(SMALL).run()))
    other = pa.concat_tables(list(Market(replace(SMALL, seed=6)).run()))
    assert small()[1].equals(again)
    assert not small()[1].equals(other)


def test_events_are_sorted_unique_and_typed() -> None:
    market, log = small()
    assert log.schema == event_schema()
    ts = log["ts"].cast(pa.int64()).to_numpy()
    assert (np.diff(ts) >= 0).all()
    assert len(pc.unique(log["message_id"])) == len(log)
    assert log["ts"][0].as_py() >= START
    assert log["ts"][-1].as_py() < START + timedelta(days=SMALL.days)
    assert set(log["provider_id"].unique().to_pylist()) == set(market.provider_ids)
    with_gaps = {name for name in log.column_names if log[name].null_count}
    assert with_gaps == {"item_id", "order_id", "amount", "currency"}


def test_each_day_holds_its_own_events() -> None:
    market = Market(SMALL)
    for day, events in enumerate(market.run()):
        assert day_of(events).unique().to_pylist() == [SMALL.start_day + timedelta(days=day)]


def test_visits_are_as_many_as_asked_for() -> None:
    market, log = small()
    log = genuine(market, log)
    log = log.append_column("day", day_of(log)).filter(pc.not_equal(log["name"], "refund"))
    visits = log.group_by(["visitor_id", "provider_id", "day"]).aggregate([])
    expected = sum(market.expected_visits(day).sum() for day in range(SMALL.days))
    assert expected == pytest.approx(SMALL.visitors, rel=1e-9)
    # visits of one journey go together, so the variance is above Poisson's; by at most the visits per journey
    assert abs(len(visits) - expected) < 4 * np.sqrt(2.2 * expected)


def test_purchase_follows_a_visit_on_its_day_and_refund_its_purchase() -> None:
    _, log = small()
    opened: dict[tuple[str, str, date], int] = {}
    bought: dict[str, Row] = {}
    refunds = 0
    for e in rows_of(log):
        key = (e["visitor_id"], e["provider_id"], e["day"])
        if e["name"] == "page_view":
            opened.setdefault(key, e["ts"])
        elif e["name"] == "purchase":
            assert opened[key] < e["ts"]
            assert e["order_id"] not in bought
            assert e["amount"] > 0
            assert e["currency"] == "CNY"
            bought[e["order_id"]] = e
        elif e["name"] == "refund":
            purchase = bought.pop(e["order_id"])  # popped: a second refund of an order would fail
            same = ("visitor_id", "provider_id", "amount", "currency", "channel")
            assert all(e[c] == purchase[c] for c in same)
            assert 1 <= (e["day"] - purchase["day"]).days <= 14
            refunds += 1
        if e["name"] not in ("purchase", "refund"):
            assert (e["amount"], e["order_id"], e["currency"]) == (None, None, None)
    assert refunds > 20


def test_a_visit_has_several_events_and_a_visitor_one_device() -> None:
    _, log = small()
    devices = log.group_by("visitor_id").aggregate([("device", "count_distinct"), ("country", "count_distinct")])
    assert pc.max(devices["device_count_distinct"]).as_py() == 1
    assert pc.max(devices["country_count_distinct"]).as_py() == 1
    assert 1.5 < len(log) / SMALL.visitors < 3.5


def test_newcomers_open_in_the_last_third() -> None:
    market = Market(replace(SMALL, shops=50, newcomer_share=0.08))
    log = pa.concat_tables(list(market.run()))
    first = log.group_by("provider_id").aggregate([("ts", "min")])
    seen = {r["provider_id"]: r["ts_min"].date() for r in first.to_pylist()}
    providers = market.providers().to_pylist()
    newcomers = [p for p in providers if p["first_day"] > SMALL.start_day]
    assert len(newcomers) == 4  # 8 % of 50
    for p in newcomers:
        assert p["first_day"] >= SMALL.start_day + timedelta(days=16)  # 2/3 of 24
        assert seen[p["provider_id"]] >= p["first_day"]
    assert sum(p["provider_id"] in seen for p in newcomers) >= 3  # small shops, but there


def test_fake_shop_is_flagged_and_fakes() -> None:
    market, log = small()
    flagged = [p["provider_id"] for p in market.providers().to_pylist() if p["fakes"]]
    assert len(flagged) == 1
    fakes = log.filter(pc.is_in(log["visitor_id"], pa.array(market.fake_visitor_ids())))
    assert fakes["provider_id"].unique().to_pylist() == flagged
    orders = fakes.filter(pc.equal(fakes["name"], "purchase"))
    assert len(orders) >= 24 * SMALL.days
    assert len(orders["visitor_id"].unique()) == 12
    assert len(orders["amount"].unique()) == 1
    truth = {r["provider_id"]: r["fakes"] for r in market.truth(3).to_pylist()}
    assert [p for p, fake in truth.items() if fake] == flagged


def test_customers_come_again() -> None:
    _, log = small()
    orders = log.filter(pc.and_(pc.equal(log["name"], "purchase"), pc.equal(log["category"], "snacks")))
    each = orders.group_by(["visitor_id", "provider_id"]).aggregate([("order_id", "count")])
    assert pc.sum(pc.greater(each["order_id_count"], 1)).as_py() > 10


def test_currency_without_minor_units() -> None:
    market = Market(replace(SMALL, currency="JPY", currency_exponent=0))
    log = pa.concat_tables(list(market.run()))
    assert log.schema == event_schema(0)
    amounts = [a for a in log["amount"].to_pylist() if a is not None]
    assert amounts
    assert all(a == a.to_integral_value() and a >= 1 for a in amounts)


def test_amounts_have_cents() -> None:
    _, log = small()
    amounts = [a for a in log["amount"].to_pylist() if a is not None]
    assert all(a.as_tuple().exponent == -2 for a in amounts)
    assert len({a % Decimal(1) for a in amounts}) > 50


def test_tiny_markets_run() -> None:
    for shops, days, window in ((1, 1, 1), (2, 2, 30), (5, 3, 1)):
        market = Market(MarketSettings(shops=shops, days=days, visitors=50, window_days=window))
        log = pa.concat_tables(list(market.run()))
        assert len(log) > 0
        expected = sum(market.expected_visits(day).sum() for day in range(days))
        assert expected == pytest.approx(50)


# ---------------------------------------------------------------- the truth


def test_delay_and_return_probabilities_by_hand() -> None:
    for category in CATEGORIES:
        delay = delay_probabilities(category, 30)
        assert delay.sum() == pytest.approx(1.0)
        assert delay[0] == pytest.approx(category.same_day)
        assert return_probabilities(category, 30).sum() == pytest.approx(category.returns)
    furniture = np.cumsum(delay_probabilities(CATEGORIES[3], 30))
    assert 9 <= int(np.searchsorted(furniture, 0.5)) <= 12  # weeks for a sofa
    assert furniture[20] < 0.95
    assert delay_probabilities(CATEGORIES[0], 1).tolist() == [1.0]


def test_visits_per_journey_agrees_with_the_sum_over_delays() -> None:
    """Oracle: the definition, summed over each possible delay by itself, without the linear form."""
    world = World(SMALL)
    p = world.conversion(3)
    for j in range(SMALL.shops):
        rho, delay = world.returns[world.category[j]], world.delay[world.category[j]]
        buyer = sum(delay[d] * (1 + rho[1:d].sum() + (d > 0)) for d in range(SMALL.window_days))
        expected = (1 - p[:, j]) * (1 + rho.sum()) + p[:, j] * buyer
        assert world.visits_per_journey(3)[:, j] == pytest.approx(expected)
        by_day = sum(world.visits_at(o, 3)[:, j] for o in range(SMALL.window_days))
        assert by_day == pytest.approx(expected)


def attributed(events: list[Row], window_days: int) -> tuple[Row, Row, Row]:
    """Visits, orders and net money of (channel, provider, day of visit), by the rule, one event at a time.

    A purchase belongs to the first visit there within the window before it and after the last purchase.
    """
    visits: dict[Any, int] = defaultdict(int)
    orders: dict[Any, int] = defaultdict(int)
    money: dict[Any, Decimal] = defaultdict(Decimal)
    starts: dict[Any, list[tuple[int, Any]]] = defaultdict(list)
    seen, owner = set(), {}
    for e in events:
        who = (e["visitor_id"], e["provider_id"])
        cell = (e["channel"], e["provider_id"], e["day"])
        if e["name"] == "refund":
            money[owner[e["order_id"]]] -= e["amount"]
            continue
        if (*who, e["day"]) not in seen:
            seen.add((*who, e["day"]))
            visits[cell] += 1
            starts[who].append((e["ts"], cell))
        if e["name"] == "purchase":
            inside = [c for at, c in starts[who] if at >= e["ts"] - window_days * DAY_US]
            owner[e["order_id"]] = inside[0]
            orders[inside[0]] += 1
            money[inside[0]] += e["amount"]
            starts[who] = []
    return visits, orders, money


def count_log(market: Market, last: int) -> dict[str, np.ndarray]:
    """Counted and expected visits, orders and money of each pair, for visits of the days 0 .. last."""
    log = genuine(market, pa.concat_tables(list(market.run())))
    visits, orders, money = attributed(rows_of(log), market.settings.window_days)
    sums: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(9))
    log_sd = {c.name: c.order_log_sd for c in market.settings.categories}
    spread = {c.name: ((1 + c.returns) ** 2 + c.returns) / (1 + c.returns) for c in market.settings.categories}
    for day in range(last + 1):
        for r in market.truth(day).to_pylist():
            cell = (r["channel"], r["provider_id"], market.settings.start_day + timedelta(days=day))
            paid = r["visits"] * r["conversion"]
            kept = paid * (1 - r["refund_share"])
            square = kept * r["order_value"] ** 2 * np.exp(log_sd[r["category"]] ** 2)
            earned = r["visits"] * r["true_value"], r["new_journeys"] * r["journey_value"]
            found = visits[cell], orders[cell], float(money[cell])
            sums[cell[:2]] += (*found, r["visits"], paid, *earned, square, 0.0)
            sums[cell[:2]][-1] = spread[r["category"]]
    names = "visits orders money true_visits true_orders true_money by_journey variance dispersion"
    return dict(zip(names.split(), np.array(list(sums.values())).T, strict=True))


def check_against_count(counted: dict[str, np.ndarray]) -> None:
    """The z-scores of each figure sum to 0 within 4 standard errors; their mean square is about 1 at most.

    Orders are Poisson, money is compound Poisson. Visits of one journey go together: with R return visits,
    each by chance, their variance is at most ((1 + R)^2 + R) / (1 + R) times Poisson's.
    """
    assert counted["true_money"] == pytest.approx(counted["by_journey"])
    for name, variance in (
        ("orders", counted["true_orders"]),
        ("money", counted["variance"]),
        ("visits", counted["dispersion"] * counted["true_visits"]),
    ):
        z = (counted[name] - counted["true_" + name]) / np.sqrt(variance)
        n = len(z)
        assert abs(z.sum()) < 4 * np.sqrt(n), name
        assert (z**2).mean() < 1 + 4 * np.sqrt(3 / n), name
        assert abs((counted[name] - counted["true_" + name]).sum()) < 4 * np.sqrt(variance.sum()), name


def test_truth_is_what_a_slow_count_of_the_log_finds() -> None:
    """Oracle: an event-by-event loop over a log followed for 25 days more (orders 11 days, refunds 14)."""
    settings = replace(SMALL, days=51, visitors=110_000, newcomer_share=0.2, seed=11, categories=BUSY)
    check_against_count(count_log(Market(settings), 25))


def test_the_rule_finds_the_journey_of_every_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: what was drawn, order by order, also for customers who come again to the same shop."""
    market = Market(SMALL)
    drawn: dict[Any, int] = defaultdict(int)

    def spy(rng: np.random.Generator, world: World, day: int, cell: np.ndarray) -> Outcomes:
        out = draw_outcomes(rng, world, day, cell)
        for c in cell[(out.delay >= 0) & (day + out.delay < SMALL.days)]:
            channel, provider = SMALL.channels[c // SMALL.shops], world.provider_ids[c % SMALL.shops]
            drawn[channel, provider, SMALL.start_day + timedelta(days=day)] += 1
        return out

    monkeypatch.setattr("footfall.learn.simulate.draw_outcomes", spy)
    log = genuine(market, pa.concat_tables(list(market.run())))
    _, orders, _ = attributed(rows_of(log), SMALL.window_days)
    assert {cell: n for cell, n in orders.items() if n} == drawn


@pytest.mark.slow
def test_truth_of_many_markets() -> None:
    for seed, categories in ((0, CATEGORIES), (1, BUSY), (2, BUSY)):
        settings = MarketSettings(shops=40, days=90, visitors=400_000, seed=seed, drift_sd=0.03, categories=categories)
        check_against_count(count_log(Market(settings), 46))


def test_truth_adds_up() -> None:
    market, _ = small()
    truth = market.truth(20)
    t = {name: np.asarray(truth[name].to_pylist()) for name in truth.column_names}
    assert t["true_value"] == pytest.approx(t["conversion"] * t["order_value"] * (1 - t["refund_share"]))
    assert t["steady_value"] == pytest.approx(t["journey_value"] / t["visits_per_journey"])
    assert t["true_value"] * t["visits"] == pytest.approx(t["journey_value"] * t["new_journeys"])
    opening = {p["provider_id"]: p["first_day"] for p in market.providers().to_pylist()}
    old = np.array([opening[p] == SMALL.start_day for p in t["provider_id"]])
    assert t["true_value"][old] == pytest.approx(t["steady_value"][old], rel=0.35)  # weekdays, drift
    assert set(t["segment"]) == set(market.segments)


def test_equal_values_are_equal() -> None:
    market = Market(replace(SMALL, equal_values=True, newcomer_share=0.0))
    for day in (0, 11, 23):
        truth = market.truth(day).to_pylist()
        by_segment = defaultdict(list)
        for r in truth:
            by_segment[r["segment"]].append((r["true_value"], r["journey_value"], r["steady_value"]))
        for values in by_segment.values():
            assert np.ptp(np.array(values), axis=0) == pytest.approx([0, 0, 0], abs=1e-9)
    assert market.fake_visitor_ids() == ()


def test_fall_goes_from_six_to_three_per_cent() -> None:
    """By hand: half the way down the line is 4.5 %."""
    settings = replace(SMALL, fall=Fall("shop-002", 4, 10), visitors=120_000, days=30)
    market = Market(settings)
    rate = {
        day: {r["journey_conversion"] for r in market.truth(day).to_pylist() if r["provider_id"] == "shop-002"}
        for day in (0, 4, 7, 10, 20)
    }
    assert [next(iter(rate[d])) for d in (0, 4, 7, 10, 20)] == pytest.approx([0.06, 0.06, 0.045, 0.03, 0.03])
    assert all(len(x) == 1 for x in rate.values())
    whole = Market(replace(settings, fall=Fall("furniture", 4, 10)))
    sofas = [r for r in whole.truth(10).to_pylist() if r["category"] == "furniture"]
    assert [r["journey_conversion"] for r in sofas] == pytest.approx([0.03] * len(sofas))


def test_rates_move_and_do_not_depend_on_shares() -> None:
    market = Market(SMALL)
    pushed = Market(SMALL)
    shares = market.initial_shares(0)
    shares[0] = 0.0
    pushed.step(0, shares)
    assert (market.journey_value(5) == pushed.journey_value(5)).all()
    assert not np.allclose(market.journey_value(5), market.journey_value(20))


# ---------------------------------------------------------------- the closed loop


def one_shop(market: Market, day: int, segment: int, provider: int) -> np.ndarray:
    shares = market.initial_shares(day)
    shares[segment] = 0.0
    shares[segment, provider] = 1.0
    return shares


def test_shares_send_new_journeys_and_the_past_follows_by_itself() -> None:
    market = Market(replace(SMALL, visitors=60_000, fakes=0))
    s = market.segments.index("search | furniture")
    j = int(np.flatnonzero(market.eligible(0)[s])[0])
    for day in range(16):
        market.step(day)
    events = pa.concat_tables([market.step(day, one_shop(market, day, s, j)) for day in (16, 17)])
    mask = pc.and_(pc.equal(events["channel"], "search"), pc.equal(events["category"], "furniture"))
    there = events.filter(mask)
    by_shop = {r["values"]: r["counts"] for r in there["provider_id"].value_counts().to_pylist()}
    others = [n for p, n in by_shop.items() if p != market.provider_ids[j]]
    assert others and sum(others) < by_shop[market.provider_ids[j]]
    truth = {r["provider_id"]: r for r in market.truth(17).to_pylist() if r["segment"] == "search | furniture"}
    assert truth[market.provider_ids[j]]["new_journeys"] == pytest.approx(market.demand(17)[s])
    for provider, r in truth.items():
        if provider != market.provider_ids[j]:
            assert r["new_journeys"] == 0 and r["true_value"] == 0 and r["visits"] > 0
            assert r["journey_value"] > 0


def test_truth_of_a_closed_loop_is_what_a_slow_count_finds() -> None:
    settings = replace(SMALL, days=44, visitors=30_000, seed=3, fakes=0, categories=BUSY)

    class Pushed(Market):
        def run(self):  # type: ignore[no-untyped-def]
            for day in range(settings.days):
                tilted = self.initial_shares(day) * (1 + np.arange(settings.shops) * (day % 3))
                yield self.step(day, 0.9 * tilted / tilted.sum(1, keepdims=True))

    market = Pushed(settings)
    check_against_count(count_log(market, 18))


def test_shares_by_name_are_those_by_place() -> None:
    by_place, by_name = Market(SMALL), Market(SMALL)
    shares = by_place.initial_shares(0)
    named = {(by_name.segments[s], by_name.provider_ids[j]): shares[s, j] for s, j in np.argwhere(shares > 0)}
    assert by_place.step(0, shares).equals(by_name.step(0, named))


def test_expected_reward_is_demand_times_value() -> None:
    market = Market(SMALL)
    shares = market.initial_shares(2)
    journeys = market.demand(2)[:, None] * shares
    by_hand = sum(r["new_journeys"] * r["journey_value"] for r in market.truth(2).to_pylist())
    assert expected_reward(market, 2, journeys) == pytest.approx(by_hand)
    best = np.zeros_like(journeys)
    best[np.arange(len(best)), market.journey_value(2).argmax(1)] = market.demand(2)
    assert expected_reward(market, 2, best) > expected_reward(market, 2, journeys)


def test_what_cannot_be_sent_is_refused() -> None:
    market = Market(SMALL)
    good = market.initial_shares(0)
    with pytest.raises(ProblemError, match="shape"):
        market.step(0, good[:, :3])
    with pytest.raises(ProblemError, match="negative"):
        market.step(0, -good)
    with pytest.raises(ProblemError, match="above 1"):
        market.step(0, 1.1 * good)
    with pytest.raises(ProblemError, match="another category"):
        market.step(0, np.full_like(good, 1e-3))
    with pytest.raises(ProblemError, match="nowhere"):
        market.step(0, {("nowhere", "shop-001"): 1.0})
    with pytest.raises(InputError, match="next is day 0"):
        market.step(1)
    with pytest.raises(InputError, match="not in the log"):
        market.truth(SMALL.days)
    with pytest.raises(ProblemError, match="another category"):
        expected_reward(market, 0, np.ones_like(good))
    assert len(market.step(0, good)) > 0  # a refusal changes nothing


@pytest.mark.parametrize(
    "bad",
    [
        {"shops": 0},
        {"days": 0},
        {"visitors": 0},
        {"seed": -1},
        {"window_days": 0},
        {"channels": ()},
        {"channels": ("a", "a")},
        {"drift_sd": 0.9},
        {"shops": 3, "fakes": 4},
    ],
)
def test_settings_out_of_range_are_refused(bad: Row) -> None:
    with pytest.raises(ConfigError, match=next(reversed(bad))):
        MarketSettings(**bad)


def test_fall_of_an_unknown_shop_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody"):
        Market(replace(SMALL, fall=Fall("nobody", 1, 2)))
    with pytest.raises(ConfigError, match="not after"):
        Fall("shop-001", 5, 5)
    with pytest.raises(ConfigError, match="refund_share"):
        replace(CATEGORIES[0], refund_share=0.9)


# ---------------------------------------------------------------- size


def test_a_longer_log_needs_no_more_memory() -> None:
    def peak(days: int) -> int:
        market = Market(replace(SMALL, days=days, visitors=1_000 * days))
        tracemalloc.start()
        for _ in market.run():
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(72) < 1.5 * peak(24)


@pytest.mark.slow
def test_speed() -> None:
    """A million events in 5 s; a day of 60 segments x 120 shops with 20 000 journeys in 0.3 s."""
    start = time.perf_counter()
    events = sum(len(t) for t in Market(MarketSettings(visitors=500_000)).run())
    assert (time.perf_counter() - start) * 1e6 / events < 5
    channels = tuple(f"channel-{i}" for i in range(15))
    market = Market(MarketSettings(shops=120, days=60, visitors=60 * 30_000, channels=channels))
    assert len(market.segments) == 60
    market.step(0)
    start = time.perf_counter()
    for day in range(1, 30):
        market.step(day, market.initial_shares(day))
        market.truth(day)
    assert (time.perf_counter() - start) / 29 < 0.3
