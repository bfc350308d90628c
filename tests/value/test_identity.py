"""Whose an event is: the rules of design.md ("Identity"), each by a hand-made log."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from facts_support import MemoryStore, log
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.stores.engine import DuckEngine
from footfall.value import identity
from footfall.value.recipes import recipe
from footfall.value.relations import Rules


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckEngine]:
    with tempfile.TemporaryDirectory() as folder:
        made = DuckEngine(512, 1, Path(folder))
        yield made
        made.close()


def persons(engine: DuckEngine, *rows: dict[str, Any], exclude: tuple[str, ...] = ()) -> list[str | None]:
    """The person of each event, None where it is left out."""
    store = MemoryStore()
    store.put("b0", log(*({"name": "page_view", **row} for row in rows)))
    store.attach(engine)
    known = identity.learn(engine, exclude, use=identity.needed(engine))
    identity.show(engine, known, Rules(recipe=recipe("store")).marks())
    found = engine.query("SELECT message_id, person FROM person_events").to_pylist()
    told = {row["message_id"]: row["person"] for row in found}
    assert len(found) == len(told)
    return [told.get(f"m{number:04}") for number in range(len(rows))]


def test_a_log_without_users_needs_no_identity(engine: DuckEngine) -> None:
    assert persons(engine, {"at": 0, "visitor_id": "d"}, {"at": 1, "visitor_id": "e"}) == ["d", "e"]
    assert not identity.needed(engine)


def test_anonymous_events_belong_to_the_latest_user_before_else_the_first_after(engine: DuckEngine) -> None:
    found = persons(
        engine,
        {"at": 0, "visitor_id": "d"},
        {"at": 1, "visitor_id": "d", "user_id": "ann"},
        {"at": 2, "visitor_id": "d"},
        {"at": 3, "visitor_id": "d", "user_id": "bob"},
        {"at": 3, "visitor_id": "d"},  # at the same time: bob is identified already
        {"at": 4, "visitor_id": "d"},
        {"at": 5, "visitor_id": "d", "user_id": "ann"},
        {"at": 6, "visitor_id": "d"},
        {"at": 6, "visitor_id": "other"},
    )
    assert found == ["u:ann", "u:ann", "u:ann", "u:bob", "u:bob", "u:bob", "u:ann", "u:ann", "d:other"]


def test_of_two_users_at_one_time_the_later_message_counts(engine: DuckEngine) -> None:
    found = persons(
        engine,
        {"at": 1, "visitor_id": "d", "user_id": "bob"},
        {"at": 1, "visitor_id": "d", "user_id": "ann"},
        {"at": 2, "visitor_id": "d"},
    )
    assert found == ["u:bob", "u:ann", "u:ann"]


def test_only_aliases_merge_users_and_cycles_do_no_harm(engine: DuckEngine) -> None:
    found = persons(
        engine,
        {"at": 0, "visitor_id": "d", "user_id": "zoe"},
        {"at": 1, "visitor_id": "d", "user_id": "eve"},
        {"at": 9, "name": "alias", "user_id": "zoe", "previous_id": "bob"},
        {"at": 9, "name": "alias", "user_id": "bob", "previous_id": "ann"},
        {"at": 9, "name": "alias", "user_id": "ann", "previous_id": "zoe"},
        {"at": 0, "visitor_id": "d"},
    )
    assert found == ["u:ann", "u:eve", "u:ann", "u:ann", "u:ann", "u:ann"]


def test_devices_users_and_visits_of_one_name_are_different_persons(engine: DuckEngine) -> None:
    found = persons(
        engine,
        {"at": 0, "visitor_id": "x"},
        {"at": 0, "user_id": "x"},
        {"at": 0, "visit_id": "x"},
        {"at": 0},
    )
    assert found == ["d:x", "u:x", "v:x", "m:m0003"]


def test_excluded_visitors_are_left_out_by_device_user_and_person(engine: DuckEngine) -> None:
    rows: tuple[dict[str, Any], ...] = (
        {"at": 0, "visitor_id": "d"},  # of bob, who is ann
        {"at": 1, "visitor_id": "d", "user_id": "bob"},
        {"at": 2, "name": "alias", "user_id": "bob", "previous_id": "ann"},
        {"at": 3, "visitor_id": "e"},
        {"at": 3, "visitor_id": "e", "user_id": "eve"},
        {"at": 3, "user_id": "eve"},
    )
    assert persons(engine, *rows, exclude=("ann",)) == [None, None, None, "u:eve", "u:eve", "u:eve"]
    assert persons(engine, *rows, exclude=("e",)) == ["u:ann", "u:ann", "u:ann", None, None, "u:eve"]
    assert persons(engine, {"at": 0, "visitor_id": "d"}, {"at": 0, "visitor_id": "e"}, exclude=("e",)) == ["d", None]


def test_merged_takes_the_smallest_id_whatever_the_order() -> None:
    pairs = [("d", "c"), ("b", "c"), ("a", "b"), ("y", "x"), ("z", "z")]
    for order in itertools.permutations(pairs):
        assert identity.merged(order) == {**dict.fromkeys("abcd", "a"), "x": "x", "y": "x", "z": "z"}


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=12))
@settings(max_examples=50, deadline=None)
def test_merged_is_the_transitive_closure(pairs: list[tuple[str, str]]) -> None:
    """Law: the closure by repeated squaring of the relation (Warshall 1962)."""
    names = sorted({name for pair in pairs for name in pair})
    reach = {(a, b) for a, b in pairs} | {(b, a) for a, b in pairs} | {(a, a) for a in names}
    for middle in names:
        reach |= {(a, c) for a in names for c in names if (a, middle) in reach and (middle, c) in reach}
    assert identity.merged(pairs) == {a: min(b for b in names if (a, b) in reach) for a in names}
