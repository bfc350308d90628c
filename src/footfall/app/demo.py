"""The demonstrations: the whole loop on a simulated month, or on the real Open Bandit log."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from footfall.app import open_bandit_log, output, planning, recording, reporting, valuing
from footfall.app.build import Workspace, make_workspace, open_workspace
from footfall.app.progress import bar
from footfall.app.simulation import write_market
from footfall.config import FILE_NAME, template
from footfall.errors import WorkspaceError
from footfall.model import Plan

MARK = ".footfall-demo"
SHOPS, DAYS = 60, 31
SETTINGS: dict[str, dict[str, object]] = {
    "workspace": {"format": 1, "recipe": "store", "currency": "CNY"},
    "value": {"segment": ("channel", "category")},
}


@contextmanager
def step(what: str) -> Iterator[list[str]]:
    """One step of the demonstration: a bar while it runs, then a line with what came out and how long it took."""
    began, said = time.perf_counter(), list[str]()
    yield said
    line = f"  {what:<10} {'; '.join(said)}"
    output.console().print(f"{line}  ({time.perf_counter() - began:.1f} s)", soft_wrap=True)


def fresh(directory: Path) -> None:
    """Make way for a new demonstration; refuse to remove what no demonstration made."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARK).exists():
            raise WorkspaceError(
                f"{directory} holds something that no demo made", "name another folder: footfall demo DIR"
            )
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARK).write_text("made by footfall demo; may be deleted\n", encoding="utf-8")


def simulated(directory: Path, *, seed: int, visits: int) -> None:
    """A month of a marketplace of 60 shops, from the log to the report."""
    began = time.perf_counter()
    screen = output.console()
    screen.print("Footfall: what is a visitor worth, and where should the next ones go?")
    fresh(directory)
    with step("simulate") as said, bar("simulate") as advance:
        written = write_market(
            directory / "log.parquet", shops=SHOPS, days=DAYS, visits=visits, seed=seed, progress=advance
        )
        said.append(f"{written.events:,} events of {SHOPS} shops in {written.days} days")
    here = make_workspace(directory / "workspace", SETTINGS)
    with step("import") as said, bar("import") as advance:
        _read_providers(here, written.providers)
        summary = recording.import_files(here, [str(written.log)], progress=advance)
        said.append(f"{summary.added:,} events added, {summary.rejected:,} kept aside")
    with step("check") as said:
        found = recording.check(here).findings
        warnings = [finding for finding in found if finding.level in ("warning", "error")]
        said.append(f"{len(warnings)} warning{'s' * (len(warnings) != 1)}")
        said += [finding.message.split(", with signs")[0] for finding in warnings[:2]]
    here = _leave_out_suspects(here)
    with step("value") as said:
        rows = valuing.value(here).rows
        ladder = sorted(rows, key=lambda row: -row["value_mean"])
        said += [
            f"a visitor is worth {row['value_mean']:.2f} at {row['provider_id']}" for row in (ladder[0], ladder[-1])
        ]
    with step("plan") as said, bar("plan") as advance:
        made = planning.plan(here, progress=advance)
        said.append(outcome(made))
    _closing(here, began, _explain_and_report(here, made))


def _leave_out_suspects(here: Workspace) -> Workspace:
    """Do what the check's warning advises: an operator has looked, and leaves the visitors out in footfall.toml."""
    with step("exclude") as said:
        suspects = recording.suspects(here)
        visitors = tuple(sorted(visitor for suspect in suspects for visitor in suspect.visitors))
        settings = {**SETTINGS, "value": {**SETTINGS["value"], "exclude_visitors": visitors}}
        (here.directory / FILE_NAME).write_text(template(settings), encoding="utf-8")
        who = ", ".join(suspect.provider_id for suspect in suspects) or "no shop"
        said.append(f"as an operator might decide: {len(visitors)} visitors of {who} left out of all counts")
    return open_workspace(here.directory)


def _read_providers(here: Workspace, path: Path) -> None:
    from footfall.record.providers import read_providers

    with here.engine() as engine:
        here.state.put_providers(read_providers(engine, path).rows)


def outcome(made: Plan) -> str:
    """What the plan is expected to earn beside keeping today's shares, in one line."""
    whole = made.comparison
    over = f", {whole.plan / whole.keep_shares - 1:+.1%} over today's shares" if whole.keep_shares else ""
    return (
        f"{made.day}: expected reward {whole.plan:,.0f}{over}; certified within {max(made.gap, 1e-9):.0e} of the best"
    )


def _explain_and_report(here: Workspace, made: Plan) -> str:
    """Explain the largest loser, write the report; the loser's id."""
    with step("explain") as said:
        least = min(made.providers, key=lambda line: line.visits_tomorrow - line.visits_today)
        why = planning.explain(here, least.provider_id, made.version)
        said.append(why.sentence())
    with step("report") as said:
        path = here.directory / "report.html"
        reporting.report(here, path)
        said.append(f"{path.stat().st_size / 1024:,.0f} kB")
    return least.provider_id


def _closing(here: Workspace, began: float, provider: str) -> None:
    screen = output.console()
    folder = _short(here.directory)
    page = _short(here.directory / "report.html")
    screen.print(
        f"\nDone in {time.perf_counter() - began:.0f} s. The report: {page}",
        soft_wrap=True,
    )
    screen.print("\nTry next:")
    for line in (
        f"footfall value --workspace {folder}",
        f"footfall plan --inertia 0.1 --workspace {folder}",
        f"footfall explain {provider} --workspace {folder}",
        f"footfall check --workspace {folder}",
        f"footfall plan publish --workspace {folder}",
    ):
        screen.print(f"  {line}", soft_wrap=True)


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def open_bandit(directory: Path, *, policy: str) -> None:
    """10,000 impressions of a real fashion site: item as provider, position as segment, a click as reward."""
    began = time.perf_counter()
    screen = output.console()
    screen.print("Open Bandit: real impressions of a fashion site's front page (Saito et al. 2020, CC BY 4.0)")
    fresh(directory)
    with step("fetch") as said:
        impressions = open_bandit_log.fetch(directory, policy)
        said.append(f"{impressions.num_rows:,} impressions, package and checksum as pinned")
    here = make_workspace(
        directory / "workspace",
        {"workspace": {"format": 1, "recipe": "clicks"}, "value": {"segment": ("position",), "window_days": 0}},
    )
    with step("import") as said:
        summary = here.record(open_bandit_log.events(impressions), source=f"open-bandit {policy}")
        said.append(f"{summary.added:,} events added")
    with step("value") as said:
        valued = valuing.value(here)
        clicks = sum(row["orders"] for row in valued.rows)
        said.append(f"{clicks} clicks on {len(valued.rows)} items")
        said += valued.notes
    with step("plan") as said:
        made = planning.plan(here)
        said.append(outcome_of_clicks(made, clicks))
    _closing(here, began, _explain_and_report(here, made))


def outcome_of_clicks(made: Plan, clicks: int) -> str:
    """The plan in clicks, and how little so few clicks support."""
    whole = made.comparison
    return (
        f"{whole.plan:,.1f} clicks expected against {whole.keep_shares:,.1f} with today's shares; "
        f"with {clicks} clicks in all, most of that difference is belief, not evidence"
    )
