"""From the inbox to the lake: each event once, whatever is sent twice, killed, or run at the same time."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from footfall.config import CollectSettings, Config, RecordSettings, WorkspaceSettings
from footfall.errors import WorkspaceError
from footfall.model import DECISION_COLUMNS
from footfall.record import drained, posted, tracking
from footfall.record.drained import Drained
from footfall.record.gate import Gate
from footfall.record.quarantine import rejects
from footfall.record.relations import sql
from footfall.record.sources import source_maps
from footfall.stores.engine import DuckEngine
from footfall.stores.inbox import SqliteInbox
from footfall.stores.lake import Lake
from footfall.testing import FixedClock

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


@cache
def _engine() -> DuckEngine:
    return DuckEngine(256, 2, Path(tempfile.gettempdir()) / f"footfall-drain-tests-{os.getpid()}")


class Place:
    """Inbox, lakes and quarantine in a folder."""

    def __init__(self, folder: Path, config: Config | None = None) -> None:
        self.folder = folder
        self.config = config or Config()
        self.inbox = SqliteInbox(folder / "inbox.db")
        self.lake = Lake(folder / "lake" / "events")
        self.decisions = Lake(folder / "lake" / "decisions", columns=DECISION_COLUMNS, view="decisions")
        self.quarantine = folder / "quarantine"
        self.clock = FixedClock(NOW)
        self.engine = _engine()

    def post(self, *events: dict[str, Any], at: datetime = NOW, one_row: bool = True) -> None:
        """Through the gate into the inbox, as one request."""
        body = b"\n".join(json.dumps(e).encode() for e in events)
        taken = posted.take(body, Gate(self.config), "api", at, 1_000_000)
        bodies = [taken.body] if one_row else taken.body.splitlines()
        self.inbox.append([("event", b) for b in bodies if b])
        if taken.kept:
            self.inbox.append([("reject", taken.kept_lines())])

    def drain(self, **options: Any) -> Drained:
        return drained.drain(
            self.inbox, self.lake, self.decisions, self.engine, self.config, self.clock,
            quarantine_dir=self.quarantine, **options,
        )  # fmt: skip

    def rows(self, columns: str = "*", view: str = "events") -> list[dict[str, Any]]:
        (self.lake if view == "events" else self.decisions).attach(self.engine)
        found: list[dict[str, Any]] = self.engine.query(f"SELECT {columns} FROM {view} ORDER BY message_id").to_pylist()
        return found

    def ids(self, view: str = "events") -> list[str]:
        return [row["message_id"] for row in self.rows("message_id", view)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.inbox.close()


def event(message_id: str, day: int = 1, **fields: Any) -> dict[str, Any]:
    plain = {"ts": f"2024-05-{day:02}T10:00:00Z", "name": "page_view", "visitor_id": "v", "provider_id": "p"}
    return {"message_id": message_id, **plain, **fields}


def decision(message_id: str, day: int = 1) -> bytes:
    return msgspec.json.encode(
        {
            "message_id": message_id, "ts": f"2024-05-{day:02}T10:00:00.5Z", "day": f"2024-05-{day:02}",
            "visitor_id": "v", "segment": "web", "candidates": ["a", "b"], "unavailable": [], "eligible": 2, "slots": 1,
            "choices": ["a"], "propensities": [0.75], "reserved": [1_000_000], "explore": 0.05, "mode": "live",
            "plan_version": 3, "pacing_version": 0, "worker_id": "w", "context": {"page": "home"},
        }
    )  # fmt: skip


def test_events_go_to_the_lake_with_all_their_fields(place: Place) -> None:
    place.config = Config(workspace=WorkspaceSettings(timezone="Asia/Taipei"))
    at = NOW + timedelta(microseconds=5)
    place.post(event("a", ts="2024-05-01T20:00:00.25Z", name="purchase", amount="1,234.50", order_id="o", channel="c",
                     properties={"size": 1}, position=3, propensity=0.5, country="TW"), at=at)  # fmt: skip
    found = place.drain()
    assert (found.events, found.duplicates, found.rejected, found.through) == (1, 0, 0, 1)
    (row,) = place.rows()
    assert row["day"].isoformat() == "2024-05-02"  # 04:00 of the next day in Taipei
    assert row["ts"] == datetime(2024, 5, 1, 20, 0, 0, 250_000)
    assert (row["amount_minor"], row["position"], row["propensity"], row["country"]) == (123450, "3", 0.5, "TW")
    assert (row["source"], row["properties"]) == ("api", '{"size":1}')
    assert row["received_at"] == datetime(2024, 6, 1, 12, 0, 0, 5)
    assert place.inbox.counts()["event"] == 0


def test_the_quick_way_and_the_close_look_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = Config(  # which has two offsets a year
        workspace=WorkspaceSettings(timezone="Europe/Berlin"), collect=CollectSettings(past_days=366)
    )
    plain = [event(f"m{n}", 1 + n % 9, item_id="x" * n, campaign='\u4e2d"\\', country="") for n in range(40)]
    rare = [
        event("buy", name="purchase", amount="12.34", order_id="o", properties={"a": {"b": [1, 2.5, None]}}),
        event("back", name="refund", amount_minor=-5, order_id="o", visitor_id=None, user_id="u"),
        event("tip", name="add_to_cart", amount="-3", propensity=0.1 + 0.2, position=3),
        event("same", name="alias", user_id="u", previous_id="w", provider_id=None),
        event("tongue", locale="de", properties={}),
        event("tongues", locale="de \"x\"", properties={"z": 1}),
        event("winter", ts="2024-01-31T23:30:00Z"), event("summer", ts="2024-03-31T22:30:00.000001Z"),
        event("m1", item_id="again"), event("late", ts="2024-06-01T23:59:59+02:00", extra=[1]),
    ]  # fmt: skip
    quick, close = Place(tmp_path / "quick", zone), Place(tmp_path / "close", zone)
    for place in (quick, close):
        place.post(*plain, *rare)
    done = quick.drain()
    looked: list[str] = []

    def doubted(name: str) -> str:
        looked.append(name)
        return sql(name) + ("; UPDATE spooled SET unsound = TRUE" if name == "arrived_sound" else "")

    monkeypatch.setattr(drained, "sql", doubted)
    again = close.drain()
    assert "arrived_checked" in looked
    assert (done.events, done.duplicates, done.conflicting) == (again.events, again.duplicates, again.conflicting)
    assert done.events == 49 and done.conflicting == 1
    columns = "* EXCLUDE (batch_id)"
    assert quick.rows(columns) == close.rows(columns)


def test_the_counts_add_up(place: Place) -> None:
    place.post(event("a"), event("a"), event("a", item_id="other"), event("b"), {"name": "buy"})
    found = place.drain()
    assert (found.events, found.duplicates, found.conflicting, found.rejected) == (2, 2, 1, 1)
    assert found.through == place.inbox.counts()["last"]
    assert place.drain() == Drained()
    place.post(event("a"), event("b", item_id="x"), event("c"))
    found = place.drain()
    assert (found.events, found.duplicates, found.conflicting) == (1, 2, 1)
    assert place.ids() == ["a", "b", "c"]


def test_ids_are_known_for_seven_days_across_and_the_first_stays(place: Place) -> None:
    """As design.md has it: within a day for ever, across days for 7 of them."""
    place.post(event("a", 1))
    place.drain()
    place.post(event("a", 8))
    assert place.drain().duplicates == 1
    place.post(event("a", 9))
    assert place.drain().events == 1
    place.post(event("b", 1), event("b", 8), event("b", 9), event("b", 20))
    assert place.drain().events == 3
    assert [str(day) for _, day in sorted((r["message_id"], r["day"]) for r in place.rows("message_id, day"))] == [
        "2024-05-01", "2024-05-09", "2024-05-01", "2024-05-09", "2024-05-20",
    ]  # fmt: skip


def test_of_two_requests_with_one_id_the_earlier_stays(place: Place) -> None:
    place.post(event("a", item_id="first"))
    place.post(event("a", item_id="second"))
    assert place.drain().conflicting == 1
    assert [r["item_id"] for r in place.rows()] == ["first"]


def test_of_one_request_the_earlier_line_stays(place: Place) -> None:
    place.post(*(event("a", item_id=str(i)) for i in range(3000)))
    assert place.drain().conflicting == 2999
    assert [r["item_id"] for r in place.rows()] == ["0"]


def test_the_locale_goes_into_the_properties(place: Place) -> None:
    lines = []
    for number, properties in enumerate(["", ',"properties":{}', ',"properties":{ "a" : 1 }']):
        lines.append(
            f'{{"message_id":"{number}","ts":"2024-05-01T10:00:00Z","name":"login","visitor_id":"v"{properties},'
            '"locale":"zh-\\"TW","source":"s","received_at":"2024-06-01T12:00:00Z"}'
        )
    place.inbox.append([("event", "\n".join(lines).encode())])
    place.drain()
    locale = 'zh-"TW'
    assert [json.loads(r["properties"]) for r in place.rows()] == [
        {"locale": locale}, {"locale": locale}, {"locale": locale, "a": 1}
    ]  # fmt: skip


def test_small_passes_give_what_a_large_one_gives(tmp_path: Path) -> None:
    results = []
    for name, most in (("large", 1 << 30), ("small", 1)):
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name)
        for i in range(6):
            place.post(*(event(f"m{(7 * i + j) % 17}", 1 + (i + j) % 3) for j in range(6)), {"name": "buy", "x": i})
        total = place.drain(most_bytes=most)
        results.append((total.events, total.duplicates, total.rejected, place.ids()))
        assert len(list(rejects(place.quarantine))) == 6
        place.inbox.close()
    assert results[0] == results[1]


def test_what_was_kept_aside_can_be_mended(place: Place) -> None:
    from footfall.record.intake import import_files
    from footfall.record.mending import write_rejects

    place.post(event("a", amount="12,x", name="purchase"), event("b", provider_id=""), event("c"))
    assert place.drain().rejected == 2
    found = {(r.file, r.field): r for r in rejects(place.quarantine)}
    assert found.keys() == {("api", "amount"), ("api", "provider_id")}
    (path,) = write_rejects(place.quarantine, place.folder / "bad.ndjson")
    path.write_text(path.read_text().replace("12,x", "12.50").replace('"name":"page_view"', '"name":"login"'))
    summary = import_files(
        place.lake, place.engine, place.config, place.clock, [str(path)], quarantine_dir=place.quarantine
    )
    assert (summary.added, summary.rejected) == (2, 0)
    assert [(r["message_id"], r["amount_minor"]) for r in place.rows()] == [("a", 1250), ("b", None), ("c", None)]
    assert list(rejects(place.quarantine)) == []


def test_events_that_pass_no_longer_are_kept_aside(place: Place) -> None:
    place.post(event("a", 1), event("b", 20))
    place.config = Config(record=RecordSettings(earliest="2024-05-10"))
    found = place.drain()
    assert (found.events, found.rejected) == (1, 1)
    (kept,) = rejects(place.quarantine)
    assert kept.field == "ts"
    assert json.loads(kept.raw)["message_id"] == "a"


def test_what_was_young_enough_when_it_came_passes_however_long_it_waited(place: Place) -> None:
    place.post(event("a"))
    place.inbox.append([("calls", calls("b"))])
    place.clock = FixedClock(NOW + timedelta(days=1000))
    assert (place.drain().rejected, place.ids()) == (0, ["a", "b"])


def test_a_line_that_no_reader_takes_does_not_stop_the_drain(place: Place) -> None:
    place.post(event("a"))
    place.inbox.append([("event", b'{"message_id":"x", broken\n{"message_id":"caf\xe9"}\nbroken, too\n')])
    place.post(event("b"))
    found = place.drain()
    assert (found.events, found.rejected) == (2, 3)
    assert place.inbox.counts()["event"] == 0
    assert {r.reason for r in rejects(place.quarantine)} == {"not valid JSON"}
    told = {r.raw for r in rejects(place.quarantine)}
    assert told == {'{"message_id":"x", broken', '{"message_id":"caf\\xe9"}', "broken, too"}
    assert place.ids() == ["a", "b"]


def test_a_line_may_be_as_long_as_an_event(place: Place) -> None:
    """Properties of nearly a million characters, which take six bytes each where they are escaped."""
    place.post(event("long", properties={"text": "\x01" * 150_000}), event("b"))
    assert place.drain().events == 2
    assert len(json.loads(place.rows()[1]["properties"])["text"]) == 150_000


def calls(*message_ids: str, config: Config | None = None, at: str = "2024-05-01T10:00:00Z", **more: Any) -> bytes:
    """A batch of track calls as the inbox keeps it."""
    own = config or Config()
    one = {"type": "track", "event": "Product Viewed", "anonymousId": "v", "timestamp": at, **more}
    body = json.dumps(
        {"batch": [{**one, "messageId": m, "properties": {"shop_id": "p"}} for m in message_ids]}
    ).encode()
    gate = Gate(own)
    taken = tracking.take(body, "batch", gate, source_maps(own, gate)["default"], "web", NOW, 100, as_they_came=True)
    assert taken.calls and taken.accepted == len(message_ids)
    return taken.calls


def test_calls_kept_as_they_came_become_events(place: Place) -> None:
    place.inbox.append([("calls", calls("a", "b") + calls("c", context={"ip": "8.8.8.8", "locale": "en"}))])
    place.post(event("d"))
    found = place.drain()
    assert (found.events, found.rejected, found.through) == (4, 0, 2)
    row = place.rows()[2]
    assert (row["message_id"], row["name"], row["provider_id"], row["source"]) == ("c", "view_item", "p", "web")
    assert row["properties"] == '{"locale":"en","shop_id":"p"}'
    assert place.inbox.counts()["calls"] == 0
    place.inbox.append([("calls", calls("a", "b", "e"))])
    again = place.drain()
    assert (again.events, again.duplicates, again.conflicting) == (1, 2, 0)


def test_calls_that_pass_no_longer_are_kept_aside_and_damaged_ones_too(place: Place) -> None:
    place.inbox.append([("calls", calls("a"))])
    place.inbox.append([("calls", calls("b", at="2024-05-20T10:00:00Z") + b'{"source":"web", broken\n')])
    place.config = Config(record=RecordSettings(earliest="2024-05-10"))
    found = place.drain()
    assert (found.events, found.rejected, found.through) == (1, 2, 2)
    assert {r.field for r in rejects(place.quarantine)} == {"ts", "row"}
    assert place.ids() == ["b"]
    place.inbox.append([("calls", b"broken\n"), ("reject", b"broken, too\n")])
    assert place.drain().rejected == 2
    assert place.inbox.counts()["calls"] == 0
    assert place.drain() == Drained()


def test_decisions_go_to_their_own_log(place: Place) -> None:
    place.inbox.append([("decision", decision("d1") + b"\n" + decision("d2", 2) + b"\n")])
    place.post(event("a"))
    place.inbox.append([("decision", decision("d3"))])
    found = place.drain()
    assert (found.events, found.decisions, found.through) == (1, 3, 3)
    first = place.rows(view="decisions")[0]
    assert first["ts"] == datetime(2024, 5, 1, 10, 0, 0, 500_000)
    assert json.loads(first["choices"]) == ["a"]
    assert json.loads(first["context"]) == {"page": "home"}
    assert (first["eligible"], first["explore"], first["source"]) == (2, 0.05, place.inbox.id)
    assert place.ids("decisions") == ["d1", "d2", "d3"]


def test_without_a_log_of_decisions_they_wait(place: Place) -> None:
    place.post(event("a"))
    place.inbox.append([("decision", decision("d1"))])
    place.post(event("b"))
    drained.drain(
        place.inbox, place.lake, None, place.engine, place.config, place.clock, quarantine_dir=place.quarantine
    )
    assert place.ids() == ["a"]
    assert place.inbox.counts()["decision"] == 1
    place.drain()
    assert (place.ids(), place.ids("decisions")) == (["a", "b"], ["d1"])


class _Dies(BaseException):
    pass


@pytest.mark.parametrize("where", ["stage", "commit", "committed", "decisions", "decided", "delete", "publish"])
def test_a_crash_at_any_step_loses_and_doubles_nothing(
    place: Place, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events without their ids' help: the second drain sees other ids, so only the numbers tell what is known."""

    def fill() -> None:
        place.post(event("a"), event("b", 2), {"name": "buy"})
        place.inbox.append([("decision", decision("d1")), ("decision", decision("d2"))])
        place.post(event("c", 3), {"name": "sell"})

    def dies(*_: Any, **__: Any) -> None:
        raise _Dies

    def after(call: Any) -> Any:
        def both(*arguments: Any, **options: Any) -> None:
            call(*arguments, **options)
            raise _Dies

        return both

    fill()
    if where == "stage":
        monkeypatch.setattr(Lake, "staging", dies)
    elif where == "publish":
        monkeypatch.setattr(drained.quarantine.Writer, "publish", dies)
    elif where == "delete":
        monkeypatch.setattr(place.inbox, "delete", dies)
    else:
        target = place.decisions if where in ("decisions", "decided") else place.lake
        monkeypatch.setattr(target, "commit", after(target.commit) if where.endswith("ed") else dies)
    with pytest.raises(_Dies):
        place.drain()
    monkeypatch.undo()
    place.post(event("d"), {"name": "rent"})
    place.drain()
    assert place.ids() == ["a", "b", "c", "d"]
    assert place.ids("decisions") == ["d1", "d2"]
    assert sorted(json.loads(r.raw)["name"] for r in rejects(place.quarantine)) == ["buy", "rent", "sell"]
    assert place.inbox.read(0, 1) == []
    assert place.drain() == Drained()


def test_numbers_that_the_lake_knows_are_passed_over(place: Place) -> None:
    """Rows that were not deleted after their transaction, with ids that would not give them away."""
    place.inbox.append([("decision", decision("d1"))])
    delete, place.inbox.delete = place.inbox.delete, lambda through: None  # type: ignore[method-assign]
    place.drain(most_passes=1)
    place.drain(most_passes=1)
    place.inbox.delete = delete  # type: ignore[method-assign]
    assert place.drain().decisions == 0
    assert len(place.rows(view="decisions")) == 1


def test_an_inbox_that_is_older_than_the_lake_takes_another_id(place: Place) -> None:
    import shutil

    place.post(event("a"))
    place.inbox.close()
    shutil.copy(place.folder / "inbox.db", place.folder / "old.db")
    for i in range(3):
        place.post(event(f"b{i}"))
    place.drain()
    place.inbox.close()
    for suffix in ("", "-wal", "-shm"):
        (place.folder / f"inbox.db{suffix}").unlink(missing_ok=True)
    shutil.copy(place.folder / "old.db", place.folder / "inbox.db")
    place.inbox = SqliteInbox(place.folder / "inbox.db")
    place.post(event("after"))
    place.drain()
    assert place.ids() == ["a", "after", "b0", "b1", "b2"]


def test_a_lake_that_cannot_be_written_leaves_all_in_the_inbox(place: Place) -> None:
    place.post(event("a"))
    (place.folder / "lake").write_text("a file")
    with pytest.raises(WorkspaceError):
        place.drain()
    assert place.inbox.counts()["event"] == 1
    (place.folder / "lake").unlink()
    assert place.drain().events == 1


DRAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_drained import Place
place = Place(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.readline()
while place.drain(most_bytes=20_000).through or sys.argv[3] == "on":
    pass
"""


def start(folder: Path, on: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRAIN, str(folder), str(Path(__file__).parent), on]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "open\n"
    process.stdin.write("\n")
    process.stdin.flush()
    return process


def kill_while_draining(tmp_path: Path, kills: int, seed: int, longest_s: float, posts: int) -> None:
    place = Place(tmp_path)
    chance = random.Random(seed)
    sent = drawn = bad = 0
    for _ in range(kills):
        for _ in range(posts):
            place.post(*(event(f"m{sent + i}", 1 + (sent + i) % 5) for i in range(100)), {"name": "buy", "n": bad})
            sent, bad = sent + 100, bad + 1
            place.inbox.append([("decision", decision(f"d{drawn}"))])
            drawn += 1
        process = start(tmp_path, "on")
        time.sleep(chance.uniform(0.0, longest_s))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    place.drain(most_bytes=20_000)
    counts = "count(*) AS n, count(DISTINCT message_id) AS ids, min(message_id) AS message_id"
    assert [(r["n"], r["ids"]) for r in place.rows(f"{counts}")] == [(sent, sent)]
    assert [(r["n"], r["ids"]) for r in place.rows(f"{counts}", "decisions")] == [(drawn, drawn)]
    assert sorted(json.loads(r.raw)["properties"]["n"] for r in rejects(place.quarantine)) == list(range(bad))
    assert place.inbox.read(0, 1) == []
    with place.lake.lock():
        on_disk = sorted(map(str, place.lake.directory.rglob("day=*/*.parquet")))
    assert on_disk == sorted(place.lake.files())
    place.inbox.close()


def test_killed_while_draining(tmp_path: Path) -> None:
    kill_while_draining(tmp_path, kills=1, seed=1, longest_s=0.3, posts=4)


@pytest.mark.slow
def test_killed_thirty_times_while_draining(tmp_path: Path) -> None:
    kill_while_draining(tmp_path, kills=30, seed=2, longest_s=2.0, posts=10)


@pytest.mark.slow
def test_two_drains_at_once_while_events_come_in(tmp_path: Path) -> None:
    place = Place(tmp_path)
    processes = [start(tmp_path, "on"), start(tmp_path, "on")]
    for i in range(60):
        place.post(*(event(f"m{100 * i + j}") for j in range(100)))
        place.inbox.append([("decision", decision(f"d{i}"))])
        time.sleep(0.05)
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    place.drain()
    assert len(place.ids()) == len(set(place.ids())) == 6000
    assert len(place.ids("decisions")) == len(set(place.ids("decisions"))) == 60
    place.inbox.close()
