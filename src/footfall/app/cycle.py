"""The loop on one page.

    record    events into the log, each once                                   recording.py
    value     what a visit is worth, with an interval, and tomorrow's visits    valuing.py
    acquire   tomorrow's visits to where they are worth most, with a proof      planning.py
    retain    who is to hear from the shop, and when                            retention.py, messaging.py, offering.py
    learn     what that added, against those who were held out                  proving.py

and from there to record again: what the plan and the letters bring comes back as events.

``turn`` is one turn of it; the commands, the service's keeper and the demonstration take the same steps, each at its
own time. A step takes the workspace and returns a record; nothing is printed there. Numerics take a second to load, so
each step imports what it needs when it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from footfall.app import messaging, planning, proving, recording, valuing
from footfall.app.build import Workspace
from footfall.model import ImportSummary, Plan

if TYPE_CHECKING:
    from footfall.retain.rounds import Planned
    from footfall.value.valuation import Valuation


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn made: ``taken`` is None without files, ``round`` without journeys; ``plan`` is published."""

    taken: ImportSummary | None
    known: Valuation
    plan: Plan
    round: Planned | None
    lifts: list[dict[str, Any]]


def turn(here: Workspace, files: Sequence[str] = ()) -> Turn:
    """One turn of the loop. Messages wait in the outbox afterwards: ``messaging.send`` hands them over."""
    taken = recording.import_files(here, files) if files else None

    known = valuing.valued(here)

    plan = here.state.publish(planning.plan(here, known=known).version)

    planned = None
    if here.config.journeys:
        planned, _ = messaging.one_round(here)

    return Turn(taken, known, plan, planned, proving.lifts(here))
