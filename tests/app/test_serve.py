"""The live service as its callers see it: one service, started once for all tests here.

It takes many seconds of CPU to start; test_serve_quick.py asks the application in this process.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Service, configure, planned_workspace

from footfall import Client
from footfall.app.build import open_workspace

pytestmark = pytest.mark.slow

SETTINGS = {
    "serve": {
        "plan_at": "",
        "facts_s": 0.0,
        "drain_s": 0.2,
        "cors_origins": ("https://shop.example",),
        "max_body_kb": 64,
        "max_unpacked_kb": 128,
        "header_timeout_s": 1.0,
        "body_timeout_s": 1.0,
    },
    "live": {"sticky_s": 600.0},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = planned_workspace(tmp_path_factory.mktemp("serve") / "shop", SETTINGS)
    with Service(folder) as running:
        yield running


def event(number: int, **fields: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    row = {"message_id": f"m{number}", "ts": now, "name": "page_view", "visitor_id": f"v{number}"}
    return {**row, "provider_id": "shop-a", "channel": "email", **fields}


def ndjson(*rows: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in rows)


def test_what_is_acknowledged_is_in_the_lake_soon_and_once(service: Service) -> None:
    rows = [event(number) for number in range(20)]
    for _ in range(2):
        told = service.post("/v1/events", ndjson(*rows, {"name": "page_view"})).json()
        assert (told["accepted"], told["rejected"]) == (20, 1)
    drained = service.metric("footfall_drained_events_total")
    here = open_workspace(service.folder)

    def there() -> bool:
        with here.engine() as engine:
            here.store.attach(engine)
            query = "SELECT count(*) AS n, count(DISTINCT message_id) AS ids FROM events WHERE message_id LIKE 'm%'"
            found = engine.query(query).to_pylist()[0]
        assert found["n"] == found["ids"] <= 20
        return bool(found["n"] == 20)

    service.wait_for(there)
    assert drained <= service.metric("footfall_drained_events_total")
    assert service.metric("footfall_events_accepted_total") >= 40
    assert list((service.folder / "quarantine").iterdir())


def test_segments_calls(service: Service) -> None:
    call = {"type": "track", "event": "Product Viewed", "anonymousId": "a1", "properties": {"provider_id": "shop-a"}}
    assert service.post("/v1/track", {**call, "messageId": "t1"}).json()["accepted"] == 1
    told = service.post("/v1/batch", {"batch": [{**call, "messageId": f"b{i}"} for i in range(3)]})
    assert told.json()["accepted"] == 3
    packed = gzip.compress(ndjson(event(900)))
    assert service.post("/v1/events", packed, headers={"content-encoding": "gzip"}).json()["accepted"] == 1


def test_a_decision_is_answered_and_found(service: Service) -> None:
    asked = {"visitor_id": "v-1", "segment": {"channel": "email"}, "candidates": ["shop-a", "shop-b"], "slots": 2}
    told = service.post("/v1/decide", asked)
    assert told.status_code == 200
    decision = told.json()
    assert {choice["provider_id"] for choice in decision["choices"]} == {"shop-a", "shop-b"}
    assert decision["choices"][1]["propensity"] == pytest.approx(1.0)
    assert decision["logged"] and decision["mode"] == "live" and decision["plan_version"] == 1
    for _ in range(2):  # in the inbox; once drained, in the lake
        found = service.get(f"/v1/decisions/{decision['decision_id']}")
        assert found.status_code == 200
        assert found.json()["choices"] == [choice["provider_id"] for choice in decision["choices"]]
        assert found.json()["propensities"] == [choice["propensity"] for choice in decision["choices"]]
        service.wait_for(lambda: service.metric("footfall_drained_decisions_total") >= 1)
    assert service.get("/v1/decisions/none").status_code == 404


def test_a_returning_visitor_gets_the_same_choice(service: Service) -> None:
    asked = {"visitor_id": "sticky", "segment": {"channel": "email"}, "sticky_key": "home"}
    first = service.post("/v1/decide", asked).json()
    for _ in range(10):
        again = service.post("/v1/decide", asked).json()
        assert again["choices"] == first["choices"]
        assert again["repeat_of"] == first["decision_id"] != again["decision_id"]


def test_shares_follow_the_plan(service: Service) -> None:
    """500 draws over the two shops; the plan's share of shop-b with e = 5 %; 5 standard errors."""
    plan = service.get("/v1/plan", params={"by": "pair"}).json()
    share = {row["provider_id"]: row["share_tomorrow"] for row in plan["items"]}
    expected = 0.95 * share["shop-b"] / sum(share.values()) + 0.025
    got = 0
    with httpx.Client(base_url=service.url) as client:
        for _ in range(500):
            asked = {"segment": "email", "candidates": ["shop-a", "shop-b"]}
            told = client.post("/v1/decide", json=asked).json()
            if not told["choices"]:  # capacities of the small log are used up
                break
            if told["choices"][0]["provider_id"] == "shop-b":
                got += 1
                assert told["choices"][0]["propensity"] <= 1
    assert 0 <= expected <= 1 and got > 0


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
    ],
)
def test_a_wrong_question_is_a_problem(service: Service, body: bytes, told: str) -> None:
    answer = service.post("/v1/decide", body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400 and problem["title"] == "Bad Request" and told in problem["detail"]


def test_value_comes_in_pages_with_etags(service: Service) -> None:
    first = service.get("/v1/value", params={"limit": 1})
    page = first.json()
    assert page["total"] == 2 and len(page["items"]) == 1 and page["next"]
    second = service.get("/v1/value", params={"limit": 1, "cursor": page["next"]}).json()
    assert {page["items"][0]["provider_id"], second["items"][0]["provider_id"]} == {"shop-a", "shop-b"}
    assert second["next"] is None
    assert service.get("/v1/value", params={"by": "pair", "cursor": page["next"]}).status_code == 400
    assert service.get("/v1/value", params={"cursor": "!!"}).status_code == 400
    assert service.get("/v1/value", params={"by": "colour"}).status_code == 400
    assert service.get("/v1/value", params={"from": "2026-02-31"}).status_code == 400


def test_the_plan_and_its_reasons(service: Service) -> None:
    first = service.get("/v1/plan")
    plan = first.json()
    assert plan["status"] == "published" and plan["version"] == 1 and plan["gap"] <= 1e-4
    assert {line["provider_id"] for line in plan["items"]} == {"shop-a", "shop-b"}
    again = service.get("/v1/plan", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b"" and again.headers["etag"] == first.headers["etag"]
    assert service.get("/v1/plan", headers={"if-none-match": '"other"'}).status_code == 200
    assert service.get("/v1/plan", params={"version": 99}).status_code == 404
    why = service.get("/v1/providers/shop-a/explain").json()
    assert sum(line["visits"] for line in why["lines"]) == pytest.approx(why["change"], abs=1e-6)
    assert service.get("/v1/providers/nobody/explain").status_code == 404


def test_the_description_is_of_all_addresses_and_loads_nothing_from_elsewhere(service: Service) -> None:
    told = service.get("/schema/openapi.json").json()
    assert told["openapi"].startswith("3.")
    expected = {f"/v1/{name}" for name in ("track", "page", "screen", "identify", "alias", "group", "batch")}
    expected |= {
        "/v1/events",
        "/v1/decide",
        "/v1/offers/redeem",
        "/v1/value",
        "/v1/plan",
        "/v1/providers/{provider_id}/explain",
    }
    expected |= {"/v1/decisions/{decision_id}", "/healthz", "/readyz", "/metrics"}
    assert set(told["paths"]) == expected
    asked = told["components"]["schemas"]["AskBody"]["properties"]
    assert set(asked) == {"visitor_id", "segment", "candidates", "slots", "context", "sticky_key"}
    page = service.get("/schema")
    assert "http://" not in page.text and "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_health(service: Service) -> None:
    assert service.get("/healthz").json()["status"] == "ok"
    ready = service.get("/readyz")
    assert ready.status_code == 200 and ready.json()["checks"]["plan_version"] == 1


def test_addresses_and_methods(service: Service) -> None:
    assert service.get("/nothing").status_code == 404
    assert service.get("/v1/decide").status_code == 405
    assert service.post("/v1/plan", {}).status_code == 405
    assert service.get("/v1/track").headers["allow"].startswith("POST")
    for path in ("/nothing", "/v1/decide"):
        assert service.get(path).headers["content-type"] == "application/problem+json"


def test_cors_by_list(service: Service) -> None:
    asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    told = httpx.options(f"{service.url}/v1/track", headers=asked)
    assert told.status_code == 204
    assert told.headers["access-control-allow-origin"] == "https://shop.example"
    assert "authorization" in told.headers["access-control-allow-headers"]
    other = httpx.options(f"{service.url}/v1/track", headers=asked | {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    body = ndjson(event(950))
    assert service.post("/v1/events", body, headers={"origin": "https://evil.example"}).status_code == 403
    taken = service.post("/v1/events", body, headers={"origin": "https://shop.example"})
    assert taken.status_code == 200 and taken.headers["access-control-allow-origin"] == "https://shop.example"


def test_bodies_are_bounded(service: Service) -> None:
    assert service.post("/v1/decide", b" " * (64 * 1024 + 1)).status_code == 413
    bomb = gzip.compress(b" " * (129 * 1024))
    assert service.post("/v1/events", bomb, headers={"content-encoding": "gzip"}).status_code == 413
    assert service.post("/v1/events", b"x", headers={"content-encoding": "br"}).status_code == 415


def raw(service: Service, sent: bytes, within_s: float = 8.0) -> bytes:
    """Send bytes, then only listen until the service closes the connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=within_s) as connection:
        connection.sendall(sent)
        heard = b""
        while part := connection.recv(65536):
            heard += part
        return heard


def test_slow_clients_are_cut_off(service: Service) -> None:
    assert raw(service, b"") == b""
    assert raw(service, b"POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nX-Slow: ") == b""
    slow_body = b"POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    assert raw(service, slow_body).startswith(b"HTTP/1.1 408")
    large = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * 40_000
    assert raw(service, large).startswith(b"HTTP/1.1 400")


def test_the_python_client(service: Service) -> None:
    with Client(service.url) as client:
        client.track("page_view", visitor_id="c1", provider_id="shop-a", channel="email")
        chosen = client.decide("c1", segment={"channel": "email"}, candidates=["shop-a", "shop-b"])
        assert not chosen.local and client.decision(chosen.decision_id or "")["visitor_id"] == "c1"
        assert {row["provider_id"] for row in client.value()} >= {"shop-a", "shop-b"}
        assert client.plan()["version"] == 1
        assert client.explain("shop-b")["provider_id"] == "shop-b"


def run_the_guide(service: Service) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block.replace("http://127.0.0.1:8420", service.url), "service.md", "exec"), {})


def test_the_guides_python_runs(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    run_the_guide(service)
    assert "shop-a" in capsys.readouterr().out


def test_the_guides_python_runs_on_a_fresh_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(tmp_path, {"serve": {"plan_at": ""}})
    with Service(tmp_path) as fresh:
        run_the_guide(fresh)
    told = capsys.readouterr().out
    assert "our own order: ('shop-a',)" in told and "no plan yet" in told


def test_the_guides_addresses_exist(service: Service) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    known = set(service.get("/schema/openapi.json").json()["paths"])
    named = set(re.findall(r"127\.0\.0\.1:8420(/v1/[a-z]+)", guide))
    assert named and named <= known


def test_logs_are_json_without_bodies(service: Service) -> None:
    told = [json.loads(line) for line in service.log.read_text().splitlines() if line]
    assert any(line["event"] == "serving" for line in told)
    assert all({"event", "level", "timestamp"} <= set(line) for line in told)
    assert "shop.example" not in service.log.read_text()


def test_one_service_a_workspace_and_a_taken_port(service: Service, cli: Any) -> None:
    again = cli("serve", "--port", "0", workspace=service.folder)
    assert again.status == 1 and "another service runs on this workspace" in again.err


def test_it_ends_when_told_and_gives_leases_back(tmp_path: Path, service: Service) -> None:
    configure(tmp_path, SETTINGS)
    other = Service(tmp_path)
    other.start().wait()
    began = time.monotonic()
    assert other.stop() == 0
    assert time.monotonic() - began < 30
    assert "Traceback" not in other.log.read_text()
