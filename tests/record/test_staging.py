"""Staging: batches of rows in any order of days become files by day, none lost, whatever is held and handed over."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from footfall.config import Config
from footfall.record import staging
from footfall.record.intake import import_files
from footfall.record.relations import longest, passed_on
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.testing import FixedClock

SCHEMA = pa.schema([("message_id", pa.string()), ("channel", pa.string())])


def write(folder: Path, days: list[np.ndarray]) -> dict[str, Counter[str]]:
    """Write batches with the given days; message_id tells batch and row. What the files hold, by day."""
    folder.mkdir()
    with staging.DayFiles(folder, SCHEMA) as files:
        for k, numbers in enumerate(days):
            ids = [f"{k}-{i}" for i in range(len(numbers))]
            rows = pa.RecordBatch.from_pydict({"message_id": ids, "channel": ["ads"] * len(ids)}, schema=SCHEMA)
            files.add(rows, numbers.astype(np.int32))
    found: dict[str, Counter[str]] = {}
    for path in folder.rglob("*.parquet"):
        held = pq.ParquetFile(path).read().column("message_id").to_pylist()
        found.setdefault(path.parent.name, Counter()).update(held)
    return found


def expected(days: list[np.ndarray]) -> dict[str, Counter[str]]:
    wanted: dict[str, Counter[str]] = {}
    for k, numbers in enumerate(days):
        for i, number in enumerate(numbers.tolist()):
            day = date(1970, 1, 1) + timedelta(days=number)
            wanted.setdefault(f"day={day}", Counter())[f"{k}-{i}"] += 1
    return wanted


@pytest.mark.parametrize("order", ["time", "late rows", "none"])
@pytest.mark.parametrize("held", [1 << 30, 20_000])
def test_every_row_lands_in_its_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, held: int) -> None:
    monkeypatch.setattr(staging, "_HELD_BYTES", held)
    monkeypatch.setattr(staging, "_GROUP_ROWS", 700)
    monkeypatch.setattr(staging, "_BEGUN_ROWS", 100)
    monkeypatch.setattr(staging, "_OPEN_FILES", 3)
    draw = np.random.default_rng(1)
    numbers = np.sort(draw.integers(19_000, 19_020, 12_000))
    if order == "none":
        draw.shuffle(numbers)
    if order == "late rows":
        numbers[::997] = 19_001
    days = np.array_split(numbers, 12)
    assert write(tmp_path / "staged", days) == expected(days)


def test_rows_scattered_over_many_days_are_left_to_the_engine() -> None:
    draw = np.random.default_rng(2).integers(0, 400, 10_000).astype(np.int32)
    assert staging.scattered(draw)
    assert not staging.scattered(np.sort(draw))
    assert not staging.scattered(draw % 30)


def test_files_are_closed_where_writing_fails(tmp_path: Path) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    rows = pa.RecordBatch.from_pydict({"message_id": ["a"], "channel": [None]}, schema=SCHEMA)
    with pytest.raises(FileExistsError), staging.DayFiles(folder, SCHEMA) as files:
        files.add(rows, np.array([1], np.int32))
        (folder / "day=1970-01-03").touch()
        files.add(rows, np.array([2], np.int32))


def test_what_the_lean_check_leaves_out_is_what_the_stream_looks_at() -> None:
    # By hand from design.md: ids are held to 512 bytes; every text of the log may be given empty, `name` has its list.
    ids = ("message_id", "visitor_id", "user_id", "previous_id", "visit_id", "provider_id", "item_id", "order_id")
    texts = ("category", "channel", "campaign", "device", "country", "position", "properties")
    assert longest() == dict.fromkeys(ids, 512)
    assert set(passed_on()) == {*ids, *texts}


LINE = (
    '{{"message_id":"m{i}","ts":"2024-03-0{d}T10:00:00Z","name":"page_view","visitor_id":"{v}","provider_id":"s",'
    '"channel":"{c}"}}\n'
)


def run(folder: Path, lines: list[str]) -> tuple[object, list[tuple[object, ...]]]:
    """Import lines of NDJSON into a new lake: the summary, and the rows but for what tells the batch."""
    path = folder / "events.ndjson"
    path.write_text("".join(lines), encoding="utf-8")
    lake, engine = Lake(folder / "lake"), DuckEngine(512, 1, folder / "tmp")
    clock = FixedClock(datetime(2024, 6, 1, tzinfo=UTC))
    done = import_files(lake, engine, Config(), clock, [str(path)], quarantine_dir=folder / "quarantine")
    lake.attach(engine)
    found = engine.query("SELECT * EXCLUDE (batch_id, received_at, source) FROM events ORDER BY message_id")
    return done, [tuple(row.values()) for row in found.to_pylist()]


@pytest.mark.parametrize(("visitor", "channel"), [("v", "ads"), ("v", ""), ("v" * 512, "ads")])
def test_the_two_ways_agree(tmp_path: Path, visitor: str, channel: str) -> None:
    lines = [LINE.format(i=i, d=1 + i % 9, v=visitor, c=channel if i % 2 else "ads") for i in range(40)]
    (tmp_path / "fast").mkdir()
    (tmp_path / "exact").mkdir()
    fast, rows = run(tmp_path / "fast", lines)
    exact, same = run(tmp_path / "exact", [*lines, "broken\n"])
    assert rows == same
    assert len(rows) == fast.added == exact.added == 40
    assert (fast.rejected, exact.rejected) == (0, 1)
    assert any(channel == "" and None in row[13:14] for row in rows) == (channel == "")


@pytest.mark.parametrize("bad", [{"v": "v" * 513, "c": "ads"}, {"v": "", "c": "ads"}])
def test_a_bad_id_late_in_a_file_is_rejected_with_its_line(tmp_path: Path, bad: dict[str, str]) -> None:
    lines = [LINE.format(i=i, d=1 + i % 9, v="v", c="ads") for i in range(40)]
    done, rows = run(tmp_path, [*lines, LINE.format(i=40, d=1, **bad)])
    assert (done.added, done.rejected, len(rows)) == (40, 1, 40)
    assert [reason.split(":")[0] for reason in done.reasons] == ["visitor_id"]


def test_scattered_rows_come_to_the_same(tmp_path: Path) -> None:
    start = datetime(2023, 1, 1, tzinfo=UTC)
    line = (
        '{{"message_id":"m{i:04}","ts":"{t:%Y-%m-%dT%H:%M:%SZ}","name":"page_view",'
        '"visitor_id":"v","provider_id":"s"}}\n'
    )
    lines = [line.format(i=i, t=start + timedelta(days=i * 37 % 100)) for i in range(1000)]
    _, rows = run(tmp_path, lines)
    assert [row[0] for row in rows] == [f"m{i:04}" for i in range(1000)]
    assert [row[2] for row in rows] == [(start + timedelta(days=i * 37 % 100)).date() for i in range(1000)]


def test_the_fast_way_does_without_pandas(tmp_path: Path) -> None:
    # pa.array and to_numpy import it where it is installed, which takes as long as a million rows.
    path = tmp_path / "events.ndjson"
    path.write_text("".join(LINE.format(i=i, d=1 + i % 9, v="v", c="ads") for i in range(2000)), encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime\n"
        "from footfall.config import Config; from footfall.record.intake import import_files\n"
        "from footfall.stores.engine import DuckEngine; from footfall.stores.lake import Lake\n"
        "from footfall.testing import FixedClock\n"
        "f = Path(sys.argv[1]); clock = FixedClock(datetime(2024, 6, 1, tzinfo=UTC))\n"
        "import_files(Lake(f / 'lake'), DuckEngine(512, 1, f / 'tmp'), Config(), clock, [str(f / 'events.ndjson')], "
        "quarantine_dir=f / 'q')\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
