"""A workspace that is made from a backup: what waited may have gone since, and does not go by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_rounds import shop, turn
from test_turns import ONCE, statuses

from conftest import Cli
from footfall.app import messaging
from footfall.app.build import open_workspace
from footfall.retain.rounds import GONE
from footfall.stores import backup


def test_letters_of_a_backup_do_not_go_twice(tmp_path: Path, cli: Cli) -> None:
    here = shop(tmp_path, ONCE, carts=3)
    turn(here)
    archive = tmp_path / "shop.tar.gz"
    assert cli("backup", archive, "--workspace", here.directory).status == 0
    assert messaging.send(here) == {"sent": 3}
    told = cli("restore", archive, tmp_path / "again")
    assert told.status == 0 and "3 letters waited" in told.out
    again = open_workspace(tmp_path / "again", here.clock)
    assert messaging.send(again) == {} and turn(again) == {"planned": 0}
    assert statuses(again) == {"unknown": 3}
    assert cli("restore", archive, tmp_path / "moved", "--moved").status == 0
    assert messaging.send(open_workspace(tmp_path / "moved", here.clock)) == {"sent": 3}


def test_what_was_asked_for_again_before_a_backup_is_in_doubt_too(tmp_path: Path, cli: Cli) -> None:
    """By hand: of three letters one was asked for again, one is of a journey that was gone for a while, one bought."""
    here = shop(tmp_path, ONCE, carts=3)
    turn(here)
    asked, gone, bought = (posted.message for posted in here.outbox.messages())
    here.outbox.cancel("bought", of=[bought.person])
    here.outbox.cancel("by mistake", of=[asked.person])
    messaging.retry(here, asked.message_id)
    here.outbox.cancel(GONE, of=[gone.person])
    archive = tmp_path / "shop.tar.gz"
    cli("backup", archive, "--workspace", here.directory)
    assert turn(here)["planned"] == 0
    assert messaging.send(here) == {"sent": 2}
    assert "2 letters waited" in cli("restore", archive, tmp_path / "again").out
    again = open_workspace(tmp_path / "again", here.clock)
    turn(again)
    assert messaging.send(again) == {}
    assert statuses(again) == {"unknown": 2, "cancelled": 1}


def test_a_lake_elsewhere_makes_no_state_elsewhere(tmp_path: Path, cli: Cli) -> None:
    here = shop(tmp_path, ONCE, carts=3)
    shutil.move(here.directory / "lake", tmp_path / "large")
    path = here.directory / "footfall.toml"
    text = path.read_text(encoding="utf-8").replace('# lake = ""', f'lake = "{tmp_path / "large"}"')
    path.write_text(text, encoding="utf-8")
    here = open_workspace(here.directory, here.clock)
    turn(here)
    archive = tmp_path / "shop.tar.gz"
    assert cli("backup", archive, "--workspace", here.directory).status == 0
    assert messaging.send(here) == {"sent": 3}
    assert cli("restore", archive, tmp_path / "again").status == 0
    assert messaging.send(open_workspace(tmp_path / "again", here.clock)) == {}


def test_audiences_and_templates_are_in_a_backup(tmp_path: Path, cli: Cli) -> None:
    here = shop(tmp_path, ONCE, carts=1)
    for name, text in (("audiences/mine.sql", "-- Mine.\nSELECT 1"), ("templates/own.en.txt", "Subject: Hi\n\nHi")):
        (here.directory / name).parent.mkdir(exist_ok=True)
        (here.directory / name).write_text(text, encoding="utf-8")
    archive = tmp_path / "shop.tar.gz"
    assert cli("backup", archive, "--workspace", here.directory).status == 0
    assert cli("restore", archive, tmp_path / "again").status == 0
    for name in ("audiences/mine.sql", "templates/own.en.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (here.directory / name).read_bytes()


def test_nobody_can_run_on_it_before_it_is_in_doubt(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    here = shop(tmp_path, ONCE, carts=1)
    archive = tmp_path / "shop.tar.gz"
    cli("backup", archive, "--workspace", here.directory)

    def dies(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.restore(archive, tmp_path / "again", finish=dies)
    assert not (tmp_path / "again").exists()
