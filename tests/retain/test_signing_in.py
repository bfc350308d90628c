"""Persons who sign in, or are merged, between rounds: what was done to them before is remembered."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from test_rounds import CARTS, NOON, PAPER, at, event, shop, table, turn

from conftest import Cli
from footfall.app import messaging, offering, proving, recording
from footfall.app.build import Workspace, make_workspace, open_workspace
from footfall.model import Caps, Redemption, Refusal
from footfall.stores.entries import SqlEntries
from footfall.stores.outbox import SqlOutbox
from footfall.testing import FixedClock

ANONYMOUS = {"provider_id": "shop"}


def anonymous(device: str, name: str, hour: int, **more: object) -> dict[str, object]:
    when = NOON.replace(day=19, hour=hour)
    return {"ts": when.isoformat(), "name": name, "user_id": None, "visitor_id": device, **ANONYMOUS, **more}


def signed_in(device: str, user: str, name: str = "login", hours: float = 1.0, **more: object) -> dict[str, object]:
    when = NOON + timedelta(hours=hours)
    return {"ts": when.isoformat(), "name": name, "user_id": user, "visitor_id": device, **ANONYMOUS, **more}


def place(tmp_path: Path, devices: list[str], holdout: float = 0.0, step: str = "") -> Workspace:
    """A log that knows no user: each of these devices has left a cart on the 19th, and told an address."""
    made = make_workspace(tmp_path / "shop", {"workspace": {"currency": "EUR"}}, FixedClock(NOON))
    rows = []
    for device in devices:
        told = json.dumps({"traits": {"email": f"{device}@example.com"}})
        rows += [anonymous(device, "add_to_cart", 9, amount=30.0), anonymous(device, "identify", 9, properties=told)]
    made.record(table(rows))
    path = made.directory / "footfall.toml"
    path.write_text(path.read_text(encoding="utf-8") + PAPER + CARTS.format(holdout=holdout) + step, encoding="utf-8")
    return open_workspace(made.directory, FixedClock(NOON))


def test_the_first_user_of_a_log_changes_nobody(tmp_path: Path) -> None:
    here = place(tmp_path, [f"v{n}" for n in range(30)], holdout=0.5)
    first = turn(here)
    before = {row["person"]: row["arm"] for row in here.entries.all("carts").to_pylist()}
    assert first["entered"] == 30
    messaging.send(here)
    here.record(table([signed_in("other", "somebody")]))
    assert turn(here) == {"planned": 0}
    assert {row["person"]: row["arm"] for row in here.entries.all("carts").to_pylist()} == before


def test_a_letters_link_holds_for_whoever_its_person_is_by_now(tmp_path: Path) -> None:
    """A letter to a device, a sign-in, a round: the link in that letter ends what waits for the user at once."""
    here = place(tmp_path, ["v1", "v2"])
    turn(here)
    messaging.send(here)
    here.record(table([signed_in("v1", "u1"), signed_in("v1", "u2", "alias", 1.5, previous_id="u1")]))
    later = at(here, NOON + timedelta(days=2, minutes=1))
    assert turn(later)["planned"] == 2
    assert messaging.unsubscribe(later, "d:v1") == 1
    assert messaging.send(later) == {"sent": 1}
    (person,) = {row["person"] for row in later.entries.all("carts").to_pylist()} - {"d:v2"}
    assert {"d:v1", person} <= set(later.outbox.suppressed())
    recording.forget(later, "u2")
    assert later.entries.keys_now(["d:v1"]) == ()


@pytest.mark.parametrize("called", ["v1", "d:v1"])
def test_an_operators_word_holds_for_whoever_a_person_is_by_now(tmp_path: Path, cli: Cli, called: str) -> None:
    """By the id that a person had before they signed in: one by one, from a file, and taken back."""
    here = place(tmp_path, ["v1", "v2"])
    turn(here)
    messaging.send(here)
    here.record(table([signed_in("v1", "u1")]))
    later = at(here, NOON + timedelta(days=2, minutes=1))
    assert turn(later)["planned"] == 2
    told = cli("unsubscribe", called, workspace=here.directory)
    assert "1 waiting message" in told.out, told.err
    assert set(here.outbox.suppressed()) == {called, "u:u1"}
    waiting = {posted.message.person for posted in here.outbox.messages("waiting")}
    assert waiting == {"d:v2"}
    undone = cli("unsubscribe", called, "--undo", workspace=here.directory)
    assert (undone.status, here.outbox.suppressed()) == (0, {})
    many = tmp_path / "gone.csv"
    many.write_text(f"{called},bounced\nsomebody,bounced\nv2,bounced\n", encoding="utf-8")
    told = cli("unsubscribe", "--file", many, workspace=here.directory).out
    assert "3 of 3 are new on the list; 1 waiting messages were cancelled" in told
    assert here.outbox.suppressed() == dict.fromkeys((called, "somebody", "u:u1", "v2"), "bounced")
    assert here.outbox.messages("waiting") == ()
    assert set(here.outbox.unsuppress("u1")) == {called, "u:u1"}


def test_who_signs_in_stays_the_same_person(tmp_path: Path) -> None:
    """One letter each; the second step goes to the user; the list of whom not, arms and caps go along."""
    here = place(tmp_path, ["v1", "v2", "v3"])
    turn(here)
    assert messaging.send(here) == {"sent": 3}
    messaging.unsubscribe(here, "v2")
    here.record(table([signed_in(f"v{n}", f"u{n}") for n in (1, 2)]))
    assert turn(here)["planned"] == 0  # nobody enters again
    assert {row["person"]: row["entry"] for row in here.entries.all("carts").to_pylist()} == {"u:u1": 1, "u:u2": 1, "d:v3": 1}  # fmt: skip  # noqa: E501
    later = at(here, NOON + timedelta(days=2, minutes=1))
    turn(later)
    messaging.send(later)
    sent = sorted(p.message.person for p in later.outbox.messages("sent", most=0))
    assert sent == ["d:v3", "d:v3", "u:u1", "u:u1", "u:u2"]  # nothing more for who wants none
    assert "u:u2" in later.outbox.suppressed()


def test_two_devices_of_one_person_are_one_in_a_journey(tmp_path: Path) -> None:
    """Both left a cart and wait for the second letter; then one user signs in on both: one of them goes on."""
    here = place(tmp_path, ["v1", "v2"])
    turn(here)
    assert messaging.send(here) == {"sent": 2}
    here.record(table([signed_in("v1", "ann"), signed_in("v2", "ann", hours=2)]))
    later = at(here, NOON + timedelta(days=2, minutes=1))
    turn(later)
    assert messaging.send(later)["sent"] == 1
    rows = later.entries.all("carts").sort_by("entry").to_pylist()
    assert [(row["person"], row["entry"], row["status"], row["reason"]) for row in rows] == [
        ("u:ann", 1, "done", ""),
        ("u:ann", 2, "exited", "joined"),
    ]
    assert {p.message.person for p in later.outbox.messages(most=0)} == {"u:ann"}


@pytest.mark.parametrize("waits", [False, True])
def test_who_was_held_out_as_a_device_gets_no_letter_as_a_user(tmp_path: Path, waits: bool) -> None:
    """d:v1 is drawn into the holdout, u:u4 is not; the device entered first: its arm is the person's (docs/retain.md).

    No letter goes at re-entry, and none that waits since before the sign-in.
    """
    one = CARTS.format(holdout=0.5).split('[[journeys.carts.steps]]\ntemplate = "follow_up"')[0]
    made = make_workspace(tmp_path / "shop", {"workspace": {"currency": "EUR"}}, FixedClock(NOON))
    made.record(table([anonymous("v1", "add_to_cart", 9, amount=30.0)]))
    path = made.directory / "footfall.toml"
    settings = PAPER + one.replace("holdout", "exit = []\nre_entry_days = 1\nholdout")
    path.write_text(path.read_text(encoding="utf-8") + settings, encoding="utf-8")
    here = open_workspace(made.directory, FixedClock(NOON))
    turn(here)
    cart = signed_in("other", "u4", "add_to_cart", hours=-4, amount=30.0)
    here.record(table([cart]))
    turn(at(here, NOON + timedelta(minutes=1)))
    assert {row["person"]: row["arm"] for row in here.entries.all("carts").to_pylist()} == {
        "d:v1": "holdout",
        "u:u4": "treated",
    }
    if not waits:
        assert messaging.send(at(here, NOON + timedelta(minutes=1))) == {"sent": 1}
    here.record(table([signed_in("v1", "u4")]))
    for days in (2, 4):
        turn(at(here, NOON + timedelta(days=days)))
    rows = here.entries.all("carts").sort_by("entry").to_pylist()
    assert rows[0]["arm"] == "holdout" and {row["arm"] for row in rows[2:]} == {"holdout"}
    assert [p.status for p in here.outbox.messages(most=0)] == ["cancelled" if waits else "sent"]


def with_offer(here: Workspace, terms: str) -> Workspace:
    """The shop whose letters bring an offer, in both steps."""
    path = here.directory / "footfall.toml"
    text = path.read_text(encoding="utf-8")
    for wait in ('wait = "3h"', 'wait = "2d"'):
        text = text.replace(wait, f'{wait}\noffer = "ten"')
    path.write_text(f"{text}[offers.ten]\npercent = 10.0\n{terms}", encoding="utf-8")
    return open_workspace(here.directory, FixedClock(NOON))


def test_a_coupon_is_of_who_signed_in(tmp_path: Path) -> None:
    """One got a code as a device, one signs in while the letter waits: each has one, in both letters."""
    here = with_offer(place(tmp_path, ["v1", "v2"]), "")
    turn(here)
    messaging.send(here, most=1)
    here.record(table([signed_in("v1", "u1"), signed_in("v2", "u2")]))
    turn(here)
    messaging.send(here)
    later = at(here, NOON + timedelta(days=2, minutes=1))
    turn(later)
    assert messaging.send(later) == {"sent": 2}
    letters = [json.loads(path.read_text(encoding="utf-8")) for path in (here.directory / "letters").glob("*.json")]
    told = [json.loads(letter["context"]) for letter in letters]
    code_of = {letter["customer_id"]: letter["code"] for letter in told}
    assert len(told) == 4 and {letter["code"] for letter in told} == {code_of["u1"], code_of["u2"]}
    for who in ("u1", "u2"):
        assert isinstance(offering.redemption(later, code_of[who], who, f"of {who}", 5000, "shop"), Redemption)
    assert later.offers.counts()[0].issued == 2


def test_a_coupon_is_theirs_who_signed_in_at_once(tmp_path: Path) -> None:
    """Before any round: of who was the first to sign in on the device (docs/retain.md), or was merged with them."""
    here = with_offer(place(tmp_path, ["v1", "v2", "v3"]), "")
    turn(here)
    messaging.send(here)
    code_of = {here.offers.owner(code): code for code in codes(here)}
    here.record(table([signed_in("v1", "ann"), signed_in("v2", "bob"), signed_in("v2", "ann", hours=2)]))
    merge = {**signed_in("v9", "cem", "alias"), "previous_id": "dan", "provider_id": None}
    here.record(table([signed_in("v3", "dan"), merge]))

    def redeemed(device: str, person: str) -> str:
        found = offering.redemption(here, code_of[device], person, f"{person} of {device}", 5000, "shop")
        return found.reason if isinstance(found, Refusal) else found.person

    assert [redeemed("v1", "bob"), redeemed("v2", "ann"), redeemed("v3", "ann")] == ["not yours"] * 3
    assert [redeemed("v1", "ann"), redeemed("v2", "bob"), redeemed("v3", "cem")] == ["ann", "bob", "cem"]
    assert redeemed("v1", "ann") == "ann"  # the same order again
    assert {here.offers.owner(code) for code in code_of.values()} == {"ann", "bob", "cem"}
    assert turn(here)["planned"] == 0  # joins all else
    assert {posted.message.person for posted in here.outbox.messages(most=0)} == {"u:ann", "u:bob", "u:cem"}
    turn(here)
    assert here.offers.counts()[0].committed == 3


def codes(here: Workspace) -> list[str]:
    """The codes in all letters."""
    letters = [json.loads(path.read_text(encoding="utf-8")) for path in (here.directory / "letters").glob("*.json")]
    return [json.loads(letter["context"])["code"] for letter in letters]


def test_what_a_device_redeemed_was_the_users(tmp_path: Path) -> None:
    """By hand: 10 % of 50.00 for one of the two who were treated; and that was ann's one use."""
    here = with_offer(place(tmp_path, ["v1", "v2"]), 'code = "TEN"\n')
    turn(here)
    assert isinstance(offering.redemption(here, "TEN", "v1", "order 1", 5000, "shop"), Redemption)
    here.record(table([signed_in("v1", "ann")]))
    turn(here)
    refused = offering.redemption(here, "TEN", "ann", "order 2", 5000, "shop")
    assert isinstance(refused, Refusal) and refused.reason == "too often"
    margins = [row["treated_mean"] for row in proving.lifts(here) if row["metric"] == "margin"]
    assert margins == [pytest.approx(-2.5)]


def test_lift_knows_who_signed_in_before_the_next_round_does(tmp_path: Path) -> None:
    """By hand: all 30 sign in and buy for 10; v0 and v1 are one person. A letter costs 0.25, v2's coupon took 1 off."""
    here = place(tmp_path, [f"v{n}" for n in range(30)], holdout=0.5)
    path = here.directory / "footfall.toml"
    told = path.read_text(encoding="utf-8").replace('wait = "3h"', 'wait = "3h"\ncost = 0.25\noffer = "ten"')
    path.write_text(told + '[offers.ten]\namount = 1\ncode = "TEN"\n', encoding="utf-8")
    here = at(here, NOON)
    late = [event(n, name, day, amount=amount) for n in range(60) for name, day, amount in (("page_view", 1, None), ("purchase", 3, 50.0))]  # fmt: skip  # noqa: E501
    here.record(table(late))  # so that a cart is worth a letter
    turn(here)
    sent = messaging.send(here)["sent"]
    assert 0 < sent < 30
    offering.redemption(here, "TEN", "v2", "order 2", 1000, "shop")
    messaging.unsubscribe(here, "d:v3", "v3@example.com")
    users = {n: f"u{max(n, 1)}" for n in range(30)}
    here.record(table([signed_in(f"v{n}", user, "purchase", amount=10.0) for n, user in users.items()]))
    later = at(here, NOON + timedelta(days=1))
    before = proving.lifts(later)
    arms = {row["person"]: row["arm"] for row in here.entries.all("carts").to_pylist()}
    assert set(arms) == {f"d:v{n}" for n in range(30)}  # nothing was written
    (margin,) = (row for row in before if row["metric"] == "margin")
    (gone,) = (row for row in before if row["metric"] == "unsubscribed")
    totals = [margin[f"{arm}_mean"] * margin[arm] for arm in ("treated", "holdout")]
    assert margin["treated"] + margin["holdout"] == 29
    assert sum(totals) == pytest.approx(30 * 10.0 - sent * 0.25 - 1.0)
    assert sum(gone[f"{arm}_mean"] * gone[arm] for arm in ("treated", "holdout")) == pytest.approx(1)
    assert [row["treated_mean"] for row in before if row["metric"] == "conversion"] == [1.0]
    turn(later)
    assert [pytest.approx(row, nan_ok=True) for row in proving.lifts(later)] == before


def test_orders_are_told_apart_whatever_their_ids_hold(tmp_path: Path) -> None:
    here = with_offer(place(tmp_path, ["v1"]), 'code = "TEN"\nper_person = 9\n')
    orders = [("a", "b:1"), ("a:b", "1"), ("a%3Ab", "1"), ("", "a:b:1"), ("a:b:1", "")]
    for _ in range(2):  # a second time is the same use
        found = [offering.redemption(here, "TEN", "v1", order, 5000, provider) for provider, order in orders]
        assert len({use.redemption_id for use in found if isinstance(use, Redemption)}) == len(orders)
    assert here.offers.counts()[0].committed == len(orders)


TWO = """
[journeys.two]
audience = "cart_abandoned"
holdout = 0.0
[[journeys.two.steps]]
template = "cart"
channel = "paper"
wait = "1d"
"""


def test_a_coupon_that_is_redeemed_while_a_round_is_at_work(tmp_path: Path) -> None:
    """Who signed in since the round read the log: it writes of a device, and the next one joins what both have."""
    here = with_offer(place(tmp_path, ["v1"], step=TWO), "")
    turn(here)
    messaging.send(here)
    (code,) = codes(here)
    here.record(table([signed_in("other", "ann", "add_to_cart", hours=-6, amount=30.0)]))
    turn(here)
    messaging.send(here)
    later = at(here, NOON + timedelta(hours=25))
    with messaging.alone(later):
        planned = messaging.plan_round(later)
        later.record(table([signed_in("v1", "ann", hours=24)]))
        assert isinstance(offering.redemption(later, code, "ann", "o1", 5000, "shop"), Redemption)
        messaging.commit_round(later, planned)
    for _ in range(2):
        assert turn(later)["entered"] == 0
    messaging.send(later)
    sent = Counter(posted.message.journey for posted in later.outbox.messages("sent", most=0))
    assert {row["person"] for row in later.entries.all("two").to_pylist()} == {"u:ann"}
    assert sent == {"carts": 2, "two": 1}  # of carts each key had one before anybody knew


def test_a_link_that_is_used_while_a_round_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = place(tmp_path, ["v1", "v2"])
    turn(here)
    messaging.send(here)
    here.record(table([signed_in("v1", "u1")]))
    later = at(here, NOON + timedelta(days=2, minutes=1))
    look, suppress = SqlEntries.keys_now, SqlOutbox.suppress
    for store, name, step in ((SqlEntries, "keys_now", look), (SqlOutbox, "suppress", suppress)):

        def between(self: Any, *given: Any, step: Any = step, **named: Any) -> Any:
            found = step(self, *given, **named)
            turn(later)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(store, name, between)
            messaging.unsubscribe(later, "d:v1")
        assert "u:u1" in later.outbox.suppressed()
    messaging.send(later)
    assert {posted.message.person for posted in later.outbox.messages() if posted.message.step == 1} == {"d:v2"}


def test_users_that_an_alias_merges(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=4)
    turn(here)
    messaging.send(here)
    here.record(table([{**signed_in("d1", "p1", "alias"), "previous_id": "p2", "provider_id": None}]))
    assert turn(here)["planned"] == 0
    assert {row["person"] for row in here.entries.all("carts").to_pylist()} == {"u:p0", "u:p1", "u:p3"}


def test_a_dry_run_leaves_keys_alone(tmp_path: Path) -> None:
    here = place(tmp_path, ["v1"])
    turn(here)
    here.record(table([signed_in("v1", "ann")]))
    messaging.plan_round(here, dry=True)
    assert [row["person"] for row in here.entries.all("carts").to_pylist()] == ["d:v1"]


@pytest.mark.parametrize("kept", ["u:Ann@Example.com", "u:ann@example.com"])  # and as lists once had it
def test_a_user_called_like_an_address_stays_on_the_list(tmp_path: Path, kept: str) -> None:
    here = place(tmp_path, ["v1"])
    turn(here)
    here.record(table([signed_in("v1", "Ann@Example.com")]))
    turn(here)
    here.outbox.suppress([(kept, "unsubscribed")], NOON + timedelta(minutes=5))
    (waiting,) = here.outbox.messages("waiting")
    assert here.outbox.against(waiting.message, NOON, Caps(9, 9)) is not None
    rows = [row["treated_mean"] for row in proving.lifts(here) if row["metric"] == "unsubscribed"]
    assert rows == [1.0]
    here.record(table([{**signed_in("v1", "AA", "alias"), "previous_id": "Ann@Example.com", "provider_id": None}]))
    turn(here)
    assert here.entries.all("carts")["person"].to_pylist() == ["u:AA"]
    assert "u:AA" in here.outbox.suppressed()


def test_the_link_of_a_user_called_like_an_address(tmp_path: Path) -> None:
    here = place(tmp_path, ["v1"])
    here.record(table([signed_in("v1", "Ann@Example.com", hours=-1)]))
    messaging.unsubscribe(here, "u:Ann@Example.com")
    assert set(here.outbox.suppressed()) == {"u:Ann@Example.com"}
    assert turn(here) == {"planned": 0}
    assert here.outbox.unsuppress("Ann@Example.com") == ("u:Ann@Example.com",)


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ({"name": "purchase", "amount": 20.0}, "bought"),
        ({"name": "unsubscribe", "provider_id": None}, "unsubscribed"),
        ({"name": "identify", "properties": json.dumps({"traits": {"email": ""}})}, "no address any more"),
    ],
)
def test_what_waits_is_overtaken_by_what_came_since(tmp_path: Path, then: dict[str, object], reason: str) -> None:
    mail = '[channels.paper]\nkind = "smtp"\nhost = "127.0.0.1"\nport = 9\ntls = "none"\nsender = "s@shop.example"\n'
    here = shop(tmp_path, mail + CARTS.format(holdout=0.0), carts=3, retain='public_url = "https://shop.example"\n')
    assert turn(here)["planned"] == 3
    here.record(table([{**signed_in("d1", "p1"), **then}]))
    assert turn(here)["withdrawn"] == 1
    ended = {p.message.person: (p.status, p.error) for p in here.outbox.messages(most=0)}
    assert ended["u:p1"] == ("cancelled", reason)
    assert {status for person, (status, _) in ended.items() if person != "u:p1"} == {"waiting"}


def test_what_waits_goes_to_nobody_who_has_left_the_audience(tmp_path: Path) -> None:
    """A cart that was bought is abandoned no more (docs/retain.md); buying itself is no exit here."""
    leaves = CARTS.format(holdout=0.0).replace("holdout", 'exit = ["left"]\nholdout')
    here = shop(tmp_path, PAPER + leaves, carts=3)
    assert turn(here)["planned"] == 3
    here.record(table([signed_in("d1", "p1", "purchase", amount=20.0)]))
    later = at(here, NOON + timedelta(hours=2))
    assert {name: n for name, n in turn(later).items() if n} == {"left": 1, "withdrawn": 1}
    ended = {p.message.person: (p.status, p.error) for p in later.outbox.messages(most=0)}
    assert ended == {"u:p0": ("waiting", ""), "u:p1": ("cancelled", "left"), "u:p2": ("waiting", "")}


def test_a_new_address_is_written_to(tmp_path: Path) -> None:
    mail = '[channels.paper]\nkind = "smtp"\nhost = "127.0.0.1"\nport = 9\ntls = "none"\nsender = "s@shop.example"\n'
    here = shop(tmp_path, mail + CARTS.format(holdout=0.0), carts=2, retain='public_url = "https://shop.example"\n')
    turn(here)
    moved = json.dumps({"traits": {"email": "new@example.com"}})
    here.record(table([signed_in("d1", "p1", "identify", properties=moved)]))
    turn(here)
    assert {p.message.person: p.message.address for p in here.outbox.messages(most=0)} == {"u:p0": "p0@example.com", "u:p1": "new@example.com"}  # fmt: skip  # noqa: E501


def test_keys_of_an_earlier_state_are_taken_up(tmp_path: Path) -> None:
    """Logs without users once had devices' identifiers as they are: nobody enters again, and nothing is lost."""
    here = place(tmp_path, ["v1", "v2"])
    turn(here)
    here.entries.join({"d:v1": "v1", "d:v2": "v2"})  # as they stood then
    messaging.unsubscribe(here, "v2")
    assert turn(here)["entered"] == 0
    assert sorted(row["person"] for row in here.entries.all("carts").to_pylist()) == ["d:v1", "d:v2"]
    assert {"v2", "d:v2"} <= set(here.outbox.suppressed())
    assert {posted.message.person for posted in here.outbox.messages(most=0)} == {"d:v1", "d:v2"}
