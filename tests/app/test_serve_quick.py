"""The application of a worker in this process: no sockets, no keeper; what it answers, refuses and writes."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import simple_plan

from footfall import make_workspace
from footfall.app import logs
from footfall.app.build import Workspace
from footfall.app.http.app import Application
from footfall.app.http.making import make_context
from footfall.app.http.server import Spec
from footfall.config import FILE_NAME
from footfall.errors import StorageError

SETTINGS = {
    "serve": {"cors_origins": ("https://shop.example",), "max_body_kb": 64, "max_unpacked_kb": 128},
    "live": {"sticky_s": 600.0},
    "collect": {"past_days": 36500},  # events below have a time of their own
}
SHARES = {"shop-a": 0.25, "shop-b": 0.75}


class Asked:
    """An application on an event loop of its own."""

    def __init__(self, here: Workspace) -> None:
        self.here = here
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        spec = Spec(
            directory=str(here.directory), settings=here.config.serve, index=0, rows=1, alive=-1, board=-1, ready=-1,
            config=(here.directory / FILE_NAME).read_text(encoding="utf-8"),
        )  # fmt: skip
        log = logs.set_up("test", "error")
        self.context = self.run(make_context(here, spec, log))
        self.app = Application(self.context, log)

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def __call__(self, method: str, path: str, body: Any = b"", **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                named = {name.replace("_", "-"): text for name, text in headers.items()}
                return await client.request(method, path, content=content, headers=named)

        answer: httpx.Response = self.run(ask())
        return answer

    def close(self) -> None:
        self.run(self.context.close())
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    here = make_workspace(tmp_path_factory.mktemp("quick") / "shop", SETTINGS)
    here.state.save_plan(simple_plan(SHARES))
    asked = Asked(here)
    yield asked
    asked.close()


EMAIL = {"segment": {"channel": "email"}, "candidates": ["shop-a", "shop-b"]}


def test_events_are_on_disk_before_the_answer(ask: Asked) -> None:
    line = b'{"ts":"2026-11-20T08:00:00Z","name":"page_view","visitor_id":"v","provider_id":"shop-a"}'
    told = ask("POST", "/v1/events", line + b"\n" + b'{"name":"page_view"}')
    assert told.status_code == 200
    assert (told.json()["accepted"], told.json()["rejected"]) == (1, 1)
    kinds = [kind for _, kind, _ in ask.here.inbox.read(0, 1 << 20)]
    assert "event" in kinds and "reject" in kinds
    call = {"type": "track", "event": "Product Viewed", "anonymousId": "a", "properties": {"provider_id": "shop-a"}}
    assert ask("POST", "/v1/track", call).json()["accepted"] == 1
    packed = gzip.compress(line)
    assert ask("POST", "/v1/events", packed, content_encoding="gzip").json()["accepted"] == 1


def test_a_decision_is_on_disk_before_the_answer(ask: Asked) -> None:
    told = ask("POST", "/v1/decide", {**EMAIL, "slots": 2}).json()
    logged = [json.loads(line) for _, kind, body in ask.here.inbox.read(0, 1 << 20) if kind == "decision"
              for line in body.splitlines()]  # fmt: skip
    (mine,) = [row for row in logged if row["message_id"] == told["decision_id"]]
    assert mine["choices"] == [choice["provider_id"] for choice in told["choices"]]
    assert mine["propensities"] == [choice["propensity"] for choice in told["choices"]]
    assert sum(mine["reserved"]) == 1_000_000


def test_propensities_are_the_plans(ask: Asked) -> None:
    """e = 5 %: 0.95 x 0.75 + 0.05 / 2 for shop-b, by hand."""
    expected = {"shop-a": 0.95 * 0.25 + 0.025, "shop-b": 0.95 * 0.75 + 0.025}
    for _ in range(20):
        (choice,) = ask("POST", "/v1/decide", EMAIL).json()["choices"]
        assert choice["propensity"] == pytest.approx(expected[choice["provider_id"]], abs=1e-12)


def test_sticky(ask: Asked) -> None:
    first = ask("POST", "/v1/decide", {**EMAIL, "visitor_id": "s"}).json()
    again = ask("POST", "/v1/decide", {**EMAIL, "visitor_id": "s"}).json()
    assert again["repeat_of"] == first["decision_id"] and again["choices"] == first["choices"]
    ask.here.inbox.forget(["s"])
    assert ask("POST", "/v1/decide", {**EMAIL, "visitor_id": "s"}).json()["repeat_of"] is None


@pytest.mark.parametrize("nobody", ["", None])
def test_who_has_no_id_is_nobody(ask: Asked, nobody: str | None) -> None:
    """As in events: all who came without an id were one visitor, and got one shop, beyond its capacity."""
    event = {"ts": "2026-11-20T08:00:00Z", "name": "page_view", "visitor_id": nobody, "provider_id": "shop-a"}
    assert ask("POST", "/v1/events", json.dumps(event).encode()).json()["rejected"] == 1
    told = [ask("POST", "/v1/decide", {**EMAIL, "visitor_id": nobody, "sticky_key": "k"}).json() for _ in range(40)]
    assert [answer["repeat_of"] for answer in told] == [None] * 40
    assert len({choice["provider_id"] for answer in told for choice in answer["choices"]}) == 2


def test_a_plan_published_during_the_day_brings_its_capacities(tmp_path: Path) -> None:
    """No keeper runs: the worker itself sees to it that the ledger and its leases are the new plan's."""
    here = make_workspace(tmp_path / "shop", SETTINGS)
    here.state.save_plan(simple_plan(SHARES))
    ask = Asked(here)
    body = {**EMAIL, "candidates": ["shop-a"]}
    for _ in range(3):
        assert ask("POST", "/v1/decide", body).json()["choices"]
    plan = simple_plan(SHARES)
    capped = tuple(replace(line, capacity=3.0 if line.provider_id == "shop-a" else line.capacity)
                   for line in plan.providers)  # fmt: skip
    here.state.save_plan(replace(plan, providers=capped))
    until = time.monotonic() + 20
    while ask("GET", "/readyz").json()["checks"]["plan_version"] != 2 and time.monotonic() < until:
        time.sleep(0.1)
    told = ask("POST", "/v1/decide", body).json()
    assert (told["plan_version"], told["choices"]) == (2, [])
    assert ask("POST", "/v1/decide", EMAIL).json()["choices"][0]["provider_id"] == "shop-b"
    ask.close()


class Shifted:
    """A clock that goes as the machine's, from ``start`` on."""

    def __init__(self, start: datetime) -> None:
        self._ahead = start - datetime.now(UTC)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead


def test_a_new_day_has_its_leases_at_once(tmp_path: Path) -> None:
    """Where leases are looked after every fifteen seconds: within five of midnight, however busy the machine is."""
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    settings = {**SETTINGS, "live": {"lease_interval_s": 15.0}}
    here = make_workspace(tmp_path / "shop", settings, clock=Shifted(midnight - timedelta(seconds=8)))
    here.state.save_plan(simple_plan(SHARES))
    ask = Asked(here)
    assert ask("POST", "/v1/decide", EMAIL).json()["choices"]
    assert here.clock.now() < midnight, "the machine was too busy for this test"
    time.sleep(max((midnight - here.clock.now()).total_seconds() + 0.5, 0))
    while not (told := ask("POST", "/v1/decide", EMAIL).json())["choices"]:
        assert here.clock.now() < midnight + timedelta(seconds=5), told["reason"]
        time.sleep(0.1)
    assert here.ledger.allowances(midnight.date())["shop-a"].leased > 0
    ask.close()


def test_what_cannot_be_logged_is_refused_and_given_back(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise StorageError("the disk is full", "make room")

    book = ask.context.live.decider.book  # type: ignore[union-attr]
    with monkeypatch.context() as patch:
        patch.setattr(ask.here.inbox, "append", full)
        before = book.parts.sum()
        told = ask("POST", "/v1/decide", EMAIL)
        assert told.status_code == 503 and told.json()["detail"] == "the disk is full"
        assert told.headers["retry-after"]
        assert book.parts.sum() >= before
        assert ask("POST", "/v1/events", b'{"name":"page_view"}').status_code == 503
        assert ask("GET", "/readyz").status_code == 503
    assert ask("POST", "/v1/decide", EMAIL).status_code == 200
    assert ask("GET", "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no question"),
        (b"[]", "no question"),
        (b'{"slots": 0}', "slots"),
        (b'{"slots": 51}', "slots"),
        (b'{"nothing": 1}', "nothing"),
        (b'{"candidates": ["a", "a"]}', "twice"),
        (b'{"segment": {"colour": "red"}}', "colour"),
        (b'{"context": ' + b"[" * 40 + b"]" * 40 + b"}", "nested"),
        (b'{"visitor_id": "\xff"}', "no question"),
        (b'{"candidates": ["a", "x\\u0000y"]}', "control"),  # PostgreSQL takes no NUL: the worker's leases would stop
        (b'{"visitor_id": "\\u001f"}', "control"),
        (b'{"segment": {"channel": "e\\u007f"}}', "control"),
    ],
)
def test_a_wrong_question_is_a_problem(ask: Asked, body: bytes, told: str) -> None:
    answer = ask("POST", "/v1/decide", body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400 and problem["title"] == "Bad Request" and told in problem["detail"]


def test_bounds_of_bodies(ask: Asked) -> None:
    assert ask("POST", "/v1/decide", b" " * (64 * 1024 + 1)).status_code == 413
    assert ask("POST", "/v1/events", gzip.compress(b" " * (129 * 1024)), content_encoding="gzip").status_code == 413
    assert ask("POST", "/v1/events", b"x", content_encoding="br").status_code == 415


def test_addresses_and_methods(ask: Asked) -> None:
    assert ask("GET", "/nothing").status_code == 404
    assert ask("GET", "/v1/decide").status_code == 405
    assert ask("POST", "/v1/plan").status_code == 405
    for path in ("/nothing", "/v1/decide", "/v1/track"):
        assert ask("GET", path).headers["content-type"] == "application/problem+json"


def test_cors_by_list(ask: Asked) -> None:
    told = ask("OPTIONS", "/v1/track", origin="https://shop.example")
    assert told.status_code == 204 and told.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in ask("OPTIONS", "/v1/track", origin="https://evil.example").headers
    assert ask("POST", "/v1/decide", EMAIL, origin="https://evil.example").status_code == 403
    taken = ask("POST", "/v1/decide", EMAIL, origin="https://shop.example")
    assert taken.status_code == 200 and taken.headers["access-control-allow-origin"] == "https://shop.example"


def test_health_and_metrics(ask: Asked) -> None:
    assert ask("GET", "/healthz").json()["status"] == "ok"
    ready = ask("GET", "/readyz")
    assert ready.status_code == 200 and ready.json()["checks"]["plan_version"] == 1
    ask.here.state.put("nightly", {"published": False, "reasons": ["its gap is wide"], "night": "2026-11-22"})
    assert ask("GET", "/readyz").json()["checks"]["nightly"]["reasons"] == ["its gap is wide"]
    shown = ask("GET", "/metrics")
    assert "footfall_plan_version 1.0" in shown.text
    # https://prometheus.io/docs/instrumenting/exposition_formats/, prometheus-client's CONTENT_TYPE_PLAIN_0_0_4
    assert shown.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_the_description_is_of_all_addresses(ask: Asked) -> None:
    told = ask("GET", "/schema/openapi.json").json()
    expected = {f"/v1/{name}" for name in ("track", "page", "screen", "identify", "alias", "group", "batch")}
    expected |= {"/v1/events", "/v1/decide", "/v1/value", "/v1/plan", "/v1/providers/{provider_id}/explain"}
    expected |= {"/v1/offers/redeem"}
    assert set(told["paths"]) == expected | {"/v1/decisions/{decision_id}", "/healthz", "/readyz", "/metrics"}
    page = ask("GET", "/schema")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http://" not in page.text and "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_request_that_is_given_up_is_told_to_come_again(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """As uvicorn does to what is under way when a worker has ended for GRACEFUL_S; it was 500, with a traceback."""
    begun = threading.Event()

    async def long(_: object) -> None:
        begun.set()
        await asyncio.sleep(60)

    async def given_up() -> httpx.Response:
        transport = httpx.ASGITransport(ask.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asking = asyncio.ensure_future(client.get("/v1/value"))
            await asyncio.to_thread(begun.wait, 20)
            asking.cancel()
            return await asking

    monkeypatch.setattr(ask.context.reader, "ask", long)
    answer = ask.run(given_up())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_number_is_described_once(ask: Asked) -> None:
    """JSON Schema 2020-12, 10.2.1.3: one alternative of oneOf holds, and an integer is a number."""

    def walk(part: Any) -> None:
        for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            walk(value)
        if isinstance(part, dict):
            kinds = {choice.get("type") for choice in part.get("oneOf", ())}
            assert not {"integer", "number"} <= kinds, part

    walk(ask("GET", "/schema/openapi.json").json())


def test_keys_are_asked_for_once_there_is_one(tmp_path: Path) -> None:
    here = make_workspace(tmp_path / "shop")
    _, collects = here.keys.create(["collect"], "web", here.clock.now())
    _, reads = here.keys.create(["read"], "board", here.clock.now())
    ask = Asked(here)
    line = b'{"ts":"2026-11-20T08:00:00Z","name":"page_view","visitor_id":"v","provider_id":"a"}'
    assert ask("POST", "/v1/events", line).status_code == 401
    assert ask("POST", "/v1/events", line, authorization=f"Bearer {collects}").status_code == 200
    assert ask("POST", "/v1/events", line, authorization=f"Bearer {reads}").status_code == 403
    assert ask("GET", "/metrics").status_code == 401
    assert ask("GET", "/metrics", authorization=f"Bearer {reads}").status_code == 200
    assert ask("GET", "/healthz").status_code == 200
    refused = ask("POST", "/v1/decide", {}, authorization=f"Bearer {collects}")
    assert refused.status_code == 403 and "decide" in refused.json()["way_out"]
    ask.close()


def test_beyond_loopback_needs_a_key(shop: Path, cli: Any) -> None:
    refused = cli("serve", "--host", "0.0.0.0", workspace=shop)
    assert refused.status == 2 and "footfall keys create" in refused.err
    assert cli("serve", "--port", "70000", workspace=shop).status == 2


def test_keys_on_the_command_line(shop: Path, cli: Any) -> None:
    made = cli("keys", "create", "--scope", "collect", "--scope", "read", "--name", "web", workspace=shop)
    key = made.out.strip()
    assert made.status == 0 and key.startswith("ff_")
    (listed,) = cli("keys", "list", "--format", "json").json
    assert listed["key"] == key[:11] and listed["scopes"] == "collect, read" and listed["name"] == "web"
    assert key not in cli("keys", "list").out
    assert cli("keys", "revoke", key[:11]).status == 0
    assert cli("keys", "list", "--format", "json").json[0]["revoked_at"]
    assert cli("keys", "revoke", "ff_unknown").status == 1
    assert cli("keys", "create", "--scope", "write").status == 2
    assert cli("keys", "create").status == 2


def test_a_log_on_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full: every write fails with ENOSPC, as on a full disk (null(4))."""
    import structlog

    before, handlers = structlog.get_config(), logging.getLogger().handlers
    full = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115 - closing it fails, too
    try:
        monkeypatch.setattr("sys.stderr", full)
        log = logs.set_up("test", "info")
        for _ in range(3):
            log.info("a line")
            log.error("a defect", error="none")
    finally:
        monkeypatch.undo()
        structlog.configure(**before)
        logging.getLogger().handlers = handlers
        with contextlib.suppress(OSError):
            full.close()


@pytest.mark.parametrize("broken", [b"[plan\n", "# café\n".encode("latin-1")])
def test_what_is_read_goes_on_while_footfall_toml_is_broken(tmp_path: Path, broken: bytes) -> None:
    """A reader that is started after the mistake was made goes by the settings that the service began with."""
    here = make_workspace(tmp_path / "shop", SETTINGS)
    here.state.save_plan(simple_plan(SHARES))
    asked = Asked(here)
    (here.directory / FILE_NAME).write_bytes(broken)
    try:
        answer = asked("GET", "/v1/plan")
        assert answer.status_code == 200, answer.text
        assert {line["provider_id"] for line in answer.json()["items"]} == set(SHARES)
    finally:
        asked.close()
