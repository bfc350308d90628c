"""Quarantine: rejected rows, kept once for each batch with file, line, field and reason, until they are mended.

<workspace>/quarantine/<batch_id>.parquet    written before the batch is committed under a name of its own (.pending),
                                             renamed after: a batch's rejects are there once or not at all
<workspace>/quarantine/<batch_id>.settle     what the batch settles, written before its commit and done after: rejects
                                             that it brings mended, and those of earlier readings of the same content

Lines that were mended are remembered beside the rest of their batch, so that importing the file again does not bring
them back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from footfall.errors import WorkspaceError
from footfall.model import Reject

SCHEMA = pa.schema(
    [
        ("batch_id", pa.string()),
        ("content", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("field", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
        ("kind", pa.string()),
        ("delimiter", pa.string()),
        ("header", pa.string()),
    ]
)
_PENDING = ".pending"
_SETTLE = ".settle"
_ABOUT = b"footfall"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch's rejects come from; ``good`` rows of it were not rejected, ``mended`` are lines that were."""

    content: str = ""
    file: str = ""  # whole path, "" where there is none
    source: str = ""
    good: int = 0
    mended: tuple[int, ...] = ()


class Origin(msgspec.Struct, frozen=True):
    """What a reject goes by, whichever import keeps it aside: the content (history.py) and line that it stood in."""

    content: str
    line: int


class Settlement(msgspec.Struct, frozen=True):
    """What an import settles: rejects that came in mended, batches whose rejects it brings anew, and contents whose
    events it takes out, so that rows of theirs which were mended in vain go as well."""

    mended: tuple[Origin, ...] = ()
    superseded: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


class Writer:
    """Rejects of one batch on their way to the quarantine; nothing is visible before ``publish``."""

    def __init__(
        self, directory: Path, batch_id: str, kind: str, delimiter: str, header: str, about: About | None = None
    ) -> None:
        """The folder is made where it is absent; OSError where it cannot be."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._final = directory / f"{batch_id}.parquet"
        self._pending = directory / f"{batch_id}.parquet{_PENDING}"
        self._settle = directory / f"{batch_id}{_SETTLE}"
        self._tail = {"batch_id": batch_id, "kind": kind, "delimiter": delimiter, "header": header}
        self._about = about or About()
        self._settled = set(self._about.mended)
        own = self._about.content
        self._still_kept = {r["line"] for r in rows(directory) if r["content"] == own} if self._settled else set()
        self._writer: pq.ParquetWriter | None = None
        self._settlement = Settlement()

    def was_mended(self, line: int) -> bool:
        """Whether this line of the batch's own content came in mended before: it is not kept again.

        One that came in and was wrong still is kept where it came in.
        """
        return line in self._settled and line not in self._still_kept

    def tell(self, good: int) -> None:
        """Rows of the file that were not rejected; to be told before the first reject is added."""
        self._about = msgspec.structs.replace(self._about, good=good)

    def add(self, rejects: Sequence[Reject], contents: Sequence[str] | None = None) -> None:
        """Write some rejects to the pending file, but for those that were mended before.

        contents: of each, the content that it stood in first, where that is another one.
        """
        own, fields = self._about.content, Reject.__slots__
        rows = [
            {**{f: getattr(r, f) for f in fields}, **self._tail, "content": content or own}
            for r, content in zip(rejects, contents or [""] * len(rejects), strict=True)
            if content or r.line not in self._settled
        ]
        if not rows:
            return
        writer = self._begun()
        writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))

    def _begun(self) -> pq.ParquetWriter:
        if self._writer is None:
            schema = _with_about(SCHEMA, self._about)
            self._writer = pq.ParquetWriter(self._pending, schema, compression="zstd")
        return self._writer

    def close(self, settlement: Settlement | None = None) -> None:
        """End the pending file, durably, with what is to be settled when it is published.

        Without a row it is there all the same where lines were mended: it takes the place of what remembers them.
        """
        if self._settled:
            self._begun()
        if self._writer is not None:
            self._writer.close()
            _sync(self._pending)
        if settlement is not None and settlement != Settlement():
            self._settlement = settlement
            self._settle.write_bytes(msgspec.json.encode(settlement))
            _sync(self._settle)

    def publish(self) -> None:
        """Give the pending file its name, and settle: from now on these rejects are in the quarantine."""
        if self._writer is not None:
            self._pending.replace(self._final)
        _settle(self._directory, self._settlement, str(self._tail["batch_id"]))
        self._settle.unlink(missing_ok=True)

    def drop(self) -> None:
        """Remove the pending file of a batch that did not come to be."""
        if self._writer is not None:
            self._writer.close()
        self._pending.unlink(missing_ok=True)
        self._settle.unlink(missing_ok=True)


def recover(directory: Path, has_batch: Callable[[str], bool]) -> None:
    """Settle what a killed import left: rejects of a committed batch are published, others removed with its copies."""
    if not directory.is_dir():
        return
    for path in directory.glob(f"*{_PENDING}"):
        final = path.with_name(path.name.removesuffix(_PENDING))
        if has_batch(final.name.removesuffix(".parquet")):
            path.replace(final)
        else:
            path.unlink()
    for path in directory.glob(f"*{_SETTLE}"):
        batch_id = path.name.removesuffix(_SETTLE)
        if has_batch(batch_id):
            _settle(directory, msgspec.json.decode(path.read_bytes(), type=Settlement), batch_id)
        path.unlink()
    for path in directory.glob(".import-*"):
        for leftover in path.rglob("*"):
            if leftover.is_file():
                leftover.unlink()
        for folder in sorted(path.rglob("*"), reverse=True):
            folder.rmdir()
        path.rmdir()


def kept(directory: Path) -> dict[str, About]:
    """batch id -> what its rejects come from, of all batches that have some or had some."""
    paths = directory.glob("*.parquet") if directory.is_dir() else ()
    return {p.name.removesuffix(".parquet"): _about(pq.read_schema(p)) for p in sorted(paths)}


def rejects(directory: Path, file: str | None = None) -> Iterator[Reject]:
    """Rejected rows, oldest batch first, in the order of their lines; of one ``file`` where it is named.

    A row that was rejected by several imports of the same file comes once.
    """
    for row in rows(directory):
        if file is None or row["file"] == file:
            yield Reject(row["file"], row["line"], row["field"], row["reason"], row["raw"])


def count(directory: Path) -> int:
    """Rejected rows in the quarantine, as ``rejects`` lists them."""
    return sum(1 for _ in rows(directory))


def rows(directory: Path) -> Iterator[dict[str, Any]]:
    """Rejected rows as ``rejects`` lists them, with all columns of SCHEMA."""
    seen: set[tuple[object, ...]] = set()
    for path in sorted(directory.glob("*.parquet")) if directory.is_dir() else ():
        try:
            with pq.ParquetFile(path) as parquet:
                for batch in parquet.iter_batches(10_000):
                    for row in batch.to_pylist():
                        key = (row["file"], row["line"], row["field"], hash(row["raw"]))
                        if key not in seen:
                            seen.add(key)
                            yield row
        except (pa.ArrowException, OSError) as error:
            raise WorkspaceError(
                f"{path} is damaged: {error}", "move it away: it holds rows kept aside, and nothing of the log"
            ) from None


def _settle(directory: Path, settlement: Settlement, by: str) -> None:
    """Do what the batch ``by`` settles; doing it twice does no harm. Its own rejects are what has to stay."""
    for path in sorted(directory.glob("*.parquet")) if settlement != Settlement() else ():
        batch_id = path.name.removesuffix(".parquet")
        if batch_id in settlement.superseded:
            path.unlink()
        elif batch_id != by and (settlement.mended or settlement.replaced):
            _take_out(path, settlement)


def _take_out(path: Path, settlement: Settlement) -> None:
    """Take rows out of a batch's rejects and remember which are mended; the file stays, be it empty."""
    table = pq.read_table(path, partitioning=None)
    gone, replaced = set(settlement.mended), set(settlement.replaced)
    about = _about(table.schema)
    keys = zip(table["content"].to_pylist(), table["line"].to_pylist(), strict=True)
    keep = [Origin(*key) not in gone and key[0] not in replaced for key in keys]
    own = {o.line for o in gone if o.content == about.content}
    if all(keep) and own <= set(about.mended):
        return
    about = msgspec.structs.replace(about, mended=tuple(sorted({*about.mended, *own})))
    fresh = path.with_name(path.name + ".fresh")
    try:
        left = table.filter(pa.array(keep, pa.bool_()))
        pq.write_table(left.replace_schema_metadata(_metadata(about)), fresh, compression="zstd")
        _sync(fresh)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _with_about(schema: pa.Schema, about: About) -> pa.Schema:
    return schema.with_metadata(_metadata(about))


def _metadata(about: About) -> dict[bytes, bytes]:
    return {_ABOUT: msgspec.json.encode(about)}


def _about(schema: pa.Schema) -> About:
    text = (schema.metadata or {}).get(_ABOUT)
    return About() if text is None else msgspec.json.decode(text, type=About)


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
