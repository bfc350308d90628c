"""What is said in English is told in both Chinese scripts: every text of the code, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from string import Formatter

import pytest

import footfall
from footfall.app.report.told import catalogue, told
from footfall.texts import say

SOURCE = Path(footfall.__file__).parent
# Names of checks are said as they are, and stand in the code as the first argument of a Finding.
NAMES_MADE = {"negative amounts", "absurd amounts", "missing amounts", "zero amounts", "segment column {column}"}


def calls(name: str) -> Iterator[ast.Call]:
    """Calls of the function ``name`` in modules that say texts."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "from footfall.texts import say" in text:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                    yield node


def places(template: str) -> dict[str, str]:
    return {name: spec or "" for _, name, spec, _ in Formatter().parse(template) if name}


def samples(template: str) -> dict[str, object]:
    """A value for every place, of the kind that its format asks for."""
    kinds = {"": "shop-7 (5 of 20)", ",": 1_234_567, "d": 12, "f": 12.5, "g": 0.00125, "%": 0.375}
    return {
        name: datetime(2026, 11, 25, 23, 5) if "%H" in spec else kinds[spec[-1:]]
        for name, spec in places(template).items()
    }


def test_every_text_of_the_code_is_in_the_catalogue_and_no_other() -> None:
    said = set()
    for call in calls("say"):
        assert isinstance(call.args[0], ast.Constant), f"line {call.lineno}: say() needs the template itself"
        said.add(call.args[0].value)
    named = {c.args[0].value for c in calls("Finding") if isinstance(c.args[0], ast.Constant)}
    given = {"faked orders", "currencies", "kept aside", "order lines"}  # by a variable
    assert len(said) > 90
    assert said <= set(catalogue())
    assert set(catalogue()) - said == named | given | NAMES_MADE


def test_findings_say_their_texts() -> None:
    for call in calls("Finding"):
        texts = [*call.args[2:3], *call.args[5:6], *(word.value for word in call.keywords if word.arg == "way_out")]
        for text in texts:
            assert not isinstance(text, (ast.Constant, ast.JoinedStr)), f"line {call.lineno}: not said, so never told"


@pytest.mark.parametrize("language", ["zh-Hant", "zh-Hans"])
def test_every_text_is_found_again_with_its_values(language) -> None:
    for template, row in catalogue().items():
        values = samples(template)
        formatted = {name: f"{{:{places(template)[name]}}}".format(value) for name, value in values.items()}
        assert told(say(template, **values), language) == row[language].format(**formatted), template
        assert set(places(row[language])) == set(places(template)), template


def test_each_script_is_written_in_its_own_characters() -> None:
    # Big5 has no character that only the simplified script has, GB 2312 none that only the traditional one has.
    for row in catalogue().values():
        row["zh-Hant"].encode("big5")
        row["zh-Hans"].encode("gb2312")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24,626 events on 61 days", "61 天共 24,626 個事件"),
        (
            "shop-20: 744 of its 756 orders (98 %) come from visitors with 5 or more orders there in 7 days (visitors: "
            "12), with signs of faked orders (2 of 3): the same amount in 97 % of them (3 % elsewhere); placed within "
            "10 s of arrival in 100 % of them (1 % elsewhere)",
            "shop-20：756 筆訂單中的 744 筆（98 %）來自 7 天內在該處下單 5 次以上的訪客（12 位），"
            "有刷單跡象（3 項中的 2 項）："
            "其中 97% 金額相同（其他訂單為 3%）；其中 100% 在到訪後 10 秒內下單（其他訂單為 1%）",
        ),
        ("there is no event on any of the Saturdays, Sundays", "週六、週日都沒有事件"),
        ("pin yields to capacity: all {of} them\nand <more>", "固定份額讓位於承接上限：all {of} them\nand <more>"),
        ("an operator's own words", "an operator's own words"),
        ("", ""),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert told(text, "zh-Hant") == expected
    assert told(text, "en") == text
