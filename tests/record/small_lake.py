"""A small log for tests: rows as mappings, as an Arrow table or committed to a lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from footfall.model import EVENT_COLUMNS
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake

TYPES = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
}
SCHEMA = pa.schema([(c.name, TYPES[c.type]) for c in EVENT_COLUMNS])


def event(
    ts: str, name: str = "page_view", visitor: str | None = "v1", provider: str | None = "s1", **rest: Any
) -> dict[str, Any]:
    """One event at ``ts`` (ISO, UTC); message_id made up unless given."""
    return {
        "ts": datetime.fromisoformat(ts),
        "name": name,
        "visitor_id": visitor,
        "provider_id": provider,
        **rest,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows with the columns of the log; day from ts, ids in order."""
    full = [
        {
            "message_id": f"m{i}",
            "day": row["ts"].date(),
            "source": "test",
            "received_at": datetime(2024, 6, 1),
            **row,
        }
        for i, row in enumerate(rows)
    ]
    return pa.Table.from_pylist([{c: row.get(c) for c in SCHEMA.names} for row in full], schema=SCHEMA)


def from_market(events: pa.Table) -> pa.Table:
    """Events of a simulated market as rows of the log (UTC days)."""
    ts = events["ts"].cast(pa.timestamp("us"))
    minor = pc.multiply(events["amount"].cast(pa.float64()), 100.0)
    made = {
        **{name: events[name] for name in events.column_names if name in SCHEMA.names},
        "ts": ts,
        "day": ts.cast(pa.date32()),
        "amount_minor": pc.round(minor).cast(pa.int64()),
    }
    n = events.num_rows
    return pa.table(
        [made[f.name].cast(f.type) if f.name in made else pa.nulls(n, f.type) for f in SCHEMA], schema=SCHEMA
    )


def commit(lake: Lake, events: pa.Table, batch_id: str = "b1") -> None:
    """Commit a table of the log as one batch."""
    staged = lake.staging(batch_id)
    for day in pc.unique(events["day"]).to_pylist():
        folder = staged / f"day={day.isoformat()}"
        folder.mkdir()
        pq.write_table(events.filter(pc.equal(events["day"], day)).drop_columns(["day"]), folder / "part-0.parquet")
    lake.commit(batch_id, staged)


class TableStore:
    """As much of a store as reading needs: ``attach`` makes the rows the log."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.events = table(rows)

    def attach(self, engine: Any, first_day: date | None = None, last_day: date | None = None) -> None:
        engine.query(
            "CREATE OR REPLACE TEMPORARY TABLE events AS SELECT * FROM rows_given",
            None,
            rows_given=self.events,
        )


def lake_of(directory: Path, rows: Sequence[Mapping[str, Any]]) -> Lake:
    """A lake that holds ``rows``."""
    lake = Lake(directory)
    if rows:
        commit(lake, table(rows))
    return lake


def small_engine(directory: Path) -> DuckEngine:
    """An engine for tests."""
    return DuckEngine(256, 1, directory / "tmp")


NOW = datetime(2024, 6, 1, tzinfo=UTC)
DAY = date(2024, 5, 1)
