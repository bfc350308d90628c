"""Data checks: what is wrong with the log, how bad it is, where, and what to do. Nothing is changed.

    findings = check(engine, store, config, now, providers, recipe=recipe)
    tables = profile(engine, recipe=recipe)           # events and visitors by name, source and day

One ``Finding`` for each check, with level ``ok`` where nothing was found; shops whose orders look faked get
one each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa

from footfall import zones
from footfall.config import Config
from footfall.errors import InputError
from footfall.model import Finding, Recipe, RefundFate
from footfall.ports import Engine, Store
from footfall.record.days import day_findings
from footfall.record.ending import broken_off
from footfall.record.fakes import fake_findings
from footfall.record.money import exponent
from footfall.record.queries import STORE, Queries, number, percent
from footfall.texts import say

Level = Literal["ok", "note", "warning", "error"]

_MANY_ALONE = 0.05  # from this share on, orders without a visit are a warning
_MANY_REFUNDS_LOST = 0.05  # from this share of their money or number on, refunds that count nowhere are a warning
_MOSTLY_EMPTY = 0.5
_WHY = {  # of model.REFUND_FATES, in the words of Finding.where
    "latest": "off the visitor's latest order there",
    "no order": "no order of that visitor there before",
    "nobody": "no visitor, and no order of its order_id",
    "no provider": "no provider, and no order of its order_id",
    "excluded": "of excluded visitors",
}


def check(
    engine: Engine,
    store: Store,
    config: Config,
    now: datetime,
    providers: Collection[str] | None = None,
    quarantined: Mapping[str, int] | None = None,
    *,
    refunds: Sequence[RefundFate] = (),
    recipe: Recipe = STORE,
) -> tuple[Finding, ...]:
    """Run every check on the whole log, in the order in which they are read.

    now: aware; later events are in the future. providers: ids of the providers file, None without one.
    quarantined: rows kept aside, by reason. refunds: what becomes of those of the log (value/refunds.py).
    Raises InputError where ``now`` has no zone.
    """
    if now.tzinfo is None:
        raise InputError("now has no time zone", "give an aware time, UTC")
    store.attach(engine)
    queries = Queries(engine, recipe, config)
    days = queries.rows("check_days")
    if not days:
        nothing = Finding(
            "events", "error", say("the log is empty"), way_out=say("read events with `footfall import FILE`")
        )
        return (nothing, *_kept_aside(quarantined or {}))
    return (
        _events(days),
        *day_findings(days),
        *_last_day(engine, days, now, zones.zone(config.workspace.timezone)),
        _orders_at_all(queries, days),
        *_kept_aside(quarantined or {}),
        _repeated_ids(queries),
        *_repeated_orders(queries),
        _without_provider(queries),
        _without_visit(queries),
        *_amounts(queries),
        _refunds(queries, refunds),
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
    return Finding("events", "ok", say("{events:,} events on {days:,} days", events=total, days=len(days)), total)


def _last_day(engine: Engine, days: Sequence[Mapping[str, Any]], now: datetime, zone: ZoneInfo) -> list[Finding]:
    """Whether the last day that is over breaks off."""
    today = now.astimezone(zone).date()
    ending = broken_off(engine, [row["day"] for row in days if row["day"] < today], zone)
    if ending is None:
        return []
    return [
        Finding(
            "last day",
            "warning",
            say(
                "the log of {day} ends at {ended:%H:%M}, where on the days before {share:.0%} of the events come later",
                day=ending.day,
                ended=ending.ended,
                share=ending.share,
            ),
            1,
            way_out=say("import the rest of that day; until then, `--as-of` the day before leaves it out"),
        )
    ]


def _orders_at_all(queries: Queries, days: Sequence[Mapping[str, int]]) -> Finding:
    orders = sum(row["orders"] for row in days)
    if orders:
        return Finding("orders", "ok", say("{orders:,} orders", orders=orders), orders)
    return Finding(
        "orders",
        "error",
        say("the log has no event that earns anything ({names})", names=", ".join(queries.recipe.order_events)),
        way_out=say("import the orders too, rename events with --map, or choose another recipe"),
    )


def _kept_aside(quarantined: Mapping[str, int]) -> list[Finding]:
    """Rows of other currencies, and rows kept aside for any other reason."""
    money = {r: n for r, n in quarantined.items() if "currenc" in r.lower() and n}
    other = {r: n for r, n in quarantined.items() if r not in money and n}
    found = []
    total, others = sum(money.values()), sum(other.values())
    for name, rows, count, ok, text, way_out in (
        (
            "currencies",
            money,
            total,
            say("all amounts are in one currency"),
            say("rows kept aside for their currency: {rows:,}", rows=total),
            say("convert the amounts before importing, or keep a workspace for each currency"),
        ),
        (
            "kept aside",
            other,
            others,
            say("no rows are kept aside"),
            say("rows kept aside: {rows:,}", rows=others),
            say("look at them with `footfall import --rejects FILE`, mend and import again"),
        ),
    ):
        worst = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
        where = tuple(f"{reason}: {number(n)}" for reason, n in worst[:5])
        found.append(Finding(name, "warning", text, count, where, way_out) if count else Finding(name, "ok", ok))
    return found


def _repeated_ids(queries: Queries) -> Finding:
    rows = queries.rows("check_repeated_ids")
    if not rows:
        return Finding("repeated ids", "ok", say("every message_id stands once"))
    found = rows[0]["found"]
    return Finding(
        "repeated ids",
        "warning",
        say(
            "message_ids that stand on days more than a week apart, whose events count each time: {found:,}",
            found=found,
        ),
        found,
        tuple(f"{r['message_id']}: {r['times']} times, {r['first_day']} to {r['last_day']}" for r in rows),
        say("see whether an export was imported twice under changed times, or the sender uses ids again"),
    )


def _repeated_orders(queries: Queries) -> list[Finding]:
    rows = queries.rows("check_repeated_orders")
    counts = {r["kind"]: r["found"] for r in rows}
    again, lines = counts.get("again", 0), counts.get("lines", 0)
    texts: tuple[tuple[str, int, str, Level, str, str], ...] = (
        (
            "again",
            again,
            "repeated orders",
            "warning",
            say("orders that stand more than once at a provider and count each time: {orders:,}", orders=again),
            say("send each order once, with a message_id made from its order_id"),
        ),
        (
            "lines",
            lines,
            "order lines",
            "note",
            say("orders with a row for each item, of which every row counts as an order: {orders:,}", orders=lines),
            say("sum the rows of an order before importing to count orders rather than lines"),
        ),
    )
    found = []
    for kind, count, name, level, text, way_out in texts:
        if count:
            where = tuple(
                f"{r['order_id']} at {r['provider_id']}: {r['times']} times" for r in rows if r["kind"] == kind
            )
            found.append(Finding(name, level, text, count, where, way_out))
    return found or [Finding("repeated orders", "ok", say("every order_id stands once at a provider"))]


def _without_provider(queries: Queries) -> Finding:
    rows = queries.rows("check_nameless")
    found = sum(r["without_provider"] for r in rows)
    if not found:
        return Finding("providers named", "ok", say("every visit and order names its provider"))
    return Finding(
        "providers named",
        "warning" if any(r["name"] in queries.recipe.order_events for r in rows) else "note",
        say("visits and orders that name no provider and count for none: {found:,}", found=found),
        found,
        tuple(f"{r['name']}: {number(r['without_provider'])} of {number(r['events'])}" for r in rows[:5]),
        say("map the column that names the shop, creator or channel: `footfall import --map provider_id=COLUMN`"),
    )


def _without_visit(queries: Queries) -> Finding:
    window = queries.config.value.window_days
    rows = queries.rows("check_orders_without_visit", {"window_days": window})
    if not rows:
        fine = say("every order has a visit in the {days} days before it", days=window)
        return Finding("orders with visits", "ok", fine)
    found, orders = rows[0]["found"], rows[0]["orders"]
    return Finding(
        "orders with visits",
        "warning" if found >= _MANY_ALONE * orders else "note",
        say(
            "{found:,} of {orders:,} orders ({share}) have no visit there in the {days} days before; each makes a "
            "visit of its own, which raises the conversion rate",
            found=found,
            orders=orders,
            share=percent(found, orders),
            days=window,
        ),
        found,
        tuple(f"{r['message_id']} on {r['day']} at {r['provider_id']}" for r in rows),
        say("import the visits too, see that both sides use one visitor_id, or widen [value] window_days"),
    )


def _amounts(queries: Queries) -> list[Finding]:
    if queries.recipe.unit_reward:
        return []
    factor = queries.config.check.absurd_amount_factor
    rows = queries.rows("check_amounts", {"factor": factor})
    counts = {r["kind"]: r["found"] for r in rows}
    texts: Mapping[str, tuple[Level, str, str]] = {
        "negative": (
            "error",
            say("orders with a negative amount: {orders:,}", orders=counts.get("negative", 0)),
            say("send returned money as `refund` events with positive amounts"),
        ),
        "absurd": (
            "warning",
            say(
                "orders above {factor:g} times the median order: {orders:,}",
                factor=factor,
                orders=counts.get("absurd", 0),
            ),
            say("check the unit (cents sent as whole money?), or raise [check] absurd_amount_factor"),
        ),
        "missing": (
            "warning",
            say("orders without an amount, which earn nothing: {orders:,}", orders=counts.get("missing", 0)),
            say("map the amount: `footfall import --map amount=COLUMN`"),
        ),
        "zero": (
            "note",
            say("orders with the amount zero: {orders:,}", orders=counts.get("zero", 0)),
            say("gifts and samples are fine; else mend the export"),
        ),
    }
    found = []
    for kind, (level, text, way_out) in texts.items():
        if kind in counts:
            where = tuple(
                f"{r['message_id']} at {r['provider_id']}{_times_median(r)}" for r in rows if r["kind"] == kind
            )
            found.append(Finding(f"{kind} amounts", level, text, counts[kind], where, way_out))
    return found or [Finding("amounts", "ok", say("every order has a plausible amount"))]


def _times_median(row: Mapping[str, Any]) -> str:
    return f": {row['amount_minor'] / row['median_minor']:,.0f} times the median" if row["kind"] == "absurd" else ""


def _refunds(queries: Queries, fates: Sequence[RefundFate]) -> Finding:
    """Which refunds come off an order, and which nowhere; both add up to the refunds of the log."""
    told = [f for f in fates if f.fate != "named"]
    if not told:
        return Finding("refunds", "ok", say("every refund has its order"))

    def money(minor: int) -> str:
        digits = exponent(queries.config.workspace.currency)
        return f"{Decimal(minor).scaleb(-digits):,.{digits}f}"

    total, amount = sum(f.refunds for f in fates), sum(f.amount_minor for f in fates)
    left, left_amount = (sum(getattr(f, n) for f in told if not f.counts) for n in ("refunds", "amount_minor"))
    beyond = sum(f.beyond_minor for f in fates)
    where = [f"{_WHY[f.fate]}: {number(f.refunds)} ({money(f.amount_minor)}), as {_named(f)}" for f in told]
    many = left_amount >= _MANY_REFUNDS_LOST * amount if amount else left >= _MANY_REFUNDS_LOST * total
    return Finding(
        "refunds",
        "warning" if left and many else "note",
        say(
            "of {refunds:,} refunds ({money}), {counted:,} ({counted_money}) come off an order: the one that they "
            "name, or for {latest:,} of them the visitor's latest before at that provider; {left:,} ({left_money}) "
            "count nowhere; {beyond} is beyond the amount of its order",
            counted=total - left,
            refunds=total,
            counted_money=money(amount - left_amount),
            money=money(amount),
            latest=sum(f.refunds for f in told if f.fate == "latest"),
            left=left,
            left_money=money(left_amount),
            beyond=money(beyond),
        ),
        sum(f.refunds for f in told),
        tuple(where),
        say("orders from before the log began are fine; else send refunds with the order_id of their order"),
    )


def _named(fate: RefundFate) -> str:
    return ", ".join(f"{message_id} (order {o})" if o else message_id for message_id, o in fate.examples[:2])


def _future(queries: Queries, now: datetime) -> Finding:
    rows = queries.rows("check_future", {"now": now.astimezone(UTC).replace(tzinfo=None)})
    if not rows:
        return Finding("clocks", "ok", say("no event is in the future"))
    found = rows[0]["found"]
    return Finding(
        "clocks",
        "warning",
        say("events later than now ({now:%Y-%m-%d %H:%M} UTC): {events:,}", now=now.astimezone(UTC), events=found),
        found,
        tuple(f"{r['message_id']} at {r['ts']:%Y-%m-%d %H:%M} UTC from {r['source']}" for r in rows),
        say("check the sender's clock and zone: times without an offset are read in the zone given at import"),
    )


def _bots(queries: Queries) -> Finding:
    most = queries.config.check.bot_events_per_hour
    rows = queries.rows("check_bots", {"most": most}, excluded=queries.excluded)
    if not rows:
        return Finding("bots", "ok", say("no visitor has more than {most:,} events in an hour", most=most))
    found = rows[0]["found"]
    return Finding(
        "bots",
        "warning",
        say("visitors with more than {most:,} events in one hour, as bots have: {found:,}", most=most, found=found),
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
        return Finding("providers known", "ok", say("every provider of the log is in the providers file"))
    found = rows[0]["found"]
    return Finding(
        "providers known",
        "warning",
        say("providers of the log that are not in the providers file: {found:,}", found=found),
        found,
        tuple(f"{r['provider_id']}: {number(r['events'])} events" for r in rows),
        say("add them with `footfall providers FILE`, or correct the spelling in one of the two"),
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
            found.append(Finding(name, "note", say("there is no visit whose {column} could be known", column=column)))
        elif not filled:
            text = say("{column} is empty in every visit, so that segments cannot differ by it", column=column)
            way_out = say(
                "map it: `footfall import --map {column}=COLUMN`, or take it out of [value] segment", column=column
            )
            found.append(Finding(name, "warning", text, empty, way_out=way_out))
        elif empty > _MOSTLY_EMPTY * total:
            text = say(
                "{column} is empty in {share} of the visits' events, whose segment is (none)",
                column=column,
                share=percent(empty, total),
            )
            found.append(Finding(name, "note", text, empty, way_out=say("see which source leaves it out")))
        else:
            share = percent(filled, total)
            text = say("{column} is known in {share} of the visits' events", column=column, share=share)
            found.append(Finding(name, "ok", text))
    return found
