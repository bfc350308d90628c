"""The report as people open it: whole, escaped, offline, in three languages, from nothing to 2,000 providers.

Expected figures are worked out by hand from the made-up data below.
"""

from __future__ import annotations

import dataclasses
import math
import re
import string
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from footfall.app import report
from footfall.app.report import (
    LANGUAGES,
    Day,
    ExplanationLine,
    ExplanationPart,
    ReportData,
    Totals,
    ValueLine,
    WinBack,
    render,
)
from footfall.app.report.drawing import clean, fit, text_width, ticks, with_code
from footfall.app.report.figures import DASH, MINUS, Figures
from footfall.app.report.words import texts
from footfall.errors import ConfigError
from footfall.model import (
    BindingLimit,
    Comparison,
    DemandForecast,
    Finding,
    PairLine,
    Plan,
    ProviderLine,
    Spread,
)

NASTY = (
    '<script>alert("x")</script>',
    'O\'Brien & "Sons" <b>',
    "好味道零食旗艦店（台北信義旗艦館）超級長的名字",
    "🍜 拉麵",
    "متجر الكتب",
    "\u202egnp.exe\x00\ud800",
    "",
)
SEGMENTS = ("ads, phone", "search", "推薦")


def value_line(k: int, name: str = "", **changes: Any) -> ValueLine:
    rng = np.random.default_rng(k)
    visitors, conversion, aov = (
        int(40 + 40000 / (k + 2)),
        0.01 + 0.03 * rng.random(),
        200 + 600 * rng.random(),
    )
    orders = int(visitors * conversion)
    mean = conversion * aov
    sd = 2.4 * mean / math.sqrt(orders + 1)
    line = ValueLine(
        provider_id=f"shop-{k}",
        name=name,
        category=("snack", "sofa", "書籍", "toys", "all")[k % 5],
        visitors=visitors,
        orders=orders,
        gmv=round(orders * aov, 2),
        conversion=orders / visitors,
        aov=aov if orders else None,
        visitor_value=orders * aov / visitors,
        value_mean=mean,
        value_sd=sd,
        value_low=max(mean - 1.64 * sd, 0.1),
        value_high=mean + 1.64 * sd,
        evidence=visitors * 0.6,
    )
    return dataclasses.replace(line, **changes)


def make_plan(values: tuple[ValueLine, ...], **changes: Any) -> Plan:
    rng = np.random.default_rng(7)
    weight = np.array([v.visitors for v in values], float)
    demand = np.array([5200.0, 3100.0, 800.4])
    share = weight / weight.sum()
    moved = share * np.exp(0.5 * rng.normal(size=len(share)))
    moved /= moved.sum()
    names = [v.provider_id for v in values]
    pairs = tuple(
        PairLine(s, j, share[k], share[k], moved[k], d * share[k], d * moved[k], values[k].value_mean, 1.0, 20.0)
        for s, d in zip(SEGMENTS, demand, strict=True)
        for k, j in enumerate(names)
    )
    providers = tuple(
        ProviderLine(j, v.category, k % 9 == 8, 9100.4 * share[k], 9000.4 * moved[k], v.value_mean, 0.0, ())
        for k, (j, v) in enumerate(zip(names, values, strict=True))
    )
    limits = (
        BindingLimit(names[0], "capacity", 900.0, 0.25),
        BindingLimit(names[-1], "newcomer floor", 20.0, -1.5),
        BindingLimit(names[0], "odd <limit>", 20.0, 0.5),
    )
    plan = Plan(
        plan_id="p-1",
        version=3,
        day=date(2026, 11, 23),
        as_of=date(2026, 11, 22),
        created_at=datetime(2026, 11, 22, 15, 0, tzinfo=UTC),
        status="draft",
        inertia=0.3,
        demand=DemandForecast(date(2026, 11, 23), SEGMENTS, demand, demand * 0.8, demand * 1.25),
        pairs=pairs,
        providers=providers,
        limits=limits,
        unassigned={SEGMENTS[1]: 100.0, SEGMENTS[0]: 0.0},
        comparison=Comparison(plan=110_000.0, keep_shares=100_000.0, proportional=104_000.0, lp_bound=121_000.0),
        objective=1.0,
        bound=1.0,
        gap=0.000087,
        today=Spread(0.512, 0.402, 0.031),
        tomorrow=Spread(0.498, 0.391, 0.045),
        notes=("change limits of 2 providers were softened",),
    )
    return dataclasses.replace(plan, **changes)


EXPLANATIONS = (
    ExplanationLine(
        "shop-7",
        420,
        300,
        (
            ExplanationPart("demand", "", 12),
            ExplanationPart("conversion", "", -95, own=0.0213, around=0.031),
            ExplanationPart("order_value", "", 10, own=450.0, around=420.0),
            ExplanationPart("limit", "capacity", -40),
            ExplanationPart("others", "", -11),
            ExplanationPart("repair", "", 0),
            ExplanationPart("moon phase", "full <moon>", 4),
        ),
        WinBack(0.0289, 612.0),
        (("shop-1", 70), ("shop-2", 30)),
    ),
    ExplanationLine(
        "shop-8",
        5000,
        4960,
        (ExplanationPart("others", "", -40),),
        WinBack(blocked_by="largest change"),
        (("shop-0", 40),),
    ),
    ExplanationLine(
        "shop-1",
        260,
        345,
        (ExplanationPart("conversion", "", 70, 0.041, 0.03), ExplanationPart("boost", "", 15)),
    ),
    ExplanationLine("shop-3", 0, 20, (ExplanationPart("newcomers", "", 20),)),
)


def make_data(providers: int = 48, days: int = 30, **changes: Any) -> ReportData:
    names = [*NASTY, *("" for _ in range(providers))][:providers]
    values = tuple(value_line(k, name) for k, name in enumerate(names))
    last = date(2026, 11, 22)
    data = ReportData(
        workspace="Night <market> 夜市",
        created_at=datetime(2026, 11, 22, 15, 4, tzinfo=UTC),
        currency="TWD",
        zone="Asia/Taipei",
        as_of=last,
        first_day=last - timedelta(days=days - 1),
        last_day=last,
        totals=Totals(123_456, 3_210, Decimal("1234567.89"), 0.026, 384.6, 10.0, Decimal("9876.50")),
        values=values,
        daily=tuple(
            Day(last - timedelta(days=days - 1 - k), 4000 + 300 * (k % 7), 100 + k, 40_000.0 + 900 * k)
            for k in range(days)
        ),
        delay={
            "snack": tuple(1 - 0.5 * 0.5**k for k in range(31)),
            "sofa": tuple(1 - 0.95 * 0.9**k for k in range(31)),
            "書籍": tuple(1 - 0.7 * 0.7**k for k in range(31)),
        },
        plan=make_plan(values),
        explanations=EXPLANATIONS,
        findings=(
            Finding(
                "bots",
                "error",
                "3 visitors have more than 500 events an hour",
                3,
                ("v-<1>", "v-2"),
                "exclude_visitors",
            ),
            Finding(
                "amounts",
                "warning",
                "7 orders above 1000 x the median",
                7,
                tuple(f"o-{k}" for k in range(7)),
                "look",
            ),
            Finding("gaps", "note", "2 days without events", 2, ("2026-11-01",)),
            Finding("duplicates", "ok", "no duplicates"),
        ),
        warnings=("log younger than the window", "only 38 clicks"),
    )
    return dataclasses.replace(data, **changes)


def test_one_change_is_one_number_on_the_page() -> None:
    """511 - 340 = 171, though 510.6 - 340.4 rounds to 170; 2.9 - 1.2 = 1.7, though 2.94 - 1.16 rounds to 1.8."""
    data = make_data(2)
    plan = data.plan
    assert plan is not None
    lines = tuple(
        dataclasses.replace(line, visits_today=today, visits_tomorrow=tomorrow)
        for line, today, tomorrow in zip(plan.providers, (510.6, 2.94), (340.4, 1.16), strict=True)
    )
    text = Page(render(dataclasses.replace(data, plan=dataclasses.replace(plan, providers=lines)))).text
    assert "511 340 \u2212171 \u221233.3%" in text
    assert "\u2212171 (\u221233.3%)" in text
    assert "2.9 1.2 \u22121.7 \u221260.5%" in text
    assert "\u2212170" not in text and "\u22121.8" not in text


VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(HTMLParser):
    """Checks that tags balance; gathers text, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"attribute twice in <{tag}>"
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def check(html: str) -> Page:
    """What holds for every report, whatever it is made from."""
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    html.encode("utf-8")
    assert not re.search(r"(?i)\b(nan|inf|none|undefined)\b", page.text), page.text
    assert not re.search(r"https?://|@import|url\(", html)
    for tag, attributes in page.seen:
        assert tag not in ("img", "iframe", "object", "embed")
        assert not any(name.startswith("on") for name in attributes)
        assert "src" not in attributes
        if "href" in attributes:
            assert (attributes["href"] or "").startswith(("#", "data:,"))
        if tag == "svg" and "chart" in (attributes.get("class") or ""):
            assert attributes["role"] == "img"
    drawn = [a for t, a in page.seen if t in ("rect", "circle", "line", "polyline", "text")]
    numbers = " ".join(
        v or "" for a in drawn for n, v in a.items() if n in ("x", "y", "width", "height", "cx", "cy", "points")
    )
    assert "nan" not in numbers and "inf" not in numbers
    assert all(float(a.get("width") or 0) >= 0 for a in drawn)
    assert len([1 for t, _ in page.seen if t == "script"]) == 1
    style = html[html.index("<style>") : html.index("</style>")]
    assert "&#" not in style and "{%" not in html and '"Noto Sans CJK ' in style
    ids = [a["id"] for _, a in page.seen if "id" in a]
    assert len(ids) == len(set(ids))
    return page


@pytest.mark.parametrize("language", LANGUAGES)
def test_full_report_in_each_language(language: Any) -> None:
    html = render(make_data(), language)
    page = check(html)
    assert f'<html lang="{language}">' in html
    # 110,000 against 100,000; certificate 0.0087 %; a total and a table row, from make_data.
    for said in (
        "TWD\u00a0110,000",
        "+10.0%",
        "TWD\u00a0121,000",
        "0.0087%",
        "123,456",
        "TWD\u00a01,234,568",
        "2.60%",
    ):
        assert said.replace("\u00a0", " ") in page.text.replace("\u00a0", " ")
    assert html.count("<desc>") == html.count('role="img"') >= 10
    if language == "en":
        assert "Mon 23 Nov 2026" in page.text
        assert "softened" in page.text and "only 38 clicks" in page.text


def test_all_that_comes_from_data_is_escaped() -> None:
    html = render(make_data())
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html
    assert "<b>" not in html.replace("<b>" + MINUS, "").replace("<b>+", "")
    assert "<market>" not in html and "<limit>" not in html and "<moon>" not in html and "v-<1>" not in html
    assert "متجر الكتب" in html and "🍜 拉麵" in html
    assert "\u202e" not in html and "\x00" not in html and "gnp.exe" in html


def test_why_speaks_like_an_operator() -> None:
    text = check(render(make_data())).text
    assert "shop-7 loses 120, from 420 to 300 visits." in re.sub(r" +([,.])", r"\1", text)
    assert f"{MINUS}95 because its conversion is below its neighbours' (2.13% against 3.10%)" in text
    assert f"{MINUS}40 because this limit holds it down: capacity" in text
    assert "a conversion of 2.89%, or an average order of TWD\u00a0612.00." in text.replace("TWD ", "TWD\u00a0")
    assert "this limit holds them back: largest change a day" in text
    assert "moon phase" in text and "rounding" not in text


def test_why_in_chinese() -> None:
    assert "因為轉化率低於同類競爭商家（2.13%，對比 3.10%）" in check(render(make_data(), "zh-Hant")).text
    assert "因为转化率低于同类竞争商家（2.13%，对比 3.10%）" in check(render(make_data(), "zh-Hans")).text


def test_traffic_table_has_limits_with_prices() -> None:
    page = check(render(make_data()))
    assert "capacity (0.25), odd <limit> (0.50)" in page.text
    assert f"newcomers' minimum ({MINUS}1.50)" in page.text
    assert "Limits leave 100 visits a day with nobody: search (100)" in re.sub(r" +", " ", page.text)


def test_without_a_plan() -> None:
    html = render(make_data(plan=None, explanations=()))
    page = check(html)
    assert "There is no plan yet" in page.text and "footfall plan" in page.text
    assert 'id="traffic"' not in html and 'href="#traffic"' not in html


def test_without_purchases() -> None:
    nan = float("nan")
    values = tuple(
        value_line(
            k,
            orders=0,
            gmv=0.0,
            conversion=0.0,
            aov=None,
            visitor_value=0.0,
            value_mean=nan,
            value_high=math.inf,
        )
        if k % 2
        else value_line(k, orders=0, gmv=0.0, conversion=nan, aov=nan, visitor_value=None, value_low=0.0)
        for k in range(6)
    )
    totals = Totals(500, 0, 0, 0.0, None, 0.0, 0)
    plan = make_plan(values, comparison=Comparison(0.0, 0.0, 0.0, nan), gap=nan, today=Spread(nan, nan, nan))
    page = check(render(make_data(values=values, totals=totals, plan=plan, delay={})))
    assert "No purchases in this period" in page.text
    assert DASH in page.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_at_all(language: Any) -> None:
    totals = Totals(0, 0, 0, None, None, None, 0)
    data = make_data(
        values=(),
        daily=(),
        totals=totals,
        plan=None,
        explanations=(),
        findings=(),
        warnings=(),
        delay={"a": ()},
    )
    check(render(data, language))


@pytest.mark.parametrize("days", [1, 2, 45, 46, 400])
def test_one_provider_and_few_or_many_days(days: int) -> None:
    data = make_data(providers=1, days=days, explanations=())
    page = check(render(data))
    assert ("1 day " in page.text) == (days == 1)


def test_a_plan_that_changes_nothing() -> None:
    values = (value_line(0),)
    line = ProviderLine("shop-0", "all", False, 10.0, 10.0, 5.0, 0.0, ())
    empty = DemandForecast(date(2026, 11, 23), ("",), np.zeros(1), np.zeros(1), np.zeros(1))
    plan = make_plan(
        values, providers=(line,), demand=empty, pairs=(), unassigned={}, comparison=Comparison(1, 1, 1, 1)
    )
    page = check(render(make_data(values=values, plan=plan, explanations=())))
    assert "No reasons were worked out" in page.text
    assert "Nobody's visits change." in page.text and "the same as keeping today's shares" in page.text


def test_two_thousand_providers_stay_a_small_file() -> None:
    html = render(make_data(providers=2000))
    page = check(html)
    assert len(html.encode()) < 2_000_000
    assert "footfall value --format csv" in page.text and "The 1,000 largest of 2,000 are shown." in page.text


def test_many_segments_are_capped() -> None:
    names = tuple(f"s{k}" for k in range(40))
    demand = DemandForecast(date(2026, 11, 23), names, np.arange(40.0), np.zeros(40), np.arange(40.0))
    values = (value_line(0), value_line(1))
    html = render(make_data(values=values, plan=make_plan(values, demand=demand)))
    check(html)
    assert html.count('class="segment"') == 12


def test_clicks_are_not_money() -> None:
    page = check(render(make_data(unit_reward=True)))
    assert "Click rate" in page.text and "TWD" not in page.text and "Average order" not in page.text


def test_clicks_on_the_day_of_the_visit_in_segments_with_numbers() -> None:
    data = make_data(9, unit_reward=True, delay={"all": (1.0,)}, segment_columns=("position",))
    plan = data.plan
    assert plan is not None
    numbered = dataclasses.replace(plan.demand, segments=("2", "1", "3"))
    html = render(dataclasses.replace(data, plan=dataclasses.replace(plan, demand=numbered)))
    text = check(html).text
    assert "How late clicks come" in text and 'class="chart delay"' not in html, "a single point is no curve"
    assert "position 2" in text
    assert "its click rate is" in text and "its conversion" not in text
    assert "Expected clicks a day" in text and "Expected earnings a day" not in text
    assert 'class="chart delay"' in render(make_data(9))


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="zh-Hant"):
        render(make_data(), "fr")  # type: ignore[arg-type]


def test_words_exist_in_all_languages_with_the_same_placeholders() -> None:
    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    for key, row in texts().items():
        assert set(row) == set(LANGUAGES) and all(text.strip() for text in row.values()), key
        assert fields(row["en"]) == fields(row["zh-Hant"]) == fields(row["zh-Hans"]), key
        # Big5 has no character that only the simplified script has, GB 2312 none that only the traditional one has.
        row["zh-Hant"].replace("·", "").encode("big5")
        row["zh-Hans"].replace("·", "").encode("gb2312")
        if key.startswith("unit."):
            assert key.removeprefix("unit.") in texts()


def test_every_word_is_used() -> None:
    folder = Path(report.__path__[0])
    files = [p for p in folder.iterdir() if p.suffix in (".py", ".j2") and p.stem != "words"]
    source = "".join(p.read_text("utf-8") for p in files)
    lists = (
        "limit.",
        "part.",
        "because.",
        "level.",
        "status.",
        "nav.",
        "reading.",
        "compare.",
        "why.",
        "outcome.",
    )
    for key in texts():
        plain = key.removeprefix("unit.")
        assert plain.startswith(lists) or f'"{plain}"' in source, key


@pytest.mark.parametrize(
    ("value", "money", "share", "visits"),
    [
        (None, DASH, DASH, DASH),
        (float("nan"), DASH, DASH, DASH),
        (float("-inf"), DASH, DASH, DASH),
        (0.0, "EUR\u00a00.00", "0%", "0"),
        (-0.0, "EUR\u00a00.00", "0%", "0"),
        (0.0213, "EUR\u00a00.02", "2.13%", "0"),
        (-3.46, f"EUR\u00a0{MINUS}3.46", f"{MINUS}346.0%", f"{MINUS}3.5"),
        (1234567.0, "EUR\u00a01,234,567", "123,456,700.0%", "1,234,567"),
        (Decimal("9007199254740993"), "EUR\u00a09,007,199,254,740,993", None, None),
    ],
)
def test_figures(value: Any, money: str, share: str | None, visits: str | None) -> None:
    figures = Figures("en", "EUR")
    assert figures.money(value) == money
    if share is not None:
        assert (figures.share(value), figures.visits(value)) == (share, visits)


def test_changes_days_and_short_figures() -> None:
    english, chinese = Figures("en", "JPY", 0), Figures("zh-Hans", "CNY")
    assert (english.change(112, 100), english.change(96, 100), english.change(5, 0)) == (
        "+12.0%",
        f"{MINUS}4.0%",
        DASH,
    )
    assert english.change(100.0001, 100) == "0.0%"
    assert (english.compact(12_500), english.compact(1_500_000), chinese.compact(12_500)) == (
        "12.5k",
        "1.5M",
        "1.25万",
    )
    assert english.moment(datetime(2026, 11, 22, 15, 4, tzinfo=UTC), "Asia/Taipei") == "22 Nov 2026 23:04"
    assert chinese.day(date(2026, 11, 23), weekday=True) == "2026年11月23日（周一）"
    assert (english.gap(8.7e-5), english.gap(0.0), english.gap(0.012)) == ("0.0087%", "0.0000001%", "1.2%")
    assert english.money(384.6) == "JPY\u00a0385"


def test_drawing_parts() -> None:
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(0, 0) == [0]
    assert text_width("好味道", 10) == 30
    short = fit("a very long name of a shop", 13, 80)
    assert short.endswith("…") and text_width(short, 13) <= 80
    assert clean("a\x00b\u202ec\n d\ud800") == "abc d\ufffd"


def test_commands_in_remarks_are_code_and_one_backtick_is_none() -> None:
    assert with_code("see `footfall check` & `a<b`") == "see <code>footfall check</code> &amp; <code>a&lt;b</code>"
    assert with_code("it`s <b>") == "it`s &lt;b&gt;"


def test_a_report_into_a_folder_that_is_not_there(tmp_path: Path, cli, shop: Path) -> None:
    (tmp_path / "log.csv").write_text("ts,name,visitor_id,provider_id\n2026-05-03,page_view,v,p\n", encoding="utf-8")
    assert cli("import", tmp_path / "log.csv", workspace=shop).status == 0
    found = cli("report", tmp_path / "nowhere" / "x.html")
    assert found.status == 2 and f"there is no folder {tmp_path / 'nowhere'}" in found.err.replace("\n", "")
    assert ".part" not in found.err
