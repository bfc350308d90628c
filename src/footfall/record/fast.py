"""The fast way: a clean source in one stream from DuckDB's reader, through sql/check.sql, into files by day.

Whatever is found wrong raises Unclean, and the exact way does it all over. What check.sql does for texts that may be
empty or too long is left out at first: Arrow's offsets tell both for a thousandth of the price. Where an empty text
turns up, the stream is begun again with all of check.sql.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from footfall.model import EVENT_COLUMNS
from footfall.record.fields import Layout, quote
from footfall.record.formats import Source
from footfall.record.relations import Relations, Unclean, checked, has_controls, longest, passed_on
from footfall.record.session import Session
from footfall.record.staging import DayFiles, clear, count_rows, scattered

_BATCH_ROWS = 122_880
# What DuckDB may read ahead of the writers; its default of 1 MB makes them wait for one another.
_AHEAD = "32MB"
_HASH = "footfall_hash"
_REPEATED = "SELECT count(*) - count(DISTINCT hash(message_id)) FROM staged"
_NO_DAY = "day=__HIVE_DEFAULT_PARTITION__"
# Up to here ids are compared in memory (8 bytes each), beyond by the engine, which can spill.
_SORT_ROWS = 20_000_000
_OWN = ("message_id", "day", "source", "batch_id", "received_at")
_N = TypeVar("_N", bound=np.generic)
_FAULTS = ("Invalid Input Error", "Conversion Error")  # what DuckDB says of a file's contents


class _Scattered(Exception):  # noqa: N818  no error: it says that DuckDB's own way by day is better
    """Rows are in no order of days, and the days are many."""


class _Empty(Exception):  # noqa: N818  no error: it says that all of check.sql is needed
    """A text of the file is empty, which is as good as absent."""


def stage(session: Session, source: Source, relations: Relations, staged: Path) -> tuple[int, tuple[str, ...]]:
    """Stage all rows: (rows, columns of the staged files). Raises Unclean, with anything left in ``staged``."""
    with ThreadPoolExecutor(1) as beside:
        looking = beside.submit(has_controls, source)
        relation = relations.fast()
        controls = looking.result()
    # Columns that no field of the file fills are left out: writing nothing costs as much as writing something.
    columns = _filled(relation.layout)
    session.execute(f"SET streaming_buffer_size = '{_AHEAD}'")
    lean = checked(relation.given(), relation.layout, controls, lean=True)
    full = checked(relation.given(), relation.layout, controls)
    for rows in (lean, full):
        try:
            return _stream(session, rows, columns, staged), columns
        except _Empty:
            clear(staged)
        except _Scattered:
            clear(staged)
            break
    return _copy(session, full, columns, staged), columns


def _stream(session: Session, rows: str, columns: Sequence[str], staged: Path) -> int:
    select = ", ".join([f"hash(message_id) AS {_HASH}", *(quote(c) for c in columns)])
    read = 0
    hashes: list[npt.NDArray[np.uint64]] = []
    try:
        reader = session.cursor.sql(f"SELECT {select} FROM ({rows})").to_arrow_reader(_BATCH_ROWS)  # noqa: S608
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        raise Unclean(str(error)) from None
    written = pa.schema([f for f in reader.schema if f.name not in (_HASH, "day")])
    with reader, DayFiles(staged, written) as files:
        while (batch := _next(reader)) is not None:
            if not batch.num_rows:
                continue
            _look(batch)
            days = _numbers(batch.column("day"), np.int32)
            if not read and scattered(days):
                raise _Scattered
            read += batch.num_rows
            if read <= _SORT_ROWS:
                hashes.append(_numbers(batch.column(_HASH), np.uint64).copy())
            files.add(batch.select(written.names), days)
    if read > _SORT_ROWS:
        session.view_staged([staged], columns)
    if _twice(hashes) if read <= _SORT_ROWS else session.value(_REPEATED):
        raise Unclean("one id twice")
    return read


def _copy(session: Session, rows: str, columns: Sequence[str], staged: Path) -> int:
    """As ``_stream``, by DuckDB's PARTITION_BY: slower, but for rows that are scattered over very many days."""
    try:
        session.copy_by_day(f"SELECT {', '.join(quote(c) for c in columns)} FROM ({rows})", staged)  # noqa: S608
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        raise Unclean(str(error)) from None
    if (staged / _NO_DAY).exists():
        raise Unclean("rows at fault")
    read = count_rows(staged)
    if not read:
        return 0
    session.view_staged([staged], columns)
    if session.value(_REPEATED):
        raise Unclean("one id twice")
    return read


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """The next batch. Arrow makes one kind of error of all that DuckDB raises; its text still says which it was."""
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except (OSError, pa.ArrowException) as error:
        _tell(error)


def _tell(error: Exception) -> NoReturn:
    text = str(error)
    if text.startswith(_FAULTS):
        raise Unclean(text) from None
    if "Out of Memory Error" in text:
        raise duckdb.OutOfMemoryException(text) from error
    if "IO Error" in text:
        raise duckdb.IOException(text) from error
    raise duckdb.Error(text) from error


def _look(batch: pa.RecordBatch) -> None:
    """Raises Unclean for a row at fault or an id that is too long, _Empty for an empty text."""
    if batch.column("day").null_count:
        raise Unclean("rows at fault")
    bounds = longest()
    for name in passed_on():
        if name not in batch.schema.names:
            continue
        column = batch.column(name)
        ends = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
        lengths = np.diff(ends)
        if int(np.count_nonzero(lengths == 0)) > column.null_count:
            raise _Empty
        if name in bounds and int(lengths.max()) > bounds[name]:
            raise Unclean(f"{name} is too long")


def _numbers(column: pa.Array, kind: type[_N]) -> npt.NDArray[_N]:
    """Values of a column without NULLs, not copied. Arrow's own way would import pandas, where that is installed."""
    return np.frombuffer(column.buffers()[1], kind)[column.offset : column.offset + len(column)]


def _twice(hashes: Sequence[npt.NDArray[np.uint64]]) -> bool:
    """Whether an id comes twice, by its 64-bit hash; a collision only costs the exact way."""
    if not hashes:
        return False
    found = np.concatenate(hashes)
    found.sort()
    return bool((found[1:] == found[:-1]).any())


def _filled(layout: Layout) -> tuple[str, ...]:
    """Columns of the log that can hold something under a layout."""
    given = {*layout.columns, *layout.fixed, *_OWN}
    if "amount" in given:
        given.add("amount_minor")
    if layout.rest:
        given.add("properties")
    return tuple(c.name for c in EVENT_COLUMNS if c.name in given)
