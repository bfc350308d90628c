"""Time zones: one database for all, which has the rules that DuckDB has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfoNotFoundError

import duckdb
import pyarrow as pa
import pytest

from footfall.zones import names, zone

# DuckDB 2.0.0 has not heard of it: Cuba keeps its summer time in the winter of 2026 (tzdata 2026f, northamerica).
NEWER_HERE = {"America/Havana", "Cuba"}


def test_python_and_duckdb_have_the_same_offsets() -> None:
    """Days of decisions are told by the one, days of events by the other."""
    moments = [datetime(2015, 1, 1, tzinfo=UTC) + timedelta(days=3, hours=5) * n for n in range(1700)]
    given = pa.table({"t": moments})  # noqa: F841 - read by DuckDB
    other = set()
    with duckdb.connect() as connection:
        for name in sorted(names()):
            query = "SELECT (epoch_us(timezone($name, t)) - epoch_us(t)) // 1000000 AS s FROM given"
            told = connection.execute(query, {"name": name}).fetchnumpy()["s"].tolist()
            local = zone(name)
            if told != [round((at.astimezone(local).utcoffset() or timedelta()).total_seconds()) for at in moments]:
                other.add(name)
    assert other <= NEWER_HERE


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../UTC", "/etc/passwd", "posixrules", "right/UTC", "Europe/", "utc\0"]
)
def test_what_is_no_zone(name: str) -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        zone(name)


def test_a_zone_is_the_same_object_each_time() -> None:
    assert zone("Asia/Taipei") is zone("Asia/Taipei")
    assert zone("Asia/Taipei").key == "Asia/Taipei"
