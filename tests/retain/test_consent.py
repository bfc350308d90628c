"""Words on all messages, and on one provider's fans: neither is taken for the other (docs/retain.md)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from small_place import happened, members, place
from test_rounds import CARTS, NOON, PAPER, at, event, shop, table, turn

from footfall.app import messaging, proving, retention
from footfall.retain.fans import fans

ONCE = PAPER + CARTS.format(holdout=0.0)


def word(person: int, name: str, hour: int, provider: str | None = None, day: int = 19) -> dict[str, object]:
    return {**event(person, name, day, hour), "provider_id": provider}


WORDS = [
    word(0, "unsubscribe", 9),
    word(0, "subscribe", 10, "shop"),  # of all messages none; a fan of one provider since
    word(1, "unsubscribe", 9, "shop"),  # left one provider's fans
    word(2, "subscribe", 9),
    word(2, "unsubscribe", 10, "other"),  # all messages, yes; left one provider's fans since
    word(3, "subscribe", 9, "shop"),  # one provider's fan
    word(4, "subscribe", 9, "shop"),
    word(4, "unsubscribe", 10),
]


@pytest.mark.parametrize(("consent", "reached"), [("opt-out", {1, 2, 3, 5}), ("opt-in", {2})])
def test_a_word_on_one_provider_is_none_on_all_messages(tmp_path: Path, consent: str, reached: set[int]) -> None:
    here = shop(tmp_path, ONCE, carts=6, more=WORDS, retain=f'consent = "{consent}"\n')
    planned = messaging.plan_round(here)
    assert {message.person for message, _ in planned.messages.told()} == {f"u:p{n}" for n in reached}


@pytest.mark.parametrize("consent", ["opt-out", "opt-in"])
def test_nor_while_a_letter_waits(tmp_path: Path, consent: str) -> None:
    """All had subscribed; 0 and 4 have said since that they want none."""
    wanted = [word(n, "subscribe", 8) for n in range(6)]
    here = shop(tmp_path, ONCE, carts=6, more=wanted, retain=f'consent = "{consent}"\n')
    assert turn(here)["planned"] == 6
    here.record(table(WORDS))
    turn(here)
    cancelled = {posted.message.person: posted.error for posted in here.outbox.messages("cancelled")}
    assert cancelled == {"u:p0": "unsubscribed", "u:p4": "unsubscribed"}


def test_nor_in_what_lift_counts(tmp_path: Path) -> None:
    """Of four who entered one left all messages, and is a fan of a provider since; two left a provider's fans."""
    here = shop(tmp_path, ONCE, carts=4)
    turn(here)
    later = at(here, NOON + timedelta(days=2))
    words = [word(0, "unsubscribe", 13, day=20), word(0, "subscribe", 14, "shop", day=20)]
    later.record(table([*words, *(word(n, "unsubscribe", 13, "shop", day=20) for n in (1, 2))]))
    (found,) = (row["treated_mean"] for row in proving.lifts(later) if row["metric"] == "unsubscribed")
    assert found == pytest.approx(1 / 4)


def test_fans_of_one_provider_may_become_anothers(tmp_path: Path) -> None:
    """Likely to subscribe to a provider: who is no fan there, nor of the whole place."""
    visits = [happened(day, who, "page_view", "b") for who in ("of-a", "of-b", "of-all") for day in (50, 53, 57)]
    events = [happened(40, "of-a", "subscribe", "a"), happened(40, "of-b", "follow", "b"), happened(40, "of-all", "subscribe", None)]  # fmt: skip  # noqa: E501
    assert set(members(place(tmp_path, [*visits, *events], 60))["likely_to_subscribe"]) == {"of-a"}


def test_who_leaves_one_provider_is_a_fan_of_the_others(tmp_path: Path) -> None:
    """All three subscribed to the whole place, which counts everywhere; by hand."""
    events = [happened(40, who, "subscribe", None) for who in ("ann", "bob", "cem")]
    events += [happened(41, "ann", "unsubscribe", "a"), happened(39, "bob", "unsubscribe", "a")]
    events += [happened(41, "cem", "unsubscribe", "a"), happened(42, "cem", "subscribe", "a")]
    events += [happened(45, "ann", "page_view", "a"), happened(45, "bob", "page_view", "b")]
    with retention.shown(place(tmp_path, events, 60)) as shown:
        rows = {row["provider_id"]: row["fans"] for row in fans(shown.engine, shown.customers.exponent).rows}
    assert rows == {"a": 2, "b": 3, None: 3}


def test_a_word_that_is_dated_ahead_is_said_when_its_time_has_come(tmp_path: Path) -> None:
    """A clock that is ahead said `subscribe` for 300 days from now: each `unsubscribe` until then was in vain."""
    ahead = {**word(0, "subscribe", 8), "ts": "2027-01-15T08:00:00Z"}
    today = [word(1, "subscribe", 18, "shop", day=20), word(1, "unsubscribe", 11, "shop", day=20)]
    here = shop(tmp_path, ONCE, carts=3, more=[ahead, word(0, "unsubscribe", 11, day=20), *today])
    assert {message.person for message, _ in messaging.plan_round(here).messages.told()} == {"u:p1", "u:p2"}
    with retention.shown(here) as shown:
        assert {row["provider_id"]: row["fans"] for row in fans(shown.engine, 2).rows} == {"shop": 0, None: 0}
    evening = at(here, NOON + timedelta(hours=7))
    with retention.shown(evening) as shown:
        assert {row["provider_id"]: row["fans"] for row in fans(shown.engine, 2).rows} == {"shop": 1, None: 1}
