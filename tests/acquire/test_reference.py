"""Eligibility, newcomers and reference shares; expected figures are worked by hand from design.md."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.acquire.reference import (
    DailyVisits,
    delivered_shares,
    edges_from_keys,
    find_newcomers,
    mix_newcomers,
    newcomer_keys,
    row_totals,
)
from footfall.errors import InputError

OPEN = np.ones(3, dtype=bool)


def test_newcomers_are_those_first_seen_lately_in_an_older_log() -> None:
    seen = [date(2026, 1, 1), date(2026, 1, 17), date(2026, 1, 16), None]
    found = find_newcomers(seen, date(2026, 1, 1), date(2026, 1, 31), 14)
    assert found.tolist() == [False, True, False, True]  # 14 days before the 31st is the 17th


def test_in_a_log_no_older_than_newcomer_days_nobody_seen_is_a_newcomer() -> None:
    assert not find_newcomers([date(2026, 1, 10)], date(2026, 1, 1), date(2026, 1, 15), 14).any()


def test_a_newcomer_is_eligible_in_the_segments_of_its_category_only() -> None:
    visits = DailyVisits(np.array([9, 9]), np.array([0, 1]), np.array([0, 1]), np.array([5.0, 5.0]))
    keys = newcomer_keys(visits, ["sofa", "snack", "snack"], np.array([False, False, True]), 2)
    assert keys.tolist() == [1 * 3 + 2]


def test_shares_are_delivered_shares_among_the_open() -> None:
    edges = edges_from_keys(np.array([0, 1, 2]), 1, 3)
    among = np.array([True, True, False])
    share = delivered_shares(edges, np.array([30.0, 10.0, 60.0]), np.zeros(3), among)
    assert share.tolist() == [0.75, 0.25, 0.0]


def test_a_segment_without_recent_visits_takes_older_ones_then_equal_shares() -> None:
    edges = edges_from_keys(np.array([0, 1, 2]), 1, 3)
    older = delivered_shares(edges, np.zeros(3), np.array([1.0, 3.0, 0.0]), OPEN)
    equal = delivered_shares(edges, np.zeros(3), np.zeros(3), OPEN)
    assert older.tolist() == [0.25, 0.75, 0.0]
    assert equal == pytest.approx([1 / 3] * 3)


def test_newcomers_get_their_share_together_and_keep_what_was_delivered() -> None:
    edges = edges_from_keys(np.array([0, 1, 2]), 1, 3)
    mixed = mix_newcomers(edges, np.array([0.9, 0.1, 0.0]), np.array([False, True, True]), OPEN, newcomer_share=0.01)
    assert mixed == pytest.approx([0.99 * 0.9, 0.99 * 0.1 + 0.005, 0.005])


def test_without_newcomers_nobody_is_mixed() -> None:
    edges = edges_from_keys(np.array([0, 1, 2]), 1, 3)
    share = np.array([0.9, 0.1, 0.0])
    assert mix_newcomers(edges, share, np.zeros(3, dtype=bool), OPEN, 0.01).tolist() == share.tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.floats(0, 1e6)), max_size=30))
def test_reference_rows_sum_to_one(rows: list[tuple[int, int, float]]) -> None:
    keys = np.array([i * 5 + j for i, j, _ in rows], dtype=np.int64)
    edges = edges_from_keys(keys, 4, 5)
    recent = np.zeros(len(edges.segment))
    for i, j, visits in rows:
        recent[edges.positions(np.array([i]), np.array([j]))] += visits
    share = delivered_shares(edges, recent, recent, np.ones(len(recent), dtype=bool))
    mixed = mix_newcomers(
        edges, share, np.array([False, True, False, True, False]), np.ones(len(recent), dtype=bool), 0.01
    )
    filled = np.diff(edges.row_start) > 0
    assert row_totals(edges.row_start, mixed)[filled] == pytest.approx(1.0)


def test_positions_outside_the_names_are_refused() -> None:
    visits = DailyVisits(np.array([0]), np.array([0]), np.array([7]), np.array([1.0]))
    with pytest.raises(InputError, match=r"provider index is outside 0\.\.2"):
        visits.check(1, 3)
