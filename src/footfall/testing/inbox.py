"""The contract of ``ports.Inbox``: an adapter subclasses ``InboxContract``, giving the fixture ``inbox`` (empty)."""

# ruff: noqa: D102  the names of the tests say what they hold

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from footfall.model import Sticky
from footfall.ports import Inbox, InboxKind

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def bodies(inbox: Inbox, after: int = 0, most_bytes: int = 1 << 30) -> list[bytes]:
    """Bodies after a sequence."""
    return [body for _, _, body in inbox.read(after, most_bytes)]


class InboxContract:
    """What every inbox does."""

    def test_rows_come_back_in_order_with_rising_numbers(self, inbox: Inbox) -> None:
        rows: list[tuple[InboxKind, bytes]] = [("event", b"a"), ("reject", b"b"), ("decision", b"c\x00\xff")]
        last = inbox.append(rows)
        found = inbox.read(0, 1 << 20)
        assert [(kind, body) for _, kind, body in found] == rows
        numbers = [seq for seq, _, _ in found]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == last
        assert inbox.append([("event", b"d")]) > last

    def test_nothing_appended_is_nothing(self, inbox: Inbox) -> None:
        assert inbox.append([]) == 0
        assert bodies(inbox) == []
        assert inbox.counts()["last"] == 0

    def test_reading_ends_at_the_bytes_but_gives_one_row_at_least(self, inbox: Inbox) -> None:
        inbox.append([("event", b"x" * 100)] * 5)
        assert len(inbox.read(0, 1)) == 1
        assert len(inbox.read(0, 250)) == 2
        first = inbox.read(0, 250)
        assert len(inbox.read(first[-1][0], 1 << 20)) == 3

    def test_numbers_are_never_given_again(self, inbox: Inbox) -> None:
        last = inbox.append([("event", b"a"), ("event", b"b")])
        inbox.delete(last)
        assert bodies(inbox) == []
        assert inbox.counts()["last"] == last
        assert inbox.append([("event", b"c")]) == last + 1

    def test_delete_leaves_what_is_after(self, inbox: Inbox) -> None:
        first = inbox.append([("event", b"a")])
        inbox.append([("event", b"b"), ("event", b"c")])
        inbox.delete(first)
        assert bodies(inbox) == [b"b", b"c"]
        inbox.delete(0)
        assert bodies(inbox) == [b"b", b"c"]

    def test_thousands_of_rows_are_one_append(self, inbox: Inbox) -> None:
        last = inbox.append([("event", str(i).encode()) for i in range(2_345)])
        assert bodies(inbox) == [str(i).encode() for i in range(2_345)]
        assert inbox.counts()["event"] == 2_345
        inbox.delete(last)
        assert inbox.counts()["event"] == 0

    def test_the_id_stays_until_it_is_renewed(self, inbox: Inbox) -> None:
        before = inbox.id
        assert len(before) == 36
        assert inbox.id == before
        assert inbox.renew() != before
        assert inbox.id != before

    def test_sticky_bodies_hold_until_they_expire(self, inbox: Inbox) -> None:
        soon = NOW + timedelta(minutes=5)
        inbox.append([("decision", b"d")], [Sticky("v", "k", b"one", soon), Sticky("w", "k", b"other", soon)])
        assert inbox.stuck("v", "k", NOW) == b"one"
        assert inbox.stuck("v", "other", NOW) is None
        assert inbox.stuck("v", "k", soon) is None
        inbox.append([], [Sticky("v", "k", b"two", soon + timedelta(minutes=5))])
        assert inbox.stuck("v", "k", soon) == b"two"
        assert inbox.stuck("w", "k", NOW) == b"other"

    def test_threads_take_turns(self, inbox: Inbox) -> None:
        def work(name: int) -> None:
            for i in range(20):
                inbox.append([("event", f"{name}:{i}".encode())])

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = bodies(inbox)
        assert len(found) == len(set(found)) == 80
        for name in range(4):
            own = [body for body in found if body.startswith(f"{name}:".encode())]
            assert own == [f"{name}:{i}".encode() for i in range(20)]
