"""DuckEngine: runs the .sql files in DuckDB, in one process, within a memory limit; larger work spills to a folder."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from footfall.errors import InputError, WorkspaceError


class DuckEngine:
    """``ports.Engine`` on an in-memory DuckDB.

    Calls from several threads take turns. Times are UTC (``TimeZone`` is set to it) unless ``timezone`` says
    otherwise: a workspace's local days are stored in the log, so queries have no need of its zone.
    """

    def __init__(self, memory_mb: int, threads: int, temp_dir: Path, timezone: str = "UTC") -> None:
        """memory_mb: DuckDB's memory limit, MiB. threads: 0 = all cores. temp_dir: where larger work spills.

        Raises WorkspaceError where ``temp_dir`` cannot be made.
        """
        try:
            temp_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(f"{temp_dir} cannot be made: {error.strerror}", "check its permissions") from None
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mb}MiB",
            "temp_directory": str(temp_dir),
            # No query relies on the order of rows in a file; keeping it would cost memory and threads.
            "preserve_insertion_order": False,
            # Extensions cannot be relied on to download: what is built in is all that is used.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if threads:
            settings["threads"] = threads
        self.memory_mb = memory_mb
        self._lock = threading.RLock()
        self._connection = duckdb.connect(":memory:", config=settings)
        self._connection.execute("SET TimeZone = $zone", {"zone": timezone})
        # Each statement over the log would read the footers of all its files again.
        self._connection.execute("SET parquet_metadata_cache = true")

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB connection, for statements that are DuckDB's own (COPY); all else goes through ``query``."""
        return self._connection

    @contextmanager
    def session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection for several statements in a row, with other threads kept out and errors translated."""
        with self._lock, storage_errors():
            yield self._connection

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A session beside the engine's own, with variables, views and time zone of its own; errors translated."""
        with self._lock:
            session = self._connection.cursor()
        try:
            with storage_errors():
                yield session
        finally:
            session.close()

    def query(self, sql: str, params: Mapping[str, object] | None = None, /, **tables: pa.Table) -> pa.Table:
        """Run one statement; ``params`` fill ``$name`` marks, ``tables`` are visible under their names."""
        with self.session() as connection:
            for name, table in tables.items():
                connection.register(name, table)
            try:
                result = connection.sql(sql, params=dict(params) if params else None)
                return pa.table({}) if result is None else _arrow(result)
            finally:
                for name in tables:
                    connection.unregister(name)

    def execute(self, sql: str, params: Mapping[str, object] | None = None, /) -> None:
        """Run one statement for its effect (temporary tables and views)."""
        with self.session() as connection:
            connection.execute(sql, dict(params) if params else None)

    def seal(self, folders: Sequence[str]) -> None:
        """From now on nothing outside ``folders`` is read or written and no setting changes; there is no way back."""
        with self.session() as connection:
            connection.execute("SET allowed_directories = $folders", {"folders": list(folders)})
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")

    def ask(self, sql: str, limit_s: float) -> pa.Table:
        """Rows of one SELECT that somebody else wrote; only on a sealed engine.

        InputError where it is anything but one SELECT that only reads, where DuckDB refuses it, and where it takes
        longer than ``limit_s`` seconds. It runs in a transaction of its own that is never committed.
        """
        with self.session() as connection:
            if connection.sql("SELECT current_setting('enable_external_access')").fetchall() != [(False,)]:
                raise WorkspaceError("somebody's SQL was to run on an engine that is not sealed", "seal it first")
            over = threading.Event()
            watch = threading.Thread(target=_interrupt, args=(connection, limit_s, over), daemon=True)
            try:
                statements = connection.extract_statements(sql)
                if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
                    raise InputError(f"{len(statements)} statements, or no SELECT", "write exactly one SELECT")
                told = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0]
                if _WRITES.search(told):  # within a SELECT: WITH changed AS (UPDATE ... RETURNING ...)
                    raise InputError("a part of it changes tables", "write a SELECT that only reads")
                connection.execute("BEGIN TRANSACTION READ ONLY")
                watch.start()
                return _arrow(connection.sql(sql))
            except duckdb.InterruptException:
                raise InputError(f"it takes longer than {limit_s:g} s", "make it simpler, or raise the limit") from None
            except duckdb.OutOfMemoryException as error:
                raise InputError(_first_line(error), "make it simpler, or raise [record] memory_mb") from None
            except duckdb.Error as error:
                raise InputError(_first_line(error), "mend the SQL") from None
            finally:
                over.set()
                if watch.ident is not None:
                    watch.join()
                with suppress(duckdb.Error):  # there is none where it never began
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Give back memory and temporary files."""
        with self._lock:
            self._connection.close()


def _interrupt(connection: duckdb.DuckDBPyConnection, limit_s: float, over: threading.Event) -> None:
    """Stop what runs once the time is up, and again until it has stopped: one call may come between two steps."""
    if over.wait(limit_s):
        return
    while not over.wait(0.05):
        connection.interrupt()


def _arrow(result: Any) -> pa.Table:
    table = result.to_arrow_table()
    return table if isinstance(table, pa.Table) else pa.table(table)


_WRITES = re.compile(r'"type":"(INSERT|UPDATE|DELETE|MERGE)\w*_NODE"')  # in DuckDB's JSON of a statement
_DAMAGED = re.compile(
    r"magic bytes|TProtocol|Parquet file|parquet file|decompress|corrupt|too small to be a Parquet", re.I
)


@contextmanager
def storage_errors(what: str = "") -> Iterator[None]:
    """Turn errors of the disk and of memory, whoever raises them, into WorkspaceError with a way out."""
    where = f"{what}: " if what else ""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise WorkspaceError(
            f"{where}out of memory: {_first_line(error)}",
            "raise [record] memory_mb in footfall.toml, or free space for temporary files",
        ) from error
    except duckdb.IOException as error:
        raise WorkspaceError(f"{where}{_first_line(error)}", _disk_way_out(str(error))) from error
    except duckdb.Error as error:
        if not _DAMAGED.search(str(error)):
            raise
        raise WorkspaceError(
            f"{where}a file of the log is damaged: {_first_line(error)}",
            "put the file back from a copy, or use `footfall restore` with a backup",
        ) from error
    except OSError as error:
        if isinstance(error, WorkspaceError):
            raise
        reason = error.strerror or str(error)
        name = f"{error.filename}: " if error.filename else ""
        raise WorkspaceError(f"{where}{name}{reason}", _disk_way_out(reason)) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _disk_way_out(reason: str) -> str:
    low = reason.lower()
    if "no space" in low or "space left" in low or "quota" in low or "too large" in low:
        return "free some disk space and run it again; nothing was added"
    if "permission" in low or "read-only" in low or "denied" in low:
        return "the folder cannot be written: check its owner and permissions; nothing was added"
    return "check that the disk can be read and written, then run it again"
