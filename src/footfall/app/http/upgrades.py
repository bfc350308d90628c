"""Upgrades that are asked for and not spoken: a server ignores them (RFC 9110, 7.8) and answers in HTTP/1.1.

Java's HttpClient and `curl --http2` ask for h2c in their first request. httptools ends such a request with its headers,
and takes what follows, its body, for the next one. Here it is parsed once more, without that header.
"""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _Parser(httptools.HttpRequestParser):
    """httptools', which hands what follows a request for an upgrade to its protocol."""

    def __init__(self, protocol: WithoutUpgrades) -> None:
        super().__init__(protocol)
        self._protocol = protocol
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    def feed_data(self, data: bytes | bytearray | memoryview[int] | array[int]) -> None:
        """Parse further bytes."""
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as found:
            if not self._protocol.again:
                raise
            self._protocol.parse_again(bytes(memoryview(data)[found.args[0] :]))


class WithoutUpgrades(HttpToolsProtocol):
    """uvicorn's protocol, for which a request that asks for an upgrade is one as others are."""

    again = b""  # line and headers of such a request, to be parsed once more

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.parser = _Parser(self)

    def on_headers_complete(self) -> None:
        """Begin a request."""
        if self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers):
            kept: list[tuple[bytes, Any]] = [header for header in self.headers if header[0] != b"upgrade"]
            line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
            self.again = b"\r\n".join((line, *(b"%b: %b" % header for header in kept), b"", b""))
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request's body."""
        if not self.again:
            super().on_message_complete()

    def parse_again(self, rest: bytes) -> None:
        """Parse the request anew, and what came after its headers."""
        head, self.again = self.again, b""
        self.parser = _Parser(self)
        self.parser.feed_data(head + rest)
