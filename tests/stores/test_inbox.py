"""What is the SQLite inbox's own: several processes, deaths, full disks, damage."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from footfall.errors import StorageError
from footfall.ports import Inbox, Packed
from footfall.stores.inbox import SqliteInbox
from footfall.testing.inbox import NOW, InboxContract, bodies

APPEND = """
import sys
from pathlib import Path
from footfall.stores.inbox import SqliteInbox
inbox = SqliteInbox(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    body = f"{sys.argv[2]}:{number}".encode()
    inbox.append([("event", body.ljust(int(sys.argv[4]), b"."))])
    print(number, flush=True)
"""


class TestSqliteInbox(InboxContract):
    @pytest.fixture
    def inbox(self, tmp_path: Path) -> Iterator[Inbox]:
        inbox = SqliteInbox(tmp_path / "inbox" / "inbox.db")
        yield inbox
        inbox.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox.db"


def start(path: Path, name: str, count: int, size: int = 40) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPEND, str(path), name, str(count), str(size)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "open\n"
    process.stdin.write("\n")
    process.stdin.flush()


def test_it_is_durable_and_keeps_its_id(path: Path) -> None:
    first = SqliteInbox(path)
    first.append([("event", b"a")])
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert first._connection is not None
    assert first._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    again = SqliteInbox(path)
    assert again.id == first.id
    assert bodies(again) == [b"a"]
    first.close()
    again.close()


def test_an_append_after_a_delete_waits_for_the_disk_again(path: Path) -> None:
    inbox = SqliteInbox(path)
    last = inbox.append([("event", b"a"), ("event", b"b")])
    inbox.delete(last)
    assert inbox._connection is not None
    assert inbox._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert inbox.append([("event", b"c")]) == last + 1
    inbox.close()


def test_several_processes_append_at_once(path: Path) -> None:
    """Both make the file, too: neither may find the other's half-made one."""
    processes = [start(path, name, 50) for name in ("a", "b", "c")]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    inbox = SqliteInbox(path)
    found = [body.rstrip(b".").decode() for body in bodies(inbox)]
    assert sorted(found) == sorted(f"{name}:{i}" for name in ("a", "b", "c") for i in range(50))
    inbox.close()


def kill_while_appending(path: Path, kills: int, seed: int, longest_s: float) -> None:
    """What was told to be on disk is there; what was not is there whole or not at all."""
    chance = random.Random(seed)
    told: list[str] = []
    for turn in range(kills):
        process = start(path, f"t{turn}", 100_000, 5_000)
        assert process.stdout is not None
        go(process)
        time.sleep(chance.uniform(0.0, longest_s))
        process.kill()
        lines = process.stdout.read().splitlines()
        process.wait()
        told += [f"t{turn}:{number}" for number in lines if number]
    inbox = SqliteInbox(path)
    found = bodies(inbox)
    assert all(len(body) == 5_000 for body in found)
    names = [body.rstrip(b".").decode() for body in found]
    assert len(names) == len(set(names))
    # The last line may be cut off where the process died while printing it: it is then no whole number of ours.
    assert set(told[:-1]) <= set(names) or set(told) <= set(names)
    for turn in range(kills):
        numbers = [int(n.split(":")[1]) for n in names if n.startswith(f"t{turn}:")]
        assert numbers == list(range(len(numbers)))
    inbox.close()


def test_killed_while_appending(path: Path) -> None:
    kill_while_appending(path, kills=2, seed=1, longest_s=0.15)


@pytest.mark.slow
def test_killed_thirty_times_while_appending(path: Path) -> None:
    kill_while_appending(path, kills=30, seed=2, longest_s=1.0)


def test_a_full_disk_is_told_and_goes_by_itself(path: Path) -> None:
    """A limit on file size stands in for the full disk."""
    inbox = SqliteInbox(path)
    inbox.append([("event", b"before")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, hard))
    try:
        for _ in range(3):
            with pytest.raises(StorageError, match="by itself"):
                inbox.append([("event", os.urandom(1 << 20))])
        with pytest.raises(StorageError):  # so does one of many rows
            inbox.append([("event", os.urandom(1 << 10))] * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    large = os.urandom(1 << 20)
    inbox.append([("event", large)])
    assert bodies(inbox) == [b"before", large]
    assert inbox.append([("event", b"c")]) == inbox.counts()["last"]
    inbox.close()


def test_a_held_file_is_waited_for(path: Path) -> None:
    inbox = SqliteInbox(path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
    inbox.append([("event", b"a")])
    assert bodies(inbox) == [b"a"]
    other.close()
    inbox.close()


def test_no_database_is_told(path: Path) -> None:
    path.write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(StorageError, match="backup"):
        SqliteInbox(path)


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("")
    with pytest.raises(StorageError, match="cannot be used"):
        SqliteInbox(tmp_path / "inbox" / "inbox.db")


def test_the_space_of_what_was_deleted_is_used_again(path: Path) -> None:
    inbox = SqliteInbox(path)
    sizes = []
    for _ in range(6):
        last = inbox.append([("event", os.urandom(1 << 20))] * 4)
        inbox.delete(last)
        sizes.append(inbox.counts()["bytes"])
    assert sizes[-1] <= sizes[2] * 1.5
    inbox.close()


def test_what_no_longer_holds_is_forgotten(path: Path) -> None:
    from datetime import timedelta

    from footfall.model import Sticky

    inbox = SqliteInbox(path)
    inbox.append([], [Sticky(f"v{i}", "k", b"x", NOW + timedelta(minutes=i)) for i in range(10)])
    assert inbox.unstick(NOW + timedelta(minutes=4)) == 5
    assert inbox.unstick(NOW + timedelta(minutes=4)) == 0
    assert inbox.stuck("v9", "k", NOW) == b"x"
    inbox.close()


def test_large_bodies_are_kept_compressed_and_rows_of_before_are_read(tmp_path: Path) -> None:
    inbox = SqliteInbox(tmp_path / "inbox.db")
    line = b'{"name":"page_view","visitor_id":"v","provider_id":"shop-a"}\n'
    inbox.append([("event", line * 1000), ("reject", line), ("decision", b"x" * 5000)])
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as other:
        sizes = [row[0] for row in other.execute("SELECT length(body) FROM inbox ORDER BY seq")]
        old = (struct.pack("<I", 900 * len(line)) + pa.compress(line * 900, codec="lz4", asbytes=True),)
        other.execute("INSERT INTO inbox (kind, body) VALUES ('event+lz4', ?)", old)  # as earlier versions wrote it
        other.commit()
    assert sizes[0] < 6100 and sizes[1] == len(line) and sizes[2] < 500
    found = [(kind, body) for _, kind, body in inbox.read(0, 1 << 20)]
    assert found == [("event", line * 1000), ("reject", line), ("decision", b"x" * 5000), ("event", line * 900)]
    assert [inbox.counts()[kind] for kind in ("event", "reject", "decision")] == [2, 1, 1]
    assert len(inbox.read(0, 60_000)) == 1  # bytes are counted as they are read
    inbox.close()


def test_packed_bodies_may_be_joined(tmp_path: Path) -> None:
    inbox = SqliteInbox(tmp_path / "inbox.db")
    parts = [b"%d" % number * 3000 for number in range(5)]
    packed = [inbox.pack(part) for part in parts]
    assert all(isinstance(part, Packed) and len(part) < 500 for part in packed)
    assert inbox.pack(b"small") == b"small" and inbox.pack(packed[0]) is packed[0]
    inbox.append([("calls", Packed(b"".join(packed))), ("event", b"small")])
    assert [(kind, body) for _, kind, body in inbox.read(0, 1 << 20)] == [
        ("calls", b"".join(parts)),
        ("event", b"small"),
    ]
    assert inbox.counts()["calls"] == 1
    assert len(inbox.read(0, 15_000)) == 1
    inbox.close()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("event+lz4", b"\x00\x00\x01\x00garbage"),
        ("event+frames", b"\x00\x00\x01\x00\x07\x00\x00\x00garbage"),
        ("event+frames", b"\x00\x00"),
    ],
)
def test_a_damaged_row_is_told(tmp_path: Path, kind: str, body: bytes) -> None:
    inbox = SqliteInbox(tmp_path / "inbox.db")
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as other:
        other.execute("INSERT INTO inbox (kind, body) VALUES (?, ?)", (kind, body))
        other.commit()
    with pytest.raises(StorageError, match="malformed"):
        inbox.read(0, 1 << 20)
    inbox.close()
