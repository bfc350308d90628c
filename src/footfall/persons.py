"""Keys of persons: a mark that tells what they are known by, then the identifier that the log has.

The marks are made by ``value.identity``; keys of an earlier state, of a log without users, have none.
"""

from __future__ import annotations

MARKS = ("u:", "d:", "v:", "m:")  # a user, a device, a visit, an event alone


def keys_of(who: str) -> tuple[str, ...]:
    """The keys that an identifier of the log, or a key, may stand for."""
    return (who,) if who.startswith(MARKS) else (f"d:{who}", f"u:{who}")


def id_of(key: str) -> str:
    """The identifier of the log behind a key, or behind itself."""
    return key[2:] if key.startswith(MARKS) else key
