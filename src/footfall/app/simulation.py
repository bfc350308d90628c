"""Write a simulated marketplace to files: the log, the providers, and the truth beside them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from footfall.errors import ConfigError
from footfall.learn.simulate import Market, MarketSettings, event_schema

SUFFIXES = (".ndjson", ".csv", ".parquet", ".ndjson.gz", ".csv.gz")
Write = Callable[[pa.Table], None]


@dataclass(frozen=True, slots=True)
class Written:
    """Where a simulated log went."""

    log: Path
    truth: Path
    providers: Path
    events: int
    days: int
    currency: str


def write_market(
    path: Path,
    *,
    shops: int,
    days: int,
    visits: int,
    seed: int,
    start: str | None = None,
    addresses: bool = False,
    progress: Callable[[float, float], None] | None = None,
) -> Written:
    """Write a log of ``days`` days with about ``visits`` visits, day by day, and the truth of each day.

    addresses: whoever puts something into the cart or buys signs up then, with an address at example.com.
    """
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.endswith(s)), None)
    if suffix is None:
        raise ConfigError(f"{path} does not say what to write", f"end it in one of {', '.join(SUFFIXES)}")
    stem = path.name[: -len(suffix)]
    truth_path, providers_path = (
        path.with_name(f"{stem}.truth.parquet"),
        path.with_name(f"{stem}.providers.csv"),
    )
    market = Market(MarketSettings(shops=shops, days=days, visitors=visits, seed=seed, start_day=_start(start, days)))
    path.parent.mkdir(parents=True, exist_ok=True)
    events, signed_up = 0, SignUps()
    with _writer(path, suffix, addresses) as write, pq.ParquetWriter(truth_path, market.truth(0).schema) as truth:
        for index in range(days):
            table = market.step(index)
            if addresses:
                table = signed_up.among(table)
            write(table)
            truth.write_table(market.truth(index))
            events += table.num_rows
            if progress:
                progress(index + 1, days)
    pa_csv.write_csv(market.providers().select(["provider_id", "category", "name"]), providers_path)
    return Written(path, truth_path, providers_path, events, days, market.settings.currency)


def _start(start: str | None, days: int) -> date:
    if start is None:
        return datetime.now(UTC).date() - timedelta(days=days)
    try:
        return date.fromisoformat(start)
    except ValueError:
        raise ConfigError(f"--start {start!r} is no date", "write it as YYYY-MM-DD") from None


class SignUps:
    """Those who have signed up so far."""

    def __init__(self) -> None:
        self._known = pa.array([], pa.string())

    def among(self, events: pa.Table) -> pa.Table:
        """The events of a day and, with an address in a column ``email``, the sign-ups at first carts or orders."""
        at_heart = events.filter(pc.is_in(events["name"], pa.array(["add_to_cart", "purchase"])))
        first = at_heart.group_by("visitor_id").aggregate([("ts", "min")])
        new = first.filter(pc.invert(pc.is_in(first["visitor_id"], self._known)))
        who = new["visitor_id"].combine_chunks()
        self._known = pa.concat_arrays([self._known, who])
        rows = pa.table(
            {
                "message_id": pc.binary_join_element_wise("sign-up", who, "-"),
                "ts": new["ts_min"],
                "name": pa.array(["sign_up"] * len(who), pa.string()),
                "visitor_id": who,
                "email": pc.binary_join_element_wise(who, "example.com", "@"),
            }
        )
        return pa.concat_tables([events, rows], promote_options="default").sort_by([("ts", "ascending")])


@contextmanager
def _writer(path: Path, suffix: str, addresses: bool) -> Iterator[Write]:
    schema = event_schema()
    if addresses:
        schema = schema.append(pa.field("email", pa.string()))
    if suffix == ".parquet":
        with pq.ParquetWriter(path, schema, compression="zstd") as parquet:
            yield parquet.write_table
        return
    with gzip.open(path, "wb", compresslevel=3) if suffix.endswith(".gz") else path.open("wb") as out:
        if suffix.startswith(".csv"):
            with pa_csv.CSVWriter(out, schema) as writer:
                yield writer.write_table
        else:
            yield lambda table: _write_ndjson(out, table)


def _write_ndjson(out: BinaryIO | gzip.GzipFile, table: pa.Table) -> None:
    import msgspec

    encoder = msgspec.json.Encoder(decimal_format="string")
    for batch in table.to_batches(max_chunksize=50_000):
        rows = [{key: value for key, value in row.items() if value is not None} for row in batch.to_pylist()]
        out.write(encoder.encode_lines(rows))
