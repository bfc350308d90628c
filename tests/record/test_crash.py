"""Killed at any moment and run again: every event exactly once. Two imports at once: every event exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from importing import Workspace

BAD_EVERY = 5_000

IMPORT = """
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
import_files(Lake(folder / "lake"), engine, Config(), FixedClock(datetime(2024, 6, 1, tzinfo=UTC)),
             sys.argv[2:], quarantine_dir=folder / "quarantine")
"""


def write_log(path: Path, count: int, bad: bool) -> None:
    row = (
        '{{"message_id":"m{0}","ts":"2024-05-{1:02}T10:00:00Z","name":"page_view",'
        '"visitor_id":"v{0}","provider_id":"p"}}\n'
    )
    with path.open("w") as out:
        for i in range(count):
            out.write("broken\n" if bad and i % BAD_EVERY == 0 else row.format(i, 1 + i % 20))


def start(folder: Path, *files: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", IMPORT, str(folder), *map(str, files)], stderr=subprocess.PIPE, start_new_session=True
    )


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


def kill_and_restart(folder: Path, count: int, kills: int, bad: bool, seed: int) -> None:
    log = folder / "log.ndjson"
    write_log(log, count, bad)
    started = time.monotonic()
    finish(start(folder / "whole", log))
    span = time.monotonic() - started
    chance = random.Random(seed)
    for _ in range(kills):
        process = start(folder / "killed", log)
        time.sleep(chance.uniform(0.3, 1.0) * span)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(start(folder / "killed", log))
    assert_each_event_once(folder / "killed", count, bad)


def test_killed_in_the_midst_and_run_again(tmp_path: Path) -> None:
    kill_and_restart(tmp_path, count=20_000, kills=2, bad=True, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True])
def test_killed_thirty_times_and_run_again(tmp_path: Path, bad: bool) -> None:
    kill_and_restart(tmp_path, count=300_000, kills=15, bad=bad, seed=2)


def test_two_imports_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log.ndjson"
    write_log(log, 20_000, bad=False)
    both = [start(tmp_path / "ws", log), start(tmp_path / "ws", log)]
    for process in both:
        finish(process)
    assert_each_event_once(tmp_path / "ws", 20_000, bad=False)
