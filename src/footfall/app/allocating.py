"""Memory of a process that works in bursts and lives for months: what a burst has let go of goes back to the system.

The C library keeps what was freed, in an arena for each thread that ever asked (deltalake, Arrow and DuckDB bring
many); left alone, the process grows for hours although nothing is held.
"""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2


def few_arenas() -> None:
    """Let all threads share two arenas; call it before they start. Nothing happens without glibc."""
    _call("mallopt", _M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return what is free to the system; some milliseconds."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None:
        pyarrow.default_memory_pool().release_unused()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    found = getattr(ctypes.CDLL(None), name, None)  # other C libraries have none of these
    if found is not None:
        found(*arguments)
