"""History: which contents have been imported, and how they were read, kept in the transactions that brought them.

Ids of rows without ``message_id`` are hashes of what the mapping made of them, so reading the same file a second time
in another way would put every event into the log twice. Hence each batch leaves a note (``ports.Store.note``) under
the content it came from, and a later import of that content can be held against it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from footfall.errors import InputError
from footfall.ports import Store

_WHOLE = 4 << 20
_EDGE = 1 << 20
_SAMPLES = 256
_SAMPLE = 4096


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One import of a content: its batch, the file's name, the source that was named (or ""), when, and how."""

    batch_id: str
    file: str
    source: str
    at: str
    options: dict[str, str]


def fingerprint(path: Path) -> str:
    """Name of a file's content: SHA-256 of size and bytes; of files above 4 MiB, of both ends and 256 blocks between.

    Reading all of a large file would cost a tenth of its import. Two files with one fingerprint are taken for versions
    of one file; nothing is left out on that ground, since rows are compared one by one whatever the fingerprint says.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(size.to_bytes(8, "big"))
    with path.open("rb") as handle:
        if size <= _WHOLE:
            digest.update(handle.read())
        else:
            digest.update(handle.read(_EDGE))
            for sample in range(_SAMPLES):
                handle.seek(_EDGE + (size - 2 * _EDGE) * sample // _SAMPLES)
                digest.update(handle.read(_SAMPLE))
            handle.seek(-_EDGE, os.SEEK_END)
            digest.update(handle.read())
    return digest.hexdigest()[:32]


def options(
    mapping: Mapping[str, str],
    fixed: Mapping[str, str],
    decimal: str,
    time_zone: str,
    delimiter: str,
    time_format: str | None = None,
) -> dict[str, str]:
    """How a file is read, as the command line would say it."""
    said = {f"--map {field}": column for field, column in mapping.items()}
    said |= {"--event" if field == "name" else f"--set {field}": value for field, value in fixed.items()}
    said |= {"--decimal": decimal, "--time-zone": time_zone}
    said |= {"--time-format": time_format} if time_format is not None else {}
    return dict(sorted(said.items())) | ({"--delimiter": delimiter} if delimiter else {})


def readings(store: Store, content: str) -> list[Reading]:
    """Imports of a content whose events are in the log, oldest first."""
    text = store.note(f"content:{content}")
    found = [] if text is None else msgspec.json.decode(text, type=list[Reading])
    return [r for r in found if store.note(_removed_key(r.batch_id)) is None]


def removal_notes(batches: Sequence[str]) -> dict[str, str]:
    """Notes for the store: these batches are taken out, and what was read in them counts as never imported."""
    return {_removed_key(batch_id): "" for batch_id in batches}


def notes(content: str, file: str, live: Sequence[Reading]) -> dict[str, str]:
    """Notes for the store: the live readings of a content, and what content a file had last ("" = no file)."""
    found = {f"content:{content}": msgspec.json.encode(list(live)).decode()}
    return found | ({_file_key(file): content} if file else {})


def before(store: Store, content: str, source: str) -> tuple[list[Reading], list[Reading]]:
    """(all live readings of the content, those of them that another reading would repeat).

    A source that is named and new sets a reading apart: one file can hold two kinds of events.
    """
    live = readings(store, content)
    return live, [r for r in live if not source or r.source == source]


def replaced(store: Store, content: str, file: str, same: Sequence[Reading]) -> list[Reading]:
    """What ``--replace`` takes out: the readings of the same content, else the last one of this file's name."""
    if same or not file:
        return list(same)
    last = store.note(_file_key(file))
    return [] if last is None or last == content else readings(store, last)[-1:]


def refuse_other(file: str, now: Mapping[str, str], same: Sequence[Reading]) -> None:
    """InputError where one of the readings read the content in another way than ``now``."""
    for reading in same:
        if reading.options != dict(now):
            then = _said({k: v for k, v in reading.options.items() if now.get(k) != v})
            this = _said({k: v for k, v in now.items() if reading.options.get(k) != v})
            raise InputError(
                f"{file}: this content was imported before, from {reading.file} on {reading.at[:16]} UTC, in another "
                f"way (then {then}; now {this}); its events would be in the log twice",
                "take those events out and read it anew with --replace (footfall import FILE --replace ..., in Python "
                "replace=True), or, where it holds a second kind of events, tell the two apart with --source NAME",
            )


def _said(options: Mapping[str, str]) -> str:
    return " ".join(f"{k}={v}" if " " in k else f"{k} {v}" for k, v in options.items()) or "nothing of that"


def _removed_key(batch_id: str) -> str:
    return f"removed:{batch_id}"


def _file_key(file: str) -> str:
    return "file:" + hashlib.sha256(file.encode("utf-8", "surrogateescape")).hexdigest()[:32]
