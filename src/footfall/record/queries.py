"""The checks' .sql files: found beside this module, event names filled in from a recipe, results as rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa

from footfall.config import Config
from footfall.errors import ConfigError
from footfall.model import EVENT_NAMES, Recipe
from footfall.ports import Engine
from footfall.texts import say

STORE = Recipe(
    name="store",
    visit_events=(
        "visit",
        "session_start",
        "page_view",
        "screen_view",
        "view_item",
        "add_to_cart",
        "begin_checkout",
    ),
    order_events=("purchase",),
    refund_events=("refund",),
)
"""What the checks assume where the caller names no recipe."""

_MARK = re.compile(r"\{([a-z_]+)\}")
_MOST_IDS = 50  # ids in a line that is ready to be pasted


class Queries:
    """The checks' statements under a recipe and settings, run on an engine to which the log is attached."""

    def __init__(self, engine: Engine, recipe: Recipe, config: Config) -> None:
        self.recipe = recipe
        self.config = config
        self.excluded = pa.table({"id": pa.array(config.value.exclude_visitors, pa.string())})
        self._engine = engine
        self._marks = {
            "visit_events": _names(recipe.visit_events),
            "order_events": _names(recipe.order_events),
            "refund_events": _names(recipe.refund_events),
        }

    def table(self, name: str, params: Mapping[str, object] | None = None, **tables: pa.Table) -> pa.Table:
        """The result of ``sql/<name>.sql``."""
        return self._engine.query(_MARK.sub(lambda m: self._marks[m.group(1)], text(name)), params, **tables)

    def rows(self, name: str, params: Mapping[str, object] | None = None, **tables: pa.Table) -> list[dict[str, Any]]:
        """The result of ``sql/<name>.sql`` as one mapping a row."""
        rows: list[dict[str, Any]] = self.table(name, params, **tables).to_pylist()
        return rows

    def exclusion(self, visitors: Sequence[str], found: int) -> str:
        """What to do about visitors who should not count: the line to paste, with those already excluded."""
        ids = [*self.config.value.exclude_visitors, *visitors[:_MOST_IDS]]
        line = json.dumps(list(dict.fromkeys(ids)), ensure_ascii=False)
        if found > _MOST_IDS:
            return say(
                "nothing is left out by itself; if you agree, set in footfall.toml [value]: exclude_visitors = {ids} "
                "(and {more:,} more; run the check again after that)",
                ids=line,
                more=found - _MOST_IDS,
            )
        return say(
            "nothing is left out by itself; if you agree, set in footfall.toml [value]: exclude_visitors = {ids}",
            ids=line,
        )


@cache
def text(name: str) -> str:
    """The text of ``sql/<name>.sql``."""
    return files("footfall.record").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")


def number(value: int) -> str:
    """A count with thousands separated."""
    return f"{value:,}"


def percent(part: int, whole: int) -> str:
    """A share in percent, whole where it is 10 % or more."""
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 10 or not part else f"{share:.2g} %"


def _names(names: tuple[str, ...]) -> str:
    for name in names:
        if name not in EVENT_NAMES:
            raise ConfigError(f"a recipe names the event {name!r}, which is none", f"use: {', '.join(EVENT_NAMES)}")
    return ", ".join(f"'{name}'" for name in names) or "''"  # no event has an empty name
