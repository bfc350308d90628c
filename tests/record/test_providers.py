"""Providers files: each format gives the same rows; what cannot be used is refused with its place."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_lake import small_engine

from footfall.errors import FormatError, InputError
from footfall.record.providers import Providers, read_providers
from footfall.stores.engine import DuckEngine

ROWS = (
    {"provider_id": "s1", "category": "椅子", "name": 'Ann, "the best"'},
    {"provider_id": "17", "name": "Bob\nand sons"},
    {"provider_id": "s3"},
)
CSV = 'provider_id,category,name\ns1,椅子,"Ann, ""the best"""\n17,,"Bob\nand sons"\n s3 ,,\n'
NDJSON = (
    '{"provider_id":"s1","category":"椅子","name":"Ann, \\"the best\\""}\n\n'
    '{"provider_id":17,"name":"Bob\\nand sons","category":null}\n{"provider_id":"s3"}\n'
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckEngine]:
    engine = small_engine(tmp_path)
    yield engine
    engine.close()


def read(tmp_path: Path, engine: DuckEngine, content: str | bytes, name: str = "p.csv") -> Providers:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_providers(engine, path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", CSV.encode()),
        ("p.csv", b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").replace("Bob\r\n", "Bob\n").encode()),
        ("p.tsv", CSV.replace("Ann, ", "Ann# ").replace(",", "\t").replace("#", ",").encode()),
        ("p.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("p.csv", CSV.encode("utf-16")),
        ("p.ndjson", NDJSON.encode()),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, engine: DuckEngine, name: str, content: bytes) -> None:
    assert read(tmp_path, engine, content, name) == Providers(ROWS, ())


def test_parquet(tmp_path: Path, engine: DuckEngine) -> None:
    pq.write_table(pa.Table.from_pylist(list(ROWS)), tmp_path / "p.parquet")
    assert read_providers(engine, tmp_path / "p.parquet") == Providers(ROWS, ())
    pq.write_table(pa.table({"provider_id": [7, 8]}), tmp_path / "n.parquet")
    assert [r["provider_id"] for r in read_providers(engine, tmp_path / "n.parquet").rows] == ["7", "8"]


def test_the_last_of_several_rows_wins_and_that_is_said(tmp_path: Path, engine: DuckEngine) -> None:
    found = read(tmp_path, engine, "provider_id,category\na,x\nb,x\na,y\n")
    assert found.rows == ({"provider_id": "b", "category": "x"}, {"provider_id": "a", "category": "y"})
    assert found.notes == ("a stands 2 times (lines 2, 4); the last row counts",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("provider_id,category\na,x\n,y\n", r"p\.csv, line 3: provider_id is empty"),
        ('provider_id,name\na,"two\nlines"\n  ,y\n', r"line 4: provider_id is empty"),
        ("provider_id,colour\na,x\n", r"unknown column 'colour'"),
        ("shop,category\na,x\n", r"no column provider_id"),
        ("provider_id,category\na,x,y\n", r"line 2: 3 fields instead of 2"),
        ('provider_id,category\na,"x\n', r"line \d+"),
        ("provider_id,category\n", r"no rows"),
        ("", r"empty"),
        ('{"provider_id":"a"}\n{"provider_id":""}\n', r"line 2: provider_id is empty"),
        ('{"provider_id":"a","colour":1}\n', r"line 1: unknown column 'colour'"),
        ('{"provider_id":1.5}\n', r"line 1: provider_id is 1\.5"),
        ('{"provider_id":true}\n', r"provider_id is True"),
        ('{"provider_id":"a"}\n[1]\n', r"line 2: no JSON object"),
        ('{"provider_id":"a"}\n{"provider_id"\n', r"line 2: no JSON"),
        (b"provider_id,category\na,x\nb,\xff\xfe\n", r"UTF-8"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, engine: DuckEngine, content: str | bytes, says: str
) -> None:
    with pytest.raises((FormatError, InputError), match=says):
        read(tmp_path, engine, content)


def test_a_file_that_is_not_there(tmp_path: Path, engine: DuckEngine) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_providers(engine, tmp_path / "absent.csv")


def test_a_map_names_columns_and_leaves_others_out(tmp_path: Path, engine: DuckEngine) -> None:
    """Columns of another name, and those of a file that was made for something else."""
    (tmp_path / "items.csv").write_text("provider_id,item_id,genre,weight\nx,7,Drama,1\ny,8,,2\n")
    found = read_providers(engine, tmp_path / "items.csv", {"provider_id": "item_id", "category": "genre"})
    assert found.rows == ({"provider_id": "7", "category": "Drama"}, {"provider_id": "8"})
    assert found.notes == ("columns that are no field of a provider and were left out: provider_id, weight",)
    (tmp_path / "items.ndjson").write_text('{"item_id":7,"genre":"Drama"}\n{"item_id":8}\n')
    mapped = {"provider_id": "item_id", "category": "genre"}
    assert read_providers(engine, tmp_path / "items.ndjson", mapped).rows == found.rows


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"provider_id": "id"}, "no column 'id' (mapped to provider_id)"),
        ({"shop": "item_id"}, "there is no field 'shop' of a provider"),
        ({"provider_id": "item_id", "name": "item_id"}, "one column is mapped to two fields"),
        ({"category": "item_id"}, "there is no column provider_id"),
        ({}, "there is no column provider_id"),
    ],
)
def test_maps_that_do_not_fit(tmp_path: Path, engine: DuckEngine, mapping: dict[str, str], words: str) -> None:
    (tmp_path / "items.csv").write_text("item_id,x\n7,1\n")
    with pytest.raises((FormatError, InputError)) as caught:
        read_providers(engine, tmp_path / "items.csv", mapping)
    assert words in caught.value.message
