"""Columns of a table in the width that a terminal has: numbers and ids stay whole, the last columns give way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.control import strip_control_codes

GAP = "  "
TEXT = 16  # signs below which no text is folded
WORD = 36  # signs that one word keeps for itself, as an id does; a longer name is broken


@dataclass(frozen=True)
class Column:
    """A header and the texts below it, each on one line; numbers stand at the right."""

    header: str
    cells: Sequence[str]
    right: bool

    @property
    def whole(self) -> int:
        """Signs that it takes with nothing folded."""
        return max(map(cell_len, (self.header, *self.cells)))

    @property
    def least(self) -> int:
        """Signs below which it cannot be read: a number or a word would be broken."""
        pieces = max(cell_len(piece.strip()) for piece in _pieces(self.header, header=True))
        if self.right:
            return max(pieces, *map(cell_len, self.cells)) if self.cells else pieces
        words = max((cell_len(word) for cell in self.cells for word in cell.split()), default=0)
        return max(pieces, min(self.whole, max(TEXT, min(words, WORD))))


def one_line(text: str) -> str:
    """A text without what would move the cursor."""
    return strip_control_codes(re.sub(r"[\t\r\n]+", " ", text))


def fit(columns: Sequence[Column], width: int) -> list[int]:
    """The widths of the first columns, as many as are read whole in ``width`` signs; at least one."""
    least, many = [column.least for column in columns], len(columns)
    while many > 1 and sum(least[:many]) + len(GAP) * (many - 1) > width:
        many -= 1
    room = width - len(GAP) * (many - 1)
    least = [min(one, room) for one in least[:many]]
    widths = [min(column.whole, room) for column in columns[:many]]
    while sum(widths) > room:
        widest = max((at for at in range(many) if widths[at] > least[at]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def lines(columns: Sequence[Column], widths: Sequence[int]) -> tuple[str, str]:
    """The header and the rows, drawn in these widths; a row takes as many lines as its longest text."""
    shown = list(zip(columns, widths, strict=True))
    header = _row([(_folded(column.header, width, header=True), width, column.right) for column, width in shown])
    rows = [
        _row([(_folded(column.cells[at], width), width, column.right) for column, width in shown])
        for at in range(len(columns[0].cells))
    ]
    return header, "\n".join(rows)


def _row(cells: Sequence[tuple[list[str], int, bool]]) -> str:
    drawn = []
    for at in range(max(len(texts) for texts, _, _ in cells)):
        line = []
        for texts, width, right in cells:
            text = texts[at] if at < len(texts) else ""
            space = " " * (width - cell_len(text))
            line.append(space + text if right else text + space)
        drawn.append(GAP.join(line).rstrip())
    return "\n".join(drawn)


def _pieces(text: str, header: bool) -> list[str]:
    """What a text may be folded between: words, and in headers the parts of a name."""
    return re.findall(r"\s*[^\s_]*_+|\s*[^\s_]+" if header else r"\s*\S+", text) or [text]


def _folded(text: str, width: int, header: bool = False) -> list[str]:
    if cell_len(text) <= width:
        return [text]
    folded = [""]
    for piece in _pieces(text, header):
        if cell_len(folded[-1] + piece) <= width:
            folded[-1] += piece
        else:
            folded += chop_cells(piece.strip(), width)
    return folded if folded[0] else folded[1:]
