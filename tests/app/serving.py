"""A service for tests: `footfall serve` in processes of its own, on a free port, to be asked, killed, started again."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import numpy as np

START_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """One `footfall serve`; all its processes are of one group, so that they can be killed at once."""

    def __init__(
        self, folder: Path, *options: str, environment: Mapping[str, str] | None = None, port: int | None = None
    ) -> None:
        self.folder = folder
        self.options = options
        self.environment = {**os.environ, **(environment or {})}
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "serve.log"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Service:
        command = [sys.executable, "-m", "footfall.app.main", "serve", "--workspace", str(self.folder)]
        command += ["--port", str(self.port), *self.options]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=self.environment, start_new_session=True
            )
        return self

    def wait(self) -> Service:
        """Until it serves."""
        assert self.process is not None and self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if ready else ""
        if not line.startswith("Serving"):
            self.kill()
            raise AssertionError(f"the service did not start: {line!r}\n{self.log.read_text()[-4000:]}")
        return self

    def kill(self) -> None:
        """kill -9 of all its processes at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self._reap()

    def stop(self) -> int:
        """End it as an operator does; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(40)
        self._reap()
        return status

    def _reap(self) -> None:
        assert self.process is not None
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    def pids(self, module: str = "") -> list[int]:
        """Its processes whose command line names ``module``."""
        assert self.process is not None
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes()
                group = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[2])
            except (OSError, IndexError):
                continue
            if group == self.process.pid and module.encode() in command:
                found.append(int(entry.name))
        return found

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(f"{self.url}{path}", content=content, timeout=60, **options)

    def metric(self, name: str) -> float:
        """A figure of /metrics by its name with labels."""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split(" ")[1])
        raise AssertionError(f"no metric {name}")

    def wait_for(self, what: Any, within_s: float = 30.0) -> None:
        """Until ``what()`` is true."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if what():
                    return
            time.sleep(0.1)
        raise AssertionError(f"not within {within_s} s\n{self.log.read_text()[-3000:]}")

    def __enter__(self) -> Service:
        return self.start().wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def configure(folder: Path, settings: Mapping[str, Mapping[str, object]]) -> None:
    """Write settings into a workspace's footfall.toml."""
    from footfall.config import template

    (folder / "footfall.toml").write_text(template({name: dict(values) for name, values in settings.items()}))


def lines(names: Sequence[str] = ("shop-a", "shop-b"), visitors: int = 100) -> Iterator[str]:
    """Yesterday's log as NDJSON: every shop has as many visitors; the second shop sells more."""
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    for at, shop in enumerate(names):
        for i in range(visitors):
            event = {"ts": f"{day}T08:{i % 60:02d}:00Z", "name": "page_view", "visitor_id": f"{shop}-{i}"}
            yield json.dumps({**event, "provider_id": shop, "channel": "email"})
        for i in range(5 + 3 * at):
            event = {"ts": f"{day}T12:{i % 60:02d}:00Z", "name": "purchase", "visitor_id": f"{shop}-{i}"}
            yield json.dumps(
                {**event, "provider_id": shop, "channel": "email", "amount": "100.00", "order_id": f"{shop}-o{i}"}
            )


def planned_workspace(folder: Path, settings: Mapping[str, Mapping[str, object]] | None = None) -> Path:
    """A workspace with a log of yesterday and a published plan."""
    from footfall import make_workspace
    from footfall.app import planning, recording

    overrides = {name: dict(values) for name, values in (settings or {}).items()}
    here = make_workspace(folder, overrides)
    log = folder / "log.ndjson"
    log.write_text("\n".join(lines()) + "\n")
    recording.import_files(here, [str(log)])
    here.state.publish(planning.plan(here).version)
    return folder


def simple_plan(weights: Mapping[str, float], visits: float = 1e6) -> Any:
    """A published plan of one segment, ``email``, whose shares are as given and whose providers have no capacity."""
    from footfall.model import Comparison, DemandForecast, PairLine, Plan, ProviderLine, Spread

    now = datetime.now(UTC)
    flat = np.array([visits])
    return Plan(
        plan_id="simple",
        version=0,
        day=now.date(),
        as_of=now.date(),
        created_at=now,
        status="published",
        inertia=0.3,
        demand=DemandForecast(now.date(), ("email",), flat, flat, flat),
        pairs=tuple(
            PairLine("email", name, w, w, w, visits * w, visits * w, 1.0, 0.5, 2.0) for name, w in weights.items()
        ),
        providers=tuple(
            ProviderLine(name, "all", False, visits * w, visits * w, 1.0, 0.0, ()) for name, w in weights.items()
        ),
        limits=(),
        unassigned={},
        comparison=Comparison(1.0, 1.0, 1.0, 1.0),
        objective=1.0,
        bound=1.0,
        gap=0.0,
        today=Spread(0.1, 0.2, 0.0),
        tomorrow=Spread(0.1, 0.2, 0.0),
    )
