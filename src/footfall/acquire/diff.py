"""Two plans side by side."""

from __future__ import annotations

from typing import Any, Literal

from footfall.model import Plan


def diff(before: Plan, after: Plan, by: Literal["provider", "pair"] = "provider") -> list[dict[str, Any]]:
    """Visits and value in both plans for each provider or pair in either, largest change first."""
    rows = []
    left, right = _lines(before, by), _lines(after, by)
    for key in left.keys() | right.keys():
        visits_before, value_before = left.get(key, (0.0, None))
        visits_after, value_after = right.get(key, (0.0, None))
        names = {"provider_id": key[-1]} if by == "provider" else {"segment": key[0], "provider_id": key[1]}
        rows.append(
            {
                **names,
                "visits_before": visits_before,
                "visits_after": visits_after,
                "change": visits_after - visits_before,
                "value_before": value_before,
                "value_after": value_after,
            }
        )
    return sorted(rows, key=lambda row: (-abs(row["change"]), str(row.get("segment")), row["provider_id"]))


def _lines(plan: Plan, by: Literal["provider", "pair"]) -> dict[tuple[str, ...], tuple[float, float | None]]:
    if by == "provider":
        return {(line.provider_id,): (line.visits_tomorrow, line.value) for line in plan.providers}
    return {(line.segment, line.provider_id): (line.visits_tomorrow, line.value) for line in plan.pairs}
