"""SqliteInbox: what was acknowledged, in one SQLite file of the host, until the drain has moved it to the lake.

    about(id)                              the inbox's UUID, which is the application id of its transactions in the lake
    inbox(seq, kind, body)                 seq is AUTOINCREMENT: a number is never given twice, whatever was deleted
    sticky(visitor_id, key, ...)           choices that visitors are to get again, written with their decisions

WAL with synchronous=FULL: a commit is on disk when it returns. An append is one statement, so that the interpreter's
lock is let go of once for all of it, the wait for the disk included. Several processes may append; SQLite's own lock
orders them.

Larger bodies stand there compressed (kind ``event+frames``: parts, each its length, its length here and an LZ4 frame):
events say the same words again and again, so that a fifth has to be written, waited for, read and deleted.
"""

from __future__ import annotations

import sqlite3
import struct
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast, get_args

import pyarrow as pa

from footfall.errors import StorageError
from footfall.model import Sticky
from footfall.ports import InboxKind, Packed

BUSY_WAIT_S = 10.0
# Rows of some kB: larger pages mean fewer to link and to check, smaller ones less to write for a single decision.
_PAGE_BYTES = 8192
# The drain moves the write-ahead log into the file as it goes; an append does so only where none has for 64 MB, since
# its requests wait for it.
_CHECKPOINT_PAGES = 8000
_PACKED = "+frames"
_ONE_FRAME = "+lz4"  # of earlier versions: the length, then the frame
_CODEC = pa.Codec("lz4", compression_level=-10)  # a third quicker than its default, a tenth larger
_PACK_BYTES = 2048  # bodies of at least so many are compressed
_LENGTH = struct.Struct("<I")
_LENGTHS = struct.Struct("<II")
_MOST_ROWS = 400  # of one statement (two parameters each)
_DELETE_BYTES = 2 << 20  # at once: appends wait for that long,
_GAP_S = 0.005  # and get a turn in between: who waits for SQLite's lock looks for it every few milliseconds only
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS about (id TEXT NOT NULL)",
    "INSERT INTO about SELECT $id WHERE NOT EXISTS (SELECT 1 FROM about)",
    "CREATE TABLE IF NOT EXISTS inbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS sticky (visitor_id TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, "
    "expires INTEGER NOT NULL, PRIMARY KEY (visitor_id, key)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS sticky_expires ON sticky (expires)",
)
_STICK = (
    "INSERT INTO sticky VALUES (?, ?, ?, ?) ON CONFLICT (visitor_id, key) "
    "DO UPDATE SET body = excluded.body, expires = excluded.expires"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SqliteInbox:
    """``ports.Inbox`` in a SQLite file; calls from several threads take turns."""

    def __init__(self, path: Path) -> None:
        """path: the file, made with its folder where it is absent. StorageError where it cannot be."""
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        # Asked from an event loop, which must not wait for another thread's commit.
        self._ask_lock = threading.Lock()
        self._asking: sqlite3.Connection | None = None
        with self._using() as connection:
            self._id = str(connection.execute("SELECT id FROM about").fetchone()[0])

    @property
    def id(self) -> str:
        """A UUID that stays with the inbox: the application id under which the lake knows its sequence numbers."""
        return self._id

    def append(self, rows: Sequence[tuple[InboxKind, bytes]], sticky: Sequence[Sticky] = ()) -> int:
        """Put rows at the end, all or none, durable on return; the sequence of the last one (0 for none).

        Bodies may be packed already, so that less time is spent here. ``sticky`` are written in the same transaction.
        StorageError where they cannot be written.
        """
        if not rows and not sticky:
            return 0
        packed = [_kept(kind, self.pack(body)) for kind, body in rows]
        with self._using() as connection:
            if len(rows) <= _MOST_ROWS and not sticky:
                return _insert(connection, packed)
            connection.execute("BEGIN IMMEDIATE")
            last = 0
            for first in range(0, len(rows), _MOST_ROWS):
                last = _insert(connection, packed[first : first + _MOST_ROWS])
            connection.executemany(_STICK, [(s.visitor_id, s.key, s.body, _micros(s.expires)) for s in sticky])
            connection.execute("COMMIT")
            return last

    def pack(self, body: bytes) -> bytes:
        """The body ``Packed``, where that makes it smaller; else as it is."""
        if len(body) < _PACK_BYTES or isinstance(body, Packed):
            return body
        frame = _CODEC.compress(body, asbytes=True)
        return Packed(_LENGTHS.pack(len(body), len(frame)) + frame)

    def read(self, after: int, most_bytes: int) -> list[tuple[int, InboxKind, bytes]]:
        """Rows after a sequence, in order: the first, and those after it with which it is ``most_bytes`` at most."""
        found: list[tuple[int, InboxKind, bytes]] = []
        held = 0
        with self._using() as connection:
            cursor = connection.execute("SELECT seq, kind, body FROM inbox WHERE seq > ? ORDER BY seq", (after,))
            try:
                for seq, kind, body in cursor:
                    parts = _parts(kind, body)
                    held += sum(length for length, _ in parts)
                    if found and held > most_bytes:
                        break
                    found.append((seq, cast(InboxKind, kind.partition("+")[0]), _unpacked(parts)))
            finally:
                cursor.close()
        return found

    def delete(self, through: int) -> None:
        """Remove the rows up to this sequence, which is never given again.

        In pieces, since appends wait for each; a crash between them leaves rows that the lake holds already. So they
        need not be on the disk at once either, which makes them several times shorter.
        """
        piece = (
            "SELECT max(seq) FROM (SELECT seq, sum(size) OVER (ORDER BY seq) AS held FROM "
            "(SELECT seq, length(body) AS size FROM inbox WHERE seq <= ? ORDER BY seq LIMIT 1000)) "
            "WHERE held <= ? OR seq = (SELECT min(seq) FROM inbox)"
        )
        with self._using() as connection:
            connection.execute("PRAGMA synchronous = NORMAL")
            try:
                while (upto := connection.execute(piece, (through, _DELETE_BYTES)).fetchone()[0]) is not None:
                    connection.execute("DELETE FROM inbox WHERE seq <= ?", (upto,))
                    if upto >= through:
                        break
                    time.sleep(_GAP_S)
                connection.execute("PRAGMA synchronous = FULL")
            except BaseException:
                self._close_writing()  # the next one waits for the disk in any case
                raise
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # waits for nobody, and nobody for it

    def counts(self) -> Mapping[str, int]:
        """Rows that wait, by kind; ``bytes`` of the whole inbox on disk; ``last`` sequence given."""
        with self._using() as connection:
            kinds = "SELECT substr(kind, 1, instr(kind || '+', '+') - 1) AS plain, count(*) FROM inbox GROUP BY plain"
            found = dict(connection.execute(kinds).fetchall())
            last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").fetchone()
        parts = [self.path, self.path.with_name(self.path.name + "-wal")]
        size = sum(p.stat().st_size for p in parts if p.exists())
        none = dict.fromkeys(get_args(InboxKind), 0)
        return {**none, **found, "bytes": size, "last": last[0] if last else 0}

    def stuck(self, visitor_id: str, key: str, now: datetime) -> bytes | None:
        """The body that was kept last for this visitor and key, while it holds."""
        asked = "SELECT body FROM sticky WHERE visitor_id = ? AND key = ? AND expires > ?"
        with self._ask_lock:
            try:
                if self._asking is None:
                    self._asking = _opened(self.path)
                row = self._asking.execute(asked, (visitor_id, key, _micros(now))).fetchone()
            except (sqlite3.Error, OSError) as error:
                self._close_asking()
                raise _storage_error(self.path, error) from error
        return None if row is None else bytes(row[0])

    def unstick(self, now: datetime) -> int:
        """Forget what no longer holds, ten thousand at most; how many."""
        gone = (
            "DELETE FROM sticky WHERE (visitor_id, key) IN "
            "(SELECT visitor_id, key FROM sticky WHERE expires <= ? LIMIT 10000)"
        )
        with self._using() as connection:
            return connection.execute(gone, (_micros(now),)).rowcount

    def forget(self, visitors: Sequence[str]) -> int:
        """Erase what visitors were to get again, and the bytes of all rows that are gone; how many choices.

        The file is written anew, so it should have been drained: appends wait for that long.
        """
        gone = 0
        with self._using() as connection:
            for at in range(0, len(visitors), _MOST_ROWS):
                few = visitors[at : at + _MOST_ROWS]
                marks = ", ".join("?" * len(few))
                gone += connection.execute(f"DELETE FROM sticky WHERE visitor_id IN ({marks})", few).rowcount  # noqa: S608  marks only
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return gone

    def renew(self) -> str:
        """Take another id: the lake knows higher sequences of this one than were given (a copy was put back)."""
        with self._using() as connection:
            connection.execute("UPDATE about SET id = ?", (str(uuid.uuid4()),))
            self._id = str(connection.execute("SELECT id FROM about").fetchone()[0])
        return self._id

    def close(self) -> None:
        """Close the file."""
        self._close_writing()
        with self._ask_lock:
            self._close_asking()

    def _close_writing(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _close_asking(self) -> None:
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The connection; after an error it is opened anew, so that one that failed half-way is not used again."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _opened(self.path)
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                self._close_writing()
                raise _storage_error(self.path, error) from error


def _kept(kind: InboxKind, body: bytes) -> tuple[str, bytes]:
    return (kind + _PACKED if isinstance(body, Packed) else kind), body


def _parts(kind: str, body: bytes) -> list[tuple[int, memoryview | bytes]]:
    """(length, frame) of each part of a body; a plain one is its own. An error of ``_using`` where it is damaged."""
    if kind.endswith(_PACKED):
        parts: list[tuple[int, memoryview | bytes]] = []
        held, at = memoryview(body), 0
        try:
            while at < len(body):
                length, size = _LENGTHS.unpack_from(body, at)
                at += _LENGTHS.size
                parts.append((length, held[at : at + size]))
                at += size
        except struct.error as error:
            raise sqlite3.DatabaseError(f"a row is malformed: {error}") from error
        return parts
    if kind.endswith(_ONE_FRAME):
        return [(_LENGTH.unpack_from(body)[0], memoryview(body)[_LENGTH.size :])]
    return [(len(body), body)]


def _unpacked(parts: Sequence[tuple[int, memoryview | bytes]]) -> bytes:
    """As it was appended; an error of ``_using`` where it is damaged."""
    try:
        return b"".join(
            frame if isinstance(frame, bytes) else pa.decompress(frame, length, codec="lz4", asbytes=True)
            for length, frame in parts
        )
    except (pa.ArrowException, OSError) as error:
        raise sqlite3.DatabaseError(f"a row is malformed: {error}") from error


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[str, bytes]]) -> int:
    marks = ", ".join(["(?, ?)"] * len(rows))
    values: list[object] = []
    for kind, body in rows:
        values += (kind, body)
    cursor = connection.execute(f"INSERT INTO inbox (kind, body) VALUES {marks}", values)  # noqa: S608  marks only
    return int(cursor.lastrowid or 0)


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {_CHECKPOINT_PAGES * _PAGE_BYTES}")  # after a burst
        made = "SELECT count(*) FROM sqlite_master WHERE name IN ('about', 'inbox', 'sticky', 'sticky_expires')"
        if connection.execute(made).fetchone()[0] < 4:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement, {"id": str(uuid.uuid4())} if "$id" in statement else {})
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """WAL mode; SQLite does not wait by itself for others that open a new file at the same time."""
    until = time.monotonic() + BUSY_WAIT_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = wal")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _storage_error(path: Path, error: Exception) -> StorageError:
    said = str(error)
    low = said.lower()
    if "full" in low or "space left" in low:
        way_out = "make room on its disk; it goes on by itself then"
    elif "locked" in low or "busy" in low:
        way_out = "another process has held it for long; it goes on by itself when that lets go"
    elif "malformed" in low or "not a database" in low:
        way_out = "stop the service, move the file away and restore it from a backup"
    else:
        way_out = "check the disk, its permissions and its limits; it goes on by itself once it can be written"
    return StorageError(f"the inbox {path} cannot be used: {said}", way_out)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
