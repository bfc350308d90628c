"""A plan that comes into force: the ledger has its capacities before anybody decides by it."""

from __future__ import annotations

from footfall.acquire.live import LivePlan
from footfall.app.build import Workspace

OPENED = "live_day"


def open_day(here: Workspace, plan: LivePlan) -> None:
    """Give today the capacities of the plan in force, once for a day and plan."""
    day = here.today()
    opened = {"day": day.isoformat(), "plan_version": plan.version}
    if here.state.get(OPENED) != opened:
        here.ledger.open_day(day, plan.capacities())
        here.state.put(OPENED, opened)
