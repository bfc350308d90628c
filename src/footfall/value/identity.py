"""Identity: whose an event is. (It stands in ``value`` and not in ``record``: only counting asks for it.)"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from footfall.ports import Engine
from footfall.value.statements import statement


def resolve(engine: Engine, marks: Mapping[str, str], exclude_visitors: tuple[str, ...]) -> None:
    """Make the view ``person_events`` of the view ``events``: the events that count, each with its person."""
    excluded = pa.table({"id": pa.array(exclude_visitors, pa.string())})
    engine.query("CREATE OR REPLACE TEMPORARY TABLE excluded AS SELECT * FROM listed", None, listed=excluded)
    engine.execute(statement("person_events", marks))
