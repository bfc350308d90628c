"""Relations: a source as SQL, for the fast way and for the exact way, with the layout of its fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import duckdb
import msgspec

from footfall.errors import FormatError
from footfall.model import EVENT_COLUMNS
from footfall.record.fields import Column, Layout, given_sql, literal, resolve
from footfall.record.formats import Source, sample_keys
from footfall.record.rows import EARLY, LINE, RAW, csv_rows, ndjson_rows

_MAX_KEYS = 1000
_BLOCK = 1 << 20  # fits into a core's cache, which makes searching it twice as fast as larger ones
_LEAD_NONE = "CAST(NULL AS BIGINT) AS line, CAST(NULL AS VARCHAR) AS raw, CAST(NULL AS VARCHAR) AS early"
_LEAD = f"{LINE} AS line, {RAW} AS raw, {EARLY} AS early"
_FOR_FIELD = re.compile(r" */\* (\w+) \*/")
_EMPTY = re.compile(r"nullif\((g\.\"?(\w+)\"?), ''\) AS \"?\2\"?,?$", re.M)
_LONG = re.compile(r"WHEN strlen\((\w+)\) > (\d+) ")
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


class Unclean(Exception):  # noqa: N818  no error: it says that the exact way is needed
    """The fast way found something wrong in the file."""


@dataclass(frozen=True, slots=True)
class Relation:
    """What the view ``given`` is made from: SQL of the rows, columns for line, raw and early, and the layout."""

    rows: str
    lead: str
    layout: Layout

    def given(self) -> str:
        """SELECT of all fields as text, with line, raw and early."""
        return given_sql(self.layout, self.rows, self.lead)


class Relations:
    """The relations of one source in one DuckDB session."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        source: Source,
        mapping: Mapping[str, str],
        fixed: Mapping[str, str],
        progress: Callable[[int], None],
    ) -> None:
        """progress: told the bytes read so far, on the exact way."""
        self._cursor = cursor
        self._source = source
        self._mapping = mapping
        self._fixed = fixed
        self._progress = progress
        for name, value in {"path": str(source.path), **{f"set_{f}": v for f, v in fixed.items()}}.items():
            cursor.execute(f"SET VARIABLE footfall_{name} = $value", {"value": value})

    def fast(self) -> Relation:
        """Rows as DuckDB reads them itself, without their lines. Raises Unclean where that will not do."""
        source = self._source
        if source.kind == "csv":
            columns = [Column(c) for c in source.columns]
            self._check_case(source.columns)
            names = ", ".join(f"{literal(c)}: 'VARCHAR'" for c in source.columns)
            rows = (
                f"read_csv(getvariable('footfall_path'), auto_detect = false, header = true, quote = '\"', "
                f"escape = '\"', delim = {literal(source.delimiter)}, columns = {{{names}}}, max_line_size = 16777216, "
                "compression = 'none')"  # not by the file's name
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
            "dateformat = '%f', timestampformat = '%f', sample_size = 4096, compression = 'none')"
        )
        try:
            described = self._cursor.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()  # noqa: S608
        except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.BinderException) as error:
            raise Unclean(str(error)) from None
        layout = self._sampled({name: _json_cell(name, kind) for name, kind, *_ in described})
        if layout is not None:
            return Relation(rows, _LEAD_NONE, layout)
        layout = self._resolve_keys(self._all_keys())
        spec = ", ".join(f"{literal(c.name)}: '{'JSON' if c.cell == 'json' else 'VARCHAR'}'" for c in _used(layout))
        rows = (
            f"read_json(getvariable('footfall_path'), format = 'newline_delimited', records = true, "
            f"ignore_errors = true, columns = {{{spec}}}, compression = 'none')"
        )
        return Relation(rows, _LEAD_NONE, layout)

    def _sampled(self, cells: Mapping[str, Any]) -> Layout | None:
        """The layout by the first rows, where their types say that nothing can be lost by it."""
        if not all(cells.values()):
            return None
        try:
            layout = self._resolve([Column(n, c) for n, c in cells.items()])
        except FormatError:
            return None  # the column may come later in the file
        numbers = [f for f, c in layout.columns.items() if c.cell == "number" and f not in ("amount", "propensity")]
        return None if layout.rest or numbers else layout

    def exact(self) -> Relation:
        """Rows with their line numbers and their raw text."""
        source = self._source
        if source.kind == "csv":
            self._cursor.register("numbered", csv_rows(source, self._progress))
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
        self._cursor.register("numbered", ndjson_rows(source, self._progress))
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

    # ------------------------------------------------------------ columns

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


def checked(given: str, layout: Layout, controls: bool, lean: bool = False) -> str:
    """sql/check.sql over ``given``, in one statement: each view between would be bound again.

    controls: whether control characters have to be looked for. lean: leave out what it does for texts that are empty
    or too long; whoever reads the rows then has to look at ``passed_on`` and ``longest`` himself.
    """
    asked = {*layout.columns, *layout.fixed, *(["controls"] if controls else [])}
    check = [x for x in sql("check").splitlines() if not (m := _FOR_FIELD.match(x)) or m[1] in asked]
    if lean:
        check = [_leaner(x) for x in check if not _LONG.search(x)]
    return f"WITH given AS ({given})\n" + "\n".join(check)


def _leaner(line: str) -> str:
    found = _EMPTY.search(line)
    return line.replace(f"nullif({found[1]}, '')", found[1]) if found and found[2] in passed_on() else line


@lru_cache(maxsize=1)
def passed_on() -> tuple[str, ...]:
    """Texts that sql/check.sql hands on as they are, but for empty ones."""
    return tuple(m[2] for m in _EMPTY.finditer(sql("check")) if m[2] in {c.name for c in EVENT_COLUMNS})


@lru_cache(maxsize=1)
def longest() -> Mapping[str, int]:
    """Bytes that texts may have by sql/check.sql, by field."""
    return {m[1]: int(m[2]) for m in _LONG.finditer(sql("check"))}


def has_controls(source: Source) -> bool:
    """Whether a control character could stand in a value; looking for it in every value would cost more."""
    if source.kind == "parquet":
        return True
    if source.kind == "ndjson":
        wanted = re.compile(rb"\\[bfnrtu]|\x7f")
    else:
        wanted = re.compile(rb'[\x00-\x08\x0b\x0c\x0e-\x1f\x7f"]' + (b"" if source.delimiter == "\t" else rb"|\t"))
    left = b""
    with source.path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            if source.kind == "ndjson" and b"\\" not in block and b"\x7f" not in block and not left:
                continue
            if wanted.search(left + block):
                return True
            left = b"\\" if block.endswith(b"\\") else b""
    return False


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
