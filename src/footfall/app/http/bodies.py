"""Bodies of the raw handlers: what decodes them is what describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(min_length=1, max_length=500)]


class AskBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a decision is asked for."""

    visitor_id: Annotated[
        Annotated[str, Meta(max_length=500)] | None,
        Meta(description="Device or person, as events name it; needed for sticky choices."),
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
    reason: Annotated[str | None, Meta(description="Why there are fewer choices than slots.")] = None


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

CALLS: tuple[Call, ...] = (DECIDE,)
