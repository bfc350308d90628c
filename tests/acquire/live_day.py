"""A simulated day of live decisions: traffic arrives, prices are paced, capacity is leased; nothing is remembered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from plan_cases import NOW, market

from footfall.acquire.decide import decide_batch, slot_parts
from footfall.acquire.inputs import PlanInputs
from footfall.acquire.live import LivePlan, Roster, Rows
from footfall.acquire.pacing import DaySoFar, expected_share, pace
from footfall.acquire.plan import make_plan
from footfall.config import LiveSettings
from footfall.model import VISIT, Floats, Pacing, Plan


@dataclass(frozen=True, eq=False)
class Day:
    """What a simulated day came to: visits by provider (m,), reward, asks that nobody could take."""

    delivered: Floats
    reward: float
    refused: int
    visits: int
    offsets: Floats


def a_market(seed: int, segments: int = 8, providers: int = 30, **more: object) -> PlanInputs:
    """Lognormal values, popularity by Zipf, some capacities from a file close to what the plan wants, newcomers."""
    rng = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(1, providers + 1) ** 0.7
    daily = rng.poisson(4000 / segments * popularity[None, :] / popularity.sum() * rng.lognormal(0, 0.5, (segments, 1)))
    daily = daily * rng.lognormal(0, 0.3, daily.shape) * 5.0
    value = rng.lognormal(0, 0.4, providers)[None, :] * rng.lognormal(1, 0.2, daily.shape)
    named = {f"shop-{j + 1}": float(round(1.05 * daily[:, j].sum())) for j in range(0, providers, 4)}
    return market(daily, value, capacity=named, first_seen={providers - 1: 2, providers - 2: 2}, **more)  # type: ignore[arg-type]


def hourly(shape: str) -> Floats:
    """Traffic of each hour: flat, day (a hump at noon, a peak in the evening) or night (most of it late)."""
    h = np.arange(24) + 0.5
    if shape == "flat":
        return np.ones(24)
    if shape == "day":
        return 0.2 + np.exp(-(((h - 13) / 4) ** 2)) + 1.5 * np.exp(-(((h - 21) / 1.5) ** 2))
    return 0.1 + np.exp(-(((h - 22) / 3) ** 2))


def run_day(
    plan: Plan,
    true_demand: Floats,
    profile: Floats,
    came: Floats,
    settings: LiveSettings,
    rng: np.random.Generator,
    minutes: int = 1,
) -> Day:
    """Serve the day, prices moved every so many minutes.

    profile: traffic by hour as the log foretells it; came: as it really comes; both (24,).
    """
    live, ticks = LivePlan.of(plan), 1440 // minutes
    roster = Roster()
    rows = Rows(live, None, roster)
    lease = np.zeros(roster.size, dtype=np.int64)
    capacity = np.where(np.isfinite(live.capacity), live.capacity, 1e9)
    lease[rows.at] = np.floor(capacity * VISIT).astype(np.int64)
    value = np.zeros((len(live.segments), len(live.providers)))
    value[live.edges.segment, live.edges.provider] = live.value
    arrivals, delivered = np.zeros(len(live.segments)), np.zeros(len(live.providers))
    offsets, reward, refused = np.zeros(len(live.providers)), 0.0, 0
    cumulative = np.array([expected_share(came, 24 * t / ticks) for t in range(ticks + 1)])
    for tick in range(ticks):
        if tick:
            so_far = DaySoFar(expected_share(profile, 24 * tick / ticks), arrivals, delivered, np.zeros(len(delivered)))
            offsets = pace(live, so_far, offsets, settings).offsets
            named = dict(zip(live.providers, offsets.tolist(), strict=True))
            rows = Rows(live, Pacing(tick, plan.day, plan.version, NOW, named), roster)
        asks = rng.poisson(true_demand * (cumulative[tick + 1] - cumulative[tick]))
        for i, count in enumerate(asks.tolist()):
            if not count:
                continue
            at = rows.everyone(live.segments[i])
            chosen, *_ = decide_batch(
                rows.row(live.segments[i])[None],
                np.zeros(count, dtype=np.int64),
                lease,
                np.tile(at, (count, 1)),
                rng.random((count, 1)),
                settings.explore,
                live.newcomer_share,
                slot_parts((1.0,), 1),
            )
            who = chosen[:, 0]
            refused += int((who < 0).sum())
            got = np.bincount(who[who >= 0], minlength=len(live.providers))[: len(live.providers)]
            delivered += got
            reward += float(got @ value[i])
        arrivals += asks
    return Day(delivered, reward, refused, int(arrivals.sum()), offsets)


def hindsight(inputs: PlanInputs, true_demand: Floats, explore: float) -> float:
    """Reward of the plan made for the demand as it came, with the same part spread evenly; what that part would send
    a provider beyond its capacity earns nothing.
    """
    demand = replace(inputs.demand, visits=true_demand)
    live = LivePlan.of(make_plan(replace(inputs, demand=demand), "hindsight", NOW))
    rows, free = live.edges.segment, live.free
    count = np.bincount(rows[free], minlength=len(true_demand))
    mass = 1.0 - np.bincount(rows, weights=live.pin, minlength=len(true_demand))
    served = np.where(free, (1 - explore) * live.share + explore * (mass / np.maximum(count, 1))[rows], live.pin)
    visits = true_demand[rows] * served
    load = live.edges.by_provider(visits)
    fits = np.minimum(1.0, live.capacity / np.maximum(load, 1e-9))
    return float((visits * fits[live.edges.provider] * live.value).sum())
