"""Killed at any moment: the workspace opens, the old or the new plan is published, and nothing half looks whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from footfall.app.build import open_workspace
from footfall.app.main import main
from footfall.errors import FootfallError
from footfall.stores.backup import restore
from footfall.testing.state import sample_plan

KILLS = 20

# Runs one command; with a moment, dies by SIGKILL before or after the call that makes it count.
COMMAND = """
import os, pathlib, signal, sys
moment, arguments = sys.argv[1], sys.argv[2:]
if moment:
    from footfall.stores.state import SqlState
    when, owner, name = moment.split(":")
    owner = {"state": SqlState, "path": pathlib.Path}[owner]
    call = getattr(owner, name)

    def die(*given, **named):
        ours = owner is SqlState or str(given[1]) == arguments[{"backup": 1, "restore": 2}[arguments[0]]]
        if ours and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = call(*given, **named)
        if ours:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, die)
from footfall.app.main import main
sys.exit(main(arguments))
"""


def start(*arguments: object, moment: str = "") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", COMMAND, moment, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def ended(process: subprocess.Popen[bytes]) -> int:
    _, stderr = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), stderr.decode()
    return process.returncode


def killed_at(process: subprocess.Popen[bytes], seconds: float) -> None:
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    ended(process)


def span(*arguments: object) -> float:
    """Seconds that the command takes here and now, with the start of Python."""
    started = time.monotonic()
    assert ended(start(*arguments)) == 0
    return time.monotonic() - started


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two plans, the first of them published and then the second."""
    folder = tmp_path_factory.mktemp("market")
    log, shop = folder / "log.ndjson.gz", folder / "shop"
    assert main(["simulate", str(log), "--shops", "6", "--days", "16", "--visitors", "900", "--seed", "5"]) == 0
    assert main(["init", str(shop), "--currency", "CNY"]) == 0
    assert main(["import", str(log), "--workspace", str(shop)]) == 0
    for _ in range(2):
        assert main(["plan", "--workspace", str(shop)]) == 0
        assert main(["plan", "publish", "--workspace", str(shop)]) == 0
    return shop


@pytest.fixture
def shop(market: Path, tmp_path: Path) -> Path:
    """A workspace of its own, with events and plans."""
    return shutil.copytree(market, tmp_path / "shop")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A workspace without events, and with two plans that nobody made from it."""
    assert main(["init", str(tmp_path / "shop")]) == 0
    state = open_workspace(tmp_path / "shop").state
    for name in ("one", "two"):
        state.publish(state.save_plan(sample_plan(name)).version)
    state.close()
    return tmp_path / "shop"


def listed(cli, shop: Path) -> dict[int, str]:
    """version -> status, by the command; all of it can be read, and one plan at most is in force."""
    found = cli("plan", "list", "--format", "json", workspace=shop)
    assert found.status == 0, found.err
    assert not found.err
    rows = {row["version"]: row["status"] for row in found.json}
    assert list(rows.values()).count("published") == 1
    return rows


def published(cli, shop: Path) -> int:
    return next(version for version, status in listed(cli, shop).items() if status == "published")


def whole(archive: Path, folder: Path) -> bool:
    """Whether ``archive`` can be restored."""
    try:
        restore(archive, folder)
    except FootfallError:
        return False
    shutil.rmtree(folder)
    return True


def check_archive(archive: Path, folder: Path) -> bool:
    """An archive that has its name is whole; whether it is there."""
    if not archive.exists():
        return False
    assert whole(archive, folder)
    archive.unlink()
    return True


def check_restored(cli, target: Path, plans: dict[int, str]) -> bool:
    """A folder that has its name is the whole workspace, and no half one can be opened; whether it is there."""
    for left in target.parent.glob(f".{target.name}.*"):
        for settings in left.rglob("footfall.toml"):  # verified in full before, and only its name was to come
            assert listed(cli, settings.parent) == plans
    if not target.exists():
        return False
    assert listed(cli, target) == plans
    shutil.rmtree(target)
    return True


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_dead_around_what_makes_it_count(cli, small: Path, tmp_path: Path, when: str) -> None:
    """Dead right before: as if never run. Dead right after: as if it had ended well."""
    shop, done, here = small, when == "after", ("--workspace", small)
    before = listed(cli, shop)
    assert ended(start("plan", "publish", 1, *here, moment=f"{when}:state:publish")) == -signal.SIGKILL
    assert listed(cli, shop) == ({2: "retired", 1: "published"} if done else before)
    now = listed(cli, shop)
    assert ended(start("plan", "rollback", 2, *here, moment=f"{when}:state:publish")) == -signal.SIGKILL
    assert listed(cli, shop) == ({2: "published", 1: "retired"} if done else now)
    archive, again = tmp_path / "shop.tar.gz", tmp_path / "again"
    assert ended(start("backup", archive, *here, moment=f"{when}:path:replace")) == -signal.SIGKILL
    assert check_archive(archive, tmp_path / "unpacked") == done
    assert main(["backup", str(archive), *map(str, here)]) == 0
    assert ended(start("restore", archive, again, moment=f"{when}:path:replace")) == -signal.SIGKILL
    assert check_restored(cli, again, listed(cli, shop)) == done
    assert main(["restore", str(archive), str(again)]) == 0
    assert not list(tmp_path.glob(".*"))  # what the dead left went with the next run


def test_a_damaged_plan_is_named_and_the_others_listed(cli, small: Path) -> None:
    shop = small
    (database,) = (path for path in (shop / "state").rglob("*.db"))
    with closing(sqlite3.connect(database)) as state, state:
        state.execute("UPDATE plans SET body = x'00' WHERE version = 1")
    found = cli("plan", "list", "--format", "json", workspace=shop)
    assert found.status == 0
    assert [(row["version"], row["status"]) for row in found.json] == [(2, "published"), (1, "damaged, retired")]
    assert "plan 1 cannot be read back" in found.err
    assert cli("plan", "list").status == 0
    assert cli("plan", "show", "2").status == 0


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_planning_dead_around_its_row(cli, shop: Path, when: str) -> None:
    before = listed(cli, shop)
    assert ended(start("plan", "--workspace", shop, moment=f"{when}:state:save_plan")) == -signal.SIGKILL
    assert listed(cli, shop) == (before if when == "before" else {3: "draft", **before})


@pytest.mark.slow
@pytest.mark.parametrize("command", ["plan", "publish", "rollback"])
def test_plans_killed_at_random_moments(cli, shop: Path, command: str) -> None:
    chance, here = random.Random(f"killed {command}"), ("--workspace", shop)
    seconds = span("plan", *here)
    for turn in range(KILLS):
        before = listed(cli, shop)
        arguments = {"plan": (), "publish": ("publish", 1 + turn % 2), "rollback": ("rollback", 1 + turn % 2)}[command]
        killed_at(start("plan", *arguments, *here), chance.uniform(0.2, 1.1) * seconds)
        after = listed(cli, shop)
        assert published(cli, shop) in {*(v for v, s in before.items() if s == "published"), *arguments[1:]}
        assert before.keys() <= after.keys() <= {*before, max(before) + 1}
        open_workspace(shop).state.close()
    assert ended(start("plan", *here)) == 0
    assert ended(start("plan", "publish", *here)) == 0


@pytest.mark.slow
def test_backup_killed_at_random_moments(cli, shop: Path, tmp_path: Path) -> None:
    chance, here, archive = random.Random("killed backup"), ("--workspace", shop), tmp_path / "shop.tar.gz"
    (shop / "quarantine" / "much.bin").write_bytes(random.Random(1).randbytes(30_000_000))  # so that writing takes time
    seconds = span("backup", archive, *here)
    archive.unlink()
    for _ in range(KILLS):
        killed_at(start("backup", archive, *here), chance.uniform(0.3, 1.05) * seconds)
        for left in tmp_path.rglob(".shop.tar.gz.*/archive"):
            whole(left, tmp_path / "tried")  # hidden, and refused or whole: never half a workspace
            assert not (tmp_path / "tried").exists()
        check_archive(archive, tmp_path / "unpacked")
        assert listed(cli, shop)
    assert ended(start("backup", archive, *here)) == 0
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_restore_killed_at_random_moments(cli, shop: Path, tmp_path: Path) -> None:
    chance, archive, again = random.Random("killed restore"), tmp_path / "shop.tar.gz", tmp_path / "again"
    (shop / "quarantine" / "much.bin").write_bytes(random.Random(1).randbytes(30_000_000))
    assert main(["backup", str(archive), "--workspace", str(shop)]) == 0
    plans = listed(cli, shop)
    seconds = span("restore", archive, again)
    shutil.rmtree(again)
    for _ in range(KILLS):
        killed_at(start("restore", archive, again), chance.uniform(0.3, 1.05) * seconds)
        check_restored(cli, again, plans)
    assert ended(start("restore", archive, again)) == 0
    assert listed(cli, again) == plans
    assert not list(tmp_path.glob(".*"))
