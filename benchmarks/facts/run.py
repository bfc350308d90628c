"""Facts against a statement written by hand, and one more day against counting all anew.

    python benchmarks/facts/run.py --events 5_000_000

Ratios are of processor seconds of all threads, which a shared machine disturbs less than the clock; those of the clock
are printed beside them. An update is compared with what counting the log anew and writing it costs, by the same call.
The bounds are for 50 million events. Fixed costs weigh in below, so below 5 million events in the log they are only
printed. Exits with 1 where results are not equal, or where a ratio misses a bound that is judged.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.value.fact_tables import FactTables
from footfall.value.facts import update
from footfall.value.recipes import recipe
from footfall.value.relations import Rules, count

HERE = Path(__file__).parent
DAYS = 61  # sixty, and the one that is appended
FACTS_BOUND = 1.2
UPDATE_BOUND = 0.25
JUDGED_FROM = 5_000_000  # events in the log; smaller ones are for trying the benchmark out
RULES = Rules(recipe=recipe("store"))


class Times(NamedTuple):
    """Processor seconds of all threads, and seconds by the clock."""

    cpu_s: float
    wall_s: float

    @classmethod
    def now(cls) -> Times:
        """Both clocks, read now."""
        return cls(time.process_time(), time.perf_counter())

    def __sub__(self, start: Times) -> Times:
        return Times(self.cpu_s - start.cpu_s, self.wall_s - start.wall_s)

    def __str__(self) -> str:
        return f"{self.cpu_s:8.2f} s   (by the clock {self.wall_s:.2f} s)"


def main() -> int:
    """Generate, time, compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=5_000_000)
    options.add_argument("--memory-mb", type=int, default=8192)
    options.add_argument("--rounds", type=int, default=2, help="each is timed so often; the best counts")
    options.add_argument("--directory", type=Path, default=None, help="keep the generated log here, and use it again")
    chosen = options.parse_args()
    folder = chosen.directory or Path(tempfile.mkdtemp(prefix="footfall-bench-"))
    try:
        return run(chosen.events, chosen.memory_mb, chosen.rounds, folder)
    finally:
        if chosen.directory is None:
            shutil.rmtree(folder, ignore_errors=True)


def run(events: int, memory_mb: int, rounds: int, folder: Path) -> int:
    """The benchmark in ``folder``; 0 where all bounds hold."""

    def engine() -> DuckEngine:
        return DuckEngine(memory_mb, 0, folder / "spill")

    def timed(work: Callable[[DuckEngine], object]) -> tuple[Times, object]:
        best, result = Times(float("inf"), float("inf")), None
        for _ in range(rounds):
            runner = engine()
            store.attach(runner)
            start = Times.now()
            result = work(runner)
            best = min(best, Times.now() - start)
            runner.close()
        return best, result

    pa.array([""])  # wakes up a data frame library where there is one: a second that is no part of counting
    if not (folder / "made" / "day=2024-01-01").exists():
        _generate(engine(), events, folder / "made")
    shutil.rmtree(folder / "facts", ignore_errors=True)
    store = Lake(folder / f"lake-{time.time_ns()}")
    _commit(store, folder / "made", "before", last=False)

    facts_dir = folder / "facts"
    runner = engine()
    start = Times.now()
    before = update(store, runner, RULES, facts_dir)
    first_s = Times.now() - start
    print(f"{f'{before.new_events:,} events counted and written':46} {first_s}")
    _commit(store, folder / "made", "last-day", last=True)
    start = Times.now()
    after = update(store, runner, RULES, facts_dir)
    update_s = Times.now() - start
    runner.close()
    assert after.how == "updated", after.how
    print(f"{f'update by {after.new_events:,} of one more day':46} {update_s}")

    hand_s, by_hand = timed(lambda e: e.query((HERE / "by_hand.sql").read_text()))
    ours_s, counted = timed(lambda e: count(e, RULES))
    assert isinstance(counted, FactTables) and isinstance(by_hand, pa.Table)
    print(f"{'by hand':46} {hand_s}")
    print(f"{'facts':46} {ours_s}")
    equal = {"update = all anew": after.facts == counted, "facts = by hand": _same(counted, by_hand)}
    ratios = {
        "facts / by hand": (ours_s, hand_s, FACTS_BOUND),
        "update / all anew": (update_s, first_s, UPDATE_BOUND),
    }
    for name, holds in equal.items():
        print(f"{name:46} {holds}")
    judged = before.new_events + after.new_events >= JUDGED_FROM
    met = []
    for name, (mine, theirs, bound) in ratios.items():
        ratio = mine.cpu_s / theirs.cpu_s
        met.append(ratio <= bound)
        word = f"at most {bound}" if judged else f"at most {bound} from {JUDGED_FROM:,} events up, not judged here"
        print(f"{name:46} {ratio:8.3f}   ({word}; by the clock {mine.wall_s / theirs.wall_s:.3f})")
    shutil.rmtree(store.directory)
    return 0 if all(equal.values()) and (all(met) or not judged) else 1


def _generate(runner: DuckEngine, events: int, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    params = {
        "visits": events // 3,
        "visitors": max(events // 40, 1),
        "providers": 2000,
        "days": DAYS,
        "first_day": date(2024, 1, 1),
    }
    sql = (HERE / "generate.sql").read_text()
    start = time.process_time()
    options = "FORMAT parquet, PARTITION_BY (day), COMPRESSION zstd"
    runner.connection.execute(f"COPY ({sql}) TO '{target}' ({options})", params)
    runner.close()
    print(f"generated in {time.process_time() - start:.1f} s")


def _commit(store: Lake, made: Path, batch_id: str, last: bool) -> None:
    staged = store.staging(batch_id)
    days = sorted(made.iterdir())
    for day in days[-1:] if last else days[:-1]:
        (staged / day.name).mkdir()
        for path in day.iterdir():
            (staged / day.name / path.name).hardlink_to(path)
    store.commit(batch_id, staged)


def _same(facts: FactTables, by_hand: pa.Table) -> bool:
    """Whether the rows of the statement are those of FactTables."""

    def part(kind: str, **columns: str) -> pa.Table:
        chosen = by_hand.filter(pc.equal(by_hand["kind"], kind))
        return pa.table({name: chosen[source] for name, source in columns.items()})

    key = {"day": "day", "segment": "segment", "provider_id": "provider_id"}
    providers = part("providers", provider_id="provider_id", category="segment", first_day="day")
    told = providers.append_column("category_ts", pa.nulls(providers.num_rows, pa.timestamp("us")))
    again = FactTables.of(
        part("visits", **key, visits="n"),
        part("orders", **key, delay_days="delay_days", orders="n", amount_minor="amount_minor", amount_sq="amount_sq"),
        part(
            "refunds",
            **key,
            order_delay_days="delay_days",
            refund_delay_days="refund_delay_days",
            refunds="n",
            amount_minor="amount_minor",
        ),
        told.select(facts.providers.column_names),
        facts.left_out,
    )
    return again == facts


if __name__ == "__main__":
    sys.exit(main())
