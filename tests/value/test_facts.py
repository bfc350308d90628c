"""Facts against hand counts, golden rows of each relation, the figures of a real shop, and what is kept on disk."""

from __future__ import annotations

import csv
import gzip
import json
import threading
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from facts_support import MemoryStore, as_counts, log

from footfall.config import Config
from footfall.errors import ConfigError, WorkspaceError
from footfall.model import Recipe
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.value import fact_tables as fact_tables_module
from footfall.value import facts as facts_module
from footfall.value.fact_tables import FactTables
from footfall.value.facts import facts, rules_of, update
from footfall.value.recipes import recipe, reward_exponent
from footfall.value.relations import Rules, count
from footfall.value.statements import marks_of

DATA = Path(__file__).parents[3] / "shared" / "data" / "google-merchandise-store"
STORE = Rules(recipe=recipe("store"))
BIG = 2**53 + 1  # the first whole number that a float cannot hold
D1, D2, D3 = (date(2024, 1, day) for day in (1, 2, 3))
STORY = (
    {"at": 0.4, "name": "page_view", "visitor_id": "d", "provider_id": "A", "channel": "ads", "category": "old"},
    {"at": 0.5, "name": "page_view", "visitor_id": "d", "provider_id": "A", "channel": "mail"},
    {"at": 2.5, "name": "purchase", "visitor_id": "d", "provider_id": "A", "order_id": "o1", "amount_minor": 900},
    # no visit since the last purchase: makes one
    {"at": 2.6, "name": "purchase", "visitor_id": "d", "provider_id": "A", "channel": "mail", "amount_minor": 50},
    {"at": 1.5, "name": "purchase", "visitor_id": "e", "provider_id": "A", "category": "new", "amount_minor": BIG},
    {"at": 1.6, "name": "page_view", "visitor_id": "e", "provider_id": "B", "visit_id": "s1", "channel": "x|y"},
    # logged before the first event of its own visit
    {"at": 1.5, "name": "purchase", "visitor_id": "e", "provider_id": "B", "visit_id": "s1", "amount_minor": 70},
    {"at": 4.5, "name": "refund", "visitor_id": "d", "provider_id": "A", "order_id": "o1", "amount_minor": 900},
    {"at": 4.5, "name": "refund", "visitor_id": "f", "provider_id": "A", "amount_minor": 1},
    {"at": 4.6, "name": "purchase", "visitor_id": "f", "amount_minor": 1},
)
# By hand from STORY, relation by relation: the columns, then the rows.
GOLDEN: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "person_events": ("message_id, person", [(f"m{n:04}", row["visitor_id"]) for n, row in enumerate(STORY)]),
    "money": ("message_id, is_refund", [(f"m{n:04}", n in (7, 8)) for n in (2, 3, 4, 6, 7, 8, 9)]),
    "purchases": (
        "message_id, purchase, previous_ts",
        [("m0002", 3, None), ("m0003", 4, datetime(2024, 1, 3, 12)), ("m0004", 1, None), ("m0006", 2, None)],
    ),
    "visits": (
        "message_id, person, visit_id, provider_id, day, channel",
        [("m0000", "d", None, "A", D1, "ads"), ("m0005", "e", "s1", "B", D2, "x|y")],
    ),
    "visit_groups": ("person, visits, day", [("d", 1, D1), ("e", 1, D2)]),
    "attributed": ("purchase, visit_day, channel", [(3, D1, "ads")]),
    "own_visits": ("purchase, visit_id, visit_day", [(2, "s1", D2)]),
    "made_visits": ("purchase, person, day, channel", [(1, "e", D2, None), (4, "d", D3, "mail")]),
    "orders": (
        "message_id, visit_day, delay_days, channel",
        [("m0002", D1, 2, "ads"), ("m0003", D3, 0, "mail"), ("m0004", D2, 0, None), ("m0006", D2, 0, "x|y")],
    ),
    "refunds": (
        "message_id, visit_day, order_delay_days, refund_delay_days",
        [("m0007", D1, 2, 2), ("m0008", None, None, None)],
    ),
}
COUNTS = {
    "visits": {(D1, "ads", "A"): 1, (D2, "(none)", "A"): 1, (D2, "x¦y", "B"): 1, (D3, "mail", "A"): 1},
    "orders": {
        (D1, "ads", "A", 2): (1, 900, 810000),
        (D2, "(none)", "A", 0): (1, BIG, BIG * BIG),
        (D2, "x¦y", "B", 0): (1, 70, 4900),
        (D3, "mail", "A", 0): (1, 50, 2500),
    },
    "refunds": {(D1, "ads", "A", 2, 2): (1, 900)},
    "left_out": {"refund without order": 1, "order without provider": 1},
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckEngine]:
    made = DuckEngine(1024, 2, tmp_path / "spill")
    yield made
    made.close()


def facts_of(engine: DuckEngine, events: pa.Table, rules: Rules = STORE) -> FactTables:
    store = MemoryStore()
    store.put("b0", events)
    store.attach(engine)
    return count(engine, rules)


def test_golden_rows_of_each_relation(engine: DuckEngine) -> None:
    facts_of(engine, log(*STORY))
    for name, (columns, expected) in GOLDEN.items():
        found = engine.query(f"SELECT {columns} FROM {name} ORDER BY 1")
        assert [tuple(row.values()) for row in found.to_pylist()] == expected, name


def test_counts_by_hand_and_above_what_floats_hold(engine: DuckEngine) -> None:
    found = facts_of(engine, log(*STORY))
    assert as_counts(found) == COUNTS
    assert found.orders.schema.field("amount_sq").type == pa.decimal128(38, 0)
    assert found.providers.to_pylist() == [
        {"provider_id": "A", "category": "new", "category_ts": datetime(2024, 1, 2, 12), "first_day": D1},
        {"provider_id": "B", "category": None, "category_ts": None, "first_day": D2},
    ]
    assert facts_of(engine, log()) == FactTables.empty()


def test_sums_above_int64_stay_exact(engine: DuckEngine) -> None:
    """A thousand orders of the largest amount that can be set: more than an int64 holds, and no float on the way."""
    largest = 10**16 + 1
    order = {"at": 0, "name": "purchase", "visitor_id": "d", "provider_id": "A", "amount_minor": largest}
    found = facts_of(engine, log(*(dict(order) for _ in range(1000))))
    assert as_counts(found)["orders"] == {(D1, "(none)", "A", 0): (1000, 1000 * largest, 1000 * largest**2)}


def test_a_refund_without_an_amount_gives_back_its_whole_order(engine: DuckEngine) -> None:
    """By hand: o1 by its id (900, not the later 50), the latest order without one, and none where no order is found."""
    back = {"at": 3.5, "name": "refund", "visitor_id": "d", "provider_id": "A"}
    found = facts_of(engine, log(*STORY[:4], back | {"order_id": "o1"}, back, back | {"visitor_id": "stranger"}))
    assert as_counts(found)["refunds"] == {(D1, "ads", "A", 2, 1): (1, 900), (D3, "mail", "A", 0, 1): (1, 50)}
    assert as_counts(found)["left_out"] == {"refund without order": 1}
    told = engine.query("SELECT message_id, amount_minor FROM refunds ORDER BY 1")["amount_minor"].to_pylist()
    assert told == [900, 50, None]


@pytest.mark.parametrize(("attribution", "day"), [("first", D1), ("last", D2)])
def test_attribution_and_the_edges_of_the_window(engine: DuckEngine, attribution: str, day: date) -> None:
    """A purchase exactly window_days x 24 h after a visit still belongs to it; a microsecond later it does not."""
    view = {"name": "page_view", "visitor_id": "d", "provider_id": "A", "channel": "x"}
    buy = view | {"name": "purchase", "amount_minor": 5}
    events = [view | {"at": 0.25}, view | {"at": 1.25}, buy | {"at": 2.25}]
    rules = Rules(recipe=recipe("store"), window_days=2, attribution=attribution)
    assert facts_of(engine, log(*events), rules).orders["day"].to_pylist() == [day]
    late = buy | {"ts": datetime(2024, 1, 3, 6, 0, 0, 1)}
    assert facts_of(engine, log(*events[:2], late), rules).orders["day"].to_pylist() == [D2]


def test_a_purchase_that_names_a_visit_out_of_the_window_makes_one_of_its_own(engine: DuckEngine) -> None:
    """By hand, window 2 days. s1 began on 1 January; of its purchases that of 2 January belongs to it (delay 1), those
    of 4 January (900 and 30) make one visit of their day. s2 has no visit event: it begins with its purchase of 1
    January, and that of 4 January makes a visit of its own. Money: 10 + 900 + 30 + 5 + 6, each once.
    """
    view = {"at": 0.4, "name": "page_view", "visitor_id": "d", "provider_id": "A", "visit_id": "s1", "channel": "ads"}
    buy = {"name": "purchase", "visitor_id": "e", "provider_id": "A", "visit_id": "s1"}
    other = {"name": "purchase", "visitor_id": "f", "provider_id": "B", "visit_id": "s2"}
    events = (
        view,
        buy | {"at": 1.5, "amount_minor": 10},
        buy | {"at": 3.5, "amount_minor": 900, "channel": "mail"},
        buy | {"at": 3.6, "amount_minor": 30},
        other | {"at": 0.5, "amount_minor": 5},
        other | {"at": 3.5, "amount_minor": 6},
    )
    found = as_counts(facts_of(engine, log(*events), Rules(recipe=recipe("store"), window_days=2)))
    d4 = date(2024, 1, 4)
    assert found["visits"] == {
        (D1, "ads", "A"): 1,
        (D1, "(none)", "B"): 1,
        (d4, "mail", "A"): 1,
        (d4, "(none)", "B"): 1,
    }
    assert found["orders"] == {
        (D1, "ads", "A", 1): (1, 10, 100),
        (D1, "(none)", "B", 0): (1, 5, 25),
        (d4, "mail", "A", 0): (2, 930, 810900),
        (d4, "(none)", "B", 0): (1, 6, 36),
    }


def test_a_purchase_that_names_an_old_visit_belongs_to_its_own_days_visit(engine: DuckEngine) -> None:
    """A visit without a visit_id of that person, place and day, begun after the purchase, is its own (as ever)."""
    view = {"name": "page_view", "visitor_id": "d", "provider_id": "A", "channel": "x"}
    buy = view | {"name": "purchase", "visit_id": "s1", "at": 40.2, "amount_minor": 7}
    found = as_counts(facts_of(engine, log(view | {"at": 0.1, "visit_id": "s1"}, buy, view | {"at": 40.3})))
    day = date(2024, 2, 10)
    assert found["visits"] == {(D1, "x", "A"): 1, (day, "x", "A"): 1}
    assert found["orders"] == {(day, "x", "A", 0): (1, 7, 49)}


def test_the_window_is_kept_by_local_days_as_by_the_clock(engine: DuckEngine) -> None:
    """30 x 24 hours after 23:30 of 1 March it is 00:30 of 1 April in New York, where clocks went forward: 31 days."""
    visit = {"name": "page_view", "visitor_id": "d", "provider_id": "A", "channel": "x"}
    view = visit | {"ts": datetime(2024, 3, 2, 4, 30), "day": date(2024, 3, 1)}
    buy = {"ts": datetime(2024, 4, 1, 4, 30), "day": date(2024, 4, 1), "name": "purchase", "amount_minor": 5}
    found = as_counts(facts_of(engine, log(view, visit | buy)))
    assert found["orders"] == {(date(2024, 4, 1), "x", "A", 0): (1, 5, 25)}


def test_a_visit_that_comes_late_leads_to_the_days_of_the_purchases_that_name_it(
    engine: DuckEngine, tmp_path: Path
) -> None:
    """A purchase of April with visit_id s1, and a visit of its person that day; then the first event of s1, of
    February, far from that day. Counted anew, the purchase belongs to the visit of its day before and after."""
    store, where = MemoryStore(), tmp_path / "facts"
    view = {"name": "page_view", "provider_id": "A", "channel": "x"}

    def put(batch: str, *rows: dict[str, Any]) -> None:
        store.put(batch, log(*({"message_id": f"{batch}{n}"} | view | row for n, row in enumerate(rows))))

    buy = {"name": "purchase", "at": 100.5, "amount_minor": 7}
    put("early", {"visitor_id": "d", "at": 100.3}, buy | {"visitor_id": "d", "visit_id": "s1"})
    put("late", {"visitor_id": "e", "at": 100.7}, buy | {"visitor_id": "e", "visit_id": "s2"})
    update(store, engine, STORE, where)
    for batch, row in (("one", {"visitor_id": "d", "visit_id": "s1"}), ("two", {"visitor_id": "e", "visit_id": "s2"})):
        put(batch, row | {"at": 40})
        found = update(store, engine, STORE, where, largest_update=1.0)
        store.attach(engine)
        assert (found.how, found.facts) == ("updated", count(engine, STORE))
    days = [(row["day"], row["delay_days"], row["orders"]) for row in found.facts.orders.to_pylist()]
    assert days == [(date(2024, 4, 10), 0, 2)]


def test_a_visit_that_purchases_of_several_days_make_is_counted_anew_as_a_whole(
    engine: DuckEngine, tmp_path: Path
) -> None:
    """Purchases of 10 and 40 days name one visit that has no event; only the second has a visit of its day. Then a
    visit comes before the first, to which that belongs: no visit is made any more."""
    store, where = MemoryStore(), tmp_path / "facts"
    view = {"name": "page_view", "visitor_id": "d", "provider_id": "A", "channel": "x"}
    buy = view | {"name": "purchase", "visit_id": "s1", "amount_minor": 7, "channel": "y"}
    store.put("b1", log(buy | {"at": 10.5}, view | {"at": 39.6}, buy | {"at": 39.9, "message_id": "last"}))
    before = update(store, engine, STORE, where).facts
    assert sum(before.visits["visits"].to_pylist()) == 2
    store.put("b2", log(view | {"at": 1.5, "message_id": "late"}))
    found = update(store, engine, STORE, where, largest_update=1.0)
    store.attach(engine)
    assert (found.how, found.facts) == ("updated", count(engine, STORE))
    assert as_counts(found.facts)["orders"] == {
        (D2, "x", "A", 9): (1, 7, 49),
        (date(2024, 2, 9), "x", "A", 0): (1, 7, 49),
    }


def test_segments_of_several_columns_take_the_providers_category(engine: DuckEngine) -> None:
    view = {"at": 0, "name": "page_view", "visitor_id": "d", "provider_id": "A", "channel": "a|b"}
    rules = Rules(recipe=recipe("store"), segment=("channel", "category", "device"), categories={"A": "toys"})
    found = facts_of(engine, log(view, view | {"visitor_id": "e", "category": "books", "device": "tv"}), rules)
    assert found.visits["segment"].to_pylist() == ["a¦b | books | tv", "a¦b | toys | (none)"]


def test_clicks_earn_one_unit_each(engine: DuckEngine) -> None:
    show = {"at": 0, "name": "impression", "visitor_id": "d", "provider_id": "A", "visit_id": "v"}
    rules = Rules(recipe=recipe("clicks"))
    found = facts_of(engine, log(show, show | {"name": "click", "amount_minor": 700}), rules)
    assert as_counts(found)["orders"] == {(D1, "(none)", "A", 0): (1, 1, 1)}
    assert (reward_exponent(recipe("clicks"), 2), reward_exponent(recipe("store"), 2)) == (0, 2)


def test_as_of_between_and_merging(engine: DuckEngine) -> None:
    found = facts_of(engine, log(*STORY))
    known = as_counts(found.as_of(D2))
    assert sorted(known["visits"]) == [(D1, "ads", "A"), (D2, "(none)", "A"), (D2, "x¦y", "B")]
    assert (D1, "ads", "A", 2) not in known["orders"] and not known["refunds"]
    assert as_counts(found.as_of(date(2024, 1, 4)))["refunds"] == {}
    first = as_counts(found.between(D1, D1))
    assert (first["visits"], list(first["orders"])) == ({(D1, "ads", "A"): 1}, [(D1, "ads", "A", 2)])
    parts = [found.between(last=D1), found.between(D2, D2), found.between(first=D3)]
    assert ((parts[0] + parts[1]) + parts[2]).orders == found.orders == (parts[2] + (parts[1] + parts[0])).orders
    assert (found + found).minus(found) == found
    assert found + FactTables.empty() == found


def test_rows_are_sorted_as_pyarrow_does_it() -> None:
    """Expected order: pyarrow.compute.sort_indices. Five keys of 9,000 values are more groups than an int64 counts."""
    draw = np.random.default_rng(7)
    columns = [pa.array(draw.permutation(9000)).cast(pa.string()) for _ in range(4)]
    columns.append(pa.array([None if n % 3 == 0 else n for n in draw.integers(0, 9000, 9000)], pa.int64()))
    table = pa.table([pa.concat_arrays([c, c.slice(0, 50)]) for c in columns], names=list("abcde"))
    for keys in (["e", "a"], list("abcde"), list("edcba")):
        order = pc.sort_indices(table, sort_keys=[(key, "ascending", "at_start") for key in keys])
        assert fact_tables_module._sorted(table, keys).equals(table.take(order))
    assert fact_tables_module._sorted(table.slice(0, 0), ["e", "a"]).num_rows == 0


def test_what_is_in_no_list_is_refused() -> None:
    with pytest.raises(ConfigError, match="segment column"):
        marks_of(recipe("store"), ("channel; DROP TABLE x",), "first")
    with pytest.raises(ConfigError, match="names the event"):
        marks_of(Recipe("odd", ("x'y",), (), ()), ("channel",), "first")
    with pytest.raises(ConfigError, match="store, clicks"):
        recipe("shop")


# ---------------------------------------------------------------- on disk


def test_facts_are_read_updated_or_counted_anew(engine: DuckEngine, tmp_path: Path) -> None:
    store, where = MemoryStore(), tmp_path / "facts"
    assert update(store, engine, STORE, where).facts == FactTables.empty()
    store.put("b1", log(*STORY[:7]))
    assert update(store, engine, STORE, where).how == "counted"  # all of the log is new
    store.put("b2", log(*STORY)[7:])
    later = update(store, engine, STORE, where, largest_update=1.0)
    assert (later.how, later.new_events, as_counts(later.facts)) == ("updated", 3, COUNTS)
    assert update(store, engine, STORE, where).how == "read"
    assert update(store, engine, Rules(recipe=recipe("store"), window_days=1), where).how == "counted"
    store.rewrite()  # days written anew: other files, the same rows
    assert update(store, engine, Rules(recipe=recipe("store"), window_days=1), where).how == "counted"
    store.put("b1", log(*STORY[:6]))  # an event was erased
    erased = update(store, engine, Rules(recipe=recipe("store"), window_days=1), where)
    assert (erased.how, sum(erased.facts.orders["orders"].to_pylist())) == ("counted", 3)
    assert len(list(where.glob("facts-*"))) <= 2  # in use, and the one before


def test_joined_files_are_not_counted_again(engine: DuckEngine, tmp_path: Path) -> None:
    store, where = MemoryStore(), tmp_path / "facts"
    store.put("b1", log(*STORY[:7]))
    before = update(store, engine, STORE, where).facts
    store.join()
    joined = update(store, engine, STORE, where)
    assert (joined.how, joined.facts) == ("read", before)
    store.join()
    store.put("b2", log(*STORY)[7:])  # joined, and more came
    later = update(store, engine, STORE, where, largest_update=1.0)
    assert (later.how, later.new_events, as_counts(later.facts)) == ("updated", 3, COUNTS)
    store.join()
    store.put("b1", log(*STORY[:6]))  # joined, and an event was erased
    assert update(store, engine, STORE, where).how == "counted"
    store.join(marked=False)
    assert update(store, engine, STORE, where).how == "counted"


def test_a_replacement_of_as_many_rows_is_noticed(engine: DuckEngine, tmp_path: Path) -> None:
    """Rows of a batch changed, their number did not, and a new batch came: all is counted anew."""
    store, where = MemoryStore(), tmp_path / "facts"
    store.put("b1", log(*STORY))
    update(store, engine, STORE, where)
    other = [{**row, "channel": "other"} for row in STORY]
    store.put("b1", log(*other))
    store.put("b2", log({"at": 5, "name": "page_view", "visitor_id": "z", "provider_id": "A", "message_id": "z"}))
    found = update(store, engine, STORE, where, largest_update=1.0)
    assert found.how == "counted" and "other" in found.facts.visits["segment"].to_pylist()


def test_a_crash_leaves_the_facts_before_and_damage_is_counted_anew(
    engine: DuckEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, where = MemoryStore(), tmp_path / "facts"
    store.put("b1", log(*STORY[:7]))
    update(store, engine, STORE, where)
    state = (where / "facts.json").read_bytes()
    store.put("b2", log(*STORY)[7:])
    with monkeypatch.context() as broken:
        broken.setattr(facts_module, "sync", lambda path: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(WorkspaceError, match="No space left"):
            update(store, engine, STORE, where, largest_update=1.0)
    assert (where / "facts.json").read_bytes() == state
    assert as_counts(update(store, engine, STORE, where, largest_update=1.0).facts) == COUNTS
    folder = where / json.loads((where / "facts.json").read_text())["folder"]
    (folder / "orders.arrow").write_bytes(b"ARROW1 damaged")
    assert update(store, engine, STORE, where).how == "counted"
    (where / "facts.json").write_text("{")
    assert as_counts(update(store, engine, STORE, where).facts) == COUNTS


def test_two_readers_at_once(tmp_path: Path) -> None:
    store, where = MemoryStore(), tmp_path / "facts"
    store.put("b1", log(*STORY))
    found: list[FactTables] = []

    def read(name: str) -> None:
        engine = DuckEngine(512, 1, tmp_path / name)
        found.append(update(store, engine, STORE, where).facts)
        engine.close()

    threads = [threading.Thread(target=read, args=(f"spill{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [as_counts(one) for one in found] == [COUNTS] * 3


def test_facts_of_a_lake_with_a_providers_file(engine: DuckEngine, tmp_path: Path) -> None:
    lake, where = Lake(tmp_path / "lake"), tmp_path / "facts"
    assert facts(lake, engine, Config(), where) == FactTables.empty()
    told = {"A": {"category": "toys", "name": ""}}
    for batch, days in (("one", (D1, D2)), ("two", (D3, date(2024, 1, 5)))):
        staged = lake.staging(batch)
        for day in days:
            target = staged / f"day={day}"
            target.mkdir()
            given = log(*STORY).drop_columns(["batch_id"]).append_column("batch_id", pa.array([batch] * len(STORY)))
            chosen = "SELECT * EXCLUDE (day) FROM given WHERE day = $day"
            pa.parquet.write_table(engine.query(chosen, {"day": day}, given=given), target / "part.parquet")
        lake.commit(batch, staged)
        found = facts(lake, engine, Config(), where, providers=told)
    assert as_counts(found) == COUNTS
    assert found.providers["category"].to_pylist() == ["toys", None]
    assert update(lake, engine, rules_of(Config(), told), where).how == "read"
    staged = lake.staging("replaced")  # the same rows of a day in another file
    (staged / f"day={D3}").mkdir()
    (old,) = lake.files(D3, D3)
    (staged / f"day={D3}" / "part.parquet").hardlink_to(old)
    lake.replace([D3], staged)
    again = update(lake, engine, rules_of(Config(), told), where)
    assert (again.how, as_counts(again.facts)) == ("counted", COUNTS)


def test_facts_of_a_lake_after_compaction_equal_those_before(engine: DuckEngine, tmp_path: Path) -> None:
    lake, where = Lake(tmp_path / "lake"), tmp_path / "facts"

    def put(batch: str, *story: dict[str, Any]) -> None:
        given = log(*story).drop_columns(["batch_id"]).append_column("batch_id", pa.array([batch] * len(story)))
        staged = lake.staging(batch)
        for day in sorted(set(given["day"].to_pylist())):
            (staged / f"day={day}").mkdir()
            rows = engine.query("SELECT * EXCLUDE (day) FROM given WHERE day = $day", {"day": day}, given=given)
            pa.parquet.write_table(rows, staged / f"day={day}" / "part.parquet")
        lake.commit(batch, staged)

    events = [{"message_id": f"m{n}", **row} for n, row in enumerate(STORY)]
    for n, row in enumerate(events[:-2]):
        put(f"b{n}", row)
    before = update(lake, engine, STORE, where).facts
    with lake.lock():
        assert lake.compact(lake.days()) > 2
    after = update(lake, engine, STORE, where)
    assert (after.how, after.facts) == ("read", before)
    assert update(lake, engine, STORE, where).how == "read"
    put("late", events[-2])
    with lake.lock():
        assert lake.compact(lake.days())
    put("later", events[-1])
    found = update(lake, engine, STORE, where, largest_update=1.0)
    assert (found.how, found.new_events) == ("updated", 2)
    assert found.facts == update(lake, engine, STORE, tmp_path / "anew").facts
    assert as_counts(found.facts) == COUNTS
    with lake.lock():
        day = lake.days()[0]
        lake.replace([day], lake.staging("gone"))
    assert update(lake, engine, STORE, where).how == "counted"


@pytest.mark.skipif(not DATA.exists(), reason="the Google Merchandise Store data is not beside the project")
def test_merchandise_store_by_channel(engine: DuckEngine) -> None:
    """GMV per visit by channel, from the data's own README (computed there outside this project)."""
    rows = []
    sources = (("visits.csv.gz", "page_view", "started_at"), ("orders.csv.gz", "purchase", "ordered_at"))
    for name, event, time in sources:
        with gzip.open(DATA / name, "rt") as file:
            for line in csv.DictReader(file):
                rows.append(
                    {
                        "ts": datetime.fromisoformat(line[time]).replace(tzinfo=None),
                        "name": event,
                        "visitor_id": line["visit_id"],
                        "visit_id": line["visit_id"],
                        "provider_id": line["channel"],
                        "amount_minor": int(Decimal(line["amount"]) * 100) if event == "purchase" else None,
                    }
                )
    for number, row in enumerate(rows):
        row["message_id"] = str(number)
    found = facts_of(engine, log(*rows))
    visits = found.visits.group_by("provider_id").aggregate([("visits", "sum")])
    orders = found.orders.group_by("provider_id").aggregate([("orders", "sum"), ("amount_minor", "sum")])
    visitors = dict(zip(visits["provider_id"].to_pylist(), visits["visits_sum"].to_pylist(), strict=True))
    gmv = dict(zip(orders["provider_id"].to_pylist(), orders["amount_minor_sum"].to_pylist(), strict=True))
    value = {name: round(float(gmv.get(name, 0)) / 100 / n, 2) for name, n in visitors.items()}
    assert value == {
        "Referral": 24.86,
        "Direct": 4.50,
        "Paid Search": 3.71,
        "Organic Search": 1.23,
        "Social": 0.76,
        "Display": 32.09,
        "Affiliates": 0.0,
        "(Other)": 0.0,
    }
    assert (visitors["Display"], visitors["(Other)"], sum(visitors.values())) == (172, 1, 23674)
    assert (sum(gmv.values()), sum(orders["orders_sum"].to_pylist())) == (Decimal(15775544), 952)
