"""PostgreSQL that does not answer: whoever asks within a bound is told so in time, whoever does not may take long."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from footfall.errors import WorkspaceError
from footfall.stores import postgres, schema
from footfall.stores.keys import SqlKeys


def refused(keys: SqlKeys, within_s: float) -> str:
    begun = time.monotonic()
    with pytest.raises(WorkspaceError) as error:
        keys.any()
    assert time.monotonic() - begun < within_s
    return error.value.message


def test_a_locked_table_is_given_up(postgres_url: str) -> None:
    keys = SqlKeys(postgres_url, 1.0)
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE api_keys")
        assert "statement timeout" in refused(keys, 3)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        assert other.execute(waiting).fetchone() == (0,), "nothing of it stays behind in the server"
        other.rollback()
    assert not keys.any()
    keys.close()


def test_a_server_that_says_nothing_is_given_up(postgres_wire: Any) -> None:
    keys = SqlKeys(postgres_wire.url, 1.0)
    postgres_wire.silent()
    assert "no answer within 2 s" in refused(keys, 4)  # on a connection that is open
    assert "timeout" in refused(keys, 4)  # on a new one: two seconds are libpq's least
    postgres_wire.back()
    assert not keys.any()
    keys.close()


def test_what_works_on_takes_what_it_needs(postgres_url: str) -> None:
    """Statements are bounded only where that is asked for; a host that is gone is noticed in any case."""
    engine = schema.open_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SHOW statement_timeout")).scalar() == "0"
        parameters = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
        assert parameters["tcp_user_timeout"] == "30000" and parameters["connect_timeout"] == "10"
        assert parameters["keepalives_idle"] == "10"
    engine.dispose()


def test_the_address_stands_above_the_bounds_of_the_network() -> None:
    url = sa.make_url("postgresql+psycopg://db/x?connect_timeout=60&options=-csearch_path%3Dp&tcp_user_timeout=5")
    told = postgres.arguments(url, 0)
    assert not {"connect_timeout", "tcp_user_timeout", "options"} & set(told)
    assert postgres.arguments(url, 3.0)["options"] == "-csearch_path=p -c statement_timeout=3000"
