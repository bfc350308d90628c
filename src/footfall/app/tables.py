"""Small tables that operators hand in: capacities, demand, eligible pairs. CSV or TSV with a header; UTF-8.

Spaces after a comma are passed over; those of an id stand in quotes.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from footfall.app.output import read_back
from footfall.errors import FormatError

MOST = 1e15  # visits, as in rules files


def read_rows(
    path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a small table as (line, row); FormatError names file, line and field."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # ends of lines as they are: an id may hold one
    except FileNotFoundError:
        raise FormatError(f"{path} does not exist", "check the path") from None
    except IsADirectoryError:
        raise FormatError(f"{path} is a folder", "name a file") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 (byte {error.start})", "save it as UTF-8") from None
    first = re.split(r"[\r\n]", text, maxsplit=1)[0].strip()
    if not first:
        raise FormatError(f"{path} is empty", f"give it a header: {','.join(required)}")
    delimiter = "\t" if "\t" in first else ";" if ";" in first else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    missing = [name for name in required if name not in header]
    unknown = [name for name in header if name not in (*required, *optional)]
    if missing:
        raise FormatError(f"{path}, line 1: no column {', '.join(missing)}", f"its columns are: {', '.join(header)}")
    if unknown:
        raise FormatError(
            f"{path}, line 1: unknown column {', '.join(unknown)}",
            f"known: {', '.join((*required, *optional))}",
        )
    for row in _rows(reader, path):
        if None in row or any(value is None for value in row.values()):
            raise FormatError(f"{path}, line {reader.line_num}: {len(header)} fields expected", "mend the row")
        yield reader.line_num, {key: read_back(value) for key, value in row.items()}


def _rows(reader: csv.DictReader[str], path: Path) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise FormatError(
            f"{path}, line {reader.line_num + 1}: {error}", "check quotes and the length of fields"
        ) from None


def number(path: Path, line: int, field: str, text: str) -> float:
    """A number from 0 to MOST, or FormatError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST:  # refuses nan, too
        point = ", decimals after a point: 2.5" if "," in text else ""
        raise FormatError(
            f"{path}, line {line}: {field} is {text!r}", f"a number from 0 to {MOST:.0e} is expected{point}"
        )
    return value


def read_numbers(path: Path, key: str, field: str = "visits", optional: Sequence[str] = ()) -> dict[str, float]:
    """A table of one key and one number, for example provider_id,visits; a key twice is refused."""
    found: dict[str, float] = {}
    for line, row in read_rows(path, (key, field), optional):
        if not row[key]:
            raise FormatError(f"{path}, line {line}: {key} is empty", "name one")
        if row[key] in found:
            raise FormatError(f"{path}, line {line}: {key} {row[key]!r} stands twice", "keep one of the two rows")
        found[row[key]] = number(path, line, field, row[field])
    if not found:
        raise FormatError(f"{path} has a header and no rows", f"give it rows of {key},{field}")
    return found


def read_pairs(path: Path) -> tuple[tuple[str, str], ...]:
    """A table of segment,provider_id."""
    return tuple((row["segment"], row["provider_id"]) for _, row in read_rows(path, ("segment", "provider_id")))
