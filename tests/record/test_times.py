"""Times in forms of their own: ``time_format``, and what is said of times that were read in a way nobody meant."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from importing import Workspace

from footfall.errors import ConfigError, InputError

HEADER = "at,visitor_id,provider_id\n"
HOW = {"event": "visit", "mapping": {"ts": "at"}}


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.mark.parametrize(
    ("text", "time_format", "zone", "expected"),
    [
        ("4/22/2018 6:00", "%m/%d/%Y %H:%M", "UTC", datetime(2018, 4, 22, 6)),
        ("22.04.2018 06:00", "%d.%m.%Y %H:%M", "Europe/Berlin", datetime(2018, 4, 22, 4)),  # summer time: UTC+2
        ("3/4/18 6:05 PM", "%m/%d/%y %I:%M %p", "UTC", datetime(2018, 3, 4, 18, 5)),
        ("2018-04-22 06:00 +0300", "%Y-%m-%d %H:%M %z", "Europe/Berlin", datetime(2018, 4, 22, 3)),
        ("20180422", "%Y%m%d", "Asia/Taipei", datetime(2018, 4, 21, 16)),  # midnight at UTC+8
        ("2014461", "%G%V%u", "UTC", datetime(2014, 11, 10)),  # Monday of ISO week 46 of 2014
    ],
)
def test_times_are_read_by_their_format(
    ws: Workspace, text: str, time_format: str, zone: str, expected: datetime
) -> None:
    done = ws.text("a.csv", f"{HEADER}{text},v,p\n", **HOW, time_format=time_format, time_zone=zone)
    assert done.added == 1
    assert [r["ts"] for r in ws.rows("ts")] == [expected]


def test_times_that_do_not_fit_are_kept_aside_with_the_option_named(ws: Workspace) -> None:
    content = f"{HEADER}4/22/2018 6:00,v,p\n2018-04-22T06:00:00Z,v,p\n22.04.2018 6:00,v,p\n,v,p\n"
    done = ws.text("a.csv", content, **HOW, time_format="%m/%d/%Y %H:%M")
    assert done.added == 1
    assert done.reasons == {"ts: not a time as --time-format '%m/%d/%Y %H:%M' says": 2, "ts: no time": 1}


def test_without_a_format_the_reason_names_the_option(ws: Workspace) -> None:
    assert ws.text("a.csv", f"{HEADER}4/22/2018 6:00,v,p\n", **HOW).rejected == 1
    assert "--time-format" in ws.kept_aside()[0].reason


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("201446", "before 1990-01-01 ([record] earliest), read as epoch seconds"),
        ("201446010000", "before 1990-01-01 ([record] earliest), read as epoch milliseconds"),
        ("9999999999", "more than 366 days in the future ([record] future_days), read as epoch seconds"),
        ("201446010000000", "before 1990-01-01 ([record] earliest), read as epoch microseconds"),
    ],
)
def test_a_number_out_of_bounds_says_how_it_was_read(ws: Workspace, number: str, words: str) -> None:
    ws.text("a.csv", f"{HEADER}{number},v,p\n1971-01-01,v,p\n", **HOW)
    read, plain = (reject.reason for reject in ws.kept_aside())
    assert read.startswith(words) and "--time-format" in read
    assert plain == "before 1990-01-01 ([record] earliest)"


@pytest.mark.parametrize("time_format", ["", "%H:%M", "%d.%m. %H:%M", "tomorrow", "%Q", "%Y", "%m/%Y"])
def test_formats_that_cannot_tell_a_day_are_refused(ws: Workspace, time_format: str) -> None:
    with pytest.raises(ConfigError, match="time format") as caught:
        ws.text("a.csv", f"{HEADER}4/22/2018 6:00,v,p\n", **HOW, time_format=time_format)
    assert "%m/%d/%Y" in caught.value.way_out
    assert ws.kept_aside() == []


def test_another_format_is_another_reading(ws: Workspace) -> None:
    content = f"{HEADER}3/4/2018,v,p\n"
    ws.text("a.csv", content, **HOW, time_format="%m/%d/%Y")
    with pytest.raises(InputError, match="then --time-format %m/%d/%Y; now --time-format %d/%m/%Y"):
        ws.text("a.csv", content, **HOW, time_format="%d/%m/%Y")
    assert ws.text("a.csv", content, **HOW, time_format="%d/%m/%Y", replace=True).replaced == 1
    assert [r["ts"] for r in ws.rows("ts")] == [datetime(2018, 4, 3)]
