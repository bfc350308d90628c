"""The application of a worker: one table of addresses, one place where errors become answers.

Collect and decide are hot addresses (hot.py), found in a dictionary and mostly answered before they come here; what is
read goes to Litestar (read.py). Here a request is timed and counted, CORS is added, and a Problem, a FootfallError or a
defect becomes ``application/problem+json``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from footfall.app.http import decide, persons, read
from footfall.app.http.context import Context
from footfall.app.http.cors import Cors
from footfall.app.http.hot import HotPath, over_asgi
from footfall.app.http.problems import (
    App,
    Problem,
    Receive,
    Scope,
    Send,
    answer,
    problem_of,
    unavailable,
    wrong_method,
)
from footfall.app.http.words import check_words

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = {"/healthz": "health", "/readyz": "health", "/schema": "schema", "/schema/openapi.json": "schema"}
_READ = {"/v1/value": "value", "/v1/plan": "plan", "/v1/providers": "explain", "/v1/decisions": "decisions"}
_WORDLESS = ("decide", "redeem")  # collect is asked by other people's programs, whose words are theirs


class Application:
    """ASGI application."""

    def __init__(self, context: Context, log: Any) -> None:
        self._context = context
        self._log = log
        addresses = {**context.collector.addresses(), "/v1/decide": decide.address(context)}
        self._raw: dict[str, tuple[str, Handler]] = {
            path: (hot.route, partial(over_asgi, hot, context.commit, partial(context.keys.check, needed=hot.needs)))
            for path, hot in addresses.items()
        }
        self._raw[persons.REDEEM] = ("redeem", partial(persons.redeem, context))
        self._rest: App = read.make_app(context)
        self._cors = Cors(context.settings.cors_origins)
        self.hot = HotPath(addresses, context.commit, context.keys, context.metrics, self._cors, log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        begun = time.perf_counter()
        started = False
        status = 500
        added = self._cors.headers(scope)

        async def out(message: Any) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                if added:
                    message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        path = scope["path"]
        raw = self._raw.get(path)
        route = raw[0] if raw else _route(path)
        try:
            try:
                if raw is not None:
                    await self._post(raw[0], raw[1], scope, receive, out)
                elif route == "unsubscribe":
                    await persons.unsubscribe(self._context, scope, receive, out)
                else:
                    await self._get(route, scope, receive, out)
            except asyncio.CancelledError:  # the worker ends, and has waited long enough
                if started:
                    raise
                await answer(out, unavailable("the service ends or is started again", "ask again"))
            except Exception as error:  # noqa: BLE001 - told as a problem, a defect of ours logged
                await _tell(problem_of(error, route, self._log), out, started)
        finally:
            self._context.metrics.request(route, status, time.perf_counter() - begun)

    async def _post(self, route: str, handler: Handler, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            if route in _WORDLESS:
                check_words(scope.get("query_string", b""), ())
            await handler(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await _options(send, "POST, OPTIONS")
        else:
            raise wrong_method("POST, OPTIONS")

    async def _get(self, route: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            await _options(send, read.METHODS)
            return
        if scope["path"] not in _OPEN:
            await self._context.keys.check(scope, "read")
        if scope["method"] == "HEAD":  # uvicorn leaves the body out
            scope = {**scope, "method": "GET"}
        try:
            async with asyncio.timeout(self._context.settings.answer_timeout_s):
                await self._rest(scope, receive, send)
        except TimeoutError:
            raise unavailable("the answer took too long", "ask for less, or again later", kind="too-long") from None


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
