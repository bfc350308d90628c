"""Rows of values: by day as by provider, refusals, slices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from facts_support import MemoryStore, log

from footfall.errors import NotEnoughDataError
from footfall.stores.engine import DuckEngine
from footfall.value.counts import Settings
from footfall.value.recipes import recipe
from footfall.value.relations import Rules, count
from footfall.value.valuation import Valuation, rows, valuate

FIRST = date(2024, 1, 1)
DAYS = 6


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckEngine]:
    made = DuckEngine(512, 1, tmp_path_factory.mktemp("spill"))
    yield made
    made.close()


def valued(
    engine: DuckEngine, events: list[dict[str, Any]], as_of: date, name: str = "clicks", **settings: Any
) -> Valuation:
    store = MemoryStore()
    store.put("b0", log(*events))
    store.attach(engine)
    facts = count(engine, Rules(recipe=recipe(name), window_days=0))
    return valuate(facts, as_of, exponent=0, window_days=0, settings=Settings(**settings), categories={})


def shown(day_as_provider: bool) -> list[dict[str, Any]]:
    """20 impressions a day, of which 1 + day are clicked."""
    events = []
    for day in range(DAYS):
        for n in range(20):
            show = {
                "name": "impression",
                "at": day + 0.01 * n,
                "visit_id": f"{day}-{n}",
                "visitor_id": f"{day}-{n}",
                "provider_id": f"day {day}" if day_as_provider else "ad",
            }
            events += [show] + [show | {"name": "click"}] * (n <= day)
    return events


def test_a_day_is_valued_as_a_provider_that_had_its_visits(engine: DuckEngine) -> None:
    """A log in which each day's visits are a provider's of that name, without decay: its providers are those days. A
    click is known to earn 1, there as here."""
    as_of = FIRST + timedelta(days=DAYS - 1)
    days = rows(valued(engine, shown(False), as_of, unit_reward=True), "day")
    providers = valued(engine, shown(True), as_of, unit_reward=True, half_life_days=36500.0)
    names = ("visitors", "orders", "value_mean", "value_sd", "value_low", "value_high", "evidence")
    wanted = [tuple(row[name] for name in names) for row in rows(providers, "provider")]
    assert [tuple(row[name] for name in names) for row in days] == wanted


def test_a_log_that_ends_before_what_is_remembered_tells_nothing(engine: DuckEngine) -> None:
    """At a half-life of 2 days the memory is 5 x 2 days: with its last visit 10 days ago a log still counts."""
    last = FIRST + timedelta(days=DAYS - 1)
    found = valued(engine, shown(False), last + timedelta(days=10), half_life_days=2.0)
    assert found.values.providers.mean[0] > 0
    with pytest.raises(NotEnoughDataError, match="nothing that old") as told:
        valued(engine, shown(False), last + timedelta(days=11), half_life_days=2.0)
    assert str(last + timedelta(days=10)) in told.value.way_out


def test_rows_are_sliced_as_a_list_is(engine: DuckEngine) -> None:
    found = rows(valued(engine, shown(True), FIRST + timedelta(days=DAYS - 1), unit_reward=True), "provider")
    whole = list(found)
    assert len(whole) == DAYS
    for part in (slice(None, None, 2), slice(4, 0, -3), slice(-2, None), slice(1, 99), slice(5, 2)):
        assert found[part] == whole[part]
    assert found[-1] == whole[-1]
    with pytest.raises(IndexError):
        found[DAYS]
