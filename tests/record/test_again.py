"""A file that comes again: in the same way, in another way, in place of what it brought, and with its rows mended."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from importing import Workspace

from footfall.errors import FormatError, InputError
from footfall.record import history
from footfall.record.mending import write_rejects

VISITS = "ts,session,shop,other\n" + "".join(f"2024-05-0{1 + i % 3},s{i},shop-{i % 2},x{i}\n" for i in range(9))
RIGHT = {"visitor_id": "session", "provider_id": "shop"}
WRONG = {"visitor_id": "session", "provider_id": "other"}
OTHERS = {"visitor_id": "tession", "provider_id": "thop"}


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def providers(ws: Workspace) -> set[str]:
    return {str(r["provider_id"]) for r in ws.rows()}


# ---------------------------------------------------------------- another way


def test_another_way_is_refused_and_says_what_differs(ws: Workspace) -> None:
    path = ws.write("visits.csv", VISITS)
    ws.load(path, event="page_view", mapping=WRONG)
    with pytest.raises(InputError) as caught:
        ws.load(path, event="page_view", mapping=RIGHT)
    assert "imported before" in caught.value.message
    assert "then --map provider_id=other; now --map provider_id=shop" in caught.value.message
    assert "2024-06-01" in caught.value.message
    assert "--replace" in caught.value.way_out
    assert len(ws.rows()) == 9
    assert ws.load(path, event="page_view", mapping=WRONG).duplicates == 9


@pytest.mark.parametrize("name", ["renamed.csv", "visits.csv"])
def test_replace_takes_out_what_the_content_brought(ws: Workspace, name: str) -> None:
    ws.text("visits.csv", VISITS, event="page_view", mapping=WRONG)
    ws.text("b.csv", VISITS.replace(",s", ",t"), event="page_view", mapping=OTHERS)
    done = ws.text(name, VISITS, event="page_view", mapping=RIGHT, replace=True)
    assert (done.added, done.replaced, done.duplicates) == (9, 9, 0)
    assert len(ws.rows()) == 18
    assert providers(ws) == {"shop-0", "shop-1", "thop-0", "thop-1"}
    again = ws.text("visits.csv", VISITS, event="page_view", mapping=RIGHT)
    assert (again.added, again.duplicates) == (0, 9)
    with pytest.raises(InputError, match="imported before"):
        ws.text("visits.csv", VISITS, event="page_view", mapping=WRONG)


def test_replace_by_a_mended_file_of_the_same_name(ws: Workspace) -> None:
    ws.text("visits.csv", VISITS, event="page_view", mapping=RIGHT)
    done = ws.text("visits.csv", VISITS.replace("shop-1", "shop-7"), event="page_view", mapping=RIGHT, replace=True)
    assert (done.added, done.replaced) == (9, 9)
    assert providers(ws) == {"shop-0", "shop-7"}
    assert ws.text("new.csv", VISITS + "2024-05-09,s,a,b\n", event="click", mapping=RIGHT, replace=True).replaced == 0


def test_replace_moves_days_and_keeps_those_of_others(ws: Workspace) -> None:
    early = "ts,name,visitor_id,provider_id\n2024-05-01T23:30:00,page_view,a,p\n"
    ws.text("a.csv", early)
    ws.text("b.csv", early.replace(",a,", ",b,"))
    done = ws.text("a.csv", early, time_zone="America/New_York", replace=True)
    assert (done.added, done.replaced) == (1, 1)
    assert [(r["visitor_id"], r["day"].day) for r in ws.rows(order="visitor_id")] == [("a", 2), ("b", 1)]


def test_replace_that_would_add_nothing_replaces_nothing(ws: Workspace) -> None:
    ws.text("visits.csv", VISITS, event="page_view", mapping=RIGHT)
    before = ws.lake.version()
    with pytest.raises(InputError, match="nothing was replaced"):
        ws.text("visits.csv", VISITS, event="page_view", mapping={**RIGHT, "ts": "other"}, replace=True)
    assert ws.lake.version() == before
    assert ws.kept_aside() == []


def test_a_named_source_sets_two_readings_apart(ws: Workspace) -> None:
    content = "ts,ordered_at,visitor_id,provider_id,amount\n2024-05-01,2024-05-02,v,p,5\n"
    ws.text("wide.csv", content, event="page_view")
    orders = {"event": "purchase", "mapping": {"ts": "ordered_at"}, "source": "orders"}
    assert ws.text("wide.csv", content, **orders).added == 1
    with pytest.raises(InputError, match="--event purchase; now --event refund"):
        ws.text("wide.csv", content, **{**orders, "event": "refund"})
    assert ws.text("wide.csv", content, **{**orders, "event": "refund"}, replace=True).replaced == 1
    assert [r["name"] for r in ws.rows()] == ["page_view", "refund"]


def test_frames_are_compared_and_replaced_too(ws: Workspace) -> None:
    table = pa.table({"ts": ["2024-05-01"], "v": ["v"], "a": ["p"], "b": ["q"]})
    ws.frame(table, event="page_view", mapping={"visitor_id": "v", "provider_id": "a"})
    right = {"visitor_id": "v", "provider_id": "b"}
    with pytest.raises(InputError, match="replace=True"):
        ws.frame(table, event="page_view", mapping=right)
    assert ws.frame(table, event="page_view", mapping=right, replace=True).replaced == 1
    assert providers(ws) == {"q"}


def test_fingerprints_tell_large_files_apart(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(9 << 20))
    found = {history.fingerprint(path)}
    for place in (0, 1 << 20, (9 << 20) - 1):
        with path.open("r+b") as handle:
            handle.seek(place)
            handle.write(b"x")
        found.add(history.fingerprint(path))
    path.write_bytes(bytes((9 << 20) + 1))
    found.add(history.fingerprint(path))
    assert len(found) == 5


# ---------------------------------------------------------------- columns that are wholly absent


@pytest.mark.parametrize(
    ("header", "options", "words"),
    [
        ("ts,name,provider_id", {}, "no column for visitor_id or user_id (columns: ts, name, provider_id)"),
        ("ts,visitor_id,x", {"event": "page_view"}, "provider_id, which page_view needs"),
        ("ts,visitor_id,provider_id", {"event": "purchase"}, "amount, which purchase needs"),
        ("ts,name,visitor_id", {}, "provider_id, which all its events need"),
    ],
)
def test_a_needed_column_that_is_wholly_absent_is_an_error(
    ws: Workspace, header: str, options: dict[str, str], words: str
) -> None:
    cells = ",".join({"ts": "2024-05-01", "name": "page_view"}.get(c, c) for c in header.split(","))
    with pytest.raises(FormatError) as caught:
        ws.text("a.csv", f"{header}\n{cells}\n{cells}\n", **options)
    assert words in caught.value.message
    assert "--map" in caught.value.way_out
    assert ws.kept_aside() == []


def test_columns_that_not_every_event_needs_may_be_absent(ws: Workspace) -> None:
    assert ws.text("a.csv", "ts,name,user_id\n2024-05-01,sign_up,u\n2024-05-01,page_view,u\n").added == 1
    assert ws.text("b.csv", "ts,name,order_id,amount\n2024-05-01,refund,o,1\n").added == 1
    late = '{"ts":"2024-05-01","name":"alias","n":1}\n' * 5000 + '{"ts":"2024-05-01","name":"login","user_id":"x"}\n'
    assert ws.text("c.ndjson", late).added == 1


# ---------------------------------------------------------------- rows kept aside


BAD = """ts,name,visitor_id,provider_id,note
2024-05-01,page_view,v1,p,中文
soon,page_view,v2,p,a
late,page_view,v3,p,b
"""


def out(ws: Workspace, name: str) -> Path:
    (path,) = write_rejects(ws.quarantine, ws.folder / name)
    return path


def test_mended_rows_leave_the_quarantine(ws: Workspace) -> None:
    ws.text("a.csv", BAD)
    path = out(ws, "bad.csv")
    path.write_text(path.read_text("utf-8-sig").replace("soon", "2024-05-02"))
    done = ws.load(str(path))
    assert (done.added, done.rejected) == (1, 1)
    (left,) = ws.kept_aside()
    assert (Path(left.file).name, left.line, left.raw) == ("a.csv", 4, "late,page_view,v3,p,b")
    again = ws.text("a.csv", BAD)
    assert (again.added, again.rejected) == (0, 2)
    assert len(ws.kept_aside()) == 1, "what was mended does not come back with its file"
    path.write_text(path.read_text().replace("late", "2024-05-03"))
    assert ws.load(str(path)).added == 1
    assert ws.kept_aside() == []
    assert len(ws.rows()) == 3


def test_what_was_mended_stays_mended_however_often_its_file_comes(ws: Workspace) -> None:
    ws.text("a.csv", BAD)
    path = out(ws, "bad.csv")
    path.write_text(path.read_text("utf-8-sig").replace("soon", "2024-05-02").replace("late", "2024-05-03"))
    assert ws.load(str(path)).added == 2
    for _ in range(3):
        again = ws.text("a.csv", BAD)
        assert (again.added, again.rejected, sum(again.mended.values())) == (0, 2, 2)
        assert ws.kept_aside() == []


def test_ends_of_lines_within_a_cell_are_mended_with_their_row(ws: Workspace) -> None:
    row = {"ts": "soon", "name": "page_view", "visitor_id": "v", "provider_id": "p", "note": "a\rb\nc\r\nd"}
    ws.text("a.ndjson", json.dumps(row) + "\n")
    path = out(ws, "bad.csv")
    path.write_bytes(path.read_bytes().replace(b"soon", b"2024-05-02"))
    assert ws.load(str(path)).added == 1
    assert json.loads(ws.rows("properties")[0]["properties"]) == {"note": row["note"]}


def test_mending_goes_round_more_than_once(ws: Workspace) -> None:
    ws.text("a.csv", BAD)
    for step, (wrong, right) in enumerate([("soon", "sooner"), ("sooner", "2024-05-02"), ("late", "2024-05-03")]):
        path = out(ws, f"bad{step}.csv")
        assert path.read_text("utf-8-sig").splitlines()[0].count("_reject_id") == 1
        path.write_text(path.read_text("utf-8-sig").replace(wrong, right), encoding="utf-8-sig")
        ws.load(str(path))
        assert len(ws.kept_aside()) == 2 - max(step, 0)
    assert len(ws.rows()) == 3


def test_a_file_mended_in_place_takes_its_old_rejects_along(ws: Workspace) -> None:
    ws.text("a.csv", BAD)
    assert ws.text("a.csv", BAD.replace("soon", "2024-05-02")).added == 1
    assert [r.raw for r in ws.kept_aside()] == ["late,page_view,v3,p,b"]
    ws.text("a.csv", "ts,name,visitor_id,provider_id\nsoon,page_view,v9,p\n2024-05-09,page_view,v9,p\n")
    assert len(ws.kept_aside()) == 2, "another day's file of the same name takes nothing along"


def test_replaced_files_take_their_rejects_along(ws: Workspace) -> None:
    ws.text("a.csv", BAD)
    assert len(ws.kept_aside()) == 2
    done = ws.text("a.csv", BAD, mapping={"item_id": "note"}, replace=True)
    assert (done.replaced, done.rejected) == (1, 2)
    assert len(ws.kept_aside()) == 2
    done = ws.text("a.csv", BAD, fixed={"ts": "2024-05-01"}, replace=True)
    assert (done.added, done.replaced) == (3, 1)
    assert ws.kept_aside() == []


def test_a_file_of_which_nothing_came_in_is_listed_once(ws: Workspace) -> None:
    text = "ts,name,visitor_id,provider_id\nsoon,page_view,v,p\n"
    ws.text("a.csv", text)
    ws.text("renamed.csv", text)
    assert [Path(r.file).name for r in ws.kept_aside()] == ["renamed.csv"]
    assert ws.text("a.csv", text, fixed={"ts": "2024-05-01"}).added == 1
    assert ws.kept_aside() == []


LATIN = "ts,name,visitor_id,provider_id\n2024-05-01,page_view,v1,café\n2024-05-02,page_view,v2,bar\n".encode("latin-1")


@pytest.mark.parametrize("name", ["bad.csv", "bad.tsv", "bad.ndjson", "bad.parquet"])
def test_bytes_that_are_no_text_stay_out_until_somebody_writes_the_letter(ws: Workspace, name: str) -> None:
    """The letter is é, E9 in ISO 8859-1; which one it is, only whoever mends the row can tell."""
    ws.text("latin.csv", LATIN)
    path = out(ws, "bad.csv" if name == "bad.parquet" else name)
    text = path.read_text("utf-8-sig")
    shown = "caf\\\\xe9" if name == "bad.ndjson" else "caf\\xe9"
    assert shown in text
    if name == "bad.parquet":
        rows = list(csv.DictReader(io.StringIO(text)))
        pq.write_table(pa.Table.from_pylist(rows), path := ws.folder / name)
    for _ in range(2):
        done = ws.load(str(path))
        assert (done.added, done.rejected) == (0, 1)
        (left,) = ws.kept_aside()
        assert (Path(left.file).name, left.line, left.field) == ("latin.csv", 2, "row")
        assert "UTF-8" in left.reason
    assert providers(ws) == {"bar"}
    again = out(ws, "again.csv")
    again.write_text(again.read_text("utf-8-sig").replace("caf\\xe9", "café"), encoding="utf-8-sig")
    assert ws.load(str(again)).added == 1
    assert providers(ws) == {"bar", "café"}
    assert ws.kept_aside() == []
    assert ws.load(str(path)).added == 0, "what was written out once is no better for having been mended since"
    assert providers(ws) == {"bar", "café"}


def test_what_looks_like_such_a_byte_is_text_elsewhere(ws: Workspace) -> None:
    ws.text("a.csv", BAD.replace("v2,p", "v2,caf\\xe9"))
    path = out(ws, "bad.csv")
    path.write_text(path.read_text("utf-8-sig").replace("soon", "2024-05-02"))
    assert ws.load(str(path)).added == 1
    assert "caf\\xe9" in providers(ws)


# ---------------------------------------------------------------- formats of what is to be mended

OBJECTS = [
    {"ts": "soon", "name": "page_view", "visitor_id": "v1", "provider_id": "店", "deep": {"a": [1]}, "n": 1.50},
    {"ts": "late", "name": "purchase", "visitor_id": "v2", "provider_id": "p", "amount": 5},
    {"ts": "2024-05-01", "name": "page_view", "visitor_id": "v3", "provider_id": "p"},
]


@pytest.mark.parametrize("kind", ["ndjson", "parquet"])
def test_csv_for_spreadsheets_whatever_came(ws: Workspace, kind: str) -> None:
    if kind == "ndjson":
        ws.text("a.ndjson", "".join(json.dumps(o, separators=(",", ":")) + "\n" for o in OBJECTS) + "broken,\n")
    else:
        pq.write_table(pa.Table.from_pylist([{"amount": None, **o} for o in OBJECTS]), ws.folder / "a.parquet")
        ws.load(str(ws.folder / "a.parquet"))
    path = out(ws, "bad.csv")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf_reject_id,")
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))
    assert [r["provider_id"] for r in rows[:2]] == ["店", "p"]
    assert rows[0]["deep"] == '{"a":[1]}'
    assert [r["_reject_raw"] for r in rows] == ["", ""] + (["broken,"] if kind == "ndjson" else [])
    mended = path.read_text("utf-8-sig").replace("soon", "2024-05-02").replace("late", "2024-05-03")
    path.write_text(mended, encoding="utf-8-sig")
    assert ws.load(str(path)).added == 2
    assert len(ws.kept_aside()) == len(rows) - 2
    assert [r["amount_minor"] for r in ws.rows() if r["name"] == "purchase"] == [500]


def test_ndjson_whatever_came(ws: Workspace) -> None:
    ws.text("a.csv", BAD)
    path = out(ws, "bad.ndjson")
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert (first["ts"], first["note"], first["_reject_line"], first["_reject_field"]) == ("soon", "a", 3, "ts")
    path.write_text(path.read_text("utf-8").replace("soon", "2024-05-02"))
    assert ws.load(str(path)).added == 1
    assert len(ws.kept_aside()) == 1


def test_another_name_keeps_the_format_that_came(ws: Workspace) -> None:
    ws.text("a.csv", BAD.replace(",", ";"))
    path = out(ws, "bad.txt")
    assert path.read_text("utf-8-sig").startswith("_reject_id;")
    path.write_text(path.read_text("utf-8-sig").replace("soon", "2024-05-02").replace("late", "2024-05-02"))
    assert ws.load(str(path)).added == 2
    assert ws.kept_aside() == []


@pytest.mark.parametrize("name", ["bad.parquet", "bad.xlsx", "bad.csv.gz"])
def test_a_name_of_another_format_is_refused(ws: Workspace, name: str) -> None:
    ws.text("a.csv", BAD)
    with pytest.raises(InputError, match="as text") as told:
        write_rejects(ws.quarantine, ws.folder / name)
    assert ".ndjson" in told.value.way_out
    assert not (ws.folder / name).exists()
    assert [p.name for p in write_rejects(ws.quarantine, ws.folder / "bad")] == ["bad"]
