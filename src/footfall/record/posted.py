"""Posted: canonical events as NDJSON in a request, one object a line, with the fields that an import knows.

Lines whose fields are those of the log, in their own types, are read at once. A line with anything else in it is
read by itself, as an import would: other tools' names of fields, numbers for texts, further keys into ``properties``.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from footfall.record.calls import raw_text
from footfall.record.fields import FIELDS
from footfall.record.gate import (
    NOTHING,
    SURE_LENGTH,
    Gate,
    Row,
    Said,
    Taken,
    TooManyError,
    as_text,
    is_text,
    made_id,
    may_hold_controls,
)
from footfall.record.names import FIELD_ALIASES

Text = Annotated[str, Meta(max_length=SURE_LENGTH)] | None
Moment = Annotated[datetime, Meta(tz=True)] | None


class Posted(Struct, forbid_unknown_fields=True, gc=False):
    """One line in the log's own terms."""

    message_id: Text = None
    ts: Moment = None
    name: Text = None
    visitor_id: Text = None
    user_id: Text = None
    previous_id: Text = None
    visit_id: Text = None
    provider_id: Text = None
    item_id: Text = None
    order_id: Text = None
    amount: Raw = NOTHING
    amount_minor: Raw = NOTHING
    currency: Text = None
    category: Text = None
    channel: Text = None
    campaign: Text = None
    device: Text = None
    country: Text = None
    position: Text = None
    propensity: Raw = NOTHING
    properties: Raw = NOTHING


_LINES = msgspec.json.Decoder(Posted)
_LOOSE = msgspec.json.Decoder(float_hook=lambda text: text)
_ENCODER = msgspec.json.Encoder()
_NULL = Raw(b"null")
_QUOTE, _BRACE = b'"{'


def take(body: bytes, gate: Gate, source: str, received: datetime, most: int) -> Taken:
    """Check the lines of a request. most: events at most, else TooManyError."""
    taken = Taken()
    span, look = gate.span(received), may_hold_controls(body)
    rows: list[Row] = []
    repeats: Counter[bytes] = Counter()

    def check(line: Posted, look: bool, early: str = "", late: str = "", raw: bytes = b"") -> None:
        if line.properties and memoryview(line.properties)[0] != _BRACE:
            line.properties, late = merged(line.properties, {})
        row, said = _row(line, gate, source, received)
        said.early, said.late, said.raw = early, late, raw
        if not row.message_id:
            content = _ENCODER.encode(line)
            repeats[content] += 1
            row.message_id = made_id(content, repeats[content])
        if look or not _plain(said, gate) or not gate.is_plain(row, span):
            code = gate.fault(row, said, span)
            if code:
                gate.keep(taken, row, said, code)
                return
        rows.append(row)

    lines: list[Posted] | None
    try:
        lines = _LINES.decode_lines(body) if is_text(body) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        lines = None
    if lines is None:
        texts = [text for text in body.split(b"\n") if text.strip()]
        _bound(len(texts), most)
        for text in texts:
            line, early, late, raw = _read(text.strip(), gate)
            check(line, True, early, late, raw)
    else:
        _bound(len(lines), most)
        for line in lines:
            check(line, look)
    taken.accepted = len(rows)
    taken.rows = rows
    return taken


def _plain(said: Said, gate: Gate) -> bool:
    if said.amount is not None or said.minor is not None or said.propensity is not None or said.early or said.late:
        return False
    return not said.currency or said.currency == gate.currency


def _bound(count: int, most: int) -> None:
    if count > most:
        raise TooManyError(f"{count:,} events in one request; {most:,} at most", "send them in several")


def _row(line: Posted, gate: Gate, source: str, received: datetime) -> tuple[Row, Said]:
    row = Row(
        line.message_id,
        line.ts,
        gate.name(line.name),
        line.visitor_id,
        line.user_id,
        line.previous_id,
        line.visit_id,
        line.provider_id,
        line.item_id,
        line.order_id,
        line.channel,
        line.campaign,
        line.device,
        line.country,
        line.category,
        line.position,
        properties=line.properties or NOTHING,
        source=source,
        received_at=received,
    )
    said = Said(line.name, raw_text(line.amount), raw_text(line.amount_minor), line.currency)
    said.propensity = raw_text(line.propensity)
    return row, said


def _read(text: bytes, gate: Gate) -> tuple[Posted, str, str, bytes]:
    """One line by itself: (what it holds, faults that count before and after all others, the text where it cannot be
    taken apart)."""
    if not is_text(text):
        return Posted(), "row:encoding", "", text
    try:
        return _LINES.decode(text), "", "", b""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        found = _LOOSE.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Posted(), "row:json", "", text
    if not isinstance(found, dict):
        return Posted(), "row:object", "", text
    return _loose(found, text, gate)


def _loose(found: dict[str, Any], text: bytes, gate: Gate) -> tuple[Posted, str, str, bytes]:
    """An object with whatever keys and types. Floats come as their texts."""
    raw = msgspec.json.decode(text, type=dict[str, Raw])
    chosen = columns(list(found))
    values = {name: as_text(found[key]) for name, key in chosen.items() if name != "properties"}
    line = Posted()
    for name in _PLAIN & values.keys():
        setattr(line, name, values[name])
    for name in ("amount", "amount_minor", "propensity"):
        if values.get(name) is not None:
            setattr(line, name, Raw(msgspec.json.encode(values[name])))
    early = ""
    if values.get("ts"):
        line.ts = gate.moment(str(values["ts"]))
        early = "" if line.ts is not None else "ts:unreadable"
    rest = {
        key: raw[key] for key in sorted(found) if key and key not in chosen.values() and found[key] not in (None, "")
    }
    line.properties, late = merged(raw[chosen["properties"]] if "properties" in chosen else NOTHING, rest)
    return line, early, late, text if early or late else b""


_PLAIN = frozenset(FIELDS) - {"ts", "amount", "amount_minor", "propensity", "properties"}


def columns(keys: list[str]) -> dict[str, str]:
    """field -> key: the field's own name, else the first of other tools' names for it, whatever its case."""
    low = {key.lower(): key for key in reversed(keys)}
    chosen = {name: name for name in FIELDS if name in keys}
    taken = set(chosen.values())
    for name in FIELDS:
        if name in chosen or (name == "amount" and "amount_minor" in chosen):
            continue
        key = next((low[a] for a in (name, *FIELD_ALIASES.get(name, ())) if a in low and low[a] not in taken), None)
        if key is not None:
            chosen[name] = key
            taken.add(key)
    return chosen


def merged(given: Raw, rest: dict[str, Raw]) -> tuple[Raw, str]:
    """(properties with further keys, a fault or ""): what is given under ``properties`` goes before."""
    if given and memoryview(given)[0] == _QUOTE:  # an object that was written as a text
        given = Raw(str(msgspec.json.decode(given)).encode())
    if not given or given == _NULL:
        return (Raw(msgspec.json.encode(rest)) if rest else NOTHING), ""
    try:
        held = msgspec.json.decode(given, type=dict[str, Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return NOTHING, "properties:object"
    return (Raw(msgspec.json.encode({**rest, **held})) if rest else Raw(bytes(given))), ""
