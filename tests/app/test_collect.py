"""The handlers of collect as a client sees them, by ASGI and over loopback with Segment's own client."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from footfall.app.http.collect import Collector, metric_reason
from footfall.app.http.commit import GroupCommit
from footfall.app.http.hot import over_asgi
from footfall.app.http.problems import Problem, answer
from footfall.config import CollectSettings, Config, ServeSettings, SourceSettings
from footfall.errors import StorageError
from footfall.model import Sticky
from footfall.ports import Inbox, InboxKind, Packed
from footfall.record.drained import drain
from footfall.record.faults import _REASONS
from footfall.record.quarantine import rejects
from footfall.stores.engine import DuckEngine
from footfall.stores.inbox import SqliteInbox
from footfall.stores.lake import Lake
from footfall.testing import FixedClock

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
KEY = "write-key"


class Service:
    """Handlers on an inbox, as an ASGI application."""

    def __init__(self, inbox: Inbox, config: Config | None = None) -> None:
        self.inbox = inbox
        self.config = config or Config()
        self.commit = GroupCommit(inbox)
        self.told: list[tuple[int, Mapping[str, int]]] = []
        self.addresses = Collector(self.config, FixedClock(NOW), lambda a, r: self.told.append((a, r))).addresses()

    async def check(self, scope: Any) -> str:
        headers = dict(scope["headers"])
        if headers.get(b"authorization", b"") == httpx.BasicAuth(KEY, "")._auth_header.encode():
            return "web"
        if b"x-anyone" in headers:
            return ""
        raise Problem(401, "key-needed", "a key")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        try:
            await over_asgi(self.addresses[scope["path"]], self.commit, self.check, scope, receive, send)
        except Problem as problem:
            await answer(send, problem)

    def post(self, path: str, content: bytes | str | Any, **headers: str) -> httpx.Response:
        """One request in this process."""
        body = content if isinstance(content, (bytes, str)) else json.dumps(content)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self)
            key = None if {"x-anyone", "x-keyless"} & set(headers) else (KEY, "")
            async with httpx.AsyncClient(transport=transport, base_url="http://here", auth=key) as client:
                return await client.post(path, content=body, headers=headers)

        # The way to the disk belongs to one event loop; each of these requests brings its own.
        self.commit._loop = None
        return asyncio.run(ask())

    def lines(self, kind: str = "event") -> list[dict[str, Any]]:
        return [json.loads(x) for _, k, body in self.inbox.read(0, 1 << 30) if k == kind for x in body.splitlines()]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    inbox = SqliteInbox(tmp_path / "inbox.db")
    found = Service(inbox)
    yield found
    found.commit.close()
    inbox.close()


def call(number: int, **fields: Any) -> dict[str, Any]:
    plain = {"type": "track", "event": "Product Viewed", "messageId": f"m{number}", "anonymousId": "a"}
    return {**plain, "timestamp": "2024-05-01T10:00:00Z", "properties": {"shop_id": "s"}, **fields}


@pytest.mark.parametrize("kind", ["track", "page", "screen", "identify", "alias", "group"])
def test_every_call_is_on_the_disk_when_it_is_answered(service: Service, kind: str) -> None:
    found = service.post(f"/v1/{kind}", call(1, userId="u", previousId="a", groupId="g"))
    assert (found.status_code, found.json()) == (200, {"success": True, "accepted": 1, "rejected": 0})
    (line,) = service.lines()
    assert (line["message_id"], line["source"], line["received_at"]) == ("m1", "web", "2024-06-01T12:00:00Z")
    assert service.told == [(1, {})]


@pytest.mark.parametrize("kind", ["track", "page", "screen", "identify", "alias", "group"])
def test_a_browser_calls_by_one_letter_with_the_key_in_the_body(service: Service, kind: str) -> None:
    # As analytics.js 2 does: https://github.com/segmentio/analytics-next (fetch and batched dispatchers).
    body = json.dumps(call(1, userId="u", previousId="a", type=kind, writeKey=KEY))
    found = service.post(f"/v1/{kind[0]}", body, **{"content-type": "text/plain", "x-keyless": "1"})
    assert (found.status_code, found.json()["accepted"]) == (200, 1)
    (line,) = service.lines()
    assert (line["message_id"], line["source"]) == ("m1", "web") and KEY not in json.dumps(line)


def test_a_browsers_batch_brings_its_key_too(service: Service) -> None:
    sent = {"writeKey": KEY, "batch": [call(1), call(2)]}
    for body in (json.dumps(sent).encode(), b"\xef\xbb\xbf" + json.dumps(sent).encode()):
        found = service.post("/v1/b", body, **{"x-keyless": "1"})
        assert (found.status_code, found.json()["accepted"]) == (200, 2)


@pytest.mark.parametrize(
    "body", ["{", "[]", '{"writeKey": 5}', '{"writeKey": ""}', "{}", '{"writeKey": "%s"}' % ("x" * 500)]
)
def test_without_a_key_in_header_or_body_nothing_is_taken(service: Service, body: str) -> None:
    assert service.post("/v1/t", body, **{"x-keyless": "1"}).status_code == 401
    assert service.post("/v1/events", body, **{"x-keyless": "1"}).status_code == 401


def test_a_body_of_somebody_unknown_is_read_up_to_half_a_megabyte(service: Service) -> None:
    body = json.dumps({"writeKey": KEY, "batch": [call(1, properties={"x": "y" * (512 << 10)})]})
    assert service.post("/v1/b", body, **{"x-keyless": "1"}).status_code == 413
    assert service.post("/v1/b", body).status_code == 200


def test_what_is_kept_aside_is_counted_with_its_reasons(service: Service) -> None:
    calls = [call(1), call(2, event="Button Pressed"), call(3, properties={}), call(4, timestamp="soon"), 5, call(6)]
    found = service.post("/v1/batch", {"batch": calls}).json()
    assert (found["success"], found["accepted"], found["rejected"]) == (True, 2, 4)
    assert sum(found["reasons"].values()) == 4
    assert found["reasons"]["provider_id: this event needs a provider_id"] == 1
    assert [line["message_id"] for line in service.lines()] == ["m1", "m6"]
    assert len(service.lines("reject")) == 4
    assert service.told == [(2, {"name": 1, "field": 1, "time": 1, "json": 1})]


def test_canonical_lines(service: Service) -> None:
    line = {"message_id": "c", "ts": "2024-05-01T10:00:00Z", "name": "visit", "visitor_id": "v", "provider_id": "p"}
    found = service.post("/v1/events", json.dumps(line) + "\n\nbroken\n", **{"x-anyone": "1"})
    assert (found.json()["accepted"], found.json()["rejected"]) == (1, 1)
    assert service.lines()[0]["message_id"] == "c"


def test_gzip_and_its_bounds(tmp_path: Path) -> None:
    inbox = SqliteInbox(tmp_path / "inbox.db")
    service = Service(inbox, Config(serve=ServeSettings(max_body_kb=4, max_unpacked_kb=16)))
    body = json.dumps({"batch": [call(1)]}).encode()
    packed = {"content-encoding": "gzip"}
    assert service.post("/v1/batch", gzip.compress(body), **packed).json()["accepted"] == 1
    assert service.post("/v1/batch", gzip.compress(b" " * (17 << 10)), **packed).status_code == 413
    assert service.post("/v1/batch", gzip.compress(b" " * (50 << 20)), **packed).status_code == 413
    assert service.post("/v1/batch", b"x" * 5000).status_code == 413
    assert service.post("/v1/batch", gzip.compress(body)[:-9], **packed).status_code == 400
    assert service.post("/v1/batch", body, **packed).status_code == 400
    assert service.post("/v1/batch", body, **{"content-encoding": "br"}).status_code == 415
    service.commit.close()
    inbox.close()


@pytest.mark.parametrize("body", [b"", b" \n ", b"{", b"[]", b"null", b"\x00", b"\xff\xfe{", b'{"batch": "x"}'])
def test_a_body_that_cannot_be_read_is_refused_in_words(service: Service, body: bytes) -> None:
    for path in ("/v1/batch", "/v1/track"):
        found = service.post(path, body)
        if path == "/v1/batch" or not body.startswith(b'{"batch'):
            assert found.status_code == 400
            assert found.headers["content-type"] == "application/problem+json"
            assert found.json()["detail"]
    assert service.lines() == []


def test_other_methods_and_keys_are_refused(service: Service) -> None:
    async def ask(method: str, **options: Any) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=service), base_url="http://here") as client:
            return (await client.request(method, "/v1/track", **options)).status_code

    assert asyncio.run(ask("GET", auth=(KEY, ""))) == 405
    assert asyncio.run(ask("POST", content="{}")) == 401


def test_too_many_events_are_refused(tmp_path: Path) -> None:
    inbox = SqliteInbox(tmp_path / "inbox.db")
    service = Service(inbox, Config(serve=ServeSettings(max_batch=3)))
    assert service.post("/v1/batch", {"batch": [call(i) for i in range(4)]}).status_code == 413
    assert service.post("/v1/batch", {"batch": [call(i) for i in range(3)]}).json()["accepted"] == 3
    service.commit.close()
    inbox.close()


def test_an_empty_batch_is_nothing(service: Service) -> None:
    assert service.post("/v1/batch", {"batch": []}).json()["accepted"] == 0
    assert service.inbox.counts()["last"] == 0


def test_a_key_has_its_own_map(tmp_path: Path) -> None:
    inbox = SqliteInbox(tmp_path / "inbox.db")
    sources = {"web": SourceSettings(fixed={"provider_id": "own"}), "default": SourceSettings(events={"X": "visit"})}
    service = Service(inbox, Config(collect=CollectSettings(sources=sources)))
    service.post("/v1/page", call(1, properties={}))
    assert service.lines()[0]["provider_id"] == "own"
    service.post("/v1/track", call(2, event="X"), **{"x-anyone": "1"})
    assert (service.lines()[1]["name"], service.lines()[1]["source"]) == ("visit", "collect")
    service.commit.close()
    inbox.close()


def test_every_fault_has_a_place_at_the_metrics() -> None:
    known = {"json", "field", "time", "amount", "currency", "name", "size", "other"}
    assert {metric_reason(code) for code in _REASONS} <= known
    assert metric_reason("provider_id:long") == "size"


# ---------------------------------------------------------------- the way to the disk


class SlowInbox:
    """An inbox that counts its transactions, and fails when it is told to."""

    def __init__(self) -> None:
        self.rows: list[tuple[InboxKind, bytes]] = []
        self.transactions = 0
        self.fails: Callable[[], None] = lambda: None

    def pack(self, body: bytes) -> bytes:
        return body

    def append(self, rows: Sequence[tuple[InboxKind, bytes]], sticky: Sequence[Sticky] = ()) -> int:
        time.sleep(0.01)
        self.fails()
        self.transactions += 1
        self.rows += rows
        return len(self.rows)


def full() -> None:
    raise StorageError("the disk is full", "make room")


def test_those_who_wait_share_a_transaction() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox)  # type: ignore[arg-type]

    async def work() -> None:
        await asyncio.gather(*(commit.put([("event", b"%d\n" % i), ("reject", b"r\n")]) for i in range(500)))

    asyncio.run(work())
    commit.close()
    assert inbox.transactions < 20
    events = b"".join(body for kind, body in inbox.rows if kind == "event")
    assert events.split() == [b"%d" % i for i in range(500)]
    assert b"".join(body for kind, body in inbox.rows if kind == "reject") == b"r\n" * 500
    assert commit.waiting_bytes == 0


def test_rows_are_bounded_by_what_they_unpack_to() -> None:
    """The drain unpacks a row as a whole: a thousand small frames of large bodies must not become one row."""
    inbox = SlowInbox()
    inbox.pack = lambda body: Packed(body[:10])  # type: ignore[method-assign]
    commit = GroupCommit(inbox)  # type: ignore[arg-type]

    async def work() -> None:
        await asyncio.gather(*(commit.put([("calls", b"x" * (3 << 20))]) for _ in range(4)))

    asyncio.run(work())
    commit.close()
    assert [(kind, len(body), type(body)) for kind, body in inbox.rows] == [("calls", 10, Packed)] * 4


def test_a_full_disk_is_told_to_everyone_and_goes_by_itself() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox)  # type: ignore[arg-type]

    async def work() -> None:
        inbox.fails = full
        found = await asyncio.gather(*(commit.put([("event", b"x\n")]) for _ in range(50)), return_exceptions=True)
        assert all(isinstance(f, StorageError) and f.message == "the disk is full" for f in found)
        assert commit.failing
        inbox.fails = lambda: None
        await commit.put([("event", b"y\n")])
        assert not commit.failing

    asyncio.run(work())
    commit.close()
    assert inbox.rows == [("event", b"y\n")]


def test_an_unforeseen_error_leaves_nobody_waiting() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox)  # type: ignore[arg-type]

    def breaks() -> None:
        raise RuntimeError("?")

    async def work() -> None:
        inbox.fails = breaks
        with pytest.raises(StorageError, match="RuntimeError"):
            await asyncio.wait_for(commit.put([("event", b"x\n")]), 5)

    asyncio.run(work())
    commit.close()


def test_a_defect_in_one_answer_keeps_nobody_else_waiting() -> None:
    commit, told = GroupCommit(SlowInbox()), []  # type: ignore[arg-type]

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: told.append(what["exception"]))
        commit.submit([("event", b"x\n")], (), lambda _failure: 1 / 0)  # type: ignore[arg-type,return-value]
        await asyncio.wait_for(commit.put([("event", b"y\n")]), 5)

    asyncio.run(work())
    commit.close()
    assert [type(error) for error in told] == [ZeroDivisionError]


def test_what_may_wait_is_bounded() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox, most_bytes=1000)  # type: ignore[arg-type]

    async def work() -> None:
        puts = [commit.put([("event", b"x" * 300)]) for _ in range(10)]
        found = await asyncio.gather(*puts, return_exceptions=True)
        assert sum(isinstance(f, StorageError) for f in found) == 7
        await commit.put([("event", b"x" * 5000)])  # alone, whatever its size

    asyncio.run(work())
    commit.close()


def test_a_request_that_is_given_up_does_not_harm_the_others() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox)  # type: ignore[arg-type]

    async def work() -> None:
        first = asyncio.ensure_future(commit.put([("event", b"a\n")]))
        second = asyncio.ensure_future(commit.put([("event", b"b\n")]))
        await asyncio.sleep(0)
        first.cancel()
        await second

    asyncio.run(work())
    commit.close()
    assert b"".join(body for _, body in inbox.rows) == b"a\nb\n"


def test_closing_writes_what_waits_and_refuses_the_rest() -> None:
    inbox = SlowInbox()
    commit = GroupCommit(inbox)  # type: ignore[arg-type]

    async def work() -> None:
        waiting = [asyncio.ensure_future(commit.put([("event", b"%d\n" % i)])) for i in range(20)]
        await asyncio.sleep(0.005)
        await asyncio.to_thread(commit.close)
        await asyncio.gather(*waiting)
        with pytest.raises(StorageError, match="ending"):
            await commit.put([("event", b"late\n")])

    asyncio.run(work())
    assert len(b"".join(body for _, body in inbox.rows).split()) == 20


def test_503_while_the_disk_is_full(tmp_path: Path) -> None:
    inbox = SlowInbox()
    service = Service(inbox)  # type: ignore[arg-type]
    inbox.fails = full
    found = service.post("/v1/batch", {"batch": [call(1)]})
    assert found.status_code == 503
    assert found.headers["retry-after"]
    assert service.told == []
    inbox.fails = lambda: None
    assert service.post("/v1/batch", {"batch": [call(1)]}).status_code == 200
    service.commit.close()


# ---------------------------------------------------------------- Segment's client


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    """The service on a free port of loopback."""
    import uvicorn

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(service, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("packed", [False, True])
def test_segments_client_with_only_its_host_changed(
    service: Service, address: str, packed: bool, tmp_path: Path
) -> None:
    from segment.analytics.client import Client

    failed: list[Any] = []
    client = Client(KEY, host=address, gzip=packed, on_error=lambda error, items: failed.append(error))
    at = datetime.now(UTC) - timedelta(days=31)  # the client's clock is years ahead of the service's here
    for number in range(250):
        properties = {"shop_id": f"s{number % 3}", "product_id": number, "name": "中文"}
        client.track("u1", "Product Viewed", properties, timestamp=at, anonymous_id="device")
    client.track("u1", "Order Completed", {"shop_id": "s1", "order_id": "o", "revenue": 12.34, "currency": "USD"})
    client.track("u1", "Order Refunded", {"order_id": "o", "total": 2.34})
    client.track("u1", "Never Heard Of", {"x": 1})
    client.page("u1", "Shop", "Home", {"shop_id": "s1"})
    client.screen("u1", "App", "Start", {"shop_id": "s1"})
    client.identify("u1", {"plan": "pro"}, {"campaign": {"name": "spring", "medium": "email"}})
    client.group("u1", "g1", {"size": 3})
    client.alias("device-2", "u1")
    client.shutdown()
    assert failed == []
    engine, lake = DuckEngine(256, 2, tmp_path / "tmp"), Lake(tmp_path / "lake" / "events")
    moved = drain(
        service.inbox, lake, None, engine, service.config, FixedClock(NOW), quarantine_dir=tmp_path / "quarantine"
    )
    assert (moved.events, moved.rejected, moved.duplicates) == (257, 1, 0)
    lake.attach(engine)
    counted = engine.query("SELECT name, count(*) AS n FROM events GROUP BY name ORDER BY name").to_pylist()
    assert {row["name"]: row["n"] for row in counted} == {
        "view_item": 250, "purchase": 1, "refund": 1, "page_view": 1, "screen_view": 1, "identify": 1, "group": 1,
        "alias": 1,
    }  # fmt: skip
    money = engine.query("SELECT name, amount_minor FROM events WHERE order_id = 'o' ORDER BY name").to_pylist()
    assert money == [{"name": "purchase", "amount_minor": 1234}, {"name": "refund", "amount_minor": 234}]
    found = engine.query("SELECT DISTINCT channel, campaign, source FROM events WHERE name = 'identify'").to_pylist()
    assert found == [{"channel": "email", "campaign": "spring", "source": "web"}]
    (kept,) = rejects(tmp_path / "quarantine")
    assert "Never Heard Of" in kept.reason
    engine.close()
