"""Answers to questions that take numerics, worked out in a process beside the worker.

Counting, valuing and explaining take seconds and hold the interpreter; in the worker they would hold up decisions. The
worker starts this process when it is first asked (``Reader``), sends a question over its standard input and gets the
answer over its standard output; it ends when that input does, so it never outlives the worker.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, BinaryIO

import msgspec

from footfall.app.build import Workspace
from footfall.app.http.problems import Problem, of_error, unavailable
from footfall.app.http.server import Spec, opened, read_spec
from footfall.errors import FootfallError

MOST_KEPT = 6
NICE = 5  # answers of the worker go first where cores are few
_LENGTH = 4
_TAG = re.compile(r'"[^"]*"')  # of a list, strong or weak: If-None-Match compares weakly (RFC 9110, 13.1.2)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """kind: value, plan, explain or decision. words: its arguments. limit, cursor: the page asked for."""

    kind: str
    words: dict[str, Any]
    limit: int = 0
    cursor: str = ""
    etag: str = ""  # what the asker has: where it is still so, the body stays away


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What comes back: an HTTP status, a body in JSON, and its ETag."""

    status: int
    body: bytes = b""
    etag: str = ""


class Reader:
    """The worker's side: one process, one question at a time; a broken one is replaced."""

    def __init__(self, spec: Spec) -> None:
        self._command = (sys.executable, "-m", "footfall.app.http.reading", msgspec.json.encode(spec).decode())
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._endings: set[asyncio.Task[tuple[bytes, bytes]]] = set()  # of processes that were killed

    async def ask(self, question: Question) -> Reply:
        """The answer, whatever its status; Problem 503 where the process breaks down."""
        async with self._turn:
            process = await self._running()
            whole = False
            try:
                asked = msgspec.msgpack.encode(question)
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(len(asked).to_bytes(_LENGTH, "big") + asked)
                await process.stdin.drain()
                size = int.from_bytes(await process.stdout.readexactly(_LENGTH), "big")
                told = await process.stdout.readexactly(size)
                whole = True
            except (OSError, asyncio.IncompleteReadError) as error:
                raise unavailable("the process that reads broke down", "ask again") from error
            finally:
                if not whole:  # given up half-way: its next answer would be of this question
                    self._kill()
        return msgspec.msgpack.decode(told, type=Reply)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        return self._process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            ending = asyncio.get_running_loop().create_task(process.communicate())
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        """End the process, and wait until it and its pipes are gone."""
        self._kill()
        if self._endings:
            await asyncio.wait(self._endings)


# ---------------------------------------------------------------- in the process beside


class _Desk:
    """Works questions out and remembers the latest answers, each with the version of what it was made from."""

    def __init__(self, here: Workspace) -> None:
        self._here = here
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._ways: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "value": self._value,
            "plan": self._plan,
            "explain": self._explain,
            "decision": self._decision,
        }

    def answer(self, question: Question) -> Reply:
        """The reply; what goes wrong becomes a problem."""
        try:
            told = self._page(question)
        except Problem as problem:
            return Reply(status=problem.status, body=problem.body())
        except FootfallError as error:
            told_instead = of_error(error)
            return Reply(status=told_instead.status, body=told_instead.body())
        body = _ENCODER.encode(told)
        etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        if etag in _TAG.findall(question.etag) or question.etag.strip() == "*":
            return Reply(status=304, etag=etag)
        return Reply(status=200, body=body, etag=etag)

    def _page(self, question: Question) -> dict[str, Any]:
        words = question.words
        if not question.limit:
            return self._ways[question.kind](words)
        asked = _fingerprint(question.kind, sorted(words.items()))
        token, at = _read_cursor(question.cursor, asked) if question.cursor else (self._token(question, asked), 0)
        if token not in self._kept:
            if question.cursor and token != self._token(
                question, asked
            ):  # of another worker, which may have those rows still
                raise Problem(
                    410, "cursor-gone", "the rows of this cursor have changed since", "begin again without it"
                )
            self._keep(token, self._ways[question.kind](words))
        self._kept.move_to_end(token)
        found = self._kept[token]
        items = found["items"][at : at + question.limit]
        end = at + len(items)
        more = _write_cursor(token, end) if end < len(found["items"]) else None
        return {**found, "items": items, "total": len(found["items"]), "next": more}

    def _keep(self, token: str, found: dict[str, Any]) -> None:
        self._kept[token] = found
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def _token(self, question: Question, asked: str) -> str:
        """Of the question and of all that its answer is made from: the same in the readers of all workers."""
        from footfall.app.valuing import categories

        here = self._here
        state = here.state.get("nightly") or {}
        plans = list(here.state.versions().items())
        told = sorted(categories(here).items()) if question.kind == "value" else None
        made_from = (here.config, here.store.version(), here.today(), plans, state.get("at"), told)
        return f"{asked}-{_fingerprint(*made_from)}"

    def _value(self, words: dict[str, Any]) -> dict[str, Any]:
        from footfall.app import valuing

        as_of, first, last = (_day(words.get(key), key) for key in ("as_of", "from", "to"))
        found = valuing.value(self._here, words["by"], as_of, first, last)
        return {"by": words["by"], "notes": found.notes, "items": found.rows}

    def _plan(self, words: dict[str, Any]) -> dict[str, Any]:
        version = words.get("version")
        state = self._here.state
        plan = state.plan(version) if version is not None else state.plan(status="published") or state.plan()
        if plan is None:
            raise Problem(
                404, "not-found", f"there is no plan {version}" if version is not None else "there is no plan yet",
                "`footfall plan` makes one",
            )  # fmt: skip
        told = {
            name: getattr(plan, name)
            for name in (
                "version", "plan_id", "status", "day", "as_of", "created_at", "inertia", "objective", "bound", "gap",
                "comparison", "unassigned", "today", "tomorrow", "limits", "notes",
            )
        }  # fmt: skip
        demand = plan.demand
        told["demand"] = [
            {"segment": segment, "visits": visits, "low": low, "high": high}
            for segment, visits, low, high in zip(demand.segments, demand.visits, demand.low, demand.high, strict=True)
        ]
        told["nightly"] = state.get("nightly")
        return {**told, "by": words["by"], "items": plan.providers if words["by"] == "provider" else plan.pairs}

    def _explain(self, words: dict[str, Any]) -> dict[str, Any]:
        from footfall.app import planning
        from footfall.errors import ConfigError, WorkspaceError

        version = words.get("version")
        if version is not None and self._here.state.plan(version) is None:
            raise Problem(404, "not-found", f"there is no plan {version}", "`footfall plan list` shows the plans")
        try:
            return dict(planning.explain(self._here, words["provider_id"], version).as_dict())
        except ConfigError as error:
            raise Problem(404, "not-found", error.message, error.way_out) from None
        except WorkspaceError as error:
            if self._here.state.plan() is None:
                raise Problem(404, "not-found", error.message, error.way_out) from None
            raise

    def _decision(self, words: dict[str, Any]) -> dict[str, Any]:
        from footfall.app.decisions import find

        found = find(self._here, words["decision_id"])
        if found is None:
            raise Problem(404, "not-found", f"there is no decision {words['decision_id']!r}")
        return dict(found)


def _day(text: str | None, name: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Problem(400, "bad-request", f"{name} {text!r} is no date", "write it as YYYY-MM-DD") from None


def _fingerprint(*parts: Any) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def _write_cursor(token: str, at: int) -> str:
    return base64.urlsafe_b64encode(f"{token}.{at}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str, asked: str) -> tuple[str, int]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        token, _, at = text.partition(".")
        number = int(at)
        if number < 0:
            raise ValueError("negative")
    except ValueError:
        raise Problem(400, "bad-cursor", "this cursor is none of ours", "send `next` of the page before") from None
    if not token.startswith(f"{asked}-"):
        raise Problem(400, "bad-cursor", "this cursor is of another list", "send it with the words of the page before")
    return token, number


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):  # numpy's scalars
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (Decimal, Mapping)):
        return float(value) if isinstance(value, Decimal) else dict(value)
    raise NotImplementedError(f"no JSON for a {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain, decimal_format="number")


def _exactly(stream: BinaryIO, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = stream.read(size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def main(arguments: list[str]) -> int:
    """Answer questions until there is no more input."""
    from footfall.app import logs

    spec = read_spec(arguments)
    log = logs.set_up("reader", spec.level)
    os.nice(NICE)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not among the answers
    stream = sys.stdin.buffer
    try:
        desk = _Desk(opened(spec, log))
    except FootfallError as error:
        log.error("cannot go on", error=error.message, way_out=error.way_out)
        return error.exit_status
    while (head := _exactly(stream, _LENGTH)) is not None:
        asked = _exactly(stream, int.from_bytes(head, "big"))
        if asked is None:
            return 0
        question = msgspec.msgpack.decode(asked, type=Question)
        try:
            reply = desk.answer(question)
        except Exception as error:
            log.exception("a defect", kind=question.kind, error=type(error).__name__)
            problem = Problem(500, "internal", "this is a defect of Footfall; its log says more")
            reply = Reply(status=500, body=problem.body())
        told = msgspec.msgpack.encode(reply)
        out.write(len(told).to_bytes(_LENGTH, "big") + told)
        out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
