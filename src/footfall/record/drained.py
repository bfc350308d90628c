"""Drained: what the inbox holds goes to the lake, exactly once, through the same checks and ids as an import.

Rows are taken in the order of their sequence numbers, as many as fit. Events and decisions each become one
transaction of their table, which carries the inbox's id and the last sequence number; only then are the rows deleted.
A crash before a transaction leaves the rows; one after it leaves rows whose numbers the table knows, and which are
passed over. What was kept aside goes to the quarantine under a name made from its first number: doing it again writes
the same file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from footfall.config import Config
from footfall.model import DECISION_COLUMNS, EVENT_COLUMNS, Reject
from footfall.ports import Clock, Inbox, Store
from footfall.record import quarantine
from footfall.record.arrived import Arrived, Reader, unnumbered
from footfall.record.batch import DEDUPE_DAYS, CursorEngine, Place, settle
from footfall.record.faults import explain
from footfall.record.fields import FIELDS, Column, Layout, quote
from footfall.record.intake import Sessions, new_batch_id, session
from footfall.record.relations import checked, sql

MOST_BYTES = 32 << 20
_LAYOUT = Layout({f: Column(f) for f in FIELDS if f not in ("amount", "currency")}, {}, ())
# Comparing contents is for those that come twice.
_NO_REPEATS = "SELECT CAST(NULL AS BIGINT) AS line, FALSE AS keep, FALSE AS conflicting LIMIT 0"
_FEW_DAYS = 2
_SHORT_LINE = 1 << 16  # DuckDB reads in pieces of twice the longest line, in as many threads as there are pieces
_NUMBER_BYTES = 64
_COPY_ONE = "(FORMAT parquet, DICTIONARY_SIZE_LIMIT 64)"
_COPY = "(FORMAT parquet, PARTITION_BY (day), OVERWRITE_OR_IGNORE, DICTIONARY_SIZE_LIMIT 64)"


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain moved. ``events`` were added; ``duplicates`` were known, ``conflicting`` of them with other content;
    ``rejected`` went to the quarantine; ``through`` is the last sequence number that was taken out."""

    events: int = 0
    duplicates: int = 0
    conflicting: int = 0
    rejected: int = 0
    decisions: int = 0
    through: int = 0
    bytes: int = 0

    def __add__(self, other: Drained) -> Drained:
        """Both one after the other."""
        return Drained(
            self.events + other.events,
            self.duplicates + other.duplicates,
            self.conflicting + other.conflicting,
            self.rejected + other.rejected,
            self.decisions + other.decisions,
            max(self.through, other.through),
            self.bytes + other.bytes,
        )


def drain(
    inbox: Inbox,
    store: Store,
    decisions: Store | None,
    engine: Sessions,
    config: Config,
    clock: Clock,
    *,
    quarantine_dir: Path,
    most_bytes: int = MOST_BYTES,
    most_passes: int = 1000,
) -> Drained:
    """Move all that the inbox holds when it is asked, at most ``most_passes`` times ``most_bytes`` of bodies.

    decisions: the log of decisions; None where there is none: then decisions stay in the inbox, and what comes after
    the first of them. Raises WorkspaceError where the lake cannot be written: all stays as it was, to be tried again.
    """
    total = Drained()
    if not inbox.read(0, 1):
        return total
    with (
        session(store, engine, config, clock, quarantine_dir, "point", None, None) as place,
        decisions.lock() if decisions is not None else nullcontext(),
    ):
        last = inbox.counts()["last"]
        if max(store.applied(inbox.id) or 0, (decisions and decisions.applied(inbox.id)) or 0) > last:
            inbox.renew()
        reader = Reader(inbox, config, store.applied(inbox.id) or 0, most_bytes, decisions is not None)
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as ahead:
            arrived = reader.read(0)
            for left in range(most_passes, 0, -1):
                if arrived is None or total.through >= last:
                    break
                # What comes after it is read while it moves.
                after = ahead.submit(reader.read, arrived.last) if left > 1 else None
                total += _Pass(inbox, place, decisions, config, clock).run(arrived)
                inbox.delete(total.through)
                arrived = after.result() if after is not None else None
    return total


@dataclass(slots=True)
class _Pass:
    """Some rows on their way, with the locks held."""

    inbox: Inbox
    place: Place
    decisions: Store | None
    config: Config
    clock: Clock
    _rejects: list[Reject] = field(default_factory=list)

    def run(self, arrived: Arrived) -> Drained:
        """Move the rows; they are to be deleted then."""
        self._rejects += [Reject(k.source, 0, k.field, k.reason, k.raw) for k in arrived.kept]
        found = Drained()
        if arrived.events:
            found = self._events(arrived)
        else:
            self._keep_aside(arrived.first)
        drawn = self._decisions(arrived)
        return found + Drained(rejected=len(self._rejects), decisions=drawn, through=arrived.last, bytes=arrived.size)

    # ------------------------------------------------------------ events

    def _events(self, arrived: Arrived) -> Drained:
        cursor, store, last = self.place.cursor, self.place.store, arrived.last
        batch_id = new_batch_id(int(self.clock.now().timestamp()))
        self._set("footfall_batch", batch_id)
        self._set("footfall_source", "")
        self._set("footfall_arrived", str(_written(self.place.work_dir / "arrived.ndjson", arrived.events)))
        self._set("footfall_longest", max(_SHORT_LINE, arrived.longest + _NUMBER_BYTES))
        cursor.execute(sql("arrived_sound"))
        if self._one("SELECT count(*) FILTER (unsound) FROM spooled"):
            self._look_closely(arrived.events)
        repeated, conflicting = self._settle_repeats()
        cursor.execute(f"CREATE OR REPLACE TEMPORARY VIEW fresh AS {sql('arrived_fresh')}")
        known, differing = self._find_known()
        self._keep_aside(arrived.first)
        fresh = self._one("SELECT count(*) FILTER (fault IS NULL) FROM spooled") - repeated
        added = 0
        if fresh > known:
            staged = store.staging(batch_id)
            try:
                self._write_fresh(staged)
                added = store.commit(batch_id, staged, None, (self.inbox.id, last))
            except BaseException:
                if (store.applied(self.inbox.id) or 0) < last:
                    shutil.rmtree(staged, ignore_errors=True)
                raise
        cursor.execute("DROP VIEW fresh")
        for table in ("spooled", "repeats", "known", "candidates"):
            cursor.execute(f"DROP TABLE {table}")
        return Drained(added, repeated + known, conflicting + differing)

    def _look_closely(self, bodies: Sequence[bytes]) -> None:
        """Make the table ``spooled`` by all checks of an import, and set aside what does not pass them."""
        cursor = self.place.cursor
        cursor.execute(sql("arrived"))
        checks = checked(sql("arrived_given"), _LAYOUT, controls=True)
        cursor.execute(f"CREATE OR REPLACE TEMPORARY TABLE verdicts AS {checks}")
        cursor.execute(sql("arrived_checked"))
        self._set_aside(bodies)
        for table in ("arrived", "verdicts"):
            cursor.execute(f"DROP TABLE {table}")

    def _set_aside(self, bodies: Sequence[bytes]) -> None:
        """Events that pass no longer, and lines that no JSON reader takes, which the gate should not have let in."""
        for line, fault, culprit, source, raw in self.place.cursor.execute(sql("arrived_faults")).fetchall():
            name, reason = explain(fault, culprit, self.config)
            self._rejects.append(Reject(source, line, name, reason, raw))
        if self._one("SELECT count(*) FROM arrived WHERE message_id IS NULL"):
            found = (unnumbered(line) for body in bodies for line in body.split(b"\n") if line)
            lines = [line.decode("utf-8", "backslashreplace") for line in found]
            told = pa.table({"line": pa.array(lines, pa.large_string())})
            self.place.cursor.register("footfall_lines", told)
            bad = "SELECT line FROM footfall_lines WHERE NOT json_valid(line)"
            broken = self.place.cursor.execute(bad).fetchall()
            self.place.cursor.unregister("footfall_lines")
            self._rejects += [Reject("inbox", 0, *explain("row:json", None, self.config), raw) for (raw,) in broken]

    def _write_fresh(self, staged: Path) -> None:
        """Write what is new by days. Live events are of one day or two, for which no partitioning is needed."""
        cursor = self.place.cursor
        new = (
            "FROM fresh AS s WHERE NOT EXISTS "
            "(SELECT 1 FROM known AS k WHERE k.message_id = s.message_id AND k.day = s.day)"
        )
        days = self._days()
        if len(days) > _FEW_DAYS:
            columns = ", ".join(quote(c.name) for c in EVENT_COLUMNS)
            cursor.execute(f"COPY (SELECT {columns} {new}) TO $target {_COPY}", {"target": str(staged)})
            return
        columns = ", ".join(quote(c.name) for c in EVENT_COLUMNS if c.name != "day")
        for day in days:
            self._set("footfall_day", day)
            folder = staged / f"day={day.isoformat()}"
            folder.mkdir()
            only = f"SELECT {columns} {new} AND s.day = getvariable('footfall_day')"
            cursor.execute(f"COPY ({only}) TO $target {_COPY_ONE}", {"target": str(folder / "data_0.parquet")})

    def _settle_repeats(self) -> tuple[int, int]:
        """Make the table ``repeats``; the rows that go, and those of them that conflict with the row that stays."""
        cursor = self.place.cursor
        again = self._one("SELECT count(*) > count(DISTINCT message_id) FROM spooled WHERE fault IS NULL")
        cursor.execute(f"CREATE OR REPLACE TEMPORARY TABLE repeats AS {sql('repeats') if again else _NO_REPEATS}")
        if not again:
            return 0, 0
        groups: dict[str, list[tuple[int, date, int]]] = {}
        far = "SELECT message_id, line, day, content FROM repeats WHERE far ORDER BY line"
        for message_id, line, day, content in cursor.execute(far).fetchall():
            groups.setdefault(message_id, []).append((line, day, content))
        verdicts = [v for rows in groups.values() for v in settle(rows)]
        if verdicts:
            cursor.executemany("UPDATE repeats SET keep = $2, conflicting = $3 WHERE line = $1", verdicts)
        counts = "SELECT count(*) FILTER (NOT keep), count(*) FILTER (NOT keep AND conflicting) FROM repeats"
        gone, conflicting = cursor.execute(counts).fetchall()[0]
        return int(gone), int(conflicting)

    def _find_known(self) -> tuple[int, int]:
        """Make the table ``known``: what the lake holds already; how many, and those of them that conflict."""
        cursor = self.place.cursor
        cursor.execute("CREATE OR REPLACE TEMPORARY TABLE candidates (message_id VARCHAR)")
        spans = _spans(self._days(), timedelta(days=DEDUPE_DAYS))
        for first, last in spans:
            if self.place.store.files(first, last):
                self.place.store.attach(CursorEngine(cursor), first, last)
                cursor.execute(sql("arrived_candidates"))
        self._set("footfall_parts", 1)
        cursor.execute("CREATE OR REPLACE TEMPORARY TABLE known (message_id VARCHAR, day DATE, conflicting BOOLEAN)")
        if not self._one("SELECT count(*) FROM candidates"):
            return 0, 0
        again = "SELECT * FROM {} WHERE message_id IN (SELECT message_id FROM candidates)"
        cursor.execute(f"CREATE OR REPLACE TEMPORARY VIEW staged AS {again.format('fresh')}")
        for first, last in spans:
            self.place.store.attach(CursorEngine(cursor), first, last)
            cursor.execute(f"CREATE OR REPLACE TEMPORARY VIEW held AS {again.format('events')}")
            cursor.execute(f"INSERT INTO known SELECT * FROM ({sql('known')}) AS k")  # noqa: S608
        counts = "SELECT count(*), count(*) FILTER (conflicting) FROM known"
        dropped, differing = cursor.execute(counts).fetchall()[0]
        return int(dropped), int(differing)

    def _keep_aside(self, first: int) -> None:
        """Put what was rejected into the quarantine, under a name that doing it again gives again."""
        if not self._rejects:
            return
        name = f"inbox-{self.inbox.id[:8]}-{first:012}"
        numbered = [Reject(r.file, line, r.field, r.reason, r.raw) for line, r in enumerate(self._rejects, 1)]
        writer = quarantine.Writer(self.place.quarantine_dir, name, "ndjson", "", "", quarantine.About(content=name))
        try:
            writer.add(numbered)
            writer.close()
        except BaseException:
            writer.drop()
            raise
        writer.publish()

    # ------------------------------------------------------------ decisions

    def _decisions(self, arrived: Arrived) -> int:
        """Append decisions, each once: their ids are told apart within a pass, their numbers across passes."""
        store, last = self.decisions, arrived.last
        known = (store.applied(self.inbox.id) or 0) if store is not None else last
        bodies = [body for seq, body in arrived.decisions if seq > known]
        if store is None or not bodies:
            return 0
        cursor = self.place.cursor
        batch_id = new_batch_id(int(self.clock.now().timestamp()))
        now = self.clock.now().astimezone(UTC).replace(tzinfo=None)
        self._set("footfall_arrived", str(_written(self.place.work_dir / "decisions.ndjson", bodies)))
        own = {"source": self.inbox.id, "batch_id": batch_id, "received_at": now}
        staged = store.staging(batch_id)
        try:
            cursor.execute(f"COPY ({_decision_rows()}) TO $target {_COPY}", {**own, "target": str(staged)})
            return store.commit(batch_id, staged, None, (self.inbox.id, last))
        except BaseException:
            if (store.applied(self.inbox.id) or 0) < last:
                shutil.rmtree(staged, ignore_errors=True)
            raise

    # ------------------------------------------------------------ inside

    def _set(self, variable: str, value: object) -> None:
        self.place.cursor.execute(f"SET VARIABLE {variable} = $value", {"value": value})

    def _days(self) -> list[date]:
        days = self.place.cursor.execute("SELECT DISTINCT day FROM spooled WHERE fault IS NULL ORDER BY day")
        return [row[0] for row in days.fetchall()]

    def _one(self, statement: str) -> Any:
        return self.place.cursor.execute(statement).fetchall()[0][0]


def _decision_rows() -> str:
    """SELECT of DECISION_COLUMNS from lines of decisions; arrays and objects stay JSON text."""
    own = ("source", "batch_id", "received_at")
    spec, columns = [], []
    for column in DECISION_COLUMNS:
        if column.name in own:
            columns.append(f"CAST(${column.name} AS {column.type}) AS {column.name}")
        elif column.type == "TIMESTAMP":
            spec.append(f"{column.name}: 'VARCHAR'")
            columns.append(f"CAST(CAST({column.name} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TIMESTAMP) AS {column.name}")
        else:
            spec.append(f"{column.name}: '{column.type}'")
            columns.append(column.name)
    return (
        f"SELECT {', '.join(columns)} FROM read_json(getvariable('footfall_arrived'), format = 'newline_delimited', "  # noqa: S608
        f"records = true, maximum_object_size = 33554432, columns = {{{', '.join(spec)}}}) "
        "QUALIFY row_number() OVER (PARTITION BY message_id) = 1"
    )


def _written(path: Path, bodies: Iterable[bytes]) -> Path:
    path.unlink(missing_ok=True)  # writing over a file would wait for the disk (ext4, auto_da_alloc)
    with path.open("wb") as out:
        for body in bodies:
            out.write(body)
            if not body.endswith(b"\n"):
                out.write(b"\n")
    return path


def _spans(days: Sequence[date], margin: timedelta) -> list[tuple[date, date]]:
    """Days, ascending, with a margin on both sides, as spans that do not meet."""
    spans: list[tuple[date, date]] = []
    for day in days:
        if spans and day - margin <= spans[-1][1] + timedelta(days=1):
            spans[-1] = (spans[-1][0], day + margin)
        else:
            spans.append((day - margin, day + margin))
    return spans
