"""A workspace to import into, for the tests of intake."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from footfall.config import Config, WorkspaceSettings
from footfall.model import ImportSummary, Reject
from footfall.record.intake import import_files, record_frame
from footfall.record.quarantine import rejects
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.testing import FixedClock

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


@cache
def _engine() -> DuckEngine:
    """One for all tests: an import works in a session of its own, and making an engine takes as long as an import."""
    return DuckEngine(256, 2, Path(tempfile.gettempdir()) / f"footfall-tests-{os.getpid()}")


class Workspace:
    """Lake, engine and quarantine in a folder; small enough that a test makes its own."""

    def __init__(self, folder: Path, currency: str = "USD", timezone: str = "UTC") -> None:
        self.folder = folder
        self.config = Config(workspace=WorkspaceSettings(currency=currency, timezone=timezone))
        self.lake = Lake(folder / "lake")
        self.engine = _engine()
        self.quarantine = folder / "quarantine"

    def write(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def load(self, *paths: str, **options: Any) -> ImportSummary:
        summary = import_files(
            self.lake, self.engine, self.config, FixedClock(NOW), paths, quarantine_dir=self.quarantine, **options
        )
        assert summary.read == summary.added + summary.duplicates + summary.rejected
        assert summary.rejected == sum(summary.reasons.values())
        return summary

    def frame(self, frame: object, **options: Any) -> ImportSummary:
        return record_frame(
            self.lake, self.engine, self.config, FixedClock(NOW), frame, quarantine_dir=self.quarantine, **options
        )

    def text(self, name: str, content: str | bytes, **options: Any) -> ImportSummary:
        return self.load(self.write(name, content), **options)

    def rows(self, columns: str = "*", order: str = "ts, message_id") -> list[dict[str, Any]]:
        self.lake.attach(self.engine)
        found: list[dict[str, Any]] = self.engine.query(f"SELECT {columns} FROM events ORDER BY {order}").to_pylist()
        return found

    def kept_aside(self) -> list[Reject]:
        return list(rejects(self.quarantine))
