"""``footfall serve``."""

from __future__ import annotations

import sys
from typing import Literal

from footfall.app.build import open_workspace
from footfall.app.cli.options import WorkspaceOption


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    log_level: Literal["debug", "info", "warning", "error"] = "info",
    workspace: WorkspaceOption = None,
) -> int:
    """Run the live service: collect events, decide where each visitor goes, plan each night.

    Runs until it is told to end (Ctrl+C, SIGTERM). Logs are JSON on standard error.

    For example:

        footfall serve --workspace shop
        footfall serve --host 0.0.0.0 --workers 4 --workspace shop

    Parameters
    ----------
    host
        Address to listen on; else [serve] host. Another than loopback needs a key.
    port
        Port; else [serve] port. 0 takes any free one and prints it.
    workers
        Processes that answer; else [serve] workers.
    log_level
        What to log: debug, info, warning or error.
    """
    from footfall.app import logs
    from footfall.app.http import server

    here = open_workspace(workspace)
    settings = server.with_options(here.config.serve, host=host, port=port, workers=workers)
    log = logs.set_up("serve", log_level)
    return server.serve(here, settings, log, log_level, out=sys.stdout)
