"""One decision, wherever it is: in the inbox still, or in the lake."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from footfall.app.build import Workspace
from footfall.model import DECISION_COLUMNS
from footfall.record.drained import MOST_BYTES

_LISTS = ("candidates", "unavailable", "choices", "propensities", "reserved", "answered", "context")


def find(here: Workspace, decision_id: str) -> Mapping[str, Any] | None:
    """The decision of that id with the keys of DECISION_COLUMNS, None where there is none."""
    return _waiting(here, decision_id) or _drained(here, decision_id) or _waiting(here, decision_id)


def _waiting(here: Workspace, decision_id: str) -> Mapping[str, Any] | None:
    wanted = msgspec.json.encode(decision_id)
    after = 0
    while rows := here.inbox.read(after, MOST_BYTES):
        for _, kind, body in rows:
            if kind != "decision" or wanted not in body:
                continue
            for line in body.splitlines():
                found = json.loads(line) if wanted in line else {}
                if found.get("message_id") == decision_id:
                    return dict(found)
        after = rows[-1][0]
    return None


def _drained(here: Workspace, decision_id: str) -> Mapping[str, Any] | None:
    if here.decisions.version() < 0:
        return None
    with here.engine() as engine:
        here.decisions.attach(engine)
        rows = engine.query("SELECT * FROM decisions WHERE message_id = $id LIMIT 1", {"id": decision_id}).to_pylist()
    if not rows:
        return None
    row = rows[0]
    told = {column.name: row[column.name] for column in DECISION_COLUMNS}
    for name in _LISTS:
        told[name] = json.loads(row[name]) if row[name] is not None else None
    return {**told, "ts": f"{row['ts'].isoformat()}Z", "received_at": f"{row['received_at'].isoformat()}Z"}
