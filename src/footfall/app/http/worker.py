"""A worker: one process, one event loop, HTTP only. Started by the supervisor (server.py)."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop

from footfall.app import logs
from footfall.app.http.server import BACKLOG, Spec, opened, read_spec, tell_ready, watch
from footfall.app.http.wire import bounded
from footfall.config import ServeSettings
from footfall.errors import FootfallError

if TYPE_CHECKING:
    from footfall.app.http.app import Application

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


class _Orphaned:
    """What is done when the supervisor has ended: until the worker serves, it ends at once and lets go of the port."""

    def __init__(self) -> None:
        self.then: Callable[[], object] = partial(os._exit, 1)

    def __call__(self) -> None:
        self.then()


def main(arguments: list[str]) -> int:
    """Run until the supervisor ends or says so."""
    spec = read_spec(arguments)
    orphaned = _Orphaned()
    watch(spec, orphaned)
    log = logs.set_up(f"worker-{spec.index}", spec.level)
    try:
        uvloop.run(_run(spec, log, orphaned))
    except FootfallError as error:
        log.error("cannot go on", error=error.message, way_out=error.way_out)
        return error.exit_status
    return 0


async def _run(spec: Spec, log: Any, orphaned: _Orphaned) -> None:
    from footfall.app.http.app import Application  # takes seconds, in which the supervisor may end
    from footfall.app.http.making import make_context

    here = replace(opened(spec, log), answer_s=ANSWER_S)
    context = await make_context(here, spec, log)
    _quieten()
    server = _Server(configured(Application(context, log), spec.settings), spec)

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    looking = loop.create_task(context.keys.keep_looking())
    orphaned.then = partial(loop.call_soon_threadsafe, stop)
    listening = socket.socket(fileno=spec.listen)
    listening.setblocking(False)
    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        await server.serve([listening])
    finally:
        looking.cancel()
        await context.close()


def _quieten() -> None:
    """Keep the interpreter's own work out of the requests' way.

    What was loaded so far is never garbage: it is taken out of the collector's sight, which else walks through all of
    it again and again. The thread that writes to the disk gets the interpreter back in a millisecond, not in five.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    sys.setswitchinterval(0.001)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the terminal it comes to all; the supervisor's SIGTERM ends us
    sys.exit(main(sys.argv))
