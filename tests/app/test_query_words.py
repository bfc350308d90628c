"""Words of a query: what an address does not know is refused, and the description says what it knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serving import planned_workspace
from talking import Worker

from footfall import open_workspace


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    found = Worker(open_workspace(planned_workspace(tmp_path_factory.mktemp("words") / "shop")))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("path", "word", "near"),
    [
        ("/v1/value?asof=2026-11-01", "asof", "as_of"),
        ("/v1/value?by=pair&From=2026-11-01", "From", "from"),
        ("/v1/value?sort=value", "sort", ""),
        ("/v1/value?foo", "foo", ""),
        ("/v1/plan?verson=3", "verson", "version"),
        ("/v1/plan?as_of=2026-11-01", "as_of", ""),
        ("/v1/providers/shop-a/explain?by=pair", "by", ""),
        ("/v1/decisions/none?limit=5", "limit", ""),
        ("/v1/value?%3Cb%3E=1", "<b>", ""),
    ],
)
def test_an_unknown_word_is_refused(worker: Worker, path: str, word: str, near: str) -> None:
    """It was passed over, and other words answered than were meant."""
    found = worker.ask(path, b"", method="GET")
    assert (found.status, found.json["type"]) == (400, "urn:footfall:problem:bad-request")
    assert repr(word) in found.json["detail"]
    described = worker.ask("/schema/openapi.json", b"", method="GET").json["paths"]
    (operation,) = (told["get"] for address, told in described.items() if _is(address, path.partition("?")[0]))
    known = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
    way_out = found.json["way_out"]
    assert all(name in way_out for name in known) and (known or way_out == "this address takes no words")
    assert f"did you mean {near}" in way_out or not near
    assert worker.ask(path, b"", method="HEAD").status == 400


def _is(address: str, path: str) -> bool:
    pairs = list(zip(address.split("/"), path.split("/"), strict=False))
    return len(address.split("/")) == len(path.split("/")) and all(a == b or a.startswith("{") for a, b in pairs)


@pytest.mark.parametrize(
    "words", ["by=provider&by=pair", "limit=5&limit=5", "by=pair&limit=1&%62y=pair", "cursor&cursor"]
)
def test_a_word_stands_once(worker: Worker, words: str) -> None:
    """The last one counted."""
    found = worker.ask(f"/v1/plan?{words}", b"", method="GET")
    assert found.status == 400 and "stands 2 times" in found.json["detail"]


def test_known_words_are_answered(worker: Worker) -> None:
    for path in (
        "/v1/value?by=pair&limit=1",
        "/v1/value?by=provider&",
        "/v1/plan?by=pair&limit=1&version=1",
        "/healthz?now=1",
        "/schema?a=1",
    ):
        assert worker.ask(path, b"", method="GET").status == 200
    assert worker.ask("/v1/events?a=1", b"{}").status == 200  # other people's programs send what they like


@pytest.mark.parametrize("path", ["/v1/decide", "/v1/offers/redeem"])
def test_decide_and_redeem_take_none(worker: Worker, path: str) -> None:
    found = worker.ask(f"{path}?slots=3", b"{}")
    assert (found.status, found.json["way_out"]) == (400, "this address takes no words")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/decide", b'{"slot": 2}'),
        ("/v1/offers/redeem", b'{"code":"a","person":"b","order_id":"c","amount":"1","ofer":"d"}'),
    ],
)
def test_an_unknown_member_of_a_body_is_refused(worker: Worker, path: str, body: bytes) -> None:
    found = worker.ask(path, body)
    assert found.status == 400 and ("`slot`" if "decide" in path else "`ofer`") in found.json["detail"]


@pytest.mark.parametrize(
    ("words", "status"),
    [("from=2026-11-02&to=2026-11-01", 400), ("as_of=2000-01-01", 409), ("as_of=2999-01-01", 409)],
)
def test_refusals_speak_of_the_querys_words(worker: Worker, words: str, status: int) -> None:
    found = worker.ask(f"/v1/value?{words}", b"", method="GET")
    told = f"{found.json['detail']} {found.json['way_out']}"
    assert found.status == status and "--" not in told
    assert all(word.partition("=")[0] in told for word in words.split("&"))
