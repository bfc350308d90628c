"""``POST /v1/decide``: draw in memory, put the decision on disk, answer."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import msgspec

from footfall.acquire.decide import Ask, Decider, encode_decision
from footfall.app.http.bodies import AskBody, Choice, DecisionBody
from footfall.app.http.context import Context
from footfall.app.http.hot import Hot, Kept
from footfall.app.http.limits import check_controls, check_depth
from footfall.app.http.problems import Problem, unavailable
from footfall.errors import StorageError
from footfall.model import Decision, Sticky

_DECODER = msgspec.json.Decoder(AskBody)
_ENCODER = msgspec.json.Encoder()


def address(context: Context) -> Hot:
    """What answers ``/v1/decide``."""
    return Hot(
        "decide",
        "decide",
        partial(take, context),
        context.max_body,
        context.max_unpacked,
        context.settings.body_timeout_s,
    )


def take(context: Context, body: bytes, _source: str) -> Kept:
    """Draw what a body asks for; Problem or InputError where it cannot be."""
    asked = read_ask(body, context.settings.max_depth)
    decider = context.live.decider
    if decider is None and context.live.away:
        raise unavailable("which plan is in force is not known: the state does not answer", kind="state", retry_s=5)
    if decider is None:
        raise unavailable(
            "no plan is published",
            "make one with `footfall plan` and `footfall plan publish`",
            kind="no-plan",
            retry_s=5,
        )
    ask = Ask(
        asked.visitor_id or None,  # "" is nobody, as in events
        asked.segment if asked.segment is not None else {},
        None if asked.candidates is None else tuple(asked.candidates),
        context.live.now(),
        asked.slots,
        asked.context,
        asked.sticky_key,
    )
    decision = decider.decide(ask)
    line = encode_decision(decision)
    sticky = _sticky(context, decider, decision, ask, line)
    return Kept([("decision", line + b"\n")], sticky, partial(_finish, context, decider, decision))


def read_ask(body: bytes, max_depth: int) -> AskBody:
    """The body as what is asked; Problem 400 names the field."""
    check_depth(body, max_depth)
    try:
        asked = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "bad-request", f"the body is no question for a decision: {error}", "see /schema") from None
    segment = asked.segment
    parts = (*segment, *segment.values()) if isinstance(segment, dict) else (segment,)
    check_controls(body, asked.visitor_id, asked.sticky_key, *parts, *(asked.candidates or ()))
    return asked


def _finish(context: Context, decider: Decider, decision: Decision, failure: StorageError | None) -> bytes:
    """The answer; what could not be put on the disk is given back, and refused or marked as [live] on_log_failure says.

    Where the asker is gone by now, the line is on the disk all the same: its reservation stands until it expires, and
    is not given to somebody else.
    """
    if failure is not None:
        decider.release(decision)
        if context.here.config.live.on_log_failure != "mark":
            context.metrics.add("footfall_decisions", "refused")
            raise unavailable(failure.message, failure.way_out, kind="storage") from None
    else:
        decider.logged(decision)
    count(context, decision, failure is None)
    return _ENCODER.encode(answer_of(decision, failure is None))


def _sticky(context: Context, decider: Decider, decision: Decision, ask: Ask, line: bytes) -> tuple[Sticky, ...]:
    """What this visitor is to get again, where visitors are sticky."""
    if ask.visitor_id is None or decision.repeat_of is not None or not decision.choices:
        return ()
    key = decider.sticky_key(ask, decision.segment)
    if key is None:
        return ()
    expires = decision.ts + timedelta(seconds=context.here.config.live.sticky_s)
    return (Sticky(ask.visitor_id, key, line, expires),)


def count(context: Context, decision: Decision, logged: bool) -> None:
    """Count it by what became of it."""
    if not logged:
        outcome = "unlogged"
    elif decision.mode == "shadow":
        outcome = "shadow"
    elif decision.repeat_of is not None:
        outcome = "sticky"
    else:
        outcome = "drawn" if decision.choices else "empty"
    context.metrics.add("footfall_decisions", outcome)


def answer_of(decision: Decision, logged: bool) -> DecisionBody:
    """What the caller is told."""
    if decision.answered is not None:
        choices = [Choice(provider_id=name, propensity=None) for name in decision.answered]
    else:
        choices = [
            Choice(provider_id=name, propensity=propensity)
            for name, propensity in zip(decision.choices, decision.propensities, strict=True)
        ]
    return DecisionBody(
        decision_id=decision.message_id,
        choices=choices,
        plan_version=decision.plan_version,
        pacing_version=decision.pacing_version,
        mode=decision.mode,
        logged=logged,
        repeat_of=decision.repeat_of,
        reason=decision.reason,
    )
