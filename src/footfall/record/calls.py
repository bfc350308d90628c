"""Calls: what is read of the requests of Segment's tracking API, and how one is read in which types are others.

The structures name only what is used; all else of a request is passed over by the decoder.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from footfall.record.gate import NOTHING, SURE_LENGTH, Gate, as_text, is_text

Text = Annotated[str, Meta(max_length=SURE_LENGTH)] | None
Moment = Annotated[datetime, Meta(tz=True)] | None


class Campaign(Struct, gc=False):
    """context.campaign."""

    name: Text = None
    source: Text = None
    medium: Text = None


class Device(Struct, gc=False):
    """context.device."""

    type: Text = None


class Place(Struct, gc=False):
    """context.location."""

    country: Text = None


class Context(Struct, gc=False):
    """What is read of a call's context."""

    campaign: Campaign | None = None
    device: Device | None = None
    location: Place | None = None
    locale: Text = None


class Call(Struct, rename="camel", gc=False):
    """One call."""

    type: str | None = None
    message_id: Text = None
    event: str | None = None
    anonymous_id: Text = None
    user_id: Text = None
    previous_id: Text = None
    group_id: Text = None
    name: str | None = None
    timestamp: Moment = None
    original_timestamp: Moment = None
    sent_at: Moment = None
    context: Context | None = None
    properties: Raw = NOTHING
    traits: Raw = NOTHING


class Batch(Struct, rename="camel", gc=False):
    """A batch of calls."""

    batch: list[Call]
    sent_at: Moment = None
    context: Context | None = None


class Properties(
    Struct, gc=False, rename={"product_camel": "productId", "order_camel": "orderId", "session_camel": "sessionId"}
):
    """What is read of a call's properties; other tools' names as in names.FIELD_ALIASES."""

    provider_id: Text = None
    shop_id: Text = None
    seller_id: Text = None
    merchant_id: Text = None
    creator_id: Text = None
    item_id: Text = None
    product_id: Text = None
    product_camel: Text = None
    order_id: Text = None
    order_camel: Text = None
    transaction_id: Text = None
    visit_id: Text = None
    session_id: Text = None
    session_camel: Text = None
    currency: Text = None
    locale: Raw = NOTHING
    name: Raw = NOTHING
    position: Text | int = None
    propensity: Raw = NOTHING
    revenue: Raw = NOTHING
    total: Raw = NOTHING
    value: Raw = NOTHING
    products: Raw = NOTHING


class Envelope(Struct, rename="camel", gc=False):
    """A batch whose calls are read one by one."""

    batch: list[Raw]
    sent_at: Any = None
    context: Raw = NOTHING


class Product(Struct, gc=False):
    """What is read of a product of an order."""

    price: Raw = NOTHING
    quantity: Raw = NOTHING


BATCH = msgspec.json.Decoder(Batch)
ENVELOPE = msgspec.json.Decoder(Envelope)
CALL = msgspec.json.Decoder(Call)
PROPERTIES = msgspec.json.Decoder(Properties)
PRODUCTS = msgspec.json.Decoder(list[Product])
LOOSE = msgspec.json.Decoder(float_hook=lambda text: text)  # floats as they are written
_CONTEXT = msgspec.json.Decoder(Context)
_RAWS = msgspec.json.Decoder(dict[str, Raw])
BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
NULL = Raw(b"null")  # a Raw equals Raws only
_TEXTS = ("type", "message_id", "event", "anonymous_id", "user_id", "previous_id", "group_id", "name")
_TIMES = ("original_timestamp", "timestamp", "sent_at")
_RAW_FIELDS = ("locale", "name", "propensity", "revenue", "total", "value", "products")
_BACKSLASH = b"\xff\xff"
_HALF = re.compile(  # an escape of one of the two that make a character beyond U+FFFF, without the other
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_KEYS = dict(zip(Call.__struct_fields__, Call.__struct_encode_fields__, strict=True))


def loose_envelope(body: bytes) -> tuple[Envelope, frozenset[int]]:
    """A batch whose calls are read one by one, and the numbers of those that hold half a character: JSON's grammar
    allows an escape such as ``"\\ud83d"``, an emoji cut in two, but no text can hold it. It stands there as U+FFFD.

    Raises one of BAD.
    """
    try:
        return ENVELOPE.decode(body), frozenset()
    except BAD:
        if not has_half(body):
            raise
    apart = _apart(body)
    found, other = (
        ENVELOPE.decode(_HALF.sub(sign, apart).replace(_BACKSLASH, rb"\\")) for sign in (rb"\\ufffd", rb"\\ufffe")
    )
    both = zip(found.batch, other.batch, strict=True)
    return found, frozenset(number for number, (one, another) in enumerate(both) if one != another)


def has_half(text: bytes) -> bool:
    """Whether UTF-8 text holds an escape of half a character."""
    return is_text(text) and _HALF.search(_apart(text)) is not None


def _apart(text: bytes) -> bytes:
    """UTF-8 text whose escaped backslashes are bytes that no text has: what backslashes are left begin an escape."""
    return text.replace(rb"\\", _BACKSLASH)


def loose_call(text: bytes, gate: Gate) -> tuple[Call, str]:
    """A call whose fields are of other types, and the first fault that shows while reading, or "".

    Raises one of BAD where it is no JSON, TypeError where it is no object.
    """
    found = LOOSE.decode(text)
    if not isinstance(found, dict):
        raise TypeError("it is no JSON object")
    raws = _RAWS.decode(text)
    call, early = Call(), ""
    for name in _TEXTS:
        setattr(call, name, as_text(found.get(_KEYS[name])))
    for name in _TIMES:
        value = found.get(_KEYS[name])
        moment = loose_moment(value, gate)
        if moment is None and value not in (None, "") and name != "sent_at":
            early = "ts:unreadable"
        setattr(call, name, moment)
    call.context = loose_context(raws.get("context", NOTHING))
    for name in ("properties", "traits"):
        raw = bytes(raws.get(name, NOTHING))
        setattr(call, name, Raw(raw))
    return call, early


def loose_properties(raw: Raw) -> Properties | None:
    """Properties whose values are of other types; None where they are no object."""
    try:
        found = LOOSE.decode(raw)
        raws = _RAWS.decode(raw)
    except BAD:
        return None
    given = Properties()
    for name in Properties.__struct_fields__:
        if found.get(name) is not None:
            setattr(given, name, raws[name] if name in _RAW_FIELDS else as_text(found[name]))
    return given


def loose_context(raw: Raw) -> Context | None:
    """What can be read of a context; a part of another shape is left out."""
    if not raw:
        return None
    try:
        return _CONTEXT.decode(raw)
    except BAD:
        pass
    context = Context()
    try:
        parts = _RAWS.decode(raw)
    except BAD:
        return None
    for name, kind in (("campaign", Campaign), ("device", Device), ("location", Place), ("locale", str)):
        try:
            setattr(context, name, msgspec.json.decode(parts[name], type=kind))
        except (*BAD, KeyError):
            continue
    return context


def loose_moment(value: Any, gate: Gate) -> datetime | None:
    """A time as JSON has it, a text or a number; None where it is none."""
    text = as_text(value)
    return None if text is None else gate.moment(text)


def raw_text(raw: Raw) -> str | None:
    """The text of a number or string, exactly as it was written; None for "" and null alike."""
    if not raw or raw == NULL:
        return None
    text = bytes(raw)
    return str(msgspec.json.decode(text)) or None if text[:1] == b'"' else text.decode()
