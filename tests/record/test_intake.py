"""What becomes of each row: typed, checked, de-duplicated, or kept aside with a reason. Expected values by hand."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from importing import Workspace

from footfall.errors import InputError, WorkspaceError
from footfall.record.mending import write_rejects
from footfall.record.names import EVENT_ALIASES, near_events
from footfall.record.quarantine import recover


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def lines(*rows: dict[str, object]) -> str:
    plain = {"ts": "2024-05-01T10:00:00Z", "name": "page_view", "visitor_id": "v", "provider_id": "p"}
    return "".join(json.dumps({k: v for k, v in {**plain, **row}.items() if v is not ...}) + "\n" for row in rows)


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10)),
        ("2017-05-01 07:19:37+08", datetime(2017, 4, 30, 23, 19, 37)),
        ("2024-05-01T10:00:00.123456+05:30", datetime(2024, 5, 1, 4, 30, 0, 123456)),
        ("2024-05-01 10:00:00 +0200", datetime(2024, 5, 1, 8)),
        ("2024-05-01 10:00", datetime(2024, 5, 1, 10)),
        ("2024/05/01 10:00:00", datetime(2024, 5, 1, 10)),
        ("2024-05-01", datetime(2024, 5, 1)),
        (1714557600, datetime(2024, 5, 1, 10)),
        ("1714557600", datetime(2024, 5, 1, 10)),
        (1714557600.25, datetime(2024, 5, 1, 10, 0, 0, 250000)),
        (1714557600123, datetime(2024, 5, 1, 10, 0, 0, 123000)),
        ("1714557600123456", datetime(2024, 5, 1, 10, 0, 0, 123456)),
    ],
)
def test_times(ws: Workspace, text: object, utc: datetime) -> None:
    assert ws.text("t.ndjson", lines({"ts": text})).added == 1
    assert ws.rows("ts, day") == [{"ts": utc, "day": utc.date()}]


BAD_TIMES = [
    ("0000-01-01", "before 1990-01-01"),
    ("1989-12-31T23:59:59Z", "before 1990-01-01"),
    ("9999-12-31", "in the future"),
    ("2025-06-03", "in the future"),
    ("infinity", "in the future"),
    ("2024-02-30", "not a time"),
    ("01/05/2024", "not a time"),
    ("soon", "not a time"),
    ("99999999999999999999", "not a time"),
    ("", "no time"),
    (None, "no time"),
]


def kept_aside(ws: Workspace, cases: list[tuple[dict[str, object], str, str]]) -> None:
    """Each case's row is kept aside at its line, with a reason about a field; a good row after them goes in."""
    name = f"{len(cases)}.ndjson"
    assert ws.text(name, lines(*(row for row, _, _ in cases), {"visitor_id": name})).added == 1
    found = {r.line: r for r in ws.kept_aside() if r.file.endswith(name)}
    assert sorted(found) == list(range(1, len(cases) + 1))
    for line, (row, field, reason) in enumerate(cases, 1):
        assert found[line].field == field, row
        assert reason in found[line].reason, row
        assert json.loads(found[line].raw).get("ts") == row.get("ts", "2024-05-01T10:00:00Z")


def test_times_that_are_kept_aside(ws: Workspace) -> None:
    kept_aside(ws, [({"ts": text}, "ts", reason) for text, reason in BAD_TIMES])


@pytest.mark.parametrize("zone", ["Asia/Taipei", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_local_days_and_times_without_zone(tmp_path: Path, zone: str) -> None:
    """Expected days from the standard library's zoneinfo."""
    ws = Workspace(tmp_path, timezone=zone)
    moments = [datetime(2024, 3, 10, 4) + timedelta(minutes=37 * i) for i in range(60)]
    moments += [datetime(2023, 11, 5, 3) + timedelta(minutes=37 * i) for i in range(60)]
    rows = [{"ts": m.isoformat() + "Z", "visitor_id": str(i)} for i, m in enumerate(moments)]
    assert ws.text("t.ndjson", lines(*rows)).added == 120
    for row in ws.rows("ts, day"):
        utc = row["ts"].replace(tzinfo=ZoneInfo("UTC"))
        assert row["day"] == utc.astimezone(ZoneInfo(zone)).date()
    noon = datetime(2024, 5, 20, 12)
    ws.text("local.ndjson", lines({"ts": "2024-05-20 12:00", "visitor_id": "local"}))
    ws.text("other.ndjson", lines({"ts": "2024-05-20 12:00", "visitor_id": "other"}), time_zone="Europe/Paris")
    stored = {r["visitor_id"]: r["ts"] for r in ws.rows("visitor_id, ts")}
    for visitor, name in (("local", zone), ("other", "Europe/Paris")):
        aware = noon.replace(tzinfo=ZoneInfo(name)).astimezone(ZoneInfo("UTC"))
        assert stored[visitor] == aware.replace(tzinfo=None)


# ---------------------------------------------------------------- money


@pytest.mark.parametrize(
    ("currency", "decimal", "amount", "minor"),
    [
        ("USD", "point", 19.99, 1999),
        ("USD", "point", "19.99", 1999),
        ("USD", "point", 19.989999999999998, 1999),
        ("USD", "point", "1,234,567.50", 123456750),
        ("USD", "point", "90071992547.93", 9007199254793),
        ("EUR", "comma", "1.234,50", 123450),
        ("EUR", "comma", "12,5", 1250),
        ("JPY", "point", 1250, 1250),
        ("KWD", "point", "1.234", 1234),
        ("USD", "point", 0, 0),
    ],
)
def test_amounts(tmp_path: Path, currency: str, decimal: str, amount: object, minor: int) -> None:
    ws = Workspace(tmp_path, currency=currency)
    row = {"name": "purchase", "amount": amount, "currency": currency.lower()}
    assert ws.text("a.ndjson", lines(row), decimal=decimal).reasons == {}
    assert ws.rows("amount_minor") == [{"amount_minor": minor}]


BAD_AMOUNTS: list[tuple[dict[str, object], str, str]] = [
    ({"amount": 19.985}, "amount", "more decimals than USD has"),
    ({"amount": "12,50"}, "amount", "--decimal comma"),
    ({"amount": "NaN"}, "amount", "not an amount"),
    ({"amount": "inf"}, "amount", "not an amount"),
    ({"amount": "$5"}, "amount", "not an amount"),
    ({"amount": "1_000"}, "amount", "not an amount"),
    ({"amount": "1e400"}, "amount", "not an amount"),
    ({"amount": 1e13}, "amount", "max_amount"),
    ({"amount": -5}, "amount", "event=refund"),
    ({}, "amount", "needs an amount"),
    ({"amount": 5, "currency": "EUR"}, "currency", "currency EUR; the workspace holds USD"),
    ({"amount_minor": "5.5"}, "amount_minor", "whole number"),
    ({"amount_minor": -5}, "amount", "event=refund"),
    ({"amount_minor": 2**63}, "amount_minor", "whole number"),
]


def test_amounts_that_are_kept_aside(ws: Workspace) -> None:
    cases = [({"name": "purchase", **row}, field, reason) for row, field, reason in BAD_AMOUNTS]
    kept_aside(ws, [case for case in cases if "amount_minor" not in case[0]])
    kept_aside(ws, [case for case in cases if "amount_minor" in case[0]])


def test_json_numbers_that_are_no_numbers(ws: Workspace) -> None:
    row = '{"ts":"2024-05-01","name":"purchase","visitor_id":"v","provider_id":"p","amount":%s}\n'
    ws.text("a.ndjson", "".join(row % x for x in ("1e400", "NaN", "-Infinity", "1")))
    assert [r.field for r in ws.kept_aside()] == ["amount"] * 3


def test_refunds_are_stored_without_their_sign(ws: Workspace) -> None:
    rows = [
        {"name": "refund", "amount": a, "order_id": f"o{a}", "visitor_id": ..., "provider_id": ...} for a in (-5, 7)
    ]
    ws.text("a.ndjson", lines(*rows))
    assert ws.rows("order_id, amount_minor", "order_id") == [
        {"order_id": "o-5", "amount_minor": 500},
        {"order_id": "o7", "amount_minor": 700},
    ]


def test_money_columns_of_parquet(ws: Workspace) -> None:
    for kind, values in {
        "float": pa.array([0.1 + 0.2, 19.99]),
        "decimal": pa.array([Decimal("0.30"), Decimal("19.99")]),
    }.items():
        table = pa.table(
            {"ts": ["2024-05-01"] * 2, "visitor_id": [kind] * 2, "provider_id": ["p"] * 2, "amount": values}
        )
        assert ws.frame(table, event="purchase").added == 2
        assert [r["amount_minor"] for r in ws.rows("amount_minor, visitor_id") if r["visitor_id"] == kind] in (
            [30, 1999],
            [1999, 30],
        )


# ---------------------------------------------------------------- names and needs


def test_names_of_segment_and_of_other_case(ws: Workspace) -> None:
    names = ["Order Completed", "Product Viewed", "PAGE_VIEW", "Signed Up"]
    ws.text("a.ndjson", lines(*({"name": n, "amount": 1, "visitor_id": n} for n in names)))
    stored = {r["visitor_id"]: r["name"] for r in ws.rows()}
    assert stored == dict(zip(names, ["purchase", "view_item", "page_view", "sign_up"], strict=True))


def test_aliases_are_known_events_and_near_names_are_found() -> None:
    from footfall.model import EVENT_NAMES

    assert set(EVENT_ALIASES.values()) <= set(EVENT_NAMES)
    assert near_events("purchas")[0] == "purchase"
    assert near_events("item_view")[0] == near_events("Item View")[0] == "view_item"
    assert near_events("Order Complete")[0] == "purchase"


BAD_ROWS: list[tuple[dict[str, object], str, str]] = [
    ({"name": "purchas", "amount": 1}, "name", "unknown event 'purchas'; did you mean purchase?"),
    ({"name": ""}, "name", "no event name"),
    ({"visitor_id": ...}, "visitor_id", "neither visitor_id nor user_id"),
    ({"visitor_id": ""}, "visitor_id", "neither visitor_id nor user_id"),
    ({"provider_id": None}, "provider_id", "needs a provider_id"),
    ({"name": "refund", "visitor_id": ..., "amount": 1}, "order_id", "a refund needs"),
    ({"name": "alias", "previous_id": "x"}, "user_id", "alias"),
    ({"name": "alias", "user_id": "x"}, "previous_id", "alias"),
    ({"visitor_id": "a\x00b"}, "id", "control"),
    ({"item_id": "a\nb"}, "id", "control"),
    ({"visitor_id": "é" * 257}, "visitor_id", "512 bytes"),
    ({"propensity": 0}, "propensity", "probability"),
    ({"propensity": 1.5}, "propensity", "probability"),
    ({"propensity": "nan"}, "propensity", "probability"),
    ({"properties": "text"}, "properties", "JSON object"),
    ({"properties": [1]}, "properties", "JSON object"),
]


def test_rows_that_are_kept_aside(ws: Workspace) -> None:
    kept_aside(ws, BAD_ROWS)


def test_events_that_need_no_provider(ws: Workspace) -> None:
    rows = [{"name": n, "provider_id": ...} for n in ("sign_up", "login", "identify", "share", "add_to_cart")]
    rows += [{"name": "alias", "user_id": "a", "previous_id": "b", "provider_id": ...}]
    assert ws.text("a.ndjson", lines(*rows)).added == 6


# ---------------------------------------------------------------- columns


def test_maps_values_aliases_and_the_rest(ws: Workspace) -> None:
    content = "when;shop;anonymousId;Country;empty;n\n2024-05-01;s1;v1;TW;;5\n"
    ws.text(
        "a.csv", content, event="page_view", mapping={"ts": "when", "provider_id": "shop"}, fixed={"channel": "ads"}
    )
    assert ws.rows("name, provider_id, visitor_id, country, channel, properties, source") == [
        {
            "name": "page_view",
            "provider_id": "s1",
            "visitor_id": "v1",
            "country": "TW",
            "channel": "ads",
            "properties": '{"n":"5"}',
            "source": "a.csv",
        }
    ]


def test_one_column_may_fill_two_fields(ws: Workspace) -> None:
    content = "session,ts,channel\n7,2024-05-01,ads\n"
    mapping = {"visitor_id": "session", "visit_id": "session", "provider_id": "channel"}
    assert ws.text("a.csv", content, event="page_view", mapping=mapping, source="web").added == 1
    assert ws.rows("visitor_id, visit_id, provider_id, channel, source")[0] == {
        "visitor_id": "7",
        "visit_id": "7",
        "provider_id": "ads",
        "channel": None,
        "source": "web",
    }


def test_properties_of_the_file_and_unknown_keys_are_one_object(ws: Workspace) -> None:
    ws.text("a.ndjson", lines({"properties": {"b": [1, 2]}, "zz": {"x": 1}, "aa": "t", "no": None}))
    assert json.loads(ws.rows("properties")[0]["properties"]) == {"aa": "t", "b": [1, 2], "zz": {"x": 1}}


def test_ids_stay_as_they_are(ws: Workspace) -> None:
    big = "12345678901234567890123"
    text = lines({"visitor_id": " padded ", "item_id": "007"}) + lines({}).replace('"v"', big)
    ws.text("a.ndjson", text)
    assert {r["visitor_id"] for r in ws.rows()} == {" padded ", big}
    assert {r["item_id"] for r in ws.rows()} == {"007", None}


def test_float_ids_of_data_frames(ws: Workspace) -> None:
    table = pa.table(
        {"ts": ["2024-05-01"] * 2, "user_id": [17850.0, None], "visitor_id": [None, 1.5], "provider_id": ["p"] * 2}
    )
    ws.frame(table, event="page_view")
    assert {(r["user_id"], r["visitor_id"]) for r in ws.rows()} == {("17850", None), (None, "1.5")}


def test_frames(ws: Workspace) -> None:
    table = pa.table({"ts": [datetime(2024, 5, 1, 10)], "visitor_id": ["v"], "provider_id": ["p"]})
    assert ws.frame(table, event="page_view").added == 1
    assert ws.frame(table.to_batches()[0], event="page_view").duplicates == 1
    assert ws.frame(table.to_reader(), event="page_view").duplicates == 1
    with pytest.raises(InputError, match="no frame"):
        ws.frame([{"ts": 1}])


# ---------------------------------------------------------------- each event once


def test_identical_lines_are_two_events_and_importing_twice_adds_nothing(ws: Workspace) -> None:
    text = lines({}, {}, {}, {"visitor_id": "w"})
    assert ws.text("a.ndjson", text).added == 4
    again = ws.text("renamed.ndjson", text)
    assert (again.added, again.duplicates, again.conflicting) == (0, 4, 0)
    assert ws.text("more.ndjson", text + lines({})).added == 1


def test_given_ids_repeat_in_a_file_and_the_first_wins(ws: Workspace) -> None:
    rows = [
        {"message_id": "a", "item_id": "first"},
        {"message_id": "a", "item_id": "first"},
        {"message_id": "a", "item_id": "second"},
        {"message_id": "b"},
    ]
    summary = ws.text("a.ndjson", lines(*rows))
    assert (summary.added, summary.duplicates, summary.conflicting) == (2, 2, 1)
    assert {r["message_id"]: r["item_id"] for r in ws.rows()} == {"a": "first", "b": None}


def test_given_ids_repeat_across_files(ws: Workspace) -> None:
    ws.text("a.ndjson", lines({"message_id": "a", "item_id": "first"}, {"message_id": "z"}))
    summary = ws.text(
        "b.ndjson", lines({"message_id": "a", "item_id": "second"}, {"message_id": "b"}, {"message_id": "z"})
    )
    assert (summary.added, summary.duplicates, summary.conflicting) == (1, 2, 1)
    assert {r["message_id"]: r["item_id"] for r in ws.rows()} == {"a": "first", "b": None, "z": None}


def test_ids_are_compared_within_seven_days(ws: Workspace) -> None:
    def at(day: int) -> dict[str, object]:
        return {"message_id": "a", "ts": f"2024-05-{day:02}"}

    assert ws.text("1.ndjson", lines(at(10))).added == 1
    assert ws.text("2.ndjson", lines(at(17))).duplicates == 1
    assert ws.text("3.ndjson", lines(at(3))).duplicates == 1
    assert ws.text("4.ndjson", lines(at(18))).added == 1
    assert [r["day"] for r in ws.rows()] == [date(2024, 5, 10), date(2024, 5, 18)]


def test_ids_far_apart_in_one_file_are_settled_row_by_row(ws: Workspace) -> None:
    days = [1, 6, 11, 12, 30]  # 6 goes (1 stays), 11 is ten days from 1 and stays, 12 goes, 30 stays
    text = lines(*({"message_id": "a", "ts": f"2024-05-{d:02}"} for d in days))
    summary = ws.text("a.ndjson", text)
    assert (summary.added, summary.duplicates, summary.conflicting) == (3, 2, 2)
    assert [r["day"].day for r in ws.rows()] == [1, 11, 30]
    assert ws.text("a.ndjson", text).added == 0


def test_a_file_that_grows_by_a_bad_line_is_still_the_same_events(ws: Workspace) -> None:
    """The fast and the exact way give the same ids, whatever the types of the other columns."""
    rows = [
        {"visitor_id": str(i), "n": i, "x": i / 3, "b": bool(i % 2), "s": f"t{i}", "o": {"k": [i]}} for i in range(50)
    ]
    text = lines(*rows)
    assert ws.text("log.ndjson", text).added == 50
    grown = ws.text("log.ndjson", text + "broken\n" + lines({"visitor_id": "new", "fresh": 1}))
    assert (grown.added, grown.duplicates, grown.rejected) == (1, 50, 1)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_import_twice_is_import_once(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    ws = Workspace(tmp_path_factory.mktemp("twice"))
    row = st.fixed_dictionaries(
        {"visitor_id": st.sampled_from(["a", "b", ""]), "ts": st.integers(1, 28).map(lambda d: f"2024-05-{d:02}")},
        optional={"message_id": st.sampled_from(["m1", "m2", ""]), "item_id": st.sampled_from(["i", "", 'q"\n'])},
    )
    text = lines(*data.draw(st.lists(row, min_size=1, max_size=12)))
    first = ws.text("a.ndjson", text)
    again = ws.text("a.ndjson", text)
    assert again.added == 0
    assert again.rejected == first.rejected
    assert len(ws.rows()) == first.added


# ---------------------------------------------------------------- the quarantine


def test_mended_rejects_come_in_again(ws: Workspace) -> None:
    content = 'ts,name,visitor_id,provider_id,note\n2024-05-01,page_view,v1,p1,ok\nsoon,page_view,v2,p1,"a, ""b"""\n'
    ws.text("a.csv", content)
    (out,) = write_rejects(ws.quarantine, ws.folder / "mend.csv")
    text = out.read_text(encoding="utf-8-sig")
    assert text.startswith(
        "_reject_id,_reject_file,_reject_line,_reject_field,_reject_reason,ts,name,visitor_id,provider_id,note"
    )
    summary = ws.text("mended.csv", text.replace("soon", "2024-05-02"))
    assert (summary.added, summary.rejected) == (1, 0)
    stored = {r["visitor_id"]: json.loads(r["properties"]) for r in ws.rows()}
    assert stored == {"v1": {"note": "ok"}, "v2": {"note": 'a, "b"'}}


def test_mended_json_rejects_come_in_again(ws: Workspace) -> None:
    ws.text("a.ndjson", lines({"ts": "soon", "note": 1}, {}) + "{}\nbroken\n")
    (out,) = write_rejects(ws.quarantine, ws.folder / "mend.ndjson")
    first, empty, broken = out.read_text().splitlines()
    assert json.loads(first)["_reject_line"] == 1
    assert json.loads(empty)["_reject_field"] == "ts"
    assert json.loads(broken)["_reject_raw"] == "broken"
    summary = ws.text("mended.ndjson", first.replace("soon", "2024-05-02") + "\n")
    assert summary.added == 1
    assert ws.rows("properties")[1]["properties"] == '{"note":1}'


def test_rejects_of_one_file_are_kept_once(ws: Workspace) -> None:
    text = lines({"ts": "soon"}, {})
    ws.text("a.ndjson", text)
    ws.text("a.ndjson", text)
    assert len(ws.kept_aside()) == 1
    with pytest.raises(InputError, match="no rejected rows"):
        write_rejects(ws.folder / "none", ws.folder / "x.csv")


def test_rejects_of_several_layouts_go_to_several_files(ws: Workspace) -> None:
    ws.text("a.csv", "ts,name,user_id\nsoon,page_view,u\n")
    ws.text("b.tsv", "ts\tname\tuser_id\nsoon\tpage_view\tu\n")
    files = write_rejects(ws.quarantine, ws.folder / "mend.csv")
    assert [f.name for f in files] == ["mend.csv", "mend-2.csv"]


def test_what_a_killed_import_left_in_the_quarantine_is_settled(ws: Workspace) -> None:
    ws.text("a.ndjson", lines({"ts": "soon"}, {}))
    (done,) = ws.quarantine.glob("*.parquet")
    done.rename(done.with_name(done.name + ".pending"))  # killed after the commit, before the rename
    (ws.quarantine / "other.parquet.pending").write_bytes(b"half")  # killed before the commit
    (ws.quarantine / ".import-x").mkdir()
    (ws.quarantine / ".import-x" / "plain").write_text("copy")
    recover(ws.quarantine, ws.lake.has_batch)
    assert [p.name for p in ws.quarantine.iterdir()] == [done.name]
    assert len(ws.kept_aside()) == 1


def test_a_quarantine_that_cannot_be_written(ws: Workspace) -> None:
    ws.quarantine.write_text("a file in the way")
    with pytest.raises(WorkspaceError):
        ws.text("a.ndjson", lines({}))
    assert ws.lake.version() == -1
