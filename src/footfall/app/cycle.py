"""The loop on one page.

    record   import_files, record, forget          events in the lake, each once
    value    count -> valuation -> demand          facts, estimates with intervals, tomorrow's visits
    acquire  plan -> publish -> explain            shares with prices, a certificate, and reasons
    retain, learn                                  take their places here

``turn`` is one turn of the loop. Each step takes the workspace and returns a record; nothing is printed here.
Numerics take a second to load, so each step imports what it needs when it runs.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from footfall.app.build import Workspace
from footfall.errors import ConfigError, WorkspaceError
from footfall.model import DemandForecast, Finding, ImportSummary, Plan
from footfall.record import money
from footfall.texts import say
from footfall.value.recipes import recipe, reward_exponent

if TYPE_CHECKING:
    from footfall.acquire.plans import Explanation
    from footfall.app.report.words import Language
    from footfall.record.erase import Erased
    from footfall.record.fakes import Suspect
    from footfall.record.removal import Brought, Removed
    from footfall.value.fact_tables import FactTables
    from footfall.value.valuation import By, Valuation

Progress = Callable[[float, float], None]


def turn(here: Workspace, files: Sequence[str] = ()) -> Plan:
    """One turn: take events in, count, value, plan, publish."""
    if files:
        import_files(here, files)
    made = plan(here)
    return here.state.publish(made.version)


# ---------------------------------------------------------------- record


def import_files(
    here: Workspace, files: Sequence[str], *, progress: Progress | None = None, **options: Any
) -> ImportSummary:
    """Read files into the lake; ``options`` as in ``record.intake.import_files``."""
    from footfall.record import intake

    with here.engine() as engine:
        return intake.import_files(
            here.store,
            engine,
            here.config,
            here.clock,
            files,
            quarantine_dir=here.quarantine,
            progress=progress,
            **options,
        )


def imports(here: Workspace) -> tuple[Brought, ...]:
    """What imports brought and the log still has, oldest first."""
    from footfall.record import removal

    with here.engine() as engine:
        return removal.imports(here.store, engine)


def remove_import(here: Workspace, named: str) -> Removed:
    """Take what an import brought out of the log, by its source or batch id."""
    from footfall.record import removal

    with here.engine() as engine:
        return removal.remove(here.store, engine, here.config, here.clock, named, quarantine_dir=here.quarantine)


def record(here: Workspace, frame: Any, **options: Any) -> ImportSummary:
    """Take in any Arrow-capable data frame; ``options`` as in ``record.intake.record_frame``."""
    from footfall.record import intake

    with here.engine() as engine:
        return intake.record_frame(
            here.store, engine, here.config, here.clock, frame, quarantine_dir=here.quarantine, **options
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """What ``check`` found, and tables of events and visitors by name, source and day."""

    findings: tuple[Finding, ...]
    profile: Mapping[str, pa.Table]


def check(here: Workspace) -> Checked:
    """Look for what is wrong with the log; changes nothing."""
    from footfall.record import checks, quarantine
    from footfall.value import facts, refunds

    kind = recipe(here.config.workspace.recipe)
    kept_aside = Counter(reject.reason for reject in quarantine.rejects(here.quarantine))
    with here.engine() as engine:
        known = here.state.providers() or None
        fates = refunds.fates(here.store, engine, facts.rules_of(here.config, known))
        now = here.clock.now()
        found = checks.check(engine, here.store, here.config, now, known, kept_aside, recipe=kind, refunds=fates)
        profile = checks.profile(engine, recipe=kind) if here.store.days() else {}
        return Checked(found, profile)


def suspects(here: Workspace) -> tuple[Suspect, ...]:
    """Providers whose orders look faked, with the visitors; the operator decides."""
    from footfall.record import fakes, queries

    with here.engine() as engine:
        here.store.attach(engine)
        return fakes.suspects(queries.Queries(engine, recipe(here.config.workspace.recipe), here.config))


def rows(here: Workspace, **question: Any) -> pa.Table:
    """The events behind a figure; ``question`` as in ``value.trace.rows``."""
    from footfall.value import trace

    with here.engine() as engine:
        return trace.rows(here.store, engine, here.config, providers=here.state.providers(), **question)


def forget(here: Workspace, visitor: str) -> Erased:
    """Erase a person from the lake, the rows kept aside, this host's inbox, decisions, journeys and coupons.

    What the inbox holds is drained first, so that all that was acknowledged until now is reached.
    """
    from footfall.record import drained, erase
    from footfall.value import facts

    received = (here.directory / "inbox" / "inbox.db").exists()

    def elsewhere(ids: Sequence[str]) -> dict[str, int]:
        kept = {"journeys": here.entries.forget(ids), "messages": here.outbox.forget(ids)}
        kept["coupons"] = here.offers.forget(ids)
        return kept | ({"sticky choices": here.inbox.forget(ids)} if received else {})

    facts.forget(here.facts_directory)  # before and after: it may be killed between, and facts may be counted between
    with here.engine() as engine:
        if received:
            where = (here.inbox, here.store, here.decisions, engine, here.config, here.clock)
            drained.drain(*where, quarantine_dir=here.quarantine)
        erased = erase.forget(
            here.store, engine, visitor, here.quarantine, decisions=here.decisions, elsewhere=elsewhere
        )
    facts.forget(here.facts_directory)
    return erased


# ---------------------------------------------------------------- value


def count(here: Workspace, progress: Callable[[str], None] | None = None) -> FactTables:
    """Facts of the whole log, brought up to date by what is new in it."""
    from footfall.value import facts

    with here.engine() as engine:
        return facts.facts(here.store, engine, here.config, here.facts_directory, progress, here.state.providers())


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

    rows: list[dict[str, Any]]
    notes: tuple[str, ...]


def value(
    here: Workspace,
    by: By = "provider",
    as_of: date | None = None,
    first: date | None = None,
    last: date | None = None,
    progress: Progress | None = None,
) -> Valued:
    """What a visitor is worth: plain figures of ``first`` to ``last``, the estimate of a visit on the as-of day.

    Plain figures count all that there is, a last day that is not over included; the estimate is as in ``valued``.
    """
    from footfall.value import valuation

    if first and last and first > last:
        raise ConfigError(f"--from {first} is after --to {last}", "turn them round")
    counted = count(here)
    plain = counted.as_of(as_of or here.last_day())
    known = replace(valued(here, as_of, valuation.pairs_of(plain), counted), facts=plain)
    notes = [*known.values.notes, *remarks(here, known), *_beyond(here.store.days(), as_of, first, last)]
    if as_of is None and here.last_complete_day() < here.last_day():
        day = here.last_day()
        notes.insert(0, say("{day} is not over: estimates are of {last}", day=day, last=known.as_of))
    return Valued(valuation.rows(known, by, first, last), tuple(notes))


def _beyond(days: Sequence[date], as_of: date | None, first: date | None, last: date | None) -> list[str]:
    """What to know of days that were asked for and are not in the log (``days``, ascending)."""
    if not days:
        return []
    span: dict[str, object] = {"begin": days[0], "end": days[-1]}
    found = []
    if as_of is not None and not days[0] <= as_of <= days[-1]:
        found.append(
            say(
                "{day} is outside the log, which goes from {begin} to {end}: the estimate rests on what is known from "
                "afar",
                day=as_of,
                **span,
            )
        )
    if (first is not None and first > days[-1]) or (last is not None and last < days[0]):
        found.append(
            say(
                "no day of the log, {begin} to {end}, is within the days asked for: the plain figures count nothing",
                **span,
            )
        )
    return found


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
    conversion = valuation.plain_figures(known, None)[()]["conversion"]
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
    return inputs.forecast(facts.as_of(last), last, day or last + timedelta(days=1))


def whole_day(here: Workspace, facts: FactTables, as_of: date | None) -> tuple[date, tuple[str, ...]]:
    """The last day of the log that is over and whole: the day to plan from; with what a reader has to know.

    A day whose log breaks off early with less than half of the usual visits (an export cut by another zone's midnight,
    a file still to come) would halve tomorrow's forecast: it is left out, and said.
    """
    from footfall.app import inputs

    if as_of is not None:
        return as_of, ()
    last = here.last_complete_day()
    usual = inputs.usual_visits(facts, last)
    if usual is None or usual.today >= 0.5 * usual.before:
        return last, ()
    with here.engine() as engine:
        here.store.attach(engine, last, last)
        (latest,) = engine.query("SELECT max(ts) AS ts FROM events").to_pylist()
    ended = latest["ts"].replace(tzinfo=UTC).astimezone(here.zone)
    if ended.date() > last or ended.hour >= 22:
        return last, ()
    note = say(
        "{day} is left out: its log ends at {ended:%H:%M} with {visits:,.0f} visits, where {usual:,.0f} are usual; "
        "`--as-of {day}` takes it all the same",
        day=last,
        ended=ended,
        visits=usual.today,
        usual=usual.before,
    )
    return usual.day_before, (note,)


# ---------------------------------------------------------------- acquire


def plan(
    here: Workspace,
    day: date | None = None,
    *,
    inertia: float | None = None,
    capacity: Path | None = None,
    rules: Path | None = None,
    demand: Path | None = None,
    eligible: Path | None = None,
    as_of: date | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan a day's visits and keep the plan as a draft; InfeasibleError where limits cannot all hold."""
    from footfall.acquire import plans, solve
    from footfall.app import inputs

    counted = count(here)
    as_of, notes = whole_day(here, counted, as_of)
    if day is not None and day <= as_of:
        raise ConfigError(
            f"the log already has {as_of}; {day} cannot be planned",
            f"plan {as_of + timedelta(days=1)} or later",
        )
    files = inputs.read_files(capacity=capacity, rules=rules, demand=demand, eligible=eligible)
    known = valued(here, as_of, files.eligible, counted)
    settings = here.config.plan if inertia is None else _with_inertia(here, inertia)
    made_from = inputs.plan_inputs(known, day or as_of + timedelta(days=1), files, settings)
    made = plans.make_plan(
        made_from, uuid.uuid4().hex, here.clock.now(), solve=solve, progress=inputs.solver_progress(progress)
    )
    made = replace(made, notes=(*notes, *known.values.notes, *made.notes))
    inputs.keep(here.common, made.plan_id, made_from)
    return here.state.save_plan(made)


def _with_inertia(here: Workspace, inertia: float) -> Any:
    from msgspec.structs import replace as with_setting

    if not 0 <= inertia <= 100:
        raise ConfigError(f"--inertia {inertia} is out of its range", "give a number from 0 to 100; 0.3 is the default")
    return with_setting(here.config.plan, inertia=inertia)


def stored_plan(here: Workspace, version: int | None = None) -> Plan:
    """The plan of that version, else the newest."""
    found = here.state.plan(version)
    if found is None:
        what = f"no plan {version}" if version is not None else "no plan yet"
        raise WorkspaceError(f"there is {what}", "`footfall plan list` shows the plans; `footfall plan` makes one")
    return found


def rollback(here: Workspace, version: int | None = None) -> Plan:
    """Put an earlier plan in force again: the given one, else the latest retired one that is older than it."""
    if version is None:
        now = here.state.plan(status="published")
        earlier = [p for p in here.state.plans() if p.status == "retired" and now and p.version < now.version]
        before = earlier[0] if earlier else None
        if before is None:
            raise WorkspaceError(
                "there is no earlier published plan to go back to", "name a version: `footfall plan list`"
            )
        version = before.version
    return here.state.publish(stored_plan(here, version).version)


def plans_to_compare(here: Workspace, first: int | None = None, second: int | None = None) -> tuple[Plan, Plan]:
    """The plans of two versions: by default the published one and the newest, else the two newest."""
    after = stored_plan(here, second)
    if first is not None:
        return stored_plan(here, first), after
    before = here.state.plan(status="published")
    if before is None or before.version == after.version:
        earlier = [version for version in here.state.versions() if version < after.version]
        before = stored_plan(here, max(earlier)) if earlier else None
    if before is None:
        raise WorkspaceError("there is one plan only", "make another with `footfall plan` to compare it with")
    return before, after


def plan_diff(before: Plan, after: Plan, by: Literal["provider", "pair"]) -> list[dict[str, Any]]:
    """Two plans side by side."""
    from footfall.acquire.diff import diff

    return diff(before, after, by)


def explain(here: Workspace, provider: str, version: int | None = None) -> Explanation:
    """Why a provider's visits change from today to the planned day, in parts that sum to the change."""
    from footfall.acquire import plans, solve
    from footfall.app import inputs

    made = stored_plan(here, version)
    made_from = inputs.kept(here.common, made.plan_id)
    if provider not in made_from.providers:
        named = [key for key, row in here.state.providers().items() if row.get("name") == provider]
        provider = named[0] if len(named) == 1 else provider
    return plans.explain(made_from, provider, solve=solve)


def report(here: Workspace, path: Path, *, version: int | None = None, language: Language | None = None) -> None:
    """Write the report to ``path``: one page that works offline."""
    from footfall.app.report import render
    from footfall.app.reporting import report_data

    page = render(report_data(here, version), language or here.config.workspace.language)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)
