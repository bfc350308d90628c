"""Proving: what each journey added, against its holdout; retain's outcomes and learn's lift wired to a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from footfall.app import retention
from footfall.app.build import Workspace
from footfall.app.messaging import UNSUBSCRIBED
from footfall.persons import id_of
from footfall.record import money

if TYPE_CHECKING:
    from footfall.learn.lift import Lift, Sums

_PRICED = {"conversion": 0.1, "gmv": 0.1, "margin": 0.1, "unsubscribed": 0.5}  # least effect, relative to the holdout


def lifts(here: Workspace) -> list[dict[str, Any]]:
    """Each journey against its holdout: a row for each metric, with an interval and what may be said.

    A unit is a person, from the first entry on for ``outcome_days``, in the arm drawn then, whatever was sent. Persons
    are who the log says by now, as after the next round; nothing is written.
    """
    import pyarrow as pa

    from footfall.retain.rounds import joined
    from footfall.retain.statements import text

    found = []
    left = here.outbox.suppressed_for(UNSUBSCRIBED)
    with retention.shown(here) as shown:
        shown.engine.execute(text("words"), {"now": here.clock.now().astimezone(UTC).replace(tzinfo=None)})
        now = joined(shown.engine, here.entries.persons())
        pairs = pa.table({"person": pa.array(now, pa.string()), "is_now": pa.array(now.values(), pa.string())})
        for name, journey in here.config.journeys.items():
            kept = here.entries.all(name)
            rows = shown.engine.query(text("first_entries"), None, given_entries=kept, given_joined=pairs)
            outcome = shown.engine.query(
                text("outcomes"),
                {"days": journey.outcome_days, "unit": 10.0**shown.customers.exponent, "margin": journey.margin},
                given_entries=rows,
                given_costs=_costs(here, name, rows, now),
                given_joined=pairs,
                given_left=left,
            )
            found += _lift_rows(here, name, journey.holdout, outcome, rows)
    return found


def _costs(here: Workspace, journey: str, rows: Any, now: Mapping[str, str]) -> Any:
    """person, cost: messages of a journey within the days that count, and its offers redeemed, major units.

    Redemptions count in both arms: a code that is shared may reach who was held out. rows: person, entered_at. now:
    former keys of persons -> those that they have by now.
    """
    import pyarrow as pa

    told = here.config.journeys[journey]
    first = dict(zip(rows["person"].to_pylist(), rows["entered_at"].to_pylist(), strict=True))
    costs = dict.fromkeys(first, 0.0)
    window = timedelta(days=told.outcome_days)
    by_step = {number: step.cost for number, step in enumerate(told.steps)}
    for row in here.outbox.costs(journey).to_pylist():
        person = now.get(row["person"], row["person"])
        if person in first and row["handed_at"] <= first[person] + window:
            costs[person] += row["cost"] if row["cost"] is not None else by_step.get(row["step"], 0.0)
    unit = 10.0 ** money.exponent(here.config.workspace.currency)
    keys = {old: person for old, person in now.items() if person in first} | {person: person for person in first}
    persons = {id_of(key): person for key, person in keys.items()}  # by the log's own ids
    within = {who: (first[person], first[person] + window) for who, person in persons.items()}
    for offer in dict.fromkeys(step.offer for step in told.steps if step.offer):
        spent = here.offers.spent(offer, within)
        for who, off_minor in spent.items():
            costs[persons[who]] += off_minor / unit
    people = pa.array(list(costs), pa.string())
    return pa.table({"person": people, "cost": pa.array(list(costs.values()), pa.float64())})


def _lift_rows(here: Workspace, name: str, holdout: float, outcome: Any, rows: Any) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    from footfall.learn.lift import lift, lift_of_shares, mismatch, more_units, sums_of, verdict

    arms: dict[str, dict[str, Sums]] = {}
    for arm in ("treated", "holdout"):
        part = outcome.filter(pc.equal(outcome["arm"], arm))
        arms[arm] = {metric: sums_of(part[metric].to_numpy()) for metric in _PRICED}
    treated, held = arms["treated"], arms["holdout"]
    events = min(treated["conversion"].total, held["conversion"].total)
    days = _entry_days(rows)
    found = []
    for metric, least in _PRICED.items():
        how = lift_of_shares if metric in ("conversion", "unsubscribed") else lift
        one: Lift = how(treated[metric], held[metric])
        base = abs(held[metric].mean) or abs(treated[metric].mean)
        missing = more_units(treated[metric], held[metric], max(least * base, abs(one.difference)))
        said = verdict(one, events if metric != "unsubscribed" else treated[metric].n, missing)
        each_day = (treated[metric].n + held[metric].n) / days if days else 0.0
        more = missing / each_day if each_day and said == "not enough evidence" else None
        found.append(
            {
                "journey": name,
                "metric": metric,
                "treated": int(treated[metric].n),
                "holdout": int(held[metric].n),
                "treated_mean": one.treated,
                "holdout_mean": one.holdout,
                "difference": one.difference,
                "low": one.low,
                "high": one.high,
                "total": one.total,
                "total_low": one.total_low,
                "total_high": one.total_high,
                "verdict": said,
                "more_days": more if more is not None and more < 36_500 else None,
                "split_p": mismatch(treated[metric].n, held[metric].n, holdout) if 0 < holdout < 1 else None,
            }
        )
    return found


def _entry_days(rows: Any) -> float:
    """Days over which people have entered, at least one; 0 where nobody has."""
    import pyarrow.compute as pc

    if not rows.num_rows:
        return 0.0
    ends = pc.min_max(rows["entered_at"]).as_py()
    return max(float((ends["max"] - ends["min"]).total_seconds()) / 86400.0, 1.0)
