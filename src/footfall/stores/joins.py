"""Persons who turned out to be others: entries, messages and suppressions under one key, in one transaction.

Who signs in on a device, or is merged by an alias, was a person before; arms, caps and what they asked for go along.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from footfall.stores.schema import entries, messages, suppressions

TWICE = "joined"  # the reason of an entry that was a person's second in a journey, told by a sign-in
_TOLD = "the same person as of another entry"
_MARKS = ("u:", "d:", "v:", "m:")  # in front of a key: a user, a device, a visit, an event alone
_FEW = 500  # values of one condition


def keys_of(who: str) -> tuple[str, ...]:
    """The keys that an identifier of the log, or a key, may stand for."""
    return (who,) if who.startswith(_MARKS) else (f"d:{who}", f"u:{who}")


def _id_of(key: str) -> str:
    """The identifier of the log behind a key."""
    return key[2:] if key.startswith(_MARKS) else key


def join(connection: sa.Connection, pairs: Mapping[str, str], suppress: Any) -> int:
    """As ``ports.Entries.join``; suppress: an insert into suppressions that leaves alone what is there."""
    kept = _entries_of(connection, {*pairs, *pairs.values()})
    together: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in kept:
        together[row.journey, pairs.get(row.person, row.person)].append(row)
    changes = []
    for (journey, person), rows in together.items():
        if all(row.person == person for row in rows):
            continue
        rows.sort(key=lambda row: (row.entered_at, row.person == person, row.entry))
        for number, row in enumerate(rows, 1):
            twice = row.status == "active" and row.person != rows[0].person
            changes.append((journey, row.person, row.entry, person, number, twice))
    _move(connection, changes)
    _move_messages(connection, pairs)
    _suppress(connection, pairs, suppress)
    return len({row.person for row in kept if row.person in pairs})


def _entries_of(connection: sa.Connection, people: Iterable[str]) -> list[Any]:
    c, known = entries.c, sorted(people)
    found: list[Any] = []
    for at in range(0, len(known), _FEW):
        which = c.person.in_(known[at : at + _FEW])
        columns = (c.journey, c.person, c.entry, c.entered_at, c.status)
        found += connection.execute(sa.select(*columns).where(which)).all()
    return found


def _move(connection: sa.Connection, changes: list[tuple[str, str, int, str, int, bool]]) -> None:
    """Entries and their messages to their new person and number; by way of negative numbers, which nothing else has."""
    for table in (entries, messages):
        c = table.c
        of = (c.journey == sa.bindparam("j")) & (c.person == sa.bindparam("p")) & (c.entry == sa.bindparam("e"))
        there = (c.journey == sa.bindparam("j")) & (c.person == sa.bindparam("q")) & (c.entry == sa.bindparam("m"))
        away = table.update().where(of).values(person=sa.bindparam("q"), entry=sa.bindparam("m"))
        back = table.update().where(there).values(entry=sa.bindparam("n"))
        given = [{"j": j, "p": p, "e": e, "q": q, "m": -n, "n": n} for j, p, e, q, n, _ in changes]
        for one in given:
            connection.execute(away, {key: one[key] for key in ("j", "p", "e", "q", "m")})
        for one in given:
            connection.execute(back, {key: one[key] for key in ("j", "q", "m", "n")})
    e, m = entries.c, messages.c
    for journey, _, _, person, number, twice in changes:
        if twice:
            mine = (e.journey == journey) & (e.person == person) & (e.entry == number)
            connection.execute(entries.update().where(mine).values(status="exited", reason=TWICE))
            waits = (m.journey == journey) & (m.person == person) & (m.entry == number)
            waits &= m.status.in_(("waiting", "claimed"))
            connection.execute(messages.update().where(waits).values(status="cancelled", error=_TOLD))


def _move_messages(connection: sa.Connection, pairs: Mapping[str, str]) -> None:
    """Messages whose entries are gone: they still count against the person's caps."""
    c = messages.c
    left = messages.update().where(c.person == sa.bindparam("p")).values(person=sa.bindparam("q"))
    known = sorted(pairs)
    for at in range(0, len(known), _FEW):
        which = sa.select(c.person).distinct().where(c.person.in_(known[at : at + _FEW]))
        for person in connection.execute(which).scalars().all():
            connection.execute(left, {"p": person, "q": pairs[person]})


def _suppress(connection: sa.Connection, pairs: Mapping[str, str], suppress: Any) -> None:
    """Whoever asked for silence under one key has it under the other."""
    spelled = {name: now for old, now in pairs.items() for name in (old, _id_of(old))}
    known = sorted(spelled)
    for at in range(0, len(known), _FEW):
        which = sa.select(suppressions).where(suppressions.c.who.in_(known[at : at + _FEW]))
        for row in connection.execute(which).all():
            connection.execute(suppress, {"who": spelled[row.who], "reason": row.reason, "at": row.at})
