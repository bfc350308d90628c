"""Decisions: what is drawn, reserved, repeated, given back, refused; and their replay from the log."""

from __future__ import annotations

import gc
import json
import math
import tracemalloc
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_cases import AT, DAY, ask, decider_of, inputs_of, plan_of
from msgspec import structs
from plan_cases import NOW

from footfall.acquire import _live_kernels as kernels
from footfall.acquire import decide
from footfall.acquire.decide import Ask, decode_decision, encode_decision, slot_parts, warm
from footfall.acquire.live import LivePlan, Roster
from footfall.acquire.plan import make_plan
from footfall.acquire.replay import Replay, capacity_of, decision_of_row
from footfall.acquire.rules import Exclude, Pin, Rules
from footfall.errors import InputError
from footfall.model import DECISION_COLUMNS, VISIT, Decision, Pacing, Plan

PLAN = plan_of(3)
RULES = Rules(pin=(Pin(segment="s1", provider="shop-3", share=0.2),), exclude=(Exclude(provider="shop-1"),))
RULED = make_plan(inputs_of(3, rules=RULES), "ruled", NOW)


def left(decider: decide.Decider, name: str) -> int:
    return int(decider.book.parts[decider.book.roster.positions([name])[0]])


# ---------------------------------------------------------------- what is drawn and reserved


def test_a_decision_holds_all_that_reproduces_it() -> None:
    decider = decider_of(PLAN)
    found = ask(decider, ("shop-1", "shop-2", "shop-3"), context={"page": "home"})
    assert found.candidates == ("shop-1", "shop-2", "shop-3") and found.eligible == 3 and found.unavailable == ()
    assert found.choices[0] in found.candidates and 0 < found.propensities[0] < 1
    assert (found.explore, found.plan_version, found.pacing_version) == (0.05, PLAN.version, 0)
    assert (found.ts, found.day, found.worker_id, found.mode) == (AT, DAY, "w-1", "live")
    assert found.reason is None and found.repeat_of is None and found.answer == found.choices


def test_one_candidate_is_certain() -> None:
    found = ask(decider_of(PLAN), ("shop-7",))
    assert found.choices == ("shop-7",) and found.propensities == (1.0,)


def test_a_choice_reserves_a_visit_in_the_same_step() -> None:
    """Two visits are two choices; the third finds nobody, as an answer and not as a violation."""
    decider = decider_of(PLAN, visits=2)
    answers = [ask(decider, ("shop-7",)) for _ in range(3)]
    assert [a.choices for a in answers] == [("shop-7",), ("shop-7",), ()]
    assert answers[2].reason == decide.NO_CAPACITY and answers[2].unavailable == ("shop-7",)
    assert answers[2].eligible == 0 and answers[2].propensities == ()
    assert left(decider, "shop-7") == 0


@pytest.mark.parametrize("plan", [PLAN, RULED])
def test_a_single_draw_is_the_decision_of_one_slot(plan: Plan) -> None:
    """The same chance gives the same choices, propensities and reservations on both ways, to the bit."""
    drawn, decided = decider_of(plan, seed=4, visits=3), decider_of(plan, seed=4, visits=3)
    names = [*drawn.plan.providers, "new-1", "new-2"]
    rng = np.random.default_rng(5)
    empty = 0
    for turn in range(200):
        some = tuple(rng.permutation(names)[: rng.integers(1, 6)].tolist())
        segment = f"s{1 + turn % 4}"
        at, propensity = drawn.draw(segment, some)
        whole = decided.decide(Ask(None, segment, some, AT))
        found = ((), ()) if at < 0 else ((drawn.book.roster.names[at],), (propensity,))
        assert found == (whole.choices, whole.propensities)
        assert drawn.probability[: len(some)].tolist() == decided.probability[: len(some)].tolist()
        empty += at < 0
    assert 0 < empty < 200
    assert drawn.book.parts.tolist() == decided.book.parts.tolist()


def test_less_than_a_visit_is_not_eligible() -> None:
    decider = decider_of(PLAN, visits=0)
    decider.book.credit({"shop-7": VISIT - 1, "shop-8": VISIT})
    assert ask(decider, ("shop-7", "shop-8")).propensities == (1.0,)
    assert left(decider, "shop-7") == VISIT - 1 and left(decider, "shop-8") == 0


def test_more_slots_than_candidates_answer_fewer_and_say_so() -> None:
    found = ask(decider_of(PLAN), ("shop-1", "shop-2"), slots=5)
    assert sorted(found.choices) == ["shop-1", "shop-2"] and found.slots == 5
    assert found.reason == "2 of 5 slots: no more candidates were eligible"
    assert found.propensities[1] == pytest.approx(1, abs=1e-12)


def test_slots_reserve_their_parts_of_a_visit() -> None:
    decider = decider_of(PLAN, slot_weights=(3.0, 1.0))
    found = ask(decider, slots=3)
    assert found.reserved == (600_000, 200_000, 200_000) and sum(found.reserved) == VISIT
    assert len(set(found.choices)) == 3
    for name, part in capacity_of(found).items():
        assert left(decider, name) == 10**9 * VISIT - round(part * VISIT)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_parts_of_slots_sum_to_a_visit(weights: list[float], slots: int) -> None:
    parts = slot_parts(weights, slots)
    assert parts.sum() == VISIT and (parts >= 0).all() and len(parts) == slots


def test_no_candidates_and_no_slots() -> None:
    decider = decider_of(PLAN)
    assert ask(decider, ()).reason == decide.NOTHING_OFFERED
    for slots in (0, 51, -1):
        with pytest.raises(InputError, match="slots"):
            ask(decider, slots=slots)


def test_duplicate_candidates_are_refused() -> None:
    decider = decider_of(PLAN)
    for candidates in (("shop-1", "shop-2", "shop-1"), ("new", "new")):
        with pytest.raises(InputError, match="stands there twice"):
            ask(decider, candidates)
    assert ask(decider, ("shop-1", "shop-2")).eligible == 2


def test_without_leases_there_is_no_choice() -> None:
    """Out of the book's day, or when the worker was not heard of: the caller's own order stands."""
    decider = decider_of(PLAN)
    decider.book.until = AT
    assert ask(decider).reason == decide.NO_LEASE
    decider.book.until = AT + timedelta(seconds=1)
    assert ask(decider).choices
    decider.book.ends = AT
    found = ask(decider)
    assert found.reason == decide.NO_LEASE and found.choices == () and found.eligible == 0


def test_a_segment_that_the_plan_does_not_have_is_told() -> None:
    decider = decider_of(PLAN)
    asked = Ask("v", "mistyped", None, AT)
    assert decider.decide(asked).reason == "segment 'mistyped' is not in the plan: decided by the plan's total loads"
    assert decider.decide(asked).choices
    assert ask(decider).reason is None


def test_all_excluded() -> None:
    assert ask(decider_of(RULED), ("shop-1",)).reason == decide.ALL_EXCLUDED


def test_unknown_providers_without_a_lease_wait() -> None:
    decider = decider_of(PLAN)
    assert ask(decider, ("new-1",)).reason == decide.NO_CAPACITY
    decider.book.credit({"new-1": VISIT})
    found = ask(decider, ("new-1", "shop-1"), segment="a segment that nobody knows")
    assert found.eligible == 2


def test_unknown_providers_without_a_place_are_told_so() -> None:
    decider = decider_of(PLAN, spare=2)
    ask(decider, ("new-1", "new-2", "new-3"))
    assert ask(decider, ("new-3",)).reason == decide.NO_PLACE
    assert ask(decider, ("new-1",)).reason == decide.NO_CAPACITY
    assert ask(decider, ("shop-1", "new-3")).unavailable == ("new-3",)


def test_ten_thousand_candidates() -> None:
    decider = decider_of(PLAN, spare=20_000)
    names = tuple(f"new-{i}" for i in range(10_000))
    decider.book.credit(dict.fromkeys(names, VISIT))
    found = ask(decider, names, slots=50)
    assert found.eligible == 10_000 and len(set(found.choices)) == 50
    assert Replay(decider.plan, None)(found).propensities == pytest.approx(found.propensities, rel=1e-12)


@pytest.mark.parametrize("context", [{"x": math.nan}, {"x": [math.inf, -math.inf]}, {"deep": {"a": {"b": None}}}, {}])
def test_contexts_with_odd_numbers_are_logged(context: dict[str, Any]) -> None:
    """They change no draw; what JSON cannot say is null."""
    found = ask(decider_of(PLAN), ("shop-1", "shop-2"), context=context)
    bare = ask(decider_of(PLAN), ("shop-1", "shop-2"))
    assert found.choices == bare.choices and found.propensities == bare.propensities
    assert "NaN" not in encode_decision(found).decode() and json.loads(encode_decision(found))["context"] is not None


def test_a_context_that_is_not_json_is_refused() -> None:
    found = ask(decider_of(PLAN), ("shop-1",), context={"x": object()})
    with pytest.raises(InputError, match="context"):
        encode_decision(found)


def test_given_back_is_as_if_it_had_not_been() -> None:
    decider = decider_of(PLAN, sticky_s=60.0)
    found = ask(decider, ("shop-1", "shop-2", "shop-3"), slots=2)
    decider.release(found)
    assert {left(decider, f"shop-{j}") for j in (1, 2, 3)} == {10**9 * VISIT}
    assert ask(decider, ("shop-1", "shop-2", "shop-3"), slots=2).repeat_of is None


def test_nothing_is_given_back_to_another_workers_book() -> None:
    decider = decider_of(PLAN)
    found = ask(decider, ("shop-1",))
    decider.release(structs.replace(found, worker_id="w-2"))
    assert left(decider, "shop-1") == (10**9 - 1) * VISIT


@pytest.mark.parametrize(("length", "text"), [(2, "n"), (2000, "n"), (40, "n" * 450), (40, "\u5e97" * 450)])
def test_memory_of_candidates_is_bounded_in_bytes(length: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand lists of 3,500 ids, each in an order of its own, took 650 MB; as tracemalloc counts."""
    monkeypatch.setattr(decide, "_SETS_BYTES", 1 << 20)
    decider, rng = decider_of(PLAN), np.random.default_rng(1)
    names = [f"{text}-{j}" for j in range(length if length > 2 else 200)]
    decider.positions(tuple(names))
    gc.collect()  # empties the interpreter's lists of freed tuples, whose use is not traced
    tracemalloc.start()
    most = 0
    for _ in range(40_000 // length):
        few = rng.permutation(len(names))[:length].tolist()
        decider.positions(tuple([(names[j] + "x")[:-1] for j in few]))  # strings of their own, as a decoder makes them
        most = max(most, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert 0.6 * (1 << 20) < most < 1.3 * (1 << 20)


# ---------------------------------------------------------------- shadow, sticky


def test_shadow_answers_the_callers_order_and_reserves_nothing() -> None:
    decider = decider_of(PLAN, shadow=True, sticky_s=60.0)
    found = ask(decider, ("shop-5", "shop-2", "shop-9"), slots=2)
    assert found.answer == ("shop-5", "shop-2") and found.mode == "shadow"
    assert len(found.choices) == 2 and all(0 < p <= 1 for p in found.propensities)
    assert found.reserved == (0, 0) and left(decider, found.choices[0]) == 10**9 * VISIT
    assert Replay(decider.plan, None)(found).propensities == found.propensities
    assert ask(decider, ("shop-5", "shop-2", "shop-9"), slots=2).repeat_of is None


def test_a_returning_visitor_gets_the_same_choices_with_the_firsts_propensities() -> None:
    decider = decider_of(PLAN, sticky_s=600.0)
    first = ask(decider, slots=3)
    again = ask(decider, slots=3, at=AT + timedelta(seconds=599), context={"n": 2})
    third = ask(decider, slots=3, at=AT + timedelta(seconds=599))
    for repeat in (again, third):
        assert repeat.repeat_of == first.message_id and repeat.message_id != first.message_id
        assert (repeat.choices, repeat.propensities) == (first.choices, first.propensities)
        assert repeat.reserved == (0, 0, 0)
    assert again.ts == AT + timedelta(seconds=599) and again.context == {"n": 2}
    assert ask(decider, slots=3, at=AT + timedelta(seconds=600)).repeat_of is None


def test_sticky_is_by_visitor_segment_and_set_of_candidates_or_by_key() -> None:
    decider = decider_of(PLAN, sticky_s=600.0)
    first = ask(decider, ("shop-1", "shop-2", "shop-3"))
    assert ask(decider, ("shop-3", "shop-1", "shop-2")).repeat_of == first.message_id
    assert ask(decider, ("shop-1", "shop-2", "shop-3"), visitor_id="w").repeat_of is None
    assert ask(decider, ("shop-1", "shop-2", "shop-3"), visitor_id=None).repeat_of is None
    assert ask(decider, ("shop-1", "shop-2"), visitor_id="x").repeat_of is None
    assert ask(decider, ("shop-1", "shop-2", "shop-3"), segment="s2").repeat_of is None
    named = ask(decider, ("shop-1", "shop-2"), sticky_key="k")
    others = tuple(dict.fromkeys((*named.choices, "shop-9")))
    assert ask(decider, others, segment="s3", sticky_key="k").repeat_of == named.message_id
    assert ask(decider, ("shop-9", "shop-8"), sticky_key="k").repeat_of is None  # the choice is not offered any more


def test_exclusions_hold_for_returning_visitors() -> None:
    decider = decider_of(PLAN, sticky_s=600.0)
    first = ask(decider, ("shop-7",))
    ruled = make_plan(inputs_of(3, rules=Rules(exclude=(Exclude(provider="shop-7"),))), "p", NOW)
    decider.publish(LivePlan.of(replace(ruled, version=2)))
    again = ask(decider, ("shop-7",))
    assert first.choices and again.choices == () and again.reason == decide.ALL_EXCLUDED


def test_another_worker_remembers() -> None:
    first = ask(decider_of(PLAN, sticky_s=600.0), ("shop-1", "shop-2"))
    asked: list[tuple[str, str]] = []

    def recall(visitor: str, key: str) -> Decision:
        asked.append((visitor, key))
        return decode_decision(encode_decision(first))

    decider = decider_of(PLAN, seed=5, sticky_s=600.0, recall=recall)
    assert ask(decider, ("shop-1", "shop-2")).repeat_of == first.message_id
    assert asked == [("v", decider.sticky_key(Ask("v", "s1", ("shop-2", "shop-1"), AT)))]


def test_what_is_in_the_log_is_remembered_there_only() -> None:
    """Whole decisions in memory, with what their askers sent, took 115 kB a visitor."""
    log: dict[tuple[str, str], bytes] = {}

    def recall(visitor: str, key: str) -> Decision | None:
        body = log.get((visitor, key))
        return None if body is None else decode_decision(body)

    decider = decider_of(PLAN, sticky_s=600.0, recall=recall)
    first = ask(decider, ("shop-1", "shop-2"), context={"page": "x" * 1000})
    assert ask(decider, ("shop-1", "shop-2")).repeat_of == first.message_id  # it is on its way to the log
    log["v", str(decider.sticky_key(Ask("v", "s1", ("shop-1", "shop-2"), AT)))] = encode_decision(first)
    decider.logged(first)
    again = ask(decider, ("shop-2", "shop-1"))
    assert (again.repeat_of, again.choices) == (first.message_id, first.choices)
    assert not decider._sticky and not decider._sticky_at
    log.clear()  # its visitor was erased
    assert ask(decider, ("shop-1", "shop-2")).repeat_of is None


def test_not_sticky_unless_set() -> None:
    decider = decider_of(PLAN)
    assert {ask(decider).repeat_of for _ in range(3)} == {None}
    assert decider.sticky_key(Ask("v", "s1", None, AT)) is None


# ---------------------------------------------------------------- the log


def test_the_log_has_every_field_of_a_decision() -> None:
    """Columns in the order of the fields, then what the drain adds."""
    names = [c.name for c in DECISION_COLUMNS]
    assert names[:-3] == list(Decision.__struct_fields__) and names[-3:] == ["source", "batch_id", "received_at"]


def test_decisions_come_back_from_inbox_and_lake() -> None:
    found = ask(decider_of(PLAN), ("店 '1'", "shop-2", "shop-3"), slots=2, context={"a": [1, None], "b": {"c": "d"}})
    body = encode_decision(found)
    assert decode_decision(body) == found
    raw = msgspec.json.decode(body)
    row = {k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in raw.items()}
    row["ts"], row["day"] = datetime.fromisoformat(raw["ts"]), DAY
    assert decision_of_row(row) == found
    with pytest.raises(InputError, match="not a decision"):
        decode_decision(b'{"message_id": 1}')


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from([f"shop-{j}" for j in range(1, 21)] + ["new-1", "new-2"]), min_size=1, unique=True),
    st.integers(1, 8),
    st.sampled_from(["s1", "s2", "elsewhere"]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_replay_reproduces_each_propensity(
    seed: int, candidates: list[str], slots: int, segment: str, offered: bool
) -> None:
    """From the logged row, the plan and the pacing alone, bit for bit; whatever leases there were."""
    rng = np.random.default_rng(seed)
    offsets = dict(zip([f"shop-{j}" for j in range(1, 21)], rng.normal(0, 0.5, 20).tolist(), strict=True))
    pacing = Pacing(7, DAY, RULED.version, NOW, offsets) if seed % 2 else None
    decider = decider_of(RULED, seed, visits=0, pacing=pacing, explore=float(rng.choice([0.0, 0.05, 1.0])))
    leased = [f"shop-{j}" for j in range(1, 21) if rng.random() < 0.7] + ["new-1"]
    decider.book.credit(dict.fromkeys(leased, 10 * VISIT))
    found = ask(decider, tuple(candidates) if offered else None, slots, segment=segment)
    logged = decode_decision(encode_decision(found))
    replayed = Replay(LivePlan.of(RULED), pacing)(logged)
    assert replayed.propensities == logged.propensities
    assert len(replayed.eligible) == logged.eligible and set(logged.choices) <= set(replayed.eligible)
    assert "shop-1" not in replayed.eligible
    if logged.eligible:
        assert replayed.probability.sum() == pytest.approx(1, abs=1e-12)


def test_replay_refuses_other_versions_and_choices_that_could_not_be() -> None:
    found = ask(decider_of(PLAN), ("shop-1", "shop-2"))
    with pytest.raises(InputError, match="plan 8"):
        Replay(LivePlan.of(PLAN), None)(structs.replace(found, plan_version=8))
    with pytest.raises(InputError, match="was not eligible"):
        Replay(LivePlan.of(PLAN), None)(structs.replace(found, choices=("shop-3",)))


def test_a_book_of_another_roster_is_drawn_from_by_its_positions() -> None:
    """As by a decider that never had another: same choices and propensities, taken from the same leases."""
    candidates, live = ("new-2", "shop-4", "shop-2", "new-1"), LivePlan.of(PLAN)
    pacing = Pacing(7, DAY, PLAN.version, NOW, {"shop-2": 0.3})
    moved, fresh = decider_of(PLAN, 5, pacing=pacing), decider_of(PLAN, 5, pacing=pacing)
    moved.positions(candidates)  # remembered by the roster before
    roster = Roster()
    roster.take_in(("elsewhere", *candidates, *reversed(live.providers)))
    moved.use(decide.Book(roster, DAY, "w-2"))
    for decider in (moved, fresh):
        decider.book.credit({name: 100 * VISIT for name in candidates if name != "new-2"})
    for _ in range(20):
        found, wanted = (ask(decider, candidates, slots=2) for decider in (moved, fresh))
        assert (found.choices, found.propensities) == (wanted.choices, wanted.propensities)
        assert found.unavailable == ("new-2",) and found.worker_id == "w-2"
        assert Replay(live, pacing)(found).propensities == found.propensities
    assert sum(left(moved, name) for name in candidates) == (3 * 100 - 20) * VISIT


def test_a_first_decision_compiles_nothing() -> None:
    """After ``warm``, decisions of any kind find their kernels ready."""
    warm()
    made = (kernels.decide, kernels.repeated, kernels.credit, kernels.take, kernels.within_caps)
    before = [len(kernel.signatures) for kernel in made]
    decider = decider_of(PLAN)
    for candidates, slots in ((("shop-2", "shop-3"), 1), (None, 3), (("elsewhere",), 1)):
        decider.release(ask(decider, candidates, slots=slots))
    decider.book.take()
    assert [len(kernel.signatures) for kernel in made] == before


def test_a_draw_is_not_moved_by_those_before_it() -> None:
    """Many candidates, then few or none that are eligible, by one decider: as by one that never drew before."""
    decider, far = decider_of(PLAN, 1), ("elsewhere",)
    for candidates in (None, far, ("shop-2",), None, ("shop-2", *far), far):
        found = ask(decider, candidates, slots=1)
        if candidates == far:
            assert (found.choices, found.eligible, found.unavailable) == ((), 0, far)
        else:
            assert found.choices and (candidates is None or found.choices == ("shop-2",))
            assert candidates is None or found.propensities == (1.0,)
    assert decider.draw("s1", decider.positions(far)) == (-1, 0.0)
