"""Identity: whose an event is.

It stands in ``value`` and not in ``record``, since only counting asks for it and ``value`` may not import ``record``.
A log without users skips all of it: a person is a device there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

import pyarrow as pa

from footfall.ports import Engine
from footfall.value.statements import statement

Source = Literal[
    "events",
    "old_events",
    "new_events",
    "held_events",
    "touched_events",
    "touched_events_old",
    "touched_all",
    "touched_old",
    "money_rows",
]
When = Literal["now", "before"]


def merged(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """user id -> the smallest id of its connected component, for ids in ``pairs``; whatever their order, cycles too.

    Union by smallest id with path halving (Tarjan & van Leeuwen 1984).
    """
    parent: dict[str, str] = {}

    def find(x: str) -> str:
        parent.setdefault(x, x)
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        parent[high] = low
    return {x: find(x) for x in parent}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a log says about persons. ``excluded`` are persons left out; ``needed`` is False where persons are devices.

    Its tables (``now_roots``, ``now_devices``, ... or ``before_...``) stand in the engine under the name ``when``.
    """

    needed: bool
    when: When
    excluded: frozenset[str]


def needed(engine: Engine, source: Source = "events") -> bool:
    """Whether persons are more than devices in this log."""
    return bool(engine.query(statement("identity_needed", {"source": source}))["needed"][0].as_py())


class Held(NamedTuple):
    """Which ids some event of a log has. ``users``: an identified user, or no device, so that persons are more than
    devices. ``visit_ids``: a visit_id.
    """

    users: bool
    visit_ids: bool


def held(engine: Engine, first_day: date = date.min, last_day: date = date.max) -> Held:
    """Which ids the events of the days have, both included."""
    days = {"first_day": first_day, "last_day": last_day}
    return Held(**engine.query(statement("ids_held", {}), days).to_pylist()[0])


def learn(
    engine: Engine, exclude_visitors: tuple[str, ...], source: Source = "events", when: When = "now", *, use: bool
) -> Identity:
    """Read from the events of ``source`` who is who, unless ``use`` is False."""
    _table(engine, "excluded", {"id": list(exclude_visitors)})
    if not use:
        return Identity(False, when, frozenset(exclude_visitors))
    marks = {"source": source, "when": when}
    aliases = engine.query(statement("identity_aliases", marks))
    columns = (aliases[name].to_pylist() for name in ("user_id", "previous_id"))
    roots = merged(zip(*columns, strict=True))
    _table(engine, f"{when}_roots", {"user_id": list(roots), "root": list(roots.values())})
    excluded = {f"d:{x}" for x in exclude_visitors} | {f"u:{roots.get(x, x)}" for x in exclude_visitors}
    _table(engine, f"{when}_excluded", {"person": sorted(excluded)})
    engine.execute(statement("identity_devices", marks))
    engine.execute(statement("identity_spans", marks))
    return Identity(True, when, frozenset(excluded))


def show(
    engine: Engine,
    identity: Identity,
    marks: Mapping[str, str],
    source: Source = "events",
    view: str = "person_events",
    lettered: bool = False,
    **tables: pa.Table,
) -> None:
    """Make ``view``: the events of ``source`` that count, each with its person (column ``person``).

    lettered: a person's key has a letter in front (d: a device, u: a user, ...) even where all are devices.
    tables: those that ``source`` reads and that are not in the engine.
    """
    name, left_out = ("identity", "excluded_persons") if identity.needed else ("person_events", "excluded_devices")
    given = {**marks, "source": source, "when": identity.when, "view": view}
    given["device_mark"] = "'d:' || " if lettered else ""
    # Where nobody is left out, nobody is asked for: it costs a look-up for each event.
    given["unless_excluded"] = statement(left_out, given) if identity.excluded else ""
    engine.query(statement(name, given), None, **tables)


def _table(engine: Engine, name: str, columns: Mapping[str, list[str]]) -> None:
    given = pa.table({key: pa.array(values, pa.string()) for key, values in columns.items()})
    made = f"CREATE OR REPLACE TEMPORARY TABLE {name} AS SELECT * FROM given"  # noqa: S608  (names of this module)
    engine.query(made, None, given=given)
