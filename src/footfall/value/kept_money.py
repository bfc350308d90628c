"""Orders and refunds kept beside the facts, so that an update need not look for them in the whole log.

    <folder>/money-0.arrow, money-1.arrow, ...   one part for what was counted at first, one for each update since

They name persons, as the log does: ``forget`` removes them when somebody is erased from it, and ``facts`` removes those
of a folder that is no longer in use. Counting anew makes them again.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from footfall.ports import Engine
from footfall.value import arrow_files
from footfall.value.relations import Rules
from footfall.value.statements import statement

LARGEST_KEPT = 2_000_000  # orders and refunds; more take more memory (about 150 bytes each) than reading the log does
MOST_PARTS = 16


def counted(engine: Engine, rules: Rules) -> pa.Table | None:
    """The orders and refunds that ``relations.count`` has just read; None where too many, or some are excluded.

    (Who is excluded can change with what is learned about persons, and excluded events were not read.)
    """
    if rules.exclude_visitors:
        return None
    if engine.query("SELECT count(*) AS n FROM money")["n"][0].as_py() > LARGEST_KEPT:
        return None
    return engine.query(statement("money_kept", rules.marks()))


def added(engine: Engine, rules: Rules) -> pa.Table:
    """The orders and refunds of the batches that ``touched.change`` has just counted."""
    return engine.query(statement("money_new", rules.marks()))


def read(folder: Path, parts: int) -> pa.Table | None:
    """What ``write`` wrote in ``parts`` parts; None for none. Raises FileNotFoundError or ArrowException if damaged."""
    if not parts:
        return None
    return pa.concat_tables([arrow_files.read(path) for path in _paths(folder, parts)])


def write(folder: Path, new: pa.Table, before: Path, parts: int, kept: pa.Table | None) -> int:
    """Write ``new`` to ``folder``, with the ``parts`` parts (holding ``kept``) of the folder ``before``; parts written.

    Earlier parts are linked and not written again, unless they have become many.
    """
    if kept is not None and (parts >= MOST_PARTS or not _linked(folder, before, parts)):
        new, parts = pa.concat_tables([kept, new]), 0
    arrow_files.write(_paths(folder, parts + 1)[-1], new, "lz4")
    return parts + 1


def forget(folder: Path) -> None:
    """Remove the orders and refunds of ``folder``."""
    for path in folder.glob("money-*.arrow"):
        path.unlink(missing_ok=True)


def _paths(folder: Path, parts: int) -> list[Path]:
    return [folder / f"money-{number}.arrow" for number in range(parts)]


def _linked(folder: Path, before: Path, parts: int) -> bool:
    """Whether the parts of ``before`` now stand in ``folder`` as well; not every file system has links."""
    try:
        for old, new in zip(_paths(before, parts), _paths(folder, parts), strict=True):
            os.link(old, new)
    except OSError:
        forget(folder)
        return False
    return True
