"""``footfall customers | timing | audiences``."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from cyclopts import Parameter

from footfall.app import output, retention
from footfall.app.build import Workspace, open_workspace
from footfall.app.cli.options import FormatOption, WorkspaceOption, day
from footfall.app.output import Format
from footfall.app.progress import bar
from footfall.errors import ConfigError, InputError

DRAWN = 20
NUMBERS = {
    "spend": ",.2f",
    "alive": ".0%",
    **{f"expected_{days}": ",.2f" for days in (30, 90, 365)},
    **{f"money_{days}": ",.2f" for days in (30, 90, 365)},
    "due_chance": ".0%",
}
SHOWN = (
    "customer_id",
    "last_day",
    "frequency",
    "spend",
    "alive",
    "expected_90",
    "money_90",
    "due",
    "due_low",
    "due_high",
    "due_chance",
    "tier",
    "fan",
    "reachable",
)
TIMING_NUMBERS = {
    "orders": ",.0f",
    "repurchases": ",.0f",
    "conversion": ".2%",
    "left_at_follow_up": ".2%",
    "bought_again": ".0%",
}
TIMING_SHOWN = (
    "category",
    "orders",
    "conversion",
    "bought within",
    "follow_up",
    "last_call",
    "too_late",
    "left_at_follow_up",
    "repurchases",
    "bought_again",
    "remind",
    "lapsing",
)


def customers(
    *,
    as_of: Annotated[str | None, Parameter(name="--as-of", help="Count only what was known on this day.")] = None,
    limit: Annotated[int, Parameter(help="Rows to print; 0 = all. Tables show 20 unless told.")] = -1,
    calibrate: Annotated[
        int, Parameter(help="Hold out the last so many days: forecast beside what came, by tenths of customers.")
    ] = 0,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Who bought, whether they are still there, what they will still buy, and when the next purchase is due.

    alive is the probability that a customer still is one; nothing tells it of those who bought once. expected_90 and
    money_90 are purchase days and money forecast for the next 90 days (BG/NBD and Gamma-Gamma). due is the day by which
    half of those like this customer who come back have done so; due_low to due_high holds 80 % of them, due_chance is
    the chance of coming back at all.

    For example:

        footfall customers
        footfall customers --limit 0 --format csv > customers.csv
        footfall customers --as-of 2026-10-31 --format json
        footfall customers --calibrate 90
    """
    from footfall.retain import customers as buyers

    if limit < -1:
        raise ConfigError(f"--limit {limit}", "give 0 for all rows, or a number of rows")
    if calibrate < 0:
        raise ConfigError(f"--calibrate {calibrate}", "give the number of days to hold out")
    here = open_workspace(workspace)
    if calibrate:
        _calibration(here, calibrate, day(as_of, "--as-of"), format)
        return
    with bar("customers"):
        known = retention.customers(here, day(as_of, "--as-of"), look_back=True)
        table = buyers.table(known)
    most = limit if limit >= 0 else DRAWN if format == "table" else 0
    rows = table.slice(0, most or None).to_pylist()
    columns = SHOWN if format == "table" else buyers.COLUMNS
    output.write(rows, format, columns, lambda: output.draw(rows, columns, numbers=NUMBERS))
    screen = output.console(stderr=True)
    if format == "table":
        screen.print(_told(buyers.summary(known), len(rows)), soft_wrap=True)
    for note in known.notes:
        screen.print(f"note: {note}", soft_wrap=True)


def _calibration(here: Workspace, days: int, as_of: date | None, format: Format) -> None:
    from footfall.retain.calibration import COLUMNS

    with bar("calibration"):
        found = retention.calibration(here, days, as_of)
    rows = list(found.rows)
    numbers = {"forecast": ",.1f", "forecast_each": ",.3f", "actual_each": ",.3f"}
    output.write(rows, format, COLUMNS, lambda: output.draw(rows, COLUMNS, numbers=numbers))
    told = f"purchase days in the {found.days} days after {found.cut}, forecast from what was known then"
    output.console(stderr=True).print(f"{told}.", soft_wrap=True)


def _told(summary: dict[str, object], shown: int) -> str:
    told = f"{shown:,} of {summary['customers']:,} customers as of {summary['as_of']}"
    if "alive" in summary:
        told += f"; of the {summary['repeaters']:,} who bought again about {summary['alive']:,.0f} still are customers"
        told += f"; {summary['expected_90']:,.0f} purchase days"
        told += f" worth {summary['money_90']:,.2f}" if "money_90" in summary else ""
        told += " are forecast for the next 90 days"
    return told + "."


def timing(
    *,
    as_of: Annotated[str | None, Parameter(name="--as-of", help="Count only what was known on this day.")] = None,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """When a follow-up is worth sending, when it is too late, and when a reminder to buy again is due.

    follow_up, last_call and too_late are days after the visit: by then a quarter and three quarters of the later
    buyers, and nine tenths of all buyers, have come. remind and lapsing are days after a purchase: by then half and
    nine tenths of those who buy again have.

    For example:

        footfall timing
        footfall timing --format json
    """
    from footfall.retain import timing as moments

    here = open_workspace(workspace)
    with bar("timing"):
        found = retention.timing(here, day(as_of, "--as-of"))
    rows = [moments.row(one) for one in found]
    if format == "json":
        for row, one in zip(rows, found, strict=True):
            row |= {"curve": one.curve.tolist(), "gap_curve": one.gap_curve.tolist()}
    drawn = [{**row, "bought within": curve(one.curve)} for row, one in zip(rows, found, strict=True)]
    columns = tuple(rows[0]) if rows else TIMING_SHOWN
    output.write(rows, format, columns, lambda: output.draw(drawn, TIMING_SHOWN, numbers=TIMING_NUMBERS))
    screen = output.console(stderr=True)
    for one in found:
        if one.thin:
            screen.print(f"note: {one.category}: {one.thin}", soft_wrap=True)


def audiences(
    name: Annotated[str | None, Parameter(help="One audience: list its members.")] = None,
    /,
    *,
    sql: Annotated[bool, Parameter(name="--sql", negative=(), help="Print the audience's SQL and stop.")] = False,
    as_of: Annotated[str | None, Parameter(name="--as-of", help="Count only what was known on this day.")] = None,
    limit: Annotated[int, Parameter(help="Members to print; 0 = all. Tables show 20 unless told.")] = -1,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Whom follow-ups, reminders and offers could go to: size and value at stake, before anything is sent.

    stake is the money that may be won or lost: for who has not bought, the chance that they still do x the category's
    mean order; for customers, what is forecast of them. Your own audiences are files WORKSPACE/audiences/NAME.sql with
    one SELECT of person, since, provider_id, category, stake; `--sql` shows one to start from.

    For example:

        footfall audiences
        footfall audiences cart_abandoned --limit 0 --format csv > carts.csv
        footfall audiences lapsing --sql
    """
    from footfall.retain import audience as groups
    from footfall.retain.customers import person_ids

    if limit < -1:
        raise ConfigError(f"--limit {limit}", "give 0 for all members, or a number of them")
    here = open_workspace(workspace)
    known = {one.name: one for one in retention.audiences(here)}
    if name is not None and name not in known:
        raise ConfigError(f"no audience {name!r}", f"known: {', '.join(known)}")
    if sql:
        if name is None:
            raise ConfigError("--sql shows one audience", f"name one of: {', '.join(known)}")
        if known[name].fault:
            raise InputError(f"{known[name].file}: {known[name].fault}", "save it as UTF-8")
        print(known[name].sql, end="")  # noqa: T201
        return
    with bar("audiences"), retention.shown(here, day(as_of, "--as-of")) as shown:
        wanted = [known[name]] if name else list(known.values())
        found, broken = [], []
        for one in wanted:
            try:
                found.append((one, groups.members(shown.engine, one, here.config.retain.audience_limit_s)))
            except InputError as error:
                if name is not None or not one.file:
                    raise
                broken.append(error.message)  # one that cannot be asked hides none of the others
    if name is None:
        rows = [groups.size(one, members, shown.customers) for one, members in found]
        output.write(rows, format, groups.SIZES, lambda: output.draw(rows, groups.SIZES, numbers={"stake": ",.2f"}))
        for note in shown.customers.notes:
            output.console(stderr=True).print(f"note: {note}", soft_wrap=True)
        for told in broken:
            output.console(stderr=True).print(f"warning: left out: {told}", soft_wrap=True)
        return
    members = found[0][1].sort_by([("stake", "descending"), ("person", "ascending")])
    most = limit if limit >= 0 else DRAWN if format == "table" else 0
    part = members.slice(0, most or None)
    part = part.set_column(0, "customer_id", person_ids(part["person"]))
    rows = part.to_pylist()
    output.write(rows, format, part.column_names)
    output.console(stderr=True).print(f"{len(rows):,} of {members.num_rows:,} members of {name}.", soft_wrap=True)


def curve(shares: object, width: int = 16) -> str:
    """A curve of shares as one line of bars, the whole reach in ``width`` signs."""
    import numpy as np

    values = np.asarray(shares, float)
    at = np.linspace(0, len(values) - 1, min(width, len(values))).round().astype(int)
    return "".join(" ▁▂▃▄▅▆▇█"[round(8 * min(max(float(v), 0.0), 1.0))] for v in values[at])
