"""Lake: the event log as a Delta table on Parquet, partitioned by local day; decisions are kept in another one.

    <lake>/_delta_log/                     what is committed
    <lake>/_writer.lock                    held by the one writer; the kernel lets go of it when the process dies
    <lake>/_staging/<batch_id>             a batch that is being written, and files that go once it is committed
    <lake>/<batch_id>/day=YYYY-MM-DD/*.parquet   one folder for each batch, written first, committed where it lies

A batch is one Delta transaction that carries the batch id as its application id, so it commits once; one from an inbox
carries the inbox's id and the last sequence number instead. What a killed writer left is known by its mark in
_staging, and the next writer removes it (``sweep``); nothing else is ever removed. A note stands in the information
of its commit; its key is an application id, too, whose version is that of the commit, so that it is found at once.
In the same way commits that replaced rows can be told from those that only joined files (``rewrites``).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
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

from footfall.disk import check_place, sync, writing
from footfall.errors import WorkspaceError
from footfall.model import EVENT_COLUMNS, Column
from footfall.ports import Engine
from footfall.stores.joining import join

DELTA_TYPES = {
    "VARCHAR": "string",
    "BIGINT": "long",
    "DOUBLE": "double",
    "DATE": "date",
    "TIMESTAMP": "timestamp_ntz",
}
LOCK_NAME = "_writer.lock"
_STAGING = "_staging"
_BEGUN = "_begun"
_BATCH_ID = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z_.-]{0,120}")
_POLL_S = 0.05
_REPLACED, _JOINED = "rows:replaced", "files:joined"  # application ids of transactions that did so
_NOTE = "note:"  # before a note's key, where it is an application id
_NOTES = "footfall_notes"  # in the information of a commit
_LARGE = 64 << 20  # bytes; files below are joined
_KEPT_S = 900.0  # how long joined files stay for those who read them
_KEPT_COMMITS = 200  # before the last checkpoint


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

    def __init__(
        self,
        directory: Path,
        on_wait: Callable[[str], None] | None = None,
        *,
        columns: Sequence[Column] = EVENT_COLUMNS,
        view: str = "events",
    ) -> None:
        """directory: the table's folder, made when first written. on_wait: told once if the lock is held elsewhere.

        columns: of the table, ``day`` among them. view: the name under which ``attach`` shows it, an identifier.
        """
        check_place(directory)
        self.directory = directory
        self._on_wait = on_wait
        self._columns = tuple(columns)
        self._view = view

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
        # (pa.table of a stream would import a data frame library first, which takes two seconds)
        actions = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
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

    def file_days(self) -> dict[str, date]:
        """The day of each Parquet file that holds the log, by its path."""
        return {str(self.directory / f.path): f.day for f in self.log_files()}

    def days(self) -> tuple[date, ...]:
        """Days that have events, ascending."""
        return tuple(sorted({f.day for f in self.log_files() if f.rows}))

    def attach(self, engine: Engine, first_day: date | None = None, last_day: date | None = None) -> None:
        """Make the log visible to ``engine`` as its view (``events``), with all columns, empty where it is empty.

        The view reads the files committed now; attach again to see later batches.
        """
        groups: dict[frozenset[str], list[str]] = {}
        for f in self.log_files(first_day, last_day):
            groups.setdefault(f.nothing, []).append(str(self.directory / f.path))
        if not groups:
            nothing = ", ".join(f"CAST(NULL AS {c.type}) AS {c.name}" for c in self._columns)
            engine.execute(f"CREATE OR REPLACE TEMPORARY VIEW {self._view} AS SELECT {nothing} WHERE FALSE")
            return
        parts = []
        for number, (absent, files) in enumerate(groups.items()):
            # A view takes no parameters, so each list of files goes in through a variable that the view reads.
            variable = f"footfall_{self._view}_{number}"
            engine.execute(f"SET VARIABLE {variable} = $files", {"files": files})
            columns = ", ".join(
                f"CAST(NULL AS {c.type}) AS {c.name}" if c.name in absent else c.name for c in self._columns
            )
            parts.append(
                f"SELECT {columns} FROM read_parquet(getvariable('{variable}'), "  # noqa: S608
                "hive_partitioning = true, hive_types = {'day': 'DATE'})"
            )
        engine.execute(f"CREATE OR REPLACE TEMPORARY VIEW {self._view} AS {' UNION ALL '.join(parts)}")

    def has_batch(self, batch_id: str) -> bool:
        """Whether the batch has been committed."""
        table = self._table()
        return table is not None and table.transaction_version(batch_id) is not None

    def applied(self, application: str) -> int | None:
        """The last number that an application's transaction brought."""
        table = self._table()
        version = None if table is None else table.transaction_version(application)
        return None if version is None else int(version)

    def rewrites(self) -> tuple[int, int]:
        """(versions of the last transaction that replaced rows, of the last that joined files); -1 where none did."""
        table = self._table()
        found = [None if table is None else table.transaction_version(mark) for mark in (_REPLACED, _JOINED)]
        replaced, joined = (-1 if version is None else int(version) for version in found)
        return replaced, joined

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
        with self._writing():
            self._mark(batch_id)
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
        return folder

    def commit(
        self,
        batch_id: str,
        staged: Path,
        notes: Mapping[str, str] | None = None,
        applied: tuple[str, int] | None = None,
    ) -> int:
        """Append the staged files as one transaction, once for a batch id; the rows added (0 where it was there).

        ``notes`` are small texts that come into force with the transaction, each under its key. ``applied`` (an
        application, a number) takes the place of the batch id: it is committed once for a number above the last.
        Delta itself takes lower numbers, too, so they are compared here, on the state that the commit is made upon.
        """
        table = self._table()
        known = None if table is None else table.transaction_version(applied[0] if applied else batch_id)
        if known is not None and (applied is None or applied[1] <= known):
            return 0
        with self._writing():
            adds = self._adds(staged)
            properties = _properties(-1 if table is None else table.version(), batch_id, notes, applied)
            hooks = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
            if table is None:
                create_table_with_add_actions(
                    str(self.directory),
                    self._schema(),
                    adds,
                    mode="error",
                    partition_by=["day"],
                    name=self._view,
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
            sync(self.directory / "_delta_log")
            self._unmark(staged)
        return sum(json.loads(add.stats)["numRecords"] for add in adds)

    def replace(
        self, days: Sequence[date], staged: Path, batch_id: str = "", notes: Mapping[str, str] | None = None
    ) -> None:
        """Replace whole days by the staged files in one transaction (erasure, a file read anew), purge the old bytes.

        Where the staged files bring a batch, it counts as committed with them, and ``notes`` as in ``commit``.
        Staged files of a day that is not in ``days`` are refused. Readers that attached before must attach again.
        """
        if not days or self._table() is None:
            return
        wanted = set(days)
        old = [f for f in self.log_files(min(days), max(days)) if f.day in wanted]
        self._exchange(old, wanted, staged, _REPLACED, batch_id, notes, 0.0)

    def compact(self, days: Sequence[date], fewest: int = 2, kept_s: float = _KEPT_S) -> int:
        """Join the small files of each day into one, a day a transaction, under ``lock``; the files that were joined.

        The rows stay as they are. fewest: a day with fewer small files is left alone. kept_s: how long the old files
        stay on the disk for those who read them now; a later ``lock`` removes them.
        """
        joined = 0
        for day in days:
            small = [f for f in self.log_files(day, day) if f.size < _LARGE]
            if len(small) < max(fewest, 2):
                continue
            staged = self.staging(f"joined-{uuid.uuid4().hex[:16]}")
            with self._writing():
                # Columns that hold nothing in any of the files are left out.
                nothing = frozenset.intersection(*(f.nothing for f in small))
                wanted = [c for c in self._columns if c.name not in {"day", *nothing}]
                paths = [self.directory / f.path for f in small]
                join(paths, wanted, staged / f"day={day.isoformat()}" / "joined.parquet")
            self._exchange(small, {day}, staged, _JOINED, "", None, kept_s)
            joined += len(small)
        if joined:
            with self._writing():
                self._drop_old_commits()
        return joined

    def sweep(self) -> int:
        """Remove what killed writers left behind, and files whose time is over; how many. ``lock`` calls it."""
        marks = self.directory / _STAGING
        if not marks.is_dir() or not any(marks.iterdir()):
            return 0
        committed = {f.path for f in self.log_files()}
        removed = 0
        with self._writing():
            for mark in sorted(marks.iterdir()):
                batch = self.directory / mark.name
                purge, after = _read_mark(mark)
                due = time.time() >= after
                mine = [p for p in batch.rglob("*") if p.is_file()] if batch.is_dir() else []
                mine += [self.directory / p for p in purge] if due else []
                for path in mine:
                    if path.relative_to(self.directory).as_posix() not in committed and path.is_file():
                        path.unlink()
                        removed += 1
                self._drop_empty({*(p for p in batch.rglob("*") if p.is_dir()), batch, *(p.parent for p in mine)})
                if due:
                    mark.unlink()
        return removed

    @contextmanager
    def lock(self, wait_s: float = 600.0) -> Iterator[None]:
        """The one writer's lock of this workspace; let go by the system when the process dies.

        Raises WorkspaceError where it is still held elsewhere after ``wait_s`` seconds.
        """
        with self._writing():
            self.directory.mkdir(parents=True, exist_ok=True)
            path = self.directory / LOCK_NAME
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._acquire(handle, wait_s)
            with self._writing():
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

    def _exchange(
        self,
        old: Sequence[LogFile],
        days: Iterable[date],
        staged: Path,
        mark: str,
        batch_id: str,
        notes: Mapping[str, str] | None,
        kept_s: float,
    ) -> None:
        """Put the staged files in the place of ``old`` in one transaction; those go after ``kept_s`` seconds.

        mark: _REPLACED or _JOINED, what the rows of the days went through.
        """
        table = self._table()
        if table is None:
            return
        with self._writing():
            adds = self._adds(staged)
            strange = {add.partition_values["day"] for add in adds} - {d.isoformat() for d in days}
            if strange:
                raise WorkspaceError(
                    f"files of {', '.join(sorted(map(str, strange)))} are staged, but not to be replaced",
                    "name every staged day among the days to replace",
                )
            self._mark(staged.name, [f.path for f in old], time.time() + kept_s if kept_s else 0.0)
            now_ms = time.time_ns() // 1_000_000
            removes = [RemoveAction(f.path, True, now_ms, f.size, {"day": f.day.isoformat()}) for f in old]
            table.create_write_transaction(
                [*removes, *adds],
                "append",
                table.schema(),
                partition_by=["day"],
                commit_properties=_properties(table.version(), batch_id, notes, mark=mark),
                post_commithook_properties=PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False),
            )
            sync(self.directory / "_delta_log")
            if not kept_s:
                for f in old:
                    (self.directory / f.path).unlink(missing_ok=True)
                self._drop_empty({(self.directory / f.path).parent for f in old})
                self._unmark(staged)

    def _drop_old_commits(self) -> None:
        """Remove commits that a checkpoint has made superfluous, but for those that hold notes; listing them all at
        each opening would take longer with every drain."""
        log = self.directory / "_delta_log"
        try:
            last = int(json.loads((log / "_last_checkpoint").read_text(encoding="utf-8"))["version"])
        except (FileNotFoundError, ValueError, KeyError):
            return
        for path in log.iterdir():
            number = path.name.split(".")[0]
            if not number.isdigit() or int(number) >= last - _KEPT_COMMITS:
                continue
            if path.suffix == ".parquet" or (path.suffix == ".json" and _NOTES.encode() not in path.read_bytes()):
                path.unlink()

    def _mark(self, batch_id: str, purge: Sequence[str] = (), after: float = 0.0) -> None:
        """Leave word that ``batch_id`` is being written, and of files that go when it is in the log."""
        marks = self.directory / _STAGING
        marks.mkdir(parents=True, exist_ok=True)
        fresh = self.directory / f"{_STAGING}.new"
        fresh.write_text(json.dumps({"purge": list(purge), "after": after}), encoding="utf-8")
        sync(fresh)
        fresh.replace(marks / batch_id)
        sync(marks)

    def _unmark(self, staged: Path) -> None:
        if staged.parent == self.directory:
            (self.directory / _STAGING / staged.name).unlink(missing_ok=True)

    def _writing(self) -> AbstractContextManager[None]:
        way_out = "check free space and permissions, then run it again; nothing was added"
        return writing(f"the event log at {self.directory}", way_out, DeltaError)

    def _schema(self) -> Schema:
        return Schema([Field(c.name, PrimitiveType(DELTA_TYPES[c.type]), nullable=True) for c in self._columns])

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
            absent = {c.name for c in self._columns} - {*footer.schema.names, "day"}
            sync(path)
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
            sync(folder)
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


def _properties(
    version: int,
    batch_id: str,
    notes: Mapping[str, str] | None,
    applied: tuple[str, int] | None = None,
    mark: str = "",
) -> CommitProperties:
    """What the commit after ``version`` carries beside its files."""
    # An inbox is drained every few seconds for years: its batches are told by the number, not by an id each.
    batch = [Transaction(*applied)] if applied else [Transaction(batch_id, 1)] if batch_id else []
    marks = [mark] if mark else []
    keys = [Transaction(key, version + 1) for key in (*marks, *(_NOTE + key for key in notes or ()))]
    return CommitProperties(
        custom_metadata={_NOTES: json.dumps(dict(notes))} if notes else None, app_transactions=[*batch, *keys]
    )


def _read_mark(mark: Path) -> tuple[list[str], float]:
    """(files to purge, not before this time) of a mark; a damaged one tells of its own folder only."""
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
        return [p for p in found["purge"] if ".." not in Path(p).parts], float(found["after"])
    except (ValueError, KeyError, TypeError):
        return [], 0.0
