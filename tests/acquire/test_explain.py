"""Explanations: parts that sum, checked against numerical integration by scipy and against symmetry."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_cases import market, two_shops
from scipy.integrate import quad, solve_ivp
from scipy.special import softmax

from footfall.acquire.explain import Explanation, explain, told_visits
from footfall.acquire.inputs import PlanInputs
from footfall.acquire.path import capped_shares, path_weights, whole_parts
from footfall.acquire.plan import plan_detail
from footfall.acquire.rules import Boost, CapRule, Exclude, FloorRule, Pin, Rules
from footfall.errors import ConfigError

P = np.array([0.5, 0.3, 0.15, 0.05])
A = np.array([-1.0, 0.4, 2.0, 3.0])
TAU = 1.3


def part(found: Explanation, key: str, detail: str = "") -> float:
    return sum(x.visits for x in found.lines if x.key == key and x.detail == detail)


def check_sums(found: Explanation) -> None:
    assert sum(x.visits for x in found.lines) == pytest.approx(found.change, abs=1e-9)
    assert sum(x.whole for x in found.lines) == round(found.visits_tomorrow) - round(found.visits_today)
    assert found.whole_tomorrow == round(found.visits_tomorrow)  # as the plan and the report have it
    assert all(abs(x.whole - x.visits) <= 1 + 1e-6 for x in found.lines)
    today, tomorrow, change = found.told
    assert sum(x.told for x in found.lines) == pytest.approx(change, abs=1e-9)
    assert tomorrow - today == pytest.approx(change, abs=1e-9)


@pytest.mark.parametrize(
    ("today", "tomorrow", "told"),
    [
        (510.6, 340.4, (511, 340, -171)),
        (9.94, 0.26, (9.9, 0.3, -9.6)),
        (2.87, 1.23, (2.9, 1.2, -1.7)),
        (9.0, 12.4, (9, 12, 3)),
        (0.0, 0.0, (0, 0, 0)),
    ],
)
def test_two_days_and_their_change_are_told_in_one_way(
    today: float, tomorrow: float, told: tuple[float, float, float]
) -> None:
    """By hand: each day to the visit, to a tenth where neither comes to 10, and the change is their difference."""
    assert told_visits(today, tomorrow) == told


def test_path_weights_agree_with_adaptive_quadrature() -> None:
    """Source: scipy.integrate.quad over softmax(log p + s a / tau)."""

    def share(s: float) -> np.ndarray:
        return softmax(np.log(P) + s * A / TAU)

    for own in range(4):
        weights, end = path_weights(P, A, TAU, own)
        for k in range(4):

            def integrand(s: float, k: int = k, own: int = own) -> float:
                pi = share(s)
                return float(pi[own] * ((1 - pi[own]) if k == own else pi[k]) / TAU)

            assert weights[k] == pytest.approx(quad(integrand, 0, 1, epsabs=1e-13)[0], abs=1e-11)
        assert end == pytest.approx(share(1.0))


def test_path_weights_hold_where_one_share_takes_over_from_another_at_once() -> None:
    """The second overtakes the first within 0.001 of s = ln(100) / 2000; quad on pieces around there is the source."""
    p, a, tau = np.array([0.99, 0.0099, 0.0001]), np.array([-2.0, 0.0, -4.0]), 1e-3

    def share(s: float) -> np.ndarray:
        return softmax(np.log(p) + s * a / tau)

    for own in range(3):
        weights, _ = path_weights(p, a, tau, own)
        for k in {0, 1, 2} - {own}:

            def integrand(s: float, k: int = k, own: int = own) -> float:
                return float(share(s)[own] * share(s)[k] / tau)

            cuts = np.linspace(0, 0.02, 21)
            whole = sum(quad(integrand, x, y, epsabs=1e-14)[0] for x, y in pairwise(cuts))
            assert weights[k] == pytest.approx(whole, rel=1e-7, abs=1e-12)


def test_path_ends_where_the_differential_equation_ends() -> None:
    """Source: scipy.integrate.solve_ivp of d pi / ds = pi (a - pi a) / tau."""
    flow = solve_ivp(lambda _, pi: pi * (A - pi @ A) / TAU, (0, 1), P, rtol=1e-10, atol=1e-12)
    for own in range(4):
        weights, end = path_weights(P, A, TAU, own)
        others = np.delete(weights, own) @ np.delete(A, own)
        assert end == pytest.approx(flow.y[:, -1], abs=1e-8)
        assert P[own] + weights[own] * A[own] - others == pytest.approx(end[own], abs=1e-12)


def test_two_shops_by_hand() -> None:
    """At inertia 5 no limit binds: g (a_1 - a_2) = x - p, and a_1 = -0.8 = -a_2, so both parts are equal."""
    found = explain(two_shops(settings={"inertia": 5.0}), "shop-1")
    share = 1 / (1 + np.exp(1.6 / 32.5))
    assert part(found, "order_value") == pytest.approx(200 * (share - 0.5) / 2, rel=1e-6)
    assert part(found, "others") == pytest.approx(200 * (share - 0.5) / 2, rel=1e-6)
    assert part(found, "conversion") == pytest.approx(0, abs=1e-9)
    check_sums(found)


def test_conversion_and_order_value_change_places() -> None:
    """The formula is symmetric in the two factors: 4 % x 150 and 6 % x 100 are worth the same."""
    low_rate = market(np.array([[100.0, 100]]), np.array([[6.0, 6]]), conversion=np.array([[0.04, 0.06]]))
    found = explain(low_rate, "shop-1")
    assert part(found, "conversion") == pytest.approx(-part(found, "order_value"), rel=1e-9)
    assert part(found, "conversion") < -1
    assert found.change == pytest.approx(0, abs=1e-6)
    check_sums(found)


def test_identical_providers_have_identical_reasons() -> None:
    inputs = market(np.array([[50.0, 50, 80], [20, 20, 10]]), np.array([[5.0, 5, 8], [4, 4, 3]]))
    first, second = explain(inputs, "shop-1"), explain(inputs, "shop-2")
    assert [x.key for x in first.lines] == [x.key for x in second.lines]
    assert [x.visits for x in first.lines] == pytest.approx([x.visits for x in second.lines], abs=1e-5)


def test_equal_values_need_no_reasons() -> None:
    found = explain(market(np.array([[50.0, 90.0]]), np.full((1, 2), 5.0)), "shop-1")
    assert all(x.whole == 0 for x in found.lines)
    assert found.win_back is None


def test_demand_alone() -> None:
    """Twice the demand at equal values and with room: the whole change is demand."""
    inputs = market(np.array([[50.0, 90.0]]), np.full((1, 2), 5.0), [280.0], capacity={"shop-1": 900, "shop-2": 900})
    found = explain(inputs, "shop-1")
    assert part(found, "demand") == pytest.approx(50)
    assert found.change == pytest.approx(50, abs=1e-4)


def test_a_limit_is_named_and_its_price_is_the_reason() -> None:
    found = explain(two_shops(), "shop-2")
    assert part(found, "limit", "capacity") < -1
    assert found.change == pytest.approx(30)
    assert found.sentence().startswith("shop-2: 100 visits today, 130 planned (order value +")


def test_few_visits_are_told_in_tenths() -> None:
    """One visit a day each, of which the better shop may take 1.3."""
    few = market(np.array([[1.0, 1.0]]), np.array([[2.0, 6.0]]), capacity={"shop-2": 1.3})
    found = explain(few, "shop-2")
    check_sums(found)
    assert found.told == (1, 1.3, 0.3)
    assert found.sentence().startswith("shop-2: 1.0 visits today, 1.3 planned (")


@pytest.mark.parametrize(
    ("rules", "key", "detail", "sign"),
    [
        (Rules(exclude=(Exclude(provider="shop-1"),)), "eligibility", "", -1),
        (Rules(pin=(Pin(segment="s1", provider="shop-1", share=0.1),)), "limit", "pin", -1),
        (Rules(boost=(Boost(provider="shop-1", factor=1.5),)), "boost", "", 1),
        (Rules(floor=(FloorRule(provider="shop-1", visits=140),)), "limit", "floor", 1),
        (Rules(cap=(CapRule(provider="shop-1", visits=50),)), "limit", "cap", -1),
    ],
)  # fmt: skip
def test_rules_have_lines_of_their_own(rules: Rules, key: str, detail: str, sign: int) -> None:
    daily = np.array([[100.0, 60.0, 40.0], [30.0, 50.0, 0.0]])
    value = np.array([[5.0, 6.0, 7.0], [4.0, 5.0, 0.0]])
    found = explain(market(daily, value, rules=rules), "shop-1")
    assert sign * part(found, key, detail) > 1
    check_sums(found)


def test_what_would_win_visits_back_is_true() -> None:
    """Solving the plan anew with the risen value gives back today's 100 visits, to half a visit."""
    inputs = two_shops()
    back = explain(inputs, "shop-1").win_back
    assert back is not None and back.rise is not None and back.conversion is not None
    values = replace(inputs.values, mean=inputs.values.mean * np.array([1 + back.rise, 1.0]))
    again = plan_detail(replace(inputs, values=values))
    assert again.visits[0] == pytest.approx(100, abs=0.51)
    assert back.conversion_needed == pytest.approx(back.conversion * (1 + back.rise))
    assert back.rise == pytest.approx(7.3 / 5.7 - 1, abs=0.01)


@pytest.mark.parametrize(
    ("more", "blocked"),
    [
        ({"capacity": {"shop-1": 50}}, "capacity"),
        ({"capacity": {"shop-1": 0}}, "capacity"),
        ({"rules": Rules(cap=(CapRule(provider="shop-1", visits=50),))}, "cap"),
        ({"rules": Rules(exclude=(Exclude(provider="shop-1"),))}, "exclude"),
        ({"rules": Rules(pin=(Pin(segment="s1", provider="shop-1", share=0.2),))}, "pin"),
        ({"demand": [50.0]}, "demand"),
        ({"four": True}, "max provider share"),
    ],
)
def test_where_no_rise_can_win_visits_back_the_limit_is_named(more: dict[str, object], blocked: str) -> None:
    inputs = two_shops(**more) if "four" not in more else _four_shops()
    back = explain(inputs, "shop-1").win_back
    assert back is not None and back.blocked_by == blocked and back.rise is None


def test_neighbours_that_gained_are_those_of_the_same_segments() -> None:
    daily = np.array([[100.0, 100, 0], [0, 100, 100]])
    value = np.array([[4.0, 6, 0], [0, 5, 9]])
    found = explain(market(daily, value), "shop-1")
    assert [x.provider_id for x in found.neighbours] == ["shop-2"]


def test_without_inertia_the_reasons_say_so() -> None:
    found = explain(two_shops(settings={"inertia": 0.0}), "shop-1")
    assert "inertia is 0" in found.notes[0]
    check_sums(found)


@pytest.mark.parametrize("seed", range(12))
def test_without_inertia_or_nearly_so_nothing_to_speak_of_is_rounding(seed: int) -> None:
    """What the lines leave over is below half a visit or half a percent, share caps, newcomers and limits at work."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 4)), int(rng.integers(2, 12))
    daily = (rng.poisson(200, (n, m)) * (rng.random((n, m)) < 0.8)).astype(float)
    daily[0, :2] += 1
    for inertia in (0.0, 0.01):
        inputs = market(
            daily, rng.lognormal(1.5, 0.4, (n, m)), daily.sum(axis=1) * rng.uniform(0.6, 1.6),
            settings={"inertia": inertia, "max_change": float(rng.choice([0.3, 4.0]))}, first_seen={m - 1: 3},
        )  # fmt: skip
        detail = plan_detail(inputs)
        for provider in inputs.providers:
            found = explain(detail, provider)
            check_sums(found)
            assert abs(part(found, "repair")) <= max(0.5, 0.005 * found.visits_today)


def test_without_inertia_the_cap_that_holds_a_shop_is_a_reason() -> None:
    """Four shops of 100: all would go to the best, worth 12, but for its cap of 200."""
    inputs = market(
        np.full((1, 4), 100.0), np.array([[12.0, 5.0, 4.0, 4.5]]), settings={"inertia": 0.0, "max_change": 5.0},
        capacity={f"shop-{k}": 1000.0 for k in range(1, 5)},
    )  # fmt: skip
    found = explain(inputs, "shop-1")
    assert found.change == pytest.approx(100)
    assert part(found, "limit", "max provider share") < -1
    assert abs(part(found, "repair")) < 1e-3


def _four_shops() -> PlanInputs:
    """Shop 1 has 40 % of 500 visits; of tomorrow's 300 its cap of one half leaves it 150 at most."""
    return market(np.array([[200.0, 100, 100, 100]]), np.full((1, 4), 5.0), [300.0])


def test_an_unknown_provider_comes_with_near_names() -> None:
    with pytest.raises(ConfigError) as caught:
        explain(two_shops(), "shop1")
    assert "did you mean shop-" in caught.value.way_out


def test_capped_rows_fill_up_to_one_and_stay_below_their_caps() -> None:
    """By definition: x = min(u, p exp(gain / tau) / z) with the least z >= 1 at which the row fits into 1."""
    upper = np.array([1.0, 1.0, 0.3, 0.2])
    free, capped = capped_shares(P, A, 0.5, upper)
    assert free.sum() == pytest.approx(1) and capped.sum() == pytest.approx(1)
    assert (capped <= upper + 1e-12).all()
    ratio = capped[:2] / (P[:2] * np.exp(A[:2] / 0.5))
    assert ratio[0] == pytest.approx(ratio[1]) and ratio[0] <= 1


def test_rows_that_limits_do_not_fill_keep_their_closed_form() -> None:
    gain = np.array([-1.0, -2.0, -1.0, -3.0])
    free, capped = capped_shares(P, gain, 1.0, np.ones(4))
    assert free == pytest.approx(P * np.exp(gain)) and (capped == free).all()


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=12))
def test_whole_parts_sum_and_stay_near(parts: list[float]) -> None:
    array = np.array(parts)
    total = round(float(array.sum()))
    whole = whole_parts(array, total)
    assert sum(whole) == total
    assert all(abs(w - p) <= 1.5 for w, p in zip(whole, parts, strict=True))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.05, 0.3, 2.0]), st.floats(0.4, 2.0))
def test_lines_sum_whatever_the_market(seed: int, inertia: float, growth: float) -> None:
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 4)), int(rng.integers(2, 8))
    daily = (rng.poisson(30, (n, m)) * (rng.random((n, m)) < 0.8)).astype(float)
    daily[0, :2] += 1
    inputs = market(
        daily, rng.lognormal(1.5, 0.4, (n, m)), daily.sum(axis=1) * growth,
        conversion=rng.uniform(0.01, 0.2, (n, m)), settings={"inertia": inertia}, first_seen={m - 1: 3},
    )  # fmt: skip
    detail = plan_detail(inputs)
    changes = 0.0
    for provider in inputs.providers:
        found = explain(detail, provider)
        check_sums(found)
        changes += found.change
        if inertia > 0 and found.change:
            # what the solver's repair moves is small beside what it explains
            assert abs(part(found, "repair")) <= 0.02 * max(1.0, found.visits_today) + 0.1
    assert changes == pytest.approx(float(detail.visits.sum() - detail.pairs.visits_today.sum()), abs=1e-6)
