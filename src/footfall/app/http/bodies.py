"""Bodies of the raw handlers, as they are described at /schema; decisions are decoded by the same structs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(min_length=1, max_length=500)]


class AskBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a decision is asked for."""

    visitor_id: Annotated[
        Annotated[str, Meta(max_length=500)] | None,
        Meta(description="Device or person, as events name it; needed for sticky choices. Empty: not known."),
    ] = None
    segment: Annotated[
        dict[str, str | None] | str | None,
        Meta(description="The segment as plans name it, or its columns, for example {'channel': 'email'}."),
    ] = None
    candidates: Annotated[
        Annotated[list[Text], Meta(max_length=10_000)] | None,
        Meta(
            description="Providers to choose among, each once, in the order in which you would show them; "
            "none: all that the plan has for the segment.",
        ),
    ] = None
    slots: Annotated[int, Meta(description="Choices wanted, in order.", ge=1, le=50)] = 1
    context: Annotated[
        dict[str, Any] | None, Meta(description="Anything to be kept with the decision; it changes nothing.")
    ] = None
    sticky_key: Annotated[
        Annotated[str, Meta(max_length=200)] | None,
        Meta(
            description="Same visitor and key, same choices within [live] sticky_s; else segment and candidates are "
            "the key.",
        ),
    ] = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One choice."""

    provider_id: str
    propensity: Annotated[
        float | None,
        Meta(description="Its probability given the choices before it; null where it was not drawn (shadow mode)."),
    ]


class DecisionBody(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. Send `decision_id` with the visit's events: the visit then keeps the reservation."""

    decision_id: str
    choices: list[Choice]
    plan_version: int
    pacing_version: int
    mode: Literal["live", "shadow"]
    logged: Annotated[bool, Meta(description="False only where [live] on_log_failure = mark and the log failed.")]
    repeat_of: Annotated[str | None, Meta(description="The earlier decision whose choices these are (sticky).")] = None
    reason: Annotated[str | None, Meta(description="Why there are fewer choices than slots, or a segment unknown.")] = (
        None
    )


class Call(NamedTuple):
    """One raw address: what it takes and what it gives."""

    path: str
    tag: str
    summary: str
    description: str
    request: Any
    response: Any
    answer: str
    media: str = "application/json"
    example: Any = None


DECIDE = Call(
    "/v1/decide",
    "decide",
    "Where this visitor goes",
    "Draws among the candidates by the plan in force, reserves capacity, logs the decision, answers. The decision is "
    "on disk before it is answered.",
    AskBody,
    DecisionBody,
    "The decision.",
    example={"visitor_id": "v-1", "segment": {"channel": "email"}, "candidates": ["shop-a", "shop-b"], "slots": 1},
)


class CollectBody(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the events of a request. What was accepted is on disk; what was rejected is kept aside there."""

    success: Literal[True]
    accepted: int
    rejected: int
    reasons: Annotated[dict[str, int], Meta(description="Why events were kept aside, with counts.")] = {}


Id = Annotated[str | int | None, Meta(description="Text or a whole number.")]
Moment = Annotated[str | None, Meta(description="ISO 8601, or seconds or milliseconds since 1970 as a number.")]
Object = dict[str, Any] | None


class TrackedCall(msgspec.Struct, rename="camel", kw_only=True):
    """One call of Segment's tracking API. Members that are not named here are passed over.

    These are the members that ``record.calls.Call`` reads; a test holds the two together.
    """

    type: Annotated[str | None, Meta(description="track, page, ...: needed in a batch only.")] = None
    message_id: Annotated[str | None, Meta(description="Makes sending it again harmless.")] = None
    event: Annotated[str | None, Meta(description="What happened, of a track call.")] = None
    anonymous_id: Id = None
    user_id: Id = None
    previous_id: Id = None
    group_id: Id = None
    name: str | None = None
    timestamp: Moment = None
    original_timestamp: Moment = None
    sent_at: Moment = None
    context: Object = None
    properties: Object = None
    traits: Object = None


class TrackedBatch(msgspec.Struct, rename="camel", kw_only=True):
    """Several calls."""

    batch: list[TrackedCall]
    sent_at: Moment = None
    context: Object = None


class RedeemBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A coupon for an order. The same order again gets the same answer."""

    code: Text
    person: Annotated[Text, Meta(description="Who redeems it, as events name them.")]
    order_id: Text
    amount: Annotated[str | int, Meta(description='The order\'s amount in major units, for example "59.90".')]
    provider_id: Annotated[str, Meta(max_length=500)] = ""


class RedeemedBody(msgspec.Struct, frozen=True, kw_only=True):
    """A redemption. ``off``: money off the order, major units."""

    redemption_id: str
    offer: str
    code: str
    person: str
    order_id: str
    off: float
    status: Literal["committed"]


_CALLS = {
    "track": "What somebody did, for example Order Completed.",
    "page": "A page that was viewed.",
    "screen": "A screen of an app that was viewed.",
    "identify": "Who somebody is: joins an anonymous id to a user.",
    "alias": "That two ids are one person.",
    "group": "The group that somebody belongs to.",
    "batch": "Several calls at once.",
}
_TRACK = {
    "type": "track",
    "messageId": "m-1",
    "anonymousId": "v-1",
    "event": "Product Viewed",
    "timestamp": "2026-11-22T08:00:00Z",
    "properties": {"provider_id": "shop-a"},
}
_EXAMPLES: dict[str, Any] = {"track": _TRACK, "batch": {"batch": [_TRACK], "sentAt": "2026-11-22T08:00:01Z"}}
_EVENT = (
    '{"message_id":"m-1","ts":"2026-11-22T08:00:00Z","name":"page_view","visitor_id":"v-1","provider_id":"shop-a"}\n'
)


def _calls() -> tuple[Call, ...]:
    told = "Segment's tracking API, so that its public SDKs work with only the host changed. gzip is understood."
    tracking = [
        Call(
            f"/v1/{kind}",
            "collect",
            summary,
            told,
            TrackedBatch if kind == "batch" else TrackedCall,
            CollectBody,
            "The events are on disk.",
            example=_EXAMPLES.get(kind),
        )
        for kind, summary in _CALLS.items()
    ]
    events = Call(
        "/v1/events",
        "collect",
        "Events in Footfall's own fields",
        "One JSON object a line (NDJSON), with the fields that `footfall import` knows. gzip is understood.",
        None,
        CollectBody,
        "The events are on disk.",
        media="application/x-ndjson",
        example=_EVENT,
    )
    return (*tracking, events)


REDEEM_PATH = "/v1/offers/redeem"
REDEEM = Call(
    REDEEM_PATH,
    "offers",
    "Redeem a coupon for an order",
    "Single-use truly once, within the offer's ceilings; the same order again gets the same answer. 409 says why not.",
    RedeemBody,
    RedeemedBody,
    "It is redeemed.",
    example={"code": "ABCD-EFGH-JKMN", "person": "ann", "order_id": "1007", "amount": "59.90"},
)
CALLS: tuple[Call, ...] = (*_calls(), DECIDE, REDEEM)
