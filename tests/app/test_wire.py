"""The worker's protocol over sockets: hot addresses answer as ASGI does, and hostile or clumsy clients are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
import time
from asyncio.selector_events import _SelectorSocketTransport
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from talking import DECIDE, EVENT, Worker, answers, chunked, memory_mb, request, send_on, started

from footfall.app.http.problems import Problem
from footfall.app.http.turns import PIECE_BYTES
from footfall.errors import StorageError

BOM = b"\xef\xbb\xbf"  # RFC 8259, 8.1: parsers may ignore it


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    yield from started(tmp_path_factory.mktemp("wire"))


def requests_of(worker: Worker, route: str) -> float:
    metrics = worker.context.metrics
    return sum(metrics.value("footfall_requests", f"{route},{outcome}") for outcome in ("2xx", "4xx", "5xx"))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/events", EVENT, 200),
        ("/v1/events", EVENT + b"\n" + b'{"name":"page_view"}', 200),
        ("/v1/track", b'{"event":"Product Viewed","anonymousId":"a","properties":{"shop_id":"s"}}', 200),
        ("/v1/batch", b'{"batch":[{"type":"track","event":"Nothing","anonymousId":"a"}]}', 200),
        ("/v1/batch", b"[]", 400),
        ("/v1/events", b" \n", 400),
        ("/v1/events", b"", 400),
        ("/v1/events", BOM + EVENT, 200),
        ("/v1/track", BOM + b'{"event":"Product Viewed","anonymousId":"a","properties":{"shop_id":"s"}}', 200),
        ("/v1/batch", BOM + b'{"batch":[{"type":"track","event":"Nothing","anonymousId":"a"}]}', 200),
        ("/v1/decide", BOM + DECIDE, 200),
        ("/v1/events", BOM, 400),
        ("/v1/batch", BOM + BOM + b"{}", 400),
        ("/v1/decide", DECIDE, 200),
        ("/v1/decide", b'{"candidates":["a","a"]}', 400),
        ("/v1/decide", b'{"slots":99}', 400),
        ("/v1/decide", b"", 400),
        ("/v1/decide", b'{"context":' + b"[" * 40 + b"]" * 40 + b"}", 400),
        ("/v1/track", b'{"a":' + b" " * (64 << 10) + b"1}", 413),
    ],
)
def test_a_hot_request_is_answered_as_by_asgi(worker: Worker, path: str, body: bytes, status: int) -> None:
    route = "decide" if path == "/v1/decide" else "events" if path == "/v1/events" else "collect"
    before = requests_of(worker, route)
    hot, slow = worker.ask(path, body), worker.say(chunked(path, *([body] if body else [])))[0]
    assert hot.status == slow.status == status
    assert hot.headers.keys() == slow.headers.keys()
    assert hot.json.keys() == slow.json.keys()
    if "decision_id" not in hot.json:
        assert hot.json == slow.json
    assert requests_of(worker, route) == before + 2


def test_connections_are_kept_and_pipelined_requests_answered_in_order(worker: Worker) -> None:
    """Collect (hot), a page (ASGI), a decision, a broken one: sent at once, answered one after the other."""
    line = request("/healthz", b"", method="GET")
    sent = request("/v1/events", EVENT) + line + request("/v1/decide", DECIDE) + request("/v1/decide", b"[]") + line
    found = worker.say(sent)
    assert [answer.status for answer in found] == [200, 200, 200, 400, 200]
    assert "accepted" in found[0].json and "decision_id" in found[2].json
    with worker.connect() as there:
        for _ in range(3):
            there.sendall(request("/v1/decide", DECIDE))
            assert b"decision_id" in there.recv(1 << 16)


def test_a_body_may_come_in_parts(worker: Worker) -> None:
    whole = request("/v1/events", EVENT)
    (found,) = worker.say(whole[:20], whole[20:-40], whole[-40:-1], whole[-1:])
    assert found.json["accepted"] == 1
    (found,) = worker.say(chunked("/v1/events", EVENT[:10], EVENT[10:]))
    assert found.json["accepted"] == 1


def test_expect_continue(worker: Worker) -> None:
    head, _, body = request("/v1/events", EVENT, "Expect: 100-continue", "Connection: close").partition(b"\r\n\r\n")
    with worker.connect() as there:
        there.sendall(head + b"\r\n\r\n")
        assert there.recv(100).startswith(b"HTTP/1.1 100 ")
        there.sendall(body)
        assert answers(there)[0].json["accepted"] == 1


@pytest.mark.parametrize("path", ["/v1/events", "/v1/decide", "/v1/batch"])
def test_other_methods_queries_and_versions(worker: Worker, path: str) -> None:
    assert worker.ask(path, b"", method="GET").status == 405
    (head,) = worker.say(request(path, b"", "Connection: close", method="HEAD"))
    assert head.status == 405
    options = worker.ask(path, b"", "Origin: https://shop.example", method="OPTIONS")
    assert options.status == 204 and options.headers["access-control-allow-methods"]
    assert worker.ask(f"{path}?a=1", DECIDE if path == "/v1/decide" else EVENT).status in (200, 400)
    old = request(path, b"{}").replace(b"HTTP/1.1", b"HTTP/1.0")
    with worker.connect() as there:
        there.sendall(old)
        (found,) = answers(there)
        assert found.headers["connection"] == "close"


def test_pages_of_listed_origins_may_read_the_answer(worker: Worker) -> None:
    found = worker.ask("/v1/decide", DECIDE, "Origin: https://shop.example")
    assert found.headers["access-control-allow-origin"] == "https://shop.example"
    found = worker.ask("/v1/decide", b"[]", "Origin: https://shop.example")
    assert (found.status, found.headers["access-control-allow-origin"]) == (400, "https://shop.example")
    assert worker.ask("/v1/decide", DECIDE, "Origin: https://evil.example").status == 403


def test_gzip_and_bombs(worker: Worker) -> None:
    packed = gzip.compress(EVENT)
    assert worker.ask("/v1/events", packed, "Content-Encoding: gzip").json["accepted"] == 1
    assert worker.ask("/v1/events", packed[:-5], "Content-Encoding: gzip").status == 400
    assert worker.ask("/v1/events", packed, "Content-Encoding: br").status == 415
    bomb = gzip.compress(bytes(40_000_000), 9)[: 60 << 10]
    assert worker.ask("/v1/events", bomb, "Content-Encoding: gzip").status == 413


def test_slow_clients_are_cut_off(worker: Worker) -> None:
    """Headers that dribble, a body that dribbles, a body that never comes: each ends within its time, and is told."""
    begun = time.monotonic()
    with worker.connect() as there:
        with contextlib.suppress(OSError):
            for byte in b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 60:
                there.sendall(bytes([byte]))
                time.sleep(0.05)
        assert answers(there) == []
    whole = request("/v1/decide", DECIDE)
    with worker.connect() as there:
        there.sendall(whole[:-30])
        with contextlib.suppress(OSError):
            for byte in whole[-30:]:
                there.sendall(bytes([byte]))
                time.sleep(0.05)
        (found,) = answers(there)
        assert (found.status, found.headers["connection"]) == (408, "close")
    with worker.connect() as there:
        there.sendall(whole[:-1])
        assert answers(there)[0].status == 408
    assert time.monotonic() - begun < 12
    assert worker.ask("/v1/decide", DECIDE).status == 200


DRIP = b"Host: localhost\r\nContent-Length: 100000\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n" + DRIP, b"200"),
        (b"GET /v1/events HTTP/1.1\r\n" + DRIP, b"405"),
        (b"POST /v1/track HTTP/1.1\r\nOrigin: https://evil.example\r\n" + DRIP, b"403"),
        (b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n", b"404"),
        (b"POST /nothing HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" + DRIP, b"404"),
    ],
)
def test_who_drips_a_body_after_the_answer_is_cut_off(worker: Worker, head: bytes, status: bytes) -> None:
    """An answer without the body ended all waiting for it: such connections stayed for as long as something came."""
    begun = time.monotonic()
    with worker.connect() as there:
        there.sendall(head + b"\r\n" + (b"186a0\r\n" if b"chunked" in head else b""))
        assert there.recv(1 << 16).split()[1] == status
        with pytest.raises(OSError):
            while time.monotonic() < begun + 5:
                there.sendall(b"x")
                time.sleep(0.05)
    assert time.monotonic() - begun < 2
    assert worker.ask("/v1/decide", DECIDE).status == 200


def test_a_body_that_comes_after_its_answer_harms_no_later_request(worker: Worker) -> None:
    with worker.connect() as there:
        there.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n1")
        assert there.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        there.sendall(b"2345")
        time.sleep(1.0)  # longer than a body may take
        there.sendall(request("/v1/decide", DECIDE, "Connection: close"))
        assert [answer.status for answer in answers(there)] == [200]


@pytest.mark.parametrize("wanted", ["h2c", "websocket"])
def test_an_upgrade_that_is_not_spoken_is_ignored(worker: Worker, wanted: str) -> None:
    """RFC 9110, 7.8. Java's HttpClient and `curl --http2` ask for h2c; their bodies were lost."""
    headers = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {wanted}", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    whole = request("/v1/decide", DECIDE, *headers)
    plain = request("/v1/decide", DECIDE, "Connection: close")
    chunked = request("/v1/events", b"", *headers).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)
    for parts in ((whole + plain,), (whole[:40], whole[40:], plain), (whole[:-5], whole[-5:] + chunked + plain)):
        told = worker.say(*parts)
        assert [answer.status for answer in told] == [200] * b"".join(parts).count(b"POST ")
        assert told[0].json["choices"] and told[-1].json["choices"]


def test_clients_that_go_away_harm_nobody(worker: Worker) -> None:
    before = requests_of(worker, "events")
    whole = request("/v1/events", EVENT)
    for cut in (len(whole) // 2, len(whole) - 1, len(whole)):  # within the headers or the body, or before the answer
        there = worker.connect()
        there.sendall(whole[:cut])
        there.close()
    until = time.monotonic() + 5
    while requests_of(worker, "events") < before + 2 and time.monotonic() < until:
        time.sleep(0.02)
    assert requests_of(worker, "events") >= before + 2
    assert worker.ask("/v1/events", EVENT).status == 200


@pytest.mark.parametrize(
    "sent", [request("/nothing", b"", method="GET"), request("/v1/decide", DECIDE), request("/v1/decide", b"[]")]
)
def test_requests_beyond_the_answers_wait_with_their_client(worker: Worker, sent: bytes) -> None:
    """Requests that waited as objects took 30 times their size, hundreds of MB within seconds."""
    before = memory_mb()
    senders = [
        threading.Thread(target=send_on, args=(there, sent * 4000, 2.0))
        for there in (worker.connect(), worker.connect())
    ]
    for sender in senders:
        sender.start()
    while any(sender.is_alive() for sender in senders):
        begun = time.monotonic()
        assert worker.ask("/v1/decide", DECIDE).status == 200
        assert time.monotonic() - begun < 5.0
        for protocol in worker.server.server_state.connections.copy():
            assert len(protocol.pipeline) <= PIECE_BYTES / 18  # GET / HTTP/1.1 and its ends of lines are 18 bytes
    assert memory_mb() - before < 60


def test_who_never_reads_is_cut_off_and_who_reads_slowly_is_not(worker: Worker) -> None:
    sent = request("/schema/openapi.json", b"", method="GET")
    size = len(worker.say(sent)[0].body)
    with worker.connect() as there:
        assert send_on(there, sent, 20.0)
    with worker.connect() as there:
        there.sendall(sent * 200)
        told, begun = 0, time.monotonic()
        while told < 200 * size:  # for several times what an answer may lie there unread
            got = len(there.recv(1 << 18))
            assert got
            told += got
            time.sleep(0.1 if time.monotonic() - begun < 3 else 0.0)
    assert worker.ask("/v1/decide", DECIDE).status == 200


def test_answers_of_who_is_gone_are_not_sent(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two requests that were sent ahead the first was answered into a closed connection, where uvloop raises."""
    ended, late = threading.Event(), []
    write = _SelectorSocketTransport.write

    def watched(self: _SelectorSocketTransport, data: bytes) -> None:
        if self.is_closing():
            late.append(data)
        write(self, data)

    async def slow(_: object) -> None:
        (waiting,) = (one for one in worker.server.server_state.connections if one.pipeline)
        waiting.transport.abort()  # as who never reads is cut off
        await asyncio.sleep(0.5)
        asyncio.get_running_loop().call_later(0.2, ended.set)
        raise Problem(404, "not-found", "nothing")

    monkeypatch.setattr(worker.context.reader, "ask", slow)
    monkeypatch.setattr(_SelectorSocketTransport, "write", watched)
    with worker.connect() as there:
        there.sendall(request("/v1/value", b"", method="GET") * 2)
        assert ended.wait(10)
    assert late == []


def test_what_waits_is_not_late(worker: Worker) -> None:
    """The rest of a request's headers may lie behind requests that take longer than headers may."""
    sent = request("/healthz", b"", method="GET") * 600
    cut = sent.find(b"Host", 2 * PIECE_BYTES) + 2
    found = worker.say(sent[:cut], sent[cut:])
    assert [answer.status for answer in found] == [200] * 600


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000,
    ],
)
def test_what_is_no_http_is_refused(worker: Worker, sent: bytes) -> None:
    found = worker.say(sent)
    assert not found or found[0].status == 400
    assert worker.ask("/v1/events", EVENT).status == 200


def test_a_full_disk_is_told_and_nothing_stays_reserved(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise StorageError("the disk is full", "make room")

    with monkeypatch.context() as patch:
        patch.setattr(worker.here.inbox, "append", full)
        found = worker.ask("/v1/decide", DECIDE)
        assert (found.status, found.json["detail"], found.headers["retry-after"]) == (503, "the disk is full", "1")
        assert worker.ask("/v1/events", EVENT).status == 503
    assert worker.ask("/v1/decide", DECIDE).status == 200


def test_a_defect_is_an_answer(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("?")

    with monkeypatch.context() as patch:
        patch.setattr(worker.context.live.decider, "decide", broken)
        found = worker.ask("/v1/decide", DECIDE)
        assert (found.status, found.json["type"]) == (500, "urn:footfall:problem:internal")
    assert worker.ask("/v1/decide", DECIDE).status == 200


def test_keys(worker: Worker) -> None:
    """Last: once a key was made, nobody comes in without one."""
    keys = worker.here.keys
    _, text = keys.create(["collect"], "web", datetime.now(UTC))
    worker.context.keys._open = None
    sent = f"Authorization: Bearer {text}"
    for _ in range(2):  # by the state, then by memory
        assert worker.ask("/v1/events", EVENT, sent).status == 200
        assert worker.ask("/v1/decide", DECIDE, sent).status == 403
        assert worker.ask("/v1/events", EVENT).status == 401
        assert worker.ask("/v1/events", EVENT, sent + "x").status == 401
    body = json.dumps({"event": "Product Viewed", "anonymousId": "a", "properties": {"shop_id": "s"}, "writeKey": text})
    assert worker.ask("/v1/track", body.encode()).json["accepted"] == 1
    statuses = [worker.ask("/v1/events", EVENT, sent).status for _ in range(60)]  # 10 a second, bursts of 20
    assert statuses[0] == 200 and 429 in statuses
    sources = [line["source"] for _, kind, body in worker.here.inbox.read(0, 1 << 24) if kind == "event"
               for line in map(json.loads, body.splitlines())]  # fmt: skip
    assert sources[-1] == "web"
