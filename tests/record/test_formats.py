"""Every kind of file that people have, and every way in which it can be broken: words, never a traceback."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from importing import Workspace

from footfall.errors import FormatError, InputError

CSV = (
    "ts,name,visitor_id,provider_id,colour\n"
    "2024-05-01T10:00:00Z,page_view,v1,p1,red\n"
    "2024-05-02 11:30,view_item,v2,p2,\n"
)
NDJSON = (
    '{"ts":"2024-05-01T10:00:00Z","name":"page_view","visitor_id":"v1","provider_id":"p1","colour":"red"}\n'
    '{"ts":"2024-05-02 11:30","name":"view_item","visitor_id":"v2","provider_id":"p2"}\n'
)
TABLE = pa.table(
    {
        "ts": [datetime(2024, 5, 1, 10), datetime(2024, 5, 2, 11, 30)],
        "name": ["page_view", "view_item"],
        "visitor_id": ["v1", "v2"],
        "provider_id": ["p1", "p2"],
        "colour": ["red", None],
    }
)


def damaged() -> bytes:
    """A Parquet file whose footer is whole and whose first page is not."""
    out = io.BytesIO()
    pq.write_table(pa.concat_tables([TABLE] * 500), out)
    whole = out.getvalue()
    return whole[:40] + b"\0" * 200 + whole[240:]


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(TABLE, out)
    return out.getvalue()


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


FILES: dict[str, bytes] = {
    "a.csv": CSV.encode(),
    "bom.csv": b"\xef\xbb\xbf" + CSV.encode(),
    "crlf.csv": CSV.replace("\n", "\r\n").encode(),
    "no_last_newline.csv": CSV.rstrip("\n").encode(),
    "blank_lines.csv": CSV.replace("\n", "\n\n").encode(),
    "spaces.csv": CSV.replace(
        "ts,name,visitor_id,provider_id,colour", " ts, name ,visitor_id ,provider_id,\tcolour"
    ).encode(),
    "quoted.csv": CSV.replace("v1", '"v1"').encode(),
    "a.tsv": CSV.replace(",", "\t").encode(),
    "semicolon.csv": CSV.replace(",", ";").encode(),
    "bar.txt": CSV.replace(",", "|").encode(),
    "utf16.csv": CSV.encode("utf-16"),
    "utf16be.csv": b"\xfe\xff" + CSV.encode("utf-16-be"),
    "utf16_no_bom.csv": CSV.encode("utf-16-le"),
    "a.csv.gz": gzip.compress(CSV.encode(), mtime=0),
    "gzip_by_content.csv": gzip.compress(CSV.encode(), mtime=0),
    "a.ndjson": NDJSON.encode(),
    "bom.ndjson": b"\xef\xbb\xbf" + NDJSON.encode(),
    "crlf.jsonl": NDJSON.replace("\n", "\r\n").encode(),
    "blank_lines.ndjson": ("\n  \n" + NDJSON.replace("\n", "\n\n")).encode(),
    "utf16.ndjson": NDJSON.encode("utf-16"),
    "a.ndjson.gz": gzip.compress(NDJSON.encode(), mtime=0),
    "a.parquet": parquet(),
    "parquet_by_content.dat": parquet(),
    "a.parquet.gz": gzip.compress(parquet(), mtime=0),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_events_from_every_format(ws: Workspace, name: str) -> None:
    summary = ws.text(name, FILES[name])
    assert (summary.read, summary.added, summary.rejected) == (2, 2, 0)
    assert ws.rows("ts, name, visitor_id, provider_id, properties") == [
        {
            "ts": datetime(2024, 5, 1, 10),
            "name": "page_view",
            "visitor_id": "v1",
            "provider_id": "p1",
            "properties": '{"colour":"red"}',
        },
        {
            "ts": datetime(2024, 5, 2, 11, 30),
            "name": "view_item",
            "visitor_id": "v2",
            "provider_id": "p2",
            "properties": None,
        },
    ]
    again = ws.text(name, FILES[name])
    assert (again.added, again.duplicates) == (0, 2)


def test_the_same_rows_have_the_same_ids_in_every_format(ws: Workspace) -> None:
    """So a log exported once as CSV and once as NDJSON is not counted twice."""
    added = [ws.text(name, FILES[name]).added for name in ("a.csv", "a.ndjson", "a.parquet", "quoted.csv")]
    assert added == [2, 0, 0, 0]


def test_standard_input(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FILES["a.csv.gz"])))
    assert ws.load("-").added == 2


def test_several_files_add_up(ws: Workspace) -> None:
    more = CSV.replace("v1", "v8").replace("v2", "v9")
    summary = ws.load(ws.write("a.csv", CSV), ws.write("b.csv", more), ws.write("c.csv", CSV))
    assert (summary.read, summary.added, summary.duplicates) == (6, 4, 2)
    assert len(summary.files) == 3
    assert len(summary.batch_ids) == 2


def zipped(content: bytes) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("log.csv", content)
    return into.getvalue()


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson"])
@pytest.mark.parametrize("end", ["gz", "zst"])
def test_what_is_named_as_packed_and_is_not_is_read(ws: Workspace, name: str, end: str) -> None:
    assert ws.text(f"{name}.{end}", FILES[name]).added == 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "empty"),
        ("empty.csv.gz", gzip.compress(b"", mtime=0), "empty once unzipped"),
        ("blank.csv", b"\n\n  \n", "blank"),
        ("header.csv", b"ts,name,visitor_id\n", "nothing to import"),
        ("one_column.csv", CSV.replace(",", "^").encode(), "comma, tab, semicolon, bar"),
        ("twice.csv", b"ts,name,ts\n1,2,3\n", "duplicate column names: ts"),
        ("case.csv", b"ts,name,Ts\n1,2,3\n", "differ only in case"),
        ("cut.csv.gz", gzip.compress(CSV.encode() * 50, mtime=0)[:-30], "cut off"),
        ("broken.csv.gz", b"\x1f\x8b" + b"nonsense" * 20, "broken or cut off"),
        ("cut.parquet", parquet()[:-20], "no whole Parquet file"),
        ("inside.parquet", damaged(), "inside.parquet is damaged"),
        ("named.parquet", b"not parquet at all", "no whole Parquet file"),
        ("array.json", b'[{"ts":1},{"ts":2}]', "JSON array"),
        ("scalars.ndjson", b"1\n2\n", "no line holds a JSON object"),
        ("no_time.csv", b"name,visitor_id\npage_view,v\n", "no column for ts"),
        ("no_name.csv", b"ts,visitor_id\n2024-05-01,v\n", "no column for name"),
        ("both.csv", b"ts,name,amount,amount_minor\n2024-05-01,purchase,1,100\n", "both amount"),
        ("book.xlsx", zipped(CSV.encode()), "zip archive or a workbook"),
        ("log.csv.xz", lzma.compress(CSV.encode()), "packed by xz"),
        ("log.csv.bz2", bz2.compress(CSV.encode()), "packed by bzip2"),
        ("log.csv.zst", pa.compress(CSV.encode(), "zstd", asbytes=True), "packed by zstd"),
        ("binary.csv", b"\x00\x01\x02,\x03\n", "NUL"),
    ],
)
def test_files_that_cannot_be_used_say_why(ws: Workspace, name: str, content: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        ws.text(name, content)
    assert ws.lake.version() == -1
    assert [p for p in ws.lake.directory.iterdir() if not p.name.startswith("_")] == []
    assert not any(ws.quarantine.iterdir())


def test_absent_files_and_folders(ws: Workspace) -> None:
    with pytest.raises(FormatError, match="no such file"):
        ws.load(str(ws.folder / "absent.csv"))
    with pytest.raises(FormatError, match="folder"):
        ws.load(str(ws.folder))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mapping": {"shop": "provider_id"}}, "no field 'shop'"),
        ({"mapping": {"provider": "provider_id"}}, "did you mean 'provider_id'"),
        ({"mapping": {"order_id": "bestellung"}}, "no column 'bestellung'"),
        ({"fixed": {"x": "1"}}, "no field 'x'"),
        ({"event": "purchas"}, "did you mean purchase"),
        ({"event": "zzz"}, "unknown event 'zzz'.*page_view"),
        ({"event": "purchase", "mapping": {"name": "name"}}, "both given"),
        ({"fixed": {"channel": "ads"}, "mapping": {"channel": "colour"}}, "both mapped and fixed"),
        ({"delimiter": ";"}, "only one column"),
        ({"delimiter": "ab"}, "not one character"),
        ({"decimal": "dot"}, "point or comma"),
        ({"time_zone": "Asia/Taipeh"}, "unknown time zone"),
    ],
)
def test_options_that_do_not_fit_say_why(ws: Workspace, options: dict[str, object], words: str) -> None:
    with pytest.raises((InputError, Exception), match=f"(?s){words}") as caught:
        ws.text("a.csv", CSV, **options)
    assert type(caught.value).__module__ == "footfall.errors"
    assert ws.lake.version() == -1


def test_lines_are_physical_lines_and_good_rows_go_on(ws: Workspace) -> None:
    content = (
        b"ts,name,visitor_id,provider_id,note\n"  # 1
        b'2024-05-01,page_view,v1,p1,"two\nlines"\n'  # 2, 3
        b"\n"  # 4
        b"2024-05-01,page_view,v2,p1\n"  # 5: too few
        b"2024-05-01,page_view,v3,p1,a,b\n"  # 6: too many
        b"2024-05-01,page_view,v4,p1,ok\n"  # 7
        b'2024-05-01,page_view,v5,p1,"never closed\n'  # 8
        b"2024-05-01,page_view,v6,p1,ok\n"  # 9
        b"2024-05-01,page_view,v7\x00,p1,ok\n"  # 10: NUL
        b"soon,page_view,v8,p1,ok\n"  # 11
    ) + b"2024-05-01,page_view,caf\xe9,p1,ok\n"  # 12: latin-1
    summary = ws.text("mixed.csv", content)
    assert [(r.line, r.field) for r in ws.kept_aside()] == [
        (5, "row"),
        (6, "row"),
        (8, "row"),
        (10, "row"),
        (11, "ts"),
        (12, "row"),
    ]
    reasons = {r.line: r.reason for r in ws.kept_aside()}
    assert "4; the header has 5" in reasons[5]
    assert "6; the header has 5" in reasons[6]
    assert "quote" in reasons[8]
    assert "NUL" in reasons[10]
    assert "UTF-8" in reasons[12]
    assert ws.kept_aside()[4].raw == "soon,page_view,v8,p1,ok"
    assert (summary.read, summary.added) == (9, 3)
    assert [r["visitor_id"] for r in ws.rows(order="visitor_id")] == ["v1", "v4", "v6"]


def test_bad_json_lines_are_kept_aside_with_their_lines(ws: Workspace) -> None:
    good = '{"ts":"2024-05-01","name":"page_view","visitor_id":"v","provider_id":"p"}'
    content = f'{good}\n\n{{"ts":\n[1,2]\n"text"\n{good[:-1]}\n{good} {good}\n'.encode() + b'{"ts":"caf\xe9"}\n'
    summary = ws.text("bad.ndjson", content)
    assert [(r.line, r.reason) for r in ws.kept_aside()] == [
        (3, "not valid JSON"),
        (4, "not a JSON object"),
        (5, "not a JSON object"),
        (6, "not valid JSON"),
        (7, "not valid JSON"),
        (8, "not valid UTF-8; save the file as UTF-8"),
    ]
    assert summary.added == 1


def test_parquet_rejects_name_the_row(ws: Workspace) -> None:
    table = TABLE.set_column(1, "name", [["page_view", "nonsense"]])
    pq.write_table(table, ws.folder / "t.parquet")
    summary = ws.load(str(ws.folder / "t.parquet"))
    (reject,) = ws.kept_aside()
    assert (summary.added, reject.line, reject.field) == (1, 2, "name")
    assert '"visitor_id":"v2"' in reject.raw


def test_long_lines(ws: Workspace) -> None:
    long = "x" * 16_800_000  # more than what is read at once, 16 MiB
    row = f'{{"ts":"2024-05-01","name":"page_view","visitor_id":"v","provider_id":"p","note":"{long}"}}\n'
    assert ws.text("long.ndjson", row).added == 1
    assert ws.text("long.csv", f"ts,name,visitor_id,provider_id,note\n2024-05-01,page_view,w,p,{long}\n").added == 1


def test_keys_that_come_late_are_kept(ws: Workspace) -> None:
    """DuckDB's own detection looks at the first 20 480 lines only and would leave the key out."""
    row = '{{"ts":"2024-05-01","name":"page_view","visitor_id":"v{}","provider_id":"p"{}}}\n'
    text = "".join(row.format(i, "") for i in range(25_000)) + row.format("late", ',"order_id":"o1","late":1')
    assert ws.text("late.ndjson", text).added == 25_001
    ws.lake.attach(ws.engine)
    found = ws.engine.query("SELECT order_id, properties FROM events WHERE visitor_id = 'vlate'").to_pylist()
    assert found == [{"order_id": "o1", "properties": '{"late":1}'}]


def test_progress_reaches_the_end(ws: Workspace) -> None:
    seen: list[tuple[int, int]] = []
    ws.text("a.csv", CSV, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CSV), len(CSV))
