"""Each adapter of ``ports.Outbox`` against the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from footfall.stores.outbox import SqlOutbox
from footfall.testing.outbox import OutboxContract


class TestSqlOutbox(OutboxContract):
    @pytest.fixture
    def outbox(self, tmp_path: Path) -> Iterator[SqlOutbox]:
        outbox = SqlOutbox(f"sqlite:///{tmp_path / 'state.db'}")
        yield outbox
        outbox.close()


class TestSqlOutboxOnPostgres(OutboxContract):
    @pytest.fixture
    def outbox(self, postgres_schema: str) -> Iterator[SqlOutbox]:
        outbox = SqlOutbox(postgres_schema)
        yield outbox
        outbox.close()
