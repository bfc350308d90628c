"""What new batches touch: the smallest part of the log whose counts can change, closed under all that ties counts.

Ties are: events of one visit; visits, orders and refunds of one person at one provider; orders and refunds by order_id;
and identity, by which a new event can give old ones to another person. Facts are sums over parts that no tie crosses.

Of visits without a visit_id only the days are read that a changed order can look at (``touched_range.sql``). Orders
outside these days are then counted with visits missing, but alike before and now, so their difference is nothing.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import pyarrow as pa

from footfall.ports import Engine
from footfall.value import identity
from footfall.value.fact_tables import FactTables
from footfall.value.relations import RAW_COLUMNS, Progress, Rules, aggregate, relate
from footfall.value.statements import statement

_NOTHING = {name: f"CAST(NULL AS VARCHAR) AS {name}" for name in ("user_id", "visit_id", "order_id")}
# What visits without a visit_id are read with, in a log without users, where ties do not matter.
_UNREAD = {"message_id": "'' AS message_id", "amount_minor": "CAST(NULL AS BIGINT) AS amount_minor"} | _NOTHING


class Span(NamedTuple):
    """Days that are looked into: of old events up to ``last_old_day``, of new batches between the other two."""

    last_old_day: date
    first_new_day: date
    last_new_day: date


def change(
    engine: Engine,
    rules: Rules,
    new_batches: list[str],
    span: Span,
    progress: Progress,
    kept_money: pa.Table | None = None,
) -> FactTables | None:
    """What ``new_batches`` of the view ``events`` change, as facts to add; counts in it can be negative.

    kept_money: the orders and refunds of other batches, as ``kept_money`` has them; None: they are looked for in the
    log.

    None where the change is not local: excluded visitors are other persons than before.
    """
    marks = rules.marks()
    given = pa.table({"batch_id": pa.array(new_batches, pa.string())})
    engine.query("CREATE OR REPLACE TEMPORARY TABLE new_batches AS SELECT * FROM given", None, given=given)
    engine.execute(statement("old_events", marks))
    engine.execute(statement("new_events", marks))

    progress("persons touched")
    use = identity.needed(engine)
    now = identity.learn(engine, rules.exclude_visitors, "events", "now", use=use)
    before = identity.learn(engine, rules.exclude_visitors, "old_events", "before", use=use)
    if now.excluded != before.excluded:
        return None
    _collect(engine, rules, marks, now, before, span, progress, kept_money)

    progress("counts before")
    identity.show(engine, before, marks, "touched_old")
    relate(engine, rules)
    old = aggregate(engine, rules, FactTables.empty().providers)
    progress("counts now")
    identity.show(engine, now, marks, "touched_all")
    relate(engine, rules)
    return aggregate(engine, rules, engine.query(statement("providers", {"source": "told_events"}))).minus(old)


def _collect(
    engine: Engine,
    rules: Rules,
    marks: dict[str, str],
    now: identity.Identity,
    before: identity.Identity,
    span: Span,
    progress: Progress,
    kept_money: pa.Table | None,
) -> None:
    """Make the view ``touched_all``, and the view ``touched_old`` of its old events."""
    engine.execute(statement("changed_persons" if now.needed else "no_changed_persons", marks))
    new_days = {"first_new_day": span.first_new_day, "last_new_day": span.last_new_day}
    engine.execute(statement("touched_events" if now.needed else "touched_new", marks), new_days)
    engine.execute(statement("told_events", marks))
    engine.execute(
        "CREATE OR REPLACE TEMPORARY VIEW touched_events_old AS SELECT * FROM touched_events WHERE NOT is_new"
    )
    if kept_money is not None:
        engine.query("CREATE OR REPLACE TEMPORARY TABLE kept_money AS SELECT * FROM given", None, given=kept_money)
    engine.execute(statement("money_read" if kept_money is None else "money_rows", marks))
    identity.show(engine, now, marks, _held(engine, rules, now))
    identity.show(engine, now, marks, "money_rows", "money_now")
    identity.show(engine, now, marks, "touched_events", "touched_now")
    identity.show(engine, before, marks, "touched_events_old", "touched_before")
    for name in ("touched_keys", "money_keys", "links", "touched_ids", "touched_pairs"):
        progress(name.replace("_", " "))
        engine.execute(statement(name, marks))
    _close(engine)
    engine.execute(statement("touched_days", marks))
    progress("events touched")
    days = engine.query(statement("touched_range", marks), {"window_days": rules.window_days}).to_pylist()[0]
    single = engine.query("SELECT min(day) AS first_touched_day, max(day) AS last_touched_day FROM touched_days")
    days |= single.to_pylist()[0]
    for name in ("last_day", "last_touched_day"):
        days[name] = min(days[name] or span.last_old_day, span.last_old_day)
    absent = dict(_UNREAD)
    if days["last_day"] < span.first_new_day:  # no new event is among them, which is all that batches are asked for
        absent["batch_id"] = "CAST(NULL AS VARCHAR) AS batch_id"
    unread = ", ".join(absent.get(name, f"e.{name}") for name in (*RAW_COLUMNS, *rules.segment))
    if not now.needed:
        engine.execute(statement("reached", {**marks, "visit_columns_read": unread}), days)
    if now.needed or engine.query(statement("ambiguous", marks))["ambiguous"][0].as_py():
        engine.execute(statement("reached", {**marks, "visit_columns_read": marks["raw_columns"]}), days)
    engine.execute(statement("touched_all", marks))
    engine.execute("CREATE OR REPLACE TEMPORARY VIEW touched_old AS SELECT * FROM touched_all WHERE NOT is_new")


def _held(engine: Engine, rules: Rules, now: identity.Identity) -> identity.Source:
    """The events of the log; ids that none of them has are not looked for in its files."""
    if now.needed or engine.query(statement("visit_ids_told", {}))["told"][0].as_py():
        return "events"
    absent = ("user_id", "visit_id")  # (without ``needed`` nobody has a user_id)
    held = (_NOTHING[name] if name in absent else f"e.{name}" for name in (*RAW_COLUMNS, *rules.segment))
    engine.execute(statement("held_events", {"held_columns": ", ".join(held)}))
    return "held_events"


def _close(engine: Engine) -> None:
    """Follow links from touched pairs to ids to pairs, until nothing is added."""
    size = -1
    both = "SELECT (SELECT count(*) FROM touched_pairs) + (SELECT count(*) FROM touched_ids) AS n"
    while (grown := engine.query(both)["n"][0].as_py()) != size:
        size = grown
        engine.execute(statement("grow_ids", {}))
        engine.execute(statement("grow_pairs", {}))
