"""The loop on one page: one turn from a log to a plan, messages and what they added. Expected values by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from footfall.app import cycle
from footfall.app.build import make_workspace, open_workspace
from footfall.testing import FixedClock

NOW = datetime(2026, 3, 12, 12, tzinfo=UTC)
JOURNEY = """
[channels.paper]
kind = "file"

[journeys.cart]
audience = "cart_abandoned"
holdout = 0.0
[[journeys.cart.steps]]
template = "cart"
channel = "paper"
"""


def log(path: Path) -> Path:
    """Eleven days of 20 visitors at two shops: 2 orders of 100 a day at the one, 6 at the other; ann leaves a cart."""
    rows = []
    for day in range(1, 12):
        for shop, orders in (("a", 2), ("b", 6)):
            for visitor in range(20):
                at, who = datetime(2026, 3, day, 10, visitor, tzinfo=UTC), f"{shop}-{day}-{visitor}"
                told = {"visitor_id": who, "provider_id": shop, "channel": "web"}
                rows.append({"ts": at.isoformat(), "name": "page_view", **told})
                if visitor < orders:
                    rows.append({"ts": at.isoformat(), "name": "purchase", "amount": "100", "order_id": who, **told})
    ann = {"visitor_id": "ann", "user_id": "ann", "provider_id": "b", "channel": "web"}
    for name in ("page_view", "add_to_cart"):
        rows.append({"ts": (NOW - timedelta(hours=26)).isoformat(), "name": name, **ann})
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def test_a_turn_of_the_loop(tmp_path: Path) -> None:
    made = make_workspace(tmp_path / "shop", {"workspace": {"currency": "EUR"}}, FixedClock(NOW))
    settings = made.directory / "footfall.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + JOURNEY, encoding="utf-8")
    here = open_workspace(made.directory, FixedClock(NOW))
    file = str(log(tmp_path / "log.ndjson"))

    first = cycle.turn(here, [file])
    assert first.taken is not None and first.taken.added == 440 + 11 * 8 + 2
    assert first.plan.status == "published" and first.plan.day.isoformat() == "2026-03-12"
    visits = {line.provider_id: (line.visits_today, line.visits_tomorrow) for line in first.plan.providers}
    assert visits["b"][1] > visits["b"][0] and visits["a"][1] < visits["a"][0]  # 30 a visit against 10
    assert first.round is not None
    assert [(p.message.person, p.message.journey) for p in here.outbox.messages()] == [("u:ann", "cart")]
    assert {row["journey"] for row in first.lifts} == {"cart"}

    again = cycle.turn(here, [file])  # what it took in, planned and wrote once is not doubled
    assert again.taken is not None and again.taken.added == 0
    assert again.plan.version == first.plan.version + 1
    assert len(list(here.outbox.messages())) == 1


def test_without_journeys_and_files_it_values_and_plans(tmp_path: Path) -> None:
    here = make_workspace(tmp_path / "shop", {"workspace": {"currency": "EUR"}}, FixedClock(NOW))
    cycle.recording.import_files(here, [str(log(tmp_path / "log.ndjson"))])
    found = cycle.turn(here)
    assert (found.taken, found.round, found.lifts) == (None, None, [])
    assert found.plan.status == "published"


def test_it_is_one_page() -> None:
    assert len(Path(cycle.__file__).read_text(encoding="utf-8").splitlines()) <= 80
