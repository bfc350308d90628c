"""Requests of a connection in their turn: what a client queues is bounded, and who never reads is cut off.

uvicorn makes objects of all requests that have arrived, thirty times their size on the wire, however many of them wait
for the one before, and with each answer reads more. Here what waits stays bytes, and most of these with the client:
what has arrived is parsed in pieces, and while a request waits for its turn nothing more is parsed or read.

What is no HTTP is refused in its turn, too: an earlier request may be on the disk by then, and a client that is told
of a bad request, or of nothing, takes it for lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from footfall.app.http.problems import Problem, problem_headers
from footfall.app.http.upgrades import WithoutUpgrades

PIECE_BYTES = 4096  # what may wait as objects: some 200 of the shortest requests
LINGER_S = 2.0  # in which who was refused reads that, and ends


class _Flow(FlowControl):
    """uvicorn's, which reads on only where nothing waits. held: what has arrived and is not parsed yet."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting
        self.held = b""

    def resume_reading(self) -> None:
        """Read on, unless something waits."""
        if self.read_paused and not self.held and not self._waiting:
            super().resume_reading()


class _Ended:
    """The transport that a request by ASGI sees, whose end is the protocol's."""

    def __init__(self, protocol: InTurn) -> None:
        self.close = protocol.end
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing


class InTurn(WithoutUpgrades):
    """uvicorn's protocol with a bounded queue; ``parse`` gets what arrives, piece by piece."""

    flow: _Flow
    in_body = False  # whether the body of the last request, ``cycle``, is not whole yet
    body_left = 0  # bytes that come before another request can, where that is known
    refused = ""  # why, where what came last is; nothing more is parsed
    unread_s = 20.0  # a client has to take something of its answers within this time, or twice that
    _answering: RequestResponseCycle | None = None  # of the requests by ASGI
    _unread_bytes = 0  # at the last look
    _unread_look: asyncio.TimerHandle
    _lingering: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._unread_look = self.loop.call_later(self.unread_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; nobody waits any more."""
        self._unread_look.cancel()
        if self._lingering is not None:
            self._lingering.cancel()
        self.flow.held = b""
        self.pipeline.clear()
        if self._answering is not None:  # uvicorn says it to the last one alone
            self._answering.disconnected = True
        super().connection_lost(exc)

    # ------------------------------------------------------------ requests

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        cycle.transport = _Ended(self)  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Parse what it is the turn of."""
        if self.refused:
            return
        if self.pipeline or self.flow.held:
            self.flow.held += data
        elif len(data) <= max(PIECE_BYTES, self.body_left):
            self.parse(data)
        else:
            ended = data.find(b"\r\n\r\n", 0, PIECE_BYTES)  # headers alone first: a body after them comes as one
            self._parse_all(memoryview(data), ended + 4 if ended >= 0 else PIECE_BYTES)

    def parse(self, piece: bytes | memoryview) -> None:
        """Have uvicorn parse it."""
        super().data_received(piece)  # type: ignore[arg-type]  # it hands the piece to httptools, which takes both

    def on_response_complete(self) -> None:
        """It is the next one's turn."""
        if self._lingering is not None:  # that was the last answer
            return
        last = not self.pipeline
        super().on_response_complete()
        if self.refused and last and not self.transport.is_closing():
            self._tell_refused()
        elif self.flow.held and not self.pipeline:
            self.loop.call_soon(self._go_on)  # not at once: the parser itself may have led here

    def _go_on(self) -> None:
        if not self.pipeline:
            data, self.flow.held = self.flow.held, b""
            self._parse_all(memoryview(data))
            self.flow.resume_reading()

    def _parse_all(self, data: memoryview, end: int = PIECE_BYTES) -> None:
        """end: of the first piece."""
        at = 0
        while at < len(data) and not self.refused and not self.transport.is_closing():
            if at and (self.pipeline or self.cycle is None or self.cycle.response_complete):
                self._hold(bytes(data[at:]))
                return
            self.parse(data[at:end])
            at, end = end, end + max(PIECE_BYTES, self.body_left)

    def _hold(self, data: bytes) -> None:
        self.flow.held = data
        self.flow.pause_reading()
        if not self.pipeline:  # all were answered at once: other connections have their turn, too
            self.loop.call_soon(self._go_on)

    # ------------------------------------------------------------ what is no HTTP

    def send_400_response(self, msg: str) -> None:
        """Refuse what came last, once those before it have their answers, and end."""
        self.refused = msg
        last = self.cycle
        if not self.in_body:
            if last is None or last.response_complete:
                self._tell_refused()
        elif self.pipeline:
            self.pipeline.popleft()  # the last one, whose body it is
        elif last.response_complete:
            self._linger()  # a second answer would be another request's
        elif last.response_started:
            self.transport.close()
        else:
            last.disconnected = True  # nobody else answers it
            last.message_event.set()
            self._tell_refused()

    def _tell_refused(self) -> None:
        problem = Problem(400, "bad-request", self.refused)
        body = problem.body()
        headers = (*problem_headers(problem, body), (b"connection", b"close"))
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join((STATUS_LINE[400], *lines, b"\r\n", body)))
        self._linger()

    def _linger(self) -> None:
        """End when the client has: closing while something arrives takes answers away from it (RFC 9112, 9.6)."""
        self.flow.resume_reading()
        self.transport.write_eof()
        self._lingering = self.loop.call_later(LINGER_S, self.transport.close)

    # ------------------------------------------------------------ answers

    def end(self, more: bool = False) -> None:
        """End after an answer; where the client may be sending still, a body above all, once it has ended, too.

        more: whether it knows of no end yet, and may send further requests.
        """
        if self._lingering is not None:
            return
        if self.transport.is_closing() or not (more or self.in_body or self.pipeline or self.flow.held):
            self.transport.close()
            return
        self.refused = self.refused or "The connection has ended."
        self.flow.held = b""
        self.pipeline.clear()
        self._linger()

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self._unread_bytes = 0

    def _look(self) -> None:
        """Nothing is added to what a full or a closing connection has to send: it gets less, or nobody reads it."""
        full = self.flow.write_paused or self.transport.is_closing()
        unread = self.transport.get_write_buffer_size() if full else 0
        if 0 < self._unread_bytes <= unread:
            self.transport.abort()
            return
        self._unread_bytes = unread
        self._unread_look = self.loop.call_later(self.unread_s, self._look)
