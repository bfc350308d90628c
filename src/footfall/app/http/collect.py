"""Collect: the handlers of the tracking API and of canonical events. An answer of success means: it is on the disk.

    POST /v1/track | page | screen | identify | alias | group | batch     Segment's tracking API
    POST /v1/t | p | s | i | a | g | b                                   the same, as its browser SDK calls them
    POST /v1/events                                                      canonical events, one JSON object a line

Browser SDKs send the write key in the body (``writeKey``), where no page of another origin has to ask beforehand.

The depth of JSON is bounded where something of it is kept, an event's properties: the decoder passes over all else, and
gives up by itself where that is nested too deeply.

The answer counts what was accepted and what was kept aside, with reasons. A request is refused as a whole only where
it cannot be read at all (400), is too large (413), or cannot be written (503).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

import msgspec

from footfall.app.http.hot import Hot, Kept
from footfall.app.http.problems import Problem, of_error
from footfall.config import Config
from footfall.errors import FormatError, StorageError
from footfall.ports import Clock, InboxKind
from footfall.record import posted, tracking
from footfall.record.gate import Gate, Taken, TooManyError
from footfall.record.sources import DEFAULT, source_maps

Take = Callable[[bytes, str, datetime], Taken]
KINDS: tuple[tracking.Kind, ...] = ("track", "page", "screen", "identify", "alias", "group", "batch")
SOURCE = "collect"  # of events that came without a key

# What /metrics counts rejected events by, for the field or the kind of a fault (footfall.record.faults).
_METRIC_REASONS = {"row": "json", "ts": "time", "amount": "amount", "amount_minor": "amount", "currency": "currency"}
_METRIC_REASONS |= {"name": "name"}
_ENCODER = msgspec.json.Encoder()


def metric_reason(code: str) -> str:
    """What a fault counts as at /metrics: json, field, time, amount, currency, name or size."""
    field, _, kind = code.partition(":")
    return "size" if kind == "long" else _METRIC_REASONS.get(field, "field")


class Collector:
    """What a worker's handlers share: the checks, the sources' maps."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        tell: Callable[[int, Mapping[str, int]], None] = lambda accepted, rejected: None,
    ) -> None:
        """tell: what is on the disk, to /metrics: the accepted, and the rejected by ``metric_reason``.

        ConfigError for a source's map that names what does not exist.
        """
        self._serve = config.serve
        self._clock = clock
        self._tell = tell
        self._gate = Gate(config)
        self._maps = source_maps(config, self._gate)

    def addresses(self) -> dict[str, Hot]:
        """Path -> what answers it."""
        calls = {f"/v1/{kind}": self._hot("collect", self._calls(kind), True) for kind in KINDS}
        short = {f"/v1/{kind[0]}": calls[f"/v1/{kind}"] for kind in KINDS}
        return {**calls, **short, "/v1/events": self._hot("events", self._events, False)}

    def _hot(self, route: str, take: Take, key_in_body: bool) -> Hot:
        serve = self._serve
        most, unpacked = serve.max_body_kb << 10, serve.max_unpacked_kb << 10
        return Hot(route, "collect", partial(self._take, take), most, unpacked, serve.body_timeout_s, key_in_body)

    def _calls(self, kind: tracking.Kind) -> Take:
        def take(body: bytes, source: str, received: datetime) -> Taken:
            means = self._maps.get(source) or self._maps[DEFAULT]
            most = self._serve.max_batch
            return tracking.take(body, kind, self._gate, means, source or SOURCE, received, most, as_they_came=True)

        return take

    def _events(self, body: bytes, source: str, received: datetime) -> Taken:
        return posted.take(body, self._gate, source or SOURCE, received, self._serve.max_batch)

    def _take(self, take: Take, body: bytes, source: str) -> Kept:
        if not body.strip():
            raise Problem(400, "empty", "the body is empty", "send a JSON object")
        try:
            taken = take(body, source, self._clock.now().astimezone(UTC))
        except TooManyError as error:
            raise Problem(413, "too-many-events", error.message, error.way_out) from None
        except FormatError as error:
            raise Problem(400, "unreadable", error.message, error.way_out) from None
        rows: list[tuple[InboxKind, bytes]] = []
        if taken.calls:
            rows.append(("calls", taken.calls))
        if taken.rows:
            rows.append(("event", taken.body))
        if taken.kept:
            rows.append(("reject", taken.kept_lines()))
        return Kept(rows, (), partial(self._finish, taken))

    def _finish(self, taken: Taken, failure: StorageError | None) -> bytes:
        if failure is not None:
            raise of_error(failure) from failure
        rejected: dict[str, int] = {}
        for code, count in taken.faults.items():
            reason = metric_reason(code)
            rejected[reason] = rejected.get(reason, 0) + count
        self._tell(taken.accepted, rejected)
        return _answer(taken)


def _answer(taken: Taken) -> bytes:
    if not taken.kept:
        return b'{"success":true,"accepted":%d,"rejected":0}' % taken.accepted
    told = {"success": True, "accepted": taken.accepted, "rejected": len(taken.kept), "reasons": taken.reasons}
    return _ENCODER.encode(told)
