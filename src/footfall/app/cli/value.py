"""``footfall value | demand``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import Parameter

from footfall.app import output, valuing
from footfall.app.build import open_workspace
from footfall.app.cli.options import FormatOption, WorkspaceOption, day
from footfall.app.progress import bar

PLAIN = ("visitors", "orders", "gmv", "conversion", "aov", "visitor_value")
SHOWN = 1000  # rows on the terminal, where each takes a thousandth of a second
ESTIMATE = ("value_mean", "value_sd", "value_low", "value_high", "evidence")
NUMBERS = {
    "visitors": ",.0f",
    "orders": ",.0f",
    "gmv": ",.2f",
    "conversion": ".3%",
    "aov": ",.2f",
    "visitor_value": ",.4g",
    "value_mean": ",.4g",
    "value_sd": ",.3g",
    "value_low": ",.4g",
    "value_high": ",.4g",
    "evidence": ",.0f",
}
KEYS = {
    "provider": ("provider_id",),
    "segment": ("segment",),
    "pair": ("segment", "provider_id"),
    "day": ("day",),
}


def value(
    *,
    by: Literal["provider", "segment", "pair", "day"] = "provider",
    as_of: Annotated[str | None, Parameter(name="--as-of", help="Count only what was known on this day.")] = None,
    from_: Annotated[str | None, Parameter(name="--from", help="First day of the visits counted.")] = None,
    to: Annotated[str | None, Parameter(name="--to", help="Last day of the visits counted.")] = None,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """What a visitor is worth: plain GMV / visitors, and the estimate for a visit on the as-of day.

    visitors is the number of visits. The plain figures count every order of those visits so far, before refunds; the
    estimate corrects for orders still to come and refunds, and its interval holds the true value in 90 cases of 100.

    For example:

        footfall value
        footfall value --by pair --format csv > values.csv
        footfall value --as-of 2026-10-31 --from 2026-10-01

    Parameters
    ----------
    by
        What a row is: provider, segment, pair (segment and provider) or day.
    """
    here = open_workspace(workspace)
    with bar("count"):
        valued = valuing.value(
            here,
            by=by,
            as_of=day(as_of, "--as-of"),
            first=day(from_, "--from"),
            last=day(to, "--to"),
        )
    columns = (*KEYS[by], *PLAIN, *ESTIMATE)
    output.write(valued.rows, format, columns, lambda: _draw(valued.rows, columns))
    screen = output.console(stderr=True)
    for note in valued.notes:
        screen.print(f"note: {note}", soft_wrap=True)


def _draw(rows: Sequence[output.Row], columns: Sequence[str]) -> None:
    output.draw(rows[:SHOWN], columns, numbers=NUMBERS)
    if len(rows) > SHOWN:
        output.console().print(f"... and {len(rows) - SHOWN:,} more; --format csv has them all")


def demand(
    *,
    date: Annotated[str | None, Parameter(name="--date", help="The day to forecast; tomorrow otherwise.")] = None,
    as_of: Annotated[str | None, Parameter(name="--as-of", help="Forecast from what was known on this day.")] = None,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Forecast visits per segment for a day: level x weekday pattern, with a 90 % interval.

    The CSV it prints can be edited and given to `footfall plan --demand FILE`.

    For example:

        footfall demand
        footfall demand --date 2026-11-11 --format csv > double11.csv
    """
    here = open_workspace(workspace)
    with bar("demand"):
        forecast = valuing.demand(here, day(date, "--date"), day(as_of, "--as-of"))
    rows = [
        {"segment": segment, "visits": visits, "low": low, "high": high}
        for segment, visits, low, high in zip(
            forecast.segments, forecast.visits, forecast.low, forecast.high, strict=True
        )
    ]
    columns = ("segment", "visits", "low", "high")
    if format == "table":
        output.draw(
            rows,
            columns,
            title=f"Visits forecast for {forecast.day}",
            numbers=dict.fromkeys(columns[1:], ",.1f"),
        )
    else:
        output.write(rows, format, columns)
