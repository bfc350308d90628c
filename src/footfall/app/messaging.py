"""Messaging: rounds of journeys, and what is sent of them; retain's journeys and outbox wired to a workspace.

plan_round | commit_round     who enters, who leaves, which messages go into the outbox
send                          what is due, handed to its channels

A round writes what it read some time before, and an erasure what the log told it: each holds ``alone``, so that neither
another one nor a sender is at work meanwhile. Senders share their turn, a hundred messages long.
"""

from __future__ import annotations

import csv
import os
import re
import secrets
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from footfall import config as settings
from footfall.app import offering, retention
from footfall.app.build import Workspace
from footfall.app.progress import Advance
from footfall.config import ChannelSettings
from footfall.disk import held
from footfall.errors import ConfigError, InputError, WorkspaceError
from footfall.model import Caps, Held, Letter, Message, Offer
from footfall.persons import id_of
from footfall.ports import Channel

if TYPE_CHECKING:
    from footfall.retain.letters import Templates
    from footfall.retain.rounds import Planned, Setting

_AGAIN = ("webhook", "file")  # kinds of channels that may be given the same letter twice: idempotent
_NEEDS = {"smtp": "email", "webhook": "person", "robot": "person", "file": "person"}
_SECRET = "unsubscribe_secret"
_SPACE = "message_space"
_LAST_ROUND = "last_round"
_QUIET = "quiet_hours"  # the setting under which messages were held last
QUIET_HOURS = "quiet hours"
ERASING = "is being erased"  # the reason on the list while an erasure is at work, or was cut off
BROKEN = "waits until its template is mended"
_BEHIND = timedelta(hours=1)  # of one host's clock to another's
_UNTIL_MENDED = timedelta(minutes=15)  # or until the next round that finds it so
UNSUBSCRIBED = "unsubscribed"  # the reason of those who said so themselves, which counts as an outcome
_BESIDE_ADDRESS = re.compile(r"[\s;,<>\"]")
_LIST_FORM = "give one address or person a line, with a reason after a comma if you like; quotes come in pairs"


# ---------------------------------------------------------------- rounds


def templates(here: Workspace) -> Templates:
    """The workspace's templates, then those that come with Footfall."""
    from footfall.retain.letters import Templates

    return Templates(here.directory / "templates")


def setting(here: Workspace, *, dry: bool = False) -> Setting:
    """All that a round depends on, checked: every journey's audience, channels, templates and offers are there. A
    template that is there and cannot be filled is told in ``faults``.

    Where it is ``dry``, nothing is put into the state.
    """
    from footfall.app.choosing import choose
    from footfall.retain import rounds

    config = here.config
    wanted = {journey.audience for journey in config.journeys.values()}
    known = {one.name: one for one in retention.audiences(here, wanted)}
    written = templates(here)
    asked = dict.fromkeys(step.template for journey in config.journeys.values() for step in journey.steps)
    found = rounds.Setting(
        journeys=config.journeys,
        audiences=known,
        address_of={name: _NEEDS[channel.kind] for name, channel in config.channels.items()},
        lift={},
        prior_lift=config.retain.prior_lift,
        names={key: row["name"] for key, row in here.state.providers().items() if row.get("name")},
        zone=here.zone,
        language=config.workspace.language,
        consent=config.retain.consent,
        per_day=config.retain.per_day,
        per_week=config.retain.per_week,
        limit_s=config.retain.audience_limit_s,
        space=message_space(here, dry=dry),
        choose=choose,
        faults={(name, *of): why for name in asked for of, why in written.faults(name).items()},
    )
    offers, _ = offering.offers_of(here)
    rounds.check(found, list(config.channels), list(offers))
    return found


@contextmanager
def alone(here: Workspace, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the turn of those who change who gets what: a round from its reading to its last write, an erasure.

    on_wait: called where another one has it. Let go of by the system when the process dies.
    """
    with held(_next(here), on_wait=on_wait), held(_turn(here), on_wait=on_wait):
        yield


@contextmanager
def together(here: Workspace) -> Iterator[None]:
    """Share the turn with other senders; who waits to be alone goes first."""
    with ExitStack() as mine:
        with held(_next(here), shared=True):
            mine.enter_context(held(_turn(here), shared=True))
        yield


def _next(here: Workspace) -> Path:
    return here.lake / "_messages.next"


def _turn(here: Workspace) -> Path:
    return here.lake / "_messages.lock"


def one_round(
    here: Workspace,
    progress: Advance = lambda done, total: None,
    on_wait: Callable[[], None] = lambda: None,
) -> tuple[Planned, Counter[str]]:
    """Plan a round and carry it out, in one turn ``alone``: what it was, and what was done. Errors as of
    ``plan_round``."""
    with alone(here, on_wait):
        planned = plan_round(here, progress)
        return planned, commit_round(here, planned)


def plan_round(here: Workspace, progress: Advance = lambda done, total: None, *, dry: bool = False) -> Planned:
    """What a round would do now. ConfigError where there is no journey, or one cannot be; WorkspaceError where the
    clock is behind.

    First, what senders that died had claimed waits again, keys of persons who have signed in since become those that
    they have now, messages of journeys that are back wait again, and, without any journey, none waits. Where it is
    ``dry`` nothing of this is done: all is looked at as it stands. Else it and ``commit_round`` are one turn,
    ``alone``.
    """
    from footfall.retain import rounds

    if not here.config.journeys:
        if not dry:
            end_gone(here)
        raise ConfigError("footfall.toml has no journey", "add a section [journeys.NAME]; `footfall config` shows one")
    refuse_to_go_back(here)
    told, now = setting(here, dry=dry), here.clock.now()  # what is wrong is said before the log is read
    with retention.shown(here) as shown:
        if not dry:
            again = [name for name, channel in here.config.channels.items() if channel.kind in _AGAIN]
            here.outbox.recover(now, again, alone=True)
            if pairs := rounds.joined(shown.engine, here.entries.persons()):
                here.entries.join(pairs)
            rounds.revive(here.outbox, told, now)
            if not told.faults:
                here.outbox.release(BROKEN, now)
        return rounds.plan(shown.engine, here.entries, here.outbox, told, now, progress)


def retry(here: Workspace, message_id: str) -> None:
    """Ask again for a dead, unknown or cancelled message. The next round lets it wait, unless its person is to get
    nothing by then: it may be the reason why it was cancelled. InputError where there is no such message."""
    from footfall.retain.rounds import RETRIED

    here.outbox.retry(message_id, RETRIED, here.clock.now())


def commit_round(here: Workspace, planned: Planned) -> Counter[str]:
    """Carry a planned round out; what was done."""
    from footfall.retain import rounds

    kept = last_round(here)
    begin_from(here, planned.now if kept is None else max(kept, planned.now))
    return rounds.commit(planned, here.entries, here.outbox, list(here.config.journeys))


def last_round(here: Workspace) -> datetime | None:
    """When the latest round was carried out, by the clock that it went by; None: none was."""
    kept = here.state.get(_LAST_ROUND)
    return None if kept is None else datetime.fromisoformat(kept["at"])


def begin_from(here: Workspace, moment: datetime) -> None:
    """From here on rounds may be no earlier than this."""
    here.state.put(_LAST_ROUND, {"at": moment.isoformat()})


def refuse_to_go_back(here: Workspace) -> None:
    """WorkspaceError where the clock is clearly behind the latest round: for it much of the log is still to come, and
    addresses, purchases and words that the round knew are not there."""
    now, kept = here.clock.now(), last_round(here)
    if kept is None or now >= kept - _BEHIND:
        return
    read, done = (f"{moment.astimezone(here.zone):%Y-%m-%d %H:%M}" for moment in (now, kept))
    raise WorkspaceError(
        f"the clock says {read}, and a round was carried out at {done} already: nobody enters or leaves a journey, and "
        "nothing is sent",
        "set the clock right; where that round's was ahead, `footfall retain --clock-is-right` goes on by this one",
    )


def end_gone(here: Workspace) -> int:
    """Cancel waiting messages of journeys that are no longer in footfall.toml; how many."""
    from footfall.retain.rounds import GONE

    names = (name for name in here.entries.journeys() if name not in here.config.journeys)
    return sum(here.outbox.cancel(GONE, journey=name) for name in names)


def gone(here: Workspace) -> dict[str, int]:
    """Journeys that are no longer in footfall.toml, each with the persons who are still in it.

    A journey is known by its name: arms, entries and messages go by it, so that one that was renamed begins anew.
    """
    left: Counter[str] = Counter()
    for row in here.entries.counts():
        if row["status"] == "active" and row["journey"] not in here.config.journeys:
            left[row["journey"]] += row["entries"]
    return dict(left)


# ---------------------------------------------------------------- sending


@contextmanager
def channels(here: Workspace) -> Iterator[dict[str, Channel]]:
    """The channels that journeys or waiting messages go by, closed at the end; ConfigError names one that cannot be
    used. What nothing goes by may be as it likes."""
    needed = {step.channel for journey in here.config.journeys.values() for step in journey.steps}
    needed |= here.outbox.channels()
    found: dict[str, Channel] = {}
    try:
        for name, told in here.config.channels.items():
            if name in needed:
                found[name] = channel(here, name, told)
        yield found
    finally:
        for one in found.values():
            one.close()


def channel(here: Workspace, name: str, told: ChannelSettings) -> Channel:
    """One channel as footfall.toml has it; its secret comes from the environment."""
    secret = settings.channel_secret_from_environment(name)
    if told.kind == "smtp":
        from footfall.channels.smtp import SmtpChannel, SmtpSettings

        if not here.config.retain.public_url:
            raise ConfigError(
                f"[channels.{name}] sends mail, and [retain] public_url is empty: a letter has to say how to end it",
                "set it to the address under which the service is reached from outside, https://...",
            )
        line = SmtpSettings(
            told.host, told.port, told.tls, told.user, secret, told.sender, told.sender_name, told.timeout_s
        )
        return SmtpChannel(name, line, here.clock)
    if told.kind == "webhook":
        from footfall.channels.webhook import WebhookChannel, WebhookSettings

        return WebhookChannel(name, WebhookSettings(told.url, secret, told.timeout_s), here.clock)
    if told.kind == "robot":
        from footfall.channels.robots import RobotChannel

        return RobotChannel(name, secret)
    from footfall.channels.files import FileChannel

    folder = here.directory / told.folder
    if not folder.resolve().is_relative_to(here.directory.resolve()):  # where erasing a person would not find letters
        raise ConfigError(f"[channels.{name}] folder {told.folder!r} is outside the workspace", "name one inside it")
    return FileChannel(name, folder)


def send(
    here: Workspace,
    most: int | None = None,
    going: Callable[[], bool] = lambda: True,
    progress: Advance = lambda done, total: None,
    on_held: Callable[[Held], None] = lambda held: None,
) -> Counter[str]:
    """Hand over what is due, until nothing is; how many of each outcome.

    progress: called with how many were looked at, of those that wait. on_held: as in ``dispatch``. WorkspaceError where
    the clock is behind.
    """
    from footfall.retain.dispatch import dispatch

    refuse_to_go_back(here)
    _release(here)
    told, allowed, looked = here.config.retain, rules(here), count(1)
    caps = Caps(told.per_day, told.per_week)
    waiting = sum(n for (_, status), n in here.outbox.counts().items() if status == "waiting")

    def asked(message: Message, now: datetime) -> Held | None:
        done = next(looked)
        progress(done, max(waiting, done))
        kept = allowed(message, now)
        # A code is given out when its letter is written: not for one that the caps or the list would keep back.
        with_code = kept is None and bool(msgspec.json.decode(message.context, type=dict[str, Any]).get("offer_name"))
        return here.outbox.against(message, now, caps) if with_code else kept

    worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    with channels(here) as open_channels:
        return dispatch(
            here.outbox,
            open_channels,
            letters(here),
            asked,
            here.clock,
            worker,
            caps,
            most,
            going,
            lambda: together(here),
            on_held,
        )


def _release(here: Workspace) -> None:
    """Ask again of what quiet hours hold, where they were changed since, and what a pause held that is over."""
    from footfall.retain.rounds import PAUSED

    going = [name for name, journey in here.config.journeys.items() if not journey.paused]
    here.outbox.release(PAUSED, here.clock.now(), going)
    setting = {"quiet": here.config.retain.quiet, "timezone": here.config.workspace.timezone}
    if here.state.get(_QUIET) != setting:
        here.outbox.release(QUIET_HOURS, here.clock.now())
        here.state.put(_QUIET, setting)


def letters(here: Workspace) -> Callable[[Message], Letter | Held]:
    """What turns a message into its letter: code of the offer, link, the link that ends it all, then the template. One
    whose template fails for all such persons is held until that is mended."""
    from footfall.retain.offers import new_code

    def code(offer: Offer, customer_id: str) -> str:
        return here.offers.issue(offer, customer_id, offer.code or new_code(), here.clock.now()).code

    known, write = templates(here), _letters(here, code)
    faults: dict[str, Mapping[tuple[str, bool], str] | str] = {}  # template -> its faults, or why there is none

    def letter(message: Message) -> Letter | Held:
        if message.template not in faults:
            try:
                faults[message.template] = known.faults(message.template)
            except InputError as error:
                faults[message.template] = error.message
        told = faults[message.template]
        has_name = bool(msgspec.json.decode(message.context, type=dict[str, Any]).get("name"))
        why = told if isinstance(told, str) else told.get((message.language, has_name))
        return write(message) if why is None else Held(f"{BROKEN}: {why}", here.clock.now() + _UNTIL_MENDED)

    return letter


def letter_shown(here: Workspace, message: Message) -> Letter:
    """The letter of a message as it would go now; a code of one's own is issued when it goes, and not before."""
    return _letters(here, lambda offer, _: offer.code or "(a code of their own)")(message)


def _letters(here: Workspace, code: Callable[[Offer, str], str]) -> Callable[[Message], Letter]:
    from footfall.retain.links import token

    known, told = templates(here), here.config.retain
    offers, _ = offering.offers_of(here)
    secret = unsubscribe_secret(here)

    def letter(message: Message) -> Letter:
        context = msgspec.json.decode(message.context, type=dict[str, Any])
        context["customer_id"] = id_of(message.person)  # who has signed in since it was written has another
        offer = offers.get(context.get("offer_name", ""))
        if context.get("offer_name") and offer is None:
            raise InputError(f"offer {context['offer_name']!r} is gone from footfall.toml", "put it back, or cancel")
        if offer is not None:
            context |= {"code": code(offer, context["customer_id"]), "offer": offering.offer_in_words(here, offer.name)}
        if told.public_url:
            link = token(secret, message.person, message.address)
            context["unsubscribe_url"] = f"{told.public_url.rstrip('/')}/u/{link}"
        context["shop"] = told.shop
        context["link"] = told.link.replace("{provider_id}", quote(str(context.get("provider_id", "")), safe=""))
        return known.letter(replace(message, context=msgspec.json.encode(context).decode()))

    return letter


def rules(here: Workspace) -> Callable[[Message, datetime], Held | None]:
    """The rules above every journey, asked just before a message goes; caps and suppressions are the outbox's own."""
    from footfall.retain.rounds import GONE, PAUSED
    from footfall.retain.rules import quiet_until

    told, journeys, zone = here.config.retain, here.config.journeys, here.zone

    def allowed(message: Message, now: datetime) -> Held | None:
        journey = journeys.get(message.journey)
        if journey is None:
            return Held(GONE, None)
        if journey.paused:
            return Held(PAUSED, now + timedelta(hours=1))
        person_zone = msgspec.json.decode(message.context, type=dict[str, Any]).get("timezone", "")
        until = quiet_until(told.quiet, now, person_zone, zone)
        return Held(QUIET_HOURS, until) if until is not None else None

    return allowed


def unsubscribe_secret(here: Workspace) -> bytes:
    """What signs the links that unsubscribe: made once, kept in the state."""
    kept = here.state.get(_SECRET) or here.state.put_once(_SECRET, {"hex": secrets.token_hex(32)})
    return bytes.fromhex(str(kept["hex"]))


def message_space(here: Workspace, *, dry: bool = False) -> uuid.UUID:
    """What tells this workspace's message ids from all others': made once, kept in the state unless it is ``dry``."""
    from footfall.retain.drafts import FIRST_SPACE

    kept = here.state.get(_SPACE)
    if kept is None:
        made = FIRST_SPACE if here.outbox.counts() else uuid.uuid4()
        if dry:
            return made
        kept = here.state.put_once(_SPACE, {"uuid": str(made)})
    return uuid.UUID(str(kept["uuid"]))


def unsubscribe(here: Workspace, *names: str, reason: str = UNSUBSCRIBED) -> int:
    """Write to a few persons and addresses no more; waiting messages are cancelled. How many were."""
    return silence(here, [(who, reason) for who in names if who], reason)[1]  # a robot's letter has no address


def silence(here: Workspace, rows: Sequence[tuple[str, str]], reason: str) -> tuple[int, int]:
    """Add persons and addresses, each with its reason, to whom nothing is sent any more, and whom they have become by a
    sign-in since; what waits for them is cancelled for ``reason``. How many rows are new; how many letters were."""
    reasons, now = dict(rows), here.clock.now()
    new = here.outbox.suppress(rows, now, over=ERASING)  # first: a round that joins them from here on takes it along
    become = here.entries.keys_now(reasons)
    here.outbox.suppress([(key, reasons[who]) for who, key in become], now)
    return new, here.outbox.cancel(reason, of=[*reasons, *(key for _, key in become)])


def one_address(who: str) -> str:
    """An address or a person, without spaces around; InputError for what looks like more than one address."""
    plain = who.strip()
    if "@" in plain and _BESIDE_ADDRESS.search(plain):
        raise InputError(f"{plain!r} is not an address", "give the address alone: ann@example.com; --file takes many")
    return plain


def suppressions_of(text: str, name: str) -> list[tuple[str, str]]:
    """Rows of a CSV file of addresses or persons, one a line, with an optional reason; what the list prints is read.

    InputError, with the line, for quotes that do not close and for what looks like more than one address.
    """
    found = []
    lines = csv.reader(text.splitlines(), skipinitialspace=True, strict=True)
    try:
        for row in lines:
            who, reason = (one_address(row[0]) if row else ""), ",".join(row[1:]).strip()
            if who and who.lower() not in ("address", "email", "person", "who"):
                found.append((who, reason or f"from {name}"))
    except csv.Error as error:
        raise InputError(f"{name}, line {lines.line_num}: {error}", _LIST_FORM) from None
    except InputError as error:
        raise InputError(f"{name}, line {lines.line_num}: {error.message}", _LIST_FORM) from None
    return found


def doubt(here: Workspace) -> int:
    """In a workspace that was restored, letters that waited may have gone since: "unknown" from now on, and how many.

    A state of its own server was not restored, and stays as it is.
    """
    if here.has_state_elsewhere:
        return 0
    from footfall.retain.rounds import GONE, RETRIED

    told = "it waited when the backup was made, and may have gone since"
    return here.outbox.doubt(here.clock.now(), told, (GONE, RETRIED))


def described(posted: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the outbox for people: times without their microseconds."""
    return {
        key: value.replace(microsecond=0, tzinfo=UTC) if isinstance(value, datetime) else value
        for key, value in posted.items()
    }
