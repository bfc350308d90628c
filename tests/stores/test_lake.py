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
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.testing import event, stage_events

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
    stage_events(lake.directory / "killed", [event("b", DAY)])
    stage_events(lake.directory / "one", [event("late", DAY)], "data_9.parquet")
    with lake.lock():
        assert not (lake.directory / "killed").exists()
        assert len(list((lake.directory / "one").rglob("*.parquet"))) == 1
    assert len(lake.files()) == 1


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
