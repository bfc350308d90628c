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


@pytest.mark.parametrize(
    ("says", "cause", "way_out"),
    [  # as libpq 15 and psycopg 3 say it
        ('connection to server at "db", port 5432 failed: FATAL:  password authentication failed for user "a"',
         "password is wrong", "FOOTFALL_STATE_URL"),
        ('connection to server at "db", port 5432 failed: fe_sendauth: no password supplied',
         "asks for a password", "[state] url"),
        ('connection failed: connection to server at "db", port 5432 failed: FATAL:  database "x" does not exist',
         "no such database", "FOOTFALL_STATE_URL"),
        ('connection failed: connection to server at "db", port 5432 failed: Connection refused\n\tIs it running?',
         "nothing listens", "start the database"),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "no such host", "[state] url"),
        ("connection failed: FATAL:  remaining connection slots are reserved", "in use", "max_connections"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_connection_has_a_way_out(says: str, cause: str, way_out: str) -> None:
    with pytest.raises(WorkspaceError) as error, schema.readable_errors("db/x"):
        raise sa.exc.OperationalError("", {}, psycopg.OperationalError(says))
    assert cause in error.value.message and way_out in error.value.way_out
    assert "\n" not in error.value.message


def test_a_database_that_is_not_there(postgres_url: str) -> None:
    with pytest.raises(WorkspaceError) as error:
        SqlKeys(f"{postgres_url}-elsewhere")
    assert "no such database" in error.value.message and "FOOTFALL_STATE_URL" in error.value.way_out


@pytest.mark.parametrize("address", ["ann:top@secret@db/x", "ann:topsecret@db:secret/x"])
def test_no_part_of_a_password_is_shown(address: str) -> None:
    """One that is not written as an address wants it ends up in the host, or the port."""
    with pytest.raises(WorkspaceError) as error:
        SqlKeys(f"postgresql+psycopg://{address}")
    assert "secret" not in str(error.value) and "%40" in error.value.way_out
