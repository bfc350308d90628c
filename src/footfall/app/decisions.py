"""One decision, wherever it is: in the inbox still, or in the lake.

A decision's id tells when it was made (UUID version 7, RFC 9562, without hyphens), so that only the files of its day
are read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from footfall.app.build import Workspace
from footfall.model import DECISION_COLUMNS

_LOW = (1 << 62) - 1
_LISTS = ("candidates", "unavailable", "choices", "propensities", "reserved", "answered", "context")


def new_id(moment: datetime) -> str:
    """An id for a decision of that moment: 32 hexadecimal digits, its milliseconds since 1970 and 74 random bits."""
    chance = int.from_bytes(os.urandom(10), "big")
    high = int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0x2 << 62
    return f"{high | (chance >> 68) << 64 | chance & _LOW:032x}"


def moment_of(decision_id: str) -> datetime | None:
    """When a decision of this id was made, to the millisecond; None where the id does not tell it."""
    if len(decision_id) != 32 or decision_id[12] != "7" or decision_id[16] not in "89ab":
        return None
    try:
        number = int(decision_id, 16)
    except ValueError:
        return None
    try:
        return datetime.fromtimestamp((number >> 80) / 1000, UTC)
    except (ValueError, OverflowError):  # later than the year 9999
        return None


def find(here: Workspace, decision_id: str) -> Mapping[str, Any] | None:
    """The decision of that id with the keys of DECISION_COLUMNS, None where there is none."""
    return _waiting(here, decision_id) or _drained(here, decision_id) or _waiting(here, decision_id)


def _waiting(here: Workspace, decision_id: str) -> Mapping[str, Any] | None:
    from footfall.record.drained import MOST_BYTES

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
        made = moment_of(decision_id)
        if made is None:
            here.decisions.attach(engine)
        else:  # a worker passes over to the next day within a moment of midnight
            day = made.astimezone(here.zone).date()
            here.decisions.attach(engine, day - timedelta(days=1), day + timedelta(days=1))
        rows = engine.query("SELECT * FROM decisions WHERE message_id = $id LIMIT 1", {"id": decision_id}).to_pylist()
    if not rows:
        return None
    row = rows[0]
    told = {column.name: row[column.name] for column in DECISION_COLUMNS}
    for name in _LISTS:
        told[name] = json.loads(row[name]) if row[name] is not None else None
    return {**told, "ts": f"{row['ts'].isoformat()}Z", "received_at": f"{row['received_at'].isoformat()}Z"}
