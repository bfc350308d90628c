"""Client: the live service from Python, with timeouts, retries, and a local order for when it is away.

    from footfall import Client

    client = Client("http://127.0.0.1:8420", key="ff_...")
    client.track("page_view", visitor_id="v-1", provider_id="shop-a", channel="email")
    decision = client.decide("v-1", segment={"channel": "email"}, candidates=["shop-a", "shop-b"], slots=1)

``decide`` never raises because the service is away: it answers the caller's own order, marked, at once while the
service is known to be away. Everything else raises ``ServiceError`` when its retries are used up. Events carry a
``message_id`` made before the first try, so that sending them again is harmless.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from footfall.deadline import Deadline
from footfall.errors import InputError, ServiceError
from footfall.loopback import is_loopback

T = TypeVar("T")

_AGAIN = (429, 502, 503, 504)
_LATER = (408, 429)  # refusals of the moment, not of what was asked
_BATCH = 500
_AWAY_S = 5.0  # for so long after a failure decisions are answered locally without asking


@dataclass(frozen=True, slots=True)
class Chosen:
    """What ``Client.decide`` answers.

    choices: providers in order. propensities: of each given those before it; None where it was not drawn. local: the
    service was away, and this is the caller's own order: there is no decision to report with the visit, and nothing was
    reserved.
    """

    choices: tuple[str, ...]
    propensities: tuple[float | None, ...]
    decision_id: str | None
    plan_version: int | None
    pacing_version: int | None
    local: bool
    reason: str | None = None
    repeat_of: str | None = None


class _Choice(msgspec.Struct):
    provider_id: str
    propensity: float | None


class _Decision(msgspec.Struct):
    """What the service answers to ``decide``."""

    decision_id: str
    choices: list[_Choice]
    plan_version: int
    pacing_version: int
    logged: bool
    reason: str | None = None
    repeat_of: str | None = None


class _Taken(msgspec.Struct):
    """What the service answers to events."""

    accepted: int
    rejected: int
    reasons: dict[str, int] = {}


class _Page(msgspec.Struct):
    """What the service answers to a list."""

    items: list[dict[str, Any]]
    next: str | None


_DECISION = msgspec.json.Decoder(_Decision)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Client:
    """Talks to one service; may be shared by threads, and by processes that were forked since: each has connections of
    its own. Close it, or use it in a ``with`` block."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8420",
        key: str = "",
        *,
        timeout_s: float = 5.0,
        decide_timeout_s: float = 0.25,
        retries: int = 6,
        fallback: Sequence[str] = (),
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """url: of the service; a proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) stands
        between unless it is on this machine. key: of `footfall keys create`; may be empty on loopback.

        timeout_s: for each step of a try (to connect, to send, until more of the answer comes), seconds, > 0.
        decide_timeout_s: for a whole decision, retries included. retries: after the first try, >= 0. fallback:
        providers in the order to answer when the service is away and a call names no candidates. transport, sleep: for
        tests.
        """
        if timeout_s <= 0 or decide_timeout_s <= 0 or retries < 0:
            raise InputError(
                f"timeout_s={timeout_s}, decide_timeout_s={decide_timeout_s}, retries={retries}: out of range",
                "timeouts are above 0, retries 0 or more",
            )
        _check_address(url, key)
        self._retries = retries
        self._decide_timeout_s = decide_timeout_s
        self._fallback = tuple(fallback)
        self._sleep = sleep
        self._random = random.Random()  # jitter only; not the caller's generator
        self._away_until = 0.0
        self._is_here = _is_here(url)
        headers = {"user-agent": "footfall-python"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._options: dict[str, Any] = {
            "base_url": url.rstrip("/"), "headers": headers, "timeout": timeout_s, "transport": transport,
            "follow_redirects": False,
        }  # fmt: skip
        self._deadline = Deadline()
        self._opened = self._open()

    # ------------------------------------------------------------ collect

    def track(self, name: str, **fields: Any) -> str:
        """Send one event and wait until it is on disk there; its message_id.

        fields: those of an event (visitor_id, provider_id, ts, amount, order_id, channel, ...); what is unknown goes
        into its properties.
        """
        (message_id,) = self.send([{"name": name, **fields}])
        return message_id

    def send(self, events: Iterable[Mapping[str, Any]]) -> list[str]:
        """Send canonical events; their message_ids, in order. They are on disk there when this returns.

        ``ts`` and ``message_id`` that are missing or None are filled in. Raises ServiceError where the service refuses
        any of them or stays away; sending the same events again is harmless.
        """
        rows = [_filled(event) for event in events]
        for first in range(0, len(rows), _BATCH):
            part = rows[first : first + _BATCH]
            body = b"\n".join(msgspec.json.encode(row) for row in part)
            kind = {"content-type": "application/x-ndjson"}
            taken = _as(_Taken, self._again("POST", "/v1/events", content=body, headers=kind), "/v1/events")
            if taken.accepted + taken.rejected != len(part):
                raise _foreign("/v1/events", f"it speaks of {taken.accepted + taken.rejected} events, not {len(part)}")
            if taken.rejected:
                raise ServiceError(
                    f"{taken.rejected} of {len(part)} events were kept aside: {taken.reasons}",
                    "mend and send them again; the others were taken",
                )
        return [row["message_id"] for row in rows]

    # ------------------------------------------------------------ decide

    def decide(
        self,
        visitor_id: str | None = None,
        *,
        segment: str | Mapping[str, str | None] | None = None,
        candidates: Sequence[str] | None = None,
        slots: int = 1,
        context: Mapping[str, Any] | None = None,
        sticky_key: str | None = None,
        fallback: Sequence[str] | None = None,
    ) -> Chosen:
        """Where a visitor goes. Where the service is away: ``fallback``, else ``candidates``, in their order.

        slots: how many providers, >= 1. Raises ServiceError where the service is there and refuses what was asked.
        """
        if slots < 1:
            raise InputError(f"slots = {slots}", "ask for 1 or more")
        local = self._fallback if candidates is None else tuple(candidates)
        local = tuple(fallback) if fallback is not None else local
        if time.monotonic() < self._away_until:
            return _local(local, slots, "the service was away a moment ago")
        asked = {
            "visitor_id": visitor_id,
            "segment": dict(segment) if isinstance(segment, Mapping) else segment,
            "candidates": list(candidates) if candidates is not None else None,
            "slots": slots,
            "context": dict(context) if context is not None else None,
            "sticky_key": sticky_key,
        }
        body = msgspec.json.encode({name: value for name, value in asked.items() if value is not None})
        told = self._decided(body)
        if isinstance(told, str):
            self._away_until = time.monotonic() + _AWAY_S
            return _local(local, slots, told)
        return Chosen(
            choices=tuple(choice.provider_id for choice in told.choices),
            propensities=tuple(choice.propensity for choice in told.choices),
            decision_id=told.decision_id if told.logged else None,
            plan_version=told.plan_version,
            pacing_version=told.pacing_version,
            local=False,
            reason=told.reason,
            repeat_of=told.repeat_of,
        )

    def _decided(self, body: bytes) -> _Decision | str:
        """The answer, or why there is none. One try and, on a connection that was closed meanwhile, one more."""
        why = ""
        with self._deadline.within(self._decide_timeout_s):
            for _ in range(2):
                try:
                    reply = self._http().post(
                        "/v1/decide",
                        content=body,
                        headers={"content-type": "application/json"},
                        timeout=self._decide_timeout_s,
                    )
                except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError) as error:
                    why = f"{type(error).__name__}: {error}"
                    continue
                except httpx.RequestError as error:
                    return f"{type(error).__name__}: {error}"
                if reply.is_client_error and reply.status_code not in _LATER:
                    raise _refusal(reply)
                return _decision(reply) if reply.is_success else _said(reply)
        return why

    # ------------------------------------------------------------ read

    def value(self, by: str = "provider", **words: Any) -> list[dict[str, Any]]:
        """Rows of ``GET /v1/value``, all pages; words: as_of, from_, to."""
        return self._pages("/v1/value", {"by": by, **words})

    def plan(self, version: int | None = None, by: str = "provider") -> dict[str, Any]:
        """The plan in force (or that version), its items of all pages together."""
        words = {"by": by, "version": version}
        first = self._again("GET", "/v1/plan", params=_words(words))
        return {**first, "items": self._joined("/v1/plan", words, first), "next": None}

    def explain(self, provider_id: str, version: int | None = None) -> dict[str, Any]:
        """Why a provider's visits change."""
        path = f"/v1/providers/{quote(provider_id, safe='')}/explain"
        return self._again("GET", path, params=_words({"version": version}))

    def decision(self, decision_id: str) -> dict[str, Any]:
        """A decision as logged."""
        return self._again("GET", f"/v1/decisions/{quote(decision_id, safe='')}")

    def _pages(self, path: str, words: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._joined(path, words, self._again("GET", path, params=_words(words)))

    def _joined(self, path: str, words: Mapping[str, Any], first: dict[str, Any]) -> list[dict[str, Any]]:
        page = _as(_Page, first, path)
        items = page.items
        while page.next:
            page = _as(_Page, self._again("GET", path, params=_words({**words, "cursor": page.next})), path)
            items += page.items
        return items

    # ------------------------------------------------------------ inside

    def _again(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Send until it is answered, with pauses that double; ServiceError when the retries are used up."""
        said = ""
        for attempt in range(self._retries + 1):
            wait_s = min(10.0, 0.1 * 2**attempt) * (0.5 + self._random.random())
            try:
                reply = self._http().request(method, path, **request)
            except httpx.RequestError as error:
                said = f"{type(error).__name__}: {error}"
            else:
                if reply.status_code not in _AGAIN:
                    return _read(reply)
                said = _said(reply)
                wait_s = max(wait_s, _retry_after(reply))
            if attempt < self._retries:
                self._sleep(wait_s)
        raise ServiceError(
            f"{method} {path}: no answer after {self._retries + 1} tries: {said}", "check that the service runs"
        )

    def close(self) -> None:
        """Close the connections."""
        process, http = self._opened
        if process == os.getpid():
            http.close()

    def _http(self) -> httpx.Client:
        """The connections of this process. Those from before a fork are the parent's: who shares them reads answers
        that others asked for, and who closes them may say goodbye in its name."""
        if self._opened[0] != os.getpid():
            self._opened = self._open()
        return self._opened[1]

    def _open(self) -> tuple[int, httpx.Client]:
        options = self._options
        if options["transport"] is None and self._is_here:  # httpx asks the environment where it is given none
            options = {**options, "transport": httpx.HTTPTransport()}
        try:
            http = httpx.Client(**options)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise InputError(
                f"the proxy that the environment names cannot be used: {error}",
                "mend HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or take the service's host out by NO_PROXY",
            ) from None
        self._deadline.hold(http)
        return os.getpid(), http

    def __enter__(self) -> Client:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _check_address(url: str, key: str) -> None:
    """InputError where no request could be made of them: it would be taken for a service that is away."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InputError(f"url {url!r}: {error}", "write it as http://127.0.0.1:8420") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or not 0 < (parsed.port or 80) < 1 << 16:
        raise InputError(f"url {url!r} is no address of a service", "write it as http://127.0.0.1:8420")
    if not (key.isascii() and key.isprintable()):
        raise InputError("key: characters are in it that no key has", "give it as `footfall keys create` told it")


def _is_here(url: str) -> bool:
    """Whether a service is on this machine."""
    return is_loopback(httpx.URL(url).host)


def _filled(event: Mapping[str, Any]) -> dict[str, Any]:
    row = dict(event)
    moment = row.get("ts")
    if moment is None:
        row["ts"] = datetime.now(UTC).isoformat()
    elif isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise InputError(f"ts {moment} has no time zone", "give an aware datetime, for example in UTC")
        row["ts"] = moment.astimezone(UTC).isoformat()
    if row.get("message_id") is None:
        row["message_id"] = uuid.uuid4().hex
    return row


def _local(order: Sequence[str], slots: int, why: str) -> Chosen:
    choices = tuple(order[:slots])
    return Chosen(choices, (None,) * len(choices), None, None, None, True, reason=why)


def _words(words: Mapping[str, Any]) -> dict[str, str]:
    return {name.rstrip("_"): str(value) for name, value in words.items() if value is not None}


def _retry_after(reply: httpx.Response) -> float:
    text = reply.headers.get("retry-after", "")
    return min(60.0, float(text)) if text.isascii() and text.isdigit() else 0.0


def _object(reply: httpx.Response) -> dict[str, Any] | None:
    """The JSON object that a reply is; None where it is none, as of something between us and the service."""
    try:
        return msgspec.json.decode(reply.content, type=dict[str, Any])
    except _UNREADABLE:
        return None


def _decision(reply: httpx.Response) -> _Decision | str:
    try:
        return _DECISION.decode(reply.content)
    except _UNREADABLE as error:
        return f"{reply.status_code}, but no decision: {error}"


def _read(reply: httpx.Response) -> dict[str, Any]:
    if not reply.is_success:
        raise _refusal(reply)
    told = _object(reply)
    if told is None:
        raise _foreign(str(reply.request.url), "it is no JSON object", reply.status_code)
    return told


def _as(kind: type[T], told: dict[str, Any], path: str) -> T:
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise _foreign(path, str(error)) from None


def _foreign(where: str, why: str, status: int = 200) -> ServiceError:
    return ServiceError(
        f"{where}: the answer {status} is none of Footfall's: {why}",
        "check the service's address, and what is between it and you",
        status=status,
    )


def _refusal(reply: httpx.Response) -> ServiceError:
    way_out = (_object(reply) or {}).get("way_out", "")
    return ServiceError(f"the service refused: {_said(reply)}", str(way_out), status=reply.status_code)


def _said(reply: httpx.Response) -> str:
    return f"{reply.status_code} {(_object(reply) or {}).get('detail', reply.reason_phrase)}"
