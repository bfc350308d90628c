"""Requests of a connection in their turn: what a client queues is bounded, and who never reads is cut off.

uvicorn makes objects of all requests that have arrived, thirty times their size on the wire, however many of them wait
for the one before, and with each answer reads more. Here what waits stays bytes, and most of these with the client:
what has arrived is parsed in pieces, and while a request waits for its turn nothing more is parsed or read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl

from footfall.app.http.upgrades import WithoutUpgrades

PIECE_BYTES = 4096  # what may wait as objects: some 200 of the shortest requests


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


class InTurn(WithoutUpgrades):
    """uvicorn's protocol with a bounded queue; ``parse`` gets what arrives, piece by piece."""

    flow: _Flow
    body_left = 0  # bytes that come before another request can, where that is known
    unread_s = 20.0  # a client has to take something of its answers within this time, or twice that
    _unread_bytes = 0  # at the last look
    _unread_look: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._unread_look = self.loop.call_later(self.unread_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; nobody waits any more."""
        self._unread_look.cancel()
        self.flow.held = b""
        self.pipeline.clear()
        super().connection_lost(exc)

    # ------------------------------------------------------------ requests

    def data_received(self, data: bytes) -> None:
        """Parse what it is the turn of."""
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
        super().on_response_complete()
        if self.flow.held and not self.pipeline:
            self.loop.call_soon(self._go_on)  # not at once: the parser itself may have led here

    def _go_on(self) -> None:
        if not self.pipeline:
            data, self.flow.held = self.flow.held, b""
            self._parse_all(memoryview(data))
            self.flow.resume_reading()

    def _parse_all(self, data: memoryview, end: int = PIECE_BYTES) -> None:
        """end: of the first piece."""
        at = 0
        while at < len(data) and not self.transport.is_closing():
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

    # ------------------------------------------------------------ answers

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
