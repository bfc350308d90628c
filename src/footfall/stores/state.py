"""Control state in a database: plans, providers and small records (``ports.State``).

SQLite by default (``sqlite:///WORKSPACE/state.db``), PostgreSQL by its URL for many workers. A plan is one
row: the columns that are searched by, and the whole plan as zlib-compressed MessagePack, which unlike JSON
keeps every float, infinities and NaN included, bit for bit. Version and status are the row's, not the body's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa

from footfall.errors import InputError, WorkspaceError
from footfall.model import Plan, PlanStatus
from footfall.stores.database import OnDatabase
from footfall.stores.schema import plans, providers, records

_COMPRESSION = 3  # a plan of a million pairs in about a second; higher levels gain little
_ROW = (plans.c.body, plans.c.version, plans.c.status)
_CHUNK = 500  # rows in one IN (...) list
_IN_FORCE = "in force"  # key of the record of which plans were, oldest first
_REMEMBERED = 1000


class SqlState(OnDatabase):
    """``ports.State`` on SQLAlchemy; opening it brings the schema up to date."""

    def save_plan(self, plan: Plan) -> Plan:
        """Store ``plan`` under the next version; the returned plan is what ``plan(version)`` will read.

        A plan whose status is already ``published`` retires the published one in the same transaction.
        """
        body = encode_plan(plan)
        with self._writing() as connection:
            if plan.status == "published":
                connection.execute(_retire())
            inserted = connection.execute(
                plans.insert().values(
                    plan_id=plan.plan_id,
                    status=plan.status,
                    day=plan.day,
                    as_of=plan.as_of,
                    created_at=_naive_utc(plan),
                    body=body,
                )
            )
            version = _given_key(inserted)
            if plan.status == "published":
                _note_in_force(connection, [*_in_force(connection), version])
        return decode_plan(body, version, plan.status)

    def plan(self, version: int | None = None, status: PlanStatus | None = None) -> Plan | None:
        """The plan of that version, else the newest of that status, else the newest; None if none is."""
        query = sa.select(*_ROW).order_by(plans.c.version.desc()).limit(1)
        if version is not None:
            if abs(version) >= 1 << 63:  # more than a column holds
                return None
            query = query.where(plans.c.version == version)
        if status is not None:
            query = query.where(plans.c.status == status)
        with self._reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else decode_plan(row.body, row.version, row.status)

    def plans(self) -> tuple[Plan, ...]:
        """All plans, newest first."""
        query = sa.select(*_ROW).order_by(plans.c.version.desc())
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return tuple(decode_plan(row.body, row.version, row.status) for row in rows)

    def versions(self) -> Mapping[int, PlanStatus]:
        """version -> status of all plans, newest first; reads no plan, so it may be asked often."""
        query = sa.select(plans.c.version, plans.c.status).order_by(plans.c.version.desc())
        with self._reading() as connection:
            return {int(row.version): row.status for row in connection.execute(query)}

    def publish(self, version: int) -> Plan:
        """Make ``version`` the published plan and retire the one before, atomically.

        InputError if there is no such version.
        """
        with self._writing() as connection:
            row = connection.execute(sa.select(plans.c.body).where(plans.c.version == version)).first()
            if row is None:
                newest = connection.execute(sa.select(sa.func.max(plans.c.version))).scalar()
                raise InputError(
                    f"there is no plan {version}",
                    f"versions go up to {newest}" if newest else "make one with `footfall plan`",
                )
            plan = decode_plan(row.body, version, "published")  # before anything changes: it may be damaged
            before = _in_force(connection)
            _put_in_force(connection, version)
            _note_in_force(connection, before if before[-1:] == [version] else [*before, version])
        return plan

    def rollback(self) -> Plan:
        """Put the plan back that was in force before this one, atomically. InputError where there was none."""
        with self._writing() as connection:
            *before, _ = _in_force(connection) or [0]
            if not before:
                raise InputError(
                    "there is no earlier published plan to go back to", "name a version: `footfall plan list`"
                )
            body = connection.execute(sa.select(plans.c.body).where(plans.c.version == before[-1])).scalar_one()
            plan = decode_plan(body, before[-1], "published")
            _put_in_force(connection, before[-1])
            _note_in_force(connection, before)
        return plan

    def put_providers(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert or update providers from ``{provider_id, category, name}``; the number of providers stored.

        A field that is absent or None stays as stored ('' at first); of rows with one id the last wins.
        """
        given: dict[str, dict[str, str]] = {}
        for row in rows:
            unknown = set(row) - {"provider_id", "category", "name"}
            if unknown:
                raise InputError(f"unknown field {min(unknown)!r} of a provider", "known: provider_id, category, name")
            provider_id = row.get("provider_id")
            if not isinstance(provider_id, str) or not provider_id:
                raise InputError(f"a provider without provider_id: {dict(row)!r}", "give every row its provider_id")
            fields = {k: str(row[k]) for k in ("category", "name") if row.get(k) is not None}
            given.setdefault(provider_id, {}).update(fields)
        with self._writing() as connection:
            for part in _chunks(sorted(given)):
                inside = providers.c.provider_id.in_(part)
                stored = {r.provider_id: r for r in connection.execute(sa.select(providers).where(inside))}
                connection.execute(providers.delete().where(inside))
                connection.execute(providers.insert(), [_merged(i, stored.get(i), given[i]) for i in part])
        return len(given)

    def providers(self) -> Mapping[str, Mapping[str, str]]:
        """provider_id -> {category, name}, ascending by id."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(providers)).all()
        return {
            r.provider_id: {"category": r.category, "name": r.name} for r in sorted(rows, key=lambda r: r.provider_id)
        }

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store a small record under ``key``; dates become text; InputError if not JSON, as NaN is not."""
        body = _record_body(key, value)
        with self._writing() as connection:
            _put(connection, key, body)

    def put_once(self, key: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Store a small record unless there is one under ``key``; the one that is there then, the same for all."""
        body = _record_body(key, value)
        with self._writing() as connection:
            connection.execute(self._insert_once(records).values(key=key, body=body))
            kept: Mapping[str, Any] = json.loads(
                connection.execute(sa.select(records.c.body).where(records.c.key == key)).scalar_one()
            )
        return kept

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The record under ``key``, or None."""
        with self._reading() as connection:
            body = connection.execute(sa.select(records.c.body).where(records.c.key == key)).scalar()
        if body is None:
            return None
        value: Mapping[str, Any] = json.loads(body)
        return value


def _record_body(key: str, value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the record {key!r} is not JSON: {error}", "keep to numbers, text, lists and mappings"
        ) from None


def encode_plan(plan: Plan) -> bytes:
    """The plan as compressed MessagePack; float64 arrays as their little-endian bytes."""
    try:
        return zlib.compress(_ENCODER.encode(plan), _COMPRESSION)
    except (TypeError, OverflowError) as error:
        raise InputError(
            f"plan {plan.plan_id!r} cannot be stored: {error}", "its inputs must be plain values"
        ) from None


def decode_plan(body: bytes, version: int, status: PlanStatus) -> Plan:
    """The plan of a stored row; WorkspaceError if the bytes are damaged or of a newer version."""
    try:
        plan: Plan = _DECODER.decode(zlib.decompress(body))
    except (zlib.error, msgspec.DecodeError, ValueError) as error:
        raise WorkspaceError(
            f"plan {version} cannot be read back: {error}",
            "it is damaged or of another version of Footfall; plan again",
        ) from error
    return replace(plan, version=version, status=status)


def _encode_hook(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == np.float64 and value.ndim == 1:
        return np.ascontiguousarray(value, dtype="<f8").tobytes()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"no way to store a {type(value).__name__}")


def _decode_hook(kind: object, value: Any) -> Any:
    if kind is object:  # an entry of Plan.inputs: whatever it was
        return value
    return np.frombuffer(value, dtype="<f8").astype(np.float64)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_encode_hook)
_DECODER = msgspec.msgpack.Decoder(Plan, dec_hook=_decode_hook)


def _retire() -> sa.Update:
    return plans.update().where(plans.c.status == "published").values(status="retired")


def _put_in_force(connection: sa.Connection, version: int) -> None:
    connection.execute(_retire())
    connection.execute(plans.update().where(plans.c.version == version).values(status="published"))


def _in_force(connection: sa.Connection) -> list[int]:
    """Versions in the order in which they came into force, the one that is last."""
    body = connection.execute(sa.select(records.c.body).where(records.c.key == _IN_FORCE)).scalar()
    if body is not None:
        return [int(version) for version in json.loads(body)["versions"]]
    return list(connection.execute(sa.select(plans.c.version).where(plans.c.status == "published")).scalars())


def _note_in_force(connection: sa.Connection, versions: Sequence[int]) -> None:
    _put(connection, _IN_FORCE, json.dumps({"versions": list(versions)[-_REMEMBERED:]}))


def _put(connection: sa.Connection, key: str, body: str) -> None:
    connection.execute(records.delete().where(records.c.key == key))
    connection.execute(records.insert().values(key=key, body=body))


def _given_key(inserted: sa.CursorResult[Any]) -> int:
    key = inserted.inserted_primary_key
    if key is None:
        raise WorkspaceError("the database gave the plan no version", "use SQLite or PostgreSQL")
    return int(key[0])


def _naive_utc(plan: Plan) -> Any:
    if plan.created_at.tzinfo is None:
        raise InputError(f"plan {plan.plan_id!r}: created_at has no time zone", "give an aware time, UTC")
    return plan.created_at.astimezone(UTC).replace(tzinfo=None)


def _merged(provider_id: str, stored: Any, given: Mapping[str, str]) -> dict[str, str]:
    before = {"category": stored.category, "name": stored.name} if stored is not None else {"category": "", "name": ""}
    return {"provider_id": provider_id, **before, **given}


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]
