"""What each section shows: ``ReportData`` in; rows, sentences and charts out. The template lays them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from footfall.acquire.explain import told_visits
from footfall.app.report import charts
from footfall.app.report.data import ReportData, ValueLine
from footfall.app.report.drawing import clean
from footfall.app.report.figures import DASH, Figures, known
from footfall.app.report.words import text, texts
from footfall.model import Finding, Plan, ProviderLine

ROWS = 1000  # rows of a table: 2,000 providers must stay a file that a mail server takes
LADDER_ROWS, DUMBBELL_ROWS, SEGMENTS, PARTS = 40, 30, 12, 5
DELAY_DAYS = (0, 1, 3, 7, 14, 30, 60, 90)
LEVELS = ("error", "warning", "note", "ok")


class Words:
    """The texts of one language, filled in; what is filled in is escaped unless it is Markup."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def __call__(self, key: str, **parts: object) -> Markup:
        """The text of ``key`` with its placeholders filled."""
        plain = Markup(text(key, self._figures.language, self._figures.unit_reward))
        return plain.format(**parts) if parts else plain

    def plain(self, key: str, **parts: str) -> str:
        """The same as plain text, for a chart's labels (which escape by themselves)."""
        raw = text(key, self._figures.language, self._figures.unit_reward)
        return raw.format(**parts) if parts else raw

    def known(self, prefix: str, name: str) -> str:
        """The text of ``prefix.name`` where there is one, else the name as it came."""
        key = f"{prefix}.{name.strip().lower().replace(' ', '_').replace('-', '_')}"
        return self.plain(key) if key in texts() else clean(name)


def isolated(name: str) -> Markup:
    """A name in its own direction, so that right-to-left letters do not turn the sentence round."""
    return Markup("<bdi>{}</bdi>").format(clean(name))


@dataclass(frozen=True, slots=True)
class Context:
    """What all sections share: the data, its figures and words, and names by provider."""

    data: ReportData
    figures: Figures
    words: Words
    names: Mapping[str, str]

    def name(self, provider_id: str) -> str:
        """The provider's name, else its id."""
        return self.names.get(provider_id) or clean(provider_id) or DASH


def _shown(name: str, provider_id: str) -> str:
    """The name with the id that commands and rules take, where the two differ."""
    return f"{name} ({provider_id})" if name and name != provider_id else provider_id


def context(data: ReportData, figures: Figures) -> Context:
    """The shared part of all sections."""
    names = {line.provider_id: _shown(clean(line.name), clean(line.provider_id)) for line in data.values}
    return Context(data, figures, Words(figures), names)


# ---------------------------------------------------------------- 1 outcome


def outcome(c: Context, plan: Plan) -> list[Markup]:
    """The outcome in two plain sentences."""
    f, comparison = c.figures, plan.comparison
    now, keep = known(comparison.plan), known(comparison.keep_shares)
    change = f.change(now, keep)
    near = change.strip("+\u22120.,%") == "" or now is None or keep is None
    kind = "same" if near else "more" if (now or 0.0) > (keep or 0.0) else "less"
    said = {"day": f.day(plan.day, weekday=True), "plan": strong(f.money(now)), "change": strong(change)}
    first = c.words(f"outcome.{kind}", **said, keep=f.money(keep))
    bound = c.words("outcome.bound", bound=f.money(comparison.lp_bound), gap=f.gap(plan.gap))
    return [first, bound]


def strong(said: str) -> Markup:
    """Said with weight."""
    return Markup("<strong>{}</strong>").format(said)


def daily(c: Context) -> list[tuple[str, Markup]]:
    """Small charts of visitors and, where there is money, GMV by day."""
    rows = sorted(c.data.daily, key=lambda row: row.day)
    charts_: list[tuple[str, Markup]] = []
    for key, sizes, form in (
        ("visitors_per_day", [known(row.visitors) for row in rows], c.figures.whole),
        ("gmv_per_day", [known(row.gmv) for row in rows], c.figures.money),
    ):
        points = [(row.day, size) for row, size in zip(rows, sizes, strict=True) if size is not None]
        if not points:
            continue
        low, high = min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])
        title = c.words.plain(key)
        desc = c.words.plain(
            "chart.daily",
            what=title,
            low=form(low[1]),
            low_day=c.figures.day(low[0]),
            high=form(high[1]),
            high_day=c.figures.day(high[0]),
        )
        chart = charts.days(points, title, desc, c.figures.compact, c.figures.short_day)
        charts_.append((title, chart))
    return charts_


# ---------------------------------------------------------------- 2 value


def by_visitors(c: Context) -> list[ValueLine]:
    """Providers, the most visited first."""
    return sorted(c.data.values, key=lambda line: (-line.visitors, line.provider_id))


def ladder(c: Context) -> tuple[Markup, int, bool]:
    """The value ladder, how many providers it shows, and whether an interval runs past its edge."""
    f = c.figures
    rows: list[charts.LadderRow] = []
    for line in by_visitors(c):
        low, mean, high = known(line.value_low), known(line.value_mean), known(line.value_high)
        if low is None or mean is None or high is None or len(rows) == LADDER_ROWS:
            continue
        plain = known(line.visitor_value)
        rows.append(charts.LadderRow(c.name(line.provider_id), low, mean, high, plain, f.per_visit(mean)))
    if not rows:
        return Markup(""), 0, False
    rows.sort(key=lambda row: -row.mean)
    title = c.words.plain("value.heading")
    desc = c.words.plain(
        "chart.ladder",
        count=f.whole(len(rows)),
        low=f.per_visit(rows[-1].mean),
        high=f.per_visit(rows[0].mean),
    )
    clipped = charts.ladder_end(rows) < max(row.high for row in rows)
    return charts.both(lambda w: charts.ladder(rows, title, desc, f.compact, w)), len(rows), clipped


@dataclass(frozen=True, slots=True)
class DelayRow:
    """One category's shares of orders at chosen days, and the day by which half have come."""

    category: str
    shares: tuple[float | None, ...]
    half: int | None


def delay_days(c: Context) -> list[int]:
    """The days that the delay table shows."""
    longest = max((len(curve) for curve in c.data.delay.values()), default=0)
    return [day for day in DELAY_DAYS if day < longest]


def delay(c: Context) -> tuple[Markup, list[DelayRow]]:
    """Delay curves of the most visited categories (at most 8; the chart shows 4); no chart where no order comes later
    than on the day of its visit."""
    weight: dict[str, int] = {}
    for line in c.data.values:
        weight[line.category] = weight.get(line.category, 0) + line.visitors
    curves = {clean(k): v for k, v in sorted(c.data.delay.items(), key=lambda i: -weight.get(i[0], 0)) if len(v)}
    shown = dict(list(curves.items())[:8])
    if not shown:
        return Markup(""), []
    rows = [
        DelayRow(
            name,
            tuple(curve[day] if day < len(curve) else None for day in delay_days(c)),
            next((day for day, share in enumerate(curve) if share >= 0.5), None),
        )
        for name, curve in shown.items()
    ]
    steady = {name: [known(v) or 0.0 for v in curve] for name, curve in shown.items()}
    if max(map(len, steady.values())) < 2:
        return Markup(""), rows
    return charts.delay(steady, c.words.plain("delay.heading"), c.words.plain("delay.lead")), rows


# ---------------------------------------------------------------- 3 traffic


def by_change(plan: Plan) -> list[ProviderLine]:
    """The ROWS providers with the most visits, the largest gain first, the largest loss last."""
    largest = sorted(plan.providers, key=lambda p: (-max(p.visits_today, p.visits_tomorrow), p.provider_id))[:ROWS]
    return sorted(largest, key=lambda p: (-(p.visits_tomorrow - p.visits_today), p.provider_id))


def dumbbell(c: Context, plan: Plan) -> tuple[Markup, int]:
    """The dumbbell chart of the largest changes, and how many it shows."""
    f = c.figures
    moved = [p for p in plan.providers if abs(p.visits_tomorrow - p.visits_today) >= 0.05]
    moved = sorted(moved, key=lambda p: -abs(p.visits_tomorrow - p.visits_today))[:DUMBBELL_ROWS]
    moved.sort(key=lambda p: p.visits_today - p.visits_tomorrow)
    if not moved:
        return Markup(""), 0

    def rows(wide: bool) -> list[charts.DumbbellRow]:
        lines = []
        for p in moved:
            by = f.signed(told_visits(p.visits_today, p.visits_tomorrow)[2])
            percent = f.change(p.visits_tomorrow, p.visits_today)
            label = by if percent == DASH else f"{by}  ({percent})" if wide else percent
            lines.append(charts.DumbbellRow(c.name(p.provider_id), p.visits_today, p.visits_tomorrow, label))
        return lines

    title = c.words.plain("traffic.heading")
    desc = c.words.plain("chart.dumbbell", count=f.whole(len(moved)))
    draw = charts.both(lambda w: charts.dumbbell(rows(w == charts.WIDE), title, desc, f.compact, w))
    return draw, len(moved)


def traffic_lead(c: Context, plan: Plan) -> Markup:
    """How many gain and lose share, and how many of tomorrow's visits go to another than with today's shares."""
    demand, today = float(plan.demand.visits.sum()), sum(p.visits_today for p in plan.providers)
    scale = sum(p.visits_tomorrow for p in plan.providers) / today if today else 0.0
    changes = [p.visits_tomorrow - p.visits_today * scale for p in plan.providers]
    moved = sum(change for change in changes if change > 0)
    return c.words(
        "traffic.lead",
        up=sum(change >= 0.05 for change in changes),
        down=sum(change <= -0.05 for change in changes),
        moved=c.figures.whole(moved),
        demand=c.figures.whole(demand),
        today=c.figures.whole(today),
    )


def limits_of(c: Context, plan: Plan) -> dict[str, str]:
    """Binding limits of each provider with their prices: "capacity (0.25)"."""
    told: dict[str, list[str]] = {}
    for limit in plan.limits:
        price = c.figures.per_visit(limit.price)
        told.setdefault(limit.provider_id, []).append(f"{c.words.known('limit', limit.name)} ({price})")
    for line in plan.providers:
        if line.limits and line.provider_id not in told:
            told[line.provider_id] = [c.words.known("limit", name) for name in line.limits]
    return {provider: c.words.plain("list_separator").join(parts) for provider, parts in told.items()}


def unassigned(c: Context, plan: Plan) -> Markup | None:
    """A sentence on visits that limits leave with nobody, or None."""
    left = {segment: visits for segment, visits in plan.unassigned.items() if visits >= 0.5}
    if not left:
        return None
    largest = sorted(left.items(), key=lambda item: -item[1])[:6]
    told = [Markup("{} ({})").format(isolated(segment_name(c, s)), c.figures.visits(v)) for s, v in largest]
    more = [Markup("…")] if len(left) > len(largest) else []
    segments = Markup(c.words.plain("list_separator")).join([*told, *more])
    return c.words("traffic.unassigned", visits=c.figures.visits(sum(left.values())), segments=segments)


# ---------------------------------------------------------------- 5 comparison


def comparison(c: Context, plan: Plan) -> tuple[Markup, list[tuple[str, str, str, bool]]]:
    """The bars of four ways, and their table: name, earned, against keeping shares, is it the plan."""
    f, made = c.figures, plan.comparison
    sizes = {
        "keep_shares": made.keep_shares,
        "proportional": made.proportional,
        "plan": made.plan,
        "lp_bound": made.lp_bound,
    }
    rows, drawn = [], []
    for key, size in sizes.items():
        name, against = (
            c.words.plain(f"compare.{key}"),
            f.change(size, made.keep_shares) if key != "keep_shares" else "",
        )
        rows.append((name, f.money(size), against or DASH, key == "plan"))
        if (number := known(size)) is not None:
            drawn.append(charts.Bar(name, max(number, 0.0), f.money(number), against, key == "plan"))
    title = c.words.plain("compare.heading")
    said = {"plan": f.money(made.plan), "keep": f.money(made.keep_shares), "bound": f.money(made.lp_bound)}
    desc = c.words.plain("chart.compare", **said)
    return charts.both(lambda w: charts.bars(drawn, title, desc, w)), rows


def spread(c: Context, plan: Plan) -> list[tuple[str, str, str]]:
    """Concentration: measure, today, tomorrow."""
    a, b, f = plan.today, plan.tomorrow, c.figures
    return [
        (c.words.plain("spread.gini"), _ratio(a.gini), _ratio(b.gini)),
        (c.words.plain("spread.top"), f.share(a.top_decile_share), f.share(b.top_decile_share)),
        (c.words.plain("spread.newcomers"), f.share(a.newcomer_share), f.share(b.newcomer_share)),
    ]


def _ratio(value: float) -> str:
    return DASH if known(value) is None else f"{value:.3f}"


# ---------------------------------------------------------------- 6 segments


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: its demand in words, chart, and rows (number or "", who, share today, share tomorrow)."""

    name: str
    demand: Markup
    chart: Markup
    rows: list[tuple[str, str, str, str]]


def segment_name(c: Context, segment: str) -> str:
    """The segment's name, with its column where it is a number; an undivided workspace's one has none of its own."""
    columns = c.data.segment_columns
    name = f"{columns[0]} {segment}" if len(columns) == 1 and segment.isdigit() else segment
    return clean(name) or c.words.plain("segments.all")


def segments(c: Context, plan: Plan) -> list[Segment]:
    """The segments with the largest demand."""
    pairs: dict[str, list[tuple[str, float, float]]] = {}
    for pair in plan.pairs:
        pairs.setdefault(pair.segment, []).append((pair.provider_id, pair.share_today, pair.share_tomorrow))
    order = sorted(range(len(plan.demand.segments)), key=lambda i: -float(plan.demand.visits[i]))[:SEGMENTS]
    return [_segment(c, plan, i, pairs.get(plan.demand.segments[i], [])) for i in order]


def _segment(c: Context, plan: Plan, i: int, pairs: Sequence[tuple[str, float, float]]) -> Segment:
    f, demand = c.figures, plan.demand
    key, visits = demand.segments[i], float(demand.visits[i])
    order = sorted(pairs, key=lambda p: (-max(p[1], p[2]), p[0]))
    top = [p for p in order[:PARTS] if max(p[1], p[2]) > 0]
    others = [p for p in order[len(top) :] if max(p[1], p[2]) > 0]
    left = plan.unassigned.get(key, 0.0) / visits if visits > 0 else 0.0
    rest = (sum(p[1] for p in others), sum(p[2] for p in others))
    name = segment_name(c, key)
    bars = [
        (c.words.plain("today"), [*(p[1] for p in top), rest[0], 0.0]),
        (c.words.plain("tomorrow"), [*(p[2] for p in top), rest[1], left]),
    ]
    rows = [(str(k + 1), c.name(p[0]), f.share(p[1]), f.share(p[2])) for k, p in enumerate(top)]
    if others:
        count = c.words.plain("segments.rest", count=f.whole(len(others)))
        rows.append(("", count, f.share(rest[0]), f.share(rest[1])))
    if left >= 0.0005:
        rows.append(("", c.words.plain("segments.unassigned"), f.share(0), f.share(left)))
    said = {
        "visits": f.visits(visits),
        "low": f.visits(float(demand.low[i])),
        "high": f.visits(float(demand.high[i])),
    }
    desc = c.words.plain("chart.segment", name=name)
    return Segment(name, c.words("segments.demand", **said), charts.stacked(bars, name, desc), rows)


# ---------------------------------------------------------------- 7 checks


def findings(data: ReportData) -> list[tuple[str, list[Finding]]]:
    """Findings by level, the worst first; levels without findings are left out."""
    groups = [(level, [f for f in data.findings if f.level == level]) for level in LEVELS]
    return [(level, found) for level, found in groups if found]
