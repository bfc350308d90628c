"""Retention for the commands and the service: the loop's retain steps, wired to a workspace."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from footfall.app import valuing
from footfall.app.build import Workspace
from footfall.ports import Engine
from footfall.record import money
from footfall.value.recipes import recipe, reward_exponent

if TYPE_CHECKING:
    from footfall.retain.audience import Audience
    from footfall.retain.calibration import Calibration
    from footfall.retain.customers import Customers
    from footfall.retain.timing import Moments
    from footfall.stores.engine import DuckEngine
    from footfall.value.valuation import Valuation


def customers(here: Workspace, as_of: date | None = None, *, look_back: bool = False) -> Customers:
    """Customers as of a day, by default the last of the log; ``look_back`` notes forecasts that would have missed."""
    from footfall.retain import calibration
    from footfall.retain import customers as buyers
    from footfall.value.facts import rules_of

    exponent = reward_exponent(recipe(here.config.workspace.recipe), money.exponent(here.config.workspace.currency))
    with here.engine() as engine:
        buyers.relations(here.store, engine, rules_of(here.config, here.state.providers()))
        found = buyers.customers(engine, as_of or here.last_day(), exponent, here.clock.now())
        if not look_back or found.purchases is None:
            return found
        span = int(found.buyers["age_days"].to_numpy().max())
        missed = calibration.misses(engine, found.as_of, span)
        return replace(found, notes=(*found.notes, missed)) if missed else found


def calibration(here: Workspace, days: int, as_of: date | None = None) -> Calibration:
    """What the lifetime model forecast ``days`` before the end of the log, beside what came."""
    from footfall.retain import calibration as held_out
    from footfall.retain import customers as buyers
    from footfall.value.facts import rules_of

    exponent = reward_exponent(recipe(here.config.workspace.recipe), money.exponent(here.config.workspace.currency))
    with here.engine() as engine:
        buyers.relations(here.store, engine, rules_of(here.config, here.state.providers()))
        return held_out.calibrate(engine, as_of or here.last_day(), days, exponent)


def timing(here: Workspace, as_of: date | None = None) -> tuple[Moments, ...]:
    """When to follow up and when to remind, by category."""
    from footfall.retain import timing as moments

    known = valuing.valued(here, as_of)
    return _moments(known, customers(here, as_of), moments.moments)[0]


def _moments(known: Valuation, buyers: Customers, moments: Any) -> tuple[tuple[Moments, ...], dict[str, float]]:
    """Moments of each category, and the mean money of an order in it, major units."""
    from footfall.value.sums import sum_by

    index, counts = known.index, known.counts
    category, size = index.provider_category[index.pair_provider], len(index.categories)
    orders = sum_by(category[counts.order_pair], counts.orders, size)
    visits = sum_by(category[counts.visit_pair], counts.visits, size)
    amounts = sum_by(category[counts.order_pair], counts.amount, size)
    rhythms = buyers.rhythms
    found = moments(index.categories, known.values.delay, orders, visits, rhythms.categories, rhythms.fit)
    each = (float(a / n) if n else 0.0 for a, n in zip(amounts, orders, strict=True))
    return found, dict(zip(index.categories, each, strict=True))


@dataclass(frozen=True, slots=True)
class Shown:
    """What audiences are asked of: the engine, customers, and moments of each category."""

    engine: DuckEngine
    customers: Customers
    moments: tuple[Moments, ...]


@contextmanager
def shown(here: Workspace, as_of: date | None = None) -> Iterator[Shown]:
    """A sealed engine in which all relations of retain stand (``retain.audience``), closed at the end."""
    from footfall.retain import audience, customers, timing
    from footfall.value.facts import rules_of

    known = valuing.valued(here, as_of)
    exponent = reward_exponent(recipe(here.config.workspace.recipe), money.exponent(here.config.workspace.currency))
    with here.engine() as engine:
        customers.relations(here.store, engine, rules_of(here.config, here.state.providers()))
        buyers = customers.customers(engine, as_of or here.last_day(), exponent, here.clock.now())
        found, values = _moments(known, buyers, timing.moments)
        del known  # not needed any more, and large where the log is
        audience.show(engine, buyers, found, values)
        engine.seal([str(Path(path).parents[2]) for path in here.store.files()[:1]])
        yield Shown(engine, buyers, found)


def keys_now(engine: Engine, ids: Sequence[str]) -> dict[str, str]:
    """Keys of persons under these identifiers -> whose they are by now, by the log that is attached to the engine."""
    from footfall.retain import rounds
    from footfall.retain.statements import text
    from footfall.value import identity

    engine.query(text("told_of_devices"), None, asked=pa.table({"id": pa.array(ids, pa.string())}))
    identity.learn(engine, (), "touched_events", use=True)
    return rounds.joined(engine, [f"{mark}:{one}" for one in ids for mark in "du"])


def audiences(here: Workspace, wanted: Collection[str] | None = None) -> tuple[Audience, ...]:
    """Those that come with Footfall, and the workspace's own (folder ``audiences``): all, or only the ``wanted`` ones,
    so that a fault in a file that nobody asks for stops nobody."""
    from footfall.retain import audience

    return (*audience.built_in(), *audience.own(here.directory / "audiences", wanted))
