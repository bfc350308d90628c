"""What single persons do over HTTP: end all messages by a letter's link, redeem a coupon once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serving import simple_plan
from test_serve_quick import Asked

from footfall import make_workspace, open_workspace
from footfall.app import messaging
from footfall.retain.links import read_token, token
from footfall.testing.outbox import message

TEN = "\n[offers.ten]\npercent = 10.0\ncount = 1\ncode = 'TEN'\n"


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    here = make_workspace(tmp_path_factory.mktemp("persons") / "shop")
    path = here.directory / "footfall.toml"
    path.write_text(path.read_text(encoding="utf-8") + TEN, encoding="utf-8")
    here = open_workspace(here.directory)
    here.state.save_plan(simple_plan({"shop-a": 1.0}))
    asked = Asked(here)
    yield asked
    asked.close()


def test_the_link_of_a_letter_ends_all_messages(ask: Asked) -> None:
    here = ask.here
    here.outbox.add([message("ann"), message("bob")])
    link = f"/u/{token(messaging.unsubscribe_secret(here), 'ann', 'ann@example.com')}"
    shown = ask("GET", link)
    assert shown.status_code == 200
    assert "ann@example.com" in shown.text
    assert here.outbox.suppressed() == {}  # a mail scanner that opens every link ends nothing
    # RFC 8058, section 3.2: the mail program posts exactly this.
    done = ask("POST", link, b"List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded")
    assert done.status_code == 200
    assert set(here.outbox.suppressed()) == {"ann", "ann@example.com"}
    assert here.outbox.counts() == {("carts", "cancelled"): 1, ("carts", "waiting"): 1}


def test_what_a_link_ended_is_undone(ask: Asked) -> None:
    """By the address, as whoever answers a letter names it; a person who signed in since is undone, too."""
    here = ask.here
    here.outbox.add([message("d:cem")])
    address = message("d:cem").address
    ask("POST", f"/u/{token(messaging.unsubscribe_secret(here), 'd:cem', address)}")
    here.entries.join({"d:cem": "u:7"})
    assert set(here.outbox.unsuppress(address)) == {address, "u:7"}
    assert not {address, "d:cem", "u:7"} & set(here.outbox.suppressed())
    here.entries.join({"d:cem": "u:7"})
    assert "u:7" not in here.outbox.suppressed()


@pytest.mark.parametrize("forged", ["", "x", "%00", "AAAA", "é", "A" * 5000])
def test_a_link_that_is_not_ours(ask: Asked, forged: str) -> None:
    assert ask("POST", f"/u/{forged}").status_code == 404


def test_a_link_names_its_person_and_cannot_be_changed() -> None:
    made = token(b"secret", "u:ann", "ann@example.com")
    assert read_token(b"secret", made) == ("u:ann", "ann@example.com")
    assert read_token(b"other", made) is None
    for at in range(len(made)):
        other = "A" if made[at] != "A" else "B"
        assert read_token(b"secret", made[:at] + other + made[at + 1 :]) in (None, ("u:ann", "ann@example.com"))


def test_a_coupon_is_redeemed_once(ask: Asked) -> None:
    body = {"code": "TEN", "person": "ann", "order_id": "1", "amount": "59.90"}
    first, again = ask("POST", "/v1/offers/redeem", body), ask("POST", "/v1/offers/redeem", body)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert first.json()["off"] == 5.99
    refused = ask("POST", "/v1/offers/redeem", {**body, "person": "bob", "order_id": "2"})
    assert refused.status_code == 409
    assert refused.json()["reason"] == "sold out"


COUPON = {"code": "TEN", "person": "a", "order_id": "1"}


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{",
        {"code": "TEN"},
        {**COUPON, "amount": "1.005"},
        {**COUPON, "amount": "-1"},
        {**COUPON, "x": 1},
        {**COUPON, "amount": "1", "person": "a\0"},
    ],
)
def test_redemptions_that_cannot_be(ask: Asked, wrong: object) -> None:
    assert ask("POST", "/v1/offers/redeem", wrong).status_code == 400
