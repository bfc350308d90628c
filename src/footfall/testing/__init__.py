"""Contract suites, one module for each seam of ``ports.py``, and fakes: a new adapter applies a suite in one line.

    from footfall.testing.store import StoreContract

    class TestLake(StoreContract):
        @pytest.fixture
        def store(self, tmp_path): return Lake(tmp_path / "lake")

``FixedClock`` is a ``ports.Clock`` that stands still.
"""

from footfall.testing.clock import FixedClock

__all__ = ["FixedClock"]
