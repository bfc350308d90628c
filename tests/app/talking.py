"""A worker's server in a thread, and a client that says bytes to it over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from serving import simple_plan

from footfall import make_workspace
from footfall.app import logs
from footfall.app.build import Workspace
from footfall.app.http.app import Application
from footfall.app.http.making import make_context
from footfall.app.http.server import Spec
from footfall.app.http.worker import configured

SETTINGS = {
    "serve": {
        "cors_origins": ("https://shop.example",), "max_body_kb": 64, "max_unpacked_kb": 128, "header_timeout_s": 0.6,
        "body_timeout_s": 0.6, "rate_per_key": 10.0,
    },
    "collect": {"past_days": 36500},  # events below have a time of their own
}  # fmt: skip
EVENT = b'{"ts":"2026-11-20T08:00:00Z","name":"page_view","visitor_id":"v","provider_id":"shop-a"}'
DECIDE = b'{"segment":{"channel":"email"},"candidates":["shop-a","shop-b"]}'


class Worker:
    """A worker's server in a thread, to be talked to by sockets."""

    def __init__(self, here: Workspace) -> None:
        self.here = here
        self.ended: dict[str, float] = {}
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening, ready)), daemon=True)
        self._thread.start()
        assert ready.wait(20)

    async def _serve(self, listening: socket.socket, ready: threading.Event) -> None:
        settings = self.here.config.serve
        spec = Spec(
            directory=str(self.here.directory), settings=settings, index=0, rows=1, alive=-1, board=-1, ready=-1
        )
        log = logs.set_up("test", "error")
        self.context = await make_context(self.here, spec, log)
        self.server = uvicorn.Server(configured(Application(self.context, log), settings))
        self.server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._loop = asyncio.get_running_loop()
        self._loop.call_later(0.05, ready.set)
        await self.server.serve([listening])
        await self.context.close()

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def say(self, *parts: bytes, pause_s: float = 0.02) -> list[Answer]:
        """Send parts, read all that comes."""
        with self.connect() as there:
            for part in parts:
                there.sendall(part)
                time.sleep(pause_s)
            return answers(there)

    def ask(self, path: str, body: bytes, *headers: str, method: str = "POST") -> Answer:
        (found,) = self.say(request(path, body, *headers, "Connection: close", method=method))
        return found


class Answer:
    """One answer of a connection."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answers(there: socket.socket) -> list[Answer]:
    """All answers until the other side closes the connection or says nothing for long."""
    data = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        there.settimeout(15.0)
        while more := there.recv(1 << 16):
            data += more
            there.settimeout(15.0 if not _whole(data) else 1.0)
    return _parsed(data)


def _parsed(data: bytes) -> list[Answer]:
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(headers.get("content-length", "0"))
        if first.split()[1] != "100":
            found.append(Answer(int(first.split()[1]), headers, data[:size]))
        data = data[size:]
    return found


def _whole(data: bytes) -> bool:
    try:
        return data.endswith(_parsed(data)[-1].body)
    except (IndexError, ValueError):
        return False


def request(path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(path: str, *chunks: bytes, headers: tuple[str, ...] = ()) -> bytes:
    """The same as uvicorn and ASGI get it: no length is announced."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", "Connection: close", *headers]
    sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + sent + b"0\r\n\r\n"


def started(folder: Path) -> Iterator[Worker]:
    """A worker of a new workspace in ``folder``, all of whose collect and decide is hot; ended afterwards."""
    here = make_workspace(folder / "shop", SETTINGS)
    here.state.save_plan(simple_plan({"shop-a": 0.25, "shop-b": 0.75}))
    found = Worker(here)
    assert found.ask("/v1/events", EVENT).status == 200  # the state is asked for keys, so that all below is hot
    yield found
    found.close()


def memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def send_on(there: socket.socket, sent: bytes, within_s: float) -> bool:
    """Send the same again and again, never reading; whether the other side put an end to it."""
    there.settimeout(0.05)
    until = time.monotonic() + within_s
    rest = b""
    while time.monotonic() < until:
        rest = rest or sent
        try:
            rest = rest[there.send(rest) :]
        except TimeoutError:
            continue
        except OSError:
            return True
    return False
