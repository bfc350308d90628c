"""One table, four ways out: drawn on the terminal, JSON, CSV, Parquet."""

from __future__ import annotations

import io
import itertools
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TextIO

import msgspec

from footfall.errors import ConfigError

Format = Literal["table", "json", "csv", "parquet"]
Row = Mapping[str, Any]
_ROWS_AT_A_TIME = 8192


def write(rows: Sequence[Row], format: Format, columns: Sequence[str], table: Callable[[], None] | None = None) -> None:
    """Write rows to standard output in the format asked for; ``table`` draws the terminal's version."""
    if format == "json":
        _write_json(rows)
    elif format == "csv":
        _write_csv(sys.stdout, rows, columns)
    elif format == "parquet":
        write_parquet(rows, columns)
    elif table is not None:
        table()
    else:
        draw(rows, columns)


def to_json(value: object) -> str:
    """JSON, indented by two; not-a-number becomes null, decimals become numbers."""
    return msgspec.json.format(msgspec.json.encode(_plain(value)), indent=2).decode()


def _write_json(rows: Sequence[Row]) -> None:
    """What ``to_json`` makes of rows, one by one: there may be more of them than fit into memory as text."""
    between = "[\n"
    for row in rows:
        sys.stdout.write(between + "  " + to_json(row).replace("\n", "\n  "))
        between = ",\n"
    sys.stdout.write("\n]\n" if rows else "[]\n")


def _plain(value: object) -> object:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None  # numpy's floats are floats too
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        return _plain(value.item())
    return value


def to_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """CSV with a header; empty where there is no value; an apostrophe before text that a spreadsheet would run, also as
    an item of a list (items stand between semicolons)."""
    out = io.StringIO()
    _write_csv(out, rows, columns)
    return out.getvalue()


def _write_csv(out: TextIO, rows: Sequence[Row], columns: Sequence[str]) -> None:
    for cells in itertools.chain([columns], ([_cell(row.get(column)) for column in columns] for row in rows)):
        line = ",".join(_quoted(str(cell)) for cell in cells)
        out.write((line or '""') + "\n")  # an empty line is no row


_IN_QUOTES = re.compile(r'^ |[,"\r\n]')  # readers may pass over blanks after a comma (tables.read_rows does)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _IN_QUOTES.search(text) else text


_FORMULA = re.compile(r"'*[=@\t\r+-]")  # with the apostrophes of such a text, so that one more can be taken off again


def read_back(text: str) -> str:
    """A cell of our own CSV as it was: without the apostrophe that keeps a spreadsheet from running it."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cell(value: object) -> object:
    plain = _plain(value)
    if isinstance(plain, list):
        return ";".join(str(_cell(item)) for item in plain)
    if isinstance(plain, str) and _FORMULA.match(plain) and not _is_number(plain):
        return "'" + plain
    return "" if plain is None else plain


def write_parquet(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Parquet to standard output, which must be a file or a pipe.

    Rows become columns of Arrow some at a time: as Python's objects, they would take ten times the memory.
    """
    if sys.stdout.isatty():
        raise ConfigError("Parquet is not for a terminal", "send it to a file: ... --format parquet > table.parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    for first in range(0, max(len(rows), 1), _ROWS_AT_A_TIME):
        some = rows[first : first + _ROWS_AT_A_TIME]
        parts.append(pa.table({column: [_parquet_value(row.get(column)) for row in some] for column in columns}))
    table = pa.concat_tables(parts, promote_options="permissive")  # a column may be all null, or whole, in some
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    sys.stdout.buffer.write(sink.getvalue())


def _parquet_value(value: object) -> object:
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


def draw(
    rows: Sequence[Row], columns: Sequence[str], title: str = "", numbers: Mapping[str, str] | None = None
) -> None:
    """Draw rows as a table on the terminal; ``numbers`` gives a format for a column, for example ``,.2f``.

    What the terminal is too narrow for is left out from the last column on, and named. Times are drawn to the minute,
    in the zone that they come in: give local ones.
    """
    from footfall.app.columns import Column, fit, lines, one_line

    numbers = numbers or {}
    screen = console()
    if title:
        screen.print(title, style="italic", soft_wrap=True)
    drawn = [
        Column(
            column,
            [one_line(_text(row.get(column), numbers.get(column))) for row in rows],
            right=any(isinstance(_plain(row.get(column)), (int, float)) for row in rows),
        )
        for column in columns
    ]
    widths = fit(drawn, screen.width)
    header, body = lines(drawn[: len(widths)], widths)
    screen.out(header, style="bold", highlight=False)
    if rows:
        screen.out(body, highlight=False)
    left = columns[len(widths) :]
    if left:
        many = f"{len(left)} columns more" if len(left) > 1 else "one column more"
        screen.print(f"... and {many} in a wider window or with --format csv: {', '.join(left)}", soft_wrap=True)


def _text(value: object, how: str | None) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    plain = _plain(value)
    if plain is None:
        return "-"
    if isinstance(plain, bool):
        return "yes" if plain else ""
    if isinstance(plain, (int, float)):
        if isinstance(plain, int):
            return format(plain, how or ",")
        return format(plain, re.sub("^[+]?", r"\g<0>z", how or ",.2f"))  # z: what rounds to zero has no minus
    if isinstance(plain, list):
        return ", ".join(str(item) for item in plain)
    return str(plain)


_CONSOLES: dict[bool, Any] = {}


def console(stderr: bool = False) -> Any:
    """The terminal: standard output, or standard error for progress and remarks."""
    if stderr not in _CONSOLES:
        from rich.console import Console

        wide = None if (sys.stderr if stderr else sys.stdout).isatty() else 160
        _CONSOLES[stderr] = Console(stderr=stderr, highlight=False, markup=False, width=wide)
    return _CONSOLES[stderr]
