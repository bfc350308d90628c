"""Gate: the checks of one event that is to be acknowledged at once, as sql/check.sql makes them for a whole file.

Both name the first thing that is wrong by the same code (faults.py has the words); a test holds them together. Only
an import brings all of history: here, events may be ``[collect] past_days`` old. What passes becomes a canonical line,
now or when it is drained (``tracking.reread``), and is checked once more then.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import Raw, Struct

from footfall import zones
from footfall.config import Config
from footfall.errors import InputError
from footfall.record.faults import explain
from footfall.record.money import exponent
from footfall.record.names import PROVIDER_EVENTS, event_names

NOTHING = Raw(b"")
_LONGEST = 512  # bytes of an id
LARGEST = 1 << 20  # characters of an event
# An id of up to so many characters fits whatever they are; longer ones are counted.
SURE_LENGTH = _LONGEST // 4
_IDS = ("message_id", "visitor_id", "user_id", "previous_id", "visit_id", "provider_id", "item_id", "order_id")
_SAID = (*_IDS, "category", "channel", "campaign", "device", "country", "position")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_IN_JSON = re.compile(rb"\\(?:[bfnrt]|u00(?:[01]|7[fF]))")
_POINT = re.compile(r" *[+-]?[0-9.]+([eE][+-]?[0-9]+)? *")
_THOUSANDS = re.compile(r" *[+-]?[0-9]{1,3}([, '][0-9]{3})+(\.[0-9]*)? *")
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_SECONDS = re.compile(r"-?[0-9]{1,10}(\.[0-9]+)?")
_MILLIS = re.compile(r"[0-9]{12,13}(\.0+)?")
_MICROS = re.compile(r"[0-9]{15,16}")
_OFFSET = re.compile(r" ([+-][0-9])")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_EXACT = Context(prec=80)
_TWELVE = Decimal("1e-12")  # sql/check.sql reads amounts as DECIMAL(38, 12)
_NOISE = Decimal("0.000001")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A purchase needs its amount, an alias its two users; a refund may do without a person.
SPECIAL = frozenset(("purchase", "refund", "alias"))
Span = tuple[datetime, datetime]


class Row(Struct, omit_defaults=True, gc=False):
    """A canonical event as it stands in the inbox, one JSON line each."""

    message_id: str | None
    ts: datetime | None
    name: str | None
    visitor_id: str | None = None
    user_id: str | None = None
    previous_id: str | None = None
    visit_id: str | None = None
    provider_id: str | None = None
    item_id: str | None = None
    order_id: str | None = None
    channel: str | None = None
    campaign: str | None = None
    device: str | None = None
    country: str | None = None
    category: str | None = None
    position: str | None = None
    amount_minor: int | None = None
    propensity: float | None = None
    properties: Raw = NOTHING
    locale: str | None = None
    source: str = ""
    received_at: datetime | None = None


class Said(Struct, gc=False):
    """What a row came with that is checked and then stands in the row in another form, or not at all."""

    name: str | None = None
    amount: str | None = None
    minor: str | None = None
    currency: str | None = None
    propensity: str | None = None
    early: str = ""  # a fault that was found while reading, and counts before all others
    late: str = ""  # one that counts after them
    raw: bytes = b""  # the text as it came, where it cannot be taken apart


class Kept(Struct):
    """An event that was kept aside, as it stands in the inbox."""

    field: str
    reason: str
    raw: str
    source: str
    received_at: datetime


class TooManyError(InputError):
    """More events in one request than are taken."""


@dataclass(slots=True)
class Taken:
    """What became of a request: rows for the inbox, and what was kept aside, by ``field: reason`` and by fault.

    ``calls``: the request as it came, where its plain calls are to be read again when they are drained; they are among
    the accepted, and not among the rows.
    """

    accepted: int = 0
    rows: list[Row] = field(default_factory=list)
    calls: bytes = b""
    kept: list[Kept] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def body(self) -> bytes:
        """The rows as lines for the inbox."""
        return _ENCODER.encode_lines(self.rows)

    @property
    def reasons(self) -> dict[str, int]:
        """How many were kept aside for each reason, most first."""
        return dict(Counter(f"{k.field}: {k.reason}" for k in self.kept).most_common())

    def kept_lines(self) -> bytes:
        """What was kept aside, as lines for the inbox."""
        return _ENCODER.encode_lines(self.kept)


_ENCODER = msgspec.json.Encoder()


class Gate:
    """The checks under the settings of a workspace."""

    def __init__(self, config: Config) -> None:
        """config: its currency, zone and bounds of times and amounts."""
        self._config = config
        self.currency = config.workspace.currency
        self.zone = zones.zone(config.workspace.timezone)
        self.names: dict[str, str] = dict(event_names())
        self.earliest = datetime.fromisoformat(config.record.earliest).replace(tzinfo=UTC)
        self._future = timedelta(days=config.record.future_days)
        self._past = timedelta(days=config.collect.past_days)
        self._scale = Decimal(10) ** exponent(self.currency)
        self._max_amount = Decimal(int(config.record.max_amount))
        self._max_minor = int(self._max_amount * self._scale)
        self.depth = config.serve.max_depth

    def span(self, received: datetime) -> Span:
        """Times before the first are too old to come live, those after the second too far in the future."""
        old = received - self.earliest > self._past
        latest = min(received, datetime.max.replace(tzinfo=UTC) - self._future) + self._future
        return received - self._past if old else self.earliest, latest

    def name(self, given: str | None) -> str | None:
        """Our name of an event, whatever its case."""
        return None if given is None else self.names.get(given) or self.names.get(given.lower())

    def is_plain(self, row: Row, span: Span) -> bool:
        """Whether a row that came with neither amount, propensity nor another currency, and with ids of SURE_LENGTH
        at most, needs no closer look: the quick way for nearly all."""
        name, ts = row.name, row.ts
        return bool(
            name is not None
            and name not in SPECIAL
            and row.message_id
            and (row.visitor_id or row.user_id)
            and (row.provider_id or name not in AT_PROVIDER)
            and ts is not None
            and span[0] <= ts <= span[1]
            and self._is_flat(row.properties)
        )

    def fault(self, row: Row, said: Said, span: Span) -> str:
        """The first fault, as a code of faults.py, or "". Sets ``amount_minor`` and ``propensity`` of the row, and
        writes its properties in one line."""
        text = bytes(row.properties)
        if b"\n" in text or b"\r" in text:
            row.properties = Raw(msgspec.json.format(text, indent=-1))
        return (
            said.early
            or self._time_fault(row, span)
            or _person_fault(row, said)
            or self._money_fault(row, said)
            or _propensity_fault(row, said)
            or _text_fault(row)
            or said.late
            or self._depth_fault(row)
        )

    def keep(self, taken: Taken, row: Row, said: Said, code: str) -> None:
        """Keep a row aside, for a fault."""
        culprit = said.name if code.startswith("name:") else said.currency if code.startswith("currency:") else None
        name, reason = explain(code, culprit, self._config)
        raw = said.raw or _ENCODER.encode(_as_given(row, said))
        received = row.received_at or _EPOCH
        taken.kept.append(Kept(name, reason, raw.decode("utf-8", "backslashreplace"), row.source, received))
        taken.faults[code] += 1

    def moment(self, text: str) -> datetime | None:
        """A time as text: ISO 8601 (in the workspace's zone where it names none), or epoch seconds, ms or us."""
        try:
            if _SECONDS.fullmatch(text):
                return _EPOCH + timedelta(microseconds=int((Decimal(text) * 1_000_000).to_integral_value()))
            if _MILLIS.fullmatch(text):
                return _EPOCH + timedelta(milliseconds=int(Decimal(text)))
            if _MICROS.fullmatch(text):
                return _EPOCH + timedelta(microseconds=int(text))
            found = datetime.fromisoformat(_OFFSET.sub(r"\1", text.strip()))
            return (found if found.tzinfo else found.replace(tzinfo=self.zone)).astimezone(UTC)
        except (ValueError, OverflowError, InvalidOperation):
            return None

    # ------------------------------------------------------------ inside

    def _is_flat(self, properties: Raw) -> bool:
        """Whether properties are small, and have too few brackets to be nested deeply."""
        if not properties:
            return True
        text = bytes(properties)
        return len(text) <= LARGEST and text.count(b"{") + text.count(b"[") <= self.depth

    def _depth_fault(self, row: Row) -> str:
        if self._is_flat(row.properties) or depth(bytes(row.properties)) <= self.depth:
            return ""
        return "properties:deep"

    def _time_fault(self, row: Row, span: Span) -> str:
        if row.ts is None:
            return "ts:missing"
        if row.ts < self.earliest:
            return "ts:early"
        if row.ts < span[0]:
            return "ts:old"
        return "ts:late" if row.ts > span[1] else ""

    def _money_fault(self, row: Row, said: Said) -> str:
        amount, minor = said.amount or None, said.minor or None
        if row.name == "purchase" and amount is None and minor is None:
            return "amount:missing"
        if said.currency and said.currency.upper() != self.currency:
            return "currency:other"
        signed: int | None = None
        if amount is not None:
            value = parsed_amount(amount)
            if value is None:
                return "amount:unreadable"
            if abs(value) > self._max_amount:
                return "amount:large"
            scaled = _EXACT.multiply(value, self._scale)
            signed = int(scaled.to_integral_value())
            if abs(scaled - signed) > _NOISE:
                return "amount:decimals"
        if minor is not None:
            signed = int(minor.split(".")[0]) if _WHOLE.fullmatch(minor) and len(minor) < 40 else None
            if signed is None or not -(2**63) <= signed < 2**63:
                return "amount_minor:unreadable"
            if abs(signed) > self._max_minor:
                return "amount_minor:large"
        if signed is not None:
            if signed < 0 and row.name == "purchase":
                return "amount:negative"
            row.amount_minor = abs(signed) if row.name == "refund" else signed
        return ""


AT_PROVIDER = frozenset(PROVIDER_EVENTS)


def _person_fault(row: Row, said: Said) -> str:
    if not said.name:
        return "name:missing"
    if row.name is None:
        return "name:unknown"
    if not row.visitor_id and not row.user_id and not (row.name == "refund" and row.order_id):
        return "order_id:refund" if row.name == "refund" else "visitor_id:missing"
    if row.name in AT_PROVIDER and not row.provider_id:
        return "provider_id:missing"
    if row.name == "alias" and not row.user_id:
        return "user_id:alias"
    return "previous_id:alias" if row.name == "alias" and not row.previous_id else ""


def _propensity_fault(row: Row, said: Said) -> str:
    if not said.propensity:
        return ""
    try:
        row.propensity = float(said.propensity)
    except ValueError:
        row.propensity = None
    if row.propensity is not None and 0 < row.propensity <= 1:
        return ""
    row.propensity = None
    return "propensity:range"


def _text_fault(row: Row) -> str:
    if len(row.properties) + sum(len(getattr(row, name) or "") for name in _SAID) > LARGEST:
        return "row:large"
    for name in _IDS:
        value = getattr(row, name)
        if value is not None and len(value) > SURE_LENGTH and len(value.encode()) > _LONGEST:
            return f"{name}:long"
    if CONTROL.search("".join([getattr(row, name) or "" for name in _SAID])):
        return "id:control"
    return "" if not row.properties or bytes(row.properties).lstrip()[:1] == b"{" else "properties:object"


def parsed_amount(text: str) -> Decimal | None:
    """An amount of money with a decimal point, thousands separated or not; None where it is none."""
    if not _POINT.fullmatch(text):
        if not _THOUSANDS.fullmatch(text):
            return None
        text = re.sub(r"[, ']", "", text)
    try:
        value = Decimal(text.strip())
        if value and value.adjusted() >= 26:
            return None
        return value.quantize(_TWELVE, context=_EXACT)
    except InvalidOperation:
        return None


def may_hold_controls(body: bytes) -> bool:
    """Whether a text of a JSON body could hold a control character: they have to be written as escapes."""
    return b"\x7f" in body or (b"\\" in body and _CONTROL_IN_JSON.search(body) is not None)


def is_text(body: bytes) -> bool:
    """Whether a body is UTF-8 throughout. A decoder passes over what it has no use for without looking at it."""
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def openings(text: bytes, bracket: bytes, most: int) -> int:
    """How often a bracket opens, counted up to one more than ``most``: where there are few, far quicker than all."""
    found, at = 0, text.find(bracket)
    while at >= 0 and found <= most:
        found, at = found + 1, text.find(bracket, at + 1)
    return found


def depth(text: bytes) -> int:
    """How deeply JSON is nested: 1 for an object of plain values."""
    deepest = at = 0
    for mark in _STRING.sub(b"", text).translate(None, _NO_BRACKETS):
        at += 1 if mark in b"[{" else -1
        deepest = max(deepest, at)
    return deepest


def made_id(content: bytes | None, number: int) -> str:
    """A message id for an event that brought none: of its content, so that sending the request again is harmless.

    content: None for an event without a time of its own, which may well come twice: it gets a new one.
    """
    if content is None:
        return uuid.uuid4().hex
    return hashlib.md5(content + b":%d" % number, usedforsecurity=False).hexdigest()


def as_text(value: Any) -> str | None:
    """A JSON value as the text that an import would read; None for null and "" alike."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _as_given(row: Row, said: Said) -> dict[str, Any]:
    """The row with what it came with, which an import can read when it is mended."""
    told = {"name": said.name, "amount": said.amount, "amount_minor": said.minor, "currency": said.currency}
    told["propensity"] = said.propensity
    held = {f: getattr(row, f) for f in Row.__struct_fields__ if f not in (*told, "source", "received_at", "locale")}
    if not row.properties:
        held.pop("properties")
    return {k: v for k, v in {**held, **told}.items() if v is not None}
