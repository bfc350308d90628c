"""A state that hangs, or is away: what docs/service.md promises of events, keys, decisions and health meanwhile."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from serving import Service, planned_workspace

from footfall.app.build import open_workspace

QUIET = {"plan_at": "", "facts_s": 0.0, "drain_s": 0.2}
IN_TIME_S = 6.0  # three for an answer of the state, and what a busy machine takes


@pytest.fixture
def service(tmp_path: Path, postgres_wire: Any, monkeypatch: pytest.MonkeyPatch) -> Service:
    """One with its state in PostgreSQL, leases of six seconds and a key; not started."""
    monkeypatch.setenv("FOOTFALL_STATE_URL", postgres_wire.url)
    folder = planned_workspace(tmp_path / "shop", {"serve": QUIET, "live": {"lease_s": 6.0, "lease_interval_s": 0.5}})
    return Service(folder)


def key_of(service: Service) -> dict[str, str]:
    _, text = open_workspace(service.folder).keys.create(["admin"], "till", datetime.now(UTC))
    return {"Authorization": f"Bearer {text}"}


def event(service: Service, headers: dict[str, str] | None = None) -> tuple[int, float]:
    """(status, seconds) of an event that is sent."""
    row = {"ts": datetime.now(UTC).isoformat(), "name": "page_view", "visitor_id": "v", "provider_id": "shop-a"}
    begun = time.monotonic()
    told = service.post("/v1/events", row, headers=headers or {})
    return told.status_code, time.monotonic() - begun


def decision(service: Service, headers: dict[str, str]) -> Any:
    return service.post("/v1/decide", {"segment": {"channel": "email"}}, headers=headers).json()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["silent", "away"])
def test_events_are_taken_while_the_state_is_away(service: Service, postgres_wire: Any, how: str) -> None:
    with service:
        key = key_of(service)
        assert event(service, key)[0] == 200 and decision(service, key)["choices"]
        getattr(postgres_wire, how)()
        until, empty = time.monotonic() + 15, ""
        while time.monotonic() < until:
            status, seconds = event(service, key)
            assert status == 200 and seconds < IN_TIME_S
            empty = decision(service, key)["reason"] or ""
            begun = time.monotonic()
            ready = service.get("/readyz").status_code
            assert time.monotonic() - begun < IN_TIME_S
            time.sleep(0.3)
        assert ready == 503 and empty == "no leases are in force"
        postgres_wire.back()
        service.wait_for(lambda: service.get("/readyz").status_code == 200, 15)
        service.wait_for(lambda: decision(service, key)["choices"], 15)


@pytest.mark.slow
def test_workers_that_start_while_the_state_is_away_come_up(service: Service, postgres_wire: Any) -> None:
    """They answer what needs the state with 503, and go on by themselves once it is back."""
    with service:
        key = key_of(service)
        assert event(service, key)[0] == 200
        postgres_wire.away()
        for _ in range(2):  # what a worker finds, it finds again
            (worker,) = service.pids("http.worker")
            os.kill(worker, signal.SIGKILL)
            service.wait_for(lambda: service.get("/healthz").status_code == 200, 30)
        assert event(service, key)[0] == 503, "whether the key is good is not known"
        assert service.get("/readyz").status_code == 503
        assert service.post("/v1/decide", {}, headers=key).status_code == 503
        postgres_wire.back()
        service.wait_for(lambda: event(service, key)[0] == 200, 15)
        service.wait_for(lambda: decision(service, key).get("choices"), 15)
        assert service.get("/readyz").status_code == 200
        for line in service.log.read_text().splitlines():
            assert "exception" not in json.loads(line)


@pytest.mark.slow
def test_without_keys_events_are_taken_from_the_first_while_the_state_is_away(
    service: Service, postgres_wire: Any
) -> None:
    with service:
        postgres_wire.away()
        assert event(service)[0] == 200
