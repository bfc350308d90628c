"""Valuing: facts, values with their intervals, and the demand of a day; value wired to a workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING, Any

from footfall.app.build import Workspace
from footfall.errors import ConfigError
from footfall.model import DemandForecast
from footfall.record import money
from footfall.texts import say
from footfall.value.recipes import recipe, reward_exponent

if TYPE_CHECKING:
    from footfall.record.ending import Ending
    from footfall.value.fact_tables import FactTables
    from footfall.value.valuation import By, Valuation


def count(here: Workspace, progress: Callable[[str], None] | None = None) -> FactTables:
    """Facts of the whole log, brought up to date by what is new in it."""
    from footfall.value import facts

    with here.engine() as engine:
        return facts.facts(here.store, engine, here.config, here.facts_directory, progress, here.state.providers())


def in_order(first: date | None, last: date | None) -> None:
    """Refuse days of which the first is after the last."""
    if first and last and first > last:
        raise ConfigError(f"--from {first} is after --to {last}", "turn them round")


def categories(here: Workspace) -> dict[str, str]:
    """provider_id -> category, as the providers file has it."""
    return {key: row["category"] for key, row in here.state.providers().items() if row.get("category")}


def valued(
    here: Workspace,
    as_of: date | None = None,
    extra_pairs: Sequence[tuple[str, str]] = (),
    counted: FactTables | None = None,
) -> Valuation:
    """Values of all pairs and providers as of a day, by default the last that is over and whole: on a day that has just
    begun, orders are missing that its visitors will still place today, and all values would look lower.

    counted: the facts, where they are at hand.
    """
    from footfall.value import facts, propensity, valuation
    from footfall.value.counts import Settings

    config, counted = here.config, counted or count(here)
    day, notes = whole_day(here, counted, as_of)
    unit_reward = recipe(config.workspace.recipe).unit_reward
    settings = Settings(half_life_days=config.value.half_life_days, unit_reward=unit_reward)
    known = valuation.valuate(
        counted,
        day,
        exponent=reward_exponent(recipe(config.workspace.recipe), money.exponent(config.workspace.currency)),
        window_days=config.value.window_days,
        settings=settings,
        categories=categories(here),
        extra_pairs=extra_pairs,
    )
    known = replace(known, values=replace(known.values, notes=(*notes, *known.values.notes)))
    if not unit_reward:
        return known
    with here.engine() as engine:
        here.store.attach(engine)
        sums = propensity.drawn(engine, facts.rules_of(config, here.state.providers()), day)
    return propensity.weigh(known, sums, settings) if sums.num_rows else known


@dataclass(frozen=True, slots=True)
class Valued:
    """Rows of ``footfall value``, with what a reader has to know."""

    rows: Sequence[dict[str, Any]]
    notes: tuple[str, ...]


def value(
    here: Workspace,
    by: By = "provider",
    as_of: date | None = None,
    first: date | None = None,
    last: date | None = None,
) -> Valued:
    """What a visitor is worth: plain figures of ``first`` to ``last``, the estimate of a visit on the as-of day.

    Plain figures count all that there is, a last day that is not over included; the estimate is as in ``valued``.
    """
    from footfall.value import valuation

    in_order(first, last)
    counted = count(here)
    plain = counted.as_of(as_of or here.last_day())
    begun = () if as_of else valuation.pairs_of(plain.between(whole_day(here, counted, None)[0] + timedelta(days=1)))
    known = replace(valued(here, as_of, begun, counted), facts=plain)
    notes = [*known.values.notes, *remarks(here, known), *_beyond(here.store.days(), first, last)]
    if as_of is None and here.last_complete_day() < here.last_day():
        day = here.last_day()
        notes.insert(0, say("{day} is not over: estimates are of {last}", day=day, last=known.as_of))
    return Valued(valuation.rows(known, by, first, last), tuple(notes))


def _beyond(days: Sequence[date], first: date | None, last: date | None) -> list[str]:
    """What to know where none of the days asked for is in the log (``days``, ascending)."""
    if not days or ((first is None or first <= days[-1]) and (last is None or last >= days[0])):
        return []
    told = say(
        "no day of the log, {begin} to {end}, is within the days asked for: the plain figures count nothing",
        begin=days[0],
        end=days[-1],
    )
    return [told]


def remarks(here: Workspace, known: Valuation) -> tuple[str, ...]:
    """What a reader of the figures has to know about the settings and the log."""
    from footfall.value import valuation

    found = []
    left_out = len(here.config.value.exclude_visitors)
    if left_out:
        found.append(
            say(
                "{visitors:,} visitors are left out of all counts: [value] exclude_visitors in footfall.toml",
                visitors=left_out,
            )
        )
    conversion = valuation.total(known)["conversion"]
    if conversion > 1:
        found.append(
            say(
                "{share:.0%} of the visits have an order: if a row of the log is a line of an invoice, sum the lines "
                "of each order before importing it; if visits are missing, import them",
                share=conversion,
            )
        )
    return tuple(found)


def demand(here: Workspace, day: date | None = None, as_of: date | None = None) -> DemandForecast:
    """Forecast visits per segment of a day, by default the day after the last complete one."""
    from footfall.app import inputs

    facts = count(here)
    last, _ = whole_day(here, facts, as_of)
    return inputs.forecast(facts.as_of(last), last, day)


def whole_day(here: Workspace, facts: FactTables, as_of: date | None) -> tuple[date, tuple[str, ...]]:
    """The last day of the log that is over and whole, or the day asked for: the day to plan from; with what a reader
    has to know.

    A day whose log breaks off early with less than half of the usual visits (an export cut by another zone's midnight,
    a file still to come) would halve tomorrow's forecast: it is left out, and said. One that breaks off later counts,
    which is said, too: visits that are fewer by a third may be a quiet day, and no clock tells them apart for sure.
    """
    from footfall.app import inputs
    from footfall.record.ending import broken_off

    if as_of is not None:
        return as_of, _outside(here.store.days(), as_of)
    last = here.last_complete_day()
    usual = inputs.usual_visits(facts, last)
    if usual is None:
        return last, ()
    days = [day for day in here.store.days() if day <= last]
    with here.engine() as engine:
        here.store.attach(engine, days[-8:][0], last)
        if usual.today >= 0.5 * usual.before:
            ending = broken_off(engine, days, here.zone)
            return last, () if ending is None else (_counts_all_the_same(ending, usual.day_before),)
        (latest,) = engine.query("SELECT max(ts) AS ts FROM events WHERE day = $day", {"day": last}).to_pylist()
    ended = latest["ts"].replace(tzinfo=UTC).astimezone(here.zone)
    if ended.date() > last or ended.hour >= 22:
        return last, ()
    note = say(
        "estimates and plans leave {day} out: its log ends at {ended:%H:%M} with {visits:,.0f} visits, where "
        "{usual:,.0f} are usual; `--as-of {day}` takes it all the same",
        day=last,
        ended=ended,
        visits=usual.today,
        usual=usual.before,
    )
    return usual.day_before, (note,)


def _counts_all_the_same(ending: Ending, before: date) -> str:
    return say(
        "{day} counts as a whole day, though its log ends at {ended:%H:%M}, where on the days before {share:.0%} of "
        "the events come later: import the rest, or take `--as-of {before}`",
        day=ending.day,
        ended=ending.ended,
        share=ending.share,
        before=before,
    )


def _outside(days: Sequence[date], as_of: date) -> tuple[str, ...]:
    """What to know of a day that is not within the log (``days``, ascending)."""
    if not days or days[0] <= as_of <= days[-1]:
        return ()
    note = say(
        "{day} is outside the log, which goes from {begin} to {end}: the estimate rests on what is known from afar",
        day=as_of,
        begin=days[0],
        end=days[-1],
    )
    return (note,)
