"""Ten thousand messages from the outbox to a local SMTP server.

    python benchmarks/retain/smtp.py [--messages 10_000]

The server (aiosmtpd) runs in a process of its own on loopback and only counts. The sender is one worker with one kept
connection: each message is claimed, rendered, marked on disk, handed over and settled, as ``footfall retain`` does it.
Bound: 60 seconds by the clock, less the time in which sender or server stood in the scheduler's queue because others
had the processors (Linux tells it in /proc/PID/schedstat; elsewhere nothing is taken off). Exits with 1 where it is
missed, or where a message was not delivered exactly once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

MESSAGES, BOUND_S = 10_000, 60.0  # other numbers of messages in proportion


class Counting:
    """Takes every letter and keeps its Message-ID."""

    def __init__(self) -> None:
        self.ids: Counter[bytes] = Counter()

    async def handle_DATA(self, _server: object, _session: object, envelope: object) -> str:  # noqa: N802
        """Count one letter."""
        content = envelope.content
        start = content.index(b"Message-ID: <") + 13
        self.ids[content[start : content.index(b"@", start)]] += 1
        return "250 taken"


def serve(port: int, pipe: Connection) -> None:
    """The server, until the pipe says enough; then how many letters, how many twice, and its CPU seconds."""
    from aiosmtpd.controller import Controller

    boxes = Counting()
    controller = Controller(boxes, hostname="127.0.0.1", port=port)
    controller.start()
    pipe.send("up")
    pipe.recv()
    controller.stop()
    pipe.send((sum(boxes.ids.values()), sum(n > 1 for n in boxes.ids.values()), time.process_time(), queued_s()))


def queued_s() -> float:
    """Seconds that this process's threads stood in the scheduler's queue so far; 0 where the system does not tell."""
    return sum(int(path.read_text().split()[1]) for path in Path("/proc/self/task").glob("*/schedstat")) / 1e9


def main() -> int:
    """Fill the outbox, send it all, judge."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=MESSAGES)
    many = options.parse_args().messages
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    server = context.Process(target=serve, args=(port, other), daemon=True)
    server.start()
    assert pipe.recv() == "up"
    with tempfile.TemporaryDirectory(prefix="footfall-bench-") as folder:
        wall_s, waited_s, used, done = send(Path(folder), port, many)
    pipe.send("enough")
    taken, twice, server_s, server_waited_s = pipe.recv()
    judged_s = max(wall_s - waited_s - server_waited_s, 0.0)
    server.join()
    cpu_s = used.ru_utime + used.ru_stime
    print(f"{many:,} messages: {dict(done)}; the server took {taken:,}, {twice} of them twice")
    print(f"{'by the clock, s':46} {wall_s:8.1f}")
    bound_s = BOUND_S * many / MESSAGES
    told = f"(at most {bound_s:g}; {many / judged_s:,.0f} a second)"
    print(f"{'  less what others had the processors for':46} {judged_s:8.1f}   {told}")
    print(f"{'CPU seconds of the sender':46} {cpu_s:8.1f}")
    print(f"{'CPU seconds of the server':46} {server_s:8.1f}")
    return int(taken != many or twice > 0 or judged_s > bound_s)


def send(folder: Path, port: int, many: int) -> tuple[float, float, resource.struct_rusage, Counter[str]]:
    """Send ``many`` messages of a journey: seconds by the clock, of these queued, use, outcomes."""
    from footfall.app import messaging
    from footfall.app.build import make_workspace, open_workspace
    from footfall.model import Message

    made = make_workspace(folder / "shop", {"workspace": {"currency": "EUR"}})
    path = made.directory / "footfall.toml"
    text = path.read_text(encoding="utf-8")
    told = 'public_url = "https://shop.example"\nquiet = ""\n'
    text = text.replace("[retain]\n", f"[retain]\n{told}")
    text += f'[channels.email]\nkind = "smtp"\nhost = "127.0.0.1"\nport = {port}\ntls = "none"\n'
    text += 'sender = "s@shop.example"\n'
    text += '[journeys.carts]\naudience = "cart_abandoned"\n[[journeys.carts.steps]]\ntemplate = "cart"\n'
    path.write_text(text, encoding="utf-8")
    here, now = open_workspace(made.directory), datetime.now(UTC)
    context = '{"name":"Ann","customer_id":"%s","provider":"Shop One","provider_id":"s1","timezone":"Europe/Berlin"}'
    given = []
    for n in range(many):
        told = context % f"p{n}"
        given.append(
            Message(f"m{n:06}", "carts", f"u:p{n}", 0, 1, "email", f"p{n}@example.com", "cart", "en", told, now, 1.0)
        )
    here.outbox.add(given)
    waited = queued_s()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    done = messaging.send(here)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    used = resource.struct_rusage([a - b for a, b in zip(after, before, strict=True)])
    return wall_s, queued_s() - waited, used, done


if __name__ == "__main__":
    sys.exit(main())
