"""Writing to a disk that may be full, read-only or cut off from power: durable, and failing in words."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from footfall.errors import WorkspaceError

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # what some libraries put into their messages


def place_for_kernels() -> None:
    """See that compiled kernels have a folder to be kept in, before any is compiled: Numba refuses to work without.

    It takes the package's own, else the user's cache, else, from here, one for this process alone (NUMBA_CACHE_DIR).
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    own = Path(__file__).parent / "acquire"
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME", "/nonexistent")) / ".cache")
    if not any(_may_be_written(place) for place in (own / "__pycache__", user)):
        import tempfile

        os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="footfall-kernels-")


def _may_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def check_place(folder: Path) -> None:
    """WorkspaceError where the log cannot be in this folder: Delta reads such a path as another one."""
    path = str(folder.resolve())
    if unquote(path) != path or "\\" in path or not path.isprintable():
        raise WorkspaceError(
            f"the log cannot be kept at {path!r}: Delta Lake, in which it is kept, takes a path with a backslash, with "
            "% before two hexadecimal digits or with control characters for another one",
            "rename the folder, or choose another",
        )


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
        told = _COLOUR.sub("", str(error))
        raise WorkspaceError(f"{what} cannot be written: {told}", way_out) from error


@contextmanager
def held(path: Path, *, shared: bool = False, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock file, alone or with others that share it; the system lets go of it when the process dies.

    on_wait: called where somebody else holds it, before it is waited for. WorkspaceError where it cannot be made.
    """
    with writing(f"the lock {path}", "check free space and permissions, then run it again"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, kind)
        yield
    finally:
        os.close(handle)
