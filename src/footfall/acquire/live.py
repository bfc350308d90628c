"""A plan as live decisions read it: arrays by segment, and rows of weights under a pacing.

A row's weights are the plan's shares of the part that no pin takes, moved by the offsets o of a pacing and held to the
share caps: w_ij = share_ij exp(-o_j / tau_i), so that prices l + o give the plan's own form at those prices. Without
a pacing the weights are the plan's shares.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import itemgetter
from struct import Struct

import msgspec
import numpy as np

from footfall.acquire._live_kernels import CLOSED, PINNED, UNKNOWN, within_caps
from footfall.acquire.reference import Bools, Edges, edges_from_keys, row_totals
from footfall.acquire.rules import Rules
from footfall.config import PlanSettings
from footfall.errors import InputError
from footfall.model import Floats, Ints, Pacing, Plan

PLAIN_TAU = 0.02
"""At inertia 0 a plan has no tau; pacing takes this part of the mean value of a visit, as explanations do."""

LEAST_VISITS = 1.0  # planned a day, for a segment to have weights of its own
_ROWS_BYTES = 64 << 20


@dataclass(frozen=True, eq=False, slots=True)
class LivePlan:
    """A plan in arrays: n segments, m providers, E pairs in rows by segment, ascending by provider.

    share: float64 (E,), tomorrow's share of the segment. reference: the same as p_ij. closed: bool (E,), excluded, or
    pinned to 0. pin: float64 (E,), pinned share, 0 where none. cap: float64 (E,), largest share. tau: float64 (n,),
    reward per visit; usual_tau: its mean over demand. room: float64 (n,), how far a row's weights may sum to less until
    the plan would leave visits unassigned (inf at inertia 0). price, capacity, floor, change_high, change_low, load:
    float64 (m,), reward per visit and visits a day. excluded: bool (m,), excluded in all segments. newcomer_share: what
    unknown candidates share.
    """

    version: int
    providers: tuple[str, ...]
    segments: tuple[str, ...]
    edges: Edges
    demand: Floats
    share: Floats
    reference: Floats
    value: Floats
    closed: Bools
    pin: Floats
    cap: Floats
    tau: Floats
    usual_tau: float
    room: Floats
    price: Floats
    capacity: Floats
    floor: Floats
    change_high: Floats
    change_low: Floats
    load: Floats
    excluded: Bools
    newcomer_share: float
    newcomer_visits: int

    @classmethod
    def of(cls, plan: Plan) -> LivePlan:
        """The arrays of a plan; InputError where its recorded settings or rules cannot be read."""
        try:
            rules = msgspec.convert(plan.inputs.get("rules", {}), Rules)
            settings = msgspec.convert(plan.inputs.get("settings", {}), PlanSettings)
        except msgspec.ValidationError as error:
            raise InputError(
                f"plan {plan.version}: {error}", "it is of another version of Footfall; plan again"
            ) from None
        return _arrays(plan, rules, settings)

    @property
    def free(self) -> Bools:
        """Pairs that are neither closed nor pinned, bool (E,)."""
        free: Bools = ~self.closed & (self.pin == 0)
        return free

    def capacities(self) -> dict[str, float]:
        """What each provider may be sent a day, visits: for ``Ledger.open_day``."""
        return dict(zip(self.providers, self.capacity.tolist(), strict=True))

    def offsets(self, pacing: Pacing | None) -> Floats:
        """Offsets of the prices, float64 (m,); providers that the pacing does not name have 0."""
        told = {} if pacing is None else pacing.offsets
        return np.array([told.get(name, 0.0) for name in self.providers], dtype=np.float64)


def _arrays(plan: Plan, rules: Rules, settings: PlanSettings) -> LivePlan:
    providers = tuple(line.provider_id for line in plan.providers)
    segments = tuple(plan.demand.segments)
    provider_at = {name: j for j, name in enumerate(providers)}
    segment_at = {name: i for i, name in enumerate(segments)}
    n, m = len(segments), len(providers)
    key = np.array([segment_at[p.segment] * m + provider_at[p.provider_id] for p in plan.pairs], dtype=np.int64)
    order = np.argsort(key)
    edges = edges_from_keys(key, n, m)
    if len(edges.segment) != len(key):
        raise InputError(f"plan {plan.version} holds a pair twice", "plan again")

    def column(values: Iterable[float]) -> Floats:
        return np.array(list(values), dtype=np.float64)

    share = column(p.share_tomorrow for p in plan.pairs)[order]
    reference = column(p.share_reference for p in plan.pairs)[order]
    today = column(p.share_today for p in plan.pairs)[order]
    value = column(p.value for p in plan.pairs)[order]
    capacity = column(p.capacity for p in plan.providers)
    excluded, closed, pin = _ruled(edges, share, rules, provider_at, segment_at)
    free = ~closed & (pin == 0) & (capacity > 0)[edges.provider] & ((reference > 0) | (plan.inertia == 0))
    boosted = _boosted(edges, value, rules, provider_at, segment_at)
    tau = _tau(edges, boosted, reference, free, plan)
    price = column(p.price for p in plan.providers)
    count = row_totals(edges.row_start, free.astype(np.float64))[edges.segment]
    cap = np.maximum(np.maximum(settings.max_provider_share, today), np.minimum(1.0, 2 / np.maximum(count, 1)))
    demand = plan.demand.visits.astype(np.float64)
    total = demand.sum()
    return LivePlan(
        version=plan.version,
        providers=providers,
        segments=segments,
        edges=edges,
        demand=demand,
        share=share,
        reference=reference,
        value=value,
        closed=closed,
        pin=pin,
        cap=np.maximum(cap, share),
        tau=tau,
        usual_tau=float(demand @ tau / total) if total > 0 else float(tau.mean()) if n else 1.0,
        room=_room(
            edges, np.where(free, reference, 0.0), share, pin, boosted - price[edges.provider], tau, plan.inertia
        ),
        price=price,
        capacity=capacity,
        floor=column(p.floor for p in plan.providers),
        change_high=column(p.change_high for p in plan.providers),
        change_low=column(p.change_low for p in plan.providers),
        load=column(p.visits_tomorrow for p in plan.providers),
        excluded=excluded,
        newcomer_share=settings.newcomer_share,
        newcomer_visits=settings.newcomer_visits,
    )


def _ruled(
    edges: Edges, share: Floats, rules: Rules, provider_at: Mapping[str, int], segment_at: Mapping[str, int]
) -> tuple[Bools, Bools, Floats]:
    """What rules do: excluded (m,), closed (E,), pin (E,). A pin has what the plan left it, none where that is 0."""
    excluded = np.zeros(len(provider_at), dtype=bool)
    closed, pin = np.zeros(len(share), dtype=bool), np.zeros(len(share))

    def pair(provider: str, segment: str) -> Bools:
        found: Bools = (edges.provider == provider_at.get(provider, -1)) & (
            edges.segment == segment_at.get(segment, -1)
        )
        return found

    for rule in rules.exclude:
        if rule.segment is not None:
            closed |= pair(rule.provider, rule.segment)
        elif rule.provider in provider_at:
            excluded[provider_at[rule.provider]] = True
    for pinned in rules.pin:
        here = edges.provider == provider_at.get(pinned.provider, -1)
        if pinned.segment is not None:
            here = pair(pinned.provider, pinned.segment)
        pin[here] = share[here]
        closed |= here & (share <= 0)
    closed |= excluded[edges.provider]
    pin[closed] = 0.0
    return excluded, closed, pin


def _boosted(
    edges: Edges, value: Floats, rules: Rules, provider_at: Mapping[str, int], segment_at: Mapping[str, int]
) -> Floats:
    """Values as the plan weighed them; a boost for one segment goes before one for all."""
    factor = np.ones(len(value))
    for boost in sorted(rules.boost, key=lambda b: b.segment is not None):
        here = edges.provider == provider_at.get(boost.provider, -1)
        if boost.segment is not None:
            here = here & (edges.segment == segment_at.get(boost.segment, -1))
        factor[here] = boost.factor
    return np.where(value >= 0, value * factor, value / factor)


def _tau(edges: Edges, value: Floats, reference: Floats, free: Bools, plan: Plan) -> Floats:
    """tau_i = inertia x sum_j p_ij max(v_ij, 0) over the free pairs; rows without a positive value take the mean."""
    inertia, demand = plan.inertia, plan.demand.visits
    if inertia == 0:
        size = float(np.abs(value).mean()) if len(value) else 1.0
        return np.full(len(demand), PLAIN_TAU * (size or 1.0))
    p = np.where(free, reference, 0.0)
    mass = row_totals(edges.row_start, p)
    signal = row_totals(edges.row_start, p * np.maximum(value, 0.0)) / np.where(mass > 0, mass, 1.0)
    there = signal > 0
    weight = float(demand[there].sum())
    usual = float(demand[there] @ signal[there]) / weight if weight > 0 else 1.0
    return inertia * np.where(there, signal, usual)


def _room(
    edges: Edges, reference: Floats, share: Floats, pin: Floats, gain: Floats, tau: Floats, inertia: float
) -> Floats:
    """S_i over what the row's free weights sum to, S_i = sum_j p_ij exp((v_ij - l_j) / tau_i), p of the free part."""
    if inertia == 0:
        return np.full(len(tau), np.inf)
    mass = row_totals(edges.row_start, reference)[edges.segment]
    exponent = np.minimum(gain / tau[edges.segment], 500.0)
    s = row_totals(
        edges.row_start, np.where(reference > 0, reference, 0.0) / np.where(mass > 0, mass, 1.0) * np.exp(exponent)
    )
    full = 1.0 - row_totals(edges.row_start, pin)
    weight = row_totals(edges.row_start, np.where(pin > 0, 0.0, share))
    room: Floats = np.where(weight > 0, np.maximum(s * full, weight) / np.where(weight > 0, weight, 1.0), np.inf)
    return room


class Roster:
    """Positions of provider ids in the arrays of one process: a position is never given to another id.

    Ids that no plan names take at most ``spare`` positions; further ones have none, and are never drawn: ``refused``
    says that there were such. ``anew`` is where ids get a position again.
    """

    def __init__(self, spare: int = 4096) -> None:
        self.names: list[str] = []
        self.size = spare
        self.refused = False
        self._at: dict[str, int] = {}
        self._room = self._spare = spare
        self._adding = threading.Lock()

    def anew(self) -> Roster:
        """An empty one of the same room."""
        return Roster(self._room)

    def take_in(self, names: Sequence[str]) -> Ints:
        """Positions of a plan's providers, int64; ``size`` grows where there is no room."""
        at = self._at
        for name in names:
            if name not in at:
                self._add(name)
        if len(self.names) + self._spare > self.size:
            self.size = 2 * len(self.names) + self._spare
        return np.array([at[name] for name in names], dtype=np.int64)

    def positions(self, names: Sequence[str]) -> Ints:
        """Positions of candidates, int64; new ids take one while there is room, else theirs is -1."""
        at, count = self._at, len(names)
        try:
            if count < 2:
                return np.array([at[name] for name in names], dtype=np.int64)
            found = np.empty(count, dtype=np.int64)
            _packed(count)(found, 0, *itemgetter(*names)(at))  # by far the quickest way from strings to an array
            return found
        except KeyError:
            for name in names:
                if name in at:
                    continue
                if self._spare > 0:
                    self._spare -= 1
                    self._add(name)
                else:
                    self.refused = True
            return np.array([at.get(name, -1) for name in names], dtype=np.int64)

    def _add(self, name: str) -> int:
        with self._adding:
            if name not in self._at:
                self._at[name] = len(self.names)
                self.names.append(name)
            return self._at[name]


@lru_cache(256)
def _packed(count: int) -> Callable[..., None]:
    return Struct(f"={count}q").pack_into


class Rows:
    """Rows of weights of one plan under one pacing, made when first asked for, by position in a roster."""

    def __init__(self, plan: LivePlan, pacing: Pacing | None, roster: Roster) -> None:
        if pacing is not None and pacing.plan_version != plan.version:
            raise InputError(
                f"pacing {pacing.version} is of plan {pacing.plan_version}, not of plan {plan.version}",
                "take the pacing of the plan",
            )
        self.plan = plan
        self.pacing_version = 0 if pacing is None else pacing.version
        self.roster = roster
        self.at = roster.take_in(plan.providers)
        self._size = roster.size
        self._offset = plan.offsets(pacing)
        # A segment for which less than a visit is planned says nothing of who should have the next: total loads do.
        told = enumerate(zip(plan.segments, plan.demand.tolist(), strict=True))
        self._segment_at = {name: i for i, (name, visits) in told if visits >= LEAST_VISITS}
        self._rows: OrderedDict[int, Floats] = OrderedDict()
        self._everyone: dict[int, Ints] = {}
        self._most = max(16, _ROWS_BYTES // (8 * max(self._size, 1)))

    def remark(self, segment: str) -> str | None:
        """What the asker should know of a segment that the plan does not have."""
        if segment in self._segment_at:
            return None
        return f"segment {segment!r} is not in the plan: decided by the plan's total loads"

    def row(self, segment: str) -> Floats:
        """The row of a segment, float64 (size,), as ``_live_kernels`` reads it; by total loads where it is unknown, or
        has less than a visit planned."""
        i = self._segment_at.get(segment, -1)
        row = self._rows.get(i)
        if row is None:
            row = self._rows[i] = self._made(i)
            if len(self._rows) > self._most:
                self._rows.popitem(last=False)
        return row

    def everyone(self, segment: str) -> Ints:
        """Positions of all that the plan has in a segment and does not close, in its order; of all where unknown."""
        i = self._segment_at.get(segment, -1)
        found = self._everyone.get(i)
        if found is None:
            if i < 0:
                found = self.at[~self.plan.excluded]
            else:
                a, b = self.plan.edges.row_start[i : i + 2]
                found = self.at[self.plan.edges.provider[a:b][~self.plan.closed[a:b]]]
            self._everyone[i] = found
        return found

    @cached_property
    def closed(self) -> Bools:
        """Providers excluded everywhere, bool (size,)."""
        closed = np.zeros(self._size, dtype=bool)
        closed[self.at[self.plan.excluded]] = True
        return closed

    def _made(self, i: int) -> Floats:
        plan = self.plan
        row = np.where(self.closed, CLOSED, UNKNOWN)
        if i < 0:
            weight = plan.load * np.exp(-self._offset / plan.usual_tau)
            row[self.at] = np.where(plan.excluded, CLOSED, weight)
            return row
        a, b = plan.edges.row_start[i : i + 2]
        provider, closed, pin = plan.edges.provider[a:b], plan.closed[a:b], plan.pin[a:b]
        free = ~closed & (pin == 0)
        entry = np.where(closed, CLOSED, PINNED - pin)
        tilt = np.exp(-self._offset[provider[free]] / plan.tau[i])
        entry[free] = capped(plan.share[a:b][free] * tilt, plan.cap[a:b][free], 1.0 - pin.sum())
        row[self.at[provider]] = entry
        return row


def capped(weight: Floats, cap: Floats, mass: float) -> Floats:
    """Shares of ``mass`` in proportion to weight, none above its cap where that can be; float64 (k,)."""
    out = np.zeros(len(weight))
    within_caps(weight, cap, max(mass, 0.0), out)
    return weight if not out.any() else out


def segment_of(fields: Mapping[str, object], columns: Sequence[str]) -> str:
    """The name that facts and plans give the segment of these fields; InputError for a field that is no column.

    A field that is absent, null, '' or not a number is ``(none)``.
    """
    for name in fields:
        if name not in columns:
            raise InputError(f"{name!r} is no segment column of this workspace", f"give some of: {', '.join(columns)}")
    return " | ".join(_part(fields.get(name)) for name in columns)


def _part(value: object) -> str:
    if value is None or value == "" or value != value:
        return "(none)"
    return str(value).replace("|", "¦")
