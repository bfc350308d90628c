"""Each adapter of ``ports.Offers`` against the contract, and a thousand redemptions at once from several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from footfall.model import Redemption
from footfall.stores.offers import SqlOffers
from footfall.testing.offers import NOW, TEN, OffersContract, hold

LIMIT = {"ten": replace(TEN, count=100)}


class TestSqlOffers(OffersContract):
    @pytest.fixture
    def offers(self, tmp_path: Path) -> Iterator[SqlOffers]:
        offers = SqlOffers(f"sqlite:///{tmp_path / 'state.db'}")
        yield offers
        offers.close()


class TestSqlOffersOnPostgres(OffersContract):
    @pytest.fixture
    def offers(self, postgres_schema: str) -> Iterator[SqlOffers]:
        offers = SqlOffers(postgres_schema)
        yield offers
        offers.close()


def redeem(url: str, worker: int, each: int) -> int:
    offers, done = SqlOffers(url), 0
    for n in range(each):
        found = hold(offers, f"{worker}-{n}", terms=LIMIT)
        if isinstance(found, Redemption):
            done += isinstance(offers.commit(found.redemption_id, NOW), Redemption)
    offers.close()
    return done


def at_once(url: str, workers: int, each: int) -> int:
    SqlOffers(url).close()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return sum(pool.starmap(redeem, [(url, worker, each) for worker in range(workers)]))


@pytest.mark.slow
def test_a_thousand_redemptions_of_a_coupon_limited_to_a_hundred(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    assert at_once(url, workers=8, each=125) == 100
    (count,) = SqlOffers(url).counts()
    assert (count.reserved, count.committed, count.committed_minor) == (0, 100, 100 * 500)


@pytest.mark.slow
def test_a_thousand_redemptions_on_postgres(postgres_schema: str) -> None:
    assert at_once(postgres_schema, workers=8, each=125) == 100
