"""Hot addresses, collect and decide: a handler is a plain function, and the answer follows its rows to the disk.

    take(body, key's name) -> Kept(rows, sticky, finish)     checks, draws; raises what is then told as a problem
    GroupCommit.submit(rows, sticky, done)                   durable
    finish(failure or None) -> bytes                         the answer, JSON; raises likewise

The worker's protocol (wire.py) calls ``HotPath.start`` as soon as a request is whole, without a task. Whatever asks for
more than that (a body in chunks, Expect, a request before whose turn others wait, a key that the state has to be asked
for) comes as ASGI by ``over_asgi``: the same handlers, keys, bounds and answers.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec

from footfall.app.http.access import Access
from footfall.app.http.commit import GroupCommit
from footfall.app.http.cors import Cors
from footfall.app.http.limits import header, read_body, unpack
from footfall.app.http.metrics import Metrics
from footfall.app.http.problems import (
    Headers,
    Problem,
    Receive,
    Scope,
    Send,
    answer_json,
    json_headers,
    problem_headers,
    problem_of,
    wrong_method,
)
from footfall.errors import StorageError
from footfall.model import Sticky
from footfall.ports import InboxKind

_MOST_UNKNOWN = 512 << 10  # bytes of a body that is read before its sender is known; Segment's own bound


class Kept(NamedTuple):
    """What a request puts on the disk, none or more rows, and the answer once they are there or could not be."""

    rows: Sequence[tuple[InboxKind, bytes]]
    sticky: Sequence[Sticky]
    finish: Callable[[StorageError | None], bytes]


@dataclass(frozen=True, slots=True)
class Hot:
    """One address. route: its name at /metrics. needs: what a key has to open. most, unpacked: bytes of a body as sent
    and after gzip. body_timeout_s: in which it has to arrive. key_in_body: whether the key may stand there."""

    route: str
    needs: str
    take: Callable[[bytes, str], Kept]
    most: int
    unpacked: int
    body_timeout_s: float
    key_in_body: bool = False


def settle(hot: Hot, commit: GroupCommit, body: bytes, source: str, tell: Callable[[bytes | Exception], None]) -> None:
    """Handle a whole body of the key ``source``; ``tell`` is called once, now or when the rows are on the disk."""
    try:
        rows, sticky, finish = hot.take(body.removeprefix(BOM_UTF8), source)
    except Exception as error:  # noqa: BLE001 - told as a problem, a defect logged, where answers are made
        tell(error)
        return

    def done(failure: StorageError | None) -> None:
        told: bytes | Exception
        try:
            told = finish(failure)
        except Exception as error:  # noqa: BLE001 - likewise
            told = error
        tell(told)

    if not rows:
        done(None)
        return
    try:
        commit.submit(rows, sticky, done)
    except StorageError as error:
        done(error)


# ---------------------------------------------------------------- from the protocol


class HotPath:
    """What the protocol asks: which requests it may answer by itself, and the answers."""

    def __init__(
        self, addresses: Mapping[str, Hot], commit: GroupCommit, keys: Access, metrics: Metrics, cors: Cors, log: Any
    ) -> None:
        self._by_url = {path.encode("ascii"): hot for path, hot in addresses.items()}
        self._commit = commit
        self._keys = keys
        self._metrics = metrics
        self._cors = cors
        self._log = log

    def find(self, url: bytes) -> Hot | None:
        """The address of a request line, where it is a hot one and nothing else."""
        return self._by_url.get(url)

    def admit(self, hot: Hot, scope: Scope) -> str | None:
        """The name of the key where that is known to open the address; None where more has to be asked or told."""
        try:
            return self._keys.known(scope, hot.needs)
        except Problem:
            return None

    def start(
        self,
        hot: Hot,
        scope: Scope,
        body: bytes,
        source: str,
        begun: float,
        send: Callable[[int, Headers, bytes], None],
    ) -> None:
        """Answer a whole request: ``send`` is called once with status, headers and body. begun: by perf_counter."""

        def tell(what: bytes | Exception) -> None:
            self.tell(hot, scope, what, begun, send)

        encoding = header(scope, b"content-encoding")
        if encoding:
            try:
                body = unpack(body, encoding, hot.unpacked)
            except Problem as problem:
                tell(problem)
                return
        settle(hot, self._commit, body, source, tell)

    def tell(
        self,
        hot: Hot,
        scope: Scope,
        what: bytes | Exception,
        begun: float,
        send: Callable[[int, Headers, bytes], None],
    ) -> None:
        """Send an answer or what went wrong, and count it."""
        if isinstance(what, bytes):
            status, body, headers = 200, what, json_headers(what)
        else:
            problem = problem_of(what, hot.route, self._log)
            status, body = problem.status, problem.body()
            headers = problem_headers(problem, body)
        try:
            send(status, headers + self._cors.headers(scope), body)
        finally:
            self._metrics.request(hot.route, status, time.perf_counter() - begun)


# ---------------------------------------------------------------- by ASGI


async def over_asgi(
    hot: Hot,
    commit: GroupCommit,
    check: Callable[[Scope], Awaitable[str]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answer one request. check: the name of the key that sends, "" where none is needed, else a Problem."""
    if scope["method"] != "POST":
        raise wrong_method("POST")
    source, body = await _read(hot, check, scope, receive)
    told: asyncio.Future[bytes | Exception] = asyncio.get_running_loop().create_future()

    def tell(what: bytes | Exception) -> None:
        if not told.done():  # else its request was given up
            told.set_result(what)

    settle(hot, commit, body, source, tell)
    what = await told
    if isinstance(what, Exception):
        raise what
    await answer_json(send, what)


async def _read(
    hot: Hot, check: Callable[[Scope], Awaitable[str]], scope: Scope, receive: Receive
) -> tuple[str, bytes]:
    """(name of the key, body)."""
    try:
        source = await check(scope)
    except Problem as refused:
        if not hot.key_in_body or refused.status != 401 or header(scope, b"authorization"):
            raise
        few = min(hot.most, _MOST_UNKNOWN)
        body = await read_body(scope, receive, few, hot.body_timeout_s, few)
        return await check(_with_key(scope, body, refused)), body
    return source, await read_body(scope, receive, hot.most, hot.body_timeout_s, hot.unpacked)


class _Keyed(msgspec.Struct, rename="camel"):
    write_key: Annotated[str, msgspec.Meta(max_length=200)] = ""


_KEYED = msgspec.json.Decoder(_Keyed)


def _with_key(scope: Scope, body: bytes, refused: Problem) -> Scope:
    """The request as if the write key of its body stood in its header; ``refused`` where there is none."""
    try:
        key = _KEYED.decode(body.removeprefix(BOM_UTF8)).write_key
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        key = ""
    if not key:
        raise refused
    return {**scope, "headers": [*scope["headers"], (b"authorization", b"Basic " + b64encode(f"{key}:".encode()))]}
