"""The report's charts: rows in, ``<svg>`` out. The numbers of each stand in a table as well.

Charts with a row for each provider come twice, wide (880 px) and narrow (360 px): scaled down to a
telephone, the wide one's words would be too small to read. The style sheet shows the one that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from footfall.app.report.drawing import Drawing, Scale, fit, text_width, ticks

Format = Callable[[float], str]
WIDE, NARROW, HALF = 880, 360, 390
_FONT = 13.0


def both(draw: Callable[[int], Markup]) -> Markup:
    """A chart in its wide and its narrow form, of which the style sheet shows one."""
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(draw(WIDE), draw(NARROW))


@dataclass(frozen=True, slots=True)
class LadderRow:
    """One provider: estimate with interval, plain visitor value (None: unknown), the printed estimate."""

    name: str
    low: float
    mean: float
    high: float
    plain: float | None
    label: str


def ladder_end(rows: Sequence[LadderRow]) -> float:
    """Right edge of the ladder: one very wide interval must not press all others flat."""
    highs = sorted(row.high for row in rows)
    usual = highs[int(0.9 * (len(highs) - 1))] if highs else 1.0
    least = max((max(row.mean, row.plain or 0.0) for row in rows), default=1.0)
    end = min(highs[-1] if highs else 1.0, max(1.5 * usual, 1.08 * least))
    return max(end, least) or 1.0


def ladder(rows: Sequence[LadderRow], title: str, desc: str, tick: Format, width: int) -> Markup:
    """Interval bar, tick at the estimate, hollow dot at the plain visitor value; a row for each provider."""
    label, figure, step, top = (200, 74, 23, 26) if width == WIDE else (106, 54, 24, 26)
    drawing = Drawing(width, top + step * len(rows) + 6, title, desc, "ladder")
    low = min([0.0, *(row.low for row in rows)])
    scale = Scale(low, ladder_end(rows), label + 10, width - figure - 12)
    _grid(drawing, scale, tick, top, 5 if width == WIDE else 3)
    for k, row in enumerate(rows):
        y = top + step * k + step / 2
        _row_label(drawing, row.name, label, y)
        left, right = scale(row.low), scale(row.high)
        drawing.rect(left, y - 4, max(right - left, 1.5), 8, "soft", 4)
        if row.high > scale.high * (1 + 1e-9):
            drawing.polygon([(right - 1, y - 6), (right + 7, y), (right - 1, y + 6)], "soft")
        drawing.rect(scale(row.mean) - 1.5, y - 8, 3, 16, "blue", 1)
        if row.plain is not None:
            drawing.dot(scale(row.plain), y, 3.2, "hollow")
        drawing.text(width - 2, y + 4.5, row.label, "figure", "end")
    return drawing.svg()


@dataclass(frozen=True, slots=True)
class DumbbellRow:
    """One provider's visits today and tomorrow, with its change in words."""

    name: str
    today: float
    tomorrow: float
    label: str


def dumbbell(rows: Sequence[DumbbellRow], title: str, desc: str, tick: Format, width: int) -> Markup:
    """Hollow dot today, full dot tomorrow, one row for each provider; blue gains, orange loses."""
    label, figure, step, top = (200, 120, 23, 26) if width == WIDE else (106, 62, 24, 26)
    drawing = Drawing(width, top + step * len(rows) + 6, title, desc, "dumbbell")
    end = max((max(row.today, row.tomorrow) for row in rows), default=1.0)
    scale = Scale(0.0, end, label + 14, width - figure - 12)
    _grid(drawing, scale, tick, top, 5 if width == WIDE else 3)
    for k, row in enumerate(rows):
        y = top + step * k + step / 2
        _row_label(drawing, row.name, label, y)
        side = "up" if row.tomorrow >= row.today else "down"
        before, after = scale(row.today), scale(row.tomorrow)
        drawing.rect(before, y - 1.5, after - before, 3, f"{side}-soft")
        drawing.dot(before, y, 4.2, "hollow-grey")
        drawing.dot(after, y, 5, side)
        drawing.text(width - 2, y + 4.5, row.label, "figure", "end")
    return drawing.svg()


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a waterfall: its name, its visits and how they are printed."""

    name: str
    visits: float
    label: str


def waterfall(first: Step, steps: Sequence[Step], last: Step, title: str, desc: str) -> Markup:
    """From today through the reasons to tomorrow, downwards; from 0 unless that would hide the parts."""
    label, row, top, width = 134, 25, 6, HALF
    levels = [first.visits]
    for step in steps:
        levels.append(levels[-1] + step.visits)
    low, high = min([*levels, last.visits]), max([*levels, last.visits])
    from_zero = high - low >= 0.2 * high or low <= 0
    edge = min(low, 0.0) if from_zero else low - 0.35 * (high - low)
    # Room at both sides for the figures that stand beside the bars.
    scale = Scale(edge, high + 1e-9, label + (10 if from_zero else 16), width - 58)
    drawing = Drawing(width, top + row * (len(steps) + 2) + 4, title, desc, "waterfall")
    if from_zero:
        drawing.line(scale(0), top, scale(0), drawing.height - 4, "axis")
    for k, (step, before, after) in enumerate(
        [
            (first, edge, first.visits),
            *zip(steps, levels, levels[1:], strict=False),
            (last, edge, last.visits),
        ]
    ):
        y, total = top + row * k, k in (0, len(steps) + 1)
        if total and from_zero:
            before = 0.0
        a, b = scale(before), scale(after)
        css = "total" if total else "up" if step.visits >= 0 else "down"
        drawing.text(label, y + 17, fit(step.name, _FONT, label - 14), "strong" if total else "", "end", step.name)
        drawing.rect(min(a, b), y + 5, max(abs(b - a), 2), row - 10, css, 1)
        if total and not from_zero:
            drawing.polyline([(a + 5, y + 3), (a + 9, y + 9), (a + 5, y + 15), (a + 9, y + row - 3)], "break")
        if k <= len(steps):
            drawing.line(b, y + row - 5, b, y + row + 5, "link")
        drawing.text(max(a, b) + 6, y + 17, step.label, "strong" if total else "")
    return drawing.svg()


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: name, size, printed figure, remark behind it, and whether it is the one to look at."""

    name: str
    size: float
    label: str
    remark: str = ""
    chosen: bool = False


def bars(rows: Sequence[Bar], title: str, desc: str, width: int) -> Markup:
    """Horizontal bars from 0, figures behind them; on a narrow page the names stand above."""
    wide = width == WIDE
    label, step, top = (230, 34, 4) if wide else (0, 50, 0)
    room = max((text_width(f"{row.label}  {row.remark}", _FONT) for row in rows), default=0.0) + 30  # fonts differ
    drawing = Drawing(width, top + step * len(rows) + 4, title, desc, "bars")
    scale = Scale(0.0, max((row.size for row in rows), default=1.0), label + (10 if wide else 0), width - room)
    for k, row in enumerate(rows):
        y = top + step * k + (4 if wide else 20)
        if wide:
            drawing.text(label, y + 17, fit(row.name, _FONT, label), "strong" if row.chosen else "", "end", row.name)
        else:
            drawing.text(0, y - 6, fit(row.name, _FONT, width), "strong" if row.chosen else "", tip=row.name)
        end = scale(row.size)
        drawing.rect(scale(0), y, max(end - scale(0), 1), 25, "blue" if row.chosen else "grey", 2)
        drawing.text(end + 7, y + 17, row.label, "strong" if row.chosen else "")
        drawing.text(width - 1, y + 17, row.remark, "figure", "end")
    return drawing.svg()


def stacked(rows: Sequence[tuple[str, Sequence[float]]], title: str, desc: str) -> Markup:
    """Shares of the whole, a bar for each row: parts numbered 1, 2, ..., the rest, what nobody gets."""
    width, label, step = HALF, 66, 34
    drawing = Drawing(width, step * len(rows) + 2, title, desc, "stacked")
    for k, (name, shares) in enumerate(rows):
        x, y = float(label + 8), step * k + 2
        whole = max(sum(shares), 1e-12)
        drawing.text(label, y + 18, name, "", "end")
        for number, share in enumerate(shares):
            size = (width - label - 8) * share / whole
            left_over = number - (len(shares) - 2)
            css = ("rest", "nobody")[left_over] if left_over >= 0 else f"s{number + 1}"
            if size > 0.05:
                drawing.rect(x, y, max(size - 1, 0.4), 26, css)
            if left_over < 0 and size >= 13:
                drawing.text(x + size / 2 - 0.5, y + 18, str(number + 1), f"on-{css}", "middle")
            x += size
    return drawing.svg()


def days(
    points: Sequence[tuple[date, float]], title: str, desc: str, tick: Format, day: Callable[[date], str]
) -> Markup:
    """One figure by day: bars, or a line where there are more than 45 days; from 0."""
    width, height, left, bottom, top = HALF, 140, 46, 24, 10
    drawing = Drawing(width, height, title, desc, "days")
    first, last = points[0][0], points[-1][0]
    span = max((last - first).days, 0) + 1
    high = max(max(size for _, size in points), 0.0) or 1.0
    marks = ticks(0.0, high, 4)
    scale = Scale(min(0.0, min(size for _, size in points)), high, height - bottom, top)
    for mark in marks:
        drawing.line(left, scale(mark), width, scale(mark), "axis" if mark == 0 else "grid")
        drawing.text(left - 6, scale(mark) + 4, tick(mark), "tick", "end")
    slot = min((width - left) / span, 60.0)
    places = [(left + slot * ((when - first).days + 0.5), scale(size)) for when, size in points]
    if span > 45:
        drawing.polyline(places, "curve blue-line")
    else:
        for x, y in places:
            drawing.rect(x - 0.38 * slot, y, 0.76 * slot, max(scale(0) - y, 0.5), "blue", 1)
    drawing.text(left, height - 6, day(first), "tick")
    if span > 6:
        drawing.text(min(left + slot * span, width), height - 6, day(last), "tick", "end")
    return drawing.svg()


def delay(curves: Mapping[str, Sequence[float]], title: str, desc: str) -> Markup:
    """Share of orders placed within so many days, a line for each of at most four categories."""
    width, height, left, bottom, top = HALF, 200, 44, 24, 10
    shown = [(name, values) for name, values in list(curves.items())[:4] if len(values)]
    longest = max(len(values) for _, values in shown)
    drawing = Drawing(width, height, title, desc, "delay")
    across = Scale(0.0, float(max(longest - 1, 1)), left, width - 112)
    up = Scale(0.0, 1.0, height - bottom, top)
    for mark in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawing.line(left, up(mark), width - 112, up(mark), "axis" if mark == 0 else "grid")
        drawing.text(left - 6, up(mark) + 4, f"{mark:.0%}", "tick", "end")
    for mark in ticks(0.0, float(max(longest - 1, 1)), 5):
        if mark == int(mark):
            drawing.text(across(mark), height - 6, str(int(mark)), "tick", "middle")
    # Names beside the curves in the order of the curves; a dash pattern tells lines apart without colour.
    order = sorted(range(len(shown)), key=lambda k: -shown[k][1][len(shown[k][1]) // 3])
    for place, k in enumerate(order):
        name, values = shown[k]
        drawing.polyline(
            [(across(float(x)), up(min(max(v, 0.0), 1.0))) for x, v in enumerate(values)],
            f"curve line{k + 1}",
        )
        y = top + 14 + 20 * place
        drawing.line(width - 104, y - 4, width - 80, y - 4, f"curve line{k + 1}")
        drawing.text(width - 75, y, fit(name, 12, 75), "small", tip=name)
    return drawing.svg()


def _grid(drawing: Drawing, scale: Scale, tick: Format, top: float, most: int) -> None:
    for mark in ticks(scale.low, scale.high, most):
        x = scale(mark)
        drawing.line(x, top - 4, x, drawing.height - 4, "axis" if mark == 0 else "grid")
        drawing.text(x, top - 10, tick(mark), "tick", "middle")


def _row_label(drawing: Drawing, name: str, width: float, y: float) -> None:
    drawing.text(width, y + 4.5, fit(name, _FONT, width - 2), "", "end", tip=name)
