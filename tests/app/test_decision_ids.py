"""Ids of decisions tell their time, and a decision is found by the files of its day."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from footfall import make_workspace
from footfall.acquire.decide import encode_decision
from footfall.app import decisions
from footfall.app.draining import Drainer
from footfall.model import Decision

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


def test_an_id_is_a_uuid_of_version_7_with_its_milliseconds() -> None:
    """RFC 9562, 5.7: 48 bits of milliseconds, version 7, variant 10; Python's own reading of the fields."""
    found = {decisions.new_id(NOON) for _ in range(1000)}
    assert len(found) == 1000
    for text in found:
        read = uuid.UUID(hex=text)
        assert (read.version, read.variant, read.hex) == (7, uuid.RFC_4122, text)
        assert decisions.moment_of(text) == NOON.replace(microsecond=123000)
    assert decisions.new_id(NOON) < decisions.new_id(NOON + timedelta(milliseconds=1))


def test_the_example_of_the_standard() -> None:
    """RFC 9562, A.6: 2022-02-22 14:22:22 at UTC-5."""
    assert decisions.moment_of("017f22e279b07cc398c4dc0c0c07398f") == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "d-1", "0" * 32, "f" * 12 + "7fff8" + "f" * 15, "zzzzzzzzzzzz7zzz8zzzzzzzzzzzzzzz"]
)
def test_other_ids_tell_no_time(text: str) -> None:
    assert decisions.moment_of(text) is None


def decision(message_id: str, moment: datetime, day: date) -> Decision:
    return Decision(
        message_id, moment, day, "v", "email", ("a",), (), 1, 1, ("a",), (1.0,), (1_000_000,), 0.0, "live", None, None,
        None, 1, 0, "w",
    )  # fmt: skip


def test_only_the_days_around_an_id_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = make_workspace(tmp_path, {"workspace": {"timezone": "Asia/Shanghai"}})
    late = datetime(2026, 11, 22, 15, 59, 59, 999000, tzinfo=UTC)  # a millisecond before midnight there
    made = {decisions.new_id(late): date(2026, 11, 23), decisions.new_id(NOON): date(2026, 11, 22)}
    rows = [decision(name, late, day) for name, day in made.items()]
    rows.append(decision("an-id-of-old", NOON - timedelta(days=30), date(2026, 10, 23)))
    here.inbox.append([("decision", encode_decision(row) + b"\n") for row in rows])
    drainer = Drainer(here)
    assert drainer.drain().decisions == 3
    drainer.close()
    asked: list[Any] = []
    store = type(here.decisions)
    attach = store.attach

    def watched(self: Any, engine: Any, first: Any = None, last: Any = None) -> None:
        asked.append((first, last))
        attach(self, engine, first, last)

    monkeypatch.setattr(store, "attach", watched)
    for row in rows:
        found = decisions.find(here, row.message_id)
        assert found is not None and found["message_id"] == row.message_id
    assert asked == [*[(date(2026, 11, 21), date(2026, 11, 23))] * 2, (None, None)]
    assert decisions.find(here, decisions.new_id(NOON)) is None
