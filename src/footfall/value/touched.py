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
from footfall.value.relations import NOTHING, RAW_COLUMNS, Progress, Rules, aggregate, held_source, relate
from footfall.value.statements import statement

# What visits without a visit_id are read with, in a log without users, where ties do not matter.
_UNREAD = {"message_id": "'' AS message_id", "amount_minor": "CAST(NULL AS BIGINT) AS amount_minor"} | NOTHING


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
    held: identity.Held,
    progress: Progress,
    kept_money: pa.Table | None = None,
) -> FactTables | None:
    """What ``new_batches`` of the view ``events`` change, as facts to add; counts in it can be negative.

    held: which ids the events of the log have. kept_money: the orders and refunds of other batches, as ``kept_money``
    has them; None: they are looked for in the log.

    None where the change is not local: excluded visitors are other persons than before.
    """
    marks = rules.marks()
    given = pa.table({"batch_id": pa.array(new_batches, pa.string())})
    engine.query("CREATE OR REPLACE TEMPORARY TABLE new_batches AS SELECT * FROM given", None, given=given)
    engine.execute(statement("old_events", marks))
    engine.execute(statement("new_events", marks))

    progress("persons touched")
    now = identity.learn(engine, rules.exclude_visitors, "events", "now", use=held.users)
    before = identity.learn(engine, rules.exclude_visitors, "old_events", "before", use=held.users)
    if now.excluded != before.excluded:
        return None
    _collect(engine, rules, marks, now, before, span, held, progress, kept_money)

    progress("counts before")
    identity.show(engine, before, marks, "touched_old")
    relate(engine, rules, visit_ids=held.visit_ids)
    old = aggregate(engine, rules, FactTables.empty().providers)
    progress("counts now")
    identity.show(engine, now, marks, "touched_all")
    relate(engine, rules, visit_ids=held.visit_ids)
    return aggregate(engine, rules, engine.query(statement("providers", {"source": "told_events"}))).minus(old)


def _collect(
    engine: Engine,
    rules: Rules,
    marks: dict[str, str],
    now: identity.Identity,
    before: identity.Identity,
    span: Span,
    held: identity.Held,
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
    identity.show(engine, now, marks, held_source(engine, rules, held))
    identity.show(engine, now, marks, "touched_events", "touched_now")
    identity.show(engine, before, marks, "touched_events_old", "touched_before")
    _know_money(engine, marks, now, kept_money)
    marks["links_by_visit"] = statement("links_by_visit", marks) if held.visit_ids else ""
    engine.execute(statement("touched_keys", marks), {"last_old_day": span.last_old_day})
    for name in ("links", "touched_ids", "touched_pairs"):
        engine.execute(statement(name, marks))
    _close(engine)
    progress("events touched")
    _reach(engine, rules, marks, span, held)
    marks["unless_changed"] = statement("unless_changed", marks) if now.needed else ""
    engine.execute(statement("reached_old", marks))
    engine.execute(statement("touched_all", marks))
    engine.execute("CREATE OR REPLACE TEMPORARY VIEW touched_old AS SELECT * FROM touched_all WHERE NOT is_new")


def _reach(engine: Engine, rules: Rules, marks: dict[str, str], span: Span, held: identity.Held) -> None:
    """Make the tables ``reached`` and ``reached_pairs`` of what ties lead to."""
    engine.execute(statement("touched_days", marks))
    window = engine.query(statement("touched_range", marks), {"window_days": rules.window_days}).to_pylist()[0]
    single = engine.query("SELECT min(day) AS first_touched_day, max(day) AS last_touched_day FROM touched_days")
    days = single.to_pylist()[0]
    engine.execute(statement("reached", marks))
    if held.visit_ids:
        engine.execute(statement("reached_visits", marks))
    if days["first_touched_day"] is not None and days["first_touched_day"] <= span.last_old_day:
        engine.execute(statement("reached_days", marks), days)
    window["last_day"] = min(window["last_day"] or span.last_old_day, span.last_old_day)
    absent = dict(_UNREAD)
    if window["last_day"] < span.first_new_day:  # no new event is among them, which is all that batches are asked for
        absent["batch_id"] = "CAST(NULL AS VARCHAR) AS batch_id"
    unread = ", ".join(absent.get(name, f"e.{name}") for name in (*RAW_COLUMNS, *rules.segment))
    if not held.users:
        engine.execute(statement("reached_pairs", {**marks, "visit_columns_read": unread}), window)
    if held.users or engine.query(statement("ambiguous", marks))["ambiguous"][0].as_py():
        engine.execute(statement("reached_pairs", {**marks, "visit_columns_read": marks["raw_columns"]}), window)


def _know_money(engine: Engine, marks: dict[str, str], now: identity.Identity, kept_money: pa.Table | None) -> None:
    """Make the table ``money_keys``."""
    kept = {} if kept_money is None else {"kept_money": kept_money}
    engine.query(statement("money_rows" if kept else "money_read", marks), None, **kept)
    identity.show(engine, now, marks, "money_rows", "money_now", **kept)
    engine.query(statement("money_keys", marks), None, **kept)


def _close(engine: Engine) -> None:
    """Follow links from touched pairs to ids to pairs, until nothing is added."""
    size = -1
    both = "SELECT (SELECT count(*) FROM touched_pairs) + (SELECT count(*) FROM touched_ids) AS n"
    while (grown := engine.query(both)["n"][0].as_py()) != size:
        size = grown
        engine.execute(statement("grow_ids", {}))
        engine.execute(statement("grow_pairs", {}))
