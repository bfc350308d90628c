"""Faults: the codes of sql/check.sql and rows.py, in words that a person can act on."""

from __future__ import annotations

from footfall.config import Config
from footfall.record.money import exponent
from footfall.record.names import near_events

NOT_UTF8 = "not valid UTF-8"
_REASONS: dict[str, str] = {
    "row:encoding": f"{NOT_UTF8}; save the file as UTF-8",
    "row:bytes": f"{NOT_UTF8}: a byte still stands as its number, such as \\xe9; write its letter there",
    "row:nul": "NUL bytes in the row",
    "row:quote": "a quote that is not closed, or not doubled inside quotes",
    "row:json": "not valid JSON",
    "row:object": "not a JSON object",
    "row:large": "an event of over 1 MiB",
    "ts:missing": "no time",
    "ts:unreadable": "not a time: use ISO 8601 such as 2024-05-01T08:30:00+08:00, epoch seconds or milliseconds, or "
    "say how times are written with --time-format",
    "name:missing": "no event name",
    "visitor_id:missing": "neither visitor_id nor user_id",
    "order_id:refund": "a refund needs order_id, visitor_id or user_id",
    "provider_id:missing": "this event needs a provider_id",
    "user_id:alias": "an alias needs user_id",
    "previous_id:alias": "an alias needs previous_id",
    "amount:missing": "a purchase needs an amount",
    "amount:unreadable": "not an amount of money: use a plain number such as 1234.50, or say --decimal comma",
    "amount:negative": "a negative purchase: record it with event=refund",
    "amount_minor:unreadable": "not a whole number of minor units",
    "propensity:range": "not a probability above 0 and at most 1",
    "id:control": "control characters in an id or dimension",
    "properties:object": "not a JSON object",
    "properties:deep": "nested deeper than the service takes ([serve] max_depth)",
}


def explain(code: str, culprit: str | None, config: Config) -> tuple[str, str]:
    """(field, reason) of a fault; ``culprit`` is the value at fault where the reason names it.

    Of a time, it is how the time was read: the ``--time-format`` that it does not fit, or the unit of a plain number.
    """
    field, kind, *numbers = code.split(":")
    if field == "ts" and culprit:
        return field, _time_reason(code, culprit, config)
    if code in _REASONS:
        return field, _REASONS[code]
    if field == "row":
        return field, f"too {kind} fields: {numbers[0]}; the header has {numbers[1]}"
    if code in ("ts:early", "ts:old", "ts:late"):
        return field, _time_bound(code, config)
    if code == "name:unknown":
        near = near_events(culprit or "")
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return field, f"unknown event {(culprit or '')[:60]!r}{hint}"
    currency = config.workspace.currency
    if code == "currency:other":
        return field, f"currency {(culprit or '').upper()[:12]}; the workspace holds {currency}"
    if code == "amount:decimals":
        return field, f"more decimals than {currency} has ({exponent(currency)})"
    if kind == "large":
        return field, f"over {config.record.max_amount:.0f} in major units ([record] max_amount)"
    if kind == "long":
        return field, "longer than 512 bytes"
    raise AssertionError(f"fault without words: {code}")


def _time_reason(code: str, read_as: str, config: Config) -> str:
    if code == "ts:unreadable":
        return f"not a time as --time-format {read_as!r} says"
    way_out = "if it is no such number, say how times are written with --time-format"
    return f"{_time_bound(code, config)}, read as epoch {read_as}; {way_out}"


def _time_bound(code: str, config: Config) -> str:
    if code == "ts:early":
        return f"before {config.record.earliest} ([record] earliest)"
    if code == "ts:old":
        return f"over {config.collect.past_days} days old ([collect] past_days); history comes by `footfall import`"
    return f"more than {config.record.future_days} days in the future ([record] future_days)"
