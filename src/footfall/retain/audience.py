"""Audiences: named groups of persons, each one readable SQL file, and the operator's own.

A file holds one SELECT that gives ``person, since, provider_id, category, stake``: who, from when on, about which
provider and category, and the money that may be won or lost with them. It reads the relations that ``show`` makes:

    today           day, the as-of day
    visited         person, provider_id, category, visits, last_day, last_ts, recent_days, bought_day
    carted          person, provider_id, category, carted_day, carted_ts, cart_value, bought_ts
    buyers          customers: person, frequency, last_day, last_ts, last_provider_id, alive, money_90, tier, ...
    rhythms         person, category, gaps, since_days, due_in_days, chance, within_30, waited, order_value, latest, ...
    fans, ties      follows and subscriptions in force; shares and reactions
    contacts        email, phone, timezone, language, name
    moments         follow_up, last_call, too_late, remind, lapsing of each category
    chances         category, age_days, chance, order_value: of a visitor who has not bought yet
    person_events, visits, orders, refunds   the log itself
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from footfall.errors import InputError
from footfall.ports import Engine
from footfall.retain.customers import Customers, table
from footfall.retain.statements import text
from footfall.retain.timing import Moments, left

COLUMNS = {
    "person": pa.string(),
    "since": pa.timestamp("us"),
    "provider_id": pa.string(),
    "category": pa.string(),
    "stake": pa.float64(),
}
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 and 9999, since 1970
_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")


class Asked(Engine, Protocol):
    """An engine that also runs a stranger's SELECT: nothing but reading, and stopped when its time is up."""

    def ask(self, sql: str, limit_s: float) -> pa.Table:
        """Rows of one SELECT; InputError for anything else, and where it takes longer."""
        ...


@dataclass(frozen=True, slots=True)
class Audience:
    """A named group of persons: what it says of itself, its SELECT, and the file it stands in ("" where built in).

    fault: why the file cannot be read, "" where it can.
    """

    name: str
    meaning: str
    sql: str
    file: str
    fault: str = ""


def built_in() -> tuple[Audience, ...]:
    """The audiences that come with Footfall, by name."""
    folder = files("footfall.retain").joinpath("audiences")
    found = [
        _audience(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8"), "")
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    ]
    return tuple(sorted(found, key=lambda a: a.name))


def own(folder: Path, wanted: Collection[str] | None = None) -> tuple[Audience, ...]:
    """The operator's audiences: ``*.sql`` in a folder, named by their files; all, or those ``wanted``. InputError names
    one that has no name of its own."""
    found = []
    names = {audience.name for audience in built_in()}
    for path in sorted(folder.glob("*.sql")) if folder.is_dir() else ():
        if wanted is not None and path.stem not in wanted:
            continue
        if not _NAME.fullmatch(path.stem):
            raise InputError(f"{path}: {path.stem!r} is no name", "use small letters, digits and _, a letter first")
        if path.stem in names:
            raise InputError(f"{path}: {path.stem} comes with Footfall", "give yours another name")
        try:
            found.append(_audience(path.stem, path.read_text(encoding="utf-8-sig"), str(path)))
        except UnicodeDecodeError as error:
            found.append(Audience(path.stem, "", "", str(path), f"it is not UTF-8 (byte {error.start})"))
    return tuple(found)


def _audience(name: str, sql: str, file: str) -> Audience:
    first = sql.strip().splitlines()[0] if sql.strip() else ""
    return Audience(name, first.removeprefix("--").strip() if first.startswith("--") else "", sql, file)


def show(engine: Engine, known: Customers, moments: Sequence[Moments], order_values: Mapping[str, float]) -> None:
    """Make the relations that audiences read, beside those of ``customers.relations``.

    order_values: mean money of an order of each category, major units.
    """
    parameters = {"as_of": known.as_of}
    unit = 10.0**known.exponent
    engine.execute(text("visited"), parameters)
    engine.execute(text("fans"))
    for name in ("carted", "last_purchase"):
        engine.execute(text(name), {**parameters, "unit": unit})
    made = {
        "today": pa.table({"day": pa.array([known.as_of], pa.date32())}),
        "moments": _moments(moments),
        "chances": _chances(moments, order_values),
        "given_buyers": _buyers(known),
        "given_rhythms": _rhythms(known),
        "ties": known.ties,
        "contacts": known.contacts,
    }
    for name, rows in made.items():
        engine.query(f"CREATE OR REPLACE TEMPORARY TABLE {name} AS SELECT * FROM made", None, made=rows)  # noqa: S608
    for name in ("buyers", "rhythms"):
        engine.execute(text(f"show_{name}"))


def members(engine: Asked, audience: Audience, limit_s: float) -> pa.Table:
    """Members of an audience, ``COLUMNS``: one row a person, the one with the most at stake, ordered by person.

    InputError names the file and what is wrong with its SELECT.
    """
    where = audience.file or audience.name
    if audience.fault:
        raise InputError(f"{where}: {audience.fault}", "save it as UTF-8")
    try:
        rows = engine.ask(audience.sql, limit_s)
    except InputError as error:
        raise InputError(f"{where}: {error.message}", error.way_out) from None
    twice = sorted({name for name in rows.column_names if rows.column_names.count(name) > 1})
    if twice:
        raise InputError(
            f"{where}: column {', '.join(twice)} more than once", f"select {', '.join(COLUMNS)}, each once"
        )
    missing = [name for name in COLUMNS if name not in rows.column_names]
    unknown = [name for name in rows.column_names if name not in COLUMNS]
    if missing or unknown:
        what = f"no column {', '.join(missing)}" if missing else f"unknown column {', '.join(unknown)}"
        raise InputError(f"{where}: {what}", f"select {', '.join(COLUMNS)}, no more and no less")
    try:
        rows = pa.table({name: rows[name].cast(kind) for name, kind in COLUMNS.items()})
    except pa.ArrowException as error:
        raise InputError(
            f"{where}: {error}", "person, provider_id and category are text, since a time, stake a number"
        ) from None
    for name, what in (("person", "a person"), ("since", "a time in `since`")):
        if rows[name].null_count:
            raise InputError(f"{where}: {rows[name].null_count} rows without {what}", "leave them out")
    if (bad := _unfit(rows)) is not None:
        raise InputError(f"{where}: {bad}", "leave such rows out")
    if audience.file:
        rows = engine.query(text("known_members"), None, given=rows)
    rows = rows.sort_by([("person", "ascending"), ("stake", "descending"), ("since", "descending")])
    person = rows["person"].combine_chunks()
    if len(person) < 2:
        return rows
    return rows.filter(pa.concat_arrays([pa.array([True]), pc.not_equal(person[1:], person[:-1])]))


def _unfit(rows: pa.Table) -> str | None:
    """What no member can have: a time that is not within years 1 to 9999, a stake that is not finite."""
    times = rows["since"].cast(pa.int64())
    if len(times) and not (pc.min(times).as_py() >= _FIRST_US and pc.max(times).as_py() <= _LAST_US):
        return "a time in `since` that is not within the years 1 to 9999"
    stakes = rows["stake"].drop_null()
    if not pc.all(pc.is_finite(stakes), min_count=0).as_py():
        return "a `stake` that is not a finite number"
    return None


SIZES = ("audience", "people", "by_email", "by_phone", "stake", "meaning")


def size(audience: Audience, rows: pa.Table, known: Customers) -> dict[str, Any]:
    """A row of ``footfall audiences``: how many, how many of them can be reached, and the money at stake."""
    contacts = known.contacts

    def reached(by: str) -> int:
        able = contacts.filter(pc.is_valid(contacts[by]))["person"].combine_chunks()
        return int(pc.sum(pc.is_in(rows["person"], value_set=able)).as_py() or 0)

    return {
        "audience": audience.name,
        "people": rows.num_rows,
        "by_email": reached("email"),
        "by_phone": reached("phone"),
        "stake": float(pc.sum(rows["stake"]).as_py() or 0.0),
        "meaning": audience.meaning,
    }


def _moments(found: Sequence[Moments]) -> pa.Table:
    days = ("follow_up", "last_call", "too_late", "remind", "lapsing")
    columns: dict[str, Any] = {"category": pa.array([m.category for m in found], pa.string())}
    columns |= {name: pa.array([getattr(m, name) for m in found], pa.int64()) for name in days}
    return pa.table(columns)


def _chances(found: Sequence[Moments], order_values: Mapping[str, float]) -> pa.Table:
    """Chance that a visitor of each age who has not bought still does, and what an order is worth."""
    parts = []
    for m in found:
        ages = np.arange(len(m.curve))
        chance = [left(m.conversion, float(within)) for within in m.curve]
        parts.append(
            pa.table(
                {
                    "category": pa.array([m.category] * len(ages), pa.string()),
                    "age_days": ages,
                    "chance": pa.array(chance, pa.float64()),
                    "order_value": pa.array([order_values.get(m.category, 0.0)] * len(ages), pa.float64()),
                }
            )
        )
    empty = {"category": pa.string(), "age_days": pa.int64(), "chance": pa.float64(), "order_value": pa.float64()}
    return pa.concat_tables(parts) if parts else pa.schema(empty.items()).empty_table()


def _buyers(known: Customers) -> pa.Table:
    rows = table(known, keys=True)
    return rows.select([name for name in rows.column_names if name != "customer_id"])


def _rhythms(known: Customers) -> pa.Table:
    rhythms = known.rhythms
    fit, names = rhythms.fit, np.array(rhythms.categories or ("",), dtype=object)
    unknown = np.full(len(fit.category), fit.thin)  # too few repurchases: nobody is due, lapsing or lost
    return pa.table(
        {
            "person": rhythms.person,
            "category": pa.array(names[fit.category].tolist(), pa.string()),
            "gaps": fit.gaps,
            "since_days": fit.since,
            "due_in_days": pa.array(rhythms.due.median, mask=unknown),
            "typical_days": pa.array(fit.typical_days(), mask=unknown),
            "chance": pa.array(rhythms.due.chance, mask=unknown),
            "within_30": pa.array(fit.within(30.0), mask=unknown),
            "waited": pa.array(fit.waited(), mask=unknown),
        }
    )
