"""A real SMTP server on loopback for the tests (aiosmtpd), which can be slow, refuse, and drop the line."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


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


def certificate(folder: Path) -> Path:
    """A key and a certificate of 127.0.0.1 that signs itself, in one PEM file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    where = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = made.add_extension(where, critical=True).add_extension(x509.BasicConstraints(True, None), critical=True)
    path = folder / "server.pem"
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    signed = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path.write_bytes(key.private_bytes(*plain) + signed)
    return path


def guarded(pem: Path, password: bytes) -> dict[str, Any]:
    """Options of a server that takes mail from ``shop`` alone, who has to encrypt the line and to sign in."""

    def known(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, told: Any) -> AuthResult:
        return AuthResult(success=(told.login, told.password) == (b"shop", password))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": known}


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
