"""What the tests of facts share: short rows to events, a store in memory, and the definitions in plain Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa

from footfall.model import EVENT_COLUMNS
from footfall.ports import Engine
from footfall.value.fact_tables import FactTables
from footfall.value.relations import Rules

_TYPES = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
}
SCHEMA = pa.schema([(c.name, _TYPES[c.type]) for c in EVENT_COLUMNS])
START = datetime(2024, 1, 1)


def log(*rows: Mapping[str, Any]) -> pa.Table:
    """Events from short rows: ``at`` is days (a float) since 2024-01-01, the rest as in EVENT_COLUMNS."""
    full = []
    for number, row in enumerate(rows):
        given = dict(row)
        ts = START + timedelta(days=given.pop("at")) if "at" in given else given["ts"]
        event: dict[str, Any] = dict.fromkeys(SCHEMA.names)
        full.append(event | {"message_id": f"m{number:04}", "ts": ts, "day": ts.date(), "batch_id": "b0"} | given)
    return pa.Table.from_pylist(full, SCHEMA)


class MemoryStore:
    """As much of ``ports.Store`` as counting asks for: batches of events in memory."""

    def __init__(self) -> None:
        self.batches: dict[str, pa.Table] = {}
        self._files: dict[str, str] = {}
        self._version = self._replaced = self._joined = -1

    def put(self, batch_id: str, events: pa.Table) -> None:
        place = events.schema.get_field_index("batch_id")
        named = pa.array([batch_id] * events.num_rows, pa.string())
        self._version += 1
        if batch_id in self.batches:
            self._replaced = self._version
        self.batches[batch_id] = events.set_column(place, "batch_id", named)
        self._files[batch_id] = f"{batch_id}-{self._version}"

    def rewrite(self) -> None:
        """Give every batch another file with the same rows."""
        for batch_id in list(self.batches):
            self.put(batch_id, self.batches[batch_id])

    def join(self, marked: bool = True) -> None:
        """Put all rows into one file, as compaction does; not marked: as another tool does."""
        self._version += 1
        self._joined = self._version if marked else self._joined
        self._files = {"joined": f"joined-{self._version}"}

    def rewrites(self) -> tuple[int, int]:
        return self._replaced, self._joined

    def file_days(self) -> dict[str, date]:
        everything = pa.concat_tables(self.batches.values()) if "joined" in self._files else None
        return {
            f"{name}/day={day}/part": day
            for batch, name in self._files.items()
            for day in (self.batches[batch] if everything is None else everything)["day"].unique().to_pylist()
        }

    def version(self) -> int:
        return self._version

    def attach(self, engine: Engine, first_day: object = None, last_day: object = None) -> None:
        events = pa.concat_tables([SCHEMA.empty_table(), *self.batches.values()])
        engine.query("CREATE OR REPLACE TEMPORARY TABLE stored AS SELECT * FROM given", None, given=events)
        engine.execute("CREATE OR REPLACE TEMPORARY VIEW events AS SELECT * FROM stored")


def by_definition(events: list[dict[str, Any]], rules: Rules) -> dict[str, Any]:
    """The definitions of design.md in plain Python, event by event: no SQL, no incremental step, quadratic."""
    events = sorted(events, key=lambda e: (e["ts"], e["message_id"]))
    kept = [(e, p) for e, p in zip(events, _persons(events), strict=True) if not _excluded(e, p, rules)]
    visits: dict[Any, dict[str, Any]] = {}

    def key(e: dict[str, Any], person: Any) -> Any:
        own = (person, e["provider_id"], e["day"])
        return own if e["visit_id"] is None else ("v", e["visit_id"], e["provider_id"])

    for e, person in kept:
        if e["name"] in rules.recipe.visit_events and e["provider_id"] is not None:
            first = {"start": e["ts"], "day": e["day"], "person": person, "provider": e["provider_id"]}
            visits.setdefault(key(e, person), first | {"segment": _segment(e, rules)})
    logged = dict(visits)
    begun: dict[Any, Any] = {}  # the first purchase that names a visit
    orders, previous = [], {}
    for e, person in kept:
        if e["name"] not in rules.recipe.order_events or e["provider_id"] is None:
            continue
        pair = (person, e["provider_id"])
        begun.setdefault(key(e, person), e)
        near = [
            v
            for v in sorted(logged.items(), key=lambda item: item[1]["start"])
            if (v[1]["person"], v[1]["provider"]) == pair
            and e["ts"] - timedelta(days=rules.window_days) <= v[1]["start"] <= e["ts"]
            and (e["day"] - v[1]["day"]).days <= rules.window_days
            and (pair not in previous or v[1]["start"] > previous[pair])
        ]
        previous[pair] = e["ts"]
        if near:
            starts = [v[1]["start"] for v in near]
            wanted = min(starts) if rules.attribution == "first" else max(starts)
            ties = [v for v in near if v[1]["start"] == wanted]  # nulls and small ids first
            ties.sort(key=lambda v: (v[0][0] == "v", v[0][1] if v[0][0] == "v" else ""))
            visit = ties[0 if rules.attribution == "first" else -1][1]
        else:
            made = {"start": e["ts"], "day": e["day"], "person": person, "provider": e["provider_id"]}
            own = key(e, person)
            if (e["day"] - (begun | logged)[own]["day"]).days > rules.window_days:
                own = key(e | {"visit_id": None}, person)
            visit = visits.setdefault(own, made | {"segment": _segment(e, rules)})
        delay = max((e["day"] - visit["day"]).days, 0)
        orders.append({"event": e, "person": person, "visit": visit, "delay": delay})
    return _counted(kept, visits, orders, rules)


def _counted(kept: list[Any], visits: dict[Any, Any], orders: list[Any], rules: Rules) -> dict[str, Any]:
    left_out: Counter[str] = Counter()
    refunds: Counter[Any] = Counter()
    refunded: Counter[Any] = Counter()
    for e, person in kept:
        provider = e["provider_id"]
        if e["name"] in rules.recipe.order_events and provider is None:
            left_out["order without provider"] += 1
        if e["name"] not in rules.recipe.refund_events:
            continue
        named = [
            o
            for o in orders
            if e["order_id"] is not None
            and o["event"]["order_id"] == e["order_id"]
            and provider in (None, o["event"]["provider_id"])
        ]
        own = [
            o
            for o in orders
            if o["person"] == person and o["event"]["provider_id"] == provider and o["event"]["ts"] <= e["ts"]
        ]
        if not named and not own:
            left_out["refund without order"] += 1
            continue
        order = named[0] if named else own[-1]
        visit = order["visit"]
        late = max((e["day"] - order["event"]["day"]).days, 0)
        group = (visit["day"], visit["segment"], visit["provider"], order["delay"], late)
        refunds[group] += 1
        refunded[group] += (order["event"] if e["amount_minor"] is None else e)["amount_minor"] or 0
    counted: Counter[Any] = Counter((v["day"], v["segment"], v["provider"]) for v in visits.values())
    sums: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0])
    for o in orders:
        amount = o["event"]["amount_minor"] or 0
        total = sums[(o["visit"]["day"], o["visit"]["segment"], o["visit"]["provider"], o["delay"])]
        total[:] = [total[0] + 1, total[1] + amount, total[2] + amount**2]
    return {
        "visits": dict(counted),
        "orders": {group: tuple(total) for group, total in sums.items()},
        "refunds": {group: (n, refunded[group]) for group, n in refunds.items()},
        "left_out": dict(left_out),
    }


def _persons(events: list[dict[str, Any]]) -> list[Any]:
    groups: dict[str, set[str]] = {}
    for e in events:
        if e["name"] == "alias" and e["user_id"] is not None and e["previous_id"] is not None:
            union = groups.get(e["user_id"], {e["user_id"]}) | groups.get(e["previous_id"], {e["previous_id"]})
            groups |= dict.fromkeys(union, union)

    def user(name: str) -> Any:
        return ("user", *sorted(groups.get(name, {name})))

    persons: list[Any] = []
    for e in events:
        seen = [x for x in events if x["visitor_id"] == e["visitor_id"] and x["user_id"] is not None]
        before = [x for x in seen if x["ts"] <= e["ts"]]
        if e["user_id"] is not None:
            persons.append(user(e["user_id"]))
        elif e["visitor_id"] is not None and seen:
            # events are sorted: the latest of those before, else the first time after (its greatest message_id)
            after = [x for x in seen if x["ts"] == seen[0]["ts"]]
            persons.append(user((before or after)[-1]["user_id"]))
        elif e["visitor_id"] is not None:
            persons.append(("device", e["visitor_id"]))
        else:
            persons.append(("visit", e["visit_id"]) if e["visit_id"] is not None else ("event", e["message_id"]))
    return persons


def _excluded(e: dict[str, Any], person: Any, rules: Rules) -> bool:
    listed = set(rules.exclude_visitors)
    named = set(person[1:]) if person[0] in ("user", "device") else set()
    return bool(listed & (named | {e["visitor_id"], e["user_id"]}))


def _segment(e: dict[str, Any], rules: Rules) -> str:
    parts = []
    for column in rules.segment:
        told = e[column] or None
        if column == "category" and told is None:
            told = (rules.categories or {}).get(e["provider_id"])
        parts.append((told or "(none)").replace("|", "¦"))
    return " | ".join(parts)


def as_counts(facts: FactTables) -> dict[str, Any]:
    """FactTables in the form of ``by_definition``."""

    def rows(table: pa.Table, keys: int) -> list[tuple[Any, Any]]:
        lines = [tuple(row.values()) for row in table.to_pylist()]
        return [(line[:keys], tuple(int(x) for x in line[keys:])) for line in lines]

    return {
        "visits": {k: v[0] for k, v in rows(facts.visits, 3)},
        "orders": dict(rows(facts.orders, 4)),
        "refunds": dict(rows(facts.refunds, 5)),
        "left_out": {k[0]: v[0] for k, v in rows(facts.left_out, 1)},
    }
