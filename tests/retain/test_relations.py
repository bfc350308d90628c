"""Orders and refunds as retain reads them, from the events of spenders only, are those of all counting."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from footfall.app.build import Workspace, make_workspace
from footfall.retain.customers import relations
from footfall.testing import FixedClock
from footfall.value.facts import rules_of
from footfall.value.relations import count

MONEY = "SELECT * FROM {} ORDER BY ALL"


def marketplace(tmp_path: Path, seed: int, users: bool) -> Workspace:
    """Visits shared between persons, devices that change hands, orders inside and outside visits, refunds, an alias."""
    rng = random.Random(seed)
    here = make_workspace(tmp_path / f"m{seed}", {"workspace": {"currency": "EUR"}}, FixedClock(datetime(2026, 3, 1, tzinfo=UTC)))  # fmt: skip  # noqa: E501
    rows = []
    for n in range(600):
        name = rng.choices(["page_view", "add_to_cart", "purchase", "refund", "identify"], [60, 10, 15, 5, 10 * users])[
            0
        ]
        ts = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(28 * 1440))
        row = {
            "ts": ts.isoformat(),
            "name": name,
            "visitor_id": f"d{rng.randrange(40)}" if rng.random() < 0.95 or not users else None,
            "user_id": f"u{rng.randrange(30)}" if users and (name == "identify" or rng.random() < 0.4) else None,
            "visit_id": f"v{rng.randrange(120)}" if rng.random() < 0.5 else None,
            "provider_id": None if name == "identify" else f"s{rng.randrange(4)}",
            "order_id": f"o{rng.randrange(80)}" if name in ("purchase", "refund") else None,
            "amount": float(rng.randrange(1, 90)) if name in ("purchase", "refund") else None,
            "channel": rng.choice(["ad", "mail", ""]),
            "properties": json.dumps({"traits": {"email": "a@b.example"}}) if name == "identify" else None,
        }
        if row["visitor_id"] is None and row["user_id"] is None:
            row["visitor_id"] = f"d{n % 40}"
        rows.append(row)
    here.record(pa.table({name: [row[name] for row in rows] for name in rows[0]}))
    return here


@pytest.mark.parametrize(("seed", "users"), [(1, True), (2, False)])
def test_orders_and_refunds_are_those_of_all_counting(tmp_path: Path, seed: int, users: bool) -> None:
    here = marketplace(tmp_path, seed, users)
    rules = rules_of(here.config, here.state.providers())
    with here.engine() as engine:
        here.store.attach(engine)
        count(engine, rules)
        expected = {name: engine.query(MONEY.format(name)) for name in ("orders", "refunds", "visits", "person_events")}
    with here.engine() as engine:
        relations(here.store, engine, rules)
        for name, rows in expected.items():
            if not users:  # kept persons have a letter in front, whatever ids the log has
                for column in {"person", "visit_person"} & set(rows.column_names):
                    marked = pc.binary_join_element_wise("d:", rows[column], "")
                    rows = rows.set_column(rows.schema.get_field_index(column), column, marked)
            assert engine.query(MONEY.format(name)).equals(rows), name
    assert expected["orders"].num_rows > 50
    assert expected["refunds"].num_rows > 10
