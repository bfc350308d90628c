"""Rounds of journeys on a small shop: who enters, who leaves, who is held out, and the rules above them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from footfall.app import messaging, retention
from footfall.app.build import Workspace, make_workspace, open_workspace
from footfall.app.choosing import choose
from footfall.errors import ConfigError, InputError
from footfall.retain import audience
from footfall.retain.arms import draws
from footfall.retain.rules import language, quiet_until
from footfall.testing import FixedClock

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
PAPER = '[channels.paper]\nkind = "file"\n'
CARTS = """
[journeys.carts]
audience = "cart_abandoned"
holdout = {holdout}
[[journeys.carts.steps]]
template = "cart"
channel = "paper"
wait = "3h"
[[journeys.carts.steps]]
template = "follow_up"
channel = "paper"
wait = "2d"
"""


def event(person: int, name: str, day: int, hour: int = 8, **more: object) -> dict[str, object]:
    when = datetime(2026, 3, day, hour, tzinfo=UTC)
    return {"ts": when.isoformat(), "name": name, "user_id": f"p{person}", "visitor_id": f"d{person}", "provider_id": "shop", **more}  # fmt: skip  # noqa: E501


def table(rows: list[dict[str, object]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def shop(
    tmp_path: Path, settings: str, carts: int = 40, more: list[dict[str, object]] | None = None, retain: str = ""
) -> Workspace:
    """Persons who put something into the cart on the 19th, among others who bought days after a visit."""
    folder = tmp_path / "shop"
    shutil.copytree(recorded(carts, json.dumps(more or [])), folder)
    text = (folder / "footfall.toml").read_text(encoding="utf-8")
    text = text.replace("[retain]\n", "[retain]\n" + retain) + settings
    (folder / "footfall.toml").write_text(text, encoding="utf-8")
    return open_workspace(folder, FixedClock(NOON))


@cache
def recorded(carts: int, more: str) -> Path:
    """The folder of such a shop whose log has been taken in: once, as most tests begin with the same. more: JSON."""
    made = make_workspace(Path(mkdtemp(dir=place().name)) / "shop", {"workspace": {"currency": "EUR"}}, FixedClock(NOON))  # fmt: skip  # noqa: E501
    rows = []
    for n in range(200, 260):  # late buyers, so that the category has a conversion and a delay
        rows += [event(n, "page_view", 1 + n % 10), event(n, "purchase", 1 + n % 10 + n % 6, amount=50.0)]
    for n in range(carts):
        rows += [event(n, "page_view", 19), event(n, "add_to_cart", 19, hour=9, amount=30.0)]
        traits = {"traits": {"email": f"p{n}@example.com", "timezone": "Europe/Berlin"}}
        rows += [event(n, "identify", 19, properties=json.dumps(traits))]
    made.record(table([*rows, *json.loads(more)]))
    return made.directory


@cache
def place() -> TemporaryDirectory[str]:
    """Where they are until the tests end."""
    return TemporaryDirectory()


def at(here: Workspace, moment: datetime) -> Workspace:
    return open_workspace(here.directory, FixedClock(moment))


def turn(here: Workspace) -> Counter[str]:
    return messaging.commit_round(here, messaging.plan_round(here))


def test_who_enters_is_treated_or_held_out_and_gets_the_steps_in_time(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.25))
    first = turn(here)
    entries = here.entries.all("carts").to_pylist()
    arms = Counter(entry["arm"] for entry in entries)
    assert first["entered"] == len(entries) == 40
    assert 3 <= arms["holdout"] <= 18  # 10 expected; binomial, beyond 3 standard errors otherwise
    assert first["planned"] == arms["treated"]
    assert turn(here) == {"planned": 0}  # nobody twice
    assert messaging.send(here) == {"sent": arms["treated"]}
    held_out = {entry["person"] for entry in entries if entry["arm"] == "holdout"}
    assert not held_out & {posted.message.person for posted in here.outbox.messages(most=0)}
    later = at(here, NOON + timedelta(days=2, minutes=1))
    assert turn(later)["planned"] == arms["treated"]  # the second step
    assert messaging.send(later) == {"sent": arms["treated"]}
    assert {entry["status"] for entry in later.entries.all("carts").to_pylist()} == {"done"}
    assert turn(later)["planned"] == 0


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0))
    assert here.entries.counts() == []  # the state is made when it is first opened
    before = rows_of(here)
    planned = messaging.plan_round(here, dry=True)
    assert len(planned.messages) == 40
    assert "cart_abandoned since 2026-03-19 09:00, step 1 of 2" in next(planned.messages.told())[1]
    assert rows_of(here) == before
    turn(here)
    first = here.state.get("message_space")
    messaging.plan_round(here, dry=True)
    assert here.state.get("message_space") == first is not None


def rows_of(here: Workspace) -> list[str]:
    """All that stands in the state's database."""
    with closing(sqlite3.connect(here.directory / "state" / "footfall.db")) as database:
        return list(database.iterdump())


def test_who_bought_or_left_gets_nothing_more(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0), carts=6)
    turn(here)
    assert messaging.send(here) == {"sent": 6}
    here.record(
        table(
            [
                event(1, "purchase", 20, hour=11, amount=30.0),
                {**event(2, "unsubscribe", 20, hour=11), "provider_id": None},
            ]
        )
    )
    messaging.unsubscribe(here, "u:p3", "p3@example.com")
    later = at(here, NOON + timedelta(days=2, minutes=1))
    assert turn(later)["left"] == 3
    reasons = {e["person"]: e["reason"] for e in later.entries.all("carts").to_pylist() if e["status"] == "exited"}
    assert reasons == {"u:p1": "bought", "u:p2": "unsubscribed", "u:p3": "unsubscribed"}
    steps = Counter(posted.message.person for posted in later.outbox.messages(most=0))
    assert [steps[f"u:p{n}"] for n in (1, 2, 3, 4)] == [1, 1, 1, 2]


def test_caps_choose_the_most_valuable_over_all_journeys(tmp_path: Path) -> None:
    both = PAPER + CARTS.format(holdout=0.0) + CARTS.format(holdout=0.0).replace("journeys.carts", "journeys.rich")
    here = shop(tmp_path, both, carts=10, retain="per_day = 1\nper_week = 1\nprior_lift = 0.1\n")
    planned = messaging.plan_round(here)
    people = Counter(message.person for message, _ in planned.messages.told())
    assert len(people) == 10
    assert set(people.values()) == {1}
    assert sum(n for (_, reason), n in planned.held.items() if reason == "cap a person") == 10
    messaging.commit_round(here, planned)
    messaging.send(here)
    week = at(here, NOON + timedelta(days=6, hours=23))
    assert len(messaging.plan_round(week).messages) == 0


def test_a_budget_buys_the_most_value(tmp_path: Path) -> None:
    settings = PAPER + CARTS.format(holdout=0.0).replace('wait = "3h"', 'wait = "3h"\ncost = 0.2')
    settings = settings.replace("holdout = 0.0", "holdout = 0.0\nbudget = 1.5")
    here = shop(tmp_path, settings, carts=20, retain="prior_lift = 0.9\n")
    planned = messaging.plan_round(here)
    assert len(planned.messages) == 7
    assert planned.held["carts", "budget"] == 13


def test_a_journey_that_is_paused_edited_or_deleted(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0))
    turn(here)
    path = here.directory / "footfall.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("holdout = 0.0", "holdout = 0.0\npaused = true"), encoding="utf-8")
    paused = at(here, NOON + timedelta(minutes=5))
    assert messaging.send(paused) == {"held": 40}  # what waits, waits on
    assert turn(paused)["planned"] == 0
    path.write_text(text.replace('wait = "3h"', 'wait = "1h"'), encoding="utf-8")
    edited = at(here, NOON + timedelta(hours=2))
    assert turn(edited) == {"planned": 0}  # nobody begins anew
    path.write_text(text.replace(CARTS.format(holdout=0.0), CARTS.format(holdout=0.0).replace("carts]", "other]").replace("carts.", "other.")), encoding="utf-8")  # fmt: skip  # noqa: E501
    gone = at(here, NOON + timedelta(hours=3))
    assert messaging.gone(paused) == {}
    assert messaging.gone(gone) == {"carts": 40}
    assert turn(gone)["cancelled"] == 40
    assert "gone from footfall.toml" in gone.outbox.messages("cancelled")[0].error


def test_re_entry_is_a_setting(tmp_path: Path) -> None:
    once = CARTS.format(holdout=0.0).split('[[journeys.carts.steps]]\ntemplate = "follow_up"')[0]
    settings = PAPER + once.replace("holdout = 0.0", "holdout = 0.0\nre_entry_days = 10")
    here = shop(tmp_path, settings, carts=5)
    assert turn(here)["entered"] == 5
    assert turn(at(here, NOON + timedelta(days=9)))["entered"] == 0
    here.record(table([event(n, "add_to_cart", 30, amount=30.0) for n in range(5)]))
    again = at(here, NOON + timedelta(days=10, hours=1))
    assert turn(again)["entered"] == 5
    assert {entry["entry"] for entry in again.entries.latest("carts").to_pylist()} == {2}


def test_consent_and_quiet_hours_cannot_be_got_around(tmp_path: Path) -> None:
    subscribed = [{**event(4, "subscribe", 19), "provider_id": None}]
    settings = PAPER + CARTS.format(holdout=0.0)
    here = shop(tmp_path, settings, carts=6, more=subscribed, retain='consent = "opt-in"\n')
    planned = messaging.plan_round(here)
    assert [message.person for message, _ in planned.messages.told()] == ["u:p4"]
    messaging.commit_round(here, planned)
    night = at(here, NOON + timedelta(hours=8, minutes=30))  # 20:30 UTC, 21:30 in Berlin
    assert messaging.send(night) == {"held": 1}
    (posted,) = night.outbox.messages()
    assert posted.next_at == datetime(2026, 3, 21, 8, tzinfo=UTC)  # nine o'clock in Berlin
    assert messaging.send(at(here, posted.next_at)) == {"sent": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PAPER + CARTS.format(holdout=0).replace("cart_abandoned", "everyone"), "audience 'everyone' is none"),
        (CARTS.format(holdout=0), "no channel 'paper'"),
        (PAPER + CARTS.format(holdout=0).replace('"cart"', '"trolley"'), "no template 'trolley'"),
        (PAPER + CARTS.format(holdout=0).replace('wait = "3h"', 'offer = "ten"'), "no offer 'ten'"),
        ("", "has no journey"),
    ],
)
def test_journeys_that_cannot_be(tmp_path: Path, settings: str, message: str) -> None:
    here = shop(tmp_path, settings, carts=1)
    with pytest.raises((ConfigError, InputError), match=message):
        messaging.plan_round(here)


@pytest.mark.parametrize(("sql", "people"), [("WHERE FALSE", 0), ("", 41)])
def test_an_audience_of_nobody_and_of_everybody(tmp_path: Path, sql: str, people: int) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0).replace("cart_abandoned", "mine"), carts=41)
    (here.directory / "audiences").mkdir()
    text = f"-- Mine.\nSELECT person, carted_ts AS since, provider_id, category, cart_value AS stake FROM carted {sql}"
    (here.directory / "audiences" / "mine.sql").write_text(text, encoding="utf-8")
    assert len(messaging.plan_round(here).messages) == people


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DROP TABLE buyers", "exactly one SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "mend the SQL"),
        ("SELECT person FROM buyers", "no column since, provider_id, category, stake"),
        ("SELECT 1; SELECT 2", "exactly one SELECT"),
        ("SELEC", "mend the SQL"),
        (
            "WITH c AS (UPDATE contacts SET email = 'x@example.com' RETURNING person) SELECT person, email FROM c",
            "changes tables",
        ),
        ("WITH c AS (DELETE FROM contacts RETURNING person) SELECT person FROM c", "changes tables"),
        ("SELECT person, person, email AS since FROM contacts", "person more than once"),
        (
            "SELECT person, 'infinity'::TIMESTAMP AS since, '' provider_id, '' category, 1 stake FROM contacts",
            "years 1 to 9999",
        ),
        (
            "SELECT person, now()::TIMESTAMP AS since, '' AS provider_id, '' AS category, 'inf' AS stake FROM contacts",
            "finite",
        ),
    ],
)
def test_sql_that_is_none_of_ours(tmp_path: Path, sql: str, message: str) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0).replace("cart_abandoned", "mine"), carts=1)
    (here.directory / "audiences").mkdir()
    (here.directory / "audiences" / "mine.sql").write_text(sql, encoding="utf-8")
    (mine,) = retention.audiences(here, ["mine"])[-1:]
    with retention.shown(here) as shown, pytest.raises(InputError) as error:
        audience.members(shown.engine, mine, 30.0)
    assert message in str(error.value)
    assert "mine.sql" in str(error.value)


def test_an_audience_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    slow = "SELECT a.range::VARCHAR AS person, now()::TIMESTAMP AS since, '' AS provider_id, '' AS category, b.range AS stake FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 9"  # noqa: E501
    here = shop(tmp_path, "", carts=1, retain="audience_limit_s = 0.3\n")
    (here.directory / "audiences").mkdir()
    (here.directory / "audiences" / "slow.sql").write_text(slow, encoding="utf-8")
    (mine,) = [one for one in retention.audiences(here) if one.name == "slow"]
    with retention.shown(here) as shown, pytest.raises(InputError, match=r"longer than 0\.3 s"):
        audience.members(shown.engine, mine, here.config.retain.audience_limit_s)


# ---------------------------------------------------------------- the parts


def test_arms_are_uniform_and_independent_between_journeys() -> None:
    person = pa.array([f"u:{n}" for n in range(50_000)])
    one, two = draws("carts", person), draws("winback", person)
    assert stats.kstest(one, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.02
    assert (draws("carts", person[100:200]) == one[100:200]).all()  # whatever stands around it
    assert draws("carts", pa.array([], pa.string())).shape == (0,)


def test_quiet_hours_end_where_the_person_is() -> None:
    utc = ZoneInfo("UTC")
    assert quiet_until("21:00-09:00", datetime(2026, 3, 20, 12, tzinfo=UTC), "", utc) is None
    assert quiet_until("", datetime(2026, 3, 20, 3, tzinfo=UTC), "", utc) is None
    # 04:30 in Taipei on the 21st: until nine there, one o'clock UTC.
    assert quiet_until("21:00-09:00", datetime(2026, 3, 20, 20, 30, tzinfo=UTC), "Asia/Taipei", utc) == datetime(2026, 3, 21, 1, tzinfo=UTC)  # fmt: skip  # noqa: E501
    # The night in which Berlin's clocks go forward: nine o'clock is 07:00 UTC.
    assert quiet_until("21:00-09:00", datetime(2026, 3, 28, 22, tzinfo=UTC), "Europe/Berlin", utc) == datetime(2026, 3, 29, 7, tzinfo=UTC)  # fmt: skip  # noqa: E501
    assert quiet_until("12:00-14:00", datetime(2026, 3, 20, 13, tzinfo=UTC), "No/Where", utc) == datetime(2026, 3, 20, 14, tzinfo=UTC)  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("zone", "hours", "first", "over"),
    [
        # Clocks go back from 3 to 2 in Berlin at 01:00 UTC on 25 October 2026: half past two comes twice.
        ("Europe/Berlin", "22:00-02:30", "2026-10-25T01:10", "2026-10-25T01:30"),
        ("Europe/Berlin", "22:00-02:30", "2026-10-25T00:10", "2026-10-25T00:30"),
        # From 2 to 1:30 on Lord Howe at 15:00 UTC on 4 April 2026.
        ("Australia/Lord_Howe", "22:00-01:45", "2026-04-04T15:05", "2026-04-04T15:15"),
        # Forward from 2 to 3 in Berlin at 01:00 UTC on 29 March 2026: half past two never comes, and three is past it.
        ("Europe/Berlin", "22:00-02:30", "2026-03-29T00:10", "2026-03-29T01:30"),
    ],
)
def test_quiet_hours_end_when_clocks_change(zone: str, hours: str, first: str, over: str) -> None:
    now = datetime.fromisoformat(first).replace(tzinfo=UTC)
    end = quiet_until(hours, now, zone, ZoneInfo("UTC"))
    assert end == datetime.fromisoformat(over).replace(tzinfo=UTC)
    assert end > now


@pytest.mark.parametrize(
    ("told", "expected"), [("zh-TW", "zh-Hant"), ("zh_CN", "zh-Hans"), ("en-GB", "en"), ("fr", "en"), (None, "en")]
)
def test_languages(told: str | None, expected: str) -> None:
    assert language(told, "en") == expected


def test_choosing_is_as_good_as_an_exact_solver() -> None:
    # scipy's MILP (HiGHS): at most one message a person, costs within the budget.
    from scipy.optimize import Bounds, LinearConstraint, milp

    rng = np.random.default_rng(1)
    for _ in range(20):
        n, people = 60, 15
        value, cost, person = rng.exponential(2, n), rng.uniform(0.1, 1, n), rng.integers(0, people, n)
        budget = 3.0
        go = choose(value, cost, person, np.ones(people, np.int64), budget)
        assert cost[go].sum() <= budget
        assert np.bincount(person[go], minlength=people).max() <= 1
        each = np.zeros((people, n))
        each[person, np.arange(n)] = 1
        best = milp(-value, constraints=[LinearConstraint(each, ub=1), LinearConstraint(cost[None], ub=budget)], integrality=1, bounds=Bounds(0, 1))  # fmt: skip  # noqa: E501
        # One price cannot split a message: short of the optimum by less than the best single one.
        assert value[go].sum() >= -best.fun - value.max()


def test_a_step_that_was_taken_out_of_a_journey_sends_nothing(tmp_path: Path) -> None:
    here = shop(tmp_path, PAPER + CARTS.format(holdout=0.0))
    assert turn(here)["planned"] == 40
    path = here.directory / "footfall.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(text[text.rindex("[[journeys.carts.steps]]") :], ""), encoding="utf-8")
    later = at(here, NOON + timedelta(days=3))
    assert turn(later)["planned"] == 0
    assert set(later.entries.all("carts")["status"].to_pylist()) == {"done"}


@pytest.mark.parametrize("listed", ["ann@xn--bcher-kva.de", "Ann@b\u00fccher.de"])  # one domain, RFC 3490
def test_whom_not_holds_for_each_spelling_of_a_domain(tmp_path: Path, listed: str) -> None:
    """Full-width letters, an ideographic stop, a sign in two parts, a soft hyphen: all go to xn--bcher-kva.de."""
    mail = '[channels.paper]\nkind = "smtp"\nhost = "127.0.0.1"\nsender = "shop@example.com"\n'
    odd = ("ann@bu\u0308cher.de", "ann@b\u00fccher\u3002de", "ann@\uff42\u00fccher.de", " ann@B\u00dc\u00adcher.de")
    rows = []
    for n, spelling in enumerate(("ann@xn--bcher-kva.de", "ann@b\u00fccher.de", *odd)):
        traits = json.dumps({"traits": {"email": spelling}})
        rows += [event(n, "page_view", 19), event(n, "add_to_cart", 19, hour=9, amount=30.0), event(n, "identify", 19, properties=traits)]  # fmt: skip  # noqa: E501
    here = shop(tmp_path, mail + CARTS.format(holdout=0.0), carts=0, more=rows)
    to = {message.person for message, _ in messaging.plan_round(here).messages.told()}
    assert to == {f"u:p{n}" for n in range(6)}  # else nothing is shown by the next line
    here.outbox.suppress([(listed, "asked")], NOON)
    assert not messaging.plan_round(here).messages.rows


def test_a_file_of_whom_not_is_read_as_csv() -> None:
    text = 'who,reason\n"bob@example.com","hard bounce"\nann@example.com\n"u:p1","said ""no"", twice"\n\n'
    expected = [("bob@example.com", "hard bounce"), ("ann@example.com", "from l.csv"), ("u:p1", 'said "no", twice')]
    assert messaging.suppressions_of(text, "l.csv") == expected
    for wrong in ('a@b.example\n"c@b.example\nd@b.example\n', "a@b.example\nAnn <c@b.example>\n", "a@b.example\nc@b.example;x\n"):  # fmt: skip  # noqa: E501
        with pytest.raises(InputError, match=r"l\.csv, line [23]"):
            messaging.suppressions_of(wrong, "l.csv")


def test_a_wait_beyond_all_calendars_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"wait"):
        shop(tmp_path, PAPER + CARTS.format(holdout=0.0).replace('"2d"', '"99999999d"'), carts=1)
