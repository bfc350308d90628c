"""Bounds of a request, keys at the door, and the board of metrics: each by itself."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from footfall.app.http import access, bodies
from footfall.app.http.access import Access, key_text
from footfall.app.http.limits import Rates, check_depth, read_body, unpack
from footfall.app.http.metrics import CELLS, WIDTH, Metrics, make_board
from footfall.app.http.problems import Problem, of_error
from footfall.app.http.read import HANDLERS
from footfall.app.http.schema import describe
from footfall.errors import InputError, WorkspaceError
from footfall.loopback import is_loopback
from footfall.record import calls
from footfall.stores.keys import SqlKeys


def scope(**headers: str) -> dict[str, Any]:
    return {"headers": [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]}


def body_of(parts: Iterable[bytes], most: int = 100, unpacked: int = 0, **headers: str) -> bytes:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return asyncio.run(read_body(scope(**headers), receive, most, 1.0, unpacked))


def status(call: Any, *arguments: Any, **options: Any) -> int:
    with pytest.raises(Problem) as caught:
        call(*arguments, **options)
    return caught.value.status


def test_a_body_may_come_in_parts_up_to_its_bound() -> None:
    assert body_of([b"ab", b"", b"c"]) == b"abc"
    assert body_of([b"x" * 100]) == b"x" * 100
    assert status(body_of, [b"x" * 60, b"x" * 41]) == 413
    assert status(body_of, [b""], content_length="101") == 413


def test_gzip_is_bounded_by_what_it_unpacks_to() -> None:
    packed = gzip.compress(b"y" * 5000)
    assert body_of([packed], 200, 5000, content_encoding="gzip") == b"y" * 5000
    assert status(body_of, [packed], 200, 4999, content_encoding="gzip") == 413
    bomb = gzip.compress(bytes(50_000_000))
    assert status(unpack, bomb, b"gzip", 1_000_000) == 413
    assert unpack(packed + gzip.compress(b"z"), b"gzip", 6000) == b"y" * 5000 + b"z"
    assert status(unpack, packed[:-3], b"gzip", 6000) == 400
    assert status(unpack, b"no gzip", b"gzip", 6000) == 400
    assert status(unpack, packed, b"br", 6000) == 415


def test_a_body_that_does_not_come_is_given_up() -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(10)
        return {}

    with pytest.raises(Problem) as caught:
        asyncio.run(read_body(scope(), receive, 10, 0.02))
    assert caught.value.status == 408


def test_depth() -> None:
    check_depth(b"[" * 32 + b"]" * 32, 32)
    assert status(check_depth, b"[" * 33 + b"]" * 33, 32) == 400
    check_depth(json.dumps([{"a": {"b": [1]}}] * 1000).encode(), 4)
    assert status(check_depth, json.dumps([{"a": {"b": [1]}}] * 1000).encode(), 3) == 400
    text = '"' + "[{" * 500 + '\\"' + "]" * 3 + '"'
    check_depth(f"[[{text}], {text}]".encode(), 3)
    # brackets in strings must not cancel real ones
    hidden = '["]",' * 100 + "1" + "]" * 100
    assert json.loads(hidden)
    assert status(check_depth, hidden.encode(), 50) == 400


def test_rates() -> None:
    now = [0.0]
    rates = Rates(10, burst_s=2, most=2, clock=lambda: now[0])
    for _ in range(20):
        rates.take("a")
    with pytest.raises(Problem) as caught:
        rates.take("a")
    assert caught.value.status == 429 and dict(caught.value.headers)[b"retry-after"] == b"1"
    rates.take("b")
    now[0] += 0.35
    for _ in range(3):
        rates.take("a")
    assert status(rates.take, "a") == 429
    for name in "cdefg":
        rates.take(name)
    assert len(rates._buckets) == 2
    for _ in range(1000):
        Rates(0).take("a")


def shared_rates(rate: float, workers: int) -> tuple[list[Rates], list[float]]:
    """The workers' of one service, and their clock."""
    now, board = [0.0], make_board(workers + 1)
    views = [Metrics(board, 1 + worker, workers + 1) for worker in range(workers)]
    return [Rates(rate, clock=lambda: now[0], spending=view.spending) for view in views], now


@pytest.mark.parametrize("turns", [(0,), (0, 1), (0, 0, 0, 1), (0, 1, 2), (2, 2, 1)], ids=str)
def test_a_key_may_send_as_much_by_one_connection_as_by_several(turns: tuple[int, ...]) -> None:
    """Each worker gave it a part, so that one connection was refused at a part of what is set. Ten seconds of 200 a
    second of which 50 are let through: 10 x 50, and the burst of 2 x 50 once a worker."""
    workers, now = shared_rates(50.0, 3)
    let, told = 0, set()
    for number in range(2000):
        now[0] = number / 200
        try:
            workers[turns[number % len(turns)]].take("ff_a")
            let += 1
        except Problem as problem:
            told.add(problem.detail)
    assert 500 + 100 - 5 <= let <= 500 + 100 * len(set(turns)) + 5
    assert told == {"this key may send 50 requests a second"}


def test_a_worker_that_was_not_asked_for_long_knows_what_others_let_through() -> None:
    workers, now = shared_rates(50.0, 2)
    workers[1].take("a")
    for number in range(2, 500):  # ten seconds of the whole rate at another worker are no debt of many seconds
        now[0] = number / 50
        workers[0].take("a")
    assert _let(workers[1], 90) == 90
    now[0] += 1.0
    assert 58 <= _let(workers[0], 100) <= 62  # 50 came in that second, and 10 of a burst were left
    now[0] += 0.02
    assert _let(workers[1], 100) <= 2
    assert _let(workers[1], 100, "another") == 100
    now[0] += 4.0
    assert _let(workers[1], 300) == 100


def _let(worker: Rates, tries: int, key: str = "a") -> int:
    let = 0
    for _ in range(tries):
        with contextlib.suppress(Problem):
            worker.take(key)
            let += 1
    return let


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"Bearer abc", "abc"),
        (b"bearer  abc ", "abc"),
        (b"Basic " + base64.b64encode(b"abc:"), "abc"),
        (b"Basic " + base64.b64encode(b"abc:secret"), "abc"),
        (b"Basic !!!", ""),
        (b"Digest abc", ""),
        (b"", ""),
    ],
)
def test_where_the_key_stands(header: bytes, text: str) -> None:
    assert key_text(header) == text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


class Door:
    """Access with a clock that can be moved."""

    def __init__(self, keys: SqlKeys, loopback: bool = True, origins: tuple[str, ...] = ()) -> None:
        self.now = 0.0
        self.access = Access(lambda: keys, loopback=loopback, rates=Rates(0), origins=origins, clock=lambda: self.now)

    def check(self, needed: str = "collect", **headers: str) -> str | int:
        try:
            return asyncio.run(self.access.check(scope(**headers), needed))
        except Problem as problem:
            return problem.status


@pytest.fixture
def keys(tmp_path: Path) -> Any:
    keys = SqlKeys(f"sqlite:///{tmp_path / 'state.db'}")
    yield keys
    keys.close()


NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_scopes(keys: SqlKeys) -> None:
    _, text = keys.create(["collect"], "web", NOW)
    door = Door(keys, loopback=False)
    assert door.check(authorization=f"Bearer {text}") == "web"
    basic = base64.b64encode(f"{text}:".encode()).decode()
    assert door.check(authorization=f"Basic {basic}") == "web"
    assert door.check("read", authorization=f"Bearer {text}") == 403
    assert door.check(authorization=f"Bearer {text[:-1]}") == 401
    assert door.check() == 401


def test_loopback_goes_without_keys_until_the_first_is_made(keys: SqlKeys) -> None:
    door = Door(keys)
    assert door.check() == ""
    assert door.check(authorization="Basic " + base64.b64encode(b"any:").decode()) == ""
    assert Door(keys, loopback=False).check() == 401
    key, _ = keys.create(["collect"], "web", NOW)
    door.now = access.FRESH_S + 1
    assert door.check() == 401
    keys.revoke(key.prefix, NOW)
    assert Door(keys).check() == 401


def test_a_revoked_key_ends_within_seconds(keys: SqlKeys) -> None:
    key, text = keys.create(["collect"], "web", NOW)
    door = Door(keys)
    assert door.check(authorization=f"Bearer {text}") == "web"
    keys.revoke(key.prefix, NOW)
    assert door.check(authorization=f"Bearer {text}") == "web"
    door.now = access.FRESH_S + 0.1
    assert door.check(authorization=f"Bearer {text}") == 401


def test_where_the_state_is_away_known_keys_stay_good(keys: SqlKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = keys.create(["collect"], "web", NOW)
    door = Door(keys)
    assert door.check(authorization=f"Bearer {text}") == "web"

    def away(_text: str) -> None:
        raise WorkspaceError("the state is away")

    monkeypatch.setattr(keys, "find", away)
    door.now = access.FRESH_S + 1
    assert door.check(authorization=f"Bearer {text}") == "web"
    assert door.check(authorization=f"Bearer {text[:-1]}x") == 503
    door.now = access.GRACE_S + 1
    assert door.check(authorization=f"Bearer {text}") == 503


def test_without_keys_any_text_will_do_while_the_state_is_away(keys: SqlKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: str) -> None:
        raise WorkspaceError("the state is away")

    door, stranger, looked = Door(keys), Door(keys), Door(keys)
    assert door.check() == ""
    asyncio.run(looked.access.look())
    for name in ("find", "any"):
        monkeypatch.setattr(keys, name, away)
    door.now = access.FRESH_S + 1
    assert door.check(authorization="Basic " + base64.b64encode(b"any:").decode()) == ""
    assert stranger.check() == 503, "what it never knew to be open stays closed"
    assert looked.check() == ""
    door.now = access.GRACE_S + 1
    assert door.check() == 503


def test_requests_do_not_queue_for_a_state_that_hangs(keys: SqlKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred with a key that was good: those that hold a thread wait once, then nobody does: one tries."""
    _, text = keys.create(["collect"], "web", NOW)
    door, asked = Door(keys, loopback=False), [0]
    sent = scope(authorization=f"Bearer {text}")

    def hang(_text: str) -> None:
        asked[0] += 1
        time.sleep(0.3)
        raise WorkspaceError("no answer")

    async def rush(requests: int) -> set[str]:
        return set(await asyncio.gather(*(door.access.check(sent, "collect") for _ in range(requests))))

    assert asyncio.run(rush(1)) == {"web"}
    monkeypatch.setattr(keys, "find", hang)
    for seconds, threads in ((access.FRESH_S + 1, 40), (2 * access.FRESH_S, 1)):  # asyncio has 32 at most
        door.now, asked[0], begun = seconds, 0, time.monotonic()
        assert asyncio.run(rush(200)) == {"web"}
        assert 1 <= asked[0] <= threads and time.monotonic() - begun < 2


def test_no_key_is_remembered_as_text_and_memory_is_bounded(keys: SqlKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST", 8)
    _, text = keys.create(["collect"], "web", NOW)
    door = Door(keys)
    for number in range(30):
        door.check(authorization=f"Bearer wrong-{number}")
    door.check(authorization=f"Bearer {text}")
    assert len(door.access._found) == 8
    assert all(isinstance(digest, bytes) and len(digest) == 32 for digest in door.access._found)


def test_without_keys_strange_pages_are_refused(keys: SqlKeys) -> None:
    door = Door(keys, origins=("https://shop.example",))
    assert door.check(origin="https://evil.example") == 403
    assert door.check(origin="https://shop.example") == ""
    assert door.check(origin="http://localhost:3000") == ""
    assert door.check(origin="null") == 403
    assert door.check(host="127.0.0.1:8420") == ""
    assert door.check(host="[::1]:8420") == ""
    assert door.check(host="rebound.example:8420") == 403
    assert door.check(host="[") == 403


def test_metrics_are_summed_over_processes_and_read_by_prometheus() -> None:
    board = make_board(3)
    worker, other, keeper = Metrics(board, 1, 3), Metrics(board, 2, 3), Metrics(board, 0, 3)
    worker.request("decide", 200, 0.004)
    other.request("decide", 200, 0.02)
    other.request("decide", 503, 20.0)
    worker.rejected("time", 3)
    worker.rejected("something unheard of")
    for each in (worker, other):
        each.set("footfall_plan_version", 7)
    keeper.set("footfall_leads", 1)
    found = {s.name + str(sorted(s.labels.items())): s.value for f in families(keeper) for s in f.samples}
    assert found["footfall_requests_total[('route', 'decide'), ('status', '2xx')]"] == 2
    assert found["footfall_requests_total[('route', 'decide'), ('status', '5xx')]"] == 1
    assert found["footfall_request_seconds_count[('route', 'decide')]"] == 3
    assert found["footfall_request_seconds_sum[('route', 'decide')]"] == pytest.approx(20.024)
    assert found["footfall_request_seconds_bucket[('le', '0.005'), ('route', 'decide')]"] == 1
    assert found["footfall_request_seconds_bucket[('le', '10.0'), ('route', 'decide')]"] == 2
    assert found["footfall_events_rejected_total[('reason', 'other')]"] == 1
    assert found["footfall_plan_version[]"] == 7
    assert found["footfall_leads[]"] == 1
    again = Metrics(board, 1, 3)  # a worker that was started again goes on counting
    again.rejected("time")
    assert keeper.value("footfall_events_rejected", "time") == 4


def families(metrics: Metrics) -> Any:
    return text_string_to_metric_families(metrics.text().decode())


def test_the_board_has_a_fixed_size() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.rejected(f"reason {number}")
        metrics.request("other", 404, number)
    assert len(metrics._all) == WIDTH > len(CELLS)


def test_errors_become_problems() -> None:
    assert of_error(InputError("wrong", "mend it")).members() == {
        "type": "urn:footfall:problem:bad-request",
        "title": "Bad Request",
        "status": 400,
        "detail": "wrong",
        "way_out": "mend it",
    }
    assert of_error(WorkspaceError("full")).status == 503


def test_the_description_of_calls_names_what_is_read() -> None:
    for described, read in ((bodies.TrackedCall, calls.Call), (bodies.TrackedBatch, calls.Batch)):
        assert set(described.__struct_encode_fields__) == set(read.__struct_encode_fields__)


def test_the_whole_description_can_be_made() -> None:
    told = describe(list(HANDLERS))
    assert json.loads(json.dumps(told)) == told
    refs = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(told)))
    assert refs <= set(told["components"]["schemas"])
    for methods in told["paths"].values():
        for operation in methods.values():
            assert "4XX" in operation["responses"] and "400" not in operation["responses"]


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * 33 + b"]" * 33, True),
        (b"[" * 32 + b"]" * 32, False),
        (b'{"a":"' + b"[" * 100 + b'"}', False),
        (b'{"context":' + b"[" * 40 + b'"' + b'\\"' * 100_000, True),  # a string that is never closed
        (b'["' + b"\\" * 99_999, False),  # for the decoder to refuse
        (b"[]" * 100_000, False),
        (b"[" * 200_000 + b"]" * 200_000, True),
    ],
)
def test_depth_is_told_whatever_the_body(body: bytes, deep: bool) -> None:
    if deep:
        with pytest.raises(Problem, match="nested deeper"):
            check_depth(body, 32)
    else:
        check_depth(body, 32)


def test_a_gzip_body_of_very_many_members_is_refused() -> None:
    with pytest.raises(Problem, match="members"):
        unpack(gzip.compress(b"") * 1000, b"gzip", 10_000)
    assert unpack(gzip.compress(b"a") + gzip.compress(b"b"), b"gzip", 10) == b"ab"
