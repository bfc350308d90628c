"""``footfall report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from footfall.app import output
from footfall.app.build import open_workspace
from footfall.app.cli.options import WorkspaceOption
from footfall.app.progress import bar


def report(
    file: Path | None = None,
    /,
    *,
    version: Annotated[
        int | None,
        Parameter(help="The plan to show; the newest otherwise, or the one in force if that was retired."),
    ] = None,
    language: Literal["en", "zh-Hant", "zh-Hans"] | None = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Write the report: values, traffic today and tomorrow, reasons and checks on one page that works offline.

    For example:

        footfall report
        footfall report monday.html --language zh-Hant

    Parameters
    ----------
    file
        The file to write; report.html in the workspace otherwise.
    language
        en, zh-Hant or zh-Hans; the workspace's setting otherwise.
    """
    from footfall.app import reporting  # numerics take a second to load: help does without

    here = open_workspace(workspace)
    path = file or here.directory / "report.html"
    with bar("report"):
        reporting.report(here, path, version=version, language=language)
    output.console().print(f"Wrote {path}", soft_wrap=True)
