"""Decide over HTTP, durable, with 50 candidates on one worker: against a bare handler that only decodes the question.

    python benchmarks/service/decide_http.py [--seconds 8] [--repeat 3] [--connections 16]

Both are uvicorn processes with the same event loop and parser, asked in turns by `wrk` (Debian's package) with the
same bodies; the best of ``--repeat`` counts. The bare handler decodes with the same struct and answers a fixed text.
Rates by the wall say little on a machine that is shared, so that requests per CPU second of the answering process
stand beside. Bounds: at least a third of the bare handler's rate, p99 under 15 ms at 16 connections.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "app"))

CANDIDATES = 50
RATIO, P99_MS = 1 / 3, 15.0
LUA = """
local number = 0
local head = '{"visitor_id":"v-'
local tail = '","segment":{"channel":"email"},"candidates":[CANDIDATES]}'
request = function()
  number = number + 1
  return wrk.format("POST", "/v1/decide", {["content-type"] = "application/json"}, head .. number .. tail)
end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %f %f\\n", summary.requests, summary.errors.status,
    summary.duration / 1e6, latency:percentile(99) / 1000))
end
"""


@dataclass(frozen=True)
class Run:
    """One run of wrk: requests a second by the wall and by the server's CPU, p99, answers that were no success."""

    rate: float
    per_cpu_second: float
    p99_ms: float
    failed: int


def names() -> list[str]:
    """The candidates."""
    return [f"shop-{number:03d}" for number in range(CANDIDATES)]


def make_workspace(folder: Path) -> None:
    """A workspace whose published plan has one segment and 50 providers without a capacity."""
    from serving import simple_plan

    import footfall

    here = footfall.make_workspace(folder, {"serve": {"plan_at": "", "facts_s": 0.0}})
    total = sum(range(1, CANDIDATES + 1))
    plan = simple_plan({name: number / total for number, name in enumerate(names(), 1)})
    here.state.save_plan(plan)


async def bare(port: int) -> None:
    """The peer: the same server, protocol and decoder, and nothing else."""
    import uvicorn

    from footfall.app.http.decide import read_ask
    from footfall.app.http.limits import read_body
    from footfall.app.http.problems import answer_json
    from footfall.app.http.wire import bounded
    from footfall.app.http.worker import KEEP_ALIVE_S
    from footfall.config import ServeSettings

    told = json.dumps({"decision_id": "0" * 32, "choices": [{"provider_id": "shop-000", "propensity": 0.5}]}).encode()

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        read_ask(await read_body(scope, receive, 1 << 21, 20.0), 32)
        await answer_json(send, told)

    config = uvicorn.Config(
        app,
        port=port,
        http=bounded(ServeSettings()),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    await uvicorn.Server(config).serve()


@contextmanager
def bare_process(port: int) -> Iterator[int]:
    """The bare handler in a process of its own; its id."""
    process = subprocess.Popen([sys.executable, __file__, "--bare", str(port)])
    try:
        import httpx

        for _ in range(300):
            try:
                httpx.post(f"http://127.0.0.1:{port}/v1/decide", content=b"{}")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(url: str, script: Path, seconds: int, connections: int, pid: int) -> Run:
    """One run of wrk."""
    began = cpu_seconds(pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(pid) - began
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+)", said)
    assert found, said
    requests, failed = int(found.group(1)), int(found.group(2))
    return Run(requests / float(found.group(3)), requests / used, float(found.group(4)), failed)


def main() -> int:
    """Measure; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--bare", type=int)
    options = parser.parse_args()
    if options.bare:
        import uvloop

        uvloop.run(bare(options.bare))
        return 0
    if shutil.which("wrk") is None:
        print("wrk is not installed (Debian: apt-get install wrk); nothing measured")
        return 0
    return compare(options)


def compare(options: argparse.Namespace) -> int:
    """Both in turns."""
    from serving import Service, free_port

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "decide.lua"
        script.write_text(LUA.replace("CANDIDATES", ",".join(f'"{name}"' for name in names())))
        make_workspace(Path(folder) / "shop")
        port = free_port()
        with bare_process(port) as bare_pid, Service(Path(folder) / "shop") as service:
            worker = service.pids("http.worker")[0]
            peers, ours = [], []
            for _ in range(options.repeat):
                rest = (script, options.seconds, options.connections)
                peers.append(measure(f"http://127.0.0.1:{port}", *rest, bare_pid))
                ours.append(measure(service.url, *rest, worker))
    for name, runs in (("bare", peers), ("footfall", ours)):
        for run in runs:
            print(
                f"{name:<9} {run.rate:8,.0f} a second  {run.per_cpu_second:8,.0f} per CPU second  "
                f"p99 {run.p99_ms:6.2f} ms  failed {run.failed}"
            )
    ratio = max(run.rate for run in ours) / max(run.rate for run in peers)
    by_cpu = max(run.per_cpu_second for run in ours) / max(run.per_cpu_second for run in peers)
    p99 = min(run.p99_ms for run in ours)
    print(f"rate {ratio:.2f} of the bare handler's (bound {RATIO:.2f}); by CPU {by_cpu:.2f}")
    print(f"p99 {p99:.2f} ms at {options.connections} connections (bound {P99_MS:g})")
    return int(ratio < RATIO or p99 >= P99_MS or any(run.failed for run in ours))


if __name__ == "__main__":
    sys.exit(main())
