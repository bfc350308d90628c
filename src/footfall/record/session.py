"""Session: a batch's DuckDB session, with what its statements have in common."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from footfall.model import EVENT_COLUMNS
from footfall.record.fields import quote


class CursorEngine:
    """``ports.Engine`` on a cursor, so that the store can attach itself to the import's own session."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """cursor: a session of the engine's; it stays the engine's to close."""
        self.cursor = cursor

    def query(self, sql: str, params: Mapping[str, object] | None = None, /, **tables: pa.Table) -> pa.Table:
        """As ``Engine.query``."""
        for name, table in tables.items():
            self.cursor.register(name, table)
        try:
            return pa.table(self.cursor.sql(sql, params=dict(params) if params else None).to_arrow_table())
        finally:
            for name in tables:
                self.cursor.unregister(name)

    def execute(self, sql: str, params: Mapping[str, object] | None = None, /) -> None:
        """As ``Engine.execute``."""
        self.cursor.execute(sql, dict(params) if params else None)

    def close(self) -> None:
        """The session is the engine's to close."""


class Session(CursorEngine):
    """A batch's session: long statements, variables, and the ways into files."""

    def set(self, variable: str, value: object) -> None:
        """Set a variable that statements read."""
        self.cursor.execute(f"SET VARIABLE {variable} = $value", {"value": value})

    def rows(self, statement: str) -> list[Any]:
        """All rows of a query."""
        return self.cursor.execute(statement).fetchall()

    def value(self, statement: str) -> Any:
        """The first value of the first row of a query."""
        return self.rows(statement)[0][0]

    def run(self, statement: str, params: Mapping[str, object] | None = None) -> None:
        """Run a long statement in a thread, so that progress shows and an interrupt is heard."""
        failure: list[BaseException] = []

        def work() -> None:
            try:
                self.cursor.execute(statement, dict(params) if params else None)
            except BaseException as error:  # noqa: BLE001  handed to the caller's thread
                failure.append(error)

        thread = threading.Thread(target=work, name="footfall-intake", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.2)
        except BaseException:
            self.cursor.interrupt()
            thread.join()
            raise
        if failure:
            raise failure[0]

    def spool(self, select: str, target: Path) -> None:
        """The rows of a query into one Parquet file."""
        self.run(f"COPY ({select}) TO $path (FORMAT parquet, DICTIONARY_SIZE_LIMIT 64)", {"path": str(target)})

    def copy_by_day(self, select: str, target: Path) -> None:
        """The rows of a query into Parquet files by day, in any order and beyond memory."""
        # A dictionary pays for channels and devices; trying one on ids first would cost a sixth of the time.
        self.run(
            f"COPY ({select}) TO $target "
            "(FORMAT parquet, PARTITION_BY (day), OVERWRITE_OR_IGNORE, DICTIONARY_SIZE_LIMIT 64)",
            {"target": str(target)},
        )

    def view_staged(self, folders: Iterable[Path], filled: Sequence[str]) -> None:
        """The view ``staged`` of the files below the folders; columns that are not ``filled`` are NULL."""
        self.set("footfall_staged", [str(p) for folder in folders for p in folder.rglob("*.parquet")])
        columns = ", ".join(
            quote(c.name) if c.name in filled else f"CAST(NULL AS {c.type}) AS {quote(c.name)}" for c in EVENT_COLUMNS
        )
        self.execute(
            f"CREATE OR REPLACE TEMPORARY VIEW staged AS SELECT {columns} FROM read_parquet("  # noqa: S608
            "getvariable('footfall_staged'), hive_partitioning = true, hive_types = {'day': 'DATE'})"
        )
