"""Commands beside a service under load: import, plan, publish, backup, forget, keys. Nothing acknowledged is lost."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Service, planned_workspace
from test_serve_faults import QUIET, Load, check_load, drained, lake_ids

from footfall.app.build import open_workspace

pytestmark = pytest.mark.slow


def test_commands_beside_a_service_under_load(tmp_path: Path, cli: Any) -> None:
    folder = planned_workspace(tmp_path / "shop", {"serve": QUIET})
    file = tmp_path / "more.ndjson"
    now = datetime.now(UTC).isoformat()
    rows = [{"message_id": f"file-{i}", "ts": now, "name": "page_view", "visitor_id": f"f{i}"} for i in range(5_000)]
    file.write_text("\n".join(json.dumps({**row, "provider_id": "shop-b", "channel": "email"}) for row in rows))
    with Service(folder) as service:
        load = Load(service.url).start()
        time.sleep(1.0)
        assert cli("import", str(file), workspace=folder).status == 0
        assert cli("plan", workspace=folder).status == 0
        assert cli("plan", "publish", "2", workspace=folder).status == 0
        service.wait_for(lambda: service.get("/readyz").json()["checks"]["plan_version"] == 2)
        acknowledged, decided = set(load.events), set(load.decisions)
        assert cli("backup", str(tmp_path / "shop.tar.gz"), workspace=folder).status == 0
        gone = next(iter(acknowledged))
        load.events.discard(gone)  # it is its own visitor's only event
        forgotten = cli("forget", gone, "--yes", workspace=folder)
        assert forgotten.status == 0, forgotten.err
        taken = len(load.events)
        service.wait_for(lambda: len(load.events) > taken + 100)
        load.stop()
        drained(service)
        assert "a defect" not in service.log.read_text()
    check_load(folder, load)
    found = lake_ids(folder)
    assert gone not in found and all(found[row["message_id"]] == 1 for row in rows)
    back = tmp_path / "back"
    assert cli("restore", str(tmp_path / "shop.tar.gz"), str(back)).status == 0
    assert cli("drain", workspace=back).status == 0
    assert acknowledged <= set(lake_ids(back)) and decided <= set(lake_ids(back, decisions=True))
    assert set(lake_ids(back).values()) == {1}


def test_a_revoked_key_ends_within_five_seconds_under_load(tmp_path: Path) -> None:
    folder = planned_workspace(tmp_path / "shop", {"serve": QUIET})
    keys = open_workspace(folder).keys
    key, text = keys.create(["decide"], "web", datetime.now(UTC))
    _, other = keys.create(["decide"], "app", datetime.now(UTC))
    ended, stop = [0.0], threading.Event()
    statuses: set[int] = set()

    def ask(sent: str, until: int) -> None:
        asked = {"segment": {"channel": "email"}, "candidates": ["shop-a", "shop-b"]}
        with httpx.Client(base_url=service.url, timeout=20, headers={"authorization": f"Bearer {sent}"}) as client:
            while not stop.is_set():
                status = client.post("/v1/decide", json=asked).status_code
                if status == until:
                    ended[0] = time.monotonic()
                    return
                statuses.add(status)

    with Service(folder) as service:
        threads = [threading.Thread(target=ask, args=(sent, 401), daemon=True) for sent in (text, other, other)]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        keys.revoke(key.prefix, datetime.now(UTC))
        revoked = time.monotonic()
        threads[0].join(20)
        stop.set()
        for thread in threads:
            thread.join(20)
    assert 0 < ended[0] - revoked < 5.5  # five, and the answer that was under way
    assert statuses == {200}
