"""Commands on a small simulated market: what they print reconciles, what they change can be changed back."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from footfall.app.main import main


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a month of a small market."""
    folder = tmp_path_factory.mktemp("market")
    log = folder / "log.ndjson.gz"
    assert main(["simulate", str(log), "--shops", "12", "--days", "20", "--visitors", "6000", "--seed", "5"]) == 0
    assert (
        main(["init", str(folder / "shop"), "--currency", "CNY", "--segment", "channel", "--segment", "category"]) == 0
    )
    assert main(["import", str(log), "--workspace", str(folder / "shop")]) == 0
    assert main(["providers", str(folder / "log.providers.csv"), "--workspace", str(folder / "shop")]) == 0
    return folder / "shop"


def test_figures_reconcile_with_rows(cli, market: Path) -> None:
    """One counting path: every plain figure is the number of rows that `footfall rows` shows."""
    rows = cli("value", "--format", "json", workspace=market).json
    for row in rows[:4]:
        for kind, figure in (("visits", "visitors"), ("orders", "orders")):
            found = cli(
                "rows", "--provider", row["provider_id"], "--kind", kind, "--limit", "0", "--format", "json"
            ).json
            assert len(found) == row[figure]
            if kind == "orders":
                assert sum(event["amount_minor"] for event in found) == round(100 * row["gmv"])


def test_every_way_of_counting_has_the_same_total(cli, market: Path) -> None:
    totals = set()
    for by in ("provider", "segment", "pair", "day"):
        rows = cli("value", "--by", by, "--format", "json", workspace=market).json
        totals.add(
            (sum(r["visitors"] for r in rows), sum(r["orders"] for r in rows), round(sum(r["gmv"] for r in rows), 2))
        )
        assert all(0 <= r["value_low"] <= r["value_mean"] <= r["value_high"] for r in rows)
    assert len(totals) == 1


def test_formats_hold_the_same(market: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    main(["value", "--format", "parquet", "--workspace", str(market)])
    table = pq.read_table(io.BytesIO(capsysbinary.readouterr().out))
    main(["value", "--format", "csv", "--workspace", str(market)])
    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert lines[0].split(",") == table.column_names
    assert len(lines) - 1 == table.num_rows
    assert table.column_names == [
        "provider_id", "visitors", "orders", "gmv", "conversion", "aov", "visitor_value",
        "value_mean", "value_sd", "value_low", "value_high", "evidence",
    ]  # fmt: skip


def test_from_and_to_cut_plain_figures_only(cli, market: Path) -> None:
    days = cli("value", "--by", "day", "--format", "json", workspace=market).json
    first, last = days[3]["day"], days[7]["day"]
    part = cli("value", "--from", first, "--to", last, "--format", "json").json
    whole = cli("value", "--format", "json").json
    assert sum(row["visitors"] for row in part) == sum(row["visitors"] for row in days[3:8])
    assert [row["value_mean"] for row in part] == [row["value_mean"] for row in whole]


def test_plans_are_versioned(cli, market: Path) -> None:
    one = cli("plan", "--format", "json", workspace=market).json
    two = cli("plan", "--inertia", "0.1", "--format", "json").json
    assert (one["version"], two["version"]) == (1, 2)
    assert cli("plan", "publish", "1").status == 0
    changes = cli("plan", "diff", "--format", "json").json
    assert changes
    moved = {line["provider_id"]: line["visits_tomorrow"] for line in two["providers"]}
    for line in one["providers"]:
        moved[line["provider_id"]] -= line["visits_tomorrow"]
    for change in changes:
        assert change["change"] == pytest.approx(moved[change["provider_id"]], abs=1e-9)
    assert cli("plan", "publish", "2").status == 0
    assert "plan 1" in cli("plan", "rollback").out
    states = {row["version"]: row["status"] for row in cli("plan", "list", "--format", "json").json}
    assert states == {1: "published", 2: "retired"}
    assert cli("plan", "show", "2", "--format", "json").json["providers"] == two["providers"]
    assert cli("plan", "publish", "9").status == 1
    # made to look back, a plan is not put in force by mistake
    earlier = cli("value", "--by", "day", "--format", "json").json[-3]["day"]
    assert cli("plan", "--as-of", earlier, "--format", "json").json["version"] == 3
    refused = cli("plan", "publish")
    assert refused.status == 1 and "footfall plan publish 3" in refused.err
    assert cli("plan", "publish", "3").status == 0


def test_a_plan_that_was_rolled_back_is_not_what_is_explained(cli, market: Path, tmp_path: Path) -> None:
    one = cli("plan", "--format", "json", workspace=market).json
    shop = one["providers"][0]["provider_id"]
    two = cli("plan", "--inertia", "0.05", "--format", "json").json
    first, second = one["version"], two["version"]
    page = tmp_path / "report.html"

    def told() -> tuple[int, str]:
        why = cli("explain", shop, "--format", "json").json
        made = {first: one, second: two}[why["version"]]
        assert why["visits_tomorrow"] == pytest.approx(made["providers"][0]["visits_tomorrow"], abs=1e-6)
        assert f"by plan {why['version']} ({why['status']}): " in cli("explain", shop).out
        assert cli("report", str(page)).status == 0
        assert f"Plan {why['version']} ({why['status']})" in page.read_text("utf-8")
        return why["version"], why["status"]

    assert told() == (second, "draft")
    cli("plan", "publish", str(first))
    assert told() == (second, "draft"), "what was planned last is what one asks about"
    cli("plan", "publish", str(second))
    assert told() == (second, "published")
    cli("plan", "rollback")
    assert told() == (first, "published")
    assert cli("explain", shop, "--version", str(second), "--format", "json").json["status"] == "retired"


def test_explanations_sum_to_the_change(cli, market: Path) -> None:
    plan = cli("plan", "--format", "json", workspace=market).json
    for line in plan["providers"]:
        why = cli("explain", line["provider_id"], "--format", "json").json
        change = line["visits_tomorrow"] - line["visits_today"]
        assert sum(part["visits"] for part in why["lines"]) == pytest.approx(change, abs=1e-6)
    near = cli("explain", "shop-01x")
    assert near.status != 0
    assert "shop-0" in near.err


def test_plan_pairs_sum_to_providers_and_demand(cli, market: Path) -> None:
    plan = cli("plan", "--format", "json", workspace=market).json
    for side in ("visits_today", "visits_tomorrow"):
        by_provider: dict[str, float] = {}
        for pair in plan["pairs"]:
            by_provider[pair["provider_id"]] = by_provider.get(pair["provider_id"], 0.0) + pair[side]
        for line in plan["providers"]:
            assert line[side] == pytest.approx(by_provider.get(line["provider_id"], 0.0), abs=1e-6)
    demand = sum(row["visits"] for row in plan["demand"]["segments"])
    planned = sum(line["visits_tomorrow"] for line in plan["providers"]) + sum(plan["unassigned"].values())
    assert planned == pytest.approx(demand, rel=1e-6)


def test_demand_that_history_does_not_know(cli, market: Path, tmp_path: Path) -> None:
    cli("demand", "--format", "csv", workspace=market)
    forecast = cli("demand", "--format", "json").json
    doubled = tmp_path / "demand.csv"
    doubled.write_text("segment,visits\n" + "".join(f"{r['segment']},{2 * r['visits']}\n" for r in forecast))
    plan = cli("plan", "--demand", doubled, "--format", "json")
    assert plan.status == 0
    assert sum(r["visits"] for r in plan.json["demand"]["segments"]) == pytest.approx(
        2 * sum(r["visits"] for r in forecast)
    )


def test_backup_and_restore_give_the_same_values(cli, market: Path, tmp_path: Path) -> None:
    before = cli("value", "--format", "json", workspace=market).json
    assert cli("backup", tmp_path / "all.tar.gz").status == 0
    assert cli("restore", tmp_path / "all.tar.gz", tmp_path / "again").status == 0
    assert cli("value", "--format", "json", "--workspace", tmp_path / "again").json == before
    assert cli("restore", tmp_path / "all.tar.gz", tmp_path / "again").status != 0


def test_forget_takes_a_person_out_of_the_figures(cli, market: Path, tmp_path: Path) -> None:
    cli("backup", tmp_path / "all.tar.gz", workspace=market)
    cli("restore", tmp_path / "all.tar.gz", tmp_path / "copy")
    copy = tmp_path / "copy"
    order = cli("rows", "--kind", "orders", "--limit", "1", "--format", "json", workspace=copy).json[0]
    visitor = order["visitor_id"]
    before = sum(row["orders"] for row in cli("value", "--format", "json").json)
    assert cli("forget", visitor, "--yes").status == 0
    assert sum(row["orders"] for row in cli("value", "--format", "json").json) < before
    left = cli("rows", "--kind", "visits", "--limit", "0", "--format", "json").json
    assert visitor not in {row["visitor_id"] for row in left}


def test_importing_twice_adds_nothing(cli, market: Path) -> None:
    done = cli("import", market.parent / "log.ndjson.gz", workspace=market)
    assert done.status == 0
    assert " 0 added" in done.out


def test_config_shows_what_is_in_force(cli, market: Path) -> None:
    settings = {row["setting"]: row["value"] for row in cli("config", "--format", "json", workspace=market).json}
    assert settings["workspace.currency"] == "CNY"
    assert settings["value.segment"] == ["channel", "category"]
    assert cli("config", "--schema").json["$ref"]


@pytest.mark.parametrize("command", [("import", "--list"), ("check",), ("config",)])
def test_tables_are_csv_and_parquet_as_well(
    command: tuple[str, ...], market: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    def answer(form: str) -> bytes:
        assert main([*command, "--format", form, "--workspace", str(market)]) == 0
        return capsysbinary.readouterr().out

    wanted = json.loads(answer("json"))
    wanted = wanted["findings"] if command == ("check",) else wanted
    assert wanted
    written = list(csv.DictReader(io.StringIO(answer("csv").decode(), newline="")))
    for rows in (written, pq.read_table(io.BytesIO(answer("parquet"))).to_pylist()):
        assert [list(row) for row in rows] == [list(row) for row in wanted]
        assert [next(iter(row.values())) for row in rows] == [next(iter(row.values())) for row in wanted]


def test_an_import_that_lists_nothing_is_no_table(cli, market: Path) -> None:
    refused = cli("import", market.parent / "log.ndjson.gz", "--format", "csv", workspace=market)
    assert refused.status == 2
    assert "--list" in refused.err


def test_simulated_formats_are_the_same_log(cli, tmp_path: Path) -> None:
    for name in ("log.csv", "log.parquet", "log.ndjson"):
        cli("simulate", tmp_path / name, "--shops", "4", "--days", "3", "--visitors", "300", "--seed", "2")
        cli("init", tmp_path / name.replace(".", "-"), "--currency", "CNY")
        assert "0 kept aside" in cli("import", tmp_path / name, "--workspace", tmp_path / name.replace(".", "-")).out
    values = [
        cli("value", "--format", "json", "--workspace", tmp_path / name).json
        for name in ("log-csv", "log-parquet", "log-ndjson")
    ]
    assert values[0] == values[1] == values[2]


def test_a_wrong_file_can_be_taken_out(cli, tmp_path: Path) -> None:
    """Lines of invoices, and then their sums under another name. The order of one line is the same event in both files:
    the log has it once, and it goes with the file that brought it."""
    shop, header = str(tmp_path / "shop"), "ts,visitor_id,provider_id,order_id,amount\n"
    (tmp_path / "lines.csv").write_text(header + "2024-05-01,a,p,o1,10\n2024-05-01,a,p,o1,20\n2024-05-02,b,p,o2,5\n")
    (tmp_path / "baskets.csv").write_text(header + "2024-05-01,a,p,o1,30\n2024-05-02,b,p,o2,5\n")
    cli("init", shop, "--currency", "EUR")

    def gmv() -> float:
        (row,) = cli("value", "--format", "json", workspace=shop).json
        return float(row["gmv"])

    cli("import", str(tmp_path / "lines.csv"), "--event", "purchase", workspace=shop)
    assert gmv() == 35
    said = cli("import", str(tmp_path / "baskets.csv"), "--event", "purchase", "--replace", workspace=shop)
    assert "Nothing was there to be taken out" in said.out
    assert gmv() == 35 + 30
    brought = cli("import", "--list", "--format", "json", workspace=shop).json
    assert sorted((b["source"], b["events"]) for b in brought) == [("baskets.csv", 1), ("lines.csv", 3)]
    said = cli("import", "--remove", "lines.csv", workspace=shop)
    assert "Took out 3 events" in said.out and "import that file again" in said.out
    assert gmv() == 30
    assert "1 added, 1 known already" in cli("import", str(tmp_path / "baskets.csv"), "--event", "purchase").out
    assert gmv() == 35
