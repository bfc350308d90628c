"""Live decisions: who asks goes in, what was drawn comes out, with all that reproduces it.

    live = LivePlan.of(plan)
    decider = Decider(live, pacing, book, settings, np.random.default_rng())
    decision = decider.decide(Ask("visitor-7", "ads", ("shop-1", "shop-2"), at=now))

A decision is drawn and reserved in one step, then has to be logged before it is answered: ``logged`` says that it is,
and one that could not be is given back by ``release``. Everything here runs in one thread, and nothing in it waits.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from sys import getsizeof

import msgspec
import numpy as np

from footfall.acquire import _live_kernels as kernels
from footfall.acquire.book import Book
from footfall.acquire.live import LivePlan, Rows, segment_of
from footfall.acquire.reference import Bools
from footfall.config import LiveSettings
from footfall.errors import InputError
from footfall.model import VISIT, Decision, Floats, Ints, Pacing

NOTHING_OFFERED = "no candidates"
ALL_EXCLUDED = "every candidate is excluded"
NO_CAPACITY = "no candidate has leased capacity left; one that is new here has it in some seconds"
NO_LEASE = "no leases are in force"
NO_PLACE = "there is no room for more providers that the plan does not know; ask again in some minutes"

_UNIFORMS = 4096
_SETS_BYTES = 16 << 20  # of sets of candidates whose positions are kept
_SET_BYTES, _CANDIDATE_BYTES = 400, 72  # beside the text: objects, the place in the table; a string, its position
_MOST_STICKY = 20_000  # remembered here, where there is no ``recall``; else only what is on its way to the log


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What a caller wants decided.

    segment: its name, or its fields by column. candidates: provider ids, each once, in the caller's own order; None:
    all that the plan has in the segment. slots: choices wanted. at: now, aware. sticky_key: what makes two asks of a
    visitor the same, instead of segment and candidates.
    """

    visitor_id: str | None
    segment: str | Mapping[str, object]
    candidates: tuple[str, ...] | None
    at: datetime
    slots: int = 1
    context: Mapping[str, object] | None = None
    sticky_key: str | None = None


class Decider:
    """Draws decisions from one plan under one pacing; both, and the book, may be exchanged between two asks."""

    def __init__(
        self,
        plan: LivePlan,
        pacing: Pacing | None,
        book: Book,
        settings: LiveSettings,
        rng: np.random.Generator,
        segment_columns: Sequence[str] = ("channel",),
        new_id: Callable[[], str] | None = None,
        recall: Callable[[str, str], Decision | None] | None = None,
    ) -> None:
        """rng: chance. new_id: ids of decisions, by default 128 random bits. recall: (visitor, key) -> the decision
        that was logged for it, by whatever worker, and has not expired; without it, decisions are remembered here.
        """
        self._settings = settings
        self._explore = settings.explore
        self._rng = rng
        self._columns = tuple(segment_columns)
        self._new_id = new_id or _random_id
        self._recall = recall
        self._sticky: OrderedDict[tuple[str, str], tuple[Decision, datetime]] = OrderedDict()
        self._sticky_at: dict[str, tuple[str, str]] = {}
        self._sets: dict[tuple[str, ...], Ints] = {}
        self._sets_bytes = 0
        self._parts = {slots: slot_parts(settings.slot_weights, slots) for slots in range(1, settings.max_slots + 1)}
        self._one = self._parts[1].item()
        # What kernels write into, slots -> (chosen, propensity); read before the next draw.
        self._slots = {k: (np.zeros(k, dtype=np.int64), np.zeros(k)) for k in range(1, settings.max_slots + 1)}
        self._make_room(512)
        self._uniform, self._used = rng.random(_UNIFORMS), 0
        self._stamp = np.zeros(0, dtype=np.bool_)
        self.book = book
        self.publish(plan, pacing)

    # ------------------------------------------------------------ what it draws from

    @property
    def plan(self) -> LivePlan:
        """The plan in force."""
        return self.rows.plan

    def publish(self, plan: LivePlan, pacing: Pacing | None = None) -> None:
        """Draw from this plan under this pacing from now on."""
        self._pacing = pacing
        self.rows = Rows(plan, pacing, self.book.roster)
        self.book.fit()
        self._stamp = np.zeros(self.book.roster.size, dtype=np.bool_)

    def use(self, book: Book) -> None:
        """Reserve from this book from now on; it may have another roster than the one before."""
        self.book = book
        if book.roster is self.rows.roster:
            book.fit()
            return
        self._sets.clear()
        self._sets_bytes = 0
        self.publish(self.plan, self._pacing)

    def positions(self, candidates: tuple[str, ...]) -> Ints:
        """Positions of candidates, int64 (k,), as ``draw`` takes them; InputError where one stands there twice."""
        found = self._sets.get(candidates)
        if found is None:
            found = self.book.roster.positions(candidates)
            doubt = kernels.repeated(found, self._stamp)
            if doubt and len(set(candidates)) != len(candidates):
                twice = next(c for c in candidates if candidates.count(c) > 1)
                raise InputError(f"candidate {twice!r} stands there twice", "give each candidate once")
            if not doubt & 1:
                self._keep(candidates, found)
        return found

    def _keep(self, candidates: tuple[str, ...], found: Ints) -> None:
        size = _SET_BYTES + _CANDIDATE_BYTES * len(candidates) + getsizeof("".join(candidates))
        if self._sets_bytes + size > _SETS_BYTES:
            self._sets.clear()
            self._sets_bytes = 0
        self._sets[candidates] = found
        self._sets_bytes += size

    def _make_room(self, candidates: int) -> None:
        self._probability = np.zeros(2 * candidates)
        self._short = np.zeros(2 * candidates, dtype=np.bool_)

    # ------------------------------------------------------------ drawing

    def draw(self, segment: str, candidates: Ints | tuple[str, ...] | None) -> tuple[int, float]:
        """Draw and reserve one choice without a record: (position, propensity), (-1, 0.0) where nobody is eligible.

        The probabilities of all candidates stand in ``probability`` until the next draw. The caller sees to it that
        the book is in force (``book.valid_at``).
        """
        rows = self.rows
        at = rows.everyone(segment) if candidates is None else candidates
        if type(at) is tuple:
            at = self.positions(at)
        if len(at) > len(self._probability):
            self._make_room(len(at))
        used = self._used
        if used >= _UNIFORMS:
            self._uniform, used = self._rng.random(_UNIFORMS), 0
        self._used = used + 1
        found: tuple[int, float] = kernels.draw_one(
            rows.row(segment),
            self.book.parts,
            at,
            self._uniform.item(used),
            self._explore,
            rows.plan.newcomer_share,
            self._one,
            self._probability,
        )
        return found

    @property
    def probability(self) -> Floats:
        """Probability of each candidate at the last ``draw``, in its order, 0 where not eligible."""
        return self._probability

    def decide(self, ask: Ask) -> Decision:
        """Draw and reserve, or repeat what the visitor got; InputError for an ask that is not valid.

        Fewer choices than slots, or none, come with a reason; they are logged like any other.
        """
        if not 1 <= ask.slots <= self._settings.max_slots:
            raise InputError(
                f"slots = {ask.slots} must be between 1 and {self._settings.max_slots}", "[live] max_slots is the bound"
            )
        segment = ask.segment if isinstance(ask.segment, str) else segment_of(ask.segment, self._columns)
        at = None if ask.candidates is None else self.positions(ask.candidates)
        key = self.sticky_key(ask, segment)
        if key is not None and ask.visitor_id is not None:
            before = self._before(ask.visitor_id, key, ask)
            if before is not None:
                return self._repeated(before, ask)
        decision = self._drawn(ask, segment, self.rows.everyone(segment) if at is None else at)
        if key is not None and ask.visitor_id is not None and decision.choices:
            self._remember(ask.visitor_id, key, decision)
        return decision

    def logged(self, decision: Decision) -> None:
        """It is in the log, where ``recall`` finds it from now on, until its visitor is erased."""
        if self._recall is not None:
            self._forget(decision)

    def release(self, decision: Decision) -> None:
        """Give back what a decision reserved, since it could not be logged; once for a decision."""
        self._forget(decision)
        book = self.book
        if decision.worker_id == book.worker_id and decision.day == book.day and any(decision.reserved):
            at = book.roster.positions(decision.choices)
            book.credit_at(at, np.array(decision.reserved, dtype=np.int64))

    def _drawn(self, ask: Ask, segment: str, at: Ints) -> Decision:
        book, rows, shadow = self.book, self.rows, self._settings.shadow
        slots = ask.slots
        row = rows.row(segment)
        in_force = book.valid_at(ask.at)
        lease = book.parts if in_force else np.zeros(1, dtype=np.int64)
        if len(at) > len(self._probability):
            self._make_room(len(at))
        chosen, propensity = self._slots[slots]
        parts = np.zeros(slots, dtype=np.int64) if shadow else self._parts[slots]
        if self._used + slots > _UNIFORMS:
            self._uniform, self._used = self._rng.random(_UNIFORMS), 0
        first, self._used = self._used, self._used + slots
        eligible, count, lack = kernels.decide(
            row,
            lease,
            at,
            self._uniform,
            first,
            self._explore,
            rows.plan.newcomer_share,
            parts,
            chosen,
            propensity,
            self._probability,
            self._short,
        )
        names = book.roster.names
        return Decision(
            message_id=self._new_id(),
            ts=ask.at,
            day=book.day,
            visitor_id=ask.visitor_id,
            segment=segment,
            candidates=ask.candidates,
            unavailable=_unavailable(ask, at, self._short[: len(at)], names) if lack else (),
            eligible=eligible,
            slots=slots,
            choices=tuple([names[j] for j in chosen[:count].tolist()]),
            propensities=tuple(propensity[:count].tolist()),
            reserved=tuple(parts[:count].tolist()),
            explore=self._explore,
            mode="shadow" if shadow else "live",
            answered=_own_order(ask, at, names) if shadow else None,
            repeat_of=None,
            reason=_reason(count, slots, at, lack, in_force) if count < slots else rows.remark(segment),
            plan_version=rows.plan.version,
            pacing_version=rows.pacing_version,
            worker_id=book.worker_id,
            context=ask.context,
        )

    # ------------------------------------------------------------ sticky visitors

    def sticky_key(self, ask: Ask, segment: str | None = None) -> str | None:
        """Under what the visitor's decision is remembered; None where it is not (sticky_s = 0, shadow, no visitor)."""
        if self._settings.sticky_s <= 0 or self._settings.shadow or ask.visitor_id is None:
            return None
        if ask.sticky_key is not None:
            return f"k:{ask.sticky_key}"
        if segment is None:
            segment = ask.segment if isinstance(ask.segment, str) else segment_of(ask.segment, self._columns)
        offered = None if ask.candidates is None else sorted(ask.candidates)
        return "s:" + msgspec.json.encode((segment, offered, ask.slots)).decode()

    def _before(self, visitor_id: str, key: str, ask: Ask) -> Decision | None:
        """The decision to repeat: not expired, and all of its choices still offered and not excluded."""
        kept = self._sticky.get((visitor_id, key))
        decision = kept[0] if kept is not None and ask.at < kept[1] else None
        if decision is None and self._recall is not None:
            decision = self._recall(visitor_id, key)
        if decision is None or len(decision.choices) < min(ask.slots, decision.slots):
            return None
        offered = None if ask.candidates is None else set(ask.candidates)
        if offered is not None and not offered.issuperset(decision.choices):
            return None
        row = self.rows.row(decision.segment)
        at = self.book.roster.positions(decision.choices)
        if (at < 0).any() or (at >= len(row)).any() or (row[at] == kernels.CLOSED).any():
            return None
        return decision

    def _repeated(self, first: Decision, ask: Ask) -> Decision:
        return msgspec.structs.replace(
            first,
            message_id=self._new_id(),
            ts=ask.at,
            day=self.book.day,
            visitor_id=ask.visitor_id,
            reserved=(0,) * len(first.choices),
            repeat_of=first.repeat_of or first.message_id,
            worker_id=self.book.worker_id,
            context=ask.context,
        )

    def _remember(self, visitor_id: str, key: str, decision: Decision) -> None:
        place, kept = (visitor_id, key), self._sticky
        if place in kept:
            self._sticky_at.pop(kept.pop(place)[0].message_id, None)
        kept[place] = (decision, decision.ts + timedelta(seconds=self._settings.sticky_s))
        self._sticky_at[decision.message_id] = place
        while len(kept) > _MOST_STICKY or next(iter(kept.values()))[1] <= decision.ts:
            _, (old, _) = kept.popitem(last=False)
            self._sticky_at.pop(old.message_id, None)

    def _forget(self, decision: Decision) -> None:
        place = self._sticky_at.pop(decision.message_id, None)
        if place is not None:
            self._sticky.pop(place, None)


def slot_parts(weights: Sequence[float], slots: int) -> Ints:
    """What each slot reserves, int64 (slots,), whole millionths that sum to one visit (largest remainder).

    weights: relative, >= 0; the last holds for all further slots.
    """
    raw = np.array([weights[min(k, len(weights) - 1)] for k in range(slots)], dtype=np.float64)
    exact = VISIT * (raw / raw.sum() if raw.sum() > 0 else np.full(slots, 1.0 / slots))
    parts: Ints = np.floor(exact).astype(np.int64)
    rest = VISIT - int(parts.sum())
    parts[np.argsort(-(exact - parts), kind="stable")[:rest]] += 1
    return parts


def decide_batch(
    rows: Floats,
    row_of: Ints,
    lease: Ints,
    candidates: Ints,
    uniform: Floats,
    explore: float,
    newcomer_share: float,
    parts: Ints,
) -> tuple[Ints, Floats, Floats, Ints]:
    """Draw for many visitors at once, one after the other: (chosen, propensity, probability, eligible).

    rows: float64 (r, size), rows of segments (``Rows.row``). row_of: int64 (b,). lease: int64 (size,), millionths of a
    visit, reserved in place. candidates: int64 (b, k), distinct in a row, -1 for none. uniform: float64 (b, slots) in
    [0, 1). parts: int64 (slots,). Returns chosen int64 (b, slots), -1 where too few; propensity float64 (b, slots);
    probability float64 (b, k) of the first slot; eligible int64 (b,).
    """
    count, slots = uniform.shape
    chosen, propensity = np.empty((count, slots), dtype=np.int64), np.empty((count, slots))
    probability, eligible = np.empty(candidates.shape), np.empty(count, dtype=np.int64)
    kernels.draw_batch(
        rows,
        row_of,
        lease,
        candidates,
        uniform,
        explore,
        newcomer_share,
        parts,
        chosen,
        propensity,
        probability,
        eligible,
    )
    return chosen, propensity, probability, eligible


def warm() -> None:
    """Make the kernels of decisions ready: compiled, or read from the cache, before anybody waits for one."""
    none, one, parts = np.zeros(1), np.ones(1), np.zeros(1, dtype=np.int64)
    at, lease, flags = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.bool_)
    kernels.decide(none, lease, at, none, 0, 0.05, 0.01, parts, at.copy(), none.copy(), none.copy(), flags.copy())
    kernels.repeated(at, flags)
    kernels.credit(lease, at, parts)
    kernels.take(lease, at, parts, parts.copy())
    kernels.within_caps(one, one, 1.0, none.copy())


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Decision)


def encode_decision(decision: Decision) -> bytes:
    """The decision as the inbox keeps it: one JSON object with the keys of DECISION_COLUMNS up to ``context``.

    InputError where the context is not JSON; a number that is none (NaN) becomes null.
    """
    try:
        return _ENCODER.encode(decision)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"the context is not JSON: {error}", "keep to text, numbers, lists and mappings") from None


def decode_decision(body: bytes | str) -> Decision:
    """The decision of an inbox row or a sticky record; InputError where it is none."""
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise InputError(f"not a decision: {error}", "it is damaged or of another version of Footfall") from None


def _random_id() -> str:
    return os.urandom(16).hex()


def _unavailable(ask: Ask, at: Ints, lacking: Bools, names: list[str]) -> tuple[str, ...]:
    who = np.flatnonzero(lacking).tolist()
    if ask.candidates is not None:
        return tuple([ask.candidates[c] for c in who])
    return tuple([names[j] for j in at[who].tolist()])


def _own_order(ask: Ask, at: Ints, names: list[str]) -> tuple[str, ...]:
    if ask.candidates is not None:
        return ask.candidates[: ask.slots]
    return tuple([names[j] for j in at[: ask.slots].tolist()])


def _reason(count: int, slots: int, at: Ints, lack: int, in_force: bool) -> str:
    if count:
        return f"{count} of {slots} slots: no more candidates were eligible"
    if not len(at):
        return NOTHING_OFFERED
    if not in_force:
        return NO_LEASE
    if at.min() < 0:
        return NO_PLACE
    return NO_CAPACITY if lack else ALL_EXCLUDED
