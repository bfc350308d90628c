"""``footfall retain | journeys | outbox | unsubscribe | lift``."""

from __future__ import annotations

from collections import Counter
from datetime import MAXYEAR
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from footfall.acquire.rules import near
from footfall.app import messaging, offering, output, proving
from footfall.app.build import Workspace, open_workspace
from footfall.app.cli.options import WAITS, FormatOption, WorkspaceOption
from footfall.app.output import Format
from footfall.app.progress import bar
from footfall.errors import ConfigError, InputError
from footfall.model import Held, MessageStatus
from footfall.persons import id_of

DRAWN = 20
REASONS = 5
BY_OPERATOR = "by the operator"
NO_JOURNEY = "add a section [journeys.NAME]; `footfall config` shows one"
WHY = ("journey", "customer_id", "channel", "address", "template", "value", "why")
MESSAGE = (
    "message_id",
    "journey",
    "customer_id",
    "step",
    "channel",
    "address",
    "status",
    "attempts",
    "due_at",
    "waits_until",
    "told",
)
MESSAGE_SHOWN = (  # what became of it stands before what narrow windows leave out
    "message_id",
    "status",
    "journey",
    "customer_id",
    "told",
    "channel",
    "step",
    "address",
    "attempts",
    "due_at",
    "waits_until",
)
LIFT = (
    "journey",
    "metric",
    "treated",
    "holdout",
    "treated_mean",
    "holdout_mean",
    "difference",
    "low",
    "high",
    "total",
    "total_low",
    "total_high",
    "verdict",
    "more_days",
    "split_p",
)
LIFT_SHOWN = ("journey", "metric", "treated", "holdout", "difference", "low", "high", "total", "verdict", "more_days")


def retain(
    *,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative=(), help="List what would go to whom and why; change nothing.")
    ] = False,
    send: Annotated[bool, Parameter(name="--send", help="Hand over what is due; else only plan it.")] = True,
    limit: Annotated[int, Parameter(help="Messages to list; 0 = all. Tables show 20 unless told.")] = -1,
    clock_is_right: Annotated[
        bool,
        Parameter(
            name="--clock-is-right",
            negative=(),
            help="Go by this clock: an earlier round's was ahead.",
        ),
    ] = False,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """One round of all journeys: who enters, who leaves, which messages go; then send what is due.

    Caps a person, quiet hours, consent and the list of whom not stand above every journey. Where they or a budget force
    a choice, the messages of the greatest expected incremental value go.

    For example:

        footfall retain --dry-run
        footfall retain
        footfall retain --no-send
    """
    if limit < -1:
        raise ConfigError(f"--limit {limit}", "give 0 for all messages, or a number of them")
    if clock_is_right and dry_run:
        raise ConfigError("--clock-is-right changes what rounds go by from here on", "leave out --dry-run")
    here = open_workspace(workspace)
    screen, done = output.console(stderr=True), None
    if clock_is_right:
        messaging.begin_from(here, here.clock.now())
    if dry_run:
        with bar("round") as advance:
            planned = messaging.plan_round(here, advance, dry=True)
    else:
        with bar("round") as advance:
            planned, done = messaging.one_round(here, advance, lambda: screen.print(WAITS, soft_wrap=True))
    if planned.messages and not here.config.retain.public_url:
        screen.print("note: [retain] public_url is empty: letters carry no link that unsubscribes", soft_wrap=True)
    for fault in planned.faults:
        screen.print(f"warning: {fault}; what depends on it waits until it is mended", soft_wrap=True)
    for name, persons in messaging.gone(here).items():
        screen.print(
            f"note: journey {name} is gone from footfall.toml with {persons:,} persons in it; none of its messages go "
            "out. If it was renamed, put the old name back: under another name it draws arms and lets people in anew",
            soft_wrap=True,
        )
    if done is None:
        _tell_dry_run(screen, here, planned, limit, format)
        _tell_held(screen, planned, here.zone)
        return
    why: Counter[Held] = Counter()
    with bar("send") as advance:
        sent = messaging.send(here, progress=advance, on_held=lambda held: why.update([held])) if send else None
    rows = [{"what": what, "messages or persons": n} for what, n in [*done.items(), *(sent or {}).items()]]
    output.write(rows, format, ("what", "messages or persons"))
    _tell_reasons(screen, why)
    _tell_held(screen, planned, here.zone)


def _tell_dry_run(screen: Any, here: Workspace, planned: Any, limit: int, format: Format) -> None:
    """What would go to whom and why, what it is expected to win, and offers that have too few codes for it."""
    most = limit if limit >= 0 else DRAWN if format == "table" else 0
    rows = [_why(message, why) for message, why in planned.messages.told(most)]
    output.write(rows, format, WHY, lambda: output.draw(rows, WHY, numbers={"value": ",.2f"}))
    screen.print(f"{len(rows):,} of {len(planned.messages):,} messages; nothing was changed.", soft_wrap=True)
    for name, (messages, value) in planned.messages.totals().items():
        screen.print(f"{name}: {messages:,} messages, expected to win {value:,.2f}", soft_wrap=True)
    left = offering.codes_left(here)
    for name, messages in planned.messages.offers().items():
        if left.get(name, messages) < messages:
            told = f"offer {name} has {left[name]:,} codes left for {messages:,} messages"
            screen.print(f"warning: {told}; those that find none are cancelled", soft_wrap=True)


def _why(message: Any, why: str) -> dict[str, Any]:
    return {
        "journey": message.journey,
        "customer_id": id_of(message.person),
        "channel": message.channel,
        "address": message.address,
        "template": message.template,
        "value": message.value,
        "why": why,
    }


def _tell_reasons(screen: Any, why: Counter[Held]) -> None:
    """Why messages did not go, the most common reasons first."""
    reasons: Counter[str] = Counter()
    for held, messages in why.items():
        reasons[f"{'held' if held.until else 'cancelled'}: {held.reason}"] += messages
    for reason, messages in reasons.most_common(REASONS):
        screen.print(f"{messages:,} {reason}", soft_wrap=True)
    if len(reasons) > REASONS:
        screen.print(
            f"... and {len(reasons) - REASONS:,} reasons more; `footfall outbox list` tells each", soft_wrap=True
        )


def _tell_held(screen: Any, planned: Any, zone: Any) -> None:
    for (journey, reason), persons in sorted(planned.held.items()):
        if persons:
            at = planned.next_due.get(journey) if reason == "not yet due" else None
            when = f", the next on {at.astimezone(zone):%Y-%m-%d at %H:%M}" if at is not None else ""
            screen.print(f"{journey}: {persons:,} {reason}{when}", soft_wrap=True)


def journeys(*, workspace: WorkspaceOption = None, format: FormatOption = "table") -> None:
    """The journeys of footfall.toml: who is in them, in which arm, and what became of their messages.

    For example:

        footfall journeys
        footfall journeys --format json
    """
    here = open_workspace(workspace)
    faults = messaging.setting(here, dry=True).faults
    by_status = here.outbox.counts()
    people: dict[str, dict[str, int]] = {}
    for count in here.entries.counts():
        one = people.setdefault(count["journey"], {})
        for key in (count["arm"], count["status"]):
            one[key] = one.get(key, 0) + count["entries"]
    columns = ("journey", "audience", "steps", "state", "treated", "holdout", "active", "done", "exited", "waiting", "sent", "dead", "unknown", "cancelled")  # fmt: skip  # noqa: E501
    rows = []
    for name in sorted({*here.config.journeys, *people}):
        journey = here.config.journeys.get(name)
        row: dict[str, Any] = {
            "journey": name,
            "audience": journey.audience if journey else None,
            "steps": len(journey.steps) if journey else None,
            "state": "gone" if journey is None else "paused" if journey.paused else "on",
        }
        row |= {key: people.get(name, {}).get(key, 0) for key in columns[4:9]}
        row |= {key: by_status.get((name, key), 0) for key in columns[9:]}
        rows.append(row)
    output.write(rows, format, columns)
    for fault in dict.fromkeys(faults.values()):
        output.console(stderr=True).print(f"warning: {fault}", soft_wrap=True)


OUTBOX_HELP = """Messages before and after they go.

For example:

    footfall outbox
    footfall outbox list --status dead
    footfall outbox preview cart --language zh-Hant
"""
outbox_app = App(name="outbox", help=OUTBOX_HELP, help_format="plaintext", version_flags=[])


@outbox_app.default
@outbox_app.command(name="list")
def outbox_list(
    *,
    status: MessageStatus | None = None,
    journey: str | None = None,
    limit: int = 50,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Messages with what became of them, newest due first.

    For example:

        footfall outbox list --status dead
        footfall outbox list --journey carts --limit 0 --format csv > messages.csv

    Parameters
    ----------
    status
        Only waiting, claimed, handing, sent, dead, unknown or cancelled ones.
    journey
        Only those of one journey.
    limit
        How many; 0 = all.
    """
    here = open_workspace(workspace)
    if limit < 0:
        raise ConfigError(f"--limit {limit}", "give 0 for all messages, or a number of them")
    known = sorted({*here.config.journeys, *here.entries.journeys()})
    if journey is not None and journey not in known:
        raise ConfigError(f"there is no journey {journey!r}", near(journey, known) if known else NO_JOURNEY)
    rows = [_row(posted, here.zone) for posted in here.outbox.messages(status, journey, limit)]
    output.write(rows, format, MESSAGE, lambda: output.draw(rows, MESSAGE_SHOWN))


def _row(posted: Any, zone: Any) -> dict[str, Any]:
    message, waits = posted.message, posted.next_at if posted.status == "waiting" else None
    if waits is not None and waits.year == MAXYEAR:  # until something comes; `told` says what
        waits = None
    return {
        "message_id": message.message_id,
        "journey": message.journey,
        "customer_id": id_of(message.person),
        "step": message.step + 1,
        "channel": message.channel,
        "address": message.address,
        "status": posted.status,
        "attempts": posted.attempts,
        "due_at": message.due_at.astimezone(zone),
        "waits_until": waits and waits.astimezone(zone),
        "told": posted.receipt or posted.error,
    }


@outbox_app.command(name="show")
def outbox_show(message_id: str, /, *, workspace: WorkspaceOption = None) -> None:
    """A message: what became of it, and the letter as it would go now.

    For example:

        footfall outbox show 0b6c5c8e-...

    Parameters
    ----------
    message_id
        The message's id, as `footfall outbox list` shows it.
    """
    here = open_workspace(workspace)
    posted = here.outbox.posted(message_id)
    if posted is None:
        raise InputError(f"there is no message {message_id!r}", "`footfall outbox list` shows them")
    for name, told in _row(posted, here.zone).items():
        print(f"{name}: {told}")  # noqa: T201
    letter = messaging.letter_shown(here, posted.message)
    print(f"\nSubject: {letter.subject}\n\n{letter.text}")  # noqa: T201


@outbox_app.command(name="preview")
def outbox_preview(template: str, /, *, language: str = "en", workspace: WorkspaceOption = None) -> None:
    """A template filled with an example, as it would go.

    For example:

        footfall outbox preview cart --language zh-Hant

    Parameters
    ----------
    template
        The template's name: cart, or one of your own in WORKSPACE/templates.
    language
        en, zh-Hant or zh-Hans.
    """
    from footfall.retain.letters import LANGUAGES, preview

    if language not in LANGUAGES:
        raise ConfigError(f"--language {language!r}", f"use one of: {', '.join(LANGUAGES)}")
    here = open_workspace(workspace)
    templates = messaging.templates(here)
    templates.check(template)
    letter = preview(templates, template, language)
    print(f"Subject: {letter.subject}\n\n{letter.text}")  # noqa: T201


@outbox_app.command(name="retry")
def outbox_retry(message_id: str, /, *, workspace: WorkspaceOption = None) -> None:
    """Ask again for a dead, unknown or cancelled message: the next round lets it go, unless its person has left, bought
    or never consented. An unknown one may then arrive twice.

    For example:

        footfall outbox retry 0b6c5c8e-...

    Parameters
    ----------
    message_id
        The message's id, as `footfall outbox list` shows it.
    """
    here = open_workspace(workspace)
    messaging.retry(here, message_id)
    print("The next round looks at it again, and lets it go unless its person is to get nothing.")  # noqa: T201


def unsubscribe(
    who: Annotated[str | None, Parameter(help="An address or a person's id.")] = None,
    /,
    *,
    file: Annotated[Path | None, Parameter(help="A file of addresses or persons, one a line.")] = None,
    undo: Annotated[
        bool, Parameter(name="--undo", negative=(), help="Take them off the list again, person and address.")
    ] = False,
    workspace: WorkspaceOption = None,
    format: FormatOption = "table",
) -> None:
    """Never write to an address or a person again; waiting messages are cancelled. Without a name: show the list.

    For example:

        footfall unsubscribe ann@example.com
        footfall unsubscribe --file bounces.csv
        footfall unsubscribe ann@example.com --undo
        footfall unsubscribe --format csv > suppressed.csv
    """
    here = open_workspace(workspace)
    if who is not None and file is not None:
        raise ConfigError("both a name and --file", "give one of them")
    if undo:
        gone = here.outbox.unsuppress(who) if who is not None else ()
        if not gone:
            raise InputError(f"{who!r} is not on the list", "`footfall unsubscribe` shows it")
        print(f"{', '.join(gone)} may be written to again.")  # noqa: T201
    elif file is not None:
        try:
            rows = messaging.suppressions_of(file.read_text(encoding="utf-8-sig"), file.name)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read: {error}", "give a UTF-8 text file, one address a line") from None
        new, cancelled = messaging.silence(here, rows, BY_OPERATOR)
        told = f"{new:,} of {len(rows):,} are new on the list; {cancelled:,} waiting messages were cancelled."
        print(told)  # noqa: T201
    elif who is not None:
        who = messaging.one_address(who)
        cancelled = messaging.unsubscribe(here, who, reason=BY_OPERATOR)
        print(f"{who} is not written to any more; {cancelled} waiting messages were cancelled.")  # noqa: T201
    else:
        listed = [{"who": key, "reason": reason} for key, reason in sorted(here.outbox.suppressed().items())]
        output.write(listed, format, ("who", "reason"))


def lift(*, workspace: WorkspaceOption = None, format: FormatOption = "table") -> None:
    """What each journey added: treated against its holdout, a unit is a person who entered.

    difference is treated less holdout for one person, with a 95 % interval; total is that for all treated. margin is
    GMV x the journey's margin, less messages and redeemed offers. more_days says how long until an effect of the size
    seen, or a tenth of the holdout's mean, would show; split_p under 0.001 means that the arms are not as planned.

    For example:

        footfall lift
        footfall lift --format json
    """
    here = open_workspace(workspace)
    if not here.config.journeys:
        raise ConfigError("footfall.toml has no journey", NO_JOURNEY)
    with bar("lift"):
        rows = proving.lifts(here)
    numbers = dict.fromkeys(("difference", "low", "high"), ",.4f") | {"total": ",.2f", "more_days": ",.0f"}
    output.write(rows, format, LIFT, lambda: output.draw(rows, LIFT_SHOWN, numbers=numbers))
    screen = output.console(stderr=True)
    for name in dict.fromkeys(row["journey"] for row in rows):
        mine = [row for row in rows if row["journey"] == name]
        if mine[0]["split_p"] is not None and mine[0]["split_p"] < 0.001:
            screen.print(f"warning: {name}: the arms are not split as planned; do not trust its lift", soft_wrap=True)
        conversion = mine[0]
        if conversion["verdict"] == "not enough evidence":
            days = conversion["more_days"]
            more = f", about {days:,.0f} more days" if days is not None else ""
            screen.print(f"{name}: not enough evidence yet{more}", soft_wrap=True)
