"""Formats: a file, whatever it is, becomes a plain local ``Source`` of a known kind; what cannot be read says why.

Kinds are told by content, not by name: gzip, Parquet and UTF-16 by their first bytes, NDJSON by an object on its first
line, else CSV. Compressed files, standard input and UTF-16 are copied to a plain UTF-8 file first.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from footfall.errors import FormatError, WorkspaceError

Kind = Literal["csv", "ndjson", "parquet"]
DELIMITERS = (",", "\t", ";", "|")
DELIMITER_NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
CHUNK = 16 << 20
_HEAD = 1 << 20
_PACKED = {  # first bytes -> what it is, and how to unpack it
    b"PK\x03\x04": ("a zip archive or a workbook", "unzip -p {file} | footfall import -, or save the sheet as CSV"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "zstdcat {file} | footfall import -"),
    b"\xfd7zX": ("packed by xz", "xzcat {file} | footfall import -"),
    b"BZh9": ("packed by bzip2", "bzcat {file} | footfall import -"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A plain file to import: ``name`` as the user knows it, ``path`` where its bytes are now."""

    name: str
    path: Path
    kind: Kind
    size: int
    delimiter: str = ""
    header: str = ""  # CSV: the header's text, as it stands in the file
    columns: tuple[str, ...] = ()  # CSV: names in the header
    skip_bytes: int = 0  # a byte order mark


@contextmanager
def opened(name: str, spool_dir: Path, delimiter: str | None = None) -> Iterator[Source]:
    """Open ``name`` ("-" = standard input) as a Source; copies are removed afterwards.

    Raises FormatError for what is absent, empty, truncated, of the wrong kind or in an unknown encoding.
    """
    if delimiter is not None and len(delimiter) != 1:
        named = {v: k for k, v in DELIMITER_NAMES.items()} | {"\\t": "\t"}
        if delimiter not in named:
            raise FormatError(f"delimiter {delimiter!r} is not one character", "use , ; | or tab")
        delimiter = named[delimiter]
    spool = spool_dir / "plain"
    shown = "standard input" if name == "-" else name
    try:
        path = _plain(name, shown, spool)
        with _whole(_recognise(shown, path, delimiter)) as source:
            yield source
    finally:
        spool.unlink(missing_ok=True)


@contextmanager
def _whole(source: Source) -> Iterator[Source]:
    """The source; where reading fails, say of a Parquet file that is damaged inside that it is this one."""
    try:
        yield source
    except duckdb.Error:
        if source.kind == "parquet":
            try:
                for _ in pq.ParquetFile(source.path).iter_batches():
                    pass
            except (pa.ArrowException, OSError) as error:
                reason = str(error).splitlines()[0]
                raise FormatError(f"{source.name} is damaged: {reason}", "fetch it again") from None
        raise


def _plain(name: str, shown: str, spool: Path) -> Path:
    """Path of the plain, UTF-8 bytes: the file itself where it is plain, else a copy at ``spool``."""
    if name == "-":
        _copy(sys.stdin.buffer, spool, shown)
        path = spool
    else:
        path = Path(name)
        if path.is_dir():
            raise FormatError(f"{name} is a folder", "name files: for example " + str(path / "*.csv"))
        if not path.exists():
            raise FormatError(f"{name}: there is no such file", f"check its name; paths are relative to {Path.cwd()}")
        if not path.is_file():  # a pipe gives its bytes once
            with _reading(name), path.open("rb") as pipe:
                _copy(pipe, spool, name)
            path = spool
    with _reading(name), path.open("rb") as handle:
        head = handle.read(4)
    if not head:
        raise FormatError(f"{shown} is empty", "check the export that wrote it")
    packed = next((told for magic, told in _PACKED.items() if head.startswith(magic)), None)
    if packed is not None:
        raise FormatError(f"{shown} is {packed[0]}", packed[1].format(file=shown))
    if head[:2] == b"\x1f\x8b":
        unzipped = spool.with_suffix(".unzipped")
        try:
            with _reading(name), gzip.open(path, "rb") as zipped:
                _copy(zipped, unzipped, name)
            unzipped.replace(spool)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FormatError(f"{shown} is broken or cut off: {error}", "fetch the file again") from None
        finally:
            unzipped.unlink(missing_ok=True)
        path = spool
        head = path.open("rb").read(4)
        if not head:
            raise FormatError(f"{shown} is empty once unzipped", "check the export that wrote it")
    encoding = _wide_encoding(head)
    if encoding:
        _transcode(path, spool, encoding, name)
        path = spool
    return path


def _wide_encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(head) == 4 and head[1] == 0 and head[3] == 0 and head[0]:
        return "utf-16-le"
    if len(head) == 4 and head[0] == 0 and head[2] == 0 and head[1]:
        return "utf-16-be"
    return ""


def _transcode(path: Path, spool: Path, encoding: str, name: str) -> None:
    target = spool.with_suffix(".utf8")
    try:
        with (
            path.open("r", encoding=encoding, newline="") as read,
            target.open("w", encoding="utf-8", newline="") as out,
        ):
            shutil.copyfileobj(read, out, CHUNK)
        target.replace(spool)
    except UnicodeError as error:
        raise FormatError(f"{name} looks like UTF-16 but is not: {error}", "save it as UTF-8") from None
    finally:
        target.unlink(missing_ok=True)


def _copy(read: BinaryIO | gzip.GzipFile, target: Path, name: str) -> None:
    try:
        out = target.open("wb")
    except OSError as error:
        raise WorkspaceError(
            f"{target} cannot be written: {error.strerror}", "check free space and permissions"
        ) from None
    with out:
        while True:
            block = read.read(CHUNK)
            if not block:
                return
            try:
                out.write(block)
            except OSError as error:
                raise WorkspaceError(
                    f"no room to unpack {name} at {target.parent}: {error.strerror}", "free some disk space"
                ) from None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise FormatError(f"{name} may not be read", "check its permissions") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise
    except OSError as error:
        raise FormatError(
            f"{name} cannot be read: {error.strerror or error}",
            "check that it is a plain file on a disk that can be read",
        ) from None


def _recognise(name: str, path: Path, delimiter: str | None) -> Source:
    size = path.stat().st_size
    with _reading(name), path.open("rb") as handle:
        head = handle.read(_HEAD)
    if head.startswith(b"PAR1") or (name.lower().endswith(".parquet") and delimiter is None):
        return _parquet(name, path, size)
    bom = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    text = head[bom:].lstrip()
    if not text:
        raise FormatError(f"{name} holds nothing but blank space", "check the export that wrote it")
    plain = Source(name, path, "csv", size, skip_bytes=bom)
    if text.startswith(b"{"):
        return replace(plain, kind="ndjson")
    if text.startswith(b"["):
        raise FormatError(
            f"{name} is a JSON array; Footfall reads JSON with one object a line",
            f"turn it round: jq -c '.[]' {name} > events.ndjson",
        )
    if name.lower().removesuffix(".gz").endswith((".ndjson", ".jsonl", ".json")):
        return replace(plain, kind="ndjson")
    return _csv(plain, head[bom:], delimiter)


def _parquet(name: str, path: Path, size: int) -> Source:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(
            f"{name} is no whole Parquet file: {str(error).splitlines()[0]}",
            "it may be cut off: fetch it again",
        ) from None
    if len(set(schema.names)) != len(schema.names):
        raise FormatError(
            f"{name}: duplicate column names: {', '.join(_repeated(schema.names))}", "name each column once"
        )
    return Source(name, path, "parquet", size, columns=tuple(schema.names))


def _csv(plain: Source, head: bytes, delimiter: str | None) -> Source:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8")
        if "\n" not in text and len(head) - error.start > 4:
            raise FormatError(
                f"{plain.name}: the header is not UTF-8 (byte {error.start + 1})",
                f"save it as UTF-8, for example: iconv -f latin1 -t utf-8 {plain.name}",
            ) from None
    if "\0" in text.split("\n", 1)[0]:
        raise FormatError(
            f"{plain.name} is no text file (NUL bytes in its first line)",
            "save it as CSV, NDJSON (one JSON object a line) or Parquet; spreadsheets: save as CSV, UTF-8",
        )
    lines = Lines(io.StringIO(text, newline=""))
    found = {}
    for candidate in [delimiter] if delimiter else DELIMITERS:
        lines = Lines(io.StringIO(text, newline=""))
        try:
            header = next((row for row in csv.reader(lines, delimiter=candidate) if row), [])
        except csv.Error as error:
            raise FormatError(f"{plain.name}, line 1: {error}", "check that the first line is a header") from None
        found[candidate] = (header, lines.taken())
    best = max(found, key=lambda d: len(found[d][0]))
    header, raw = found[best]
    if len(header) < 2 and delimiter is None:
        tried = ", ".join(DELIMITER_NAMES[d] for d in DELIMITERS)
        raise FormatError(
            f"{plain.name}: only one column found ({raw.strip()[:60]!r}); tried {tried}",
            "say which with --delimiter, or check that the first line is a header",
        )
    if delimiter is not None and len(header) < 2:
        raise FormatError(
            f"{plain.name}: only one column found with delimiter {delimiter!r} ({raw.strip()[:60]!r})",
            "leave --delimiter out to have it found",
        )
    header = [name.strip() for name in header]
    if len(set(header)) != len(header):
        raise FormatError(
            f"{plain.name}: duplicate column names: {', '.join(_repeated(header))}", "name each column once"
        )
    if "" in header:
        # Exports with an index column leave its name empty; it carries nothing that could be asked for.
        header = [h or f"column{i + 1}" for i, h in enumerate(header)]
    return replace(plain, delimiter=best, header=raw.lstrip("\r\n").rstrip("\r\n"), columns=tuple(header))


def _repeated(names: list[str]) -> list[str]:
    return sorted({n for n in names if names.count(n) > 1})


class Lines:
    """Physical lines of a text, remembering those handed out since the last ``taken``: the raw text of a CSV record."""

    def __init__(self, text: io.TextIOBase | io.StringIO) -> None:
        self._text = text
        self._held: list[str] = []
        self.number = 0  # of the last line handed out
        self.first = 1  # number of the first line held

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline()
        if not line:
            raise StopIteration
        if not self._held:
            self.first = self.number + 1
        self.number += 1
        self._held.append(line)
        return line

    def taken(self) -> str:
        """The raw text since the last call."""
        raw = "".join(self._held)
        self._held.clear()
        return raw


def sample_keys(source: Source, rows: int = 1000) -> tuple[str, ...]:
    """Keys of the first well-formed objects of an NDJSON file, in order of appearance."""
    keys: dict[str, None] = {}
    with source.path.open("rb") as handle:
        handle.seek(source.skip_bytes)
        for _ in range(rows):
            line = handle.readline(CHUNK)
            if not line:
                break
            try:
                row = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(row, dict):
                keys.update(dict.fromkeys(key for key in row if key))
    return tuple(keys)
