"""Erasing a person: whose events go, whose stay, and that no byte of the id is left on disk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_lake import TableStore, event, lake_of, small_engine

from footfall.errors import InputError, WorkspaceError
from footfall.record.erase import Erased, _find, _resolve, forget
from footfall.record.quarantine import SCHEMA
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckEngine]:
    engine = small_engine(tmp_path)
    yield engine
    engine.close()


def left(engine: DuckEngine, lake: Lake) -> list[str]:
    lake.attach(engine)
    return engine.query("SELECT message_id FROM events ORDER BY message_id")["message_id"].to_pylist()


def erase(tmp_path: Path, engine: DuckEngine, rows: list[dict[str, Any]], visitor: str) -> tuple[Erased, list[str]]:
    lake = lake_of(tmp_path / "lake", rows)
    erased = forget(lake, engine, visitor)
    return erased, left(engine, lake)


def row(
    message_id: str, visitor: str | None, user: str | None = None, day: int = 1, hour: int = 12, **more: Any
) -> dict[str, Any]:
    return event(f"2024-05-{day:02d}T{hour:02d}:00:00", visitor=visitor, user_id=user, message_id=message_id, **more)


def test_a_device_nobody_was_identified_on(tmp_path: Path, engine: DuckEngine) -> None:
    rows = [row("a", "d1"), row("b", "d2"), row("c", "d1", day=2), row("d", "d11", day=3)]
    erased, stay = erase(tmp_path, engine, rows, "d1")
    assert stay == ["b", "d"]
    assert erased == Erased(2, 0, (date(2024, 5, 1), date(2024, 5, 2)), ("d1",))


def test_a_user_with_devices_of_their_own(tmp_path: Path, engine: DuckEngine) -> None:
    rows = [
        row("before", "phone", day=1),
        row("login", "phone", "ann", day=2),
        row("desk", "desk", "ann", day=3),
        row("desk later", "desk", day=4),
        row("server", None, "ann", day=5),
        row("bob", "tablet", "bob", day=2),
    ]
    erased, stay = erase(tmp_path, engine, rows, "ann")
    assert stay == ["bob"]
    assert erased.ids == ("ann", "desk", "phone") and erased.events == 5 and erased.shared == ()


def test_a_device_of_one_person_is_that_person(tmp_path: Path, engine: DuckEngine) -> None:
    rows = [
        row("a", "phone", "ann"),
        row("b", "desk", "ann", day=2),
        row("c", "desk", day=3),
        row("d", "x", "bob"),
    ]
    erased, stay = erase(tmp_path, engine, rows, "phone")
    assert stay == ["d"] and erased.ids == ("ann", "desk", "phone")


def test_aliases_are_one_person(tmp_path: Path, engine: DuckEngine) -> None:
    rows = [
        row("a", "d1", "old"),
        row("alias 1", "d2", "mid", name="alias", previous_id="old"),
        row("alias 2", None, "new", name="alias", previous_id="mid", day=2),
        row("b", "d3", "new", day=3),
        row("anonymous", "old", day=3),  # the alias named a device, as Segment's does
        row("c", "d4", "other"),
    ]
    for i, name in enumerate(("old", "mid", "new", "d3")):
        erased, stay = erase(tmp_path / str(i), engine, rows, name)
        assert stay == ["c"] and erased.ids == ("d1", "d2", "d3", "mid", "new", "old")


def shared_tablet() -> list[dict[str, Any]]:
    return [
        row("anonymous first", "tablet", hour=1),
        row("ann 1", "tablet", "ann", hour=2),
        row("anonymous of ann", "tablet", hour=3),
        row("bob 1", "tablet", "bob", hour=4),
        row("anonymous of bob", "tablet", hour=5),
        row("ann 2", "tablet", "ann", hour=6),
        row("anonymous of ann again", "tablet", hour=7, day=2),
        row("ann's own", "phone", "ann", day=3),
    ]


def test_of_a_shared_device_only_the_persons_own_events_go(tmp_path: Path, engine: DuckEngine) -> None:
    # By the rule of the design, by hand: an anonymous event is of the latest user before it, else of the
    # first after.
    erased, stay = erase(tmp_path, engine, shared_tablet(), "ann")
    assert stay == ["anonymous of bob", "bob 1"]
    assert (erased.ids, erased.shared) == (("ann", "phone"), ("tablet",))
    erased, stay = erase(tmp_path / "b", engine, shared_tablet(), "bob")
    assert erased.events == 2 and "anonymous first" in stay and "anonymous of bob" not in stay


def test_a_shared_device_takes_only_itself(tmp_path: Path, engine: DuckEngine) -> None:
    erased, stay = erase(tmp_path, engine, shared_tablet(), "tablet")
    assert stay == ["ann's own"]
    assert (erased.ids, erased.others) == (("tablet",), ("ann", "bob"))


def test_an_id_that_is_not_there_changes_nothing(tmp_path: Path, engine: DuckEngine) -> None:
    lake = lake_of(tmp_path / "lake", [row("a", "d1")])
    before = lake.version(), lake.files()
    assert forget(lake, engine, "nobody") == Erased(0, 0, (), ("nobody",))
    assert (lake.version(), lake.files()) == before
    assert forget(Lake(tmp_path / "empty"), engine, "nobody").events == 0


def test_an_empty_id_is_refused(tmp_path: Path, engine: DuckEngine) -> None:
    with pytest.raises(InputError, match="no id"):
        forget(Lake(tmp_path / "lake"), engine, "")


SECRET = 'ann-o\'hara "é"-4711'


def _bytes_of_everything(folder: Path) -> bytes:
    """All files as they are, and what the Parquet files hold, decompressed."""
    text = b""
    for path in (p for p in folder.rglob("*") if p.is_file()):
        text += path.read_bytes() + str(path).encode()
        if path.suffix == ".parquet":
            rows = duckdb.sql("SELECT * FROM read_parquet($file)", params={"file": str(path)}).fetchall()
            text += repr(rows).encode() + b"".join(v.encode() for r in rows for v in r if isinstance(v, str))
    return text


def test_no_byte_of_the_id_is_left(tmp_path: Path, engine: DuckEngine) -> None:
    rows = [
        row(f"m{d}{k}", SECRET if k == 0 else f"v{k}", "bob" if k == 3 else None, day=d)
        for d in (1, 2)
        for k in range(5)
    ]
    rows += [
        row("said in json", "v9", day=3, properties='{"invited_by": "ann-o\'hara \\"é\\"-4711", "n": 1}'),
        row("said in ascii", "v9", day=3, properties='{"list": ["ann-o\'hara \\"\\u00e9\\"-4711"]}'),
        row("another", "v9", day=4, properties='{"invited_by": "ann-o\'hara"}'),
    ]
    lake = lake_of(tmp_path / "lake", rows)
    quarantine = tmp_path / "quarantine"
    quarantine.mkdir()
    raws = [
        f'{{"visitor_id": "{SECRET}"}}'.replace('"é"', '\\"é\\"'),
        f"2024,x,{SECRET.replace(chr(34), chr(34) * 2)},",
        "fine",
    ]
    kept_aside = pa.Table.from_pylist([{"raw": raw, "reason": "bad"} for raw in raws], schema=SCHEMA)
    pq.write_table(kept_aside, quarantine / "b1.parquet")
    marks = (b"4711", b'hara "', b'hara \\"', "o'hara \"é".encode())
    assert all(m in _bytes_of_everything(tmp_path) for m in marks)
    old = lake.files(date(2024, 5, 4))

    erased = forget(lake, engine, SECRET, quarantine)

    assert (erased.events, erased.rejects, erased.days) == (2, 2, tuple(date(2024, 5, d) for d in (1, 2, 3)))
    everything = _bytes_of_everything(tmp_path)
    assert not [m for m in marks if m in everything]
    assert len(left(engine, lake)) == 11
    assert lake.files(date(2024, 5, 4)) == old  # a day without mentions is not touched
    found = engine.query("SELECT properties FROM events WHERE visitor_id = 'v9' ORDER BY message_id")
    assert found["properties"].to_pylist() == [
        '{"invited_by": "ann-o\'hara"}',
        '{"list": ["erased"]}',
        '{"invited_by": "erased", "n": 1}',
    ]
    assert pq.read_table(quarantine / "b1.parquet")["raw"].to_pylist() == ["fine"]


def test_what_stays_is_exactly_what_it_was(tmp_path: Path, engine: DuckEngine) -> None:
    rows = [
        row(
            f"m{k}",
            f"v{k}",
            provider=None,
            amount_minor=2**53 + 1 + k,
            propensity=0.1 + 0.2,
            campaign='春 | "x"',
            properties="{}",
        )
        for k in range(4)
    ]
    lake = lake_of(tmp_path / "lake", rows)
    lake.attach(engine)
    before = engine.query("SELECT * FROM events ORDER BY message_id")
    forget(lake, engine, "v2")
    lake.attach(engine)
    after = engine.query("SELECT * FROM events ORDER BY message_id")
    assert after.schema == before.schema
    assert after.equals(before.take([0, 1, 3]))


def test_a_whole_day_may_go(tmp_path: Path, engine: DuckEngine) -> None:
    lake = lake_of(tmp_path / "lake", [row("a", "d1", day=1), row("b", "d2", day=2)])
    forget(lake, engine, "d1")
    assert lake.days() == (date(2024, 5, 2),)
    forget(lake, engine, "d2")
    assert lake.days() == () and left(engine, lake) == []
    assert not list((tmp_path / "lake").rglob("day=*"))


def test_the_lock_is_held(tmp_path: Path, engine: DuckEngine) -> None:
    lake = lake_of(tmp_path / "lake", [row("a", "d1")])

    def locked(done: float, total: float) -> None:
        assert (done, total) == (1, 1)
        with pytest.raises(WorkspaceError, match="being written"), Lake(tmp_path / "lake").lock(0.0):
            pass

    assert forget(lake, engine, "d1", progress=locked).events == 1
    with lake.lock(0.0):
        pass


def test_a_failed_write_erases_nothing(tmp_path: Path, engine: DuckEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = lake_of(tmp_path / "lake", [row("a", "d1"), row("b", "d2")])

    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("footfall.record.erase.pq.write_table", no_space)
    with pytest.raises(WorkspaceError, match="No space left"):
        forget(lake, engine, "d1")
    assert left(engine, lake) == ["a", "b"]
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == 1


def test_an_id_that_everybody_is_aliased_to_is_refused(
    tmp_path: Path, engine: DuckEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("footfall.record.erase._MOST_USERS", 5)
    rows = [row(f"m{i}", None, "null", name="alias", previous_id=f"u{i}") for i in range(10)]
    lake = lake_of(tmp_path / "lake", rows)
    with pytest.raises(InputError, match="more than 5 ids"):
        forget(lake, engine, "u3")
    assert len(left(engine, lake)) == 10


def test_rows_kept_aside_are_matched_by_whole_ids(tmp_path: Path, engine: DuckEngine) -> None:
    quarantine = tmp_path / "quarantine"
    quarantine.mkdir()
    (quarantine / "notes.ndjson").write_text('{"v":"v1"}\n{"v":"v12"}\n{"v":"order-v1"}\nv1,2\n', encoding="utf-8")
    assert forget(Lake(tmp_path / "lake"), engine, "v1", quarantine).rejects == 2
    assert (quarantine / "notes.ndjson").read_text() == '{"v":"v12"}\n{"v":"order-v1"}\n'
    (quarantine / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(WorkspaceError, match=r"broken\.parquet"):
        forget(Lake(tmp_path / "lake"), engine, "v1", quarantine)


# ---------------------------------------------------------------- against a slow way of saying the same


def by_hand(rows: list[dict[str, Any]], visitor: str) -> set[str]:
    """message_ids that go, row by row and in plain Python, from the rule at the top of record/erase.py."""
    group = {x: {x} for r in rows for x in (r["user_id"], r.get("previous_id"), r["visitor_id"], visitor) if x}
    for r in rows:
        if r["name"] == "alias" and r["user_id"] and r.get("previous_id"):
            merged = group[r["user_id"]] | group[r["previous_id"]]
            for x in merged:
                group[x] = merged
    on = {d: {r["user_id"] for r in rows if r["visitor_id"] == d and r["user_id"]} for d in group}
    users = group[visitor]
    strangers = on[visitor] - users
    if strangers and strangers <= group[min(strangers)]:
        users = users | group[min(strangers)]
    devices = {d for d in on if (on[d] & users or d in users) and on[d] <= users} | {visitor}
    gone = set()
    for r in rows:
        theirs = [o for o in rows if o["visitor_id"] == r["visitor_id"] and r["visitor_id"] and o["user_id"]]
        theirs.sort(key=lambda o: (o["ts"], o["message_id"]))
        before = [o for o in theirs if o["ts"] <= r["ts"]]
        owner = r["user_id"] or (before[-1]["user_id"] if before else theirs[0]["user_id"] if theirs else None)
        if not before and theirs and not r["user_id"]:  # of the first time, the greater message_id
            owner = max((o["message_id"], o["user_id"]) for o in theirs if o["ts"] == theirs[0]["ts"])[1]
        if owner in users or r.get("previous_id") in users or r["visitor_id"] in devices:
            gone.add(r["message_id"])
    return gone


def test_random_logs_agree_with_the_rule_applied_row_by_row(engine: DuckEngine) -> None:
    rng = np.random.default_rng(7)
    sizes = []
    for case in range(30):
        rows = []
        for i in range(int(rng.integers(1, 25))):
            device = rng.choice(["d1", "d2", "d3", "u1", ""])
            user = rng.choice(["u1", "u2", "u3", "", "", ""])
            if not device and not user:
                device = "d1"
            alias = user and rng.random() < 0.1
            more = {"name": "alias", "previous_id": str(rng.choice(["u1", "u2", "u3"]))} if alias else {}
            rows.append(row(f"m{i:02d}", str(device) or None, str(user) or None, hour=int(rng.integers(0, 8)), **more))
        TableStore(rows).attach(engine)
        for visitor in ("d1", "u1", "u2"):
            _find(engine, _resolve(engine, visitor))
            found = engine.query("SELECT message_id FROM doomed")["message_id"].to_pylist()
            assert len(found) == len(set(found))
            assert set(found) == by_hand(rows, visitor), (case, visitor, rows)
            sizes.append(len(found) / len(rows))
    assert 0.2 < np.mean(sizes) < 0.9
