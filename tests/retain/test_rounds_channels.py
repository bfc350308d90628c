"""Rounds against real servers that are slow, refuse, hang up after the letter, or never answer."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from test_rounds import CARTS, NOON, at, event, shop, turn

from footfall.app import messaging
from footfall.app.build import Workspace
from footfall.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parents[1] / "channels"))
from smtp_server import certificate, guarded, mail_server
from test_webhook_and_files import hook


def mail_shop(tmp_path: Path, channel: str, addresses: list[str]) -> Workspace:
    """A shop with a cart of each of these addresses, and a channel named paper as told."""
    carts = []
    for n, address in enumerate(addresses):
        carts.append(event(n, "add_to_cart", 19, hour=9, amount=30.0))
        carts.append(event(n, "identify", 19, properties=json.dumps({"traits": {"email": address}})))
    told = 'public_url = "https://shop.example"\n'
    return shop(tmp_path, channel + CARTS.format(holdout=0.0), carts=0, more=carts, retain=told)


def test_a_server_in_every_mood(tmp_path: Path) -> None:
    # Slow ones take the letter and answer later than anybody waits; those who drop take it and hang up after DATA.
    ends = {"ann": "sent", "busy": "waiting", "nobody": "dead", "full": "dead", "drop": "unknown", "slow": "unknown"}
    with mail_server() as (boxes, port):
        mail = f'[channels.paper]\nkind = "smtp"\nhost = "127.0.0.1"\nport = {port}\ntls = "none"\n'
        mail += 'sender = "s@shop.example"\ntimeout_s = 0.4\n'
        here = mail_shop(tmp_path, mail, [f"{name}@mail.example" for name in ends])
        assert turn(here)["planned"] == len(ends)
        assert messaging.send(here) == {"sent": 1, "retry": 1, "dead": 2, "unknown": 2}
        found = {p.message.address.partition("@")[0]: p.status for p in here.outbox.messages(most=0)}
        assert found == ends
        assert messaging.send(here) == {}
        assert messaging.send(at(here, NOON + timedelta(minutes=2))) == {"retry": 1}  # busy, and nobody else again
        assert set(boxes.ids().values()) == {1}
        assert {to.partition("@")[0] for to, _ in boxes.letters} == {"ann", "drop", "slow"}
    # Nobody's address is written to no more; a full mailbox may be emptied.
    assert list(here.outbox.suppressed()) == ["nobody@mail.example"]


def test_a_webhook_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTFALL_CHANNEL_PAPER", "secret")
    with hook(200, wait_s=0.6) as (url, slow):
        settings = f'[channels.paper]\nkind = "webhook"\nurl = "{url}"\ntimeout_s = 0.2\n'
        here = mail_shop(tmp_path, settings, ["ann@mail.example"])
        turn(here)
        assert messaging.send(here) == {"retry": 1}
        assert messaging.send(here) == {}  # not before its time
    with hook(200) as (again, got):
        path = here.directory / "footfall.toml"
        path.write_text(path.read_text(encoding="utf-8").replace(url, again), encoding="utf-8")
        assert messaging.send(at(here, NOON + timedelta(minutes=2))) == {"sent": 1}
    # The other side knows it for the same message.
    assert slow[0][0]["Idempotency-Key"] == got[0][0]["Idempotency-Key"]


def test_a_server_that_wants_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is encrypted unless told; the password comes from the environment alone."""
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    monkeypatch.setenv("FOOTFALL_CHANNEL_PAPER", "secret")
    with mail_server(**guarded(pem, b"secret")) as (boxes, port):
        mail = f'[channels.paper]\nkind = "smtp"\nhost = "127.0.0.1"\nport = {port}\nuser = "shop"\n'
        here = mail_shop(tmp_path, mail + 'sender = "s@shop.example"\n', ["ann@mail.example"])
        turn(here)
        assert messaging.send(here) == {"sent": 1}
    assert [to for to, _ in boxes.letters] == ["ann@mail.example"]


MIXED = """
[journeys.carts]
audience = "cart_abandoned"
holdout = 0.0
[[journeys.carts.steps]]
template = "cart"
channel = "desk"
wait = "3h"
[[journeys.carts.steps]]
template = "follow_up"
channel = "paper"
wait = "1d"
[[journeys.carts.steps]]
template = "cart"
channel = "desk"
wait = "1d"
[channels.desk]
kind = "file"
[channels.paper]
kind = "smtp"
host = "127.0.0.1"
port = 9
tls = "none"
sender = "s@shop.example"
"""


def test_each_step_goes_to_the_address_of_its_own_channel(tmp_path: Path) -> None:
    """Files by the person's id, mail by e-mail (docs/retain.md); who has no e-mail goes on to the next file."""
    carts = [event(n, "add_to_cart", 19, hour=9, amount=30.0) for n in (1, 2)]
    told = event(1, "identify", 19, properties=json.dumps({"traits": {"email": "ann@mail.example"}}))
    rules = 'public_url = "https://shop.example"\nper_day = 9\nper_week = 9\n'
    here = shop(tmp_path, MIXED, carts=0, more=[*carts, told], retain=rules)
    without = []
    for day in range(3):
        then = at(here, NOON + timedelta(days=day, minutes=day))
        planned = [messaging.plan_round(then, dry=dry) for dry in (True, False)]
        without.append([each.held["carts", "passed over a step: no address on its channel"] for each in planned])
        messaging.commit_round(then, planned[1])
    assert without == [[0, 0], [1, 1], [0, 0]]  # p2 at the mail
    found = {(p.message.person, p.message.step): p.message.address for p in here.outbox.messages(most=0)}
    assert found == {
        ("u:p1", 0): "p1",
        ("u:p1", 1): "ann@mail.example",
        ("u:p1", 2): "p1",
        ("u:p2", 0): "p2",
        ("u:p2", 2): "p2",
    }
    assert {entry["status"] for entry in here.entries.all("carts").to_pylist()} == {"done"}


@pytest.mark.parametrize("folder", ["../letters", "/tmp/letters", "letters/../../else", "linked/letters"])
def test_letters_stay_in_the_workspace(tmp_path: Path, folder: str) -> None:
    """There alone a person's erasure finds them."""
    (tmp_path / "elsewhere").mkdir()
    here = mail_shop(tmp_path, f'[channels.paper]\nkind = "file"\nfolder = "{folder}"\n', ["ann@mail.example"])
    (here.directory / "linked").symlink_to(tmp_path / "elsewhere")
    turn(here)
    with pytest.raises(ConfigError, match=r"\[channels.paper\] folder .* outside the workspace"):
        messaging.send(here)
    assert here.outbox.counts() == {("carts", "waiting"): 1}
