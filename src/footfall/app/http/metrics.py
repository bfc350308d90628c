"""What a service counts, on one board that all its processes share, shown to Prometheus by any of them.

The board is anonymous memory made by the supervisor (no file: a full disk cannot touch it): one row of float64 a
process, one cell a series. A process writes its own row only and the sum over rows is shown, so there are no locks,
a process that is restarted goes on where the one before stopped, and memory stays the same whatever is asked: every
label value stands in the table below.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from footfall.app.http import spending

ROUTES = (
    "collect",
    "events",
    "decide",
    "redeem",
    "unsubscribe",
    "value",
    "plan",
    "explain",
    "decisions",
    "schema",
    "health",
    "other",
)
OUTCOMES = ("2xx", "3xx", "4xx", "5xx")
REASONS = ("json", "field", "time", "amount", "currency", "name", "size", "other")
DECISIONS = ("drawn", "sticky", "shadow", "unlogged", "empty", "refused")
TASKS = ("drain", "inbox", "facts", "compact", "pace", "plan", "lead", "retain", "send")
JOURNEYS = ("entered", "left", "planned", "withdrawn", "cancelled")
MESSAGES = ("sent", "retry", "dead", "unknown", "held", "cancelled")
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

# name -> (kind, meaning, label, its values); a counter's or gauge's values are cells in this order.
SERIES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "footfall_requests": ("counter", "Requests answered.", "route,status", ()),
    "footfall_events_accepted": ("counter", "Events acknowledged: they are on disk.", "", ("",)),
    "footfall_events_rejected": ("counter", "Events kept aside, by what is wrong with them.", "reason", REASONS),
    "footfall_decisions": ("counter", "Decisions answered, by what became of them.", "outcome", DECISIONS),
    "footfall_drained_events": ("counter", "Events moved from the inbox to the lake.", "", ("",)),
    "footfall_drained_decisions": ("counter", "Decisions moved from the inbox to the lake.", "", ("",)),
    "footfall_task_failures": ("counter", "Runs of the keeper's tasks that failed.", "task", TASKS),
    "footfall_journeys": ("counter", "Persons who entered or left journeys, messages planned.", "what", JOURNEYS),
    "footfall_messages": ("counter", "Messages looked at, by what became of them.", "outcome", MESSAGES),
    "footfall_inbox_rows": ("gauge", "Rows that wait in the inbox.", "", ("",)),
    "footfall_inbox_bytes": ("gauge", "Bytes of the inbox on the disk.", "", ("",)),
    "footfall_plan_version": ("gauge", "Version of the plan in force.", "", ("",)),
    "footfall_pacing_version": ("gauge", "Version of the pacing in force.", "", ("",)),
    "footfall_plan_held_back": ("gauge", "1 where the newest nightly plan did not pass its checks.", "", ("",)),
    "footfall_leads": ("gauge", "1 where this host plans and compacts.", "", ("",)),
}
HISTOGRAM = "footfall_request_seconds"
_GREATEST = ("footfall_plan_version", "footfall_pacing_version")  # gauges that every process sets: not to be summed


def _layout() -> tuple[dict[tuple[str, str], int], dict[str, int], int]:
    cells: dict[tuple[str, str], int] = {}
    for route in ROUTES:
        for outcome in OUTCOMES:
            cells["footfall_requests", f"{route},{outcome}"] = len(cells)
    for name, (_, _, _, values) in SERIES.items():
        for value in values:
            cells[name, value] = len(cells)
    at = len(cells)
    times = {}
    for route in ROUTES:
        times[route] = at
        at += len(BOUNDS) + 2  # one a bound, one above, the sum
    return cells, times, at


CELLS, TIMES, WIDTH = _layout()
_OUTCOME_CELL = {
    (route, number): CELLS["footfall_requests", f"{route},{number}xx"] for route in ROUTES for number in range(2, 6)
}


class Metrics:
    """One process's view of the board."""

    def __init__(self, descriptor: int | None = None, row: int = 0, rows: int = 1) -> None:
        """descriptor: the board made by ``make_board``; without one, a board of this process alone."""
        size = _size(rows)
        memory = mmap.mmap(-1, size) if descriptor is None else mmap.mmap(descriptor, size)
        board = memoryview(memory).cast("d")
        self._all = board[: rows * WIDTH]
        self.spending = spending.Spending(board[rows * WIDTH :], row, rows)
        self._rows = rows
        self._mine = self._all[row * WIDTH : (row + 1) * WIDTH]

    def add(self, name: str, value: str = "", by: float = 1.0) -> None:
        """Count up a counter."""
        self._mine[CELLS[name, value]] += by

    def set(self, name: str, to: float) -> None:
        """Set a gauge."""
        self._mine[CELLS[name, ""]] = to

    def rejected(self, reason: str, by: int = 1) -> None:
        """Count events kept aside; a reason that is not in the table counts as ``other``."""
        self.add("footfall_events_rejected", reason if reason in REASONS else "other", by)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request and the time it took."""
        mine = self._mine
        mine[_OUTCOME_CELL[route, min(5, max(2, status // 100))]] += 1.0
        at = TIMES[route]
        mine[at + bisect_left(BOUNDS, seconds)] += 1.0
        mine[at + len(BOUNDS) + 1] += seconds

    @contextmanager
    def timed(self, task: str) -> Iterator[None]:
        """Count a failure of one of the keeper's tasks, and pass it on."""
        try:
            yield
        except Exception:
            self.add("footfall_task_failures", task)
            raise

    def value(self, name: str, value: str = "") -> float:
        """What is shown: the sum over processes, or the greatest of versions."""
        return self._cell(CELLS[name, value], name in _GREATEST)

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus-client asks for them."""
        for name, (kind, meaning, label, values) in SERIES.items():
            labels = [part for part in label.split(",") if part]
            if name == "footfall_requests":
                values = tuple(f"{route},{outcome}" for route in ROUTES for outcome in OUTCOMES)
            family: CounterMetricFamily | GaugeMetricFamily = (
                CounterMetricFamily(name, meaning, labels=labels)
                if kind == "counter"
                else GaugeMetricFamily(name, meaning, labels=labels)
            )
            for value in values:
                family.add_metric(value.split(",") if value else [], self.value(name, value))
            yield family
        yield self._times()

    def _times(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(HISTOGRAM, "Seconds from the headers to the answer.", labels=["route"])
        for route in ROUTES:
            at, below, buckets = TIMES[route], 0.0, []
            for number, bound in enumerate((*map(str, BOUNDS), "+Inf")):
                below += self._cell(at + number)
                buckets.append((bound, below))
            family.add_metric([route], buckets, self._cell(at + len(BOUNDS) + 1))
        return family

    def _cell(self, at: int, greatest: bool = False) -> float:
        found = [self._all[row * WIDTH + at] for row in range(self._rows)]
        return max(found) if greatest else sum(found)


def make_board(rows: int) -> int:
    """A board for that many processes, all zero; its file descriptor, to be handed to them."""
    descriptor = os.memfd_create("footfall-metrics")
    os.posix_fallocate(descriptor, 0, _size(rows))
    return descriptor


def _size(rows: int) -> int:
    """Bytes of a board: first what is counted here, then what keys sent (spending.py)."""
    return rows * (WIDTH + spending.WIDTH) * 8
