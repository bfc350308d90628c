"""The application of a worker: one table of addresses, one place where errors become answers.

Collect and decide are raw ASGI handlers, found in a dictionary; what is read goes to Litestar (read.py). Here a request
is timed and counted, CORS is added, and a Problem, a FootfallError or a defect becomes ``application/problem+json``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from footfall.app.http import decide, persons, read
from footfall.app.http.context import Context
from footfall.app.http.limits import header
from footfall.app.http.problems import (
    App,
    Headers,
    Problem,
    Receive,
    Scope,
    Send,
    answer,
    of_error,
    unavailable,
    wrong_method,
)
from footfall.errors import FootfallError

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = {"/healthz": "health", "/readyz": "health", "/schema": "schema", "/schema/openapi.json": "schema"}
_READ = {"/v1/value": "value", "/v1/plan": "plan", "/v1/providers": "explain", "/v1/decisions": "decisions"}
_CORS_METHODS = b"GET, POST, OPTIONS"
_CORS_HEADERS = b"authorization, content-type, content-encoding, if-none-match"


class Application:
    """ASGI application."""

    def __init__(self, context: Context, log: Any) -> None:
        self._context = context
        self._log = log
        self._raw: dict[str, tuple[str, Handler]] = {
            path: ("events" if path == "/v1/events" else "collect", handler)
            for path, handler in context.collector.routes().items()
        }
        self._raw["/v1/decide"] = ("decide", partial(decide.decide, context))
        self._raw[persons.REDEEM] = ("redeem", partial(persons.redeem, context))
        self._rest: App = read.make_app(context)
        self._origins = frozenset(context.settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        begun = time.perf_counter()
        started = False
        status = 500

        async def watched(message: Any) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
            await send(message)

        out: Send = self._with_cors(scope, watched) if self._origins else watched
        path = scope["path"]
        raw = self._raw.get(path)
        route = raw[0] if raw else _route(path)
        try:
            try:
                if raw is not None:
                    await self._post(raw[1], scope, receive, out)
                elif route == "unsubscribe":
                    await persons.unsubscribe(self._context, scope, receive, out)
                else:
                    await self._get(route, scope, receive, out)
            except Problem as problem:
                await _tell(problem, out, started)
            except FootfallError as error:
                self._log.warning("refused", route=route, error=error.message)
                await _tell(of_error(error), out, started)
            except Exception as error:  # noqa: BLE001 - a defect of ours: logged, and told as such
                self._log.exception("a defect", route=route, error=type(error).__name__)
                await _tell(Problem(500, "internal", "this is a defect of Footfall; its log says more"), out, started)
        finally:
            self._context.metrics.request(route, status, time.perf_counter() - begun)

    async def _post(self, handler: Handler, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await handler(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await _options(send, "POST, OPTIONS")
        else:
            raise wrong_method("POST, OPTIONS")

    async def _get(self, route: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            await _options(send, "GET, HEAD, OPTIONS")
            return
        if scope["path"] not in _OPEN:
            await self._context.keys.check(scope, "read")
        try:
            async with asyncio.timeout(self._context.settings.answer_timeout_s):
                await self._rest(scope, receive, send)
        except TimeoutError:
            raise unavailable("the answer took too long", "ask for less, or again later", kind="too-long") from None

    def _with_cors(self, scope: Scope, send: Send) -> Send:
        """Add CORS headers where the page's origin is in the list."""
        origin = header(scope, b"origin")
        if not origin or not ("*" in self._origins or origin.decode("latin-1") in self._origins):
            return send
        added: Headers = (
            (b"access-control-allow-origin", origin),
            (b"vary", b"origin"),
            (b"access-control-expose-headers", b"etag, retry-after"),
        )
        if scope["method"] == "OPTIONS":
            added += (
                (b"access-control-allow-methods", _CORS_METHODS),
                (b"access-control-allow-headers", _CORS_HEADERS),
                (b"access-control-max-age", b"600"),
            )

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        return with_headers


def _route(path: str) -> str:
    if path.startswith(persons.UNSUBSCRIBE):
        return "unsubscribe"
    if path in _OPEN:
        return _OPEN[path]
    return next((route for start, route in _READ.items() if path == start or path.startswith(f"{start}/")), "other")


async def _tell(problem: Problem, send: Send, started: bool) -> None:
    if started:  # an answer has begun: all that can be done is to break it off
        raise problem
    await answer(send, problem)


async def _options(send: Send, allowed: str) -> None:
    headers = [(b"allow", allowed.encode("ascii")), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
