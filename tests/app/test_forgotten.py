"""Erasing a person from all that a live workspace keeps: inbox, decisions, sticky choices, journeys, coupons,
letters."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest

from footfall.app import recording
from footfall.app.build import Workspace, make_workspace
from footfall.channels.files import FileChannel
from footfall.model import Coupon, Letter, Message, Offer, Redemption, Sticky
from footfall.record import posted
from footfall.record.gate import Gate
from footfall.stores.entries import SCHEMA
from footfall.testing import FixedClock

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
ANN, PHONE, TABLET, BOB = "ann-q4711z", "phone-q4711z", "tablet-0815", "bob-0815"
TEN = Offer("ten", "coupon", "", 10.0, 0, 0, 0, None, None, 1, 30, 0, ())


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "shop", clock=FixedClock(NOW))


def event(message_id: str, visitor: str, user: str | None = None, hour: int = 1, **more: Any) -> dict[str, Any]:
    told = {"message_id": message_id, "ts": f"2024-06-01T{hour:02}:00:00Z", "name": "page_view", "visitor_id": visitor}
    return {**told, "user_id": user, "provider_id": "p", **more}


def decision(message_id: str, visitor: str, hour: int = 1, **context: str) -> bytes:
    return msgspec.json.encode(
        {
            "message_id": message_id, "ts": f"2024-06-01T{hour:02}:00:00Z", "day": "2024-06-01",
            "visitor_id": visitor, "segment": "web", "candidates": ["a", "b"], "unavailable": [], "eligible": 2,
            "slots": 1, "choices": ["a"], "propensities": [0.75], "reserved": [1_000_000], "explore": 0.05,
            "mode": "live", "plan_version": 3, "pacing_version": 0, "worker_id": "w", "context": context,
        }
    )  # fmt: skip


def post(here: Workspace, *events: dict[str, Any]) -> None:
    body = b"\n".join(map(msgspec.json.encode, events))
    taken = posted.take(body, Gate(here.config), "api", NOW, 1000)
    here.inbox.append([("event", taken.body)])
    if taken.kept:
        here.inbox.append([("reject", taken.kept_lines())])


def bytes_of(folder: Path) -> bytes:
    """All files as they are, and what the Parquet files hold, decompressed."""
    text = b""
    for path in (p for p in folder.rglob("*") if p.is_file()):
        text += path.read_bytes() + str(path).encode()
        if path.suffix == ".parquet":
            rows = duckdb.sql("SELECT * FROM read_parquet($file)", params={"file": str(path)}).fetchall()
            text += repr(rows).encode()
    return text


def decided(here: Workspace) -> dict[str, tuple[Any, ...]]:
    with here.engine() as engine:
        here.decisions.attach(engine)
        rows = engine.query("SELECT * FROM decisions ORDER BY message_id").to_pylist()
    return {row["message_id"]: (row["visitor_id"], row["context"], row["choices"], row["reserved"]) for row in rows}


def entry(person: str) -> dict[str, Any]:
    moment = NOW.replace(tzinfo=None)
    known = {"journey": "cart", "person": person, "entry": 1, "entered_at": moment, "since": moment}
    known |= {"provider_id": "p", "category": "all", "stake": 1.0, "arm": "treated", "step": 0, "due_at": moment}
    return {**known, "status": "active", "reason": ""}


def message(person: str) -> Message:
    return Message(
        message_id=f"to {person}", journey="cart", person=person, step=0, entry=1, channel="file",
        address=f"{person[2:]}@example.org", template="t", language="en", context=f'{{"customer_id":"{person[2:]}"}}',
        due_at=NOW, value=1.0,
    )  # fmt: skip


def letter(number: int, customer_id: str) -> Letter:
    name, context = str(uuid.UUID(int=number)), msgspec.json.encode({"customer_id": customer_id}).decode()
    return Letter(name, f"{customer_id}@example.org", "Hello", f"Dear {customer_id}", "", "", context)


def fill(here: Workspace) -> None:
    """Ann and Bob share a tablet, one after the other; all of it waits in the inbox."""
    said = {"invited_by": ANN}
    post(here, event("1", PHONE, ANN), event("2", TABLET, ANN, 2), event("3", TABLET, None, 3))
    post(here, event("4", TABLET, BOB, 4, properties=said), event("5", PHONE, None, 5, name="no such"))
    rows = [decision("d1", PHONE, 2, page="home", friend="f"), decision("d2", TABLET, 3), decision("d3", TABLET, 5)]
    rows += [decision("d4", BOB, 6, invited_by=ANN), decision("d5", ANN, 7)]
    until = NOW + timedelta(hours=1)
    sticky = [Sticky(who, f"key of {who}", who.encode(), until) for who in (ANN, PHONE, BOB)]
    here.inbox.append([("decision", row) for row in rows], sticky)
    here.entries.add(pa.Table.from_pylist([entry(f"u:{ANN}"), entry(f"u:{BOB}")], schema=SCHEMA))
    here.outbox.add([message(f"u:{ANN}"), message(f"u:{BOB}")])
    for who in (ANN, BOB):
        assert isinstance(here.offers.issue(TEN, who, f"CODE-{who[:3]}", NOW), Coupon)
    held = here.offers.reserve({"ten": TEN}, "CODE-ann", ANN, f"order of {ANN}", 5000, "p", f"key of {ANN}", NOW, 60.0)
    assert isinstance(held, Redemption)
    here.offers.commit(held.redemption_id, NOW)
    for number, (folder, who) in enumerate(
        [("letters", ANN), ("letters", PHONE), ("old/paper", ANN), ("letters", BOB)]
    ):
        assert FileChannel("file", here.directory / folder).send(letter(number, who)).outcome == "sent"
    (here.directory / "letters" / f"{uuid.UUID(int=9)}.part").write_text(f"Dear {ANN}")  # its writer was killed


def test_nothing_of_the_person_is_left_anywhere(here: Workspace) -> None:
    fill(here)
    counts = here.offers.counts()
    assert b"q4711z" in bytes_of(here.directory)

    erased = recording.forget(here, ANN)

    assert (erased.events, erased.rejects, erased.ids, erased.shared) == (3, 1, (ANN, PHONE), (TABLET,))
    assert erased.decisions == 3
    assert dict(erased.elsewhere) == {"letters": 3, "journeys": 1, "messages": 1, "coupons": 2, "sticky choices": 2}
    for store in (here.entries, here.outbox, here.offers, here.inbox):
        store.close()
    assert b"q4711z" not in bytes_of(here.directory)
    assert here.offers.counts() == counts
    assert decided(here) == {
        "d1": (None, None, '["a"]', "[1000000]"),
        "d2": (None, None, '["a"]', "[1000000]"),
        "d3": (TABLET, "{}", '["a"]', "[1000000]"),  # the tablet was Bob's by then
        "d4": (BOB, '{"invited_by":"erased"}', '["a"]', "[1000000]"),
        "d5": (None, None, '["a"]', "[1000000]"),
    }
    assert here.inbox.stuck(BOB, f"key of {BOB}", NOW) == BOB.encode()
    assert here.entries.latest("cart")["person"].to_pylist() == [f"u:{BOB}"]
    assert [p.message.person for p in here.outbox.messages()] == [f"u:{BOB}"]
    assert [path.stem for path in (here.directory / "letters").iterdir()] == [str(uuid.UUID(int=3))]  # Bob's


def test_what_was_erased_is_not_drained_again(here: Workspace) -> None:
    fill(here)
    last = here.inbox.counts()["last"]
    recording.forget(here, ANN)
    assert here.store.applied(here.inbox.id) == here.decisions.applied(here.inbox.id) == last
    post(here, event("6", PHONE, ANN, 8))  # who comes back is there again
    assert here.inbox.counts()["last"] == last + 1
    assert recording.forget(here, ANN).events == 1
    assert recording.forget(here, ANN).events == 0


def test_a_run_that_was_killed_can_be_made_again(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(here)
    with monkeypatch.context() as context:
        context.setattr(here.store, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            recording.forget(here, ANN)
    erased = recording.forget(here, ANN)
    assert (erased.events, erased.ids) == (3, (ANN, PHONE))
    for store in (here.entries, here.outbox, here.offers, here.inbox):
        store.close()
    assert b"q4711z" not in bytes_of(here.directory)


def test_a_workspace_that_never_served_gets_no_inbox(here: Workspace) -> None:
    assert recording.forget(here, ANN).events == 0
    assert not (here.directory / "inbox").exists() and not (here.lake / "decisions").exists()


def test_a_coupon_of_nobody_keeps_its_place(here: Workspace) -> None:
    fill(here)
    assert here.offers.forget([ANN]) == 2
    again = here.offers.reserve({"ten": TEN}, "CODE-ann", BOB, "o", 5000, "p", "k", NOW, 60.0)
    assert not isinstance(again, Redemption)
    assert list(here.offers.spent("ten").values()) == [500] and ANN not in here.offers.spent("ten")
