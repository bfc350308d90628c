"""Tables in windows of any width: no number, id or name is cut, and what does not fit is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from footfall.app import output
from footfall.app.main import main

WIDTHS = (80, 100, 120, 160)
NAMES = {
    "shop-001": "長安街旗艦店",
    "shop-002": "Maison Étoile",
    "shop-003": "ร้านค้า",
    "shop-004": "長長長長長長長長長長長長長長長長的商店名稱旗艦店",
}
SETTINGS = """
[channels.paper]
kind = "file"
[journeys.carts]
audience = "cart_abandoned"
holdout = 0.0
[[journeys.carts.steps]]
template = "cart"
channel = "paper"
"""
COMMANDS = (
    ("value", "--by", "provider"),
    ("value", "--by", "pair"),
    ("plan", "show"),
    ("plan", "show", "--by", "pair"),
    ("fans",),
    ("journeys",),
    ("rows", "--limit", "9"),
    ("outbox", "list"),
    ("customers",),
    ("timing",),
)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small market with long and Chinese names, a plan and a journey that has written."""
    folder = tmp_path_factory.mktemp("market")
    log, shop = folder / "log.ndjson", str(folder / "shop")
    assert main(["simulate", str(log), "--shops", "8", "--days", "20", "--visitors", "4000", "--addresses"]) == 0
    text = log.read_text(encoding="utf-8")
    for plain, name in NAMES.items():
        text = text.replace(f'"{plain}"', f'"{name}"')
    log.write_text(text, encoding="utf-8")
    assert main(["init", shop, "--currency", "CNY", "--segment", "channel", "--segment", "category"]) == 0
    assert main(["import", str(log), "--workspace", shop]) == 0
    settings = folder / "shop" / "footfall.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + SETTINGS, encoding="utf-8")
    assert main(["plan", "--workspace", shop]) == 0
    assert main(["retain", "--workspace", shop]) == 0
    return folder / "shop"


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch):
    def of(width: int) -> None:
        monkeypatch.setitem(output._CONSOLES, False, Console(width=width, highlight=False, markup=False))

    return of


def table(text: str) -> tuple[str, list[str]]:
    """Of a command's output: the lines of its last table with many columns, and the columns named as left out."""
    named = re.search(r"\.\.\. and .* columns? more in a wider window or with --format csv: (.*)\n", text)
    lines = (text[: named.start()] if named else text).splitlines()
    return "\n".join(lines), named[1].split(", ") if named else []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_cut_at_any_width(command: tuple[str, ...], market: Path, cli, window) -> None:
    """The same table in a window of 2,000 columns tells what has to be found whole in narrow ones."""
    window(2000)
    wide = cli(*command, workspace=market).out
    words = set(wide.split())
    header = next(line for line in wide.splitlines() if len(re.findall(r"\S  +\S", line)) > 3)
    columns = re.split(r"  +", header.strip())
    for width in WIDTHS:
        window(width)
        drawn, left = table(cli(*command).out)
        assert left == columns[len(columns) - len(left) :]
        lines = drawn.splitlines()
        start = next(at for at, line in enumerate(lines) if line.startswith(columns[0]))
        assert all(cell_len(line) <= width for line in lines[start:] if "  " in line)
        numbers = {word for line in lines[start:] for word in line.split() if re.search(r"\d", word)}
        parts = "".join(word for word in words if len(word) > 36)  # a path is broken, an id is not
        assert {word for word in numbers if word not in parts} - words <= {
            word for word in numbers if "_" in word
        }  # of a header
        if not left:
            assert {word for word in words if re.fullmatch(r"[+-]?[\d,.]+%?", word)} <= set(drawn.split())
        for name in set(NAMES.values()) & words:
            assert name in drawn or len(name) > 18


def test_what_is_too_wide_folds_before_a_column_goes(window, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "a" * 36, "told": "the mail server answered 550 no such mailbox", "visits": 1234567, "more": 1}]
    window(76)
    output.draw(rows, ("id", "told", "visits", "more"))
    assert capsys.readouterr().out.splitlines() == [
        f"{'id':<36}  {'told':<21}  {'visits':>9}  more",
        f"{'a' * 36}  {'the mail server':<21}  1,234,567     1",
        f"{'':<36}  answered 550 no such",
        f"{'':<36}  mailbox",
    ]
    window(60)
    output.draw(rows, ("id", "told", "visits", "more"))
    assert capsys.readouterr().out.splitlines() == [
        f"{'id':<36}  told",
        f"{'a' * 36}  the mail server",
        f"{'':<36}  answered 550 no such",
        f"{'':<36}  mailbox",
        "... and 2 columns more in a wider window or with --format csv: visits, more",
    ]


def test_a_name_longer_than_the_window_goes_on_below(window, capsys: pytest.CaptureFixture[str]) -> None:
    """Chinese signs take two columns each: 25 of them do not fit into 20, nor does a word of 50 letters."""
    window(20)
    for name in ("店" * 25, "x" * 50):
        output.draw([{"provider_id": name, "visits": 12345}], ("provider_id", "visits"))
        header, *body, last = capsys.readouterr().out.splitlines()
        assert header == "provider_id" and "".join(body) == name
        assert last == "... and one column more in a wider window or with --format csv: visits"


def test_a_text_with_an_end_of_line_stays_in_its_row(window, capsys: pytest.CaptureFixture[str]) -> None:
    window(80)
    output.draw([{"told": "one\r\ntwo\x07", "n": 1}], ("told", "n"))
    assert capsys.readouterr().out.splitlines() == ["told     n", "one two  1"]


def test_what_rounds_to_zero_has_no_minus(window, capsys: pytest.CaptureFixture[str]) -> None:
    window(80)
    output.draw([{"a": -0.04, "b": -0.0001, "c": -1.0}], ("a", "b", "c"), numbers={"a": "+,.1f", "c": "+,.1f"})
    assert capsys.readouterr().out.splitlines()[1].split() == ["+0.0", "0.00", "-1.0"]
