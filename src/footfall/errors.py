"""Every error that Footfall raises on purpose, in one tree.

    FootfallError                 a message for a person: what, where, what to do
    ├── ConfigError               footfall.toml, an option, a key
    ├── WorkspaceError            no workspace here, locked, read-only, disk full, from a newer version
    │   └── StorageError          a disk that does not take what should be on it before the answer: try again later
    ├── InputError                a file, a frame or an array that cannot be used as it is
    │   ├── FormatError           the file itself: empty, truncated, wrong encoding, no such column
    │   └── ProblemError          an allocation problem whose arrays are not valid
    ├── ServiceError              the live service refused, or did not answer (footfall.Client)
    ├── NotEnoughDataError        the question is fair, the log cannot answer it
    ├── UnsolvedError             limits of which neither a plan nor a conflict could be shown
    └── InfeasibleError           limits that cannot all hold; carries the proof

A user never sees a traceback for what a user did: the command line prints the message and exits with
``exit_status``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from footfall.model import Conflict


class FootfallError(Exception):
    """The root: ``message`` says what is wrong and where, ``way_out`` what to do about it."""

    exit_status = 1

    def __init__(self, message: str, way_out: str = "") -> None:
        self.message = message
        self.way_out = way_out
        super().__init__(f"{message}\n  {way_out}" if way_out else message)

    def __reduce__(self) -> tuple[Any, ...]:
        """An error crosses from one process to another as it is, with all that it carries."""
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(kind: type[FootfallError], args: tuple[Any, ...], carried: dict[str, Any]) -> FootfallError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(carried)
    return error


class ConfigError(FootfallError):
    """A setting, an option or a key that is unknown, of the wrong type or out of its range."""

    exit_status = 2


class WorkspaceError(FootfallError):
    """The workspace cannot be used: absent, locked, read-only, full, or of a newer version."""


class StorageError(WorkspaceError):
    """What has to be on disk before it is acknowledged could not be written; nothing of it was, so try it again."""


class InputError(FootfallError):
    """Something handed in cannot be used as it is."""


class FormatError(InputError):
    """A file as a whole is unreadable: empty, truncated, in a wrong encoding, without a needed column."""


class ProblemError(InputError):
    """The arrays of an allocation problem are not valid; the message names row, provider and bound."""


class ServiceError(FootfallError):
    """The live service refused what was sent, or did not answer. ``status``: its HTTP status, 0 where it was away."""

    def __init__(self, message: str, way_out: str = "", *, status: int = 0) -> None:
        self.status = status
        super().__init__(message, way_out)


class NotEnoughDataError(FootfallError):
    """The log holds too little to answer."""


class UnsolvedError(FootfallError):
    """No plan that holds every limit was found, and no proof that there is none: out of time, or just at the edge."""


class InfeasibleError(FootfallError):
    """Limits that cannot all hold.

    ``conflict`` is a ``footfall.model.Conflict``: the limits in conflict, proved by weights whose sum no plan can
    reach, and the least by which they must give.
    """

    exit_status = 3

    def __init__(self, message: str, conflict: Conflict, way_out: str = "") -> None:
        self.conflict = conflict
        super().__init__(message, way_out)
