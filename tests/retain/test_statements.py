"""Rules that stand in retain's SQL, on a few rows each; expected rows are by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from footfall.config import JourneySettings, StepSettings
from footfall.retain.ready import _told
from footfall.retain.statements import text
from footfall.stores.engine import DuckEngine

NOW = datetime(2026, 3, 20, 12)
HOUR, LEAST = timedelta(hours=1), timedelta(microseconds=1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckEngine]:
    engine = DuckEngine(256, 1, tmp_path)
    yield engine
    engine.close()


def rows_of(columns: str, *rows: tuple[object, ...], **kinds: pa.DataType) -> pa.Table:
    """A table of rows; columns are texts or times unless told."""
    names = columns.split()
    values = list(zip(*rows, strict=True)) or [()] * len(names)
    times = {"ts": pa.timestamp("us"), "at": pa.timestamp("us"), "entered_at": pa.timestamp("us")}
    kinds = {**times, **kinds}
    return pa.table([pa.array(v, kinds.get(n, pa.string())) for n, v in zip(names, values, strict=True)], names=names)


def made(engine: DuckEngine, **tables: pa.Table) -> None:
    for name, rows in tables.items():
        engine.query(f"CREATE OR REPLACE TEMPORARY TABLE {name} AS SELECT * FROM made", None, made=rows)


def test_the_newest_word(engine: DuckEngine) -> None:
    """ann's unsubscribe is ahead and holds at once, dan's subscribe waits; of bob's two at once the leaving counts."""
    said = [
        ("ann", "subscribe", NOW - HOUR),
        ("ann", "unsubscribe", NOW + HOUR),
        ("bob", "unsubscribe", NOW - HOUR),
        ("bob", "subscribe", NOW - HOUR),
        ("cem", "unsubscribe", NOW - 2 * HOUR),
        ("cem", "subscribe", NOW - HOUR),
        ("dan", "subscribe", NOW + HOUR),
        ("eve", "subscribe", NOW),
    ]
    made(engine, acts=rows_of("person name ts provider_id", *((*row[:2], row[2], None) for row in said)))
    engine.execute(text("words"), {"now": NOW})
    found = {row["person"]: row["name"] for row in engine.query("SELECT person, name FROM words").to_pylist()}
    assert found == {"ann": "unsubscribe", "bob": "unsubscribe", "cem": "subscribe", "eve": "subscribe"}


def test_the_first_entry_of_who_had_several_keys(engine: DuckEngine) -> None:
    """ann's device was in first; zoe, who is bob now, was in at the very moment of bob: the former key goes before."""
    entries = [
        ("u:ann", 1, NOW, "treated"),
        ("d:v1", 1, NOW - HOUR, "holdout"),
        ("u:bob", 1, NOW, "treated"),
        ("u:zoe", 1, NOW, "holdout"),
        ("u:cem", 1, NOW - HOUR, "treated"),
        ("u:cem", 2, NOW, "holdout"),
    ]
    found = engine.query(
        text("first_entries"),
        None,
        given_entries=rows_of("person entry entered_at arm", *entries, entry=pa.int64()),
        given_joined=rows_of("person is_now", ("d:v1", "u:ann"), ("u:zoe", "u:bob")),
    )
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("u:ann", NOW - HOUR, "holdout"),
        ("u:bob", NOW, "holdout"),
        ("u:cem", NOW - HOUR, "treated"),
    ]


def test_who_left_by_a_link_within_the_days_that_count(engine: DuckEngine) -> None:
    """From the moment of entering to the end of day 30, both included."""
    until = NOW + timedelta(days=30)
    left = [("before", NOW - LEAST), ("first", NOW), ("last", until), ("after", until + LEAST)]
    money = {"amount_minor": pa.int64()}
    made(
        engine,
        words=rows_of("person name ts"),
        orders=rows_of("person ts purchase amount_minor", **money),
        refunds=rows_of("purchase amount_minor", **money),
    )
    found = engine.query(
        text("outcomes"),
        {"days": 30, "unit": 100.0, "margin": 0.5},
        given_entries=rows_of("person arm entered_at", *((f"u:{who}", who, NOW) for who, _ in left)),
        given_costs=rows_of("person cost", cost=pa.float64()),
        given_joined=rows_of("person is_now"),
        given_left=rows_of("who at", *left),
    )
    assert {row["arm"]: row["unsubscribed"] for row in found.to_pylist()} == {
        "before": 0.0,
        "first": 1.0,
        "last": 1.0,
        "after": 0.0,
    }


def test_what_alone_changes_a_letter_that_waits(engine: DuckEngine) -> None:
    """Its language, its person's name, their zone, each alone; and nothing, which is no row."""
    context = json.dumps({"name": "Ann", "timezone": "Asia/Taipei"})
    waiting = [(who, who, f"{who}@x", "en", context, NOW) for who in ("language", "name", "none", "zone")]
    no = {name: pa.bool_() for name in ("ends_with_purchase", "has_left", "is_held_out", "lacks_address")}
    given = rows_of("message_id person address language context since", *waiting, since=pa.timestamp("us"))
    for name in no:
        given = given.append_column(name, pa.repeat(False, len(waiting)))
    reach = [
        ("language", "language@x", "Asia/Taipei", "zh-TW", "Ann", None),
        ("name", "name@x", "Asia/Taipei", None, "Bob", None),
        ("none", "none@x", "Asia/Taipei", None, "Ann", None),
        ("zone", "zone@x", "Europe/Berlin", None, "Ann", None),
    ]
    made(engine, last_order=rows_of("person ts"))
    found = engine.query(
        text("overtaken"),
        {"no_address": "no address", "language": "en"},
        given_waiting=given,
        given_reach=rows_of("person address timezone language name why_not", *reach),
        given_spoken=rows_of("told language", ("zh-TW", "zh-Hant")),
    ).to_pylist()
    assert [(row["message_id"], row["language"], json.loads(row["context"]), row["reason"]) for row in found] == [
        ("language", "zh-Hant", {"name": "Ann", "timezone": "Asia/Taipei"}, None),
        ("name", "en", {"name": "Bob", "timezone": "Asia/Taipei"}, None),
        ("zone", "en", {"name": "Ann", "timezone": "Europe/Berlin"}, None),
    ]


def test_a_fault_of_the_workspaces_language_is_theirs_who_told_none() -> None:
    steps = (StepSettings(template="cart", channel="paper"),)
    journey = JourneySettings(audience="cart_abandoned", steps=steps)
    rows = pa.table(
        {
            "step": pa.array([0, 0, 0]),
            "language": pa.array([None, "fr", "en"], pa.string()),
            "name": pa.array([None, "", "Ann"], pa.string()),
        }
    )
    faults = {("cart", "zh-Hant", False): "line 3"}
    assert _told(rows, journey, faults, "zh-Hant").to_pylist() == ["line 3", "line 3", None]
