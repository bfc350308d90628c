"""The records that travel the loop. All are frozen; functions return new ones.

Units: money is int64 minor units of the workspace's currency (cents, yen) wherever a name ends in ``_minor``,
and the currency's major unit as a float elsewhere (values, prices, rewards per visit). Times are UTC; a ``day`` is
a local day of the workspace's zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# ---------------------------------------------------------------- record


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the log: its name, its DuckDB type and what it means."""

    name: str
    type: str
    meaning: str


EVENT_COLUMNS: tuple[Column, ...] = (
    Column("message_id", "VARCHAR", "identity of the event; sending it twice is harmless"),
    Column("ts", "TIMESTAMP", "when it happened, UTC, microseconds"),
    Column("day", "DATE", "local day of ts in the workspace's zone; the lake is partitioned by it"),
    Column("name", "VARCHAR", "what happened, in GA4 names: page_view, view_item, purchase, refund, ..."),
    Column("visitor_id", "VARCHAR", "device or anonymous person"),
    Column("user_id", "VARCHAR", "identified person, where known"),
    Column("previous_id", "VARCHAR", "on alias events: the user id that merges into user_id"),
    Column("visit_id", "VARCHAR", "the log's own visit, where it has one"),
    Column("provider_id", "VARCHAR", "who received the visit: shop, creator, ad channel"),
    Column("item_id", "VARCHAR", "what was shown: product, content, creative"),
    Column("order_id", "VARCHAR", "order of a purchase or refund"),
    Column("amount_minor", "BIGINT", "money of a purchase or refund, minor units"),
    Column("category", "VARCHAR", "category of the provider, where the event tells it"),
    Column("channel", "VARCHAR", "where the visitor came from"),
    Column("campaign", "VARCHAR", "campaign of the visit"),
    Column("device", "VARCHAR", "kind of device"),
    Column("country", "VARCHAR", "country or region of the visitor"),
    Column("position", "VARCHAR", "place on the page"),
    Column("propensity", "DOUBLE", "probability with which the provider was shown, where it was logged"),
    Column("properties", "VARCHAR", "everything else, as a JSON object"),
    Column("source", "VARCHAR", "file, frame or client that brought it"),
    Column("batch_id", "VARCHAR", "the import that brought it"),
    Column("received_at", "TIMESTAMP", "when it was taken in, UTC"),
)

EVENT_NAMES: tuple[str, ...] = (
    "visit",
    "session_start",
    "page_view",
    "screen_view",
    "view_item_list",
    "view_item",
    "select_item",
    "search",
    "impression",
    "click",
    "add_to_wishlist",
    "add_to_cart",
    "remove_from_cart",
    "begin_checkout",
    "add_payment_info",
    "purchase",
    "refund",
    "sign_up",
    "login",
    "identify",
    "alias",
    "group",
    "share",
    "like",
    "comment",
    "follow",
    "unfollow",
    "subscribe",
    "unsubscribe",
    "video_start",
    "video_progress",
    "video_complete",
    "app_install",
    "app_open",
    "message_sent",
    "message_opened",
    "message_clicked",
    "coupon_issued",
    "coupon_redeemed",
)


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was kept aside: where it stood, which field is wrong and why, and the row itself."""

    file: str
    line: int
    field: str
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did; the counts add up: read = added + duplicates + rejected."""

    files: tuple[str, ...]
    read: int
    added: int
    duplicates: int
    conflicting: int  # of the duplicates: same message_id, other content; the first stays
    rejected: int
    reasons: Mapping[str, int]
    first_day: date | None
    last_day: date | None
    batch_ids: tuple[str, ...]
    replaced: int = 0  # events of earlier imports that were taken out for these
    mended: Mapping[str, int] = field(default_factory=dict)  # of the reasons: rows that were mended already
    not_replaced: tuple[
        str, ...
    ] = ()  # files that were to replace what they brought before, of which nothing was there


REFUND_FATES = ("named", "latest", "no order", "nobody", "no provider", "excluded")
"""What becomes of a refund: it comes off the order that it names, or off the visitor's latest order before it at that
provider; else it counts nowhere, since there is no such order, it tells no visitor, or no provider, or is of a visitor
who is left out."""


@dataclass(frozen=True, slots=True)
class RefundFate:
    """Refunds that became the same: ``fate`` is one of REFUND_FATES, ``beyond_minor`` the part of their money beyond
    the amounts of their orders, ``examples`` up to five (message_id, order_id or "") with most money."""

    fate: str
    refunds: int
    amount_minor: int
    beyond_minor: int
    examples: tuple[tuple[str, str], ...]

    @property
    def counts(self) -> bool:
        """Whether they come off an order."""
        return self.fate in REFUND_FATES[:2]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``footfall check``: what was found, how bad it is, how many, where, and what to do."""

    check: str
    level: Literal["ok", "note", "warning", "error"]
    message: str
    count: int = 0
    where: tuple[str, ...] = ()
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which events count as a visit, and what a visit earns. All after that is the same code."""

    name: str
    visit_events: tuple[str, ...]
    order_events: tuple[str, ...]
    refund_events: tuple[str, ...]
    unit_reward: bool = False  # True: every order event earns 1 (clicks), whatever its amount


# ---------------------------------------------------------------- value


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected ultimate reward of one visit, with a 90 % interval.

    ``evidence`` is the effective number of visits behind it (Kish 1965: (sum w)^2 / sum w^2).
    """

    mean: float
    sd: float
    low: float
    high: float
    evidence: float


@dataclass(frozen=True, slots=True)
class DemandForecast:
    """Forecast visits of each segment on one day, shape (n,), with a 90 % interval."""

    day: date
    segments: tuple[str, ...]
    visits: Floats
    low: Floats
    high: Floats


# ---------------------------------------------------------------- acquire


@dataclass(frozen=True, slots=True)
class ConflictingLimit:
    """One limit of a conflict: its weight in the proof, and how far it must move."""

    name: str
    bound: float  # the limit as it stands, in visits
    weight: float  # multiplier in the proof (Farkas), > 0
    give: float  # change of the bound, in visits, in the smallest relaxation; 0 where it may stay


@dataclass(frozen=True, slots=True)
class Conflict:
    """Proof that limits cannot all hold: weighted together they ask for ``excess`` visits more than there can be."""

    limits: tuple[ConflictingLimit, ...]
    excess: float


PlanStatus = Literal["draft", "published", "retired"]


@dataclass(frozen=True, slots=True)
class PairLine:
    """One eligible (segment, provider) of a plan."""

    segment: str
    provider_id: str
    share_today: float  # delivered share of the segment, last reference_days
    share_reference: float  # the plan's reference p_ij: the same among the eligible, newcomers' share mixed in
    share_tomorrow: float
    visits_today: float  # demand of a day like the reference days x share_today
    visits_tomorrow: float
    value: float  # expected reward of a visit (never the boosted one)
    value_low: float
    value_high: float


@dataclass(frozen=True, slots=True)
class BindingLimit:
    """A limit that holds a provider's visits, with its price in money per visit (positive: more would be sent)."""

    provider_id: str
    name: str
    bound: float
    price: float


@dataclass(frozen=True, slots=True)
class ProviderLine:
    """One provider of a plan, over all segments."""

    provider_id: str
    category: str
    newcomer: bool
    visits_today: float
    visits_tomorrow: float
    value: float
    price: float
    limits: tuple[str, ...]  # names of its binding limits
    capacity: float = float("inf")  # visits a day at most, whatever the largest change; pins count as given
    floor: float = 0.0  # visits a day at least, whatever the largest change
    change_high: float = float("inf")  # the sides of the largest change at the forecast demand, visits a day
    change_low: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Expected reward of the plan beside what else could be done under the same limits (major units per day)."""

    plan: float
    keep_shares: float
    proportional: float
    lp_bound: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How visits are spread over providers: Gini coefficient, share of the top tenth, share of newcomers."""

    gini: float
    top_decile_share: float
    newcomer_share: float


@dataclass(frozen=True, slots=True)
class Plan:
    """For each segment, the share of demand that each provider gets; with prices, limits and a certificate."""

    plan_id: str
    version: int
    day: date
    as_of: date
    created_at: datetime
    status: PlanStatus
    inertia: float
    demand: DemandForecast
    pairs: tuple[PairLine, ...]
    providers: tuple[ProviderLine, ...]
    limits: tuple[BindingLimit, ...]
    unassigned: Mapping[str, float]  # visits a segment, where limits leave some over
    comparison: Comparison
    objective: float
    bound: float
    gap: float
    today: Spread
    tomorrow: Spread
    notes: tuple[str, ...] = ()  # softened limits, data warnings
    inputs: Mapping[str, object] = field(default_factory=dict)  # settings and rules it was made with


# ---------------------------------------------------------------- the service

SCOPES: tuple[str, ...] = ("collect", "decide", "read", "admin")  # admin may do what all others may


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key of the service as it is listed; its secret is known to its holder only."""

    prefix: str
    scopes: tuple[str, ...]
    name: str
    created_at: datetime
    revoked_at: datetime | None

    def may(self, scope: str) -> bool:
        """Whether the key opens what asks for ``scope``."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class Lead:
    """Who leads: its name, the number of the reign, and whether it is the one who asked."""

    holder: str
    term: int
    mine: bool


@dataclass(frozen=True, slots=True)
class Sticky:
    """What a visitor is to get again under a key until it expires; ``body`` is of whoever wrote it."""

    visitor_id: str
    key: str
    body: bytes
    expires: datetime


# ---------------------------------------------------------------- acquire, live

VISIT = 1_000_000
"""Capacity is leased and reserved in whole millionths of a visit, so that parts add up exactly."""

DECISION_COLUMNS: tuple[Column, ...] = (
    Column("message_id", "VARCHAR", "the decision's id; writing it twice is harmless"),
    Column("ts", "TIMESTAMP", "when it was drawn, UTC, microseconds"),
    Column("day", "DATE", "local day of ts in the workspace's zone; the lake is partitioned by it"),
    Column("visitor_id", "VARCHAR", "for whom, where the caller told"),
    Column("segment", "VARCHAR", "the visitor's segment, as plans name it"),
    Column("candidates", "VARCHAR", "JSON array: providers that the caller offered; null: all of the plan's segment"),
    Column("unavailable", "VARCHAR", "JSON array: candidates without a lease of a whole visit at the draw"),
    Column("eligible", "BIGINT", "number of providers that the draw was among"),
    Column("slots", "BIGINT", "number of choices asked for"),
    Column("choices", "VARCHAR", "JSON array: what Footfall drew, in order"),
    Column("propensities", "VARCHAR", "JSON array: probability of each choice given those before it"),
    Column("reserved", "VARCHAR", "JSON array: capacity that each choice reserved, millionths of a visit"),
    Column("explore", "DOUBLE", "e: the part of the draw that is spread evenly over the eligible"),
    Column("mode", "VARCHAR", "live, or shadow: the caller's own order was answered, the choices only logged"),
    Column("answered", "VARCHAR", "JSON array: what was answered where it is not the choices"),
    Column("repeat_of", "VARCHAR", "decision whose choices a returning visitor got again; its own reserve nothing"),
    Column("reason", "VARCHAR", "why there are fewer choices than slots, or that the plan does not know the segment"),
    Column("plan_version", "BIGINT", "the plan that it was drawn from"),
    Column("pacing_version", "BIGINT", "the pacing of that plan; 0 = none"),
    Column("worker_id", "VARCHAR", "the process whose lease was reserved"),
    Column("context", "VARCHAR", "what the caller told besides, as a JSON object"),
    Column("source", "VARCHAR", "inbox that brought it"),
    Column("batch_id", "VARCHAR", "the drain that brought it"),
    Column("received_at", "TIMESTAMP", "when it was taken in, UTC"),
)
"""Columns of the decision log. In the inbox a decision is a JSON object with these keys up to ``context``, the arrays
as arrays and ``context`` as an object; in the lake both stand as JSON text."""


class Decision(Struct, frozen=True, gc=False):
    """One live choice for one visitor: what it was drawn from, and what was drawn. Fields as in DECISION_COLUMNS."""

    message_id: str
    ts: datetime
    day: date
    visitor_id: str | None
    segment: str
    candidates: tuple[str, ...] | None
    unavailable: tuple[str, ...]
    eligible: int
    slots: int
    choices: tuple[str, ...]
    propensities: tuple[float, ...]
    reserved: tuple[int, ...]
    explore: float
    mode: Literal["live", "shadow"]
    answered: tuple[str, ...] | None
    repeat_of: str | None
    reason: str | None
    plan_version: int
    pacing_version: int
    worker_id: str
    context: Mapping[str, object] | None = None

    @property
    def answer(self) -> tuple[str, ...]:
        """The order that the caller gets."""
        return self.choices if self.answered is None else self.answered


@dataclass(frozen=True, slots=True)
class Pacing:
    """Prices of a plan moved during its day: ``offsets``, reward per visit by provider, are added to the plan's."""

    version: int
    day: date
    plan_version: int
    made_at: datetime
    offsets: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a day's decisions and visits at one provider, millionths of a visit, from the drained log.

    committed: reservations that a visit kept. outstanding: reservations still waiting for it. released: reservations
    that expired. organic: visits, or parts of visits, that no reservation held.
    """

    committed: int = 0
    outstanding: int = 0
    released: int = 0
    organic: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """One provider's day in the ledger, millionths of a visit: ``leased - released + organic <= capacity`` at a grant.

    leased: all that workers were granted and did not give back, decisions' reservations included. delivered: as last
    settled.
    """

    capacity: int
    leased: int
    delivered: Delivered

    @property
    def free(self) -> int:
        """What may still be leased, >= 0."""
        return max(self.capacity - self.leased + self.delivered.released - self.delivered.organic, 0)


# ---------------------------------------------------------------- retain: offers


@dataclass(frozen=True, slots=True)
class Offer:
    """Something given to a person at a cost: a coupon on an order, or a gift from a stock.

    ``code``: shared by all, "" where each person gets one of their own. A coupon takes off ``percent`` of the order and
    ``amount_minor``, at most ``most_minor`` (0: no bound), of orders of at least ``least_order_minor``. ``count`` and
    ``money_minor``: ceilings over all redemptions, None for none; ``count`` is a gift's stock. ``providers``: where it
    holds, empty for everywhere.
    """

    name: str
    kind: Literal["coupon", "gift"]
    code: str
    percent: float
    amount_minor: int
    most_minor: int
    least_order_minor: int
    count: int | None
    money_minor: int | None
    per_person: int
    valid_days: int
    cost_minor: int  # of one gift
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coupon:
    """A code that was issued: to one person, or (``person`` "") to all."""

    code: str
    offer: str
    person: str
    issued_at: datetime
    expires_at: datetime | None


RefusalReason = Literal[
    "unknown", "expired", "used", "sold out", "not yours", "order too small", "not here", "too often"
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a coupon or a gift was not given: a word for programs, a sentence for people."""

    reason: RefusalReason
    message: str


@dataclass(frozen=True, slots=True)
class Redemption:
    """A use of an offer: reserved until ``expires_at``, then committed, released or expired. Money in minor units."""

    redemption_id: str
    offer: str
    code: str
    person: str
    order_id: str
    off_minor: int
    status: Literal["reserved", "committed", "released", "expired"]
    reserved_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OfferCount:
    """What became of an offer: codes issued, uses reserved and committed, and their money in minor units."""

    offer: str
    issued: int
    reserved: int
    committed: int
    reserved_minor: int
    committed_minor: int


# ---------------------------------------------------------------- retain: messages

MessageStatus = Literal["waiting", "claimed", "handing", "sent", "dead", "unknown", "cancelled"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one person, a row of the outbox before it is sent; unique by journey, person, step and entry.

    ``context``: what the template is filled with, a JSON object. ``value``: expected incremental money, major units.
    """

    message_id: str
    journey: str
    person: str
    step: int
    entry: int
    channel: str
    address: str
    template: str
    language: str
    context: str
    due_at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Posted:
    """A message with what became of it. ``receipt``: what the channel answered; ``error``: why not, in words."""

    message: Message
    status: MessageStatus
    attempts: int
    next_at: datetime
    handed_at: datetime | None
    settled_at: datetime | None
    receipt: str
    error: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as a channel takes it: rendered, addressed, with the link that ends it all."""

    message_id: str
    address: str
    subject: str
    text: str
    html: str
    unsubscribe_url: str
    context: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a channel says of a letter.

    sent: taken over. retry: surely not taken over, try later. dead: never will be. unknown: it may have been taken
    over, so it is not sent again. ``suppress``: the address does not exist, or does not want it: write there no more.
    ``away``: the other side takes nothing at all for now, whatever the letter.
    """

    outcome: Literal["sent", "retry", "dead", "unknown"]
    detail: str
    suppress: bool = False
    away: bool = False


@dataclass(frozen=True, slots=True)
class Caps:
    """Most messages of all journeys to one person within 24 hours and within 7 days."""

    per_day: int
    per_week: int


@dataclass(frozen=True, slots=True)
class Held:
    """Why a claimed message is not handed over: for good (cancelled), or until a time."""

    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A person in a journey, for the n-th time. ``arm`` is drawn by a hash before anything is sent.

    ``step``: the next one; ``due_at``: when. ``since``: the event time that brought the person in.
    """

    journey: str
    person: str
    entry: int
    entered_at: datetime
    since: datetime
    provider_id: str
    category: str
    stake: float
    arm: Literal["treated", "holdout"]
    step: int
    due_at: datetime
    status: Literal["active", "done", "exited"]
    reason: str
