"""Drafts: messages of a round, piece by piece."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.config import JourneySettings, StepSettings
from footfall.retain.drafts import FIRST_SPACE, Drafts, message_id

SPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@settings(max_examples=25)
@given(st.text(), st.text(), st.integers(0, 9), st.integers(0, 2**40))
def test_ids_are_those_of_uuid5(journey: str, person: str, step: int, entry: int) -> None:
    journey, person = (text.encode("utf-8", "ignore").decode() for text in (journey, person))
    expected = uuid.uuid5(SPACE, "\x1f".join((journey, person, str(step), str(entry))))
    assert message_id(SPACE, journey, person, step, entry) == str(expected)


def test_the_first_space_stays() -> None:
    """Messages that were planned before workspaces had spaces of their own keep their ids."""
    assert str(FIRST_SPACE) == "8f0c2f61-7f0a-4b65-9e35-0d3d8b4a6a0e"


def drafts(people: int) -> Drafts:
    n, now = people, datetime(2026, 3, 2, 12, tzinfo=UTC)
    due = pa.table(
        {
            "person": [f"u:p{i}" for i in range(n)],
            "step": pa.array([0] * n, pa.int64()),
            "entry": pa.array([1] * n, pa.int64()),
            "address": [f"p{i}@example.com" for i in range(n)],
            "language": pa.array([None, "zh-TW"] * (n // 2) + [None] * (n % 2), pa.string()),
            "name": pa.array([None] * n, pa.string()),
            "provider_id": ["s1"] * n,
            "category": ["all"] * n,
            "timezone": pa.array([None] * n, pa.string()),
            "since": pa.array([datetime(2026, 2, 28, 23, 30)] * n, pa.timestamp("us")),
            "stake": [12.0] * n,
            "value": [1.2] * n,
        }
    )
    journey = JourneySettings(audience="fans", steps=(StepSettings(template="fans", channel="paper"),))
    return Drafts(now, {"one": due, "two": due.slice(0, 3)}, {"one": journey, "two": journey}, {"s1": "Shop One"}, ZoneInfo("Asia/Taipei"), "en", SPACE)  # fmt: skip  # noqa: E501


def test_pieces_are_the_whole_in_order() -> None:
    found = drafts(7)
    pieces = list(found.pieces(4))
    assert [len(piece) for piece in pieces] == [4, 3, 3]
    told = list(found.told())
    assert [message for piece in pieces for message in piece] == [message for message, _ in told]
    assert len(found) == 10
    assert [message.person for message, _ in found.told(8)] == [message.person for message, _ in told[:8]]
    assert found.totals() == {"one": (7, pytest.approx(8.4)), "two": (3, pytest.approx(3.6))}
    message, why = told[1]
    assert (message.language, message.person, message.journey) == ("zh-Hant", "u:p1", "one")
    assert '"since":"2026-03-01"' in message.context  # half past eleven in the night, UTC, is the next day in Taipei
    assert '"provider":"Shop One"' in message.context
    assert why == "fans since 2026-03-01 07:30, step 1 of 1, stake 12.00"
