"""``footfall keys create | list | revoke``."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

from footfall.app import output
from footfall.app.build import open_workspace
from footfall.app.cli.options import FormatOption, WorkspaceOption

keys_app = App(help_format="plaintext")

COLUMNS = ("key", "scopes", "name", "created_at", "revoked_at")


@keys_app.default
def keys(*, workspace: WorkspaceOption = None, format: FormatOption = "table") -> None:
    """Keys of the live service: who may collect, decide, read.

    For example:

        footfall keys create --scope collect --scope decide --name web
        footfall keys list
        footfall keys revoke ff_3kTq81Zb
    """
    list_(workspace=workspace, format=format)


@keys_app.command
def create(
    *,
    scope: list[Literal["collect", "decide", "read", "admin"]],
    name: str = "",
    workspace: WorkspaceOption = None,
    format: Annotated[Literal["text", "json"], Parameter(help="How to print: text or json.")] = "text",
) -> None:
    """Make a key and print it, once: only its hash is kept.

    For example:

        footfall keys create --scope collect --name web-page
        footfall keys create --scope admin --format json

    Parameters
    ----------
    scope
        What the key opens: collect, decide, read; admin opens all. Repeat it for several.
    name
        What the key is for, to be told apart in the list.
    """
    here = open_workspace(workspace)
    key, text = here.keys.create(scope, name, here.clock.now())
    if format == "json":
        sys.stdout.write(output.to_json({"key": text, "prefix": f"ff_{key.prefix}", "scopes": key.scopes}) + "\n")
        return
    sys.stdout.write(text + "\n")
    screen = output.console(stderr=True)
    screen.print(f"Scopes: {', '.join(key.scopes)}. Keep it now: it is not shown again.", soft_wrap=True)


@keys_app.command(name="list")
def list_(*, workspace: WorkspaceOption = None, format: FormatOption = "table") -> None:
    """List the keys: their beginnings, scopes and dates, never the keys.

    For example:

        footfall keys list --format json
    """
    rows = [
        {
            "key": f"ff_{key.prefix}",
            "scopes": ", ".join(key.scopes),
            "name": key.name,
            "created_at": key.created_at.isoformat(timespec="seconds"),
            "revoked_at": key.revoked_at.isoformat(timespec="seconds") if key.revoked_at else None,
        }
        for key in open_workspace(workspace).keys.all()
    ]
    output.write(rows, format, COLUMNS)


@keys_app.command
def revoke(key: str, /, *, workspace: WorkspaceOption = None) -> None:
    """End a key; a running service notices within seconds.

    For example:

        footfall keys revoke ff_3kTq81Zb

    Parameters
    ----------
    key
        The beginning of the key as `footfall keys list` shows it.
    """
    here = open_workspace(workspace)
    gone = here.keys.revoke(key, here.clock.now())
    output.console().print(f"Revoked ff_{gone.prefix} ({', '.join(gone.scopes)}).", soft_wrap=True)
