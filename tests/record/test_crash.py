"""Killed at any moment and run again: every event exactly once. Two imports at once: every event exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from importing import Workspace

from footfall.record.quarantine import Settlement, recover

BAD_EVERY = 5_000

IMPORT = """
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from footfall.config import Config
from footfall.record.intake import import_files
from footfall.stores.engine import DuckEngine
from footfall.stores.lake import Lake
from footfall.testing import FixedClock
folder = Path(sys.argv[1])
engine = DuckEngine(256, 2, folder / "tmp")
options = eval(sys.argv[2])
moment, commit = options.pop("dies", ""), Lake.commit


def die(*arguments):
    if moment == "after":
        commit(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)


if moment:
    Lake.commit = die
import_files(Lake(folder / "lake"), engine, Config(), FixedClock(datetime(2024, 6, 1, tzinfo=UTC)),
             sys.argv[3:], quarantine_dir=folder / "quarantine", **options)
"""


def write_log(path: Path, count: int, bad: bool) -> None:
    row = (
        '{{"message_id":"m{0}","ts":"2024-05-{1:02}T10:00:00Z","name":"page_view",'
        '"visitor_id":"v{0}","provider_id":"p"}}\n'
    )
    with path.open("w") as out:
        for i in range(count):
            out.write("broken\n" if bad and i % BAD_EVERY == 0 else row.format(i, 1 + i % 20))


def start(folder: Path, *files: Path, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", IMPORT, str(folder), repr(options), *map(str, files)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr.decode()


def assert_each_event_once(folder: Path, count: int, bad: bool) -> None:
    ws = Workspace(folder)
    ws.lake.attach(ws.engine)
    found = ws.engine.query("SELECT count(*) AS n, count(DISTINCT message_id) AS ids FROM events").to_pylist()
    wrong = count // BAD_EVERY if bad else 0
    assert found == [{"n": count - wrong, "ids": count - wrong}]
    assert len(ws.kept_aside()) == wrong
    with ws.lake.lock():
        on_disk = [str(p) for p in ws.lake.directory.rglob("*.parquet") if "_delta_log" not in p.parts]
    assert sorted(on_disk) == sorted(ws.lake.files())
    assert not list(ws.quarantine.glob("*.pending")) + list(ws.quarantine.glob(".import-*"))


def killed_at(process: subprocess.Popen[bytes], seconds: float) -> None:
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def span(folder: Path, log: Path) -> float:
    """Seconds that a whole import takes here and now, with the start of Python."""
    started = time.monotonic()
    finish(start(folder, log))
    return time.monotonic() - started


def kill_and_restart(folder: Path, count: int, kills: int, bad: bool, seed: int) -> None:
    log = folder / "log.ndjson"
    write_log(log, count, bad)
    whole = span(folder / "whole", log)
    chance = random.Random(seed)
    for _ in range(kills):
        killed_at(start(folder / "killed", log), chance.uniform(0.3, 1.0) * whole)
    finish(start(folder / "killed", log))
    assert_each_event_once(folder / "killed", count, bad)


def kill_replacing(folder: Path, count: int, kills: int, seed: int) -> None:
    """Before each kill and after, the log holds the whole of one reading: the old or the new one."""
    log = folder / "log.ndjson"
    write_log(log, count, bad=True)
    whole = span(folder / "ws", log)
    good, chance = count - count // BAD_EVERY, random.Random(seed)
    for turn in range(kills):
        fixed = {"item_id": ("one", "two")[turn % 2]}
        killed_at(start(folder / "ws", log, fixed=fixed, replace=True), chance.uniform(0.3, 1.2) * whole)
        ws = Workspace(folder / "ws")
        ws.lake.attach(ws.engine)
        found = ws.engine.query("SELECT count(*) AS n, count(DISTINCT batch_id) AS batches FROM events").to_pylist()
        assert found == [{"n": good, "batches": 1}]
    finish(start(folder / "ws", log, fixed={"item_id": "last"}, replace=True))
    assert_each_event_once(folder / "ws", count, bad=True)
    assert {r["item_id"] for r in Workspace(folder / "ws").rows("item_id", "item_id")} == {"last"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_around_the_commit_and_run_again(tmp_path: Path, moment: str) -> None:
    log = tmp_path / "log.ndjson"
    write_log(log, 10_000, bad=True)
    process = start(tmp_path / "ws", log, dies=moment)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    Workspace(tmp_path / "ws").load(str(log))
    assert_each_event_once(tmp_path / "ws", 10_000, bad=True)


@pytest.mark.slow
def test_killed_in_the_midst_and_run_again(tmp_path: Path) -> None:
    kill_and_restart(tmp_path, count=20_000, kills=2, bad=True, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True])
def test_killed_thirty_times_and_run_again(tmp_path: Path, bad: bool) -> None:
    kill_and_restart(tmp_path, count=300_000, kills=15, bad=bad, seed=2)


@pytest.mark.slow
def test_killed_while_replacing(tmp_path: Path) -> None:
    kill_replacing(tmp_path, count=100_000, kills=12, seed=3)


def test_two_imports_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log.ndjson"
    write_log(log, 10_000, bad=False)
    both = [start(tmp_path / "ws", log), start(tmp_path / "ws", log)]
    for process in both:
        finish(process)
    assert_each_event_once(tmp_path / "ws", 10_000, bad=False)


def test_killed_between_commit_and_settling(tmp_path: Path) -> None:
    """A settlement that was written but not done is done by the next import; that of an uncommitted batch is not."""
    ws = Workspace(tmp_path)
    bad = "ts,name,visitor_id,provider_id\nsoon,page_view,v,p\n2024-05-01,page_view,v,p\n"
    first = ws.text("a.csv", bad)
    ws.text("b.csv", bad.replace("v,", "w,"))
    second = ws.text("c.csv", "ts,name,visitor_id,provider_id\n2024-05-01,page_view,x,p\n")
    order = msgspec.json.encode(Settlement(superseded=first.batch_ids))
    for batch_id in (*second.batch_ids, "000000-00000"):
        (ws.quarantine / f"{batch_id}.settle").write_bytes(order)
        recover(ws.quarantine, ws.lake.has_batch)
        assert [Path(r.file).name for r in ws.kept_aside()] == ["b.csv"]
    assert not list(ws.quarantine.glob("*.settle"))
