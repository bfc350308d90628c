"""E-mail against a real server: what is certain, what is tried again, what stays unknown."""

from __future__ import annotations

import email
import socket
from dataclasses import replace
from datetime import UTC, datetime
from email.policy import default

import pytest
from smtp_server import mail_server

from footfall.channels.smtp import SmtpChannel, SmtpSettings, mailbox
from footfall.errors import ConfigError
from footfall.model import Letter
from footfall.testing import FixedClock

CLOCK = FixedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
LETTER = Letter(
    message_id="5e0b3c9a",
    address="ann@example.com",
    subject="還在考慮嗎？",
    text="Hello\n.a line that begins with a dot\n",
    html="<p>Hello</p>",
    unsubscribe_url="https://shop.example/u/abc",
    context="{}",
)


def channel(port: int, **options: object) -> SmtpChannel:
    settings = SmtpSettings("127.0.0.1", port, "none", "", "", "shop@shop.example", "Shop", 0.5)
    return SmtpChannel("email", replace(settings, **options), CLOCK)  # type: ignore[arg-type]


def test_a_letter_arrives_as_it_was_written() -> None:
    with mail_server() as (boxes, port):
        mail = channel(port)
        assert mail.send(LETTER).outcome == "sent"
        mail.close()
    ((to, content),) = boxes.letters
    read = email.message_from_bytes(content, policy=default)
    assert to == "ann@example.com"
    assert read["Subject"] == "還在考慮嗎？"
    assert read["Message-ID"] == "<5e0b3c9a@shop.example>"
    # RFC 8058, section 3.1: both headers, an https link, and exactly this pair.
    assert read["List-Unsubscribe"] == "<https://shop.example/u/abc>"
    assert read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    body = read.get_body(("plain",))
    assert body is not None
    assert body.get_content() == "Hello\r\n.a line that begins with a dot\r\n"


@pytest.mark.parametrize(
    ("address", "outcome", "suppress"),
    [
        ("busy@example.com", "retry", False),  # 451
        ("nobody@example.com", "dead", True),  # 550 5.1.1
        ("full@example.com", "dead", False),  # 552
        ("drop@example.com", "unknown", False),  # the line drops after DATA
        ("slow@example.com", "unknown", False),  # no answer in time after DATA
        ("no address", "dead", True),
        ("ann@example.com\r\nBcc: all@example.com", "dead", True),
    ],
)
def test_what_is_certain_decides(address: str, outcome: str, suppress: bool) -> None:
    with mail_server() as (_, port):
        mail = channel(port)
        receipt = mail.send(replace(LETTER, address=address))
        assert (receipt.outcome, receipt.suppress) == (outcome, suppress), receipt
        assert mail.send(LETTER).outcome == "sent"  # the channel goes on
        mail.close()


def test_a_line_that_was_closed_meanwhile_is_opened_again() -> None:
    with mail_server() as (boxes, port):
        mail = channel(port)
        assert mail.send(LETTER).outcome == "sent"
        assert mail._line is not None and mail._line.sock is not None
        mail._line.sock.shutdown(socket.SHUT_RDWR)
        assert mail.send(replace(LETTER, message_id="second")).outcome == "sent"
        mail.close()
        assert boxes.ids() == {"5e0b3c9a": 1, "second": 1}


def test_a_server_that_is_away_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert channel(port).send(LETTER).outcome == "retry"


def test_a_server_that_never_greets_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert channel(silent.getsockname()[1]).send(LETTER).outcome == "retry"


def test_headers_cannot_be_smuggled_in() -> None:
    with mail_server() as (boxes, port):
        receipt = channel(port).send(replace(LETTER, subject="Hello\r\nBcc: all@example.com"))
        assert receipt.outcome == "dead"
        assert boxes.letters == []


def test_the_sender_has_to_be_an_address() -> None:
    with pytest.raises(ConfigError, match="no e-mail address"):
        channel(25, sender="the shop")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ann@example.com", "ann@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),  # RFC 3490
        ("a.b+c@sub.example.com", "a.b+c@sub.example.com"),
        ("@example.com", None),
        ("ann@", None),
        ("ann", None),
        ("a b@example.com", None),
        ("ann@exa mple.com", None),
        ("ann@-example.com", None),
        (".ann@example.com", None),
        ("ann@example.com, bob@example.com", None),
        ("<ann@example.com>", None),
    ],
)
def test_mailboxes(given: str, expected: str | None) -> None:
    assert mailbox(given) == expected
