"""The service against other people's programs: Segment's own client, schemathesis, and minutes of load."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Service, configure, planned_workspace
from test_serve_faults import QUIET, drained, lake_ids

EVENTS = 100_000
RESTARTS = 20


@pytest.mark.slow
def test_segments_python_client_through_twenty_restarts(tmp_path: Path) -> None:
    """segment-analytics-python with only its host changed, and its own retries: every event in the lake once."""
    analytics = pytest.importorskip("segment.analytics.client")
    configure(tmp_path, {"serve": QUIET})
    service = Service(tmp_path)
    failures: list[Any] = []
    client = analytics.Client(
        "any-write-key", host=service.url, on_error=lambda error, _items: failures.append(error), max_queue_size=EVENTS
    )
    sent: set[str] = set()
    service.start().wait()
    try:
        for turn in range(RESTARTS):
            for number in range(turn * EVENTS // RESTARTS, (turn + 1) * EVENTS // RESTARTS):
                message_id = f"segment-{number}"
                taken, _ = client.track(
                    anonymous_id=f"v{number % 1000}",
                    event="Product Viewed",
                    properties={"provider_id": f"shop-{number % 7}", "price": 9.5},
                    message_id=message_id,
                )
                assert taken
                sent.add(message_id)
            time.sleep(0.2)  # it is in the midst of sending
            if turn % 2:
                service.kill()
            else:
                service.stop()
            service.start().wait()
        client.flush()
        client.join()
        drained(service)
    finally:
        service.kill()
    assert not failures
    found = lake_ids(tmp_path)
    assert len(sent) == EVENTS
    assert set(found) == sent
    assert set(found.values()) == {1}


@pytest.mark.slow
def test_schemathesis_finds_no_server_error(tmp_path: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error

    @schemathesis.serializer("application/x-ndjson")
    def as_lines(_context: Any, value: Any) -> bytes:
        return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")

    folder = planned_workspace(tmp_path / "shop", {"serve": {**QUIET, "drain_s": 1.0}})
    with Service(folder) as service:
        schema = schemathesis.openapi.from_url(f"{service.url}/schema/openapi.json")
        tried = 0
        for result in schema.get_all_operations():
            operation = result.ok()

            @settings(
                max_examples=40,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.generate],
            )
            @given(case=operation.as_strategy())
            def attempt(case: Any) -> None:
                nonlocal tried
                tried += 1
                answer = case.call()
                case.validate_response(answer, checks=[not_a_server_error])
                if answer.status_code >= 400:
                    assert answer.headers["content-type"][0] == "application/problem+json"
                    assert answer.json()["status"] == answer.status_code

            attempt()
        assert tried > 200
        assert "a defect" not in service.log.read_text()


def resident_mb(pid: int) -> float:
    """Resident memory without pages of shared files, MiB."""
    told = Path(f"/proc/{pid}/status").read_text()
    return float(next(line.split()[1] for line in told.splitlines() if line.startswith("RssAnon"))) / 1024


@pytest.mark.slow
def test_memory_is_flat_under_load(tmp_path: Path) -> None:
    """New visitors, segments, keys and providers in every request, for FOOTFALL_TEST_LOAD_S seconds (60 if not set).

    After a first third, in which caches fill, no process grows by more than a tenth and 12 MiB.
    """
    seconds = float(os.environ.get("FOOTFALL_TEST_LOAD_S", "60"))
    settings = {"serve": QUIET, "live": {"sticky_s": 5.0}, "collect": {"past_days": 36500}}
    folder = planned_workspace(tmp_path / "shop", settings)
    with Service(folder) as service:
        stop = threading.Event()
        counts = [0, 0]

        def send(number: int) -> None:
            with httpx.Client(base_url=service.url, timeout=20) as client:
                turn = 0
                while not stop.is_set():
                    turn += 1
                    name = f"{number}-{turn}"
                    row = {"ts": "2026-01-01T00:00:00Z", "name": "page_view", "visitor_id": name, "provider_id": name}
                    client.post("/v1/events", content=json.dumps({**row, "message_id": name}).encode())
                    asked = {"visitor_id": name, "segment": name, "candidates": ["shop-a", "shop-b", f"new-{name}"]}
                    counts[client.post("/v1/decide", json=asked).status_code != 200] += 1
                    client.get(f"/nothing/{name}", headers={"authorization": f"Bearer {name}"})

        threads = [threading.Thread(target=send, args=(i,), daemon=True) for i in range(3)]
        for thread in threads:
            thread.start()
        modules = ("http.worker", "app.keeper")
        time.sleep(seconds / 3)
        before = {module: resident_mb(service.pids(module)[0]) for module in modules}
        time.sleep(seconds * 2 / 3)
        after = {module: resident_mb(service.pids(module)[0]) for module in modules}
        stop.set()
        for thread in threads:
            thread.join(30)
    print(f"{counts} decisions in {seconds:.0f} s; anonymous memory {before} -> {after} MiB")
    assert counts[0] > 100 and counts[1] == 0
    for module in modules:
        assert after[module] <= before[module] * 1.1 + 12, f"{module}: {before[module]:.1f} -> {after[module]:.1f} MiB"
