"""Who may ask: keys by Bearer or as the user name of Basic (as Segment's clients send it), checked for a scope.

A key that was found is remembered for a few seconds, so that a revoked one ends soon and the state is rarely asked. The
memory holds SHA-256 digests, never a key, and a bounded number of them. Where the state is away, keys that were good
before stay good for ``GRACE_S``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlsplit

from footfall.app.http.asking import Asking
from footfall.app.http.limits import Rates, header
from footfall.app.http.problems import Problem, Scope, unavailable
from footfall.errors import FootfallError
from footfall.loopback import is_loopback
from footfall.model import ServiceKey
from footfall.ports import Keys

FRESH_S = 5.0
GRACE_S = 300.0
LOOK_S = 60.0
MOST = 4096

_CHALLENGE = ((b"www-authenticate", b'Bearer realm="footfall"'), (b"www-authenticate", b'Basic realm="footfall"'))


class Access:
    """Checks requests for a scope; one a worker."""

    def __init__(
        self,
        keys: Callable[[], Keys],
        *,
        loopback: bool,
        rates: Rates,
        origins: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """keys: called beside the event loop, as a state that is away cannot be opened. loopback: whether the service
        listens on loopback only, and so may go without keys as long as none exists."""
        self._keys = keys
        self._loopback = loopback
        self._rates = rates
        self._origins = origins
        self._clock = clock
        self._state = Asking(clock)
        self._found: OrderedDict[bytes, tuple[ServiceKey | None, float]] = OrderedDict()
        self._open: tuple[bool, float] | None = None

    async def keep_looking(self) -> None:
        """See every minute whether there are keys: where the state is away, that counts for ``GRACE_S``."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """See whether there are keys, if the state answers."""
        if self._loopback:
            with suppress(Problem):
                await self._keyless()

    async def check(self, scope: Scope, needed: str) -> str:
        """The name of the key that opens ``needed`` ('' where no keys are in use); Problem 401, 403, 429 or 503."""
        sent = header(scope, b"authorization")
        text = key_text(sent) if sent else ""
        try:
            key = await self._find(text) if text else None
        except Problem:
            if not self._loopback or not await self._keyless():  # without any key, a text is none
                raise
            key = None
        keyless = key is None and self._loopback and await self._keyless()
        return self._judge(scope, needed, bool(sent), key, keyless)

    def known(self, scope: Scope, needed: str) -> str | None:
        """As ``check``, by what is remembered; None where the state has to be asked."""
        sent = header(scope, b"authorization")
        text = key_text(sent) if sent else ""
        key, keyless = None, False
        if text:
            found = self._remembered(_digest(text))
            if found is None:
                return None
            key = found[0]
        if key is None and self._loopback:
            if self._open is None or self._clock() - self._open[1] >= FRESH_S:
                return None
            keyless = self._open[0]
        return self._judge(scope, needed, bool(sent), key, keyless)

    def _judge(self, scope: Scope, needed: str, sent: bool, key: ServiceKey | None, keyless: bool) -> str:
        """sent: whether there was a key at all. keyless: whether the service goes without any."""
        if key is None and keyless:  # clients that must send some key may do so
            refuse_strangers(scope, self._origins)
            return ""
        if key is None and not sent:
            raise Problem(
                401,
                "key-needed",
                "this service asks for a key",
                "send it as `Authorization: Bearer KEY` or as the user name of Basic; `footfall keys create` makes one",
                headers=_CHALLENGE,
            )
        if key is None:
            raise Problem(
                401, "unknown-key", "this key is unknown or was revoked", "`footfall keys list` shows the keys",
                headers=_CHALLENGE,
            )  # fmt: skip
        if not key.may(needed):
            raise Problem(
                403,
                "scope-missing",
                f"key ff_{key.prefix} has no scope {needed!r}",
                f"make one with `footfall keys create --scope {needed}`",
            )
        self._rates.take(key.prefix)
        return key.name

    def _remembered(self, digest: bytes) -> tuple[ServiceKey | None, float] | None:
        """What was found of a key a few seconds ago at most."""
        known = self._found.get(digest)
        return known if known is not None and self._clock() - known[1] < FRESH_S else None

    async def _find(self, text: str) -> ServiceKey | None:
        digest = _digest(text)
        fresh = self._remembered(digest)
        if fresh is not None:
            return fresh[0]
        known, now = self._found.get(digest), self._clock()
        try:
            key = await self._state.ask(lambda: self._keys().find(text))
        except FootfallError as error:
            if known is not None and known[0] is not None and now - known[1] < GRACE_S:
                return known[0]
            raise unavailable("keys cannot be checked now: the state does not answer", kind="state") from error
        self._found[digest] = (key, now)
        self._found.move_to_end(digest)
        if len(self._found) > MOST:
            self._found.popitem(last=False)
        return key

    async def _keyless(self) -> bool:
        """Whether no key was ever made: revoking the last one does not open the service again."""
        now = self._clock()
        if self._open is not None and now - self._open[1] < FRESH_S:
            return self._open[0]
        try:
            self._open = (not await self._state.ask(lambda: self._keys().any()), now)
        except FootfallError as error:
            if self._open is None or now - self._open[1] >= GRACE_S:
                raise unavailable("keys cannot be checked now: the state does not answer", kind="state") from error
        return self._open[0]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def key_text(authorization: bytes) -> str:
    """The key in an Authorization header, '' where there is none."""
    scheme, _, rest = authorization.partition(b" ")
    kind = scheme.lower()
    if kind == b"bearer":
        return rest.strip().decode("ascii", "replace")
    if kind != b"basic":
        return ""
    try:
        decoded = base64.b64decode(rest.strip(), validate=True)
    except binascii.Error:
        return ""
    return decoded.partition(b":")[0].decode("utf-8", "replace")


def refuse_strangers(scope: Scope, origins: tuple[str, ...]) -> None:
    """Without keys, a web page of anyone's in a browser on this machine could reach the service: Problem 403 for those.

    A page of another origin tells it (Origin); one whose name was pointed at loopback tells that name (Host).
    """
    host, sent = b"", b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif name == b"origin":
            sent = value
    origin = sent.decode("latin-1") if sent else ""
    if origin and origin not in origins and "*" not in origins and not is_loopback(_host(origin)):
        raise Problem(
            403, "strange-origin", f"pages of {origin[:200]!r} may not call this service",
            "add the origin to [serve] cors_origins in footfall.toml",
        )  # fmt: skip
    if host and not _names_loopback(host):
        raise Problem(
            403, "strange-host", "without keys this service answers to loopback names only",
            "make a key: `footfall keys create --scope admin`",
        )  # fmt: skip


@lru_cache(256)
def _names_loopback(host: bytes) -> bool:
    return is_loopback(_host(f"//{host.decode('latin-1')}"))


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # brackets that are no IPv6 address
        return ""
