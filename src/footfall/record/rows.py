"""Rows with their physical line numbers, for files with something wrong: slower than DuckDB's readers, but exact."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from footfall.record.formats import CHUNK, Source

LINE, RAW, EARLY = "_footfall_line", "_footfall_raw", "_footfall_early"
_BATCH_ROWS = 20_000
_BATCH_BYTES = 16 << 20
# A quote that is never closed would swallow the rest of the file; a record of more lines than this is not one.
_RECORD_LINES = 100
Progress = Callable[[int], None]


def ndjson_rows(source: Source, progress: Progress) -> pa.RecordBatchReader:
    """Lines of an NDJSON file as (line, raw, early); early is a fault where the bytes are not UTF-8."""
    schema = pa.schema([(LINE, pa.int64()), (RAW, pa.large_string()), (EARLY, pa.string())])
    return pa.RecordBatchReader.from_batches(schema, _ndjson_batches(source, schema, progress))


def _ndjson_batches(source: Source, schema: pa.Schema, progress: Progress) -> Iterator[pa.RecordBatch]:
    first = 1
    with source.path.open("rb") as handle:
        handle.seek(source.skip_bytes)
        left = b""
        while True:
            block = handle.read(CHUNK)
            if not block:
                break
            progress(handle.tell())
            block = left + block
            cut = block.rfind(b"\n") + 1
            left = block[cut:]
            if cut:
                batch = _lines_batch(block[:cut], first, schema)
                first += batch.num_rows
                yield batch
        if left:
            yield _lines_batch(left + b"\n", first, schema)


def _lines_batch(block: bytes, first: int, schema: pa.Schema) -> pa.RecordBatch:
    ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == 10)
    n = len(ends)
    numbers = pa.array(np.arange(first, first + n))
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        raws, faults = [], []
        for line in block.split(b"\n")[:n]:
            text, fault = _decode(line)
            raws.append(text)
            faults.append(fault)
        return pa.record_batch(
            [numbers, pa.array(raws, pa.large_string()), pa.array(faults, pa.string())], schema=schema
        )
    # Arrow's offsets point into the block as it is; each text keeps its newline, which JSON allows.
    offsets = np.concatenate([[0], ends + 1]).astype(np.int64)
    raw = pa.LargeStringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(block))
    return pa.record_batch([numbers, raw, pa.nulls(n, pa.string())], schema=schema)


def _decode(line: bytes) -> tuple[str, str | None]:
    try:
        return line.decode("utf-8"), None
    except UnicodeDecodeError:
        return line.decode("utf-8", "backslashreplace"), "row:encoding"


def csv_rows(source: Source, progress: Progress) -> pa.RecordBatchReader:
    """Records of a CSV file as (line, raw, early, one text column for each of the header's)."""
    schema = pa.schema(
        [(LINE, pa.int64()), (RAW, pa.large_string()), (EARLY, pa.string())]
        + [(name, pa.large_string()) for name in source.columns]
    )
    return pa.RecordBatchReader.from_batches(schema, _csv_batches(source, schema, progress))


def _csv_batches(source: Source, schema: pa.Schema, progress: Progress) -> Iterator[pa.RecordBatch]:
    width = len(source.columns)
    csv.field_size_limit(1 << 30)
    columns: list[list[object]] = [[] for _ in schema]
    held = done = 0
    for line, raw, fields, fault in csv_records(source.path, source.delimiter, source.skip_bytes):
        done += len(raw)
        held += len(raw)
        if fault is None and len(fields) != width:
            fault = f"row:{'few' if len(fields) < width else 'many'}:{len(fields)}:{width}"
        values = fields if fault is None else [None] * width
        columns[0].append(line)
        columns[1].append(raw)
        columns[2].append(fault)
        for column, value in zip(columns[3:], values, strict=True):
            column.append(value)
        if len(columns[0]) >= _BATCH_ROWS or held >= _BATCH_BYTES:
            yield _batch(columns, schema)
            columns = [[] for _ in schema]
            held = 0
            progress(done)
    if columns[0]:
        yield _batch(columns, schema)


def _batch(columns: list[list[object]], schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def csv_records(path: Path, delimiter: str, skip_bytes: int) -> Iterator[tuple[int, str, list[str], str | None]]:
    """(line of its start, raw text, fields, fault) of each record after the header; blank lines are passed over."""
    with path.open("rb") as handle:
        handle.seek(skip_bytes)
        text = io.TextIOWrapper(handle, encoding="utf-8", errors="surrogateescape", newline="")
        numbered = _Numbered(text)
        header = True
        while True:
            line = numbered.next()
            if line is None:
                return
            number = numbered.number
            if not line.strip("\r\n"):
                continue
            raw, fields, fault = _record(line, numbered, delimiter)
            if header:
                header = False
                continue
            yield number, raw, fields, fault


class _Numbered:
    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._back: list[str] = []
        self.number = 0

    def next(self) -> str | None:
        line = self._back.pop() if self._back else self._text.readline()
        if not line:
            return None
        self.number += 1
        return line

    def give_back(self, lines: list[str]) -> None:
        self._back.extend(reversed(lines))
        self.number -= len(lines)


def _record(first: str, numbered: _Numbered, delimiter: str) -> tuple[str, list[str], str | None]:
    if '"' not in first:
        raw, fault = _clean(first)
        return raw, raw.split(delimiter), fault
    lines = [first]
    while True:
        raw = "".join(lines)
        try:
            rows = list(csv.reader([raw], delimiter=delimiter, strict=True))
        except csv.Error as error:
            more = numbered.next() if "unexpected end" in str(error) and len(lines) < _RECORD_LINES else None
            if more is not None:
                lines.append(more)
                continue
            numbered.give_back(lines[1:])
            return _clean(first)[0], [], "row:quote"
        text, fault = _clean(raw)
        return text, rows[0] if fault is None else [], fault


def _clean(raw: str) -> tuple[str, str | None]:
    raw = raw.rstrip("\r\n")
    if "\0" in raw:
        return raw, "row:nul"
    if not raw.isascii():
        try:
            raw.encode("utf-8")
        except UnicodeEncodeError:
            return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), "row:encoding"
    return raw, None
