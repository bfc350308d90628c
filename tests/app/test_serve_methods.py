"""Methods of the service's addresses, over sockets: GET has HEAD beside it, and what is refused says what there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from talking import Worker, request, started

from footfall.app.messaging import unsubscribe_secret
from footfall.retain.links import token

READ = (
    "/healthz", "/readyz", "/metrics", "/schema", "/schema/openapi.json", "/v1/value", "/v1/plan", "/v1/plan?by=pair",
    "/v1/plan?by=nothing", "/v1/providers/shop-a/explain", "/v1/decisions/none", "/nothing",
)  # fmt: skip
HOT = ("/v1/events", "/v1/batch", "/v1/track", "/v1/decide", "/v1/offers/redeem")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    yield from started(tmp_path_factory.mktemp("methods"))


@pytest.mark.parametrize("path", READ)
def test_head_is_get_without_its_body(worker: Worker, path: str) -> None:
    """RFC 9110, 9.1 and 9.3.2: a server has to know both; monitors ask /healthz by HEAD."""
    got, head = (worker.ask(path, b"", method=method) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (got.status, b"") and got.body
    assert head.headers.keys() == got.headers.keys()
    if path not in ("/readyz", "/metrics"):  # these change
        assert head.headers == got.headers
    if "etag" in got.headers:
        known = worker.ask(path, b"", f"If-None-Match: {got.headers['etag']}", method="HEAD")
        assert (known.status, known.body) == (304, b"")


def test_what_comes_after_head_is_answered(worker: Worker) -> None:
    sent = b"".join(request("/v1/plan", b"", method=method) for method in ("HEAD", "HEAD", "GET"))
    with worker.connect() as there:
        there.sendall(sent + request("/healthz", b"", "Connection: close", method="HEAD"))
        told = b""
        while more := there.recv(1 << 16):
            told += more
    assert told.count(b"HTTP/1.1 200 ") == 4 and told.count(b'"plan_id"') == 1


@pytest.mark.parametrize(
    ("path", "methods", "allowed"),
    [(path, ("POST", "PUT", "PATCH", "DELETE", "PROPFIND"), {"GET", "HEAD", "OPTIONS"}) for path in READ[:-1]]
    + [(path, ("GET", "HEAD", "PUT", "DELETE", "PROPFIND"), {"POST", "OPTIONS"}) for path in HOT],
)
def test_a_method_that_is_refused_is_told_which_there_are(
    worker: Worker, path: str, methods: tuple[str, ...], allowed: set[str]
) -> None:
    """RFC 9110, 15.5.6: a 405 has to carry Allow."""
    for method in methods:
        found = worker.ask(path, b"", method=method)
        assert (found.status, set(found.headers["allow"].split(", "))) == (405, allowed)
        if method != "HEAD":
            assert found.json["type"] == "urn:footfall:problem:method-not-allowed"
    options = worker.ask(path, b"", method="OPTIONS")
    assert (options.status, set(options.headers["allow"].split(", "))) == (204, allowed)


def test_the_link_of_a_letter_says_its_methods(worker: Worker) -> None:
    path = "/u/" + token(unsubscribe_secret(worker.here), "ann", "ann@example.com")
    found = worker.ask(path, b"", method="PUT")
    assert (found.status, found.headers["allow"]) == (405, "GET, HEAD, POST")
