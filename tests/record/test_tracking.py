"""Requests of Segment's tracking API, and canonical lines, as events. Expected: Segment's own documentation of its
spec (common fields, ecommerce v2, HTTP API), hand calculation, and for the checks: what an import says of the same row.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from importing import NOW, Workspace

from footfall.config import CollectSettings, Config, RecordSettings, ServeSettings, SourceSettings, WorkspaceSettings
from footfall.errors import ConfigError, FormatError
from footfall.record import posted, tracking
from footfall.record.gate import Gate, Taken, TooManyError, depth, may_hold_controls
from footfall.record.sources import source_maps

ORDER = {  # Segment spec, ecommerce v2, "Order Completed" (shortened)
    "type": "track",
    "event": "Order Completed",
    "messageId": "m1",
    "anonymousId": "anon",
    "userId": "019mr8mf4r",
    "timestamp": "2024-05-01T10:00:00.000Z",
    "properties": {
        "checkout_id": "fksdjfsdjfisjf9sdfjsd9f",
        "order_id": "50314b8e9bcf000000000000",
        "affiliation": "Google Store",
        "total": 27.50,
        "subtotal": 22.50,
        "revenue": 25.00,
        "shipping": 3,
        "tax": 2,
        "currency": "USD",
        "shop_id": "store-7",
        "products": [{"product_id": "507f1f77bcf86cd799439011", "price": 19, "quantity": 1}],
    },
}


def gate(currency: str = "USD", zone: str = "UTC", **serve: Any) -> Gate:
    return Gate(Config(workspace=WorkspaceSettings(currency=currency, timezone=zone), serve=ServeSettings(**serve)))


def take(
    body: Any, kind: tracking.Kind = "batch", means: SourceSettings | None = None, *, of: Gate | None = None
) -> Taken:
    of = of or gate()
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    source = tracking.SourceMap.of(means or SourceSettings(), of)
    return tracking.take(text, kind, of, source, "web", NOW, 1000)


def rows(taken: Taken) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in taken.body.splitlines()]


def row(body: Any, kind: tracking.Kind = "track", **options: Any) -> dict[str, Any]:
    taken = take(body, kind, **options)
    assert taken.reasons == {}
    (found,) = rows(taken)
    return found


# ---------------------------------------------------------------- meaning


def test_an_order_of_the_spec_is_a_purchase() -> None:
    found = row(ORDER)
    assert found["name"] == "purchase"
    assert found["amount_minor"] == 2500
    assert found["order_id"] == "50314b8e9bcf000000000000"
    assert found["provider_id"] == "store-7"
    assert (found["visitor_id"], found["user_id"]) == ("anon", "019mr8mf4r")
    assert found["properties"] == ORDER["properties"]
    assert found["source"] == "web"


@pytest.mark.parametrize(
    ("event", "ours"),
    [
        ("Products Searched", "search"),
        ("Product List Viewed", "view_item_list"),
        ("Promotion Viewed", "impression"),
        ("Promotion Clicked", "click"),
        ("Product Clicked", "select_item"),
        ("Product Viewed", "view_item"),
        ("Product Added", "add_to_cart"),
        ("Product Removed", "remove_from_cart"),
        ("Checkout Started", "begin_checkout"),
        ("Payment Info Entered", "add_payment_info"),
        ("Order Refunded", "refund"),
        ("Product Added to Wishlist", "add_to_wishlist"),
        ("Product Shared", "share"),
        ("Cart Shared", "share"),
        ("Coupon Applied", "coupon_redeemed"),
        ("Signed Up", "sign_up"),
        ("signed up", "sign_up"),
        ("Application Installed", "app_install"),
        ("Application Opened", "app_open"),
        ("Video Playback Started", "video_start"),
        ("page_view", "page_view"),
    ],
)
def test_names_of_the_ecommerce_spec(event: str, ours: str) -> None:
    call = {"event": event, "messageId": "m", "anonymousId": "a", "properties": {"shop_id": "s", "order_id": "o"}}
    assert row(call)["name"] == ours


def test_every_kind_of_call_in_a_batch() -> None:
    calls: list[dict[str, Any]] = [
        {"type": "track", "event": "Product Viewed", "properties": {"provider_id": "p", "product_id": "i"}},
        {"type": "page", "name": "Home", "properties": {"provider_id": "p", "url": "https://x"}},
        {"type": "screen", "name": "Start", "properties": {"provider_id": "p"}},
        {"type": "identify", "userId": "u", "traits": {"plan": "pro"}},
        {"type": "alias", "userId": "u", "previousId": "a"},
        {"type": "group", "groupId": "g1", "traits": {"size": 3}},
    ]
    for number, call in enumerate(calls):
        call |= {"messageId": f"m{number}"} | ({} if call["type"] == "alias" else {"anonymousId": "a"})
    found = rows(take({"batch": calls}))
    assert [r["name"] for r in found] == ["view_item", "page_view", "screen_view", "identify", "alias", "group"]
    assert found[0]["item_id"] == "i"
    assert found[1]["properties"] == {"name": "Home", "provider_id": "p", "url": "https://x"}
    assert found[3]["properties"] == {"plan": "pro"}
    assert (found[4]["previous_id"], found[4]["user_id"], found[4]["visitor_id"]) == ("a", "u", "a")
    assert found[5]["properties"] == {"groupId": "g1", "size": 3}


def test_the_context_is_read_and_the_address_is_not_kept() -> None:
    context = {  # Segment spec, common fields
        "ip": "8.8.8.8",
        "campaign": {"name": "TPS Innovation Newsletter", "source": "Newsletter", "medium": "email"},
        "device": {"id": "B5372DB0", "type": "ios"},
        "location": {"country": "TW", "city": "Taipei"},
        "locale": "zh-TW",
        "userAgent": "Mozilla/5.0",
    }
    taken = take({**ORDER, "context": context}, "track")
    found = rows(taken)[0]
    assert (found["channel"], found["campaign"]) == ("email", "TPS Innovation Newsletter")
    assert (found["device"], found["country"], found["locale"]) == ("ios", "TW", "zh-TW")
    assert b"8.8.8.8" not in taken.body
    assert b"Mozilla" not in taken.body
    bad = take({**ORDER, "context": context, "timestamp": "soon"}, "track")
    assert bad.reasons.keys() == {f"ts: {bad.kept[0].reason}"}


def test_a_context_of_the_batch_holds_for_calls_without_one() -> None:
    calls = [{**ORDER, "messageId": "a"}, {**ORDER, "messageId": "b", "context": {"campaign": {"source": "own"}}}]
    for bad in ([], [{"type": "track", "event": 5}]):  # read at once, and one by one
        found = rows(take({"batch": calls + bad, "context": {"campaign": {"medium": "cpc"}}}))
        assert [r["channel"] for r in found] == ["cpc", "own"]


def test_clocks_are_corrected_as_the_spec_has_it() -> None:
    """timestamp = receivedAt - (sentAt - originalTimestamp); the sender's clock is an hour late here."""
    call = {**ORDER, "timestamp": "2024-06-01T10:59:50Z"}
    assert row({**call, "sentAt": "2024-06-01T11:00:00Z"})["ts"] == "2024-06-01T11:59:50Z"
    assert row({**call, "originalTimestamp": "2024-06-01T10:59:40Z", "sentAt": "2024-06-01T11:00:00Z"})["ts"] == (
        "2024-06-01T11:59:40Z"
    )
    batch = {"batch": [call], "sentAt": "2024-06-01T11:00:00Z"}
    assert rows(take(batch))[0]["ts"] == "2024-06-01T11:59:50Z"
    batch["batch"] = [call, {"type": "track", "event": 3}]
    assert rows(take(batch))[0]["ts"] == "2024-06-01T11:59:50Z"
    assert row(call)["ts"] == "2024-06-01T10:59:50Z"
    assert row({k: v for k, v in ORDER.items() if k != "timestamp"})["ts"] == "2024-06-01T12:00:00Z"
    # A clock three years ahead; an absurd one that no correction can hold.
    assert row({**ORDER, "timestamp": "2027-06-01T10:00:00Z", "sentAt": "2027-06-01T10:00:05Z"})["ts"] == (
        "2024-06-01T11:59:55Z"
    )
    assert take({**ORDER, "timestamp": "9999-12-31T23:59:59Z", "sentAt": "1970-01-01T00:00:00Z"}, "track").reasons


def test_times_without_a_zone_are_the_workspaces() -> None:
    assert (
        row({**ORDER, "timestamp": "2024-05-01T10:00:00"}, of=gate(zone="Asia/Taipei"))["ts"] == "2024-05-01T02:00:00Z"
    )
    assert row({**ORDER, "timestamp": 1714557600})["ts"] == "2024-05-01T10:00:00Z"


@pytest.mark.parametrize(
    ("properties", "minor"),
    [
        ('{"revenue": 18.99}', 1899),
        ('{"revenue": "18.99"}', 1899),
        ('{"revenue": "1,234.50"}', 123450),
        ('{"revenue": 0.1e2}', 1000),
        ('{"revenue": 18.990000000000002}', 1899),  # noise of a float
        ('{"total": 5, "value": 7}', 500),
        ('{"revenue": null, "value": 7}', 700),
        ('{"products": [{"price": 0.1, "quantity": 3}, {"price": "19.95"}]}', 2025),
        ('{"revenue": 0}', 0),
    ],
)
def test_money_is_exact(properties: str, minor: int) -> None:
    properties = '{"provider_id": "p", ' + properties[1:]
    body = json.dumps({**ORDER, "properties": 0}).replace('"properties": 0', f'"properties": {properties}')
    assert row(body.encode())["amount_minor"] == minor


def test_a_body_of_many_lines_is_written_in_one() -> None:
    body = json.dumps({"batch": [{**ORDER, "messageId": "a"}, ORDER]}, indent=2).replace("\n", "\r\n").encode()
    found = rows(take(body))
    assert [r["message_id"] for r in found] == ["a", "m1"]
    assert found[0]["properties"] == ORDER["properties"]


def test_money_beyond_what_a_binary_float_holds() -> None:
    """2^53 + 1 thousandths of a dinar."""
    config = Config(workspace=WorkspaceSettings(currency="KWD"), record=RecordSettings(max_amount=1e13))
    body = json.dumps({**ORDER, "properties": 0}).replace('"properties": 0', '"properties": %s')
    text = body % '{"provider_id": "p", "revenue": 9007199254740.993}'
    assert row(text.encode(), of=Gate(config))["amount_minor"] == 2**53 + 1
    line = json.dumps({k: v for k, v in LINE.items() if k not in ("amount", "currency")})
    found = rows(post(line[:-1].encode() + b', "amount": 9007199254740.993}', of=Gate(config)))
    assert found[0]["amount_minor"] == 2**53 + 1


def test_a_refund_may_tell_its_order_alone() -> None:
    call = {"event": "Order Refunded", "messageId": "r", "userId": "u", "properties": {"order_id": "o", "total": -5}}
    assert row(call)["amount_minor"] == 500
    del call["properties"]["total"]  # type: ignore[attr-defined]
    assert "amount_minor" not in row(call)


def test_numbers_where_texts_belong_are_read_as_texts() -> None:
    call = {
        **ORDER,
        "messageId": 17,
        "anonymousId": 99,
        "userId": 1e3,
        "properties": {"shop_id": 5, "order_id": 6.5, "revenue": 1, "product_id": 123, "session_id": True},
    }
    found = row(call)
    assert (found["message_id"], found["visitor_id"], found["user_id"]) == ("17", "99", "1000.0")
    assert (found["provider_id"], found["order_id"], found["item_id"], found["visit_id"]) == ("5", "6.5", "123", "true")


def test_a_source_says_what_its_events_mean() -> None:
    means = SourceSettings(
        events={"Store Entered": "visit", "Booking Paid": "purchase"},
        fields={"provider_id": "properties.vendor.id", "amount": "properties.paid", "device": "groupId"},
        fixed={"channel": "kiosk"},
    )
    call = {"event": "Store Entered", "messageId": "m", "userId": "u", "properties": {"vendor": {"id": 7}}}
    found = row(call, means=means)
    assert (found["name"], found["provider_id"], found["channel"]) == ("visit", "7", "kiosk")
    paid = {**call, "event": "booking paid", "properties": {"vendor": {"id": 7}, "paid": 12.5, "revenue": 1}}
    assert row(paid, means=means)["amount_minor"] == 1250
    long = {**call, "properties": {"vendor": {"id": "x" * 600}}}
    assert take(long, "track", means).reasons == {"provider_id: longer than 512 bytes": 1}
    whole = SourceSettings(fixed={"provider_id": "only-shop"})
    assert row({"messageId": "m", "anonymousId": "a"}, "page", means=whole)["provider_id"] == "only-shop"


@pytest.mark.parametrize(
    "wrong",
    [
        SourceSettings(events={"X": "no_such_event"}),
        SourceSettings(fields={"provder_id": "properties.x"}),
        SourceSettings(fields={"provider_id": "elsewhere.x"}),
        SourceSettings(fields={"provider_id": "context.ip"}),
        SourceSettings(fields={"ts": "properties.when"}),
        SourceSettings(fields={"channel": "properties.a"}, fixed={"channel": "b"}),
    ],
)
def test_a_map_of_what_does_not_exist_is_refused(wrong: SourceSettings) -> None:
    with pytest.raises(ConfigError, match="collect"):
        tracking.SourceMap.of(wrong, gate(), "web")


def test_an_event_without_an_id_gets_one_that_a_retry_gets_again() -> None:
    call = {k: v for k, v in ORDER.items() if k != "messageId"}
    batch = {"batch": [call, call, {**call, "userId": "other"}]}
    first, again = rows(take(batch)), rows(take({**batch, "sentAt": "2024-06-01T11:00:00Z"}))
    assert [r["message_id"] for r in first] == [r["message_id"] for r in again]
    assert len({r["message_id"] for r in first}) == 3
    timeless = {k: v for k, v in call.items() if k != "timestamp"}  # may well happen twice
    assert row(timeless)["message_id"] != row(timeless)["message_id"]


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'"x"', b"\xff\xfe{}", b"3", b"[" * 100_000, b'{"batch": 5}', b"{}"]
)
def test_a_body_that_is_no_batch_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(FormatError):
        take(body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"null"])
def test_a_body_that_is_no_call_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(FormatError):
        take(body, "track")


def test_one_bad_call_does_not_harm_the_others() -> None:
    good = [{**ORDER, "messageId": f"m{i}"} for i in range(5)]
    for bad in (7, None, "x", [], {"type": "track"}, {**ORDER, "properties": [1]}, {**ORDER, "type": "delete"}):
        taken = take({"batch": [*good[:2], bad, *good[2:]]})
        assert [r["message_id"] for r in rows(taken)] == ["m0", "m1", "m2", "m3", "m4"]
        assert (taken.accepted, len(taken.kept)) == (5, 1)
        assert taken.kept[0].source == "web"


def test_bytes_that_are_no_text_harm_their_own_event_only() -> None:
    body = json.dumps({"batch": [{**ORDER, "messageId": "a"}, {**ORDER, "messageId": "b"}]}).encode()
    broken = body.replace(b"Google Store", b"Caf\xe9 \xff", 1)
    taken = take(broken)
    assert [r["message_id"] for r in rows(taken)] == ["b"]
    assert [(k.field, k.reason) for k in taken.kept] == [("row", "not valid UTF-8; save the file as UTF-8")]
    single = take(json.dumps(ORDER).encode().replace(b"Google Store", b"Caf\xe9"), "track")
    assert (single.accepted, len(single.kept)) == (0, 1)


@pytest.mark.parametrize(
    "half",
    [
        r"\ud83d",
        r"cut \uD83d",
        r"\ud83dx",
        r"\ud83d\u0041",
        r"\ude00",
        r"\ud83d\ude00\ude00",
        r"\ud83d\ud83d\ude00",
        r"\\\ud83d",
    ],
)
def test_half_a_character_harms_its_own_call_only(half: str) -> None:
    """RFC 8259, 8.2: the grammar allows an escape of half a surrogate pair, as JavaScript's ``substring`` cuts it."""
    sound = r"\ud83d\ude00 \ufffd \\ud83d"
    a, b, c = (json.dumps({**ORDER, "messageId": name}) for name in "abc")
    a, b = a.replace("Google Store", sound, 1), b.replace("Google Store", half, 1)
    taken = take(f'{{"text": "\\ude00", "batch": [{a}, {b}, {c}]}}'.encode())
    assert [r["message_id"] for r in rows(taken)] == ["a", "c"]
    assert rows(taken)[0]["properties"]["affiliation"] == "\U0001f600 \ufffd \\ud83d"
    assert [(k.field, k.reason) for k in taken.kept] == [("row", "not valid JSON")]
    assert json.loads(taken.kept[0].raw)["messageId"] == "b"
    single = take(b.encode(), "track")
    assert single.accepted == 0 and single.reasons == {"row: not valid JSON": 1}
    with pytest.raises(FormatError):
        take(f'{{"batch": [{a}, {b}}}'.encode())


def test_too_many_events_are_refused() -> None:
    for bad in ([], [{"type": 5}]):
        with pytest.raises(TooManyError):
            take({"batch": [{"type": "page"}] * 1001 + bad})
    with pytest.raises(TooManyError):
        posted.take(b'{"name":"visit"}\n' * 1001, gate(), "web", NOW, 1000)


def test_depth_and_size_are_bounded() -> None:
    deep = {**ORDER, "properties": {**ORDER["properties"], "x": json.loads("[" * 40 + "]" * 40)}}  # type: ignore[dict-item]
    assert take(deep, "track").reasons == {"properties: nested deeper than the service takes ([serve] max_depth)": 1}
    wide = {**ORDER, "properties": {**ORDER["properties"], "x": [{}] * 1000, "y": '[{"' * 99}}  # type: ignore[dict-item]
    assert take(wide, "track").accepted == 1
    large = {**ORDER, "properties": {**ORDER["properties"], "x": "y" * (1 << 20)}}  # type: ignore[dict-item]
    assert take(large, "track").reasons == {"row: an event of over 1 MiB": 1}
    assert depth(b'{"a":[[1]],"b":"[[[[\\"["}') == 3


@pytest.mark.parametrize("nest", ["[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40, '[{"a":' * 17 + "1" + "}]" * 17])
@pytest.mark.parametrize("event", ["Product Viewed", "Order Completed"])
def test_depth_is_bounded_in_batches_too(nest: str, event: str) -> None:
    plain = {"type": "track", "event": event, "messageId": "m", "anonymousId": "a", "timestamp": "2024-05-01T10:00:00Z"}
    given = {"shop_id": "s", "order_id": "o", "revenue": 1}
    calls = [{**plain, "properties": {**given, **more}} for more in ({"x": json.loads(nest)}, {}, {"x": [[{}]] * 40})]
    taken = take({"batch": calls})
    assert (taken.accepted, len(taken.kept)) == (2, 1)


def test_control_characters_and_long_ids_are_kept_aside() -> None:
    for field, value in (("anonymousId", "a\u0000b"), ("userId", "tab\there"), ("messageId", "\u007f")):
        taken = take({"batch": [{**ORDER, field: value}]})
        assert taken.reasons == {"id: control characters in an id or dimension": 1}
    assert take({**ORDER, "anonymousId": "中" * 171}, "track").reasons == {"visitor_id: longer than 512 bytes": 1}
    assert row({**ORDER, "anonymousId": "中" * 170})["visitor_id"] == "中" * 170
    assert row({**ORDER, "anonymousId": "a\u4e2d"})["visitor_id"] == "a中"


# ---------------------------------------------------------------- canonical lines, and an import's judgement


def post(*lines: Any, of: Gate | None = None) -> Taken:
    body = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return posted.take(body, of or gate(), "api", NOW, 1000)


LINE = {
    "message_id": "m", "ts": "2024-05-01T10:00:00Z", "name": "purchase", "visitor_id": "v", "provider_id": "p",
    "amount": "12.50", "currency": "USD",
}  # fmt: skip


def test_canonical_lines() -> None:
    taken = post(LINE, b"", {**LINE, "message_id": "n", "amount": 7.25, "properties": {"a": 1}})
    assert taken.reasons == {}
    assert [(r["amount_minor"], r.get("properties")) for r in rows(taken)] == [(1250, None), (725, {"a": 1})]


def test_lines_of_other_tools() -> None:
    """Names of fields as an import knows them; further keys go into the properties."""
    line = {"event_id": "e", "Timestamp": 1714557600, "event": "Order Completed", "user_pseudo_id": "v", "empty": ""}
    line |= {"seller_id": 5, "revenue": 3, "shade": "red", "properties": {"shade": "own"}}
    found = rows(post(line))
    assert found[0] | {"received_at": ""} == {
        "message_id": "e", "ts": "2024-05-01T10:00:00Z", "name": "purchase", "visitor_id": "v", "provider_id": "5",
        "amount_minor": 300, "properties": {"shade": "own"}, "source": "api", "received_at": "",
    }  # fmt: skip
    assert rows(post({**LINE, "properties": '{"a": 1}'}))[0]["properties"] == {"a": 1}
    assert post({**LINE, "properties": "text"}).reasons == {"properties: not a JSON object": 1}


_TEXTS = st.sampled_from(["", "v", "中文", "a\tb", "x" * 513, "é" * 257, None, 5, 17850.0, True])
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "message_id": st.sampled_from(["m", "", None, "x" * 600]),
        "ts": st.sampled_from(
            [
                "2024-05-01T10:00:00Z",
                "2024-05-01 10:00:00",
                "2024-05-01",
                "",
                None,
                "soon",
                1714557600,
                1714557600.25,
                "1714557600000",
                1714557600000000,
                "1980-01-01T00:00:00Z",
                "2031-01-01T00:00:00Z",
                "2024-13-01",
                "2024-05-01T10:00:00+08:00",
                "2024-05-01T10:00:00.123456+0800",
                "2024-05-01 10:00:00 +08:00",
            ]
        ),
        "name": st.sampled_from(
            [
                "purchase",
                "refund",
                "alias",
                "visit",
                "page_view",
                "add_to_cart",
                "Order Completed",
                "PURCHASE",
                "",
                None,
                "buy",
                5,
            ]
        ),
        "visitor_id": _TEXTS,
        "user_id": _TEXTS,
        "previous_id": _TEXTS,
        "provider_id": _TEXTS,
        "order_id": _TEXTS,
        "channel": _TEXTS,
        "amount": st.sampled_from(
            [
                "12.50",
                12.5,
                1,
                "1,234.50",
                "1.234,50",
                "abc",
                "",
                None,
                "-3",
                -3,
                "0.001",
                18.990000000000002,
                "1e2",
                "2e12",
                " 5 ",
                "1'000",
                ".",
            ]
        ),
        "currency": st.sampled_from(["USD", "usd", "EUR", "", None]),
        "propensity": st.sampled_from([0.5, "0.5", 0, 1, 1.5, "x", "", None, "nan"]),
        "properties": st.sampled_from([{}, {"a": 1}, None, "", "text", [1], '{"a": 2}', 5]),
    },
)
_WHOLE = {"message_id": "m", "ts": "2024-05-01T10:00:00Z", "visitor_id": "v", "provider_id": "p", "name": "visit"}


_ROWS = st.lists(st.tuples(_FIELDS, st.integers(0, 3)), min_size=60, max_size=120)


def judged_alike(tmp_path: Path, drawn: list[tuple[dict[str, Any], int]]) -> None:
    """Each row through both: kept aside for the same reason, or let in with the same values."""
    ws = Workspace(tmp_path / str(len(list(tmp_path.iterdir()))))
    ws.folder.mkdir(parents=True, exist_ok=True)
    lines = [
        ({**_WHOLE, **fields} if whole else fields) | {"source_line": i} for i, (fields, whole) in enumerate(drawn)
    ]
    # One line with all fields, so that no column is absent from the file.
    everything = {**LINE, "user_id": "u", "previous_id": "b", "order_id": "o", "channel": "c", "propensity": 0.5,
                  "properties": {"a": 0}, "message_id": "everything"}  # fmt: skip
    # An id twice is for the drain to settle; what is compared here are the checks of single rows.
    for number, line in enumerate(lines):
        if line.get("message_id") == "m":
            line["message_id"] = f"m{number}"
    summary = ws.text("rows.ndjson", "\n".join(json.dumps(line) for line in [*lines, everything]))
    config = msgspec.structs.replace(ws.config, collect=CollectSettings(past_days=36500))
    taken = post(*lines, everything, of=Gate(config))
    assert taken.reasons == dict(summary.reasons)
    by_line = {json.loads(r["properties"])["source_line"]: r for r in ws.rows() if "source_line" in r["properties"]}
    for found in rows(taken)[:-1]:
        kept = by_line[found["properties"]["source_line"]]
        for field in ("name", "visitor_id", "user_id", "provider_id", "order_id", "channel", "amount_minor"):
            assert (found.get(field) or None) == (kept[field] or None), field
        assert datetime.fromisoformat(found["ts"]).astimezone(UTC).replace(tzinfo=None) == kept["ts"]


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(_ROWS)
def test_the_gate_and_an_import_say_the_same(tmp_path: Path, drawn: list[tuple[dict[str, Any], int]]) -> None:
    judged_alike(tmp_path, drawn)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(_ROWS)
def test_the_gate_and_an_import_say_the_same_of_thousands(
    tmp_path: Path, drawn: list[tuple[dict[str, Any], int]]
) -> None:
    judged_alike(tmp_path, drawn)


@settings(max_examples=200, deadline=None)
@given(_FIELDS, st.booleans())
def test_the_quick_way_and_the_close_look_agree(fields: dict[str, Any], look: bool) -> None:
    """A body in which a control character may stand makes the gate look closely at every event of it."""
    whole = {**_WHOLE, **fields}
    plain = post(whole)
    close = post(whole, {**LINE, "properties": {"x": "\n"}})
    assert plain.accepted == close.accepted - 1
    assert plain.faults == close.faults
    if plain.accepted:
        assert {**rows(plain)[0]} == {**rows(close)[0]}


@settings(max_examples=300, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["type", "event", "messageId", "anonymousId", "userId", "timestamp", "properties", "context",
                         "batch", "sentAt", "traits", "campaign", "revenue", "products", "name", "groupId"]),
        inner, max_size=6),
    max_leaves=20,
), st.sampled_from(["track", "page", "identify", "alias", "group", "batch"]))  # fmt: skip
def test_whatever_comes_is_taken_kept_aside_or_refused(body: Any, kind: tracking.Kind) -> None:
    try:
        taken = take(body, kind)
    except (FormatError, TooManyError):
        return
    assert len(rows(taken)) == taken.accepted, taken.body
    assert len(taken.kept) == sum(taken.faults.values())
    msgspec.json.decode(b"[" + taken.kept_lines().replace(b"\n", b",").rstrip(b",") + b"]")


_ODD: tuple[dict[str, Any], ...] = (
    {"event": "Order Completed"}, {"event": "no such"}, {"event": "product viewed"}, {"event": None}, {"type": "page"},
    {"type": "identify", "traits": {"a": 1}}, {"messageId": ""}, {"messageId": 7}, {"messageId": "x" * 300},
    {"anonymousId": ""}, {"anonymousId": "", "userId": ""}, {"userId": 5}, {"timestamp": "2024-06-09T00:00:00Z"},
    {"timestamp": "1999-01-01T00:00:00Z"}, {"timestamp": "0001-01-01T00:00:00Z"}, {"timestamp": "9999-12-31T23:59:59Z"},
    {"timestamp": None}, {"timestamp": 1717236000}, {"originalTimestamp": "2024-05-31T10:00:00+02:00"},
    {"sentAt": "2024-06-01T11:00:00Z"}, {"properties": {}}, {"properties": None}, {"properties": "text"},
    {"properties": {"shop_id": "s", "propensity": 0.5}}, {"properties": {"seller_id": "s", "currency": "EUR"}},
    {"properties": {"provider_id": "p", "position": 3, "sessionId": "v", "orderId": "o"}},
    {"properties": {"provider_id": "p", "position": "3", "locale": "de", "productId": "i"}},
    {"properties": {"provider_id": "p", "deep": [[{"a": {"b": [{}]}}]]}}, {"properties": {"provider_id": "p" * 300}},
    {"context": {"locale": "fr", "campaign": {"medium": "cpc", "name": "n"}, "device": {"type": "ios"}}},
    {"anonymousId": "a\x01"}, {"anonymousId": "a\x7f"}, {"event": "a\\u0001"},
    {"context": {"campaign": {"source": "s"}, "location": {"country": "TW"}}}, {"context": {"campaign": "odd"}},
)  # fmt: skip
_CALL = {
    "type": "track", "event": "Product Viewed", "anonymousId": "v", "timestamp": "2024-06-01T09:00:00.25Z",
    "properties": {"provider_id": "p", "product_id": "i", "note": "大"}, "context": {"ip": "8.8.8.8", "locale": "en"},
}  # fmt: skip


_ITALIAN = {"locale": "it"}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(_ODD), max_size=2), min_size=1, max_size=8),
    st.sampled_from(
        [{}, {"sentAt": "2024-06-01T11:59:00Z"}, {"sentAt": "0001-01-01T00:00:00Z"}, {"context": {"locale": "it"}}]
    ),
    st.sampled_from([2, 32]),
)
def test_calls_kept_as_they_came_are_the_same_rows(
    odd: list[list[dict[str, Any]]], envelope: dict[str, Any], depth: int
) -> None:
    calls: list[dict[str, Any]] = [{**_CALL, "messageId": f"m{n}"} for n, _ in enumerate(odd)]
    for call, changes in zip(calls, odd, strict=True):
        for change in changes:
            call.update(change)
    body, of = json.dumps({"batch": calls, **envelope}).encode(), gate(max_depth=depth)
    maps = source_maps(Config(), of)
    apart = tracking.take(body, "batch", of, maps["default"], "web", NOW, 1000)
    kept = tracking.take(body, "batch", of, maps["default"], "web", NOW, 1000, as_they_came=True)
    found = rows(kept)
    if kept.calls:
        assert kept.calls.count(b"\n") == 1 and kept.calls.endswith(b"\n")
        again = tracking.reread(kept.calls.rstrip(), of, maps)
        assert again.kept == []
        found += rows(again)
    assert (kept.accepted, kept.faults, kept.kept) == (apart.accepted, apart.faults, apart.kept)
    assert len(found) == kept.accepted
    no_id = [{k: v for k, v in r.items() if k != "message_id" or calls_have(calls, v)} for r in found]
    told = [{k: v for k, v in r.items() if k != "message_id" or calls_have(calls, v)} for r in rows(apart)]
    assert sorted(no_id, key=repr) == sorted(told, key=repr)


def calls_have(calls: list[dict[str, Any]], message_id: str) -> bool:
    """Whether an id was sent; one that was made for an event without a time is a new one each time."""
    return any(str(call["messageId"]) == message_id for call in calls)


def test_what_is_kept_as_it_came() -> None:
    calls = [{**_CALL, "messageId": f"m{n}"} for n in range(4)]
    body = json.dumps({"batch": calls}).encode()

    def kept(text: bytes, means: SourceSettings | None = None) -> Taken:
        source = tracking.SourceMap.of(means or SourceSettings(), gate())
        return tracking.take(text, "batch", gate(), source, "web", NOW, 1000, as_they_came=True)

    plain = kept(body)
    assert plain.calls and not plain.rows and plain.accepted == 4
    one_order = kept(json.dumps({"batch": [*calls, {**ORDER, "type": "track"}]}).encode())
    assert one_order.calls and len(one_order.rows) == 1 and one_order.accepted == 5
    # A source whose meaning the settings tell may mean something else when it is drained.
    assert not kept(body, SourceSettings(events={"Seen": "page_view"})).calls
    assert not kept(body.replace(b"}", b"}\n")).calls  # a line of the inbox has no line break
    assert not kept(json.dumps({"batch": []}).encode()).calls
    assert kept(json.dumps({"batch": [calls[0], *[{**ORDER, "type": "track"}] * 3]}).encode()).calls == b""


def test_calls_that_were_damaged_are_told() -> None:
    maps = source_maps(Config(), gate())
    about = b'{"source":"web","received_at":"2024-06-01T12:00:00Z","others":[]}'
    for line in (b"", b"{}", about, about + b'\t{"batch":3}', b'{}\t{"batch":[]}'):
        with pytest.raises(FormatError, match="cannot be read"):
            tracking.reread(line, gate(), maps)


def test_future_days_have_a_bound_that_no_clock_breaks() -> None:
    far = Gate(Config(record=RecordSettings(future_days=36500)))
    assert far.span(datetime(9990, 1, 1, tzinfo=UTC))[1].year == 9999
    assert far.span(NOW)[1] == NOW + timedelta(days=36500)


def test_what_is_too_old_to_come_live_is_kept_aside() -> None:
    """Each further day is a file in the lake: ten thousand of them in a request held up the drain for minutes."""
    old, young = NOW - timedelta(days=90, microseconds=1), NOW - timedelta(days=90)
    why = {"ts: over 90 days old ([collect] past_days); history comes by `footfall import`": 1}

    def at(moment: datetime) -> str:
        return moment.isoformat().replace("+00:00", "Z")

    lines = [{**LINE, "message_id": str(n), "name": name, "ts": at(when)}
             for name in ("purchase", "page_view") for n, when in enumerate((old, young))]  # fmt: skip
    for few in (lines[:2], lines[2:]):
        taken = post(*few)
        assert (taken.accepted, taken.reasons, dict(taken.faults)) == (1, why, {"ts:old": 1})
    few = [{**_CALL, "messageId": str(n), "timestamp": at(when)} for n, when in enumerate((old, young))]
    assert (take({"batch": few}).accepted, take({"batch": few}).reasons) == (1, why)
    assert take({"batch": few, "sentAt": at(NOW - timedelta(days=1))}).accepted == 2  # by the service's clock
    assert take({"batch": few, "sentAt": at(NOW + timedelta(days=1))}).accepted == 0
    early = post({**LINE, "ts": "1989-12-31T23:59:59Z"})
    assert list(early.reasons) == ["ts: before 1990-01-01 ([record] earliest)"]
    all_history = Gate(Config(collect=CollectSettings(past_days=36500)))
    assert post(lines[0], {**LINE, "ts": "1990-01-01T00:00:00Z"}, of=all_history).accepted == 2


def test_what_may_hold_control_characters() -> None:
    for code in (*range(0x20), 0x7F):
        assert may_hold_controls(json.dumps(chr(code)).encode()), code
        assert may_hold_controls(b'"\\u%04x"' % code) and may_hold_controls(b'"\\u%04X"' % code), code
    assert not may_hold_controls(json.dumps('大富翁 "quoted" é / \u0100\u2028').encode())
