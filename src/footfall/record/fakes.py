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
from footfall.record.queries import Queries, number, percent

QUICK_S = 10
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


def fake_findings(queries: Queries) -> list[Finding]:
    """A finding for each provider with too many orders of heavy visitors, or one that says there is none."""
    if queries.recipe.unit_reward:
        return []
    found = [_finding(queries, suspect) for suspect in crowded(queries)]
    return found or [Finding("faked orders", "ok", "no provider has many orders from few visitors")]


def suspects(queries: Queries) -> tuple[Suspect, ...]:
    """Providers whose orders look faked, by two signs or three: those that a warning is given of."""
    return tuple(suspect for suspect in crowded(queries) if len(suspect.signs) >= _SIGNS_TO_WARN)


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
    for key, text in (
        ("same_amount", "the same amount"),
        ("same_gap", "equal intervals"),
        ("quick", f"placed within {QUICK_S} s of arrival"),
    ):
        share, usual = getattr(ours, key), max(getattr(own, key), getattr(pool, key))
        if share >= _SIGN_SHARE and share >= _SIGN_RATIO * usual:
            signs.append(f"{text} in {share:.0%} of them ({usual:.0%} elsewhere)")
    return tuple(signs)


def _finding(queries: Queries, suspect: Suspect) -> Finding:
    heavy, fewest = suspect.heavy, queries.config.check.fake_orders_per_visitor
    text = (
        f"{suspect.provider_id}: {number(heavy.orders)} of its {number(suspect.provider_orders)} orders "
        f"({percent(heavy.orders, suspect.provider_orders)}) are of {number(heavy.visitors)} visitors with "
        f"{fewest} or more orders there in 7 days"
    )
    where = suspect.visitors[:5]
    if len(suspect.signs) < _SIGNS_TO_WARN:
        seen = f"; {suspect.signs[0]}" if suspect.signs else ""
        text = f"{text}{seen}; loyal customers of daily goods look like this too"
        return Finding("faked orders", "note", text, heavy.orders, where, "look at a few of them before doing anything")
    text = f"{text}, with signs of faked orders ({len(suspect.signs)} of 3): {'; '.join(suspect.signs)}"
    way_out = queries.exclusion(suspect.visitors, len(suspect.visitors))
    return Finding("faked orders", "warning", text, heavy.orders, where, way_out)
