"""Facts against hand counts, golden rows of each .sql file, and the figures of a real shop."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from footfall.model import EVENT_COLUMNS
from footfall.stores.engine import DuckEngine
from footfall.value.relations import Rules, count
from footfall.value.recipes import recipe
from footfall.value.fact_tables import FactTables

TYPES = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
}
SCHEMA = pa.schema([(c.name, TYPES[c.type]) for c in EVENT_COLUMNS])
DATA = Path(__file__).parents[3] / "shared" / "data" / "google-merchandise-store"


def log(*rows: dict[str, Any]) -> pa.Table:
    """Events from short rows: ``at`` is days (a float) since 2024-01-01, the rest as in EVENT_COLUMNS."""
    full = []
    for number, row in enumerate(rows):
        event: dict[str, Any] = dict.fromkeys(SCHEMA.names)
        ts = datetime(2024, 1, 1) + timedelta(days=row.pop("at")) if "at" in row else row["ts"]
        event.update({"message_id": f"m{number:04}", "ts": ts, "day": ts.date(), "batch_id": "b0"} | row)
        full.append(event)
    return pa.Table.from_pylist(full, SCHEMA)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckEngine]:
    made = DuckEngine(1024, 2, tmp_path / "spill")
    yield made
    made.close()


def facts_of(engine: DuckEngine, events: pa.Table, **rules: Any) -> FactTables:
    engine.query("CREATE OR REPLACE TEMPORARY TABLE all_events AS SELECT * FROM given", None, given=events)
    engine.execute("CREATE OR REPLACE TEMPORARY VIEW events AS SELECT * FROM all_events")
    return count(engine, Rules(recipe=recipe("store"), **rules))


@pytest.mark.skipif(not DATA.exists(), reason="the Google Merchandise Store data is not beside the project")
def test_merchandise_store_by_channel(engine: DuckEngine) -> None:
    """GMV per visit by channel, from the data's own README (computed there outside this project)."""
    rows = []
    sources = (("visits.csv.gz", "page_view", "started_at"), ("orders.csv.gz", "purchase", "ordered_at"))
    for name, event, time in sources:
        with gzip.open(DATA / name, "rt") as file:
            for line in csv.DictReader(file):
                rows.append(
                    {
                        "ts": datetime.fromisoformat(line[time]).replace(tzinfo=None),
                        "name": event,
                        "visitor_id": line["visit_id"],
                        "visit_id": line["visit_id"],
                        "provider_id": line["channel"],
                        "amount_minor": int(Decimal(line["amount"]) * 100) if event == "purchase" else None,
                    }
                )
    facts = facts_of(engine, log(*rows))
    visits = facts.visits.group_by("provider_id").aggregate([("visits", "sum")])
    orders = facts.orders.group_by("provider_id").aggregate([("orders", "sum"), ("amount_minor", "sum")])
    visitors = dict(zip(visits["provider_id"].to_pylist(), visits["visits_sum"].to_pylist(), strict=True))
    gmv = dict(zip(orders["provider_id"].to_pylist(), orders["amount_minor_sum"].to_pylist(), strict=True))
    value = {name: round(float(gmv.get(name, 0)) / 100 / n, 2) for name, n in visitors.items()}
    assert value == {
        "Referral": 24.86,
        "Direct": 4.50,
        "Paid Search": 3.71,
        "Organic Search": 1.23,
        "Social": 0.76,
        "Display": 32.09,
        "Affiliates": 0.0,
        "(Other)": 0.0,
    }
    assert (visitors["Display"], visitors["(Other)"], sum(visitors.values())) == (172, 1, 23674)
    assert (sum(gmv.values()), sum(orders["orders_sum"].to_pylist())) == (Decimal(15775544), 952)
