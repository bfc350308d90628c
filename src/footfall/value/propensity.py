"""Logs whose visits were drawn with known propensities: self-normalised by them, with the evidence that is left.

A provider that was shown to some visitors more often than to others is judged as if it had been shown to all alike:
each visit weighs w = 1 / propensity, and the reward of a visit is sum(w r) / sum(w) (self-normalised inverse propensity
score: Hajek 1971; Swaminathan and Joachims 2015). The effective number of visits is Kish's (sum w)^2 / sum w^2.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa

from footfall.ports import Engine
from footfall.texts import say
from footfall.value.counts import Settings, Values
from footfall.value.estimate import estimate
from footfall.value.relations import Rules
from footfall.value.statements import statement
from footfall.value.valuation import Valuation, pair_positions


def drawn(engine: Engine, rules: Rules, as_of: date) -> pa.Table:
    """Sums of weights by segment and provider, of visits with a visit_id and a propensity; see the .sql file."""
    told = rules.categories or {}
    columns = {"provider_id": list(told.keys()), "category": list(told.values())}
    known = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    return engine.query(statement("propensity", rules.marks()), {"as_of": as_of}, known_providers=known)


def weigh(valuation: Valuation, sums: pa.Table, settings: Settings) -> Valuation:
    """The valuation with values of the self-normalised rewards, where every visit has a propensity.

    Where some visits have none (``sums`` counts fewer than the facts), the valuation stays as it is, and a note says
    that values are not corrected for how visits were drawn.
    """
    total = sum(valuation.facts.visits["visits"].to_pylist())
    logged = sum(sums["visits"].to_pylist())
    if logged < total:
        note = say(
            "{without:,} of {visits:,} visits have no logged propensity: values compare unlike visitors",
            without=total - logged,
            visits=total,
        )
        return _noted(valuation, valuation.values, note)
    weight, weight_sq = (sums[name].to_numpy() for name in ("weight", "weight_sq"))
    mean = sums["rewarded"].to_numpy() / weight
    effective = weight**2 / weight_sq
    pair = pair_positions(valuation.index, sums)
    zeros, none = np.zeros(len(pair), dtype=np.int64), np.zeros(0, dtype=np.int64)
    orders = mean * effective
    counts = replace(
        valuation.counts,
        visit_pair=pair,
        visit_age=zeros,
        visits=effective,
        order_pair=pair,
        order_age=zeros,
        order_delay=zeros,
        orders=orders,
        amount=orders,
        amount_sq=orders,
        refund_pair=none,
        refund_visit_age=none,
        refund_order_age=none,
        refund_delay=none,
        refunds=np.zeros(0),
        refund_amount=np.zeros(0),
        log_days=0,
    )
    clicks = sum(sums["orders"].to_pylist())
    weight = effective.sum()
    if clicks < 30 * len(set(sums["provider_id"].to_pylist())):
        note = say(
            "self-normalised by logged propensities: {visits:,} visits have the evidence of {evidence:,.0f}; "
            "{rewards:,} rewards in all, so a provider with none and one with a few can hardly be told apart",
            visits=total,
            evidence=weight,
            rewards=clicks,
        )
    else:
        note = say(
            "self-normalised by logged propensities: {visits:,} visits have the evidence of {evidence:,.0f}",
            visits=total,
            evidence=weight,
        )
    return _noted(replace(valuation, counts=counts), estimate(counts, settings), note)


def _noted(valuation: Valuation, values: Values, note: str) -> Valuation:
    return replace(valuation, values=replace(values, notes=(*values.notes, note)))
