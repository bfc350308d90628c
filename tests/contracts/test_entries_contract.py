"""Each adapter of ``ports.Entries`` keeps who is in which journey, in bulk, whatever persons are called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from footfall.stores.entries import LETTERS, SCHEMA, SqlEntries
from footfall.stores.outbox import SqlOutbox
from footfall.testing.outbox import message

ODD = ("u:ann", "u:O'Brien", 'u:"; DROP TABLE entries; --', "u:陳大文", "u:two\nlines\ttab", "u:" + "x" * 2048, "u:%s ? :p $1", "u:e\u0301", "u:é")  # fmt: skip  # noqa: E501
EARLY, LATE = datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 12, 0, 0, 500)


class EntriesContract:
    """Laws of ``ports.Entries``; ``entries`` is an empty one."""

    @pytest.fixture
    def entries(self) -> Iterator[SqlEntries]:
        raise NotImplementedError

    @pytest.fixture
    def outbox(self) -> Iterator[SqlOutbox]:
        """In the same database."""
        raise NotImplementedError

    def rows(self, *persons: str, entry: int = 1, at: datetime = EARLY, journey: str = "carts") -> pa.Table:
        n = len(persons)
        columns = ([journey] * n, persons, [entry] * n, [at] * n, [at] * n, ["s"] * n, ["c"] * n, [1.5] * n, ["treated"] * n, [0] * n, [at] * n, ["active"] * n, [""] * n)  # fmt: skip  # noqa: E501
        return pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)

    def moves(self, *persons: str, entry: int = 1, status: str = "done", at: datetime = LATE) -> pa.Table:
        n = len(persons)
        told = {"person": persons, "entry": [entry] * n, "step": [1] * n, "status": [status] * n, "reason": ["why"] * n}
        return pa.table({**told, "due_at": pa.array([at] * n, pa.timestamp("us"))})

    def test_who_turns_out_to_be_another(self, entries: SqlEntries) -> None:
        """By hand: ann entered on v1 first, then as herself; v2 is another journey's, v9 is nobody's."""
        entries.add(self.rows("d:v1", at=EARLY))
        entries.move("carts", self.moves("d:v1"))
        entries.add(self.rows("u:ann", "u:bob", at=LATE))
        entries.add(self.rows("d:v2", journey="other"))
        assert {"d:v1", "d:v2", "u:ann", "u:bob"} <= set(entries.persons())
        assert entries.join({"d:v1": "u:ann", "d:v2": "u:ann", "d:v9": "u:ann"}) == 2
        rows = entries.all("carts").sort_by([("person", "ascending"), ("entry", "ascending")]).to_pylist()
        assert [(r["person"], r["entry"], r["entered_at"], r["status"], r["reason"]) for r in rows] == [
            ("u:ann", 1, EARLY, "done", "why"),
            ("u:ann", 2, LATE, "exited", "joined"),
            ("u:bob", 1, LATE, "active", ""),
        ]
        assert entries.all("other")["person"].to_pylist() == ["u:ann"]
        assert entries.join({"d:v1": "u:ann"}) == 0  # once done, nothing is left to do

    def test_of_two_at_once_the_former_key_began_first(self, entries: SqlEntries) -> None:
        """zoe is bob by now; both entered at the same moment, she to be held out."""
        zoe = self.rows("u:zoe")
        entries.add(zoe.set_column(SCHEMA.get_field_index("arm"), "arm", pa.array(["holdout"])))
        entries.add(self.rows("u:bob"))
        entries.join({"u:zoe": "u:bob"})
        assert {r["entry"]: r["arm"] for r in entries.all("carts").to_pylist()} == {1: "holdout", 2: "treated"}

    def test_who_enters_again_is_not_there_twice(self, entries: SqlEntries) -> None:
        """ann's own second entry goes on, though a device of hers was in the journey, too."""
        entries.add(self.rows("u:ann", at=EARLY))
        entries.move("carts", self.moves("u:ann"))
        entries.add(self.rows("u:ann", entry=2, at=LATE))
        entries.add(self.rows("d:v1", at=LATE.replace(hour=13)))
        entries.join({"d:v1": "u:ann"})
        rows = {r["entry"]: (r["status"], r["reason"]) for r in entries.all("carts").to_pylist()}
        assert rows == {1: ("done", "why"), 2: ("active", ""), 3: ("exited", "joined")}

    def test_whose_key_is_whose_by_now(self, entries: SqlEntries) -> None:
        """v1 is ann's, and ann is bob by now; then the log has it the other way round. Who is erased is nobody's."""
        entries.join({"d:v1": "u:ann"})
        entries.join({"u:ann": "u:bob"})
        assert set(entries.keys_now(["d:v1", "u:ann"])) == {("d:v1", "u:bob"), ("u:ann", "u:bob")}
        entries.join({"u:bob": "u:ann"})
        assert set(entries.keys_now(["d:v1", "u:ann", "u:bob"])) == {("d:v1", "u:ann"), ("u:bob", "u:ann")}
        entries.forget(["ann"])
        assert entries.keys_now(["d:v1", "u:bob"]) == ()

    def test_letters_of_who_turns_out_to_be_another(self, entries: SqlEntries, outbox: SqlOutbox) -> None:
        """ann has entered on v1, too: her own letter ends, though a worker has it. v2 and v3 have letters without an
        entry, of the same step and number: both are hers by now."""
        entries.add(self.rows("d:v1", at=EARLY))
        entries.add(self.rows("u:ann", at=LATE))
        outbox.add([message("u:ann")])
        outbox.claim("w", LATE.replace(tzinfo=UTC), 9, 60)
        alone = [message(device, journey="other") for device in ("d:v2", "d:v3")]
        outbox.add(alone)
        entries.join(dict.fromkeys(("d:v1", "d:v2", "d:v3"), "u:ann"))
        hers = outbox.posted(message("u:ann").message_id)
        assert hers is not None
        assert (hers.status, hers.message.entry) == ("cancelled", 2)
        moved = [posted.message for one in alone if (posted := outbox.posted(one.message_id)) is not None]
        assert [one.person for one in moved] == ["u:ann", "u:ann"]
        assert len({one.entry for one in moved}) == 2

    def test_whom_not_goes_along(self, entries: SqlEntries, outbox: SqlOutbox) -> None:
        """A key is the other by now; a bare identifier stays, since it may be another's."""
        outbox.suppress([("d:v1", "asked"), ("v2", "bounced")], EARLY.replace(tzinfo=UTC))
        entries.join({"d:v1": "u:ann", "v2": "d:v2"})
        assert outbox.suppressed() == {"u:ann": "asked", "v2": "bounced", "d:v2": "bounced"}

    def test_all_of_whom_anything_is_kept(self, entries: SqlEntries, outbox: SqlOutbox) -> None:
        """On the list of whom not: each key that an identifier may stand for; an address is nobody's key."""
        outbox.suppress(
            [(who, "asked") for who in ("bob", "x@example.com", "u:a@b.example")], EARLY.replace(tzinfo=UTC)
        )
        assert set(entries.persons()) == {"d:bob", "u:bob", "u:a@b.example"}

    def test_what_goes_in_comes_out(self, entries: SqlEntries) -> None:
        given = self.rows(*ODD, at=LATE)
        entries.add(given)
        assert entries.all("carts").sort_by("person").equals(given.sort_by("person"))
        assert entries.active("carts").num_rows == entries.latest("carts").num_rows == len(ODD)
        assert entries.all("other").equals(SCHEMA.empty_table())
        assert entries.journeys() == ("carts",)

    def test_twice_is_once(self, entries: SqlEntries) -> None:
        entries.add(self.rows("u:ann"))
        entries.move("carts", self.moves("u:ann"))
        entries.add(self.rows("u:ann", "u:bob"))
        status = {row["person"]: row["status"] for row in entries.all("carts").to_pylist()}
        assert status == {"u:ann": "done", "u:bob": "active"}

    def test_moves_touch_their_entry_only(self, entries: SqlEntries) -> None:
        entries.add(self.rows(*ODD))
        entries.add(self.rows(*ODD, journey="other"))
        entries.add(self.rows(ODD[1], entry=2))
        entries.move("carts", self.moves(ODD[1], ODD[2], "nobody"))
        moved = {(r["person"], r["entry"]): (r["step"], r["due_at"], r["status"], r["reason"]) for r in entries.all("carts").to_pylist()}  # fmt: skip  # noqa: E501
        assert moved.pop((ODD[1], 1)) == moved.pop((ODD[2], 1)) == (1, LATE, "done", "why")
        assert set(moved.values()) == {(0, EARLY, "active", "")}
        assert set(entries.all("other")["status"].to_pylist()) == {"active"}

    def test_the_latest_entry_counts(self, entries: SqlEntries) -> None:
        entries.add(self.rows("u:ann", "u:bob"))
        entries.add(self.rows("u:ann", entry=2))
        assert {r["person"]: r["entry"] for r in entries.latest("carts").to_pylist()} == {"u:ann": 2, "u:bob": 1}

    def test_the_first_arm_is_the_persons(self, entries: SqlEntries) -> None:
        """For ever, as docs/retain.md has it, though the entry of another key was in the other arm."""
        held_out = self.rows("d:v1", at=EARLY)
        arm = held_out.schema.get_field_index("arm")
        entries.add(held_out.set_column(arm, "arm", pa.array(["holdout"])))
        entries.add(self.rows("u:ann", "u:bob", at=LATE))
        entries.join({"d:v1": "u:ann"})
        latest = {r["person"]: (r["entry"], r["arm"]) for r in entries.latest("carts").to_pylist()}
        assert latest["u:ann"][1] == "holdout"
        assert latest["u:bob"] == (1, "treated")

    def test_letters_are_those_of_entries_that_go_on_and_are_due(self, entries: SqlEntries, outbox: SqlOutbox) -> None:
        """By hand, whatever became of a message: ann has two of one letter and one of another; bob none; cem's entry is
        done, dan's second is not due, of which the first has a letter; eve's letter is another journey's."""
        entries.add(self.rows("u:ann", "u:bob", "u:cem", "u:dan"))
        entries.add(self.rows("u:dan", entry=2, at=LATE))
        entries.add(self.rows("u:eve"))
        entries.move("carts", self.moves("u:cem"))
        entries.move("carts", self.moves("u:dan"))
        told = [("u:ann", 0, 1), ("u:ann", 1, 1), ("u:cem", 0, 1), ("u:dan", 0, 1), ("u:dan", 0, 2)]
        given = [replace(message(who, step), message_id=f"{who}{step}{n}", entry=n) for who, step, n in told]
        given.append(replace(message("u:ann", 2), message_id="desk", template="news", channel="desk"))
        outbox.add([*given, message("u:eve", journey="other")])
        outbox.cancel("why", of=["u:ann"])
        rows = entries.letters("carts", EARLY.replace(tzinfo=UTC))
        assert rows.schema.equals(LETTERS)
        expected = {("u:ann", 1, "cart", "email", 2), ("u:ann", 1, "news", "desk", 1)}
        assert {tuple(row.values()) for row in rows.to_pylist()} == expected
        later = entries.letters("carts", LATE.replace(tzinfo=UTC)).to_pylist()
        assert {tuple(row.values()) for row in later} == expected | {("u:dan", 2, "cart", "email", 1)}
        assert entries.letters("nobody's", LATE.replace(tzinfo=UTC)).equals(LETTERS.empty_table())

    def test_counts_and_forgetting(self, entries: SqlEntries) -> None:
        entries.add(self.rows(*ODD))
        entries.move("carts", self.moves(*ODD[:2], status="exited"))
        told = {(c["arm"], c["status"], c["reason"]): c["entries"] for c in entries.counts()}
        assert told == {("treated", "active", ""): len(ODD) - 2, ("treated", "exited", "why"): 2}
        assert [entries.forget([ODD[1]]), entries.forget([ODD[1]])] == [1, 0]

    def test_nothing_is_nothing(self, entries: SqlEntries) -> None:
        entries.add(SCHEMA.empty_table())
        entries.move("carts", self.moves())
        assert entries.counts() == []


class TestSqlEntries(EntriesContract):
    @pytest.fixture
    def entries(self, tmp_path: Path) -> Iterator[SqlEntries]:
        entries = SqlEntries(f"sqlite:///{tmp_path / 'state.db'}")
        yield entries
        entries.close()

    @pytest.fixture
    def outbox(self, tmp_path: Path) -> Iterator[SqlOutbox]:
        outbox = SqlOutbox(f"sqlite:///{tmp_path / 'state.db'}")
        yield outbox
        outbox.close()


class TestSqlEntriesOnPostgres(EntriesContract):
    @pytest.fixture
    def entries(self, postgres_schema: str) -> Iterator[SqlEntries]:
        entries = SqlEntries(postgres_schema)
        yield entries
        entries.close()

    @pytest.fixture
    def outbox(self, postgres_schema: str) -> Iterator[SqlOutbox]:
        outbox = SqlOutbox(postgres_schema)
        yield outbox
        outbox.close()
