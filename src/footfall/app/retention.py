"""Retention for the commands and the service: the loop's retain steps, wired to a workspace."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from footfall.app import cycle
from footfall.app.build import Workspace
from footfall.record import money
from footfall.value.recipes import recipe, reward_exponent

if TYPE_CHECKING:
    from footfall.retain.customers import Customers
    from footfall.retain.timing import Moments


def customers(here: Workspace, as_of: date | None = None) -> Customers:
    """Customers as of a day, by default the last of the log."""
    from footfall.retain import customers as buyers
    from footfall.value.facts import rules_of

    exponent = reward_exponent(recipe(here.config.workspace.recipe), money.exponent(here.config.workspace.currency))
    with here.engine() as engine:
        lettered = buyers.relations(here.store, engine, rules_of(here.config, here.state.providers()))
        return buyers.customers(engine, as_of or here.last_day(), exponent, lettered)


def timing(here: Workspace, as_of: date | None = None) -> tuple[Moments, ...]:
    """When to follow up and when to remind, by category."""
    from footfall.retain import timing as moments
    from footfall.value.sums import sum_by

    known = cycle.valued(here, as_of)
    index, counts = known.index, known.counts
    category = index.provider_category[index.pair_provider]
    size = len(index.categories)
    orders = sum_by(category[counts.order_pair], counts.orders, size)
    visits = sum_by(category[counts.visit_pair], counts.visits, size)
    rhythms = customers(here, known.as_of).rhythms
    return moments.moments(index.categories, known.values.delay, orders, visits, rhythms.categories, rhythms.fit)
