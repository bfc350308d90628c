"""Data checks: what is wrong with the log, how bad it is, where, and what to do. Nothing is changed.

    findings = check(engine, store, config, now, providers, recipe=recipe)
    tables = profile(engine, recipe=recipe)           # events and visitors by name, source and day

One ``Finding`` for each check, with level ``ok`` where nothing was found; shops whose orders look faked get
one each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa

from footfall.config import Config
from footfall.errors import InputError
from footfall.model import Finding, Recipe
from footfall.ports import Engine, Store
from footfall.record.days import day_findings
from footfall.record.fakes import fake_findings
from footfall.record.queries import STORE, Queries, number, percent

Level = Literal["ok", "note", "warning", "error"]

_MANY_ALONE = 0.05  # from this share on, orders without a visit are a warning
_MOSTLY_EMPTY = 0.5


def check(
    engine: Engine,
    store: Store,
    config: Config,
    now: datetime,
    providers: Collection[str] | None = None,
    quarantined: Mapping[str, int] | None = None,
    *,
    recipe: Recipe = STORE,
) -> tuple[Finding, ...]:
    """Run every check on the whole log, in the order in which they are read.

    now: aware; later events are in the future. providers: ids of the providers file, None without one.
    quarantined: rows kept aside, by reason. Raises InputError where ``now`` has no zone.
    """
    if now.tzinfo is None:
        raise InputError("now has no time zone", "give an aware time, UTC")
    store.attach(engine)
    queries = Queries(engine, recipe, config)
    days = queries.rows("check_days")
    if not days:
        nothing = Finding("events", "error", "the log is empty", way_out="read events with `footfall import FILE`")
        return (nothing, *_kept_aside(quarantined or {}))
    return (
        _events(days),
        *day_findings(days),
        _orders_at_all(queries, days),
        *_kept_aside(quarantined or {}),
        _repeated_ids(queries),
        *_repeated_orders(queries),
        _without_provider(queries),
        _without_visit(queries),
        *_amounts(queries),
        _refunds(queries),
        _future(queries, now),
        _bots(queries),
        *fake_findings(queries),
        *([] if providers is None else [_unknown_providers(queries, providers)]),
        *_segment_columns(queries, providers is not None),
    )


def profile(engine: Engine, *, recipe: Recipe = STORE) -> Mapping[str, pa.Table]:
    """Exact numbers of events and visitors of the attached log, by ``name``, ``source`` and ``day``."""
    queries = Queries(engine, recipe, Config())
    return {
        "name": queries.table("check_names"),
        "source": queries.table("check_sources"),
        "day": queries.table("check_days"),
    }


def _events(days: Sequence[Mapping[str, int]]) -> Finding:
    total = sum(row["events"] for row in days)
    return Finding("events", "ok", f"{number(total)} events on {number(len(days))} days", total)


def _orders_at_all(queries: Queries, days: Sequence[Mapping[str, int]]) -> Finding:
    orders = sum(row["orders"] for row in days)
    if orders:
        return Finding("orders", "ok", f"{number(orders)} orders", orders)
    return Finding(
        "orders",
        "error",
        f"the log has no event that earns anything ({', '.join(queries.recipe.order_events)})",
        way_out="import the orders too, rename events with --map, or choose another recipe",
    )


def _kept_aside(quarantined: Mapping[str, int]) -> list[Finding]:
    """Rows of other currencies, and rows kept aside for any other reason."""
    money = {r: n for r, n in quarantined.items() if "currenc" in r.lower() and n}
    other = {r: n for r, n in quarantined.items() if r not in money and n}
    found = []
    for name, rows, ok, way_out in (
        (
            "currencies",
            money,
            "all amounts are in one currency",
            "convert the amounts before importing, or keep a workspace for each currency",
        ),
        (
            "kept aside",
            other,
            "no rows are kept aside",
            "look at them with `footfall import --rejects FILE`, mend and import again",
        ),
    ):
        total = sum(rows.values())
        worst = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
        where = tuple(f"{reason}: {number(n)}" for reason, n in worst[:5])
        text = f"rows kept aside{' for their currency' if name == 'currencies' else ''}: {number(total)}"
        found.append(Finding(name, "warning", text, total, where, way_out) if total else Finding(name, "ok", ok))
    return found


def _repeated_ids(queries: Queries) -> Finding:
    rows = queries.rows("check_repeated_ids")
    if not rows:
        return Finding("repeated ids", "ok", "every message_id stands once")
    found = rows[0]["found"]
    return Finding(
        "repeated ids",
        "warning",
        f"message_ids that stand on days more than a week apart, whose events count each time: {number(found)}",
        found,
        tuple(f"{r['message_id']}: {r['times']} times, {r['first_day']} to {r['last_day']}" for r in rows),
        "see whether an export was imported twice under changed times, or the sender uses ids again",
    )


def _repeated_orders(queries: Queries) -> list[Finding]:
    rows = queries.rows("check_repeated_orders")
    texts: tuple[tuple[str, str, Level, str, str], ...] = (
        (
            "again",
            "repeated orders",
            "warning",
            "orders that stand more than once at a provider and count each time",
            "send each order once, with a message_id made from its order_id",
        ),
        (
            "lines",
            "order lines",
            "note",
            "orders with a row for each item, of which every row counts as an order",
            "sum the rows of an order before importing to count orders rather than lines",
        ),
    )
    found = []
    for kind, name, level, text, way_out in texts:
        examples = [r for r in rows if r["kind"] == kind]
        if examples:
            where = tuple(f"{r['order_id']} at {r['provider_id']}: {r['times']} times" for r in examples)
            count = examples[0]["found"]
            found.append(Finding(name, level, f"{text}: {number(count)}", count, where, way_out))
    return found or [Finding("repeated orders", "ok", "every order_id stands once at a provider")]


def _without_provider(queries: Queries) -> Finding:
    rows = queries.rows("check_nameless")
    found = sum(r["without_provider"] for r in rows)
    if not found:
        return Finding("providers named", "ok", "every visit and order names its provider")
    return Finding(
        "providers named",
        "warning" if any(r["name"] in queries.recipe.order_events for r in rows) else "note",
        f"visits and orders that name no provider and count for none: {number(found)}",
        found,
        tuple(f"{r['name']}: {number(r['without_provider'])} of {number(r['events'])}" for r in rows[:5]),
        "map the column that names the shop, creator or channel: `footfall import --map provider_id=COLUMN`",
    )


def _without_visit(queries: Queries) -> Finding:
    window = queries.config.value.window_days
    rows = queries.rows("check_orders_without_visit", {"window_days": window})
    if not rows:
        return Finding("orders with visits", "ok", f"every order has a visit in the {window} days before it")
    found, orders = rows[0]["found"], rows[0]["orders"]
    return Finding(
        "orders with visits",
        "warning" if found >= _MANY_ALONE * orders else "note",
        f"{number(found)} of {number(orders)} orders ({percent(found, orders)}) have no visit there in "
        f"the {window} days before; each makes a visit of its own, which raises the conversion rate",
        found,
        tuple(f"{r['message_id']} on {r['day']} at {r['provider_id']}" for r in rows),
        "import the visits too, see that both sides use one visitor_id, or widen [value] window_days",
    )


def _amounts(queries: Queries) -> list[Finding]:
    if queries.recipe.unit_reward:
        return []
    factor = queries.config.check.absurd_amount_factor
    rows = queries.rows("check_amounts", {"factor": factor})
    texts: Mapping[str, tuple[Level, str, str]] = {
        "negative": (
            "error",
            "orders with a negative amount",
            "send returned money as `refund` events with positive amounts",
        ),
        "absurd": (
            "warning",
            f"orders above {factor:g} times the median order",
            "check the unit (cents sent as whole money?), or raise [check] absurd_amount_factor",
        ),
        "missing": (
            "warning",
            "orders without an amount, which earn nothing",
            "map the amount: `footfall import --map amount=COLUMN`",
        ),
        "zero": ("note", "orders with the amount zero", "gifts and samples are fine; else mend the export"),
    }
    found = []
    for kind, (level, text, way_out) in texts.items():
        examples = [r for r in rows if r["kind"] == kind]
        if examples:
            where = tuple(f"{r['message_id']} at {r['provider_id']}{_times_median(r)}" for r in examples)
            count = examples[0]["found"]
            found.append(Finding(f"{kind} amounts", level, f"{text}: {number(count)}", count, where, way_out))
    return found or [Finding("amounts", "ok", "every order has a plausible amount")]


def _times_median(row: Mapping[str, Any]) -> str:
    return f": {row['amount_minor'] / row['median_minor']:,.0f} times the median" if row["kind"] == "absurd" else ""


def _refunds(queries: Queries) -> Finding:
    rows = queries.rows("check_refunds")
    if not rows:
        return Finding("refunds", "ok", "every refund has its order")
    kinds = {r["kind"]: r["found"] for r in rows}
    parts = [
        f"{number(kinds[kind])} {text}"
        for kind, text in (
            ("unknown", "name an order that the log does not have"),
            ("unnamed", "name no order"),
        )
        if kind in kinds
    ]
    return Finding(
        "refunds",
        "note",
        f"refunds without their order: {', '.join(parts)}; a refund without order_id goes to the visitor's "
        "latest order at that provider, if any",
        sum(kinds.values()),
        tuple(f"{r['message_id']}" + (f" (order {r['order_id']})" if r["order_id"] else "") for r in rows[:5]),
        "orders from before the log began are fine; else send refunds with the order_id of their order",
    )


def _future(queries: Queries, now: datetime) -> Finding:
    rows = queries.rows("check_future", {"now": now.astimezone(UTC).replace(tzinfo=None)})
    if not rows:
        return Finding("clocks", "ok", "no event is in the future")
    found = rows[0]["found"]
    return Finding(
        "clocks",
        "warning",
        f"events later than now ({now.astimezone(UTC):%Y-%m-%d %H:%M} UTC): {number(found)}",
        found,
        tuple(f"{r['message_id']} at {r['ts']:%Y-%m-%d %H:%M} UTC from {r['source']}" for r in rows),
        "check the sender's clock and zone: times without an offset are read in the zone given at import",
    )


def _bots(queries: Queries) -> Finding:
    most = queries.config.check.bot_events_per_hour
    rows = queries.rows("check_bots", {"most": most}, excluded=queries.excluded)
    if not rows:
        return Finding("bots", "ok", f"no visitor has more than {number(most)} events in an hour")
    found = rows[0]["found"]
    return Finding(
        "bots",
        "warning",
        f"visitors with more than {number(most)} events in one hour, as bots have: {number(found)}",
        found,
        tuple(
            f"{r['visitor_id']}: up to {number(r['busiest'])} an hour, in {number(r['hours'])} hours" for r in rows[:5]
        ),
        queries.exclusion([r["visitor_id"] for r in rows], found),
    )


def _unknown_providers(queries: Queries, providers: Collection[str]) -> Finding:
    known = pa.table({"provider_id": pa.array(sorted(providers), pa.string())})
    rows = queries.rows("check_unknown_providers", known=known)
    if not rows:
        return Finding("providers known", "ok", "every provider of the log is in the providers file")
    found = rows[0]["found"]
    return Finding(
        "providers known",
        "warning",
        f"providers of the log that are not in the providers file: {number(found)}",
        found,
        tuple(f"{r['provider_id']}: {number(r['events'])} events" for r in rows),
        "add them with `footfall providers FILE`, or correct the spelling in one of the two",
    )


def _segment_columns(queries: Queries, have_providers: bool) -> list[Finding]:
    counts = queries.rows("check_columns")[0]
    total = counts["events"]
    found = []
    for column in queries.config.value.segment:
        filled = counts[column]
        if column == "category" and have_providers:
            filled = total  # a category that the events do not tell comes from the providers file
        name, empty = f"segment column {column}", total - filled
        if not total:
            found.append(Finding(name, "note", f"there is no visit whose {column} could be known"))
        elif not filled:
            text = f"{column} is empty in every visit, so that segments cannot differ by it"
            way_out = f"map it: `footfall import --map {column}=COLUMN`, or take it out of [value] segment"
            found.append(Finding(name, "warning", text, empty, way_out=way_out))
        elif empty > _MOSTLY_EMPTY * total:
            text = f"{column} is empty in {percent(empty, total)} of the visits' events, whose segment is (none)"
            found.append(Finding(name, "note", text, empty, way_out="see which source leaves it out"))
        else:
            found.append(Finding(name, "ok", f"{column} is known in {percent(filled, total)} of the visits' events"))
    return found
