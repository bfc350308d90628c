"""``footfall offers | redeem | fans``."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from footfall.app import output, retention
from footfall.app.build import open_workspace
from footfall.app.cli.options import FormatOption, TextFormat, WorkspaceOption
from footfall.app.progress import bar
from footfall.errors import ConfigError, InputError

COLUMNS = ("offer", "kind", "code", "takes off", "issued", "reserved", "redeemed", "left", "money", "money left")
REDEEMED = ("redemption_id", "offer", "code", "person", "order_id", "off", "status")
NO_FANS = "no fans yet: they come from events named follow and subscribe (unfollow and unsubscribe end it)"


def offers(*, workspace: WorkspaceOption = None, format: FormatOption = "table") -> None:
    """The offers of footfall.toml, and what became of each: issued, reserved, redeemed, and what its ceilings leave.

    For example:

        footfall offers
        footfall offers --format json
    """
    from footfall.app.offering import offer_in_words, offers_of

    here = open_workspace(workspace)
    known, unit = offers_of(here)
    counts = {count.offer: count for count in here.offers.counts()}
    rows = []
    for name, offer in known.items():
        count = counts.get(name)
        held = (count.reserved + count.committed) if count else 0
        money = (count.reserved_minor + count.committed_minor) if count else 0
        rows.append(
            {
                "offer": name,
                "kind": offer.kind,
                "code": offer.code or "one each",
                "takes off": offer_in_words(here, name),
                "issued": count.issued if count else 0,
                "reserved": count.reserved if count else 0,
                "redeemed": count.committed if count else 0,
                "left": None if offer.count is None else offer.count - held,
                "money": (count.committed_minor if count else 0) / unit,
                "money left": None if offer.money_minor is None else (offer.money_minor - money) / unit,
            }
        )
    output.write(rows, format, COLUMNS)


def redeem(
    code: str,
    /,
    *,
    person: Annotated[str, Parameter(help="Who redeems it, as the log knows them.")],
    order: Annotated[str, Parameter(help="The order it is for.")],
    amount: Annotated[str, Parameter(help="The order's amount, major units.")],
    provider: Annotated[str, Parameter(help="Where the order is placed.")] = "",
    workspace: WorkspaceOption = None,
    format: TextFormat = "table",
) -> None:
    """Redeem a coupon for an order, once: the same order again gives the same answer.

    For example:

        footfall redeem QXRX-EPTF-6Z44 --person ann --order 1007 --amount 59.90

    Parameters
    ----------
    code
        The coupon's code, as the letter has it.
    """
    from footfall.app.offering import redeemed
    from footfall.record.money import to_minor

    here = open_workspace(workspace)
    try:
        minor = to_minor(amount, here.config.workspace.currency)
    except (InputError, ValueError) as error:
        raise ConfigError(f"--amount: {str(error).splitlines()[0]}", "for example 59.90") from None
    if minor < 0:
        raise ConfigError(f"--amount {amount}: an order is of 0 or more", "for example 59.90")
    found = redeemed(here, code, person, order, minor, provider)
    if format == "json":
        output.write([found], "json", REDEEMED)
    else:
        print(f"{found['off']:,.2f} off order {order} with {found['offer']}.")  # noqa: T201


def fans(*, workspace: WorkspaceOption = None, format: FormatOption = "table") -> None:
    """Who follows or is subscribed, and what part of visits and GMV of the last 28 days comes from them.

    For example:

        footfall fans
        footfall fans --format csv > fans.csv
    """
    from footfall.retain import fans as own

    here = open_workspace(workspace)
    with bar("fans"), retention.shown(here) as shown:
        found = own.fans(shown.engine, shown.customers.exponent)
    rows: list[dict[str, Any]] = [
        {**row, "provider_id": "(all)" if row["provider_id"] is None else row["provider_id"]} for row in found.rows
    ]
    numbers = {"visit_share": ".1%", "gmv_share": ".1%", "gmv": ",.2f"}
    output.write(rows, format, own.COLUMNS, lambda: output.draw(rows, own.COLUMNS, numbers=numbers))
    told = ", ".join(f"{n:,} {tier}" for tier, n in found.tiers.items()) or NO_FANS
    output.console(stderr=True).print(told + ".", soft_wrap=True)
