"""The lead: one holder at a time, taken over when it is silent, given up at once when asked; on both databases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from footfall.model import Lead
from footfall.stores.leader import SqlLeadership

Open = Callable[[], SqlLeadership]


class LeadershipContract:
    def test_the_first_to_ask_leads_and_renews(self, open_: Open) -> None:
        lead = open_()
        assert lead.hold("a", 30) == Lead("a", 1, True)
        assert lead.hold("b", 30) == Lead("a", 1, False)
        assert lead.hold("a", 30) == Lead("a", 1, True)

    def test_a_silent_leader_is_replaced_under_a_new_term(self, open_: Open) -> None:
        lead = open_()
        lead.hold("a", 0.05)
        time.sleep(0.1)
        assert lead.hold("b", 30) == Lead("b", 2, True)
        assert lead.hold("a", 30) == Lead("b", 2, False)

    def test_a_leader_that_lost_its_lease_unnoticed_begins_a_new_term(self, open_: Open) -> None:
        lead = open_()
        lead.hold("a", 0.05)
        time.sleep(0.1)
        assert lead.hold("a", 30) == Lead("a", 2, True)

    def test_releasing_hands_over_at_once(self, open_: Open) -> None:
        lead = open_()
        lead.hold("a", 30)
        lead.release("b")  # not its own: nothing happens
        assert not lead.hold("b", 30).mine
        lead.release("a")
        assert lead.hold("b", 30) == Lead("b", 2, True)

    def test_of_many_that_ask_at_once_one_leads(self, open_: Open) -> None:
        stores = [open_() for _ in range(6)]
        with ThreadPoolExecutor(6) as pool:
            told = list(pool.map(lambda pair: pair[1].hold(f"h{pair[0]}", 30), enumerate(stores)))
        assert sum(lead.mine for lead in told) == 1
        assert len({lead.holder for lead in told}) == 1


def _opener(url: str) -> Iterator[Open]:
    opened: list[SqlLeadership] = []

    def open_() -> SqlLeadership:
        opened.append(SqlLeadership(url))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


class TestLeadershipOnSqlite(LeadershipContract):
    @pytest.fixture
    def open_(self, tmp_path: Path) -> Iterator[Open]:
        yield from _opener(f"sqlite:///{tmp_path / 'state.db'}")


class TestLeadershipOnPostgres(LeadershipContract):
    @pytest.fixture
    def open_(self, postgres_schema: str) -> Iterator[Open]:
        yield from _opener(postgres_schema)
