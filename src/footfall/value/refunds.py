"""Refunds: what becomes of each refund of the log, by the statement that counts them (sql/refunds.sql)."""

from __future__ import annotations

from footfall.model import RefundFate
from footfall.ports import Engine, Store
from footfall.value import identity
from footfall.value.relations import Rules
from footfall.value.statements import statement


def fates(store: Store, engine: Engine, rules: Rules) -> tuple[RefundFate, ...]:
    """Refunds by what becomes of them, in the order of ``model.REFUND_FATES``; none for a log without refunds.

    Their numbers add up to the refunds of the log. Visits are not told apart for it, which is what counting costs.
    """
    store.attach(engine)
    marks = rules.marks()
    if not engine.query(statement("refunds_any", marks))["found"][0].as_py():
        return ()
    known = identity.learn(engine, rules.exclude_visitors, use=identity.needed(engine))
    identity.show(engine, known, marks)
    for name in ("money", "purchases", "orders_alone", "refunds"):
        engine.execute(statement(name, marks), rules.params(name) or None)
    found = engine.query(statement("refund_fates", marks)).to_pylist()
    for name in ("money", "purchases", "orders", "refunds", "excluded"):
        engine.execute(f"DROP TABLE {name}")
    return tuple(
        RefundFate(
            fate=row["fate"],
            refunds=row["refunds"],
            amount_minor=int(row["amount_minor"]),
            beyond_minor=int(row["beyond_minor"]),
            examples=tuple((e["message_id"], e["order_id"] or "") for e in row["examples"]),
        )
        for row in found
    )
