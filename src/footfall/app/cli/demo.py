"""``footfall demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def demo(
    directory: Path | None = None,
    /,
    *,
    data: Annotated[
        Literal["simulated", "open-bandit"], Parameter(help="simulated, or the real open-bandit log.")
    ] = "simulated",
    policy: Annotated[Literal["random", "bts"], Parameter(help="Which half of open-bandit: random or bts.")] = "random",
    seed: int = 1,
    visitors: int = 480_000,
) -> None:
    """Run the whole loop: a log, values, tomorrow's plan, the reasons, the report.

    The simulated month has about a million events. `--data open-bandit` takes 10,000 impressions of a real fashion
    site's front page (Open Bandit Dataset, CC BY 4.0) from a pinned package, checked by its checksum.

    For example:

        footfall demo
        footfall demo --data open-bandit
        footfall demo --data open-bandit --policy bts

    Parameters
    ----------
    directory
        Folder of the demo's workspace; footfall-demo or footfall-open-bandit otherwise. An earlier demo is replaced.
    seed
        Seed of the simulated month.
    visitors
        Visits of the simulated month.
    """
    from footfall.app import demo as run

    if data == "simulated":
        run.simulated(directory or Path("footfall-demo"), seed=seed, visits=visitors)
    else:
        run.open_bandit(directory or Path("footfall-open-bandit"), policy=policy)
