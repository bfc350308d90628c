"""From a workspace to ``ReportData``: one counting, the plan as it was made, reasons for the largest changes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from footfall.acquire import plans, solve
from footfall.acquire.plan import plan_detail
from footfall.app import inputs, planning, recording, valuing
from footfall.app.build import Workspace
from footfall.app.report import Day, ExplanationLine, ExplanationPart, ReportData, Totals, ValueLine, WinBack
from footfall.errors import ConfigError, WorkspaceError
from footfall.model import Plan
from footfall.record import money
from footfall.value import valuation
from footfall.value.recipes import recipe, reward_exponent
from footfall.value.valuation import Valuation

if TYPE_CHECKING:
    from footfall.app.report.words import Language

EXPLAINED = 3  # winners and losers each


def report_data(here: Workspace, version: int | None = None) -> ReportData:
    """All that the report shows; without a plan yet, the plan's sections say so."""
    known = valuing.valued(here)
    made = planning.plan_to_tell(here, version) if version is not None or here.state.versions() else None
    workspace = here.config.workspace
    kind = recipe(workspace.recipe)
    exponent = reward_exponent(kind, money.exponent(workspace.currency))
    return ReportData(
        workspace=here.directory.name if here.directory.name != "workspace" else here.directory.parent.name,
        created_at=here.clock.now(),
        currency=workspace.currency,
        zone=workspace.timezone,
        as_of=known.as_of,
        first_day=known.first_day,
        last_day=known.as_of,
        totals=_totals(known, exponent),
        values=_values(here, known),
        daily=tuple(Day(row["day"], row["visitors"], row["orders"], row["gmv"]) for row in valuation.days(known)),
        delay=_delay(known),
        plan=made,
        explanations=_explanations(here, made) if made else (),
        findings=recording.check(here).findings,
        warnings=(*known.values.notes, *valuing.remarks(here, known)),
        money_decimals=exponent,
        unit_reward=kind.unit_reward,
        segment_columns=tuple(here.config.value.segment),
    )


def _totals(known: Valuation, exponent: int) -> Totals:
    total = valuation.total(known)
    refunds = sum(int(amount) for amount in known.facts.refunds["amount_minor"].to_pylist())
    return Totals(
        visitors=total["visitors"],
        orders=total["orders"],
        gmv=total["gmv"],
        conversion=total["conversion"],
        aov=total["aov"],
        visitor_value=total["visitor_value"],
        refunds=refunds / 10**exponent,
    )


def _values(here: Workspace, known: Valuation) -> tuple[ValueLine, ...]:
    names = here.state.providers()
    index = known.index
    category = {p: index.categories[c] for p, c in zip(index.providers, index.provider_category, strict=True)}
    return tuple(
        ValueLine(
            name=names.get(row["provider_id"], {}).get("name") or "",
            category=category[row["provider_id"]],
            **row,
        )
        for row in valuation.rows(known, "provider")
    )


def _delay(known: Valuation) -> dict[str, tuple[float, ...]]:
    curves = known.values.delay
    return {
        name: tuple(float(share) for share in curves.cdf[i] if math.isfinite(share))
        for i, name in enumerate(known.index.categories)
    }


def _explanations(here: Workspace, made: Plan) -> tuple[ExplanationLine, ...]:
    """Reasons for the largest winners and losers, from the inputs kept with the plan."""
    lines = sorted(made.providers, key=lambda line: line.visits_tomorrow - line.visits_today)
    chosen = [line for line in lines[:EXPLAINED] if line.visits_tomorrow < line.visits_today]
    chosen += [line for line in reversed(lines[-EXPLAINED:]) if line.visits_tomorrow > line.visits_today]
    try:
        detail = plan_detail(inputs.kept(here.common, made.plan_id), solve)
    except WorkspaceError:
        return ()  # a plan whose inputs are gone (an old backup) is shown without reasons
    return tuple(explanation_line(plans.explain(detail, line.provider_id, solve)) for line in chosen)


def explanation_line(why: plans.Explanation) -> ExplanationLine:
    """An explanation as the report shows it, in visits as they are told."""
    back = why.win_back
    today, tomorrow, _ = why.told
    return ExplanationLine(
        provider_id=why.provider_id,
        visits_today=today,
        visits_tomorrow=tomorrow,
        parts=tuple(ExplanationPart(r.key, r.detail, r.told, r.own, r.around) for r in why.lines),
        win_back=WinBack(back.conversion_needed, back.order_value_needed, back.blocked_by) if back else None,
        gainers=tuple((n.provider_id, n.told) for n in why.neighbours if n.told),
    )


def report(here: Workspace, path: Path, *, version: int | None = None, language: Language | None = None) -> None:
    """Write the report to ``path``: one page that works offline."""
    from footfall.app.report import render

    page = render(report_data(here, version), language or here.config.workspace.language)
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}", "make it, or name another")
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)
