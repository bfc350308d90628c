"""Opening the database of the control state: its settings, its schema, and errors that a person can read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from footfall.errors import WorkspaceError
from footfall.stores import postgres
from footfall.stores.migrations import HEAD

BUSY_WAIT_S = 30.0

metadata = sa.MetaData()

plans = sa.Table(
    "plans",
    metadata,
    sa.Column("version", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("plan_id", sa.Text(), nullable=False),
    sa.Column("status", sa.Text(), nullable=False),
    sa.Column("day", sa.Date(), nullable=False),
    sa.Column("as_of", sa.Date(), nullable=False),
    sa.Column("created_at", sa.DateTime(), nullable=False),
    sa.Column("body", sa.LargeBinary(), nullable=False),
    sqlite_autoincrement=True,
)
_PUBLISHED = sa.text("status = 'published'")
sa.Index("plans_one_published", plans.c.status, unique=True, sqlite_where=_PUBLISHED, postgresql_where=_PUBLISHED)
providers = sa.Table(
    "providers",
    metadata,
    sa.Column("provider_id", sa.Text(), primary_key=True),
    sa.Column("category", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
)
records = sa.Table(
    "records",
    metadata,
    sa.Column("key", sa.Text(), primary_key=True),
    sa.Column("body", sa.Text(), nullable=False),
)

# The ledger of live decisions (stores/ledger.py); amounts are whole millionths of a visit.
allowances = sa.Table(
    "allowances",
    metadata,
    sa.Column("day", sa.Date(), primary_key=True),
    sa.Column("provider_id", sa.Text(), primary_key=True),
    sa.Column("capacity", sa.BigInteger(), nullable=False),
    *(
        sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0"))
        for name in ("leased", "released", "committed", "outstanding", "organic")
    ),
)
lease_holders = sa.Table(
    "lease_holders",
    metadata,
    sa.Column("worker_id", sa.Text(), primary_key=True),
    sa.Column("host_id", sa.Text(), nullable=False),
    sa.Column("expires_at", sa.DateTime(), nullable=False),
)
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("worker_id", sa.Text(), primary_key=True),
    sa.Column("day", sa.Date(), primary_key=True),
    sa.Column("provider_id", sa.Text(), primary_key=True),
    sa.Column("granted", sa.BigInteger(), nullable=False),
)
pacings = sa.Table(
    "pacings",
    metadata,
    sa.Column("version", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("day", sa.Date(), nullable=False),
    sa.Column("plan_version", sa.BigInteger(), nullable=False),
    sa.Column("made_at", sa.DateTime(), nullable=False),
    sa.Column("body", sa.LargeBinary(), nullable=False),
    sa.Index("pacings_by_day", "day", "plan_version", "version"),
    sqlite_autoincrement=True,
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("prefix", sa.Text(), primary_key=True),
    sa.Column("digest", sa.LargeBinary(), nullable=False),
    sa.Column("scopes", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("created_at", sa.DateTime(), nullable=False),
    sa.Column("revoked_at", sa.DateTime(), nullable=True),
)
leaders = sa.Table(
    "leaders",
    metadata,
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Column("holder", sa.Text(), nullable=False),
    sa.Column("term", sa.BigInteger(), nullable=False),
    sa.Column("until", sa.DateTime(), nullable=False),
)

# Coupons and gifts (stores/offers.py); money in minor units.
offer_counts = sa.Table(
    "offer_counts",
    metadata,
    sa.Column("offer", sa.Text(), primary_key=True),
    *(
        sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0"))
        for name in ("issued", "reserved", "committed", "reserved_minor", "committed_minor")
    ),
)
HELD = ("reserved", "committed")  # states of a use that holds its place
coupons = sa.Table(
    "coupons",
    metadata,
    sa.Column("code", sa.Text(), primary_key=True),
    sa.Column("offer", sa.Text(), nullable=False),
    sa.Column("person", sa.Text(), nullable=False),
    sa.Column("issued_at", sa.DateTime(), nullable=False),
    sa.Column("expires_at", sa.DateTime(), nullable=True),
    sa.UniqueConstraint("offer", "person", name="one_coupon_a_person"),
)
redemptions = sa.Table(
    "redemptions",
    metadata,
    sa.Column("redemption_id", sa.Text(), primary_key=True),
    sa.Column("key", sa.Text(), nullable=False, unique=True),
    sa.Column("offer", sa.Text(), nullable=False),
    sa.Column("code", sa.Text(), nullable=False),
    sa.Column("person", sa.Text(), nullable=False),
    sa.Column("order_id", sa.Text(), nullable=False),
    sa.Column("off_minor", sa.BigInteger(), nullable=False),
    sa.Column("status", sa.Text(), nullable=False),
    sa.Column("reserved_at", sa.DateTime(), nullable=False),
    sa.Column("expires_at", sa.DateTime(), nullable=False),
    sa.Column("settled_at", sa.DateTime(), nullable=True),
    sa.Index("redemptions_by_person", "offer", "person", "status"),
    sa.Index("redemptions_by_status", "status", "expires_at"),
)

# Journeys and their messages (stores/entries.py, stores/outbox.py).
entries = sa.Table(
    "entries",
    metadata,
    sa.Column("journey", sa.Text(), primary_key=True),
    sa.Column("person", sa.Text(), primary_key=True),
    sa.Column("entry", sa.BigInteger(), primary_key=True),
    sa.Column("entered_at", sa.DateTime(), nullable=False),
    sa.Column("since", sa.DateTime(), nullable=False),
    sa.Column("provider_id", sa.Text(), nullable=False),
    sa.Column("category", sa.Text(), nullable=False),
    sa.Column("stake", sa.Double(), nullable=False),
    sa.Column("arm", sa.Text(), nullable=False),
    sa.Column("step", sa.Integer(), nullable=False),
    sa.Column("due_at", sa.DateTime(), nullable=False),
    sa.Column("status", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Index("entries_by_status", "journey", "status", "due_at"),
)
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("message_id", sa.Text(), primary_key=True),
    sa.Column("journey", sa.Text(), nullable=False),
    sa.Column("person", sa.Text(), nullable=False),
    sa.Column("step", sa.Integer(), nullable=False),
    sa.Column("entry", sa.BigInteger(), nullable=False),
    sa.Column("channel", sa.Text(), nullable=False),
    sa.Column("address", sa.Text(), nullable=False),
    sa.Column("template", sa.Text(), nullable=False),
    sa.Column("language", sa.Text(), nullable=False),
    sa.Column("context", sa.Text(), nullable=False),
    sa.Column("due_at", sa.DateTime(), nullable=False),
    sa.Column("value", sa.Double(), nullable=False),
    sa.Column("status", sa.Text(), nullable=False),
    sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
    sa.Column("worker", sa.Text(), nullable=False, server_default=""),
    sa.Column("lease_until", sa.DateTime(), nullable=True),
    sa.Column("next_at", sa.DateTime(), nullable=False),
    sa.Column("handed_at", sa.DateTime(), nullable=True),
    sa.Column("settled_at", sa.DateTime(), nullable=True),
    sa.Column("receipt", sa.Text(), nullable=False, server_default=""),
    sa.Column("error", sa.Text(), nullable=False, server_default=""),
    sa.UniqueConstraint("journey", "person", "step", "entry", name="one_message_a_step"),
    sa.Index("messages_by_status", "status", "next_at"),
    sa.Index("messages_by_person", "person", "handed_at"),
)
joined = sa.Table(
    "joined",
    metadata,
    sa.Column("was", sa.Text(), primary_key=True),
    sa.Column("person", sa.Text(), nullable=False),
    sa.Index("joined_by_person", "person"),
)
suppressions = sa.Table(
    "suppressions",
    metadata,
    sa.Column("who", sa.Text(), primary_key=True),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("at", sa.DateTime(), nullable=False),
)

revisions = sa.Table(  # Alembic's own
    "alembic_version",
    metadata,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

# Where databases differ, as data: how a transaction begins, and what makes writers (and migrations) take turns.
_BEGIN_WRITE = {"sqlite": "BEGIN IMMEDIATE"}
_BEGIN_READ = {"sqlite": "BEGIN DEFERRED"}
_WRITE_LOCK = {"postgresql": "SELECT pg_advisory_xact_lock(7018112)"}  # SQLite: BEGIN IMMEDIATE is the lock
_SQLITE_SETTINGS = ("PRAGMA foreign_keys=ON", "PRAGMA synchronous=FULL", "PRAGMA secure_delete=ON")

_ADDRESS = "correct FOOTFALL_STATE_URL, or [state] url in footfall.toml where that is not set"
_CAUSES = (
    ("disk is full", "the disk is full", "make room, then run it again; nothing was changed"),
    ("readonly database", "it is read-only", "check the permissions of the file and its folder"),
    ("unable to open", "it cannot be opened", "check that its folder exists and may be written to"),
    ("not a database", "it is no database", "put back a copy with `footfall restore`"),
    ("malformed", "it is damaged", "put back a copy with `footfall restore`"),
    ("disk i/o error", "the disk reports an error", "check free space and the disk; then put back a copy if needed"),
    ("locked", f"another process held it for over {BUSY_WAIT_S:.0f} s", "wait for that process, or end it"),
    ("password authentication failed", "its user or password is wrong", _ADDRESS),
    ("no password supplied", "it asks for a password", _ADDRESS),
    ('fatal:  database "', "there is no such database", f"make it, or {_ADDRESS}"),
    ("failed to resolve host", "there is no such host", _ADDRESS),
    ("connection refused", "nothing listens there", f"start the database, or {_ADDRESS}"),
    ("connection slots", "all its connections are in use", "raise max_connections of the database, or end others"),
    ("too many connections", "all connections it allows are in use", "raise that limit in the database, or end others"),
    ("timeout expired", "it does not answer", f"look at the database and the network, or {_ADDRESS}"),
    ("no answer within", "it does not answer", "look at the database and the network"),
    ("connection option", "an option is wrong", _ADDRESS),
    ("connection is bad", "it cannot be reached so", _ADDRESS),
    ("connection failed", "it lets nobody in", f"its own log says more; if need be, {_ADDRESS}"),
)


@contextmanager
def readable_errors(place: str) -> Iterator[None]:
    """Turn what the database raises into a WorkspaceError that names ``place``, the cause and the way out."""
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error) as error:
        text = str(error.orig if isinstance(error, exc.DBAPIError) else error).strip().partition("\n")[0]
        for mark, cause, way_out in _CAUSES:
            if mark in text.lower():
                raise WorkspaceError(f"the state {place}: {cause} ({text})", way_out) from error
        raise WorkspaceError(f"the state {place}: {text}", "the database's own log says more") from error


def open_engine(url: str, answer_s: float = 0.0) -> sa.Engine:
    """An engine for ``url``; SQLite with WAL, foreign keys and a busy timeout of ``BUSY_WAIT_S``.

    answer_s: how long PostgreSQL may take for an answer, seconds; 0: a statement may take what it needs.
    """
    try:
        parsed = _parsed(url)
        driver = parsed.get_driver_name()
        if parsed.get_backend_name() == "sqlite":
            engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_WAIT_S})
        elif driver == "psycopg":
            wait_s = answer_s or BUSY_WAIT_S  # for a connection while all are in use
            engine = sa.create_engine(parsed, connect_args=postgres.arguments(parsed, answer_s), pool_timeout=wait_s)
        else:
            engine = sa.create_engine(parsed)
    except exc.ArgumentError as error:
        raise WorkspaceError(
            f"the state's address is wrong: {error}", "use sqlite:///PATH or postgresql+psycopg://..."
        ) from None
    except ModuleNotFoundError as error:
        raise WorkspaceError(
            f"the state {place(url)} needs the Python package {error.name!r}",
            f"install it: pip install {error.name}",
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    elif answer_s and driver == "psycopg":
        postgres.bound(engine, answer_s)
    return engine


def _parsed(url: str) -> sa.URL:
    """The address; WorkspaceError, without a part of it, where a password may stand in the wrong place of it."""
    try:
        parsed = sa.make_url(url)
    except ValueError:
        parsed = None
    if parsed is None or "@" in (parsed.host or ""):
        raise WorkspaceError(
            "the state's address is wrong: its port is no number, or its password has characters that end it",
            f"write @ : / in a password as %40 %3A %2F; {_ADDRESS}",
        )
    return parsed


def place(url: str) -> str:
    """The address as it may be shown: without a password, a SQLite file as its path."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return str(Path(parsed.database)) if parsed.database else "in memory"
    return parsed.render_as_string(hide_password=True)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own implicit BEGIN is switched off: _begin_sqlite begins, so that schema changes are
    # transactional and a writer takes its lock at once instead of failing half-way.
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor)
    for setting in _SQLITE_SETTINGS:
        cursor.execute(setting)
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Turn WAL on. SQLite does not wait here: where two processes make the state at once, one is told busy."""
    until = time.monotonic() + BUSY_WAIT_S
    while True:
        try:
            if cursor.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
                cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: sa.Connection) -> None:
    begin = _BEGIN_WRITE if connection.get_execution_options().get("footfall_write") else _BEGIN_READ
    connection.exec_driver_sql(begin[connection.dialect.name])


def spelled(ids: Iterable[str]) -> list[str]:
    """Persons' ids as journeys have them, too: u: before a user's, d: before a device's."""
    return sorted({mark + one for one in ids for mark in ("", "u:", "d:")})


def scrub(engine: sa.Engine) -> None:
    """Empty SQLite's write-ahead log, which still holds what was erased; other databases look after theirs."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction that writes, and waits for the writer before it reads anything."""
    with engine.connect().execution_options(footfall_write=True) as connection, connection.begin():
        lock = _WRITE_LOCK.get(connection.dialect.name)
        if lock:
            connection.exec_driver_sql(lock)
        yield connection


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to ``HEAD``, safely for many openers; WorkspaceError if a newer Footfall was here.

    A new state is made at once as it stands above, which gives what all revisions give one after the other.
    """
    with engine.connect() as connection:
        if _has_revision(connection) and connection.execute(sa.select(revisions)).scalar() == HEAD:
            return
    with writing(engine) as connection:
        if _has_revision(connection):
            _upgrade(connection)
        else:
            metadata.create_all(connection, checkfirst=False)
            connection.execute(revisions.insert().values(version_num=HEAD))


def _has_revision(connection: sa.Connection) -> bool:
    return sa.inspect(connection).has_table(revisions.name)


def _upgrade(connection: sa.Connection) -> None:
    # Alembic is heavy, and needed only where an earlier Footfall made the state.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)

    def steps(revision: Any, _context: object) -> Any:
        return script._upgrade_revs("head", revision)

    try:
        with EnvironmentContext(config, script, fn=steps) as environment:
            environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
            environment.run_migrations()
    except CommandError as error:
        raise WorkspaceError(
            f"the state is of a newer version than this Footfall, which knows up to {HEAD}: {error}",
            "update Footfall",
        ) from None
