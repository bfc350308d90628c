"""Erasing somebody of whom journeys, letters and coupons are kept: all of it goes, nobody else's, and once."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_rounds import NOON, at, shop, table, turn
from test_signing_in import codes, place, signed_in, with_offer
from test_turns import ONCE

from footfall.app import messaging, offering, recording
from footfall.errors import WorkspaceError
from footfall.model import Redemption
from footfall.record import erase
from footfall.stores.outbox import SqlOutbox


def dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_erasure_that_is_cut_off_has_nothing_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their messages go before the log does: the next round took them for somebody whom nobody ever wrote to."""
    here = shop(tmp_path, ONCE, carts=3)
    turn(here)
    assert messaging.send(here) == {"sent": 3}

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(erase, "_rewrite", dies)
        with pytest.raises(KeyboardInterrupt):
            recording.forget(here, "p1")
    assert turn(here)["entered"] == 0
    assert messaging.send(here) == {}
    recording.forget(here, "p1")
    assert not here.outbox.suppressed()
    assert here.outbox.messages(most=0) and "u:p1" not in {p.message.person for p in here.outbox.messages(most=0)}


def test_who_is_on_the_list_stays_on_it_when_erased(tmp_path: Path) -> None:
    here = shop(tmp_path, ONCE, carts=2)
    messaging.unsubscribe(here, "u:p1", "p1@example.com")
    recording.forget(here, "p1")
    assert "p1@example.com" in here.outbox.suppressed()


@pytest.mark.parametrize("again", ["ann", "v1"])
@pytest.mark.parametrize("where", ["forget", "unlist"])  # before anything was erased, and when all was but the marks
def test_an_erasure_that_is_cut_off_anywhere_stops_nobody_and_ends_when_it_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, again: str
) -> None:
    """Device and user had a letter each before the sign-in. By either id it ends, be the log clean or not."""
    here = place(tmp_path, ["v1", "v2"])
    turn(here)
    assert messaging.send(here) == {"sent": 2}
    here.record(table([signed_in("other", "ann", "add_to_cart", hours=-6, amount=30.0)]))
    turn(here)
    messaging.send(here)
    here.record(table([signed_in("v1", "ann", hours=0.5)]))
    with monkeypatch.context() as patch:
        patch.setattr(SqlOutbox, where, dies)
        with pytest.raises(KeyboardInterrupt):
            recording.forget(here, "ann")
    later = at(here, NOON.replace(hour=14))
    for _ in range(2):
        assert turn(later)["entered"] == 0
    assert messaging.send(later) == {}
    recording.forget(later, again)
    assert later.outbox.suppressed() == {}
    assert {posted.message.person for posted in later.outbox.messages(most=0)} == {"d:v2"}


def test_an_erasure_that_a_file_kept_from_its_end_leaves_nothing_when_it_is_made_again(tmp_path: Path) -> None:
    here = shop(tmp_path, ONCE, carts=2)
    broken = here.directory / "quarantine" / "old.parquet"
    broken.parent.mkdir(exist_ok=True)
    broken.write_bytes(b"PAR1 is all that it has of a Parquet file")
    with pytest.raises(WorkspaceError, match="quarantine"):
        recording.forget(here, "p1")
    broken.unlink()
    assert recording.forget(here, "p1").events > 0
    assert here.outbox.suppressed() == {}


def test_what_is_kept_of_a_device_is_its_first_users(tmp_path: Path) -> None:
    """ann was the first to sign in on it, bob came later: erasing bob, before a round has joined ann and the device,
    takes nothing of hers; erasing ann takes it."""
    here = with_offer(place(tmp_path, ["v1", "v2"]), "")
    turn(here)
    assert messaging.send(here) == {"sent": 2}
    here.record(table([signed_in("v1", "ann", hours=0.1), signed_in("v1", "bob", hours=0.3)]))
    found = recording.forget(here, "bob")
    assert found.shared == ("v1",)
    assert not any(found.elsewhere.values())
    (code,) = (code for code in codes(here) if here.offers.owner(code) == "v1")
    assert isinstance(offering.redemption(here, code, "ann", "o1", 5000, "shop"), Redemption)
    assert turn(here)["planned"] == 0  # nobody is new
    assert {row["person"] for row in here.entries.all("carts").to_pylist()} == {"u:ann", "d:v2"}
    recording.forget(here, "ann")
    assert {row["person"] for row in here.entries.all("carts").to_pylist()} == {"d:v2"}
    assert {posted.message.person for posted in here.outbox.messages(most=0)} == {"d:v2"}
