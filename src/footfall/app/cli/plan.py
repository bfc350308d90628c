"""``footfall plan [publish | list | show | diff | rollback]`` and ``footfall explain``."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from footfall.app import output, planning
from footfall.app.build import open_workspace
from footfall.app.cli.options import FormatOption, TextFormat, WorkspaceOption, day
from footfall.app.progress import bar
from footfall.errors import InfeasibleError, WorkspaceError
from footfall.model import Plan
from footfall.value.recipes import recipe

if TYPE_CHECKING:
    from footfall.acquire.plans import Explanation
    from footfall.acquire.winback import WinBack

PLAN_HELP = """Plan tomorrow's visits: for each segment, the share of its demand that each provider gets.

Limits that cannot all hold end with exit status 3, the limits in conflict, and by how much they must give.

For example:

    footfall plan
    footfall plan --inertia 0.1 --rules rules.toml --capacity capacity.csv
    footfall plan --date 2026-11-11 --demand double11.csv --format json
    footfall plan publish

Today is an average day of the last seven; value is that of the visits planned, whose mix of segments is another than
that of all visits so far (`footfall value`); price is what the named limits hold back, or cost, in reward per visit.

A rules file holds any number of these; without its segment, a pin, an exclude or a boost is for all segments. Segments
are named as `footfall demand` shows them: "ads", or "ads | fashion" where two columns make a segment.

    [[pin]]
    provider = "shop-1"
    share = 0.2
    segment = "ads"

    [[exclude]]
    provider = "shop-2"
    segment = "ads"

    [[boost]]
    provider = "shop-3"
    factor = 1.2

    [[floor]]
    provider = "shop-4"
    visits = 50

    [[cap]]
    provider = "shop-4"
    visits = 80
"""
plan_app = App(name="plan", help=PLAN_HELP, help_format="plaintext", version_flags=[])

View = Literal["provider", "pair"]
SHOWN = 40
NUMBERS = {
    **dict.fromkeys(("share_today", "share_reference", "share_tomorrow"), ".2%"),
    **dict.fromkeys(("visits_today", "visits_tomorrow"), ",.1f"),
    **dict.fromkeys(("value", "value_low", "value_high"), ",.4g"),
    "change": "+,.1f",
    "price": ",.3g",
}
DateOption = Annotated[str | None, Parameter(name="--date", help="The day to plan; the day after the last otherwise.")]
VersionArgument = Annotated[int | None, Parameter(help="Version of the plan, as `footfall plan list` shows it.")]
ByOption = Annotated[View, Parameter(name="--by", help="Rows of csv and parquet: provider or pair.")]
PROVIDER_COLUMNS = (
    "provider_id",
    "category",
    "newcomer",
    "visits_today",
    "visits_tomorrow",
    "value",
    "price",
    "limits",
)
LIST_COLUMNS = ("version", "status", "day", "as_of", "created_at", "inertia", "reward", "gap")
PAIR_COLUMNS = (
    "segment",
    "provider_id",
    "share_today",
    "share_reference",
    "share_tomorrow",
    "visits_today",
    "visits_tomorrow",
    "value",
    "value_low",
    "value_high",
)


@plan_app.default
def plan(
    *,
    date: DateOption = None,
    inertia: float | None = None,
    capacity: Path | None = None,
    rules: Path | None = None,
    demand: Path | None = None,
    eligible: Path | None = None,
    as_of: Annotated[str | None, Parameter(name="--as-of", help="Plan from what was known on this day.")] = None,
    by: ByOption = "provider",
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Plan tomorrow's visits: for each segment, the share of its demand that each provider gets.

    Parameters
    ----------
    inertia
        How strongly shares hold to today's; 0 is the plain linear programme; the setting otherwise.
    capacity
        CSV with provider_id,visits: the most visits a day that a provider can serve.
    rules
        TOML with [[pin]], [[exclude]], [[boost]], [[floor]], [[cap]] tables.
    demand
        CSV with segment,visits: what you expect of the day, in place of the forecast.
    eligible
        CSV with segment,provider_id: pairs to allow beside those that had visits.
    """
    here = open_workspace(workspace)
    try:
        with bar("plan") as advance:
            made = planning.plan(
                here,
                day(date, "--date"),
                inertia=inertia,
                capacity=capacity,
                rules=rules,
                demand=demand,
                eligible=eligible,
                as_of=day(as_of, "--as-of"),
                progress=advance,
            )
    except InfeasibleError as error:
        _print_conflict(error, format)
        raise
    _print_plan(made, by, format)


def _print_conflict(error: InfeasibleError, format: output.Format) -> None:
    rows = [
        {"limit": line.name, "bound": line.bound, "weight": line.weight, "give": line.give}
        for line in error.conflict.limits
    ]
    if format == "json":
        proof = {"status": "infeasible", "excess_visits": error.conflict.excess, "limits": rows}
        sys.stdout.write(output.to_json(proof) + "\n")
    else:
        output.write(rows, "table" if format == "parquet" else format, ("limit", "bound", "weight", "give"))


def _record(item: Any) -> dict[str, Any]:
    return {field.name: getattr(item, field.name) for field in fields(item)}


def plan_as_dict(made: Plan) -> dict[str, Any]:
    """A plan as plain data, for JSON."""
    body = _record(made)
    body["demand"] = {
        "day": made.demand.day,
        "segments": [
            {"segment": s, "visits": v, "low": lo, "high": hi}
            for s, v, lo, hi in zip(
                made.demand.segments, made.demand.visits, made.demand.low, made.demand.high, strict=True
            )
        ],
    }
    for key in ("pairs", "providers", "limits"):
        body[key] = [_record(line) for line in body[key]]
    for key in ("comparison", "today", "tomorrow"):
        body[key] = _record(body[key])
    return body


def _print_plan(made: Plan, by: View, format: output.Format) -> None:
    if format == "json":
        sys.stdout.write(output.to_json(plan_as_dict(made)) + "\n")
    elif format == "table":
        _draw_outcome(made)
        _draw_lines(made, by)
        _draw_rest(made)
    elif by == "provider":
        output.write([_record(line) for line in made.providers], format, PROVIDER_COLUMNS)
    else:
        output.write([_record(line) for line in made.pairs], format, PAIR_COLUMNS)


def _draw_outcome(made: Plan) -> None:
    screen = output.console()
    whole = made.comparison
    gain = f" ({whole.plan / whole.keep_shares - 1:+.1%} over keeping today's shares)" if whole.keep_shares else ""
    screen.print(f"Plan {made.version} for {made.day}, from what was known on {made.as_of}; {made.status}.")
    screen.print(f"Expected reward {whole.plan:,.2f}{gain}; certified within {max(made.gap, 1e-9):.0e} of the best.")
    demand, today = float(made.demand.visits.sum()), sum(line.visits_today for line in made.providers)
    low, high = float(made.demand.low.sum()), float(made.demand.high.sum())
    against = f", {demand / today - 1:+.1%} against today's {today:,.1f}" if today else ""
    span = f" ({low:,.0f} to {high:,.0f}, segment by segment)" if high > low else ""
    screen.print(f"Demand {demand:,.1f} visits{span}{against}.")
    for note in made.notes:
        screen.print(f"note: {note}", soft_wrap=True)
    screen.print()
    choices = {
        "keep today's shares, within the limits": whole.keep_shares,
        "in proportion to value, within the limits": whole.proportional,
        f"this plan (inertia {made.inertia:g})": whole.plan,
        "bound without inertia": whole.lp_bound,
    }
    output.draw([{"choice": k, "reward": v} for k, v in choices.items()], ("choice", "reward"))
    screen.print()


def _draw_lines(made: Plan, by: View) -> None:
    lines: list[Any] = list(made.providers if by == "provider" else made.pairs)
    lines.sort(key=lambda line: -abs(line.visits_tomorrow - line.visits_today))
    rows = [{**_record(line), "change": line.visits_tomorrow - line.visits_today} for line in lines[:SHOWN]]
    known = PROVIDER_COLUMNS if by == "provider" else PAIR_COLUMNS
    place = known.index("visits_tomorrow") + 1
    columns = (*known[:place], "change", *known[place:])
    if by == "provider":  # demand rises and falls for all: the share tells whom the plan moves it to
        whole = {
            name: sum(getattr(line, name) for line in lines) or 1.0 for name in ("visits_today", "visits_tomorrow")
        }
        for row in rows:
            row |= {f"share_{day}": row[f"visits_{day}"] / whole[f"visits_{day}"] for day in ("today", "tomorrow")}
        columns = (*columns[: place + 1], "share_today", "share_tomorrow", *columns[place + 1 :])
    output.draw(rows, columns, numbers=NUMBERS)
    if len(lines) > SHOWN:
        output.console().print(f"... and {len(lines) - SHOWN:,} more; --format csv has them all")


def _draw_rest(made: Plan) -> None:
    screen = output.console()
    left = sum(made.unassigned.values())
    if left > 0.005:
        screen.print(f"{left:,.1f} visits are left unassigned by the limits.")
    screen.print(
        f"Gini {made.today.gini:.3f} -> {made.tomorrow.gini:.3f}; top tenth of providers "
        f"{made.today.top_decile_share:.1%} -> {made.tomorrow.top_decile_share:.1%}; "
        f"newcomers {made.today.newcomer_share:.2%} -> {made.tomorrow.newcomer_share:.2%}."
    )
    if made.status == "draft":
        screen.print("`footfall plan publish` puts it in force; `footfall explain PROVIDER` gives the reasons.")


@plan_app.command(name="list")
def list_(*, workspace: WorkspaceOption = None, format: FormatOption = "table") -> None:
    """List all plans, newest first. One that cannot be read back is listed as damaged, and the others as they are.

    For example:

        footfall plan list --format json
    """
    here = open_workspace(workspace)
    state = here.state
    rows: list[dict[str, Any]] = []
    for version, status in state.versions().items():
        try:
            rows.append(_listed(state.plan(version)))
        except WorkspaceError as error:
            rows.append({**dict.fromkeys(LIST_COLUMNS), "version": version, "status": f"damaged, {status}"})
            output.console(stderr=True).print(f"note: {error.message}; {error.way_out}", soft_wrap=True)
    rows = [row for row in rows if row]

    def table() -> None:
        local = [{**row, "created_at": at and at.astimezone(here.zone)} for row in rows for at in [row["created_at"]]]
        output.draw(local, LIST_COLUMNS, numbers={"gap": ".1g"})

    output.write(rows, format, LIST_COLUMNS, table)


def _listed(made: Plan | None) -> dict[str, Any]:
    """The line of a plan in the list; nothing for one that has just been taken away."""
    if made is None:
        return {}
    own = {name: getattr(made, name) for name in LIST_COLUMNS if name != "reward"}
    return {**own, "reward": made.comparison.plan}


@plan_app.command
def show(
    version: VersionArgument = None,
    /,
    *,
    by: ByOption = "provider",
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Show a plan that was made before; the newest if no version is given.

    For example:

        footfall plan show 12
        footfall plan show --by pair --format csv > plan.csv
    """
    _print_plan(planning.stored_plan(open_workspace(workspace), version), by, format)


@plan_app.command
def publish(version: VersionArgument = None, /, *, workspace: WorkspaceOption = None) -> None:
    """Put a plan in force; the newest if no version is given. The one before is retired. A plan for an earlier day than
    the one in force has to be named by its version.

    For example:

        footfall plan publish 12
    """
    done = planning.publish(open_workspace(workspace), version)
    output.console().print(f"Plan {done.version} for {done.day} is published.")


@plan_app.command
def rollback(version: VersionArgument = None, /, *, workspace: WorkspaceOption = None) -> None:
    """Put the plan that was in force before back, or the version given.

    For example:

        footfall plan rollback
    """
    done = planning.rollback(open_workspace(workspace), version)
    output.console().print(f"Rolled back: plan {done.version} for {done.day} is published.")


@plan_app.command
def diff(
    first: VersionArgument = None,
    second: VersionArgument = None,
    /,
    *,
    by: ByOption = "provider",
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Compare two plans, by default the published one with the newest; where that is the published one, the one before
    with it.

    For example:

        footfall plan diff
        footfall plan diff 3 7 --by pair --format csv
    """
    here = open_workspace(workspace)
    before, after = planning.plans_to_compare(here, first, second)
    changes = planning.plan_diff(before, after, by)
    keys = ("provider_id",) if by == "provider" else ("segment", "provider_id")
    columns = (*keys, "visits_before", "visits_after", "change", "value_before", "value_after")
    numbers = dict.fromkeys(("visits_before", "visits_after"), ",.1f") | {
        "change": "+,.1f",
        "value_before": ",.4g",
        "value_after": ",.4g",
    }

    def table() -> None:
        names = [f"plan {one.version} for {one.day} ({one.status})" for one in (before, after)]
        output.console().print(f"From {names[0]} to {names[1]}")
        output.draw(changes[:SHOWN], columns, numbers=numbers)
        if len(changes) > SHOWN:
            output.console().print(f"... and {len(changes) - SHOWN:,} more; --format csv has them all")

    output.write(changes, format, columns, table)


def explain(
    provider: str,
    /,
    *,
    version: Annotated[
        int | None, Parameter(help="The plan; the newest otherwise, or the one in force if that was retired.")
    ] = None,
    workspace: WorkspaceOption = None,
    format: TextFormat = "table",
) -> None:
    """Why a provider's visits change from today to tomorrow, in parts that sum to the change, to the visit.

    For example:

        footfall explain shop-7
        footfall explain Display --version 3 --format json

    Parameters
    ----------
    provider
        The provider's id, or its name.
    """
    here = open_workspace(workspace)
    with bar("explain"):
        made = planning.plan_to_tell(here, version)
        why = planning.explain(here, provider, made.version)
    if format == "json":
        sys.stdout.write(output.to_json({"version": made.version, "status": made.status, **why.as_dict()}) + "\n")
        return
    _draw_reasons(why, made, recipe(here.config.workspace.recipe).unit_reward)


def _draw_reasons(why: Explanation, made: Plan, unit_reward: bool) -> None:
    screen = output.console()
    today, tomorrow, change = why.told
    form = f",.{why.places}f"
    moved = f"{today:{form}} visits today, {tomorrow:{form}} planned ({change:+{form}})"
    screen.print(f"{why.provider_id} on {why.day}, by plan {made.version} ({made.status}): {moved}.", soft_wrap=True)
    rows = [
        {"because of": r["reason"], "visits": r["told"], "own": r["own"], "around it": r["around"]} for r in why.rows()
    ]
    rows.append({"because of": "change", "visits": change})
    output.draw(
        rows,
        ("because of", "visits", "own", "around it"),
        numbers={"visits": f"+{form}", "own": ",.4g", "around it": ",.4g"},
    )
    if why.win_back is not None:
        screen.print(_win_back(why.win_back, unit_reward), soft_wrap=True)
    if why.neighbours:
        gained = ", ".join(f"{n.provider_id} {n.told:+,.{0 if n.told.is_integer() else 1}f}" for n in why.neighbours)
        screen.print(f"In the same segments: {gained}", soft_wrap=True)
    for note in why.notes:
        screen.print(f"note: {note}", soft_wrap=True)


def _win_back(back: WinBack, unit_reward: bool) -> str:
    """What would bring the lost visits back, in words; where an order earns exactly 1, its value cannot rise."""
    if back.conversion_needed is None and back.order_value_needed is None:
        return f"No rise in conversion or order value brings the visits back: {back.blocked_by}."
    ways = []
    if back.conversion_needed is not None:
        ways.append(f"conversion {back.conversion:.2%} -> {back.conversion_needed:.2%}")
    if back.order_value_needed is not None and not unit_reward:
        ways.append(f"order value {back.order_value:,.2f} -> {back.order_value_needed:,.2f}")
    return f"What would bring the visits back (checked by planning again): {' or '.join(ways)}."
