"""Connections to PostgreSQL that end: a server that is cut off, or hangs, does not hold those who ask it for ever.

The network's own bounds notice a host that is gone, and let statements take as long as they need. ``answer_s`` bounds
statements, too: the server's own ``statement_timeout`` where the server lives, and the wait on our side where it does
not even say that it cannot. Nothing but the answers of a service is asked so: migrations and large plans may take long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import sqlalchemy as sa

CONNECT_S = 10
# A host that is gone is noticed within half a minute, whether we wait for it or send to it (libpq's own parameters).
_NETWORK = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_LATER_S = 1.0  # the server ends a statement before we end the connection


def arguments(url: sa.URL, answer_s: float) -> dict[str, Any]:
    """What connections to ``url`` are made with; what the address itself says stands above the bounds of the network.

    answer_s: seconds that a statement, or a connection, may take; 0: a statement has no bound.
    """
    told: dict[str, Any] = {name: value for name, value in _NETWORK.items() if name not in url.query}
    if answer_s:
        given = url.query.get("options", "")
        options = given if isinstance(given, str) else " ".join(given)
        told["options"] = f"{options} -c statement_timeout={int(answer_s * 1000)}".strip()
        told["connect_timeout"] = max(2, int(answer_s))  # libpq takes no less
    return told


def bound(engine: sa.Engine, answer_s: float) -> None:
    """Have connections of ``engine`` closed on which the server says nothing for longer than ``answer_s`` seconds."""
    import psycopg

    class Silence(psycopg.OperationalError):
        """The server says nothing."""

    class Bounded(psycopg.Connection[Any]):
        """A connection that does not wait longer."""

        def wait(self, gen: Any, *args: Any, **more: Any) -> Any:
            """As psycopg's, which asks ``gen`` every tenth of a second, and whenever something has arrived."""
            try:
                return super().wait(_heard(gen, answer_s + _LATER_S, Silence), *args, **more)
            except Silence:
                self.close()
                raise

    def connect(_dialect: Any, _record: Any, args: Any, told: Any) -> Any:
        return Bounded.connect(*args, **told)

    sa.event.listen(engine, "do_connect", connect)


def _heard(gen: Any, silent_s: float, silence: Callable[[str], Exception]) -> Generator[Any, Any, Any]:
    """``gen`` as it is, until nothing has come for that many seconds."""
    since = time.monotonic()
    try:
        asked = next(gen)
        while True:
            ready = yield asked
            if ready:
                since = time.monotonic()
            elif time.monotonic() - since > silent_s:
                raise silence(f"no answer within {silent_s:g} s")
            asked = gen.send(ready)
    except StopIteration as done:
        return done.value
