"""A day that has just begun: its visits are counted, and estimates do not take its orders to be missing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from footfall import make_workspace
from footfall.app import planning, recording, valuing
from footfall.errors import NotEnoughDataError
from footfall.testing import FixedClock
from footfall.value.valuation import ESTIMATE

NOW = datetime(2026, 3, 10, 8, tzinfo=UTC)


def event(day: int, number: int, name: str, provider: str) -> dict[str, object]:
    amount = "100.00" if name == "purchase" else None
    at = datetime(2026, 3, day, 6, tzinfo=UTC) + timedelta(minutes=number)
    return {"ts": at, "name": name, "visitor_id": f"v{number}-{day}", "provider_id": provider, "amount": amount}


def test_one_visit_of_today_moves_no_estimate(tmp_path: Path) -> None:
    here = make_workspace(tmp_path / "shop", clock=FixedClock(NOW))
    rows = [event(day, n, "page_view", f"shop-{n % 2}") for day in range(1, 10) for n in range(40)]
    # orders come a day after the visit, so that a day without any looks like a fall of every rate
    rows += [
        event(day, n, "purchase", f"shop-{n % 2}") | {"visitor_id": f"v{n}-{day - 1}"}
        for day in range(2, 10)
        for n in range(4)
    ]
    here.record(pa.Table.from_pylist(rows))
    before = {row["provider_id"]: row for row in valuing.value(here).rows}

    here.record(pa.Table.from_pylist([event(10, 0, "page_view", "shop-0"), event(10, 1, "page_view", "shop-new")]))
    now = valuing.value(here)
    after = {row["provider_id"]: row for row in now.rows}
    for name, row in before.items():
        assert {key: after[name][key] for key in ESTIMATE} == {key: row[key] for key in ESTIMATE}
    assert after["shop-0"]["visitors"] == before["shop-0"]["visitors"] + 1
    assert after["shop-new"]["visitors"] == 1 and after["shop-new"]["value_mean"] > 0
    assert now.notes[0] == "2026-03-10 is not over: estimates are of 2026-03-09"

    days = valuing.value(here, by="day").rows
    assert days[-1]["day"] == date(2026, 3, 10) and days[-1]["visitors"] == 2 and days[-1]["value_mean"] is None
    # asked for, today is taken as it is
    assert valuing.value(here, as_of=date(2026, 3, 10)).rows[0]["value_mean"] < before["shop-0"]["value_mean"]


@pytest.mark.parametrize(
    ("hour", "told"),
    [
        (6, "leave 2026-03-09 out: its log ends at 05:57 with 120 visits, where 480 are usual"),
        (12, "2026-03-09 counts as a whole day, though its log ends at 11:57, where on the days before 50%"),
        (17, "2026-03-09 counts as a whole day, though its log ends at 16:57, where on the days before 29%"),
        (23, ""),  # of 480 visits 20 come in the last hour, a twenty-fourth
        (24, ""),
    ],
)
def test_a_last_day_that_breaks_off_is_named(tmp_path: Path, hour: int, told: str) -> None:
    """A visit every 3 minutes, 480 a day, an order at every twentieth; the last day ends at that hour."""
    here = make_workspace(tmp_path / "shop", clock=FixedClock(NOW))
    begin, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC) + timedelta(hours=hour)
    rows = []
    for n in range(int((end - begin) / timedelta(minutes=3))):
        row = {"ts": begin + n * timedelta(minutes=3), "visitor_id": f"v{n}", "provider_id": f"shop-{n % 2}"}
        rows.append({**row, "name": "page_view", "amount": None})
        if not n % 20:
            rows.append({**row, "name": "purchase", "amount": "10.00"})
    here.record(pa.Table.from_pylist(rows))
    notes = [note for note in valuing.value(here).notes if "2026-03-09" in note]
    assert len(notes) == bool(told) and all(told in note for note in notes)
    assert [note for note in planning.plan(here).notes if "2026-03-09" in note] == notes
    (found,) = [f for f in recording.check(here).findings if f.check == "last day"] or [None]
    assert (found is not None) == bool(told)
    if found is not None:
        assert found.level == "warning" and f"2026-03-09 ends at {hour - 1:02d}:57" in found.message


def test_a_shop_that_closes_at_noon_on_some_days_breaks_nothing_off(tmp_path: Path) -> None:
    here = make_workspace(tmp_path / "shop", clock=FixedClock(NOW))
    rows = [
        event(day, n, "page_view", "shop-0") for day in range(1, 10) for n in range(0, 360 if day in (5, 9) else 900)
    ]
    here.record(pa.Table.from_pylist(rows))
    assert not [f for f in recording.check(here).findings if f.check == "last day"]


def test_the_further_the_log_lies_back_the_less_is_known_until_nothing_is(tmp_path: Path) -> None:
    here = make_workspace(tmp_path / "shop", clock=FixedClock(NOW))
    rows = [event(day, n, "page_view", f"shop-{n % 2}") for day in range(1, 10) for n in range(40)]
    rows += [event(day, n, "purchase", "shop-0") for day in range(1, 10) for n in (0, 2, 4, 6)]
    here.record(pa.Table.from_pylist(rows))
    last = date(2026, 3, 9)

    seen = [valuing.value(here, as_of=last + timedelta(days=gap)).rows[0] for gap in (0, 30, 137, 140)]
    assert all(15 < row["value_mean"] < 25 for row in seen)  # 36 orders of 100 in 180 visits: 20
    width = [row["value_high"] - row["value_low"] for row in seen]
    assert width == sorted(width) and width[-1] > 2 * width[0]
    assert all(row["evidence"] > 0 for row in seen)

    with pytest.raises(NotEnoughDataError, match="2026-03-09") as told:
        valuing.value(here, as_of=last + timedelta(days=141))
    assert "up to 2026-07-27" in told.value.way_out  # 140 days, five half-lives of 28
