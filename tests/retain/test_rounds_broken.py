"""Rounds that are disturbed: two at once, killed, a locked database, odd names, broken templates."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from test_rounds import CARTS, NOON, PAPER, at, event, shop, turn

from footfall.app import messaging
from footfall.app.build import Workspace, open_workspace
from footfall.errors import InputError
from footfall.testing import FixedClock

# Line breaks and identifiers of more than a few hundred signs do not get past intake; entries are tested with them.
ODD = ("O'Brien", '"; DROP TABLE entries; --', "陳大文", "%s ? :p $1 {{ 1 }}", "u:u", "a@b.example")


def consistent(here: Workspace, persons: int) -> None:
    """Nobody twice, nobody forgotten: one entry each, and one first message for each that is treated."""
    entries = here.entries.all("carts").to_pylist()
    assert Counter(entry["person"] for entry in entries) == {f"u:p{n}": 1 for n in range(persons)}
    first = Counter(p.message.person for p in here.outbox.messages(most=0) if p.message.step == 0)
    assert first == {entry["person"]: 1 for entry in entries if entry["arm"] == "treated"}
    assert {entry["step"] for entry in entries} == {1}


def round_at(directory: Path, go: float) -> None:
    """A round of a process of its own, begun at a moment of the clock."""
    here = open_workspace(directory, FixedClock(NOON))
    planned = messaging.plan_round(here)
    time.sleep(max(go - time.time(), 0))
    messaging.commit_round(here, planned)
    messaging.send(here)


@pytest.mark.slow
def test_two_rounds_at_once_are_one(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.25), carts=60)
    context = multiprocessing.get_context("spawn")
    go = time.time() + 25.0
    both = [context.Process(target=round_at, args=(here.directory, go)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    consistent(here, 60)
    letters = [path for path in (here.directory / "letters").rglob("*") if path.is_file()]
    sent = [posted for posted in here.outbox.messages(most=0) if posted.status == "sent"]
    assert len(sent) == len(here.outbox.messages(most=0))
    assert letters


def test_a_plan_that_is_committed_late_changes_nothing_twice(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.25), carts=30)
    first, second = messaging.plan_round(here), messaging.plan_round(here)
    messaging.commit_round(here, first)
    messaging.send(here)
    assert messaging.commit_round(here, second)["planned"] == 0
    assert messaging.send(here) == {}
    consistent(here, 30)


@pytest.mark.slow
def test_rounds_that_are_killed_are_finished_by_the_next(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.25), carts=300)
    rng = random.Random(5)
    environment = {**os.environ, "FOOTFALL_NOW": NOON.isoformat(), "FOOTFALL_WORKSPACE": str(here.directory)}
    code = "import sys; from footfall.app.main import main; sys.exit(main(['retain']))"
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip  # noqa: E501
        deadline = time.monotonic() + 90
        while not here.entries.counts() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
    later = at(here, NOON + timedelta(minutes=10))  # leases of the dead are over
    turn(later)
    messaging.send(later)
    consistent(later, 300)
    states = Counter(posted.status for posted in later.outbox.messages(most=0))
    assert set(states) <= {"sent", "unknown"}
    assert states["unknown"] <= 4


def test_writes_that_break_off_between_are_finished_by_the_next(tmp_path: Path) -> None:
    # The three writes of a round, cut off after the first and after the second.
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.25), carts=30)
    planned = messaging.plan_round(here)
    for rows in planned.entering:
        here.entries.add(rows)
    again = messaging.plan_round(here)
    assert not again.entering
    here.outbox.add([message for message, _ in again.messages.told()])
    turn(here)
    consistent(here, 30)


def test_names_that_are_odd(tmp_path: Path) -> None:
    carts = []
    for n, name in enumerate(ODD):
        carts.append({**event(n, "add_to_cart", 19, amount=30.0), "user_id": name, "visitor_id": f"odd{n}"})
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=0, more=carts)
    assert turn(here)["planned"] == len(ODD)
    assert {entry["person"][2:] for entry in here.entries.all("carts").to_pylist()} == set(ODD)
    assert messaging.send(here) == {"sent": len(ODD)}
    assert turn(at(here, NOON + timedelta(days=2, minutes=1)))["planned"] == len(ODD)


def test_suppressed_between_plan_and_send(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=5)
    planned = messaging.plan_round(here)
    messaging.unsubscribe(here, "u:p1")
    here.outbox.suppress([("p2", "asked")], NOON)  # as the log names the person
    messaging.commit_round(here, planned)
    assert messaging.send(here) == {"sent": 3, "cancelled": 2}
    reached = {posted.message.person for posted in here.outbox.messages("sent")}
    assert reached == {"u:p0", "u:p3", "u:p4"}


@pytest.mark.parametrize(
    ("fault", "told"),
    [("{{ 1 // 0 }}", "zero"), ("{{ name | dictsort }}", "items")],  # the filter asks a text for its items
)
def test_a_template_that_breaks_while_messages_wait(tmp_path: Path, fault: str, told: str) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=2)
    turn(here)
    (here.directory / "templates").mkdir()
    path = here.directory / "templates" / "cart.en.txt"
    path.write_text(f"Subject: Hi\n\n{fault}", encoding="utf-8")
    assert messaging.send(here) == {"held": 2}
    for posted in here.outbox.messages("waiting"):
        assert "cart.en.txt" in posted.error and told in posted.error
    turn(here)
    assert messaging.send(here) == {}  # in a quarter of an hour, or when a round finds it mended
    path.write_text("Subject: Hi\n\nHello", encoding="utf-8")
    turn(here)
    assert messaging.send(here) == {"sent": 2}


def test_a_state_that_another_process_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("footfall.stores.schema.BUSY_WAIT_S", 0.2)
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=5)
    planned = messaging.plan_round(here)
    with sqlite3.connect(here.directory / "state" / "footfall.db") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Exception, match="locked") as error:
            messaging.commit_round(here, planned)
        other.rollback()
    assert type(error.value).__name__ == "WorkspaceError"
    assert turn(here)["planned"] == 5  # once it is free again
    consistent_people = {entry["person"] for entry in here.entries.all("carts").to_pylist()}
    assert len(consistent_people) == 5


def test_a_server_that_is_away_loses_nothing(tmp_path: Path) -> None:
    mail = '[channels.paper]\nkind = "smtp"\nhost = "127.0.0.1"\nport = 9\ntls = "none"\nsender = "s@shop.example"\ntimeout_s = 1.0\n'  # noqa: E501
    here = shop(tmp_path, mail + CARTS.format(holdout=0.0), carts=3, retain='public_url = "https://shop.example"\n')
    turn(here)
    assert messaging.send(here) == {"retry": 2, "held": 1}  # asked twice; the other one waits, untried
    assert {posted.status for posted in here.outbox.messages()} == {"waiting"}
    assert all("cannot be used" in posted.error for posted in here.outbox.messages())


@pytest.mark.slow
def test_a_hundred_thousand_members(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.5).replace("cart_abandoned", "mine"), carts=1)
    (here.directory / "audiences").mkdir()
    people = [f"x{n}" for n in range(100_000)]
    here.record(pa.table({"ts": ["2026-03-19T08:00:00Z"] * len(people), "name": ["page_view"] * len(people), "user_id": people, "provider_id": ["shop"] * len(people)}))  # fmt: skip  # noqa: E501
    sql = "-- Mine.\nSELECT 'u:x' || range AS person, TIMESTAMP '2026-03-19' AS since, 'shop' AS provider_id, 'all' AS category, 5.0 AS stake FROM range(100000)"  # noqa: E501
    (here.directory / "audiences" / "mine.sql").write_text(sql, encoding="utf-8")
    done = turn(here)
    assert done["entered"] == 100_000
    assert abs(done["planned"] - 50_000) < 700  # 4.4 standard errors
    assert turn(here)["planned"] == 0
    with pytest.raises(InputError, match="is not dead"):
        messaging.retry(here, "none")
