"""A long tail: many providers with two or three visits each. Values and a plan of them, by the commands.

    python benchmarks/providers/run.py --providers 50_000 [--factor 4]

What they take is to grow with the rows of the log, not with providers x days nor with the square of the providers. Both
commands run at ``--providers`` and at ``--factor`` times as many; judged are the memory of each provider more (of the
largest process, so that what all commands need is not counted) and the growth of processor seconds over that of the
log, which fixed costs make smaller than it is. Exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

import footfall

DAYS = 150  # more than an estimate remembers
BYTES = {"value": 3_000, "plan": 6_000}  # of memory for each provider more; a number for each age would be 1,100
GROWTH = 2.0  # of processor seconds, over that of the log


class Cost(NamedTuple):
    """Processor seconds and the largest memory of a process, in bytes."""

    cpu_s: float
    peak: float


def main() -> int:
    """Make both logs, run the commands, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--providers", type=int, default=50_000)
    parser.add_argument("--factor", type=int, default=4)
    asked = parser.parse_args()
    sizes, missed = (asked.providers, asked.factor * asked.providers), 0
    with tempfile.TemporaryDirectory() as folder:
        costs = [_costs(Path(folder) / str(size), size) for size in sizes]
    for command, most in BYTES.items():
        small, large = (cost[command] for cost in costs)
        each = (large.peak - small.peak) / (sizes[1] - sizes[0])
        growth = large.cpu_s / small.cpu_s / asked.factor
        print(f"{command:8}{sizes[1]:>12,} providers: {large.cpu_s:8.1f} processor seconds, {large.peak / 1e6:,.0f} MB")
        print(f"{'':8}{each:12,.0f} bytes for each provider more (at most {most:,})")
        print(f"{'':8}{growth:12.2f} growth of processor seconds over that of the log (at most {GROWTH:g})")
        missed += each > most or growth > GROWTH
    return int(missed > 0)


def _costs(folder: Path, providers: int) -> dict[str, Cost]:
    """Costs of each command on a log of ``providers``, the facts of which have been counted."""
    footfall.make_workspace(folder).record(_log(providers))
    _run(folder, "demand")
    return {command: _run(folder, command) for command in BYTES}


def _log(providers: int) -> pa.Table:
    """Two or three visits of each provider within ``DAYS``; one in twenty buys within days."""
    rng = np.random.default_rng(7)
    provider = np.repeat(np.arange(providers), rng.integers(2, 4, providers))
    n = len(provider)
    at = rng.integers(0, DAYS * 86_400, n)
    order = np.flatnonzero(rng.random(n) < 0.05)
    bought = at[order] + rng.exponential(2 * 86_400, len(order)).astype(np.int64)
    order, bought = order[bought < DAYS * 86_400], bought[bought < DAYS * 86_400]
    who = np.concatenate((np.arange(n), order))
    start = datetime(2026, 1, 1)
    return pa.table(
        {
            "ts": [start + timedelta(seconds=s) for s in np.concatenate((at, bought)).tolist()],
            "name": ["page_view"] * n + ["purchase"] * len(order),
            "visitor_id": [f"v{i}" for i in who.tolist()],
            "provider_id": [f"shop-{i}" for i in provider[who].tolist()],
            "order_id": [None] * n + [f"o{i}" for i in order.tolist()],
            "amount": [None] * n + np.round(rng.gamma(2.0, 30.0, len(order)), 2).tolist(),
        }
    )


def _run(folder: Path, command: str) -> Cost:
    arguments = [sys.executable, "-m", "footfall.app.main", command, "--format", "csv", "--workspace", str(folder)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"footfall {command} ended with {process.returncode}")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024.0)


if __name__ == "__main__":
    sys.exit(main())
