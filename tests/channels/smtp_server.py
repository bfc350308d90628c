"""A real SMTP server on loopback for the tests (aiosmtpd), which can be slow, refuse, and drop the line."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


GREETING = {"connect": "220 mail.example", "EHLO": "250 mail.example", "QUIT": "221 bye"}
ORDERLY = {
    **GREETING,
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go on",
    "content": "250 taken",
    "RSET": "250 ok",
}


@contextmanager
def scripted_server(**answers: str | None) -> Iterator[tuple[list[bytes], int]]:
    """A server that says at each stage what it is told to, over every connection: the letters it saw, and its port.

    answers: by stage (connect, EHLO, MAIL, RCPT, DATA, content, QUIT), else orderly ones. None: say nothing at all.
    "": close the line.
    """
    told, seen, listener = {**ORDERLY, **answers}, list[bytes](), socket.create_server(("127.0.0.1", 0))

    def talk(line: socket.socket) -> None:
        with line, line.makefile("rb") as heard:

            def say(stage: str) -> bool:
                answer = told.get(stage, "250 ok")
                if answer:
                    line.sendall(answer.encode("latin-1") + b"\r\n")
                return answer != ""

            if not say("connect"):
                return
            for command in heard:
                stage = command[:4].decode("ascii").strip().upper()
                if not say(stage) or stage == "QUIT":
                    return
                if stage == "DATA" and (told["DATA"] or "").startswith("3"):
                    content = b""
                    for part in heard:
                        if part == b".\r\n":
                            break
                        content += part
                    seen.append(content)
                    if not say("content"):
                        return

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_quietly, args=(talk, line), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield seen, listener.getsockname()[1]
    finally:
        listener.close()


def _quietly(talk: Any, line: socket.socket) -> None:
    with suppress(OSError):
        talk(line)
