"""Blocks of rows and the threads that work on them: the same cuts and the same order of sums every time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from footfall.model import Floats

WORTH_A_THREAD = 50_000  # edges

T = TypeVar("T")
A = TypeVar("A")


class Crew:
    """Some threads for kernels that release the interpreter; a context manager that ends them."""

    def __init__(self, threads: int | None, edges: int) -> None:
        most = max(1, edges // WORTH_A_THREAD)
        self.count = threads if threads is not None else min(os.cpu_count() or 1, most)
        self._pool = ThreadPoolExecutor(self.count) if self.count > 1 else None

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def map(self, run: Callable[[A], T], parts: Sequence[A], together: bool = True) -> list[T]:
        """``run`` on each part, answers in their order; on this thread unless ``together``, for parts too small."""
        if self._pool is None or not together or len(parts) < 2:
            return [run(part) for part in parts]
        futures = [self._pool.submit(run, part) for part in parts]
        try:
            return [future.result() for future in futures]
        except BaseException:
            wait(futures)  # an interrupt must not leave a thread writing to arrays that others will use
            raise

    def each(self, cuts: Sequence[int]) -> Callable[[Callable[[int, int, int], Any]], list[Any]]:
        """What runs ``f(k, first, last)`` on each block of rows between neighbouring cuts."""
        spans = [(k, a, b) for k, (a, b) in enumerate(pairwise(cuts))]
        return lambda run: self.map(lambda span: run(*span), spans)


def cut_rows(row_start: npt.NDArray[np.int64], count: int) -> list[int]:
    """Ends of ``count`` blocks of rows with about as many edges each: ascending, from 0 to n."""
    n = len(row_start) - 1
    count = max(1, min(count, n))
    inner = np.searchsorted(row_start, np.linspace(0, int(row_start[-1]), count + 1)[1:-1])
    return [0, *(int(c) for c in inner), n]


def added(parts: Sequence[Floats]) -> Floats:
    """The sum of arrays of one shape, in their order."""
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total
