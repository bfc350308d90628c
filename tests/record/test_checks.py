"""Data checks: each finds what it looks for, counts it by hand-made logs, and keeps quiet on a clean one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from small_lake import NOW, TableStore, commit, event, from_market, lake_of, small_engine

from footfall.config import CheckSettings, Config, ValueSettings
from footfall.errors import InputError
from footfall.learn.simulate import Market, MarketSettings
from footfall.model import EVENT_COLUMNS, Finding, Recipe
from footfall.ports import Store
from footfall.record.checks import check, profile
from footfall.record.days import day_findings
from footfall.record.fakes import fake_findings, suspects
from footfall.record.queries import STORE, Queries
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.value.facts import rules_of
from footfall.value.refunds import fates


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckEngine]:
    engine = small_engine(tmp_path)
    yield engine
    engine.close()


def clean_log() -> list[dict[str, Any]]:
    """Twenty days, three visits each, one order a day with a visit before it, one refund."""
    rows = []
    for i in range(20):
        day = f"2024-05-{i + 1:02d}"
        for v in range(3):
            rows.append(event(f"{day}T10:0{v}:00", visitor=f"d{i}v{v}", channel="web"))
        rows.append(
            event(f"{day}T10:30", "purchase", f"d{i}v0", order_id=f"o{i}", amount_minor=1000 + i, channel="web")
        )
    rows.append(event("2024-05-20T11:00:00", "refund", "d1v0", order_id="o1", amount_minor=1001))
    return rows


def run(
    engine: DuckEngine, rows: Sequence[Mapping[str, Any]], config: Config | None = None, **more: Any
) -> dict[str, Finding]:
    store = cast("Store", TableStore(rows))
    findings = check(engine, store, config or Config(), NOW, more.pop("providers", None), **more)
    assert len({f.check for f in findings}) == len(findings)
    assert all(len(f.where) <= 5 for f in findings)
    msgspec.json.encode(findings)
    return {f.check: f for f in findings}


def test_a_clean_log_gives_no_complaints(engine: DuckEngine) -> None:
    found = run(engine, clean_log(), providers={"s1"}, quarantined={})
    assert {name: f for name, f in found.items() if f.level != "ok"} == {}
    assert found["events"].count == 81 and found["orders"].count == 20
    assert len(found) == 18


def test_profile_counts(tmp_path: Path, engine: DuckEngine) -> None:
    lake_of(tmp_path / "lake", clean_log()).attach(engine)
    tables = profile(engine)
    assert list(tables) == ["name", "source", "day"]
    assert tables["name"].select(["name", "events", "visitors"]).to_pylist() == [
        {"name": "page_view", "events": 60, "visitors": 60},
        {"name": "purchase", "events": 20, "visitors": 20},
        {"name": "refund", "events": 1, "visitors": 1},
    ]
    assert tables["source"].to_pylist() == [
        {
            "source": "test",
            "events": 81,
            "visitors": 60,
            "first_day": date(2024, 5, 1),
            "last_day": date(2024, 5, 20),
        }
    ]
    last = tables["day"].to_pylist()[-1]
    assert last == {"day": date(2024, 5, 20), "events": 5, "visitors": 4, "orders": 1}
    assert {f.type for f in tables["day"].schema} == {pa.date32(), pa.int64()}


def test_an_empty_log(engine: DuckEngine) -> None:
    found = run(engine, [])
    assert found["events"].level == "error" and "import" in found["events"].way_out
    assert profile(engine)["day"].num_rows == 0


def test_now_needs_a_zone(tmp_path: Path, engine: DuckEngine) -> None:
    with pytest.raises(InputError, match="zone"):
        check(engine, Lake(tmp_path / "lake"), Config(), datetime(2024, 6, 1), None)


def test_no_orders(engine: DuckEngine) -> None:
    found = run(engine, [r for r in clean_log() if r["name"] == "page_view"])
    assert found["orders"].level == "error" and "purchase" in found["orders"].message


def test_repeated_message_ids(engine: DuckEngine) -> None:
    rows = clean_log()
    rows[0]["message_id"] = rows[70]["message_id"] = "twice"
    finding = run(engine, rows)["repeated ids"]
    assert (finding.level, finding.count) == ("warning", 1)
    assert finding.where == ("twice: 2 times, 2024-05-01 to 2024-05-18",)


def test_repeated_orders(engine: DuckEngine) -> None:
    rows = clean_log()
    rows += [event("2024-05-02T12:00:00", "purchase", "d1v0", order_id=f"o{i}", amount_minor=1) for i in (1, 2)]
    # The same order at another provider is a basket that was split, and no repetition.
    rows += [event("2024-05-03T12:00:00", "purchase", "d2v0", "s2", order_id="o3", amount_minor=1)]
    finding = run(engine, rows)["repeated orders"]
    assert (finding.level, finding.count) == ("warning", 2)
    assert finding.where == ("o1 at s1: 2 times", "o2 at s1: 2 times")


def test_an_order_with_a_row_for_each_item_is_told_apart(engine: DuckEngine) -> None:
    rows = clean_log()
    rows += [
        event("2024-05-02T12:00:00", "purchase", "d1v0", order_id="lines", item_id=f"i{k}", amount_minor=1)
        for k in range(3)
    ]
    finding = run(engine, rows)["order lines"]
    assert (finding.level, finding.count, finding.where) == ("note", 1, ("lines at s1: 3 times",))


def test_orders_without_a_visit(engine: DuckEngine) -> None:
    rows = clean_log()
    rows += [
        event("2024-05-05T12:00:00", "purchase", "nobody", order_id="p1", message_id="no visit"),
        event("2024-05-05T12:00:00", "purchase", "d3v0", "s2", order_id="p2", message_id="elsewhere"),
        event("2024-05-05T12:00:00", "purchase", "d9v1", order_id="p3", message_id="visit is later"),
        event("2024-05-20T12:00:00", "purchase", "d0v1", order_id="p4", message_id="visit too old"),
        # By user: the visit was made on another device.
        event("2024-05-05T09:00:00", visitor="phone", user_id="u1"),
        event("2024-05-05T12:00:00", "purchase", "desk", user_id="u1", order_id="p5", amount_minor=1),
    ]
    config = Config(value=ValueSettings(window_days=14))
    finding = run(engine, rows, config)["orders with visits"]
    assert (finding.level, finding.count) == ("warning", 4)
    named = {w.split(" on ")[0] for w in finding.where}
    assert named == {"no visit", "elsewhere", "visit is later", "visit too old"}
    assert "4 of 25 orders" in finding.message


def test_amounts(engine: DuckEngine) -> None:
    rows = clean_log()
    for amount in (-5, 0, 0, None, 2_000_000):
        order = f"x{len(rows)}"
        rows.append(event("2024-05-01T11:00:00", "purchase", "d0v0", order_id=order, amount_minor=amount))
    found = run(engine, rows)
    assert {k: (f.level, f.count) for k, f in found.items() if "amount" in k} == {
        "negative amounts": ("error", 1),
        "absurd amounts": ("warning", 1),
        "missing amounts": ("warning", 1),
        "zero amounts": ("note", 2),
    }
    # Median of the 21 positive amounts 1000 .. 1019, 2000000 by hand: 1010.
    assert found["absurd amounts"].where == (f"m{len(rows) - 1} at s1: 1,980 times the median",)


def test_clicks_have_no_amounts(engine: DuckEngine) -> None:
    clicks = Recipe("clicks", ("impression",), ("click",), (), unit_reward=True)
    rows = [event(f"2024-05-0{d}T10:00:00", n) for d in (1, 2) for n in ("impression", "click")]
    found = run(engine, rows, recipe=clicks)
    assert found["orders"].count == 2
    assert not [k for k in found if "amount" in k or "faked" in k]
    assert found["refunds"].level == "ok"


def refunds_of(engine: DuckEngine, rows: Sequence[Mapping[str, Any]], config: Config) -> Finding:
    known = fates(cast("Store", TableStore(rows)), engine, rules_of(config))
    assert sum(f.refunds for f in known) == sum(r["name"] == "refund" for r in rows)
    return run(engine, rows, config, refunds=known)["refunds"]


def test_refunds_without_orders(engine: DuckEngine) -> None:
    rows = clean_log()
    rows += [
        event("2024-05-05T12:00:00", "refund", "d1v0", order_id="unheard of", amount_minor=1, message_id="r1"),
        event("2024-05-05T12:00:00", "refund", "d1v0", amount_minor=1, message_id="r2"),
    ]
    finding = refunds_of(engine, rows, Config())
    assert (finding.level, finding.count) == ("note", 2)
    assert finding.where == ("off the visitor's latest order there: 2 (0.02), as r1 (order unheard of), r2",)
    # The order of 10.01 was given back as a whole, and 0.02 more.
    assert finding.message.startswith("of 3 refunds (10.03), 3 (10.03) come off an order")
    assert finding.message.endswith("0 (0.00) count nowhere; 0.02 is beyond the amount of its order")


def test_refunds_that_count_nowhere_add_up_and_are_a_warning(engine: DuckEngine) -> None:
    # By hand: 10.01 named; left out 3.00 before the first order, 4.00 of nobody, 0.05 of no provider, 2.00 excluded.
    lost = [
        event("2024-05-02T09:00:00", "refund", "d1v0", amount_minor=300, message_id="early"),
        event("2024-05-05T12:00:00", "refund", None, order_id="unheard of", amount_minor=400, message_id="nobody"),
        event("2024-05-05T12:00:00", "refund", "d1v0", provider=None, amount_minor=5, message_id="nowhere"),
        event("2024-05-06T12:00:00", "refund", "d5v0", amount_minor=200, message_id="bot"),
    ]
    config = Config(value=ValueSettings(exclude_visitors=("d5v0",)))
    finding = refunds_of(engine, [*clean_log(), *lost], config)
    assert (finding.level, finding.count) == ("warning", 4)
    assert finding.message.startswith("of 5 refunds (19.06), 1 (10.01) come off an order")
    assert "0 of them the visitor's latest before" in finding.message
    assert "4 (9.05) count nowhere; 0.00 is beyond" in finding.message
    assert finding.where == (
        "no order of that visitor there before: 1 (3.00), as early",
        "no visitor, and no order of its order_id: 1 (4.00), as nobody (order unheard of)",
        "no provider, and no order of its order_id: 1 (0.05), as nowhere",
        "of excluded visitors: 1 (2.00), as bot",
    )
    few = refunds_of(engine, [*clean_log(), lost[2]], Config())
    assert (few.level, few.count) == ("note", 1)  # 0.05 of 10.06 is below a twentieth


def test_future_clocks(engine: DuckEngine) -> None:
    rows = [*clean_log(), event("2024-06-01T00:00:01"), event("2024-06-01T00:00:00")]
    finding = run(engine, rows)["clocks"]
    assert (finding.level, finding.count) == ("warning", 1)


def test_bots(engine: DuckEngine) -> None:
    rows = clean_log()
    rows += [event(f"2024-05-05T10:{i:02d}:00", visitor="bot") for i in range(31)]
    rows += [event(f"2024-05-05T{10 + i % 2}:{i:02d}:00", visitor="keen") for i in range(40)]
    config = Config(check=CheckSettings(bot_events_per_hour=30))
    finding = run(engine, rows, config)["bots"]
    assert (finding.level, finding.count) == ("warning", 1)
    assert finding.where == ("bot: up to 31 an hour, in 1 hours",)
    assert 'exclude_visitors = ["bot"]' in finding.way_out
    excluded = Config(check=config.check, value=ValueSettings(exclude_visitors=("bot",)))
    assert run(engine, rows, excluded)["bots"].level == "ok"


def test_unknown_providers(engine: DuckEngine) -> None:
    strangers = [event("2024-05-05T12:00:00", provider=p) for p in ("S1 ", "s3")]
    rows = clean_log() + strangers
    finding = run(engine, rows, providers={"s1": {}, "s9": {}})["providers known"]
    assert (finding.level, finding.count, finding.where) == ("warning", 2, ("S1 : 1 events", "s3: 1 events"))
    assert "providers known" not in run(engine, rows)


def test_nothing_names_its_provider(engine: DuckEngine) -> None:
    rows = [*clean_log(), event("2024-05-05T12:00:00", provider=None)]
    finding = run(engine, rows)["providers named"]
    assert (finding.level, finding.count, finding.where) == ("note", 1, ("page_view: 1 of 61",))


def test_empty_segment_columns(engine: DuckEngine) -> None:
    rows = clean_log()
    for i, row in enumerate(rows):
        row["device"] = "phone" if i % 3 == 0 else ("" if i % 3 == 1 else None)
    config = Config(value=ValueSettings(segment=("channel", "device", "country", "category")))
    found = run(engine, rows, config)
    assert found["segment column channel"].level == "ok"
    assert found["segment column device"].level == "note"
    assert (found["segment column country"].level, found["segment column country"].count) == ("warning", 60)
    assert found["segment column category"].level == "warning"
    with_file = run(engine, rows, config, providers={"s1"})
    assert with_file["segment column category"].level == "ok"


def test_rows_kept_aside(engine: DuckEngine) -> None:
    quarantined = {"currency EUR is not the workspace's USD": 3, "ts: no time": 4, "nothing": 0}
    found = run(engine, clean_log(), quarantined=quarantined)
    assert (found["currencies"].level, found["currencies"].count) == ("warning", 3)
    assert (found["kept aside"].count, found["kept aside"].where) == (4, ("ts: no time: 4",))


# ---------------------------------------------------------------- days


def days_of(counts: Sequence[int], start: date = date(2024, 4, 1)) -> list[dict[str, Any]]:
    return [{"day": start + timedelta(days=i), "events": n, "orders": 1} for i, n in enumerate(counts) if n]


def by_check(counts: Sequence[int]) -> dict[str, Finding]:
    return {f.check: f for f in day_findings(days_of(counts))}


def test_steady_days_with_noise_are_fine() -> None:
    counts = np.random.default_rng(1).poisson(400, 60).tolist()
    assert {f.level for f in by_check(counts).values()} == {"ok"}


def test_few_events_a_day_are_noise_and_no_finding() -> None:
    counts = (np.random.default_rng(2).poisson(2, 60) + 1).tolist()
    assert {f.level for f in by_check(counts).values()} == {"ok"}


def test_weekends_are_no_finding() -> None:
    counts = [(1000 if d % 7 < 5 else 200) for d in range(42)]
    assert {f.level for f in by_check(counts).values()} == {"ok"}


def test_a_fall_and_a_rise_stand_out() -> None:
    counts = [1000] * 40
    counts[10], counts[25] = 100, 4000
    found = by_check(counts)
    assert found["days that stand out"].count == 2
    assert found["days that stand out"].where == (
        "2024-04-11: 100 events, 0.1 times the usual",
        "2024-04-26: 4,000 events, 4 times the usual",
    )
    assert "level" not in found


def test_a_last_day_cut_short_is_only_noted() -> None:
    found = by_check([1000] * 20 + [150])
    assert found["incomplete days"].level == "note" and "days that stand out" not in found


def test_a_level_that_shifts_for_good() -> None:
    found = by_check([1000] * 30 + [3000] * 30)
    assert found["level"].count == 1
    assert found["level"].where == ("about 2024-05-01: 3 times the week before",)


def test_gaps() -> None:
    counts = [100] * 30
    for i in (3, 4, 5, 20):
        counts[i] = 0
    found = by_check(counts)
    assert (found["gaps"].level, found["gaps"].count) == ("warning", 4)
    assert found["gaps"].where == ("2024-04-04 to 2024-04-06 (3 days)", "2024-04-21")


def test_a_weekday_that_is_closed_is_no_gap() -> None:
    counts = [0 if d % 7 == 5 else 100 for d in range(35)]  # 2024-04-01 is a Monday
    found = by_check(counts)
    assert found["weekdays"].level == "note" and "Saturdays" in found["weekdays"].message
    assert found["gaps"].level == "ok"


def test_a_single_day() -> None:
    found = by_check([100])
    assert found["days"].level == "warning" and found["gaps"].level == "ok"


# ---------------------------------------------------------------- faked orders


def market_lake(tmp_path: Path, settings: MarketSettings) -> tuple[Market, Lake]:
    market = Market(settings)
    lake = Lake(tmp_path / "lake")
    commit(lake, from_market(pa.concat_tables(market.run())))
    return market, lake


def faked(findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in findings if f.check == "faked orders" and f.level != "ok"]


@pytest.mark.parametrize("fakes", [0, 2])
def test_shops_that_fake_orders_are_named_and_no_other(tmp_path: Path, engine: DuckEngine, fakes: int) -> None:
    settings = MarketSettings(shops=30, days=21, visitors=60_000, seed=3, fakes=fakes)
    market, lake = market_lake(tmp_path, settings)
    now = datetime(2026, 12, 1, tzinfo=UTC)
    found = faked(check(engine, lake, Config(), now))
    shops = market.providers()
    guilty = {r["provider_id"] for r in shops.to_pylist() if r["fakes"]}
    assert len(guilty) == fakes
    assert {f.message.split(":")[0] for f in found} == guilty
    for finding in found:
        assert finding.level == "warning" and "3 of 3" in finding.message
        assert set(finding.where) <= set(market.fake_visitor_ids())
    lines = [f.way_out.split("exclude_visitors = ")[1] for f in found]
    ids = tuple(i for line in lines for i in msgspec.json.decode(line, type=list[str]))
    assert set(ids) == set(market.fake_visitor_ids())
    # After the operator has excluded them, the check is quiet.
    config = Config(value=ValueSettings(exclude_visitors=ids))
    assert faked(check(engine, lake, config, now)) == []


def test_loyal_customers_of_daily_goods_are_only_noted(engine: DuckEngine) -> None:
    # A bakery: twenty people who buy every morning, at their own times, for different amounts, after looking
    # around.
    rng = np.random.default_rng(4)
    rows = []
    for person in range(20):
        for day in range(1, 15):
            start = datetime(2024, 5, day, 7) + timedelta(seconds=int(rng.integers(0, 9000)))
            rows.append(event(start.isoformat(), visitor=f"p{person}", provider="bakery"))
            paid = start + timedelta(seconds=int(rng.integers(30, 600)))
            amount = int(rng.integers(100, 2000))
            rows.append(event(paid.isoformat(), "purchase", f"p{person}", "bakery", amount_minor=amount))
    found = run(engine, rows)
    assert faked(tuple(found.values())) == []
    note = found["many orders of few visitors"]
    assert (note.level, note.count) == ("note", 1)
    assert note.where == ("bakery: 280 of its 280 orders (100 %)",)
    assert "exclude_visitors" not in note.way_out


def test_signs_that_the_whole_log_shows_are_no_signs(engine: DuckEngine) -> None:
    # Orders only, one price, times cut to days: every order looks alike, whoever placed it.
    rows = [
        event(f"2024-05-{day:02d}T00:00:00", "purchase", f"v{k}", f"s{k % 3}", amount_minor=500)
        for k in range(90)
        for day in (range(1, 10) if k < 6 else (1 + k % 20,))
    ]
    found = run(engine, rows)
    assert faked(tuple(found.values())) == []
    assert found["many orders of few visitors"].count == 3


GROCERIES = Path(__file__).parents[3] / "shared/data/complete-journey/transactions.parquet"


@pytest.mark.skipif(not GROCERIES.exists(), reason="the Complete Journey data are not here")
def test_real_groceries_are_not_accused(engine: DuckEngine) -> None:
    # 2,447 households with 117,273 baskets in a year, many of them at one store nearly every day, and no fakes known.
    known = {
        "message_id": "basket_id || '-' || store_id",
        "ts": "min(transaction_timestamp)",
        "day": "min(transaction_timestamp)",
        "name": "'purchase'",
        "visitor_id": "household_id",
        "provider_id": "store_id",
        "order_id": "basket_id",
        "amount_minor": "round(100 * sum(sales_value))",
    }
    columns = ", ".join(f"CAST({known.get(c.name, 'NULL')} AS {c.type}) AS {c.name}" for c in EVENT_COLUMNS)
    baskets = engine.query(
        f"SELECT {columns} FROM read_parquet($path) GROUP BY basket_id, household_id, store_id",
        {"path": str(GROCERIES)},
    )
    engine.query("CREATE TEMPORARY TABLE events AS SELECT * FROM baskets", None, baskets=baskets)
    found = fake_findings(Queries(engine, STORE, Config()))
    assert [f.level for f in found] == ["note"] and found[0].count > 50
    assert suspects(Queries(engine, STORE, Config())) == ()
