"""Orders that look faked (brushing): few visitors who order again and again at one provider.

For each provider the orders of **heavy** visitors, those with ``fake_orders_per_visitor`` orders or more
there within 7 days, are compared with all other orders. Three signs are looked for; a sign counts where at
least half of the heavy orders show it and it is at least twice as common as among other orders, there and in
the whole log:

    same amount       orders of the commonest amount
    equal intervals   gaps to the order before at the provider that have the commonest length, in seconds
    no browsing       orders placed within 10 s of the first event since the visitor's order before

A provider with a share of heavy orders of ``fake_share`` or more is warned about with two signs or three, and
only noted with fewer: daily goods have loyal customers too. Nothing is ever left out by itself. Who varies
amounts, waits and browses by machine is not found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from footfall.model import Finding
from footfall.record.queries import Queries, percent
from footfall.texts import say

QUICK_S = 10
_CHECK = "faked orders"
_SIGN_SHARE = 0.5
_SIGN_RATIO = 2.0
_SIGNS_TO_WARN = 2
_FEWEST_OTHERS = 20  # other orders at the provider itself, for its own habits to be compared with


@dataclass(frozen=True, slots=True)
class Habits:
    """How a group of orders was placed; the shares are 0 to 1."""

    orders: int
    visitors: int
    same_amount: float
    same_gap: float
    quick: float


@dataclass(frozen=True, slots=True)
class Suspect:
    """A provider with many orders from few visitors: the signs found (of three) and the visitors."""

    provider_id: str
    heavy: Habits
    provider_orders: int
    signs: tuple[str, ...]
    visitors: tuple[str, ...]  # most orders first

    @property
    def looks_faked(self) -> bool:
        """Whether there are signs enough for a warning."""
        return len(self.signs) >= _SIGNS_TO_WARN


def fake_findings(queries: Queries) -> list[Finding]:
    """A warning for each provider whose orders look faked, and one note of those with too few signs."""
    if queries.recipe.unit_reward:
        return []
    found = crowded(queries)
    faked = [_warning(queries, suspect) for suspect in found if suspect.looks_faked]
    loyal = [suspect for suspect in found if not suspect.looks_faked]
    return [*faked, *_note(queries, loyal)] or [
        Finding(_CHECK, "ok", say("no provider has many orders from few visitors"))
    ]


def suspects(queries: Queries) -> tuple[Suspect, ...]:
    """Providers whose orders look faked, by two signs or three: those that a warning is given of."""
    return tuple(suspect for suspect in crowded(queries) if suspect.looks_faked)


def crowded(queries: Queries) -> tuple[Suspect, ...]:
    """Providers whose share of heavy orders reaches [check] fake_share, most signs first, then by share."""
    settings = queries.config.check
    heavy = queries.table("check_heavy", {"fewest": settings.fake_orders_per_visitor}, excluded=queries.excluded)
    visitors: dict[str, list[str]] = defaultdict(list)
    orders: dict[str, int] = defaultdict(int)
    total: dict[str, int] = {}
    for row in heavy.to_pylist():
        visitors[row["provider_id"]].append(row["visitor_id"])
        orders[row["provider_id"]] += row["orders"]
        total[row["provider_id"]] = row["provider_orders"]
    named = sorted(p for p in orders if orders[p] >= settings.fake_share * total[p])
    if not named:
        return ()
    habits = _habits(queries, heavy)
    pool = _pool([h for (_, is_heavy), h in habits.items() if not is_heavy])
    found = []
    for provider in named:
        ours, others = habits[provider, True], habits.get((provider, False))
        found.append(Suspect(provider, ours, total[provider], _signs(ours, others, pool), tuple(visitors[provider])))
    return tuple(sorted(found, key=lambda s: (-len(s.signs), -s.heavy.orders / s.provider_orders, s.provider_id)))


def _habits(queries: Queries, heavy: pa.Table) -> dict[tuple[str, bool], Habits]:
    rows = queries.rows(
        "check_order_habits",
        {"quick_s": QUICK_S},
        excluded=queries.excluded,
        heavy=heavy.select(["provider_id", "visitor_id"]),
    )
    return {
        (row["provider_id"], row["heavy"]): Habits(
            row["orders"],
            row["visitors"],
            row["same_amount"] / row["orders"],
            row["same_gap"] / max(row["orders"] - 1, 1),
            row["quick"] / row["orders"],
        )
        for row in rows
    }


def _pool(groups: Sequence[Habits]) -> Habits:
    """The habits of several groups together, weighted by orders; small groups say little."""
    large = [g for g in groups if g.orders >= _FEWEST_OTHERS] or list(groups)
    orders = sum(g.orders for g in large)
    visitors = sum(g.visitors for g in large)
    if not orders:
        return Habits(0, 0, 0.0, 0.0, 0.0)
    shares = (sum(getattr(g, k) * g.orders for g in large) / orders for k in ("same_amount", "same_gap", "quick"))
    return Habits(orders, visitors, *shares)


def _signs(ours: Habits, others: Habits | None, pool: Habits) -> tuple[str, ...]:
    own = others if others is not None and others.orders >= _FEWEST_OTHERS else pool
    signs = []
    for key, sign in (("same_amount", _same_amount), ("same_gap", _equal_intervals), ("quick", _quick)):
        share, usual = getattr(ours, key), max(getattr(own, key), getattr(pool, key))
        if share >= _SIGN_SHARE and share >= _SIGN_RATIO * usual:
            signs.append(sign(100 * share, 100 * usual))
    return tuple(signs)


def _same_amount(share: float, usual: float) -> str:
    return say("the same amount in {share:.0f} % of them ({usual:.0f} % elsewhere)", share=share, usual=usual)


def _equal_intervals(share: float, usual: float) -> str:
    return say("equal intervals in {share:.0f} % of them ({usual:.0f} % elsewhere)", share=share, usual=usual)


def _quick(share: float, usual: float) -> str:
    return say(
        "placed within {seconds} s of arrival in {share:.0f} % of them ({usual:.0f} % elsewhere)",
        seconds=QUICK_S,
        share=share,
        usual=usual,
    )


def _warning(queries: Queries, suspect: Suspect) -> Finding:
    heavy, fewest = suspect.heavy, queries.config.check.fake_orders_per_visitor
    text = say(
        "{provider}: {share} come from visitors with {fewest} or more orders there in 7 days (visitors: {visitors:,}), "
        "with signs of faked orders ({signs} of 3): {parts}",
        provider=suspect.provider_id,
        share=_share(suspect),
        fewest=fewest,
        visitors=heavy.visitors,
        signs=len(suspect.signs),
        parts="; ".join(suspect.signs),
    )
    way_out = queries.exclusion(suspect.visitors, len(suspect.visitors))
    return Finding(_CHECK, "warning", text, heavy.orders, suspect.visitors[:5], way_out)


def _note(queries: Queries, loyal: Sequence[Suspect]) -> list[Finding]:
    if not loyal:
        return []
    share, fewest = queries.config.check.fake_share, queries.config.check.fake_orders_per_visitor
    text = say(
        "providers with {share:g} % or more of their orders from visitors with {fewest} or more orders there in 7 "
        "days, but too few signs of faking: {providers:,}; loyal customers of daily goods look like this",
        share=100 * share,
        fewest=fewest,
        providers=len(loyal),
    )
    where = tuple(f"{s.provider_id}: {_share(s)}" + "".join(f"; {sign}" for sign in s.signs) for s in loyal[:5])
    return [Finding("many orders of few visitors", "note", text, len(loyal), where, say("nothing needs to be done"))]


def _share(suspect: Suspect) -> str:
    part, whole = suspect.heavy.orders, suspect.provider_orders
    return say("{part:,} of its {whole:,} orders ({share})", part=part, whole=whole, share=percent(part, whole))
