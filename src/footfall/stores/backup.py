"""Backup and restore: a whole workspace in one .tar.gz, consistent in itself, each file with its checksum.

Taken under the writer's lock: of the event log the Delta log and the files that are live, every SQLite
database through its online backup (so that others may go on writing to it), and all else below lake/,
quarantine/, state/ and inbox/ as it is. Left out is what can be made again: state/tmp, state/facts, lock
files. The manifest is the last member, so that an archive that was cut off has none.

Nothing that is not whole stands under the name it will have: both work in a hidden folder beside it, which the next run
with the same target removes if its process was killed. A workspace gets its footfall.toml last.

A backup holds personal data; it is made readable for its owner only. Erasing a person does not reach into
backups.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast
from uuid import uuid4

import msgspec

from footfall.disk import sync
from footfall.errors import FormatError, WorkspaceError
from footfall.stores.lake import LOCK_NAME, Lake

SETTINGS = "footfall.toml"
FOLDERS = ("lake", "quarantine", "state", "inbox", "audiences", "templates")
MANIFEST = "manifest.json"
_SETTINGS_UNFINISHED = f"{SETTINGS}.unfinished"  # a folder without settings is no workspace
FORMAT = 1

_LOG = PurePosixPath("lake/events")
_MADE_AGAIN = ("state/tmp", "state/facts")
_PASSING = ("-wal", "-shm", "-journal")  # what a database keeps while it is open; its copy needs none of it
_SQLITE = b"SQLite format 3\0"
_BLOCK = 1 << 20
_MOST_MANIFEST = 1 << 28  # bytes; larger is no manifest of ours

Progress = Callable[[float, float], None]


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a backup: path within the workspace, bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds; ``log_version`` is the version of the event log, -1 where it is empty."""

    format: int
    log_version: int
    members: tuple[Member, ...]


def backup(directory: Path, archive: Path, progress: Progress | None = None, wait_s: float = 600.0) -> Manifest:
    """Write the workspace in ``directory`` to ``archive``.

    The archive must not exist, and gets its name when it is whole. progress: told (bytes done, bytes in all),
    uncompressed. wait_s: how long to wait for the writer's lock. Raises WorkspaceError where there is no
    workspace, the archive exists, or the disk is full.
    """
    directory, archive = directory.absolute(), archive.absolute()
    if not (directory / SETTINGS).is_file():
        raise WorkspaceError(
            f"no workspace at {directory}: there is no {SETTINGS}", "name another with --workspace DIR"
        )
    if archive.exists():
        raise WorkspaceError(f"{archive} exists already", "name another file, or remove it first")
    if any(archive.is_relative_to(directory / folder) for folder in FOLDERS):
        raise WorkspaceError(f"{archive} lies inside what is backed up", "name a file outside of the workspace")
    log = Lake(directory / _LOG)
    with _disk(archive), _unfinished(archive) as spool:
        with log.lock(wait_s):
            files = _snapshot(directory, log, spool)
            manifest = _write(spool / "archive", files, log.version(), progress)
        (spool / "archive").replace(archive)
        sync(archive.parent)
    return manifest


def restore(
    archive: Path,
    directory: Path,
    progress: Progress | None = None,
    finish: Callable[[Path], None] = lambda folder: None,
) -> Manifest:
    """Make the workspace of ``archive`` in ``directory``, all of it or nothing.

    The folder must be absent or empty. progress: told (bytes of the archive read, bytes in all). finish: called with
    the folder of the whole workspace before that gets its name. Raises
    FormatError for an archive that is cut off, damaged, not ours or unsafe (paths that lead elsewhere),
    WorkspaceError where the folder cannot be made.
    """
    archive, directory = archive.absolute(), directory.absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise WorkspaceError(f"{directory} is not empty", "name a folder that is empty or does not exist")
    with _disk(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _unfinished(directory) as outside:
            made = outside / "workspace"
            made.mkdir()
            manifest = _extract(archive, made, progress)
            for folder in FOLDERS[:3]:
                (made / folder).mkdir(exist_ok=True)
            for inside in (path for path in made.rglob("*") if path.is_dir()):
                sync(inside)
            (made / _SETTINGS_UNFINISHED).replace(made / SETTINGS)
            sync(made)
            finish(made)
            made.replace(directory)  # an empty folder gives way
            sync(directory.parent)
    return manifest


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target`` for what is not whole yet; it goes at the end, as do those of killed processes.

    Who works in one holds its lock, which the system lets go of when the process dies.
    """
    named = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.unfinished")
    for left in (path for path in target.parent.iterdir() if named.fullmatch(path.name)):
        with suppress(OSError), _held(left):  # OSError: somebody is at work in it, or may
            shutil.rmtree(left)
    folder = target.with_name(f".{target.name}.{uuid4().hex}.unfinished")
    folder.mkdir(mode=0o700)
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``; BlockingIOError where another process does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


# ---------------------------------------------------------------- writing


def _snapshot(directory: Path, log: Lake, spool: Path) -> list[tuple[str, Path]]:
    """(path in the archive, file to read), databases as copies in ``spool``."""
    live = {PurePosixPath(Path(name).relative_to(directory).as_posix()) for name in log.files()}
    below = [path for folder in FOLDERS for path in sorted((directory / folder).rglob("*")) if path.is_file()]
    inside = [PurePosixPath(path.relative_to(directory).as_posix()) for path in below]
    wanted = [PurePosixPath(SETTINGS), *(path for path in inside if _belongs(path, live))]
    missing = live - set(wanted)
    if missing:
        raise WorkspaceError(f"the event log lacks a file: {min(missing)}", "restore an earlier backup")
    named = []
    for number, path in enumerate(wanted):
        read = directory / path
        if _is_sqlite(read):
            read = spool / f"{number}.db"
            _copy_database(directory / path, read)
        named.append((path.as_posix(), read))
    return named


def _belongs(path: PurePosixPath, live: set[PurePosixPath]) -> bool:
    """Whether a file is worth keeping: not what can be made again, nor what a killed writer left."""
    if path.name == LOCK_NAME or path.name.endswith(_PASSING):
        return False
    if any(path.is_relative_to(folder) for folder in _MADE_AGAIN) or any(p.startswith(".import-") for p in path.parts):
        return False
    return path in live or not path.is_relative_to(_LOG) or "_delta_log" in path.parts


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _copy_database(path: Path, to: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=30)) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise WorkspaceError(f"the database {path} cannot be copied: {error}", "check the disk and the file") from error


def _write(to: Path, files: list[tuple[str, Path]], log_version: int, progress: Progress | None) -> Manifest:
    total = sum(path.stat().st_size for _, path in files)
    members: list[Member] = []
    done = 0
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
        with (
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name, path in files:
                with path.open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    hashing = _Hashing(file)
                    tar.addfile(_info(name, size), hashing)
                members.append(Member(name, size, hashing.digest.hexdigest()))
                done += size
                if progress is not None:
                    progress(done, total)
            manifest = Manifest(FORMAT, log_version, tuple(members))
            _add_bytes(tar, MANIFEST, msgspec.json.encode(manifest))
        raw.flush()
        os.fsync(raw.fileno())
    return manifest


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        tar.addfile(_info(name, len(content)), file)


class _Hashing:
    """A file that hashes what is read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


# ---------------------------------------------------------------- reading


def _extract(archive: Path, to: Path, progress: Progress | None) -> Manifest:
    found: dict[str, Member] = {}
    manifest: Manifest | None = None
    with (
        _readable(archive),
        archive.open("rb") as raw,
        gzip.GzipFile(fileobj=raw) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        total = os.fstat(raw.fileno()).st_size
        for info in tar:
            if manifest is not None or info.name in found or not info.isreg():
                raise FormatError(f"{archive}: {info.name!r} has no place in a backup", _FETCH_AGAIN)
            content = cast("IO[bytes]", tar.extractfile(info))
            if info.name == MANIFEST:
                manifest = _manifest(archive, info, content)
            else:
                found[info.name] = _unpack(archive, info, content, to)
            if progress is not None:
                progress(raw.tell(), total)
        while plain.read(_BLOCK):  # to the end, where gzip's own length and checksum stand
            pass
    if manifest is None:
        raise FormatError(f"{archive} is cut off, or no backup of Footfall: it has no manifest", _FETCH_AGAIN)
    _verify(archive, manifest, found)
    return manifest


_FETCH_AGAIN = "fetch the archive again, or use another; nothing was restored"


def _unpack(archive: Path, info: tarfile.TarInfo, content: IO[bytes], to: Path) -> Member:
    path = PurePosixPath(info.name)
    inside = info.name == SETTINGS or (len(path.parts) > 1 and path.parts[0] in FOLDERS)
    # What is not plainly below one of our folders could write anywhere: absolute, through '..', or a Windows
    # path.
    if not inside or ".." in path.parts or "\\" in info.name or str(path) != info.name:
        raise FormatError(f"{archive}: {info.name!r} leads out of the workspace", "do not trust this archive")
    target = to / (_SETTINGS_UNFINISHED if info.name == SETTINGS else path)
    target.parent.mkdir(parents=True, exist_ok=True)
    hashing = _Hashing(content)
    with target.open("xb") as out:
        while block := hashing.read(_BLOCK):
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return Member(info.name, target.stat().st_size, hashing.digest.hexdigest())


def _manifest(archive: Path, info: tarfile.TarInfo, content: IO[bytes]) -> Manifest:
    try:
        if info.size > _MOST_MANIFEST:
            raise ValueError(f"{info.size:,} bytes")
        manifest = msgspec.json.decode(content.read(), type=Manifest)
    except (msgspec.DecodeError, ValueError) as error:
        raise FormatError(f"{archive}: the manifest cannot be read: {error}", _FETCH_AGAIN) from None
    if manifest.format > FORMAT:
        raise FormatError(f"{archive} is of format {manifest.format}; this Footfall knows {FORMAT}", "update Footfall")
    return manifest


def _verify(archive: Path, manifest: Manifest, found: dict[str, Member]) -> None:
    wanted = {member.path: member for member in manifest.members}
    for path in sorted(wanted.keys() | found.keys()):
        if wanted.get(path) != found.get(path):
            what = (
                "is missing" if path not in found else "is not in the manifest" if path not in wanted else "is damaged"
            )
            raise FormatError(f"{archive}: {path} {what}", _FETCH_AGAIN)
    if SETTINGS not in found:
        raise FormatError(f"{archive} holds no {SETTINGS}", _FETCH_AGAIN)


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise FormatError(f"{archive}: there is no such file") from None
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{archive} is cut off, damaged, or no backup of Footfall: {error}", _FETCH_AGAIN) from None


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(
            f"{error.filename or place}: {error.strerror or error}",
            "check free space and permissions; nothing was left behind",
        ) from error
