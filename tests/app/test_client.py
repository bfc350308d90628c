"""footfall.Client against a made-up service: retries, back-off, and the local order when nobody answers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from footfall import Client
from footfall.errors import InputError, ServiceError

Answer = Callable[[httpx.Request], httpx.Response]
DECIDED = {
    "decision_id": "d1",
    "choices": [{"provider_id": "b", "propensity": 0.75}],
    "plan_version": 3,
    "pacing_version": 2,
    "mode": "live",
    "logged": True,
}

TAKEN = {"success": True, "accepted": 1, "rejected": 0}  # one event, as /schema describes CollectBody


class Service:
    """Answers from a list, then its last one for ever; remembers requests and pauses."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options: object) -> Client:
        transport = httpx.MockTransport(self)
        return Client("http://service", transport=transport, sleep=self.pauses.append, **options)  # type: ignore[arg-type]


def test_events_get_ids_and_times_and_are_sent_again_with_the_same_ids() -> None:
    service = Service(
        httpx.Response(503), httpx.ConnectError("away"), httpx.Response(200, json=TAKEN | {"accepted": 2})
    )
    with service.client(key="ff_secret") as client:
        ids = client.send([{"name": "page_view", "visitor_id": "v"}, {"name": "purchase", "message_id": "mine"}])
    assert ids[1] == "mine" and len(ids[0]) == 32
    bodies = {request.content for request in service.requests}
    assert len(service.requests) == 3 and len(bodies) == 1
    first = json.loads(bodies.pop().split(b"\n")[0])
    assert first["message_id"] == ids[0] and datetime.fromisoformat(first["ts"]).tzinfo is not None
    assert service.requests[0].headers["authorization"] == "Bearer ff_secret"
    assert len(service.pauses) == 2 and service.pauses[1] > service.pauses[0] * 0.5


@pytest.mark.parametrize(("told", "least_s"), [(b"7", 7), ("\u00b2".encode("latin-1"), 0)])  # a digit that is no number
def test_retry_after_is_kept(told: bytes, least_s: float) -> None:
    late = httpx.Response(429, headers=[(b"retry-after", told)])
    service = Service(late, httpx.Response(200, json=TAKEN))
    service.client().track("page_view", visitor_id="v")
    assert service.pauses[0] >= least_s


def test_nobody_waits_a_day_because_something_between_says_so() -> None:
    """``retry-after`` is kept up to a minute."""
    service = Service(httpx.Response(503, headers={"retry-after": "86400"}), httpx.Response(200, json=TAKEN))
    service.client().track("page_view", visitor_id="v")
    assert service.pauses == [60.0]


def test_retries_end() -> None:
    service = Service(httpx.Response(503, json={"detail": "the disk is full"}))
    with pytest.raises(ServiceError, match=r"after 3 tries: 503 the disk is full"):
        service.client(retries=2).track("page_view")
    assert len(service.requests) == 3


def test_a_refusal_is_not_tried_again() -> None:
    service = Service(httpx.Response(403, json={"detail": "no scope", "way_out": "make a key"}))
    with pytest.raises(ServiceError, match="no scope") as caught:
        service.client().track("page_view")
    assert caught.value.status == 403 and caught.value.way_out == "make a key" and len(service.requests) == 1


def test_events_kept_aside_are_told() -> None:
    service = Service(httpx.Response(200, json=TAKEN | {"accepted": 0, "rejected": 1, "reasons": {"ts: no time": 1}}))
    with pytest.raises(ServiceError, match="1 of 1 events"):
        service.client().track("page_view")


def test_a_decision() -> None:
    service = Service(httpx.Response(200, json=DECIDED))
    chosen = service.client().decide("v", segment={"channel": "email"}, candidates=["a", "b"], slots=1)
    assert (chosen.choices, chosen.propensities, chosen.decision_id, chosen.local) == (("b",), (0.75,), "d1", False)
    assert json.loads(service.requests[0].content) == {
        "visitor_id": "v",
        "segment": {"channel": "email"},
        "candidates": ["a", "b"],
        "slots": 1,
    }


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.DecodingError("no gzip"),
        httpx.Response(503, json={"detail": "no plan"}),
        httpx.Response(503, json=["busy"]),
        httpx.Response(500, json={"detail": "a defect"}),
        httpx.Response(302, headers={"location": "http://elsewhere/"}),
        httpx.Response(408),
        httpx.Response(204),
        httpx.Response(200, content=b"<html>sign in</html>"),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(200, json=None),
        httpx.Response(200, json=[DECIDED]),
        httpx.Response(200, json={}),
        httpx.Response(200, json=DECIDED | {"choices": None}),
        httpx.Response(200, json=DECIDED | {"choices": [{"provider_id": "b"}]}),
        httpx.Response(200, json=DECIDED | {"choices": [{"provider_id": None, "propensity": 0.5}]}),
        httpx.Response(200, json=DECIDED | {"choices": ["b"]}),
        httpx.Response(200, json=DECIDED | {"decision_id": 5}),
        httpx.Response(200, json={k: v for k, v in DECIDED.items() if k != "logged"}),
    ],
)
def test_away_the_callers_order_is_answered_and_the_service_is_left_alone_for_a_while(
    trouble: httpx.Response | Exception,
) -> None:
    service = Service(trouble)
    client = service.client()
    chosen = client.decide("v", candidates=["a", "b", "c"], slots=2)
    assert (chosen.choices, chosen.propensities, chosen.decision_id) == (("a", "b"), (None, None), None)
    assert chosen.local and chosen.reason
    asked = len(service.requests)
    assert client.decide("v", candidates=["c", "a"], fallback=["z"]).choices == ("z",)
    assert len(service.requests) == asked
    assert service.pauses == []


@pytest.mark.parametrize("what", ["body", "headers", "proxy"])
def test_a_decision_ends_in_its_time_whatever_trickles(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real socket: each byte comes in time, 40 a second for ten seconds, the whole does not."""
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    body = json.dumps(DECIDED).encode().ljust(400)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    whole, slowly = (answer, body) if what == "body" else (b"", answer + body)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle() -> None:
            there, _ = listening.accept()
            with there, contextlib.suppress(OSError):
                there.sendall(whole)
                for number in range(400):
                    there.sendall(slowly[number : number + 1])
                    time.sleep(0.025)

        thread = threading.Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if what == "proxy":
            monkeypatch.setenv("HTTP_PROXY", url)
            url = "http://service.invalid"
        with Client(url, decide_timeout_s=0.25) as client:
            begun = time.monotonic()
            chosen = client.decide("v", candidates=["a", "b"])
            took = time.monotonic() - begun
        thread.join()
    assert (chosen.local, chosen.choices) == (True, ("a",)) and str(chosen.reason).startswith("ReadTimeout: ")
    assert took < 2.0


def test_what_is_left_of_a_decisions_time_bounds_each_step() -> None:
    """A peer that says a little after 0.7 s and then nothing has 0.3 s left of a second, not a second more."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            there, _ = listening.accept()
            with there:
                there.recv(1 << 16)
                time.sleep(0.7)
                there.sendall(b"HTTP/1.1 200 OK\r\n")
                done.wait(10)

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(f"http://127.0.0.1:{listening.getsockname()[1]}", decide_timeout_s=1.0) as client:
            begun = time.monotonic()
            chosen = client.decide("v", candidates=["a"])
            took = time.monotonic() - begun
        done.set()
        thread.join()
    assert chosen.local and 0.9 < took < 1.5


def test_a_decision_ends_in_its_time_while_it_is_taken_in_drop_by_drop() -> None:
    """A peer reads 128 kB every 0.02 s: the 32 megabytes of what is asked would take five seconds."""
    done = threading.Event()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def take() -> None:
            there, _ = listening.accept()
            with there:
                while not done.wait(0.02) and there.recv(1 << 17):
                    pass

        thread = threading.Thread(target=take)
        thread.start()
        with Client(f"http://127.0.0.1:{listening.getsockname()[1]}", decide_timeout_s=0.5) as client:
            begun = time.monotonic()
            chosen = client.decide("v", candidates=["a"], context={"x": "y" * 32_000_000})
            took = time.monotonic() - begun
        done.set()
        thread.join()
    assert chosen.local and str(chosen.reason).startswith("WriteTimeout: ")
    assert took < 2.0


@pytest.mark.parametrize("closed", [httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError])
def test_a_decision_is_tried_once_more_where_a_connection_was_closed(closed: type[httpx.TransportError]) -> None:
    service = Service(closed("closed"), httpx.Response(200, json=DECIDED))
    assert not service.client().decide("v", candidates=["a"]).local and len(service.requests) == 2
    service = Service(closed("closed"), closed("closed"), httpx.Response(200, json=DECIDED))
    assert service.client().decide("v", candidates=["a"]).local and len(service.requests) == 2


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def set_proxy(monkeypatch: pytest.MonkeyPatch, name: str, proxy: str) -> None:
    for one in PROXIES:
        monkeypatch.delenv(one, raising=False)
        monkeypatch.delenv(one.upper(), raising=False)
    monkeypatch.setenv(name, proxy)


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "socks5://127.0.0.1:1", "ftp://x", "http://["])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_service_on_this_machine_is_asked_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, host: str, proxy: str
) -> None:
    """The proxy's own loopback is another machine's; the service was taken for away, and the proxy got the key."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        set_proxy(monkeypatch, name, proxy)
        with answering(json.dumps(DECIDED).encode()) as port, Client(f"http://{host}:{port}") as client:
            assert client.decide("v", candidates=["a", "b"]).choices == ("b",)


def test_a_service_elsewhere_is_asked_by_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(json.dumps(DECIDED).encode()) as port:
        set_proxy(monkeypatch, "HTTP_PROXY", f"http://127.0.0.1:{port}")
        with Client("http://footfall.invalid") as client:
            assert client.decide("v", candidates=["a", "b"]).choices == ("b",)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://x", "http://x:port"])
def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    set_proxy(monkeypatch, "ALL_PROXY", proxy)
    if proxy.startswith("socks5"):
        monkeypatch.setitem(sys.modules, "socksio", None)  # as where the package is not installed
    with pytest.raises(InputError, match="proxy") as caught:
        Client("http://footfall.invalid")
    assert "NO_PROXY" in caught.value.way_out
    with pytest.raises(InputError, match="Invalid port"):
        Client("http://footfall.invalid:port")


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[int]:
    """The port of a server that answers one connection's requests alike."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with contextlib.suppress(OSError):
                there, _ = listening.accept()
                with there:
                    while there.recv(1 << 16):
                        there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_deadline_is_that_of_decisions_only() -> None:
    """What else is asked may take its time for each step, in the same thread and on the same connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            there, _ = listening.accept()
            with there:
                for told in (DECIDED, {"lines": []}):
                    there.recv(1 << 16)
                    body = json.dumps(told).encode()
                    sent = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                    time.sleep(0.0 if told is DECIDED else 0.5)
                    there.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(f"http://127.0.0.1:{listening.getsockname()[1]}", decide_timeout_s=0.4, timeout_s=10.0) as client:
            assert client.decide("v").choices == ("b",)
            assert client.explain("b") == {"lines": []}
        thread.join()


FORKS = """
import os, sys
from footfall import Client
client = Client(sys.argv[1], decide_timeout_s=20.0)
assert client.decide("parent").decision_id == "parent"
def child(name):
    right = client.decide(name).decision_id == name and client.decide(name).decision_id == name
    os._exit(0 if right else 1)
pids = []
for name in ("left", "right"):
    pid = os.fork()
    if pid == 0:
        child(name)
    pids.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
assert client.decide("parent").decision_id == "parent"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_asks_by_connections_of_its_own() -> None:
    """Processes that share a connection read each other's answers."""
    by_connection: list[list[str]] = []

    def answer(there: socket.socket, names: list[str]) -> None:
        with there:
            while asked := there.recv(1 << 16):
                while not asked.endswith(b"}"):
                    asked += there.recv(1 << 16)
                names.append(json.loads(asked.partition(b"\r\n\r\n")[2])["visitor_id"])
                body = json.dumps(DECIDED | {"decision_id": names[-1]}).encode()
                there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                there, _ = listening.accept()
                by_connection.append([])
                threading.Thread(target=answer, args=(there, by_connection[-1])).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        subprocess.run([sys.executable, "-c", FORKS, url], check=True, timeout=120)
        listening.shutdown(socket.SHUT_RDWR)
    assert sorted(by_connection) == [["left", "left"], ["parent", "parent"], ["right", "right"]]


def test_without_candidates_the_clients_own_order_is_answered() -> None:
    client = Service(httpx.ConnectError("refused")).client(fallback=["x", "y"])
    assert client.decide("v", slots=5).choices == ("x", "y")


def test_a_decision_that_was_not_logged_has_no_id() -> None:
    service = Service(httpx.Response(200, json=DECIDED | {"logged": False}))
    assert service.client().decide("v").decision_id is None


def test_a_wrong_question_is_an_error_not_a_fallback() -> None:
    service = Service(httpx.Response(400, json={"detail": "candidate 'a' stands there twice"}))
    with pytest.raises(ServiceError, match="twice"):
        service.client().decide("v", candidates=["a", "a"])


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>sign in</html>", b"[" * 100_000])
@pytest.mark.parametrize("status", [200, 302, 404])
def test_answers_of_something_else_are_errors_of_the_service(status: int, body: bytes) -> None:
    service = Service(httpx.Response(status, content=body))
    with pytest.raises(ServiceError) as caught:
        service.client().track("page_view")
    assert caught.value.status == status and len(service.requests) == 1


@pytest.mark.parametrize(
    "told",
    [{}, {"ok": True}, {"success": True}, TAKEN | {"accepted": 0}, TAKEN | {"accepted": 2}, TAKEN | {"accepted": 3},
     TAKEN | {"accepted": "2"}, TAKEN | {"accepted": 0, "rejected": "none"}, TAKEN | {"accepted": True}],
)  # fmt: skip
def test_events_are_taken_only_where_the_service_says_so(told: dict[str, Any]) -> None:
    """Any object with the status 200 was taken for "on disk"."""
    service = Service(httpx.Response(200, json=told))
    events = [{"name": "page_view", "visitor_id": "v"}] * 2
    if told == TAKEN | {"accepted": 2}:
        assert len(service.client().send(events)) == 2
    else:
        with pytest.raises(ServiceError, match="none of Footfall's"):
            service.client().send(events)


@pytest.mark.parametrize("told", [{}, {"items": []}, {"items": None, "next": None}, {"items": [1], "next": None},
                                  {"items": [], "next": 5}])  # fmt: skip
def test_pages_of_something_else_are_errors_of_the_service(told: dict[str, Any]) -> None:
    page = httpx.Response(200, json={"items": [], "next": "c1"})
    for answers in ((httpx.Response(200, json=told),), (page, httpx.Response(200, json=told))):
        for ask in (Client.value, Client.plan):
            with pytest.raises(ServiceError, match="none of Footfall's"):
                ask(Service(*answers).client())


def test_the_plan_has_the_items_of_all_pages() -> None:
    service = Service(
        httpx.Response(200, json={"version": 3, "items": [{"provider_id": "a"}], "next": "c1"}),
        httpx.Response(200, json={"version": 3, "items": [{"provider_id": "b"}], "next": None}),
    )
    assert service.client().plan(3) == {
        "version": 3,
        "items": [{"provider_id": "a"}, {"provider_id": "b"}],
        "next": None,
    }
    assert dict(service.requests[1].url.params) == {"by": "provider", "version": "3", "cursor": "c1"}


def test_pages_are_joined() -> None:
    service = Service(
        httpx.Response(200, json={"items": [{"provider_id": "a"}], "next": "c1"}),
        httpx.Response(200, json={"items": [{"provider_id": "b"}], "next": None}),
    )
    assert [row["provider_id"] for row in service.client().value("provider", from_="2026-01-01")] == ["a", "b"]
    assert dict(service.requests[1].url.params) == {"by": "provider", "from": "2026-01-01", "cursor": "c1"}


def test_ids_are_quoted() -> None:
    service = Service(httpx.Response(200, json={"lines": []}))
    service.client().explain("a/b c?")
    assert service.requests[0].url.raw_path == b"/v1/providers/a%2Fb%20c%3F/explain"


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match="timeout_s"):
        Client(timeout_s=0)
    with pytest.raises(InputError, match="time zone"):
        Service(httpx.Response(200)).client().track("x", ts=datetime(2026, 1, 1))
    aware = Service(httpx.Response(200, json=TAKEN))
    aware.client().track("x", ts=datetime(2026, 1, 1, tzinfo=UTC))
    assert json.loads(aware.requests[0].content)["ts"] == "2026-01-01T00:00:00+00:00"
    empty = Service(httpx.Response(200, json=TAKEN))
    empty.client().send([{"name": "x", "ts": None, "message_id": None}])
    sent = json.loads(empty.requests[0].content)
    assert sent["ts"] and len(sent["message_id"]) == 32


@pytest.mark.parametrize("url", ["127.0.0.1:8420", "localhost:8420", "", "http://", "ftp://h", "http://h:99999"])
def test_an_address_that_is_none_is_refused_and_not_taken_for_a_service_that_is_away(url: str) -> None:
    with pytest.raises(InputError, match="url"):
        Client(url)


@pytest.mark.parametrize("key", ["ff_\u043a\u043b\u044e\u0447", "ff_a\n"])
def test_a_key_that_no_header_holds_is_refused_without_telling_it(key: str) -> None:
    with pytest.raises(InputError) as caught:
        Client(key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("slots", [0, -1])
def test_slots_below_one_are_refused_whether_the_service_is_there_or_not(slots: int) -> None:
    client = Service(httpx.ConnectError("refused")).client()
    for _ in range(2):
        with pytest.raises(InputError, match="slots"):
            client.decide("v", candidates=["a", "b", "c"], slots=slots)
        client.decide("v", candidates=["a"])
