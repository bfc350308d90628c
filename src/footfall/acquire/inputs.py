"""What a plan is made from: names, daily visits, demand, values, rules and settings; checked before use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from footfall.acquire.reference import DailyVisits
from footfall.acquire.rules import Rules, near
from footfall.config import PlanSettings
from footfall.errors import ConfigError, InputError, NotEnoughDataError
from footfall.model import DemandForecast, Floats, Ints


@dataclass(frozen=True, eq=False, slots=True)
class PairValues:
    """Estimated value of a visit for pairs that have an estimate, each pair once, in any order.

    segment, provider: int64 (k,), positions in the inputs' names. mean, low, high: float64 (k,), reward per
    visit with its 90 % interval, net of refunds. conversion: float64 (k,), orders per visit, > 0 where mean
    is not 0; the order value net of refunds is mean / conversion.
    """

    segment: Ints
    provider: Ints
    mean: Floats
    low: Floats
    high: Floats
    conversion: Floats


@dataclass(frozen=True, eq=False, slots=True)
class ProviderValues:
    """Value of a visit by provider, float64 (m,) each: for pairs without an estimate (newcomers, listed
    pairs).

    Fields as in PairValues; for a provider without visits, the prior of its category.
    """

    mean: Floats
    low: Floats
    high: Floats
    conversion: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanInputs:
    """All that a plan is made from; the same inputs make the same plan.

    day: the planned local day. as_of: the last complete day of the log that counts. log_first_day: first day
    of the log. segments (n,), providers (m,): names, each once. category (m,): ``all`` where none is known.
    first_day (m,): the day each provider was first seen, None where never. visits: daily visits, at least
    over the eligible days and the last 28. demand: forecast in the order of ``segments``. capacity: visits a
    day by provider, from a file. pairs: (segment, provider) pairs listed as eligible.
    """

    day: date
    as_of: date
    log_first_day: date
    segments: tuple[str, ...]
    providers: tuple[str, ...]
    first_day: tuple[date | None, ...]
    visits: DailyVisits
    demand: DemandForecast
    values: PairValues
    fallback: ProviderValues
    category: tuple[str, ...] = ()
    capacity: Mapping[str, float] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    pairs: tuple[tuple[str, str], ...] = ()
    settings: PlanSettings = field(default_factory=PlanSettings)

    @property
    def last(self) -> int:
        """``as_of`` in days since the log's first day."""
        return (self.as_of - self.log_first_day).days

    @property
    def categories(self) -> tuple[str, ...]:
        """Category of each provider, ``all`` where none was given."""
        return self.category or ("all",) * len(self.providers)


def check_inputs(inputs: PlanInputs) -> None:
    """Refuse inputs that do not fit together; the message names the field, the entry and the bound."""
    n, m = len(inputs.segments), len(inputs.providers)
    if not n or not m:
        raise NotEnoughDataError("the log has no visits to plan from", "import events, then plan again")
    for name, names in (("segments", inputs.segments), ("providers", inputs.providers)):
        if len(set(names)) != len(names):
            raise InputError(f"plan inputs: {name} holds a name twice", "give each name once")
    for name, column in (("category", inputs.categories), ("first_day", inputs.first_day)):
        if len(column) != m:
            raise InputError(f"plan inputs: {name} has {len(column)} entries for {m} providers", "give one a provider")
    if inputs.as_of < inputs.log_first_day:
        raise NotEnoughDataError(
            f"the log begins on {inputs.log_first_day}, after the as-of day {inputs.as_of}",
            "plan from a later day",
        )
    inputs.visits.check(n, m)
    _check_demand(inputs)
    _check_values("values", inputs.values, len(inputs.values.segment))
    _check_values("fallback values", inputs.fallback, m)
    for index, size in ((inputs.values.segment, n), (inputs.values.provider, m)):
        if len(index) != len(inputs.values.segment) or (len(index) and (index.min() < 0 or index.max() >= size)):
            raise InputError("plan inputs: values name a segment or provider that is not there", "index into the names")
    _check_named(inputs)


def _check_demand(inputs: PlanInputs) -> None:
    if tuple(inputs.demand.segments) != inputs.segments:
        raise InputError(
            "plan inputs: the demand forecast names other segments, or in another order, than the visits",
            "forecast one figure for each segment, in the order of segments",
        )
    visits = inputs.demand.visits
    wrong = np.flatnonzero(~(np.isfinite(visits) & (visits >= 0)))
    if len(wrong):
        where = inputs.segments[wrong[0]]
        raise InputError(
            f"demand of segment {where!r} is {visits[wrong[0]]}; it must be 0 or more", "correct the forecast"
        )


def _check_values(name: str, values: PairValues | ProviderValues, size: int) -> None:
    for key in ("mean", "low", "high", "conversion"):
        column = getattr(values, key)
        if len(column) != size:
            raise InputError(f"plan inputs: {name} have {len(column)} entries of {key} for {size}", "give one of each")
        if not np.isfinite(column).all():
            raise InputError(
                f"plan inputs: {name} have a {key} that is not finite",
                "estimate it again, or leave the pair out",
            )
    if ((values.conversion <= 0) & (values.mean != 0)).any():
        raise InputError(
            f"plan inputs: {name} have a mean that is not 0 where conversion is 0",
            "conversion x order value = mean",
        )


def _check_named(inputs: PlanInputs) -> None:
    providers, segments = set(inputs.providers), set(inputs.segments)
    for provider, visits in inputs.capacity.items():
        if provider not in providers:
            raise ConfigError(f"capacity file: provider {provider!r} is not there", near(provider, inputs.providers))
        if not visits >= 0:  # nan too
            raise ConfigError(
                f"capacity file: {provider!r} has {visits} visits; it must be 0 or more", "correct the file"
            )
    for segment, provider in inputs.pairs:
        if segment not in segments:
            raise ConfigError(f"listed pairs: segment {segment!r} is not there", near(segment, inputs.segments))
        if provider not in providers:
            raise ConfigError(f"listed pairs: provider {provider!r} is not there", near(provider, inputs.providers))
