"""The main job on small logs whose figures are known by hand, and on a real shop's log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def two_shops(path: Path) -> Path:
    """100 visitors each on one day; 5 orders of 100 at shop-a, 8 at shop-b."""
    lines = ["ts,name,visitor_id,provider_id,amount,order_id"]
    for shop, orders in (("shop-a", 5), ("shop-b", 8)):
        for i in range(100):
            lines.append(f"2026-11-20T08:{i % 60:02d}:00Z,page_view,{shop}-{i},{shop},,")
        for i in range(orders):
            lines.append(f"2026-11-20T12:{i:02d}:00Z,purchase,{shop}-{i},{shop},100.00,{shop}-o{i}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_two_shops(cli, shop: Path, tmp_path: Path) -> None:
    """Visitor value = GMV / visitors: 5 and 8; the shop whose visitors are worth more gains, the other is told why."""
    assert cli("import", two_shops(tmp_path / "log.csv"), workspace=shop).status == 0
    a, b = cli("value", "--format", "json").json
    assert (a["provider_id"], a["visitors"], a["orders"], a["gmv"], a["visitor_value"]) == ("shop-a", 100, 5, 500, 5)
    assert (b["provider_id"], b["visitors"], b["orders"], b["gmv"], b["visitor_value"]) == ("shop-b", 100, 8, 800, 8)
    assert 5 < a["value_mean"] < b["value_mean"] < 8
    plan = cli("plan", "--format", "json").json
    change = {line["provider_id"]: line["visits_tomorrow"] - line["visits_today"] for line in plan["providers"]}
    assert change["shop-b"] >= 5
    assert plan["gap"] <= 1e-4
    why = cli("explain", "shop-a", "--format", "json").json
    assert sum(line["visits"] for line in why["lines"]) == pytest.approx(change["shop-a"], abs=1e-6)
    assert sum(line["whole"] for line in why["lines"]) == round(change["shop-a"])
    assert {"conversion", "others"} & {line["key"] for line in why["lines"] if line["visits"] < 0}


GOOGLE = {  # GMV / visits by channel, counted by hand from the two files (data's README)
    "Referral": 24.86,
    "Direct": 4.50,
    "Paid Search": 3.71,
    "Organic Search": 1.23,
    "Social": 0.76,
    "Display": 32.09,
    "Affiliates": 0.00,
}


def import_google(cli, folder: Path) -> None:
    common = ("--map", "visitor_id=visit_id", "--map", "visit_id=visit_id", "--map", "provider_id=channel")
    visits = cli("import", folder / "visits.csv.gz", "--event", "page_view", "--map", "ts=started_at", *common)
    orders = cli("import", folder / "orders.csv.gz", "--event", "purchase", "--map", "ts=ordered_at", *common)
    assert "23,674 added" in visits.out
    assert "952 added" in orders.out


def test_google_merchandise_store(cli, shop: Path, real) -> None:
    folder = real("google-merchandise-store")
    (shop / "footfall.toml").touch()
    cli("check", workspace=shop)
    import_google(cli, folder)
    rows = {row["provider_id"]: row for row in cli("value", "--format", "json").json}
    assert {name: round(rows[name]["visitor_value"], 2) for name in GOOGLE} == GOOGLE
    assert rows["Display"]["visitors"] == 172
    assert rows["(Other)"]["visitors"] == 1
    assert sum(row["orders"] for row in rows.values()) == 952
    assert round(sum(row["gmv"] for row in rows.values()), 2) == 157_755.44
    assert rows["Display"]["value_mean"] < 22
    assert rows["Display"]["value_high"] > 4 * rows["Display"]["value_low"]
    plan = cli("plan", "--format", "json")
    assert plan.status == 0
    assert plan.json["gap"] <= 1e-4
    for line in plan.json["providers"]:
        why = cli("explain", line["provider_id"], "--format", "json").json
        change = line["visits_tomorrow"] - line["visits_today"]
        assert sum(part["visits"] for part in why["lines"]) == pytest.approx(change, abs=1e-6)
        told = cli("explain", line["provider_id"]).out
        heading = re.search(r"([\d.,]+) visits today, ([\d.,]+) planned \(([-+][\d.,]+)\)", told)
        summed = re.search(r"^\W*change[^-+\d]+([-+][\d.,]+)", told, re.M)
        assert heading and summed and heading[3] == summed[1], "one change is one number"
        today, tomorrow, moved = (float(figure.replace(",", "")) for figure in heading.groups())
        assert tomorrow - today == pytest.approx(moved, abs=1e-9)
