"""What the steps of the loop say in English (``texts.say``), told in 繁體中文 and 简体中文.

    told("3,021 orders", "zh-Hant")   ->   "3,021 筆訂單"

A text is recognised by its template, so that notes of a plan made last month are told as well. What is not known here
(an operator's own words, texts of a version to come) stays as it is. Names, ids and numbers are taken over unchanged.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from string import Formatter

from footfall.app.report.words import Language

_NUMBER = r"[-+]?[0-9][0-9.,e+%-]*|[-+]?(?:inf|nan)%?"
_DEPTH = 3  # texts within texts: signs within a warning
_SEPARATORS = {"; ": "；", ", ": "、"}


@cache
def catalogue() -> dict[str, dict[Language, str]]:
    """Template -> language -> text, as ``told.toml`` has them."""
    rows = tomllib.loads(files("footfall.app.report").joinpath("told.toml").read_text(encoding="utf-8"))["text"]
    return {row["en"]: row for row in rows}


def told(text: str, language: Language) -> str:
    """``text`` in that language; as it is where it is not known."""
    return text if language == "en" else _told(text, language, _DEPTH) or text


def _told(text: str, language: Language, depth: int) -> str | None:
    for pattern, translations in _patterns():
        found = pattern.fullmatch(text)
        if found:
            parts = {name: _part(value, language, depth - 1) for name, value in found.groupdict().items()}
            return translations[language].format(**parts)
    return None


def _part(value: str, language: Language, depth: int) -> str:
    """What stood in a place: a text of ours, a list of them, or something to be taken over."""
    if depth <= 0:
        return value
    whole = _told(value, language, depth)
    if whole is not None:
        return whole
    for separator, own in _SEPARATORS.items():
        pieces = [_told(piece, language, depth) for piece in value.split(separator)]
        if len(pieces) > 1 and all(piece is not None for piece in pieces):
            return own.join(piece for piece in pieces if piece is not None)
    return value


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], dict[Language, str]], ...]:
    """Each template as a pattern, those with the most words of their own first."""
    rows = []
    for template, translations in catalogue().items():
        words, pattern, seen = 0, "", set()
        for literal, name, spec, _ in Formatter().parse(template):
            words += len(literal)
            pattern += re.escape(literal)
            if name in seen:
                pattern += f"(?P={name})"
            elif name:
                seen.add(name)
                numeric = spec is not None and spec[-1:] in ("d", "f", "g", "%", ",") and "%H" not in spec
                pattern += f"(?P<{name}>{_NUMBER if numeric else '.+?'})"
        rows.append((words, re.compile(pattern, re.DOTALL), translations))
    rows.sort(key=lambda row: -row[0])
    return tuple((pattern, translations) for _, pattern, translations in rows)
