"""Every adapter of Store and Engine passes the contract of its seam."""

from pathlib import Path

import pytest

from footfall.ports import Engine, Store
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.testing.store import EngineContract, StoreContract


@pytest.fixture
def engine(tmp_path: Path):
    engine = DuckEngine(256, 2, tmp_path / "tmp")
    yield engine
    engine.close()


class TestLake(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Lake(tmp_path / "lake")


class TestDuckEngine(EngineContract):
    def test_it_is_the_engine_meant(self, engine: Engine) -> None:
        assert isinstance(engine, DuckEngine)
