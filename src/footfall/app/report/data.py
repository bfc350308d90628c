"""What a report is made from. All frozen; made by the app from values, a plan and its explanations.

Money is in the currency's major unit. A figure that cannot be told (0 orders: no order value) is ``None`` or
not-a-number; the page shows a dash for either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from footfall.model import Finding, Plan

Amount = float | Decimal


@dataclass(frozen=True, slots=True)
class Totals:
    """Plain sums of the period, over all providers."""

    visitors: int
    orders: int
    gmv: Amount
    conversion: float | None
    aov: Amount | None
    visitor_value: Amount | None
    refunds: Amount


@dataclass(frozen=True, slots=True)
class ValueLine:
    """One provider: plain figures of the period, and what a visit is worth (90 % interval)."""

    provider_id: str
    name: str  # empty: the id is shown
    category: str
    visitors: int
    orders: int
    gmv: Amount
    conversion: float | None
    aov: Amount | None
    visitor_value: Amount | None
    value_mean: float
    value_sd: float
    value_low: float
    value_high: float
    evidence: float


@dataclass(frozen=True, slots=True)
class Day:
    """One local day, over all providers."""

    day: date
    visitors: int
    orders: int
    gmv: Amount


@dataclass(frozen=True, slots=True)
class ExplanationPart:
    """One reason why visits change, in visits as they are told: whole, in tenths where there are few.

    ``key``: demand, eligibility, newcomers, conversion, order_value, limit, others, unassigned, repair or
    boost; another key is shown as it is. ``detail``: the limit's name for ``limit``, else a remark.
    ``own``, ``around``: the provider's figure and that of those it competes with (conversion as a fraction,
    order value as money), where both are known.
    """

    key: str
    detail: str
    visits: float
    own: float | None = None
    around: float | None = None


@dataclass(frozen=True, slots=True)
class WinBack:
    """What would bring the lost visits back, each alone; ``blocked_by``: the limit that forbids it."""

    conversion_needed: float | None = None
    order_value_needed: float | None = None
    blocked_by: str = ""


@dataclass(frozen=True, slots=True)
class ExplanationLine:
    """Why one provider's visits change: parts sum to tomorrow less today; ``gainers`` got what it lost."""

    provider_id: str
    visits_today: float
    visits_tomorrow: float
    parts: tuple[ExplanationPart, ...]
    win_back: WinBack | None = None
    gainers: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that one report shows.

    ``created_at`` is UTC. ``delay``: category -> share of orders within 0, 1, 2, ... days of the visit.
    ``warnings`` are sentences for people. ``money_decimals`` is the currency's ISO exponent.
    ``unit_reward``: every order event earns 1 (clicks), so nothing is money. ``segment_columns``: what makes a segment.
    """

    workspace: str
    created_at: datetime
    currency: str
    zone: str
    as_of: date
    first_day: date
    last_day: date
    totals: Totals
    values: tuple[ValueLine, ...]
    daily: tuple[Day, ...] = ()
    delay: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    plan: Plan | None = None
    explanations: tuple[ExplanationLine, ...] = ()
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    money_decimals: int = 2
    unit_reward: bool = False
    segment_columns: tuple[str, ...] = ()
