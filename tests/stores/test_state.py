"""SqlState beyond the contract: processes at once, broken files, schema revisions, PostgreSQL's dialect."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from footfall.errors import InputError, WorkspaceError
from footfall.stores import schema
from footfall.stores.migrations import HEAD
from footfall.stores.state import SqlState
from footfall.testing.state import assert_same_plan, sample_plan
from postgres_server import new_schema


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def _save_many(address: str, name: str, count: int) -> list[int]:
    state = SqlState(address)
    versions = []
    for i in range(count):
        versions.append(state.save_plan(sample_plan(f"{name}-{i}")).version)
        state.publish(versions[-1])
    state.close()
    return versions


def test_two_processes_never_share_a_version(tmp_path: Path) -> None:
    # Both also create the schema, at once.
    with multiprocessing.get_context("fork").Pool(2) as pool:
        tasks = [pool.apply_async(_save_many, (url(tmp_path / "s.db"), n, 15)) for n in "ab"]
        left, right = (t.get(60) for t in tasks)
    assert sorted(left + right) == list(range(1, 31))
    assert left == sorted(left) and right == sorted(right)
    statuses = [p.status for p in SqlState(url(tmp_path / "s.db")).plans()]
    assert statuses.count("published") == 1 and statuses.count("retired") == 29


def test_wal_and_foreign_keys_are_on(tmp_path: Path) -> None:
    engine = schema.open_engine(url(tmp_path / "s.db"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


def test_state_survives_its_process(tmp_path: Path) -> None:
    saved = SqlState(url(tmp_path / "s.db")).save_plan(sample_plan())
    read = SqlState(url(tmp_path / "s.db")).plan(saved.version)
    assert read is not None
    assert_same_plan(read, saved)


def test_the_database_itself_refuses_two_published_plans(tmp_path: Path) -> None:
    state = SqlState(url(tmp_path / "s.db"))
    for _ in range(2):
        state.save_plan(sample_plan())
    with sqlite3.connect(tmp_path / "s.db") as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE plans SET status = 'published'")


def test_a_failed_publish_rolls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = SqlState(url(tmp_path / "s.db"))
    versions = [state.save_plan(sample_plan()).version for _ in range(2)]
    state.publish(versions[0])
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON plans WHEN new.status = 'published' "
            "BEGIN SELECT RAISE(ABORT, 'pulled the plug'); END"
        )
    with pytest.raises(WorkspaceError, match="pulled the plug"):
        state.publish(versions[1])
    published = state.plan(status="published")
    assert published is not None and published.version == versions[0]


def test_head_is_the_newest_revision() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


_SHAPES = {  # of all that stands in a database, as it says itself; names of SQLite's statements one blank apart
    "sqlite": ("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name",),
    "postgresql": (
        "SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length, is_nullable, "
        "replace(column_default, current_schema() || '.', '') FROM information_schema.columns "
        "WHERE table_schema = current_schema() ORDER BY 1, 2",
        "SELECT tablename, indexname, replace(indexdef, current_schema() || '.', '') FROM pg_indexes "
        "WHERE schemaname = current_schema() ORDER BY 2",
        "SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = current_schema()::regnamespace ORDER BY 1, 2",
        "SELECT sequencename, data_type, start_value, increment_by, cycle FROM pg_sequences "
        "WHERE schemaname = current_schema() ORDER BY 1",
    ),
}


def _shape(engine: sa.Engine) -> list[list[object]]:
    with engine.connect() as connection:
        rows = [
            [" ".join(str(value).split()) for value in row]
            for query in _SHAPES[engine.dialect.name]
            for row in connection.exec_driver_sql(query)
        ]
        return [*rows, [connection.execute(sa.select(schema.revisions)).scalar_one()]]


def _by_revisions(engine: sa.Engine) -> None:
    """A state as Footfalls before made it: an empty table of revisions, then each revision."""
    with schema.writing(engine) as connection:
        schema.revisions.create(connection)
    schema.migrate(engine)


def test_a_state_made_at_once_is_the_one_of_all_revisions(tmp_path: Path) -> None:
    at_once, step_by_step = (schema.open_engine(url(tmp_path / name)) for name in ("a.db", "b.db"))
    schema.migrate(at_once)
    _by_revisions(step_by_step)
    made = _shape(at_once)
    assert len(made) > 30 and made == _shape(step_by_step)


def test_a_state_made_at_once_is_the_one_of_all_revisions_on_postgresql(postgres_server: str) -> None:
    names = [f"t{uuid.uuid4().hex}" for _ in range(2)]
    at_once, step_by_step = (schema.open_engine(new_schema(postgres_server, name)) for name in names)
    try:
        schema.migrate(at_once)
        _by_revisions(step_by_step)
        made = _shape(at_once)
        assert len(made) > 100 and made == _shape(step_by_step)
    finally:
        at_once.dispose()
        step_by_step.dispose()


def test_opening_a_new_or_a_current_state_does_not_import_alembic(tmp_path: Path) -> None:
    script = (
        "import sys; from footfall.stores.state import SqlState; "
        f"[SqlState({url(tmp_path / 's.db')!r}) for _ in range(2)]; print('alembic' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    SqlState(url(tmp_path / "s.db")).close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(WorkspaceError, match=r"newer version.*9999") as caught:
        SqlState(url(tmp_path / "s.db"))
    assert caught.value.way_out == "update Footfall"


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)


def _truncated(path: Path) -> None:
    state = SqlState(url(path))
    for i in range(20):
        state.save_plan(sample_plan(pairs=2000 + i))
    state.close()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 // 4096 * 4096 - 4096] + b"\xff" * 4096)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("spoil", [_garbage, _truncated, _folder])
def test_a_broken_file_is_a_workspace_error(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "s.db"
    spoil(path)
    with pytest.raises(WorkspaceError, match=str(path)) as caught:
        SqlState(url(path)).plans()
    assert caught.value.way_out


def test_a_folder_that_is_not_there_is_a_workspace_error(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        SqlState(url(tmp_path / "absent" / "s.db"))


def test_a_full_disk_is_a_workspace_error_and_changes_nothing(tmp_path: Path) -> None:
    state = SqlState(url(tmp_path / "s.db"))
    state.save_plan(sample_plan("kept"))

    def no_room(connection: sqlite3.Connection, _record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    state._engine.dispose()
    sa.event.listen(state._engine, "connect", no_room)
    with pytest.raises(WorkspaceError, match="the disk is full"):
        state.save_plan(sample_plan("lost", pairs=20_000))
    assert [p.plan_id for p in state.plans()] == ["kept"]


def test_a_read_only_state_is_a_workspace_error(tmp_path: Path) -> None:
    state = SqlState(url(tmp_path / "s.db"))
    sa.event.listen(state._engine, "connect", lambda c, _: c.execute("PRAGMA query_only=ON"))
    state._engine.dispose()
    with pytest.raises(WorkspaceError, match="read-only"):
        state.save_plan(sample_plan())


def test_a_damaged_plan_is_a_workspace_error(tmp_path: Path) -> None:
    state = SqlState(url(tmp_path / "s.db"))
    state.save_plan(sample_plan())
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE plans SET body = substr(body, 1, 40)")
    with pytest.raises(WorkspaceError, match="plan 1 cannot be read back"):
        state.plan()


def test_a_damaged_plan_does_not_come_into_force(tmp_path: Path) -> None:
    state = SqlState(url(tmp_path / "s.db"))
    damaged, sound = (state.save_plan(sample_plan(f"p{i}")).version for i in range(2))
    for version in (damaged, sound):
        state.publish(version)
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE plans SET body = substr(body, 1, 40) WHERE version = ?", (damaged,))
    for change in (state.rollback, lambda: state.publish(damaged)):
        with pytest.raises(WorkspaceError, match="cannot be read back"):
            change()
        assert state.versions() == {sound: "published", damaged: "retired"}


def test_a_plan_with_inputs_that_are_no_values_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    state = SqlState(url(tmp_path / "s.db"))
    with pytest.raises(InputError, match="cannot be stored"):
        state.save_plan(replace(sample_plan(), inputs={"a": object()}))
    assert state.plans() == ()


@pytest.mark.parametrize("address", ["nonsense", "sqlit:///x"])
def test_an_address_that_is_none_is_a_workspace_error(address: str) -> None:
    with pytest.raises(WorkspaceError, match="address"):
        SqlState(address)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in schema.place("postgresql+psycopg://ann:secret@db/footfall")


def test_postgresql_gets_its_own_types() -> None:
    text = str(CreateTable(schema.plans).compile(dialect=postgresql.dialect()))
    assert "version BIGSERIAL NOT NULL" in text and "body BYTEA" in text and "AUTOINCREMENT" not in text
    assert "AUTOINCREMENT" in str(CreateTable(schema.plans).compile(dialect=sqlite.dialect()))
