"""Joining: the rows of several Parquet files in one, a few at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from footfall.model import Column

_ARROW_TYPES = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "TIMESTAMP": pa.timestamp("us"),
}
_GROUP_ROWS = 122_880  # of a row group, as DuckDB writes them


def join(paths: Sequence[Path], columns: Sequence[Column], target: Path) -> None:
    """Write the rows of ``paths``, in their order, with exactly these columns to ``target``; absent ones are null.

    Holds one row group at a time. Raises OSError where it cannot be written.
    """
    schema = pa.schema([(c.name, _ARROW_TYPES[c.type]) for c in columns])
    target.parent.mkdir(parents=True)
    held: list[pa.Table] = []
    rows = 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for path in paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_GROUP_ROWS, use_threads=False):
                    held.append(_fitted(batch, schema))
                    rows += batch.num_rows
                    if rows >= _GROUP_ROWS:
                        writer.write_table(pa.concat_tables(held), row_group_size=_GROUP_ROWS)
                        held, rows = [], 0
        if held:
            writer.write_table(pa.concat_tables(held), row_group_size=_GROUP_ROWS)


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    have = set(batch.schema.names)
    columns = [
        batch.column(f.name).cast(f.type) if f.name in have else pa.nulls(batch.num_rows, f.type) for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
