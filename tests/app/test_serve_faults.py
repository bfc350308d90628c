"""What was acknowledged is in the lake once, whatever is killed or full, and a dead leader is replaced."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from serving import Service, configure, free_port, planned_workspace

from footfall.app.build import open_workspace
from footfall.app.http.server import BIND_WAIT_S, Spec
from footfall.config import ServeSettings
from footfall.model import VISIT

QUIET = {"plan_at": "", "facts_s": 0.0, "drain_s": 0.2}


def lake_ids(folder: Path, *, decisions: bool = False) -> Counter[str]:
    """message_id -> how often it is in the lake."""
    here = open_workspace(folder)
    store, view = (here.decisions, "decisions") if decisions else (here.store, "events")
    with here.engine() as engine:
        store.attach(engine)
        rows = engine.query(f"SELECT message_id, count(*) AS n FROM {view} GROUP BY 1").to_pylist()
    return Counter({row["message_id"]: row["n"] for row in rows})


class Load:
    """Threads that send events and ask for decisions for as long as the service answers; what was acknowledged."""

    def __init__(self, url: str, threads: int = 3) -> None:
        self.url = url
        self.events: set[str] = set()
        self.decisions: set[str] = set()
        self.refused = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            try:
                with httpx.Client(base_url=self.url, timeout=5) as client:
                    while not self._stop.is_set():
                        turn += 1
                        self._send(client, f"{number}-{turn}-{random.randrange(1 << 40)}")
            except httpx.TransportError:
                time.sleep(0.02)

    def _send(self, client: httpx.Client, name: str) -> None:
        ids = [f"{name}-{i}" for i in range(10)]
        now = datetime.now(UTC).isoformat()
        rows = [
            {"message_id": i, "ts": now, "name": "page_view", "visitor_id": i, "provider_id": "shop-a"} for i in ids
        ]
        told = client.post("/v1/events", content=b"\n".join(json.dumps(row).encode() for row in rows))
        if told.status_code == 200:
            assert told.json()["accepted"] == 10
            self.events.update(ids)
        else:
            self.refused += 1
        asked = {"visitor_id": name, "segment": {"channel": "email"}, "candidates": ["shop-a", "shop-b"]}
        told = client.post("/v1/decide", json=asked)
        if told.status_code == 200:
            self.decisions.add(told.json()["decision_id"])
        else:
            self.refused += 1


def drained(service: Service) -> None:
    """Wait until nothing is in the inbox."""
    here = open_workspace(service.folder)
    service.wait_for(lambda: not here.inbox.read(0, 1), 60)


def check_load(folder: Path, load: Load) -> None:
    """Every acknowledged event and decision is in the lake once; nothing is there twice."""
    events, decisions = lake_ids(folder), lake_ids(folder, decisions=True)
    assert load.events and load.decisions
    assert not load.events - set(events), f"{len(load.events - set(events))} acknowledged events are lost"
    assert not load.decisions - set(decisions), f"{len(load.decisions - set(decisions))} decisions are lost"
    assert max(events.values()) == 1 and max(decisions.values()) == 1


def kills(folder: Path, times: int, seed: int) -> None:
    chance = random.Random(seed)
    service = Service(folder)
    load = Load(service.url).start()
    try:
        service.start().wait()
        for _ in range(times):
            time.sleep(chance.uniform(0.0, 1.2))
            service.kill()
            service.start()
            if chance.random() < 0.8:  # else it may be killed while it starts
                service.wait()
        service.kill()
        with service:
            time.sleep(1.0)
            load.stop()
            drained(service)
    finally:
        load.stop()
        service.kill()
    check_load(folder, load)


@pytest.mark.slow
def test_killed_at_fifty_moments_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    kills(planned_workspace(tmp_path / "shop", {"serve": QUIET}), 50, 20261122)


def _replaced(service: Service, module: str, before: list[int]) -> bool:
    return len(set(service.pids(module)) - {before[0]}) == len(before)


@pytest.mark.slow
def test_a_killed_worker_or_keeper_is_started_again(tmp_path: Path) -> None:
    folder = planned_workspace(tmp_path / "shop", {"serve": {**QUIET, "workers": 2}})
    with Service(folder) as service:
        load = Load(service.url).start()
        for module in ("http.worker", "app.keeper", "http.worker"):
            time.sleep(0.5)
            before = service.pids(module)
            os.kill(before[0], signal.SIGKILL)
            service.wait_for(partial(_replaced, service, module, before))
        time.sleep(2)
        load.stop()
        drained(service)
        check_load(folder, load)
        # leases of the dead workers come back, less what their logged decisions reserved: none is given twice
        here = open_workspace(folder)
        for allowance in here.ledger.allowances(here.today()).values():
            assert allowance.leased - allowance.delivered.released <= allowance.capacity


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True], ids=["at first", "with a keeper that was started again"])
def test_all_processes_end_with_the_supervisor(tmp_path: Path, again: bool) -> None:
    configure(tmp_path, {"serve": QUIET})
    with Service(tmp_path) as service:
        assert service.process is not None
        if again:
            before = service.pids("app.keeper")
            os.kill(before[0], signal.SIGKILL)
            service.wait_for(partial(_replaced, service, "app.keeper", before))
            time.sleep(3)  # it listens for the supervisor's end by now
        children = [pid for pid in service.pids() if pid != service.process.pid]
        assert len(children) == 2
        os.kill(service.process.pid, signal.SIGKILL)
        until = time.monotonic() + 15
        while any(Path(f"/proc/{pid}/cmdline").exists() for pid in children) and time.monotonic() < until:
            time.sleep(0.1)
        assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in children)


STARTING = """
import sys, time
from footfall.app.http import making, worker
async def slow(*_):
    print("starting", flush=True)
    time.sleep(60)
making.make_context = slow
sys.exit(worker.main(sys.argv))
"""


def test_a_worker_that_is_still_starting_ends_with_the_supervisor(tmp_path: Path) -> None:
    """Kernels that compile hold its loop; the port has to be free for a service that is started again."""
    configure(tmp_path, {})
    alive, end = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        spec = Spec(
            directory=str(tmp_path), settings=ServeSettings(), index=1, rows=2, alive=alive, board=-1, ready=-1,
            listen=listening.fileno(),
        )  # fmt: skip
        worker = subprocess.Popen(
            [sys.executable, "-c", STARTING, msgspec.json.encode(spec).decode()],
            pass_fds=[alive, listening.fileno()],
            stdout=subprocess.PIPE,
        )
    with worker:
        os.close(alive)
        try:
            assert worker.stdout is not None and worker.stdout.readline() == b"starting\n"
            os.close(end)
            assert worker.wait(BIND_WAIT_S) == 1
        finally:
            worker.kill()
    socket.create_server(address).close()


COUNTING = """
import runpy, sys
from footfall.app import steering
def turn(self):
    with self._here.engine() as engine:
        print("counting", flush=True)
        engine.query("SELECT sum(hash(a.range + b.range)) FROM range(10_000_000) a, range(10_000_000) b")
steering.Reclaimer.turn = turn
runpy.run_module("footfall.app.keeper", run_name="__main__", alter_sys=True)
"""


def test_a_keeper_that_ends_amid_a_task_leaves_nothing_but_its_log(tmp_path: Path) -> None:
    """Its log is JSON, line by line; DuckDB, where it outlives the interpreter, adds what it takes for leaks."""
    configure(tmp_path, {})
    (alive, end), (ready, is_ready) = os.pipe(), os.pipe()
    spec = Spec(
        directory=str(tmp_path), settings=ServeSettings(), index=0, rows=1, alive=alive, board=-1, ready=is_ready
    )
    keeper = subprocess.Popen(
        [sys.executable, "-c", COUNTING, msgspec.json.encode(spec).decode()],
        pass_fds=[alive, is_ready],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with keeper:
        try:
            assert keeper.stdout is not None and keeper.stdout.readline() == b"counting\n"
            assert os.read(ready, 1) == b"\0"
            keeper.terminate()
            _, told = keeper.communicate(timeout=30)
        finally:
            keeper.kill()
            for descriptor in (alive, end, ready, is_ready):
                os.close(descriptor)
    assert keeper.returncode == 0
    assert all(isinstance(json.loads(line), dict) for line in told.splitlines()), told


@pytest.mark.slow
def test_a_full_disk_answers_503_and_recovers_without_repair(tmp_path: Path) -> None:
    """The size that files of the service may have stands in for the disk: writes beyond it fail as on a full one.

    It is less than a page of the inbox, so that nothing fits into what a checkpoint has made free either.
    """
    folder = planned_workspace(tmp_path / "shop", {"serve": QUIET})
    with Service(folder) as service:
        load = Load(service.url).start()
        time.sleep(2)
        processes = service.pids("footfall.app")
        for pid in processes:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        refused = load.refused
        service.wait_for(lambda: load.refused > refused + 5)
        answer = service.post("/v1/events", b'{"ts":"2026-01-01T00:00:00Z","name":"page_view","visitor_id":"v"}')
        assert answer.status_code == 503 and "retry-after" in answer.headers
        assert service.get("/readyz").status_code == 503
        for pid in processes:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        taken = len(load.events)
        service.wait_for(lambda: len(load.events) > taken + 50)
        service.wait_for(lambda: service.get("/readyz").status_code == 200)
        load.stop()
        drained(service)
        check_load(folder, load)


@pytest.mark.slow
def test_a_dead_leader_is_replaced_and_two_hosts_share_lake_and_capacity(tmp_path: Path, postgres_url: str) -> None:
    environment = {"FOOTFALL_STATE_URL": postgres_url}
    lake = tmp_path / "lake"
    os.environ["FOOTFALL_STATE_URL"] = postgres_url
    try:
        settings: dict[str, Any] = {"serve": {**QUIET, "lead_lease_s": 10.0}, "state": {"lake": str(lake)}}
        first = planned_workspace(tmp_path / "one", settings)
        configure_second = tmp_path / "two"
        configure_second.mkdir()
        configure(configure_second, settings)
        one = Service(first, environment=environment, port=free_port())
        two = Service(configure_second, environment=environment, port=free_port())
        with one, two:
            one.wait_for(lambda: one.metric("footfall_leads") + two.metric("footfall_leads") == 1)
            loads = [Load(one.url, 2).start(), Load(two.url, 2).start()]
            time.sleep(3)
            leader, other = (one, two) if one.metric("footfall_leads") else (two, one)
            leader.kill()
            killed = time.monotonic()
            other.wait_for(lambda: other.metric("footfall_leads") == 1, 30)
            assert time.monotonic() - killed < 30
            leader.start().wait()
            time.sleep(2)
            assert leader.metric("footfall_leads") == 0
            for load in loads:
                load.stop()
            for service in (one, two):
                drained(service)
            for load in loads:
                check_load(first, load)
            here = open_workspace(first)
            for allowance in here.ledger.allowances(here.today()).values():
                assert allowance.leased - allowance.delivered.released <= allowance.capacity
            check_reserved(here)
    finally:
        del os.environ["FOOTFALL_STATE_URL"]


def check_reserved(here: Any) -> None:
    """Reservations of both hosts' decisions stay within the capacities of the plan's day."""
    with here.engine() as engine:
        here.decisions.attach(engine)
        query = """SELECT provider_id, sum(reserved) AS reserved FROM (
            SELECT unnest(from_json(choices, '["VARCHAR"]')) AS provider_id,
                   unnest(from_json(reserved, '["BIGINT"]')) AS reserved FROM decisions) GROUP BY 1"""
        reserved = {row["provider_id"]: int(row["reserved"]) for row in engine.query(query).to_pylist()}
    allowances = here.ledger.allowances(here.today())
    assert reserved
    for name, parts in reserved.items():
        released = allowances[name].delivered.released
        assert parts - released <= allowances[name].capacity, f"{name}: {parts / VISIT} visits"


@pytest.mark.slow
def test_hosts_of_one_state_need_one_lake(tmp_path: Path, postgres_url: str, cli: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("FOOTFALL_STATE_URL", postgres_url)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        configure(tmp_path / name, {"serve": QUIET})
    with Service(tmp_path / "one"):
        refused = cli("serve", "--port", "0", workspace=tmp_path / "two")
    assert refused.status == 1 and "another lake" in refused.err
    assert postgres_url.split("/")[-1] in refused.err
