"""Rounds, senders and erasures at the same time, cut off, and in the service: whoever must not be reached is not."""

from __future__ import annotations

import fcntl
import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from test_rounds import CARTS, NOON, PAPER, at, event, shop, table, turn

from footfall.app import cycle, logs, messaging, proving, recording
from footfall.app.build import Workspace, open_workspace
from footfall.app.http.metrics import Metrics
from footfall.app.keeper import Keeper
from footfall.channels.files import FileChannel
from footfall.channels.robots import RobotChannel
from footfall.channels.smtp import SmtpChannel
from footfall.channels.webhook import WebhookChannel
from footfall.errors import ConfigError, InputError, WorkspaceError
from footfall.model import Caps, Letter, Receipt
from footfall.retain import rounds
from footfall.retain.rounds import RETRIED

ONCE = PAPER + CARTS.format(holdout=0.0)


def beside(task: Callable[[], object]) -> Thread:
    thread = Thread(target=task, daemon=True)
    thread.start()
    return thread


def serving(here: Workspace) -> Keeper:
    """The keeper of a service that leads."""
    found = at(here, NOON)
    keeper = Keeper(found, found.config.serve, Metrics(), logs.set_up("test", "error"))
    keeper._leading_until = math.inf
    return keeper


def statuses(here: Workspace) -> Counter[str]:
    return Counter(posted.status for posted in here.outbox.messages(most=0))


def test_the_service_sends_nothing_before_a_round_has_looked_at_it(tmp_path: Path) -> None:
    """What waited when it began, or led, went out to who had left meanwhile, or never consented."""
    here = shop(tmp_path, ONCE, carts=8)
    turn(here)
    here.record(table([{**event(n, "unsubscribe", 20, hour=11), "provider_id": None} for n in range(5)]))
    keeper = serving(here)
    keeper.send()
    assert statuses(here) == {"waiting": 8}
    keeper.retain()
    keeper.send()
    assert statuses(here) == {"cancelled": 5, "sent": 3}


def test_what_is_asked_for_again_goes_when_a_round_has_looked_at_it(tmp_path: Path) -> None:
    """p0 and p1 have left since; only p0's letter was cancelled for it."""
    here = shop(tmp_path, ONCE, carts=3)
    turn(here)
    letters = {posted.message.person: posted.message for posted in here.outbox.messages()}
    for person in ("u:p1", "u:p2"):
        here.outbox.cancel("by mistake", of=[person])
    here.record(table([{**event(n, "unsubscribe", 20, hour=11), "provider_id": None} for n in (0, 1)]))
    keeper = serving(here)
    keeper.retain()
    assert statuses(here) == {"cancelled": 3}
    for message in letters.values():
        messaging.retry(here, message.message_id)
    keeper.send()
    assert {posted.error for posted in here.outbox.messages("cancelled")} == {RETRIED}
    turn(here)
    keeper.send()
    assert {posted.message.person: posted.error or posted.status for posted in here.outbox.messages()} == {
        "u:p0": "unsubscribed",
        "u:p1": "unsubscribed",
        "u:p2": "sent",
    }


def test_letters_go_by_what_the_last_round_saw_for_a_short_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = shop(tmp_path, ONCE, carts=1)
    keeper = serving(here)
    keeper.retain()
    here.record(table([event(300, "page_view", 20)]))
    assert keeper._has_looked()
    clock = [1e6]
    monkeypatch.setattr("footfall.app.keeper.time.monotonic", lambda: clock[0])
    assert not keeper._has_looked()
    keeper.retain()
    assert keeper._has_looked()
    clock[0] += 800  # nothing has come since: there is nothing that it has not seen
    assert keeper._has_looked()


@pytest.mark.parametrize(("interval_s", "took_s", "late_s"), [(1, 1, 60), (100, 1, 300), (1, 200, 600)])
def test_how_long_a_round_has_looked_while_events_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval_s: int, took_s: float, late_s: float
) -> None:
    """A minute, three times the interval or what a round takes (docs/retain.md)."""
    keeper = serving(shop(tmp_path, ONCE, carts=1, retain=f"interval_s = {interval_s}\n"))
    clock = [1e6]
    monkeypatch.setattr("footfall.app.keeper.time.monotonic", lambda: clock[0])
    keeper._rounded = (-1, 1e6, 1e6 + took_s)  # of another log than there is now
    found = []
    for after in (late_s, late_s + 1):
        clock[0] = 1e6 + after
        found.append(keeper._has_looked())
    assert found == [True, False]


def test_the_service_goes_by_journeys_as_they_are_written_by_now(tmp_path: Path) -> None:
    """It read them when it began: one that was paused went on, and a new one's letters were cancelled as of none."""
    here = shop(tmp_path, ONCE, carts=2)
    path = here.directory / "footfall.toml"
    written = path.read_text(encoding="utf-8")
    path.write_text(written.partition("[journeys")[0], encoding="utf-8")
    keeper = serving(here)
    keeper.retain()
    path.write_text(written, encoding="utf-8")
    turn(at(here, NOON))
    keeper.retain()
    assert statuses(here) == {"waiting": 2}
    path.write_text(written.replace("holdout = 0.0", "holdout = 0.0\npaused = true"), encoding="utf-8")
    keeper.send()  # nothing, before a round under these settings
    keeper.retain()
    keeper.send()
    assert statuses(here) == {"waiting": 2}
    path.write_text(written.replace("holdout = 0.0", "holdout = 7"), encoding="utf-8")
    with pytest.raises(ConfigError, match="holdout"):
        keeper.send()
    path.write_text(written, encoding="utf-8")
    keeper.retain()
    keeper.send()
    assert statuses(here) == {"sent": 2}


def test_what_a_sender_had_claimed_is_seen_by_the_next_round(tmp_path: Path) -> None:
    """A hundred are claimed at once: of one that was stopped, and of one that died, whose lease goes on for minutes."""
    here = shop(tmp_path, ONCE, carts=4)
    turn(here)
    asked = iter([True, True, False])
    assert messaging.send(here, going=lambda: next(asked)) == {"sent": 1}
    assert statuses(here) == {"sent": 1, "waiting": 3}
    assert len(here.outbox.claim("one that died", here.clock.now(), 2, 300)) == 2
    here.record(table([{**event(n, "unsubscribe", 20, hour=11), "provider_id": None} for n in range(4)]))
    keeper = serving(here)
    keeper.retain()
    assert statuses(here) == {"sent": 1, "cancelled": 3}


def test_a_round_of_other_settings_is_none_of_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """footfall.toml asks for consent from a moment on at which a round is at work: its letters wait for the next."""
    here = shop(tmp_path, ONCE, carts=4)
    keeper, path, commit = serving(here), here.directory / "footfall.toml", messaging.commit_round

    def meanwhile(place: Workspace, planned: Any) -> Counter[str]:
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("[retain]\n", '[retain]\nconsent = "opt-in"\n'), encoding="utf-8")
        keeper.send()  # a task of its own
        return commit(place, planned)

    with monkeypatch.context() as patch:
        patch.setattr(messaging, "commit_round", meanwhile)
        keeper.retain()
    keeper.send()
    assert statuses(here) == {"waiting": 4}
    keeper.retain()
    keeper.send()
    assert statuses(here) == {"cancelled": 4}


@pytest.mark.parametrize("now", ["paused = true\n", "paused = perhaps\n"])
def test_letters_stop_when_footfall_toml_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: str) -> None:
    """Whoever sees a wrong letter going out, and pauses its journey, stops those that have not gone yet."""
    here = shop(tmp_path, ONCE, carts=4)
    path, send = here.directory / "footfall.toml", FileChannel.send

    def seen(channel: FileChannel, letter: Letter) -> Receipt:
        path.write_text(
            path.read_text(encoding="utf-8").replace("holdout = 0.0\n", f"holdout = 0.0\n{now}"), encoding="utf-8"
        )
        return send(channel, letter)

    keeper = serving(here)
    keeper.retain()
    with monkeypatch.context() as patch:
        patch.setattr(FileChannel, "send", seen)
        keeper.send()
    assert statuses(here) == {"sent": 1, "waiting": 3}


def test_what_is_asked_for_again_waits_for_the_end_of_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails, or is killed, has looked at nothing; the round before it did not, either."""
    here = shop(tmp_path, ONCE, carts=2)
    turn(here)
    here.outbox.cancel("by mistake")
    keeper = serving(here)
    keeper.retain()
    here.record(table([{**event(0, "unsubscribe", 20, hour=11), "provider_id": None}]))
    for posted in here.outbox.messages():
        messaging.retry(here, posted.message.message_id)

    def fails(*_: object) -> None:
        raise WorkspaceError("out of memory", "more of it")

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "plan", fails)
        with pytest.raises(WorkspaceError):
            keeper.retain()
    keeper.send()
    assert statuses(here) == {"waiting": 2}
    keeper.retain()
    keeper.send()
    assert statuses(here) == {"sent": 1, "cancelled": 1}


def test_the_service_takes_over_what_is_on_journeys_and_nothing_else(tmp_path: Path) -> None:
    """Another state is another outbox, in which nothing has been sent: it holds when the service is started again."""
    here = shop(tmp_path, ONCE, carts=2)
    keeper = serving(here)
    keeper.retain()
    keeper.send()
    path = here.directory / "footfall.toml"
    text = path.read_text(encoding="utf-8").replace("[state]\n", f'[state]\nurl = "sqlite:///{tmp_path}/new.db"\n')
    path.write_text(text.replace("holdout = 0.0", "holdout = 0.0\npaused = true"), encoding="utf-8")
    assert open_workspace(here.directory).config.state.url
    keeper.retain()
    keeper.send()
    assert len(list((here.directory / "letters").glob("*.json"))) == 2
    assert keeper._as_written()[0].config.journeys["carts"].paused
    assert not (tmp_path / "new.db").exists()


def test_a_service_that_begins_with_a_broken_footfall_toml_sends_nothing(tmp_path: Path) -> None:
    here = shop(tmp_path, ONCE, carts=2)
    turn(here)
    path = here.directory / "footfall.toml"
    written = path.read_text(encoding="utf-8")
    keeper = Keeper(at(here, NOON), here.config.serve, Metrics(), logs.set_up("test", "error"))
    keeper._leading_until = math.inf
    path.write_text(written + "[plan\n", encoding="utf-8")
    for task in (keeper.retain, keeper.send):
        with pytest.raises(ConfigError):
            task()
    path.write_text(written, encoding="utf-8")
    keeper.retain()
    keeper.send()
    assert statuses(here) == {"sent": 2}


def test_a_round_has_its_turn_from_its_reading_to_its_last_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = shop(tmp_path, ONCE, carts=1)
    met: list[str] = []

    def watched(step: Callable[..., Any]) -> Callable[..., Any]:
        def within(*given: Any, **named: Any) -> Any:
            with (here.lake / "_messages.lock").open() as lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            met.append(step.__name__)
            return step(*given, **named)

        return within

    for name in ("revive", "plan", "commit"):
        monkeypatch.setattr(rounds, name, watched(getattr(rounds, name)))
    serving(here).retain()
    cycle.turn(here)
    assert met == ["revive", "plan", "commit"] * 2


def test_an_erasure_waits_for_a_round_and_its_letters_and_they_for_it(tmp_path: Path) -> None:
    """A round wrote what it had read before the erasure: the person was entered, written to, and kept."""
    here = shop(tmp_path, ONCE, carts=4)
    done: list[str] = []
    with messaging.alone(here):
        planned = messaging.plan_round(here)
        other = at(here, NOON)
        erased = beside(lambda: (recording.forget(other, "p1"), done.append("erased")))
        sent = beside(lambda: (messaging.send(at(here, NOON)), done.append("sent")))
        erased.join(0.5)
        assert done == []
        messaging.commit_round(here, planned)
    erased.join(60)
    sent.join(60)
    assert sorted(done) == ["erased", "sent"]
    assert "u:p1" not in {row["person"] for row in here.entries.all("carts").to_pylist()}
    assert {posted.message.person for posted in here.outbox.messages(most=0)} == {"u:p0", "u:p2", "u:p3"}
    assert not here.outbox.suppressed()


def test_who_waits_to_be_alone_goes_before_senders_that_come_later(tmp_path: Path) -> None:
    here = shop(tmp_path, ONCE, carts=0)
    order: list[str] = []
    waits, begun = Event(), Event()

    def alone() -> None:
        with messaging.alone(here, waits.set):
            order.append("alone")

    def sender() -> None:
        begun.set()
        with messaging.together(here):
            order.append("sender")

    with messaging.together(here), messaging.together(here):  # senders share
        first = beside(alone)
        assert waits.wait(10)
        second = beside(sender)
        assert begun.wait(10)
        second.join(0.2)
        assert order == []
    first.join(10)
    second.join(10)
    assert order == ["alone", "sender"]


def test_nothing_is_begun_for_whom_an_erasure_waits(tmp_path: Path) -> None:
    """A sender at a slow server has its turn for seconds; the person's letter is not to go in these."""
    here = shop(tmp_path, ONCE, carts=2)
    turn(here)
    waits = Event()
    with messaging.together(here):
        erasing = beside(lambda: recording.forget(at(here, NOON), "p1", waits.set))
        assert waits.wait(60)
        (message,) = (p.message for p in here.outbox.messages() if p.message.person == "u:p1")
        assert here.outbox.against(message, NOON, Caps(9, 9)) is not None
    erasing.join(120)
    assert here.outbox.suppressed() == {}
    with pytest.raises(InputError):
        recording.forget(here, "")
    assert here.outbox.suppressed() == {}


def test_what_a_leader_does_begins_with_its_lead(tmp_path: Path) -> None:
    """However long the task rests between: the first round came an interval late."""
    keeper, begun = serving(shop(tmp_path, ONCE, carts=1)), Event()
    keeper._leading_until = 0.0
    task = beside(lambda: keeper._repeat("retain", 86_400.0, begun.set, True))
    assert not begun.wait(0.7)
    keeper._leading_until = math.inf
    assert begun.wait(20)
    keeper.stop.set()
    task.join(20)


def test_a_trait_that_is_no_address_silences_nobody(tmp_path: Path) -> None:
    """The list of whom not knows persons and addresses: whoever sends events could put any user on it."""
    mail = ONCE.replace('kind = "file"', 'kind = "smtp"\nport = 9\nsender = "shop@example.com"')
    odd = {**event(0, "identify", 20, properties=json.dumps({"traits": {"email": "p9"}}))}
    here = shop(tmp_path, mail, carts=1, more=[odd], retain='public_url = "https://shop.example"\n')
    turn(here)
    assert messaging.send(here)["dead"] == 1
    assert not here.outbox.suppressed()


def test_the_newest_zone_name_and_language_count_while_a_letter_waits(tmp_path: Path) -> None:
    here = shop(tmp_path, ONCE, carts=1)
    turn(here)
    traits = {"traits": {"timezone": "America/Los_Angeles", "name": "\u738b", "language": "zh-TW"}}
    here.record(table([event(0, "identify", 20, hour=11, properties=json.dumps(traits))]))
    assert turn(here) == {"planned": 0}
    (posted,) = here.outbox.messages()
    told = json.loads(posted.message.context)
    assert (told["timezone"], told["name"], posted.message.language) == ("America/Los_Angeles", "\u738b", "zh-Hant")
    assert told["customer_id"] == "p0"  # all else stays
    assert messaging.send(here) == {"held": 1}  # five in the morning there; one in the afternoon in Berlin
    (posted,) = here.outbox.messages()
    assert posted.next_at == datetime(2026, 3, 20, 16, tzinfo=NOON.tzinfo)


def test_a_letter_costs_what_its_step_cost_when_it_was_planned(tmp_path: Path) -> None:
    """By hand: 20 letters at 0.25, nobody buys: -0.25 each, whatever the journey's steps are or cost later."""
    priced = ONCE.replace('wait = "3h"', 'wait = "3h"\ncost = 0.25')
    here = shop(tmp_path, priced, carts=20)
    turn(here)
    assert messaging.send(here) == {"sent": 20}

    def margin(of: Workspace) -> float:
        (found,) = (row["treated_mean"] for row in proving.lifts(of) if row["metric"] == "margin")
        return float(found)

    assert margin(here) == pytest.approx(-0.25)
    path = here.directory / "footfall.toml"
    dear = '[[journeys.carts.steps]]\ntemplate = "reminder"\nchannel = "paper"\nwait = "30d"\ncost = 5.0\n'
    text = path.read_text(encoding="utf-8")
    for changed in (text.replace("[[journeys.carts.steps]]", dear + "[[journeys.carts.steps]]", 1), text.replace("cost = 0.25\n", "")):  # fmt: skip  # noqa: E501
        path.write_text(changed, encoding="utf-8")
        assert margin(at(here, NOON + timedelta(minutes=1))) == pytest.approx(-0.25)


def test_a_cart_is_worth_the_same_at_each_stage_of_its_checkout(tmp_path: Path) -> None:
    """What is added has its own amount; the later stages tell the whole cart's (GA4, Segment). By hand: 100 each."""
    here = shop(tmp_path, ONCE, carts=0)
    parts = [{"name": "add_to_cart", "amount": 60.0}, {"name": "add_to_cart", "amount": 40.0, "hour": 9}]
    later = [{"name": "begin_checkout", "amount": 100.0, "hour": 10}, {"name": "add_payment_info", "amount": 100.0, "hour": 11}]  # fmt: skip  # noqa: E501
    rows = [event(n, day=19, **one) for n, many in enumerate((parts, parts + later[:1], parts + later)) for one in many]  # type: ignore[arg-type]  # fmt: skip
    here.record(table(rows))
    turn(here)
    assert {row["person"]: row["stake"] for row in here.entries.all("carts").to_pylist()} == {f"u:p{n}": 100.0 for n in range(3)}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("odd", ["p1\0@example.com", "\u00fc" * 122 + "@example.com"])  # 244 + 12 bytes
def test_an_address_with_a_control_character_or_without_end_is_none(tmp_path: Path, odd: str) -> None:
    """PostgreSQL takes no NUL: one such trait stopped the rounds of all. RFC 5321, 4.5.3.1.3: a path is 256 octets."""
    longest = {**event(2, "identify", 20, properties=json.dumps({"traits": {"email": "p" * 242 + "@example.com"}}))}
    odd_one = {**event(1, "identify", 20, properties=json.dumps({"traits": {"email": odd}}))}
    mail = ONCE.replace('kind = "file"', 'kind = "smtp"\nport = 9\nsender = "shop@example.com"')
    here = shop(tmp_path, mail, carts=3, more=[odd_one, longest], retain='public_url = "https://shop.example"\n')
    found = {message.person: message.address for message, _ in messaging.plan_round(here).messages.told()}
    assert found == {"u:p0": "p0@example.com", "u:p2": "p" * 242 + "@example.com"}


def test_channels_that_may_be_given_a_letter_again_are_the_idempotent_ones() -> None:
    """A round goes by the kind of a channel in footfall.toml and opens none; the channel itself says what it is."""
    kinds = {"smtp": SmtpChannel, "webhook": WebhookChannel, "robot": RobotChannel, "file": FileChannel}
    assert set(kinds) == set(messaging._NEEDS)
    assert set(messaging._AGAIN) == {kind for kind, channel in kinds.items() if channel.idempotent}
