"""What the handlers of one worker share."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from footfall.app.build import Workspace
from footfall.app.http.access import Access
from footfall.app.http.metrics import Metrics
from footfall.config import ServeSettings
from footfall.ports import Inbox

if TYPE_CHECKING:
    from footfall.app.http.collect import Collector
    from footfall.app.http.commit import GroupCommit
    from footfall.app.http.live import Live
    from footfall.app.http.reading import Reader


@dataclass(frozen=True, eq=False)
class Context:
    """One worker's parts; made once in ``worker.py``, handed to every handler.

    keys: ``await keys.check(scope, "collect")`` gives the name of the key or raises Problem. commit: ``await
    commit.put([(kind, body), ...])`` returns when all of it is on disk, StorageError where it cannot be; ``submit`` is
    the same with a function to call.
    """

    here: Workspace
    settings: ServeSettings
    inbox: Inbox
    commit: GroupCommit
    keys: Access
    metrics: Metrics
    collector: Collector
    live: Live
    reader: Reader

    @property
    def max_body(self) -> int:
        """Largest body as sent, bytes."""
        return self.settings.max_body_kb * 1024

    @property
    def max_unpacked(self) -> int:
        """Largest body after gzip, bytes."""
        return self.settings.max_unpacked_kb * 1024

    async def close(self) -> None:
        """Give leases back, write what waits for the disk, end the process that reads; each whatever the others do."""
        async with AsyncExitStack() as last:
            last.push_async_callback(self.reader.close)
            last.push_async_callback(asyncio.to_thread, self.commit.close)
            await self.live.close()
