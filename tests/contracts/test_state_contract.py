"""Each adapter of ``ports.State`` against the contract."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from footfall.stores import schema
from footfall.stores.state import SqlState
from footfall.testing_state import StateContract


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


POSTGRES = os.environ.get("FOOTFALL_TEST_POSTGRES", "")


@pytest.mark.skipif(not POSTGRES, reason="FOOTFALL_TEST_POSTGRES names no empty database (postgresql+psycopg://...)")
class TestSqlStateOnPostgres(StateContract):
    @pytest.fixture
    def state(self) -> Iterator[SqlState]:
        state = SqlState(POSTGRES)
        with schema.writing(state._engine) as connection:
            for table in schema.metadata.sorted_tables:
                connection.execute(table.delete())
        yield state
        state.close()
