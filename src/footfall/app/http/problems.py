"""What went wrong, as RFC 9457 says it (``application/problem+json``): type, title, status, detail and a way out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

import msgspec

from footfall.errors import ConfigError, FootfallError, InfeasibleError, InputError, NotEnoughDataError, WorkspaceError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MEDIA_TYPE = b"application/problem+json"
PREFIX = "urn:footfall:problem:"
Headers = tuple[tuple[bytes, bytes], ...]


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """An answer that is no success. Raised by handlers, caught once at the edge of the application.

    status: HTTP status, 400 to 599. kind: a short name, the end of the problem's type, for example
    ``body-too-large``. detail: what was wrong and where. way_out: what to do about it. headers: to send with it.
    more: further members of the body, for example counts.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        way_out: str = "",
        *,
        headers: Headers = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.way_out = way_out
        self.headers = headers
        self.more = dict(more or {})

    def members(self) -> dict[str, Any]:
        """The members of the body."""
        told: dict[str, Any] = {
            "type": PREFIX + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.way_out:
            told["way_out"] = self.way_out
        return {**told, **self.more}

    def body(self) -> bytes:
        """The body, JSON in UTF-8."""
        return msgspec.json.encode(self.members())


def of_error(error: FootfallError) -> Problem:
    """The problem that tells a FootfallError: the asker's doing is 4xx, the place's is 503."""
    message, way_out = _by_query(error.message), _by_query(error.way_out)
    if isinstance(error, InfeasibleError):
        return Problem(409, "infeasible", message, way_out)
    if isinstance(error, NotEnoughDataError):
        return Problem(409, "not-enough-data", message, way_out)
    if isinstance(error, (ConfigError, InputError)):
        return Problem(400, "bad-request", message, way_out)
    if isinstance(error, WorkspaceError):
        return unavailable(message, way_out)
    return Problem(500, "internal", message, way_out)


# A whole command is told as it is; an option that stands alone is, here, the query's word of that name.
_OPTION = re.compile(r"`footfall [^`]*`|--(as-of|from|to|by|version)(?![\w-])")


def _by_query(text: str) -> str:
    """What was written for the command line, in the words of the query."""
    return _OPTION.sub(lambda found: found[1].replace("-", "_") if found[1] else found[0], text)


def unavailable(detail: str, way_out: str = "", *, kind: str = "unavailable", retry_s: int = 1) -> Problem:
    """503: it cannot be done now; the same request may be sent again after ``retry_s`` seconds."""
    return Problem(503, kind, detail, way_out, headers=((b"retry-after", b"%d" % retry_s),))


def not_found(detail: str, way_out: str = "") -> Problem:
    """404."""
    return Problem(404, "not-found", detail, way_out)


def wrong_method(allowed: str) -> Problem:
    """405, with the methods that there are."""
    return Problem(
        405, "method-not-allowed", f"this address knows {allowed}", headers=((b"allow", allowed.encode("ascii")),)
    )


def problem_of(error: Exception, route: str, log: Any) -> Problem:
    """How any error is told; what was refused is logged, and a defect of ours with its trace."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, FootfallError):
        log.warning("refused", route=route, error=error.message)
        return of_error(error)
    log.error("a defect", route=route, error=type(error).__name__, exc_info=error)
    return Problem(500, "internal", "this is a defect of Footfall; its log says more")


def problem_headers(problem: Problem, body: bytes) -> Headers:
    """The headers of a problem. A body that was not read to its end would be taken for the next request: the connection
    ends."""
    close: Headers = ((b"connection", b"close"),) if problem.status in (408, 413) else ()
    return (
        (b"content-type", MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *problem.headers,
        *close,
    )


async def answer(send: Send, problem: Problem) -> None:
    """Send a problem."""
    body = problem.body()
    headers = problem_headers(problem, body)
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


JSON_HEADER = (b"content-type", b"application/json")


def json_headers(body: bytes) -> Headers:
    """The headers of JSON."""
    return (JSON_HEADER, (b"content-length", b"%d" % len(body)))


async def answer_json(send: Send, body: bytes, status: int = 200, headers: Headers = ()) -> None:
    """Send JSON."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*json_headers(body), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
