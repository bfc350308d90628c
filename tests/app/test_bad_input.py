"""Bad input on the command line: each ends in a clear message or a correct result, never in a traceback."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HEADER = "ts,name,visitor_id,provider_id,amount,currency"
GOOD = "2026-11-20T08:00:00Z,page_view,v1,shop-a,,"


def log(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def many(provider: str, visits: int, orders: int, day: str = "2026-11-20", amount: str = "10.00") -> list[str]:
    rows = [f"{day}T08:{i % 60:02d}:{i // 60:02d}Z,page_view,{provider}-{day}-{i},{provider},," for i in range(visits)]
    rows += [f"{day}T12:00:{i % 60:02d}Z,purchase,{provider}-{day}-{i},{provider},{amount}," for i in range(orders)]
    return rows


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files that cannot be used as a whole."""
    made = {name: tmp_path / name for name in ("empty.csv", "utf7.csv", "broken.csv.gz", "cut.parquet", "no.csv")}
    made["empty.csv"].write_bytes(b"")
    made["header.csv"] = log(tmp_path / "header.csv")
    made["delimiter.csv"] = tmp_path / "delimiter.csv"
    made["delimiter.csv"].write_text(f"{HEADER}\n{GOOD}\n".replace(",", "^"), encoding="utf-8")
    packed = gzip.compress(f"{HEADER}\n{GOOD}\n".encode() * 500)
    made["broken.csv.gz"].write_bytes(packed[: len(packed) // 2])
    pq.write_table(pa.table({"ts": ["2026-11-20T08:00:00Z"] * 1000}), made["cut.parquet"])
    made["cut.parquet"].write_bytes(made["cut.parquet"].read_bytes()[:-40])
    made["folder"] = tmp_path / "folder"
    made["folder"].mkdir()
    del made["utf7.csv"]
    return made


@pytest.mark.parametrize(
    "name", ["empty.csv", "header.csv", "delimiter.csv", "broken.csv.gz", "cut.parquet", "folder", "no.csv"]
)
def test_files_that_cannot_be_used(cli, shop: Path, files: dict[str, Path], name: str) -> None:
    done = cli("import", files[name], workspace=shop)
    assert done.status != 0
    assert done.err.startswith("error: ")
    assert name in done.err, "the message names the file"
    assert len(done.err.splitlines()) >= 2, "and the way out"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_with_a_mark_are_read(cli, shop: Path, tmp_path: Path, encoding: str) -> None:
    text = f"{HEADER}\n" + "\n".join(many("店-乙", 3, 1)) + "\n"
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    (tmp_path / "log.csv").write_bytes((mark + text).encode(encoding))
    assert "4 added" in cli("import", tmp_path / "log.csv", workspace=shop).out
    assert cli("value", "--format", "json").json[0]["provider_id"] == "店-乙"


def test_options_that_are_not_there(cli, shop: Path, tmp_path: Path) -> None:
    good = log(tmp_path / "log.csv", GOOD)
    for arguments in (
        ("import", good, "--no-such-option"),
        ("import", good, "--map", "provider_id=nowhere"),
        ("import", good, "--map", "no_such_field=ts"),
        ("import", good, "--map", "provider_id"),
        ("import", good, "--event", "no_such_event"),
        ("value", "--by", "galaxy"),
        ("value", "--as-of", "yesterday"),
        ("no-such-command",),
    ):
        done = cli(*arguments, workspace=shop)
        assert done.status in (1, 2), arguments
        assert done.err.startswith("error: "), arguments


@pytest.mark.parametrize(
    "text", ["[plan]\ninertia_x = 1\n", "[galaxy]\n", "[plan]\ninertia = -1\n", "[plan\n", 'x = "\xe9"']
)
def test_settings_that_are_not_there(cli, shop: Path, text: str) -> None:
    (shop / "footfall.toml").write_text(text, encoding="utf-8")
    done = cli("value", workspace=shop)
    assert done.status == 2
    assert "footfall.toml" in done.err


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2026-11-20T08:00:00Z,purchase,v,shop-a,NaN,", "amount"),
        ("2026-11-20T08:00:00Z,purchase,v,shop-a,1e400,", "amount"),
        ("2026-11-20T08:00:00Z,purchase,v,shop-a,-5,", "amount"),
        ("2026-11-20T08:00:00Z,purchase,v,shop-a,,", "amount"),
        ("2026-11-20T08:00:00Z,purchase,v,shop-a,10,EUR", "EUR"),
        ("0000-11-20T08:00:00Z,page_view,v,shop-a,,", "ts"),
        ("9999-11-20T08:00:00Z,page_view,v,shop-a,,", "ts"),
        ("soon,page_view,v,shop-a,,", "ts"),
        ("2026-11-20T08:00:00Z,page_vew,v,shop-a,,", "page_view"),
        ("2026-11-20T08:00:00Z,page_view,,shop-a,,", "visitor_id"),
        ("2026-11-20T08:00:00Z,page_view,v,,,", "provider_id"),
    ],
)
def test_bad_rows_are_kept_aside_and_the_good_go_on(cli, shop: Path, tmp_path: Path, row: str, reason: str) -> None:
    done = cli("import", log(tmp_path / "log.csv", GOOD, row, GOOD.replace("v1", "v2")), workspace=shop)
    assert done.status == 0
    assert "Read 3 rows: 2 added, 0 known already, 1 kept aside" in done.out
    assert cli("import", "--rejects", tmp_path / "bad.csv").status == 0
    bad = (tmp_path / "bad.csv").read_text(encoding="utf-8")
    assert reason in bad
    assert "log.csv" in bad
    assert ",3," in bad, "the line of the bad row"


def test_mended_rows_can_be_imported_after(cli, shop: Path, tmp_path: Path) -> None:
    cli("import", log(tmp_path / "log.csv", GOOD, "2026-11-20T08:00:00Z,purchase,v1,shop-a,1O.00,"), workspace=shop)
    cli("import", "--rejects", tmp_path / "bad.csv")
    mended = (tmp_path / "bad.csv").read_text(encoding="utf-8").replace("1O.00", "10.00")
    (tmp_path / "bad.csv").write_text(mended, encoding="utf-8")
    assert "Read 1 rows: 1 added" in cli("import", tmp_path / "bad.csv").out
    assert cli("value", "--format", "json").json[0]["gmv"] == 10


def test_nothing_usable_is_an_error(cli, shop: Path, tmp_path: Path) -> None:
    done = cli("import", log(tmp_path / "log.csv", "soon,page_view,v,shop-a,,"), workspace=shop)
    assert done.status == 1
    assert "none of 1 rows" in done.err


def test_no_purchases_one_provider_one_day(cli, shop: Path, tmp_path: Path) -> None:
    cli("import", log(tmp_path / "log.csv", *many("only", 30, 0)), workspace=shop)
    (row,) = cli("value", "--format", "json").json
    assert (row["visitors"], row["orders"], row["visitor_value"]) == (30, 0, 0)
    assert 0 <= row["value_low"] <= row["value_mean"] <= row["value_high"]
    assert "purchase" in cli("check").out
    plan = cli("plan", "--format", "json")
    assert plan.status == 0
    assert plan.json["providers"][0]["visits_tomorrow"] <= 30 * 1.3 + 1e-6
    assert cli("explain", "only").status == 0
    assert cli("report").status == 0


def test_empty_log(cli, shop: Path) -> None:
    for command in (("value",), ("plan",), ("demand",), ("report",), ("explain", "x")):
        done = cli(*command, workspace=shop)
        assert done.status == 1, command
        assert done.err.startswith("error: "), command


def two_days(tmp_path: Path) -> Path:
    rows = [row for day in ("2026-11-19", "2026-11-20") for shop in ("a", "b", "c") for row in many(shop, 50, 3, day)]
    return log(tmp_path / "log.csv", *rows)


def test_a_log_of_refunds_only(cli, shop: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("ts,name,visitor_id,provider_id,amount\n2026-03-01,refund,v,p,10\n")
    assert cli("import", log, workspace=shop).status == 0
    for command in ("value", "demand", "plan"):
        failed = cli(command)
        assert failed.status == 1 and "no visit" in failed.err


def test_a_log_that_lies_in_the_future(cli, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.csv"
    log.write_text("ts,name,visitor_id,provider_id\n2026-03-09,visit,v,p\n")
    assert cli("import", log, workspace=shop).status == 0
    monkeypatch.setenv("FOOTFALL_NOW", "2026-03-01T12:00:00Z")
    failed = cli("value")
    assert failed.status == 1 and "lies in the future" in failed.err


@pytest.mark.parametrize("command", ["plan", "demand"])
def test_plans_from_days_that_the_log_says_little_of(cli, shop: Path, tmp_path: Path, command: str) -> None:
    log = tmp_path / "log.csv"
    log.write_text("ts,name,visitor_id,provider_id\n2026-03-01,visit,v,p\n")
    assert cli("import", log, workspace=shop).status == 0
    assert cli(command, "--as-of", "9999-12-31").status == 1
    told = cli(command, "--as-of", "2026-04-10")  # 40 days on: no pair is eligible, by eligible_days of 28
    assert told.status == 0
    if command == "plan":
        assert "no provider had one in the last 28 days" in told.out and "outside the log" in told.out


def test_a_path_that_delta_reads_as_another_is_refused(cli, tmp_path: Path) -> None:
    for name in ("my%20shop", "back\\slash", "new\nline"):
        failed = cli("init", tmp_path / name)
        assert failed.status == 1 and "Delta Lake" in failed.err
    for name in ("100%", "%zz", "a b", "店 #1?"):
        assert cli("init", tmp_path / name).status == 0


def test_all_providers_at_capacity_0(cli, shop: Path, tmp_path: Path) -> None:
    cli("import", two_days(tmp_path), workspace=shop)
    capacity = tmp_path / "capacity.csv"
    capacity.write_text("provider_id,visits\na,0\nb,0\nc,0\n", encoding="utf-8")
    plan = cli("plan", "--capacity", capacity, "--format", "json")
    assert plan.status == 0
    assert all(line["visits_tomorrow"] == 0 for line in plan.json["providers"])
    assert sum(plan.json["unassigned"].values()) > 0
    assert plan.json["notes"]


def test_floors_above_demand_are_proved_to_conflict(cli, shop: Path, tmp_path: Path) -> None:
    cli("import", two_days(tmp_path), workspace=shop)
    rules = tmp_path / "rules.toml"
    rules.write_text("".join(f'[[floor]]\nprovider = "{p}"\nvisits = 60\n' for p in "abc"), encoding="utf-8")
    done = cli("plan", "--rules", rules, "--format", "json")
    assert done.status == 3
    assert done.json["status"] == "infeasible"
    demand = sum(row["visits"] for row in cli("demand", "--format", "json").json)
    assert done.json["excess_visits"] == pytest.approx(180 - demand, rel=1e-6)
    assert sum(line["give"] for line in done.json["limits"]) >= 180 - demand - 1e-6
    assert not cli("plan", "list", "--format", "json").json


@pytest.mark.parametrize(
    "text",
    ["", "provider_id,visits\n", "shop,visits\na,1\n", "provider_id,visits\na,-1\n", "provider_id,visits\na,nan\n",
     "provider_id,visits\nzebra,1\n", "provider_id,visits\na,1\na,2\n", "provider_id,visits,colour\na,1,red\n"],
)  # fmt: skip
def test_capacity_files_that_are_wrong(cli, shop: Path, tmp_path: Path, text: str) -> None:
    cli("import", two_days(tmp_path), workspace=shop)
    capacity = tmp_path / "capacity.csv"
    capacity.write_text(text, encoding="utf-8")
    done = cli("plan", "--capacity", capacity)
    assert done.status in (1, 2)
    assert "capacity" in done.err


def test_two_imports_at_once(shop: Path, tmp_path: Path, cli) -> None:
    path = two_days(tmp_path)
    command = [sys.executable, "-m", "footfall.app.main", "import", str(path), "--workspace", str(shop)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
    rows = cli("value", "--format", "json", workspace=shop).json
    assert [row["visitors"] for row in rows] == [100, 100, 100]
    assert [row["orders"] for row in rows] == [6, 6, 6]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="a full disk needs root to make one")
def test_full_disk(tmp_path: Path, cli) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        assert cli("init", disk / "shop").status == 0
        rows = [row for i in range(200) for row in many(f"provider-{os.urandom(8).hex()}-{i}", 50, 3)]
        done = cli("import", log(tmp_path / "log.csv", *rows), workspace=disk / "shop")
        assert done.status == 1
        assert "space" in done.err
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        assert f"{200 * 53:,} added" in cli("import", tmp_path / "log.csv").out
    finally:
        subprocess.run(["umount", disk], check=False)


def test_read_only_workspace(tmp_path: Path, shop: Path, cli) -> None:
    cli("import", two_days(tmp_path), workspace=shop)
    if os.geteuid() == 0:
        if subprocess.run(["mount", "--bind", shop, shop], check=False, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        subprocess.run(["mount", "-o", "remount,ro,bind", shop], check=True)
        undo = ["umount", str(shop)]
    else:
        undo = ["chmod", "-R", "u+w", str(shop)]
        subprocess.run(["chmod", "-R", "u-w", str(shop)], check=True)
    try:
        done = cli("import", two_days(tmp_path))
        assert done.status == 1
        assert done.err.startswith("error: ")
    finally:
        subprocess.run(undo, check=False)


def test_rows_that_were_mended_are_not_called_kept_aside(cli, shop: Path, tmp_path: Path) -> None:
    log, bad = tmp_path / "log.csv", tmp_path / "bad.csv"
    log.write_text(
        "ts,name,visitor_id,provider_id\n2026-11-01,page_view,v1,p\nsoon,page_view,v2,p\nlate,page_view,v3,p\n"
    )
    assert "1 added, 0 known already, 2 kept aside" in cli("import", log, workspace=shop).out
    cli("import", "--rejects", bad)
    bad.write_text(bad.read_text("utf-8-sig").replace("soon", "2026-11-02"), encoding="utf-8-sig")
    assert cli("import", bad).status == 0
    half = cli("import", log)
    assert half.status == 0
    assert "0 added, 1 known already, 1 kept aside, 1 wrong in the file but mended already" in half.out
    assert "--rejects" in half.out and re.search(r" 1  ts: not a time", half.out)
    cli("import", "--rejects", bad)
    bad.write_text(bad.read_text("utf-8-sig").replace("late", "2026-11-03"), encoding="utf-8-sig")
    cli("import", bad)
    again = cli("import", log)
    assert again.status == 0
    assert "0 added, 1 known already, 0 kept aside, 2 wrong in the file but mended already" in again.out
    assert "--rejects" not in again.out and "not a time" not in again.out
    (told,) = cli("import", log, "--format", "json").json
    assert told["rejected"] == 2 and sum(told["mended"].values()) == 2
    log.write_text("ts,name,visitor_id,provider_id\nsooner,page_view,v9,p\n")
    assert cli("import", log).status == 1
    cli("import", "--rejects", bad)
    bad.write_text(bad.read_text("utf-8-sig").replace("sooner", "2026-11-04"), encoding="utf-8-sig")
    cli("import", bad)
    assert cli("import", log).status == 0, "nothing of it is left to be mended"
