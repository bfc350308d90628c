"""Mending: rejected rows out into a file that a person can mend, and back in again.

Each row carries what it goes by (``_reject_id``), where it stood, what is wrong with it, and, where it cannot be taken
apart, its text as it came (``_reject_raw``). Intake knows these columns and drops them; a row
that comes in is taken out of the quarantine, one that is still wrong takes the place of what was kept of it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow.parquet as pq

from footfall.errors import InputError, WorkspaceError
from footfall.record.faults import NOT_UTF8
from footfall.record.fields import REJECT_COLUMNS
from footfall.record.formats import Source
from footfall.record.quarantine import Origin, rows
from footfall.record.rows import csv_records

_RAW = "_reject_raw"
_ABOUT = tuple(c for c in REJECT_COLUMNS if c != _RAW)
_MARK = b"_reject_id"
_REASON = "_reject_reason"
_BYTE = re.compile(r"\\x[89a-f][0-9a-f]")  # what rows.py leaves of a byte that is no UTF-8; below 80 all are
_AS_THEY_CAME = ("", ".txt")
_SUFFIXES = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson"}
Row = dict[str, Any]

# ---------------------------------------------------------------- out


def write_rejects(directory: Path, out_path: Path) -> tuple[Path, ...]:
    """Write the rejected rows for mending: CSV to a name in .csv, NDJSON to one in .ndjson, as they came to one in .txt
    or without an ending.

    CSV begins with a byte order mark, by which spreadsheets know UTF-8. Rows of CSV files with different columns go to
    files of their own (``out.csv``, ``out-2.csv``, ...). Mend them in place and import the files again, with the same
    options. Returns the files; InputError for no rows and for a name of another format, WorkspaceError where a file
    cannot be written.
    """
    ending = out_path.suffix.lower()
    wanted = _SUFFIXES.get(ending)
    if wanted is None and ending not in _AS_THEY_CAME:
        raise InputError(
            f"{out_path.name}: rows kept aside are written as text, not as {ending}",
            "name a file in .csv, .tsv or .ndjson; spreadsheets read .csv",
        )
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows(directory):
        came = "csv" if row["kind"] == "csv" else "ndjson"
        kind = wanted or came
        layout = (row["delimiter"], row["header"]) if came == kind == "csv" else ("", "")
        groups.setdefault((kind, *layout), []).append(row)
    if not groups:
        raise InputError("no rejected rows are kept in this workspace", "there is nothing to mend")
    written = []
    for number, ((kind, delimiter, header), members) in enumerate(groups.items(), 1):
        path = out_path if number == 1 else out_path.with_name(f"{out_path.stem}-{number}{out_path.suffix}")
        if kind == "ndjson":
            lines = _json_lines(members)
        elif header:
            lines = _csv_lines(members, delimiter, header)
        else:
            lines = _csv_of_objects(members, "\t" if out_path.suffix.lower() == ".tsv" else ",")
        _write(path, lines, "utf-8-sig" if kind == "csv" else "utf-8")
        written.append(path)
    return tuple(written)


def _write(path: Path, lines: Iterable[str], encoding: str) -> None:
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("w", encoding=encoding, newline="") as out:
            out.writelines(lines)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}", "name another file") from None


def _about(row: Row) -> list[Any]:
    return [f"{row['content']}:{row['line']}", row["file"], row["line"], row["field"], row["reason"]]


def _csv_lines(members: Iterable[Row], delimiter: str, header: str) -> Iterator[str]:
    """Rows of one CSV layout as they stood, even where they have too few or too many fields."""
    yield delimiter.join(_ABOUT) + delimiter + header + "\r\n"
    for row in members:
        yield f"{_cells(_about(row), delimiter)}{delimiter}{row['raw']}\r\n"


def _csv_of_objects(members: list[Row], delimiter: str) -> Iterator[str]:
    """JSON objects as CSV: a column for each key; what is nested stays JSON."""
    objects = [_values(row) for row in members]
    keys = list(dict.fromkeys(key for found in objects for key in found or ()))
    yield _cells([*_ABOUT, _RAW, *keys], delimiter) + "\r\n"
    for row, found in zip(members, objects, strict=True):
        texts = {key: _plain(bytes(value)) for key, value in (found or {}).items()}
        raw = "" if found is not None else str(row["raw"]).strip()
        yield _cells([*_about(row), raw, *(texts.get(key, "") for key in keys)], delimiter) + "\r\n"


def _json_lines(members: Iterable[Row]) -> Iterator[str]:
    for row in members:
        about = dict(zip(_ABOUT, _about(row), strict=True))
        found = _values(row)
        body: Mapping[str, Any] = {_RAW: str(row["raw"]).strip()} if found is None else found
        yield msgspec.json.encode({**about, **body}).decode() + "\n"


def _values(row: Row) -> dict[str, msgspec.Raw] | None:
    """A rejected row as an object of JSON values; None where it cannot be taken apart."""
    if row["kind"] != "csv":
        try:
            return msgspec.json.decode(str(row["raw"]), type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, msgspec.ValidationError):
            return None
    cells = _taken_apart(str(row["raw"]), str(row["delimiter"]))
    names = _taken_apart(str(row["header"]), str(row["delimiter"]))
    if cells is None or names is None or len(cells) != len(names):
        return None
    return {n: msgspec.Raw(msgspec.json.encode(c)) for n, c in zip(names, cells, strict=True)}


def _plain(value: bytes) -> str:
    """A JSON value as the text of a cell."""
    if value == b"null":
        return ""
    return str(msgspec.json.decode(value)) if value[:1] == b'"' else value.decode()


def _cells(values: Iterable[Any], delimiter: str) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n")  # given to csv all the same: its characters are what it quotes


def _taken_apart(text: str, delimiter: str) -> list[str] | None:
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return found[0] if len(found) == 1 else None


# ---------------------------------------------------------------- in


class Came(NamedTuple):
    """What a line of a file of ``write_rejects`` says of its row.

    origin, file: what its reject goes by and the file that it came from. torn: it was kept aside for bytes that are no
    UTF-8, and one of them is still there as its number.
    """

    origin: Origin
    file: str
    torn: bool


def holds_rejects(source: Source) -> bool:
    """Whether a file was written by ``write_rejects``."""
    if source.kind != "ndjson":
        return _MARK.decode() in source.columns
    with source.path.open("rb") as handle:
        return _MARK in handle.read(1 << 16)


def origins(source: Source) -> dict[int, Came]:
    """line -> what it says of its row, of the lines that tell it."""
    return {line: came for line, found in _cells_by_name(source) if (came := _came(found)) is not None}


def _cells_by_name(source: Source) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, column -> cell); cells beyond the header's stand under their numbers."""
    if source.kind == "csv":
        for line, _, fields, fault in csv_records(source.path, source.delimiter, source.skip_bytes):
            # The columns come first: they can be told even where a row has too many or too few fields.
            if fault is None:
                beyond = map(str, range(len(source.columns), len(fields)))
                yield line, dict(zip([*source.columns, *beyond], fields, strict=False))
    elif source.kind == "ndjson":
        with source.path.open("rb") as handle:
            handle.seek(source.skip_bytes)
            for line, text in enumerate(handle, 1):
                try:
                    found = msgspec.json.decode(text)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue
                if isinstance(found, dict):
                    yield line, found
    else:
        yield from enumerate(pq.read_table(source.path).to_pylist(), 1)


def _came(found: Mapping[str, Any]) -> Came | None:
    content, _, line = str(found.get(_ABOUT[0]) or "").partition(":")
    if not (line.isascii() and line.isdigit()):
        return None
    torn = str(found.get(_REASON) or "").startswith(NOT_UTF8)
    own = [cell for name, cell in found.items() if name not in REJECT_COLUMNS] if torn else []
    texts = (cell if isinstance(cell, str) else msgspec.json.encode(cell).decode() for cell in own)
    return Came(Origin(content, int(line)), str(found.get(_ABOUT[1]) or ""), any(map(_BYTE.search, texts)))


def header_without(source: Source) -> str:
    """The header of a CSV file without the columns of ``write_rejects``."""
    return _cells([c for c in source.columns if c not in REJECT_COLUMNS], source.delimiter)


def raw_without(source: Source, raw: str) -> str | None:
    """A row that is still wrong, without the columns of ``write_rejects``; None where it cannot be taken apart."""
    if source.kind == "csv":
        cells = _taken_apart(raw, source.delimiter)
        drop = {i for i, c in enumerate(source.columns) if c in REJECT_COLUMNS}
        names = dict(zip(source.columns, cells or (), strict=False))
        if cells is None or names.get(_RAW):
            return None
        return _cells([c for i, c in enumerate(cells) if i not in drop], source.delimiter)
    try:
        found = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    if _RAW in found and bytes(found[_RAW]) != b"null":
        return None
    return msgspec.json.encode({k: v for k, v in found.items() if k not in REJECT_COLUMNS}).decode()
