"""Pages and tags of what is read, asked of the processes beside two workers."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from serving import planned_workspace

from footfall import open_workspace
from footfall.app import recording, valuing
from footfall.app.http.reading import MOST_KEPT, Question, Reader, Reply, _Desk
from footfall.app.http.server import Spec
from footfall.config import FILE_NAME
from footfall.testing import FixedClock

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
VALUES: dict[str, Any] = {"by": "provider", "as_of": None, "from": None, "to": None}


class Readers:
    """Readers of one workspace, as its workers have them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runner = asyncio.Runner()
        serve = open_workspace(folder).config.serve
        self.spec = Spec(directory=str(folder), settings=serve, index=0, rows=1, alive=-1, board=-1, ready=-1)
        self._readers = [Reader(self.spec) for _ in range(3)]

    def ask(self, reader: int, **question: Any) -> Reply:
        asked = Question(**{"kind": "value", "words": VALUES, "limit": 1, **question})
        return self._runner.run(self._readers[reader].ask(asked))

    def close(self) -> None:
        for reader in self._readers:
            self._runner.run(reader.close())
        self._runner.close()


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    found = Readers(planned_workspace(tmp_path_factory.mktemp("reading") / "shop"))
    yield found
    found.close()


def test_a_list_goes_on_at_another_worker(readers: Readers) -> None:
    first = json.loads(readers.ask(0).body)
    second = readers.ask(1, cursor=first["next"])
    assert second.status == 200, second.body
    rows = [*first["items"], *json.loads(second.body)["items"]]
    assert {row["provider_id"] for row in rows} == {"shop-a", "shop-b"} and len(rows) == first["total"] == 2


def test_a_cursor_of_another_list_is_none_of_this_one(readers: Readers) -> None:
    cursor = json.loads(readers.ask(0).body)["next"]
    for reader in (0, 1):
        other = readers.ask(reader, words={**VALUES, "by": "pair"}, cursor=cursor)
        assert other.status == 400 and json.loads(other.body)["way_out"] == "send it with the words of the page before"


def test_rows_that_have_changed_since_are_told_where_the_old_ones_are_not(readers: Readers) -> None:
    """Whoever began the list has its rows still; another worker cannot make them any more."""
    cursor = json.loads(readers.ask(0).body)["next"]
    more = readers.folder / "more.ndjson"
    day = open_workspace(readers.folder).last_day()
    row = {
        "ts": f"{day}T09:00:00Z",
        "name": "page_view",
        "visitor_id": "new",
        "provider_id": "shop-c",
        "channel": "email",
    }
    more.write_text(json.dumps(row) + "\n")
    recording.import_files(open_workspace(readers.folder), [str(more)])
    assert json.loads(readers.ask(0, cursor=cursor).body)["total"] == 2
    gone = readers.ask(2, cursor=cursor)
    assert gone.status == 410 and "changed" in json.loads(gone.body)["detail"]
    assert json.loads(readers.ask(2).body)["total"] == 3


def test_a_providers_file_makes_other_rows_in_all_workers(readers: Readers) -> None:
    """A reader that has the rows, and one that has not, answer what a workspace opened afresh counts; a cursor of the
    rows before is gone where they are not."""
    before = readers.ask(0, limit=10)
    cursor = json.loads(readers.ask(0).body)["next"]
    told = [{"provider_id": "shop-a", "category": "toys"}, {"provider_id": "shop-b", "category": "books"}]
    open_workspace(readers.folder).state.put_providers(told)
    wanted = [row["value_mean"] for row in valuing.value(open_workspace(readers.folder), "provider").rows]
    assert [row["value_mean"] for row in json.loads(before.body)["items"]] != wanted
    for reader in (0, 1):
        found = readers.ask(reader, limit=10, etag=before.etag)
        assert found.status == 200
        assert [row["value_mean"] for row in json.loads(found.body)["items"]] == wanted
    assert readers.ask(1, cursor=cursor).status == 410


@pytest.mark.parametrize("raw", [b"[plan\n", b"# caf\xe9\n", b"[workspace]\nformat = 9\n", None])
def test_a_reader_comes_back_whatever_became_of_footfall_toml(readers: Readers, raw: bytes | None) -> None:
    """No TOML, no UTF-8, of a newer version, gone: it goes on with the settings that the service began with."""
    path = readers.folder / FILE_NAME
    text = path.read_text()
    if raw is None:
        path.unlink()
    else:
        path.write_bytes(raw)

    async def asked() -> Reply:
        reader = Reader(msgspec.structs.replace(readers.spec, config=text))
        try:
            return await reader.ask(Question(kind="plan", words={"version": None, "by": "provider"}))
        finally:
            await reader.close()

    try:
        assert asyncio.run(asked()).status == 200
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ('"other", W/"an, other" ,{tag}', 304),
        ("*", 304),
        ("", 200),
        ('"other"', 200),
        ('W/"other"', 200),
        ('"other, {inner}, "', 200),
    ],
)
def test_tags_are_compared_weakly(readers: Readers, form: str, status: int) -> None:
    """RFC 9110, 13.1.2 and 8.8.3: a list of tags or ``*``, ``W/`` tells no tags apart, a tag may hold commas."""
    tag = readers.ask(0).etag
    again = readers.ask(0, etag=form.format(tag=tag, inner=tag.strip('"')))
    assert (again.status, again.etag) == (status, tag) and bool(again.body) == (status == 200)


def test_nothing_is_left_of_a_reader_that_was_closed(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of one that was given up half-way nor of one that runs: both leave with their pipes, while the loop is
    there. What the collector finds later would be told as a fault of whatever runs by then."""

    async def work() -> None:
        reader = Reader(readers.spec)
        question = Question(kind="value", words=VALUES, limit=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.ask(question), 0.01)
        assert (await reader.ask(question)).status == 200
        await reader.close()

    found: list[object] = []
    gc.collect()
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(work())
        gc.collect()
    assert (found, [str(one.message) for one in told if issubclass(one.category, ResourceWarning)]) == ([], [])


PLAN: dict[str, Any] = {"version": None, "by": "provider"}


def test_an_answer_is_of_its_own_question_whatever_became_of_the_one_before(readers: Readers) -> None:
    """Given up half-way; then something else is asked of the same reader."""

    async def work() -> Reply:
        reader = Reader(readers.spec)
        try:
            await reader.ask(Question(kind="plan", words=PLAN))  # it runs
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.ask(Question(kind="value", words=VALUES, limit=1)), 0.001)
            return await reader.ask(Question(kind="plan", words=PLAN))
        finally:
            await reader.close()

    assert "version" in json.loads(asyncio.run(work()).body)


def test_a_plan_that_is_published_is_the_one_that_is_told(readers: Readers) -> None:
    """Also of a reader that has the rows of the one before."""
    state = open_workspace(readers.folder).state
    for _ in range(2):
        told = json.loads(readers.ask(0, kind="plan", words=PLAN).body)["version"]
        plan = state.plan(told)
        assert plan is not None
        saved = state.publish(state.save_plan(plan).version)
        assert json.loads(readers.ask(0, kind="plan", words=PLAN).body)["version"] == saved.version > told


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A workspace of the test's own."""
    return planned_workspace(tmp_path / "shop")


def values_of(reply: Reply) -> list[float]:
    return [row["value_mean"] for row in json.loads(reply.body)["items"]]


def test_a_new_day_makes_other_rows(own: Path) -> None:
    """Values are of the last day that is over: noon of the log's last day, and the next one. Expected: a desk that
    never saw the day before."""
    last = open_workspace(own).last_day()
    assert last is not None
    event = {"name": "page_view", "provider_id": "shop-a", "channel": "email", "ts": f"{last - timedelta(days=1)}"}
    (own / "before.ndjson").write_text("".join(json.dumps(event | {"visitor_id": f"v{n}"}) + "\n" for n in range(9)))
    recording.import_files(open_workspace(own), [str(own / "before.ndjson")])
    clock = FixedClock(datetime(last.year, last.month, last.day, 12, tzinfo=UTC))
    desk = _Desk(open_workspace(own, clock))
    question = Question(kind="value", words=VALUES, limit=10)
    before = values_of(desk.answer(question))
    clock.advance(timedelta(days=1))
    after = values_of(_Desk(open_workspace(own, clock)).answer(question))
    assert values_of(desk.answer(question)) == after != before


def test_rows_of_the_latest_lists_are_kept_and_no_more(own: Path) -> None:
    """Once the data are others, only rows that are kept still can be gone on with."""
    here = open_workspace(own)
    desk = _Desk(here)
    lists = [{**VALUES, "by": by, "from": first} for by in ("provider", "pair") for first in (None, *DAYS)]
    assert len(lists) == MOST_KEPT + 2
    asked = [Question(kind="value", words=words, limit=1) for words in lists]
    cursors = [json.loads(desk.answer(question).body)["next"] for question in asked]
    here.state.put_providers([{"provider_id": "shop-a", "category": "other"}])
    again = [msgspec.structs.replace(q, cursor=cursor) for q, cursor in zip(asked, cursors, strict=True)]
    assert [desk.answer(question).status for question in again] == [410] * 2 + [200] * MOST_KEPT
