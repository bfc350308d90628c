"""Fans: who follows or is subscribed, and what part of visits and GMV comes from one's own audience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from footfall.ports import Engine
from footfall.retain.statements import text

COLUMNS = ("provider_id", "fans", "new_fans", "lost_fans", "visits", "fan_visits", "visit_share", "gmv", "gmv_share")


@dataclass(frozen=True, slots=True)
class Fans:
    """rows: one for each provider, and one of ``provider_id`` None for the whole place; last 28 days, money in major
    units. tiers: tier -> fans."""

    rows: tuple[dict[str, Any], ...]
    tiers: dict[str, int]


def fans(engine: Engine, exponent: int) -> Fans:
    """Fans of all providers, from the relations that ``audience.show`` made."""
    rows = []
    for row in engine.query(text("fans_by_provider")).to_pylist():
        gmv, own = (float(row[name]) / 10.0**exponent for name in ("gmv_minor", "fan_gmv_minor"))
        rows.append(
            {
                **{name: row[name] for name in COLUMNS[:6]},
                "visit_share": row["fan_visits"] / row["visits"] if row["visits"] else None,
                "gmv": gmv,
                "gmv_share": own / gmv if gmv else None,
            }
        )
    tiers = {row["tier"]: row["fans"] for row in engine.query(text("fan_tiers")).to_pylist()}
    return Fans(tuple(rows), tiers)
