"""A deadline for all that a thread sends and receives through httpx, whose own times are for single steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

_WRITTEN = 1 << 16  # bytes that are sent in one step


class Deadline(threading.local):
    """A moment by which all that this thread sends and receives has to be done.

    httpx's own times are for each step, and a peer that trickles takes many. Looking up a name has no limit.
    """

    def __init__(self) -> None:
        self._until = float("inf")
        self._seconds = 0.0

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Begin now."""
        self._until, self._seconds = time.monotonic() + seconds, seconds
        try:
            yield
        finally:
            self._until = float("inf")

    def left(self, timeout: float | None, late: type[httpx.TimeoutException]) -> float | None:
        """Seconds for the next step; ``late`` where there are none left."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise late(f"not within {self._seconds:g} s")
        return min(left, float("inf") if timeout is None else timeout) if left < float("inf") else timeout

    def hold(self, client: httpx.Client) -> None:
        """Have the connections of a client keep it (httpx has no public place for what httpcore takes)."""
        for transport in (client._transport, *client._mounts.values()):
            if isinstance(transport, httpx.HTTPTransport):
                pool: Any = transport._pool
                pool._network_backend = _Network(pool._network_backend, self)


class _Network:
    """httpcore's network backend whose connections keep a deadline."""

    def __init__(self, backend: Any, deadline: Deadline) -> None:
        self._backend = backend
        self._deadline = deadline

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **rest: Any) -> _Stream:
        timeout = self._deadline.left(timeout, httpx.ConnectTimeout)
        return _Stream(self._backend.connect_tcp(host, port, timeout, **rest), self._deadline)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class _Stream:
    """httpcore's network stream that keeps a deadline."""

    def __init__(self, stream: Any, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._stream.read(max_bytes, self._deadline.left(timeout, httpx.ReadTimeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), _WRITTEN):
            self._stream.write(buffer[at : at + _WRITTEN], self._deadline.left(timeout, httpx.WriteTimeout))

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        timeout = self._deadline.left(timeout, httpx.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._deadline)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
