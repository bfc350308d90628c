"""Laws of facts on random small logs: they equal the definitions, and updates equal counting anew, in any order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from facts_support import START, MemoryStore, as_counts, by_definition, log
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from footfall.stores.engine import DuckEngine
from footfall.value.counts import Settings
from footfall.value.facts import update
from footfall.value.recipes import recipe
from footfall.value.relations import Rules, count
from footfall.value.valuation import total, valuate


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckEngine]:
    with tempfile.TemporaryDirectory() as folder:
        made = DuckEngine(512, 1, Path(folder))
        yield made
        made.close()


def maybe(*values: str | None) -> st.SearchStrategy[str | None]:
    return st.sampled_from(values)


def rows_of(users: bool, visit_ids: bool) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries(
        {
            "ts": st.integers(0, 80).map(lambda n: START + timedelta(hours=3 * n)),
            "name": st.sampled_from(
                ["page_view"] * 4 + ["purchase"] * 3 + ["refund"] + (["alias", "identify"] if users else [])
            ),
            "visitor_id": maybe("d1", "d1", "d2", "d3", None) if users else maybe("d1", "d2"),
            "user_id": maybe(None, None, "u1", "u2", "u3") if users else st.none(),
            "previous_id": maybe("u1", "u2", "u4") if users else st.none(),
            "visit_id": maybe(None, None, "s1", "s2") if visit_ids else st.none(),
            "provider_id": maybe("A", "A", "A", "B", None),
            "order_id": maybe(None, "o1", "o2", "o3"),
            "amount_minor": st.none() | st.integers(0, 9),
            "channel": maybe("x", "y|z", None, ""),
            "category": maybe(None, "toys"),
            "batch": st.integers(0, 3),
        }
    )
    return st.lists(row, min_size=1, max_size=24)


LOGS = st.tuples(st.booleans(), st.booleans()).flatmap(lambda pair: rows_of(*pair))
RULES = st.builds(
    Rules,
    recipe=st.just(recipe("store")),
    segment=st.sampled_from([("channel",), ("channel", "category")]),
    window_days=st.integers(0, 3),
    attribution=st.sampled_from(["first", "last"]),
    exclude_visitors=st.sampled_from([(), (), ("u1",), ("d1", "u4")]),
    categories=st.sampled_from([{}, {"A": "books"}]),
)
FEW = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
# 800 examples in pieces, each with the seed of its number, that take a minute or two each.
MANY = settings(FEW, max_examples=100, derandomize=False)
PIECES = range(8)


def split(rows: list[dict[str, Any]]) -> tuple[pa.Table, list[int]]:
    events = log(*({k: v for k, v in row.items() if k != "batch"} for row in rows))
    return events, [row["batch"] for row in rows]


def check_definition(engine: DuckEngine, rows: list[dict[str, Any]], rules: Rules) -> None:
    store = MemoryStore()
    events, _ = split(rows)
    store.put("b0", events)
    store.attach(engine)
    assert as_counts(count(engine, rules)) == by_definition(events.to_pylist(), rules)


def check_updates(engine: DuckEngine, rows: list[dict[str, Any]], rules: Rules, order: list[int]) -> None:
    events, batches = split(rows)
    store = MemoryStore()
    with tempfile.TemporaryDirectory() as folder:
        for place in order:
            part = events.filter(pa.array([batch == place for batch in batches], pa.bool_()))
            if not part.num_rows:
                continue
            store.put(f"b{place}", part)
            found = update(store, engine, rules, Path(folder), largest_update=1.0)  # type: ignore[arg-type]
            store.attach(engine)
            assert found.facts == count(engine, rules), found.how


@given(LOGS, RULES)
@FEW
def test_facts_equal_the_definitions(engine: DuckEngine, rows: list[dict[str, Any]], rules: Rules) -> None:
    check_definition(engine, rows, rules)


def check_estimate(engine: DuckEngine, rows: list[dict[str, Any]], rules: Rules, age: int) -> None:
    """What is counted satisfies what an estimate asks of it (``counts.check``), on each day."""
    store = MemoryStore()
    store.put("b0", split(rows)[0])
    store.attach(engine)
    found = count(engine, rules)
    days = found.visits["day"].unique().to_pylist()
    if not days:
        return
    as_of = max(min(days), max(days) - timedelta(days=age))
    valued = valuate(found, as_of, exponent=2, window_days=rules.window_days, settings=Settings(), categories={})
    for measure in (valued.values.pairs, valued.values.providers, valued.values.segments):
        assert np.all((measure.low <= measure.mean) & (measure.mean <= measure.high))
    assert total(valued)["orders"] == sum(found.as_of(as_of).orders["orders"].to_pylist())


@given(LOGS, RULES, st.integers(0, 4))
@FEW
def test_what_is_counted_can_be_estimated(
    engine: DuckEngine, rows: list[dict[str, Any]], rules: Rules, age: int
) -> None:
    check_estimate(engine, rows, rules, age)


@given(LOGS, RULES, st.permutations(range(4)))
@settings(FEW, max_examples=4)
def test_updates_equal_counting_anew(
    engine: DuckEngine, rows: list[dict[str, Any]], rules: Rules, order: list[int]
) -> None:
    check_updates(engine, rows, rules, order)


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_facts_equal_the_definitions_on_many_logs(engine: DuckEngine, piece: int) -> None:
    @seed(piece)
    @given(LOGS, RULES)
    @MANY
    def law(rows: list[dict[str, Any]], rules: Rules) -> None:
        check_definition(engine, rows, rules)

    law()


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_what_is_counted_on_many_logs_can_be_estimated(engine: DuckEngine, piece: int) -> None:
    @seed(piece)
    @given(LOGS, RULES, st.integers(0, 4))
    @MANY
    def law(rows: list[dict[str, Any]], rules: Rules, age: int) -> None:
        check_estimate(engine, rows, rules, age)

    law()


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_updates_equal_counting_anew_on_many_logs(engine: DuckEngine, piece: int) -> None:
    @seed(piece)
    @given(LOGS, RULES, st.permutations(range(4)))
    @MANY
    def law(rows: list[dict[str, Any]], rules: Rules, order: list[int]) -> None:
        check_updates(engine, rows, rules, order)

    law()
