"""Writing to a disk that may be full, read-only or cut off from power: durable, and failing in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from footfall.errors import WorkspaceError


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk on return."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(what: str, way_out: str, *others: type[Exception]) -> Iterator[None]:
    """Turn errors of the disk, and those ``others``, into a WorkspaceError: "``what`` cannot be written: ..."."""
    try:
        yield
    except OSError as error:
        raise WorkspaceError(f"{what} cannot be written: {error.strerror or error}", way_out) from error
    except others as error:
        raise WorkspaceError(f"{what} cannot be written: {error}", way_out) from error
