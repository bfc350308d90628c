"""The contract of ``ports.Offers``: an adapter subclasses it and gives the fixture ``offers``."""

# ruff: noqa: D102  the names of the tests say what they hold

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from footfall.errors import InputError
from footfall.model import Offer, Redemption, Refusal
from footfall.ports import Offers

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEN = Offer("ten", "coupon", "TEN", 10.0, 0, 0, 0, None, None, 1, 30, 0, ())
OWN = replace(TEN, name="own", code="")
TERMS = {"ten": TEN, "own": OWN}


def hold(
    offers: Offers,
    key: str,
    *,
    code: str = "TEN",
    person: str = "",
    order_minor: int = 5000,
    terms: dict[str, Offer] | None = None,
    now: datetime = NOW,
    provider_id: str = "p",
) -> Redemption | Refusal:
    """Reserve for order ``key``; each key is a person of its own unless told."""
    return offers.reserve(
        terms or TERMS, code, person or key, f"order-{key}", order_minor, provider_id, key, now, 600.0
    )


def held(offers: Offers, key: str, **options: object) -> Redemption:
    """As ``hold``, and it must not be refused."""
    found = hold(offers, key, **options)  # type: ignore[arg-type]
    assert isinstance(found, Redemption), found
    return found


def refused(answer: Redemption | Refusal) -> str:
    """The reason of a refusal, "" where there is none."""
    return answer.reason if isinstance(answer, Refusal) else ""


class OffersContract:
    """What every ledger of offers keeps."""

    def test_a_use_is_reserved_and_committed(self, offers: Offers) -> None:
        one = held(offers, "a")
        assert (one.status, one.off_minor) == ("reserved", 500)
        done = offers.commit(one.redemption_id, NOW)
        assert isinstance(done, Redemption)
        assert done.status == "committed"
        (count,) = offers.counts()
        assert (count.reserved, count.committed, count.committed_minor) == (0, 1, 500)
        held(offers, "b")
        assert offers.spent("ten") == {"a": 500}

    def test_the_same_key_is_the_same_use(self, offers: Offers) -> None:
        assert held(offers, "a") == held(offers, "a")
        offers.commit(held(offers, "a").redemption_id, NOW)
        assert held(offers, "a").status == "committed"
        assert offers.counts()[0].committed == 1
        with pytest.raises(InputError, match="used for another redemption"):
            hold(offers, "a", person="somebody else")

    def test_a_code_of_ones_own_has_an_owner(self, offers: Offers) -> None:
        offers.issue(OWN, "ann", "AAAA", NOW)
        offers.issue(TEN, "bob", "BBBB", NOW)
        assert [offers.owner(code) for code in ("AAAA", "TEN", "BBBB", "")] == ["ann", "", "", ""]

    def test_settling_twice_is_harmless(self, offers: Offers) -> None:
        one, two = held(offers, "a"), held(offers, "b")
        for _ in range(2):
            offers.commit(one.redemption_id, NOW)
            offers.release(two.redemption_id, NOW)
        (count,) = offers.counts()
        assert (count.reserved, count.committed, count.reserved_minor) == (0, 1, 0)
        assert refused(offers.release(one.redemption_id, NOW)) == "used"
        assert refused(offers.commit(two.redemption_id, NOW)) == "expired"
        assert refused(offers.commit("none", NOW)) == "unknown"

    def test_what_expires_is_free_again(self, offers: Offers) -> None:
        terms = {"ten": replace(TEN, count=1)}
        one = held(offers, "a", terms=terms)
        assert refused(hold(offers, "b", terms=terms)) == "sold out"
        later = NOW + timedelta(seconds=601)
        assert held(offers, "c", terms=terms, now=later).status == "reserved"
        assert refused(offers.commit(one.redemption_id, later)) == "expired"
        assert offers.expire(later + timedelta(hours=1)) == 1

    def test_what_expired_is_reserved_anew_by_its_order(self, offers: Offers) -> None:
        """A shop's till that died between holding a use and making it final asks again with the same order."""
        first = hold(offers, "a")
        assert isinstance(first, Redemption)
        later = NOW + timedelta(days=1)
        assert offers.expire(later) == 1
        again = hold(offers, "a", now=later)
        assert isinstance(again, Redemption)
        assert again.status == "reserved"
        final = offers.commit(again.redemption_id, later)
        assert isinstance(final, Redemption)
        assert final.status == "committed"
        assert offers.commit(again.redemption_id, later + timedelta(days=1)) == final

    def test_a_code_of_ones_own_serves_once_and_only_its_person(self, offers: Offers) -> None:
        assert offers.issue(OWN, "ann", "AAAA", NOW).code == "AAAA"
        assert offers.issue(OWN, "ann", "BBBB", NOW).code == "AAAA"  # the one that she has
        with pytest.raises(InputError, match="issued before"):
            offers.issue(OWN, "bob", "AAAA", NOW)
        assert refused(hold(offers, "1", code="AAAA", person="bob")) == "not yours"
        one = held(offers, "2", code="AAAA", person="ann")
        assert refused(hold(offers, "3", code="AAAA", person="ann")) == "used"
        offers.release(one.redemption_id, NOW)
        assert held(offers, "4", code="AAAA", person="ann").status == "reserved"
        late = NOW + timedelta(days=31)
        assert refused(hold(offers, "5", code="AAAA", person="ann", now=late)) == "expired"
        assert refused(hold(offers, "6", code="CCCC")) == "unknown"

    def test_a_shared_code_is_everybodys(self, offers: Offers) -> None:
        for person in ("ann", "bob", "ann"):
            assert offers.issue(TEN, person, TEN.code, NOW).code == TEN.code

    def test_a_code_that_is_over_is_followed_by_another(self, offers: Offers) -> None:
        """OWN holds for 30 days and serves once a person; an expired code frees its place, a used one does not."""
        one = replace(OWN, count=1)
        assert offers.issue(one, "ann", "AAAA", NOW).code == "AAAA"
        late = NOW + timedelta(days=31)
        assert offers.issue(one, "ann", "BBBB", late).code == "BBBB"
        assert refused(hold(offers, "1", code="AAAA", person="ann", now=late)) == "unknown"
        held(offers, "2", code="BBBB", person="ann", now=late)
        with pytest.raises(InputError, match="as often"):
            offers.issue(one, "ann", "CCCC", late)

    def test_no_more_codes_are_out_than_may_be_redeemed(self, offers: Offers) -> None:
        two = replace(OWN, count=2)
        for person in ("ann", "bob", "ann"):
            offers.issue(two, person, f"CODE-{person}", NOW)
        with pytest.raises(InputError, match="all 2 codes"):
            offers.issue(two, "cem", "CODE-cem", NOW)

    def test_terms_are_kept(self, offers: Offers) -> None:
        terms = {"ten": replace(TEN, least_order_minor=1000, most_minor=700, providers=("p",), per_person=2)}
        assert refused(hold(offers, "a", order_minor=999, terms=terms)) == "order too small"
        assert refused(hold(offers, "a", provider_id="q", terms=terms)) == "not here"
        assert held(offers, "a", order_minor=100_000, terms=terms).off_minor == 700
        held(offers, "b", person="a", terms=terms)
        assert refused(hold(offers, "c", person="a", terms=terms)) == "too often"

    def test_money_has_its_ceiling(self, offers: Offers) -> None:
        terms = {"ten": replace(TEN, money_minor=1200)}
        answers = [hold(offers, str(n), terms=terms) for n in range(4)]  # 500 each
        assert [refused(answer) for answer in answers] == ["", "", "sold out", "sold out"]

    def test_a_gift_leaves_the_stock(self, offers: Offers) -> None:
        terms = {"mug": replace(TEN, name="mug", kind="gift", code="MUG", percent=0.0, count=2, cost_minor=320)}
        answers = [hold(offers, str(n), code="MUG", terms=terms) for n in range(3)]
        assert [refused(answer) for answer in answers] == ["", "", "sold out"]
        assert offers.counts()[0].reserved_minor == 640

    def test_no_more_than_the_ceiling_under_concurrency(self, offers: Offers) -> None:
        terms, start = {"ten": replace(TEN, count=20)}, threading.Barrier(8)

        def redeem(worker: int) -> int:
            start.wait()
            done = 0
            for n in range(10):
                found = hold(offers, f"{worker}-{n}", terms=terms)
                if isinstance(found, Redemption):
                    done += isinstance(offers.commit(found.redemption_id, NOW), Redemption)
            return done

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(redeem, range(8))) == 20
        assert offers.counts()[0].committed == 20
