"""Tables that go out and come in: CSV that a spreadsheet does not run, and that is read back as it was."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import footfall
from footfall.app import recording
from footfall.app.output import to_csv, to_json, write
from footfall.app.tables import read_numbers, read_pairs
from footfall.errors import FormatError

ODD = [
    "shop",
    "@anna",
    "=1+1",
    "+x",
    "-x",
    "-5",
    "'@anna",
    "''@anna",
    "'quoted",
    "a\u2028b",
    "a,b",
    'a"b',
    "a\nb",
    "a\rb",
    "a\r\nb",
    "\r",
]


def test_what_is_written_as_csv_is_read_back_as_it_was(tmp_path: Path) -> None:
    text = to_csv([{"provider_id": name, "visits": 5} for name in ODD], ("provider_id", "visits"))
    path = tmp_path / "capacity.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert list(read_numbers(path, "provider_id")) == ODD


def test_what_is_written_as_csv_is_imported_as_it_was(tmp_path: Path) -> None:
    odd = [name for name in ODD if to_csv([{"x": name}], ("x",)).count("'") == name.count("'")]  # no formulas
    events = [{"ts": "2026-01-05", "name": "page_view", "visitor_id": "v", "provider_id": "p", "x": x} for x in odd]
    path = tmp_path / "events.csv"
    path.write_text(to_csv(events, tuple(events[0])), encoding="utf-8", newline="")
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == events
    here = footfall.make_workspace(tmp_path / "shop")
    recording.import_files(here, (str(path),))
    with here.engine() as engine:
        here.store.attach(engine)
        found = engine.query("SELECT properties FROM events").to_pylist()
    assert sorted(json.loads(row["properties"])["x"] for row in found) == sorted(odd)


@pytest.mark.parametrize("rows", [[], [{"name": name} for name in ODD], [{"a": [1, None], "b": {}}]])
def test_json_is_written_row_by_row_as_it_is_at_once(rows: list[dict[str, object]], capsys) -> None:
    write(rows, "json", ())
    out = capsys.readouterr().out
    assert out == to_json(rows) + "\n"
    assert json.loads(out) == rows


@pytest.mark.parametrize("name", ["@anna", "=1+1", "+x", "-x", "\t=1"])
def test_no_cell_begins_as_a_formula_does(name: str) -> None:
    """The beginnings that OWASP lists under CSV injection."""
    (_, (cell,)) = csv.reader(io.StringIO(to_csv([{"x": name}], ("x",)), newline=""))
    assert cell[0] not in "=+-@\t\r"


def test_spaces_after_a_comma_are_passed_over_and_quoted_ones_kept(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text('segment, provider_id\nads, shop-1\nads," sp "\n', encoding="utf-8")
    assert read_pairs(path) == (("ads", "shop-1"), ("ads", " sp "))


def test_a_decimal_comma_is_told(tmp_path: Path) -> None:
    (tmp_path / "capacity.csv").write_text("provider_id;visits\nshop;2,5\n", encoding="utf-8")
    with pytest.raises(FormatError) as found:
        read_numbers(tmp_path / "capacity.csv", "provider_id")
    assert "'2,5'" in found.value.message and "decimals after a point: 2.5" in found.value.way_out
