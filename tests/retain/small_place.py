"""A small place whose log is told event by event, for tests of customers, audiences and fans."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from footfall.app import retention
from footfall.app.build import Workspace, make_workspace
from footfall.retain import audience
from footfall.testing import FixedClock

FIRST = datetime(2026, 1, 1, 9, tzinfo=UTC)
COLUMNS = ("ts", "name", "user_id", "visitor_id", "provider_id", "amount", "order_id", "category", "properties")


def happened(day: float, person: str, name: str, provider: str | None = "shop", **more: object) -> dict[str, object]:
    """One event, ``day`` days after 1 January 2026, nine o'clock UTC."""
    at = (FIRST + timedelta(days=day)).isoformat()
    return {"ts": at, "name": name, "user_id": person, "visitor_id": f"d-{person}", "provider_id": provider, **more}


def known(day: float, person: str, **traits: str) -> dict[str, object]:
    """The person tells how to be reached."""
    return happened(day, person, "identify", None, properties=json.dumps({"traits": traits}))


def place(tmp_path: Path, events: list[dict[str, object]], today: float) -> Workspace:
    """A workspace with these events, seen on a day."""
    here = make_workspace(tmp_path / "place", {"workspace": {"currency": "EUR"}}, FixedClock(FIRST + timedelta(days=today)))  # fmt: skip  # noqa: E501
    columns = {name: [event.get(name) for event in events] for name in COLUMNS}
    here.record(pa.table({name: values for name, values in columns.items() if any(v is not None for v in values)}))
    return here


def members(here: Workspace, as_of: date | None = None) -> dict[str, dict[str, dict[str, object]]]:
    """audience -> person -> member, of all audiences that come with Footfall."""
    found = {}
    with retention.shown(here, as_of) as shown:
        for group in audience.built_in():
            rows = audience.members(shown.engine, group, 30.0).to_pylist()
            found[group.name] = {row["person"].removeprefix("u:"): row for row in rows}
    return found
