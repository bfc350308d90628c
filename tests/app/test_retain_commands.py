"""The commands of retention: each one's table and JSON, errors with a way out, a workspace without anything."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from footfall.app import output

sys.path.insert(0, str(Path(__file__).parents[1] / "retain"))
from conftest import Cli

FIRST = datetime(2026, 3, 1, 9, tzinfo=UTC)
SETTINGS = """
[channels.paper]
kind = "file"
[offers.ten]
percent = 10
count = 100
[journeys.carts]
audience = "cart_abandoned"
holdout = 0.0
[[journeys.carts.steps]]
template = "cart"
channel = "paper"
offer = "ten"
"""


@pytest.fixture
def live(shop: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A shop with late buyers, ten carts, fans and a journey, on 21 March at noon."""
    monkeypatch.setenv("FOOTFALL_NOW", "2026-03-21T12:00:00")
    events = []

    def add(day: float, who: str, name: str, **more: object) -> None:
        at = (FIRST + timedelta(days=day)).isoformat()
        events.append({"ts": at, "name": name, "user_id": who, "visitor_id": f"d-{who}", "provider_id": "shop", **more})

    for n in range(60):
        add(n % 9, f"v{n}", "page_view")
        if n % 2:
            add(n % 9 + n % 7, f"v{n}", "purchase", amount=50.0)
    for n in range(10):
        add(19, f"c{n}", "add_to_cart", amount=30.0)
        add(19.1, f"c{n}", "identify", properties={"email": f"c{n}@example.com"})
    add(10, "v1", "follow")
    (shop / "log.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    assert cli("import", shop / "log.ndjson", workspace=shop).status == 0
    path = shop / "footfall.toml"
    path.write_text(path.read_text(encoding="utf-8") + SETTINGS, encoding="utf-8")
    yield shop


@pytest.mark.usefixtures("live")
def test_ids_of_the_outbox_can_be_copied_from_a_narrow_window(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("retain").status == 0
    monkeypatch.setitem(output._CONSOLES, False, Console(width=80, highlight=False, markup=False))
    header, first, *_ = cli("outbox", "list").out.splitlines()
    assert header.split()[:4] == ["message_id", "status", "journey", "customer_id"]
    assert "Subject: " in cli("outbox", "show", first.split()[0]).out


@pytest.mark.usefixtures("live")
def test_an_order_below_zero_is_refused_by_its_option(cli: Cli) -> None:
    found = cli("redeem", "QXRX", "--person", "v1", "--order", "1", "--amount=-5")
    assert found.status == 2 and "--amount -5: an order is of 0 or more" in found.err and "key" not in found.err


@pytest.mark.usefixtures("live")
def test_messages_of_an_unknown_journey_are_told(cli: Cli) -> None:
    found = cli("outbox", "list", "--journey", "cats")
    assert found.status != 0 and "no journey 'cats'" in found.err and "did you mean carts?" in found.err
    assert cli("outbox", "list", "--journey", "carts").status == 0


@pytest.mark.usefixtures("live")
def test_looking(cli: Cli) -> None:
    found = cli("customers", "--format", "json").json
    assert len(found) == 30 and found[0]["spend"] == 50.0 and found[0]["alive"] is None
    table = cli("customers")
    assert "20 of 30 customers as of 2026-03-20" in table.err
    assert "note: no forecast of purchases" in table.err
    timing = cli("timing", "--format", "json").json
    assert timing[0]["orders"] == 30 and timing[0]["curve"][-1] == pytest.approx(1.0)
    assert "follow_up" in cli("timing").out.replace("-", "_").replace(" ", "_")
    sizes = {row["audience"]: row for row in cli("audiences", "--format", "json").json}
    assert (sizes["cart_abandoned"]["people"], sizes["cart_abandoned"]["by_email"]) == (10, 10)
    assert sizes["fans"]["people"] == 1
    assert len(sizes) == 10 and all(row["meaning"] for row in sizes.values())
    members = cli("audiences", "cart_abandoned", "--format", "json")
    assert {row["customer_id"] for row in members.json} == {f"c{n}" for n in range(10)}
    assert "SELECT" in cli("audiences", "lost", "--sql").out
    (shop_row, whole) = cli("fans", "--format", "json").json
    assert (shop_row["fans"], whole["provider_id"]) == (1, "(all)")
    assert "1 buying fan" in cli("fans").err


def test_a_round_from_looking_to_proof(cli: Cli, live: Path) -> None:
    planned = cli("retain", "--dry-run", "--format", "json")
    assert len(planned.json) == 10
    assert "carts: 10 messages, expected to win" in planned.err
    assert planned.json[0]["why"].startswith("cart_abandoned since 2026-03-20 09:00, step 1 of 1")
    assert cli("outbox", "list", "--format", "json").json == []
    assert {row["what"]: row["messages or persons"] for row in cli("retain", "--format", "json").json} == {"entered": 10, "planned": 10, "left": 0, "sent": 10}  # fmt: skip  # noqa: E501
    assert len(list((live / "letters").rglob("*"))) >= 10
    (journey,) = cli("journeys", "--format", "json").json
    assert (journey["treated"], journey["done"], journey["sent"], journey["state"]) == (10, 10, 10, "on")
    (first, *_) = cli("outbox", "list", "--status", "sent", "--limit", "1", "--format", "json").json
    shown = cli("outbox", "show", first["message_id"]).out
    assert "Your cart is waiting" in shown and "-10 %: code (a code of their own)" in shown
    assert "Ann" not in shown  # the person's own letter, not the example
    (offer,) = cli("offers", "--format", "json").json
    assert (offer["issued"], offer["left"]) == (10, 100)
    rows = cli("lift", "--format", "json").json
    assert [row["metric"] for row in rows] == ["conversion", "gmv", "margin", "unsubscribed"]
    assert rows[0]["treated"] == 10 and rows[0]["verdict"] == "not enough evidence"
    assert "carts: not enough evidence yet" in cli("lift").err
    assert cli("unsubscribe", "c1@example.com").status == 0
    assert cli("unsubscribe", "--format", "json").json == [{"who": "c1@example.com", "reason": "by the operator"}]
    assert cli("unsubscribe", "c1@example.com", "--undo").out == "c1@example.com may be written to again.\n"
    assert "購物車" in cli("outbox", "preview", "cart", "--language", "zh-Hant").out


def test_quiet_hours_say_until_when_and_let_go_when_they_change(cli: Cli, live: Path) -> None:
    path = live / "footfall.toml"
    told = path.read_text(encoding="utf-8")
    told += '[[journeys.carts.steps]]\ntemplate = "cart"\nwait = "2d"\nchannel = "paper"\n'

    def quiet(hours: str) -> None:
        now, changed = re.subn(r"(?m)^# quiet = .*$", f'quiet = "{hours}"', told)
        assert changed == 1
        path.write_text(now, encoding="utf-8")

    def sent() -> dict[str, int]:
        return {row["what"]: row["messages or persons"] for row in cli("retain", "--format", "json").json}

    quiet("11:00-13:00")  # it is noon, UTC
    held = cli("retain", "--format", "json")
    assert {row["what"]: row["messages or persons"] for row in held.json}["held"] == 10
    assert "10 held: quiet hours" in held.err
    waiting = cli("outbox", "list", "--format", "json").json
    assert {(row["told"], row["waits_until"][:16]) for row in waiting} == {("quiet hours", "2026-03-21T13:00")}
    assert "sent" not in sent()  # not before their time, and not asked again
    quiet("")
    again = cli("retain", "--format", "json")
    assert {row["what"]: row["messages or persons"] for row in again.json}["sent"] == 10
    assert "carts: 10 not yet due, the next on 2026-03-23 at 12:00" in again.err
    assert {row["waits_until"] for row in cli("outbox", "list", "--format", "json").json} == {None}


def test_what_an_offer_cannot_give_is_told_before_and_after(cli: Cli, live: Path) -> None:
    """Ten carts, four codes: the dry run says so, and the round says why the other six did not go."""
    path = live / "footfall.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("count = 100", "count = 4"), encoding="utf-8")
    dry = cli("retain", "--dry-run")
    assert "offer ten has 4 codes left for 10 messages; those that find none are cancelled" in dry.err
    done = cli("retain", "--format", "json")
    assert {row["what"]: row["messages or persons"] for row in done.json}["cancelled"] == 6
    assert "6 cancelled: ten: all 4 codes have been given out" in done.err
    assert "quiet" not in done.err


def test_who_is_written_to_no_more_is_told_how_much_was_cancelled(cli: Cli, live: Path) -> None:
    path = live / "footfall.toml"
    told = path.read_text(encoding="utf-8").replace('kind = "file"', 'kind = "smtp"\nsender = "s@shop.example"')
    path.write_text(told.replace("[retain]\n", '[retain]\npublic_url = "https://shop.example"\n'), encoding="utf-8")
    assert cli("retain", "--no-send").status == 0
    assert "not written to any more; 1 waiting" in cli("unsubscribe", "C1@EXAMPLE.com").out
    assert "not written to any more; 1 waiting" in cli("unsubscribe", "c2").out
    assert "not written to any more; 0 waiting" in cli("unsubscribe", "c1@example.com").out
    left = cli("outbox", "list", "--status", "cancelled", "--format", "json").json
    assert {row["customer_id"] for row in left} == {"c1", "c2"}


def test_a_template_that_cannot_be_filled_is_told(cli: Cli, live: Path) -> None:
    (live / "templates").mkdir(exist_ok=True)
    (live / "templates" / "cart.en.txt").write_text("Subject: Hi\n\n{{ colour }}", encoding="utf-8")
    assert "cart.en.txt: unknown variable colour" in " ".join(cli("journeys").err.split())
    for command in (["retain", "--dry-run"], ["retain"]):
        found = cli(*command)
        told = " ".join(found.err.split())
        assert found.status == 0
        assert "warning:" in told and "cart.en.txt: unknown variable colour; what depends on it waits" in told
        assert "carts: 10 wait until their template is mended:" in told
    assert cli("outbox", "list", "--format", "json").json == []


@pytest.mark.parametrize("arguments", [["customers"], ["timing"], ["audiences"], ["fans"], ["customers", "--calibrate", "5"]])  # fmt: skip  # noqa: E501
def test_an_empty_log_says_what_to_do(cli: Cli, shop: Path, arguments: list[str]) -> None:
    found = cli(*arguments, workspace=shop)
    assert found.status != 0
    assert "footfall import" in found.err


@pytest.mark.parametrize("arguments", [["journeys"], ["outbox"], ["offers"], ["unsubscribe"]])
def test_nothing_yet_is_an_empty_table(cli: Cli, shop: Path, arguments: list[str]) -> None:
    assert cli(*arguments, workspace=shop).status == 0
    assert cli(*arguments, "--format", "json", workspace=shop).json == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["retain"], "has no journey"),
        (["lift"], "has no journey"),
        (["audiences", "everybody"], "no audience 'everybody'"),
        (["audiences", "--sql"], "--sql shows one audience"),
        (["customers", "--as-of", "yesterday"], "write it as YYYY-MM-DD"),
        (["customers", "--limit", "-2"], "--limit -2"),
        (["customers", "--calibrate", "-1"], "--calibrate -1"),
        (["outbox", "show", "none"], "there is no message 'none'"),
        (["outbox", "retry", "none"], "is not dead, unknown or cancelled"),
        (["outbox", "preview", "none"], "no template 'none'"),
        (["outbox", "preview", "cart", "--language", "fr"], "use one of: en, zh-Hant, zh-Hans"),
        (["outbox", "list", "--limit", "-1"], "--limit -1"),
        (["unsubscribe", "Ann <ann@example.com>"], "'Ann <ann@example.com>' is not an address"),
        (["unsubscribe", "ann@example.com,bob@example.com"], "is not an address"),
        (["unsubscribe", "x@example.com", "--undo"], "is not on the list"),
        (["unsubscribe", "--file", "/nowhere.csv"], "cannot be read"),
        (["redeem", "NONE", "--person", "ann", "--order", "1", "--amount", "many"], "is no amount"),
        (["redeem", "NONE", "--person", "ann", "--order", "1", "--amount", "5"], "refused"),
    ],
)
def test_what_cannot_be_says_the_way_out(cli: Cli, shop: Path, arguments: list[str], said: str) -> None:
    found = cli(*arguments, workspace=shop)
    assert found.status != 0
    assert said in " ".join(found.err.split())
