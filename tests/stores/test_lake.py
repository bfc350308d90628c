"""What is the lake's own, beyond the contract of stores: its files, what killed writers leave, broken disks."""

from __future__ import annotations

import json
import os
import resource
import threading
from datetime import date
from pathlib import Path

import pytest
from deltalake import DeltaTable

from footfall.errors import WorkspaceError
from footfall.model import DECISION_COLUMNS
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.testing.store import event, stage_events

DAY = date(2024, 5, 1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def put(lake: Lake, batch_id: str, *ids: str) -> None:
    with lake.lock():
        folder = lake.staging(batch_id)
        stage_events(folder, [event(i, DAY) for i in ids])
        lake.commit(batch_id, folder)


def test_any_delta_reader_reads_it(lake: Lake) -> None:
    put(lake, "one", "a", "b")
    put(lake, "two", "c")
    table = DeltaTable(str(lake.directory))
    assert table.metadata().partition_columns == ["day"]
    assert table.count() == 3
    assert sorted(p.name for p in lake.directory.iterdir() if not p.name.startswith("_")) == ["one", "two"]


def test_what_a_killed_writer_left_is_swept_at_the_next_lock(lake: Lake) -> None:
    put(lake, "one", "a")
    with lake.lock():
        stage_events(lake.staging("killed"), [event("b", DAY)])
    with lake.lock():
        assert not (lake.directory / "killed").exists()
    assert len(lake.files()) == 1
    assert list((lake.directory / "_staging").iterdir()) == []


def test_what_others_put_into_the_lake_stays(lake: Lake) -> None:
    put(lake, "one", "a")
    (lake.directory / "notes").mkdir()
    (lake.directory / "notes" / "mine.txt").write_text("not Footfall's")
    stage_events(lake.directory / "one", [event("late", DAY)], "data_9.parquet")
    with lake.lock():
        stage_events(lake.staging("killed"), [event("b", DAY)])
    with lake.lock():
        pass
    assert (lake.directory / "notes" / "mine.txt").exists()
    assert len(list((lake.directory / "one").rglob("*.parquet"))) == 2
    assert not (lake.directory / "killed").exists()


@pytest.mark.parametrize("committed", [False, True])
def test_killed_while_replacing_leaves_one_reading(
    lake: Lake, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dying right before the commit, and right after it: the next lock removes the files of the other reading."""
    put(lake, "one", "secret")
    if committed:
        monkeypatch.setattr(Path, "unlink", lambda *_, **__: pytest.fail("dies here"))
    else:
        monkeypatch.setattr(DeltaTable, "create_write_transaction", lambda *_, **__: pytest.fail("dies here"))
    with lake.lock():
        stage_events(lake.staging("two"), [event("plain", DAY)])
        with pytest.raises(pytest.fail.Exception, match="dies here"):
            lake.replace([DAY], lake.directory / "two")
    monkeypatch.undo()
    with lake.lock():
        found = [p.parent.parent.name for p in lake.directory.rglob("day=*/*.parquet")]
    assert found == (["two"] if committed else ["one"])
    assert len(lake.files()) == 1


def test_a_number_is_applied_once_and_only_upwards(lake: Lake) -> None:
    """Delta itself takes repeated and lower versions of an application."""
    assert lake.applied("inbox") is None
    with lake.lock():
        for batch, number, rows in (("one", 7, 1), ("two", 7, 0), ("three", 3, 0), ("four", 8, 1)):
            stage_events(lake.staging(batch), [event(batch, DAY)])
            assert lake.commit(batch, lake.directory / batch, None, ("inbox", number)) == rows
            assert lake.applied("inbox") == max(7, number)
    assert lake.applied("other") is None
    assert not lake.has_batch("one")
    assert sum(f.rows for f in lake.log_files()) == 2


def test_joining_keeps_rows_and_lets_readers_finish(lake: Lake, tmp_path: Path) -> None:
    other = date(2024, 5, 2)
    for i in range(5):
        with lake.lock():
            folder = lake.staging(f"b{i}")
            rows = [
                event(f"m{i}", DAY, amount_minor=2**53 + i),
                event(f"n{i}", other, item_id="中" if i == 3 else None),
            ]
            stage_events(folder, rows)
            lake.commit(f"b{i}", folder, {"k": str(i)} if i == 2 else None, ("inbox", i))
    engine = DuckEngine(256, 1, tmp_path / "tmp")
    lake.attach(engine)
    asked = "SELECT * FROM events ORDER BY message_id"
    before = engine.query(asked)
    with lake.lock():
        assert lake.compact([DAY, date(2024, 5, 3)]) == 5
    assert engine.query(asked).equals(before)  # the files that were attached are still there
    lake.attach(engine)
    assert engine.query(asked).equals(before)
    assert [len(lake.files(d, d)) for d in (DAY, other)] == [1, 5]
    assert (lake.applied("inbox"), lake.note("k")) == (4, "2")
    assert sum(1 for _ in lake.directory.rglob("day=2024-05-01/*.parquet")) == 6
    with lake.lock():
        assert lake.compact([DAY, other], kept_s=0) == 5
    assert sum(1 for _ in lake.directory.rglob("day=2024-05-02/*.parquet")) == 1
    mark = next((lake.directory / "_staging").iterdir())
    mark.write_text(mark.read_text().replace('"after": ', '"after": -'))
    with lake.lock():
        assert sorted(map(str, lake.directory.rglob("day=*/*.parquet"))) == sorted(lake.files())
    lake.attach(engine)
    assert engine.query(asked).equals(before)
    engine.close()


def test_old_commits_go_but_not_their_notes(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from footfall.stores import lake as module

    monkeypatch.setattr(module, "_KEPT_COMMITS", 0)
    for i in range(4):
        with lake.lock():
            stage_events(lake.staging(f"b{i}"), [event(f"m{i}", DAY)])
            lake.commit(f"b{i}", lake.directory / f"b{i}", {"k": "held"} if i == 1 else None)
    DeltaTable(str(lake.directory)).create_checkpoint()
    with lake.lock():
        lake.compact([DAY])
    kept = sorted(int(p.name[:20]) for p in (lake.directory / "_delta_log").glob("*.json"))
    assert kept == [1, 3, 4]
    assert lake.note("k") == "held"
    assert sum(f.rows for f in lake.log_files()) == 4
    assert all(lake.has_batch(f"b{i}") for i in range(4))


def test_other_columns_make_another_table(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    decisions = Lake(tmp_path / "decisions", columns=DECISION_COLUMNS, view="decisions")
    engine = DuckEngine(256, 1, tmp_path / "tmp")
    decisions.attach(engine)
    assert engine.query("SELECT * FROM decisions").column_names == [c.name for c in DECISION_COLUMNS]
    with decisions.lock():
        folder = decisions.staging("one")
        (folder / f"day={DAY}").mkdir()
        pq.write_table(pa.table({"message_id": ["d"], "slots": [3]}), folder / f"day={DAY}" / "x.parquet")
        decisions.commit("one", folder, None, ("inbox", 1))
    decisions.attach(engine)
    found = engine.query("SELECT message_id, day, slots, explore FROM decisions").to_pylist()
    assert found == [{"message_id": "d", "day": DAY, "slots": 3, "explore": None}]
    engine.close()


def test_columns_that_hold_nothing_need_not_be_in_a_file(lake: Lake, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    put(lake, "full", "a")
    with lake.lock():
        folder = lake.staging("lean")
        (folder / f"day={DAY}").mkdir()
        pq.write_table(pa.table({"message_id": ["b"], "item_id": ["i"]}), folder / f"day={DAY}" / "x.parquet")
        lake.commit("lean", folder)
    engine = DuckEngine(256, 1, tmp_path / "tmp")
    lake.attach(engine)
    rows = engine.query("SELECT message_id, visitor_id, item_id, day FROM events ORDER BY message_id").to_pylist()
    assert rows == [
        {"message_id": "a", "visitor_id": "v", "item_id": None, "day": DAY},
        {"message_id": "b", "visitor_id": None, "item_id": "i", "day": DAY},
    ]
    assert DeltaTable(str(lake.directory)).count() == 2


def test_waiting_for_the_lock_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    first, second = Lake(tmp_path / "lake"), Lake(tmp_path / "lake", on_wait=told.append)
    release = threading.Event()
    held = threading.Event()

    def hold() -> None:
        with first.lock():
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    threading.Timer(0.3, release.set).start()
    with second.lock(wait_s=10):
        pass
    thread.join()
    assert len(told) == 1
    assert str(os.getpid()) in told[0]


def test_a_batch_id_must_be_a_folder_name(lake: Lake) -> None:
    with pytest.raises(WorkspaceError, match="folder name"):
        lake.staging("../out")


def test_a_log_of_bytes_is_refused_in_words(lake: Lake) -> None:
    put(lake, "one", "a")
    log = lake.directory / "_delta_log" / "00000000000000000000.json"
    log.write_text("not json\n")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        lake.version()


def test_a_file_where_the_lake_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be written"), Lake(tmp_path / "lake").lock():
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_lake_is_refused(lake: Lake) -> None:
    put(lake, "one", "a")
    lake.directory.chmod(0o500)
    try:
        with pytest.raises(WorkspaceError, match="permissions"):
            lake.staging("two")
    finally:
        lake.directory.chmod(0o700)


def test_a_full_disk_adds_nothing(lake: Lake, tmp_path: Path) -> None:
    """A limit on file size stands in for the full disk: DuckDB fails in the midst of the COPY."""
    put(lake, "one", "a")
    engine = DuckEngine(256, 1, tmp_path / "tmp")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with lake.lock():
        folder = lake.staging("two")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
        try:
            with pytest.raises(WorkspaceError), engine.session() as connection:
                connection.execute(
                    "COPY (SELECT md5(CAST(i AS VARCHAR)) AS message_id, DATE '2024-05-01' AS day "
                    "FROM range(100000) AS r(i)) "
                    "TO $target (FORMAT parquet, PARTITION_BY (day), OVERWRITE_OR_IGNORE)",
                    {"target": str(folder)},
                )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
    engine.close()
    with lake.lock():
        assert not folder.exists()
    assert DeltaTable(str(lake.directory)).count() == 1


def test_the_log_tells_rows_without_opening_files(lake: Lake) -> None:
    put(lake, "one", "a", "b")
    actions = [json.loads(x) for x in (lake.directory / "_delta_log" / f"{0:020}.json").read_text().splitlines()]
    stats = [json.loads(a["add"]["stats"]) for a in actions if "add" in a]
    assert [s["numRecords"] for s in stats] == [2]
    assert [f.rows for f in lake.log_files()] == [2]
