"""Rounds: who enters which journey, who leaves, which messages go; all reading first, then three writes.

    audience -> reachable -> enter, arms -> leave -> due -> rules above -> choice -> outbox

``plan`` reads and changes nothing; ``commit`` writes entries, then messages, then the entries' next steps. Each write
leaves alone what is there, so that a round that died is finished by the next. From plan to commit nobody else may
change who gets what: a plan knows nothing of whom another round joined, or an erasure took out, meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from footfall.config import JourneySettings
from footfall.errors import ConfigError, InputError
from footfall.model import Floats
from footfall.ports import Engine, Entries, Outbox
from footfall.retain import audience
from footfall.retain.arms import draws
from footfall.retain.audience import Asked, Audience
from footfall.retain.drafts import Drafts
from footfall.retain.listed import whom_not
from footfall.retain.overtaken import ADDRESSLESS, SCHEMA, overtaken
from footfall.retain.reach import reach
from footfall.retain.ready import Faults, ready
from footfall.retain.statements import text

GONE = "its journey is gone from footfall.toml"
PAUSED = "its journey is paused"
RETRIED = "asked for again; the next round looks at it"
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_LOOK_BACK = timedelta(days=30)  # messages of a journey that comes back within so many days go on
CART_WAIT = timedelta(hours=3)
NEXT_WAIT = timedelta(days=3)
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0}
_MICROSECOND = np.timedelta64(1, "us")

Choose = Callable[[Floats, Floats, npt.NDArray[np.int64], npt.NDArray[np.int64], float], npt.NDArray[np.bool_]]


class Shown(Asked, Protocol):
    """An engine in which the relations of ``retain.audience`` stand."""


@dataclass(frozen=True, slots=True)
class Setting:
    """All that a round depends on beside the log: journeys and the rules above them.

    audiences: name -> Audience. address_of: channel -> the contact that it needs ("email", "phone" or "person").
    lift: journey -> part of the stake that a message wins. names: provider -> its name. zone: of the workspace.
    choose: (value, cost, person, cap of that person, budget) -> which go; values and costs in major units, persons
    numbered from 0. space: of the workspace's message ids. faults: (template, language, whether the person has a name)
    -> why it cannot be filled.
    """

    journeys: Mapping[str, JourneySettings]
    audiences: Mapping[str, Audience]
    address_of: Mapping[str, str]
    lift: Mapping[str, float]
    prior_lift: float
    names: Mapping[str, str]
    zone: ZoneInfo
    language: str
    consent: str
    per_day: int
    per_week: int
    limit_s: float
    space: UUID
    choose: Choose
    faults: Faults = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a round would do. entering: entries to add. moving: journey -> entries with their next step.

    held: (journey, reason) -> persons who get nothing now, or letters that wait on, and why. next_due: journey -> when
    the first of those who are not yet due will be. overtaken: messages that wait and do not go any more, go
    elsewhere or otherwise, or wait for an address (``overtaken.SCHEMA``). faults: of templates and audiences.
    """

    now: datetime
    entering: tuple[pa.Table, ...]
    moving: Mapping[str, pa.Table]
    messages: Drafts
    held: Mapping[tuple[str, str], int] = field(default_factory=dict)
    next_due: Mapping[str, datetime] = field(default_factory=dict)
    overtaken: pa.Table = field(default_factory=lambda: SCHEMA.empty_table())
    faults: tuple[str, ...] = ()


def joined(engine: Engine, persons: Sequence[str]) -> dict[str, str]:
    """Keys under which persons are kept -> whose they are by now, for those who have signed in or were merged since."""
    kept = pa.table({"person": pa.array(persons, pa.string())})
    found = engine.query(text("joined"), None, given=kept)
    return dict(zip(found["person"].to_pylist(), found["is_now"].to_pylist(), strict=True))


def revive(outbox: Outbox, setting: Setting, now: datetime) -> int:
    """Let messages wait again that a person asked for, or whose journey was gone and is back under its name; how many.
    Before a round is planned, so that it looks at them as at all that wait; they go when it is carried out."""
    since = {GONE: now - _LOOK_BACK, RETRIED: _EVER}
    return sum(outbox.revive(reason, name, at) for name in setting.journeys for reason, at in since.items())


def check(setting: Setting, channels: Sequence[str], offers: Sequence[str]) -> None:
    """Refuse journeys that name an audience, a channel or an offer that is not there."""
    for name, journey in setting.journeys.items():
        where = f"[journeys.{name}]"
        if journey.audience not in setting.audiences:
            raise ConfigError(
                f"{where} audience {journey.audience!r} is none", f"there are: {', '.join(setting.audiences)}"
            )
        for number, step in enumerate(journey.steps, 1):
            if step.channel not in channels:
                known = ", ".join(channels) or "none: add a section [channels.email]"
                raise ConfigError(f"{where} step {number}: no channel {step.channel!r}", f"there are: {known}")
            if step.offer and step.offer not in offers:
                raise ConfigError(
                    f"{where} step {number}: no offer {step.offer!r}", f"there are: {', '.join(offers) or 'none'}"
                )


def plan(
    engine: Shown,
    entries: Entries,
    outbox: Outbox,
    setting: Setting,
    now: datetime,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> Planned:
    """What a round would do now; changes nothing. progress: called with journeys done, of all."""
    engine.execute(text("last_order"))
    engine.execute(text("words"), {"now": _naive(now)})
    suppressed = whom_not(outbox.suppressed())
    held: Counter[tuple[str, str]] = Counter()
    entering, due = [], []
    moving: dict[str, list[pa.Table]] = {}
    next_due: dict[str, datetime] = {}
    members: dict[str, pa.Array] = {}
    faults = list(setting.faults.values())
    for number, (name, journey) in enumerate(setting.journeys.items(), 1):
        if journey.paused:
            held[name, "paused"] += entries.active(name).num_rows
            continue
        try:
            people = audience.members(engine, setting.audiences[journey.audience], setting.limit_s)
        except InputError as error:  # an operator's SQL, or its time was up: the other journeys go on
            faults.append(error.message)
            held[name, f"wait until its audience is mended: {error.message}"] += entries.active(name).num_rows
            continue
        found = _one(engine, entries, setting, name, journey, people, suppressed, now, held)
        entering.append(found.entering)
        moving[name] = [found.leaving, found.passed]
        due.append(found.due)
        members[name] = found.members
        if found.later is not None:
            next_due[name] = found.later
        progress(number, len(setting.journeys))
    chosen = _chosen(due, outbox, setting, now, held)
    for name, rows in chosen.items():
        moving[name].append(_next(rows, setting.journeys[name], now))
    late = overtaken(engine, entries, outbox, setting, members, held)
    drafts = Drafts(now, chosen, setting.journeys, setting.names, setting.zone, setting.language, setting.space)
    return Planned(
        now=now,
        entering=tuple(rows for rows in entering if rows.num_rows),
        moving={name: pa.concat_tables(parts) for name, parts in moving.items() if any(p.num_rows for p in parts)},
        messages=drafts,
        held=dict(held),
        next_due=next_due,
        overtaken=late,
        faults=tuple(dict.fromkeys(faults)),
    )


def commit(planned: Planned, entries: Entries, outbox: Outbox, known: Sequence[str]) -> Counter[str]:
    """Carry a planned round out; what was done. ``known``: journeys that are still in footfall.toml.

    Waiting messages of journeys that are gone are cancelled.
    """
    done: Counter[str] = Counter()
    for rows in planned.entering:
        entries.add(rows)
        done["entered"] += rows.num_rows
    if withdrawn := outbox.overtake(planned.overtaken, planned.now, ADDRESSLESS):
        done["withdrawn"] = withdrawn
    for reason in (GONE, RETRIED):  # what ``revive`` let wait has been looked at
        outbox.release(reason, planned.now)
    done["planned"] = sum(outbox.add(piece) for piece in planned.messages.pieces())
    for name, rows in planned.moving.items():
        entries.move(name, rows)
        done["left"] += int(pc.sum(pc.equal(rows["status"], "exited")).as_py() or 0)
    for name in entries.journeys():
        if name not in known:
            done["cancelled"] += outbox.cancel(GONE, journey=name)
    return done


# ---------------------------------------------------------------- one journey


@dataclass(frozen=True, slots=True)
class _Found:
    entering: pa.Table
    leaving: pa.Table
    passed: pa.Table  # whose step sends nothing: the holdout's, steps that are gone, written or without address
    due: pa.Table
    later: datetime | None
    members: pa.Array  # persons of the audience


def _one(
    engine: Shown,
    entries: Entries,
    setting: Setting,
    name: str,
    journey: JourneySettings,
    members: pa.Table,
    suppressed: pa.Table,
    now: datetime,
    held: Counter[tuple[str, str]],
) -> _Found:
    latest = entries.latest(name)
    active = latest.filter(pc.equal(latest["status"], "active"))  # who is in a journey does not enter it again
    people = pc.unique(pa.chunked_array([*members["person"].chunks, *active["person"].chunks], pa.string()))
    needs = [setting.address_of[step.channel] for step in journey.steps]
    found = reach(engine, people, needs, suppressed, setting.consent)
    reachable = found.ways.filter(
        pc.equal(found.ways["needs"], needs[0])
    )  # who the first step cannot reach does not enter
    fresh = engine.query(
        text("entering"),
        {"re_entry_s": journey.re_entry_days * 86400.0, "now": _naive(now)},
        given_members=members,
        given_latest=latest,
        given_reachable=reachable,
    )
    entering = _entries(name, journey, fresh, now)
    active = pa.concat_tables([active, entering])
    leaving = engine.query(
        text("leaving"),
        {reason: reason in journey.exit for reason in ("bought", "unsubscribed", "left")},
        given_active=active,
        given_unwilling=found.unwilling,
        given_members=members,
    )
    gone, new = _keys(leaving), _keys(entering)
    # Who would leave at once does not enter: the journey has nothing to say to them, and nothing to prove by them.
    entering = entering.filter(pc.invert(pc.is_in(new, value_set=gone)))
    were_in = leaving.filter(pc.invert(pc.is_in(gone, value_set=new)))
    left = _moved(were_in, "exited", were_in["reason"])
    stays = active.filter(pc.invert(pc.is_in(_keys(active), value_set=gone)))
    came = stays.filter(pc.less_equal(stays["due_at"], _scalar(now)))
    letters = entries.letters(name, now)
    passed, due, back = ready(came, journey, needs, found, letters, setting.faults, setting.language)
    held.update({(name, reason): n for reason, n in back.items()})
    held[name, "not reachable"] += members.num_rows - int(
        pc.sum(pc.is_in(members["person"], value_set=reachable["person"].combine_chunks())).as_py() or 0
    )
    held[name, "not yet due"] += stays.num_rows - came.num_rows
    later = pc.min(stays.filter(pc.greater(stays["due_at"], _scalar(now)))["due_at"]).as_py()
    later = None if later is None else later.replace(tzinfo=UTC)
    return _Found(entering, left, _next(passed, journey, now), due, later, members["person"].combine_chunks())


def _entries(name: str, journey: JourneySettings, fresh: pa.Table, now: datetime) -> pa.Table:
    """Entries of those who enter now, each in its arm, with the time of its first step."""
    n = fresh.num_rows
    since = fresh["since"].combine_chunks().cast(pa.timestamp("us"))
    drawn = pa.array(draws(name, fresh["person"].combine_chunks()) < journey.holdout)
    arm = pc.coalesce(fresh["former_arm"], pc.if_else(drawn, "holdout", "treated"))  # drawn once in a person's life
    at = np.maximum(since.to_numpy(zero_copy_only=False) + _first_wait(journey, fresh), np.datetime64(_naive(now)))
    return pa.table(
        {
            "journey": pa.repeat(name, n),
            "person": fresh["person"],
            "entry": fresh["entry"].cast(pa.int64()),
            "entered_at": pa.repeat(_scalar(now), n),
            "since": since,
            "provider_id": fresh["provider_id"],
            "category": fresh["category"],
            "stake": fresh["stake"].cast(pa.float64()),
            "arm": arm,
            "step": pa.array(np.zeros(n, np.int64)),
            "due_at": pa.array(at.astype("datetime64[us]"), pa.timestamp("us")),
            "status": pa.repeat("active", n),
            "reason": pa.repeat("", n),
        }
    )


def _first_wait(journey: JourneySettings, fresh: pa.Table) -> Any:
    """How long after ``since`` the first message is due, timedelta64 (n,) or one for all.

    auto: the category's follow-up day for visitors who did not buy; three hours for a cart; at once for audiences whose
    SQL is about the moment already.
    """
    wait = journey.steps[0].wait
    if wait != "auto":
        return _span(wait) / timedelta(microseconds=1) * _MICROSECOND
    if journey.audience == "cart_abandoned":
        return CART_WAIT / timedelta(microseconds=1) * _MICROSECOND
    if journey.audience == "visited_not_bought":
        days = np.nan_to_num(fresh["follow_up"].cast(pa.float64()).to_numpy(zero_copy_only=False), nan=1.0)
        return (days * 86400e6).astype("timedelta64[us]")
    return 0 * _MICROSECOND


def _span(wait: str) -> timedelta:
    if wait == "auto":
        return NEXT_WAIT
    return timedelta() if wait == "now" else timedelta(seconds=float(wait[:-1]) * _UNITS[wait[-1]])


def _next(rows: pa.Table, journey: JourneySettings, now: datetime) -> pa.Table:
    """Entries whose step was done: the next one with its time, or the end."""
    step = np.asarray(rows["step"].to_numpy(), np.int64) + 1
    waits = np.array([_naive(now + _span(s.wait)) for s in journey.steps[1:]] + [_naive(now)], "datetime64[us]")
    last = step >= len(journey.steps)
    return pa.table(
        {
            "person": rows["person"],
            "entry": rows["entry"],
            "step": step,
            "due_at": pa.array(waits[np.minimum(step, len(journey.steps)) - 1], pa.timestamp("us")),
            "status": pc.if_else(pa.array(last), "done", "active"),
            "reason": pa.repeat("", len(step)),
        }
    )


def _moved(rows: pa.Table, status: str, reason: pa.ChunkedArray) -> pa.Table:
    n = rows.num_rows
    return pa.table(
        {
            "person": rows["person"],
            "entry": rows["entry"].cast(pa.int64()),
            "step": pa.array(np.zeros(n, np.int64)),
            "due_at": pa.repeat(pa.scalar(datetime(1970, 1, 1), pa.timestamp("us")), n),
            "status": pa.repeat(status, n),
            "reason": reason.cast(pa.string()),
        }
    )


# ---------------------------------------------------------------- which messages go


def _chosen(
    due: Sequence[pa.Table], outbox: Outbox, setting: Setting, now: datetime, held: Counter[tuple[str, str]]
) -> dict[str, pa.Table]:
    """Of what is due, what the caps and each journey's budget leave room for, the most valuable first."""
    parts = [_priced(rows, setting) for rows in due if rows.num_rows]
    if not parts:
        return {}
    names = [part["journey"][0].as_py() for part in parts]
    journey = np.repeat(np.arange(len(parts)), [part.num_rows for part in parts])
    rows = pa.concat_tables(parts)
    people = rows["person"].combine_chunks().dictionary_encode()
    person = np.asarray(people.indices.to_numpy(), np.int64)
    pressure = outbox.pressure(now)
    at = pc.index_in(pressure["person"], value_set=people.dictionary)
    used = np.zeros((2, len(people.dictionary)), np.int64)
    here = np.asarray(pc.is_valid(at).to_numpy(), bool)
    for k, window in enumerate(("day", "week")):
        used[k, np.asarray(at.drop_null().to_numpy(), np.int64)] = pressure[window].to_numpy()[here]
    cap = np.maximum(np.minimum(setting.per_day - used[0], setting.per_week - used[1]), 0)
    value, cost = (np.asarray(rows[name].to_numpy(), np.float64) for name in ("value", "cost"))
    worth = value > 0
    go = np.zeros(rows.num_rows, bool)
    for number, name in enumerate(names):  # budgets are a journey's own: they cut its messages before the caps
        of = np.flatnonzero((journey == number) & worth)
        budget = setting.journeys[name].budget or float("inf")
        kept = setting.choose(value[of], cost[of], person[of], np.ones(len(cap), np.int64), budget)
        go[of[kept]] = True
        held[name, "not worth its cost"] += int(((journey == number) & ~worth).sum())
        held[name, "budget"] += int((~kept).sum())
    asked = np.flatnonzero(go)
    kept = setting.choose(value[asked], cost[asked], person[asked], cap, float("inf"))
    for name, n in _counted(rows["journey"].take(pa.array(asked[~kept]))):
        held[name, "cap a person"] += n
    return _by_journey(rows.take(pa.array(asked[kept])))


def _counted(names: pa.ChunkedArray) -> list[tuple[str, int]]:
    return [(each["values"], each["counts"]) for each in pc.value_counts(names).to_pylist()]


def _by_journey(table: pa.Table) -> dict[str, pa.Table]:
    return {name: table.filter(pc.equal(table["journey"], name)) for name in pc.unique(table["journey"]).to_pylist()}


def _priced(rows: pa.Table, setting: Setting) -> pa.Table:
    """Messages with what each is expected to win beyond its cost: stake x lift - cost, and with that cost."""
    name = rows["journey"][0].as_py()
    steps = setting.journeys[name].steps
    cost = np.array([s.cost for s in steps])[np.asarray(rows["step"].to_numpy(), np.int64)]
    lift = setting.lift.get(name, setting.prior_lift)
    value = np.asarray(rows["stake"].to_numpy(), np.float64) * lift - cost
    # A stake that nobody could tell (0) is no reason to stay silent where a message costs nothing.
    value = np.where((value <= 0) & (cost == 0), 1e-9, value)
    return rows.append_column("value", pa.array(value)).append_column("cost", pa.array(cost))


def _keys(rows: pa.Table) -> pa.Array:
    entry = rows["entry"].cast(pa.string())
    return pc.binary_join_element_wise(rows["person"], entry, "\x1f").combine_chunks()


def _scalar(now: datetime) -> pa.Scalar:
    return pa.scalar(_naive(now), pa.timestamp("us"))


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
