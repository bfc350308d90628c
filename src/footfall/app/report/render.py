"""``ReportData`` -> one HTML file: styles, charts and script are inline, and nothing is fetched."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from footfall.acquire.explain import told_visits
from footfall.app.report import reasons, views
from footfall.app.report.data import ReportData
from footfall.app.report.drawing import clean, with_code
from footfall.app.report.figures import Figures, known
from footfall.app.report.told import told
from footfall.app.report.words import LANGUAGES, Language
from footfall.errors import ConfigError
from footfall.model import Plan


def render(data: ReportData, language: Language = "en") -> str:
    """The report as one self-contained HTML document, readable offline, without script and in print.

    All that comes from data is escaped. Raises ConfigError for a language that is not in ``LANGUAGES``.
    """
    if language not in LANGUAGES:
        raise ConfigError(f"no report in language {language!r}", f"use one of: {', '.join(LANGUAGES)}")
    figures = Figures(language, clean(data.currency), data.money_decimals, data.unit_reward)
    c = views.context(data, figures)
    page = _common(c)
    if data.plan is not None:
        page |= _of_plan(c, data.plan)
    return _environment().get_template("report.html.j2").render(page) + "\n"


def _common(c: views.Context) -> dict[str, Any]:
    chart, shown, clipped = views.ladder(c)
    delay_chart, delay_rows = views.delay(c)
    return {
        "c": c,
        "data": c.data,
        "f": c.figures,
        "t": c.words,
        "clean": clean,
        "told": lambda text: with_code(told(text, c.figures.language)),
        "known": known,
        "rows_most": views.ROWS,
        "daily": views.daily(c),
        "days": (c.data.last_day - c.data.first_day).days + 1,
        "values": views.by_visitors(c),
        "ladder": chart,
        "ladder_shown": shown,
        "ladder_clipped": clipped,
        "delay_chart": delay_chart,
        "delay_rows": delay_rows,
        "delay_days": views.delay_days(c),
        "findings": views.findings(c.data),
        "plan": c.data.plan,
    }


def _of_plan(c: views.Context, plan: Plan) -> dict[str, Any]:
    dumbbell, dumbbell_shown = views.dumbbell(c, plan)
    bars, ways = views.comparison(c, plan)
    return {
        "outcome": views.outcome(c, plan),
        "traffic_lead": views.traffic_lead(c, plan),
        "unassigned": views.unassigned(c, plan),
        "dumbbell": dumbbell,
        "dumbbell_shown": dumbbell_shown,
        "providers": views.by_change(plan),
        "told_visits": told_visits,
        "limits": views.limits_of(c, plan),
        "why": reasons.why(c),
        "bars": bars,
        "ways": ways,
        "spread": views.spread(c, plan),
        "segments": views.segments(c, plan),
        "segments_most": views.SEGMENTS,
    }


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("footfall.app.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
