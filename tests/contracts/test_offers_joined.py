"""Coupons and their uses go along when a person turns out to be another, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from footfall.errors import InputError
from footfall.stores.entries import SqlEntries
from footfall.stores.offers import SqlOffers
from footfall.testing.offers import NOW, OWN, TEN, held, hold, refused

SIGNED_IN = {"d:v1": "u:ann", "d:v2": "u:ann"}
LATER = NOW + timedelta(hours=1)


class JoinedOffers:
    """Laws of ``ports.Entries.join`` for what ``ports.Offers`` keeps in the same database."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def offers(self, url: str) -> Iterator[SqlOffers]:
        offers = SqlOffers(url)
        yield offers
        offers.close()

    @pytest.fixture
    def entries(self, url: str) -> Iterator[SqlEntries]:
        entries = SqlEntries(url)
        yield entries
        entries.close()

    def test_a_coupon_becomes_the_users(self, offers: SqlOffers, entries: SqlEntries) -> None:
        offers.issue(OWN, "v1", "AAAA", NOW)
        assert {"d:v1", "u:v1"} <= set(entries.persons())
        entries.join(SIGNED_IN)
        assert offers.issue(OWN, "ann", "BBBB", LATER).code == "AAAA"
        assert refused(hold(offers, "1", code="AAAA", person="v1")) == "not yours"
        held(offers, "1", code="AAAA", person="ann")
        (count,) = offers.counts()
        assert (count.issued, count.reserved) == (1, 1)

    def test_uses_become_the_users(self, offers: SqlOffers, entries: SqlEntries) -> None:
        """Reserved and committed ones: both count against what one person may use, and what was spent on them."""
        terms = {"ten": replace(TEN, per_person=3)}
        for key, person in (("1", "v1"), ("2", "v2"), ("3", "ann"), ("4", "bob")):
            use = held(offers, key, person=person, terms=terms)
            if key != "2":
                offers.commit(use.redemption_id, NOW)
        assert {"d:v1", "d:v2"} <= set(entries.persons())
        entries.join(SIGNED_IN)
        assert refused(hold(offers, "5", person="ann", terms=terms)) == "too often"
        assert offers.spent("ten") == {"ann": 1000, "bob": 500}
        assert held(offers, "2", person="ann", terms=terms).status == "reserved"  # the same order goes on
        assert offers.counts()[0].committed == 3

    def test_of_two_coupons_of_one_person_the_newer_stays(self, offers: SqlOffers, entries: SqlEntries) -> None:
        """By hand: of three codes one is left, so two more may go out of three."""
        three = replace(OWN, count=3)
        offers.issue(three, "v1", "AAAA", NOW)
        offers.issue(three, "v2", "BBBB", LATER)
        offers.issue(three, "ann", "CCCC", NOW)
        entries.join(SIGNED_IN)
        assert offers.issue(three, "ann", "DDDD", LATER).code == "BBBB"
        assert refused(hold(offers, "1", code="AAAA", person="ann")) == "unknown"
        assert offers.counts()[0].issued == 1
        for person in ("bob", "cem"):
            offers.issue(three, person, f"CODE-{person}", LATER)
        with pytest.raises(InputError, match="all 3 codes"):
            offers.issue(three, "dan", "EEEE", LATER)

    def test_a_used_code_is_not_followed_by_one_more(self, offers: SqlOffers, entries: SqlEntries) -> None:
        """The device used its coupon, the user has one that is unused: no letter may bring it, and no shop takes it."""
        offers.issue(OWN, "v1", "AAAA", LATER)
        offers.commit(held(offers, "1", code="AAAA", person="v1").redemption_id, NOW)
        offers.issue(OWN, "ann", "BBBB", NOW)
        entries.join(SIGNED_IN)
        with pytest.raises(InputError, match="as often"):
            offers.issue(OWN, "ann", "CCCC", LATER)
        assert refused(hold(offers, "2", code="BBBB", person="ann")) == "too often"
        assert offers.issue(replace(OWN, per_person=2), "ann", "CCCC", LATER).code == "BBBB"
        assert offers.counts()[0].issued == 2  # one used, one out

    def test_once_joined_nothing_is_left_to_do(self, offers: SqlOffers, entries: SqlEntries) -> None:
        offers.issue(OWN, "v1", "AAAA", NOW)
        for _ in range(2):
            entries.join(SIGNED_IN)
        entries.join({"u:ann": "u:anna"})
        assert offers.issue(OWN, "anna", "BBBB", LATER).code == "AAAA"
        assert offers.counts()[0].issued == 1


class TestJoinedSqlOffers(JoinedOffers):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'state.db'}"


class TestJoinedSqlOffersOnPostgres(JoinedOffers):
    @pytest.fixture
    def url(self, postgres_schema: str) -> str:
        return postgres_schema
