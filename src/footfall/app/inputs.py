"""What a plan is made from: operators' files, the forecast, and the inputs of each plan kept beside it.

The inputs are kept, not made again, so that an explanation is of the plan as it was, whatever arrived since.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.compute as pc

from footfall.acquire.inputs import PairValues, PlanInputs, ProviderValues
from footfall.acquire.reference import DailyVisits
from footfall.acquire.rules import Rules, near, parse_rules
from footfall.app.tables import number, read_numbers, read_pairs, read_rows
from footfall.config import PlanSettings
from footfall.errors import ConfigError, FormatError, NotEnoughDataError, WorkspaceError
from footfall.model import DemandForecast, Floats, Ints
from footfall.value import demand as forecasting
from footfall.value.fact_tables import FactTables
from footfall.value.valuation import Index, Valuation

FORECAST_DAYS = 56
HISTORY_DAYS = 90


@dataclass(frozen=True, slots=True)
class Files:
    """What operators handed in, read and checked as far as it can be without the log."""

    capacity: dict[str, float]
    rules: Rules
    demand: dict[str, tuple[float, float, float]]
    eligible: tuple[tuple[str, str], ...]


def read_files(
    *,
    capacity: Path | None = None,
    rules: Path | None = None,
    demand: Path | None = None,
    eligible: Path | None = None,
) -> Files:
    """Read the files of a plan; FormatError and ConfigError name file, line and field."""
    return Files(
        read_numbers(capacity, "provider_id") if capacity else {},
        parse_rules(_text(rules), str(rules)) if rules else Rules(),
        _read_demand(demand) if demand else {},
        read_pairs(eligible) if eligible else (),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FormatError(f"{path} does not exist", "check the path") from None
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read: {error}", "name a UTF-8 text file") from None


def _read_demand(path: Path) -> dict[str, tuple[float, float, float]]:
    found: dict[str, tuple[float, float, float]] = {}
    for line, row in read_rows(path, ("segment", "visits"), ("low", "high")):
        visits, low, high = (
            number(path, line, key, row.get(key) or row["visits"]) for key in ("visits", "low", "high")
        )
        if row["segment"] in found:
            raise FormatError(
                f"{path}, line {line}: segment {row['segment']!r} stands twice", "keep one of the two rows"
            )
        # Who edits the figure of a forecast that was printed leaves its interval as it was: it is widened to hold it.
        found[row["segment"]] = (visits, min(low, visits), max(high, visits))
    if not found:
        raise FormatError(f"{path} has a header and no rows", "give it rows of segment,visits")
    return found


# ---------------------------------------------------------------- demand


def forecast(
    known: FactTables, as_of: date, day: date | None = None, segments: Sequence[str] | None = None
) -> DemandForecast:
    """Forecast visits per segment of ``day``, by default the next, from the facts known on ``as_of``."""
    last = pc.max(known.visits["day"]).as_py()
    if last is None or (as_of - last).days >= FORECAST_DAYS:
        raise NotEnoughDataError(
            f"there is no visit in the {FORECAST_DAYS} days up to {as_of}",
            "choose another --as-of, or import events",
        )
    day = day or as_of + timedelta(days=1)
    if day <= as_of:
        raise ConfigError(
            f"the log already has {as_of}; {day} needs no forecast",
            f"name {as_of + timedelta(days=1)} or later",
        )
    names = tuple(segments) if segments is not None else tuple(sorted(set(known.visits["segment"].to_pylist())))
    first = max(pc.min(known.visits["day"]).as_py(), as_of - timedelta(days=FORECAST_DAYS - 1))
    span = (as_of - first).days + 1
    ages = (np.datetime64(as_of) - known.visits["day"].to_numpy().astype("datetime64[D]")).astype(np.int64)
    code = _codes(known.visits["segment"], names)
    keep = (ages < span) & (code >= 0)
    counts = np.zeros((len(names), span))
    np.add.at(counts, (code[keep], span - 1 - ages[keep]), known.visits["visits"].to_numpy()[keep])
    weekdays = np.array([(first + timedelta(days=i)).weekday() for i in range(span)], dtype=np.int64)
    mean, low, high = forecasting.forecast(counts, weekdays, day.weekday(), (day - as_of).days)
    return DemandForecast(day, names, mean, low, high)


def _codes(column: Any, names: tuple[str, ...]) -> Ints:
    import pyarrow as pa

    return np.asarray(
        pc.fill_null(pc.index_in(column, value_set=pa.array(names, pa.string())), -1).to_numpy(),
        dtype=np.int64,
    )


def _overridden(forecast_: DemandForecast, wanted: dict[str, tuple[float, float, float]]) -> DemandForecast:
    visits, low, high = forecast_.visits.copy(), forecast_.low.copy(), forecast_.high.copy()
    at = {segment: i for i, segment in enumerate(forecast_.segments)}
    for segment, (expected, least, most) in wanted.items():
        if segment not in at:
            raise ConfigError(f"demand file: segment {segment!r} is not there", near(segment, forecast_.segments))
        visits[at[segment]], low[at[segment]], high[at[segment]] = expected, least, most
    return replace(forecast_, visits=visits, low=low, high=high)


@dataclass(frozen=True, slots=True)
class Usual:
    """Visits of a day, the median of the days before it, and the day before."""

    today: float
    before: float
    day_before: date


def usual_visits(known: FactTables, day: date) -> Usual | None:
    """A day's visits beside the median of up to 7 days before; None where fewer than 3 days are before it."""
    totals: dict[date, int] = {}
    for row in known.visits.group_by("day").aggregate([("visits", "sum")]).to_pylist():
        totals[row["day"]] = row["visits_sum"]
    before = sorted(other for other in totals if other < day)[-7:]
    if len(before) < 3:
        return None
    return Usual(float(totals.get(day, 0)), float(np.median([totals[d] for d in before])), before[-1])


# ---------------------------------------------------------------- inputs


def plan_inputs(known: Valuation, day: date, files: Files, settings: PlanSettings) -> PlanInputs:
    """Everything a plan of ``day`` is made from."""
    index = known.index
    first_days = dict(
        zip(
            known.facts.providers["provider_id"].to_pylist(),
            known.facts.providers["first_day"].to_pylist(),
            strict=True,
        )
    )
    pairs, providers = known.values.pairs, known.values.providers
    return PlanInputs(
        day=day,
        as_of=known.as_of,
        log_first_day=known.first_day,
        segments=index.segments,
        providers=index.providers,
        category=tuple(index.categories[code] for code in index.provider_category),
        first_day=tuple(first_days.get(provider) for provider in index.providers),
        visits=_daily(known, index),
        demand=_overridden(forecast(known.facts, known.as_of, day, index.segments), files.demand),
        values=PairValues(index.pair_segment, index.pair_provider, pairs.mean, pairs.low, pairs.high, pairs.conversion),
        fallback=ProviderValues(providers.mean, providers.low, providers.high, providers.conversion),
        capacity=files.capacity,
        rules=files.rules,
        pairs=files.eligible,
        settings=settings,
    )


def _daily(known: Valuation, index: Index) -> DailyVisits:
    visits = known.facts.visits
    day = (visits["day"].to_numpy().astype("datetime64[D]") - np.datetime64(known.first_day)).astype(np.int64)
    recent = day > (known.as_of - known.first_day).days - HISTORY_DAYS
    segment, provider = (
        _codes(visits["segment"], index.segments),
        _codes(visits["provider_id"], index.providers),
    )
    return DailyVisits(day[recent], segment[recent], provider[recent], _floats(visits["visits"].to_numpy())[recent])


def _floats(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def solver_progress(
    progress: Callable[[float, float], None] | None,
) -> Callable[[int, float, float], None] | None:
    """The solver's progress (iteration, bound, objective) as a bar's (done, total), by how far the gap has closed."""
    if progress is None:
        return None

    def tell(iteration: int, bound: float, objective: float) -> None:
        gap = abs(bound - objective) / abs(bound) if bound else 0.0
        progress(min(0.99, max(0.0, -np.log10(max(gap, 1e-6)) / 4)) if np.isfinite(gap) else 0.0, 1.0)

    return tell


# ---------------------------------------------------------------- kept beside the plan

_ARRAYS = ("visits", "values", "fallback")


def keep(directory: Path, plan_id: str, made_from: PlanInputs) -> None:
    """Write a plan's inputs to ``state/plans/ID.npz``, at once or not at all."""
    folder = directory / "state" / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    for part in _ARRAYS:
        record = getattr(made_from, part)
        arrays |= {f"{part}.{field.name}": getattr(record, field.name) for field in fields(record)}
    arrays |= {f"demand.{name}": getattr(made_from.demand, name) for name in ("visits", "low", "high")}
    plain = {
        field.name: getattr(made_from, field.name)
        for field in fields(made_from)
        if field.name not in (*_ARRAYS, "demand")
    }
    arrays["plain"] = np.frombuffer(msgspec.json.encode(plain), dtype=np.uint8)
    partial = folder / f".{plan_id}.npz"
    with partial.open("wb") as out:
        np.savez_compressed(out, allow_pickle=False, **arrays)
    partial.replace(folder / f"{plan_id}.npz")


def kept(directory: Path, plan_id: str) -> PlanInputs:
    """The inputs of a plan, as they were when it was made."""
    path = directory / "state" / "plans" / f"{plan_id}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise WorkspaceError(
            f"the inputs of the plan cannot be read: {path}: {error}", "make the plan again: `footfall plan`"
        ) from None
    plain = json.loads(arrays["plain"].tobytes())

    def part(name: str, kind: Any) -> Any:
        return kind(**{field.name: arrays[f"{name}.{field.name}"] for field in fields(kind)})

    day = date.fromisoformat(plain["day"])
    return PlanInputs(
        day=day,
        as_of=date.fromisoformat(plain["as_of"]),
        log_first_day=date.fromisoformat(plain["log_first_day"]),
        segments=tuple(plain["segments"]),
        providers=tuple(plain["providers"]),
        category=tuple(plain["category"]),
        first_day=tuple(None if text is None else date.fromisoformat(text) for text in plain["first_day"]),
        visits=part("visits", DailyVisits),
        demand=DemandForecast(
            day,
            tuple(plain["segments"]),
            arrays["demand.visits"],
            arrays["demand.low"],
            arrays["demand.high"],
        ),
        values=part("values", PairValues),
        fallback=part("fallback", ProviderValues),
        capacity=plain["capacity"],
        rules=msgspec.convert(plain["rules"], Rules),
        pairs=tuple((segment, provider) for segment, provider in plain["pairs"]),
        settings=msgspec.convert(plain["settings"], PlanSettings),
    )
