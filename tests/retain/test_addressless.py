"""Persons whose address the log does not tell (any more): they wait, and go on when it does."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

from test_rounds import CARTS, NOON, at, event, shop, table, turn

from footfall.app import messaging, recording
from footfall.app.build import Workspace
from footfall.model import Caps, Receipt

MAIL = """
[channels.paper]
kind = "smtp"
host = "127.0.0.1"
port = 9
tls = "none"
sender = "s@shop.example"
"""
RETAIN = 'public_url = "https://shop.example"\nper_day = 9\nper_week = 9\n'
MANY = Caps(per_day=9, per_week=9)


def told(person: int, hour: int, email: str) -> dict[str, object]:
    return event(person, "identify", 19, hour, properties=json.dumps({"traits": {"email": email}}))


def send_to(here: Workspace, *persons: str) -> None:
    """Letters to these persons, as if a server had taken them."""
    for message in here.outbox.claim("w", here.clock.now(), 99, 60):
        if message.person in persons:
            here.outbox.hand(message.message_id, "w", here.clock.now(), MANY, 60)
            here.outbox.settle("w", here.clock.now(), [(message.message_id, Receipt("sent", "250"), None)])
    here.outbox.give_back("w")


def test_who_has_no_address_for_a_while_waits(tmp_path: Path) -> None:
    """Five have left a cart. p0 and p1 have had their first letter; then the file that told all addresses is taken out
    for a round. p3 has taken theirs back before; p4's newest is none that one can write to."""
    carts = [event(n, "add_to_cart", 19, 9, amount=30.0) for n in range(5)]
    here = shop(tmp_path, MAIL + CARTS.format(holdout=0.0), carts=0, more=carts, retain=RETAIN)
    people = tmp_path / "people.ndjson"
    rows = [told(n, 10, f"p{n}@example.com") for n in range(5)]
    people.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recording.import_files(here, [str(people)])
    assert turn(here)["planned"] == 5
    send_to(here, "u:p0", "u:p1")
    here.record(table([told(3, 11, ""), told(4, 11, "p4\x01@example.com")]))
    recording.remove_import(here, "people.ndjson")
    later = at(here, NOON + timedelta(days=2, minutes=1))
    planned = messaging.plan_round(later)
    held = {reason: n for (_, reason), n in planned.held.items() if n}
    assert held == {"not reachable": 5, "wait for an address": 4, "letters wait for an address": 2}
    done = messaging.commit_round(later, planned)
    assert (done["left"], done["withdrawn"]) == (1, 1)
    assert [row["person"] for row in later.entries.all("carts").to_pylist() if row["status"] == "exited"] == ["u:p3"]
    assert [posted.error for posted in later.outbox.messages("cancelled")] == ["no address any more"]
    assert messaging.send(later) == {}
    recording.import_files(here, [str(people)])
    here.record(table([told(4, 12, "p4@example.com")]))
    again = at(here, NOON + timedelta(days=2, minutes=2))
    assert turn(again)["planned"] == 4
    due = Counter(message.person for message in again.outbox.claim("w", again.clock.now(), 99, 60))
    assert due == {"u:p0": 1, "u:p1": 1, "u:p2": 2, "u:p4": 2}


def test_who_never_consented_leaves_when_consent_is_needed(tmp_path: Path) -> None:
    """Of three, p2 had said so; opt-out becomes opt-in while their letters wait."""
    yes = {**event(2, "subscribe", 19), "provider_id": None}
    here = shop(tmp_path, MAIL + CARTS.format(holdout=0.0), carts=3, more=[yes], retain=RETAIN)
    assert turn(here)["planned"] == 3
    path = here.directory / "footfall.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[retain]\n", '[retain]\nconsent = "opt-in"\n'), encoding="utf-8")
    done = turn(at(here, NOON + timedelta(minutes=1)))
    assert (done["left"], done["withdrawn"]) == (2, 2)
    ended = {posted.message.person: posted.error for posted in here.outbox.messages("cancelled")}
    assert ended == {"u:p0": "no consent", "u:p1": "no consent"}
    assert [row["person"] for row in here.entries.active("carts").to_pylist()] == ["u:p2"]
