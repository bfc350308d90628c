"""Persons who turned out to be others: all that is kept of them under one key, in one transaction.

Who signs in on a device, or is merged by an alias, was a person before; arms, caps, coupons and what they asked for go
along.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from footfall.addresses import spellings
from footfall.persons import MARKS, id_of, keys_of
from footfall.stores.schema import HELD, coupons, entries, joined, messages, offer_counts, redemptions, suppressions

TWICE = "joined"  # the reason of an entry that was a person's second in a journey, told by a sign-in
_TOLD = "the same person as of another entry"
_FEW = 500  # values of one condition
_AWAY = 1_000_000_000  # more entries of a person in a journey than there will be


def join(connection: sa.Connection, pairs: Mapping[str, str], suppress: Any) -> int:
    """As ``ports.Entries.join``; suppress: an insert into suppressions that leaves alone what is there."""
    kept = _where(connection, entries, entries.c.person, {*pairs, *pairs.values()})
    together: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in kept:
        together[row.journey, pairs.get(row.person, row.person)].append(row)
    changes = []
    for (journey, person), rows in together.items():
        if all(row.person == person for row in rows):
            continue
        rows.sort(key=lambda row: (row.entered_at, row.person == person, row.entry, row.person))
        for number, row in enumerate(rows, 1):
            twice = row.status == "active" and row.person != rows[0].person
            changes.append((journey, row.person, row.entry, person, number, twice))
    _move(connection, changes)
    _move_messages(connection, pairs)
    plain = ((id_of(old), id_of(now)) for old, now in sorted(pairs.items()))  # a user goes before a device
    join_offers(connection, {old: now for old, now in plain if old != now})
    _suppress(connection, pairs, suppress)
    _remember(connection, pairs)
    return len({row.person for row in kept if row.person in pairs})


def keys_now(connection: sa.Connection, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """As ``ports.Entries.keys_now``."""
    asked = [(key, name) for name in names for key in keys_of(name)]
    now = {row.was: row.person for row in _where(connection, joined, joined.c.was, {key for key, _ in asked})}
    return tuple((name, now[key]) for key, name in asked if key in now)


def all_keys(connection: sa.Connection, keys: Iterable[str]) -> set[str]:
    """These keys, who has become of them, and all that those were before."""
    asked = set(keys)
    now = asked | {row.person for row in _where(connection, joined, joined.c.was, asked)}
    return now | {row.was for row in _where(connection, joined, joined.c.person, now)}


def _remember(connection: sa.Connection, pairs: Mapping[str, str]) -> None:
    """Who was known under another key: a link in a letter holds for whoever its person is by now."""
    c = joined.c
    for old, now in sorted(pairs.items()):
        connection.execute(joined.delete().where(c.was.in_((old, now))))
        connection.execute(joined.update().where(c.person == old).values(person=now))
        connection.execute(joined.insert().values(was=old, person=now))


def _move(connection: sa.Connection, changes: list[tuple[str, str, int, str, int, bool]]) -> None:
    """Entries and their messages to their new person and number; by way of numbers that nothing else has."""
    for table in (entries, messages):
        c = table.c
        of = (c.journey == sa.bindparam("j")) & (c.person == sa.bindparam("p")) & (c.entry == sa.bindparam("e"))
        there = (c.journey == sa.bindparam("j")) & (c.person == sa.bindparam("q")) & (c.entry == sa.bindparam("m"))
        away = table.update().where(of).values(person=sa.bindparam("q"), entry=sa.bindparam("m"))
        back = table.update().where(there).values(entry=sa.bindparam("n"))
        given = [{"j": j, "p": p, "e": e, "q": q, "m": -_AWAY - n, "n": n} for j, p, e, q, n, _ in changes]
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
    """Messages whose entries are gone: they still count against the person's caps. Where the other one has had a letter
    of the same step and number, the number is below 0, which no entry has."""
    c = messages.c
    left = _where(connection, messages, c.person, pairs)
    theirs = _where(connection, messages, c.person, {pairs[row.person] for row in left}) if left else []
    taken = {(row.journey, row.person, row.step, row.entry) for row in theirs}
    for row in left:
        person, entry = pairs[row.person], row.entry
        while (row.journey, person, row.step, entry) in taken:
            entry = min(entry, 0) - 1
        taken.add((row.journey, person, row.step, entry))
        moved = messages.update().where(c.message_id == row.message_id)
        connection.execute(moved.values(person=person, entry=entry))


def join_offers(connection: sa.Connection, ids: Mapping[str, str], shown: str = "") -> None:
    """Coupons and uses of persons who turned out to be others, by their identifiers in the log, old -> now. shown: the
    code that somebody holds out, which stays."""
    _move_coupons(connection, ids, shown)
    _move_uses(connection, ids)


def _move_coupons(connection: sa.Connection, ids: Mapping[str, str], shown: str) -> None:
    """Coupons, which go by the identifiers of the log. Whoever has two of an offer keeps the one that is shown, else
    the newest that is unused."""
    c, together = coupons.c, defaultdict[tuple[str, str], list[Any]](list)
    for row in _where(connection, coupons, c.person, {*ids, *ids.values()}):
        together[row.offer, ids.get(row.person, row.person)].append(row)
    several = [row.code for rows in together.values() if len(rows) > 1 for row in rows]
    used = {row.code for row in _where(connection, redemptions, redemptions.c.code, several) if row.status in HELD}
    for (offer, person), rows in together.items():
        *gone, left = sorted(rows, key=lambda row: (row.code == shown, row.code not in used, row.issued_at, row.code))
        for row in gone:
            connection.execute(coupons.delete().where(c.code == row.code))
        if unused := sum(row.code not in used for row in gone):  # their places may be given out again
            count = offer_counts.update().where(offer_counts.c.offer == offer)
            connection.execute(count.values(issued=offer_counts.c.issued - unused))
        if left.person != person:
            connection.execute(coupons.update().where(c.code == left.code).values(person=person))


def _move_uses(connection: sa.Connection, ids: Mapping[str, str]) -> None:
    """Uses of offers: they count against what the person may use, and as what was spent on them."""
    c = redemptions.c
    for row in _where(connection, redemptions, c.person, ids):
        mine = c.redemption_id == row.redemption_id
        connection.execute(redemptions.update().where(mine).values(person=ids[row.person]))


def _where(
    connection: sa.Connection, table: sa.Table, column: sa.ColumnElement[str], values: Iterable[str]
) -> list[Any]:
    """Rows of which a column has one of these values."""
    known, found = sorted(values), list[Any]()
    for at in range(0, len(known), _FEW):
        found += connection.execute(sa.select(table).where(column.in_(known[at : at + _FEW]))).all()
    return found


def _suppress(connection: sa.Connection, pairs: Mapping[str, str], suppress: Any) -> None:
    """Whoever asked for silence under one key has it under the other; a bare identifier stays: it may be another's."""
    spelled: dict[str, set[str]] = defaultdict(set)
    for old, now in pairs.items():
        for name in (*spellings(old), *spellings(id_of(old))):
            spelled[name].add(now)
    known = sorted(spelled)
    for at in range(0, len(known), _FEW):
        which = sa.select(suppressions).where(suppressions.c.who.in_(known[at : at + _FEW]))
        for row in connection.execute(which).all():
            for now in sorted(spelled[row.who]):
                connection.execute(suppress, {"who": now, "reason": row.reason, "at": row.at})
            if row.who in pairs and row.who.startswith(MARKS):
                connection.execute(suppressions.delete().where(suppressions.c.who == row.who))
