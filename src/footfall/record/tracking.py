"""Tracking: requests of Segment's tracking API (https://segment.com/docs/connections/sources/catalog/libraries/server/
http-api/) as canonical events: track, page, screen, identify, alias, group, and batches of them.

- Times: ``timestamp`` is corrected for the sender's clock as Segment's common fields have it: receivedAt - (sentAt -
  originalTimestamp); where a sender tells no ``sentAt``, its time is taken as it is, and where it tells no time, the
  time of receipt.
- People: ``anonymousId`` is the visitor, ``userId`` the user; an alias merges ``previousId`` into ``userId``, and is
  itself an event of the device ``previousId``, so that an anonymous id that was aliased joins its user.
- Properties (traits, of identify and group) are kept as they came. Of the context only campaign, kind of device,
  country and locale are read; the address and all else in it is dropped here, at the latest when it is drained.
- Money: ``revenue``, else ``total``, else ``value``, else the sum over ``products``, in exact decimals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from footfall.errors import FormatError
from footfall.record.calls import (
    BAD,
    BATCH,
    CALL,
    LOOSE,
    NULL,
    PRODUCTS,
    PROPERTIES,
    Call,
    Context,
    Properties,
    has_half,
    loose_call,
    loose_context,
    loose_envelope,
    loose_moment,
    loose_properties,
    raw_text,
)
from footfall.record.gate import (
    LARGEST,
    NOTHING,
    Gate,
    Row,
    Said,
    Taken,
    TooManyError,
    as_text,
    is_text,
    made_id,
    may_hold_controls,
    openings,
    parsed_amount,
)
from footfall.record.sources import DEFAULT, SourceMap

Kind = Literal["track", "page", "screen", "identify", "alias", "group", "batch"]
_NAMES = {"page": "page_view", "screen": "screen_view", "identify": "identify", "alias": "alias", "group": "group"}
_TRAITS = ("identify", "group")
_NO_CONTEXT = (None,) * 5
_BRACE = ord("{")
_NO_PROPERTIES = Properties()
_ENCODER = msgspec.json.Encoder()


def take(
    body: bytes,
    kind: Kind,
    gate: Gate,
    means: SourceMap,
    source: str,
    received: datetime,
    most: int,
    as_they_came: bool = False,
) -> Taken:
    """Check the calls of a request. kind: which call, or batch. most: calls at most, else TooManyError.

    as_they_came: the plain calls of a batch are not made into rows now; the batch is kept for the drain
    (``Taken.calls``), which reads them again by ``reread``.

    Raises FormatError where the body is no JSON of that kind; single calls that are wrong are kept aside.
    """
    reading = _Reading(body, gate, means, source, received)
    if kind != "batch":
        reading.one(body, kind)
        return reading.ended()
    try:
        batch = BATCH.decode(body) if is_text(body) else None
    except BAD:
        batch = None
    if batch is None:
        reading.loose_batch(body, most)
        return reading.ended()
    _bound(batch.batch, most)
    reading.sent(batch.sent_at)
    context = batch.context
    if context is not None:
        for call in batch.batch:
            call.context = call.context or context
    if as_they_came and not means.is_own and len(body) <= LARGEST and b"\n" not in body and b"\r" not in body:
        reading.keep(body, batch.batch)
    else:
        reading.all(batch.batch)
    return reading.ended()


def reread(line: bytes, gate: Gate, maps: Mapping[str, SourceMap]) -> Taken:
    """The plain calls of a batch that was kept as it came: they pass as they did, unless the settings have changed.

    line: of the inbox, ``KeptCalls`` and the batch. Raises FormatError where it is none, as in a damaged file.
    """
    about, _, body = line.partition(b"\t")
    try:
        kept = _KEPT.decode(about)
        batch = BATCH.decode(body)
    except BAD as error:
        raise FormatError(f"calls that were kept cannot be read: {error}", "see the quarantine") from None
    means = maps.get(kept.source) or maps[DEFAULT]
    reading = _Reading(body, gate, means, kept.source, kept.received_at)
    others = frozenset(kept.others)
    reading.sent(batch.sent_at)
    for call in batch.batch:
        call.context = call.context or batch.context
    reading.all([call for number, call in enumerate(batch.batch) if number not in others])
    return reading.ended()


def _bound(calls: Sequence[object], most: int) -> None:
    if len(calls) > most:
        raise TooManyError(f"{len(calls):,} events in one request; {most:,} at most", "send them in several")


class KeptCalls(Struct, gc=False):
    """What stands before a batch that is kept as it came, with a tab between them, on one line of the inbox.

    others: the numbers of the calls in it that were dealt with by themselves.
    """

    source: str
    received_at: datetime
    others: list[int]


_KEPT = msgspec.json.Decoder(KeptCalls)


class _Reading:
    """One request on its way through the gate."""

    def __init__(self, body: bytes, gate: Gate, means: SourceMap, source: str, received: datetime) -> None:
        self._gate = gate
        self._means = means
        self._source = source
        self._received = received
        self._span = gate.span(received)
        self._taken = Taken()
        self._rows: list[Row] = []
        self._repeats: Counter[bytes] = Counter()
        self._mapped = bool(means.paths or means.fixed)
        # Ids that come through a map may be of any length, and hold anything.
        self._closer = self._mapped or may_hold_controls(body) or b"\n" in body or b"\r" in body
        self._arrays = openings(body, b"[", gate.depth) - 1
        self._shift = timedelta()

    def sent(self, at: datetime | None) -> None:
        """When the whole request was sent, by the sender's clock."""
        if at is not None:
            self._shift = self._received - at

    def ended(self) -> Taken:
        """What became of the request."""
        self._taken.accepted += len(self._rows)
        self._taken.rows = self._rows
        return self._taken

    # ------------------------------------------------------------ the usual way

    def keep(self, body: bytes, calls: Sequence[Call]) -> None:
        """Check calls of a batch, and keep it as it came where at least half of them are plain."""
        others = self.all(calls, as_they_came=True)
        plain = len(calls) - len(others)
        if plain and plain * 2 >= len(calls):
            about = _ENCODER.encode(KeptCalls(self._source, self._received, others))
            self._taken.calls = b"%b\t%b\n" % (about, body)
            self._taken.accepted = plain
        else:
            apart = frozenset(others)
            self.all([call for number, call in enumerate(calls) if number not in apart])

    def all(self, calls: Sequence[Call], as_they_came: bool = False) -> list[int]:
        """Check calls: the plain ones among them, which are nearly all, in one go; the numbers of the others.

        as_they_came: the plain ones are to be read again when they are drained, so that no rows are made of them.
        """
        given, flat = self._given(calls)
        shift = self._shift
        try:
            earliest, latest = self._span[0] - shift, self._span[1] - shift  # by the sender's clock
        except OverflowError:
            given = None
        if given is None:
            for call in calls:
                self.call(call, call.type)
            return list(range(len(calls)))
        at_provider, elsewhere, currency = self._means.at_provider, self._means.elsewhere, self._gate.currency
        append = self._rows.append
        others: list[int] = []
        for number, call in enumerate(calls):
            raw = call.properties
            if raw:
                found = next(given)
                provider = (
                    found.provider_id or found.shop_id or found.seller_id or found.merchant_id or found.creator_id
                )
                event = call.event
                name = at_provider.get(event) if provider else None  # type: ignore[arg-type]
                if name is None:
                    name = elsewhere.get(event)  # type: ignore[arg-type]
                visitor, user = call.anonymous_id, call.user_id
                ts = call.original_timestamp or call.timestamp
                if (
                    name is not None
                    and call.type == "track"
                    and ts is not None
                    and earliest <= ts <= latest
                    and call.sent_at is None
                    and call.message_id
                    and (visitor or user)
                    and not found.propensity
                    and (not found.currency or found.currency == currency)
                    and (flat or self._is_shallow(raw))
                ):
                    if not as_they_came:
                        append(self._row(call, "track", found))
                    continue
            self.call(call, call.type)
            others.append(number)
        return others

    def _given(self, calls: Sequence[Call]) -> tuple[Iterator[Properties] | None, bool]:
        """What is read of the properties of those calls that have any, in their order, and whether all of them are flat
        and small; None where they have to be looked at one by one."""
        if self._closer:
            return None, False
        raws = [call.properties for call in calls if call.properties]
        text = b"\n".join(raws)
        try:
            found = PROPERTIES.decode_lines(text)
        except BAD:
            return None, False
        few = self._arrays < self._gate.depth  # brackets of lists in the whole body
        return iter(found), few and len(text) <= LARGEST and text.count(b"{") == len(raws)

    def _is_shallow(self, raw: Raw) -> bool:
        """Whether properties are small, and have too few brackets to be nested deeply."""
        # As many objects as may be nested, less the arrays of the whole body.
        text, objects = bytes(raw), self._gate.depth - self._arrays
        return objects > 0 and len(text) <= LARGEST and text.count(b"{") <= objects

    def call(self, call: Call, kind: str | None, early: str = "", raw: bytes = b"", loose: bool = False) -> None:
        """Check one call. early: a fault that was found before; raw: its text, where it cannot be taken apart; loose:
        whether its ids may be of any length."""
        given, late = _NO_PROPERTIES, ""
        if call.properties:
            try:
                given = PROPERTIES.decode(call.properties)
            except BAD:
                loose = True
                read = loose_properties(call.properties)
                if read is None:
                    late = "" if call.properties == NULL else "properties:object"
                    call.properties = NOTHING
                given = read or _NO_PROPERTIES
        if kind in _TRAITS and call.traits and memoryview(call.traits)[0] != _BRACE:
            late = "" if call.traits == NULL else "properties:object"
            call.traits = NOTHING
        row = self._row(call, kind, given)
        plain = self._gate.is_plain(row, self._span) and (not given.currency or given.currency == self._gate.currency)
        if plain and not (loose or self._closer or early or given.propensity):
            self._rows.append(row)
            return
        said = self._said(call, kind, given, row)
        said.early, said.late, said.raw = early, late, raw
        if not row.message_id:
            row.message_id = self._made_id(call)
        code = self._gate.fault(row, said, self._span)
        if code:
            self._gate.keep(self._taken, row, said, code)
        else:
            self._rows.append(row)

    def _row(self, call: Call, kind: str | None, given: Properties) -> Row:
        visitor, user, properties = call.anonymous_id, call.user_id, call.properties
        previous: str | None = None
        if kind == "track":
            name = self._means.names.get(call.event or "") or self._gate.name(call.event)
        else:
            name = _NAMES.get(kind or "")
            if kind == "alias":
                previous = call.previous_id
                visitor = visitor or previous
            elif kind in _TRAITS:
                properties = call.traits
                if call.group_id is not None:
                    properties = _with(properties, b"groupId", _ENCODER.encode(call.group_id))
            elif call.name and not given.name:
                properties = _with(properties, b"name", _ENCODER.encode(call.name))
        provider = given.provider_id or given.shop_id or given.seller_id or given.merchant_id or given.creator_id
        item = given.item_id or given.product_id or given.product_camel
        order = given.order_id or given.order_camel or given.transaction_id
        visit = given.visit_id or given.session_id or given.session_camel
        channel, campaign, device, country, locale = _context(call.context)
        return Row(
            call.message_id,
            self._moment(call.original_timestamp or call.timestamp, call.sent_at),
            name,
            visitor,
            user,
            previous,
            visit,
            provider,
            item,
            order,
            channel,
            campaign,
            device,
            country,
            None,
            str(given.position) if given.position is not None else None,
            None,
            None,
            properties or NOTHING,  # the very object, by which the encoder knows that there is nothing
            locale if not given.locale else None,
            self._source,
            self._received,
        )

    def _said(self, call: Call, kind: str | None, given: Properties, row: Row) -> Said:
        """What the row came with, by the source's own map where it has one."""
        said = Said(call.event if kind == "track" else kind, currency=given.currency)
        said.propensity = raw_text(given.propensity)
        if self._mapped:
            self._map(call, row, said)
        if said.amount is None and said.minor is None and row.name in ("purchase", "refund"):
            said.amount = _amount(given)
        return said

    def _moment(self, told: datetime | None, sent: datetime | None) -> datetime:
        """When it happened, corrected for the sender's clock."""
        if told is None:
            return self._received
        shift = self._shift if sent is None else self._received - sent
        try:
            return told + shift if shift else told
        except OverflowError:
            return told

    def _made_id(self, call: Call) -> str:
        if call.original_timestamp is None and call.timestamp is None:
            return made_id(None, 0)
        content = _ENCODER.encode(msgspec.structs.replace(call, sent_at=None))
        self._repeats[content] += 1
        return made_id(content, self._repeats[content])

    def _map(self, call: Call, row: Row, said: Said) -> None:
        """What the source's own map says of the fields."""
        found = {name: _dug(call, path) for name, path in self._means.paths.items()}
        for name, value in {**found, **self._means.fixed}.items():
            if value is None:
                continue
            if name == "name":
                said.name, row.name = value, self._gate.name(value)
            elif name in ("amount", "amount_minor", "currency", "propensity"):
                setattr(said, "minor" if name == "amount_minor" else name, value)
            else:
                setattr(row, name, value)

    # ------------------------------------------------------------ by themselves

    def loose_batch(self, body: bytes, most: int) -> None:
        """A batch in which something is wrong: each call by itself."""
        try:
            envelope, halved = loose_envelope(body)
        except BAD as error:
            raise FormatError(
                f"the body is no batch of calls: {error}", 'send a JSON object such as {"batch": [...]} in UTF-8'
            ) from None
        _bound(envelope.batch, most)
        self.sent(loose_moment(envelope.sent_at, self._gate))
        context = loose_context(envelope.context)
        for number, text in enumerate(envelope.batch):
            if number in halved:
                self.call(Call(), None, "row:json", bytes(text), True)
            else:
                self.one(bytes(text), None, context)

    def one(self, text: bytes, kind: str | None, context: Context | None = None) -> None:
        """One call by itself; FormatError for the text of a single request that is no JSON object."""
        early = "" if is_text(text) else "row:encoding"
        try:
            call = CALL.decode(text)
        except BAD:
            try:
                call, fault = loose_call(text, self._gate)
                early = early or fault
            except (*BAD, TypeError) as error:
                halved = has_half(text)
                if kind is not None and not halved:
                    raise FormatError(f"the body is no call: {error}", "send one JSON object in UTF-8") from None
                self.call(Call(), None, "row:json" if halved else "row:object", text, True)
                return
        if call.context is None:
            call.context = context
        self.call(call, kind or call.type, early, text if early else b"", True)


def _context(context: Context | None) -> tuple[str | None, str | None, str | None, str | None, str | None]:
    """(channel, campaign, device, country, locale) of a call."""
    if context is None:
        return _NO_CONTEXT
    sent, device, place = context.campaign, context.device, context.location
    return (
        None if sent is None else sent.medium or sent.source,
        None if sent is None else sent.name,
        None if device is None else device.type,
        None if place is None else place.country,
        context.locale or None,
    )


def _amount(given: Properties) -> str | None:
    """What an order earned, as it was written; where only its products are told, the sum over them."""
    told = raw_text(given.revenue) or raw_text(given.total) or raw_text(given.value)
    if told is not None or not given.products or given.products == NULL:
        return told
    try:
        products = PRODUCTS.decode(given.products)
    except BAD:
        return None
    total, priced = Decimal(0), False
    for product in products:
        price, quantity = raw_text(product.price), raw_text(product.quantity) or "1"
        if price is None:
            continue
        each, many = parsed_amount(price), parsed_amount(quantity)
        if each is None or many is None:
            return price if each is None else quantity  # which the gate then tells to be no amount
        total, priced = total + each * many, True
    return f"{total:f}" if priced else None


def _with(properties: Raw, key: bytes, value: bytes) -> Raw:
    """A JSON object with one more key in front."""
    plain = bytes(properties)
    if plain[:1] != b"{" or plain[1:].lstrip()[:1] == b"}":
        return Raw(b'{"%s":%s}' % (key, value))
    return Raw(b'{"%s":%s,%s' % (key, value, plain[1:]))


def _dug(call: Call, path: tuple[str, ...]) -> str | None:
    """The value at a place in a call, as text."""
    root = call.group_id if path[0] == "groupId" else getattr(call, path[0], None)
    if path[0] == "context":
        root = msgspec.to_builtins(root)
    elif isinstance(root, Raw):
        root = LOOSE.decode(root) if root else None
    for key in path[1:]:
        root = root.get(key) if isinstance(root, dict) else None
    return as_text(root)
