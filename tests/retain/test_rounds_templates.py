"""Templates that cannot be filled hold back whom that concerns, and nobody else; mended, their messages go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_rounds import CARTS, PAPER, event, shop, table, turn

from footfall.app import messaging
from footfall.app.build import Workspace

OWN = CARTS.format(holdout=0.0).replace("journeys.carts", "journeys.own").replace('"cart"', '"own"')
WAITS = "wait until their template is mended: "


def place(tmp_path: Path, body: bytes, name: str = "own.en.txt") -> Workspace:
    """Three carts in two journeys, one with a template of its own; of the persons p0 alone has a name."""
    named = event(0, "identify", 19, hour=10, properties=json.dumps({"traits": {"name": "Ann Lee"}}))
    both = PAPER + CARTS.format(holdout=0.0) + OWN
    here = shop(tmp_path, both, carts=3, more=[named], retain="per_day = 9\nper_week = 9\n")
    write(here, b"Hello", "own.en.txt")
    write(here, body, name)
    return here


def write(here: Workspace, body: bytes, name: str = "own.en.txt") -> None:
    (here.directory / "templates").mkdir(exist_ok=True)
    head = b"" if name.endswith(".html") else b"Subject: Hello\n\n"
    (here.directory / "templates" / name).write_bytes(head + body)


@pytest.mark.parametrize("name", ["own.en.txt", "own.en.html"])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{{ colour }}", "unknown variable colour"),
        (b"{{ 1 // 0 }}", "zero"),
        (b"{% if %}", "line"),
        (b"{{ 'x' * 10**9 }}", "signs"),
        (b"caf\xe9", "is not UTF-8"),
    ],
)
def test_one_that_fails_for_all_stops_no_other(tmp_path: Path, name: str, body: bytes, told: str) -> None:
    here = place(tmp_path, body, name)
    planned = messaging.plan_round(here)
    assert {journey: n for journey, (n, _) in planned.messages.totals().items()} == {"carts": 3}
    ((_, why),) = [of for of, n in planned.held.items() if of[0] == "own" and n and of[1].startswith(WAITS)]
    assert name in why and told in why
    assert planned.held["own", why] == 3
    assert planned.faults == (why.removeprefix(WAITS),)
    messaging.commit_round(here, planned)
    assert messaging.send(here) == {"sent": 3}
    write(here, b"Mended", name)
    assert {name: n for name, n in turn(here).items() if n} == {"planned": 3}
    assert messaging.send(here) == {"sent": 3}


def test_one_that_fails_without_a_name_goes_to_those_who_have_one(tmp_path: Path) -> None:
    here = place(tmp_path, b"Hello {{ name.split()[0] }}")
    planned = messaging.plan_round(here)
    assert [m.person for m, _ in planned.messages.told() if m.journey == "own"] == ["u:p0"]
    assert sum(n for (_, why), n in planned.held.items() if why.startswith(WAITS) and "without a name" in why) == 2


def test_one_that_fails_in_a_language_goes_in_the_others(tmp_path: Path) -> None:
    here = place(tmp_path, b"{{ colour }}", "own.zh-Hant.txt")
    speaks = event(1, "identify", 19, hour=10, properties=json.dumps({"traits": {"language": "zh-TW"}}))
    here.record(table([speaks]))
    planned = messaging.plan_round(here)
    assert {m.person for m, _ in planned.messages.told() if m.journey == "own"} == {"u:p0", "u:p2"}


def test_one_that_fails_for_one_person_stops_no_other(tmp_path: Path) -> None:
    """Nobody can know before that it fails for p1; `footfall outbox retry` lets it go (docs/retain.md)."""
    here = place(tmp_path, b"{{ 1 // (customer_id != 'p1')|int }}")
    turn(here)
    assert messaging.send(here) == {"sent": 5, "cancelled": 1}
    (left,) = here.outbox.messages("cancelled")
    assert left.message.person == "u:p1"
    assert "own.en.txt, line 3" in left.error and "zero" in left.error


@pytest.mark.parametrize(
    "now", [b"", b"Typed above it\nSubject: Hello", b"Subject: Hello\n\n{{ nope|default('') }}", None]
)
def test_one_that_fills_but_should_not_keeps_letters_waiting(tmp_path: Path, now: bytes | None) -> None:
    """Half-saved, without a subject, with a variable that nobody knows, gone: none of it fails when it is filled."""
    here = place(tmp_path, b"Hello")
    assert turn(here)["planned"] == 6
    path = here.directory / "templates" / "own.en.txt"
    path.unlink()
    if now is not None:
        path.write_bytes(now)
    assert messaging.send(here) == {"sent": 3, "held": 3}
    assert all(posted.error.startswith(messaging.BROKEN) for posted in here.outbox.messages("waiting"))
    write(here, b"Mended")
    messaging.plan_round(here)
    assert messaging.send(here) == {"sent": 3}


def test_one_that_breaks_while_letters_wait_keeps_them_waiting(tmp_path: Path) -> None:
    """By hand: of three letters of journey own, p0's alone has a name in it, and fails; mended, it goes at once."""
    here = place(tmp_path, b"Hello")
    assert turn(here)["planned"] == 6
    write(here, b"{{ 1 // (not name)|int }}")
    assert messaging.send(here) == {"sent": 5, "held": 1}
    (waits,) = here.outbox.messages("waiting")
    assert waits.message.person == "u:p0" and waits.error.startswith(messaging.BROKEN) and "own.en.txt" in waits.error
    planned = messaging.plan_round(here)
    assert planned.faults and messaging.send(here) == {}
    write(here, b"Mended")
    messaging.plan_round(here)
    assert messaging.send(here) == {"sent": 1}
