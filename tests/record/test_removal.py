"""Imports listed and taken out again: exactly their events, in one step, and as if they had never been imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from importing import NOW, Workspace

from footfall.errors import InputError
from footfall.record.removal import imports, remove
from footfall.testing import FixedClock

HEADER = "ts,visitor_id,provider_id\n"
LINES = HEADER + "2024-05-01,a,p\n2024-05-02,b,p\n2024-05-03,c,p\n"
BASKETS = HEADER + "2024-05-02,d,p\n2024-05-03,c,p\nsoon,e,p\n"  # c is in both files
VISIT = {"event": "visit"}


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    ws = Workspace(tmp_path)
    ws.text("lines.csv", LINES, **VISIT)
    assert ws.text("baskets.csv", BASKETS, **VISIT).added == 1
    return ws


def take_out(ws: Workspace, named: str) -> int:
    return remove(ws.lake, ws.engine, ws.config, FixedClock(NOW), named, quarantine_dir=ws.quarantine).events


def visitors(ws: Workspace) -> list[str]:
    return [str(r["visitor_id"]) for r in ws.rows(order="visitor_id")]


def test_imports_are_listed(ws: Workspace) -> None:
    found = {b.source: b for b in imports(ws.lake, ws.engine)}
    assert {s: (b.events, b.first_day, b.last_day) for s, b in found.items()} == {
        "lines.csv": (3, date(2024, 5, 1), date(2024, 5, 3)),
        "baskets.csv": (1, date(2024, 5, 2), date(2024, 5, 2)),
    }
    assert all(b.imported_at == NOW for b in found.values())
    assert take_out(ws, found["lines.csv"].batch_id) == 3
    assert [b.source for b in imports(ws.lake, ws.engine)] == ["baskets.csv"]


def test_exactly_its_events_go_and_come_again(ws: Workspace) -> None:
    assert take_out(ws, "lines.csv") == 3
    assert visitors(ws) == ["d"]
    assert ws.lake.days() == (date(2024, 5, 2),)
    assert ws.lake.rewrites()[0] == ws.lake.version()  # so that facts are counted anew
    # What both files held went with the first; the second brings it when it comes again.
    assert ws.text("baskets.csv", BASKETS, **VISIT).added == 1
    again = ws.text("lines.csv", LINES, **VISIT)
    assert (again.added, again.duplicates) == (2, 1)
    assert visitors(ws) == ["a", "b", "c", "d"]


def test_a_file_that_was_taken_out_may_be_read_in_another_way(ws: Workspace) -> None:
    with pytest.raises(InputError, match="imported before"):
        ws.text("lines.csv", LINES, event="page_view")
    take_out(ws, "lines.csv")
    assert ws.text("lines.csv", LINES, event="page_view").added == 3
    with pytest.raises(InputError, match="imported before"):
        ws.text("lines.csv", LINES, **VISIT)


def test_rows_kept_aside_go_with_their_file(ws: Workspace) -> None:
    assert len(ws.kept_aside()) == 1
    take_out(ws, "lines.csv")
    assert len(ws.kept_aside()) == 1
    take_out(ws, "baskets.csv")
    assert ws.kept_aside() == []
    assert ws.rows() == []
    assert ws.text("baskets.csv", BASKETS, **VISIT).rejected == 1
    assert len(ws.kept_aside()) == 1


def test_an_unknown_name_is_told_its_like(ws: Workspace) -> None:
    before = ws.lake.version()
    with pytest.raises(InputError, match=r"did you mean 'lines\.csv'") as caught:
        take_out(ws, "line.csv")
    assert "--list" in caught.value.way_out
    assert ws.lake.version() == before


def test_replace_says_where_nothing_was_there(ws: Workspace) -> None:
    done = ws.text("other.csv", HEADER + "2024-05-04,z,p\n", **VISIT, replace=True)
    assert (done.added, done.replaced, len(done.not_replaced)) == (1, 0, 1)
    assert done.not_replaced[0].endswith("other.csv")
    assert ws.text("other.csv", HEADER + "2024-05-04,y,p\n", **VISIT, replace=True).not_replaced == ()
    take_out(ws, "other.csv")
    assert ws.text("other.csv", HEADER + "2024-05-04,x,p\n", **VISIT, replace=True).replaced == 0


def test_what_the_service_took_in_stays(ws: Workspace) -> None:
    """A drain commits under the inbox's number, and not under a batch id."""
    for number in (1, 2):
        staged = ws.lake.staging(f"zz{number}")
        ws.lake.attach(ws.engine)
        with ws.engine.cursor() as cursor:
            files = list(ws.lake.files())
            cursor.execute(
                "COPY (SELECT * REPLACE ('api' AS source, $batch AS batch_id) FROM read_parquet($files, "
                "hive_partitioning = true, hive_types = {'day': 'DATE'}, union_by_name = true)) "
                "TO $to (FORMAT parquet, PARTITION_BY (day), OVERWRITE_OR_IGNORE)",
                {"files": files[:1], "to": str(staged), "batch": f"zz{number}"},
            )
        assert ws.lake.commit(f"zz{number}", staged, None, ("inbox", number)) == 1
    found = {b.source: b for b in imports(ws.lake, ws.engine)}
    assert (found["api"].batch_id, found["api"].events) == ("", 2)
    for named in ("api", "zz1"):
        with pytest.raises(InputError, match="live service"):
            take_out(ws, named)
    assert len(ws.rows()) == 6


REMOVE = """
import os, signal, sys
from pathlib import Path
from importing import NOW, Workspace
from footfall.record.removal import remove
from footfall.stores.lake import Lake
from footfall.testing import FixedClock
folder, moment = Path(sys.argv[1]), sys.argv[2]
replace = Lake.replace

def die(*arguments):
    if moment == "after":
        replace(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

Lake.replace = die
ws = Workspace(folder)
remove(ws.lake, ws.engine, ws.config, FixedClock(NOW), "baskets.csv", quarantine_dir=ws.quarantine)
"""


@pytest.mark.parametrize(
    ("moment", "left", "aside"), [("before", ["a", "b", "c", "d"], 1), ("after", ["a", "b", "c"], 0)]
)
def test_killed_before_or_after_its_commit(ws: Workspace, moment: str, left: list[str], aside: int) -> None:
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", REMOVE, str(ws.folder), moment], env=where, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert visitors(ws) == left
    ws.text("next.csv", HEADER + "2024-05-09,n,p\n", **VISIT)  # whoever writes next settles what was left
    assert len(ws.kept_aside()) == aside
    on_disk = {str(p) for p in ws.lake.directory.rglob("*.parquet") if "_delta_log" not in p.parts}
    assert on_disk == set(ws.lake.files())
    assert not list(ws.quarantine.glob("*.settle")) + list(ws.quarantine.glob(".import-*"))
