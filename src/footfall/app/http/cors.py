"""CORS: which pages of other origins may read the answers."""

from __future__ import annotations

from footfall.app.http.limits import header
from footfall.app.http.problems import Headers, Scope

_METHODS = b"GET, POST, OPTIONS"
_HEADERS = b"authorization, content-type, content-encoding, if-none-match"
_EXPOSED = (b"access-control-expose-headers", b"etag, retry-after")
_PREFLIGHT: Headers = (
    (b"access-control-allow-methods", _METHODS),
    (b"access-control-allow-headers", _HEADERS),
    (b"access-control-max-age", b"600"),
)


class Cors:
    """The origins of ``[serve] cors_origins``."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origins)

    def headers(self, scope: Scope) -> Headers:
        """What the answer to this request carries: nothing where its page's origin is not in the list."""
        if not self._origins:
            return ()
        origin = header(scope, b"origin")
        if not origin or not ("*" in self._origins or origin.decode("latin-1") in self._origins):
            return ()
        added: Headers = ((b"access-control-allow-origin", origin), (b"vary", b"origin"), _EXPOSED)
        return added + _PREFLIGHT if scope["method"] == "OPTIONS" else added
