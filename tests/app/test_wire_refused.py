"""The worker's protocol over sockets: what is not asked as HTTP has it is bounded, and refused in its turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from talking import DECIDE, EVENT, Worker, answers, chunked, memory_mb, started

OPEN = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    yield from started(tmp_path_factory.mktemp("refused"))


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"0\r\n", b"a: b\r\n" * 10_000),
        (b"0\r\na: ", b"b" * 60_000),
        (b"0\r\n", b"b" * 60_000),
        (b"1;a=", b"b" * 60_000),
        (b"%x\r\n%b\r\n0\r\n" % (len(EVENT), EVENT), b"a: b\r\n" * 10_000),
    ],
    ids=["many trailers", "a trailer's value", "a trailer's name", "an extension", "trailers after a body"],
)
def test_what_comes_beside_a_body_is_bounded_as_headers_are(worker: Worker, begun: bytes, more: bytes) -> None:
    """Trailers took twenty times their size, and one long one held the event loop for seconds."""
    before = memory_mb()
    with worker.connect() as there:
        there.sendall(OPEN + begun)
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 40_000_000:
                sent += there.send(more)
        assert sent < 10_000_000  # what sockets hold, and no more
    assert memory_mb() - before < 30
    with worker.connect() as there:
        there.sendall(OPEN + begun + more[:40_000])
        (found,) = answers(there)
        assert (found.status, found.headers["connection"]) == (400, "close")
    assert worker.ask("/v1/decide", DECIDE).status == 200


def test_trailers_within_the_bound_are_let_be(worker: Worker) -> None:
    whole = chunked("/v1/events", EVENT[:9], EVENT[9:])[:-2]
    for trailers in (b"Digest: a\r\n", b"a: b\r\n" * 4000, b"a: " + b"b" * 30_000 + b"\r\n"):
        (found,) = worker.say(whole + trailers + b"\r\n")
        assert (found.status, found.json["accepted"]) == (200, 1)
    lines = (EVENT + b"\n") * 100
    many = chunked("/v1/events", *(bytes([byte]) for byte in lines))
    assert len(many) - len(lines) > 36_000  # between the parts of a body the count begins anew
    (found,) = worker.say(many)
    assert (found.status, found.json["accepted"]) == (200, 100)


def test_trailers_are_no_headers(worker: Worker) -> None:
    """RFC 9110, 6.5.1. Last: once a key was made, nobody comes in without one."""
    whole = chunked("/v1/events", EVENT)[:-2]
    for trailer in (b"Content-Encoding: gzip", b"Origin: https://evil.example"):
        assert [answer.status for answer in worker.say(whole + trailer + b"\r\n\r\n")] == [200]
    _, text = worker.here.keys.create(["collect"], "web", datetime.now(UTC))
    worker.context.keys._open = None
    sent = f"Authorization: Bearer {text}"
    assert worker.say(chunked("/v1/events", EVENT, headers=(sent,)))[0].status == 200
    assert worker.say(whole + sent.encode() + b"\r\n\r\n")[0].status == 401
    with worker.connect() as there:  # nor of the request that comes next
        there.sendall(whole.replace(b"Connection: close\r\n", b"") + sent.encode() + b"\r\n\r\n")
        there.sendall(chunked("/v1/events", EVENT))
        assert [answer.status for answer in answers(there)] == [401, 401]
