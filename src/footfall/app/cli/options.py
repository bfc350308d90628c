"""Options that several commands share, declared once."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from footfall.app.output import Format
from footfall.errors import ConfigError

WorkspaceOption = Annotated[
    Path | None,
    Parameter(name=["--workspace", "-w"], help="The workspace; else FOOTFALL_WORKSPACE, else this folder."),
]
FormatOption = Annotated[Format, Parameter(name="--format", help="How to print: table, json, csv or parquet.")]
TextFormat = Annotated[Literal["table", "json"], Parameter(name="--format", help="How to print: table or json.")]

WAITS = "another round, a sender or an erasure is at work; waiting for it"


def day(text: str | None, option: str) -> date | None:
    """A date option as a date; ConfigError names the option."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is no date", "write it as YYYY-MM-DD") from None


def pairs(items: list[str] | tuple[str, ...] | None, option: str) -> dict[str, str]:
    """Repeated ``field=text`` options as a dictionary; a field twice or without '=' is refused."""
    found: dict[str, str] = {}
    for item in items or ():
        field, sign, text = item.partition("=")
        if not sign or not field or not text:
            raise ConfigError(
                f"{option} {item!r} is not of the form field=text", f"for example {option} provider_id=shop"
            )
        if field in found:
            raise ConfigError(f"{option} names {field} twice", "name each field once")
        found[field] = text
    return found
