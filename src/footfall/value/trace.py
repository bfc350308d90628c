"""Trace: the rows of the log behind a figure, by the same relations that counted it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import pyarrow as pa

from footfall.config import Config
from footfall.errors import InputError
from footfall.model import EVENT_COLUMNS
from footfall.ports import Engine, Store
from footfall.value import identity
from footfall.value.facts import rules_of
from footfall.value.relations import Rules, relate
from footfall.value.statements import statement

Kind = Literal["visits", "orders", "refunds"]
KINDS: tuple[Kind, ...] = ("visits", "orders", "refunds")


def trace(
    store: Store,
    engine: Engine,
    rules: Rules,
    kind: Kind,
    *,
    provider: str | None = None,
    segment: str | None = None,
    first: date | None = None,
    last: date | None = None,
    as_of: date | None = None,
    limit: int = 0,
) -> pa.Table:
    """Events behind a figure: as many rows as the facts count, each the event that was counted.

    For visits, that is the first event of the visit (the purchase, where a purchase made the visit); for orders and
    refunds, the purchase and the refund.

    ``first`` and ``last``: days of the visit, both included, as in
    ``FactTables.between``; ``as_of``: what was known at the end of that day, as in ``FactTables.as_of``. None: all.

    Columns: person, visit (its key), visit_day, segment, delay_days (of the order, from the visit; of the refund, from
    the order; null for visits), then all columns of the event (a refund has provider_id, and amount_minor where it
    tells none, of its order). Newest visit last; ``limit`` keeps the first rows, 0 all of them. Raises InputError where
    ``kind`` or ``limit`` is none.
    """
    if kind not in KINDS:
        raise InputError(f"rows of {kind!r}: there is no such figure", f"ask for one of: {', '.join(KINDS)}")
    if limit < 0:
        raise InputError(f"limit = {limit}", "ask for that many rows, or for 0: all of them")
    store.attach(engine)
    marks = rules.marks()
    known = identity.learn(engine, rules.exclude_visitors, use=identity.needed(engine))
    identity.show(engine, known, marks)
    relate(engine, rules)
    wanted = {
        "provider_id": provider,
        "segment": segment,
        "first_day": first,
        "last_day": last,
        "as_of": as_of,
        "most": limit or 2**62,
    }
    counted = ("amount_minor", "provider_id") if kind == "refunds" else ()  # a refund need tell neither
    columns = ",\n       ".join(f"{'c' if c.name in counted else 'e'}.{c.name}" for c in EVENT_COLUMNS)
    counted_rows = statement(f"counted_{kind}", marks).rstrip()
    return engine.query(statement("trace", {"log_columns": columns, "counted": counted_rows}), wanted)


def rows(
    store: Store,
    engine: Engine,
    config: Config,
    kind: Kind,
    providers: Mapping[str, Mapping[str, str]] | None = None,
    **wanted: Any,
) -> pa.Table:
    """``trace`` under the settings of a workspace; ``providers`` as in ``facts``, ``wanted`` as in ``trace``."""
    return trace(store, engine, rules_of(config, providers), kind, **wanted)
