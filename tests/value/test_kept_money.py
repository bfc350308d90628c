"""Orders and refunds kept beside the facts: linked from update to update, gone when told, and never needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from facts_support import MemoryStore, log

from footfall.stores.engine import DuckEngine
from footfall.value import arrow_files, kept_money
from footfall.value.facts import forget, update
from footfall.value.recipes import recipe
from footfall.value.relations import Rules, count

RULES = Rules(recipe=recipe("store"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckEngine]:
    made = DuckEngine(512, 1, tmp_path / "spill")
    yield made
    made.close()


def day(number: int) -> list[dict[str, object]]:
    """A visit, and a purchase of what was looked at a day before; then a refund of the order before."""
    shop = {"visitor_id": f"v{number % 3}", "provider_id": "A"}
    return [
        {"at": number + 0.1, "name": "page_view", "channel": "ads", "message_id": f"a{number}"} | shop,
        {"at": number + 0.5, "name": "purchase", "order_id": f"o{number}", "amount_minor": number}
        | shop
        | {"message_id": f"b{number}"},
        {"at": number + 0.6, "name": "refund", "order_id": f"o{number - 1}", "message_id": f"c{number}"} | shop,
    ]


def step(store: MemoryStore, engine: DuckEngine, where: Path, number: int, rules: Rules = RULES) -> str:
    store.put(f"b{number}", log(*day(number)))
    found = update(store, engine, rules, where, largest_update=1.0)
    store.attach(engine)
    assert found.facts == count(engine, rules)
    return found.how


def parts(where: Path) -> list[Path]:
    return sorted(where.glob("facts-*/money-*.arrow"))


def test_parts_are_linked_and_joined_when_many(
    engine: DuckEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_money, "MOST_PARTS", 2)
    store, seen = MemoryStore(), []
    for number in range(4):
        step(store, engine, tmp_path / "facts", number)
        seen.append(len(parts(tmp_path / "facts")))  # of the folder in use only: the one before keeps its tables
        assert sum(arrow_files.read(path).num_rows for path in parts(tmp_path / "facts")) == 2 * (number + 1)
    assert seen == [1, 2, 1, 2]


def test_no_links_no_matter(engine: DuckEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    store = MemoryStore()
    assert [step(store, engine, tmp_path / "facts", n) for n in range(3)] == ["counted", "updated", "updated"]
    assert len(parts(tmp_path / "facts")) == 1


def test_forgotten_and_damaged_parts_mean_counting_anew(engine: DuckEngine, tmp_path: Path) -> None:
    store, where = MemoryStore(), tmp_path / "facts"
    forget(where)  # where nothing was ever counted
    assert [step(store, engine, where, n) for n in range(2)] == ["counted", "updated"]
    forget(where)
    assert not parts(where)
    assert update(store, engine, RULES, where).how == "read"  # the tables themselves name nobody
    assert [step(store, engine, where, n) for n in (2, 3)] == ["counted", "updated"]
    parts(where)[0].write_bytes(b"ARROW1")
    assert step(store, engine, where, 4) == "counted"


def test_the_log_is_read_where_none_are_kept(
    engine: DuckEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = replace(RULES, exclude_visitors=("v1",))
    store = MemoryStore()
    assert [step(store, engine, tmp_path / "one", n, rules) for n in range(3)] == ["counted", "updated", "updated"]
    assert not parts(tmp_path / "one")
    monkeypatch.setattr(kept_money, "LARGEST_KEPT", 3)
    store = MemoryStore()
    assert [step(store, engine, tmp_path / "two", n) for n in range(4)] == ["counted"] + ["updated"] * 3
    assert not parts(tmp_path / "two")  # few at first, then too many


def test_who_is_forgotten_is_in_no_file_beside_the_facts(cli, shop: Path, tmp_path: Path) -> None:
    row = '{{"ts":"2024-05-0{0}T10:00:00Z","name":"purchase","visitor_id":"{1}","provider_id":"p","amount":"1"}}\n'
    file = tmp_path / "log.ndjson"
    for days in ((1, 2), (3, 3)):
        file.write_text("".join(row.format(day, who) for day in days for who in ("anna-1", "bob-2")))
        assert cli("import", file, workspace=shop).status == 0
        assert cli("value").status == 0

    def named(who: str) -> bool:
        tables = [arrow_files.read(path) for path in (shop / "state" / "facts").rglob("money-*.arrow")]
        return any(who in str(table.to_pylist()) for table in tables)

    assert named("anna-1")
    assert cli("forget", "anna-1", "--yes").status == 0
    assert not named("anna-1")
    assert cli("value").status == 0
    assert named("bob-2")
    assert not named("anna-1")
