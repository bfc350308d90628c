"""The .sql files of retain, found beside this module."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def text(name: str) -> str:
    """The text of ``sql/<name>.sql``."""
    return files("footfall.retain").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")
