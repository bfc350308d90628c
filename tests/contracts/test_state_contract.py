"""Each adapter of ``ports.State`` against the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from footfall.stores.state import SqlState
from footfall.testing.state import StateContract


class TestSqlState(StateContract):
    @pytest.fixture
    def state(self, tmp_path: Path) -> Iterator[SqlState]:
        state = SqlState(f"sqlite:///{tmp_path / 'state.db'}")
        yield state
        state.close()


class TestSqlStateInMemory(StateContract):
    @pytest.fixture
    def state(self) -> Iterator[SqlState]:
        state = SqlState("sqlite://")
        yield state
        state.close()


class TestSqlStateOnPostgres(StateContract):
    @pytest.fixture
    def state(self, postgres_schema: str) -> Iterator[SqlState]:
        state = SqlState(postgres_schema)
        yield state
        state.close()
