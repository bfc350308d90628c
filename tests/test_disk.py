"""Where compiled kernels are kept when no usual place may be written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from footfall import disk


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "x")  # so that whatever is set is undone
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    return monkeypatch


def test_kernels_have_a_place_of_their_own_where_nothing_else_is(clean: pytest.MonkeyPatch) -> None:
    clean.setattr(disk.os, "access", lambda *_: False)
    disk.place_for_kernels()
    made = Path(os.environ["NUMBA_CACHE_DIR"])
    assert made.is_dir()
    made.rmdir()


def test_usual_places_are_left_alone(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk.place_for_kernels()
    assert "NUMBA_CACHE_DIR" not in os.environ
    clean.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    clean.setattr(disk.os, "access", lambda *_: False)
    disk.place_for_kernels()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path)
