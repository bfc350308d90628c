"""Replay: from a logged decision, its plan and its pacing back to the propensities that it was logged with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from footfall.acquire import _live_kernels as kernels
from footfall.acquire.decide import decode_decision
from footfall.acquire.live import LivePlan, Roster, Rows
from footfall.errors import InputError
from footfall.model import VISIT, Decision, Floats, Pacing

_LISTS = ("candidates", "unavailable", "choices", "propensities", "reserved", "answered")


@dataclass(frozen=True, eq=False, slots=True)
class Replayed:
    """What a decision was drawn from: eligible providers in the order of the draw, and probabilities.

    propensities: of each choice given those before it. probability: float64 (k,), of each eligible at the first slot.
    """

    eligible: tuple[str, ...]
    propensities: tuple[float, ...]
    probability: Floats


class Replay:
    """Replays the decisions of one plan under one pacing."""

    closed = kernels.CLOSED

    def __init__(self, plan: LivePlan, pacing: Pacing | None) -> None:
        self._roster = Roster()
        self._rows = Rows(plan, pacing, self._roster)

    def __call__(self, decision: Decision) -> Replayed:
        """The draw again, with the choices that were made; InputError for a decision of other versions, or where a
        choice was not eligible.
        """
        rows = self._rows
        if (decision.plan_version, decision.pacing_version) != (rows.plan.version, rows.pacing_version):
            raise InputError(
                f"decision {decision.message_id} is of plan {decision.plan_version}, pacing {decision.pacing_version}; "
                f"this replays plan {rows.plan.version}, pacing {rows.pacing_version}",
                "take the versions that the decision names",
            )
        names, weight = self.candidates(decision), self.weights(decision)
        open_ = weight != kernels.CLOSED
        found: list[float] = []
        first, pool = self.spread(weight, -1.0, decision.explore)
        p = first
        for slot, choice in enumerate(decision.choices):
            if slot:
                p, pool = self.spread(weight, pool, decision.explore)
            c = names.index(choice) if choice in names else -1
            if c < 0 or weight[c] == kernels.CLOSED:
                raise InputError(
                    f"decision {decision.message_id}: choice {choice!r} was not eligible", "the log is damaged"
                )
            found.append(float(p[c]))
            weight[c] = kernels.CLOSED
        return Replayed(tuple([n for n, k in zip(names, open_, strict=True) if k]), tuple(found), first[open_])

    def candidates(self, decision: Decision) -> list[str]:
        """Whom the draw could have been among, in its order."""
        if decision.candidates is not None:
            return list(decision.candidates)
        return [self._roster.names[j] for j in self._rows.everyone(decision.segment).tolist()]

    def weights(self, decision: Decision) -> Floats:
        """Their weights as ``_live_kernels`` reads them, float64 (k,), CLOSED where not eligible."""
        row, gone = self._rows.row(decision.segment), set(decision.unavailable)
        names = self.candidates(decision)
        return np.array([kernels.CLOSED if n in gone else self._weight(row, n) for n in names], dtype=np.float64)

    def spread(self, weight: Floats, pool: float, explore: float) -> tuple[Floats, float]:
        """Probabilities of one slot, float64 (k,), and the part that pins leave (``pool``, < 0 before the first)."""
        out = np.zeros(len(weight))
        _, pool = kernels._spread(weight, pool, explore, self._rows.plan.newcomer_share, out)
        return out, pool

    def _weight(self, row: Floats, name: str) -> float:
        at = int(self._roster.positions([name])[0])
        if 0 <= at < len(row):
            return float(row[at])
        return kernels.UNKNOWN  # the process that drew it had a place for it, or it would be in ``unavailable``


def decision_of_row(row: Mapping[str, object]) -> Decision:
    """A row of the lake's decisions as a Decision; arrays and context stand there as JSON text."""
    fields: dict[str, object] = {}
    for name in Decision.__struct_fields__:
        value = row[name]
        if value is not None and name in (*_LISTS, "context"):
            fields[name] = msgspec.Raw(str(value).encode())
        else:
            fields[name] = value
    return decode_decision(msgspec.json.encode(fields))


def capacity_of(decision: Decision) -> dict[str, float]:
    """Visits that each choice reserved."""
    return {name: parts / VISIT for name, parts in zip(decision.choices, decision.reserved, strict=True)}
