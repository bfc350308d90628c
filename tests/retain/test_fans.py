"""Fans and their shares of visits and GMV, counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from small_place import happened, place

from footfall.app import retention
from footfall.app.build import make_workspace
from footfall.retain.fans import Fans, fans
from footfall.testing import FixedClock


def seen(tmp_path: Path, events: list[dict[str, object]], today: float) -> Fans:
    with retention.shown(place(tmp_path, events, today)) as shown:
        return fans(shown.engine, shown.customers.exponent)


def test_shares_by_hand(tmp_path: Path) -> None:
    events = [
        happened(10, "ann", "follow", "a"),  # long a fan of a
        happened(50, "bob", "follow", "a"),  # within the last 28 days
        happened(40, "cem", "follow", "a"),
        happened(55, "cem", "unfollow", "a"),  # left within them
        happened(45, "dan", "subscribe", None),  # of the whole place
        happened(46, "eve", "follow", "b"),
        happened(47, "eve", "unfollow", "b"),
        happened(48, "eve", "follow", "b"),  # the newest word counts
        happened(5, "ann", "page_view", "a"),  # too long ago to count
        happened(52, "ann", "page_view", "a"),
        happened(53, "ann", "page_view", "b"),  # no fan of b
        happened(54, "zoe", "page_view", "a"),
        happened(56, "dan", "page_view", "b"),
        happened(57, "ann", "purchase", "a", amount=30.0),
        happened(58, "zoe", "purchase", "a", amount=70.0),
        happened(60, "zoe", "page_view", "b"),
    ]
    rows = {row["provider_id"]: row for row in seen(tmp_path, events, today=60).rows}
    a, b, whole = rows["a"], rows["b"], rows[None]
    assert (a["fans"], a["new_fans"], a["lost_fans"]) == (3, 2, 1)  # ann, bob, dan; bob and dan are new; cem left
    assert (b["fans"], b["lost_fans"]) == (2, 0)  # eve, dan
    assert (whole["fans"], whole["lost_fans"]) == (4, 1)
    # Visits at a: ann's of day 52 brought her order of day 57, zoe's of 54 hers; a follow is no visit.
    assert (a["visits"], a["fan_visits"]) == (2, 1)
    assert (b["visits"], b["fan_visits"]) == (3, 1)  # ann is no fan there, dan is subscribed
    assert (whole["visits"], whole["fan_visits"]) == (5, 3)
    assert (a["gmv"], a["gmv_share"]) == (100.0, pytest.approx(0.3))
    assert b["gmv_share"] is None


def test_purchases_without_a_visit_make_one(tmp_path: Path) -> None:
    # Nothing but purchases: each person's day at a shop is a visit, as `footfall value` counts it. ann's two orders of
    # a day are one; hers of the next day and zoe's are one each.
    events = [
        happened(1, "ann", "follow", "a"),
        happened(2, "ann", "purchase", "a", amount=5.0),
        happened(2.1, "ann", "purchase", "a", amount=5.0),
        happened(3, "ann", "purchase", "a", amount=5.0),
        happened(3, "zoe", "purchase", "a", amount=5.0),
    ]
    a, whole = seen(tmp_path, events, today=4).rows
    assert (a["visits"], a["fan_visits"], a["gmv"]) == (3, 2, 20.0)
    assert (whole["visits"], whole["fan_visits"]) == (3, 2)


def test_tiers(tmp_path: Path) -> None:
    events = [
        *(happened(1, who, "follow", "a") for who in ("fan", "buyer", "loyal", "advocate")),
        *(happened(2, who, "purchase", "a", amount=5.0) for who in ("buyer", "loyal", "advocate", "no-fan")),
        *(happened(9, who, "purchase", "a", amount=5.0) for who in ("loyal", "advocate")),
        happened(9, "advocate", "share", "a"),
    ]
    assert seen(tmp_path, events, today=10).tiers == {"fan": 1, "buying fan": 1, "loyal fan": 1, "advocate": 1}


def test_nobody_follows(tmp_path: Path) -> None:
    found = seen(tmp_path, [happened(1, "x", "page_view", "a")], today=2)
    assert found.tiers == {}
    assert [(row["fans"], row["visit_share"]) for row in found.rows] == [(0, 0.0), (0, 0.0)]


def test_what_is_dated_ahead_is_said_nowhere_yet(tmp_path: Path) -> None:
    """ann's unfollow and bob's follow are hours ahead: she is a fan and not lost, he is lost and no fan."""
    events = [
        happened(50, "ann", "follow", "a"),
        happened(60.3, "ann", "unfollow", "a"),
        happened(50, "bob", "follow", "a"),
        happened(51, "bob", "unfollow", "a"),
        happened(60.3, "bob", "follow", "a"),
        happened(40, "dan", "subscribe", None),
        happened(60.3, "dan", "unsubscribe", "a"),
        happened(50, "zoe", "page_view", "a"),
    ]
    with retention.shown(place(tmp_path, events, today=60)) as shown:
        a, whole = fans(shown.engine, shown.customers.exponent).rows
        ties = {row["person"]: (row["follows"], row["subscriptions"]) for row in shown.customers.ties.to_pylist()}
    assert (a["fans"], a["new_fans"], a["lost_fans"]) == (2, 2, 1)  # ann and dan, both within 28 days; bob left
    assert (whole["fans"], whole["lost_fans"]) == (2, 1)
    assert ties == {"u:ann": (1, 0), "u:bob": (0, 0), "u:dan": (0, 1)}


def test_days_are_those_of_the_place(tmp_path: Path) -> None:
    """20 February 20:00 UTC is the 21st in Taipei, 28 days before 20 March: within them, who came and who left."""
    now = datetime(2026, 3, 20, 4, tzinfo=UTC)
    settings: dict[str, dict[str, object]] = {"workspace": {"currency": "TWD", "timezone": "Asia/Taipei"}}
    here = make_workspace(tmp_path / "taipei", settings, FixedClock(now))
    first, late = "2026-02-20T20:00:00Z", "2026-03-20T01:00:00Z"
    rows = [("2026-02-20T15:00:00Z", "follow", "eve"), (first, "follow", "ann"), ("2026-02-01T01:00:00Z", "follow", "cem"), (first, "unfollow", "cem"), ("2026-02-10T01:00:00Z", "page_view", "zoe"), (late, "page_view", "zoe")]  # fmt: skip  # noqa: E501
    ts, name, who = zip(*rows, strict=True)
    shop = ["shop"] * len(rows)
    here.record(pa.table({"ts": ts, "name": name, "user_id": who, "visitor_id": who, "provider_id": shop}))
    with retention.shown(here) as shown:
        found = fans(shown.engine, shown.customers.exponent).rows
    # eve came at 23:00 of the 20th, there.
    assert [(row["fans"], row["new_fans"], row["lost_fans"]) for row in found] == [(2, 1, 1), (2, 1, 1)]
