"""Backup and restore: the same workspace again, or a clear refusal that leaves nothing behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import sqlite3
import stat
import tarfile
from datetime import date, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from footfall.errors import FormatError, WorkspaceError
from footfall.model import EVENT_COLUMNS
from footfall.stores.backup import MANIFEST, Manifest, Member, backup, restore
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.stores.state import SqlState
from footfall.testing.state import assert_same_plan, sample_plan

TYPES = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "TIMESTAMP": pa.timestamp("us"),
}
SCHEMA = pa.schema([(c.name, TYPES[c.type]) for c in EVENT_COLUMNS if c.name != "day"])


def stage(lake: Lake, batch: str, day: date, rows: int) -> Path:
    staged = lake.staging(batch)
    folder = staged / f"day={day.isoformat()}"
    folder.mkdir()
    ts = datetime(day.year, day.month, day.day, 12)
    events = [
        {"message_id": f"{batch}-{i}", "ts": ts, "name": "purchase", "amount_minor": 2**53 + i} for i in range(rows)
    ]
    pq.write_table(pa.Table.from_pylist(events, schema=SCHEMA), folder / "part-0.parquet")
    return staged


def write(lake: Lake, batch: str, day: date, rows: int) -> None:
    lake.commit(batch, stage(lake, batch, day, rows))


@pytest.fixture
def workspace(tmp_path: Path, model: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "shop"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("model") / "shop"
    for folder in ("lake", "quarantine", "state/tmp", "state/facts", "inbox"):
        (here / folder).mkdir(parents=True)
    (here / "footfall.toml").write_text("[workspace]\n", encoding="utf-8")
    lake = Lake(here / "lake" / "events")
    write(lake, "b1", date(2024, 5, 1), 10)
    write(lake, "b2", date(2024, 5, 2), 20)
    lake.replace([date(2024, 5, 1)], stage(lake, "b3", date(2024, 5, 1), 5))
    stage(lake, "killed", date(2024, 5, 3), 7)
    state = SqlState(f"sqlite:///{here / 'state' / 'footfall.db'}")
    state.publish(state.save_plan(sample_plan()).version)
    state.close()
    (here / "state" / "facts" / "part.bin").write_bytes(b"made again")
    (here / "state" / "tmp" / "spill").write_bytes(b"made again")
    (here / "quarantine" / "b1.parquet").write_bytes(b"kept aside")
    (here / "notes.txt").write_text("not ours")
    with sqlite3.connect(here / "inbox" / "inbox.db") as inbox:
        inbox.execute("PRAGMA journal_mode=WAL")
        inbox.execute("CREATE TABLE events (sequence INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT)")
        inbox.execute("INSERT INTO events (body) VALUES ('waiting')")
    inbox.close()
    return here


def log_of(here: Path, tmp_path: Path) -> pa.Table:
    engine = DuckEngine(256, 1, tmp_path / "tmp")
    lake = Lake(here / "lake" / "events")
    lake.attach(engine)
    found = engine.query("SELECT * FROM events ORDER BY day, message_id")
    engine.close()
    return found


def test_a_restored_workspace_is_the_same(workspace: Path, tmp_path: Path) -> None:
    archive, again = tmp_path / "b.tar.gz", tmp_path / "deep" / "again"
    told: list[tuple[float, float]] = []
    manifest = backup(workspace, archive, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0
    assert [m.path for m in manifest.members if "/b1/" in m.path or "killed" in m.path] == []
    assert not {"notes.txt", "state/facts/part.bin", "state/tmp/spill"} & {m.path for m in manifest.members}
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600

    told.clear()
    assert restore(archive, again, progress=lambda done, total: told.append((done, total))) == manifest
    assert told[-1][0] <= told[-1][1] == archive.stat().st_size
    assert log_of(again, tmp_path).equals(log_of(workspace, tmp_path)) and log_of(again, tmp_path).num_rows == 25
    old, new = Lake(workspace / "lake" / "events"), Lake(again / "lake" / "events")
    assert new.version() == old.version() == manifest.log_version and new.days() == old.days()
    assert new.has_batch("b1") and new.has_batch("b2") and not new.has_batch("killed")
    plan = SqlState(f"sqlite:///{again / 'state' / 'footfall.db'}").plan(status="published")
    assert plan is not None
    assert_same_plan(plan, sample_plan())
    assert (again / "quarantine" / "b1.parquet").read_bytes() == b"kept aside"
    assert (again / "footfall.toml").read_text() == "[workspace]\n"
    with sqlite3.connect(again / "inbox" / "inbox.db") as inbox:
        assert inbox.execute("SELECT body FROM events").fetchall() == [("waiting",)]
    write(new, "b9", date(2024, 5, 9), 1)  # and it can be gone on with
    assert new.version() == old.version() + 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.tar.gz", "deep", "shop", "tmp"]


def test_the_state_may_be_written_to_meanwhile(workspace: Path, tmp_path: Path) -> None:
    state = SqlState(f"sqlite:///{workspace / 'state' / 'footfall.db'}")
    with sqlite3.connect(workspace / "state" / "footfall.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO records VALUES ('half', '{}')")
        backup(workspace, tmp_path / "b.tar.gz")
        other.execute("ROLLBACK")
    restore(tmp_path / "b.tar.gz", tmp_path / "again")
    again = SqlState(f"sqlite:///{tmp_path / 'again' / 'state' / 'footfall.db'}")
    assert again.get("half") is None and len(again.plans()) == len(state.plans()) == 1


def test_the_writers_lock_is_held(workspace: Path, tmp_path: Path) -> None:
    lake = Lake(workspace / "lake" / "events")
    with lake.lock(), pytest.raises(WorkspaceError, match="being written"):
        backup(workspace, tmp_path / "b.tar.gz", wait_s=0.0)

    def locked(done: float, total: float) -> None:
        with pytest.raises(WorkspaceError, match="being written"), Lake(lake.directory).lock(0.0):
            pass

    backup(workspace, tmp_path / "b.tar.gz", progress=locked)


def test_an_empty_workspace(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "footfall.toml").write_text("")
    assert backup(tmp_path / "shop", tmp_path / "b.tar.gz").log_version == -1
    restore(tmp_path / "b.tar.gz", tmp_path / "again")
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == ["footfall.toml", "lake", "quarantine", "state"]


def test_what_cannot_be_backed_up(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="no workspace"):
        backup(tmp_path, tmp_path / "b.tar.gz")
    (tmp_path / "there").write_text("dear")
    with pytest.raises(WorkspaceError, match="exists already"):
        backup(workspace, tmp_path / "there")
    with pytest.raises(WorkspaceError, match="inside"):
        backup(workspace, workspace / "state" / "b.tar.gz")
    with pytest.raises(WorkspaceError, match="absent"):
        backup(workspace, tmp_path / "absent" / "b.tar.gz")
    (workspace / "state" / "broken.db").write_bytes(b"SQLite format 3\0" + b"x" * 500)
    with pytest.raises(WorkspaceError, match=r"broken\.db"):
        backup(workspace, tmp_path / "b.tar.gz")
    Path(Lake(workspace / "lake" / "events").files()[0]).unlink()
    with pytest.raises(WorkspaceError, match="lacks a file"):
        backup(workspace, tmp_path / "b.tar.gz")
    assert (tmp_path / "there").read_text() == "dear"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shop", "there"]


def test_a_full_disk_leaves_nothing_behind(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(WorkspaceError, match="No space left"):
            backup(workspace, tmp_path / "b.tar.gz")
    backup(workspace, tmp_path / "b.tar.gz")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(WorkspaceError, match="No space left"):
            restore(tmp_path / "b.tar.gz", tmp_path / "again")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.tar.gz", "shop"]


def test_restore_never_overwrites(workspace: Path, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar.gz"
    backup(workspace, archive)
    for target in (workspace, archive):
        with pytest.raises(WorkspaceError, match="not empty"):
            restore(archive, target)
    (tmp_path / "empty").mkdir()
    restore(archive, tmp_path / "empty")
    assert (tmp_path / "empty" / "footfall.toml").is_file()


# ---------------------------------------------------------------- archives that are refused


def refused(archive: Path, tmp_path: Path, says: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FormatError, match=says):
        restore(archive, tmp_path / "again")
    assert sorted(tmp_path.rglob("*")) == before


def forged(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]], manifest: bool = True) -> Path:
    """An archive with these members, and a manifest that agrees with them."""
    listed = []
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            listed.append(Member(info.name, len(content), hashlib.sha256(content).hexdigest()))
        if manifest:
            text = msgspec.json.encode(Manifest(1, -1, tuple(listed)))
            info = tarfile.TarInfo(MANIFEST)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return path


SETTINGS = ("footfall.toml", b"")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99, 0.9999])
def test_a_truncated_archive(workspace: Path, tmp_path: Path, share: float) -> None:
    archive = tmp_path / "b.tar.gz"
    backup(workspace, archive)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    refused(archive, tmp_path, "cut off")


def test_an_archive_cut_between_members(tmp_path: Path) -> None:
    refused(forged(tmp_path / "b.tar.gz", [SETTINGS], manifest=False), tmp_path, "no manifest")


def test_flipped_bytes_are_seen(workspace: Path, tmp_path: Path) -> None:
    backup(workspace, tmp_path / "good.tar.gz")
    plain = bytearray(gzip.decompress((tmp_path / "good.tar.gz").read_bytes()))
    archive = tmp_path / "b.tar.gz"
    place = plain.index(b"kept aside")
    plain[place] ^= 1
    archive.write_bytes(gzip.compress(bytes(plain)))
    refused(archive, tmp_path, r"quarantine/b1\.parquet is damaged")


def test_the_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(os.urandom(3000))
    refused(tmp_path / "photo.jpg", tmp_path, "no backup")
    refused(tmp_path / "absent", tmp_path, "no such file")
    refused(forged(tmp_path / "b.tar.gz", [("lake/x", b"1")]), tmp_path, r"holds no footfall\.toml")
    with tarfile.open(tmp_path / "holiday.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "photo.jpg", "lake/photo.jpg")
    refused(tmp_path / "holiday.tar.gz", tmp_path, "no manifest")


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "lake/../../evil", "lake/./x", "lake\\..\\evil", "evil", ".ssh/keys", "lake", "state//x"],
)
def test_paths_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    refused(forged(tmp_path / "b.tar.gz", [SETTINGS, (name, b"x")]), tmp_path, "leads out|no place")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_members_that_are_no_files(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("lake/x")
    info.type, info.linkname = kind, "/etc/passwd"
    refused(forged(tmp_path / "b.tar.gz", [SETTINGS, (info, b"")]), tmp_path, "no place")


def test_members_that_do_not_agree_with_the_manifest(tmp_path: Path) -> None:
    twice = forged(tmp_path / "a.tar.gz", [SETTINGS, ("lake/x", b"1"), ("lake/x", b"2")])
    refused(twice, tmp_path, "no place")
    text = msgspec.json.encode(Manifest(1, -1, (Member("lake/x", 1, "00"),)))
    refused(
        forged(tmp_path / "b.tar.gz", [SETTINGS, (MANIFEST, text)], manifest=False), tmp_path, "not in the manifest"
    )
    text = msgspec.json.encode(
        Manifest(1, -1, (Member("footfall.toml", 0, hashlib.sha256(b"").hexdigest()), Member("lake/x", 1, "00")))
    )
    refused(forged(tmp_path / "c.tar.gz", [SETTINGS, (MANIFEST, text)], manifest=False), tmp_path, "lake/x is missing")
    newer = msgspec.json.encode(Manifest(2, -1, ()))
    refused(forged(tmp_path / "d.tar.gz", [SETTINGS, (MANIFEST, newer)], manifest=False), tmp_path, "format 2")
    refused(forged(tmp_path / "e.tar.gz", [SETTINGS, (MANIFEST, b"{}")], manifest=False), tmp_path, "manifest")
    after = forged(tmp_path / "f.tar.gz", [SETTINGS, (MANIFEST, text), ("lake/x", b"1")], manifest=False)
    refused(after, tmp_path, "no place")
