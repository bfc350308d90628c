"""Fields: which column of a file fills which field of the log, and the SQL that reads them all as text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from footfall.errors import ConfigError, FormatError
from footfall.model import EVENT_NAMES
from footfall.record.names import FIELD_ALIASES, PROVIDER_EVENTS, canonical_event, near_events

# What a file can fill, in the order of the log. `amount` (major units) becomes amount_minor; `currency` is checked.
FIELDS: tuple[str, ...] = (
    "message_id",
    "ts",
    "name",
    "visitor_id",
    "user_id",
    "previous_id",
    "visit_id",
    "provider_id",
    "item_id",
    "order_id",
    "amount",
    "amount_minor",
    "currency",
    "category",
    "channel",
    "campaign",
    "device",
    "country",
    "position",
    "propensity",
    "properties",
)
# Columns that `write_rejects` adds, and those that the log itself fills: dropped when a file brings them back.
RESERVED = "_footfall_"  # names of the columns that numbering adds

REJECT_COLUMNS: tuple[str, ...] = (
    "_reject_id",
    "_reject_file",
    "_reject_line",
    "_reject_field",
    "_reject_reason",
    "_reject_raw",
)
OWN_COLUMNS: tuple[str, ...] = ("day", "source", "batch_id", "received_at")

PROVIDER_WAY_OUT = "--map provider_id=COLUMN, or give all rows one with --set provider_id=NAME"

Cell = Literal["text", "json", "number", "other"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file: its name and how its cells read (``json``: JSON text; ``other``: a typed value)."""

    name: str
    cell: Cell = "text"


@dataclass(frozen=True, slots=True)
class Layout:
    """field -> column, the fixed values, and the columns that go into ``properties``."""

    columns: Mapping[str, Column]
    fixed: Mapping[str, str]
    rest: tuple[Column, ...]


def check_options(event: str | None, mapping: Mapping[str, str], fixed: Mapping[str, str]) -> dict[str, str]:
    """The fixed values, with ``event`` among them; ConfigError for fields that do not exist or are told twice."""
    values = dict(fixed)
    if event is not None:
        if "name" in mapping or "name" in values:
            raise ConfigError("--event and a map or value of `name` are both given", "give one of them")
        values["name"] = event
    for field in [*mapping, *values]:
        if field not in FIELDS:
            near = difflib.get_close_matches(field, FIELDS, 1)
            raise ConfigError(
                f"there is no field {field!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                f"fields: {', '.join(FIELDS)}",
            )
    twice = sorted(set(mapping) & set(values))
    if twice:
        raise ConfigError(f"{twice[0]} is both mapped and fixed", "give one of them")
    if "name" in values:
        name = canonical_event(values["name"])
        if name is None:
            near = near_events(values["name"])
            way_out = f"did you mean {' or '.join(near)}?" if near else f"events: {', '.join(EVENT_NAMES)}"
            raise ConfigError(f"unknown event {values['name']!r}", way_out)
        values["name"] = name
    return values


def resolve(file: str, columns: Sequence[Column], mapping: Mapping[str, str], fixed: Mapping[str, str]) -> Layout:
    """Decide what fills each field.

    A map goes before a fixed value, that before the field's own name, and that before an alias. Raises FormatError
    for a mapped column that is absent, and for a file in which nothing can fill a field that all its rows need.
    """
    by_name = {c.name: c for c in columns}
    reserved = next((name for name in by_name if name.startswith(RESERVED)), None)
    if reserved is not None:
        raise FormatError(f"{file}: column {reserved!r} has a reserved name", f"no name may begin with {RESERVED}")
    columns = [c for c in columns if c.name]  # a key without a name, which JSON allows, can be asked for by nobody
    for field, column in mapping.items():
        if column not in by_name:
            raise FormatError(
                f"{file}: no column {column!r} (mapped to {field})",
                f"columns: {', '.join(by_name) or 'none'}",
            )
    chosen = {field: by_name[column] for field, column in mapping.items()}
    taken = set(mapping.values())
    for field in FIELDS:
        if field not in chosen and field not in fixed and field in by_name and field not in taken:
            chosen[field] = by_name[field]
    taken |= {c.name for c in chosen.values()}
    low = {c.name.lower(): c for c in reversed(columns)}
    for field in FIELDS:
        aliases = FIELD_ALIASES.get(field, ())
        if field in chosen or field in fixed or (field == "amount" and "amount_minor" in {*chosen, *fixed}):
            continue
        column_found = next((low[a] for a in (field, *aliases) if a in low and low[a].name not in taken), None)
        if column_found is not None:
            chosen[field] = column_found
            taken.add(column_found.name)
    _check_needed(file, chosen, fixed, by_name)
    used = {*taken, *REJECT_COLUMNS, *OWN_COLUMNS}
    rest = sorted((c for c in columns if c.name not in used), key=lambda c: c.name)
    return Layout(chosen, dict(fixed), tuple(rest))


def _check_needed(
    file: str, chosen: Mapping[str, Column], fixed: Mapping[str, str], by_name: Mapping[str, Column]
) -> None:
    """FormatError where no row of the file could be used, since a field that every one needs has no column."""
    has = {*chosen, *fixed}
    if {"amount", "amount_minor"} <= has:
        raise FormatError(
            f"{file}: both amount (major units) and amount_minor are given", "leave one of the columns out"
        )
    event = fixed.get("name")
    needs = [("ts", has & {"ts"}, "--map ts=COLUMN"), ("name", has & {"name"}, "--event NAME, or --map name=COLUMN")]
    # A refund may tell its order alone; a file with a column of names could hold nothing but refunds.
    person = {"visitor_id", "user_id", *(["order_id"] if event in (None, "refund") else [])}
    needs.append(("visitor_id or user_id", has & person, "--map visitor_id=COLUMN"))
    if event in PROVIDER_EVENTS:
        needs.append((f"provider_id, which {event} needs", has & {"provider_id"}, PROVIDER_WAY_OUT))
    if event == "purchase":
        needs.append(("amount, which purchase needs", has & {"amount", "amount_minor"}, "--map amount=COLUMN"))
    for what, found, way_out in needs:
        if not found:
            raise no_column(file, what, by_name, way_out)


def no_column(file: str, what: str, columns: Iterable[str], way_out: str) -> FormatError:
    """The error of a field that no column fills."""
    shown = ", ".join(c for c in columns if c not in REJECT_COLUMNS) or "none"
    return FormatError(f"{file}: no column for {what} (columns: {shown})", f"say which with {way_out}")


def quote(identifier: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal (names of keys in JSON structures; values go in as variables)."""
    return "'" + text.replace("'", "''") + "'"


def given_sql(layout: Layout, relation: str, lead: str) -> str:
    """SELECT of all FIELDS as text from ``relation``; ``lead`` is the SQL of the columns line, raw, early."""
    parts = [lead]
    for field in FIELDS:
        if field in layout.fixed:
            value = f"getvariable('footfall_set_{field}')"
        elif field in layout.columns:
            value = _text(layout.columns[field], field)
        else:
            value = "CAST(NULL AS VARCHAR)"
        if field == "properties":
            value = _properties(value if field in {*layout.columns, *layout.fixed} else None, layout.rest)
        parts.append(f"{value} AS {quote(field)}")
    return f"SELECT {', '.join(parts)} FROM {relation}"  # noqa: S608  identifiers are quoted, values are variables


def _text(column: Column, field: str) -> str:
    name = quote(column.name)
    if column.cell in ("text", "json"):
        return name
    if column.cell == "number" and field not in ("amount", "amount_minor", "propensity", "ts"):
        # Ids that a data frame turned into floats because some were absent: 17850.0 is customer 17850.
        return (
            f"CASE WHEN isnan(CAST({name} AS DOUBLE)) THEN NULL WHEN {name} = trunc({name}) AND abs({name}) < 1e15 "
            f"THEN CAST(TRY_CAST({name} AS BIGINT) AS VARCHAR) ELSE CAST({name} AS VARCHAR) END"
        )
    return f"CAST({name} AS VARCHAR)"


def _properties(given: str | None, rest: Sequence[Column]) -> str:
    """JSON object of the columns that are no fields, in the order of their names; absent and empty ones left out."""
    if not rest:
        return given or "CAST(NULL AS VARCHAR)"
    items = []
    for column in rest:
        name = quote(column.name)
        key = literal(_json_key(column.name))
        if column.cell == "json":
            items.append(f"CASE WHEN {name} <> 'null' THEN {key} || {name} END")
        elif column.cell == "text":
            items.append(f"CASE WHEN {name} <> '' THEN {key} || CAST(to_json({name}) AS VARCHAR) END")
        else:
            items.append(f"CASE WHEN {name} IS NOT NULL THEN {key} || CAST(to_json({name}) AS VARCHAR) END")
    # concat_ws takes any number of arguments, but a very wide file would make one giant call; lists are lighter.
    joined = f"concat_ws(',', {', '.join(items)})"
    body = f"nullif('{{' || {joined} || '}}', '{{}}')"
    if given is None:
        return body
    merged = f"CAST(json_merge_patch(CAST({body} AS JSON), CAST({given} AS JSON)) AS VARCHAR)"
    return (
        f"CASE WHEN {given} IS NULL OR {given} = '' THEN {body} WHEN {body} IS NULL THEN {given} "
        f"WHEN json_valid({given}) THEN {merged} ELSE {given} END"
    )


def _json_key(name: str) -> str:
    import msgspec

    return msgspec.json.encode(name).decode() + ":"
