"""Each adapter of ``ports.Ledger`` against the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from footfall.stores.ledger import SqlLedger
from footfall.testing.ledger import LedgerContract


class TestSqlLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[SqlLedger]:
        ledger = SqlLedger(f"sqlite:///{tmp_path / 'state.db'}")
        yield ledger
        ledger.close()


class TestSqlLedgerOnPostgres(LedgerContract):
    @pytest.fixture
    def ledger(self, postgres_schema: str) -> Iterator[SqlLedger]:
        ledger = SqlLedger(postgres_schema)
        yield ledger
        ledger.close()
