"""Damage and odd sources: a message with a way out, and never a loss."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GOOD = "ts,name,visitor_id,provider_id\n" + "".join(
    f"2026-11-{10 + i % 9}T08:00:{i % 60:02d}Z,page_view,v{i},shop-a\n" for i in range(60)
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(GOOD, encoding="utf-8")
    return tmp_path / "log.csv"


def test_a_lost_index_is_no_empty_log(cli, shop: Path, log: Path) -> None:
    """The files of a log whose index is gone are left alone by every writer."""
    cli("import", log, workspace=shop)
    cli("import", log)
    files = sorted(p.name for p in (shop / "lake").rglob("*.parquet") if "_delta_log" not in p.parts)
    for path in (shop / "lake" / "events" / "_delta_log").iterdir():
        path.unlink()
    for command in (("import", log), ("backup", shop.parent / "b.tar.gz"), ("value",), ("forget", "v1", "--yes")):
        done = cli(*command)
        assert done.status == 1, command
        assert "index" in done.err, done.err
    left = sorted(p.name for p in (shop / "lake").rglob("*.parquet") if "_delta_log" not in p.parts)
    assert files == left


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage"])
def test_a_damaged_file_of_the_log_is_said(cli, shop: Path, log: Path, damage: str) -> None:
    cli("import", log, workspace=shop)
    path = max(
        (p for p in (shop / "lake").rglob("*.parquet") if "_delta_log" not in p.parts), key=lambda p: p.stat().st_size
    )
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "garbage": os.urandom(len(whole))}[damage])
    for command in (("value",), ("rows", "--kind", "visits"), ("check",)):
        done = cli(*command)
        assert done.status == 1, command
        assert "restore" in done.err or "free" in done.err or "check" in done.err, done.err


def test_damaged_quarantine_is_said(cli, shop: Path, log: Path) -> None:
    log.write_text(GOOD + "soon,page_view,v,shop-a\n", encoding="utf-8")
    cli("import", log, workspace=shop)
    for path in (shop / "quarantine").glob("*.parquet"):
        path.write_bytes(b"PAR1 no more")
    assert cli("import", "--rejects", shop.parent / "bad.csv").status == 1


def test_pipes_are_read_once(shop: Path, log: Path) -> None:
    command = f"cat {log} | {sys.executable} -m footfall.app.main import /dev/stdin -w {shop}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert "60 added" in done.stdout, done.stderr
    command = f"{sys.executable} -m footfall.app.main import <(gzip -c {log}) -w {shop}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert "0 added, 60 known already" in done.stdout, done.stderr


def test_ids_that_a_data_frame_made_floats(cli, shop: Path, tmp_path: Path) -> None:
    table = pa.table(
        {
            "ts": ["2026-11-20T08:00:00Z", "2026-11-20T08:00:01Z"],
            "name": ["page_view", "page_view"],
            "visitor_id": [17850.0, float("nan")],
            "provider_id": ["shop-a", "shop-a"],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    done = cli("import", tmp_path / "log.parquet", workspace=shop)
    assert "1 added, 0 known already, 1 kept aside" in done.out, done.out + done.err
    assert cli("rows", "--kind", "visits", "--format", "json").json[0]["visitor_id"] == "17850"


@pytest.mark.parametrize(
    "line", ['{"":1,"ts":"2026-11-20T08:00:00Z","name":"page_view","visitor_id":"v","provider_id":"a"}', "[" * 4000]
)
def test_odd_lines_of_json(cli, shop: Path, tmp_path: Path, line: str) -> None:
    good = '{"ts":"2026-11-20T08:00:00Z","name":"page_view","visitor_id":"w","provider_id":"a"}'
    (tmp_path / "log.ndjson").write_text(f"{good}\n{line}\n", encoding="utf-8")
    done = cli("import", tmp_path / "log.ndjson", workspace=shop)
    assert "Read 2 rows" in done.out, done.err
    assert int(done.out.split("rows: ")[1].split(" added")[0]) >= 1


def test_reserved_columns_are_refused(cli, shop: Path, tmp_path: Path) -> None:
    text = GOOD.replace("provider_id\n", "provider_id,_footfall_line\n", 1).replace("shop-a\n", "shop-a,1\n")
    (tmp_path / "log.csv").write_text(text + "soon,page_view,v,shop-a,1\n", encoding="utf-8")
    done = cli("import", tmp_path / "log.csv", workspace=shop)
    assert done.status == 1
    assert "_footfall_line" in done.err


def test_currency_and_zone_stay(cli, shop: Path, log: Path) -> None:
    cli("import", log, workspace=shop)
    settings = (shop / "footfall.toml").read_text(encoding="utf-8")
    for old, new in (('"USD"', '"JPY"'), ('timezone = "UTC"', 'timezone = "Asia/Taipei"')):
        (shop / "footfall.toml").write_text(settings.replace(old, new), encoding="utf-8")
        done = cli("value")
        assert done.status == 2
        assert "taken in with" in done.err
    (shop / "footfall.toml").write_text(settings, encoding="utf-8")
    assert cli("value").status == 0
