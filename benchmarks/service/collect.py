"""Collect against a bare handler: events a second, tail of the answers, and whether the drain keeps up.

    python benchmarks/service/collect.py [--seconds 10] [--rounds 3] [--connections 16 64]

Load by wrk (Debian's package). Both handlers run on uvicorn in one worker process each, on this machine, one after the
other in each round: the bare one reads the body, decodes it into the same structures (batch, calls,
contexts, properties) and answers 200; Footfall's
checks every event, writes them to the inbox (SQLite, synchronous=FULL) and answers when they are on the disk. Bodies
are batches of 100 track calls as an SDK sends them. A durable answer takes a turn of the disk, in which the clients of
a closed loop can only wait: few clients leave the processor idle for that long, many do not, so both are measured. The
ratio is of the best round of each; on a loaded machine the CPU seconds that a server spent for an event say more than
the clock, so they and the load of the machine are printed, too. So is what the disk does alone, appending as much as a
commit holds and waiting for it: no durable answer has a shorter tail than that.

Bounds: at each number of connections half the bare handler's events a second; 99 % of the answers within 50 ms at 16;
the drain moves at least as many events a second as collect takes in.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

EVENTS = 100
NAMES = ("Product Viewed", "Product List Viewed", "Product Added", "Product Clicked")
RATIO, TAIL_MS, TAIL_CONNECTIONS = 0.5, 50.0, 16
COMMIT_BYTES = 80_000  # some eight packed bodies: half of the connections wait while the others' bodies are read

LUA = """
local bodies = {}
for path in io.popen('ls FOLDER/*.json'):lines() do
  local file = io.open(path, 'rb'); bodies[#bodies + 1] = file:read('*a'); file:close()
end
local at = 0
local headers = {['Content-Type'] = 'application/json', ['Authorization'] = 'Basic a2V5Og=='}
request = function()
  at = at % #bodies + 1
  return wrk.format('POST', '/v1/batch', headers, bodies[at])
end
done = function(summary, latency, requests)
  io.write(string.format('RESULT %d %d %d %f %f\\n', summary.requests, summary.duration,
    summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


def call(chance: random.Random, ascii_only: bool) -> dict[str, object]:
    """One call as an SDK sends it."""
    return {
        "type": "track",
        "event": chance.choice(NAMES),
        "messageId": str(uuid.UUID(int=chance.getrandbits(128))),
        "anonymousId": str(uuid.UUID(int=chance.getrandbits(128))),
        "userId": f"u{chance.randrange(10**6)}",
        "timestamp": datetime.now(UTC).isoformat(),
        "context": {
            "library": {"name": "analytics-python", "version": "2.4.0"},
            "ip": "203.0.113.7",
            "campaign": {"name": "spring", "source": "google", "medium": "cpc"},
            "locale": "en-US",
        },
        "integrations": {},
        "properties": {
            "provider_id": f"shop-{chance.randrange(50)}",
            "product_id": f"p{chance.randrange(10**5)}",
            "category": "Games",
            "name": "Monopoly: 3rd Edition" if ascii_only else "大富翁",
            "price": 18.99,
            "quantity": 1,
            "currency": "USD",
            "position": 3,
            "url": "https://www.example.com/product/path",
        },
    }


def write_bodies(folder: Path, count: int, ascii_only: bool) -> int:
    """Bodies for the load generator; the bytes of one."""
    chance, size = random.Random(1), 0
    folder.mkdir(parents=True)
    for number in range(count):
        calls = [call(chance, ascii_only) for _ in range(EVENTS)]
        text = json.dumps({"batch": calls, "sentAt": datetime.now(UTC).isoformat()})
        size = (folder / f"{number:04}.json").write_bytes(text.encode())
    return size


# ---------------------------------------------------------------- the two servers


def serve(kind: str, port: int, folder: Path) -> None:
    """Run one of the servers in this process until it is told to end."""
    import gc

    import uvicorn
    import uvloop

    gc.set_threshold(20_000, 20, 20)  # both as a worker of the service runs
    sys.setswitchinterval(0.001)
    if kind == "footfall":
        uvloop.run(footfall(port, folder))
    else:
        uvicorn.run(
            bare_app(),
            host="127.0.0.1",
            port=port,
            log_level="error",
            access_log=False,
            loop="uvloop",
            http="httptools",
        )


def bare_app():
    """Decodes the body into the structures that Footfall decodes it into, and answers 200."""
    from footfall.record.calls import BATCH, PROPERTIES

    async def app(scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        if message.get("more_body"):
            parts = [body]
            while message.get("more_body"):
                message = await receive()
                parts.append(message["body"])
            body = b"".join(parts)
        for call in BATCH.decode(body).batch:
            PROPERTIES.decode(call.properties)
        answer = b'{"success":true}'
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


async def footfall(port: int, folder: Path) -> None:
    """A worker of Footfall on the workspace in ``folder``."""
    import asyncio

    import uvicorn

    from footfall.app import logs
    from footfall.app.build import open_workspace
    from footfall.app.http.app import Application
    from footfall.app.http.making import make_context
    from footfall.app.http.server import Spec
    from footfall.app.http.worker import configured
    from footfall.stores.inbox import SqliteInbox

    here = open_workspace(folder / "shop")
    settings = here.config.serve
    spec = Spec(directory=str(here.directory), settings=settings, index=0, rows=1, alive=-1, board=-1, ready=-1)
    log = logs.set_up("bench", "error")
    context = await make_context(here, spec, log)
    ended = threading.Event()

    def keep() -> None:  # what the keeper's drain does to the inbox each second; here all stays, to be drained later
        own = SqliteInbox(inbox_of(folder))
        while not ended.wait(1.0):
            own.delete(0)
        own.close()

    threading.Thread(target=keep).start()
    listening = socket.create_server(("127.0.0.1", port))
    try:
        await uvicorn.Server(configured(Application(context, log), settings)).serve([listening])
    finally:
        ended.set()
        await context.live.close()
        await asyncio.to_thread(context.commit.close)
        context.reader.close()


def inbox_of(folder: Path) -> Path:
    """The file of the worker's inbox."""
    return folder / "shop" / "inbox" / "inbox.db"


# ---------------------------------------------------------------- the load


class Round:
    """What one server did under load for some seconds."""

    def __init__(
        self, requests: int, seconds: float, errors: int, p50_ms: float, p99_ms: float, cpu_s: float, loop_s: float
    ) -> None:
        self.events = requests * EVENTS / seconds
        self.errors = errors
        self.p50_ms = p50_ms
        self.p99_ms = p99_ms
        self.cpu_us = 1e6 * cpu_s / max(requests * EVENTS, 1)
        self.loop_us = 1e6 * loop_s / max(requests * EVENTS, 1)

    def __str__(self) -> str:
        return (
            f"{self.events:>9,.0f} events/s   p50 {self.p50_ms:5.1f} ms   p99 {self.p99_ms:5.1f} ms   "
            f"{self.cpu_us:5.2f} CPU us/event, {self.loop_us:4.2f} of the loop   {self.errors} errors"
        )


def measure(kind: str, folder: Path, wrk: str, script: Path, seconds: float, connections: int) -> Round:
    """Start a server, load it, end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", kind, "--port", str(port), "--folder", str(folder)]
    )
    try:
        wait_for(port)
        load = [wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), f"http://127.0.0.1:{port}"]
        warm = [*load[:3], "-d1s", *load[4:]]
        subprocess.run(warm, check=True, capture_output=True)
        before, loop = cpu_of(process.pid), cpu_of(process.pid, True)
        told = subprocess.run(load, check=True, capture_output=True, text=True).stdout
        cpu, loop = cpu_of(process.pid) - before, cpu_of(process.pid, True) - loop
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)", told)
    assert found, told
    requests, micros, errors = (int(found[i]) for i in (1, 2, 3))
    return Round(requests, micros / 1e6, errors, float(found[4]) / 1e3, float(found[5]) / 1e3, cpu, loop)


def cpu_of(pid: int, loop: bool = False) -> float:
    """CPU seconds that a process has used, or its first thread alone, which runs the event loop."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat" if loop else f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def disk_alone(folder: Path, seconds: float) -> tuple[float, float, float]:
    """Median, 99th percentile and longest wait, in ms, for COMMIT_BYTES that are appended to a file and synced."""
    data, waits = os.urandom(COMMIT_BYTES), []
    with (folder / "alone").open("wb", buffering=0) as file:
        ended = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < ended:
            file.write(data)
            os.fdatasync(file.fileno())
            waits.append(1e3 * (time.perf_counter() - begun))
    (folder / "alone").unlink()
    waits.sort()
    return waits[len(waits) // 2], waits[len(waits) * 99 // 100], waits[-1]


def wait_for(port: int) -> None:
    """Until the server listens."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server did not start")


def drain_all(folder: Path) -> tuple[int, float, float]:
    """(events, seconds, CPU seconds) of draining what the rounds left; ids are made anew so that all are new."""
    from footfall.app.build import SystemClock
    from footfall.config import Config
    from footfall.record.drained import drain
    from footfall.stores.engine import DuckEngine
    from footfall.stores.inbox import SqliteInbox
    from footfall.stores.lake import Lake

    source, inbox = SqliteInbox(inbox_of(folder)), SqliteInbox(folder / "fresh.db")
    held = 0

    def another(_: re.Match[bytes]) -> bytes:
        nonlocal held
        held += 1
        return b'"messageId": "%032x"' % held

    for _, kind, body in source.read(0, 256 << 20):
        assert kind == "calls", kind
        inbox.append([("calls", re.sub(rb'"messageId": "[0-9a-f-]{36}"', another, body))])
    source.close()
    engine, lake = DuckEngine(1024, 0, folder / "tmp"), Lake(folder / "lake" / "events")
    started, used = time.perf_counter(), time.process_time()
    moved = drain(inbox, lake, None, engine, Config(), SystemClock(), quarantine_dir=folder / "quarantine")
    took, cpu = time.perf_counter() - started, time.process_time() - used
    assert moved.events == held, (moved, held)
    engine.close()
    inbox.close()
    return held, took, cpu


def main() -> int:
    """Run it; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[TAIL_CONNECTIONS, 64])
    parser.add_argument("--chinese", action="store_true", help="texts beyond ASCII, escaped as SDKs do")
    parser.add_argument("--serve", choices=("bare", "footfall"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port, options.folder)
        return 0
    wrk = shutil.which("wrk")
    if wrk is None:
        print("skipped: there is no wrk (Debian: apt-get install wrk)")
        return 0
    with tempfile.TemporaryDirectory(prefix="footfall-collect-") as text:
        return compare(Path(text), wrk, options)


def compare(folder: Path, wrk: str, options: argparse.Namespace) -> int:
    """Interleaved rounds at each number of connections, the ratios, the drain."""
    from footfall import make_workspace

    size = write_bodies(folder / "bodies", 200, not options.chinese)
    make_workspace(folder / "shop", {"serve": {"plan_at": "", "facts_s": 0.0, "rate_per_key": 0.0}})
    script = folder / "load.lua"
    script.write_text(LUA.replace("FOLDER", str(folder / "bodies")))
    print(f"batches of {EVENTS}, {size:,} bytes each, one worker; load {os.getloadavg()[0]:.1f}")
    met, fastest = True, 0.0
    for connections in options.connections:
        rounds: dict[str, list[Round]] = {"bare": [], "footfall": []}
        for _ in range(options.rounds):
            for kind, found in rounds.items():
                for path in inbox_of(folder).parent.glob("inbox.db*"):
                    path.unlink()
                found.append(measure(kind, folder, wrk, script, options.seconds, connections))
                print(f"{connections:>4} {kind:>9}: {found[-1]}   load {os.getloadavg()[0]:.1f}", flush=True)
        best = {kind: max(found, key=lambda r: r.events) for kind, found in rounds.items()}
        ratio = best["footfall"].events / best["bare"].events
        cpu = min(r.cpu_us for r in rounds["footfall"]) / min(r.cpu_us for r in rounds["bare"])
        loop = min(r.loop_us for r in rounds["footfall"]) / min(r.loop_us for r in rounds["bare"])
        print(f"{connections:>4} connections: events a second {ratio:.2f} of the bare handler's (bound {RATIO}); "
              f"CPU an event {cpu:.2f} times, the loop {loop:.2f}; p99 {best['footfall'].p99_ms:.1f} ms")  # fmt: skip
        tail = best["footfall"].p99_ms <= TAIL_MS or connections != TAIL_CONNECTIONS
        met = met and ratio >= RATIO and tail and not any(r.errors for found in rounds.values() for r in found)
        fastest = max(fastest, best["footfall"].events)
    middle, tail_ms, longest = disk_alone(folder, options.seconds)
    print(f"the disk alone, {COMMIT_BYTES:,} bytes appended and synced: p50 {middle:.1f} ms   p99 {tail_ms:.1f} ms   "
          f"longest {longest:.1f} ms")  # fmt: skip
    events, took, cpu_s = drain_all(folder)
    rate = events / took
    print(f"drain: {events:,} events, {rate:,.0f} a second ({1e6 * cpu_s / events:.2f} CPU us/event); collect took in "
          f"{fastest:,.0f} a second at most")  # fmt: skip
    met = met and rate >= fastest
    print("bounds met" if met else "a bound is missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
