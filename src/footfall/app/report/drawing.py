"""A small SVG canvas: shapes by class name (colours are the style sheet's), text escaped, labels cut."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from markupsafe import Markup, escape

_CONTROL = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160)))
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)
# Direction overrides would turn a name round; letters that are right-to-left by nature stay.
_OVERRIDES = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_UNWANTED = {**_CONTROL, **_SURROGATES, **_OVERRIDES}


def clean(text: str) -> str:
    """Text without control characters, lone surrogates and direction overrides, on one line."""
    return " ".join(text.translate(_UNWANTED).split())


def with_code(text: str) -> Markup:
    """A cleaned text with what stands between backticks as code; as it is where one of them is alone."""
    parts = clean(text).split("`")
    if len(parts) % 2 == 0:
        return Markup("{}").format("`".join(parts))
    return Markup("").join(Markup("<code>{}</code>" if at % 2 else "{}").format(part) for at, part in enumerate(parts))


def text_width(text: str, size: float) -> float:
    """Rough width of a text in a sans-serif font of ``size`` px: wide characters 1 em, others about half."""
    ems = 0.0
    for character in text:
        if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
            continue
        if unicodedata.east_asian_width(character) in "WF":
            ems += 1.0
        elif character in "ilj.,:;'|! ()[]":
            ems += 0.33
        else:
            ems += 0.68 if character.isupper() or character in "mwMW%@" else 0.56
    return ems * size


def fit(text: str, size: float, width: float) -> str:
    """The text, cut with an ellipsis where it is wider than ``width`` px."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) within ``low`` and ``high``, at most ``most`` + 1."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    rough = span / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [(first + k) * step for k in range(most + 2) if (first + k) * step <= high + 1e-9 * span]


class Scale:
    """A linear scale from figures to pixels; what lies outside is held at the edge."""

    def __init__(self, low: float, high: float, left: float, right: float) -> None:
        self.low, self.high = low, high if high > low else low + 1.0
        self.left, self.right = left, right

    def __call__(self, value: float) -> float:
        """Where ``value`` stands, px."""
        part = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return self.left + part * (self.right - self.left)


class Drawing:
    """One chart. Sizes are in px of its viewBox; it scales to the column it stands in."""

    def __init__(self, width: float, height: float, title: str, desc: str, kind: str = "") -> None:
        self.width, self.height = width, height
        self._kind, self._title, self._desc = kind, title, desc
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, css: str, radius: float = 0, tip: str = "") -> None:
        """A rectangle; a negative width is drawn to the left."""
        left, size = (x + width, -width) if width < 0 else (x, width)
        round_ = f' rx="{_n(radius)}"' if radius else ""
        shape = f'<rect class="{css}" x="{_n(left)}" y="{_n(y)}" width="{_n(size)}" height="{_n(height)}"{round_}'
        self._shape(shape, "rect", tip)

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """A straight line."""
        self._parts.append(f'<line class="{css}" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"/>')

    def dot(self, x: float, y: float, radius: float, css: str, tip: str = "") -> None:
        """A circle around (x, y)."""
        self._shape(f'<circle class="{css}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"', "circle", tip)

    def polyline(self, points: Sequence[tuple[float, float]], css: str) -> None:
        """A line through points, in px."""
        self._parts.append(f'<polyline class="{css}" points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in points)}"/>')

    def polygon(self, points: Sequence[tuple[float, float]], css: str) -> None:
        """A filled shape, points in px."""
        self._parts.append(f'<polygon class="{css}" points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in points)}"/>')

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start", tip: str = "") -> None:
        """A line of text with its baseline at y; ``anchor``: start, middle or end."""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        title = f"<title>{escape(tip)}</title>" if tip and tip != text else ""
        name = f' class="{css}"' if css else ""
        self._parts.append(f'<text{name} x="{_n(x)}" y="{_n(y)}"{where}>{escape(text)}{title}</text>')

    def _shape(self, start: str, tag: str, tip: str) -> None:
        self._parts.append(f"{start}><title>{escape(tip)}</title></{tag}>" if tip else f"{start}/>")

    def svg(self) -> Markup:
        """The chart as an ``<svg>`` element with title and description."""
        head = (
            f'<svg class="chart {self._kind}" role="img" viewBox="0 0 {_n(self.width)} {_n(self.height)}" '
            f'style="max-width:{_n(1.1 * self.width)}px">'
            f"<title>{escape(self._title)}</title><desc>{escape(self._desc)}</desc>"
        )
        return Markup(head + "".join(self._parts) + "</svg>")  # every text above is escaped


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if math.isfinite(value) else "0"
