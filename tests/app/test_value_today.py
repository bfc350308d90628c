"""A day that has just begun: its visits are counted, and estimates do not take its orders to be missing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from footfall import make_workspace
from footfall.app import valuing
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
