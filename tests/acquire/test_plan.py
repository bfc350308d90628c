"""Plans from small logs, with expected figures worked by hand or taken from design.md."""

import pytest
from plan_cases import NOW, two_shops

from footfall.acquire.plan import make_plan


def test_of_two_shops_the_better_gains_up_to_the_largest_change() -> None:
    """design.md: a shop whose visitors are worth more gains visits tomorrow; 30 % of 100 visits is 30."""
    plan = make_plan(two_shops(), "a", NOW)
    assert [line.visits_tomorrow for line in plan.providers] == pytest.approx([70, 130])
    assert plan.gap <= 1e-4
