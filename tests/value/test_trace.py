"""The rows behind a figure are as many as the figure, and are those rows."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from facts_support import MemoryStore, log
from hypothesis import given, seed, settings
from test_facts_property import FEW, LOGS, MANY, RULES, split

from footfall.config import Config
from footfall.errors import InputError
from footfall.stores.engine import DuckEngine
from footfall.value.recipes import recipe
from footfall.value.relations import Rules, count
from footfall.value.trace import KINDS, rows, trace


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckEngine]:
    with tempfile.TemporaryDirectory() as folder:
        made = DuckEngine(512, 1, Path(folder))
        yield made
        made.close()


def check_rows(engine: DuckEngine, rows: list[dict[str, Any]], rules: Rules) -> None:
    """Rows of every kind, grouped by day, segment and provider, are the facts: of all, as of a day, and within days."""
    store = MemoryStore()
    store.put("b0", split(rows)[0])
    store.attach(engine)
    facts = count(engine, rules)
    day = date(2024, 1, 5)
    for as_of, first, last in ((None, None, None), (day, None, None), (day, date(2024, 1, 2), date(2024, 1, 4))):
        known = (facts.as_of(as_of) if as_of else facts).between(first, last)
        for kind in KINDS:
            figure, shown, told, seen = Counter[Any](), Counter[Any](), 0, 0
            for row in known.tables()[kind].to_pylist():
                figure[(row["day"], row["segment"], row["provider_id"])] += row[kind]
                told += int(row.get("amount_minor", 0))
            for line in trace(store, engine, rules, kind, as_of=as_of, first=first, last=last).to_pylist():
                shown[(line["visit_day"], line["segment"], line["provider_id"])] += 1
                seen += line["amount_minor"] or 0
            assert shown == figure
            assert kind == "visits" or seen == told


@given(LOGS, RULES)
@settings(FEW, max_examples=4)
def test_rows_count_to_the_figure(engine: DuckEngine, rows: list[dict[str, Any]], rules: Rules) -> None:
    """Law: for every kind, rows grouped as facts are the facts, with excluded visitors, and as of any day."""
    check_rows(engine, rows, rules)


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(3))
def test_rows_count_to_the_figure_on_many_logs(engine: DuckEngine, piece: int) -> None:
    @seed(piece)
    @given(LOGS, RULES)
    @settings(MANY, max_examples=50)
    def law(rows: list[dict[str, Any]], rules: Rules) -> None:
        check_rows(engine, rows, rules)

    law()


STORY = (
    {"at": 0.4, "name": "page_view", "visitor_id": "d", "provider_id": "A", "channel": "ads"},
    {"at": 0.5, "name": "page_view", "visitor_id": "d", "provider_id": "A", "channel": "mail"},
    {"at": 2.5, "name": "purchase", "visitor_id": "d", "provider_id": "A", "order_id": "o", "amount_minor": 900},
    {"at": 4.5, "name": "refund", "visitor_id": "d", "provider_id": "A", "order_id": "o", "amount_minor": 900},
    {"at": 1.5, "name": "purchase", "visitor_id": "e", "provider_id": "A", "channel": "ads", "amount_minor": 70},
    {"at": 1.6, "name": "page_view", "visitor_id": "e", "provider_id": "B", "channel": "ads"},
)


def test_rows_by_hand(engine: DuckEngine) -> None:
    """One visitor comes by an ad, buys two days later, sends it back; another buys without a visit. By hand."""
    store = MemoryStore()
    store.put("b0", log(*STORY))
    config = Config()
    visits = rows(store, engine, config, "visits", provider="A")
    assert visits["message_id"].to_pylist() == ["m0000", "m0004"]  # first event; the purchase that made a visit
    assert visits["segment"].to_pylist() == ["ads", "ads"]
    orders = rows(store, engine, config, "orders", first=date(2024, 1, 1), last=date(2024, 1, 1))
    assert orders.select(["message_id", "visit_day", "delay_days"]).to_pylist() == [
        {"message_id": "m0002", "visit_day": date(2024, 1, 1), "delay_days": 2}
    ]
    refunds = rows(store, engine, config, "refunds", segment="ads")
    assert refunds.select(["message_id", "visit_day", "delay_days"]).to_pylist() == [
        {"message_id": "m0003", "visit_day": date(2024, 1, 1), "delay_days": 2}
    ]
    assert rows(store, engine, config, "refunds", as_of=date(2024, 1, 4)).num_rows == 0
    # a refund that names neither provider nor amount: its order's
    store.put("b1", log({"at": 5.5, "name": "refund", "visitor_id": "d", "order_id": "o", "message_id": "bare"}))
    bare = rows(store, engine, config, "refunds", provider="A", first=date(2024, 1, 1)).to_pylist()[1]
    assert [bare[name] for name in ("message_id", "provider_id", "amount_minor")] == ["bare", "A", 900]
    assert rows(store, engine, config, "visits", limit=1)["message_id"].to_pylist() == ["m0000"]


def test_unknown_kind_is_refused(engine: DuckEngine) -> None:
    rules = Rules(recipe=recipe("store"))
    with pytest.raises(InputError, match="visits, orders, refunds"):
        trace(MemoryStore(), engine, rules, "clicks")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="limit"):
        trace(MemoryStore(), engine, rules, "visits", limit=-1)
