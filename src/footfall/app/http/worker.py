"""A worker: one process, one event loop, HTTP only. Started by the supervisor (server.py)."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import uvicorn
import uvloop

from footfall.app import logs
from footfall.app.http.app import Application
from footfall.app.http.making import make_context
from footfall.app.http.server import BACKLOG, Spec, opened, read_spec, tell_ready
from footfall.app.http.wire import bounded
from footfall.config import ServeSettings
from footfall.errors import FootfallError

ANSWER_S = 3.0  # after which a state that does not answer is taken for away
KEEP_ALIVE_S = 30
GRACEFUL_S = 8


def configured(app: Application, settings: ServeSettings) -> uvicorn.Config:
    """How a worker runs its application."""
    return uvicorn.Config(
        app,
        http=bounded(settings, app.hot),
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACEFUL_S,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, telling the supervisor when it listens; signals are set up by ``_run``."""

    def __init__(self, config: uvicorn.Config, spec: Spec) -> None:
        super().__init__(config)
        self._spec = spec

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        tell_ready(self._spec)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ``_run``'s: uvicorn would raise them again before the inbox is closed."""
        yield


def main(arguments: list[str]) -> int:
    """Run until the supervisor ends or says so."""
    spec = read_spec(arguments)
    log = logs.set_up(f"worker-{spec.index}", spec.level)
    try:
        uvloop.run(_run(spec, log))
    except FootfallError as error:
        log.error("cannot go on", error=error.message, way_out=error.way_out)
        return error.exit_status
    return 0


async def _run(spec: Spec, log: Any) -> None:
    here = replace(opened(spec, log), answer_s=ANSWER_S)
    context = await make_context(here, spec, log)
    _quieten()
    server = _Server(configured(Application(context, log), spec.settings), spec)

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    looking = loop.create_task(context.keys.keep_looking())
    loop.add_reader(spec.alive, _orphaned, loop, spec.alive, stop)
    listening = socket.socket(fileno=spec.listen)
    listening.setblocking(False)
    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        await server.serve([listening])
    finally:
        looking.cancel()
        await context.live.close()
        await asyncio.to_thread(context.commit.close)
        context.reader.close()


def _quieten() -> None:
    """Keep the interpreter's own work out of the requests' way.

    What was loaded so far is never garbage: it is taken out of the collector's sight, which else walks through all of
    it again and again. The thread that writes to the disk gets the interpreter back in a millisecond, not in five.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    sys.setswitchinterval(0.001)


def _orphaned(loop: asyncio.AbstractEventLoop, alive: int, stop: Any) -> None:
    loop.remove_reader(alive)
    stop()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the terminal it comes to all; the supervisor's SIGTERM ends us
    sys.exit(main(sys.argv))
