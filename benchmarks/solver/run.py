"""The allocation solver against its bounds, and against HiGHS and OR-Tools on the same instances, as ratios.

    python benchmarks/solver/run.py [--long] [--only ROW ...] [--anew]

Every solve has a process of its own. A peer's time to a gap is that of its quickest run, over a few tolerances, whose
prices and plan have that gap by OUR exact bound and OUR repair of its plan (a peer pays nothing for breaking limits).
Where none gets there in its time, the ratio is a lower bound, told as "over". Seconds are processor seconds on one
thread, and by the clock on two. ``--long`` gives peers 300 s each instead of 30, and adds OR-Tools' PDLP on 20 million
edges (up to 12 GB). Peers' answers are kept in ``peers.json`` beside this file for the same machine, versions and
instances; ``--anew`` measures them again. Exit 1 where a "must" is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEPT = HERE / "peers.json"
SHORT_S, LONG_S = 30.0, 300.0  # what a peer may take
TRIALS = {  # solver: tolerances, coarse to fine
    "highs-pdlp": (1e-3, 1e-4),
    "ortools-pdlp": (1e-3, 1e-4, 1e-5),
    "highs-ipm": (1e-4,),
    "ortools-glop": (1e-7,),
}
QUICK = {"highs-pdlp": (1e-4,), "ortools-pdlp": (1e-4,), "highs-ipm": (1e-4,)}  # the short run's


@dataclass(frozen=True, slots=True)
class Row:
    """One judged figure: larger is better where ``more``."""

    name: str
    figure: float
    must: float
    aim: float
    note: str = ""
    more: bool = False

    @property
    def good(self) -> bool:
        """Whether the must is met."""
        return self.figure >= self.must if self.more else self.figure <= self.must

    def line(self) -> str:
        """As a line of the table."""
        met = self.figure >= self.aim if self.more else self.figure <= self.aim
        verdict = "aim met" if met else ("met" if self.good else "MISSED")
        return f"{self.name:<58}{self.figure:>11.4g}{self.must:>9.4g}{self.aim:>9.4g}  {verdict:<8} {self.note}"


def _child(script: str, *arguments: object, limit_s: float = 900.0) -> dict[str, Any]:
    """What a script's process prints; empty where it died or ran out of time."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / script), *(str(a) for a in arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False, env=environment)
    except subprocess.TimeoutExpired:
        return {}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        print(f"  ({script} {' '.join(str(a) for a in arguments)}: {done.stderr.strip().splitlines()[-1:]})")
        return {}
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def ours(*arguments: object) -> dict[str, Any]:
    """A measurement of our own, which must succeed."""
    answer = _child("ours.py", *arguments)
    if not answer:
        raise SystemExit(f"the measurement {arguments} failed")
    return answer


def _machine() -> str:
    """What peers' answers depend on."""
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    ) if Path("/proc/cpuinfo").exists() else platform.processor()  # fmt: skip
    sources = b"".join((HERE / name).read_bytes() for name in ("instances.py", "peers.py"))
    parts = [platform.node(), model, str(os.cpu_count()), platform.python_version()]
    for name in ("highspy", "ortools", "numpy", "scipy"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"{name} absent")  # a peer that is not installed is not asked
    return hashlib.sha256("|".join(parts).encode() + sources).hexdigest()[:16]


class Peers:
    """Peers' answers, measured once for each solver, instance, tolerance and limit."""

    def __init__(self, anew: bool) -> None:
        self._machine = _machine()
        kept = json.loads(KEPT.read_text()) if KEPT.exists() and not anew else {}
        self._answers: dict[str, Any] = kept.get("answers", {}) if kept.get("machine") == self._machine else {}

    def answer(self, solver: str, size: str, tolerance: float, limit_s: float) -> dict[str, Any]:
        """One run: seconds, gap, breach, over."""
        key = f"{solver} {size} {tolerance:g} {limit_s:g}"
        if key not in self._answers:
            # building the model and scoring take their time too, and some peers look at the clock rarely
            found = _child("peers.py", solver, size, tolerance, limit_s, limit_s=2.0 * limit_s + 60)
            self._answers[key] = found or {"seconds": limit_s, "over": True, "gap": None, "breach": None}
            KEPT.write_text(json.dumps({"machine": self._machine, "answers": self._answers}, indent=1) + "\n")
        one: dict[str, Any] = self._answers[key]
        gap = "no plan" if one["gap"] is None else f"gap {one['gap']:.1e}, worst breach {one['breach']:.1e}"
        print(f"  {key:<34}{one['seconds']:>9.1f} s  {gap}{'  (over)' if one['over'] else ''}")
        return one

    def seconds(self, size: str, gap: float, trials: dict[str, tuple[float, ...]], limit_s: float) -> tuple[float, str]:
        """The quickest time to the gap, and who it was; the limit where nobody got there."""
        best, who = limit_s, f"all over {limit_s:g} s"
        for solver, tolerances in trials.items():
            for tolerance in tolerances:
                one = self.answer(solver, size, tolerance, limit_s)
                if one["gap"] is not None and one["gap"] <= gap and one["seconds"] < best:
                    best, who = one["seconds"], f"{solver} at {tolerance:g}"
        return best, who


def against_peers(peers: Peers, long: bool) -> list[Row]:
    """2 million edges to 1e-3 and 1e-4, and the passes that took."""
    rows, limit_s = [], LONG_S if long else SHORT_S
    for gap, passes, aimed in ((1e-3, 120, 60), (1e-4, 160, 90)):
        mine = ours("plain", "M", gap, 1)
        took, who = peers.seconds("M", gap, TRIALS if long else QUICK, limit_s)
        note = f"{mine['seconds']:.2f} s against {took:.1f} s ({who})"
        rows.append(Row(f"2 M edges to {gap:g}: best peer / ours", took / mine["seconds"], 50, 150, note, more=True))
        rows.append(Row(f"2 M edges to {gap:g}: passes over the edges", mine["passes"], passes, aimed))
    return rows


def large(peers: Peers, long: bool) -> list[Row]:
    """20 million edges on one thread and on two; with ``long``, PDLP too."""
    one, two = ours("plain", "L", 1e-4, 1), ours("plain", "L", 1e-4, 2)
    rows = [
        Row("20 M edges to 1e-4, one core: seconds", one["seconds"], 15, 6, f"gap {one['gap']:.1e}"),
        Row("20 M edges to 1e-4, two threads: seconds by the clock", two["seconds"], 15, 3, f"gap {two['gap']:.1e}"),
        Row("20 M edges to 1e-4: passes over the edges", one["passes"], 160, 90),
    ]
    if long:
        peer = peers.answer("ortools-pdlp", "L", 1e-4, LONG_S)
        there = peer["gap"] is not None and peer["gap"] <= 1e-4
        took = peer["seconds"] if there else LONG_S
        rows.append(Row("20 M edges: seconds of PDLP", took, LONG_S, LONG_S, "" if there else "not there", more=True))
    return rows


def passes(_: Peers, __: bool) -> list[Row]:
    """A ridge pass and an entropic pass against a stream of the same bytes."""
    rows = []
    for name, must, aim in (("ridge", 15, 5), ("entropic", 40, 12)):
        one = ours(f"{name}-pass", "L", 0, 1)
        note = f"{1e3 * one['seconds']:.1f} ms against {1e3 * one['stream']:.1f} ms"
        rows.append(Row(f"one {name} pass / stream of the same bytes", one["seconds"] / one["stream"], must, aim, note))
    return rows


def memory(_: Peers, __: bool) -> list[Row]:
    """Bytes an edge at 20 million edges."""
    one = ours("memory", "L", 1e-4, 1)
    return [
        Row(
            "20 M edges, float32: bytes an edge",
            one["bytes"],
            40,
            28,
            f"{one['problem']:.0f} of them making the problem",
        )
    ]


def violations(_: Peers, __: bool) -> list[Row]:
    """The worst breach of any limit."""
    single, double = ours("plain", "M", 1e-4, 1), ours("exact", "M", 1e-4, 1)
    return [
        Row("worst breach of a limit, float32 values", single["violation"], 1e-6, 1e-9),
        Row("worst breach of a limit, float64 values", double["violation"], 1e-9, 1e-12),
    ]


def again(_: Peers, __: bool) -> list[Row]:
    """Yesterday's prices: values +-3 %, capacities +-5 %."""
    one = ours("again", "M", 1e-4, 1)
    note = f"{one['seconds']:.2f} s against {one['cold']:.2f} s"
    return [Row("2 M edges from yesterday's prices / cold", one["seconds"] / one["cold"], 0.65, 0.3, note)]


def inertia(_: Peers, __: bool) -> list[Row]:
    """The regularised problem at 20 million edges."""
    one = ours("inertia", "L", 1e-4, 2)
    return [Row("20 M edges, inertia 0.3, 1e-4, two threads: s", one["seconds"], 15, 5, f"gap {one['gap']:.1e}")]


def limits(_: Peers, __: bool) -> list[Row]:
    """Three linear limits, against none."""
    one = ours("limits", "M", 1e-4, 1)
    note = f"{one['seconds']:.2f} s, gap {one['gap']:.1e}, breach {one['violation']:.1e}, {one['status']}"
    return [Row("2 M edges, three linear limits / none", one["seconds"] / one["without"], 10, 5, note)]


def budget(_: Peers, __: bool) -> list[Row]:
    """A single budget."""
    one = ours("budget", 1_000_000, 1e-4, 1)
    note = f"gap {one['gap']:.1e}, breach {one['violation']:.1e}"
    return [Row("single budget, 1 M customers x 5 options: seconds", one["seconds"], 0.2, 0.08, note)]


ROWS: dict[str, Callable[[Peers, bool], list[Row]]] = {
    "budget": budget, "passes": passes, "violations": violations, "again": again, "limits": limits, "large": large,
    "memory": memory, "inertia": inertia, "peers": against_peers,
}  # fmt: skip


def main() -> int:
    """Print the table; 1 where a must is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--anew", action="store_true")
    options = parser.parse_args()
    peers, missed = Peers(options.anew), 0
    print(f"{'':<58}{'measured':>11}{'must':>9}{'aim':>9}")
    for name in options.only:
        for row in ROWS[name](peers, options.long):
            print(row.line(), flush=True)
            missed += not row.good
    print(f"{missed} missed" if missed else "every must is met")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
