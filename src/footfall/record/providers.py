"""Providers file: provider_id, category and name of each provider, from CSV, TSV, NDJSON or Parquet.

Unknown columns are refused, since a misspelt one would silently lose every category; where columns are mapped, they
are left out, and that is said. Of several rows with one
id the last wins, and that is said.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from footfall.errors import FormatError, InputError
from footfall.ports import Engine
from footfall.record.formats import Source, opened

COLUMNS = ("provider_id", "category", "name")


@dataclass(frozen=True, slots=True)
class Providers:
    """What a providers file says: a row for each provider in the order of the file, and what is worth a word.

    ``rows`` have ``provider_id`` and, where the file gives them, ``category`` and ``name``. ``notes`` name
    ids that stand more than once.
    """

    rows: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]


def read_providers(engine: Engine, path: Path | str, mapping: Mapping[str, str] | None = None) -> Providers:
    """Read a providers file. mapping: field -> column, where a column has another name.

    With a mapping, columns that are neither mapped nor known are left out: the file was made for something else.
    Raises FormatError for a file that cannot be read or lacks provider_id, InputError for a row that cannot
    be used; both name file and line (of a Parquet file the row).
    """
    renamed = _renamed(mapping or {})
    with ExitStack() as stack:
        spool = stack.enter_context(tempfile.TemporaryDirectory(prefix="footfall-"))
        source = stack.enter_context(opened(str(path), Path(spool)))
        numbered = {"csv": _csv_rows, "ndjson": _json_rows, "parquet": _parquet_rows}[source.kind]
        return _collect(source, numbered(engine, source, renamed), renamed)


def _renamed(mapping: Mapping[str, str]) -> dict[str, str]:
    """column -> field of a mapping; InputError for a field that a providers file does not have."""
    for field in mapping:
        if field not in COLUMNS:
            raise InputError(f"there is no field {field!r} of a provider", f"fields: {', '.join(COLUMNS)}")
    renamed = {column: field for field, column in mapping.items()}
    if len(renamed) < len(mapping):
        raise InputError("one column is mapped to two fields of a provider", "map each field to a column of its own")
    return renamed


def _collect(
    source: Source, numbered: Iterable[tuple[int, Mapping[str, Any]]], renamed: Mapping[str, str]
) -> Providers:
    where = "row" if source.kind == "parquet" else "line"
    rows: dict[str, dict[str, str]] = {}
    lines: dict[str, list[int]] = {}
    left_out: dict[str, None] = {}
    for line, found in numbered:
        raw = {field: value for key, value in found.items() if (field := _field(key, renamed))}
        left_out |= dict.fromkeys(key for key in found if not _field(key, renamed))
        place = f"{source.name}, {where} {line}"
        row = {key: _text(place, key, value) for key, value in raw.items() if value is not None}
        provider_id = row.get("provider_id", "")
        if not provider_id:
            raise InputError(f"{place}: provider_id is empty", "give every row the id that the events use")
        rows.pop(provider_id, None)  # the last row's place in the order, too
        rows[provider_id] = {key: value for key, value in row.items() if value or key == "provider_id"}
        lines.setdefault(provider_id, []).append(line)
    if not rows:
        raise FormatError(f"{source.name} has no rows", f"give it rows of {','.join(COLUMNS)}")
    notes = tuple(
        f"{provider_id} stands {len(at)} times ({where}s {', '.join(map(str, at[:5]))}); the last row counts"
        for provider_id, at in lines.items()
        if len(at) > 1
    )
    if left_out:
        notes += (f"columns that are no field of a provider and were left out: {', '.join(map(str, left_out))}",)
    return Providers(tuple(rows.values()), notes)


def _field(column: str, renamed: Mapping[str, str]) -> str:
    """The field that a column fills; "" for none. A map goes before a field's own name."""
    return renamed.get(column, "" if column not in COLUMNS or column in renamed.values() else column)


def _text(place: str, key: str, value: Any) -> str:
    """A cell as text, without blanks around it; of numbers only whole ones, since 7.0 would be another id."""
    if isinstance(value, str):
        text = value.strip()
        if "\0" in text:
            raise InputError(f"{place}: {key} holds a NUL byte", "mend the row")
        return text
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{place}: {key} is {value!r}, which is no text", "write ids, categories and names as text")


def _check_columns(source: Source, columns: Iterable[str], renamed: Mapping[str, str], place: str = "") -> None:
    names = list(columns)
    unknown = [name for name in names if name not in COLUMNS]
    absent = [column for column in renamed if column not in names] if not place else []  # JSON may leave one out
    if absent:
        raise FormatError(
            f"{source.name}{place}: no column {absent[0]!r} (mapped to {renamed[absent[0]]})",
            f"its columns are: {', '.join(map(str, names))}",
        )
    if "provider_id" not in {_field(name, renamed) for name in names}:
        raise FormatError(
            f"{source.name}{place}: there is no column provider_id",
            f"its columns are: {', '.join(map(str, names))}; say which with --map provider_id=COLUMN",
        )
    if unknown and not renamed:
        raise FormatError(
            f"{source.name}{place}: unknown column {', '.join(map(repr, unknown))}",
            f"known: {', '.join(COLUMNS)}; with --map field=COLUMN, other columns are left out",
        )


def _csv_rows(_engine: Engine, source: Source, renamed: Mapping[str, str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with source.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=source.delimiter, strict=True)
            header = [name.strip() for name in next(row for row in reader if row)]
            _check_columns(source, header, renamed)
            last = reader.line_num
            for row in reader:
                line, last = last + 1, reader.line_num
                if not row:
                    continue
                if len(row) != len(header):
                    raise InputError(
                        f"{source.name}, line {line}: {len(row)} fields instead of {len(header)}",
                        "put a text that holds the delimiter into double quotes",
                    )
                yield line, dict(zip(header, row, strict=True))
    except UnicodeDecodeError as error:
        raise FormatError(f"{source.name} is not UTF-8: {error.reason}", "save it as UTF-8") from None
    except csv.Error as error:
        raise FormatError(
            f"{source.name}, line {reader.line_num}: {error}", "look for a quote that is not closed"
        ) from None


def _json_rows(_engine: Engine, source: Source, renamed: Mapping[str, str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with source.path.open("rb") as file:
        file.seek(source.skip_bytes)
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                row = msgspec.json.decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InputError(f"{source.name}, line {line}: no JSON: {error}", "one object a line") from None
            if not isinstance(row, dict):
                raise InputError(f"{source.name}, line {line}: no JSON object", "one object a line")
            _check_columns(source, row, renamed, f", line {line}")
            yield line, row


def _parquet_rows(
    engine: Engine, source: Source, renamed: Mapping[str, str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    _check_columns(source, source.columns, renamed)
    table = engine.query("SELECT * FROM read_parquet($path)", {"path": str(source.path)})
    yield from enumerate(table.to_pylist(), 1)
