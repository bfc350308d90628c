"""``footfall init | config | backup | restore``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from footfall.app import output
from footfall.app.build import make_workspace, open_workspace
from footfall.app.cli.options import FormatOption, WorkspaceOption


def init(
    directory: Path,
    /,
    *,
    recipe: str = "store",
    currency: str = "USD",
    timezone: str = "UTC",
    segment: list[str] | None = None,
    language: Literal["en", "zh-Hant", "zh-Hans"] = "en",
) -> None:
    """Make a workspace: footfall.toml with every setting explained, a lake and a state.

    For example:

        footfall init shop
        footfall init mall --currency TWD --timezone Asia/Taipei --segment channel --segment category

    Parameters
    ----------
    directory
        The folder to make.
    recipe
        What counts as a visit and what it earns: store (purchases) or clicks.
    currency
        ISO 4217 code of all amounts.
    timezone
        IANA zone of local days; fixed once events are in.
    segment
        Columns whose tuple is the segment; repeat it for several.
    language
        Language of reports.
    """
    overrides: dict[str, dict[str, object]] = {
        "workspace": {
            "format": 1,
            "recipe": recipe,
            "currency": currency,
            "timezone": timezone,
            "language": language,
        }
    }
    if segment:
        overrides["value"] = {"segment": tuple(segment)}
    workspace = make_workspace(directory, overrides)
    screen = output.console()
    screen.print(f"Made the workspace {directory}: currency {currency}, zone {timezone}, recipe {recipe}.")
    screen.print(f"Settings: {workspace.directory / 'footfall.toml'}", soft_wrap=True)
    screen.print(f"Next: footfall import FILE --workspace {directory}", soft_wrap=True)


def config(
    *,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
    schema: Annotated[bool, Parameter(help="Print the JSON schema of footfall.toml instead.")] = False,
) -> None:
    """Show every setting with its value here and its meaning.

    For example:

        footfall config
        footfall config --schema > footfall.schema.json
    """
    from footfall import config as settings

    if schema:
        print_json(settings.schema())
        return
    here = open_workspace(workspace).config
    rows = [
        {
            "setting": f"{section}.{key}",
            "value": getattr(values, key),
            "default": default,
            "meaning": meaning,
        }
        for template, key, default, meaning in settings.settings()
        for section, values in _sections(here, template, default, key)
    ]
    if format == "json":
        print_json(rows)
        return
    shown = [
        {**row, "value": settings.toml_value(row["value"]), "default": settings.toml_value(row["default"])}
        for row in rows
    ]
    output.write(shown, format, ("setting", "value", "default", "meaning"))


def _sections(here: Any, template: str, default: object, key: str) -> list[tuple[str, Any]]:
    """The sections of a configuration behind a template: itself; of offers.NAME every offer, NAME where none is."""
    name, dot, _ = template.partition(".")
    if not dot:
        return [(name, getattr(here, name))]
    found = [(f"{name}.{own}", values) for own, values in getattr(here, name).items()]
    return found or [(template, SimpleNamespace(**{key: default}))]


def backup(archive: Path, /, *, workspace: WorkspaceOption = None) -> None:
    """Write log, inbox, state, settings, audiences and templates to one file, consistent in itself.

    For example:

        footfall backup shop-2026-11-22.tar.gz --workspace shop

    Parameters
    ----------
    archive
        The file to write; it must not exist.
    """
    from footfall.app.progress import bar
    from footfall.stores.backup import backup as write_backup

    here = open_workspace(workspace)
    with bar("backup") as advance:
        manifest = write_backup(here.directory, archive, progress=advance)
    output.console().print(
        f"Wrote {archive}: {len(manifest.members):,} files, {archive.stat().st_size:,} bytes.", soft_wrap=True
    )


def restore(archive: Path, directory: Path, /, *, moved: bool = False) -> None:
    """Make a workspace from a backup; every file is checked against its checksum.

    Letters that waited when it was made may have gone since: they are `unknown` then, and do not go by themselves.

    For example:

        footfall restore shop-2026-11-22.tar.gz shop-again
        footfall restore shop-2026-11-22.tar.gz shop --moved

    Parameters
    ----------
    archive
        A file written by `footfall backup`.
    directory
        The folder to make; it must be empty or absent.
    moved
        Nothing ran on the workspace after the backup: what waited goes on waiting.
    """
    from footfall.app.messaging import doubt
    from footfall.app.progress import bar
    from footfall.stores.backup import restore as read_backup

    letters = [0]

    def finish(made: Path) -> None:  # before anybody can run on it
        letters[0] = 0 if moved else doubt(open_workspace(made))

    with bar("restore") as advance:
        manifest = read_backup(archive, directory, progress=advance, finish=finish)
    output.console().print(f"Restored {len(manifest.members):,} files to {directory}.", soft_wrap=True)
    if letters[0]:
        output.console().print(
            f"{letters[0]:,} letters waited when the backup was made. They may have gone since, so they are `unknown` "
            "now and do not go by themselves: `footfall outbox list --status unknown` shows them, "
            "`footfall outbox retry` asks for one again. Steps that fell due since go with the next round; pause a "
            "journey whose letters must not go twice.",
            soft_wrap=True,
        )


def print_json(value: object) -> None:
    """Print JSON to standard output."""
    import sys

    sys.stdout.write(output.to_json(value) + "\n")
