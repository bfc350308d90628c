"""A plan that comes into force: the ledger has its capacities before anybody decides by it."""

from __future__ import annotations

from footfall.acquire.live import LivePlan
from footfall.app.build import Workspace

OPENED = "live_day"


def published(here: Workspace) -> int | None:
    """The version of the plan in force."""
    return next((v for v, status in here.state.versions().items() if status == "published"), None)


def open_day(here: Workspace, plan: LivePlan) -> None:
    """Give today the capacities of the plan in force, once for a day and plan.

    Where another plan came into force since ``plan`` was read, whoever opened the day by that may have been written
    over: the day is opened by it once more.
    """
    opened = {"day": here.today().isoformat(), "plan_version": plan.version}
    if here.state.get(OPENED) == opened:
        return
    while True:
        here.ledger.open_day(here.today(), plan.capacities())
        here.state.put(OPENED, {"day": here.today().isoformat(), "plan_version": plan.version})
        version = published(here)
        found = None if version in (None, plan.version) else here.state.plan(version)
        if found is None:
            return
        plan = LivePlan.of(found)
