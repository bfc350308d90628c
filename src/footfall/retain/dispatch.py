"""Dispatch: messages that are due in; letters handed to their channels, receipts back to the outbox.

    claim -> rules -> render -> hand (marked on disk) -> channel -> settle

The mark of one message and the receipt of the one before are one write. A channel that is away is asked once: what else
would go by it waits, untried, until it may be back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta

from footfall.errors import InputError
from footfall.model import Caps, Held, Letter, Message, Receipt
from footfall.ports import Channel, Clock, Outbox

MOST_TRIES = 8
FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 6 * 3600.0
LEASE_S = 300.0  # longer than any channel waits for an answer
_BATCH = 100

Allowed = Callable[[Message, datetime], Held | None]


def dispatch(
    outbox: Outbox,
    channels: Mapping[str, Channel],
    letter_of: Callable[[Message], Letter],
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

    letter_of: renders a message, InputError where it cannot be. allowed: the rules above every journey, asked just
    before the message goes; ``Held`` where it may not. worker: unique among all that run. turn: held while a hundred
    messages are claimed and handed over. on_held: called with why, for each message that does not go now or at all.
    """
    outbox.recover(clock.now(), [channel.name for channel in channels.values() if channel.idempotent])
    done: Counter[str] = Counter()
    looked, away = 0, dict[str, Held]()
    while going() and (most is None or looked < most):
        left = _BATCH if most is None else most - looked
        with turn():
            claimed = outbox.claim(worker, clock.now(), min(_BATCH, left), LEASE_S)
            settled: list[tuple[str, Receipt, datetime | None]] = []
            try:
                for message in claimed:
                    if not going():
                        return done
                    looked += 1
                    found = away.get(message.channel) or _prepared(message, channels, letter_of, allowed, clock.now())
                    if isinstance(found, Held):
                        outbox.hold(message.message_id, worker, found)
                        done["held" if found.until else "cancelled"] += 1
                        on_held(found)
                        continue
                    channel, letter = found
                    held = outbox.hand(message.message_id, worker, clock.now(), caps, LEASE_S, settled)
                    settled = []
                    if held is not None:
                        done["held" if held.until else "cancelled"] += 1
                        on_held(held)
                        continue
                    receipt = channel.send(letter)
                    settled = [_settled(outbox, message, receipt, clock.now())]
                    done[settled[0][1].outcome] += 1
                    if receipt.away:
                        away[message.channel] = Held(receipt.detail, clock.now() + timedelta(seconds=FIRST_WAIT_S))
            finally:
                outbox.settle(worker, clock.now(), settled)
        if not claimed:
            break
    return done


def _prepared(
    message: Message,
    channels: Mapping[str, Channel],
    letter_of: Callable[[Message], Letter],
    allowed: Allowed,
    now: datetime,
) -> Held | tuple[Channel, Letter]:
    """The letter and who takes it, or why it may not go."""
    held = allowed(message, now)
    if held is not None:
        return held
    if message.channel not in channels:
        return Held(f"there is no channel {message.channel!r} any more", None)
    try:
        return channels[message.channel], letter_of(message)
    except InputError as error:
        return Held(error.message, None)


def _settled(outbox: Outbox, message: Message, receipt: Receipt, now: datetime) -> tuple[str, Receipt, datetime | None]:
    """The receipt with the time of the next try; dead after the last, unless the channel was away for all."""
    if receipt.outcome != "retry":
        return message.message_id, receipt, None
    posted = outbox.posted(message.message_id)
    tries = posted.attempts if posted is not None else 1
    if tries >= MOST_TRIES and not receipt.away:
        return message.message_id, Receipt("dead", f"given up after {tries} tries: {receipt.detail}"), None
    wait = min(FIRST_WAIT_S * 4 ** min(tries - 1, MOST_TRIES), LONGEST_WAIT_S)
    return message.message_id, receipt, now + timedelta(seconds=wait)
