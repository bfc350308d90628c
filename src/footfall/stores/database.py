"""What all parts of the control state share: opening its database, taking turns, and times as its tables hold them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from footfall.errors import InputError
from footfall.stores import schema

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}  # both know "on conflict"


class OnDatabase:
    """A part of the control state in the database at a SQLAlchemy URL; opening it brings the schema up to date."""

    def __init__(self, url: str, answer_s: float = 0.0) -> None:
        """Open the state at ``url``; WorkspaceError if it cannot be used.

        answer_s: seconds after which PostgreSQL is taken for away, WorkspaceError; 0: it may take what it needs.
        """
        self._engine = schema.open_engine(url, answer_s)
        self._place = schema.place(url)
        with schema.readable_errors(self._place):
            schema.migrate(self._engine)

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that no other writer shares."""
        with schema.readable_errors(self._place), schema.writing(self._engine) as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """A connection to read from."""
        with schema.readable_errors(self._place), self._engine.connect() as connection:
            yield connection

    def _insert_once(self, table: sa.Table) -> Any:
        """An insert that leaves rows alone whose key is there already."""
        return _INSERTS[self._engine.dialect.name](table).on_conflict_do_nothing()


def naive(moment: datetime) -> datetime:
    """An aware time as the tables hold it: UTC, without saying so. InputError where it has no zone."""
    if moment.tzinfo is None:
        raise InputError(f"the time {moment} has no zone", "give an aware time, UTC")
    return moment.astimezone(UTC).replace(tzinfo=None)
