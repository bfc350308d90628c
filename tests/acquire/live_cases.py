"""Small plans and deciders for the tests of live decisions."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from plan_cases import NOW, market

from footfall.acquire.book import Book
from footfall.acquire.decide import Ask, Decider
from footfall.acquire.inputs import PlanInputs
from footfall.acquire.live import LivePlan, Roster
from footfall.acquire.plan import make_plan
from footfall.config import LiveSettings
from footfall.model import VISIT, Decision, Pacing, Plan

DAY = date(2026, 2, 10)
AT = datetime(2026, 2, 10, 9, 30, tzinfo=UTC)
PLENTY = 10**9


def inputs_of(seed: int = 0, segments: int = 4, providers: int = 20, **more: Any) -> PlanInputs:
    rng = np.random.default_rng(seed)
    daily = rng.zipf(1.6, (segments, providers)).clip(1, 300).astype(float)
    return market(daily, rng.lognormal(1, 0.4, daily.shape), **more)


def plan_of(seed: int = 0, **more: Any) -> Plan:
    return make_plan(inputs_of(seed, **more), f"p{seed}", NOW)


def full_book(live: LivePlan, visits: int = PLENTY, spare: int = 4096) -> Book:
    """A book with that many visits of each provider of the plan."""
    roster = Roster(spare)
    roster.take_in(live.providers)
    book = Book(roster, DAY, "w-1")
    book.credit(dict.fromkeys(live.providers, visits * VISIT))
    return book


def decider_of(
    plan: Plan,
    seed: int = 0,
    visits: int = PLENTY,
    pacing: Pacing | None = None,
    recall: Any = None,
    spare: int = 4096,
    **settings: Any,
) -> Decider:
    live = LivePlan.of(plan)
    rng = np.random.default_rng(seed)
    return Decider(live, pacing, full_book(live, visits, spare), LiveSettings(**settings), rng, recall=recall)


def ask(decider: Decider, candidates: tuple[str, ...] | None = None, slots: int = 1, **more: Any) -> Decision:
    told = {"visitor_id": "v", "segment": "s1", "at": AT, **more}
    return decider.decide(Ask(candidates=candidates, slots=slots, **told))
