"""Customers: who bought, whether they are still there, what they will still buy, when the next purchase is due.

    relations of the log -> buyers, gaps, ties, contacts -> lifetime and repurchase models -> one row for each customer

A customer is a person with at least one purchase day that was not wholly given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from footfall.errors import InputError
from footfall.model import Floats, Ints
from footfall.ports import Engine, Store
from footfall.retain.rfm import Tiers, tiers
from footfall.retain.statements import text
from footfall.value import identity
from footfall.value.lifetime import FEWEST_REPEATERS, BgNbd, GammaGamma, fit_bg_nbd, fit_gamma_gamma
from footfall.value.relations import Rules, relate
from footfall.value.repurchase import FEWEST_REPURCHASES, Due, Repurchase, fit_repurchase
from footfall.value.statements import statement

HORIZONS = (30, 90, 365)
LEAST_CHANCE = 0.01  # of coming back, below which no day is named
COLUMNS = (
    "customer_id",
    "first_day",
    "last_day",
    "recency_days",
    "frequency",
    "orders",
    "spend",
    "alive",
    *(f"expected_{days}" for days in HORIZONS),
    *(f"money_{days}" for days in HORIZONS),
    "due_category",
    "due",
    "due_low",
    "due_high",
    "due_chance",
    "tier",
    "recency_score",
    "frequency_score",
    "money_score",
    "fan",
    "reachable",
)


@dataclass(frozen=True, slots=True)
class Rhythms:
    """Each (person, category) that bought, and when the next purchase there is due; all (G,)."""

    person: pa.Array
    categories: tuple[str, ...]
    fit: Repurchase
    due: Due


@dataclass(frozen=True, slots=True)
class Customers:
    """One row for each customer, ordered by ``person``; arrays are float64 (n,) and aligned with ``buyers``.

    buyers: the table of ``buyers.sql``. expected: purchases days in the next 30, 90, 365 days. money: the same in major
    units. Models are None where the log is too thin for them; ``notes`` say so.
    """

    as_of: date
    exponent: int
    buyers: pa.Table
    alive: Floats | None
    expected: Mapping[int, Floats]
    money: Mapping[int, Floats]
    tiers: Tiers
    rhythms: Rhythms
    ties: pa.Table
    contacts: pa.Table
    purchases: BgNbd | None
    spending: GammaGamma | None
    notes: tuple[str, ...]


def relations(store: Store, engine: Engine, rules: Rules) -> None:
    """Attach the log and make the views and tables that all of retain's SQL reads (person_events, visits, orders ...).

    Persons carry a letter in front that tells users from devices (``person_ids`` takes it off), whatever ids the log
    has: what is kept of a person beside the log must not lose its owner when the first user signs in.
    """
    store.attach(engine)
    known, marks = identity.learn(engine, rules.exclude_visitors, use=identity.needed(engine)), rules.marks()
    _relate_spenders(engine, rules, known)
    identity.show(engine, known, marks, lettered=True)
    with_traits = {**marks, "event_columns": f"{marks['event_columns']}, e.properties"}
    identity.show(engine, known, with_traits, view="trait_events", lettered=True)
    engine.execute(text("acts"))
    told = engine.query(statement("providers", {"source": "events"}))
    engine.query("CREATE OR REPLACE TEMPORARY TABLE told_providers AS SELECT * FROM told", None, told=told)
    if not known.needed:
        engine.execute(text("nobody_joined"))


def _relate_spenders(engine: Engine, rules: Rules, known: identity.Identity) -> None:
    """Orders, refunds and visits that purchases made, as all counting has them, from the events that can bear on them;
    what led to them is dropped.

    Most visitors never order, and telling the visits of all of them apart is what counting costs.
    """
    identity.show(engine, known, rules.marks(), view="all_person_events", lettered=True)
    names = [*rules.recipe.order_events, *rules.recipe.refund_events]
    engine.execute(text("spenders"), {"names": names})
    engine.execute(text("spenders_visits"))
    engine.execute(text("spenders_events"))
    relate(engine, rules)
    for name in ("spenders", "spenders_visits", "money", "purchases", "visit_groups", "attributed", "own_visits"):  # fmt: skip  # noqa: E501
        engine.execute(f"DROP TABLE {name}")


def customers(engine: Engine, as_of: date, exponent: int, now: datetime) -> Customers:
    """Customers as of a day, from the relations that ``relations`` made.

    exponent: decimals of the currency. now: who is a fan is told by what was said until then.
    """
    day = {"as_of": as_of}
    engine.execute(text("follows"), {**day, "now": now.astimezone(UTC).replace(tzinfo=None)})
    engine.execute(text("purchase_days"), day)
    buyers = engine.query(text("buyers"), day)
    engine.execute(text("purchase_gaps"), day)
    notes: list[str] = []
    frequency, recency, age = (_floats(buyers[name]) for name in ("frequency", "recency_days", "age_days"))
    purchases = _purchases(frequency, recency, age, notes)
    alive = purchases.alive(frequency, recency, age) if purchases else None
    expected = {h: purchases.expected(frequency, recency, age, float(h)) for h in HORIZONS} if purchases else {}
    spending, each = _spending(buyers, frequency, exponent, notes) if purchases else (None, None)
    rhythms = _rhythms(engine)
    if rhythms.fit.thin:
        notes.append(
            f"no due dates, and nobody lapsing or lost: {rhythms.fit.closed.sum():,.0f} purchase days were followed by "
            f"another in their category, and {FEWEST_REPURCHASES} are the fewest that tell when"
        )
    return Customers(
        as_of=as_of,
        exponent=exponent,
        buyers=buyers,
        alive=alive,
        expected=expected,
        money={h: bought * each for h, bought in expected.items()} if each is not None else {},
        tiers=tiers(age - recency, frequency + 1, _floats(buyers["spend_minor"])),
        rhythms=rhythms,
        ties=engine.query(text("ties"), day),
        contacts=engine.query(text("contacts"), day),
        purchases=purchases,
        spending=spending,
        notes=tuple(notes),
    )


def _purchases(frequency: Floats, recency: Floats, age: Floats, notes: list[str]) -> BgNbd | None:
    repeaters, span = int((frequency > 0).sum()), float(age.max(initial=0.0))
    if repeaters < FEWEST_REPEATERS:
        pace = "nothing tells when that may be"
        if repeaters:
            pace = f"at this pace that is some {span * (FEWEST_REPEATERS - repeaters) / repeaters:,.0f} days more"
        notes.append(
            f"no forecast of purchases or money: {repeaters:,} of {len(age):,} customers bought again in {span:,.0f} "
            f"days, and a forecast takes {FEWEST_REPEATERS}; {pace}"
        )
        return None
    fit = fit_bg_nbd(frequency, recency, age)
    beyond = [f"{h}" for h in HORIZONS if h > span]
    if beyond:
        notes.append(
            f"the log shows {span:,.0f} days of customers: forecasts of {' and '.join(beyond)} days go beyond it"
        )
    if not fit.converged:
        notes.append(
            "the purchases of this log do not tell drop-out from slow buying apart; forecasts are rough, "
            "and nobody's probability of being alive should be acted on"
        )
    return fit


def _spending(
    buyers: pa.Table, frequency: Floats, exponent: int, notes: list[str]
) -> tuple[GammaGamma | None, Floats | None]:
    """Gamma-Gamma on repeat purchase days, and each customer's expected money of a purchase day, (n,)."""
    repeat = _floats(buyers["repeat_spend_minor"]) / 10.0**exponent
    counted = (frequency > 0) & (repeat > 0)
    mean = np.divide(repeat, frequency, out=np.zeros_like(repeat), where=counted)
    all_days = _floats(buyers["spend_minor"]) / 10.0**exponent
    try:
        fit = fit_gamma_gamma(frequency[counted], mean[counted])
    except InputError as error:
        notes.append(f"no forecast of money: {error.message}")
        return None, None
    if np.isfinite(fit.mean):
        return fit, fit.expected(np.where(counted, frequency, 0.0), mean)
    notes.append("amounts vary too much for a mean of their own: money is forecast at the mean purchase day of all")
    return fit, np.full(len(mean), float(all_days.sum() / max((frequency + 1).sum(), 1.0)))


def _rhythms(engine: Engine) -> Rhythms:
    """Gap curves of all categories, and when each person's next purchase in each category is due."""
    gaps = engine.query(text("gaps"))
    rows = engine.query(text("rhythms"))
    names = tuple(sorted(set(rows["category"].to_pylist())))
    category = _codes(rows["category"], {name: i for i, name in enumerate(names)})
    fit = fit_repurchase(category, _ints(gaps["rhythm"]), _ints(gaps["gap_days"]), _ints(gaps["closed"]))
    return Rhythms(rows["person"].combine_chunks(), names, fit, fit.due())


def _codes(column: pa.ChunkedArray, position: Mapping[str, int]) -> Ints:
    encoded = column.combine_chunks().dictionary_encode()
    to = np.array([position[name] for name in encoded.dictionary.to_pylist()] or [0], dtype=np.int64)
    return to[np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)] if len(column) else to[:0]


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.ascontiguousarray(column.cast(pa.float64()).to_numpy(), np.float64)


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.ascontiguousarray(column.cast(pa.int64()).to_numpy(), np.int64)


# ---------------------------------------------------------------- for people


def summary(known: Customers) -> dict[str, Any]:
    """What the models say of the whole: parameters, customers, forecasts."""
    n = known.buyers.num_rows
    found: dict[str, Any] = {"as_of": known.as_of, "customers": n}
    if known.purchases is not None:
        fit = known.purchases
        found |= {"r": fit.r, "alpha": fit.alpha, "a": fit.a, "b": fit.b, "log_likelihood": fit.log_likelihood}
    if known.alive is not None:
        found["repeaters"] = int((~_once(known)).sum())
        found["alive"] = float(known.alive[~_once(known)].sum())
    found |= {f"expected_{h}": float(values.sum()) for h, values in known.expected.items()}
    found |= {f"money_{h}": float(values.sum()) for h, values in known.money.items()}
    return found


def table(known: Customers, keys: bool = False) -> pa.Table:
    """One row for each customer, ``COLUMNS``, those who will bring most first; money in major units.

    ``keys``: with a column ``person`` in front, the key in the relations.
    """
    buyers, n = known.buyers, known.buyers.num_rows
    unit = 10.0**known.exponent
    absent = pa.nulls(n, pa.float64())
    columns: dict[str, Any] = {
        "customer_id": person_ids(buyers["person"]),
        "first_day": buyers["first_day"],
        "last_day": buyers["last_day"],
        "recency_days": pc.subtract(buyers["age_days"], buyers["recency_days"]),
        "frequency": buyers["frequency"],
        "orders": buyers["orders"],
        "spend": pc.divide(buyers["spend_minor"].cast(pa.float64()), unit),
        "alive": absent if known.alive is None else pa.array(known.alive, mask=_once(known)),
        **{f"expected_{h}": known.expected.get(h, absent) for h in HORIZONS},
        **{f"money_{h}": known.money.get(h, absent) for h in HORIZONS},
        **_first_due(known),
        "tier": pa.array(known.tiers.name.tolist(), pa.string()),
        "recency_score": known.tiers.recency,
        "frequency_score": known.tiers.frequency,
        "money_score": known.tiers.money,
        **_bound(known),
    }
    rows = pa.table({name: columns[name] for name in COLUMNS})
    if keys:
        rows = rows.add_column(0, "person", buyers["person"])
    by = "money_365" if known.money else "spend"
    return rows.sort_by([(by, "descending"), ("last_day", "descending"), ("customer_id", "ascending")])


def _once(known: Customers) -> npt.NDArray[np.bool_]:
    """Who bought on one day only: BG/NBD lets nobody drop out before a second purchase, so it cannot tell of them."""
    once: npt.NDArray[np.bool_] = known.buyers["frequency"].to_numpy() == 0
    return once


def _first_due(known: Customers) -> dict[str, Any]:
    """Each customer's next purchase: the category due first among those that more likely than not come back there,
    else the likeliest."""
    rhythms, n = known.rhythms, known.buyers.num_rows
    at = np.asarray(pc.index_in(rhythms.person, value_set=known.buyers["person"].combine_chunks()).to_numpy(), np.int64)
    due = rhythms.due
    likely = due.chance >= 0.5
    order = np.lexsort((np.where(likely, np.nan_to_num(due.median, nan=np.inf), -due.chance), ~likely, at))
    first = np.zeros(n, np.int64)  # every buyer has a rhythm
    people, where = np.unique(at[order], return_index=True)
    first[people] = order[where]
    unknown = np.full(n, rhythms.fit.thin)
    known_row = np.isfinite(due.median[first]) & (due.chance[first] >= LEAST_CHANCE) & ~unknown
    day = np.datetime64(known.as_of)
    categories = np.array([rhythms.categories[c] for c in rhythms.fit.category[first]], dtype=object)
    found: dict[str, Any] = {
        "due_category": pa.array(categories, pa.string(), mask=unknown),
        "due_chance": pa.array(due.chance[first], mask=unknown),
    }
    for name, days in (("due", due.median), ("due_low", due.low), ("due_high", due.high)):
        ahead = np.where(known_row, np.nan_to_num(days[first]), 0.0).round().astype("timedelta64[D]")
        found[name] = pa.array(day + ahead, pa.date32(), mask=~known_row)
    return found


def _bound(known: Customers) -> dict[str, Any]:
    """Who is a fan, and by what each customer can be reached."""
    person = known.buyers["person"]
    follows, contacts = known.ties, known.contacts
    fans = follows.filter(pc.greater(pc.add(follows["follows"], follows["subscriptions"]), 0))["person"]
    has = {
        name: pc.is_in(person, value_set=contacts.filter(pc.is_valid(contacts[name]))["person"].combine_chunks())
        for name in ("email", "phone")
    }
    names = np.array(["", "email", "phone", "email, phone"], dtype=object)
    code = np.asarray(has["email"].to_numpy(), np.int64) + 2 * np.asarray(has["phone"].to_numpy(), np.int64)
    return {
        "fan": pc.is_in(person, value_set=fans.combine_chunks()),
        "reachable": pa.array(names[code].tolist(), pa.string()),
    }


def person_ids(person: pa.ChunkedArray) -> pa.ChunkedArray:
    """The identifiers of the log behind persons' keys."""
    return pc.utf8_slice_codeunits(person, 2)
