"""A worker: one process, one event loop, HTTP only. Started by the supervisor (server.py)."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from footfall.app import logs
from footfall.app.http.app import Application
from footfall.app.http.limits import WHOLE
from footfall.app.http.making import make_context
from footfall.app.http.server import BACKLOG, Spec, opened, read_spec, tell_ready
from footfall.config import ServeSettings

KEEP_ALIVE_S = 30
MAX_HEADER_BYTES = 32_768
GRACEFUL_S = 8


def bounded(settings: ServeSettings) -> type[HttpToolsProtocol]:
    """uvicorn's protocol with what it lacks: a time and a size within which the headers of a request have to arrive.

    A client that opens a connection and dribbles holds it no longer than ``header_timeout_s``.
    """

    class Bounded(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _header_bytes = 0
        _in_body = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._let_be()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self._in_body:
                self._header_bytes += len(data)
            super().data_received(data)
            if self._in_body or not self._header_bytes or self.transport.is_closing():
                return
            if self._header_bytes > MAX_HEADER_BYTES:
                self.send_400_response("Headers too large.")
            elif self._deadline is None:
                self._expect_headers()

        def on_headers_complete(self) -> None:
            self._let_be()
            self._in_body, self._header_bytes = True, 0
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_body = False
            scope: Any = self.scope
            scope[WHOLE] = True
            super().on_message_complete()

        def _expect_headers(self) -> None:
            self._deadline = self.loop.call_later(settings.header_timeout_s, self._too_slow)

        def _let_be(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            self._deadline = None
            self.transport.close()

    return Bounded


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
    uvloop.run(_run(spec, log))
    return 0


async def _run(spec: Spec, log: Any) -> None:
    here = opened(spec, log)
    context = await make_context(here, spec, log)
    _quieten()
    config = uvicorn.Config(
        Application(context, log),
        http=bounded(spec.settings),
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=spec.settings.max_connections,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACEFUL_S,
    )
    server = _Server(config, spec)

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    loop.add_reader(spec.alive, _orphaned, loop, spec.alive, stop)
    listening = socket.socket(fileno=spec.listen)
    listening.setblocking(False)
    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        await server.serve([listening])
    finally:
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
