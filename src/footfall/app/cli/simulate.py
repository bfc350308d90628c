"""``footfall simulate``."""

from __future__ import annotations

from pathlib import Path

from footfall.app import output
from footfall.app.progress import bar


def simulate(
    file: Path,
    /,
    *,
    shops: int = 60,
    days: int = 30,
    visitors: int = 300_000,
    seed: int = 1,
    start: str | None = None,
    addresses: bool = False,
) -> None:
    """Write the log of a marketplace whose truth is known, and the truth and the providers beside it.

    FILE may end in .ndjson, .csv or .parquet, each of the first two also in .gz. The truth goes to
    FILE.truth.parquet, the providers to FILE.providers.csv.

    For example:

        footfall simulate log.ndjson.gz --shops 60 --days 30 --visitors 300000 --seed 7
        footfall simulate log.parquet --days 60 --start 2026-01-01
        footfall simulate log.csv --visitors 20000 --addresses    # to try journeys on

    Parameters
    ----------
    file
        The log to write.
    shops
        How many shops.
    days
        How many days.
    visitors
        How many visits, over all days.
    seed
        The same seed gives the same log.
    start
        First day, YYYY-MM-DD; by default the log ends yesterday.
    addresses
        Whoever fills a cart or buys signs up, with an address at example.com: journeys have somebody to write to.
    """
    from footfall.app.simulation import write_market

    with bar("simulate") as advance:
        written = write_market(
            file,
            shops=shops,
            days=days,
            visits=visitors,
            seed=seed,
            start=start,
            addresses=addresses,
            progress=advance,
        )
    screen = output.console()
    screen.print(f"Wrote {written.events:,} events of {written.days} days to {written.log}.", soft_wrap=True)
    screen.print(f"The truth: {written.truth}", soft_wrap=True)
    screen.print(f"The providers: {written.providers}", soft_wrap=True)
    take_in = f"footfall init shop --currency {written.currency}; footfall import {written.log} -w shop"
    screen.print(f"Next: {take_in}", soft_wrap=True)
