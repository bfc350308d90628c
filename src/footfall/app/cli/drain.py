"""``footfall drain``."""

from __future__ import annotations

import sys

from footfall.app import draining, output
from footfall.app.build import open_workspace
from footfall.app.cli.options import TextFormat, WorkspaceOption
from footfall.record.drained import Drained


def drain(*, compact: bool = False, workspace: WorkspaceOption = None, format: TextFormat = "table") -> None:
    """Move what the service took in from the inbox to the log, each event once.

    `footfall serve` does it every second; this is for a workspace whose service is not running. It does no harm beside
    one that is.

    For example:

        footfall drain
        footfall drain --compact --workspace shop

    Parameters
    ----------
    compact
        Join small files of the log, too.
    """
    here = open_workspace(workspace)
    drainer = draining.Drainer(here)
    try:
        moved = drainer.drain()
    finally:
        drainer.close()
    joined = draining.compact(here) if compact else 0
    if format == "json":
        told = {name: getattr(moved, name) for name in Drained.__slots__ if name != "bytes"}
        sys.stdout.write(output.to_json({**told, "files_joined": joined}) + "\n")
        return
    say = output.console().print
    say(f"{moved.events:,} events and {moved.decisions:,} decisions moved to the log")
    if moved.duplicates:
        differing = f", {moved.conflicting:,} of them with other content" if moved.conflicting else ""
        say(f"{moved.duplicates:,} events were there already{differing}")
    if moved.rejected:
        say(f"{moved.rejected:,} kept aside: `footfall import --rejects FILE` writes them for mending")
    if joined:
        say(f"{joined:,} small files joined")
