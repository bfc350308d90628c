"""Each adapter of ``ports.Ledger`` against the contract."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from footfall.stores import schema
from footfall.stores.ledger import SqlLedger
from footfall.testing_ledger import LedgerContract

POSTGRES = os.environ.get("FOOTFALL_TEST_POSTGRES", "")


class TestSqlLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[SqlLedger]:
        ledger = SqlLedger(f"sqlite:///{tmp_path / 'state.db'}")
        yield ledger
        ledger.close()


@pytest.mark.skipif(not POSTGRES, reason="FOOTFALL_TEST_POSTGRES names no empty database (postgresql+psycopg://...)")
class TestSqlLedgerOnPostgres(LedgerContract):
    @pytest.fixture
    def ledger(self) -> Iterator[SqlLedger]:
        ledger = SqlLedger(POSTGRES)
        with schema.writing(ledger._engine) as connection:
            for table in schema.metadata.sorted_tables:
                connection.execute(table.delete())
        yield ledger
        ledger.close()
