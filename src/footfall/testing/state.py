"""The contract of ``ports.State``: an adapter subclasses ``StateContract``, giving the fixture ``state``."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from footfall.errors import InputError
from footfall.model import (
    BindingLimit,
    Comparison,
    DemandForecast,
    PairLine,
    Plan,
    PlanStatus,
    ProviderLine,
    Spread,
)
from footfall.ports import State


def sample_plan(plan_id: str = "p", status: PlanStatus = "draft", pairs: int = 2) -> Plan:
    """A small plan with awkward floats: 0.1 + 0.2, the smallest double, infinity, NaN."""
    lines = tuple(
        PairLine("web", f"shop-{i}", 0.1 + 0.2, 1 / 3, 5e-324, 1e308, 2.5, 7.1, -0.0, math.inf) for i in range(pairs)
    )
    demand = DemandForecast(
        day=date(2024, 3, 2),
        segments=("web", "郵件"),
        visits=np.array([0.1 + 0.2, 1e9]),
        low=np.array([0.0, math.nan]),
        high=np.array([1.0, math.inf]),
    )
    return Plan(
        plan_id=plan_id,
        version=0,
        day=date(2024, 3, 2),
        as_of=date(2024, 3, 1),
        created_at=datetime(2024, 3, 1, 23, 59, 59, 123457, tzinfo=UTC),
        status=status,
        inertia=0.3,
        demand=demand,
        pairs=lines,
        providers=(ProviderLine("shop-0", "椅子", True, 1.5, 2.5, 7.1, -0.25, ("capacity",)),),
        limits=(BindingLimit("shop-0", "capacity", 10.0, 0.25),),
        unassigned={"web": 0.1},
        comparison=Comparison(3.0, 2.0, 1.0, 4.0),
        objective=3.0,
        bound=3.0001,
        gap=1e-4 / 3,
        today=Spread(0.1, 0.2, 0.3),
        tomorrow=Spread(0.4, 0.5, 0.6),
        notes=("a note",),
        inputs={"inertia": 0.3, "pins": {"shop-0": 5}, "seen": [1, 2.5, None]},
    )


def assert_same_plan(left: Plan, right: Plan) -> None:
    """Equal field for field and bit for bit, but for version and status."""
    for side in ("visits", "low", "high"):
        assert getattr(left.demand, side).dtype == np.float64
        assert getattr(left.demand, side).tobytes() == getattr(right.demand, side).tobytes()
    nothing = DemandForecast(left.demand.day, left.demand.segments, *(np.zeros(0),) * 3)
    bare_left = repr(replace(left, demand=nothing, version=0, status="draft"))
    assert left.demand.segments == right.demand.segments and left.demand.day == right.demand.day
    assert bare_left == repr(replace(right, demand=nothing, version=0, status="draft"))


class StateContract:
    """What every ``ports.State`` must do; a subclass gives the fixture ``state``, an empty state."""

    def test_an_empty_state_has_nothing(self, state: State) -> None:
        """None and empty answers, no errors."""
        assert state.plan() is None
        assert state.plan(version=1) is None and state.plan(version=10**20) is None
        assert state.plan(status="published") is None
        assert state.plans() == ()
        assert dict(state.versions()) == {}
        assert dict(state.providers()) == {}
        assert state.get("anything") is None

    def test_a_plan_comes_back_bit_for_bit(self, state: State) -> None:
        """Floats exact, text in any script, arrays as float64."""
        saved = state.save_plan(sample_plan())
        read = state.plan(saved.version)
        assert read is not None
        assert read.version == saved.version and read.status == "draft"
        assert_same_plan(saved, sample_plan())
        assert_same_plan(read, sample_plan())

    def test_versions_increase(self, state: State) -> None:
        """Each saved plan gets a version above all before; the newest is the default."""
        versions = [state.save_plan(sample_plan(f"p{i}")).version for i in range(4)]
        assert versions == sorted(set(versions)) and versions[0] >= 1
        newest = state.plan()
        assert newest is not None and newest.plan_id == "p3"
        assert [p.version for p in state.plans()] == versions[::-1]
        state.publish(versions[1])
        told = [(versions[3], "draft"), (versions[2], "draft"), (versions[1], "published"), (versions[0], "draft")]
        assert list(state.versions().items()) == told

    def test_one_plan_is_published(self, state: State) -> None:
        """Publishing retires the one before, also where it is of a later version."""
        first, second = (state.save_plan(sample_plan(f"p{i}")).version for i in range(2))
        assert state.publish(first).status == "published"
        assert state.publish(second).version == second
        assert [(p.version, p.status) for p in state.plans()] == [(second, "published"), (first, "retired")]
        state.publish(first)
        assert [(p.version, p.status) for p in state.plans()] == [(second, "retired"), (first, "published")]
        published = state.plan(status="published")
        assert published is not None and published.version == first
        assert state.publish(first).status == "published"

    def test_rolling_back_goes_by_what_was_in_force(self, state: State) -> None:
        """Not by the number of a version; each time one further back, until there is none."""
        one, two, three = (state.save_plan(sample_plan(f"p{i}")).version for i in range(3))
        for version in (one, three, two, two, one):
            state.publish(version)
        back = [state.rollback().version for _ in range(3)]
        assert back == [two, three, one]
        with pytest.raises(InputError, match="no earlier"):
            state.rollback()
        assert [v for v, status in state.versions().items() if status == "published"] == [one]
        state.publish(two)
        assert state.rollback().version == one

    def test_publishing_what_is_not_there_changes_nothing(self, state: State) -> None:
        """InputError, and the published plan stays."""
        version = state.publish(state.save_plan(sample_plan()).version).version
        with pytest.raises(InputError, match="no plan 999"):
            state.publish(999)
        published = state.plan(status="published")
        assert published is not None and published.version == version

    def test_a_plan_saved_as_published_is_the_only_one(self, state: State) -> None:
        """Saving with the status published publishes."""
        state.save_plan(sample_plan("a", status="published"))
        state.save_plan(sample_plan("b", status="published"))
        assert [(p.plan_id, p.status) for p in state.plans()] == [("b", "published"), ("a", "retired")]

    def test_providers_are_inserted_and_updated(self, state: State) -> None:
        """The last row of an id wins; an absent field keeps what was there."""
        rows = [
            {"provider_id": "s1", "category": "sofa", "name": "One"},
            {"provider_id": "s2", "category": "椅子"},
        ]
        assert state.put_providers(rows) == 2
        assert state.put_providers([{"provider_id": "s1", "name": "Uno"}, {"provider_id": "s1", "name": "Eins"}]) == 1
        assert dict(state.providers()) == {
            "s1": {"category": "sofa", "name": "Eins"},
            "s2": {"category": "椅子", "name": ""},
        }

    def test_many_providers(self, state: State) -> None:
        """More than fits in one statement's parameters."""
        assert state.put_providers([{"provider_id": f"s{i}", "category": "c"} for i in range(2500)]) == 2500
        assert len(state.providers()) == 2500

    @pytest.mark.parametrize("row", [{"category": "c"}, {"provider_id": ""}, {"provider_id": "a", "colour": "red"}])
    def test_a_provider_that_is_no_provider_is_refused(self, state: State, row: dict[str, str]) -> None:
        """InputError, and nothing of the call is stored."""
        with pytest.raises(InputError):
            state.put_providers([{"provider_id": "good"}, row])
        assert dict(state.providers()) == {}

    def test_records(self, state: State) -> None:
        """A record is replaced as a whole; floats exact; NaN is refused."""
        state.put("k", {"a": 0.1 + 0.2, "b": ["x", None]})
        state.put("k", {"a": 1 / 3, "值": True})
        assert state.get("k") == {"a": 1 / 3, "值": True}
        with pytest.raises(InputError, match="'k'"):
            state.put("k", {"a": math.nan})
        assert state.get("k") == {"a": 1 / 3, "值": True}

    def test_a_record_that_is_put_once(self, state: State) -> None:
        """Who asks first wins, whoever else found nothing there before."""
        assert state.get("k") is None
        assert [state.put_once("k", {"n": n}) for n in (1, 2)] == [{"n": 1}] * 2
        assert state.get("k") == {"n": 1}
        with pytest.raises(InputError, match="'k'"):
            state.put_once("k", {"n": math.nan})
