"""The contracts of ``ports.Store`` and ``ports.Engine``: an adapter subclasses one, giving its fixture."""

# ruff: noqa: D102  the names of the tests say what they hold

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from footfall.errors import WorkspaceError
from footfall.model import EVENT_COLUMNS
from footfall.ports import Engine, Store

_ARROW = {
    "VARCHAR": pa.string(),
    "TIMESTAMP": pa.timestamp("us"),
    "DATE": pa.date32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
}


def stage_events(folder: Path, rows: Sequence[Mapping[str, object]], file: str = "data_0.parquet") -> None:
    """Write rows (ts and what else is wanted of EVENT_COLUMNS) as day=YYYY-MM-DD/``file``, days being UTC days."""
    by_day: dict[date, list[dict[str, object]]] = {}
    for row in rows:
        moment = row["ts"]
        if not isinstance(moment, datetime):
            raise TypeError("ts must be a datetime")
        by_day.setdefault(moment.date(), []).append(dict(row))
    schema = pa.schema([(c.name, _ARROW[c.type]) for c in EVENT_COLUMNS if c.name != "day"])
    for day, members in by_day.items():
        target = folder / f"day={day.isoformat()}"
        target.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(members, schema=schema), target / file)


def event(message_id: str, day: date, hour: int = 0, **fields: object) -> dict[str, object]:
    """A page view of visitor v at provider p."""
    moment = datetime(day.year, day.month, day.day, hour)
    plain = {"message_id": message_id, "ts": moment, "name": "page_view", "visitor_id": "v", "provider_id": "p"}
    return {**plain, **fields}


def _hold(store: Store, held: threading.Event, stop: threading.Event) -> None:
    with store.lock():
        held.set()
        stop.wait(30)


class StoreContract:
    """The contract of ``ports.Store``. Fixtures to give: ``store`` (empty) and ``engine``."""

    D1, D2, D3 = date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)

    def ids(self, store: Store, engine: Engine, first: date | None = None, last: date | None = None) -> list[str]:
        """Message ids that the log shows, sorted."""
        store.attach(engine, first, last)
        found: list[str] = engine.query("SELECT message_id FROM events ORDER BY message_id")["message_id"].to_pylist()
        return found

    def put(self, store: Store, batch_id: str, rows: Sequence[Mapping[str, object]]) -> int:
        """Commit rows as one batch."""
        with store.lock():
            folder = store.staging(batch_id)
            stage_events(folder, rows)
            return store.commit(batch_id, folder)

    def test_empty_log_has_a_view_and_no_days(self, store: Store, engine: Engine) -> None:
        assert store.version() == -1
        assert store.days() == ()
        assert store.files() == ()
        assert not store.has_batch("a")
        store.attach(engine)
        table = engine.query("SELECT * FROM events")
        assert table.num_rows == 0
        assert table.column_names == [c.name for c in EVENT_COLUMNS]

    def test_commit_shows_rows_with_all_columns(self, store: Store, engine: Engine) -> None:
        rows = [event("a", self.D1, amount_minor=2**53 + 1), event("b", self.D2), event("c", self.D2, 23)]
        assert self.put(store, "one", rows) == 3
        assert store.version() >= 0
        assert store.days() == (self.D1, self.D2)
        assert store.has_batch("one")
        store.attach(engine)
        table = engine.query("SELECT * FROM events ORDER BY message_id")
        assert table.column_names == [c.name for c in EVENT_COLUMNS]
        assert table["message_id"].to_pylist() == ["a", "b", "c"]
        assert table["day"].to_pylist() == [self.D1, self.D2, self.D2]
        assert table["amount_minor"].to_pylist() == [2**53 + 1, None, None]
        assert table["ts"].to_pylist()[2] == datetime(2024, 2, 29, 23)

    def test_a_batch_commits_once(self, store: Store, engine: Engine) -> None:
        with store.lock():
            folder = store.staging("one")
            stage_events(folder, [event("a", self.D1)])
            assert store.commit("one", folder) == 1
            version = store.version()
            assert store.commit("one", folder) == 0
        assert store.version() == version
        assert self.ids(store, engine) == ["a"]

    def test_staged_rows_do_not_show(self, store: Store, engine: Engine) -> None:
        self.put(store, "one", [event("a", self.D1)])
        with store.lock():
            stage_events(store.staging("two"), [event("b", self.D1)])
            assert self.ids(store, engine) == ["a"]
        assert not store.has_batch("two")

    def test_staging_starts_afresh(self, store: Store, engine: Engine) -> None:
        with store.lock():
            stage_events(store.staging("one"), [event("left over", self.D1)])
            folder = store.staging("one")
            assert list(folder.iterdir()) == []
            stage_events(folder, [event("a", self.D1)])
            assert store.commit("one", folder) == 1
        assert self.ids(store, engine) == ["a"]

    def test_days_limit_what_is_seen(self, store: Store, engine: Engine) -> None:
        self.put(store, "one", [event("a", self.D1), event("b", self.D2), event("c", self.D3)])
        assert self.ids(store, engine, self.D2) == ["b", "c"]
        assert self.ids(store, engine, None, self.D2) == ["a", "b"]
        assert self.ids(store, engine, self.D2, self.D2) == ["b"]
        (file,) = store.files(self.D2, self.D2)
        assert store.file_days()[file] == self.D2
        assert sorted(store.file_days()) == sorted(store.files())
        assert self.ids(store, engine, date(2030, 1, 1)) == []

    def test_replace_changes_whole_days_and_purges_bytes(self, store: Store, engine: Engine) -> None:
        self.put(store, "one", [event("a", self.D1), event("b", self.D2)])
        self.put(store, "two", [event("secret", self.D2), event("c", self.D3)])
        old = store.files(self.D2, self.D2)
        with store.lock():
            folder = store.staging("mend")
            stage_events(folder, [event("b", self.D2)])
            store.replace([self.D2], folder)
        assert self.ids(store, engine) == ["a", "b", "c"]
        assert not any(Path(f).exists() for f in old)

    def test_replace_by_nothing_empties_a_day(self, store: Store, engine: Engine) -> None:
        self.put(store, "one", [event("a", self.D1), event("b", self.D2)])
        with store.lock():
            store.replace([self.D2], store.staging("mend"))
        assert self.ids(store, engine) == ["a"]
        assert store.days() == (self.D1,)

    def test_replace_refuses_files_of_other_days(self, store: Store) -> None:
        self.put(store, "one", [event("a", self.D1), event("b", self.D2)])
        with store.lock():
            folder = store.staging("mend")
            stage_events(folder, [event("b", self.D3)])
            with pytest.raises(WorkspaceError, match="2024-03-01"):
                store.replace([self.D2], folder)
        assert store.days() == (self.D1, self.D2)

    def test_replaced_rows_are_told_from_joined_files(self, store: Store, engine: Engine) -> None:
        assert store.rewrites() == (-1, -1)
        self.put(store, "one", [event("a", self.D1)])
        self.put(store, "two", [event("b", self.D1)])
        assert store.rewrites() == (-1, -1)
        with store.lock():
            assert store.compact([self.D1]) == 2
        joined = store.version()
        assert store.rewrites() == (-1, joined)
        with store.lock():
            folder = store.staging("mend")
            stage_events(folder, [event("b", self.D1)])
            store.replace([self.D1], folder)
        assert store.rewrites() == (store.version(), joined)
        assert self.ids(store, engine) == ["b"]

    def test_notes_come_with_their_transaction(self, store: Store) -> None:
        assert store.note("k") is None
        with store.lock():
            folder = store.staging("one")
            stage_events(folder, [event("a", self.D1)])
            store.commit("one", folder, {"k": "first", "other": "x"})
        self.put(store, "two", [event("b", self.D1)])
        assert (store.note("k"), store.note("other"), store.note("none")) == ("first", "x", None)
        with store.lock():
            folder = store.staging("three")
            stage_events(folder, [event("c", self.D1)])
            store.replace([self.D1], folder, "three", {"k": "newer \u4e2d"})
        assert (store.note("k"), store.note("other")) == ("newer \u4e2d", "x")
        assert store.has_batch("three")

    def test_a_batch_that_was_there_brings_no_note(self, store: Store) -> None:
        self.put(store, "one", [event("a", self.D1)])
        with store.lock():
            store.commit("one", Path(), {"k": "late"})
        assert store.note("k") is None

    def test_lock_is_exclusive_between_processes(self, store: Store) -> None:
        context = multiprocessing.get_context("fork")
        held, stop = context.Event(), context.Event()
        process = context.Process(target=_hold, args=(store, held, stop))
        process.start()
        try:
            assert held.wait(20)
            with pytest.raises(WorkspaceError, match=str(process.pid)), store.lock(wait_s=0.2):
                pass
        finally:
            stop.set()
            process.join(20)
        with store.lock(wait_s=5):
            pass

    def test_lock_goes_with_a_killed_process(self, store: Store) -> None:
        context = multiprocessing.get_context("fork")
        held, stop = context.Event(), context.Event()
        process = context.Process(target=_hold, args=(store, held, stop))
        process.start()
        assert held.wait(20)
        process.kill()
        process.join(20)
        started = time.monotonic()
        with store.lock(wait_s=5):
            assert time.monotonic() - started < 2


class EngineContract:
    """The contract of ``ports.Engine``. Fixture to give: ``engine``."""

    def test_query_gives_arrow_with_parameters_and_tables(self, engine: Engine) -> None:
        table = pa.table({"k": ["a", "b", "a"], "v": [1, 2, 3]})
        found = engine.query(
            "SELECT k, count(*) AS n FROM t WHERE v >= $least GROUP BY k ORDER BY k", {"least": 1}, t=table
        )
        assert isinstance(found, pa.Table)
        assert found.to_pydict() == {"k": ["a", "b"], "n": [2, 1]}

    def test_tables_are_gone_after_the_query(self, engine: Engine) -> None:
        engine.query("SELECT * FROM passing", None, passing=pa.table({"x": [1]}))
        with pytest.raises(Exception, match="passing"):
            engine.query("SELECT * FROM passing")

    def test_sums_of_money_leave_exactly(self, engine: Engine) -> None:
        table = pa.table({"minor": [2**53, 1]})
        found = engine.query("SELECT CAST(sum(minor) AS DECIMAL(38, 0)) AS total FROM t", None, t=table)
        assert int(found["total"][0].as_py()) == 2**53 + 1  # a double would lose the 1

    def test_execute_makes_temporary_tables(self, engine: Engine) -> None:
        engine.execute("CREATE TEMPORARY TABLE kept AS SELECT $x AS x", {"x": 7})
        assert engine.query("SELECT x FROM kept").to_pydict() == {"x": [7]}

    def test_offsets_are_kept(self, engine: Engine) -> None:
        found = engine.query(
            "SELECT CAST(CAST(CAST('2017-05-01 07:19:37+08' AS TIMESTAMPTZ) AS TIMESTAMP) AS VARCHAR) AS utc"
        )
        assert found["utc"].to_pylist() == ["2017-04-30 23:19:37"]

    def test_threads_take_turns(self, engine: Engine) -> None:
        results: list[int] = []

        def ask(number: int) -> None:
            table = pa.table({"x": [number] * 100})
            for _ in range(10):
                results.append(engine.query("SELECT max(x) AS m FROM t", None, t=table)["m"][0].as_py() - number)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [0] * 40
