"""Who leads (``ports.Leadership``): of several hosts on one state, one plans and compacts.

The lead is a lease in one row. Its holder renews it; where it was not renewed for the length of the lease, the next
who asks takes it, under a higher term. Time is the database's own, so that hosts whose clocks differ agree.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from footfall.model import Lead
from footfall.stores import schema
from footfall.stores.database import OnDatabase
from footfall.stores.schema import leaders

# Where databases differ, as data: their own time, UTC, without a zone.
_NOW = {
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')",
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
}


class SqlLeadership(OnDatabase):
    """``ports.Leadership`` on SQLAlchemy; opening it brings the schema up to date."""

    def hold(self, holder: str, lease_s: float) -> Lead:
        """Renew the lead of ``holder`` for ``lease_s`` seconds, take it where it is free, else see who has it."""
        with schema.readable_errors(self._place), schema.writing(self._engine) as connection:
            now = self._now(connection)
            row = connection.execute(sa.select(leaders).where(leaders.c.name == _NAME)).first()
            until = now + timedelta(seconds=lease_s)
            if row is None:
                connection.execute(leaders.insert().values(name=_NAME, holder=holder, term=1, until=until))
                return Lead(holder, 1, True)
            if row.holder != holder and row.until > now:
                return Lead(row.holder, row.term, False)
            term = row.term if row.holder == holder and row.until > now else row.term + 1
            connection.execute(
                leaders.update().where(leaders.c.name == _NAME).values(holder=holder, term=term, until=until)
            )
            return Lead(holder, term, True)

    def release(self, holder: str) -> None:
        """Give the lead up at once, where ``holder`` has it."""
        with schema.readable_errors(self._place), schema.writing(self._engine) as connection:
            mine = (leaders.c.name == _NAME) & (leaders.c.holder == holder)
            connection.execute(leaders.update().where(mine).values(until=datetime(1970, 1, 1)))

    def _now(self, connection: sa.Connection) -> datetime:
        now = connection.exec_driver_sql(_NOW[connection.dialect.name]).scalar_one()
        return datetime.fromisoformat(now) if isinstance(now, str) else now


_NAME = "keeper"
