"""The ledger of live decisions in the state's database (``ports.Ledger``): SQLite, or PostgreSQL for many hosts.

    allowances      (day, provider): capacity, and what became of it
    lease_holders   workers, each until a time: one that is not renewed is gone
    leases          (worker, day, provider): granted and not given back
    pacings         versions of a plan's prices within its day

What a provider's decisions hold is ``leased - released``: workers' unused leases, reservations that wait for their
visit, and those that it kept. A grant is one conditional update, so that no order of lease, give-back, settling and
reclaiming, in however many processes, takes it above the capacity that organic visits leave.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from footfall.errors import InputError, WorkspaceError
from footfall.model import VISIT, Allowance, Delivered, Pacing
from footfall.stores.database import OnDatabase, naive
from footfall.stores.schema import allowances, lease_holders, leases, pacings

NO_LIMIT = 1 << 60  # about 10^12 visits a day: what an infinite capacity is held as
_RECALLED = datetime(1970, 1, 1)  # as stored: when the time of a worker ended that was given up
_KEPT_DAYS = 2  # of one that was given up: a late decision of an older day changes nothing any more
_CHUNK = 400  # providers in one IN (...) list
_AT = (allowances.c.day == sa.bindparam("at_day")) & (allowances.c.provider_id == sa.bindparam("at_provider"))
_LEASE_AT = (
    (leases.c.worker_id == sa.bindparam("at_worker"))
    & (leases.c.day == sa.bindparam("at_day"))
    & (leases.c.provider_id == sa.bindparam("at_provider"))
)


class SqlLedger(OnDatabase):
    """``ports.Ledger`` on SQLAlchemy; opening it brings the schema up to date."""

    def open_day(self, day: date, capacity: Mapping[str, float]) -> None:
        """Set capacities of a day, visits >= 0 (inf: no limit); InputError where one is negative or not a number."""
        rows = [{"at_day": day, "at_provider": name, "new": _parts(name, visits)} for name, visits in capacity.items()]
        if not rows:
            return
        insert = allowances.insert().values(
            day=sa.bindparam("at_day"), provider_id=sa.bindparam("at_provider"), capacity=sa.bindparam("new")
        )
        with self._writing() as connection:
            known = self._providers(connection, day)
            old = [row for row in rows if row["at_provider"] in known]
            new = [row for row in rows if row["at_provider"] not in known]
            if old:
                connection.execute(allowances.update().where(_AT).values(capacity=sa.bindparam("new")), old)
            if new:
                connection.execute(insert, new)

    def enter(self, worker_id: str, host_id: str, until: datetime) -> None:
        """Let a new worker hold leases until then; InputError where the id is taken."""
        values = {"worker_id": worker_id, "host_id": host_id, "expires_at": naive(until)}
        with self._writing() as connection:
            if connection.execute(_holder(worker_id)).first() is not None:
                raise InputError(f"worker {worker_id!r} holds leases already", "give every process an id of its own")
            connection.execute(lease_holders.insert().values(**values))

    def renew(self, worker_id: str, until: datetime) -> bool:
        """Hold on until then; False where the worker is not known (any more)."""
        known = (lease_holders.c.worker_id == worker_id) & (lease_holders.c.expires_at > _RECALLED)
        change = lease_holders.update().where(known)
        with self._writing() as connection:
            return connection.execute(change.values(expires_at=naive(until))).rowcount == 1

    def lease(self, worker_id: str, day: date, wanted: Mapping[str, int], now: datetime) -> Mapping[str, int]:
        """Grants by provider, > 0, in whole visits; nothing for a worker that is not known or out of time.

        Near the capacity a worker gets at most its part of what is free, so that others are not left without.
        """
        if any(amount <= 0 for amount in wanted.values()):
            raise InputError("a lease is wanted of nothing", "ask for 1 or more")
        with self._writing() as connection:
            holder = connection.execute(_holder(worker_id)).first()
            if holder is None or holder.expires_at <= naive(now):
                return {}
            others = connection.execute(
                sa.select(sa.func.count()).select_from(lease_holders).where(lease_holders.c.expires_at > naive(now))
            ).scalar_one()
            found = self._rows(connection, day, sorted(wanted))
            rows = []
            for row in found:
                amount = _whole(_allowance(row).free, wanted[row.provider_id], int(others))
                if amount:
                    rows.append({"at_day": day, "at_provider": row.provider_id, "at_worker": worker_id, "n": amount})
            self._grant(connection, rows)
        return {row["at_provider"]: row["n"] for row in rows}

    def _grant(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        c = allowances.c
        room = c.leased - c.released + c.organic + sa.bindparam("n") <= c.capacity
        granted = allowances.update().where(_AT, room).values(leased=c.leased + sa.bindparam("n"))
        if connection.execute(granted, rows).rowcount != len(rows):
            raise WorkspaceError("the ledger changed within a transaction", "the database must isolate its writers")
        known = self._leased(connection, rows[0]["at_worker"], rows[0]["at_day"])
        more = [row for row in rows if row["at_provider"] in known]
        new = [row for row in rows if row["at_provider"] not in known]
        if more:
            change = leases.update().where(_LEASE_AT).values(granted=leases.c.granted + sa.bindparam("n"))
            connection.execute(change, more)
        if new:
            columns = {"worker_id": "at_worker", "day": "at_day", "provider_id": "at_provider", "granted": "n"}
            connection.execute(leases.insert().values({k: sa.bindparam(v) for k, v in columns.items()}), new)

    def give_back(self, worker_id: str, day: date, amounts: Mapping[str, int]) -> None:
        """Return unused parts of leases; InputError above what was granted. A worker that is gone returns nothing."""
        rows: list[dict[str, Any]] = [
            {"at_day": day, "at_provider": name, "at_worker": worker_id, "n": amount}
            for name, amount in amounts.items()
            if amount
        ]
        with self._writing() as connection:
            holder = connection.execute(_holder(worker_id)).first()
            if not rows or holder is None or holder.expires_at <= _RECALLED:
                return
            granted = self._leased(connection, worker_id, day)
            for row in rows:
                if not 0 < row["n"] <= granted.get(row["at_provider"], 0):
                    raise InputError(
                        f"worker {worker_id!r} returns {row['n']} of {row['at_provider']!r}, "
                        f"granted {granted.get(row['at_provider'], 0)}",
                        "return what was leased and not reserved",
                    )
            down = leases.update().where(_LEASE_AT).values(granted=leases.c.granted - sa.bindparam("n"))
            connection.execute(down, rows)
            self._lower(connection, rows)

    def settle(self, day: date, delivered: Mapping[str, Delivered]) -> None:
        """Record totals by provider, where they have changed; one that has no allowance yet gets one of capacity 0."""
        columns = ("committed", "outstanding", "released", "organic")
        with self._writing() as connection:
            query = sa.select(allowances.c.provider_id, *(allowances.c[name] for name in columns))
            found = connection.execute(query.where(allowances.c.day == day))
            known = {row.provider_id: Delivered(*(int(row[at]) for at in range(1, 5))) for row in found}
            new = [{"day": day, "provider_id": name, "capacity": 0} for name in delivered if name not in known]
            if new:
                connection.execute(allowances.insert(), new)
            rows = [
                {"at_day": day, "at_provider": name, **{f"is_{column}": getattr(one, column) for column in columns}}
                for name, one in delivered.items()
                if known.get(name, Delivered()) != one
            ]
            if rows:
                values: dict[str, Any] = {name: sa.bindparam(f"is_{name}") for name in columns}
                connection.execute(allowances.update().where(_AT).values(**values), rows)

    def gone(self, host_id: str | None, now: datetime) -> tuple[str, ...]:
        """Workers of a host (None: of all hosts) whose time ran out before ``now``, by id."""
        query = sa.select(lease_holders.c.worker_id).where(lease_holders.c.expires_at < naive(now))
        if host_id is not None:
            query = query.where(lease_holders.c.host_id == host_id)
        with self._reading() as connection:
            return tuple(sorted(connection.execute(query).scalars()))

    def reclaim(self, worker_id: str, reserved: Mapping[tuple[date, str], int], now: datetime) -> int:
        """Take back what a gone worker's logged decisions did not reserve; 0 where it is not gone (or not known).

        reserved: the sum of ``Decision.reserved`` by (day, provider) over all decisions of the worker, which must all
        be drained: call it some seconds after its time ran out, when its host's inbox has been emptied.
        """
        with self._writing() as connection:
            holder = connection.execute(_holder(worker_id)).first()
            if holder is None or holder.expires_at >= naive(now):
                return 0
            mine = leases.c.worker_id == worker_id
            rows = []
            for row in connection.execute(sa.select(leases).where(mine)):
                left = row.granted - reserved.get((row.day, row.provider_id), 0)
                if left > 0 or holder.expires_at <= _RECALLED:  # more may have been drained since it was given up
                    rows.append({"at_day": row.day, "at_provider": row.provider_id, "n": left})
            self._lower(connection, rows)
            connection.execute(leases.delete().where(mine))
            connection.execute(lease_holders.delete().where(lease_holders.c.worker_id == worker_id))
        return sum(row["n"] for row in rows)

    def recall(self, worker_id: str, reserved: Mapping[tuple[date, str], int], now: datetime) -> int:
        """Give up a worker whose host does not come back: what it is not known to have reserved is free; the sum.

        now: the worker's time must have run out before it by more than its reservations hold. reserved: as in
        ``reclaim``, of what is drained. Call it again before each ``settle``: where the host comes back after all, its
        late decisions count as released, and so have to count as leased first. The worker cannot renew any more.
        """
        with self._writing() as connection:
            holder = connection.execute(_holder(worker_id)).first()
            if holder is None or holder.expires_at >= naive(now):
                return 0
            mine = leases.c.worker_id == worker_id
            rows = []
            for row in connection.execute(sa.select(leases).where(mine)):
                left = row.granted - reserved.get((row.day, row.provider_id), 0)
                if left:
                    at = {"at_day": row.day, "at_provider": row.provider_id}
                    rows.append({**at, "at_worker": worker_id, "n": left})
            if rows:
                down = leases.update().where(_LEASE_AT).values(granted=leases.c.granted - sa.bindparam("n"))
                connection.execute(down, rows)
            self._lower(connection, rows)
            connection.execute(leases.delete().where(mine, leases.c.day < now.date() - timedelta(days=_KEPT_DAYS)))
            at_holder = lease_holders.c.worker_id == worker_id
            if connection.execute(sa.select(leases.c.day).where(mine).limit(1)).first() is None:
                connection.execute(lease_holders.delete().where(at_holder))
            else:
                connection.execute(lease_holders.update().where(at_holder).values(expires_at=_RECALLED))
        return sum(row["n"] for row in rows)

    def allowances(self, day: date) -> Mapping[str, Allowance]:
        """The day's allowances by provider, ascending by id."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(allowances).where(allowances.c.day == day)).all()
        return {row.provider_id: _allowance(row) for row in sorted(rows, key=lambda r: r.provider_id)}

    def add_pacing(self, pacing: Pacing) -> Pacing:
        """Store a pacing under the next version and return it with that version."""
        values = {
            "day": pacing.day,
            "plan_version": pacing.plan_version,
            "made_at": naive(pacing.made_at),
            "body": msgspec.msgpack.encode(dict(pacing.offsets)),
        }
        with self._writing() as connection:
            key = connection.execute(pacings.insert().values(**values)).inserted_primary_key
        if key is None:
            raise WorkspaceError("the database gave the pacing no version", "use SQLite or PostgreSQL")
        return replace(pacing, version=int(key[0]))

    def pacing(self, plan_version: int, day: date | None = None, version: int | None = None) -> Pacing | None:
        """The pacing of that version of that plan, else its newest (of that day); None if there is none."""
        query = sa.select(pacings).where(pacings.c.plan_version == plan_version)
        if version is not None:
            query = query.where(pacings.c.version == version)
        if day is not None:
            query = query.where(pacings.c.day == day)
        with self._reading() as connection:
            row = connection.execute(query.order_by(pacings.c.version.desc()).limit(1)).first()
        if row is None:
            return None
        offsets = msgspec.msgpack.decode(row.body, type=dict[str, float])
        return Pacing(row.version, row.day, row.plan_version, row.made_at.replace(tzinfo=UTC), offsets)

    # ------------------------------------------------------------ rows

    def _lower(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
        if rows:
            change = allowances.update().where(_AT).values(leased=allowances.c.leased - sa.bindparam("n"))
            connection.execute(change, [{k: row[k] for k in ("at_day", "at_provider", "n")} for row in rows])

    def _rows(self, connection: sa.Connection, day: date, names: Sequence[str]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(names), _CHUNK):
            some = allowances.c.provider_id.in_(names[start : start + _CHUNK])
            found += connection.execute(sa.select(allowances).where(allowances.c.day == day, some)).all()
        return found

    def _providers(self, connection: sa.Connection, day: date) -> set[str]:
        return set(connection.execute(sa.select(allowances.c.provider_id).where(allowances.c.day == day)).scalars())

    def _leased(self, connection: sa.Connection, worker_id: str, day: date) -> dict[str, int]:
        query = sa.select(leases.c.provider_id, leases.c.granted).where(
            leases.c.worker_id == worker_id, leases.c.day == day
        )
        return {row.provider_id: int(row.granted) for row in connection.execute(query)}


def _holder(worker_id: str) -> sa.Select[Any]:
    return sa.select(lease_holders).where(lease_holders.c.worker_id == worker_id)


def _allowance(row: Any) -> Allowance:
    delivered = Delivered(row.committed, row.outstanding, row.released, row.organic)
    return Allowance(int(row.capacity), int(row.leased), delivered)


def _whole(free: int, wanted: int, holders: int) -> int:
    """Whole visits to grant of what is free: all that is wanted, near the end at most a part, at least one visit."""
    part = max(free // (2 * max(holders, 1)), VISIT) if holders > 1 else free
    return min(free, wanted + (-wanted % VISIT), part) // VISIT * VISIT


def _parts(name: str, visits: float) -> int:
    if not visits >= 0:  # nan too
        raise InputError(f"capacity of {name!r} is {visits} visits; it must be 0 or more", "correct the capacity")
    return NO_LIMIT if math.isinf(visits) or visits * VISIT >= NO_LIMIT else math.floor(visits * VISIT)
