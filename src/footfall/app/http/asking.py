"""Asking the state before an answer, in threads: where it is away, requests do not wait to find that out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from footfall.errors import FootfallError, WorkspaceError

T = TypeVar("T")
RETRY_S = 1.0  # between two tries of a state that is away
_TRY_S = 10.0  # within which a try has an answer


class Asking:
    """Asks a state for as long as it answers. Then nobody waits for it: it is tried beside the requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._away = False
        self._next = 0.0  # when one that is away is tried again

    async def ask(self, question: Callable[[], T]) -> T:
        """What the state says; FootfallError where it does not, or did not a moment ago."""
        if not self._away:
            return await asyncio.to_thread(self._asked, question)
        if self._clock() >= self._next:
            self._next = self._clock() + _TRY_S
            asyncio.get_running_loop().run_in_executor(None, self._try, question)
        raise _away()

    def _asked(self, question: Callable[[], T]) -> T:
        if self._away:  # since it waits for a thread
            raise _away()
        try:
            return question()
        except FootfallError:
            self._next = self._clock() + RETRY_S
            self._away = True
            raise

    def _try(self, question: Callable[[], object]) -> None:
        try:
            question()
        except FootfallError:
            self._next = self._clock() + RETRY_S
        else:
            self._away = False


def _away() -> WorkspaceError:
    return WorkspaceError("the state does not answer", "ask again in some seconds")
