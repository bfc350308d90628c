"""Lake: the event log as a Delta table on Parquet, partitioned by local day.

    <lake>/_delta_log/                     what is committed
    <lake>/_writer.lock                    held by the one writer; the kernel lets go of it when the process dies
    <lake>/<batch_id>/day=YYYY-MM-DD/*.parquet   one folder for each batch, written first, committed where it lies

A batch is one Delta transaction that carries the batch id as its application id, so it commits once. Files of a
writer that was killed are not in the log; the next writer removes them (``sweep``). A note stands in the information
of its commit; its key is an application id, too, whose version is that of the commit, so that it is found at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import Field, PrimitiveType
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from footfall.errors import WorkspaceError
from footfall.model import EVENT_COLUMNS
from footfall.ports import Engine

DELTA_TYPES = {
    "VARCHAR": "string",
    "BIGINT": "long",
    "DOUBLE": "double",
    "DATE": "date",
    "TIMESTAMP": "timestamp_ntz",
}
LOCK_NAME = "_writer.lock"
_BEGUN = "_begun"
_BATCH_ID = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z_.-]{0,120}")
_POLL_S = 0.05
_NOTE = "note:"  # before a note's key, where it is an application id
_NOTES = "footfall_notes"  # in the information of a commit


@dataclass(frozen=True, slots=True)
class LogFile:
    """One committed Parquet file: path relative to the lake, day, rows, bytes, and columns that hold nothing."""

    path: str
    day: date
    rows: int
    size: int
    nothing: frozenset[str] = frozenset()


class Lake:
    """``ports.Store`` on a local folder."""

    def __init__(self, directory: Path, on_wait: Callable[[str], None] | None = None) -> None:
        """directory: the table's folder, made when first written. on_wait: told once if the lock is held elsewhere."""
        self.directory = directory
        self._on_wait = on_wait

    # ------------------------------------------------------------ reading

    def version(self) -> int:
        """Version of the log; -1 before the first batch."""
        table = self._table()
        return -1 if table is None else int(table.version())

    def log_files(self, first_day: date | None = None, last_day: date | None = None) -> tuple[LogFile, ...]:
        """Committed files within the days, both included, by day and path."""
        table = self._table()
        if table is None:
            return ()
        actions = pa.table(table.get_add_actions(flatten=True))
        nulls = [name for name in actions.column_names if name.startswith("null_count.")]
        found = []
        for row in actions.to_pylist():
            day, rows = row["partition.day"], int(row["num_records"] or 0)
            if (first_day is None or day >= first_day) and (last_day is None or day <= last_day):
                nothing = frozenset(n.removeprefix("null_count.") for n in nulls if row[n] == rows)
                found.append(LogFile(unquote(row["path"]), day, rows, int(row["size_bytes"]), nothing))
        return tuple(sorted(found, key=lambda f: (f.day, f.path)))

    def files(self, first_day: date | None = None, last_day: date | None = None) -> tuple[str, ...]:
        """Parquet files that hold the log, or the part of it within the days, both included."""
        return tuple(str(self.directory / f.path) for f in self.log_files(first_day, last_day))

    def days(self) -> tuple[date, ...]:
        """Days that have events, ascending."""
        return tuple(sorted({f.day for f in self.log_files() if f.rows}))

    def attach(self, engine: Engine, first_day: date | None = None, last_day: date | None = None) -> None:
        """Make the log visible to ``engine`` as the view ``events`` (model.EVENT_COLUMNS), empty where it is empty.

        The view reads the files committed now; attach again to see later batches.
        """
        groups: dict[frozenset[str], list[str]] = {}
        for f in self.log_files(first_day, last_day):
            groups.setdefault(f.nothing, []).append(str(self.directory / f.path))
        if not groups:
            nothing = ", ".join(f"CAST(NULL AS {c.type}) AS {c.name}" for c in EVENT_COLUMNS)
            engine.execute(f"CREATE OR REPLACE TEMPORARY VIEW events AS SELECT {nothing} WHERE FALSE")
            return
        parts = []
        for number, (absent, files) in enumerate(groups.items()):
            # A view takes no parameters, so each list of files goes in through a variable that the view reads.
            engine.execute(f"SET VARIABLE footfall_files_{number} = $files", {"files": files})
            columns = ", ".join(
                f"CAST(NULL AS {c.type}) AS {c.name}" if c.name in absent else c.name for c in EVENT_COLUMNS
            )
            parts.append(
                f"SELECT {columns} FROM read_parquet(getvariable('footfall_files_{number}'), "  # noqa: S608
                "hive_partitioning = true, hive_types = {'day': 'DATE'})"
            )
        engine.execute(f"CREATE OR REPLACE TEMPORARY VIEW events AS {' UNION ALL '.join(parts)}")

    def has_batch(self, batch_id: str) -> bool:
        """Whether the batch has been committed."""
        table = self._table()
        return table is not None and table.transaction_version(batch_id) is not None

    def note(self, key: str) -> str | None:
        """The newest text that a transaction brought under ``key``; None also where its commit was cleaned away."""
        table = self._table()
        version = None if table is None else table.transaction_version(_NOTE + key)
        if version is None:
            return None
        try:
            lines = (self.directory / "_delta_log" / f"{version:020}.json").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        about: dict[str, str] = next((a["commitInfo"] for a in map(json.loads, lines) if "commitInfo" in a), {})
        found: str | None = json.loads(about.get(_NOTES, "{}")).get(key)
        return found

    # ------------------------------------------------------------ writing

    def staging(self, batch_id: str) -> Path:
        """A fresh folder inside the lake in which to write ``day=YYYY-MM-DD/*.parquet`` before ``commit``.

        It is emptied where a killed writer left something. Raises WorkspaceError where the lake cannot be written.
        """
        if not _BATCH_ID.fullmatch(batch_id):
            raise WorkspaceError(f"batch id {batch_id!r} is no folder name", "use letters, digits, '-', '_' and '.'")
        folder = self.directory / batch_id
        if self.has_batch(batch_id):
            raise WorkspaceError(f"batch {batch_id} has been committed already", "ask has_batch first")
        with _writing(self.directory):
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
        return folder

    def commit(self, batch_id: str, staged: Path, notes: Mapping[str, str] | None = None) -> int:
        """Append the staged files as one transaction, once for a batch id; the rows added (0 where it was there).

        ``notes`` are small texts that come into force with the transaction, each under its key.
        """
        if self.has_batch(batch_id):
            return 0
        with _writing(self.directory):
            adds = self._adds(staged)
            table = self._table()
            properties = _properties(-1 if table is None else table.version(), batch_id, notes)
            hooks = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
            if table is None:
                create_table_with_add_actions(
                    str(self.directory),
                    _schema(),
                    adds,
                    mode="error",
                    partition_by=["day"],
                    name="events",
                    commit_properties=properties,
                    post_commithook_properties=hooks,
                )
            else:
                table.create_write_transaction(
                    list(adds),
                    "append",
                    table.schema(),
                    partition_by=["day"],
                    commit_properties=properties,
                    post_commithook_properties=hooks,
                )
            _sync(self.directory / "_delta_log")
        return sum(json.loads(add.stats)["numRecords"] for add in adds)

    def replace(
        self, days: Sequence[date], staged: Path, batch_id: str = "", notes: Mapping[str, str] | None = None
    ) -> None:
        """Replace whole days by the staged files in one transaction (erasure, compaction) and purge the old bytes.

        Where the staged files bring a batch, it counts as committed with them, and ``notes`` as in ``commit``.
        Staged files of a day that is not in ``days`` are refused. Readers that attached before must attach again.
        """
        table = self._table()
        if table is None or not days:
            return
        wanted = set(days)
        old = [f for f in self.log_files(min(days), max(days)) if f.day in wanted]
        with _writing(self.directory):
            adds = self._adds(staged)
            strange = {add.partition_values["day"] for add in adds} - {d.isoformat() for d in wanted}
            if strange:
                raise WorkspaceError(
                    f"files of {', '.join(sorted(map(str, strange)))} are staged, but not to be replaced",
                    "name every staged day among the days to replace",
                )
            now_ms = time.time_ns() // 1_000_000
            removes = [RemoveAction(f.path, True, now_ms, f.size, {"day": f.day.isoformat()}) for f in old]
            table.create_write_transaction(
                [*removes, *adds],
                "append",
                table.schema(),
                partition_by=["day"],
                commit_properties=_properties(table.version(), batch_id, notes),
                post_commithook_properties=PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False),
            )
            _sync(self.directory / "_delta_log")
            for f in old:
                (self.directory / f.path).unlink(missing_ok=True)
            self._drop_empty({(self.directory / f.path).parent for f in old})

    def sweep(self) -> int:
        """Remove what killed writers left behind; the number of files removed. ``lock`` calls it."""
        if not self.directory.is_dir():
            return 0
        committed = {f.path for f in self.log_files()}
        removed = 0
        with _writing(self.directory):
            for batch in self.directory.iterdir():
                if not batch.is_dir() or batch.name.startswith("_"):
                    continue
                for path in [p for p in batch.rglob("*") if p.is_file()]:
                    if path.relative_to(self.directory).as_posix() not in committed:
                        path.unlink()
                        removed += 1
                self._drop_empty([*(p for p in batch.rglob("*") if p.is_dir()), batch])
        return removed

    @contextmanager
    def lock(self, wait_s: float = 600.0) -> Iterator[None]:
        """The one writer's lock of this workspace; let go by the system when the process dies.

        Raises WorkspaceError where it is still held elsewhere after ``wait_s`` seconds.
        """
        with _writing(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            path = self.directory / LOCK_NAME
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._acquire(handle, wait_s)
            with _writing(self.directory):
                os.ftruncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
            if self._table() is not None:
                (self.directory / _BEGUN).touch()  # from now on a missing index is a loss, not an empty log
            self.sweep()  # whoever holds the lock is the only writer: what is not in the log is nobody's
            yield
        finally:
            os.close(handle)  # lets go of the lock

    # ------------------------------------------------------------ inside

    def _table(self) -> DeltaTable | None:
        if not (self.directory / "_delta_log").is_dir() and not (self.directory / _BEGUN).exists():
            return None
        try:
            return DeltaTable(str(self.directory))
        except TableNotFoundError:
            if (self.directory / _BEGUN).exists():
                raise WorkspaceError(
                    f"the event log at {self.directory} has lost its index (_delta_log); its files are untouched",
                    "put the folder _delta_log back, or use `footfall restore` with a backup",
                ) from None
            return None  # a folder without a single commit
        except (DeltaError, OSError) as error:
            raise WorkspaceError(
                f"the event log at {self.directory} cannot be read: {error}",
                "restore it from a backup, or remove the folder and import the files again",
            ) from error

    def _adds(self, staged: Path) -> list[AddAction]:
        now_ms = time.time_ns() // 1_000_000
        adds = []
        for path in sorted(staged.rglob("*.parquet")):
            day = date.fromisoformat(path.parent.name.removeprefix("day="))
            footer = pq.read_metadata(path)
            rows = footer.num_rows
            if rows == 0:
                continue
            # Columns that hold nothing need not be written; readers find that in the statistics (Delta's nullCount).
            absent = {c.name for c in EVENT_COLUMNS} - {*footer.schema.names, "day"}
            _sync(path)
            adds.append(
                AddAction(
                    path=path.relative_to(self.directory).as_posix(),
                    size=path.stat().st_size,
                    partition_values={"day": day.isoformat()},
                    modification_time=now_ms,
                    data_change=True,
                    stats=json.dumps({"numRecords": rows, "nullCount": dict.fromkeys(sorted(absent), rows)}),
                )
            )
        for folder in [*{self.directory / Path(a.path).parent for a in adds}, staged, self.directory]:
            _sync(folder)
        return adds

    def _acquire(self, handle: int, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                holder = os.pread(handle, 32, 0).decode(errors="replace") or "unknown"
            if time.monotonic() >= deadline:
                raise WorkspaceError(
                    f"the workspace is being written by another Footfall (process {holder}) for over {wait_s:g} s",
                    "wait until it ends, or stop that process; its lock goes with it",
                )
            if not told and self._on_wait is not None:
                self._on_wait(f"waiting for another Footfall (process {holder}) that writes to this workspace")
                told = True
            time.sleep(_POLL_S)

    def _drop_empty(self, folders: Iterable[Path]) -> None:
        for folder in sorted(folders, key=lambda p: len(p.parts), reverse=True):
            while folder != self.directory and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent


def _properties(version: int, batch_id: str, notes: Mapping[str, str] | None) -> CommitProperties:
    """What the commit after ``version`` carries beside its files."""
    batch = [Transaction(batch_id, 1)] if batch_id else []
    keys = [Transaction(_NOTE + key, version + 1) for key in notes or ()]
    return CommitProperties(
        custom_metadata={_NOTES: json.dumps(dict(notes))} if notes else None, app_transactions=[*batch, *keys]
    )


def _schema() -> Schema:
    return Schema([Field(c.name, PrimitiveType(DELTA_TYPES[c.type]), nullable=True) for c in EVENT_COLUMNS])


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        raise WorkspaceError(
            f"the event log at {directory} cannot be written: {what}",
            "check free space and permissions, then run it again; nothing was added",
        ) from error
    except DeltaError as error:
        raise WorkspaceError(
            f"the event log at {directory} cannot be written: {error}",
            "check free space and permissions, then run it again; nothing was added",
        ) from error
