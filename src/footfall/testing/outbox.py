"""The contract of ``ports.Outbox``: an adapter subclasses it and gives the fixture ``outbox``."""

# ruff: noqa: D102  the names of the tests say what they hold

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from footfall.errors import InputError
from footfall.model import Caps, Held, Message, Receipt
from footfall.ports import Outbox

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MANY = Caps(per_day=100, per_week=100)
SENT = Receipt("sent", "250 ok")


def message(
    person: str = "ann", step: int = 0, *, journey: str = "carts", value: float = 1.0, hour: int = 0
) -> Message:
    """A message that is due ``hour`` hours after NOW."""
    name = f"{journey}/{person}/{step}"
    return Message(
        message_id=str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        journey=journey,
        person=person,
        step=step,
        entry=1,
        channel="email",
        address=f"{person}@example.com",
        template="cart",
        language="en",
        context="{}",
        due_at=NOW + timedelta(hours=hour),
        value=value,
    )


def status(outbox: Outbox, of: Message) -> str:
    """The status of a message."""
    found = outbox.posted(of.message_id)
    assert found is not None
    return found.status


class OutboxContract:
    """What every outbox keeps."""

    def test_what_waits_may_be_overtaken(self, outbox: Outbox) -> None:
        """Only what waits is cancelled or gets another address."""
        given = [message("ann"), message("bob"), message("cem")]
        outbox.add(given)
        (sent,) = outbox.claim("w", NOW, 1, 60.0)
        outbox.hand(sent.message_id, "w", NOW, MANY, 60.0)
        outbox.settle("w", NOW, [(sent.message_id, SENT, None)])
        waiting = outbox.waiting()
        assert set(waiting["message_id"].to_pylist()) == {m.message_id for m in given} - {sent.message_id}
        first, second = (m for m in given if m.message_id != sent.message_id)
        rows = [
            {"message_id": first.message_id, "reason": "bought"},
            {
                "message_id": second.message_id,
                "address": "new@example.com",
                "language": "zh-Hans",
                "context": '{"n":1}',
            },
            {"message_id": sent.message_id, "reason": "bought"},
        ]
        told = pa.schema([(name, pa.string()) for name in ("message_id", "address", "language", "context", "reason")])
        assert outbox.overtake(pa.Table.from_pylist(rows, told), NOW, "no address") == 1
        assert [status(outbox, m) for m in (first, second, sent)] == ["cancelled", "waiting", "sent"]
        (left,) = outbox.waiting().to_pylist()
        assert (left["message_id"], left["address"]) == (second.message_id, "new@example.com")
        assert (left["language"], left["context"]) == ("zh-Hans", '{"n":1}')

    def test_what_lacks_an_address_waits_until_there_is_one(self, outbox: Outbox) -> None:
        """It is in nobody's way meanwhile: ann's other letter alone counts against her caps. bob's, put off by a server
        until tomorrow, keeps that time where the address is another."""
        given = [message("ann", value=3.0), message("bob", value=2.0), message("ann", step=1)]
        outbox.add(given)
        tried = next(one for one in outbox.claim("w", NOW, 2, 60) if one.person == "bob")
        outbox.recover(NOW, (), alone=True)
        outbox.claim("w", NOW, 2, 60)
        outbox.hand(tried.message_id, "w", NOW, MANY, 60)
        tomorrow = NOW + timedelta(days=1)
        outbox.settle("w", NOW, [(tried.message_id, Receipt("retry", "421 busy"), tomorrow)])
        outbox.recover(NOW, (), alone=True)
        told = pa.schema([(name, pa.string()) for name in ("message_id", "address", "language", "context", "reason")])
        lacking = [{"message_id": given[0].message_id}]
        for _ in range(2):
            assert outbox.overtake(pa.Table.from_pylist(lacking, told), NOW, "no address") == 0
        found = outbox.posted(given[0].message_id)
        assert found is not None
        assert (found.status, found.error, found.message.address) == ("waiting", "no address", "ann@example.com")
        lacks = {row["message_id"] for row in outbox.waiting().to_pylist() if row["lacks_address"]}
        assert lacks == {given[0].message_id}
        pressing = {row["person"]: (row["day"], row["week"]) for row in outbox.pressure(NOW).to_pylist()}
        assert pressing == {"ann": (1, 1), "bob": (1, 1)}
        assert [one.step for one in outbox.claim("w", NOW + timedelta(hours=1), 9, 60)] == [1]
        new = {"address": "new@example.com", "language": "en", "context": "{}"}
        rows = [{"message_id": one.message_id, **new} for one in given[:2]]
        assert outbox.overtake(pa.Table.from_pylist(rows, told), NOW, "no address") == 0
        assert [(one.person, one.address) for one in outbox.claim("w", NOW, 9, 60)] == [("ann", "new@example.com")]
        assert [one.person for one in outbox.claim("w", tomorrow, 9, 60)] == ["bob"]

    def test_a_message_is_added_once(self, outbox: Outbox) -> None:
        assert outbox.add([message("ann"), message("bob")]) == 2
        assert outbox.add([message("bob"), message("cem")]) == 1
        assert outbox.counts() == {("carts", "waiting"): 3}

    def test_it_goes_from_waiting_to_sent(self, outbox: Outbox) -> None:
        outbox.add([message()])
        (one,) = outbox.claim("w1", NOW, 10, 60)
        assert one == message()
        assert outbox.claim("w2", NOW, 10, 60) == ()
        assert outbox.hand(one.message_id, "w1", NOW, MANY, 60) is None
        assert status(outbox, one) == "handing"
        outbox.settle("w1", NOW, [(one.message_id, SENT, None)])
        found = outbox.posted(one.message_id)
        assert found is not None
        assert (found.status, found.receipt, found.attempts) == ("sent", "250 ok", 1)

    def test_the_most_valuable_go_first_and_none_before_its_time(self, outbox: Outbox) -> None:
        outbox.add([message("ann", value=1.0), message("bob", value=5.0), message("cem", value=9.0, hour=1)])
        assert [one.person for one in outbox.claim("w", NOW, 2, 60)] == ["bob", "ann"]

    def test_what_was_tried_comes_after_what_was_not(self, outbox: Outbox) -> None:
        outbox.add([message("ann", value=9.0), message("bob", value=1.0)])
        (first,) = outbox.claim("w", NOW, 1, 60)
        outbox.hand(first.message_id, "w", NOW, MANY, 60)
        outbox.settle("w", NOW, [(first.message_id, Receipt("retry", "421 later"), NOW)])
        both = outbox.claim("w", NOW, 2, 60)
        assert [one.person for one in both] == ["bob", "ann"]
        for one in both:
            outbox.hand(one.message_id, "w", NOW, MANY, 60)
        outbox.settle("w", NOW, [(one.message_id, Receipt("retry", "421 later"), NOW) for one in both])
        assert [one.person for one in outbox.claim("w", NOW, 2, 60)] == ["bob", "ann"]  # once and twice

    def test_what_a_worker_gives_back_waits_as_before(self, outbox: Outbox) -> None:
        outbox.add([message(who) for who in ("ann", "bob", "cem")])
        first, _ = outbox.claim("w", NOW, 2, 60)
        outbox.claim("other", NOW, 1, 60)
        outbox.hand(first.message_id, "w", NOW, MANY, 60)
        assert outbox.give_back("w") == 1
        assert outbox.counts() == {("carts", "handing"): 1, ("carts", "claimed"): 1, ("carts", "waiting"): 1}

    def test_who_is_alone_frees_all_claims(self, outbox: Outbox) -> None:
        """Whatever their leases: no worker is left (handing over to a channel that is not idempotent: unknown)."""
        outbox.add([message("ann", value=3.0), message("bob", value=2.0), replace(message("cem"), channel="hook")])
        claimed = outbox.claim("w", NOW, 3, 600)
        for one in claimed:
            if one.person != "bob":
                outbox.hand(one.message_id, "w", NOW, MANY, 600)
        assert outbox.recover(NOW, ["hook"]) == {"waiting": 0, "unknown": 0}
        assert outbox.recover(NOW, ["hook"], alone=True) == {"waiting": 2, "unknown": 1}
        assert status(outbox, message("ann")) == "unknown"

    def test_what_was_cancelled_meanwhile_says_why(self, outbox: Outbox) -> None:
        outbox.add([message("ann"), message("bob")])
        for one in outbox.claim("w", NOW, 2, 60):
            if one.person == "ann":
                outbox.cancel("asked", of=["ann"])
                assert outbox.hand(one.message_id, "w", NOW, MANY, 60) == Held("asked", None)
            else:
                assert outbox.hand(one.message_id, "other", NOW, MANY, 60) == Held("another worker has it", NOW)

    def test_only_who_claimed_it_may_hand_it_over(self, outbox: Outbox) -> None:
        outbox.add([message()])
        (one,) = outbox.claim("w1", NOW, 1, 60)
        held = outbox.hand(one.message_id, "w2", NOW, MANY, 60)
        assert isinstance(held, Held)
        assert status(outbox, one) == "claimed"

    def test_a_claim_ends_with_its_lease(self, outbox: Outbox) -> None:
        outbox.add([message()])
        outbox.claim("w1", NOW, 1, 60)
        assert outbox.recover(NOW + timedelta(seconds=59), ()) == {"waiting": 0, "unknown": 0}
        assert outbox.recover(NOW + timedelta(seconds=61), ()) == {"waiting": 1, "unknown": 0}
        assert len(outbox.claim("w2", NOW + timedelta(seconds=62), 1, 60)) == 1

    def test_a_crash_while_handing_over_is_unknown_unless_the_channel_is_idempotent(self, outbox: Outbox) -> None:
        outbox.add([message("ann"), message("bob")])
        late = NOW + timedelta(minutes=5)
        for one in outbox.claim("w1", NOW, 1, 60):
            outbox.hand(one.message_id, "w1", NOW, MANY, 60)
        assert outbox.recover(late, ("webhook",)) == {"waiting": 0, "unknown": 1}
        assert outbox.recover(late, ("email",)) == {"waiting": 0, "unknown": 0}
        for one in outbox.claim("w1", NOW, 1, 60):
            outbox.hand(one.message_id, "w1", NOW, MANY, 60)
        assert outbox.recover(late, ("email",)) == {"waiting": 1, "unknown": 0}

    def test_a_receipt_that_comes_late_tells_what_an_unknown_message_became(self, outbox: Outbox) -> None:
        outbox.add([message()])
        (one,) = outbox.claim("w1", NOW, 1, 60)
        outbox.hand(one.message_id, "w1", NOW, MANY, 60)
        outbox.recover(NOW + timedelta(minutes=5), ())
        outbox.settle("w1", NOW, [(one.message_id, SENT, None)])
        assert status(outbox, one) == "sent"

    def test_what_a_rule_held_is_due_again_when_released(self, outbox: Outbox) -> None:
        outbox.add([message("ann"), message("bob"), message("cem", hour=1)])
        for one, reason in zip(outbox.claim("w", NOW, 10, 60), ("quiet hours", "a cap"), strict=True):
            outbox.hold(one.message_id, "w", Held(reason, NOW + timedelta(hours=9)))
        assert outbox.claim("w", NOW, 10, 60) == ()
        assert outbox.release("quiet hours", NOW) == 1
        assert len(outbox.claim("w", NOW, 10, 60)) == 1
        assert outbox.release("quiet hours", NOW) == 0  # it is claimed

    def test_a_retry_waits(self, outbox: Outbox) -> None:
        outbox.add([message()])
        (one,) = outbox.claim("w", NOW, 1, 60)
        outbox.hand(one.message_id, "w", NOW, MANY, 60)
        later = NOW + timedelta(minutes=10)
        outbox.settle("w", NOW, [(one.message_id, Receipt("retry", "421 busy"), later)])
        assert outbox.claim("w", NOW + timedelta(minutes=9), 1, 60) == ()
        assert len(outbox.claim("w", later, 1, 60)) == 1

    def test_caps_stand_above_every_journey(self, outbox: Outbox) -> None:
        caps = Caps(per_day=2, per_week=3)
        outbox.add([message(step=step, journey=f"j{step % 2}", value=9.0 - step) for step in range(5)])
        claimed = outbox.claim("w", NOW, 5, 600)
        held = [outbox.hand(one.message_id, "w", NOW, caps, 60) for one in claimed]
        assert [found is None for found in held] == [True, True, False, False, False]
        assert isinstance(held[2], Held)
        assert held[2].until == NOW + timedelta(days=1)
        tomorrow = NOW + timedelta(days=1, seconds=1)
        again = outbox.claim("w", tomorrow, 5, 600)
        held = [outbox.hand(one.message_id, "w", tomorrow, caps, 60) for one in again]
        assert [found is None for found in held] == [True, False, False]

    def test_what_was_surely_not_taken_over_does_not_count(self, outbox: Outbox) -> None:
        caps = Caps(per_day=1, per_week=1)
        outbox.add([message(step=0, value=2.0), message(step=1)])
        first, second = outbox.claim("w", NOW, 2, 60)
        outbox.hand(first.message_id, "w", NOW, caps, 60)
        refused = [(first.message_id, Receipt("retry", "connection refused"), NOW + timedelta(hours=1))]
        assert outbox.hand(second.message_id, "w", NOW, caps, 60, refused) is None

    def test_nobody_on_the_list_is_reached(self, outbox: Outbox) -> None:
        outbox.add([message("ann"), message("bob")])
        assert outbox.suppress([("Ann@Example.com", "asked"), ("bob", "asked"), ("bob", "again")], NOW) == 2
        claimed = outbox.claim("w", NOW, 2, 60)
        held = [outbox.hand(one.message_id, "w", NOW, MANY, 60) for one in claimed]
        assert [found is not None and found.reason for found in held] == ["suppressed: asked"] * 2
        assert outbox.counts() == {("carts", "cancelled"): 2}
        assert outbox.unsuppress("ANN@example.com")
        assert not outbox.unsuppress("ann@example.com")

    @pytest.mark.parametrize(
        ("listed", "address"),
        [  # nameprep and IDNA, RFC 3490 and 3491: each pair is one domain on the wire
            ("ann@example.com", "ann@example\u3002com"),
            ("ann@m\u00fcnchen.example", "ann@mu\u0308nchen.example"),
            ("ann@xn--mnchen-3ya.example", "ann@M\u00dcNCHEN.example"),
            ("ann@example.com", "Ann@\uff45xample.com"),
            ("ann@fass.example", "ann@fa\u00df.example"),
            ("ann@example.com", "ann@exa\u00admple.com"),
        ],
    )
    def test_the_list_holds_for_each_spelling_of_a_domain(self, outbox: Outbox, listed: str, address: str) -> None:
        for one, other in ((listed, address), (address, listed)):
            outbox.suppress([(one, "asked")], NOW)
            assert outbox.against(replace(message("u:ann"), address=other), NOW, MANY) is not None
            assert outbox.unsuppress(other)
            assert outbox.against(replace(message("u:ann"), address=other), NOW, MANY) is None

    def test_who_is_taken_off_the_list_is_reached_again(self, outbox: Outbox) -> None:
        """A letter's link puts person and address on it: either name takes off both, and nobody else."""
        for asked in ("Ann@example.com", "ann", "u:ann"):
            outbox.add([replace(message("u:ann"), address="ann@example.com"), message("u:bob")])
            told = ("u:ann", "ann@example.com", "u:bob", "cem@example.com")
            outbox.suppress([(who, "asked") for who in told], NOW)
            assert sorted(outbox.unsuppress(asked)) == ["ann@example.com", "u:ann"]
            assert set(outbox.suppressed()) == {"u:bob", "cem@example.com"}
        assert outbox.unsuppress("u:ann") == ()

    def test_a_word_stands_in_place_of_a_passing_reason(self, outbox: Outbox) -> None:
        outbox.suppress([("ann", "passing 1"), ("bob", "asked")], NOW)
        assert outbox.suppress([("ann", "unsubscribed"), ("bob", "unsubscribed")], NOW, over="passing") == 1
        assert outbox.suppressed() == {"ann": "unsubscribed", "bob": "asked"}

    def test_who_is_on_the_list_for_another_reason_stays_on_it(self, outbox: Outbox) -> None:
        outbox.suppress([("ann", "asked")], NOW)
        outbox.suppress([(who, "passing 1") for who in ("ann", "u:ann", "Bob@Example.com", "d:eve")], NOW)
        outbox.suppress([("cem", "passing 2"), ("fay", "pass"), ("dan", "asked")], NOW)
        # d:eve goes with those who stand there for the same reason: a round may have put it there.
        assert outbox.unlist(["ann", "bob@example.com", "dan", "fay"], "passing") == 3
        assert outbox.suppressed() == {"ann": "asked", "dan": "asked", "cem": "passing 2", "fay": "pass"}

    def test_a_hard_bounce_puts_the_address_on_the_list(self, outbox: Outbox) -> None:
        outbox.add([message()])
        (one,) = outbox.claim("w", NOW, 1, 60)
        outbox.hand(one.message_id, "w", NOW, MANY, 60)
        outbox.settle("w", NOW, [(one.message_id, Receipt("dead", "550 no such user", suppress=True), None)])
        assert status(outbox, one) == "dead"
        assert outbox.suppressed() == {"ann@example.com": "550 no such user"}

    def test_waiting_messages_are_cancelled_and_only_they(self, outbox: Outbox) -> None:
        outbox.add([message("ann", value=2.0), message("bob"), message("cem", journey="other")])
        (first,) = outbox.claim("w", NOW, 1, 60)
        outbox.hand(first.message_id, "w", NOW, MANY, 60)
        assert outbox.cancel("the journey is gone", journey="carts") == 1
        assert outbox.counts() == {("carts", "handing"): 1, ("carts", "cancelled"): 1, ("other", "waiting"): 1}

    def test_what_may_have_gone_elsewhere_is_in_doubt(self, outbox: Outbox) -> None:
        outbox.add([message("ann", value=3.0), message("bob", value=2.0), message("cem")])
        (sent,) = outbox.claim("w", NOW, 1, 60)
        outbox.hand(sent.message_id, "w", NOW, MANY, 60)
        outbox.settle("w", NOW, [(sent.message_id, SENT, None)])
        outbox.claim("w", NOW, 1, 60)
        outbox.add([message("dan"), message("eve")])
        outbox.cancel("the journey is gone", of=["dan"])
        outbox.cancel("bought", of=["eve"])
        assert outbox.doubt(NOW, "a backup", ["the journey is gone"]) == 3
        assert outbox.counts() == {("carts", "sent"): 1, ("carts", "unknown"): 3, ("carts", "cancelled"): 1}
        assert outbox.claim("w", NOW + timedelta(days=1), 9, 60) == ()

    def test_what_is_being_handed_over_is_in_doubt(self, outbox: Outbox) -> None:
        outbox.add([message()])
        (one,) = outbox.claim("w", NOW, 1, 60)
        outbox.hand(one.message_id, "w", NOW, MANY, 60)
        assert outbox.doubt(NOW, "a backup") == 1
        assert status(outbox, one) == "unknown"

    def test_a_server_may_say_what_it_likes(self, outbox: Outbox) -> None:
        """PostgreSQL takes no NUL."""
        outbox.add([message()])
        (one,) = outbox.claim("w", NOW, 1, 60)
        outbox.hand(one.message_id, "w", NOW, MANY, 60)
        outbox.settle("w", NOW, [(one.message_id, Receipt("sent", "250 \0ok"), None)])
        found = outbox.posted(one.message_id)
        assert found is not None
        assert found.receipt == "250 ok"

    def test_what_comes_back_is_young_and_of_that_reason(self, outbox: Outbox) -> None:
        """Of four that were cancelled: two days old, of another reason, of another journey, and one that comes back."""
        outbox.add([message("old", hour=-48), message("ann"), message("bob"), message("cem", journey="other")])
        outbox.cancel("bought", of=["bob"])
        outbox.cancel("gone")
        assert outbox.revive("gone", "carts", NOW - timedelta(days=1)) == 1
        assert outbox.waiting()["person"].to_pylist() == ["ann"]

    def test_what_letters_cost(self, outbox: Outbox) -> None:
        """Of what may have reached somebody, by what the step cost when the letter was planned."""
        priced = replace(message("ann", value=3.0), context='{"cost":0.25}')
        outbox.add([priced, message("bob", step=2, value=2.0), replace(message("cem"), context='{"cost":9.0}')])
        for one in outbox.claim("w", NOW, 2, 60):
            outbox.hand(one.message_id, "w", NOW, MANY, 60)
        assert outbox.costs("other").num_rows == 0
        rows = sorted(outbox.costs("carts").to_pylist(), key=lambda row: row["person"])
        assert [tuple(row.values()) for row in rows] == [
            ("ann", NOW.replace(tzinfo=None), 0, 0.25),
            ("bob", NOW.replace(tzinfo=None), 2, None),
        ]

    def test_waiting_messages_to_an_address_are_cancelled_however_it_is_spelled(self, outbox: Outbox) -> None:
        """Of whoever: the list of whom not keeps all of them back (RFC 5890: xn--bcher-kva is b\u00fccher)."""
        spelled = ["Ann@B\u00dcCHER.example", "ann@xn--bcher-kva.example", "ann@other.example"]
        outbox.add([replace(message(f"p{n}"), address=address) for n, address in enumerate(spelled)])
        assert outbox.cancel("asked", of=["ann@b\u00fccher.example"]) == 2
        assert outbox.cancel("asked", of=["nobody@example.com"]) == 0
        assert outbox.cancel("asked", of=[]) == 0
        assert [status(outbox, message(f"p{n}")) for n in range(3)] == ["cancelled", "cancelled", "waiting"]

    def test_waiting_messages_of_many_are_cancelled_at_once(self, outbox: Outbox) -> None:
        """1,200 names, of whom four have a message: by key, by id, by two spellings of an address."""
        outbox.add([replace(message(f"u:p{n}"), address=f"a{n}@example.com") for n in range(6)])
        names = [*(f"x{n}@example.com" for n in range(600)), *(f"x{n}" for n in range(600))]
        assert outbox.cancel("asked", of=[*names, "u:p0", "p1", "A2@EXAMPLE.COM", "a3@example\u3002com"]) == 4
        assert outbox.cancel("asked", of=names) == 0
        assert [status(outbox, message(f"u:p{n}")) for n in range(6)] == [*["cancelled"] * 4, *["waiting"] * 2]

    def test_waiting_messages_of_a_few_are_cancelled_and_nobody_elses(self, outbox: Outbox) -> None:
        """Persons as the log or a journey has them, and addresses, whatever signs these hold."""
        addresses = [
            "a_b%@example.com",
            "aXbc@example.com",
            " A_B%@Example.com",
            "\u00c9va@example.com",
            "x@example.com",
        ]
        outbox.add([replace(message(f"u:p{n}"), address=address) for n, address in enumerate(addresses)])
        assert outbox.cancel("asked", of=["a_b%@example.com", "\u00e9va@example.com", "p4", "d:p1"]) == 4
        assert status(outbox, message("u:p1")) == "waiting"

    def test_a_person_may_have_a_message_sent_again(self, outbox: Outbox) -> None:
        outbox.add([message()])
        with pytest.raises(InputError, match="is not dead"):
            outbox.retry(message().message_id, "asked", NOW)
        outbox.cancel("mistake")
        outbox.retry(message().message_id, "asked", NOW)
        assert (status(outbox, message()), outbox.claim("w", NOW, 1, 60)) == ("cancelled", ())
        assert outbox.revive("asked", "carts", NOW - timedelta(days=9)) == 1
        assert (status(outbox, message()), outbox.claim("w", NOW, 1, 60)) == ("waiting", ())
        assert outbox.release("asked", NOW) == 1
        assert len(outbox.claim("w", NOW, 1, 60)) == 1

    def test_what_already_presses_on_a_person(self, outbox: Outbox) -> None:
        outbox.add([message("ann"), message("ann", step=1), message("bob", value=9.0)])
        (one,) = outbox.claim("w", NOW, 1, 60)
        outbox.hand(one.message_id, "w", NOW, MANY, 60)
        outbox.settle("w", NOW, [(one.message_id, SENT, None)])

        def pressing(hours: float) -> dict[str, tuple[int, int]]:
            rows = outbox.pressure(NOW + timedelta(hours=hours)).to_pylist()
            return {row["person"]: (row["day"], row["week"]) for row in rows}

        assert pressing(1) == {"ann": (2, 2), "bob": (1, 1)}
        assert pressing(30) == {"ann": (2, 2), "bob": (0, 1)}
        assert pressing(24 * 8) == {"ann": (2, 2)}
