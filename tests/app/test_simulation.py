"""Simulated logs as files: with addresses, whoever fills a cart or buys can be written to; all else is as without."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from conftest import Cli

OPTIONS = ("--shops", 4, "--days", 6, "--visitors", 3000, "--start", "2026-03-01")


def test_addresses_are_told_once_with_the_first_cart_or_order(tmp_path: Path, cli: Cli) -> None:
    plain, told = tmp_path / "plain.parquet", tmp_path / "told.parquet"
    assert cli("simulate", plain, *OPTIONS).status == 0
    assert cli("simulate", told, *OPTIONS, "--addresses").status == 0
    events = pq.read_table(told)
    signed = events.filter(pc.equal(events["name"], "sign_up"))
    rest = events.filter(pc.not_equal(events["name"], "sign_up")).drop_columns(["email"])
    order = [("ts", "ascending"), ("message_id", "ascending")]
    assert rest.sort_by(order).equals(pq.read_table(plain).sort_by(order))
    assert events["ts"].to_pylist() == sorted(events["ts"].to_pylist())

    first: dict[str, object] = {}
    for row in rest.sort_by(order).to_pylist():
        if row["name"] in ("add_to_cart", "purchase"):
            first.setdefault(row["visitor_id"], row["ts"])
    rows = signed.to_pylist()
    assert len(rows) == len(first) > 100
    assert {row["visitor_id"]: row["ts"] for row in rows} == first
    assert all(row["email"] == f"{row['visitor_id']}@example.com" for row in rows)


@pytest.mark.parametrize("suffix", [".csv", ".ndjson.gz"])
def test_journeys_find_whom_to_write_to(tmp_path: Path, cli: Cli, suffix: str) -> None:
    log, shop = tmp_path / f"log{suffix}", tmp_path / "shop"
    assert cli("simulate", log, *OPTIONS, "--addresses").status == 0
    assert cli("init", shop, "--currency", "EUR").status == 0
    assert cli("import", log, workspace=shop).status == 0
    reach = {row["audience"]: row for row in cli("audiences", "--format", "json", workspace=shop).json}
    carts = reach["cart_abandoned"]
    assert carts["people"] > 50 and carts["by_email"] == carts["people"]
