"""A setting that is not allowed, told by its section, key and value, with what is allowed in its place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import date, time
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from footfall.errors import ConfigError

LISTED = "`footfall config` lists every setting with its meaning"
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
_LENGTHS = {"minLength": "at least", "maxLength": "at most", "minItems": "at least", "maxItems": "at most"}
_KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "a text in quotes"}


def refused(raw: object, kind: type[Any], name: str) -> ConfigError:
    """Why ``msgspec`` does not make a ``kind`` of ``raw``, in words; ``name``: the file or command it came from."""
    try:
        msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        fault, _, path = str(error).partition(" - at `$")
    else:
        raise AssertionError("nothing is wrong with it")
    *steps, (key, value, hint) = _walked(raw, kind, path.removesuffix("`"))
    places = [step[0] for step in steps]
    lacking = re.search(r"missing required field `(\w+)`", fault)
    if lacking:
        wanted = get_type_hints(hint, include_extras=True)[lacking[1]]
        return ConfigError(f"{name}: {_section([*places, key])} has no {lacking[1]}", _way_out(wanted))
    if key.isdecimal():
        key = f"{places.pop()} no. {key}"
    section = f"{_section(places)} " if places else ""
    return ConfigError(f"{name}: {section}{key} = {_told(value)[:80]} is not allowed", _way_out(hint))


def _told(value: Any) -> str:
    """A value as footfall.toml writes it, near enough."""
    if isinstance(value, list):
        return f"[{','.join(map(_told, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (date, time)):  # a moment is a date, too
        return value.isoformat()
    return msgspec.json.encode(value).decode()


def _section(places: list[str]) -> str:
    """A section as footfall.toml writes it; of several alike, with its number."""
    if places[-1].isdecimal():
        return f"[[{'.'.join(places[:-1])}]] no. {places[-1]}"
    return f"[{'.'.join(places)}]"


def _walked(raw: Any, kind: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """(name, value, type) of each step on a path such as ``.journeys[...].steps[0].wait``."""
    if not path:
        yield "", raw, kind
    for key, number in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", path):
        plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        if key:
            raw, kind = raw[key], get_type_hints(plain, include_extras=True)[key]
        elif number == "...":  # one of a table's own names: msgspec does not say which
            kind = get_args(plain)[1]
            key, raw = next((own, inner) for own, inner in raw.items() if not _fits(inner, kind))
        else:
            raw, kind, key = raw[int(number)], get_args(plain)[0], str(int(number) + 1)
        yield key, raw, kind


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _way_out(hint: Any) -> str:
    schema = msgspec.json.schema(hint)
    schema = schema.get("$defs", {}).get(schema.get("$ref", "").rpartition("/")[2], schema)
    meaning = schema.get("description", "")
    return f"give {_allowed(schema)}. {meaning + ' ' if meaning else ''}{LISTED}"


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f"one of: {', '.join(map(str, schema['enum']))}"
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items", {})
        each = ", each one of: " + ", ".join(map(str, items["enum"])) if "enum" in items else ""
        return "a list in [ ]" + _bounded(schema, _LENGTHS, " in number") + each
    if kind == "string":
        form = ", written as follows" if "pattern" in schema else ""
        return _KINDS["string"] + _bounded(schema, _LENGTHS, " signs long") + form
    return _KINDS.get(str(kind), "a section of settings") + _bounded(schema, _BOUNDS)


def _bounded(schema: dict[str, Any], words: dict[str, str], unit: str = "") -> str:
    found = " and ".join(f"{word} {schema[key]:.15g}{unit}" for key, word in words.items() if key in schema)
    return f" of {found}" if found.startswith("at") else f" {found}" if found else ""
