"""Rounds by a clock that was set back: refused, and nothing is changed, sent twice or lost."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from pathlib import Path

import pytest
from test_rounds import CARTS, NOON, PAPER, at, event, rows_of, shop, table, turn

from conftest import Cli
from footfall.app import logs, messaging
from footfall.app.http.metrics import Metrics
from footfall.app.keeper import Keeper
from footfall.errors import WorkspaceError


def test_a_clock_set_back_sends_nothing_again(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=10)
    turn(here)
    assert messaging.send(here) == {"sent": 10}
    before = rows_of(here)
    back = at(here, NOON - timedelta(days=3))
    for task in (messaging.one_round, lambda here: messaging.plan_round(here, dry=True), messaging.send):
        with pytest.raises(WorkspaceError, match=r"the clock says 2026-03-17 12:00, and .* at 2026-03-20 12:00"):
            task(back)
    assert rows_of(here) == before
    a_little = at(here, NOON - timedelta(minutes=59))  # hosts differ by as much
    assert turn(a_little)["planned"] == 0
    with pytest.raises(WorkspaceError, match="clock"):  # it is no later for that
        turn(at(here, NOON - timedelta(minutes=61)))
    assert turn(at(here, NOON + timedelta(hours=1)))["planned"] == 0
    later = at(here, NOON + timedelta(days=2, minutes=1))
    assert messaging.send(later) == {}
    assert turn(later)["planned"] == 10  # and nobody is lost
    assert messaging.send(later) == {"sent": 10}


def test_a_clock_that_was_ahead_is_told_to_be_over(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=2)
    turn(at(here, NOON + timedelta(days=4)))
    monkeypatch.setenv("FOOTFALL_NOW", NOON.isoformat())
    for refused in (("retain",), ("retain", "--dry-run")):
        told = cli(*refused, workspace=here.directory)
        assert told.status != 0
        assert "--clock-is-right" in told.err
    assert cli("retain", "--dry-run", "--clock-is-right", workspace=here.directory).status != 0
    assert cli("retain", "--clock-is-right", workspace=here.directory).status == 0
    assert cli("retain", workspace=here.directory).status == 0


def test_the_service_waits_while_the_clock_is_behind(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=2)
    turn(here)
    back = at(here, NOON - timedelta(days=3))
    keeper = Keeper(back, back.config.serve, Metrics(), logs.set_up("test", "error"))
    keeper._leading_until = math.inf
    _, era = keeper._as_written()
    begun = time.monotonic()
    keeper._remember(era, back.store.version(), begun)  # as if the clock had been set back since
    assert keeper._try("send", keeper.send) is None
    back.record(table([event(300, "page_view", 17)]))
    assert keeper._try("retain", keeper.retain) is None
    assert keeper._failing == {"retain", "send"}
    assert here.outbox.counts() == {("carts", "waiting"): 2}
