"""Quarantine: rejected rows, kept once for each batch with file, line, field and reason, and given back to be mended.

<workspace>/quarantine/<batch_id>.parquet    written before the batch is committed under a name of its own
                                             (.pending), renamed after: a batch's rejects are there once or not at all
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from footfall.errors import InputError, WorkspaceError
from footfall.model import Reject
from footfall.record.fields import REJECT_COLUMNS

SCHEMA = pa.schema(
    [
        ("batch_id", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("field", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
        ("kind", pa.string()),
        ("delimiter", pa.string()),
        ("header", pa.string()),
    ]
)
_PENDING = ".pending"


class Writer:
    """Rejects of one batch on their way to the quarantine; nothing is visible before ``publish``."""

    def __init__(self, directory: Path, batch_id: str, kind: str, delimiter: str, header: str) -> None:
        """The folder is made where it is absent; OSError where it cannot be."""
        directory.mkdir(parents=True, exist_ok=True)
        self._final = directory / f"{batch_id}.parquet"
        self._pending = directory / f"{batch_id}.parquet{_PENDING}"
        self._tail = {"batch_id": batch_id, "kind": kind, "delimiter": delimiter, "header": header}
        self._writer: pq.ParquetWriter | None = None

    def add(self, rejects: Sequence[Reject]) -> None:
        """Write some rejects to the pending file."""
        if not rejects:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._pending, SCHEMA, compression="zstd")
        rows = [
            {"file": r.file, "line": r.line, "field": r.field, "reason": r.reason, "raw": r.raw, **self._tail}
            for r in rejects
        ]
        self._writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))

    def close(self) -> None:
        """End the pending file, durably."""
        if self._writer is not None:
            self._writer.close()
            with self._pending.open("rb") as handle:
                os.fsync(handle.fileno())

    def publish(self) -> None:
        """Give the pending file its name: from now on these rejects are in the quarantine."""
        if self._writer is not None:
            self._pending.replace(self._final)

    def drop(self) -> None:
        """Remove the pending file of a batch that did not come to be."""
        if self._writer is not None:
            self._writer.close()
        self._pending.unlink(missing_ok=True)


def recover(directory: Path, has_batch: Callable[[str], bool]) -> None:
    """Settle what a killed import left: rejects of a committed batch are published, others removed with its copies."""
    if not directory.is_dir():
        return
    for path in directory.glob(f"*{_PENDING}"):
        final = path.with_name(path.name.removesuffix(_PENDING))
        if has_batch(final.name.removesuffix(".parquet")):
            path.replace(final)
        else:
            path.unlink()
    for path in directory.glob(".import-*"):
        for leftover in path.rglob("*"):
            if leftover.is_file():
                leftover.unlink()
        for folder in sorted(path.rglob("*"), reverse=True):
            folder.rmdir()
        path.rmdir()


def rejects(directory: Path, file: str | None = None) -> Iterator[Reject]:
    """Rejected rows, oldest batch first, in the order of their lines; of one ``file`` where it is named.

    A row that was rejected by several imports of the same file comes once.
    """
    for row in _rows(directory):
        if file is None or row["file"] == file:
            yield Reject(row["file"], row["line"], row["field"], row["reason"], row["raw"])


def count(directory: Path) -> int:
    """Rejected rows in the quarantine, as ``rejects`` lists them."""
    return sum(1 for _ in _rows(directory))


def write_rejects(directory: Path, out_path: Path) -> tuple[Path, ...]:
    """Write the rejected rows in the format they came in, with file, line, field and reason beside them.

    Mend them in place and import the file again: the columns ``_reject_*`` are known and dropped. Rows of different
    layouts go to files of their own (``out.csv``, ``out-2.csv``, ...). Returns the files; InputError for no rows.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in _rows(directory):
        groups.setdefault((str(row["kind"]), str(row["delimiter"]), str(row["header"])), []).append(row)
    if not groups:
        raise InputError("no rejected rows are kept in this workspace", "there is nothing to mend")
    written = []
    for number, ((kind, delimiter, header), rows) in enumerate(groups.items(), 1):
        path = out_path if number == 1 else out_path.with_name(f"{out_path.stem}-{number}{out_path.suffix}")
        lines = _csv_lines(rows, delimiter, header) if kind == "csv" else _json_lines(rows)
        temporary = path.with_name(path.name + ".part")
        try:
            with temporary.open("w", encoding="utf-8", newline="") as out:
                out.writelines(lines)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise WorkspaceError(f"{path} cannot be written: {error.strerror}", "name another file") from None
        written.append(path)
    return tuple(written)


def _rows(directory: Path) -> Iterator[dict[str, Any]]:
    seen: set[tuple[object, ...]] = set()
    for path in sorted(directory.glob("*.parquet")) if directory.is_dir() else ():
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(10_000):
                for row in batch.to_pylist():
                    key = (row["file"], row["line"], row["field"], hash(row["raw"]))
                    if key not in seen:
                        seen.add(key)
                        yield row


def _about(row: dict[str, Any]) -> list[object]:
    return [row["file"], row["line"], row["field"], row["reason"]]


def _csv_lines(rows: Iterable[dict[str, Any]], delimiter: str, header: str) -> Iterator[str]:
    yield delimiter.join(REJECT_COLUMNS) + delimiter + header + "\r\n"
    for row in rows:
        cells = io.StringIO()
        csv.writer(cells, delimiter=delimiter, lineterminator="").writerow(_about(row))
        yield f"{cells.getvalue()}{delimiter}{row['raw']}\r\n"


def _json_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        raw = str(row["raw"]).strip()
        try:
            known = isinstance(msgspec.json.decode(raw), dict)
        except msgspec.DecodeError:
            known = False
        if not known:  # nothing can be added to what is no object; it is written as it came
            yield raw + "\n"
            continue
        about = msgspec.json.encode(dict(zip(REJECT_COLUMNS, _about(row), strict=True))).decode()
        body = raw[1:].lstrip()
        yield about[:-1] + ("" if body.startswith("}") else ",") + body + "\n"
