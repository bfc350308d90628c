"""The .sql files: found beside this module, their ``{marks}`` filled from fixed lists only, never from data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from footfall.config import SEGMENT_COLUMNS
from footfall.errors import ConfigError
from footfall.model import EVENT_NAMES, Recipe

_MARK = re.compile(r"\{([a-z_]+)\}")


@cache
def text(name: str) -> str:
    """The text of ``sql/<name>.sql``."""
    return files("footfall.value").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")


def statement(name: str, marks: Mapping[str, str]) -> str:
    """The statement of ``sql/<name>.sql`` with its marks filled; a KeyError names a mark without a value."""
    return _MARK.sub(lambda found: marks[found.group(1)], text(name))


def marks_of(recipe: Recipe, segment: tuple[str, ...], attribution: str) -> dict[str, str]:
    """What the marks of the .sql files stand for under a recipe and settings.

    Event names and columns come from fixed lists, since identifiers cannot be parameters. ConfigError names one that
    is in no list.
    """
    for column in segment:
        if column not in SEGMENT_COLUMNS:
            raise ConfigError(f"{column!r} is no segment column", f"use some of: {', '.join(SEGMENT_COLUMNS)}")
    money = sorted((*recipe.order_events, *recipe.refund_events))
    return {
        "visit_events": _names(recipe.visit_events),
        "order_events": _names(recipe.order_events),
        "refund_events": _names(recipe.refund_events),
        "first_money_event": _names(tuple(money[:1])),
        "last_money_event": _names(tuple(money[-1:])),
        "columns": ", ".join(segment),
        "event_columns": ", ".join(f"e.{c}" for c in segment),
        "first_columns": ",\n       ".join(f"arg_min_null({c}, (ts, message_id)) AS {c}" for c in segment),
        "segment": " || ' | ' || ".join(_part(c) for c in segment),
        "direction": {"first": "ASC", "last": "DESC"}[attribution],
    }


def _names(names: tuple[str, ...]) -> str:
    for name in names:
        if name not in EVENT_NAMES:
            raise ConfigError(f"a recipe names the event {name!r}, which is none", f"use: {', '.join(EVENT_NAMES)}")
    return ", ".join(f"'{name}'" for name in names) or "NULL"


def _part(column: str) -> str:
    """One column of a segment, as text: nulls by name, and no '|' inside, which is the sign between columns."""
    if column == "category":
        told = "coalesce(nullif(f.category, ''), nullif(k.category, ''), '(none)')"
    else:
        told = f"coalesce(nullif(f.{column}, ''), '(none)')"
    return f"replace({told}, '|', '¦')"


def fingerprint(rules: object) -> str:
    """A hash of ``rules`` (by their repr) and of all .sql files: what counts under it is comparable."""
    digest = hashlib.sha256(repr(rules).encode())
    folder = files("footfall.value").joinpath("sql")
    for name in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")):
        digest.update(f"\n{name}\n{text(name.removesuffix('.sql'))}".encode())
    return digest.hexdigest()
