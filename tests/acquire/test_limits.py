"""Limits by name, and how the lower ones yield; expected figures are worked by hand in each test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plan_cases import NOW, market

from footfall.acquire.limits import capacities, newcomer_floors, share_caps
from footfall.acquire.plan import make_plan
from footfall.acquire.reference import DailyVisits, edges_from_keys
from footfall.acquire.rules import CapRule, Exclude, FloorRule, Pin, Rules
from footfall.errors import InfeasibleError
from footfall.model import Plan

THREE = np.array([[100.0, 60.0, 40.0], [30.0, 50.0, 0.0]])
WORTH = np.array([[5.0, 6.0, 7.0], [4.0, 5.0, 0.0]])


def visits_of(plan: Plan) -> dict[str, float]:
    return {line.provider_id: line.visits_tomorrow for line in plan.providers}


def test_capacity_is_a_factor_of_the_largest_of_28_days_unless_the_file_says_otherwise() -> None:
    visits = DailyVisits(
        np.array([0, 10, 10, 37]), np.zeros(4, int), np.array([0, 0, 1, 0]), np.array([90.0, 50, 9, 40])
    )
    found, listed = capacities(visits, 37, ["a", "b"], {"b": 3.0}, 1.3, np.zeros(2))
    assert found == pytest.approx([65.0, 3.0])  # day 0 is 37 days ago; day 10 is the first of the last 28
    assert listed.tolist() == [False, True]


def test_nobody_is_held_below_twice_an_equal_share() -> None:
    """Cap 0.5: two pairs may share as they like, three up to two thirds, four or more up to a half."""
    edges = edges_from_keys(np.array([0, 1, 10, 11, 12, 20, 21, 22, 23]), 3, 10)
    cap = share_caps(edges, np.zeros(9), np.ones(9, dtype=bool), 0.5)
    assert cap == pytest.approx([1, 1, 2 / 3, 2 / 3, 2 / 3, 0.5, 0.5, 0.5, 0.5])


def test_a_share_above_the_cap_today_may_stay() -> None:
    edges = edges_from_keys(np.arange(5), 1, 5)
    cap = share_caps(edges, np.array([0.8, 0.2, 0, 0, 0]), np.ones(5, dtype=bool), 0.5)
    assert cap == pytest.approx([0.8, 0.5, 0.5, 0.5, 0.5])


def test_newcomer_floors_yield_to_capacity_and_reach_with_notes() -> None:
    floor, notes = newcomer_floors(
        np.array([True, True, False]),
        20,
        np.array([5.0, 50.0, 50.0]),
        np.array([90.0, 12.0, 90.0]),
        ["a", "b", "c"],
    )
    assert floor == pytest.approx([5.0, 12.0 * (1 - 1e-6), 0.0], rel=1e-12)  # docs/plan.md: a millionth stays free
    assert "a (5 of 20)" in notes[0] and "b (12 of 20)" in notes[1]


def test_changes_stay_within_the_largest_change() -> None:
    plan = make_plan(market(THREE, WORTH), "a", NOW)
    for line in plan.providers:
        assert 0.7 * line.visits_today - 1e-6 <= line.visits_tomorrow <= 1.3 * line.visits_today + 1e-6
    assert {(x.provider_id, x.name) for x in plan.limits} >= {
        ("shop-1", "change down"),
        ("shop-3", "capacity"),
    }
    assert all((x.price > 0) == (x.name in ("capacity", "change up")) for x in plan.limits)


def test_a_newcomer_gets_its_floor_above_the_largest_change() -> None:
    daily = np.array([[100.0, 60, 5, 5], [30, 50, 3, 0]])
    plan = make_plan(market(daily, np.full((2, 4), 5.0), first_seen={2: 3, 3: 1}), "a", NOW)
    assert visits_of(plan)["shop-3"] == pytest.approx(20) and visits_of(plan)["shop-4"] == pytest.approx(20)
    assert [line.newcomer for line in plan.providers] == [False, False, True, True]
    assert ("shop-4", "newcomer floor") in {(x.provider_id, x.name) for x in plan.limits}


def test_newcomer_floors_beyond_the_traffic_are_scaled_down_together_and_told() -> None:
    """25.3 visits for two floors of 20: 12.65 each; the largest change gives way, by precedence."""
    daily = np.array([[10.0, 6, 0.5, 0.5], [3, 5, 0.3, 0]])
    plan = make_plan(market(daily, np.full((2, 4), 5.0), first_seen={2: 3, 3: 1}), "a", NOW)
    assert visits_of(plan)["shop-3"] == pytest.approx(12.65, abs=1e-3)
    assert visits_of(plan)["shop-4"] == pytest.approx(12.65, abs=1e-3)
    notes = " ".join(plan.notes)
    assert "newcomer floor yields" in notes and "softened downwards" in notes and "lower it" in notes


def test_the_largest_rise_softens_before_traffic_is_left_unassigned() -> None:
    """shop-1 takes 30 of its 130; the other 250 need (250 - 150) / 150 = 66.7 % more of shops 2 and 3."""
    plan = make_plan(market(THREE, WORTH, capacity={"shop-1": 30, "shop-2": 400, "shop-3": 400}), "a", NOW)
    assert not plan.unassigned
    assert any("softened upwards to 66.7%" in note for note in plan.notes)
    assert visits_of(plan)["shop-1"] == pytest.approx(30)


def test_capacity_does_not_soften() -> None:
    plan = make_plan(market(THREE, WORTH, demand=[600, 240]), "a", NOW)
    assert sum(plan.unassigned.values()) == pytest.approx(840 - 1.3 * 280, rel=1e-6)
    assert all(line.visits_tomorrow <= 1.3 * line.visits_today + 1e-6 for line in plan.providers)


def test_without_any_capacity_all_is_unassigned_and_the_plan_says_so() -> None:
    plan = make_plan(market(THREE, WORTH, capacity={"shop-1": 0, "shop-2": 0, "shop-3": 0}), "a", NOW)
    assert plan.unassigned == {"s1": 200.0, "s2": 80.0}
    assert "nobody can receive visits" in plan.notes[0]
    assert plan.comparison.plan == 0 and plan.gap == 0


def test_a_pin_is_kept_exactly_and_comes_before_the_largest_change() -> None:
    rules = Rules(pin=(Pin(segment="s1", provider="shop-1", share=0.2),))
    plan = make_plan(market(THREE, WORTH, rules=rules), "a", NOW)
    share = {(p.segment, p.provider_id): p.share_tomorrow for p in plan.pairs}
    assert share["s1", "shop-1"] == pytest.approx(0.2, abs=1e-12)


def test_a_pin_yields_to_capacity() -> None:
    rules = Rules(pin=(Pin(segment="s1", provider="shop-1", share=0.5),))
    plan = make_plan(market(THREE, WORTH, capacity={"shop-1": 20}, rules=rules), "a", NOW)
    assert visits_of(plan)["shop-1"] == pytest.approx(20)
    assert "pin yields to capacity: shop-1 (20 of 100 visits)" in plan.notes


def test_an_exclusion_comes_before_a_pin() -> None:
    rules = Rules(pin=(Pin(segment="s1", provider="shop-1", share=0.5),), exclude=(Exclude(provider="shop-1"),))
    plan = make_plan(market(THREE, WORTH, rules=rules), "a", NOW)
    assert visits_of(plan)["shop-1"] == 0
    assert "pin yields to an exclusion or a capacity of 0: shop-1 in s1" in plan.notes


@pytest.mark.parametrize(
    ("rules", "more", "names", "gives"),
    [
        (
            Rules(
                floor=(FloorRule(provider="shop-1", visits=150),),
                cap=(CapRule(provider="shop-1", visits=100),),
            ),
            {},
            ["floor of shop-1: 150 visits", "cap of shop-1: 100 visits"],
            50,
        ),
        (
            Rules(floor=(FloorRule(provider="shop-1", visits=150),)),
            {"capacity": {"shop-1": 100}},
            ["floor of shop-1: 150 visits", "capacity of shop-1 (from the file): 100 visits"],
            50,
        ),
        (
            Rules(floor=tuple(FloorRule(provider=f"shop-{k}", visits=v) for k, v in ((1, 150), (2, 180)))),
            {"capacity": {"shop-1": 1000, "shop-2": 1000}},
            ["floor of shop-1: 150 visits", "floor of shop-2: 180 visits", "demand of s1: 200 visits"],
            50,
        ),
        (
            Rules(
                cap=(CapRule(provider="shop-1", visits=20),),
                pin=(Pin(segment="s1", provider="shop-1", share=0.5),),
            ),
            {},
            ["pin of shop-1: 100 visits", "cap of shop-1: 20 visits"],
            80,
        ),
        (
            Rules(floor=(FloorRule(provider="shop-1", visits=50),), exclude=(Exclude(provider="shop-1"),)),
            {"capacity": {"shop-1": 1000}},
            ["floor of shop-1: 50 visits", "exclude of shop-1"],
            50,
        ),
        (  # 180 of the 200 visits of s1 are another's; s2 has 80
            Rules(
                floor=(FloorRule(provider="shop-1", visits=150),),
                pin=(Pin(segment="s1", provider="shop-2", share=0.9),),
            ),
            {"capacity": {"shop-1": 1000, "shop-2": 1000}},
            ["floor of shop-1: 150 visits", "pin of shop-2 in s1: 180 visits"],
            50,
        ),
        (
            Rules(
                floor=(FloorRule(provider="shop-1", visits=50),),
                pin=(Pin(provider="shop-1", share=0.1),),
            ),
            {"capacity": {"shop-1": 1000}},
            ["floor of shop-1: 50 visits", "pin of shop-1: 28 visits"],
            22,
        ),
    ],
)  # fmt: skip
def test_limits_that_cannot_all_hold_are_named_with_what_must_give(
    rules: Rules, more: dict[str, dict[str, float]], names: list[str], gives: float
) -> None:
    with pytest.raises(InfeasibleError) as caught:
        make_plan(market(THREE, WORTH, rules=rules, **more), "a", NOW)
    told = [one.name for one in caught.value.conflict.limits]
    assert set(names) <= set(told)
    assert caught.value.conflict.excess == pytest.approx(gives)
    assert sum(one.give for one in caught.value.conflict.limits) == pytest.approx(gives)
    assert names[0] in caught.value.message


def test_an_operators_floor_against_newcomers_is_a_conflict_by_name() -> None:
    """200 visits; a floor of 190 for one of three shops and 20 for the newcomer make 10 too many."""
    daily = np.array([[150.0, 40.0, 10.0]])
    rules = Rules(floor=(FloorRule(provider="shop-1", visits=190),))
    inputs = market(
        daily, np.full((1, 3), 5.0), first_seen={2: 3}, rules=rules, demand=[200],
        capacity={"shop-1": 500}, settings={"max_provider_share": 1.0},
    )  # fmt: skip
    with pytest.raises(InfeasibleError) as caught:
        make_plan(inputs, "a", NOW)
    told = {one.name for one in caught.value.conflict.limits}
    assert {"floor of shop-1: 190 visits", "newcomer floor of shop-3: 20 visits"} <= told
    assert caught.value.conflict.excess == pytest.approx(10, rel=1e-6)


def test_a_shop_that_was_away_can_be_brought_back_by_a_pin() -> None:
    """shop-2 had no visits in the last 28 days: its capacity is not known, so the pin of 10 % of 100 visits
    holds.
    """
    inputs = market(np.array([[100.0, 0.0]]), np.full((1, 2), 5.0))
    plan = make_plan(replace(inputs, rules=Rules(pin=(Pin(segment="s1", provider="shop-2", share=0.1),))), "a", NOW)
    assert visits_of(plan) == {"shop-1": pytest.approx(90), "shop-2": pytest.approx(10)}


def test_an_excluded_newcomer_has_no_floor_and_no_note() -> None:
    rules = Rules(exclude=(Exclude(provider="shop-3"),))
    inputs = market(np.array([[100.0, 60.0, 5.0]]), np.full((1, 3), 5.0), first_seen={2: 3}, rules=rules)
    plan = make_plan(inputs, "a", NOW)
    assert visits_of(plan)["shop-3"] == 0
    assert not any("newcomer" in note for note in plan.notes)
