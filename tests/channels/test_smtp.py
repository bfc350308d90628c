"""E-mail against a real server: what is certain, what is tried again, what stays unknown."""

from __future__ import annotations

import email
import re
import socket
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header
from email.policy import default
from pathlib import Path

import pytest
from smtp_server import certificate, guarded, mail_server, scripted_server

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
        ("no address", "dead", False),
        ("ann@example.com\r\nBcc: all@example.com", "dead", False),
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


# RFC 5321, 4.2.1: 2xx is done, 4xx for now, 5xx for good; 4.2.4.2: what follows the content decides who has the letter.
# What a 5xx is about: the address (RCPT), the letter (after the content), or the session, the login and the sender.
REPLIES = [
    ({"connect": "421 busy"}, "retry", True),
    ({"connect": "554 no service here"}, "retry", True),
    ({"connect": ""}, "retry", True),
    ({"connect": None}, "retry", True),
    ({"EHLO": "502 what?", "HELO": "502 what?"}, "retry", True),
    ({"MAIL": "451 later"}, "retry", False),
    ({"MAIL": "530 5.7.0 authentication required"}, "retry", True),
    ({"MAIL": "550 5.7.1 sender refused"}, "retry", True),
    ({"MAIL": ""}, "retry", True),
    ({"RCPT": "251 will forward"}, "sent", False),
    ({"RCPT": "252 cannot verify"}, "sent", False),
    ({"RCPT": "450 4.2.1 busy"}, "retry", False),
    ({"RCPT": "550 5.1.1 no such user"}, "dead", False),
    ({"RCPT": "553 no such name"}, "dead", False),
    ({"RCPT": "530 5.7.0 authentication required"}, "retry", True),
    ({"RCPT": "554 5.7.1 relay access denied"}, "retry", False),  # it may be this address alone: the others go on
    ({"RCPT": "550 5.7.1 blocked by policy"}, "retry", False),
    ({"RCPT": "503 bad sequence"}, "retry", True),
    ({"DATA": "451 later"}, "retry", False),
    ({"DATA": "554 no"}, "retry", True),
    ({"DATA": ""}, "retry", True),
    ({"content": "200 done"}, "sent", False),
    ({"content": "251 passed on"}, "sent", False),
    ({"content": "299 fine"}, "sent", False),
    ({"content": "452 4.3.1 no room"}, "retry", False),
    ({"content": "554 5.6.0 refused"}, "dead", False),
    ({"content": "354 go on"}, "unknown", False),
    ({"content": "thanks!"}, "unknown", False),
    ({"content": ""}, "unknown", False),
    ({"content": None}, "unknown", False),
    ({"QUIT": "500 what?"}, "sent", False),
    ({"QUIT": ""}, "sent", False),
]


@pytest.mark.parametrize(("answers", "outcome", "away"), REPLIES, ids=[str(case[0]) for case in REPLIES])
def test_what_each_reply_makes_of_a_letter(answers: dict[str, str | None], outcome: str, away: bool) -> None:
    with scripted_server(**answers) as (_, port):
        mail = channel(port, timeout_s=0.2)
        receipt = mail.send(LETTER)
        mail.close()
    assert (receipt.outcome, receipt.away) == (outcome, away), receipt


@pytest.mark.parametrize(
    "subject",
    [
        "Hello =?utf-8?q?x=0D=0ABcc=3A_all=40example=2Ecom?=",  # an encoded word (RFC 2047) that holds a header
        "=?utf-8?b?5oqY5omj?= for you",
        "Hello\x00\x85\u2028Bcc: all@example.com",
        "x" * 300,
        "折" * 300,
    ],
)
def test_a_subject_arrives_literally(subject: str) -> None:
    with mail_server() as (boxes, port):
        mail = channel(port)
        assert mail.send(replace(LETTER, subject=subject)).outcome == "sent"
        mail.close()
    ((_, content),) = boxes.letters
    head, _, _ = content.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 998
    assert not any(line.lower().startswith(b"bcc") for line in head.split(b"\r\n"))
    ((words, charset), *more) = decode_header(re.sub(r"\r\n ", " ", email.message_from_bytes(content)["Subject"]))
    shown = words if isinstance(words, str) else words.decode(charset or "ascii")
    assert not more
    assert shown == re.sub("[\x00\x85\u2028]", " ", subject)


@pytest.mark.parametrize(
    ("password", "tls", "trusted", "outcome"),
    [
        ("secret", "starttls", True, "sent"),
        ("wrong", "starttls", True, "retry"),
        ("secret", "starttls", False, "retry"),  # anybody could have signed that certificate
        ("secret", "none", True, "retry"),  # the server wants neither a password nor a letter in the open
    ],
)
def test_signing_in_over_an_encrypted_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, tls: str, trusted: bool, outcome: str
) -> None:
    pem = certificate(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with mail_server(**guarded(pem, b"secret")) as (boxes, port):
        mail = channel(port, tls=tls, user="shop", password=password, timeout_s=5.0)
        receipts = [mail.send(LETTER), mail.send(replace(LETTER, message_id="second"))]
        mail.close()
    assert [receipt.outcome for receipt in receipts] == [outcome] * 2
    assert all(receipt.away for receipt in receipts) == (outcome == "retry")
    assert len(boxes.letters) == (2 if outcome == "sent" else 0)
    assert "secret" not in repr(receipts)


def test_a_line_that_is_encrypted_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with mail_server(ssl_context=guarded(pem, b"")["tls_context"]) as (boxes, port):
        mail = channel(port, tls="tls", timeout_s=5.0)
        assert mail.send(LETTER).outcome == "sent"
        mail.close()
    assert len(boxes.letters) == 1


def test_a_line_that_cannot_be_encrypted_takes_no_letter() -> None:
    """RFC 3207, section 6: who lets an attacker take STARTTLS out of the greeting sends in the open."""
    with mail_server() as (boxes, port):
        mail = channel(port, tls="starttls", timeout_s=5.0)
        receipt = mail.send(LETTER)
        mail.close()
    assert (receipt.outcome, receipt.away, boxes.letters) == ("retry", True, [])


def test_the_sender_has_to_be_an_address() -> None:
    for sender in ("the shop", "händler@shop.example"):
        with pytest.raises(ConfigError, match="no e-mail address"):
            channel(25, sender=sender)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ann@example.com", "ann@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),  # RFC 3490
        ("Ann@B\u00dc\u00adCHER\u3002Example", "Ann@xn--bcher-kva.example"),
        ("ann@\u212a..example", None),  # no domain, though its first sign is a k to whoever ignores capitals
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
