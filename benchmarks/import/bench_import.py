"""Import: files to the lake, checked and de-duplicated, against DuckDB's own COPY of the same file to Parquet.

    python benchmarks/import/bench_import.py [--rows 2000000] [--repeat 3] [--only SCENARIO]

The peer does less: it parses and writes, checks nothing, and knows neither days nor ids. Each measurement is a process
of its own (its peak memory is printed); peer and import take turns, the best of ``--repeat`` counts. CPU seconds stand
beside wall seconds, since wall time says little on a machine that is shared. Target: wall ratio of ``ndjson`` >= 0.8.
"by day" is the same peer writing a folder of files by day, as the lake has to: what is left is the import's own share.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

COLUMNS = [
    "message_id",
    "ts",
    "name",
    "visitor_id",
    "provider_id",
    "item_id",
    "order_id",
    "amount",
    "channel",
    "device",
]
SCENARIOS = {
    "ndjson": "all fields known, message_id given",
    "ndjson-no-ids": "as ndjson, without message_id: every row is hashed",
    "ndjson-extra": "as ndjson, with two columns that go into properties",
    "ndjson-taipei": "as ndjson, local days of Asia/Taipei",
    "ndjson-one-bad": "as ndjson, with one malformed line: the exact way",
    "csv": "as ndjson, as CSV",
    "parquet": "as ndjson, as Parquet",
}
MEMORY_MB = 1024
BOUND = 0.8


def make(folder: Path, scenario: str, rows: int) -> Path:
    """Write the file of a scenario; 30 days in order of time, 300 000 visitors, 2000 providers."""
    left_out = "EXCLUDE (message_id)" if scenario == "ndjson-no-ids" else ""
    extra = ", i % 7 AS page_depth, 'x' || (i % 1000) AS theme" if scenario == "ndjson-extra" else ""
    select = f"""
        SELECT * {left_out} FROM (
            SELECT
                'm' || lpad(CAST(i AS VARCHAR), 10, '0') AS message_id,
                strftime(TIMESTAMP '2024-01-01' + to_seconds(i * 30 * 86400 // {rows}), '%Y-%m-%dT%H:%M:%SZ') AS ts,
                CASE WHEN i % 20 = 0 THEN 'purchase' WHEN i % 3 = 0 THEN 'view_item' ELSE 'page_view' END AS name,
                'v' || (hash(i) % 300000) AS visitor_id,
                's' || (hash(i * 7) % 2000) AS provider_id,
                'i' || (hash(i * 3) % 50000) AS item_id,
                CASE WHEN i % 20 = 0 THEN 'o' || i END AS order_id,
                CASE WHEN i % 20 = 0 THEN CAST((hash(i) % 20000) / 100.0 AS DECIMAL(10, 2)) END AS amount,
                ['email', 'ads', 'search', 'direct'][CAST(1 + hash(i * 5) % 4 AS INTEGER)] AS channel,
                ['mobile', 'desktop'][CAST(1 + hash(i) % 2 AS INTEGER)] AS device
                {extra}
            FROM range({rows}) AS r(i))"""
    kind = scenario if scenario in ("csv", "parquet") else "json"
    path = folder / f"{scenario}.{kind}"
    duckdb.connect().execute(f"COPY ({select}) TO '{path}' (FORMAT {kind})")
    if scenario == "ndjson-one-bad":
        with path.open("a") as out:
            out.write("broken\n")
    return path


def peer(path: Path, scenario: str, folder: Path, by_day: bool = False) -> None:
    """DuckDB's own way: parse and write one Parquet file, or a folder of files by day."""
    connection = duckdb.connect(
        config={"memory_limit": f"{MEMORY_MB}MiB", "preserve_insertion_order": False, "temp_directory": str(folder)}
    )
    names = [c for c in COLUMNS if c != "message_id" or scenario != "ndjson-no-ids"]
    names += ["page_depth", "theme"] if scenario == "ndjson-extra" else []
    if scenario == "parquet":
        source = f"read_parquet('{path}')"
    elif scenario == "csv":
        source = f"read_csv('{path}', all_varchar = true)"
    else:
        spec = ", ".join(f"{c}: 'VARCHAR'" for c in names)
        skip = ", ignore_errors = true" if scenario == "ndjson-one-bad" else ""
        source = f"read_json('{path}', format = 'newline_delimited', columns = {{{spec}}}{skip})"
    if by_day:
        select = f"SELECT {', '.join(names)}, CAST(substr(ts, 1, 10) AS DATE) AS day FROM {source}"
        connection.execute(f"COPY ({select}) TO '{folder / 'out'}' (FORMAT parquet, PARTITION_BY (day))")
        return
    connection.execute(f"COPY (SELECT {', '.join(names)} FROM {source}) TO '{folder / 'out.parquet'}' (FORMAT parquet)")


def ours(path: Path, scenario: str, folder: Path) -> None:
    """The import, into a new lake."""
    from datetime import UTC, datetime

    from footfall.config import Config, WorkspaceSettings
    from footfall.record.intake import import_files
    from footfall.stores.engine import DuckEngine
    from footfall.stores.lake import Lake
    from footfall.testing import FixedClock

    zone = "Asia/Taipei" if scenario == "ndjson-taipei" else "UTC"
    config = Config(workspace=WorkspaceSettings(timezone=zone))
    engine = DuckEngine(MEMORY_MB, 0, folder / "tmp")
    clock = FixedClock(datetime(2024, 6, 1, tzinfo=UTC))
    import_files(Lake(folder / "lake"), engine, config, clock, [str(path)], quarantine_dir=folder / "quarantine")


def measure(role: str, path: Path, scenario: str) -> dict[str, float]:
    """Run one side in a process of its own: wall and CPU seconds without start-up, peak memory in MB."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [
            sys.executable,
            __file__,
            "--role",
            role,
            "--path",
            str(path),
            "--only",
            scenario,
            "--folder",
            folder,
        ]
        found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return found


def child(role: str, path: Path, scenario: str, folder: Path) -> None:
    """One measurement; both sides import their libraries before the clock starts."""
    import deltalake  # noqa: F401
    import numpy as np  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    import footfall.record.intake
    import footfall.stores.engine
    import footfall.stores.lake
    import footfall.testing  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    if role == "ours":
        ours(path, scenario, folder)
    else:
        peer(path, scenario, folder, by_day=role == "by day")
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "mb": after.ru_maxrss / 1024}))


def main() -> int:
    """Run the scenarios and print one line each; 1 where the bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=SCENARIOS)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        child(options.role, options.path, options.only, options.folder)
        return 0
    print(f"{options.rows} rows; import against DuckDB's COPY to Parquet; ratios above 1 are better")
    heads = ("peer s", "by day s", "ours s", "ratio", "by day", "cpu ratio", "rows/s", "peak MB")
    print(f"{'scenario':16} " + " ".join(f"{head:>9}" for head in heads))
    missed = 0
    for scenario in [options.only] if options.only else SCENARIOS:
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder), scenario, options.rows)
            runs: dict[str, list[dict[str, float]]] = {"peer": [], "by day": [], "ours": []}
            for _ in range(options.repeat):
                for role, found in runs.items():
                    found.append(measure(role, path, scenario))
        best = {r: {k: min(x[k] for x in found) for k in ("wall", "cpu")} for r, found in runs.items()}
        wall = {role: found["wall"] for role, found in best.items()}
        ratio = wall["peer"] / wall["ours"]
        figures = (
            *(f"{wall[role]:9.2f}" for role in ("peer", "by day", "ours")),
            *(f"{r:9.2f}" for r in (ratio, wall["by day"] / wall["ours"], best["peer"]["cpu"] / best["ours"]["cpu"])),
            f"{options.rows / wall['ours']:9.0f}",
            f"{max(x['mb'] for x in runs['ours']):9.0f}",
        )
        print(f"{scenario:16} " + " ".join(figures), flush=True)
        missed |= int(scenario == "ndjson" and ratio < BOUND)
    if missed:
        print(f"ndjson is below its bound of {BOUND}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
