"""The worker's protocol over sockets: what one connection may hold, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from talking import DECIDE, Worker, answers, chunked, request, send_on, started

from footfall.app.http.turns import PIECE_BYTES, _Flow
from footfall.app.http.wire import Wire

SHORTEST = 18  # bytes of a request: GET / HTTP/1.1 and its ends of lines
READ = 256 << 10  # bytes that asyncio reads at once


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    yield from started(tmp_path_factory.mktemp("bounds"))


def connected(worker: Worker, receive_bytes: int = 0) -> tuple[socket.socket, Any]:
    """A connection of a client, and the protocol that has it. receive_bytes: that may wait with the client; 0 = any."""
    before = set(worker.server.server_state.connections)
    there = socket.socket()
    if receive_bytes:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    there.settimeout(20)
    there.connect(("127.0.0.1", worker.port))
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = set(worker.server.server_state.connections) - before
        if found:
            return there, found.pop()
        time.sleep(0.01)
    raise AssertionError("nobody took the connection")


def most_while_sending(there: socket.socket, sent: bytes, seconds: float, what: Any) -> int:
    """The most that ``what()`` was while a client sent and never read."""
    sender = threading.Thread(target=send_on, args=(there, sent, seconds))
    sender.start()
    most = 0
    while sender.is_alive():
        most = max(most, what())
        time.sleep(0.001)
    return most


def test_connect_is_a_method_as_others_are(worker: Worker) -> None:
    """httptools takes it for an upgrade, though it names none; an address that knows GET alone answers 405."""
    found = worker.say(b"CONNECT /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert [answer.status for answer in found] == [405]


def test_answers_that_nobody_reads_are_not_made(worker: Worker) -> None:
    """Hot ones, too: what is written and not taken stays within asyncio's high water, 64 KB, and a piece's answers."""
    there, protocol = connected(worker, 4096)
    protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with there:
        sent = request("/v1/decide", b"[]") * 400
        most = most_while_sending(there, sent, 2.0, lambda: protocol.transport.get_write_buffer_size())
    assert 64 << 10 < most < 512 << 10


@pytest.mark.parametrize(
    "sent",
    [
        chunked("/v1/offers/redeem", b"{}").replace(b"Connection: close\r\n", b""),  # a body is read by ASGI
        request("/v1/decide", b"[]"),  # answered at once
    ],
    ids=["by ASGI", "hot"],
)
def test_what_has_arrived_is_read_before_more_is(worker: Worker, sent: bytes) -> None:
    """Who reads a body has the protocol read on; not where requests wait behind it, nor where bytes do."""
    there, protocol = connected(worker)
    with there:
        reader = threading.Thread(target=_read_all, args=(there.dup(),))
        reader.start()
        most = most_while_sending(there, sent * 4000, 2.0, lambda: len(protocol.flow.held))
        there.shutdown(socket.SHUT_RDWR)
        reader.join(10)
    assert 0 < most <= READ


@pytest.mark.parametrize(("held", "waiting", "reads"), [(b"", 0, True), (b"x", 0, False), (b"", 1, False)])
def test_reading_goes_on_where_nothing_waits(held: bytes, waiting: int, reads: bool) -> None:
    """Of uvloop, which reads between two calls of its loop, what sockets of the loop above do not show."""
    told = []

    class Transport(asyncio.Transport):
        def pause_reading(self) -> None:
            told.append("pause")

        def resume_reading(self) -> None:
            told.append("resume")

    flow = _Flow(Transport(), [None] * waiting)
    flow.held = held
    flow.pause_reading()
    flow.resume_reading()
    assert told == (["pause", "resume"] if reads else ["pause"])


def _read_all(there: socket.socket) -> None:
    with there, contextlib.suppress(OSError):
        there.settimeout(20)
        while there.recv(1 << 16):
            pass


def test_a_connection_beyond_the_most_is_told_so_at_a_hot_address(worker: Worker) -> None:
    there, protocol = connected(worker)
    with there:
        protocol.limit_concurrency = 1
        there.sendall(request("/v1/decide", DECIDE, "Connection: close"))
        assert [answer.status for answer in answers(there)] == [503]
    assert worker.ask("/v1/decide", DECIDE).status == 200


def test_requests_behind_a_long_body_wait_as_bytes(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body may be parsed in one piece, and what comes after it may not."""
    parse, waiting = Wire.parse, [0]

    def watched(self: Wire, piece: bytes | memoryview) -> None:
        parse(self, piece)
        waiting.append(len(self.pipeline))

    monkeypatch.setattr(Wire, "parse", watched)
    there, _ = connected(worker)
    with there:
        there.sendall(request("/v1/decide", DECIDE + b" " * 60_000))
        assert there.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        there.sendall(b"GET / HTTP/1.1\r\n\r\n" * 3000)
        assert [answer.status for answer in answers(there)] == [404] * 3000
    assert 0 < max(waiting) <= PIECE_BYTES / SHORTEST


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("/v1/events", b"{}\n" * 10_001), 413),  # more events than a request may have, all of them here
        (request("/v1/decide", DECIDE, "Connection: close"), 200),
        (request("/v1/decide", DECIDE).replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
    ],
    ids=["refused", "asked for", "HTTP/1.0"],
)
def test_an_answer_that_says_so_is_the_last_one(worker: Worker, sent: bytes, status: int) -> None:
    for more in (b"", request("/v1/decide", DECIDE)):
        with worker.connect() as there:
            begun = time.monotonic()
            there.sendall(sent + more)
            told = b""
            while part := there.recv(1 << 16):
                told += part
            assert told.startswith(b"HTTP/1.1 %d " % status) and told.count(b"HTTP/1.1") == 1
            assert told.lower().count(b"\r\nconnection: close\r\n") == 1
            assert time.monotonic() - begun < 1.5
