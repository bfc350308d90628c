"""The webhook against a real server, and letters as files."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from footfall.channels.files import FileChannel
from footfall.channels.robots import RobotChannel
from footfall.channels.webhook import WebhookChannel, WebhookSettings
from footfall.errors import ConfigError
from footfall.model import Letter
from footfall.testing import FixedClock

CLOCK = FixedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
LETTER = Letter("m1", "ann", "Hello", "text", "", "", '{"code": "X"}')


@contextmanager
def hook(status: int, wait_s: float = 0.0) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            time.sleep(wait_s)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", got
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "sent"), (204, "sent"), (500, "retry"), (429, "retry"), (400, "dead"), (413, "dead")]
)
def test_answers_of_the_other_side(status: int, outcome: str) -> None:
    with hook(status) as (url, got):
        channel = WebhookChannel("hook", WebhookSettings(url, "secret", 2.0), CLOCK)
        assert channel.send(LETTER).outcome == outcome
        channel.close()
    ((headers, body),) = got
    assert headers["Idempotency-Key"] == "m1"
    assert json.loads(body)["context"] == {"code": "X"}
    # Checked as a receiver would, by the standard library alone.
    seconds, given = (part.split("=")[1] for part in headers["Footfall-Signature"].split(","))
    expected = hmac.new(b"secret", seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(given, expected)
    assert int(seconds) == int(CLOCK.now().timestamp())


@pytest.mark.parametrize("status", [301, 401, 402, 403, 404, 405, 410])  # RFC 9110: not of the content
def test_a_webhook_that_takes_nothing_is_away_and_no_letter_dies(status: int) -> None:
    with hook(status) as (url, _):
        channel = WebhookChannel("hook", WebhookSettings(url, "secret", 2.0), CLOCK)
        receipt = channel.send(LETTER)
        channel.close()
    assert (receipt.outcome, receipt.away, receipt.suppress) == ("retry", True, False)


def test_no_answer_is_tried_again() -> None:
    with hook(200, wait_s=0.6) as (url, _):
        assert WebhookChannel("hook", WebhookSettings(url, "s", 0.2), CLOCK).send(LETTER).outcome == "retry"
    assert WebhookChannel("hook", WebhookSettings(url, "s", 0.2), CLOCK).send(LETTER).outcome == "retry"


def test_an_answer_that_trickles_is_not_waited_for() -> None:
    """Every byte comes within the limit, the whole does not: 40 bytes at 20 a second, against 0.3 s."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            line, _ = server.accept()
            with line, suppress(OSError):
                line.recv(65536)
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".ljust(40, b"\r"):
                    line.sendall(bytes([byte]))
                    time.sleep(0.05)

        threading.Thread(target=trickle, daemon=True).start()
        url, began = f"http://127.0.0.1:{server.getsockname()[1]}/", time.monotonic()
        channel = WebhookChannel("hook", WebhookSettings(url, "s", 0.3), CLOCK)
        receipt = channel.send(LETTER)
        assert (receipt.outcome, receipt.away) == ("retry", True)
        assert time.monotonic() - began < 1.5
        channel.close()


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ConfigError, match="no http"):
        WebhookChannel("hook", WebhookSettings("ftp://x", "s", 1.0), CLOCK)
    with pytest.raises(ConfigError, match="no secret"):
        WebhookChannel("hook", WebhookSettings("https://x.example", "", 1.0), CLOCK)
    with pytest.raises(ConfigError) as error:
        RobotChannel("robot", "nonsense://secret-token")
    assert "secret-token" not in str(error.value)


def test_a_robot_posts_and_tells_when_it_is_not_sure() -> None:
    with hook(200) as (url, got):
        robot = RobotChannel("robot", url.replace("http://", "json://"))
        assert robot.send(LETTER).outcome == "sent"
        assert json.loads(got[0][1])["message"] == "text"
    with hook(500) as (url, _):
        assert RobotChannel("robot", url.replace("http://", "json://")).send(LETTER).outcome == "unknown"


def test_a_letter_as_a_file(tmp_path: Path) -> None:
    channel = FileChannel("print", tmp_path / "letters")
    for _ in range(2):
        assert channel.send(LETTER).outcome == "sent"
    (path,) = (tmp_path / "letters").iterdir()
    assert json.loads(path.read_text())["subject"] == "Hello"
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert FileChannel("print", blocked / "letters").send(LETTER).outcome == "retry"


def test_the_check_in_the_guide_takes_ours_and_no_other() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "retain.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    known: dict[str, Any] = {}
    exec(compile(block, "docs/retain.md", "exec"), known)
    with hook(200) as (url, got):
        channel = WebhookChannel("hook", WebhookSettings(url, "secret", 2.0), CLOCK)
        channel.send(LETTER)
        channel.close()
    ((headers, body),) = got
    told, now = headers["Footfall-Signature"], CLOCK.now().timestamp()
    assert known["is_ours"](b"secret", told, body, now)
    assert not known["is_ours"](b"secret", told, body + b" ", now)
    assert not known["is_ours"](b"other", told, body, now)
    assert not known["is_ours"](b"secret", told, body, now + 600)
