"""Batch: one source into the lake, by the fast way where it is clean and by the exact way where it is not."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from footfall.config import Config
from footfall.errors import FormatError, InputError
from footfall.model import EVENT_COLUMNS, ImportSummary, Reject
from footfall.ports import Store
from footfall.record import fast, mending, quarantine
from footfall.record.faults import explain
from footfall.record.fields import PROVIDER_WAY_OUT, Layout, no_column
from footfall.record.formats import Source
from footfall.record.quarantine import About, Settlement
from footfall.record.relations import Relations, Unclean, checked, sql
from footfall.record.session import CursorEngine as CursorEngine
from footfall.record.session import Session
from footfall.record.staging import clear, count_rows, day_rows, spans

DEDUPE_DAYS = 7
# Rows that are compared with the lake at once: some 300 bytes each while they are.
_SPAN_ROWS = 1_500_000
# Of a file that was imported before and mended in place, nearly all rows are known; of another of its name, few.
_SAME_FILE = 0.9


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch works: a DuckDB session of its own with the variables of sql/check.sql set, and the folders."""

    cursor: duckdb.DuckDBPyConnection
    store: Store
    config: Config
    work_dir: Path
    quarantine_dir: Path
    progress: Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a batch: how to read the source, what to leave in the lake about it, which batches to take out.

    ``content`` names what the source holds (history.py), ``file`` is its whole path, ``label`` the source that was
    named; each may be "". ``notes`` go with the transaction.
    """

    batch_id: str
    mapping: Mapping[str, str]
    fixed: Mapping[str, str]
    content: str
    file: str
    label: str
    notes: Mapping[str, str]
    replaces: tuple[str, ...] = ()


class Batch:
    """One source on its way into the lake; ``run`` once, with the writer's lock held."""

    def __init__(self, place: Place, source: Source, order: Order) -> None:
        """place, source, order: where, what and how."""
        self._session = Session(place.cursor)
        self._store = place.store
        self._place = place
        self._source = source
        self._order = order
        self._relations = Relations(place.cursor, source, order.mapping, order.fixed, self._at)
        self._filled: tuple[str, ...] = ()  # columns of the staged files
        self._origins: dict[int, mending.Came] = {}  # line -> the reject that it mends
        self._kept: dict[str, About] = {}  # what is in the quarantine
        self._left_out: set[int] = set()  # lines of the source that are no mended row

    def run(self) -> ImportSummary:
        """Stage, de-duplicate, commit and count. Raises FormatError where the file as a whole cannot be used."""
        order, source = self._order, self._source
        staged = self._store.staging(order.batch_id)
        self._kept = quarantine.kept(self._place.quarantine_dir)
        mends = mending.holds_rejects(source)
        self._origins = mending.origins(source) if mends else {}
        rejects = quarantine.Writer(
            self._place.quarantine_dir,
            order.batch_id,
            source.kind,
            source.delimiter,
            mending.header_without(source) if mends and source.kind == "csv" else source.header,
            About(content=order.content, file=order.file, source=order.label, mended=self._mended_before()),
        )
        try:
            return self._run(staged, rejects)
        except BaseException:
            rejects.drop()
            if not self._store.has_batch(order.batch_id):
                shutil.rmtree(staged, ignore_errors=True)
            raise

    def _run(self, staged: Path, rejects: quarantine.Writer) -> ImportSummary:
        reasons: Counter[str] = Counter()
        mended: Counter[str] = Counter()
        repeated = conflicting = 0
        try:
            if self._origins:
                raise Unclean("rows are told by their lines")
            read = self._fast(staged)
        except Unclean:
            clear(staged)
            read, repeated, conflicting = self._exact(staged, rejects, reasons, mended)
        if not read:
            raise FormatError(
                f"{self._source.name}: nothing to import: a header and no rows",
                "check the export that wrote it; there may be nothing new in its time span",
            )
        known, differing = self._drop_known(staged)
        days = list(day_rows(staged))
        rejects.close(self._settlement(known, read - sum(reasons.values())))
        added = count_rows(staged)
        replaced = self._commit(staged, days)
        rejects.publish()
        if not days:
            shutil.rmtree(staged, ignore_errors=True)
        self._at(self._source.size)
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
            batch_ids=(self._order.batch_id,) if added else (),
            replaced=replaced,
            mended=dict(mended.most_common()),
        )

    # ------------------------------------------------------------ the two ways

    def _fast(self, staged: Path) -> int:
        read, self._filled = fast.stage(self._session, self._source, self._relations, staged)
        return read

    def _exact(
        self, staged: Path, rejects: quarantine.Writer, reasons: Counter[str], mended: Counter[str]
    ) -> tuple[int, int, int]:
        """Rows read, rows repeated in the file, and those of them that conflict."""
        relation = self._relations.exact()
        # Parsed first, checked after: in one statement DuckDB would parse a row again for each use of its fields.
        parsed, spool = self._place.work_dir / "parsed.parquet", self._place.work_dir / "spooled.parquet"
        self._session.spool(relation.given(), parsed)
        self._session.set("footfall_parsed", str(parsed))
        self._session.set("footfall_torn", [line for line, came in self._origins.items() if came.torn])
        torn = "CASE WHEN line IN (SELECT unnest(getvariable('footfall_torn'))) THEN 'row:bytes' ELSE early END"
        rows = (
            f"SELECT * REPLACE ({torn if self._origins else 'early'} AS early) "  # noqa: S608  fixed names
            "FROM read_parquet(getvariable('footfall_parsed'), hive_partitioning = false)"
        )
        self._session.spool(checked(rows, relation.layout, controls=True), spool)
        parsed.unlink()
        self._session.set("footfall_spooled", str(spool))
        self._session.cursor.execute(
            "CREATE OR REPLACE TEMPORARY VIEW spooled AS SELECT * FROM read_parquet("
            "getvariable('footfall_spooled'), hive_partitioning = false)"
        )
        self._check_providers(relation.layout)
        rejects.tell(int(self._session.value("SELECT count(*) FROM spooled WHERE fault IS NULL")))
        self._reject(rejects, reasons, mended)
        repeated, conflicting = self._settle_repeats()
        self._session.copy_by_day(sql("kept"), staged)
        self._filled = tuple(c.name for c in EVENT_COLUMNS)
        read = pq.read_metadata(spool).num_rows
        spool.unlink()
        return read, repeated, conflicting

    def _check_providers(self, layout: Layout) -> None:
        """FormatError where no row can be used for want of a column of providers (of names that need one)."""
        if "provider_id" in {*layout.columns, *layout.fixed}:
            return
        wanting = "SELECT bool_and(fault IS NOT NULL) AND bool_or(fault = 'provider_id:missing') FROM spooled"
        if self._session.value(wanting):
            columns = [c.name for c in (*layout.columns.values(), *layout.rest)]
            what = "provider_id, which all its events need"
            raise no_column(self._source.name, what, dict.fromkeys(columns), PROVIDER_WAY_OUT)

    def _reject(self, rejects: quarantine.Writer, reasons: Counter[str], mended: Counter[str]) -> None:
        """Keep aside what is at fault; count the reasons, and those of rows that were mended already."""
        result = self._session.cursor.execute(sql("rejected"))
        while rows := result.fetchmany(10_000):
            batch, contents = [], []
            for line, fault, culprit, raw in rows:
                field, reason = explain(fault, culprit, self._place.config)
                reasons[f"{field}: {reason}"] += 1
                came = self._origins.get(line)
                if came is None and rejects.was_mended(line):
                    mended[f"{field}: {reason}"] += 1
                stripped = raw if came is None else mending.raw_without(self._source, raw)
                if stripped is None:  # what was kept of it stays
                    self._left_out.add(line)
                elif came is None:
                    batch.append(Reject(self._source.name, line, field, reason, stripped))
                    contents.append("")
                else:
                    batch.append(Reject(came.file, came.origin.line, field, reason, stripped))
                    contents.append(came.origin.content)
            rejects.add(batch, contents)

    def _settle_repeats(self) -> tuple[int, int]:
        """Make the table ``repeats``; the rows that go, and those of them that conflict with the row that stays."""
        self._session.run(f"CREATE OR REPLACE TEMPORARY TABLE repeats AS {sql('repeats')}")
        groups: dict[str, list[tuple[int, date, int]]] = {}
        far = "SELECT message_id, line, day, content FROM repeats WHERE far ORDER BY line"
        for message_id, line, day, content in self._session.rows(far):
            groups.setdefault(message_id, []).append((line, day, content))
        verdicts = [v for rows in groups.values() for v in settle(rows)]
        if verdicts:
            self._session.cursor.executemany("UPDATE repeats SET keep = $2, conflicting = $3 WHERE line = $1", verdicts)
        counts = "SELECT count(*) FILTER (NOT keep), count(*) FILTER (NOT keep AND conflicting) FROM repeats"
        gone, conflicting = self._session.rows(counts)[0]
        return int(gone), int(conflicting)

    # ------------------------------------------------------------ against the lake

    def _drop_known(self, staged: Path) -> tuple[int, int]:
        """Take what the lake holds already out of the staged files: rows dropped, and those that conflict."""
        dropped = differing = 0
        for days in spans(day_rows(staged), _SPAN_ROWS):
            margin = timedelta(days=DEDUPE_DAYS)
            if self._store.files(days[0] - margin, days[-1] + margin):
                found = self._drop_known_of(days, staged)
                dropped, differing = dropped + found[0], differing + found[1]
        return dropped, differing

    def _drop_known_of(self, days: Sequence[date], staged: Path) -> tuple[int, int]:
        folders = [staged / f"day={day}" for day in days]
        self._session.view_staged(folders, self._filled)
        self._attach(days[0] - timedelta(days=DEDUPE_DAYS), days[-1] + timedelta(days=DEDUPE_DAYS))
        staged_rows = sum(count_rows(folder) for folder in folders)
        parts = 1 + staged_rows // _SPAN_ROWS  # above 1 only where a single day holds more
        self._session.set("footfall_parts", parts)
        for part in range(parts):
            self._session.set("footfall_part", part)
            into = "INSERT INTO known" if part else "CREATE OR REPLACE TEMPORARY TABLE known AS"
            self._session.run(f"{into} {sql('known')}")
        counts = "SELECT count(*), count(*) FILTER (conflicting) FROM known"
        dropped, differing = self._session.rows(counts)[0]
        if dropped:
            touched = [row[0] for row in self._session.rows("SELECT DISTINCT day FROM known")]
            if dropped < staged_rows:
                self._session.copy_by_day(sql("unknown"), staged / "unknown")
            for day in touched:
                shutil.rmtree(staged / f"day={day}")
        return int(dropped), int(differing)

    def _attach(self, first: date | None = None, last: date | None = None) -> None:
        """The view ``held``: what the lake holds and what stays of it, within the days."""
        self._store.attach(self._session, first, last)
        self._session.set("footfall_replaces", list(self._order.replaces))
        stays = "WHERE NOT list_contains(getvariable('footfall_replaces'), batch_id)" if self._order.replaces else ""
        self._session.cursor.execute(f"CREATE OR REPLACE TEMPORARY VIEW held AS SELECT * FROM events {stays}")  # noqa: S608

    def _commit(self, staged: Path, days: Sequence[date]) -> int:
        """Commit the staged files, in place of the batches that go; the events of those."""
        order = self._order
        if not order.replaces:
            if days:
                self._store.commit(order.batch_id, staged, order.notes)
            return 0
        if not days:
            raise InputError(
                f"{self._source.name}: no row of it would be added, so nothing was replaced",
                "import it without --replace to see what is wrong with its rows",
            )
        self._attach()
        found = self._session.rows(sql("replaced"))
        if not found:
            self._store.commit(order.batch_id, staged, order.notes)
            return 0
        touched = sorted({*days, *(day for day, _ in found)})
        self._attach(touched[0], touched[-1])
        self._session.set("footfall_touched", touched)
        self._session.copy_by_day(sql("beside"), staged / "kept")
        self._store.replace(touched, staged, order.batch_id, order.notes)
        return sum(count for _, count in found)

    def _mended_before(self) -> tuple[int, ...]:
        """Lines of this content that were mended after it was imported before."""
        if self._order.replaces:
            return ()
        same = [a for a in self._kept.values() if a.content == self._order.content]
        return tuple(sorted({line for about in same for line in about.mended}))

    def _settlement(self, known: int, good: int) -> Settlement:
        """What is settled with this batch: rows that it mends, and rejects of the same file's imports before."""
        order = self._order
        superseded = []
        for batch_id, about in self._kept.items():
            again = about.content == order.content
            again = again and (about.source == order.label or not self._store.has_batch(batch_id))
            version = about.good and known >= _SAME_FILE * about.good and self._is_of(about)
            if again or version or batch_id in order.replaces:
                superseded.append(batch_id)
        mended = tuple(c.origin for line, c in sorted(self._origins.items()) if line not in self._left_out)
        replaced = {self._kept[b].content for b in order.replaces if b in self._kept}
        return Settlement(mended, tuple(superseded), tuple(sorted(replaced)))

    def _is_of(self, about: About) -> bool:
        """Whether rejects come from an earlier version of this file; a file to be mended may hold a part of them."""
        return bool(about.file) and about.file == self._order.file and not self._origins

    def _at(self, done: int) -> None:
        self._place.progress(min(done, self._source.size), self._source.size)


def settle(rows: Sequence[tuple[int, date, int]]) -> list[tuple[int, bool, bool]]:
    """(line, keep, conflicting) of rows of one id in file order: a row goes where a kept one is within 7 days."""
    kept: list[tuple[date, int]] = []
    verdicts = []
    for line, day, content in rows:
        near = [c for d, c in kept if abs((day - d).days) <= DEDUPE_DAYS]
        if not near:
            kept.append((day, content))
        verdicts.append((line, not near, bool(near) and content not in near))
    return verdicts
