"""The worker's HTTP protocol: uvicorn's, with what it lacks.

- A time and a size within which the headers of a request have to arrive: a client that opens a connection and dribbles
  holds it no longer than ``header_timeout_s``. Likewise a body, ``body_timeout_s``, though its answer may be out; what
  comes beside a body in chunks, trailers above all, has the size of headers at most.
- Hot addresses (hot.py) are answered here, as soon as a request is whole, without a task, a scope's copy and the
  coroutines of ASGI, which cost several times what a decision does. Only the plain case is: POST, the whole body
  announced by Content-Length, no other request of the connection under way. Everything else is uvicorn's.
- Bounds of what a client has waiting (turns.py).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from footfall.app.http.hot import Hot, HotPath
from footfall.app.http.limits import WHOLE, broken_off, too_slow
from footfall.app.http.problems import Headers, Problem
from footfall.app.http.turns import PIECE_BYTES, InTurn
from footfall.config import ServeSettings

MAX_HEADER_BYTES = 32_768  # of headers, and of what comes between two parts of a body or after its last one
_CLOSE = (b"connection", b"close")


class _Nobody:
    """In place of the event by which uvicorn wakes a request's task."""

    def set(self) -> None:
        """Nobody waits."""


class _Exchange:
    """A hot request on its way; uvicorn reads and sets what it does of its own requests."""

    __slots__ = ("begun", "disconnected", "hot", "keep_alive", "parts", "response_complete", "scope", "source")
    message_event = _Nobody()
    response_started = False  # not before the body is whole

    def __init__(self, hot: Hot, scope: Any, source: str, keep_alive: bool) -> None:
        self.hot = hot
        self.scope = scope
        self.source = source
        self.keep_alive = keep_alive
        self.begun = time.perf_counter()
        self.parts: list[bytes] = []
        self.response_complete = False
        self.disconnected = False


class Wire(InTurn):
    """The protocol; ``bounded`` gives it its settings."""

    settings: ServeSettings
    path: HotPath | None = None  # the hot addresses; None: everything is ASGI's
    _deadline: asyncio.TimerHandle | None = None
    _too_large = False  # whether the headers that came last are
    _header_bytes = 0  # since a request or its headers ended or a part of its body came
    _receiving: _Exchange | None = None  # whose body is not whole yet
    _body_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; headers have to arrive in time."""
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a body that is not whole is answered as broken off, for the count."""
        self._let_be()
        exchange = self._received()
        super().connection_lost(exc)
        if exchange is not None:
            self._refuse(exchange, broken_off())

    def parse(self, piece: bytes | memoryview) -> None:
        """Have the parser take a piece, and see that what has begun ends in time."""
        self._header_bytes += len(piece)
        super().parse(piece)
        if self.refused or self.transport.is_closing():
            return
        if self._header_bytes > MAX_HEADER_BYTES:
            self.send_400_response("Trailers too large." if self.in_body else "Headers too large.")
        elif self.in_body:
            if self._body_deadline is None:
                self._expect_body()
        elif self._header_bytes and self._deadline is None:
            self._expect_headers()

    def on_headers_complete(self) -> None:
        """Choose who answers: this class where the address is hot, else uvicorn."""
        if self._header_bytes > MAX_HEADER_BYTES - PIECE_BYTES and self._size_of_headers() > MAX_HEADER_BYTES:
            self._too_large = True
            raise httptools.HttpParserError  # back to ``send_400_response``
        self._let_be()
        exchange = self._hot_exchange()
        if exchange is None:
            super().on_headers_complete()
        else:
            self._receiving = exchange
            self.cycle = exchange  # type: ignore[assignment]
        self.in_body, self._header_bytes = True, 0
        self.headers = []  # trailers come here, and to nobody: they are no headers (RFC 9110, 6.5.1)

    def on_body(self, body: bytes) -> None:
        """Keep a part of a body."""
        self._header_bytes = 0
        if self._receiving is not None:
            self._receiving.parts.append(body)
            self.body_left -= len(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer, or have uvicorn answer."""
        self.in_body, self._header_bytes = False, 0
        exchange = self._received()
        if exchange is not None:
            parts = exchange.parts
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            exchange.parts = []
            self._start(exchange, body)
            return
        scope: Any = self.scope
        scope[WHOLE] = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what came last; nothing more has to come in time."""
        self._let_be()
        self._received()
        super().send_400_response("Headers too large." if self._too_large else msg)

    def _size_of_headers(self) -> int:
        """Bytes of the request's line and headers, of which the first piece may have been another request's, too."""
        line = len(self.parser.get_method()) + len(self.url) + len(b"  HTTP/1.1\r\n\r\n")
        return line + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)

    # ------------------------------------------------------------ hot addresses

    def _hot_exchange(self) -> _Exchange | None:
        """The request whose headers are here, if it is to be answered without ASGI."""
        path = self.path
        hot = path.find(self.url) if path is not None else None
        parser, before, limit = self.parser, self.cycle, self.limit_concurrency
        if (
            path is None
            or hot is None
            or parser.get_method() != b"POST"
            or parser.should_upgrade()
            or self.expect_100_continue
            or self.flow.write_paused
            or (before is not None and not before.response_complete)
            or (limit is not None and max(len(self.connections), len(self.tasks)) >= limit)
        ):
            return None
        length = 0
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)
            if name == b"transfer-encoding" or length > hot.most:
                return None
        scope: Any = self.scope
        scope["method"] = "POST"
        source = path.admit(hot, scope)
        if source is None:
            return None
        self.body_left = length
        return _Exchange(hot, scope, source, parser.get_http_version() != "1.0" and parser.should_keep_alive())

    def _start(self, exchange: _Exchange, body: bytes) -> None:
        assert self.path is not None

        def send(status: int, headers: Headers, told: bytes) -> None:
            self._send(exchange, status, headers, told)

        self.path.start(exchange.hot, exchange.scope, body, exchange.source, exchange.begun, send)

    def _refuse(self, exchange: _Exchange, problem: Problem) -> None:
        assert self.path is not None

        def send(status: int, headers: Headers, told: bytes) -> None:
            self._send(exchange, status, headers, told)

        self.path.tell(exchange.hot, exchange.scope, problem, exchange.begun, send)

    def _send(self, exchange: _Exchange, status: int, headers: Headers, body: bytes) -> None:
        exchange.response_complete = True
        if exchange.disconnected or self.transport.is_closing():
            return
        parts = [STATUS_LINE[status]]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        ends = _CLOSE in headers
        if not exchange.keep_alive and not ends:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", body)
        self.transport.write(b"".join(parts))
        if ends or not exchange.keep_alive:
            self.end(more=ends)
        self.on_response_complete()

    def _linger(self) -> None:
        self._let_be()
        self._received()  # what is missing is not waited for
        super()._linger()

    # ------------------------------------------------------------ headers and bodies in time

    def _expect_body(self) -> None:
        self._body_deadline = self.loop.call_later(self.settings.body_timeout_s, self._body_too_slow)

    def _received(self) -> _Exchange | None:
        """The hot request whose body was being received; no body is any longer."""
        exchange, self._receiving = self._receiving, None
        if self._body_deadline is not None:
            self._body_deadline.cancel()
            self._body_deadline = None
        return exchange

    def _body_too_slow(self) -> None:
        if self.flow.read_paused:  # what is missing may be here, and waits
            self._expect_body()
            return
        exchange = self._received()
        if exchange is not None:
            self._refuse(exchange, too_slow(self.settings.body_timeout_s))
        elif self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False  # its answer is under way, without the body or to say that it is late

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(self.settings.header_timeout_s, self._too_slow)

    def _let_be(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self.flow.read_paused:  # what is missing may be here, and waits
            self._expect_headers()
            return
        self._deadline = None
        self.transport.close()


def bounded(settings: ServeSettings, path: HotPath | None = None) -> type[Wire]:
    """The protocol under these settings. path: the hot addresses; None: everything is ASGI's."""
    return type("Bounded", (Wire,), {"settings": settings, "path": path, "unread_s": settings.body_timeout_s})
