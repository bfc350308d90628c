"""A plan as live decisions read it: its shares, rules, caps and prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from live_cases import AT, DAY, ask, decider_of, full_book, inputs_of, plan_of
from plan_cases import NOW, market

from footfall.acquire import _live_kernels as kernels
from footfall.acquire.live import LivePlan, Roster, Rows, capped, segment_of
from footfall.acquire.plan import make_plan, plan_detail
from footfall.acquire.rules import Boost, Exclude, Pin, Rules
from footfall.config import PlanSettings
from footfall.errors import InputError
from footfall.model import Pacing, Plan


def served(plan: Plan, segment: str, explore: float = 0.0, pacing: Pacing | None = None) -> dict[str, float]:
    """Probability of each provider with all of the segment's pairs as candidates."""
    decider = decider_of(plan, explore=explore, pacing=pacing)
    decider.draw(segment, None)
    names = [decider.book.roster.names[j] for j in decider.rows.everyone(segment).tolist()]
    return dict(zip(names, decider.probability.tolist(), strict=False))


def planned(plan: Plan, segment: str) -> dict[str, float]:
    return {p.provider_id: p.share_tomorrow for p in plan.pairs if p.segment == segment}


RULES = Rules(
    pin=(Pin(segment="s1", provider="shop-3", share=0.2), Pin(segment="s2", provider="shop-4", share=0.0)),
    exclude=(Exclude(provider="shop-1"), Exclude(provider="shop-2", segment="s1")),
    boost=(Boost(provider="shop-5", factor=1.4),),
)


EVERYWHERE = Rules(pin=(Pin(provider="shop-8", share=0.05), Pin(segment="s2", provider="shop-8", share=0.1)))


@pytest.mark.parametrize("inertia", [0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("rules", [Rules(), RULES, EVERYWHERE])
def test_shares_at_the_opening_are_the_plans(inertia: float, rules: Rules) -> None:
    """Full candidates, no pacing, nothing spread evenly: the plan's own shares, to 1e-6."""
    plan = plan_of(3, rules=rules, settings={"inertia": inertia, "max_change": 3.0})
    for segment in plan.demand.segments:
        expected, found = planned(plan, segment), served(plan, segment)
        total = sum(expected.values())
        assert total == pytest.approx(1, abs=1e-6)
        for name, share in expected.items():
            assert found.get(name, 0.0) == pytest.approx(share / total, abs=1e-6)
        assert sum(found.values()) == pytest.approx(1, abs=1e-12)


def test_an_even_part_is_mixed_in() -> None:
    """design.md: (1 - e) x plan's form + e / K."""
    plan = plan_of(3)
    bare, mixed = served(plan, "s1"), served(plan, "s1", 0.05)
    assert mixed == pytest.approx({k: 0.95 * v + 0.05 / len(bare) for k, v in bare.items()}, abs=1e-12)


def test_pins_hold_whatever_the_pacing_and_the_even_part() -> None:
    """A pinned share is taken out first; prices and exploration move what is left."""
    plan = plan_of(3, rules=RULES)
    offsets = {"shop-3": 2.0, "shop-6": -1.0, "shop-7": 1.0}
    found = served(plan, "s1", 0.05, Pacing(9, DAY, plan.version, NOW, offsets))
    assert found["shop-3"] == pytest.approx(0.2, abs=1e-12)
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)
    bare = served(plan, "s1")
    assert found["shop-6"] > bare["shop-6"] and found["shop-7"] < bare["shop-7"]


def test_a_pin_without_a_segment_holds_in_each_but_where_another_is_named() -> None:
    plan = plan_of(3, rules=EVERYWHERE)
    offsets = {"shop-8": 2.0, "shop-6": -1.0}
    for segment in plan.demand.segments:
        wanted = 0.1 if segment == "s2" else 0.05
        assert planned(plan, segment)["shop-8"] == pytest.approx(wanted, abs=1e-9)
        paced = served(plan, segment, 0.05, Pacing(9, DAY, plan.version, NOW, offsets))
        assert paced["shop-8"] == pytest.approx(wanted, abs=1e-9)


def test_a_pin_keeps_its_share_among_fewer_candidates() -> None:
    plan = plan_of(3, rules=RULES)
    decider = decider_of(plan, explore=0.0)
    decider.draw("s1", ("shop-8", "shop-3", "shop-9"))
    assert decider.probability[1] == pytest.approx(0.2, abs=1e-12)
    decider.draw("s1", ("shop-3",))
    assert decider.probability[0] == pytest.approx(1, abs=1e-12)


def test_excluded_providers_are_never_eligible() -> None:
    """Neither where a rule names the segment, nor by a pin of 0, nor in a segment that the plan does not know."""
    plan = plan_of(3, rules=RULES)
    for segment, closed in (("s1", {"shop-1", "shop-2"}), ("s2", {"shop-1", "shop-4"}), ("nowhere", {"shop-1"})):
        decider = decider_of(plan)
        offered = tuple(f"shop-{j}" for j in range(1, 8))
        decider.draw(segment, offered)
        zero = {name for name, p in zip(offered, decider.probability, strict=False) if p == 0}
        assert zero == closed
        assert closed.isdisjoint(served(plan, segment, 0.05))


def test_an_unknown_segment_goes_by_the_plans_total_loads() -> None:
    plan = plan_of(3)
    load = {p.provider_id: p.visits_tomorrow for p in plan.providers}
    found = served(plan, "somewhere new")
    assert found == pytest.approx({k: v / sum(load.values()) for k, v in load.items()}, abs=1e-12)


def test_unknown_providers_share_the_newcomers_mass_equally() -> None:
    """newcomer_share (1 %) for both together, the rest by the plan."""
    plan = plan_of(3)
    decider = decider_of(plan, explore=0.0)
    decider.book.credit({"new-1": 10**9, "new-2": 10**9})
    decider.draw("s1", ("shop-1", "new-1", "shop-2", "new-2"))
    share = planned(plan, "s1")
    known = share["shop-1"] / (share["shop-1"] + share["shop-2"])
    assert decider.probability[:4] == pytest.approx([0.99 * known, 0.005, 0.99 * (1 - known), 0.005], abs=1e-12)
    decider.draw("s1", ("new-1", "new-2"))
    assert decider.probability[:2] == pytest.approx([0.5, 0.5])


def test_offsets_give_the_plans_form_at_other_prices() -> None:
    """Weights share x exp(-o / tau): what the closed form p exp((v - l - o) / tau) gives, normalised."""
    inputs = inputs_of(5, settings={"max_provider_share": 1.0, "max_change": 1000.0})
    detail = plan_detail(inputs)
    assert detail.part is not None and detail.allocation is not None
    plan, problem = make_plan(inputs, "p", NOW), detail.part.problem
    live = LivePlan.of(plan)
    offset = np.random.default_rng(1).normal(0, 0.3, len(live.providers))
    pacing = Pacing(1, DAY, plan.version, NOW, dict(zip(live.providers, offset.tolist(), strict=True)))
    assert problem.reference is not None
    signal = np.add.reduceat(problem.reference * np.maximum(problem.value, 0), problem.row_start[:-1])
    assert live.tau == pytest.approx(0.3 * signal, rel=1e-9)
    for i, segment in enumerate(live.segments):
        a, b = problem.row_start[i], problem.row_start[i + 1]
        j = problem.provider[a:b]
        form = problem.reference[a:b] * np.exp((problem.value[a:b] - detail.price[j] - offset[j]) / (0.3 * signal[i]))
        found = served(plan, segment, pacing=pacing)
        expected = dict(zip([live.providers[k] for k in j], form / form.sum(), strict=True))
        assert found == pytest.approx(expected, abs=2e-5)  # the plan's own gap from its form


def test_pacing_keeps_the_largest_share_of_a_segment() -> None:
    plan = plan_of(3, settings={"max_provider_share": 0.3})
    live = LivePlan.of(plan)
    found = served(plan, "s1", pacing=Pacing(1, DAY, plan.version, NOW, {"shop-5": -50.0}))
    cap = live.cap[live.edges.row_start[0] : live.edges.row_start[1]]
    assert found["shop-5"] == pytest.approx(cap[live.providers.index("shop-5")], abs=1e-9)
    assert max(found.values()) <= cap.max() + 1e-9


def test_shares_are_held_at_caps_and_shared_again() -> None:
    """By hand: of 0.6, 0.3, 0.1 with a cap of 0.4 on the first, the others share 0.6 as 3 to 1; then 0.45 is cut."""
    weight = np.array([0.6, 0.3, 0.1])
    assert capped(weight, np.array([0.4, 1.0, 1.0]), 1.0) == pytest.approx([0.4, 0.45, 0.15])
    assert capped(weight, np.array([0.4, 0.42, 1.0]), 1.0) == pytest.approx([0.4, 0.42, 0.18])
    assert capped(weight, np.array([0.1, 0.1, 0.1]), 1.0) == pytest.approx([0.1, 0.1, 0.1])


def test_a_plan_keeps_the_limits_that_pacing_needs() -> None:
    inputs = inputs_of(2, capacity={"shop-2": 12.0}, first_seen={19: 1}, settings={"newcomer_visits": 3})
    lines = {p.provider_id: p for p in make_plan(inputs, "p", NOW).providers}
    bounds = plan_detail(inputs).bounds
    assert lines["shop-2"].capacity == 12.0
    assert lines["shop-20"].floor == pytest.approx(bounds.newcomer_floor[19]) and lines["shop-20"].floor > 0
    assert [p.change_high for p in lines.values()] == pytest.approx(bounds.change_high.tolist())


def test_segments_are_named_as_facts_name_them() -> None:
    """Missing, null, empty and NaN are (none); '|' cannot be part of a name."""
    columns = ("channel", "device")
    assert segment_of({"channel": "a|b", "device": "phone"}, columns) == "a¦b | phone"
    assert segment_of({"channel": float("nan")}, columns) == "(none) | (none)"
    with pytest.raises(InputError, match="'colour'"):
        segment_of({"colour": "red"}, columns)


def test_a_pacing_of_another_plan_is_refused() -> None:
    plan = replace(plan_of(3), version=4)
    with pytest.raises(InputError, match="plan 5"):
        Rows(LivePlan.of(plan), Pacing(1, DAY, 5, NOW, {}), Roster())


def test_positions_are_never_given_twice_and_end() -> None:
    """Unknown ids fill a bounded place, whatever is asked; a plan's providers always find room."""
    roster = Roster(spare=3)
    assert roster.positions(["a", "b", "a"]).tolist() == [0, 1, 0]
    assert roster.positions(["c", "d"]).tolist() == [2, -1]
    assert roster.take_in(["d", "e", "f", "g"]).tolist() == [3, 4, 5, 6] and roster.size >= 7
    assert roster.positions(["d", "x"]).tolist() == [3, -1]


def test_a_new_plan_with_more_providers_is_taken_over() -> None:
    """What was leased stays; the new ones have no lease yet."""
    decider = decider_of(plan_of(3, providers=5), spare=4)
    more = replace(plan_of(4, providers=40), version=2)
    decider.publish(LivePlan.of(more))
    found = ask(decider, ("shop-2", "shop-39"))
    assert found.choices == ("shop-2",) and found.plan_version == 2 and found.unavailable == ("shop-39",)
    decider.book.credit({"shop-39": 10**9})
    assert ask(decider, ("shop-39",)).choices == ("shop-39",)


def test_positions_out_of_the_arrays_are_not_eligible() -> None:
    row, lease = np.ones(4), np.full(3, 10**9)
    chosen, propensity, probability = np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(4)
    at = np.array([3, -1, 99, 1], dtype=np.int64)
    parts = np.array([1_000_000])
    assert kernels.draw(row, lease, at, np.array([0.5]), 0, 0.0, 0.01, parts, chosen, propensity, probability) == 1
    assert chosen[0] == 1 and propensity[0] == 1.0


def test_settings_of_an_old_plan_are_defaults() -> None:
    plan = replace(plan_of(3), inputs={})
    assert LivePlan.of(plan).newcomer_share == PlanSettings().newcomer_share
    with pytest.raises(InputError, match="another version"):
        LivePlan.of(replace(plan, inputs={"rules": {"colour": 1}}))


def test_a_segment_without_anything_to_go_by_is_even() -> None:
    """All weights 0: equal parts, not nobody."""
    plan = make_plan(market(np.array([[5.0, 5.0]]), np.array([[1.0, 1.0]])), "p", NOW)
    nothing = replace(plan, pairs=tuple(replace(p, share_tomorrow=0.0) for p in plan.pairs))
    assert list(served(nothing, "s1").values()) == [0.5, 0.5]
    assert full_book(LivePlan.of(nothing)).valid_at(AT)
