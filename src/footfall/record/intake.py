"""Intake: files and frames in; validated, de-duplicated events in the lake and rejected rows in the quarantine out.

A clean file takes the fast way (fast.py): one stream from DuckDB's own reader through ``sql/check.sql`` into
day-partitioned Parquet. A file in which anything is wrong (a malformed line, a row at fault, one id twice) takes the
exact way: its rows are numbered first (rows.py), so that each reject has its line and the first of two rows is known.
Both ways end in the same ids and counts (batch.py). Each file is a batch of its own, committed once, and leaves a note
of its content and of how it was read (history.py).
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from footfall import zones
from footfall.config import Config, check_zone
from footfall.errors import ConfigError, InputError
from footfall.model import ImportSummary
from footfall.ports import Clock, Store
from footfall.record import history, quarantine
from footfall.record.batch import Batch, Order, Place
from footfall.record.fields import check_options
from footfall.record.formats import Source, opened
from footfall.record.money import exponent
from footfall.record.names import PROVIDER_EVENTS, event_names

Progress = Callable[[int, int], None]
Decimal = Literal["point", "comma"]


class Sessions(Protocol):
    """An engine that gives DuckDB sessions (``stores.engine.DuckEngine``): COPY and its readers are DuckDB's own."""

    def cursor(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A session with variables, views and time zone of its own; errors of disk and memory are WorkspaceError."""
        ...


def import_files(
    store: Store,
    engine: Sessions,
    config: Config,
    clock: Clock,
    paths: Sequence[str],
    *,
    event: str | None = None,
    mapping: Mapping[str, str] | None = None,
    fixed: Mapping[str, str] | None = None,
    source: str | None = None,
    decimal: Decimal = "point",
    time_zone: str | None = None,
    time_format: str | None = None,
    delimiter: str | None = None,
    progress: Progress | None = None,
    replace: bool = False,
    quarantine_dir: Path,
) -> ImportSummary:
    """Import files, one batch each; "-" is standard input.

    event: name of every row's event. mapping: field -> column. fixed: field -> value. source: what to write as the
    source, else the file's name. decimal: how amounts are written. time_zone: zone of times that name none (default:
    the workspace's). time_format: how times are written, in the codes of strptime (``%m/%d/%Y``), else ISO or epoch
    numbers. delimiter: of CSV files, else found. progress: called with (bytes done, bytes in all) of a file.
    replace: take out what each file brought before (its content, read in whatever way; where that is new, the last
    import of the file of that name) and import it anew, in one transaction.

    Importing a file twice adds nothing; in another way (another map, event, zone, ...) it is refused unless it
    replaces, or a ``source`` is named that sets the two readings apart.

    Good rows go on whatever the others are. Raises FormatError for a file that cannot be used at all, ConfigError for
    options that do not fit, WorkspaceError where the lake cannot be written; files before it stay imported.
    """
    if not paths:
        raise ConfigError("no file to import", "name one or more files, or - for standard input")
    given = dict(mapping or {})
    values = check_options(event, given, fixed or {})
    summaries = []
    with session(store, engine, config, clock, quarantine_dir, decimal, time_zone, progress, time_format) as place:
        for path in paths:
            with opened(path, place.work_dir, delimiter) as found:
                whole = "" if path == "-" else str(Path(path).absolute())
                how = history.options(
                    given, values, decimal, time_zone or config.workspace.timezone, found.delimiter, time_format
                )
                summaries.append(_one(place, clock, found, given, values, how, source or "", whole, replace))
    return merge(summaries)


def record_frame(
    store: Store,
    engine: Sessions,
    config: Config,
    clock: Clock,
    frame: Any,
    source: str = "frame",
    *,
    event: str | None = None,
    mapping: Mapping[str, str] | None = None,
    fixed: Mapping[str, str] | None = None,
    decimal: Decimal = "point",
    time_zone: str | None = None,
    time_format: str | None = None,
    progress: Progress | None = None,
    replace: bool = False,
    quarantine_dir: Path,
) -> ImportSummary:
    """Import a frame: a pyarrow table, or anything that speaks the Arrow C stream (polars, pandas, duckdb).

    Options as in ``import_files``; lines in the quarantine are rows of the frame, from 1.
    """
    if not (hasattr(frame, "__arrow_c_stream__") or isinstance(frame, (pa.Table, pa.RecordBatch))):
        raise InputError(
            f"{type(frame).__name__} is no frame that Footfall can read",
            "hand in a pyarrow table, or a frame with __arrow_c_stream__ (polars, pandas >= 2.2, duckdb)",
        )
    given = dict(mapping or {})
    values = check_options(event, given, fixed or {})
    with session(store, engine, config, clock, quarantine_dir, decimal, time_zone, progress, time_format) as place:
        path = place.work_dir / "frame.parquet"
        reader = (
            frame.to_reader()
            if isinstance(frame, pa.Table)
            else pa.Table.from_batches([frame]).to_reader()
            if isinstance(frame, pa.RecordBatch)
            else pa.RecordBatchReader.from_stream(frame)
        )
        try:
            with pq.ParquetWriter(path, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)
        except pa.ArrowException as error:
            raise InputError(
                f"the frame cannot be stored: {error}", "give its columns plain types: text, numbers, times"
            ) from None
        with opened(str(path), place.work_dir) as found:
            named = dataclasses.replace(found, name=source)
            how = history.options(given, values, decimal, time_zone or config.workspace.timezone, "", time_format)
            return _one(place, clock, named, given, values, how, source, "", replace)


def merge(summaries: Sequence[ImportSummary]) -> ImportSummary:
    """The sum of several imports."""
    reasons: Counter[str] = Counter()
    mended: Counter[str] = Counter()
    for summary in summaries:
        reasons.update(summary.reasons)
        mended.update(summary.mended)
    firsts = [s.first_day for s in summaries if s.first_day]
    lasts = [s.last_day for s in summaries if s.last_day]
    return ImportSummary(
        files=tuple(f for s in summaries for f in s.files),
        read=sum(s.read for s in summaries),
        added=sum(s.added for s in summaries),
        duplicates=sum(s.duplicates for s in summaries),
        conflicting=sum(s.conflicting for s in summaries),
        rejected=sum(s.rejected for s in summaries),
        reasons=dict(reasons.most_common()),
        first_day=min(firsts, default=None),
        last_day=max(lasts, default=None),
        batch_ids=tuple(b for s in summaries for b in s.batch_ids),
        replaced=sum(s.replaced for s in summaries),
        mended=dict(mended.most_common()),
        not_replaced=tuple(f for s in summaries for f in s.not_replaced),
    )


@contextmanager
def session(
    store: Store,
    engine: Sessions,
    config: Config,
    clock: Clock,
    quarantine_dir: Path,
    decimal: Decimal,
    time_zone: str | None,
    progress: Progress | None,
    time_format: str | None = None,
) -> Iterator[Place]:
    """The writer's lock, a DuckDB session with the variables of check.sql, a folder for copies (drained.py, too)."""
    if decimal not in ("point", "comma"):
        raise ConfigError(f"decimal is {decimal!r}", "use point or comma")
    zone = time_zone or config.workspace.timezone
    check_zone(zone)
    with store.lock(), engine.cursor() as cursor:
        quarantine.recover(quarantine_dir, store.has_batch)
        quarantine_dir.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".import-", dir=quarantine_dir))
        try:
            cursor.execute("SET TimeZone = $zone", {"zone": zone})
            if time_format is not None:
                _check_time_format(cursor, time_format)
            _set_variables(cursor, config, clock.now(), decimal, time_format)
            yield Place(cursor, store, config, work, quarantine_dir, progress or (lambda done, total: None))
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _check_time_format(cursor: duckdb.DuckDBPyConnection, time_format: str) -> None:
    """ConfigError for a format that strptime does not know, or that tells no day: two days must come back from it."""
    tried = "timezone('UTC', CAST(strptime(strftime(t, $format), $format) AS TIMESTAMPTZ))"
    days = "(VALUES (TIMESTAMPTZ '2001-02-13 12:00:00'), (TIMESTAMPTZ '2019-11-30 12:00:00')) AS days(t)"
    way_out = "use strptime's codes, as in '%m/%d/%Y %H:%M' or '%d.%m.%Y %H:%M:%S'"
    asked = f"SELECT bool_and(abs(date_diff('hour', timezone('UTC', t), {tried})) <= 24) FROM {days}"  # noqa: S608
    try:
        row = cursor.execute(asked, {"format": time_format}).fetchone()
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        told = str(error).splitlines()[0].removeprefix("Invalid Input Error: ")
        raise ConfigError(f"time format {time_format!r} cannot be used: {told}", way_out) from None
    if row is None or not row[0]:
        raise ConfigError(f"time format {time_format!r} tells no day of a year", way_out)


def _set_variables(
    cursor: duckdb.DuckDBPyConnection, config: Config, now: datetime, decimal: Decimal, time_format: str | None
) -> None:
    now_utc = now.astimezone(UTC).replace(tzinfo=None)
    digits = exponent(config.workspace.currency)
    latest = now_utc + timedelta(days=config.record.future_days)
    # (of the next midnight, so that all drains of a day share it)
    steady, offset = _steady_offset(config.workspace.timezone, config.record.earliest, _midnight_after(latest))
    variables: dict[str, object] = {
        "steady_since": steady,
        "offset": offset,
        "zone": config.workspace.timezone,
        "currency": config.workspace.currency,
        "scale": 10**digits,
        "max_amount": int(config.record.max_amount),
        "max_minor": int(config.record.max_amount) * 10**digits,
        "earliest": datetime.fromisoformat(config.record.earliest),
        "latest": latest,
        "received": now_utc,
        "decimal": decimal,
        "time_format": time_format,
    }
    for name, value in variables.items():
        cursor.execute(f"SET VARIABLE footfall_{name} = $value", {"value": value})
    names = event_names()
    # Lists as parameters: handing DuckDB an Arrow table would make it import pandas, where that is installed.
    cursor.execute(
        "CREATE OR REPLACE TEMPORARY TABLE event_names AS "
        "SELECT unnest($given) AS given, unnest($name) AS name, unnest($needs) AS needs_provider",
        {
            "given": [given for given, _ in names],
            "name": [name for _, name in names],
            "needs": [name in PROVIDER_EVENTS for _, name in names],
        },
    )


def _midnight_after(moment: datetime) -> datetime:
    """The next midnight, or the moment itself at the end of time."""
    if moment.date() >= date.max - timedelta(days=3):
        return moment
    return datetime.combine(moment.date() + timedelta(days=1), datetime.min.time())


@lru_cache(maxsize=16)
def _steady_offset(zone: str, earliest: str, latest: datetime) -> tuple[datetime, timedelta]:
    """Since when, up to ``latest``, a zone has had one offset from UTC, and which: local days by plain arithmetic.

    Most of Asia has had one for decades. Times before are left to the time zone library.
    """
    local = zones.zone(zone)
    fixed = local.utcoffset(None)  # None but for zones that never changed, such as UTC
    if fixed is not None:
        return datetime.fromisoformat(earliest), fixed
    since = latest.replace(tzinfo=UTC) + timedelta(days=1)
    offset = since.astimezone(local).utcoffset() or timedelta()
    first = datetime.fromisoformat(earliest).replace(tzinfo=UTC)
    while since > first and since.astimezone(local).utcoffset() == offset:
        since -= timedelta(days=1)
    if since.astimezone(local).utcoffset() != offset:
        since += timedelta(days=1)
    return since.replace(tzinfo=None), offset


def _one(
    place: Place,
    clock: Clock,
    found: Source,
    mapping: Mapping[str, str],
    fixed: Mapping[str, str],
    how: dict[str, str],
    label: str,
    whole: str,
    replace: bool,
) -> ImportSummary:
    """Import one source. how: the options as history.py keeps them. whole: the file's whole path, or ""."""
    content = history.fingerprint(found.path)
    live, same = history.before(place.store, content, label)
    if not replace:
        history.refuse_other(found.name, how, same)
    out = history.replaced(place.store, content, whole, same) if replace else []
    now = clock.now()
    batch_id = new_batch_id(int(now.timestamp()))
    reading = history.Reading(
        batch_id=batch_id, file=found.name, source=label, at=now.astimezone(UTC).isoformat(), options=how
    )
    place.cursor.execute("SET VARIABLE footfall_source = $value", {"value": label or Path(found.name).name})
    place.cursor.execute("SET VARIABLE footfall_batch = $value", {"value": batch_id})
    order = Order(
        batch_id=batch_id,
        mapping=mapping,
        fixed=fixed,
        content=content,
        file=whole,
        label=label,
        notes=history.notes(content, whole, [*(r for r in live if r not in out), reading]),
        replaces=tuple(r.batch_id for r in out),
    )
    done = Batch(place, found, order).run()
    return dataclasses.replace(done, not_replaced=(found.name,)) if replace and not done.replaced else done


def new_batch_id(seconds: int) -> str:
    """Sorts by time; the random end tells imports of one second apart. Twelve characters: DuckDB copies no longer ones
    into every row's heap, which is a twentieth of the time of an import."""
    return f"{_base36(seconds):0>6}-{_base36(int.from_bytes(os.urandom(4), 'big') % 36**5):0>5}"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"
