"""Input checks of the allocation problem: each names row, provider and bound, and all are told at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from footfall.acquire import LinearLimit, Problem, solve
from footfall.errors import ProblemError


def arrays(**changes):
    """Two segments, three providers, five edges; ``changes`` replace arrays or single entries ("value[2]")."""
    base = {
        "demand": np.array([10.0, 20.0]),
        "row_start": np.array([0, 2, 5], dtype=np.int64),
        "provider": np.array([0, 2, 0, 1, 2], dtype=np.int32),
        "value": np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        "capacity": np.array([9.0, np.inf, 9.0]),
        "floor": np.array([1.0, 0.0, 0.0]),
        "reference": np.array([0.5, 0.5, 0.2, 0.3, 0.5]),
    }
    for name, new in changes.items():
        if "__" in name:
            field, at = name.split("__")
            base[field] = base[field].copy()
            base[field][int(at)] = new
        else:
            base[name] = new
    return base


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"demand__1": np.nan}, "row 1: demand nan"),
        ({"demand__1": np.inf}, "row 1: demand inf"),
        ({"demand__0": -2.0}, "row 0: demand -2.0"),
        ({"value__4": np.nan}, "row 1, provider 2: value nan"),
        ({"value__0": -np.inf}, "row 0, provider 0: value -inf"),
        ({"capacity__1": np.nan}, "provider 1: capacity nan"),
        ({"capacity__1": -1.0}, "provider 1: capacity -1.0"),
        ({"floor__2": np.nan}, "provider 2: floor nan"),
        ({"floor__2": -1.0}, "provider 2: floor -1.0"),
        ({"floor__1": np.inf}, "provider 1: floor inf"),
        ({"floor__2": 9.5}, "provider 2: floor 9.5 is above its capacity 9.0"),
        ({"reference__3": -0.1}, "row 1, provider 1: reference -0.1"),
        ({"reference__3": np.nan}, "row 1, provider 1: reference nan"),
        ({"provider__1": 3}, r"row 0, edge 1: provider 3 is outside 0\.\.2"),
        ({"provider__4": -1}, r"row 1, edge 4: provider -1 is outside 0\.\.2"),
        ({"provider__4": 0}, r"row 1: provider 0 stands there twice \(again at edge 4\)"),
        ({"row_start": np.array([0, 6, 5])}, "row 1: row_start falls from 6 to 5"),
        ({"row_start": np.array([1, 2, 5])}, "row_start begins with 1"),
        ({"row_start": np.array([0, 2, 4])}, "row_start ends with 4"),
        ({"row_start": np.array([0, 5])}, "row_start has 2 entries; it must have 3"),
        ({"value": np.ones(4)}, "value has 4 entries; it must have 5"),
        ({"floor": np.zeros(2)}, "floor has 2 entries; it must have 3"),
        ({"reference": np.ones(1)}, "reference has 1 entries; it must have 5"),
        ({"demand": np.array([1, 2])}, "demand has type int64; it must be float64"),
        ({"provider": np.zeros(5, dtype=np.int64)}, "provider has type int64; it must be int32"),
        ({"value": np.ones(5, dtype=np.float16)}, "value has type float16; it must be float32 or float64"),
        ({"capacity": [1.0, 2.0, 3.0]}, "capacity is list"),
        ({"demand": np.ones((2, 1))}, r"demand has shape \(2, 1\)"),
        ({"demand": np.ma.array([1.0, 2.0], mask=[0, 1])}, "demand is a MaskedArray; it must be a plain numpy array"),
        ({"demand": np.ones(2, dtype=">f8")}, "it must be float64 in the machine's own byte order"),
        ({"limits": []}, "limits is list"),
        ({"limits": (1,)}, r"limits\[0\] is int"),
    ],
)
def test_faults_are_named(change, told):
    with pytest.raises(ProblemError, match=told):
        Problem(**arrays(**change))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"edge": np.array([5])}, "an edge is outside"),
        ({"edge": np.array([1, 1]), "coefficient": np.ones(2)}, "an edge stands there twice"),
        ({"edge": np.array([1.0])}, "edge must be a numpy array of int64"),
        ({"coefficient": np.array([1])}, "coefficient must be a numpy array of float64"),
        ({"coefficient": np.ones(2)}, "edge has 1 entries"),
        ({"coefficient": np.array([np.nan])}, "a coefficient is not finite"),
        ({"low": 3.0}, "low 3.0 and high 2.0 leave no room"),
        ({"low": np.nan}, "low nan and high 2.0 leave no room"),
        ({"low": "much"}, "low 'much' and high 2.0 must be numbers"),
        ({"high": 10**400}, r"low 0.0 and high 10+\.\.\. must be numbers that a float holds"),
        ({"high": True}, "low 0.0 and high True must be numbers"),
        ({"edge": np.array([-1])}, r"an edge is outside 0..4 \(entry 0 is -1\)"),
        (
            {"edge": np.array([3, 1, 3]), "coefficient": np.ones(3)},
            r"an edge stands there twice \(row 1, prov",
        ),
        (
            {"edge": np.array([4]), "coefficient": np.array([np.inf])},
            r"a coefficient is not finite \(row 1, prov",
        ),
    ],
)
def test_faults_of_linear_limits(change, told):
    limit = {"edge": np.array([1]), "coefficient": np.ones(1), "low": 0.0, "high": 2.0, "name": "gifts", **change}
    with pytest.raises(ProblemError, match=f"limit 'gifts': {told}"):
        Problem(**arrays(limits=(LinearLimit(**limit),)))


def test_the_first_ten_faults_are_told_and_the_rest_counted():
    many = arrays(
        demand=np.full(2, np.nan), value=np.full(5, np.nan), reference=np.full(5, -1.0), floor=np.full(3, -1.0)
    )
    with pytest.raises(ProblemError, match=r"and 5 more") as told:
        Problem(**many)
    assert told.value.message.count(";") == 10


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"inertia": "0.3"}, "inertia is '0.3' \\(str\\)"),
        ({"inertia": 10**400}, "inertia is 10+... \\(int\\); it must be finite"),
        ({"inertia": float("nan")}, "inertia is nan"),
        ({"inertia": 5e-324}, "too small to compute with"),
        ({"gap": 0}, "gap is 0 \\(int\\); it must be between 0 and 1"),
        ({"gap": None}, "gap is None"),
        ({"threads": 1.5}, "threads is 1.5 \\(float\\); it must be a whole number"),
        ({"threads": float("nan")}, "threads is nan"),
        ({"threads": True}, "threads is True"),
        ({"threads": 0}, "threads is 0"),
        ({"time_limit_s": -1}, "time_limit_s is -1 \\(int\\); it must be seconds, 0 or more"),
        ({"time_limit_s": "5"}, "time_limit_s is '5'"),
        ({"prices": [0.0, 0.0, 0.0]}, "prices must be a finite float64 array of 3 entries"),
        ({"progress": 3}, "progress is 3 \\(int\\); it must be callable"),
        ({"names": "a"}, "names is 'a' \\(str\\); it must be LimitNames"),
    ],
)
def test_options_that_cannot_be_worked_with(options, told):
    with pytest.raises(ProblemError, match=told) as error:
        solve(Problem(**arrays(reference=None)), **options)
    assert error.value.way_out


def test_what_is_no_problem_is_told():
    with pytest.raises(ProblemError, match=r"problem is 3 \(int\); it must be a Problem"):
        solve(3)


def test_arrays_that_are_read_only_or_strided_are_copied():
    plain = arrays()
    shown = {**plain, "value": np.repeat(plain["value"], 2)[::2], "demand": plain["demand"].copy()}
    shown["demand"].setflags(write=False)
    problem = Problem(**shown)
    assert problem.demand.flags.writeable and problem.value.flags.c_contiguous
    assert problem.capacity is plain["capacity"]  # all others are used as they are
    assert not shown["demand"].flags.writeable
    limit = LinearLimit(np.arange(4)[::2], np.ones(2), 0.0, 1.0, "gifts")
    assert limit.edge.flags.c_contiguous and limit.edge.tolist() == [0, 2]
    assert solve(problem).objective == solve(Problem(**plain)).objective


@pytest.mark.parametrize("sums", [0.0, 0.999, 1.001])
def test_a_reference_that_does_not_sum_to_one(sums):
    bad = Problem(**arrays(reference=np.array([0.5, 0.5, 0.2, 0.3, 0.5]) * np.repeat([1.0, sums], [2, 3])))
    with pytest.raises(ProblemError, match="row 1: reference sums to"):
        solve(bad, 0.3)
    assert solve(bad).status == "optimal"  # the plain programme does not look at it


def test_legal_corners():
    Problem(**arrays(demand__0=0.0, capacity__2=0.0, value__0=-3.0))
    problem = Problem(**arrays(value=np.ones(5, dtype=np.float32), reference=None))
    assert (problem.segments, problem.providers, problem.edges) == (2, 3, 5)
    rest = Problem(**arrays(demand__1=0.0, reference=np.array([0.5, 0.5, 0, 0, 0])))
    assert solve(rest, 0.3).status == "optimal"  # a row without demand may be without reference


def test_names_of_linear_limits_are_texts_and_distinct():
    limit = LinearLimit(np.array([1]), np.ones(1), 0.0, 2.0, "gifts")
    with pytest.raises(ProblemError, match=r"limits\[1\]: limit 'gifts' stands there already, as limits\[0\]"):
        Problem(**arrays(limits=(limit, limit)))
    with pytest.raises(ProblemError, match=r"limits\[0\]: name '' must be a text"):
        Problem(**arrays(limits=(LinearLimit(np.array([1]), np.ones(1), 0.0, 2.0, ""),)))


@pytest.mark.parametrize("inertia", [0.0, 0.3])
def test_small_and_empty_shapes(inertia):
    """One provider, no rows, empty rows, capacity 0: all are legal, and what cannot go anywhere stays unassigned."""
    one = Problem(
        np.array([3.0, 4.0, 5.0]), np.array([0, 1, 1, 2]), np.zeros(2, dtype=np.int32), np.ones(2), np.array([6.0]),
        np.zeros(1), np.ones(2),
    )  # fmt: skip
    plan = solve(one, inertia)
    assert plan.load[0] == pytest.approx(6.0)
    assert plan.unassigned[1] == 4.0
    none = Problem(
        np.zeros(0), np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32), np.zeros(0), np.ones(2), np.zeros(2),
        np.zeros(0),
    )  # fmt: skip
    assert solve(none, inertia).reward == 0
    shut = Problem(**arrays(capacity=np.zeros(3), floor=np.zeros(3)))
    plan = solve(shut, inertia)
    assert plan.reward == 0
    np.testing.assert_allclose(plan.unassigned, shut.demand)


def test_checks_take_no_memory_by_the_edge():
    n, width = 20_000, 20
    m, edges = 50, n * width
    provider = np.tile(np.arange(width, dtype=np.int32), n)
    value, reference = np.ones(edges, dtype=np.float32), np.full(edges, 1 / width, dtype=np.float32)
    limits = (LinearLimit(np.arange(edges), np.ones(edges), 0.0, 1.0, "all"),)
    given = (np.ones(n), np.arange(0, edges + 1, width), provider, value, np.ones(m), np.zeros(m), reference, limits)
    Problem(*given, reference)
    tracemalloc.start()
    Problem(*given, reference)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * edges


@pytest.mark.filterwarnings("error")
def test_magnitudes_whose_sums_would_overflow_are_refused() -> None:
    start, provider, none, nothing = np.array([0, 1, 2]), np.array([0, 0], np.int32), np.array([np.inf]), np.zeros(1)
    for visits, worth in ((1e300, 1e300), (1e308, 1.0), (1e308, 0.0)):
        with pytest.raises(ProblemError, match=r"demand .* sums would overflow"):
            Problem(np.full(2, visits), start, provider, np.full(2, worth), none, nothing)
    with pytest.raises(ProblemError, match=r"floors .* sums would overflow"):
        Problem(np.ones(2), start, provider, np.ones(2), none, np.array([1e308]))
