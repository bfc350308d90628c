"""Journeys that pause, go and come back; codes only for letters that go; persons who are nobody."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from test_rounds import CARTS, NOON, PAPER, at, event, shop, table, turn

from footfall.app import messaging, offering
from footfall.app.build import Workspace, make_workspace, open_workspace
from footfall.errors import ConfigError
from footfall.testing import FixedClock


def edited(here: Workspace, old: str, new: str) -> Workspace:
    path = here.directory / "footfall.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return open_workspace(here.directory, FixedClock(here.clock.now()))


def statuses(here: Workspace) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, status), n in here.outbox.counts().items():
        found[status] = found.get(status, 0) + n
    return found


def test_a_name_that_is_put_back_loses_no_message(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=5)
    turn(here)
    renamed = edited(here, "journeys.carts", "journeys.baskets")
    turn(renamed)
    assert statuses(renamed) == {"cancelled": 5}
    back = edited(renamed, "journeys.baskets", "journeys.carts")
    turn(back)
    assert {key: n for key, n in back.outbox.counts().items() if key[0] == "carts"} == {("carts", "waiting"): 5}
    assert messaging.send(back)["sent"] == 5


def test_a_journey_that_comes_back_writes_to_nobody_who_bought_meanwhile(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=3)
    turn(here)
    gone = edited(here, "journeys.carts", "journeys.baskets")
    turn(gone)
    gone.record(table([event(1, "purchase", 20, hour=11, amount=30.0)]))
    back = edited(gone, "journeys.baskets", "journeys.carts")
    turn(back)
    messaging.send(back)
    assert sorted(p.message.person for p in back.outbox.messages("sent")) == ["u:p0", "u:p2"]


def test_without_any_journey_nothing_waits(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=4)
    turn(here)
    none = edited(here, CARTS.format(holdout=0.0), "")
    with pytest.raises(ConfigError, match="no journey"):
        messaging.plan_round(none)
    assert statuses(none) == {"cancelled": 4}


def test_the_end_of_a_pause_is_seen_at_once(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=4)
    turn(here)
    paused = edited(here, "holdout = 0.0", "holdout = 0.0\npaused = true")
    assert messaging.send(paused) == {"held": 4}
    going = edited(paused, "\npaused = true", "")
    assert messaging.send(at(going, NOON + timedelta(minutes=1))) == {"sent": 4}


def test_codes_are_for_letters_that_go(tmp_path: Path) -> None:
    """A cap of no message a day keeps all back: no code may be given out."""
    offer = "[offers.ten]\npercent = 10.0\ncount = 10\n"
    settings = PAPER + offer + CARTS.format(holdout=0.0).replace('wait = "3h"', 'wait = "3h"\noffer = "ten"')
    here = shop(tmp_path, settings, carts=3)
    turn(here)
    capped = edited(here, "[retain]\n", "[retain]\nper_day = 0\n")
    assert messaging.send(capped) == {"held": 3}
    assert here.offers.counts() == ()
    assert messaging.send(at(edited(capped, "per_day = 0\n", ""), NOON + timedelta(days=2)))["sent"] == 3
    assert [one.issued for one in here.offers.counts()] == [3]


def test_a_shared_code_goes_to_everybody(tmp_path: Path) -> None:
    offer = '[offers.ten]\npercent = 10.0\ncode = "TEN"\n'
    settings = PAPER + offer + CARTS.format(holdout=0.0).replace('wait = "3h"', 'wait = "3h"\noffer = "ten"')
    here = shop(tmp_path, settings, carts=3)
    turn(here)
    assert messaging.send(here) == {"sent": 3}


def test_who_is_nobody_is_not_written_to(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0).replace("cart_abandoned", "mine"), carts=2)
    (here.directory / "audiences").mkdir()
    sql = "SELECT unnest(['u:p1', 'u:stranger', 'p0']) AS person, TIMESTAMP '2026-03-19' AS since, '' AS provider_id, '' AS category, 1.0 AS stake"  # noqa: E501
    (here.directory / "audiences" / "mine.sql").write_text(sql, encoding="utf-8")
    assert [message.person for message, _ in messaging.plan_round(here).messages.told()] == ["u:p1"]


def test_two_workspaces_have_no_message_id_in_common(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        here = shop(tmp_path / name, PAPER + CARTS.format(holdout=0.0), carts=3)
        ids.append({message.message_id for message, _ in messaging.plan_round(here).messages.told()})
        assert ids[-1] == {message.message_id for message, _ in messaging.plan_round(here).messages.told()}
    assert not ids[0] & ids[1]


def test_what_nothing_goes_by_may_be_broken(tmp_path: Path) -> None:
    """A mail channel without a public_url, and an audience that is no text, beside a journey that needs neither."""
    mail = '[channels.mail]\nkind = "smtp"\nhost = "mail.example"\nsender = "s@shop.example"\n'
    here = shop(tmp_path, mail + PAPER + CARTS.format(holdout=0.0), carts=2)
    (here.directory / "audiences").mkdir()
    (here.directory / "audiences" / "other.sql").write_bytes(b"\xff\xfe")
    turn(here)
    assert messaging.send(here) == {"sent": 2}


@pytest.mark.parametrize(
    ("currency", "amount", "words"),
    [
        ("EUR", "5.0", "-5.00 EUR"),
        ("JPY", "500", "-500 JPY"),
        ("KWD", "1.25", "-1.250 KWD"),
    ],  # ISO 4217: 2, 0, 3 decimals
)
def test_money_in_words_has_the_decimals_of_its_currency(
    tmp_path: Path, currency: str, amount: str, words: str
) -> None:
    made = make_workspace(tmp_path / "shop", {"workspace": {"currency": currency}}, FixedClock(NOON))
    path = made.directory / "footfall.toml"
    path.write_text(path.read_text(encoding="utf-8") + f"[offers.off]\namount = {amount}\n", encoding="utf-8")
    assert offering.offer_in_words(open_workspace(made.directory, FixedClock(NOON)), "off") == words


def test_a_step_put_in_front_sends_no_letter_again(tmp_path: Path) -> None:
    """Whoever had the first letter gets the second alone; twice the same letter is twice where the journey says so."""
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=2, retain="per_day = 9\nper_week = 9\n")
    turn(here)
    path = here.directory / "footfall.toml"
    text = path.read_text(encoding="utf-8")
    steps = '[[journeys.carts.steps]]\ntemplate = "{}"\nchannel = "paper"\nwait = "1d"\n'
    head = text[: text.index("[[journeys.carts.steps]]")]
    names = ["reminder", "cart", "follow_up", "follow_up"]
    path.write_text(head + "".join(steps.format(name) for name in names), encoding="utf-8")
    for days in range(2, 8):
        turn(at(here, NOON + timedelta(days=days, minutes=days)))
    sent = sorted((p.message.person, p.message.template) for p in here.outbox.messages(most=0))
    assert sent == [(f"u:p{n}", name) for n in (0, 1) for name in ("cart", "follow_up", "follow_up")]


def test_who_left_the_audience_of_a_paused_journey_is_not_known(tmp_path: Path) -> None:
    """Nobody asked for its audience: what waits, waits, though p1's cart was bought and that is an exit of it."""
    leaves = CARTS.format(holdout=0.0).replace("holdout", 'exit = ["left"]\nholdout')
    here = shop(tmp_path, PAPER + leaves, carts=2)
    turn(here)
    here.record(table([event(1, "purchase", 20, hour=11, amount=30.0)]))
    paused = edited(here, "holdout = 0.0", "holdout = 0.0\npaused = true")
    assert turn(paused) == {"planned": 0}
    assert statuses(paused) == {"waiting": 2}
    assert turn(edited(paused, "paused = true", "paused = false"))["withdrawn"] == 1


def test_quiet_hours_are_asked_again_where_the_place_moves(tmp_path: Path) -> None:
    """Half past nine in the evening in UTC is half past five in the afternoon in New York (EDT); nobody told a zone."""
    here = shop(
        tmp_path, PAPER + CARTS.format(holdout=0.0), carts=0, more=[event(0, "add_to_cart", 19, 9, amount=30.0)]
    )
    turn(here)
    night = at(here, NOON + timedelta(hours=9, minutes=30))
    assert messaging.send(night) == {"held": 1}
    assert messaging.send(night) == {}
    moved = edited(night, '# timezone = "UTC"', 'timezone = "America/New_York"')
    assert messaging.send(moved) == {"sent": 1}
