"""Bounds of what a client may ask of a worker: bytes, depth, time and rate."""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from footfall.app.http.problems import Problem, Receive, Scope
from footfall.app.http.spending import Spending
from footfall.record.gate import CONTROL, may_hold_controls

WHOLE = "footfall.whole"
"""In a request's scope once all of its body has arrived (the worker's protocol puts it there)."""

# Possessive, and an end is not asked for: a string that is never closed is passed over once, not from each quote in it.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STEP = np.zeros(256, np.int32)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_MOST_MEMBERS = 64  # of one gzip body; clients send one
LOOK_S = 0.01  # how often a worker looks at what others let a key send


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of that name (lower case), or nothing."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


async def read_body(scope: Scope, receive: Receive, most: int, within_s: float, most_unpacked: int = 0) -> bytes:
    """The body of a request, unpacked where it came gzipped.

    most: bytes as sent, at most; most_unpacked: bytes after gzip, at most (0 = ``most``); within_s: seconds in which
    all of it has to arrive. Raises Problem 408, 413 or 415; 400 where gzip is broken.
    """
    encoding = b""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > most:
            raise too_large(most)
        if name == b"content-encoding":
            encoding = value
    if WHOLE in scope:  # it is here already, which spares a timer
        message = await receive()
        if message["type"] == "http.disconnect":
            raise broken_off()
        body: bytes = message.get("body", b"")
        if len(body) > most:
            raise too_large(most)
    else:
        body = await _whole(receive, most, within_s)
    return unpack(body, encoding, most_unpacked or most) if encoding else bytes(body)


async def _whole(receive: Receive, most: int, within_s: float) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(within_s):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise broken_off()
                part: bytes = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise too_large(most)
                parts.append(part)
                more = message.get("more_body", False)
    except TimeoutError:
        raise too_slow(within_s) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def broken_off() -> Problem:
    """400, which nobody reads; it is counted."""
    return Problem(400, "broken-off", "the client went away before its body was whole")


def too_large(most: int) -> Problem:
    """413."""
    return Problem(413, "body-too-large", f"the body is over {most:,} bytes", "send less at once")


def too_slow(within_s: float) -> Problem:
    """408."""
    return Problem(408, "too-slow", f"the body did not arrive within {within_s:g} s", "send it again")


def unpack(body: bytes, encoding: bytes, most: int) -> bytes:
    """Undo the content encoding, never holding more than ``most`` bytes of the result; Problem 400, 413 or 415."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name not in (b"gzip", b"x-gzip"):
        raise Problem(415, "unknown-encoding", "Content-Encoding may be gzip or identity", "send the body plain")
    unpacked = bytearray()
    rest, members = body, 0
    try:
        while rest:
            members += 1
            if members > _MOST_MEMBERS:
                raise Problem(400, "broken-gzip", f"the gzip body has over {_MOST_MEMBERS} members", "send one")
            stream = zlib.decompressobj(wbits=31)
            unpacked += stream.decompress(rest, most + 1 - len(unpacked))
            if len(unpacked) > most:
                raise Problem(413, "body-too-large", f"the body is over {most:,} bytes unpacked", "send less at once")
            if not stream.eof:
                raise Problem(400, "broken-gzip", "the gzip body breaks off", "send it again")
            rest = stream.unused_data
    except zlib.error as error:
        raise Problem(400, "broken-gzip", f"the body is no gzip: {error}", "check Content-Encoding") from None
    return bytes(unpacked)


def check_depth(body: bytes, most: int) -> None:
    """Refuse JSON whose brackets are nested deeper than ``most``, before any decoder follows it down; Problem 400.

    Cheap for the usual body: one that has no more than ``most`` opening brackets in all cannot be too deep. Else
    strings are taken out, then all but brackets, and these are counted up and down: linear, whatever the body. Where
    brackets do not match, no decoder gets deeper than the count.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    if len(brackets) and int(np.cumsum(_STEP[np.frombuffer(brackets, np.uint8)]).max()) > most:
        raise Problem(400, "too-deep", f"the JSON is nested deeper than {most}", "send it flatter")


def check_controls(body: bytes, *texts: str | None) -> None:
    """Refuse ids and names of a body that hold a control character: events with such ids are refused, and PostgreSQL
    takes no NUL. Problem 400."""
    if not may_hold_controls(body):
        return
    for text in texts:
        if text and CONTROL.search(text):
            raise Problem(400, "bad-request", f"{text!r} holds a control character", "send the id as events name it")


class _Bucket:
    """Of one key. left: requests it may send at ``then``; spent: by other workers, at ``looked``."""

    __slots__ = ("cells", "left", "looked", "spent", "then")

    def __init__(self, left: float, now: float, cells: tuple[int, int], spent: tuple[float, float]) -> None:
        self.left = left
        self.then = self.looked = now
        self.cells = cells
        self.spent = spent


class Rates:
    """A token bucket for each key: ``rate`` requests a second, and a burst of as many as come in ``burst_s``. What
    other workers let through counts, a hundredth of a second later.

    Holds at most ``most`` buckets; the one unused for longest is forgotten (a forgotten bucket is a full one, so this
    lets through more, never less). A worker that first hears of a key has a full one, too.
    """

    def __init__(
        self,
        rate: float,
        burst_s: float = 2.0,
        most: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        spending: Spending | None = None,
    ) -> None:
        """rate: requests a second of one key; 0 = no bound. spending: where workers see what each has let through."""
        self._rate = rate
        self._size = max(1.0, rate * burst_s)
        self._most = most
        self._clock = clock
        self._spending = spending
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str) -> None:
        """Take one request of ``key``; Problem 429 with Retry-After where its bucket is empty."""
        if not self._rate:
            return
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._begun(key, now)
        left = bucket.left + (now - bucket.then) * self._rate
        if self._spending is not None and now - bucket.looked >= LOOK_S:
            spent, before = self._spending.others(bucket.cells), bucket.spent
            left -= min(spent[0] - before[0], spent[1] - before[1])
            bucket.spent, bucket.looked = spent, now
        bucket.left, bucket.then = min(self._size, left), now
        if bucket.left < 1.0:
            wait_s = max(1, round((1.0 - bucket.left) / self._rate))
            raise Problem(
                429,
                "too-many-requests",
                f"this key may send {self._rate:g} requests a second",
                "wait, then send it again; or raise [serve] rate_per_key",
                headers=((b"retry-after", b"%d" % wait_s),),
            )
        bucket.left -= 1.0
        if self._spending is not None:
            self._spending.add(bucket.cells)
        self._buckets.move_to_end(key)

    def _begun(self, key: str, now: float) -> _Bucket:
        spending = self._spending
        cells = Spending.cells(key)
        bucket = _Bucket(self._size, now, cells, spending.others(cells) if spending is not None else (0.0, 0.0))
        self._buckets[key] = bucket
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket
