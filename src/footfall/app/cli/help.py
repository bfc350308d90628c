"""How ``--help`` is written: paragraphs flow to the terminal's width, examples keep their lines."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from cyclopts.help import DefaultFormatter, InlineText
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions


class HelpFormatter(DefaultFormatter):
    """Cyclopts' formatter, but for descriptions, whose line ends in the source are not the reader's."""

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print a description with its paragraphs joined."""
        if isinstance(description, InlineText) and isinstance(description.primary_renderable, Text):
            description.primary_renderable = Text(joined(description.primary_renderable.plain))
        super().render_description(console, options, description)


def joined(text: str) -> str:
    """The text with each paragraph on one line; empty and indented lines stay as they are."""
    parts = []
    for flows, lines in groupby(text.splitlines(), lambda line: bool(line) and not line[0].isspace()):
        parts.append((" " if flows else "\n").join(lines))
    return "\n".join(parts)
