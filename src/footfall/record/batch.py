"""Batch: one source into the lake, by the fast way where it is clean and by the exact way where it is not."""

from __future__ import annotations

import mmap
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from footfall.config import Config
from footfall.errors import FormatError
from footfall.model import EVENT_COLUMNS, ImportSummary, Reject
from footfall.ports import Store
from footfall.record import quarantine
from footfall.record.faults import explain
from footfall.record.fields import Column, Layout, given_sql, literal, quote, resolve
from footfall.record.formats import Source, sample_keys
from footfall.record.rows import EARLY, LINE, RAW, csv_rows, ndjson_rows

DEDUPE_DAYS = 7
_MAX_KEYS = 1000
_NO_DAY = "day=__HIVE_DEFAULT_PARTITION__"
_LEAD_NONE = "CAST(NULL AS BIGINT) AS line, CAST(NULL AS VARCHAR) AS raw, CAST(NULL AS VARCHAR) AS early"
_LEAD = f"{LINE} AS line, {RAW} AS raw, {EARLY} AS early"
# Up to here ids are compared in memory (8 bytes each), beyond by the engine, which can spill.
_SORT_ROWS = 20_000_000
_FOR_FIELD = re.compile(r" */\* (\w+) \*/")
_OWN = ("message_id", "day", "source", "batch_id", "received_at")
_INTEGERS = {
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "HUGEINT",
}


def sql(name: str) -> str:
    """The text of ``sql/<name>.sql``."""
    return resources.files("footfall.record").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Relation:
    """What the view ``given`` is made from: SQL of the rows, columns for line, raw and early, and the layout."""

    rows: str
    lead: str
    layout: Layout


class Unclean(Exception):  # noqa: N818  no error: it says that the exact way is needed
    """The fast way found something wrong in the file."""


class Batch:
    """One source on its way into the lake; ``run`` once, with the writer's lock held."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        store: Store,
        config: Config,
        source: Source,
        batch_id: str,
        mapping: Mapping[str, str],
        fixed: Mapping[str, str],
        work_dir: Path,
        quarantine_dir: Path,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """cursor: a DuckDB session of its own, with the variables of sql/check.sql set (see intake)."""
        self._cursor = cursor
        self._store = store
        self._config = config
        self._source = source
        self._batch_id = batch_id
        self._mapping = mapping
        self._fixed = fixed
        self._work = work_dir
        self._quarantine = quarantine_dir
        self._progress = progress or (lambda done, total: None)
        self._filled: tuple[str, ...] = ()  # columns of the staged files

    def run(self) -> ImportSummary:
        """Stage, de-duplicate, commit and count. Raises FormatError where the file as a whole cannot be used."""
        staged = self._store.staging(self._batch_id)
        rejects = quarantine.Writer(
            self._quarantine, self._batch_id, self._source.kind, self._source.delimiter, self._source.header
        )
        try:
            return self._run(staged, rejects)
        except BaseException:
            rejects.drop()
            if not self._store.has_batch(self._batch_id):
                shutil.rmtree(staged, ignore_errors=True)
            raise

    def _run(self, staged: Path, rejects: quarantine.Writer) -> ImportSummary:
        reasons: Counter[str] = Counter()
        repeated = conflicting = 0
        try:
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
        rejects.close()
        added = self._store.commit(self._batch_id, staged) if days else 0
        rejects.publish()
        if not days:
            shutil.rmtree(staged, ignore_errors=True)
        self._progress(self._source.size, self._source.size)
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
            batch_ids=(self._batch_id,) if added else (),
        )

    # ------------------------------------------------------------ the fast way

    def _fast(self, staged: Path) -> int:
        relation = self._fast_relation()
        checked = self._checked(relation, controls=_has_controls(self._source))
        # Columns that no field of the file fills are left out: writing nothing costs as much as writing something.
        self._filled = _filled(relation.layout)
        columns = ", ".join(quote(c) for c in self._filled)
        try:
            self._copy(f"SELECT {columns} FROM ({checked})", staged)  # noqa: S608  fixed names
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

    def _fast_relation(self) -> Relation:
        source = self._source
        self._set("footfall_path", str(source.path))
        if source.kind == "csv":
            columns = [Column(c) for c in source.columns]
            self._check_case(source.columns)
            names = ", ".join(f"{literal(c)}: 'VARCHAR'" for c in source.columns)
            rows = (
                f"read_csv(getvariable('footfall_path'), auto_detect = false, header = true, quote = '\"', "
                f"escape = '\"', delim = {literal(source.delimiter)}, columns = {{{names}}}, max_line_size = 16777216)"
            )
            return Relation(rows, _LEAD_NONE, self._resolve(columns))
        if source.kind == "parquet":
            self._check_case(source.columns)
            rows = "read_parquet(getvariable('footfall_path'), hive_partitioning = false)"
            return Relation(rows, _LEAD_NONE, self._resolve(self._typed(rows)))
        return self._fast_ndjson()

    def _fast_ndjson(self) -> Relation:
        """All keys known and simple: one pass that errs on any other key. Else: all keys are listed first."""
        if self._source.skip_bytes:
            raise Unclean("a byte order mark")
        # Formats that no text has keep DuckDB from reading dates itself (it would drop their offsets).
        rows = (
            "read_json(getvariable('footfall_path'), format = 'newline_delimited', records = true, maximum_depth = 2, "
            "dateformat = '%f', timestampformat = '%f', sample_size = 4096)"
        )
        try:
            described = self._cursor.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()  # noqa: S608
        except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.BinderException) as error:
            raise Unclean(str(error)) from None
        cells = {name: _json_cell(name, kind) for name, kind, *_ in described}
        if all(cells.values()):
            layout = self._resolve([Column(n, c) for n, c in cells.items() if c])
            numbers = [f for f, c in layout.columns.items() if c.cell == "number" and f not in ("amount", "propensity")]
            if not layout.rest and not numbers:
                return Relation(rows, _LEAD_NONE, layout)
        layout = self._resolve_keys(self._all_keys())
        spec = ", ".join(f"{literal(c.name)}: '{'JSON' if c.cell == 'json' else 'VARCHAR'}'" for c in _used(layout))
        rows = (
            f"read_json(getvariable('footfall_path'), format = 'newline_delimited', records = true, "
            f"ignore_errors = true, columns = {{{spec}}})"
        )
        return Relation(rows, _LEAD_NONE, layout)

    # ------------------------------------------------------------ the exact way

    def _exact(self, staged: Path, rejects: quarantine.Writer, reasons: Counter[str]) -> tuple[int, int, int]:
        """Rows read, rows repeated in the file, and those of them that conflict."""
        spool = self._work / "spooled.parquet"
        relation = self._exact_relation()
        # Parsed first, checked after: in one statement DuckDB would parse a row again for each use of its fields.
        parsed = self._work / "parsed.parquet"
        self._set_fixed(relation.layout)
        given = given_sql(relation.layout, relation.rows, relation.lead)
        self._run_sql(f"COPY ({given}) TO $path (FORMAT parquet, DICTIONARY_SIZE_LIMIT 64)", {"path": str(parsed)})
        self._set("footfall_parsed", str(parsed))
        rows = "SELECT * FROM read_parquet(getvariable('footfall_parsed'), hive_partitioning = false)"
        checked = self._check_sql(rows, relation.layout, controls=True)
        self._run_sql(f"COPY ({checked}) TO $path (FORMAT parquet, DICTIONARY_SIZE_LIMIT 64)", {"path": str(spool)})
        parsed.unlink()
        self._set("footfall_spooled", str(spool))
        self._cursor.execute(
            "CREATE OR REPLACE TEMPORARY VIEW spooled AS SELECT * FROM read_parquet("
            "getvariable('footfall_spooled'), hive_partitioning = false)"
        )
        self._reject(rejects, reasons)
        repeated, conflicting = self._settle_repeats()
        self._copy(sql("kept"), staged)
        self._filled = tuple(c.name for c in EVENT_COLUMNS)
        read = pq.read_metadata(spool).num_rows
        spool.unlink()
        return read, repeated, conflicting

    def _exact_relation(self) -> Relation:
        source = self._source
        if source.kind == "csv":
            self._cursor.register("numbered", csv_rows(source, self._at))
            return Relation("numbered", _LEAD, self._resolve([Column(c) for c in source.columns]))
        if source.kind == "parquet":
            plain = "read_parquet(getvariable('footfall_path'), hive_partitioning = false)"
            rows = (
                f"(SELECT * EXCLUDE (file_row_number), file_row_number + 1 AS {LINE}, "  # noqa: S608  fixed names
                "CAST(json_merge_patch(to_json(_footfall_row), '{\"file_row_number\": null}') AS VARCHAR) "
                f"AS {RAW}, CAST(NULL AS VARCHAR) AS {EARLY} FROM read_parquet(getvariable('footfall_path'), "
                "hive_partitioning = false, file_row_number = true) AS _footfall_row)"
            )
            return Relation(rows, _LEAD, self._resolve(self._typed(plain)))
        self._cursor.register("numbered", ndjson_rows(source, self._at))
        layout = self._resolve_keys(self._all_keys())
        spec = ", ".join(
            f"{_json_text(c.name)}: {_json_text('JSON' if c.cell == 'json' else 'VARCHAR')}" for c in _used(layout)
        )
        # Text that is no object becomes NULL before it is taken apart; which it was is told by `early`.
        blanks = "chr(10) || chr(13) || chr(9) || ' '"
        rows = (
            f"(SELECT {LINE}, {RAW}, CASE WHEN {EARLY} IS NOT NULL THEN {EARLY} WHEN NOT valid THEN 'row:json' "  # noqa: S608
            f"WHEN object IS NULL THEN 'row:object' END AS {EARLY}, "
            f"unnest(json_transform(object, {literal('{' + spec + '}')})) FROM (SELECT *, "
            f"CASE WHEN valid AND json_type(TRY_CAST({RAW} AS JSON)) = 'OBJECT' THEN {RAW} END AS object FROM ("
            f"SELECT {LINE}, rtrim({RAW}, {blanks}) AS {RAW}, {EARLY}, json_valid({RAW}) AS valid FROM numbered "
            f"WHERE trim({RAW}, {blanks}) <> '')))"
        )
        return Relation(rows, _LEAD, layout)

    def _reject(self, rejects: quarantine.Writer, reasons: Counter[str]) -> None:
        result = self._cursor.execute(sql("rejected"))
        while rows := result.fetchmany(10_000):
            batch = []
            for line, fault, culprit, raw in rows:
                field, reason = explain(fault, culprit, self._config)
                reasons[f"{field}: {reason}"] += 1
                batch.append(Reject(self._source.name, line, field, reason, raw))
            rejects.add(batch)

    def _settle_repeats(self) -> tuple[int, int]:
        """Make the table ``repeats``; the rows that go, and those of them that conflict with the row that stays."""
        self._run_sql(f"CREATE OR REPLACE TEMPORARY TABLE repeats AS {sql('repeats')}")
        groups: dict[str, list[tuple[int, date, int]]] = {}
        far = "SELECT message_id, line, day, content FROM repeats WHERE far ORDER BY line"
        for message_id, line, day, content in self._cursor.execute(far).fetchall():
            groups.setdefault(message_id, []).append((line, day, content))
        verdicts = [v for rows in groups.values() for v in _settle(rows)]
        if verdicts:
            self._cursor.executemany("UPDATE repeats SET keep = $2, conflicting = $3 WHERE line = $1", verdicts)
        counts = "SELECT count(*) FILTER (NOT keep), count(*) FILTER (NOT keep AND conflicting) FROM repeats"
        gone, conflicting = self._cursor.execute(counts).fetchall()[0]
        return int(gone), int(conflicting)

    # ------------------------------------------------------------ against the lake

    def _drop_known(self, staged: Path) -> tuple[int, int]:
        """Take what the lake holds already out of the staged files: rows dropped, and those that conflict."""
        days = _days(staged)
        if not days:
            return 0, 0
        margin = timedelta(days=DEDUPE_DAYS)
        if not self._store.files(days[0] - margin, days[-1] + margin):
            return 0, 0
        self._view_staged(staged)
        self._store.attach(_Session(self._cursor), days[0] - margin, days[-1] + margin)
        self._run_sql(f"CREATE OR REPLACE TEMPORARY TABLE known AS {sql('known')}")
        dropped, differing = self._cursor.execute(
            "SELECT count(*), count(*) FILTER (conflicting) FROM known"
        ).fetchall()[0]
        if dropped:
            old = [
                staged / f"day={row[0]}" for row in self._cursor.execute("SELECT DISTINCT day FROM known").fetchall()
            ]
            self._copy(sql("unknown"), staged / "unknown")
            for folder in old:
                shutil.rmtree(folder)
        return int(dropped), int(differing)

    # ------------------------------------------------------------ inside

    def _resolve(self, columns: Sequence[Column]) -> Layout:
        return resolve(self._source.name, columns, self._mapping, self._fixed)

    def _resolve_keys(self, keys: Sequence[str]) -> Layout:
        layout = self._resolve([Column(k, "json") for k in keys])
        text = {f: Column(c.name, "text") for f, c in layout.columns.items()}
        return Layout(text, layout.fixed, layout.rest)

    def _all_keys(self) -> list[str]:
        try:
            found = [row[0] for row in self._cursor.execute(sql("key_names")).fetchall()]
        except duckdb.InvalidInputException:
            found = list(sample_keys(self._source, rows=1 << 62))
        keys = sorted({*found, *sample_keys(self._source)})
        if not keys:
            raise FormatError(f"{self._source.name}: no line holds a JSON object", "use one JSON object a line")
        if len(keys) > _MAX_KEYS:
            raise FormatError(
                f"{self._source.name}: {len(keys)} different keys",
                "put free keys into one object under `properties`",
            )
        self._check_case(keys)
        return keys

    def _check_case(self, names: Sequence[str]) -> None:
        seen: dict[str, str] = {}
        for name in names:
            if name.lower() in seen:
                raise FormatError(
                    f"{self._source.name}: columns {seen[name.lower()]!r} and {name!r} differ only in case",
                    "rename one of them",
                )
            seen[name.lower()] = name

    def _typed(self, rows: str) -> list[Column]:
        described = self._cursor.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()  # noqa: S608
        cells: dict[str, Any] = {"VARCHAR": "text", "JSON": "json", "DOUBLE": "number", "FLOAT": "number"}
        return [Column(name, cells.get(kind, "other")) for name, kind, *_ in described]

    def _checked(self, relation: Relation, controls: bool) -> str:
        """sql/check.sql over the rows of a relation, in one statement: each view between would be bound again."""
        self._set_fixed(relation.layout)
        given = given_sql(relation.layout, relation.rows, relation.lead)
        return self._check_sql(given, relation.layout, controls)

    def _check_sql(self, given: str, layout: Layout, controls: bool) -> str:
        asked = {*layout.columns, *layout.fixed, *(["controls"] if controls else [])}
        check = [x for x in sql("check").splitlines() if not (m := _FOR_FIELD.match(x)) or m[1] in asked]
        return f"WITH given AS ({given})\n" + "\n".join(check)

    def _set_fixed(self, layout: Layout) -> None:
        for field, value in layout.fixed.items():
            self._set(f"footfall_set_{field}", value)

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
        self._progress(min(done, self._source.size), self._source.size)

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

    def _view_staged(self, staged: Path) -> None:
        self._set("footfall_staged", [str(p) for p in staged.rglob("*.parquet")])
        columns = ", ".join(
            quote(c.name) if c.name in self._filled else f"CAST(NULL AS {c.type}) AS {quote(c.name)}"
            for c in EVENT_COLUMNS
        )
        self._cursor.execute(
            f"CREATE OR REPLACE TEMPORARY VIEW staged AS SELECT {columns} FROM read_parquet("  # noqa: S608
            "getvariable('footfall_staged'), hive_partitioning = true, hive_types = {'day': 'DATE'})"
        )


class _Session:
    """``ports.Engine`` on a cursor, so that the store can attach itself to the import's own session."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def query(self, sql: str, params: Mapping[str, object] | None = None, /, **tables: pa.Table) -> pa.Table:
        raise NotImplementedError("attach runs statements only for their effect")

    def execute(self, sql: str, params: Mapping[str, object] | None = None, /) -> None:
        self._cursor.execute(sql, dict(params) if params else None)

    def close(self) -> None:
        """The session is the engine's to close."""


def _settle(rows: Sequence[tuple[int, date, int]]) -> list[tuple[int, bool, bool]]:
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


def _used(layout: Layout) -> list[Column]:
    """Columns that a layout reads, each once."""
    return list({c.name: c for c in (*layout.columns.values(), *layout.rest)}.values())


def _json_cell(name: str, kind: str) -> Any:
    if kind == "VARCHAR":
        return "text"
    if kind in ("BOOLEAN", *_INTEGERS):
        return "other"
    return "number" if kind == "DOUBLE" else None


def _json_text(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _has_controls(source: Source) -> bool:
    """Whether a control character could stand in a value; looking for it in every value would cost more."""
    if source.kind == "parquet":
        return True
    if source.kind == "ndjson":
        wanted = re.compile(rb"\\[bfnrtu]|\x7f")
    else:
        wanted = re.compile(rb'[\x00-\x08\x0b\x0c\x0e-\x1f\x7f"]' + (b"" if source.delimiter == "\t" else rb"|\t"))
    with source.path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if source.kind == "ndjson" and text.find(b"\\") < 0 and text.find(b"\x7f") < 0:
            return False
        return wanted.search(text) is not None


def _rows(staged: Path) -> int:
    return sum(pq.read_metadata(p).num_rows for p in staged.rglob("*.parquet"))


def _days(staged: Path) -> list[date]:
    return sorted({date.fromisoformat(p.parent.name.removeprefix("day=")) for p in staged.rglob("*.parquet")})


def _clear(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
