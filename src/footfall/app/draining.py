"""From the inbox to the lake, and small files into large ones: what the keeper does with the log."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from footfall.app.build import Workspace
from footfall.ports import Store

if TYPE_CHECKING:
    from footfall.record.drained import Drained
    from footfall.stores.engine import DuckEngine

FEWEST_TODAY = 60  # a drain a second makes a file a second: they are joined when so many have gathered
FEWEST = 2


class Drainer:
    """Drains one workspace again and again on one engine; a drain that fails leaves it to the next to open another."""

    def __init__(self, here: Workspace) -> None:
        self._here = here
        self._engine: DuckEngine | None = None

    def drain(self) -> Drained:
        """Move all that waits; WorkspaceError where the lake cannot be written: then it stays in the inbox."""
        from footfall.record.drained import drain

        here = self._here
        if self._engine is None:
            self._engine = here.open_engine()
        try:
            return drain(
                here.inbox,
                here.store,
                here.decisions,
                self._engine,
                here.config,
                here.clock,
                quarantine_dir=here.quarantine,
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the engine's memory back."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


def compact(here: Workspace) -> int:
    """Join small files of events and decisions; the files that were joined."""
    today = here.today()
    joined = 0
    for store in (here.store, here.decisions):
        joined += _compact(store, today)
    return joined


def _compact(store: Store, today: date) -> int:
    files = Counter(Path(path).parent.name for path in store.files())
    days = {day: files[f"day={day.isoformat()}"] for day in store.days()}
    over = [day for day, count in days.items() if day < today and count >= FEWEST]
    gathered = [day for day, count in days.items() if day >= today and count >= FEWEST_TODAY]
    if not over and not gathered:
        return 0
    with store.lock():
        return store.compact(over, FEWEST) + store.compact(gathered, FEWEST_TODAY)
