"""From inputs to pairs: eligibility, shares of today, the reference, values, pins and boosts, one entry a
pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from footfall.acquire.inputs import PlanInputs
from footfall.acquire.limits import listing
from footfall.acquire.reference import (
    Bools,
    DailyVisits,
    Edges,
    delivered_shares,
    edges_from_keys,
    find_newcomers,
    mix_newcomers,
    newcomer_keys,
    row_totals,
)
from footfall.acquire.rules import IndexedRules
from footfall.model import Floats, Ints
from footfall.texts import say


@dataclass(frozen=True, eq=False, slots=True)
class Pairs:
    """All pairs of a plan, (E,) each: the eligible ones, and closed ones that had visits lately.

    open: may receive visits (not excluded, capacity above 0). pinned: its share is pinned, to ``pin``.
    visits_today: mean visits a day over the reference days. share_today: its share of the segment.
    share_open: the same among the open pairs. reference: p_ij, that with the newcomers' share mixed in.
    value, low, high, conversion: reward per visit with its interval, orders per visit. boost: factor on the
    value inside the plan. newcomer: bool (m,).
    """

    edges: Edges
    open: Bools
    pinned: Bools
    pin: Floats
    visits_today: Floats
    share_today: Floats
    share_open: Floats
    reference: Floats
    value: Floats
    low: Floats
    high: Floats
    conversion: Floats
    boost: Floats
    newcomer: Bools

    @property
    def boosted(self) -> Floats:
        """Value as the plan weighs it. A boost above 1 helps whatever the sign of the value."""
        return np.where(self.value >= 0, self.value * self.boost, self.value / self.boost)

    @property
    def pinned_share(self) -> Floats:
        """Share of each segment that is pinned, float64 (n,)."""
        return np.minimum(row_totals(self.edges.row_start, self.pin), 1.0)


def make_pairs(
    inputs: PlanInputs, rules: IndexedRules, newcomer: Bools, no_capacity: Bools
) -> tuple[Pairs, tuple[str, ...]]:
    """The pairs of a plan with their reference, and notes on what could not be used as asked."""
    settings, last = inputs.settings, inputs.last
    older = inputs.visits.within(last, settings.eligible_days)
    recent = inputs.visits.within(last, settings.reference_days)
    edges, eligible = _edges(inputs, rules, newcomer)
    closed = no_capacity[edges.provider] | _matching(edges, rules.exclude_segment, rules.exclude_provider)
    is_open = eligible & ~closed
    pin, pinned, notes = _pins(inputs, edges, rules, is_open)
    # a day like the reference days; a log younger than they are has fewer of them
    days = min(settings.reference_days, last + 1)
    now, before = edges.total(recent), edges.total(older)
    had = (now > 0) | (before > 0)
    share = delivered_shares(edges, now, before, is_open)
    reference = mix_newcomers(edges, share, newcomer, is_open, settings.newcomer_share)
    mean, low, high, conversion = _values(inputs, edges)
    pairs = Pairs(
        edges=edges,
        open=is_open,
        pinned=pinned,
        pin=pin,
        visits_today=now / days,
        share_today=delivered_shares(edges, now, before, had),
        share_open=share,
        reference=reference,
        value=mean,
        low=low,
        high=high,
        conversion=conversion,
        boost=_boosts(edges, rules),
        newcomer=newcomer,
    )
    return pairs, notes + _silent(inputs, pairs)


def newcomers_of(inputs: PlanInputs) -> Bools:
    """Which providers are newcomers, bool (m,)."""
    return find_newcomers(inputs.first_day, inputs.log_first_day, inputs.as_of, inputs.settings.newcomer_days)


def _edges(inputs: PlanInputs, rules: IndexedRules, newcomer: Bools) -> tuple[Edges, Bools]:
    n, m = len(inputs.segments), len(inputs.providers)
    settings = inputs.settings
    older = inputs.visits.within(inputs.last, settings.eligible_days)
    recent = inputs.visits.within(inputs.last, settings.reference_days)
    segment_at = {s: i for i, s in enumerate(inputs.segments)}
    provider_at = {p: j for j, p in enumerate(inputs.providers)}
    listed = np.array([segment_at[s] * m + provider_at[p] for s, p in inputs.pairs], dtype=np.int64)
    seen, lately = _visited(older, m), _visited(recent, m)
    eligible = np.concatenate(
        (
            seen,
            newcomer_keys(older, inputs.categories, newcomer, n),
            listed,
            rules.pin_segment * m + rules.pin_provider,
        )
    )
    edges = edges_from_keys(np.concatenate((eligible, lately)), n, m)
    flag = np.zeros(len(edges.segment), dtype=bool)
    flag[edges.positions(eligible // m, eligible % m)] = True
    return edges, flag


def _visited(visits: DailyVisits, providers: int) -> Ints:
    """Keys of the pairs that had visits, each once: days repeat them, so this makes all that follows shorter."""
    seen = visits.visits > 0
    return np.unique(visits.segment[seen] * providers + visits.provider[seen]).astype(np.int64)


def _matching(edges: Edges, segment: Ints, provider: Ints) -> Bools:
    """Pairs that one of the rules names; segment -1 stands for all."""
    everywhere = np.zeros(edges.providers, dtype=bool)
    everywhere[provider[segment < 0]] = True
    found: Bools = everywhere[edges.provider]
    at = edges.positions(segment[segment >= 0], provider[segment >= 0])
    found[at[at >= 0]] = True
    return found


def _pins(
    inputs: PlanInputs, edges: Edges, rules: IndexedRules, is_open: Bools
) -> tuple[Floats, Bools, tuple[str, ...]]:
    """Pinned share of each pair, which pairs are pinned (a pin may be 0), and notes."""
    pin, pinned = np.zeros(len(edges.segment)), np.zeros(len(edges.segment), dtype=bool)
    at = edges.positions(rules.pin_segment, rules.pin_provider)
    pin[at], pinned[at] = rules.pin_share, True
    lost = np.flatnonzero(~is_open[at] & (rules.pin_share > 0))
    pin[~is_open], pinned[~is_open] = 0.0, False
    if not len(lost):
        return pin, pinned, ()
    who = [f"{inputs.providers[rules.pin_provider[k]]} in {inputs.segments[rules.pin_segment[k]]}" for k in lost]
    return pin, pinned, (say("pin yields to an exclusion or a capacity of 0: {who}", who=listing(who)),)


def _boosts(edges: Edges, rules: IndexedRules) -> Floats:
    """Factor of each pair; a rule for one segment goes before a rule for all."""
    everywhere = np.ones(edges.providers)
    wide = rules.boost_segment < 0
    everywhere[rules.boost_provider[wide]] = rules.boost_factor[wide]
    factor: Floats = everywhere[edges.provider]
    at = edges.positions(rules.boost_segment[~wide], rules.boost_provider[~wide])
    factor[at[at >= 0]] = rules.boost_factor[~wide][at >= 0]
    return factor


def _values(inputs: PlanInputs, edges: Edges) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, low, high and conversion of each pair: its own estimate, else its provider's."""
    values, fallback = inputs.values, inputs.fallback
    at = edges.positions(values.segment, values.provider)
    there = at >= 0
    found = []
    for own, general in (
        (values.mean, fallback.mean),
        (values.low, fallback.low),
        (values.high, fallback.high),
        (values.conversion, fallback.conversion),
    ):
        column = general[edges.provider].astype(np.float64)
        column[at[there]] = own[there]
        found.append(column)
    return found[0], found[1], found[2], found[3]


def _silent(inputs: PlanInputs, pairs: Pairs) -> tuple[str, ...]:
    """Notes on those who cannot receive visits though an operator may expect it."""
    edges, notes = pairs.edges, []
    nowhere = pairs.newcomer & (np.bincount(edges.provider, minlength=edges.providers) == 0)
    if nowhere.any():
        who = [inputs.providers[j] for j in np.flatnonzero(nowhere).tolist()]
        notes.append(
            say(
                "newcomers without a segment, since their category had no visits in {days} days: {who}; list pairs for "
                "them",
                days=inputs.settings.eligible_days,
                who=listing(who),
            )
        )
    if inputs.settings.inertia > 0 and inputs.pairs:
        idle = pairs.open & (pairs.reference == 0) & ~pairs.pinned
        listed = set(inputs.pairs)
        who = [
            f"{inputs.providers[edges.provider[e]]} in {inputs.segments[edges.segment[e]]}"
            for e in np.flatnonzero(idle).tolist()
            if (inputs.segments[edges.segment[e]], inputs.providers[edges.provider[e]]) in listed
        ]
        if who:
            notes.append(
                say(
                    "listed pairs without visits in the last {days} days have no reference share and get no visits: "
                    "{who}; pin a share to begin",
                    days=inputs.settings.reference_days,
                    who=listing(who),
                )
            )
    return tuple(notes)
