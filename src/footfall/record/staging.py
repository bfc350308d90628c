"""Staging: rows as Arrow batches into Parquet files, one folder a local day, and what such a folder holds.

DuckDB's own PARTITION_BY costs a third of an import: it looks every row's day up and copies every row twice. Here rows
of one day that stand side by side are handed on as slices, which copies nothing, and files are written while DuckDB
reads on. Rows in no order of time are sorted by day first, one batch at a time.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

# A day's rows are written as soon as so many are held, and all days' as soon as so many bytes are.
_GROUP_ROWS = 122_880
_HELD_BYTES = 128 << 20
# A day that no row of so many batches belonged to is written and its file closed, unless it is hardly begun.
_IDLE_BATCHES = 2
_BEGUN_ROWS = 8_192
_OPEN_FILES = 64
_WRITERS = min(4, os.cpu_count() or 1)
# Shorter runs of one day than this, on average, are sorted together.
_RUN_ROWS = 256
# A dictionary pays for columns with few values; one that outgrows this is given up (bytes).
_FEW_VALUES = (
    "name",
    "category",
    "channel",
    "campaign",
    "device",
    "country",
    "position",
    "source",
    "batch_id",
    "received_at",
)
_DICTIONARY_BYTES = 8_192
_EPOCH = date(1970, 1, 1)


@dataclass(slots=True)
class _Day:
    """Rows of a day that are still to be written, and the file they go to."""

    folder: Path
    parts: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    seen: int = 0  # number of the last batch with a row of the day
    files: int = 0
    writer: pq.ParquetWriter | None = None
    path: Path = Path()
    lock: threading.Lock = field(default_factory=threading.Lock)


class DayFiles:
    """Writes batches to ``folder/day=YYYY-MM-DD/data_N.parquet``; a context, whose end closes and syncs the files.

    Holds ``_HELD_BYTES`` of rows and one batch at most, beside what the writers are at.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        """folder: exists. schema: of the batches."""
        self._folder = folder
        self._schema = schema
        self._dictionaries = [name for name in schema.names if name in _FEW_VALUES]
        self._days: dict[int, _Day] = {}
        self._batches = self._held = 0
        self._pending: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="footfall-staging")

    def __enter__(self) -> DayFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for day in self._days.values():
                    self._hand_over(day, last=True)
                self._wait(0)
        finally:
            self._pool.shutdown(cancel_futures=True)
            for day in self._days.values():  # left open only where something failed
                if day.writer is not None:
                    day.writer.close()

    def add(self, batch: pa.RecordBatch, days: npt.NDArray[np.int32]) -> None:
        """batch: rows; days: (n,), each row's day, days since 1970-01-01. Raises OSError of earlier writes, too."""
        if not batch.num_rows:
            return
        cuts = np.flatnonzero(days[1:] != days[:-1]) + 1
        if len(cuts) > batch.num_rows // _RUN_ROWS:
            order = np.argsort(days, kind="stable")
            batch, days = batch.take(_indices(order)), days[order]
            cuts = np.flatnonzero(days[1:] != days[:-1]) + 1
        self._batches += 1
        self._held += batch.nbytes
        edges = [0, *cuts.tolist(), batch.num_rows]
        for first, end in pairwise(edges):
            day = self._day(int(days[first]))
            day.parts.append(batch.slice(first, end - first))
            day.rows += end - first
            day.seen = self._batches
        self._settle()

    def _day(self, number: int) -> _Day:
        found = self._days.get(number)
        if found is None:
            found = self._days[number] = _Day(self._folder / f"day={_EPOCH + timedelta(days=number)}")
            found.folder.mkdir()
        return found

    def _settle(self) -> None:
        """Hand days over to be written: all of them where too much is held, since a slice keeps its whole batch."""
        full = self._held > _HELD_BYTES
        if full:
            self._held = 0
        many = sum(day.writer is not None for day in self._days.values()) > _OPEN_FILES
        for day in self._days.values():
            idle = day.seen < self._batches - _IDLE_BATCHES and (day.rows >= _BEGUN_ROWS or not day.rows)
            if full or day.rows >= _GROUP_ROWS or (idle and (day.rows or day.writer is not None)):
                self._hand_over(day, last=idle or many)
        self._wait(2 * _WRITERS)

    def _hand_over(self, day: _Day, last: bool) -> None:
        parts, day.parts, day.rows = day.parts, [], 0
        if parts or (last and day.writer is not None):
            self._pending.append(self._pool.submit(self._write, day, parts, last))

    def _wait(self, still: int) -> None:
        while len(self._pending) > still:
            self._pending.popleft().result()

    def _write(self, day: _Day, parts: list[pa.RecordBatch], last: bool) -> None:
        with day.lock:
            if parts:
                if day.writer is None:
                    day.path = day.folder / f"data_{day.files}.parquet"
                    day.files += 1
                    day.writer = pq.ParquetWriter(
                        str(day.path),
                        self._schema,
                        compression="snappy",
                        use_dictionary=self._dictionaries,
                        dictionary_pagesize_limit=_DICTIONARY_BYTES,
                        store_schema=False,
                    )
                table = pa.Table.from_batches(parts)
                day.writer.write_table(table, row_group_size=table.num_rows)
            if last and day.writer is not None:
                writer, day.writer = day.writer, None
                writer.close()
                _sync(day.path)  # while others are written; the commit's own sync finds nothing left to do


def scattered(days: npt.NDArray[np.int32]) -> bool:
    """Whether rows are spread over so many days, in no order, that each would get a file of crumbs. days: (n,)."""
    cuts = int(np.count_nonzero(days[1:] != days[:-1]))
    if cuts <= len(days) // _RUN_ROWS:
        return False
    found = len(np.unique(days))
    return found > _OPEN_FILES and cuts > 4 * found


def _indices(order: npt.NDArray[np.int64]) -> pa.Array:
    """An Arrow array of row numbers. pa.array would import pandas, where that is installed: half a second."""
    return pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)])


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def count_rows(folder: Path) -> int:
    """Rows of the Parquet files in a folder and those below."""
    return sum(pq.read_metadata(p).num_rows for p in folder.rglob("*.parquet"))


def day_rows(folder: Path) -> dict[date, int]:
    """Rows of each staged day, ascending."""
    found: Counter[date] = Counter()
    for path in folder.rglob("*.parquet"):
        found[date.fromisoformat(path.parent.name.removeprefix("day="))] += pq.read_metadata(path).num_rows
    return dict(sorted(found.items()))


def spans(counts: Mapping[date, int], most: int) -> list[list[date]]:
    """Days in spans of no more than ``most`` rows, by the rows of each day (a day stays whole)."""
    found: list[list[date]] = []
    held = 0
    for day, count in counts.items():
        if not found or held + count > most:
            found.append([])
            held = 0
        found[-1].append(day)
        held += count
    return found


def clear(folder: Path) -> None:
    """Empty a folder."""
    shutil.rmtree(folder)
    folder.mkdir()
