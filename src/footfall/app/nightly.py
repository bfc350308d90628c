"""The nightly plan: made when it is due, published when it passes its checks; else yesterday's stays, and why shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from footfall.app import planning, recording
from footfall.app.build import Workspace
from footfall.config import ServeSettings
from footfall.errors import FootfallError, WorkspaceError
from footfall.model import Finding, Plan

if TYPE_CHECKING:
    from footfall.record.fakes import Suspect

RECORD = "nightly"
AGAIN = timedelta(minutes=1)  # after which a plan that could not be made for the place's sake is tried again
LEAST_SHARE = 0.01  # of the visits: a provider below it may change by more than publish_change


def due(record: Mapping[str, Any] | None, now: datetime, plan_at: str, in_force: Plan | None) -> bool:
    """Whether a plan is to be made now.

    record: what became of the latest nightly plan. now: local and aware. plan_at: HH:MM, '' for never. in_force: the
    published plan. Once a local day, at or after plan_at, and not where a plan of this day is in force already; again
    where the place failed, not the plan.
    """
    if not plan_at or now.time() < time.fromisoformat(plan_at):
        return False
    if in_force is not None and in_force.day >= now.date():
        return False
    if record is None or record.get("night") != now.date().isoformat():
        return True
    again = record.get("again_at")
    return again is not None and now >= datetime.fromisoformat(again)


def held_back(record: Mapping[str, Any] | None) -> bool:
    """Whether the newest nightly plan did not pass; one that is tried again has not failed yet."""
    return record is not None and not record.get("published") and not record.get("again_at")


def doubts(
    plan: Plan, findings: Iterable[Finding], suspects: Iterable[Suspect], settings: ServeSettings
) -> tuple[str, ...]:
    """Why a plan should not be published unseen; empty where it passes.

    Its certified gap, the largest change of a provider's visits (newcomers and those below 1 % apart), a provider that
    gains by orders that look faked, and the data checks, of which none may be an error.
    """
    told = []
    if not plan.gap <= settings.publish_gap:
        told.append(f"its certified gap is {plan.gap:.2g}, above [serve] publish_gap {settings.publish_gap:.2g}")
    total = sum(line.visits_today for line in plan.providers)
    tomorrow = sum(line.visits_tomorrow for line in plan.providers)
    moved = [
        (abs(line.visits_tomorrow / line.visits_today - 1), line.provider_id)
        for line in plan.providers
        if not line.newcomer and line.visits_today > 0 and line.visits_today >= LEAST_SHARE * total
    ]
    largest, who = max(moved, default=(0.0, ""))
    if largest > settings.publish_change:
        told.append(f"it changes {who!r} by {largest:.0%}, above [serve] publish_change {settings.publish_change:.0%}")
    faked = {suspect.provider_id for suspect in suspects}
    told += [
        f"it gives {line.provider_id!r} a larger share, whose orders look faked (`footfall check`): leave their "
        "visitors out in [value] exclude_visitors, or give it a cap in [serve] plan_rules"
        for line in plan.providers
        if line.provider_id in faked and line.visits_tomorrow * total > line.visits_today * tomorrow * (1 + 1e-6)
    ]
    told += [f"check {f.check}: {f.message}" for f in findings if f.level == "error"]
    return tuple(told)


def make(here: Workspace, settings: ServeSettings, still_leading: Any) -> dict[str, Any]:
    """Make tonight's plan and publish it if it passes; what is to be recorded, and is; WorkspaceError if it cannot.

    still_leading: asked once more before publishing; a leader that was replaced meanwhile leaves it to its successor.
    """
    now = here.clock.now()
    local = now.astimezone(here.zone)
    record: dict[str, Any] = {
        "night": local.date().isoformat(),
        "at": now.isoformat(),
        "version": None,
        "published": False,
        "reasons": [],
    }
    try:
        plan = planning.plan(
            here,
            rules=_file(here, settings.plan_rules),
            capacity=_file(here, settings.plan_capacity),
        )
        record["version"] = plan.version
        reasons = doubts(plan, recording.check(here).findings, recording.suspects(here), settings)
    except WorkspaceError as error:  # the state, the disk, memory: it says nothing of the plan, and may pass
        reasons = (error.message,)
        record["again_at"] = (now + AGAIN).isoformat()
    except FootfallError as error:
        reasons = (error.message,)
    record["reasons"] = list(reasons)
    if not reasons and not still_leading():
        return record
    if not reasons:
        here.state.publish(plan.version)
        record["published"] = True
    here.state.put(RECORD, record)
    return record


def _file(here: Workspace, name: str) -> Path | None:
    return here.directory / name if name else None
