"""Planning: a day's plan, its versions, and why; acquire wired to a workspace."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from footfall.app import valuing
from footfall.app.build import Workspace
from footfall.app.progress import Advance
from footfall.errors import ConfigError, WorkspaceError
from footfall.model import Plan

if TYPE_CHECKING:
    from footfall.acquire.plans import Explanation
    from footfall.value.valuation import Valuation


def plan(
    here: Workspace,
    day: date | None = None,
    *,
    inertia: float | None = None,
    capacity: Path | None = None,
    rules: Path | None = None,
    demand: Path | None = None,
    eligible: Path | None = None,
    as_of: date | None = None,
    known: Valuation | None = None,
    progress: Advance | None = None,
) -> Plan:
    """Plan a day's visits and keep the plan as a draft; InfeasibleError where limits cannot all hold.

    known: what ``valuing.valued`` says, where it is at hand; without ``as_of`` and ``eligible``.
    """
    from footfall.acquire import plans, solve
    from footfall.app import inputs

    files = inputs.read_files(capacity=capacity, rules=rules, demand=demand, eligible=eligible)
    counted = valuing.count(here) if known is None else known.facts
    as_of, notes = valuing.whole_day(here, counted, as_of) if known is None else (known.as_of, ())
    if day is not None and day <= as_of:
        raise ConfigError(
            f"the log already has {as_of}; {day} cannot be planned",
            f"plan {as_of + timedelta(days=1)} or later",
        )
    known = known or valuing.valued(here, as_of, files.eligible, counted)
    settings = here.config.plan if inertia is None else _with_inertia(here, inertia)
    made_from = inputs.plan_inputs(known, day or as_of + timedelta(days=1), files, settings)
    made = plans.make_plan(
        made_from, uuid.uuid4().hex, here.clock.now(), solve=solve, progress=inputs.solver_progress(progress)
    )
    made = replace(made, notes=tuple(dict.fromkeys((*notes, *known.values.notes, *made.notes))))
    inputs.keep(here.common, made.plan_id, made_from)
    return here.state.save_plan(made)


def _with_inertia(here: Workspace, inertia: float) -> Any:
    from msgspec.structs import replace as with_setting

    if not 0 <= inertia <= 100:
        raise ConfigError(f"--inertia {inertia} is out of its range", "give a number from 0 to 100; 0.3 is the default")
    return with_setting(here.config.plan, inertia=inertia)


def stored_plan(here: Workspace, version: int | None = None) -> Plan:
    """The plan of that version, else the newest."""
    found = here.state.plan(version)
    if found is None:
        what = f"no plan {version}" if version is not None else "no plan yet"
        raise WorkspaceError(f"there is {what}", "`footfall plan list` shows the plans; `footfall plan` makes one")
    return found


def plan_to_tell(here: Workspace, version: int | None = None) -> Plan:
    """The plan of that version, else the newest; the one in force where the newest was retired, as by a rollback."""
    found = stored_plan(here, version)
    if version is None and found.status == "retired":
        return here.state.plan(status="published") or found
    return found


def publish(here: Workspace, version: int | None = None) -> Plan:
    """Put a plan in force: that version, else the newest, unless it is for an earlier day than the one in force."""
    made = stored_plan(here, version)
    now = here.state.plan(status="published")
    if version is None and now is not None and made.day < now.day:
        raise WorkspaceError(
            f"the newest plan, {made.version}, is for {made.day}; plan {now.version}, in force, is for {now.day}",
            f"`footfall plan publish {made.version}` publishes it all the same; `footfall plan` makes a new one",
        )
    return here.state.publish(made.version)


def rollback(here: Workspace, version: int | None = None) -> Plan:
    """Put an earlier plan in force again: the given one, else the one that was before this one."""
    if version is None:
        return here.state.rollback()
    return here.state.publish(stored_plan(here, version).version)


def plans_to_compare(here: Workspace, first: int | None = None, second: int | None = None) -> tuple[Plan, Plan]:
    """The plans of two versions: by default the published one and the newest, else the two newest."""
    after = stored_plan(here, second)
    if first is not None:
        return stored_plan(here, first), after
    before = here.state.plan(status="published")
    if before is None or before.version == after.version:
        earlier = [version for version in here.state.versions() if version < after.version]
        before = stored_plan(here, max(earlier)) if earlier else None
    if before is None:
        raise WorkspaceError("there is one plan only", "make another with `footfall plan` to compare it with")
    return before, after


def plan_diff(before: Plan, after: Plan, by: Literal["provider", "pair"]) -> list[dict[str, Any]]:
    """Two plans side by side."""
    from footfall.acquire.diff import diff

    return diff(before, after, by)


def explain(here: Workspace, provider: str, version: int | None = None) -> Explanation:
    """Why a provider's visits change from today to the planned day, in parts that sum to the change.

    By the plan of that version, else by the one in force, else by the newest.
    """
    from footfall.acquire import plans, solve
    from footfall.app import inputs

    made = (here.state.plan(status="published") if version is None else None) or stored_plan(here, version)
    made_from = inputs.kept(here.common, made.plan_id)
    if provider not in made_from.providers:
        named = [key for key, row in here.state.providers().items() if row.get("name") == provider]
        provider = named[0] if len(named) == 1 else provider
    return plans.explain(made_from, provider, solve=solve)
