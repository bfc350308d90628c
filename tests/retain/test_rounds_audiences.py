"""An audience that cannot be asked holds back its own journey, and no other; mended, that goes on where it was."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from test_rounds import CARTS, NOON, PAPER, at, shop, turn

from footfall.app import messaging

OWN = CARTS.format(holdout=0.0).replace("journeys.carts", "journeys.own").replace("cart_abandoned", "mine")
SOUND = "-- Mine.\nSELECT person, carted_ts AS since, provider_id, category, cart_value AS stake FROM carted"
ENDLESS = "SELECT a.range::VARCHAR AS person, now()::TIMESTAMP AS since, '' AS provider_id, '' AS category, b.range AS stake FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 9"  # noqa: E501
GREEDY = "SELECT person, carted_ts AS since, provider_id, category, (SELECT len(list(x))::DOUBLE FROM range(100000000) t(x)) AS stake FROM carted"  # noqa: E501


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        (b"SELEC", "syntax error"),
        (b"SELECT person FROM buyers", "no column since"),
        (SOUND.replace("carted_ts AS", "nullif(carted_ts, carted_ts) AS").encode(), "3 rows without a time in `since`"),
        (GREEDY.encode(), "Out of Memory"),
        (ENDLESS.encode(), "longer than 1 s"),
        (b"-- Caf\xe9\n" + SOUND.encode(), "is not UTF-8"),
    ],
)
def test_one_that_fails_stops_no_other_journey(tmp_path: Path, sql: bytes, told: str) -> None:
    limit_s = 60.0 if sql == GREEDY.encode() else 1.0  # to allocate takes a busy machine its time
    settings = f"per_day = 9\nper_week = 9\naudience_limit_s = {limit_s}\n"
    here = shop(tmp_path, PAPER + OWN + CARTS.format(holdout=0.0), carts=3, retain=settings)
    path = here.directory / "audiences" / "mine.sql"
    path.parent.mkdir()
    path.write_text(SOUND, encoding="utf-8")
    assert turn(here) == {"entered": 6, "planned": 6, "left": 0}
    assert messaging.send(here) == {"sent": 6}
    path.write_bytes(sql)
    later = at(here, NOON + timedelta(days=2, minutes=1))
    planned = messaging.plan_round(later)
    assert {journey: n for journey, (n, _) in planned.messages.totals().items()} == {"carts": 3}
    (fault,) = planned.faults
    assert "mine.sql" in fault and told in fault
    assert planned.held["own", f"wait until its audience is mended: {fault}"] == 3
    messaging.commit_round(later, planned)
    path.write_text(SOUND, encoding="utf-8")
    assert turn(later)["planned"] == 3
    assert messaging.send(later) == {"sent": 6}
