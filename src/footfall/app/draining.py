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
    """Join small files of events and decisions, under both locks in the drain's order; the files that were joined."""
    today = here.today()
    stores = (here.store, here.decisions)
    if not any(_due(store, today) for store in stores):
        return 0
    with here.store.lock(), here.decisions.lock():
        # Asked again: another host may just have done it.
        return sum(store.compact(days, fewest) for store in stores for days, fewest in _due(store, today))


def _due(store: Store, today: date) -> list[tuple[list[date], int]]:
    """(days to join the files of, how many it takes): days that are over, and today where many have gathered."""
    files = Counter(Path(path).parent.name for path in store.files())
    days = {day: files[f"day={day.isoformat()}"] for day in store.days()}
    over = [day for day, count in days.items() if day < today and count >= FEWEST]
    gathered = [day for day, count in days.items() if day >= today and count >= FEWEST_TODAY]
    return [(found, fewest) for found, fewest in ((over, FEWEST), (gathered, FEWEST_TODAY)) if found]
