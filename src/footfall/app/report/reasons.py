"""The section that says why visits change: a sentence, its reasons, a waterfall, what would win back."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from footfall.app.report import charts
from footfall.app.report.data import ExplanationLine, ExplanationPart
from footfall.app.report.figures import DASH, known
from footfall.app.report.views import Context, isolated, strong
from footfall.app.report.words import texts

EACH = 5  # losers, and as many winners


@dataclass(frozen=True, slots=True)
class Why:
    """One provider's explanation: a sentence, reasons (visits, words), what would win it back, who gained."""

    name: str
    lead: Markup
    reasons: list[tuple[str, Markup]]
    win_back: Markup | None
    gainers: Markup | None
    chart: Markup


def why(c: Context) -> list[Why]:
    """The largest winners and the largest losers that have an explanation."""
    order = sorted(c.data.explanations, key=lambda e: e.visits_today - e.visits_tomorrow)
    winners = [e for e in order if e.visits_tomorrow >= e.visits_today][:EACH]
    losers = [e for e in reversed(order) if e.visits_tomorrow < e.visits_today][:EACH]
    return [_one(c, line) for line in [*losers, *winners]]


def _one(c: Context, line: ExplanationLine) -> Why:
    f, change = c.figures, line.visits_tomorrow - line.visits_today
    name, kind = c.name(line.provider_id), "gains" if change > 0 else "loses" if change < 0 else "keeps"
    said = {"today": f.visits(line.visits_today), "tomorrow": f.visits(line.visits_tomorrow)}
    lead = c.words(f"why.{kind}", name=isolated(name), visits=strong(f.visits(abs(change))), **said)
    parts = [part for part in line.parts if part.visits]
    steps = [charts.Step(_part_name(c, part), part.visits, f.signed(part.visits)) for part in parts]
    first = charts.Step(c.words.plain("today"), line.visits_today, said["today"])
    last = charts.Step(c.words.plain("tomorrow"), line.visits_tomorrow, said["tomorrow"])
    chart = charts.waterfall(first, steps, last, name, c.words.plain("chart.waterfall", name=name))
    largest = sorted(parts, key=lambda part: -abs(part.visits))
    reasons = [(f.signed(part.visits), _because(c, part)) for part in largest]
    return Why(name, lead, reasons, _win_back(c, line), _gainers(c, line), chart)


def _part_name(c: Context, part: ExplanationPart) -> str:
    if part.key == "limit" and part.detail:
        return c.words.known("limit", part.detail)
    return c.words.known("part", part.key)


def _because(c: Context, part: ExplanationPart) -> Markup:
    key = f"because.{part.key}.{'up' if part.visits > 0 else 'down'}"
    if part.key == "limit":
        return c.words(key, detail=c.words.known("limit", part.detail) or DASH)
    reason = c.words(key) if key in texts() else Markup("{}").format(c.words.known("part", part.key))
    own, around = known(part.own), known(part.around)
    if own is not None and around is not None:
        form = c.figures.share if part.key == "conversion" else c.figures.money_per_visit
        return c.words("because.compared", reason=reason, own=form(own), around=form(around))
    return c.words("because.detail", reason=reason, detail=isolated(part.detail)) if part.detail else reason


def _win_back(c: Context, line: ExplanationLine) -> Markup | None:
    back = line.win_back
    if back is None or line.visits_tomorrow >= line.visits_today:
        return None
    conversion, order = known(back.conversion_needed), known(back.order_value_needed)
    told = {"conversion": c.figures.share(conversion), "order": c.figures.money(order)}
    if back.blocked_by:
        return c.words("win.blocked", limit=c.words.known("limit", back.blocked_by))
    if conversion is not None and order is not None:
        return c.words("win.either", **told)
    if conversion is not None:
        return c.words("win.conversion", conversion=told["conversion"])
    return c.words("win.order", order=told["order"]) if order is not None else None


def _gainers(c: Context, line: ExplanationLine) -> Markup | None:
    if not line.gainers or line.visits_tomorrow >= line.visits_today:
        return None  # where a winner's visits came from is not known by provider
    largest = sorted(line.gainers, key=lambda g: -g[1])[:6]
    told = [Markup("{} {}").format(isolated(c.name(p)), c.figures.signed(v)) for p, v in largest]
    more = [Markup("…")] if len(line.gainers) > len(largest) else []
    who = Markup(c.words.plain("list_separator")).join([*told, *more])
    return c.words("why.to", who=who)
