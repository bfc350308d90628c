"""The outbox in the state's database (``ports.Outbox``): SQLite, or PostgreSQL for many workers.

    waiting -> claimed (a worker's, until its lease is over) -> handing -> sent | dead | unknown | waiting again
    waiting, claimed -> cancelled

``handing`` is on disk before the channel gets the message. A worker hands over one message at a time, so whatever it
was doing when it died, at most one message of its is in doubt; that one is ``unknown`` and not sent again, unless its
channel tells twins apart. Caps and suppressions are looked at in the transaction that says ``handing``, which no other
writer shares: no number of workers, journeys or rounds gets around them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import sqlalchemy as sa

from footfall.addresses import listed_as, spellings
from footfall.errors import InputError
from footfall.model import Caps, Held, Message, MessageStatus, Posted, Receipt
from footfall.persons import id_of
from footfall.stores import joins, schema
from footfall.stores.database import OnDatabase, naive
from footfall.stores.schema import messages, suppressions

_COUNTED = ("handing", "sent", "unknown")  # what may have reached a person, and counts against the caps
_STATES = {"sent": "sent", "dead": "dead", "unknown": "unknown", "retry": "waiting"}
_CHUNK = 2000
_NOT_BEFORE_RELEASE = datetime(9999, 1, 1)
_NOT_BEFORE_ADDRESS = datetime(9999, 1, 2)
_GIVEN = ("message_id", "journey", "person", "step", "entry", "channel", "address", "template", "language", "context", "value", "due_at", "next_at", "status")  # fmt: skip  # noqa: E501
_FEW = 500  # values of one condition


def _mine() -> sa.ColumnElement[bool]:
    # A receipt that comes after the lease was taken away still tells the truth of an unknown message.
    c = messages.c
    return (c.message_id == sa.bindparam("at_id")) & (
        ((c.status == "handing") & (c.worker == sa.bindparam("by"))) | (c.status == "unknown")
    )


# What each message costs runs often enough to be built once.
_LOOKED_AT = sa.select(
    messages.c.status, messages.c.worker, messages.c.person, messages.c.address, messages.c.error
).where(messages.c.message_id == sa.bindparam("at_id"))
_SUPPRESSED = sa.select(suppressions.c.reason).where(
    suppressions.c.who.in_([sa.bindparam(f"key_{n}") for n in range(6)])  # of person, address, plain: two spellings
)
_REACHED = sa.select(messages.c.handed_at).where(
    messages.c.status.in_(_COUNTED)
    & (messages.c.person == sa.bindparam("who"))
    & (messages.c.handed_at > sa.bindparam("after"))
)
_HANDING = (
    messages.update()
    .where(messages.c.message_id == sa.bindparam("at_id"))
    .values(
        status="handing",
        handed_at=sa.bindparam("at"),
        lease_until=sa.bindparam("until"),
        attempts=messages.c.attempts + 1,
    )
)
_FREED: dict[str, Any] = {"status": sa.bindparam("new_status"), "worker": "", "lease_until": None}


def _freed(**more: Any) -> Any:
    return messages.update().where(_mine()).values(**_FREED, **more).returning(messages.c.address)


_TRY_AGAIN = _freed(next_at=sa.bindparam("at"), error=sa.bindparam("told"), handed_at=None)
_SENT = _freed(settled_at=sa.bindparam("at"), receipt=sa.bindparam("told"))
_ENDED = _freed(settled_at=sa.bindparam("at"), error=sa.bindparam("told"))

Settled = Sequence[tuple[str, Receipt, datetime | None]]


class _Priced(msgspec.Struct):
    """What a message's context says of its cost; None: it was written when none did."""

    cost: float | None = None


class SqlOutbox(OnDatabase):
    """``ports.Outbox`` on SQLAlchemy; opening it brings the schema up to date."""

    # ------------------------------------------------------------ in and out

    def add(self, given: Sequence[Message]) -> int:
        """Put messages in that wait; those whose journey, person, step and entry are there are left. How many."""
        mark, is_text = ("?", True) if self._engine.dialect.name == "sqlite" else ("%s", False)
        marks = ", ".join([mark] * len(_GIVEN))
        insert = f"INSERT INTO messages ({', '.join(_GIVEN)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        added = 0
        with self._writing() as connection:
            for at in range(0, len(given), _CHUNK):
                part = given[at : at + _CHUNK]
                due = {moment: _time(moment, is_text) for moment in {message.due_at for message in part}}
                rows = [_row(message, due[message.due_at]) for message in part]
                added += connection.exec_driver_sql(insert, rows).rowcount
        return added

    def claim(self, worker: str, now: datetime, most: int, lease_s: float) -> tuple[Message, ...]:
        """As ``ports.Outbox.claim``."""
        c, at = messages.c, naive(now)
        due = sa.select(messages).where((c.status == "waiting") & (c.next_at <= at))
        with self._writing() as connection:
            rows = connection.execute(due.order_by(c.attempts, c.value.desc(), c.message_id).limit(most)).all()
            change = messages.update().where((c.message_id == sa.bindparam("at_id")) & (c.status == "waiting"))
            taken = change.values(status="claimed", worker=worker, lease_until=naive(now + timedelta(seconds=lease_s)))
            if rows:
                connection.execute(taken, [{"at_id": row.message_id} for row in rows])
        return tuple(_message(row) for row in rows)

    def hand(
        self, message_id: str, worker: str, now: datetime, caps: Caps, lease_s: float, settled: Settled = ()
    ) -> Held | None:
        """Mark a claimed message as being handed over; None where it may go, else why it is held back."""
        with self._writing() as connection:
            self._settle(connection, worker, now, settled)
            row = connection.execute(_LOOKED_AT, {"at_id": message_id}).first()
            if row is None or row.status != "claimed" or row.worker != worker:
                return _not_mine(row, now)
            held = self._against(connection, row, now, caps)
            if held is not None:
                self._hold(connection, message_id, held)
                return held
            until = naive(now + timedelta(seconds=lease_s))
            connection.execute(_HANDING, {"at_id": message_id, "at": naive(now), "until": until})
        return None

    def settle(self, worker: str, now: datetime, settled: Settled) -> None:
        """Record receipts; a retry waits until the time beside it."""
        if settled:
            with self._writing() as connection:
                self._settle(connection, worker, now, settled)

    def hold(self, message_id: str, worker: str, held: Held) -> None:
        """Put a claimed message back until a time, or cancel it."""
        c = messages.c
        with self._writing() as connection:
            row = connection.execute(sa.select(c.worker, c.status).where(c.message_id == message_id)).first()
            if row is not None and row.worker == worker and row.status == "claimed":
                self._hold(connection, message_id, held)

    def release(self, reason: str, now: datetime, journeys: Sequence[str] | None = None) -> int:
        """As ``ports.Outbox.release``."""
        c, at = messages.c, naive(now)
        held = (c.status == "waiting") & (c.next_at > at) & c.error.startswith(reason, autoescape=True)
        if journeys is not None:
            held &= c.journey.in_(list(journeys))
        with self._writing() as connection:
            return connection.execute(messages.update().where(held).values(next_at=at, error="")).rowcount

    def give_back(self, worker: str) -> int:
        """Let what this worker has claimed and not handed over wait again; how many."""
        c = messages.c
        mine = messages.update().where((c.status == "claimed") & (c.worker == worker))
        with self._writing() as connection:
            return connection.execute(mine.values(status="waiting", worker="", lease_until=None)).rowcount

    def recover(self, now: datetime, idempotent: Sequence[str], *, alone: bool = False) -> Mapping[str, int]:
        """As ``ports.Outbox.recover``."""
        c = messages.c
        over = sa.true() if alone else c.lease_until <= naive(now)
        again = over & ((c.status == "claimed") | ((c.status == "handing") & c.channel.in_(list(idempotent))))
        free = {"status": "waiting", "worker": "", "lease_until": None}
        lost = {
            "status": "unknown",
            "settled_at": naive(now),
            "error": "its worker died between handing it over and the answer: it may have arrived",
        }
        with self._writing() as connection:
            waiting = connection.execute(messages.update().where(again).values(**free)).rowcount
            unknown = connection.execute(
                messages.update().where(over & (c.status == "handing")).values(**lost)
            ).rowcount
        return {"waiting": waiting, "unknown": unknown}

    def doubt(self, now: datetime, reason: str, revived: Sequence[str] = ()) -> int:
        """As ``ports.Outbox.doubt``."""
        c, lost = messages.c, {"status": "unknown", "settled_at": naive(now), "error": reason, "lease_until": None}
        may_wait = (c.status == "cancelled") & c.error.in_(list(revived))
        open_ = messages.update().where(c.status.in_(("waiting", "claimed", "handing")) | may_wait)
        with self._writing() as connection:
            return connection.execute(open_.values(**lost)).rowcount

    # ------------------------------------------------------------ whom not

    def suppress(self, rows: Sequence[tuple[str, str]], now: datetime, over: str = "") -> int:
        """As ``ports.Outbox.suppress``."""
        with self._writing() as connection:
            if over:
                names = sorted({listed_as(who) for who, _ in rows})
                for at in range(0, len(names), _FEW):
                    which = suppressions.c.who.in_(names[at : at + _FEW])
                    passing = suppressions.c.reason.startswith(over, autoescape=True)
                    connection.execute(suppressions.delete().where(which & passing))
            return self._suppress(connection, rows, now)

    def unsuppress(self, who: str) -> tuple[str, ...]:
        """As ``ports.Outbox.unsuppress``."""
        plain, gone = id_of(who.strip()), list[str]()
        known = sa.select(messages.c.person, messages.c.address).distinct()
        with self._writing() as connection:
            asked = joins.all_keys(connection, {*spellings(who), *schema.spelled([plain, *spellings(plain)])})
            same = {*asked, *(name for key in asked for name in spellings(id_of(key)))}
            for person, address in connection.execute(known):
                keys = {*spellings(person), *spellings(address)}
                if not keys.isdisjoint(asked):
                    same |= {*keys, *spellings(id_of(person))}
            names = sorted(same)
            for at in range(0, len(names), _FEW):
                which = suppressions.c.who.in_(names[at : at + _FEW])
                gone += connection.execute(suppressions.delete().where(which).returning(suppressions.c.who)).scalars()
        return tuple(gone)

    def unlist(self, people: Sequence[str], reason: str) -> int:
        """As ``ports.Outbox.unlist``."""
        c, reasons = suppressions.c, set[str]()
        known = sorted({listed_as(who) for who in schema.spelled(people)})
        with self._writing() as connection:
            for at in range(0, len(known), _FEW):
                which = c.who.in_(known[at : at + _FEW]) & c.reason.startswith(reason, autoescape=True)
                reasons |= set(connection.execute(sa.select(c.reason).where(which)).scalars())
            gone = connection.execute(suppressions.delete().where(c.reason.in_(sorted(reasons)))).rowcount
        with schema.readable_errors(self._place):
            schema.scrub(self._engine)
        return gone

    def suppressed(self) -> Mapping[str, str]:
        """Address or person -> reason."""
        with self._reading() as connection:
            return {row.who: row.reason for row in connection.execute(sa.select(suppressions))}

    def suppressed_for(self, reason: str) -> pa.Table:
        """who, at: addresses and persons on that list for this reason, and since when (UTC, without zone)."""
        c = suppressions.c
        with self._reading() as connection:
            rows = connection.execute(sa.select(c.who, c.at).where(c.reason == reason)).all()
        who, at = zip(*rows, strict=True) if rows else ((), ())
        return pa.table({"who": pa.array(who, pa.string()), "at": pa.array(at, pa.timestamp("us"))})

    def cancel(self, reason: str, journey: str | None = None, of: Collection[str] | None = None) -> int:
        """As ``ports.Outbox.cancel``. What is added to the outbox meanwhile is another's, or kept back by the list."""
        c = messages.c
        which: sa.ColumnElement[bool] = c.status.in_(("waiting", "claimed"))
        if journey is not None:
            which &= c.journey == journey
        parts = [which] if of is None else [which & part for part in self._to(of, which)]
        ended = {"status": "cancelled", "error": reason}
        with self._writing() as connection:
            return sum(connection.execute(messages.update().where(part).values(**ended)).rowcount for part in parts)

    def _to(self, names: Collection[str], which: sa.ColumnElement[bool]) -> list[sa.ColumnElement[bool]]:
        """Messages to these persons or addresses, of those ``which``, in parts; nobody waits for this reading."""
        c, listed = messages.c, {listed_as(who) for who in names}
        begins = {who.rpartition("@")[0] + "@" for who in listed if "@" in who}
        query = sa.select(c.address).where(which).distinct()
        if len(begins) <= _FEW:
            trimmed = sa.func.lower(sa.func.trim(c.address))
            # Spellings of an address share what stands in front of the @; a database makes small only what ASCII has.
            like = [trimmed.startswith(one, autoescape=True) if one.isascii() else c.address.like("%@%") for one in begins]  # fmt: skip  # noqa: E501
            query = query.where(sa.or_(sa.false(), *like))
        with self._reading() as connection:
            spelled = [one for one in connection.execute(query).scalars() if listed_as(one) in listed]
        both = ((c.person, sorted(schema.spelled(names))), (c.address, sorted(spelled)))
        return [column.in_(known[at : at + _FEW]) for column, known in both for at in range(0, len(known), _FEW)]

    def waiting(self) -> pa.Table:
        """As ``ports.Outbox.waiting``."""
        c = messages.c
        lacks = (c.next_at == _NOT_BEFORE_ADDRESS).label("lacks_address")
        columns = (c.message_id, c.journey, c.person, c.entry, c.channel, c.address, c.language, c.context, lacks)
        with self._reading() as connection:
            rows = connection.execute(sa.select(*columns).where(c.status == "waiting")).all()
        values = list(zip(*rows, strict=True)) or [()] * len(columns)
        other = {"entry": pa.int64(), "lacks_address": pa.bool_()}
        kinds = [other.get(column.name, pa.string()) for column in columns]
        arrays = [pa.array(given, kind) for given, kind in zip(values, kinds, strict=True)]
        return pa.table(arrays, names=[column.name for column in columns])

    def channels(self) -> frozenset[str]:
        """Channels of all messages that are not done with."""
        c = messages.c
        open_ = sa.select(c.channel).distinct().where(c.status.in_(("waiting", "claimed", "handing")))
        with self._reading() as connection:
            return frozenset(connection.execute(open_).scalars())

    def overtake(self, rows: pa.Table, now: datetime, lacking: str) -> int:
        """As ``ports.Outbox.overtake``."""
        c, cancelled = messages.c, 0
        mine = messages.update().where((c.message_id == sa.bindparam("at_id")) & (c.status == "waiting"))
        withdraw = mine.values(status="cancelled", error=sa.bindparam("why"))
        put_off = mine.values(next_at=_NOT_BEFORE_ADDRESS, error=lacking)
        lacked = c.next_at == _NOT_BEFORE_ADDRESS
        redirect = mine.values(
            address=sa.bindparam("to"),
            language=sa.bindparam("in"),
            context=sa.bindparam("about"),
            next_at=sa.case((lacked, naive(now)), else_=c.next_at),
            error=sa.case((lacked, ""), else_=c.error),
        )
        with self._writing() as connection:
            for row in rows.to_pylist():
                if row["reason"] is None and row["address"] is None:
                    connection.execute(put_off, {"at_id": row["message_id"]})
                elif row["reason"] is None:
                    told = {"to": row["address"], "in": row["language"], "about": row["context"]}
                    connection.execute(redirect, {"at_id": row["message_id"], **told})
                else:
                    given = {"at_id": row["message_id"], "why": row["reason"]}
                    cancelled += connection.execute(withdraw, given).rowcount
        return cancelled

    def revive(self, reason: str, journey: str, since: datetime) -> int:
        """As ``ports.Outbox.revive``."""
        c, waits = messages.c, {"status": "waiting", "worker": "", "lease_until": None, "next_at": _NOT_BEFORE_RELEASE}
        which = (c.status == "cancelled") & (c.error == reason) & (c.journey == journey) & (c.due_at > naive(since))
        with self._writing() as connection:
            return connection.execute(messages.update().where(which).values(**waits)).rowcount

    def against(self, message: Message, now: datetime, caps: Caps) -> Held | None:
        """What would hold a message back now, as ``hand`` will ask again: the list of whom not, caps."""
        with self._reading() as connection:
            return self._against(connection, message, now, caps)

    def retry(self, message_id: str, reason: str, now: datetime) -> None:
        """Ask for a dead, unknown or cancelled message again: cancelled for this reason, until ``revive``."""
        c = messages.c
        ended = (c.message_id == message_id) & c.status.in_(("dead", "unknown", "cancelled"))
        values = {"status": "cancelled", "next_at": naive(now), "error": reason}
        with self._writing() as connection:
            if connection.execute(messages.update().where(ended).values(**values)).rowcount == 0:
                raise InputError(
                    f"message {message_id} is not dead, unknown or cancelled", "`footfall outbox list` shows them"
                )

    def forget(self, people: Sequence[str]) -> int:
        """Erase all messages to these persons, sent or waiting; how many. To whom nothing is sent any more stays."""
        gone, known = 0, schema.spelled(people)
        with self._writing() as connection:
            for at in range(0, len(known), _FEW):
                which = messages.c.person.in_(known[at : at + _FEW])
                gone += connection.execute(messages.delete().where(which)).rowcount
        with schema.readable_errors(self._place):
            schema.scrub(self._engine)
        return gone

    # ------------------------------------------------------------ looking

    def messages(
        self, status: MessageStatus | None = None, journey: str | None = None, most: int = 100
    ) -> tuple[Posted, ...]:
        """Messages with what became of them, newest due first."""
        query = sa.select(messages).order_by(messages.c.due_at.desc(), messages.c.message_id)
        if status is not None:
            query = query.where(messages.c.status == status)
        if journey is not None:
            query = query.where(messages.c.journey == journey)
        with self._reading() as connection:
            return tuple(_posted(row) for row in connection.execute(query.limit(most) if most else query))

    def costs(self, journey: str) -> pa.Table:
        """As ``ports.Outbox.costs``."""
        c = messages.c
        query = sa.select(c.person, c.handed_at, c.step, c.context)
        with self._reading() as connection:
            rows = connection.execute(query.where((c.journey == journey) & c.status.in_(_COUNTED))).all()
        person, at, step, context = zip(*rows, strict=True) if rows else ((), (), (), ())
        cost = [msgspec.json.decode(text, type=_Priced).cost for text in context]
        names = {"person": pa.array(person, pa.string()), "handed_at": pa.array(at, pa.timestamp("us"))}
        return pa.table({**names, "step": pa.array(step, pa.int64()), "cost": pa.array(cost, pa.float64())})

    def posted(self, message_id: str) -> Posted | None:
        """One message with what became of it."""
        with self._reading() as connection:
            row = connection.execute(sa.select(messages).where(messages.c.message_id == message_id)).first()
        return None if row is None else _posted(row)

    def counts(self) -> Mapping[tuple[str, str], int]:
        """(journey, status) -> messages."""
        c = messages.c
        query = sa.select(c.journey, c.status, sa.func.count()).group_by(c.journey, c.status)
        with self._reading() as connection:
            return {(row[0], row[1]): int(row[2]) for row in connection.execute(query)}

    def pressure(self, now: datetime) -> pa.Table:
        """person, day, week: messages that wait or may have reached the person within 24 hours and within 7 days."""
        c = messages.c
        waits = c.status.in_(("waiting", "claimed")) & (c.next_at != _NOT_BEFORE_ADDRESS)

        def within(days: int) -> sa.ColumnElement[int]:
            counted = waits | (c.status.in_(_COUNTED) & (c.handed_at > naive(now - timedelta(days=days))))
            return sa.func.sum(sa.case((counted, 1), else_=0))

        recent = waits | (c.status.in_(_COUNTED) & (c.handed_at > naive(now - timedelta(days=7))))
        query = sa.select(c.person, within(1), within(7)).where(recent).group_by(c.person)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        person, day, week = zip(*rows, strict=True) if rows else ((), (), ())
        counts = {"day": pa.array(day, pa.int64()), "week": pa.array(week, pa.int64())}
        return pa.table({"person": pa.array(person, pa.string()), **counts})

    # ------------------------------------------------------------ inside

    def _against(self, connection: sa.Connection, row: Any, now: datetime, caps: Caps) -> Held | None:
        """What forbids handing a message over now: suppressions, then the person's caps."""
        keys = (*spellings(row.person), *spellings(row.address), *spellings(id_of(row.person)))
        found = connection.execute(_SUPPRESSED, {f"key_{n}": key for n, key in enumerate(keys)}).first()
        if found is not None:
            return Held(f"suppressed: {found.reason}", None)
        week = naive(now - timedelta(days=7))
        reached = connection.execute(_REACHED, {"who": row.person, "after": week}).scalars().all()
        for most, days in ((caps.per_day, 1), (caps.per_week, 7)):
            since = naive(now - timedelta(days=days))
            times = [at for at in reached if at > since]
            if len(times) < most:
                continue
            # The first of them has to be older than the window before the next may go; with a cap of 0, ask tomorrow.
            first = sorted(times)[len(times) - most] if most else naive(now)
            return Held(f"{most} messages in {days} days are this person's cap", (first + timedelta(days=days)).replace(tzinfo=UTC))  # fmt: skip  # noqa: E501
        return None

    def _hold(self, connection: sa.Connection, message_id: str, held: Held) -> None:
        values: dict[str, Any] = {"worker": "", "lease_until": None, "error": held.reason}
        if held.until is None:
            values |= {"status": "cancelled"}
        else:
            values |= {"status": "waiting", "next_at": naive(held.until)}
        connection.execute(messages.update().where(messages.c.message_id == message_id).values(**values))

    def _settle(self, connection: sa.Connection, worker: str, now: datetime, settled: Settled) -> None:
        for message_id, receipt, again in settled:
            given: dict[str, Any] = {"at_id": message_id, "by": worker, "new_status": _STATES[receipt.outcome]}
            detail = receipt.detail.replace("\0", "")  # of a server's answer; PostgreSQL takes no NUL
            if receipt.outcome == "retry":
                row = connection.execute(_TRY_AGAIN, {**given, "at": naive(again or now), "told": detail})
            else:
                statement = _SENT if receipt.outcome == "sent" else _ENDED
                row = connection.execute(statement, {**given, "at": naive(now), "told": detail})
            address = row.scalar()
            if address is not None and receipt.suppress:
                self._suppress(connection, [(address, detail)], now)

    def _suppress(self, connection: sa.Connection, rows: Sequence[tuple[str, str]], now: datetime) -> int:
        if not rows:
            return 0
        insert = self._insert_once(suppressions).returning(suppressions.c.who)
        given = [{"who": listed_as(who), "reason": reason, "at": naive(now)} for who, reason in rows]
        parts = (given[at : at + _CHUNK] for at in range(0, len(given), _CHUNK))
        return sum(len(connection.execute(insert, part).all()) for part in parts)


def _not_mine(row: Any, now: datetime) -> Held:
    """What became of a message that was claimed and is its worker's no more."""
    if row is None:
        return Held("its person was erased", None)
    return Held(row.error, None) if row.status == "cancelled" else Held("another worker has it", now)


def _time(moment: datetime, is_text: bool) -> Any:
    """A time as the driver takes it; is_text: as SQLAlchemy keeps them in SQLite."""
    return naive(moment).isoformat(" ", "microseconds") if is_text else naive(moment)


def _row(message: Message, at: Any) -> tuple[Any, ...]:
    """A row of ``_GIVEN`` as the driver takes it."""
    return (
        message.message_id,
        message.journey,
        message.person,
        message.step,
        message.entry,
        message.channel,
        message.address,
        message.template,
        message.language,
        message.context,
        message.value,
        at,
        at,
        "waiting",
    )


def _message(row: Any) -> Message:
    return Message(
        message_id=row.message_id,
        journey=row.journey,
        person=row.person,
        step=row.step,
        entry=row.entry,
        channel=row.channel,
        address=row.address,
        template=row.template,
        language=row.language,
        context=row.context,
        due_at=row.due_at.replace(tzinfo=UTC),
        value=row.value,
    )


def _posted(row: Any) -> Posted:
    def utc(moment: datetime | None) -> datetime | None:
        return None if moment is None else moment.replace(tzinfo=UTC)

    return Posted(
        message=_message(row),
        status=row.status,
        attempts=row.attempts,
        next_at=row.next_at.replace(tzinfo=UTC),
        handed_at=utc(row.handed_at),
        settled_at=utc(row.settled_at),
        receipt=row.receipt,
        error=row.error,
    )
