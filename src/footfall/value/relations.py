"""Counting: from the view ``events`` to FactTables, by the statements of ``sql/`` in the order of ``_STEPS``.

identity | person_events   the events that count, each with its person
money, purchases, visits   what a purchase and what a visit is
visit_groups               visits counted; those near a purchase kept one by one
attributed, own_visits, made_visits, orders, refunds
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

_STEPS = (
    "money",
    "purchases",
    "visits",
    "visit_groups",
    "attributed",
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
        if name == "attributed":
            return {"window_days": self.window_days}
        return {}


def count(engine: Engine, rules: Rules, progress: Progress | None = None) -> FactTables:
    """Facts of all of the view ``events`` (model.EVENT_COLUMNS); temporary tables are left in ``engine``."""
    tell = progress or (lambda _: None)
    tell("persons")
    known = identity.learn(engine, rules.exclude_visitors, use=identity.needed(engine))
    identity.show(engine, known, rules.marks())
    relate(engine, rules, tell)
    tell("providers")
    return aggregate(engine, rules, engine.query(statement("providers", {"source": "events"})))


def relate(engine: Engine, rules: Rules, tell: Progress = lambda _: None) -> None:
    """Make the relations of visits, orders and refunds from the view ``person_events``."""
    marks = rules.marks()
    _know_providers(engine, rules)
    for name in _STEPS:
        tell(name.replace("_", " "))
        engine.execute(statement(name, marks), rules.params(name) or None)


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
