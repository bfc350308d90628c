"""Dispatch: messages that are due in; letters handed to their channels, receipts back to the outbox.

    claim -> rules -> render -> hand (marked on disk) -> channel -> settle

The mark of one message and the receipt of the one before are one write. A channel that two letters in a row found away,
or ten where it has taken others, is asked no more: what else would go by it waits, untried, until it may be back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from footfall.errors import InputError
from footfall.model import Caps, Held, Letter, Message, Receipt
from footfall.ports import Channel, Clock, Outbox

MOST_TRIES = 8
FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 6 * 3600.0
LEASE_S = 300.0  # longer than any channel waits for an answer
_BATCH = 100
TURN_S = 10.0  # a hundred letters to a slow server take long; whoever waits to be alone goes between
_AWAY_AFTER = 2  # letters in a row; one alone may be what the other side has no answer to
_AWAY_AFTER_TAKING = 10  # where it took others in this run: half of all addresses may be greylisted

Allowed = Callable[[Message, datetime], Held | None]
LetterOf = Callable[[Message], Letter | Held]


@dataclass(slots=True)
class _Heard:
    """What was heard of channels in this run. away: those that take nothing. took: those that answered to a letter."""

    away: dict[str, Held] = field(default_factory=dict)
    took: set[str] = field(default_factory=set)
    _in_vain: Counter[str] = field(default_factory=Counter)  # letters in a row

    def note(self, channel: str, receipt: Receipt, now: datetime) -> None:
        """A channel's answer to a letter."""
        if not receipt.away:
            self.took.add(channel)
            self._in_vain[channel] = 0
            return
        self._in_vain[channel] += 1
        if self._in_vain[channel] >= (_AWAY_AFTER_TAKING if channel in self.took else _AWAY_AFTER):
            self.away[channel] = Held(receipt.detail, now + timedelta(seconds=FIRST_WAIT_S))


def dispatch(
    outbox: Outbox,
    channels: Mapping[str, Channel],
    letter_of: LetterOf,
    allowed: Allowed,
    clock: Clock,
    worker: str,
    caps: Caps,
    most: int | None = None,
    going: Callable[[], bool] = lambda: True,
    turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    on_held: Callable[[Held], None] = lambda held: None,
) -> Counter[str]:
    """Send what is due until nothing is, ``most`` have been looked at, or ``going`` says no; how many of each outcome.

    letter_of: renders a message, InputError where it never can be, Held where it waits. allowed: the rules above every
    journey, asked just before the message goes; ``Held`` where it may not. worker: unique among all that run. turn:
    held while up to a hundred messages are claimed and handed over, some seconds at most. on_held: called with why,
    for each message that does not go now or at all.
    """
    outbox.recover(clock.now(), [channel.name for channel in channels.values() if channel.idempotent])
    run, looked = _Run(outbox, channels, letter_of, allowed, clock, worker, caps, on_held), 0
    while going() and (most is None or looked < most):
        left = _BATCH if most is None else most - looked
        with turn():
            ends = time.monotonic() + TURN_S
            claimed = outbox.claim(worker, clock.now(), min(_BATCH, left), LEASE_S)
            try:
                for number, message in enumerate(claimed):
                    if not going():
                        return run.done
                    if number and time.monotonic() > ends:
                        break
                    looked += 1
                    run.hand_over(message)
            finally:
                run.settle()
                outbox.give_back(worker)  # what was not looked at is to be seen by the next round, as all that waits
        if not claimed:
            break
    return run.done


@dataclass(slots=True)
class _Run:
    """One run of a sender. done: how many of each outcome. settled: receipts that are not in the outbox yet."""

    outbox: Outbox
    channels: Mapping[str, Channel]
    letter_of: LetterOf
    allowed: Allowed
    clock: Clock
    worker: str
    caps: Caps
    on_held: Callable[[Held], None]
    done: Counter[str] = field(default_factory=Counter)
    heard: _Heard = field(default_factory=_Heard)
    settled: list[tuple[str, Receipt, datetime | None]] = field(default_factory=list)

    def hand_over(self, message: Message) -> None:
        """Hand a claimed message over, or say why not."""
        found = self.heard.away.get(message.channel) or self._prepared(message)
        if isinstance(found, Held):
            self.outbox.hold(message.message_id, self.worker, found)
            self._held(found)
            return
        channel, letter = found
        held = self.outbox.hand(message.message_id, self.worker, self.clock.now(), self.caps, LEASE_S, self.settled)
        self.settled = []
        if held is not None:
            self._held(held)
            return
        receipt = channel.send(letter)
        self.heard.note(message.channel, receipt, self.clock.now())
        self.settled = [_settled(self.outbox, message, receipt, self.clock.now(), self.heard)]
        self.done[self.settled[0][1].outcome] += 1

    def settle(self) -> None:
        """Put what is known of the last message into the outbox."""
        self.outbox.settle(self.worker, self.clock.now(), self.settled)
        self.settled = []

    def _held(self, held: Held) -> None:
        self.done["held" if held.until else "cancelled"] += 1
        self.on_held(held)

    def _prepared(self, message: Message) -> Held | tuple[Channel, Letter]:
        """The letter and who takes it, or why it may not go."""
        held = self.allowed(message, self.clock.now())
        if held is not None:
            return held
        if message.channel not in self.channels:
            return Held(f"there is no channel {message.channel!r} any more", None)
        try:
            letter = self.letter_of(message)
        except InputError as error:
            return Held(error.message, None)
        return letter if isinstance(letter, Held) else (self.channels[message.channel], letter)


def _settled(
    outbox: Outbox, message: Message, receipt: Receipt, now: datetime, heard: _Heard
) -> tuple[str, Receipt, datetime | None]:
    """The receipt with the time of the next try; dead after the last, unless the channel takes no other either."""
    if receipt.outcome != "retry":
        return message.message_id, receipt, None
    posted = outbox.posted(message.message_id)
    tries = posted.attempts if posted is not None else 1
    if tries >= MOST_TRIES and (not receipt.away or message.channel in heard.took):
        return message.message_id, Receipt("dead", f"given up after {tries} tries: {receipt.detail}"), None
    wait = min(FIRST_WAIT_S * 4 ** min(tries - 1, MOST_TRIES), LONGEST_WAIT_S)
    return message.message_id, receipt, now + timedelta(seconds=wait)
