"""Customers of small logs that were counted by hand, and calibration on the real purchases of CDNOW."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from small_place import happened, known, members, place

from footfall.app import retention
from footfall.retain import customers
from footfall.retain.rfm import fifths, tiers


def rows(here: object, as_of: date | None = None) -> dict[str, dict[str, object]]:
    found = customers.table(retention.customers(here, as_of))  # type: ignore[arg-type]
    return {row["customer_id"]: row for row in found.to_pylist()}


EVENTS = [
    happened(0, "ann", "purchase", amount=10.0, order_id="1"),
    happened(0.2, "ann", "purchase", amount=5.0, order_id="2"),  # the same day: one purchase day
    happened(7, "ann", "purchase", amount=20.0, order_id="3"),
    happened(9, "ann", "refund", amount=20.0, order_id="3"),  # all of it: the day is none
    happened(12, "ann", "purchase", amount=40.0, order_id="4"),
    happened(13, "ann", "refund", amount=15.0, order_id="4"),  # a part: the day stays
    happened(3, "bob", "purchase", amount=8.0, order_id="5"),
    happened(4, "bob", "refund", order_id="5"),  # without an amount: all of it
    happened(5, "cem", "purchase", amount=1.0, order_id="6"),
    happened(6, "cem", "follow"),
    happened(8, "cem", "unfollow"),
    happened(6, "ann", "follow"),
    known(1, "ann", email="ann@example.com", phone="+491"),
    known(2, "ann", phone=""),  # taken back
    happened(20, "dan", "page_view"),
]


def test_purchase_days_money_and_refunds(tmp_path: Path) -> None:
    found = rows(place(tmp_path, EVENTS, today=20))
    assert set(found) == {"ann", "cem"}  # bob gave everything back, dan never bought
    ann = found["ann"]
    assert (ann["frequency"], ann["orders"], ann["spend"]) == (1, 3, 40.0)  # 10 + 5 + (40 - 15)
    assert (ann["first_day"], ann["last_day"], ann["recency_days"]) == (date(2026, 1, 1), date(2026, 1, 13), 8)
    assert (ann["fan"], ann["reachable"]) == (True, "email")
    assert (found["cem"]["fan"], found["cem"]["reachable"]) == (False, "")


def test_as_of_an_earlier_day_knows_what_was_known_then(tmp_path: Path) -> None:
    found = rows(place(tmp_path, EVENTS, today=20), date(2026, 1, 9))  # 8 days in: before both refunds of ann
    assert (found["ann"]["frequency"], found["ann"]["spend"]) == (1, 35.0)
    assert found["ann"]["last_day"] == date(2026, 1, 8)
    assert set(found) == {"ann", "cem"}
    before = rows(place(tmp_path / "b", EVENTS, today=20), date(2026, 1, 4))
    assert before["bob"]["spend"] == 8.0


def test_thin_logs_say_that_nothing_is_forecast(tmp_path: Path) -> None:
    known_ = retention.customers(place(tmp_path, EVENTS, today=20))
    assert known_.purchases is None
    assert any("bought again" in note for note in known_.notes)
    (ann, *_) = customers.table(known_).to_pylist()
    assert ann["alive"] is None and ann["expected_90"] is None and ann["money_365"] is None


def test_nobody_is_due_or_lapsing_where_nobody_bought_again(tmp_path: Path) -> None:
    # 40 visitors who each bought once, over 60 days: nothing tells when they come back, or whether they ever do.
    events = [happened(float(n), f"p{n}", "purchase", amount=float(n + 1)) for n in range(40)]
    here = place(tmp_path, [*events, happened(60, "x", "page_view")], today=60)
    known_ = retention.customers(here)
    (first, second, *_) = customers.table(known_).to_pylist()
    assert (first["customer_id"], second["customer_id"]) == ("p39", "p38")  # no forecast: by money spent
    for name in ("due", "due_low", "due_high", "due_chance", "due_category", "expected_90", "money_90", "alive"):
        assert first[name] is None, name
    assert not {"loyal", "champion", "cannot lose"} & set(customers.table(known_)["tier"].to_pylist())
    told = "\n".join(known_.notes)
    assert "0 of 40 customers bought again in 60 days, and a forecast takes 30" in told
    assert "no due dates, and nobody lapsing or lost: 0 purchase days" in told
    found = members(here)
    assert not found["lapsing"] and not found["lost"] and not found["due_to_repurchase"]
    (moment,) = retention.timing(here)
    assert moment.remind is None and moment.lapsing is None
    assert "no other category to lean on" in moment.thin


def test_a_thin_log_says_how_much_more_it_takes(tmp_path: Path) -> None:
    # 10 of 25 bought again within 50 days: 30 would have after 150 days at that pace, 100 more.
    events = [happened(0, f"p{n}", "purchase", amount=5.0) for n in range(25)]
    events += [happened(7 + n, f"p{n}", "purchase", amount=5.0) for n in range(10)]
    found = retention.customers(place(tmp_path, [*events, happened(50, "x", "page_view")], today=50))
    assert "10 of 25 customers bought again in 50 days" in found.notes[0]
    assert "some 100 days more" in found.notes[0]


def test_forecasts_that_would_have_missed_are_told(tmp_path: Path) -> None:
    # Half of the buyers of each of 28 days come back once, five days later, and never again: no rate of purchases that
    # lasts is like that. Known on day 21, of the 22 x 20 buyers those of days 17 to 21 still come: 5 x 10.
    events = [happened(float(d), f"p{d}-{n}", "purchase", amount=5.0) for d in range(29) for n in range(20)]
    events += [happened(d + 5.0, f"p{d}-{n}", "purchase", amount=5.0) for d in range(24) for n in range(10)]
    found = retention.customers(place(tmp_path, events, today=28), look_back=True)
    assert all(np.isfinite(values).all() and (values >= 0).all() for values in found.expected.values())
    (missed,) = [note for note in found.notes if "forecasts run high" in note]
    assert "and 50 came" in missed and "--calibrate 7" in missed
    assert any("the log shows 28 days" in note and "30 and 90 and 365" in note for note in found.notes)


def test_when_the_next_purchase_is_due(tmp_path: Path) -> None:
    # 150 alike customers whose gaps are gamma(4) with mean 10 days: the due day is the median of the gaps that are
    # longer than the time since the last purchase (scipy's gamma).
    rng, end = np.random.default_rng(4), 120.0
    events, last = [], {}
    for n in range(150):
        day = rng.uniform(0, 10)
        while day < end:
            events.append(happened(float(int(day)), f"p{n}", "purchase", amount=9.0))
            last[f"p{n}"], day = int(day), int(day) + max(1, round(rng.gamma(4, 2.5)))
    found = rows(place(tmp_path, [*events, happened(end, "x", "page_view")], today=end))
    miss, gap = [], stats.gamma(4, scale=2.5)
    for name, day in last.items():
        row = found[name]
        expected = gap.ppf((1 + gap.cdf(end - day)) / 2) - (end - day)
        miss.append((row["due"] - date(2026, 5, 1)).days - expected)
        assert row["due_low"] <= row["due"] <= row["due_high"]
    assert abs(np.mean(miss)) < 1.0
    assert np.median([row["due_chance"] for row in found.values()]) > 0.9


def test_fifths_by_hand() -> None:
    assert fifths(np.arange(10.0)).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert fifths(np.zeros(4)).tolist() == [3, 3, 3, 3]
    assert fifths(np.array([])).tolist() == []
    # Hughes: latest, most often and most money are champions; the other end is lost.
    since, days, money = np.arange(50.0)[::-1], np.arange(50.0), np.arange(50.0)
    found = tiers(since, days, money)
    assert (found.name[0], found.name[-1]) == ("lost", "champion")
    # Who bought on one day only has no habit yet, however much: 5 of recency, 3 of frequency, 5 of money would be one.
    once = tiers(np.r_[0.0, np.full(9, 50.0)], np.ones(10), np.r_[99.0, np.ones(9)])
    assert (once.recency[0], once.frequency[0], once.money[0], once.name[0]) == (5, 3, 5, "potential")


@pytest.mark.slow
def test_calibration_of_cdnow_by_decile(tmp_path: Path, real: Callable[[str], Path]) -> None:
    # The sample's purchases until 30 September 1997 forecast the 39 weeks after; 1,882 purchase days came.
    import pyarrow as pa

    from footfall.app.build import make_workspace

    lines = [line.split() for line in (real("cdnow") / "CDNOW_sample.txt").read_text().splitlines()]
    here = make_workspace(tmp_path / "cdnow", {"workspace": {"currency": "USD"}})
    here.record(
        pa.table(
            {
                "ts": [f"{day[:4]}-{day[4:6]}-{day[6:]}T12:00:00" for _, _, day, _, _ in lines],
                "name": ["purchase"] * len(lines),
                "visitor_id": [one[0] for one in lines],
                "provider_id": ["cdnow"] * len(lines),
                "amount": [float(one[4]) for one in lines],
            }
        )
    )
    found = retention.calibration(here, 273)
    assert found.cut == date(1997, 9, 30)
    assert [row["customers"] for row in found.rows[:10]] == [236, 236, 236, 236, 236, 236, 236, 235, 235, 235]
    actual, forecast = (np.array([row[name] for row in found.rows[:10]]) for name in ("actual", "forecast"))
    total = found.rows[-1]
    assert total["actual"] == actual.sum() == 1882
    assert abs(total["forecast"] / 1882 - 1) <= 0.13
    # Sorted by forecast, the best tenth brings half; forecasts rank the deciles as they came about.
    assert np.corrcoef(actual, forecast)[0, 1] > 0.98
    assert actual[0] > 0.4 * 1882
