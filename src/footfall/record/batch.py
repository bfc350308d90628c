"""Batch: one source into the lake, by the fast way where it is clean and by the exact way where it is not."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from footfall.config import Config
from footfall.errors import FormatError, InputError
from footfall.model import EVENT_COLUMNS, ImportSummary, Reject
from footfall.ports import Store
from footfall.record import mending, quarantine
from footfall.record.faults import explain
from footfall.record.fields import PROVIDER_WAY_OUT, Layout, no_column, quote
from footfall.record.formats import Source
from footfall.record.quarantine import About, Origin, Settlement
from footfall.record.relations import Relations, Unclean, checked, has_controls, sql

DEDUPE_DAYS = 7
_NO_DAY = "day=__HIVE_DEFAULT_PARTITION__"
# Up to here ids are compared in memory (8 bytes each), beyond by the engine, which can spill.
_SORT_ROWS = 20_000_000
# Rows that are compared with the lake at once: some 300 bytes each while they are.
_SPAN_ROWS = 1_500_000
_OWN = ("message_id", "day", "source", "batch_id", "received_at")
# Of a file that was imported before and mended in place, nearly all rows are known; of another of its name, few.
_SAME_FILE = 0.9


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch works: a DuckDB session of its own with the variables of sql/check.sql set, and the folders."""

    cursor: duckdb.DuckDBPyConnection
    store: Store
    config: Config
    work_dir: Path
    quarantine_dir: Path
    progress: Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a batch: how to read the source, what to leave in the lake about it, which batches to take out.

    ``content`` names what the source holds (history.py), ``file`` is its whole path, ``label`` the source that was
    named; each may be "". ``notes`` go with the transaction.
    """

    batch_id: str
    mapping: Mapping[str, str]
    fixed: Mapping[str, str]
    content: str
    file: str
    label: str
    notes: Mapping[str, str]
    replaces: tuple[str, ...] = ()


class Batch:
    """One source on its way into the lake; ``run`` once, with the writer's lock held."""

    def __init__(self, place: Place, source: Source, order: Order) -> None:
        """place, source, order: where, what and how."""
        self._cursor = place.cursor
        self._store = place.store
        self._place = place
        self._source = source
        self._order = order
        self._relations = Relations(place.cursor, source, order.mapping, order.fixed, self._at)
        self._filled: tuple[str, ...] = ()  # columns of the staged files
        self._origins: dict[int, tuple[Origin, str]] = {}  # line -> the reject that it mends, of what file
        self._kept: dict[str, About] = {}  # what is in the quarantine
        self._left_out: set[int] = set()  # lines of the source that are no mended row

    def run(self) -> ImportSummary:
        """Stage, de-duplicate, commit and count. Raises FormatError where the file as a whole cannot be used."""
        order, source = self._order, self._source
        staged = self._store.staging(order.batch_id)
        self._kept = quarantine.kept(self._place.quarantine_dir)
        mends = mending.holds_rejects(source)
        self._origins = mending.origins(source) if mends else {}
        rejects = quarantine.Writer(
            self._place.quarantine_dir,
            order.batch_id,
            source.kind,
            source.delimiter,
            mending.header_without(source) if mends and source.kind == "csv" else source.header,
            About(content=order.content, file=order.file, source=order.label, mended=self._mended_before()),
        )
        try:
            return self._run(staged, rejects)
        except BaseException:
            rejects.drop()
            if not self._store.has_batch(order.batch_id):
                shutil.rmtree(staged, ignore_errors=True)
            raise

    def _run(self, staged: Path, rejects: quarantine.Writer) -> ImportSummary:
        reasons: Counter[str] = Counter()
        repeated = conflicting = 0
        try:
            if self._origins:
                raise Unclean("rows are told by their lines")
            read = self._fast(staged)
        except Unclean:
            _clear(staged)
            read, repeated, conflicting = self._exact(staged, rejects, reasons)
        if not read:
            raise FormatError(
                f"{self._source.name}: nothing to import: a header and no rows",
                "check the export that wrote it; there may be nothing new in its time span",
            )
        known, differing = self._drop_known(staged)
        days = _days(staged)
        rejects.close(self._settlement(known, read - sum(reasons.values())))
        added = _rows(staged)
        replaced = self._commit(staged, days)
        rejects.publish()
        if not days:
            shutil.rmtree(staged, ignore_errors=True)
        self._at(self._source.size)
        return ImportSummary(
            files=(self._source.name,),
            read=read,
            added=added,
            duplicates=repeated + known,
            conflicting=conflicting + differing,
            rejected=sum(reasons.values()),
            reasons=dict(reasons.most_common()),
            first_day=days[0] if days else None,
            last_day=days[-1] if days else None,
            batch_ids=(self._order.batch_id,) if added else (),
            replaced=replaced,
        )

    # ------------------------------------------------------------ the two ways

    def _fast(self, staged: Path) -> int:
        relation = self._relations.fast()
        # Columns that no field of the file fills are left out: writing nothing costs as much as writing something.
        self._filled = _filled(relation.layout)
        columns = ", ".join(quote(c) for c in self._filled)
        rows = checked(relation.given(), relation.layout, controls=has_controls(self._source))
        try:
            self._copy(f"SELECT {columns} FROM ({rows})", staged)  # noqa: S608  fixed names
        except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
            raise Unclean(str(error)) from None
        if (staged / _NO_DAY).exists():
            raise Unclean("rows at fault")
        read = _rows(staged)
        if read:
            self._view_staged(staged)
            if self._repeats():
                raise Unclean("one id twice")
        return read

    def _exact(self, staged: Path, rejects: quarantine.Writer, reasons: Counter[str]) -> tuple[int, int, int]:
        """Rows read, rows repeated in the file, and those of them that conflict."""
        relation = self._relations.exact()
        # Parsed first, checked after: in one statement DuckDB would parse a row again for each use of its fields.
        parsed, spool = self._place.work_dir / "parsed.parquet", self._place.work_dir / "spooled.parquet"
        self._spool(relation.given(), parsed)
        self._set("footfall_parsed", str(parsed))
        rows = "SELECT * FROM read_parquet(getvariable('footfall_parsed'), hive_partitioning = false)"
        self._spool(checked(rows, relation.layout, controls=True), spool)
        parsed.unlink()
        self._set("footfall_spooled", str(spool))
        self._cursor.execute(
            "CREATE OR REPLACE TEMPORARY VIEW spooled AS SELECT * FROM read_parquet("
            "getvariable('footfall_spooled'), hive_partitioning = false)"
        )
        self._check_providers(relation.layout)
        rejects.tell(int(self._value("SELECT count(*) FROM spooled WHERE fault IS NULL")))
        self._reject(rejects, reasons)
        repeated, conflicting = self._settle_repeats()
        self._copy(sql("kept"), staged)
        self._filled = tuple(c.name for c in EVENT_COLUMNS)
        read = pq.read_metadata(spool).num_rows
        spool.unlink()
        return read, repeated, conflicting

    def _check_providers(self, layout: Layout) -> None:
        """FormatError where no row can be used for want of a column of providers (of names that need one)."""
        if "provider_id" in {*layout.columns, *layout.fixed}:
            return
        wanting = "SELECT bool_and(fault IS NOT NULL) AND bool_or(fault = 'provider_id:missing') FROM spooled"
        if self._value(wanting):
            columns = [c.name for c in (*layout.columns.values(), *layout.rest)]
            what = "provider_id, which all its events need"
            raise no_column(self._source.name, what, dict.fromkeys(columns), PROVIDER_WAY_OUT)

    def _reject(self, rejects: quarantine.Writer, reasons: Counter[str]) -> None:
        result = self._cursor.execute(sql("rejected"))
        while rows := result.fetchmany(10_000):
            batch, contents = [], []
            for line, fault, culprit, raw in rows:
                field, reason = explain(fault, culprit, self._place.config)
                reasons[f"{field}: {reason}"] += 1
                origin = self._origins.get(line)
                stripped = raw if origin is None else mending.raw_without(self._source, raw)
                if stripped is None:  # what was kept of it stays
                    self._left_out.add(line)
                elif origin is None:
                    batch.append(Reject(self._source.name, line, field, reason, stripped))
                    contents.append("")
                else:
                    batch.append(Reject(origin[1], origin[0].line, field, reason, stripped))
                    contents.append(origin[0].content)
            rejects.add(batch, contents)

    def _settle_repeats(self) -> tuple[int, int]:
        """Make the table ``repeats``; the rows that go, and those of them that conflict with the row that stays."""
        self._run_sql(f"CREATE OR REPLACE TEMPORARY TABLE repeats AS {sql('repeats')}")
        groups: dict[str, list[tuple[int, date, int]]] = {}
        far = "SELECT message_id, line, day, content FROM repeats WHERE far ORDER BY line"
        for message_id, line, day, content in self._cursor.execute(far).fetchall():
            groups.setdefault(message_id, []).append((line, day, content))
        verdicts = [v for rows in groups.values() for v in settle(rows)]
        if verdicts:
            self._cursor.executemany("UPDATE repeats SET keep = $2, conflicting = $3 WHERE line = $1", verdicts)
        counts = "SELECT count(*) FILTER (NOT keep), count(*) FILTER (NOT keep AND conflicting) FROM repeats"
        gone, conflicting = self._cursor.execute(counts).fetchall()[0]
        return int(gone), int(conflicting)

    # ------------------------------------------------------------ against the lake

    def _drop_known(self, staged: Path) -> tuple[int, int]:
        """Take what the lake holds already out of the staged files: rows dropped, and those that conflict."""
        dropped = differing = 0
        for days in _spans(_day_rows(staged)):
            margin = timedelta(days=DEDUPE_DAYS)
            if self._store.files(days[0] - margin, days[-1] + margin):
                found = self._drop_known_of(days, staged)
                dropped, differing = dropped + found[0], differing + found[1]
        return dropped, differing

    def _drop_known_of(self, days: Sequence[date], staged: Path) -> tuple[int, int]:
        folders = [staged / f"day={day}" for day in days]
        self._view_staged(*folders)
        self._attach(days[0] - timedelta(days=DEDUPE_DAYS), days[-1] + timedelta(days=DEDUPE_DAYS))
        staged_rows = sum(_rows(folder) for folder in folders)
        parts = 1 + staged_rows // _SPAN_ROWS  # above 1 only where a single day holds more
        self._set("footfall_parts", parts)
        for part in range(parts):
            self._set("footfall_part", part)
            into = "INSERT INTO known" if part else "CREATE OR REPLACE TEMPORARY TABLE known AS"
            self._run_sql(f"{into} {sql('known')}")
        counts = "SELECT count(*), count(*) FILTER (conflicting) FROM known"
        dropped, differing = self._cursor.execute(counts).fetchall()[0]
        if dropped:
            touched = [row[0] for row in self._cursor.execute("SELECT DISTINCT day FROM known").fetchall()]
            if dropped < staged_rows:
                self._copy(sql("unknown"), staged / "unknown")
            for day in touched:
                shutil.rmtree(staged / f"day={day}")
        return int(dropped), int(differing)

    def _attach(self, first: date | None = None, last: date | None = None) -> None:
        """The view ``held``: what the lake holds and what stays of it, within the days."""
        self._store.attach(CursorEngine(self._cursor), first, last)
        self._set("footfall_replaces", list(self._order.replaces))
        stays = "WHERE NOT list_contains(getvariable('footfall_replaces'), batch_id)" if self._order.replaces else ""
        self._cursor.execute(f"CREATE OR REPLACE TEMPORARY VIEW held AS SELECT * FROM events {stays}")  # noqa: S608

    def _commit(self, staged: Path, days: Sequence[date]) -> int:
        """Commit the staged files, in place of the batches that go; the events of those."""
        order = self._order
        if not order.replaces:
            if days:
                self._store.commit(order.batch_id, staged, order.notes)
            return 0
        if not days:
            raise InputError(
                f"{self._source.name}: no row of it would be added, so nothing was replaced",
                "import it without --replace to see what is wrong with its rows",
            )
        self._attach()
        found = self._cursor.execute(sql("replaced")).fetchall()
        if not found:
            self._store.commit(order.batch_id, staged, order.notes)
            return 0
        touched = sorted({*days, *(day for day, _ in found)})
        self._attach(touched[0], touched[-1])
        self._set("footfall_touched", touched)
        self._copy(sql("beside"), staged / "kept")
        self._store.replace(touched, staged, order.batch_id, order.notes)
        return sum(count for _, count in found)

    def _mended_before(self) -> tuple[int, ...]:
        """Lines of this content that were mended after it was imported before."""
        if self._order.replaces:
            return ()
        same = [a for a in self._kept.values() if a.content == self._order.content]
        return tuple(sorted({line for about in same for line in about.mended}))

    def _settlement(self, known: int, good: int) -> Settlement:
        """What is settled with this batch: rows that it mends, and rejects of the same file's imports before."""
        order = self._order
        superseded = []
        for batch_id, about in self._kept.items():
            again = about.content == order.content
            again = again and (about.source == order.label or not self._store.has_batch(batch_id))
            version = about.good and known >= _SAME_FILE * about.good and self._is_of(about)
            if again or version or batch_id in order.replaces:
                superseded.append(batch_id)
        mended = tuple(o for line, (o, _) in sorted(self._origins.items()) if line not in self._left_out)
        replaced = {self._kept[b].content for b in order.replaces if b in self._kept}
        return Settlement(mended, tuple(superseded), tuple(sorted(replaced)))

    def _is_of(self, about: About) -> bool:
        """Whether rejects come from an earlier version of this file; a file to be mended may hold a part of them."""
        return bool(about.file) and about.file == self._order.file and not self._origins

    # ------------------------------------------------------------ inside

    def _spool(self, select: str, target: Path) -> None:
        self._run_sql(f"COPY ({select}) TO $path (FORMAT parquet, DICTIONARY_SIZE_LIMIT 64)", {"path": str(target)})

    def _copy(self, select: str, target: Path) -> None:
        # A dictionary pays for channels and devices; trying one on ids first would cost a sixth of the import.
        self._run_sql(
            f"COPY ({select}) TO $target "
            "(FORMAT parquet, PARTITION_BY (day), OVERWRITE_OR_IGNORE, DICTIONARY_SIZE_LIMIT 64)",
            {"target": str(target)},
        )

    def _run_sql(self, statement: str, params: Mapping[str, object] | None = None) -> None:
        """Run a long statement in a thread, so that progress shows and an interrupt is heard."""
        failure: list[BaseException] = []

        def work() -> None:
            try:
                self._cursor.execute(statement, dict(params) if params else None)
            except BaseException as error:  # noqa: BLE001  handed to the caller's thread
                failure.append(error)

        thread = threading.Thread(target=work, name="footfall-intake", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.2)
        except BaseException:
            self._cursor.interrupt()
            thread.join()
            raise
        if failure:
            raise failure[0]

    def _at(self, done: int) -> None:
        self._place.progress(min(done, self._source.size), self._source.size)

    def _set(self, variable: str, value: object) -> None:
        self._cursor.execute(f"SET VARIABLE {variable} = $value", {"value": value})

    def _repeats(self) -> bool:
        """Whether an id comes twice in the staged files, by its 64-bit hash; a collision only costs the exact way."""
        if self._value("SELECT count(*) FROM staged") > _SORT_ROWS:
            return bool(self._value("SELECT count(*) - count(DISTINCT hash(message_id)) FROM staged"))
        hashes = self._cursor.execute("SELECT hash(message_id) AS h FROM staged").fetchnumpy()["h"]
        hashes = np.sort(np.asarray(hashes, dtype=np.uint64))
        return bool((hashes[1:] == hashes[:-1]).any())

    def _value(self, statement: str) -> Any:
        return self._cursor.execute(statement).fetchall()[0][0]

    def _view_staged(self, *folders: Path) -> None:
        self._set("footfall_staged", [str(p) for folder in folders for p in folder.rglob("*.parquet")])
        columns = ", ".join(
            quote(c.name) if c.name in self._filled else f"CAST(NULL AS {c.type}) AS {quote(c.name)}"
            for c in EVENT_COLUMNS
        )
        self._cursor.execute(
            f"CREATE OR REPLACE TEMPORARY VIEW staged AS SELECT {columns} FROM read_parquet("  # noqa: S608
            "getvariable('footfall_staged'), hive_partitioning = true, hive_types = {'day': 'DATE'})"
        )


class CursorEngine:
    """``ports.Engine`` on a cursor, so that the store can attach itself to the import's own session."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """cursor: a session of the engine's; it stays the engine's to close."""
        self._cursor = cursor

    def query(self, sql: str, params: Mapping[str, object] | None = None, /, **tables: pa.Table) -> pa.Table:
        """As ``Engine.query``."""
        for name, table in tables.items():
            self._cursor.register(name, table)
        try:
            return pa.table(self._cursor.sql(sql, params=dict(params) if params else None).to_arrow_table())
        finally:
            for name in tables:
                self._cursor.unregister(name)

    def execute(self, sql: str, params: Mapping[str, object] | None = None, /) -> None:
        """As ``Engine.execute``."""
        self._cursor.execute(sql, dict(params) if params else None)

    def close(self) -> None:
        """The session is the engine's to close."""


def settle(rows: Sequence[tuple[int, date, int]]) -> list[tuple[int, bool, bool]]:
    """(line, keep, conflicting) of rows of one id in file order: a row goes where a kept one is within 7 days."""
    kept: list[tuple[date, int]] = []
    verdicts = []
    for line, day, content in rows:
        near = [c for d, c in kept if abs((day - d).days) <= DEDUPE_DAYS]
        if not near:
            kept.append((day, content))
        verdicts.append((line, not near, bool(near) and content not in near))
    return verdicts


def _filled(layout: Layout) -> tuple[str, ...]:
    """Columns of the log that can hold something under a layout."""
    given = {*layout.columns, *layout.fixed, *_OWN}
    if "amount" in given:
        given.add("amount_minor")
    if layout.rest:
        given.add("properties")
    return tuple(c.name for c in EVENT_COLUMNS if c.name in given)


def _rows(staged: Path) -> int:
    return sum(pq.read_metadata(p).num_rows for p in staged.rglob("*.parquet"))


def _day_rows(staged: Path) -> dict[date, int]:
    """Rows of each staged day, ascending."""
    found: Counter[date] = Counter()
    for path in staged.rglob("*.parquet"):
        found[date.fromisoformat(path.parent.name.removeprefix("day="))] += pq.read_metadata(path).num_rows
    return dict(sorted(found.items()))


def _days(staged: Path) -> list[date]:
    return list(_day_rows(staged))


def _spans(rows: Mapping[date, int]) -> list[list[date]]:
    """Days in spans of no more rows than can be compared with the lake at once (a day stays whole)."""
    spans: list[list[date]] = []
    held = 0
    for day, count in rows.items():
        if not spans or held + count > _SPAN_ROWS:
            spans.append([])
            held = 0
        spans[-1].append(day)
        held += count
    return spans


def _clear(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
