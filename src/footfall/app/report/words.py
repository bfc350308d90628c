"""All texts of the report, in three languages: ``words.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Final, Literal, get_args

Language = Literal["en", "zh-Hant", "zh-Hans"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)


@cache
def texts() -> dict[str, dict[Language, str]]:
    """Key -> language -> text. Keys that start with ``unit.`` replace the plain key where a visit earns clicks."""
    found: dict[str, dict[Language, str]] = tomllib.loads(
        files("footfall.app.report").joinpath("words.toml").read_text(encoding="utf-8")
    )
    return found


def text(key: str, language: Language, unit_reward: bool = False) -> str:
    """The text of ``key``. Raises KeyError where there is none."""
    special = texts().get(f"unit.{key}") if unit_reward else None
    return (special or texts()[key])[language]
