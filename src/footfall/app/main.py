"""The front door of the command line: one table of commands, and an overview that needs no other import.

The overview has to come at once, so it is printed from the table; the parser, the tables and the numerics are loaded
only when a command runs.
"""

from __future__ import annotations

import sys
from typing import NamedTuple


class Command(NamedTuple):
    """A command: its name, where it lives, the part of the loop it belongs to, and what it does."""

    name: str
    target: str
    part: str
    help: str


COMMANDS: tuple[Command, ...] = (
    Command(
        "demo",
        "footfall.app.cli.demo:demo",
        "Start",
        "Run the whole loop on a simulated month and open the report.",
    ),
    Command("init", "footfall.app.cli.workspace:init", "Start", "Make a workspace: settings, lake, state."),
    Command(
        "config",
        "footfall.app.cli.workspace:config",
        "Start",
        "Show every setting, its value and its meaning.",
    ),
    Command(
        "simulate",
        "footfall.app.cli.simulate:simulate",
        "Start",
        "Write the log of a marketplace whose truth is known.",
    ),
    Command("import", "footfall.app.cli.record:import_", "Record", "Read events from files or standard input."),
    Command(
        "providers",
        "footfall.app.cli.record:providers",
        "Record",
        "Read or show providers' categories and names.",
    ),
    Command("check", "footfall.app.cli.record:check", "Record", "Look for what is wrong with the log."),
    Command("rows", "footfall.app.cli.record:rows", "Record", "Show the events behind any figure."),
    Command("forget", "footfall.app.cli.record:forget", "Record", "Erase a person from the log."),
    Command("drain", "footfall.app.cli.drain:drain", "Record", "Move what the service took in to the log now."),
    Command(
        "backup",
        "footfall.app.cli.workspace:backup",
        "Record",
        "Write the whole workspace to one file.",
    ),
    Command("restore", "footfall.app.cli.workspace:restore", "Record", "Make a workspace from a backup."),
    Command("value", "footfall.app.cli.value:value", "Value", "What a visitor is worth, plain and estimated."),
    Command("demand", "footfall.app.cli.value:demand", "Value", "Forecast visits per segment."),
    Command(
        "plan",
        "footfall.app.cli.plan:plan_app",
        "Acquire",
        "Plan tomorrow's visits; publish, compare, roll back.",
    ),
    Command("explain", "footfall.app.cli.plan:explain", "Acquire", "Why a provider's visits change, to the visit."),
    Command(
        "report",
        "footfall.app.cli.report:report",
        "Acquire",
        "Write the report: one page that works offline.",
    ),
    Command("serve", "footfall.app.cli.serve:serve", "Live", "Collect events and decide, over HTTP."),
    Command("keys", "footfall.app.cli.keys:keys_app", "Live", "Make, list and revoke the service's keys."),
    Command("customers", "footfall.app.cli.retain:customers", "Retain", "Who still is a customer, and what is due."),
    Command("timing", "footfall.app.cli.retain:timing", "Retain", "When to follow up, when to remind."),
    Command("audiences", "footfall.app.cli.retain:audiences", "Retain", "Whom to follow up: size, value at stake."),
    Command("retain", "footfall.app.cli.journeys:retain", "Retain", "One round of all journeys, and send what is due."),
    Command("journeys", "footfall.app.cli.journeys:journeys", "Retain", "Who is in which journey."),
    Command("outbox", "footfall.app.cli.journeys:outbox_app", "Retain", "Messages: list, show, preview, retry."),
    Command("unsubscribe", "footfall.app.cli.journeys:unsubscribe", "Retain", "Never write to a person again."),
    Command("offers", "footfall.app.cli.offers:offers", "Retain", "Coupons and gifts: issued, redeemed, left."),
    Command("redeem", "footfall.app.cli.offers:redeem", "Retain", "Redeem a coupon for an order, once."),
    Command("fans", "footfall.app.cli.offers:fans", "Retain", "Who follows, and what comes from one's own audience."),
    Command("lift", "footfall.app.cli.journeys:lift", "Learn", "What each journey added, against its holdout."),
)

LOOP = "record events -> value with honest intervals -> acquire -> retain -> learn"


def overview() -> str:
    """What ``footfall --help`` prints."""
    lines = [
        "Usage: footfall COMMAND [OPTIONS]",
        "",
        "What each visitor is worth, and where the next ones should go.",
        f"  {LOOP}",
    ]
    part = ""
    for command in COMMANDS:
        if command.part != part:
            part = command.part
            lines += ["", f"{part}:"]
        lines.append(f"  {command.name:<12}{command.help}")
    lines += [
        "",
        "Examples:",
        "  footfall demo",
        "  footfall init shop --currency EUR --timezone Europe/Paris",
        "  footfall import visits.csv --event page_view --map provider_id=channel --workspace shop",
        "  footfall value --workspace shop",
        "  footfall plan --workspace shop",
        "",
        "`footfall COMMAND --help` shows a command's options. Commands work on the workspace in the current folder,",
        "or on the one named by --workspace DIR or by FOOTFALL_WORKSPACE.",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        sys.stdout.write(overview() + "\n")
        return 0
    if arguments == ["--version"]:
        from importlib.metadata import version

        sys.stdout.write(f"footfall {version('footfall')}\n")
        return 0
    from footfall.app.cli import run

    return run(arguments)


def entry() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
