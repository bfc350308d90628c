"""Who is in which journey (``ports.Entries``), in the state's database; rows go in and out in bulk, as Arrow tables.

Hundreds of thousands may enter in one round, so rows go past SQLAlchemy to the driver; statements are of fixed names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from footfall.persons import keys_of
from footfall.stores import joins, schema
from footfall.stores.database import OnDatabase, naive
from footfall.stores.schema import coupons, entries, joined, messages, redemptions, suppressions

SCHEMA = pa.schema(
    [
        ("journey", pa.string()),
        ("person", pa.string()),
        ("entry", pa.int64()),
        ("entered_at", pa.timestamp("us")),
        ("since", pa.timestamp("us")),
        ("provider_id", pa.string()),
        ("category", pa.string()),
        ("stake", pa.float64()),
        ("arm", pa.string()),
        ("step", pa.int64()),
        ("due_at", pa.timestamp("us")),
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
)
LETTERS = pa.schema(
    [
        ("person", pa.string()),
        ("entry", pa.int64()),
        ("template", pa.string()),
        ("channel", pa.string()),
        ("messages", pa.int64()),
    ]
)
_MARKS = {"sqlite": "?", "postgresql": "%s"}
_MOVED = ("step", "due_at", "status", "reason")
_CHUNK = 50_000
_FEW = 500  # values of one condition


class SqlEntries(OnDatabase):
    """``ports.Entries`` on SQLAlchemy; opening it brings the schema up to date."""

    def add(self, rows: pa.Table) -> None:
        """Put entries in (``SCHEMA``); one that is there already is left as it is."""
        marks = ", ".join([_MARKS[self._engine.dialect.name]] * len(SCHEMA))
        insert = f"INSERT INTO entries ({', '.join(SCHEMA.names)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        with self._writing() as connection:
            for part in rows.cast(SCHEMA).to_batches(_CHUNK):
                if part.num_rows:
                    connection.exec_driver_sql(insert, self._rows(part, SCHEMA.names))

    def latest(self, journey: str) -> pa.Table:
        """Of each person who ever was in the journey the entry that goes on, else the newest, in the arm of the first;
        ``SCHEMA``."""
        rows = self.all(journey)
        if pc.max(rows["entry"]).as_py() in (None, 1):
            return rows
        rows = rows.append_column("goes_on", pc.equal(rows["status"], "active"))
        rows = rows.sort_by([(name, "ascending") for name in ("person", "goes_on", "entry")]).drop_columns("goes_on")
        person = rows["person"].combine_chunks()
        newest = rows.filter(pa.concat_arrays([pc.not_equal(person[:-1], person[1:]), pa.array([True])]))
        first = rows.filter(pc.equal(rows["entry"], 1))
        at = pc.index_in(newest["person"], value_set=first["person"].combine_chunks())
        # Who signed in may have entries of both arms: the first stays theirs, as it is in the proof.
        return newest.set_column(SCHEMA.get_field_index("arm"), "arm", first["arm"].take(at))

    def active(self, journey: str) -> pa.Table:
        """Entries that go on, ``SCHEMA``."""
        return self._table("journey", "status", values=(journey, "active"))

    def all(self, journey: str) -> pa.Table:
        """All entries of a journey, ``SCHEMA``."""
        return self._table("journey", values=(journey,))

    def letters(self, journey: str, now: datetime) -> pa.Table:
        """person, entry, template, channel, messages: what is written already of entries that go on and are due."""
        e, m = entries.c, messages.c
        mine = (m.journey == e.journey) & (m.person == e.person) & (m.entry == e.entry)
        is_due = (e.journey == journey) & (e.status == "active") & (e.due_at <= naive(now))
        of = (m.person, m.entry, m.template, m.channel)
        query = sa.select(*of, sa.func.count()).select_from(entries.join(messages, mine)).where(is_due).group_by(*of)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        columns = list(zip(*rows, strict=True)) or [()] * len(LETTERS)
        return pa.table([pa.array(c, kind) for c, kind in zip(columns, LETTERS.types, strict=True)], schema=LETTERS)

    def move(self, journey: str, rows: pa.Table) -> None:
        """Set step, due_at, status and reason of entries (person, entry and these four)."""
        mark = _MARKS[self._engine.dialect.name]
        told = ", ".join(f"{name} = {mark}" for name in _MOVED)
        change = f"UPDATE entries SET {told} WHERE journey = {mark} AND person = {mark} AND entry = {mark}"  # noqa: S608
        with self._writing() as connection:
            for part in rows.to_batches(_CHUNK):
                if part.num_rows:
                    part = part.append_column("journey", pa.repeat(journey, part.num_rows))
                    connection.exec_driver_sql(change, self._rows(part, (*_MOVED, "journey", "person", "entry")))

    def counts(self) -> Sequence[Mapping[str, Any]]:
        """Persons by journey, arm, status and reason."""
        c = entries.c
        columns = (c.journey, c.arm, c.status, c.reason)
        query = sa.select(*columns, sa.func.count().label("entries")).group_by(*columns).order_by(*columns)
        with self._reading() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def journeys(self) -> tuple[str, ...]:
        """Names of all journeys that anybody ever entered."""
        with self._reading() as connection:
            return tuple(connection.execute(sa.select(entries.c.journey).distinct()).scalars())

    def persons(self) -> Sequence[str]:
        """Keys of all persons of whom anything is kept."""
        kept = sa.union(sa.select(entries.c.person), sa.select(messages.c.person))
        told = suppressions.c.who
        plain = sa.union(
            sa.select(told).where(told.not_like("%@%") | told.like("_:%")),
            sa.select(coupons.c.person),
            sa.select(redemptions.c.person),
        )
        with self._reading() as connection:
            found = set(connection.execute(kept).scalars())
            who = connection.execute(plain).scalars()
            found.update(key for one in who for key in keys_of(one))
        return sorted(found)

    def join(self, pairs: Mapping[str, str]) -> int:
        """What is kept of persons becomes that of those whom they turned out to be; see ``joins``."""
        with self._writing() as connection:
            return joins.join(connection, pairs, self._insert_once(suppressions))

    def keys_now(self, names: Collection[str]) -> tuple[tuple[str, str], ...]:
        """As ``ports.Entries.keys_now``."""
        with self._reading() as connection:
            return joins.keys_now(connection, names)

    def forget(self, people: Sequence[str]) -> int:
        """Erase these persons' entries, whether they are named as in the log or as in journeys; how many."""
        gone, known = 0, schema.spelled(people)
        with self._writing() as connection:
            for at in range(0, len(known), _FEW):
                few = known[at : at + _FEW]
                gone += connection.execute(entries.delete().where(entries.c.person.in_(few))).rowcount
                connection.execute(joined.delete().where(joined.c.was.in_(few) | joined.c.person.in_(few)))
        with schema.readable_errors(self._place):
            schema.scrub(self._engine)
        return gone

    def _rows(self, part: pa.RecordBatch, names: Sequence[str]) -> list[tuple[Any, ...]]:
        """Rows as the driver takes them; SQLite keeps times as text, all of one length, so that they compare."""
        columns = []
        for name in names:
            column = part.column(name)
            if pa.types.is_timestamp(column.type) and self._engine.dialect.name == "sqlite":
                column = column.cast(pa.timestamp("us")).cast(pa.string())
            columns.append(column.to_pylist())
        return list(zip(*columns, strict=True))

    def _table(self, *equal: str, values: tuple[str, ...]) -> pa.Table:
        """Rows of which these columns have these values, by way of the driver, as ``_rows`` has them."""
        mark = _MARKS[self._engine.dialect.name]
        where = " AND ".join(f"{name} = {mark}" for name in equal)
        query = f"SELECT {', '.join(SCHEMA.names)} FROM entries WHERE {where}"  # noqa: S608
        batches = []
        with self._reading() as connection:
            cursor = connection.exec_driver_sql(query, values).cursor
            while cursor is not None and (part := cursor.fetchmany(_CHUNK)):
                columns = (_column(c, t) for c, t in zip(zip(*part, strict=True), SCHEMA.types, strict=True))
                batches.append(pa.record_batch(list(columns), SCHEMA))
        return pa.Table.from_batches(batches, SCHEMA)


def _column(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    """A column as the driver gave it; times are text in SQLite."""
    if pa.types.is_timestamp(kind) and isinstance(values[0], str):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)
