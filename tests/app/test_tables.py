"""Tables that go out and come in: CSV that a spreadsheet does not run, and that is read back as it was."""

from __future__ import annotations

import csv
import io
import json
import sys
import tracemalloc
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import footfall
from footfall.app import output, recording
from footfall.app.output import read_back, to_csv, to_json, write
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
    " a",
    "  ",
    " =1",
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


MIXED = [
    {"id": "a", "whole": 1, "money": None, "day": None, "list": (), "none": None},
    {"id": "b", "whole": 2, "money": None, "day": date(2026, 1, 5), "list": ("x", "y"), "none": None},
    {"id": "c", "whole": 2.5, "money": Decimal("1.25"), "day": None, "list": (), "none": None},
    {"id": None, "whole": None, "money": Decimal("12345678901234567.50"), "day": None, "list": None, "none": None},
    {"id": "e", "whole": 3, "money": Decimal("0.5"), "day": None, "list": ("z",), "none": None},
]


@pytest.mark.parametrize("at_a_time", [1, 2, 100])
def test_parquet_that_is_made_in_parts_is_that_of_all_rows(
    at_a_time: int, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A column that is whole, empty or of few digits in one part and not in another has the type of them all."""
    monkeypatch.setattr(output, "_ROWS_AT_A_TIME", at_a_time)
    write(MIXED, "parquet", tuple(MIXED[0]))
    found = parquet.read_table(io.BytesIO(capsysbinary.readouterr().out)).to_pylist()
    assert found == [{key: list(x) if isinstance(x, tuple) else x for key, x in row.items()} for row in MIXED]
    write([], "parquet", ("id", "day"))
    empty = parquet.read_table(io.BytesIO(capsysbinary.readouterr().out))
    assert (empty.num_rows, empty.column_names) == (0, ["id", "day"])


class Numbers(Sequence[dict[str, float]]):
    """100,000 rows of five numbers, each made when it is asked for."""

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        return {name: at + part for part, name in zip((0.1, 0.2, 0.3, 0.4, 0.5), "abcde", strict=True)}


def test_parquet_keeps_few_rows_as_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A float of Python is 24 bytes and 8 in its list: half a million of them are 16 MB."""
    path = tmp_path / "table.parquet"
    with path.open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        write(Numbers()[:1], "parquet", "abcde")  # what it needs is imported
        out.truncate(0)
        out.seek(0)
        tracemalloc.start()
        write(Numbers(), "parquet", "abcde")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8e6
    assert parquet.read_table(path).num_rows == len(Numbers())


@pytest.mark.parametrize("name", ["@anna", "=1+1", "+x", "-x", "\t=1"])
def test_no_cell_begins_as_a_formula_does(name: str) -> None:
    """The beginnings that OWASP lists under CSV injection."""
    (_, (cell,)) = csv.reader(io.StringIO(to_csv([{"x": name}], ("x",)), newline=""))
    assert cell[0] not in "=+-@\t\r"


@pytest.mark.parametrize("items", [["=cmd()", "b"], ["b", "=cmd()"], ("@x",), ["-1+2"]])
def test_no_item_of_a_list_begins_as_a_formula_does(items: list[str]) -> None:
    """Nor behind a semicolon, which parts cells where a comma is the decimal point. Numbers are what they are."""
    (_, (cell,)) = csv.reader(io.StringIO(to_csv([{"x": items}], ("x",)), newline=""))
    assert all(part[0] not in "=+-@\t\r" for part in cell.split(";"))
    assert [part.removeprefix("'") for part in cell.split(";")] == list(items)
    assert to_csv([{"x": [-1, 2.5, "-3"]}], ("x",)) == "x\n-1;2.5;-3\n"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.text("'=@+-\t\r\n,;\"a1 .\u00e9\u2028", max_size=6), min_size=3, max_size=3), max_size=4))
def test_cells_of_any_text_are_what_a_reader_of_csv_finds(table: list[list[str]]) -> None:
    """Expected: Python's csv module, whether it passes over blanks after a comma or not."""
    text = to_csv([dict(zip("abc", row, strict=True)) for row in table], ("a", "b", "c"))
    for blanks in (False, True):
        found = csv.reader(io.StringIO(text, newline=""), skipinitialspace=blanks)
        assert [[read_back(cell) for cell in row] for row in found] == [["a", "b", "c"], *table]
    one = to_csv([{"a": row[0]} for row in table], ("a",))
    assert [[read_back(cell) for cell in row] for row in csv.reader(io.StringIO(one, newline=""))] == [
        ["a"],
        *([row[0]] for row in table),
    ]


def test_spaces_after_a_comma_are_passed_over_and_quoted_ones_kept(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text('segment, provider_id\nads, shop-1\nads," sp "\n', encoding="utf-8")
    assert read_pairs(path) == (("ads", "shop-1"), ("ads", " sp "))


def test_a_decimal_comma_is_told(tmp_path: Path) -> None:
    (tmp_path / "capacity.csv").write_text("provider_id;visits\nshop;2,5\n", encoding="utf-8")
    with pytest.raises(FormatError) as found:
        read_numbers(tmp_path / "capacity.csv", "provider_id")
    assert "'2,5'" in found.value.message and "decimals after a point: 2.5" in found.value.way_out
