"""The checks of what ``solve`` is called with beside the problem."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from footfall.acquire._checks import as_float
from footfall.acquire.conflict import LimitNames
from footfall.acquire.problem import Problem
from footfall.errors import ProblemError
from footfall.model import Floats

_LEAVE_OUT = "leave it out for the default"
_LEAST_INERTIA = 1e-200  # below it the regularisation underflows
_FEW = 10_000  # values
_FARTHEST = 10.0  # prices to start from, in parts of the largest value (or tau)


def check_options(
    problem: Any, inertia: Any, gap: Any, threads: Any, prices: Any, time_limit_s: Any, progress: Any, names: Any
) -> None:
    """Raise ProblemError for the first that ``solve`` cannot work with."""
    if not isinstance(problem, Problem):
        raise ProblemError(f"problem is {_told(problem)}; it must be a Problem", "make it by Problem(demand=..., ...)")
    held = as_float(inertia)
    if held is None or not 0 <= held < math.inf:
        raise ProblemError(f"inertia is {_told(inertia)}; it must be finite and 0 or more", "0.3 is plans' default")
    if 0 < held < _LEAST_INERTIA:
        raise ProblemError(
            f"inertia {inertia} is too small to compute with", "0 is the plain linear programme; else 1e-200 or more"
        )
    wanted = as_float(gap)
    if wanted is None or not 0 < wanted < 1:
        raise ProblemError(f"gap is {_told(gap)}; it must be between 0 and 1", "1e-4 is usual")
    whole = isinstance(threads, (int, np.integer)) and not isinstance(threads, bool)
    if threads is not None and not (whole and threads >= 1):
        raise ProblemError(f"threads is {_told(threads)}; it must be a whole number, 1 or more", _LEAVE_OUT)
    limit = as_float(time_limit_s)
    if time_limit_s is not None and not (limit is not None and limit >= 0):
        raise ProblemError(f"time_limit_s is {_told(time_limit_s)}; it must be seconds, 0 or more", _LEAVE_OUT)
    if prices is not None:
        array = isinstance(prices, np.ndarray) and prices.dtype == np.float64
        if not array or prices.shape != (problem.providers,) or not np.isfinite(prices).all():
            raise ProblemError(f"prices must be a finite float64 array of {problem.providers} entries", _LEAVE_OUT)
    if progress is not None and not callable(progress):
        raise ProblemError(f"progress is {_told(progress)}; it must be callable", _LEAVE_OUT)
    if names is not None and not isinstance(names, LimitNames):
        raise ProblemError(f"names is {_told(names)}; it must be LimitNames", _LEAVE_OUT)


def usable_start(problem: Problem, inertia: float, prices: Floats | None) -> Floats | None:
    """Prices (m,) to start from: those far beyond what values can explain count as 0, and all of them as none given.

    From there the search finds back, but slowly, and beyond single precision hardly at all.
    """
    if prices is None or not problem.edges:
        return None
    size = np.abs(prices)
    for value in (problem.value[:_FEW], problem.value):  # mostly a few tell enough, and save a look at all
        usable = size <= _FARTHEST * (1.0 + float(inertia)) * float(max(value.max(), -value.min()))
        if usable.all():
            return prices
    return np.where(usable, prices, 0.0) if usable.any() else None


def _told(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:40] + '...'} ({type(value).__name__})"
