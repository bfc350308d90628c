"""Counting: from the view ``events`` to FactTables, by the statements of ``sql/`` in the order of ``_STEPS``.

identity | person_events   the events that count, each with its person
money, purchases, visits   what a purchase and what a visit is
visit_groups               visits counted; those near a purchase kept one by one
attributed, own_keys, own_visits, made_visits, orders, refunds
aggregate_*                counts and sums
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from footfall.model import Recipe
from footfall.ports import Engine
from footfall.value import identity
from footfall.value.fact_tables import FactTables
from footfall.value.statements import marks_of, statement

Progress = Callable[[str], None]

# What an event is counted by, beside the columns of a segment.
RAW_COLUMNS = (
    "message_id",
    "ts",
    "day",
    "name",
    "visitor_id",
    "user_id",
    "visit_id",
    "provider_id",
    "order_id",
    "amount_minor",
    "batch_id",
)

NOTHING = {name: f"CAST(NULL AS VARCHAR) AS {name}" for name in ("user_id", "visit_id", "order_id")}

_STEPS = (
    "money",
    "purchases",
    "visits",
    "visit_groups",
    "attributed",
    "own_keys",
    "own_visits",
    "made_visits",
    "orders",
    "refunds",
)


@dataclass(frozen=True, slots=True)
class Rules:
    """All that counting depends on, beside the events.

    ``categories``: provider_id -> category, as an operator's file tells it; events without a category take it.
    ``unit_minor``: what every order earns, in the units of facts, where the recipe counts orders only.
    """

    recipe: Recipe
    segment: tuple[str, ...] = ("channel",)
    window_days: int = 30
    attribution: str = "first"
    exclude_visitors: tuple[str, ...] = ()
    categories: Mapping[str, str] | None = None
    unit_minor: int = 1

    def marks(self) -> dict[str, str]:
        """What the marks of the .sql files stand for."""
        marks = marks_of(self.recipe, self.segment, self.attribution)
        for name, source in (("visit_columns", "v.{0}"), ("refund_columns", "o.{0}")):
            marks[name] = ", ".join(source.format(c) for c in self.segment)
        marks["raw_columns"] = ", ".join(f"e.{c}" for c in (*RAW_COLUMNS, *self.segment))
        marks["made_trace_columns"] = ", ".join(f"m.{c}" for c in self.segment)
        marks["made_columns"] = ", ".join(f"arg_min_null(p.{c}, p.purchase) AS {c}" for c in self.segment)
        which = (
            "CASE WHEN a.purchase IS NOT NULL THEN a.{0} WHEN o.purchase IS NOT NULL THEN o.{0} ELSE m.{0} END AS {0}"
        )
        marks["order_columns"] = ",\n       ".join(which.format(c) for c in self.segment)
        return marks

    def params(self, name: str) -> dict[str, object]:
        """The parameters of ``sql/<name>.sql``."""
        if name == "purchases":
            return {"unit_minor": self.unit_minor if self.recipe.unit_reward else None}
        if name in ("attributed", "own_keys"):
            return {"window_days": self.window_days}
        return {}


def count(
    engine: Engine, rules: Rules, progress: Progress | None = None, held: identity.Held | None = None
) -> FactTables:
    """Facts of all of the view ``events`` (model.EVENT_COLUMNS); temporary tables are left in ``engine``.

    held: which ids its events have, where that is known.
    """
    tell = progress or (lambda _: None)
    tell("persons")
    has = held or identity.held(engine)
    known = identity.learn(engine, rules.exclude_visitors, use=has.users)
    identity.show(engine, known, rules.marks(), held_source(engine, rules, has))
    relate(engine, rules, tell, visit_ids=has.visit_ids)
    tell("providers")
    return aggregate(engine, rules, engine.query(statement("providers", {"source": "events"})))


def relate(engine: Engine, rules: Rules, tell: Progress = lambda _: None, *, visit_ids: bool = True) -> None:
    """Make the relations of visits, orders and refunds from the view ``person_events``.

    visit_ids: whether some of its events may have a visit_id.
    """
    marks = rules.marks()
    marks["visits_by_id"] = statement("visits_by_id", marks) if visit_ids else ""
    _know_providers(engine, rules)
    for name in _STEPS:
        tell(name.replace("_", " "))
        engine.execute(statement(name, marks), rules.params(name) or None)


def held_source(engine: Engine, rules: Rules, held: identity.Held) -> identity.Source:
    """The events of the log; ids that none of them has are not looked for in its files."""
    absent = {"user_id": not held.users, "visit_id": not held.visit_ids}
    if not any(absent.values()):
        return "events"
    columns = (NOTHING[name] if absent.get(name) else f"e.{name}" for name in (*RAW_COLUMNS, *rules.segment))
    engine.execute(statement("held_events", {"held_columns": ", ".join(columns)}))
    return "held_events"


def _know_providers(engine: Engine, rules: Rules) -> None:
    """Make the table ``known_providers`` of the categories that an operator's file tells."""
    told = rules.categories or {}
    columns = {"provider_id": list(told.keys()), "category": list(told.values())}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    engine.query("CREATE OR REPLACE TEMPORARY TABLE known_providers AS SELECT * FROM told", None, told=table)


def aggregate(engine: Engine, rules: Rules, providers: pa.Table) -> FactTables:
    """Facts of the relations that ``relate`` made."""
    marks = rules.marks()
    parts = ("aggregate_visits", "aggregate_orders", "aggregate_refunds")
    visits, orders, refunds = (engine.query(statement(name, marks)) for name in parts)
    return FactTables.grouped(visits, orders, refunds, providers, engine.query(statement("left_out", marks)))
