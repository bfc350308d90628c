"""``footfall rows``: times of the workspace's zone, and a word where there is nothing to show."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from footfall.app.main import main

LOG = """ts,name,visitor_id,provider_id,channel,amount
2026-05-03T21:50:00Z,page_view,v1,Display,web,
2026-05-03T21:51:00Z,purchase,v1,Display,web,9
2026-05-03T22:10:00Z,page_view,v2,Direct,app,
"""


@pytest.fixture
def paris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop in Paris, two hours before UTC in May: two events late on 3 May, one early on 4 May."""
    (tmp_path / "log.csv").write_text(LOG, encoding="utf-8")
    shop = str(tmp_path / "shop")
    assert main(["init", shop, "--timezone", "Europe/Paris", "--segment", "channel"]) == 0
    monkeypatch.setenv("FOOTFALL_WORKSPACE", shop)
    assert main(["import", str(tmp_path / "log.csv")]) == 0
    return tmp_path / "shop"


@pytest.mark.usefixtures("paris")
def test_times_are_local_beside_local_days(cli) -> None:
    table = cli("rows", "--kind", "visits").out
    assert "2026-05-03 23:50" in table and "2026-05-04 00:10" in table
    of_csv = list(csv.DictReader(io.StringIO(cli("rows", "--kind", "visits", "--format", "csv").out)))
    for rows in (of_csv, cli("rows", "--kind", "visits", "--format", "json").json):
        assert [(row["ts"], row["visit_day"]) for row in rows] == [
            ("2026-05-03T23:50:00+02:00", "2026-05-03"),
            ("2026-05-04T00:10:00+02:00", "2026-05-04"),
        ]


@pytest.mark.usefixtures("paris")
def test_parquet_has_the_moment(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    capfdbinary.readouterr()
    assert main(["rows", "--format", "parquet"]) == 0
    kept = pq.read_table(io.BytesIO(capfdbinary.readouterr().out)).to_pylist()
    assert kept[0]["ts"].astimezone(UTC) == datetime(2026, 5, 3, 21, 51, tzinfo=UTC)


@pytest.mark.usefixtures("paris")
def test_what_is_not_there_is_told(cli) -> None:
    for wrong, near in ((("--provider", "Displai"), "did you mean Display?"), (("--segment", "wep"), "web")):
        found = cli("rows", *wrong)
        assert found.status != 0 and f"knows no {wrong[0][2:]} {wrong[1]!r}" in found.err and near in found.err
    found = cli("rows", "--from", "2026-05-04", "--to", "2026-05-03")
    assert found.status != 0 and "--from 2026-05-04 is after --to 2026-05-03" in found.err
    for more in (("--from", "2026-05-04"), ("--to", "2026-05-04")):
        found = cli("rows", "--day", "2026-05-03", *more)
        assert found.status != 0 and "--day" in found.err
    for format, out in (("table", ""), ("json", "[]\n")):
        found = cli("rows", "--provider", "Direct", "--day", "2026-05-03", "--format", format)
        assert (found.status, found.out) == (0, out) and "no orders" in found.err


@pytest.mark.usefixtures("paris")
def test_a_provider_of_the_list_without_visits_is_known(tmp_path: Path, cli) -> None:
    (tmp_path / "providers.csv").write_text("provider_id,category\nSocial,ads\n", encoding="utf-8")
    assert cli("providers", tmp_path / "providers.csv").status == 0
    assert cli("rows", "--provider", "Social").status == 0
