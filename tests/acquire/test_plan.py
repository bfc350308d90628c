"""Plans from small logs, with expected figures worked by hand or taken from design.md."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_cases import NOW, market, two_shops

from footfall.acquire.explain import explain
from footfall.acquire.plan import make_plan
from footfall.acquire.rules import Boost, Exclude, FloorRule, Pin, Rules
from footfall.acquire.spread import gini, spread_of
from footfall.errors import ConfigError, InfeasibleError, InputError, NotEnoughDataError
from footfall.model import Plan


def check_sums(plan: Plan) -> None:
    """Rows sum to demand, providers to their pairs, and the certificate holds."""
    for segment, demand in zip(plan.demand.segments, plan.demand.visits, strict=True):
        planned = sum(p.visits_tomorrow for p in plan.pairs if p.segment == segment)
        assert planned + plan.unassigned.get(segment, 0.0) == pytest.approx(demand, abs=1e-3)
    for line in plan.providers:
        mine = [p for p in plan.pairs if p.provider_id == line.provider_id]
        assert sum(p.visits_tomorrow for p in mine) == pytest.approx(line.visits_tomorrow)
        assert sum(p.visits_today for p in mine) == pytest.approx(line.visits_today)
    reward = sum(p.visits_tomorrow * p.value for p in plan.pairs)
    assert plan.comparison.plan == pytest.approx(reward, rel=1e-9, abs=1e-9)
    assert plan.comparison.plan <= plan.comparison.lp_bound * (1 + 1e-6) + 1e-9
    assert -1e-9 <= plan.gap <= 1e-4


def test_of_two_shops_the_better_gains_up_to_the_largest_change() -> None:
    """design.md: a shop whose visitors are worth more gains visits tomorrow; 30 % of 100 visits is 30."""
    plan = make_plan(two_shops(), "a", NOW)
    assert [line.visits_tomorrow for line in plan.providers] == pytest.approx([70, 130])
    check_sums(plan)


def test_the_closed_form_holds_where_no_limit_does() -> None:
    """design.md: x = p exp(v / tau) / S with tau = inertia x sum p v; here tau = 5 x 6.5 and p = 1/2."""
    plan = make_plan(two_shops(settings={"inertia": 5.0}), "a", NOW)
    odds = np.exp((7.3 - 5.7) / (5 * 6.5))
    assert [p.share_tomorrow for p in plan.pairs] == pytest.approx([1 / (1 + odds), odds / (1 + odds)], rel=1e-6)
    assert plan.limits == ()


def test_equal_values_leave_incumbents_exactly_where_they_are() -> None:
    rng = np.random.default_rng(7)
    daily = rng.integers(1, 80, (4, 9)).astype(float)
    plan = make_plan(market(daily, np.full(daily.shape, 5.0)), "a", NOW)
    for pair in plan.pairs:
        assert pair.share_tomorrow == pytest.approx(pair.share_today, rel=1e-6)


def test_newcomers_take_their_share_from_all_alike() -> None:
    """1 % of the segment goes to the newcomer, who had nothing; the floor is off."""
    daily = np.array([[60.0, 40.0, 0.0]])
    inputs = market(daily, np.full((1, 3), 5.0), settings={"newcomer_visits": 0})
    inputs = replace(inputs, first_day=(*inputs.first_day[:2], None))
    plan = make_plan(inputs, "a", NOW)
    assert [p.share_reference for p in plan.pairs] == pytest.approx([0.594, 0.396, 0.01])
    assert plan.providers[2].newcomer


def test_a_newcomer_without_visits_gets_its_floor_and_its_provider_value() -> None:
    daily = np.array([[600.0, 400.0, 0.0]])
    inputs = market(daily, np.full((1, 3), 5.0), fallback=4.0)
    plan = make_plan(replace(inputs, first_day=(*inputs.first_day[:2], None)), "a", NOW)
    assert plan.providers[2].visits_tomorrow == pytest.approx(20, abs=1e-3)
    assert plan.pairs[2].value == 4.0


def test_comparison_by_hand() -> None:
    """Keeping 100 and 100 earns 1300; by value 5.7 : 7.3, 87.7 and 112.3, it earns 1319.69; the plan 1348."""
    plan = make_plan(two_shops(), "a", NOW)
    assert plan.comparison.keep_shares == pytest.approx(1300, rel=1e-4)
    assert plan.comparison.proportional == pytest.approx(200 * (5.7**2 + 7.3**2) / 13, rel=1e-3)
    assert plan.comparison.plan == pytest.approx(70 * 5.7 + 130 * 7.3)
    assert plan.comparison.lp_bound == pytest.approx(70 * 5.7 + 130 * 7.3, rel=1e-4)


@pytest.mark.parametrize("inertia", [0.0, 0.1, 1.0])
def test_keeping_todays_shares_earns_the_same_at_any_inertia(inertia: float) -> None:
    """600, 300 and 100 visits worth 5, 6 and 9 earn 5700."""
    inputs = market(np.array([[600.0, 300.0, 100.0]]), np.array([[5.0, 6.0, 9.0]]), settings={"inertia": inertia})
    assert make_plan(inputs, "a", NOW).comparison.keep_shares == pytest.approx(5700, rel=1e-9)


def test_a_boost_moves_visits_but_never_a_reported_value() -> None:
    plain = make_plan(two_shops(settings={"inertia": 5.0}), "a", NOW)
    rules = Rules(boost=(Boost(provider="shop-1", factor=1.5),))
    boosted = make_plan(two_shops(settings={"inertia": 5.0}, rules=rules), "a", NOW)
    assert boosted.providers[0].visits_tomorrow > plain.providers[0].visits_tomorrow + 1
    assert [p.value for p in boosted.pairs] == [5.7, 7.3]
    check_sums(boosted)


def test_a_listed_pair_without_visits_is_told_that_it_gets_none() -> None:
    daily = np.array([[60.0, 40.0], [50.0, 0.0]])
    plan = make_plan(market(daily, np.full((2, 2), 5.0), pairs=(("s2", "shop-2"),)), "a", NOW)
    assert any("shop-2 in s2" in note and "pin" in note for note in plan.notes)
    pinned = Rules(pin=(Pin(segment="s2", provider="shop-2", share=0.1),))
    plan = make_plan(market(daily, np.full((2, 2), 5.0), rules=pinned), "a", NOW)
    assert plan.pairs[-1].share_tomorrow == pytest.approx(0.1)


def test_an_excluded_provider_keeps_its_line_so_that_sums_reconcile() -> None:
    daily = np.array([[60.0, 40.0, 100.0]])
    rules = Rules(exclude=(Exclude(provider="shop-3"),))
    plan = make_plan(market(daily, np.full((1, 3), 5.0), rules=rules, demand=[100]), "a", NOW)
    gone = plan.providers[2]
    assert (gone.visits_today, gone.visits_tomorrow, gone.limits) == (100.0, 0.0, ("exclude",))
    assert [p.share_reference for p in plan.pairs] == pytest.approx([0.6, 0.4, 0.0])


def test_one_provider_keeps_all() -> None:
    plan = make_plan(market(np.array([[100.0]]), np.array([[3.0]])), "a", NOW)
    assert plan.pairs[0].share_tomorrow == pytest.approx(1.0)


def test_demand_of_zero_makes_a_plan_that_says_so() -> None:
    plan = make_plan(two_shops(demand=[0.0]), "a", NOW)
    assert plan.comparison.plan == 0 and not plan.unassigned
    assert "demand forecast is 0" in plan.notes[0]


def test_the_same_inputs_make_the_same_plan() -> None:
    first, second = make_plan(two_shops(), "a", NOW), make_plan(two_shops(), "a", NOW)
    assert first.pairs == second.pairs and first.limits == second.limits


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"providers": ("a", "a")}, InputError, "providers holds a name twice"),
        ({"category": ("all",)}, InputError, "category has 1 entries for 2 providers"),
        ({"as_of": date(2025, 1, 1)}, NotEnoughDataError, "the log begins"),
        ({"capacity": {"shop-9": 3.0}}, ConfigError, "provider 'shop-9' is not there"),
        ({"capacity": {"shop-1": -3.0}}, ConfigError, "must be 0 or more"),
        ({"pairs": (("s9", "shop-1"),)}, ConfigError, "segment 's9' is not there"),
        ({"segments": ()}, NotEnoughDataError, "no visits to plan from"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_plan(replace(two_shops(), **change), "a", NOW)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.1, 0.3, 2.0]),
    st.floats(0.3, 3.0),
    st.booleans(),
)
def test_plans_hold_their_limits_whatever_the_market(seed: int, inertia: float, growth: float, newcomers: bool) -> None:
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 5)), int(rng.integers(2, 9))
    daily = rng.poisson(30, (n, m)) * (rng.random((n, m)) < 0.7)
    daily[0, 0] += 1
    first = {m - 1: 3} if newcomers else {}
    inputs = market(
        daily.astype(float), rng.lognormal(1.5, 0.4, (n, m)), daily.sum(axis=1) * growth,
        settings={"inertia": inertia}, first_seen=first,
    )  # fmt: skip
    plan = make_plan(inputs, "a", NOW)
    check_sums(plan)
    for pair in plan.pairs:  # docs/plan.md: one half, today's share, or twice an equal share
        k = sum(x.segment == pair.segment and x.share_reference > 0 for x in plan.pairs)
        assert pair.share_tomorrow <= max(0.5, pair.share_today, 2 / max(k, 1)) + 1e-6
    for limit in plan.limits:
        if limit.name == "capacity":
            line = next(x for x in plan.providers if x.provider_id == limit.provider_id)
            assert line.visits_tomorrow <= limit.bound * (1 + 1e-6)


def test_gini_of_known_samples() -> None:
    """Equal: 0. One has all of 4: 3/4. 1, 2, 3, 4: mean difference 5/4 over twice the mean 5/2 is 1/4."""
    assert gini(np.full(4, 3.0)) == pytest.approx(0)
    assert gini(np.array([0.0, 0, 0, 8])) == pytest.approx(0.75)
    assert gini(np.array([1.0, 2, 3, 4])) == pytest.approx(0.25)


def test_spread_of_twenty_counts_the_top_two() -> None:
    visits = np.ones(20)
    visits[3] = visits[9] = 11.0
    newcomer = np.zeros(20, dtype=bool)
    newcomer[3] = True
    found = spread_of(visits, newcomer)
    assert found.top_decile_share == pytest.approx(22 / 40)
    assert found.newcomer_share == pytest.approx(11 / 40)


def test_nobody_takes_more_than_its_cap_of_a_segment_of_four() -> None:
    """Four shops of 25 %: the best would go far beyond one half. In the full segment v - tau log(x / p) is the same for
    all that are not at their cap (stationarity); the price of the cap is what the capped one has above that.
    """
    daily = np.full((1, 4), 100.0)
    inputs = market(
        daily, np.array([[12.0, 5.0, 4.0, 4.5]]), settings={"inertia": 0.1, "max_change": 5.0},
        capacity={f"shop-{k}": 1000.0 for k in range(1, 5)},
    )  # fmt: skip
    plan = make_plan(inputs, "a", NOW)
    share = np.array([p.share_tomorrow for p in plan.pairs])
    assert share[0] == pytest.approx(0.5, abs=1e-6) and share.sum() == pytest.approx(1)
    (held,) = [x for x in plan.limits if x.name.startswith("max provider share")]
    assert (held.provider_id, held.name, held.bound) == ("shop-1", "max provider share of s1", 200.0)
    tau = 0.1 * (12 + 5 + 4 + 4.5) / 4
    gain = np.array([12.0, 5.0, 4.0, 4.5]) - tau * np.log(share / 0.25)
    assert gain[1:] == pytest.approx(np.full(3, gain[1]), rel=1e-3)
    assert held.price == pytest.approx(gain[0] - gain[1], rel=1e-2)
    found = explain(inputs, "shop-1")
    assert sum(x.visits for x in found.lines if x.detail == "max provider share") < -1
    assert abs(sum(x.visits for x in found.lines if x.key == "repair")) < 0.05


def test_without_inertia_the_price_of_a_share_cap_is_the_step_to_the_next_best() -> None:
    """Of 400 visits the first gets 200 by its cap, the second 150 by its capacity, the fourth the rest.

    One visit more to the first or second would come from the fourth, where it is worth 4.5.
    """
    daily = np.full((1, 4), 100.0)
    more = {f"shop-{k}": 1000.0 for k in range(1, 5)}
    best = market(
        daily, np.array([[12.0, 5.0, 4.0, 4.5]]), settings={"inertia": 0.0, "max_change": 5.0},
        capacity=more | {"shop-2": 150.0},
    )  # fmt: skip
    plan = make_plan(best, "a", NOW)
    assert [p.visits_tomorrow for p in plan.pairs] == pytest.approx([200, 150, 0, 50], abs=1e-6)
    prices = {(x.provider_id, x.name): x.price for x in plan.limits}
    assert prices == {
        ("shop-1", "max provider share of s1"): pytest.approx(12 - 4.5, rel=1e-4),
        ("shop-2", "capacity"): pytest.approx(5 - 4.5, rel=1e-4),
    }


def test_floors_and_share_caps_in_conflict_are_told_in_the_words_of_the_plan() -> None:
    """Of s1's 400 visits shop-1 may get 200; s2's 60 are all that shop-5 can get: floors of 240 and 30 are 10 over."""
    daily = np.array([[100.0, 100, 100, 100, 0], [30, 0, 0, 0, 30]])
    floors = (FloorRule(provider="shop-1", visits=240), FloorRule(provider="shop-5", visits=30))
    capacity = {f"shop-{k}": 1000.0 for k in range(1, 6)}
    inputs = market(daily, np.full((2, 5), 5.0), rules=Rules(floor=floors), capacity=capacity)
    with pytest.raises(InfeasibleError) as refused:
        make_plan(inputs, "a", NOW)
    conflict = refused.value.conflict
    assert conflict.excess == pytest.approx(10)
    assert {x.name for x in conflict.limits} == {
        "floor of shop-1: 240 visits",
        "floor of shop-5: 30 visits",
        "demand of s2: 60 visits",
        "max provider share of shop-1 in s1: 200 visits",
    }


@pytest.mark.parametrize("inertia", [0.0, 0.01, 0.3])
def test_a_newcomer_floor_that_takes_all_its_share_cap_leaves_has_a_finite_price(inertia: float) -> None:
    """Of 30 visits the newcomer may get 15 and should get 20: it gets 15, at a price of the size of values."""
    daily = np.array([[10.0, 5, 6, 7, 2]])
    inputs = market(daily, np.array([[4.0, 9, 6, 2, 1]]), first_seen={4: 3}, settings={"inertia": inertia})
    plan = make_plan(inputs, "a", NOW)
    newcomer = plan.providers[4]
    assert newcomer.visits_tomorrow == pytest.approx(15, rel=1e-5)
    assert -20 < newcomer.price < 0
    assert any("yields to what its segments can send" in note for note in plan.notes)


def test_capacities_that_nobody_told_are_named_where_they_leave_visits_over() -> None:
    # Two shops that had 100 visits a day each may take 130 each by default; 400 are expected, so 140 are left.
    inputs = two_shops(demand=[400.0])
    made = make_plan(inputs, "a", NOW)
    assert sum(made.unassigned.values()) == pytest.approx(140.0, rel=1e-3)
    assert any(note.startswith("140 of 400 visits are left unassigned") for note in made.notes)
    assert any("taken as 1.3 x a provider's largest day of 28, are full (providers: 2)" in n for n in made.notes)
    told = make_plan(replace(inputs, capacity={"shop-1": 150.0, "shop-2": 150.0}), "a", NOW)
    assert not any("nobody told" in note for note in told.notes)
