"""Texts that operators read, made from templates, so that a report can tell them in another language.

    say("{events:,} events on {days:,} days", events=24_626, days=61)

What comes out is a plain English text: it is stored, sent and printed as it is. ``app/report/told.py`` finds its
template again; a test holds that every template that is said anywhere is there.
"""

from __future__ import annotations

import unicodedata

_BREAKS = ("Cc", "Zl", "Zp", "Cs")  # controls, separators of lines, halves of characters


def say(template: str, /, **values: object) -> str:
    """``template`` with its named places filled in, as ``str.format`` does."""
    return template.format(**values)


def one_line(text: str) -> str:
    """A text of data's on one line: without line ends, which could end a subject or begin a header, and controls."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(letter) in _BREAKS else letter for letter in text)
