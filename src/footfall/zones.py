"""Time zones, by the tzdata package. The machine's own rules may be years older than those that DuckDB has, and days of
events and of decisions would begin an hour apart; the lock file holds package and DuckDB together, and a test compares
them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; ZoneInfoNotFoundError where there is none."""
    if name not in names():
        raise ZoneInfoNotFoundError(f"no time zone {name!r}")
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


@cache
def names() -> frozenset[str]:
    """All names of zones."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())
