"""Tables in Arrow files that are mapped into memory: reading one copies nothing."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

MOST_CHUNKS = 16  # a table of more pieces is put together before it is written


def read(path: Path) -> pa.Table:
    """The table in ``path``; FileNotFoundError where there is none, ArrowException where it is damaged.

    The file may be removed or replaced meanwhile, but must not be written to.
    """
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table.validate(full=True)  # what is mapped is taken as it stands: a wrong offset would lead anywhere
    return table


def write(path: Path, table: pa.Table, compression: str | None = None) -> None:
    """Write ``table``; OSError where the disk refuses. What is compressed (``lz4``, ``zstd``) is copied when read."""
    if table.num_columns and table.column(0).num_chunks > MOST_CHUNKS:
        table = table.combine_chunks()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)
