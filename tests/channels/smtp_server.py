"""A real SMTP server on loopback for the tests (aiosmtpd), which can be slow, refuse, and drop the line."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailboxes:
    """Takes mail and keeps it; what it does is told by the address: busy@, nobody@, full@, drop@, slow@."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, bytes]] = []

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("busy@"):
            return "451 4.3.0 try again later"
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        to = envelope.rcpt_tos[0]
        if to.startswith("full@"):
            return "552 5.2.2 mailbox full"
        assert isinstance(envelope.content, bytes)
        self.letters.append((to, envelope.content))
        if to.startswith("drop@"):
            assert server.transport is not None
            server.transport.abort()
        if to.startswith("slow@"):
            await asyncio.sleep(1.0)
        return "250 taken"

    def ids(self) -> Counter[str]:
        """How often each Message-ID was taken."""
        found: Counter[str] = Counter()
        for _, content in self.letters:
            match = re.search(rb"^Message-ID: <([^@>]+)@", content, re.M)
            assert match is not None
            found[match.group(1).decode()] += 1
        return found


@contextmanager
def mail_server(**options: Any) -> Iterator[tuple[Mailboxes, int]]:
    """A server that runs while the context does: its mailboxes and its port."""
    boxes = Mailboxes()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(boxes, hostname="127.0.0.1", port=port, decode_data=False, **options)
    controller.start()
    try:
        yield boxes, port
    finally:
        controller.stop()
