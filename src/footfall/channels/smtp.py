"""E-mail by SMTP (RFC 5321), one kept connection, one-click unsubscribe (RFC 8058), a Message-ID that never changes.

What is certain decides (RFC 5321, 4.2 and 6.1): a letter is taken over when the server answers 2xx to its content.
Before the content has gone out nothing was taken over, so it is tried again; a line that drops after it, or an answer
that cannot be read, leaves the letter ``unknown``. Only what is said of the address or of the letter makes it ``dead``:
a server that takes no mail of ours at all (no answer, no login, the sender refused) is ``away``, and all letters wait.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from dataclasses import dataclass, replace
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as RULES
from email.utils import format_datetime
from functools import lru_cache
from typing import Literal

from footfall.addresses import wired
from footfall.errors import ConfigError
from footfall.model import Letter, Receipt
from footfall.ports import Clock
from footfall.texts import one_line

_LOCAL = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}")
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NOBODY = re.compile(r"\b5\.1\.[123]\b")  # enhanced codes of addresses that do not exist (RFC 3463)
_NO_SUCH = (550, 551, 553)
# Of the session, the login or the server, whatever was asked (RFC 5321, 4.2.3; RFC 4954, 6).
_NOT_FOR_US = (500, 502, 503, 504, 521, 530, 534, 535, 538)
_NOT_OF_THE_ADDRESS = re.compile(r"\b5\.[3457]\.\d{1,3}\b")  # mail system, network, protocol, policy (RFC 3463)
_LONGEST_WORD = 70  # of a subject: longer ones cannot be folded
_LONGEST_LINE = 998  # RFC 5322, 2.1.1
_WORD = re.compile(r"[\x21-\x7e]{1,900}")
_LINE_END = re.compile(r"\r\n|\r|\n")
_RULES_OF = {False: RULES, True: RULES.clone(utf8=True)}
_PLAIN_TEXT = (
    b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 7bit\r\nMIME-Version: 1.0\r\n\r\n'
)


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Where and as whom mail goes out. ``tls``: "starttls", "tls" from the first byte, or "none"."""

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"]
    user: str
    password: str
    sender: str
    sender_name: str
    timeout_s: float


class SmtpChannel:
    """``ports.Channel`` over one SMTP connection, opened when first needed and again where it was closed."""

    idempotent = False

    def __init__(self, name: str, settings: SmtpSettings, clock: Clock) -> None:
        """ConfigError where the sender is no address."""
        sender = mailbox(settings.sender)
        if sender is None or not sender.isascii():
            raise ConfigError(f"[channels.{name}] sender {settings.sender!r} is no e-mail address", "name@example.com")
        self.name = name
        self._settings = replace(settings, sender=sender)
        self._clock = clock
        self._line: smtplib.SMTP | None = None

    def send(self, letter: Letter) -> Receipt:
        """Hand a letter over; the receipt says what is certain."""
        to = mailbox(letter.address)
        if to is None:
            return Receipt("dead", f"{letter.address!r} is no e-mail address")
        try:
            content = self._content(letter, to)
        except (ValueError, UnicodeError) as error:
            return Receipt("dead", f"the letter cannot be written: {error}")
        for attempt in (1, 2):
            fresh = self._line is None
            try:
                return self._hand_over(self._open(), to, content)
            except smtplib.SMTPServerDisconnected as error:
                self.close()
                if fresh or attempt == 2:
                    return Receipt("retry", f"the server closed the line: {error}", away=fresh)
            except (OSError, smtplib.SMTPException, ValueError) as error:
                self.close()
                return Receipt("retry", f"the server cannot be used: {_said(error)}", away=True)
        raise AssertionError("two attempts always answer")

    def close(self) -> None:
        """Say goodbye, if anybody listens."""
        line, self._line = self._line, None
        if line is not None:
            try:
                line.quit()
            except (OSError, smtplib.SMTPException):
                line.close()

    # ------------------------------------------------------------ inside

    def _open(self) -> smtplib.SMTP:
        if self._line is not None:
            return self._line
        s = self._settings
        if s.tls == "tls":
            line: smtplib.SMTP = smtplib.SMTP_SSL(s.host, s.port, timeout=s.timeout_s, context=_trust())
        else:
            line = smtplib.SMTP(s.host, s.port, timeout=s.timeout_s)
        try:
            line.ehlo_or_helo_if_needed()
            if s.tls == "starttls":
                line.starttls(context=_trust())
                line.ehlo()
            if s.user:
                line.login(s.user, s.password)
        except BaseException:
            line.close()
            raise
        self._line = line
        return line

    def _hand_over(self, line: smtplib.SMTP, to: str, content: bytes) -> Receipt:
        utf8 = not to.isascii()
        if utf8 and not line.has_extn("smtputf8"):
            return Receipt("dead", f"the server takes no addresses like {to!r} (SMTPUTF8)")
        code, said = line.mail(self._settings.sender, ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else [])
        if not _yes(code):
            return self._refused(line, code, said, of_the_letter=False)
        code, said = line.rcpt(to)
        if not _yes(code):
            refused = self._refused(line, code, said, of_the_letter=True)
            # A policy may be mended, or be about this address alone: it is tried again, and the others go on.
            return replace(refused, outcome="retry") if _NOT_OF_THE_ADDRESS.search(_text(said)) else refused
        code, said = line.docmd("DATA")
        if code != 354:
            return self._refused(line, code, said, of_the_letter=False)
        try:
            line.send(content)
            code, said = line.getreply()
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            return Receipt("unknown", f"the line dropped after the letter went out: {_said(error)}")
        if _yes(code):
            return Receipt("sent", f"{code} {_text(said)}")
        if not 400 <= code < 600:
            self.close()
            return Receipt("unknown", f"an answer to the letter that cannot be read: {code} {_text(said)}")
        return self._refused(line, code, said, of_the_letter=True)

    def _refused(self, line: smtplib.SMTP, code: int, said: bytes, of_the_letter: bool) -> Receipt:
        """What a refusal means; ``of_the_letter``: it is about the address or the letter, unless its code is not."""
        text = f"{code} {_text(said)}"
        try:
            if code == 421 or code < 0:
                self.close()
            else:
                line.rset()
        except (OSError, smtplib.SMTPException):
            self.close()  # what was refused stays refused, whether the line holds or not
        if 500 <= code < 600 and of_the_letter and code not in _NOT_FOR_US:
            return Receipt("dead", text, suppress=code in _NO_SUCH and bool(_NOBODY.search(text)))
        return Receipt("retry", text, away=code >= 500 or code == 421 or code < 0)

    def _content(self, letter: Letter, to: str) -> bytes:
        """The letter as it goes over the line: headers, bodies, dots doubled, the closing dot."""
        s, utf8 = self._settings, not to.isascii()
        headers = {
            "From": str(Address(s.sender_name, addr_spec=s.sender)),
            "To": to,
            "Subject": letter.subject,
            "Date": format_datetime(self._clock.now()),
            "Message-ID": f"<{letter.message_id}@{s.sender.rpartition('@')[2]}>",
        }
        if letter.unsubscribe_url:
            headers["List-Unsubscribe"] = f"<{letter.unsubscribe_url}>"
            headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        whole = b"".join(_header(name, value, utf8) for name, value in headers.items()) + _body(letter, utf8)
        lines = whole if whole.endswith(b"\r\n") else whole + b"\r\n"
        return re.sub(rb"(?m)^\.", b"..", lines) + b".\r\n"


# The e-mail package parses every header anew, most of what a letter costs: one plain word needs none of it, and what is
# the same for many letters is kept.
def _header(name: str, value: str, utf8: bool) -> bytes:
    if name == "Subject":
        return _subject(value)
    if _WORD.fullmatch(value):
        return f"{name}: {value}\r\n".encode("ascii")
    return _folded(name, value, utf8)


@lru_cache(maxsize=256)
def _subject(value: str) -> bytes:
    """The subject's header, literally: the e-mail package would read encoded words (RFC 2047) that stand in a name."""
    if _LINE_END.search(value):
        raise ValueError("its subject has more than one line")
    value = one_line(value)
    plain = value.isascii() and "=?" not in value and max(map(len, value.split(" "))) <= _LONGEST_WORD
    text = Header(value, "us-ascii" if plain else "utf-8", header_name="Subject").encode(linesep="\r\n")
    return f"Subject: {text}\r\n".encode("ascii")


def _yes(code: int) -> bool:
    """Whether the server did what was asked."""
    return 200 <= code < 300


@lru_cache(maxsize=256)
def _folded(name: str, value: str, utf8: bool) -> bytes:
    rules = _RULES_OF[utf8]
    return rules.fold_binary(*rules.header_store_parse(name, value))


def _body(letter: Letter, utf8: bool) -> bytes:
    """The bodies with the headers that tell of them, and the empty line between."""
    text = _LINE_END.sub("\r\n", letter.text)
    if not letter.html and text.isascii() and max(map(len, text.split("\r\n"))) <= _LONGEST_LINE:
        return _PLAIN_TEXT + text.encode("ascii")
    mail = EmailMessage(policy=RULES)
    mail.set_content(letter.text)
    if letter.html:
        mail.add_alternative(letter.html, subtype="html")
    return mail.as_bytes(policy=_RULES_OF[utf8])


def mailbox(address: str) -> str | None:
    """An address as the line takes it, its domain in ASCII (IDNA); None where it is none."""
    local, at, domain = wired(address).rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        return None
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return None
    return f"{local}@{domain}"


def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _text(said: bytes) -> str:
    return " ".join(said.decode("utf-8", "replace").split())[:300]


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        code, text = error.smtp_code, error.smtp_error
        return f"{code} {_text(text if isinstance(text, bytes) else str(text).encode())}"
    return str(error) or type(error).__name__
