"""``footfall import | providers | check | rows | forget``."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from cyclopts import Parameter

from footfall.app import output, recording
from footfall.app.build import Workspace, open_workspace
from footfall.app.cli.options import WAITS, FormatOption, WorkspaceOption, day, pairs
from footfall.app.progress import bar
from footfall.errors import ConfigError, FootfallError
from footfall.model import Finding, ImportSummary

MapOption = Annotated[list[str] | None, Parameter(help="field=column: the column that holds a field; repeat it.")]
SetOption = Annotated[list[str] | None, Parameter(help="field=value: one value for all rows; repeat it.")]
RejectsOption = Annotated[
    Path | None, Parameter(help="Write the rows kept aside to this file (.csv, .ndjson) instead of importing.")
]
ListOption = Annotated[
    bool, Parameter(name="--list", negative="", help="Show what imports brought: source, batch, events, days, when.")
]
RemoveOption = Annotated[
    str | None, Parameter(help="Take out what an import brought, by its source or batch as --list shows them.")
]
BROUGHT = ("source", "batch_id", "events", "first_day", "last_day", "imported_at")


def import_(
    *files: str,
    event: str | None = None,
    map: MapOption = None,
    set: SetOption = None,
    rejects: RejectsOption = None,
    list_: ListOption = False,
    remove: RemoveOption = None,
    replace: bool = False,
    decimal: Literal["point", "comma"] = "point",
    delimiter: str | None = None,
    time_zone: str | None = None,
    time_format: str | None = None,
    source: str | None = None,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Read events from CSV, TSV, NDJSON or Parquet files, also gzipped; `-` is standard input.

    Importing the same file twice adds nothing; with other options it is refused, unless `--replace` takes out what the
    file brought before. A row that is wrong is kept aside with its file, line, field and reason; the others go in. Mend
    the rows that `--rejects` writes, and import them with the same options.

    For example:

        footfall import events.ndjson.gz
        footfall import visits.csv --event page_view --map provider_id=channel --map visitor_id=visit_id
        footfall import orders.csv --event purchase --map ts=ordered_at --decimal comma --time-zone Europe/Berlin
        footfall import rides.csv --event visit --map ts=started --time-format '%d.%m.%Y %H:%M'
        zcat log.gz | footfall import -
        footfall import --rejects bad.csv
        footfall import visits.csv --event page_view --map provider_id=shop --replace
        footfall import --list
        footfall import --remove lines.csv

    Parameters
    ----------
    files
        Files to read, `-` for standard input.
    replace
        Take out what each file brought before, and import it anew, as one change.
    event
        Name of the event of every row, for files without an event column.
    decimal
        What separates decimals in amounts: point or comma.
    delimiter
        What separates columns of a CSV file; found out from its header otherwise.
    time_zone
        IANA zone of times without a zone; the workspace's otherwise.
    time_format
        How times are written, in strptime's codes: '%m/%d/%Y %H:%M' reads 4/22/2018 6:00. ISO 8601, epoch seconds or
        milliseconds otherwise.
    source
        Where the events come from; the file's name otherwise. A file that holds two kinds of events is imported twice,
        once with a source of its own.
    """
    if format in ("csv", "parquet") and not list_:
        raise ConfigError(f"--format {format} is for a table, as --list gives", "take --format json, or leave it out")
    here = open_workspace(workspace)
    if rejects is not None:
        _alone("--rejects writes rows out", files, list_, remove)
        _write_rejects(here, rejects)
        return
    if list_:
        _alone("--list shows what is there", files, remove)
        brought = [{name: getattr(line, name) for name in BROUGHT} for line in recording.imports(here)]
        shown = [{**line, "imported_at": line["imported_at"].astimezone(here.zone)} for line in brought]
        output.write(brought, format, BROUGHT, lambda: output.draw(shown, BROUGHT))
        return
    if remove is not None:
        _alone("--remove takes out what was imported", files)
        _remove(here, remove, format)
        return
    with bar("import") as advance:
        summary = recording.import_files(
            here,
            _named(files),
            event=event,
            mapping=pairs(map, "--map"),
            fixed=pairs(set, "--set"),
            decimal=decimal,
            delimiter=delimiter,
            time_zone=time_zone,
            time_format=time_format,
            source=source,
            replace=replace,
            progress=advance,
        )
    _print_summary(summary, format)


def _named(files: tuple[str, ...]) -> tuple[str, ...]:
    """The files to import; the command line's name of standard input is put back to ``-``."""
    if not files:
        raise ConfigError("no file to import", "name one or more files, or - for standard input")
    return tuple("-" if file == "/dev/stdin" else file for file in files)


def _alone(what: str, files: tuple[str, ...], *others: object) -> None:
    """ConfigError where an option that imports nothing stands beside files, or beside another such option."""
    if files or any(others):
        raise ConfigError(f"{what}; it takes no files to import", "run the two one after the other")


def _remove(here: Workspace, named: str, format: str) -> None:
    removed = recording.remove_import(here, named)
    if format == "json":
        output.write([{name: getattr(removed, name) for name in removed.__slots__}], "json", ())
        return
    span = f"days {removed.days[0]} to {removed.days[-1]}"
    output.console().print(
        f"Took out {removed.events:,} events, {span}, of batch {', '.join(removed.batch_ids)}. "
        "Importing the file again brings them back. Where another file held some of the same events, they went with "
        "this one: import that file again to add them.",
        soft_wrap=True,
    )


def _write_rejects(here: Workspace, path: Path) -> None:
    from footfall.record.mending import write_rejects

    written = ", ".join(str(part) for part in write_rejects(here.quarantine, path))
    output.console().print(f"Wrote the rows kept aside to {written}. Mend them and import the file.", soft_wrap=True)


def _print_summary(summary: ImportSummary, format: str) -> None:
    """Print what an import did; FootfallError where none of its rows could be used."""
    if format == "json":
        row: dict[str, Any] = {name: getattr(summary, name) for name in ImportSummary.__slots__}
        output.write([row], "json", ())
    else:
        _draw_summary(summary)
    if summary.read and not summary.added and not summary.duplicates and not summary.mended:
        raise FootfallError(
            f"none of {summary.read:,} rows could be used",
            "see the reasons above; `footfall import --rejects FILE` writes the rows",
        )


def _draw_summary(summary: ImportSummary) -> None:
    screen = output.console()
    span = f", days {summary.first_day} to {summary.last_day}" if summary.first_day else ""
    mended = sum(summary.mended.values())
    aside = summary.rejected - mended
    known = f"{summary.duplicates:,} known already, {aside:,} kept aside"
    before = f", {mended:,} wrong in the file but mended already" if mended else ""
    screen.print(f"Read {summary.read:,} rows: {summary.added:,} added, {known}{before}{span}.", soft_wrap=True)
    if summary.replaced:
        screen.print(f"Took out the {summary.replaced:,} events that were imported before.")
    for file in summary.not_replaced:
        screen.print(
            f"Nothing was there to be taken out for {file}, neither of its content nor of its path. What another "
            "file brought stays: `footfall import --list` shows it, `--remove` takes it out.",
            soft_wrap=True,
        )
    if summary.conflicting:
        screen.print(
            f"{summary.conflicting:,} of the known ones had other content under the same message_id; the first stays."
        )
    kept = {reason: count - summary.mended.get(reason, 0) for reason, count in summary.reasons.items()}
    for reason, count in sorted(kept.items(), key=lambda item: -item[1])[:12]:
        if count:
            screen.print(f"  {count:>10,}  {reason}", soft_wrap=True)
    if aside:
        screen.print("`footfall import --rejects FILE` writes the rows kept aside, with the reason beside each.")


def providers(
    file: Path | None = None,
    /,
    *,
    map: MapOption = None,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Read a providers file (columns provider_id, category, name), or show what is known.

    For example:

        footfall providers shops.csv
        footfall providers items.parquet --map provider_id=item_id --map category=genre
        footfall providers --format json

    Parameters
    ----------
    file
        CSV, TSV, NDJSON or Parquet with the columns provider_id, category, name.
    """
    here = open_workspace(workspace)
    mapping = pairs(map, "--map")
    if mapping and file is None:
        raise ConfigError("--map names columns of a providers file, and no file is given", "name the file")
    if file is not None:
        from footfall.record.providers import read_providers

        with here.engine() as engine:
            found = read_providers(engine, file, mapping)
        count = here.state.put_providers(found.rows)
        output.console().print(f"Stored {count:,} providers.")
        for note in found.notes:
            output.console(stderr=True).print(f"note: {note}", soft_wrap=True)
        return
    rows = [{"provider_id": key, **value} for key, value in sorted(here.state.providers().items())]
    output.write(rows, format, ("provider_id", "category", "name"))


def check(*, workspace: WorkspaceOption = None, format: FormatOption = "table") -> None:
    """Look for what is wrong with the log: gaps, duplicates, bots, orders that look faked, and more.

    Nothing is changed. Exit status 1 where something is an error rather than a warning. The rows of csv and parquet are
    the findings; json has the events by name, source and day beside them.

    For example:

        footfall check
        footfall check --format json
    """
    here = open_workspace(workspace)
    with bar("check"):
        result = recording.check(here)
    if format == "json":
        print_check_json(result)
    else:
        findings = [_finding(finding) for finding in result.findings]
        output.write(findings, format, Finding.__slots__, lambda: _draw_check(result))
    errors = sum(finding.level == "error" for finding in result.findings)
    if errors:
        raise FootfallError(f"{errors} of the checks found errors", "see above")


def print_check_json(result: Any) -> None:
    """The whole check as one JSON object: findings, and events by name, source and day."""
    import sys

    profile = {name: table.to_pylist() for name, table in result.profile.items()}
    sys.stdout.write(output.to_json({"findings": [_finding(f) for f in result.findings], **profile}) + "\n")


def _finding(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in Finding.__slots__}


SHOWN_COLUMNS = (
    "ts",
    "name",
    "person",
    "provider_id",
    "segment",
    "visit_day",
    "delay_days",
    "order_id",
    "amount",
    "item_id",
    "source",
)
COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}


def _draw_check(result: Any) -> None:
    screen = output.console()
    for name, table in result.profile.items():
        rows = table.to_pylist()
        if not rows:
            continue
        output.draw(rows[:14], table.column_names, title=f"By {name}")
        if len(rows) > 14:
            screen.print(f"... and {len(rows) - 14:,} more; --format json has them all")
        screen.print()
    for finding in result.findings:
        colour = COLOURS[finding.level]
        screen.print(f"{finding.level:<8}", style=colour, end="")
        screen.print(finding.message, soft_wrap=True)
        if finding.where:
            screen.print("        e.g. " + ", ".join(finding.where[:5]), soft_wrap=True)
        if finding.way_out:
            screen.print("        " + finding.way_out, soft_wrap=True)


def rows(
    *,
    provider: str | None = None,
    segment: str | None = None,
    on: Annotated[str | None, Parameter(name="--day", help="Local day of the visit, YYYY-MM-DD.")] = None,
    from_: Annotated[str | None, Parameter(name="--from", help="First day of the visit.")] = None,
    to: Annotated[str | None, Parameter(name="--to", help="Last day of the visit.")] = None,
    as_of: Annotated[str | None, Parameter(name="--as-of", help="Count only what was known on this day.")] = None,
    kind: Literal["visits", "orders", "refunds"] = "orders",
    limit: int = 50,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Show the events behind any figure: counting these rows gives the figure. Times are those of the workspace's zone,
    in csv and json with their offset from UTC.

    For example:

        footfall rows --provider shop-7 --kind orders
        footfall rows --provider Display --kind visits --from 2017-05-01 --to 2017-05-31 --format csv

    Parameters
    ----------
    provider
        Only this provider.
    segment
        Only this segment.
    kind
        visits, orders or refunds.
    limit
        Most rows to show; 0 shows all.
    """
    from footfall.record.money import exponent

    if on and (from_ or to):
        raise ConfigError("--day stands for one day, --from and --to for several", "give one or the other")
    here = open_workspace(workspace)
    first, last = (day(on, "--day"),) * 2 if on else (day(from_, "--from"), day(to, "--to"))
    with bar("rows"):
        table = recording.rows(
            here,
            kind=kind,
            provider=provider,
            segment=segment,
            first=first,
            last=last,
            as_of=day(as_of, "--as-of"),
            limit=limit,
        )
    scale = exponent(here.config.workspace.currency)
    found = [{**_local(row, here.zone), "amount": _major(row["amount_minor"], scale)} for row in table.to_pylist()]
    columns = [*table.column_names, "amount"]
    shown = [name for name in SHOWN_COLUMNS if any(row[name] is not None for row in found)]
    output.write(found, format, columns, lambda: output.draw(found, shown) if found else None)
    if not found:
        output.console(stderr=True).print(f"no {kind} of these days, providers and segments")
    if format == "table" and limit and table.num_rows == limit:
        output.console(stderr=True).print(f"the first {limit:,}; --limit 0 shows all")


def _local(row: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """A row of the log, whose times are UTC, with the workspace's own."""
    return {
        name: value.replace(tzinfo=UTC).astimezone(zone) if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def _major(minor: int | None, scale: int) -> Decimal | None:
    return None if minor is None else Decimal(minor).scaleb(-scale)


def forget(visitor: str, /, *, yes: bool = False, workspace: WorkspaceOption = None) -> None:
    """Erase a person: every event of theirs, also from rows kept aside and what waits in this host's inbox, their
    journeys, messages, letters in files and sticky choices; their decisions and coupons become nobody's. It cannot be
    undone.

    For example:

        footfall forget visitor-123 --yes

    Parameters
    ----------
    visitor
        Visitor id or user id.
    yes
        Do it without asking.
    """
    import sys

    here = open_workspace(workspace)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("erasing needs a confirmation", "add --yes")
        if input(f"Erase every event of {visitor}? This cannot be undone. [y/N] ").strip().lower() not in (
            "y",
            "yes",
        ):
            output.console().print("Nothing was erased.")
            return
    told = output.console(stderr=True)
    erased = recording.forget(here, visitor, lambda: told.print(WAITS, soft_wrap=True))
    screen = output.console()
    elsewhere = {place: rows for place, rows in {"decisions": erased.decisions, **erased.elsewhere}.items() if rows}
    if not erased.events and not erased.rejects and not elsewhere:
        raise FootfallError(f"nothing in the log is of {visitor}", "name a visitor id or a user id as the log has it")
    screen.print(f"Erased {erased.events:,} events and {erased.rejects:,} rows kept aside, of {len(erased.ids):,} ids.")
    if elsewhere:
        screen.print(f"Erased or made nobody's: {', '.join(f'{n:,} {place}' for place, n in elsewhere.items())}.")
    if erased.shared:
        screen.print(f"Shared devices, of which only this person's part went: {', '.join(erased.shared)}")
    if erased.others:
        screen.print(f"Other people on the same devices stay: {', '.join(erased.others)}")
    screen.print(
        "Backups and files outside the workspace are not touched; importing them again brings the events back."
    )
