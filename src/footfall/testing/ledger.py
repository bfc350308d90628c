"""The contract of ``ports.Ledger``: an adapter subclasses ``LedgerContract``, giving the fixture ``ledger``."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, timedelta

import pytest

from footfall.errors import InputError
from footfall.model import VISIT, Delivered, Pacing
from footfall.ports import Ledger

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SOON = NOON + timedelta(seconds=30)
LATER = NOON + timedelta(seconds=60)


class LedgerContract:
    """What every ``ports.Ledger`` must do; a subclass gives the fixture ``ledger``, an empty ledger."""

    def test_an_empty_ledger_grants_nothing(self, ledger: Ledger) -> None:
        """No allowance, no worker, no pacing: empty answers, no errors."""
        assert dict(ledger.allowances(DAY)) == {}
        assert ledger.lease("w", DAY, {"a": VISIT}, NOON) == {}
        ledger.enter("w", "host", SOON)
        assert ledger.lease("w", DAY, {"a": VISIT}, NOON) == {}
        assert ledger.gone("host", NOON) == ()
        assert ledger.pacing(1) is None

    def test_grants_end_at_the_capacity(self, ledger: Ledger) -> None:
        """Whole visits, until less than one is left; what is returned can be granted again."""
        ledger.open_day(DAY, {"a": 3.5, "b": 0, "c": math.inf})
        ledger.enter("w", "host", SOON)
        wanted = {"a": 2 * VISIT, "b": VISIT, "c": 5 * VISIT}
        assert dict(ledger.lease("w", DAY, wanted, NOON)) == {"a": 2 * VISIT, "c": 5 * VISIT}
        assert dict(ledger.lease("w", DAY, {"a": 2 * VISIT}, NOON)) == {"a": VISIT}
        assert dict(ledger.lease("w", DAY, {"a": VISIT}, NOON)) == {}
        ledger.give_back("w", DAY, {"a": VISIT // 2})
        assert dict(ledger.lease("w", DAY, {"a": VISIT}, NOON)) == {"a": VISIT}
        assert ledger.allowances(DAY)["a"].free == 0

    def test_days_are_apart(self, ledger: Ledger) -> None:
        """A lease of one day takes nothing of another."""
        tomorrow = DAY + timedelta(days=1)
        ledger.enter("w", "host", SOON)
        for day in (DAY, tomorrow):
            ledger.open_day(day, {"a": 1})
            assert dict(ledger.lease("w", day, {"a": VISIT}, NOON)) == {"a": VISIT}

    def test_a_capacity_may_change_within_the_day(self, ledger: Ledger) -> None:
        """Upwards it gives room, downwards it stops grants and takes nothing away; others keep theirs."""
        ledger.open_day(DAY, {"a": 2, "b": 7})
        ledger.enter("w", "host", SOON)
        ledger.lease("w", DAY, {"a": 2 * VISIT}, NOON)
        ledger.open_day(DAY, {"a": 1})
        assert ledger.allowances(DAY)["a"].leased == 2 * VISIT and ledger.allowances(DAY)["a"].free == 0
        ledger.open_day(DAY, {"a": 3})
        assert dict(ledger.lease("w", DAY, {"a": 9 * VISIT}, NOON)) == {"a": VISIT}
        assert ledger.allowances(DAY)["b"].capacity == 7 * VISIT

    @pytest.mark.parametrize("capacity", [-1.0, math.nan])
    def test_a_capacity_that_is_none_is_refused(self, ledger: Ledger, capacity: float) -> None:
        """InputError that names the provider."""
        with pytest.raises(InputError, match="'a'"):
            ledger.open_day(DAY, {"a": capacity})

    def test_returns_end_at_the_grant(self, ledger: Ledger) -> None:
        """InputError above what was granted, and nothing changes."""
        ledger.open_day(DAY, {"a": 2, "b": 2})
        ledger.enter("w", "host", SOON)
        ledger.lease("w", DAY, {"a": VISIT, "b": VISIT}, NOON)
        with pytest.raises(InputError, match="'b'"):
            ledger.give_back("w", DAY, {"a": VISIT, "b": VISIT + 1})
        assert [one.leased for one in ledger.allowances(DAY).values()] == [VISIT, VISIT]

    def test_settling_frees_what_expired_and_counts_organic_visits(self, ledger: Ledger) -> None:
        """Totals, so the same twice changes nothing; organic visits cannot be refused, only leave less."""
        ledger.open_day(DAY, {"a": 4})
        ledger.enter("w", "host", SOON)
        ledger.lease("w", DAY, {"a": 4 * VISIT}, NOON)
        for _ in range(2):
            ledger.settle(DAY, {"a": Delivered(VISIT, VISIT, 2 * VISIT, VISIT), "new": Delivered(organic=VISIT)})
        allowance = ledger.allowances(DAY)["a"]
        assert allowance.free == VISIT and allowance.delivered == Delivered(VISIT, VISIT, 2 * VISIT, VISIT)
        assert dict(ledger.lease("w", DAY, {"a": 2 * VISIT, "new": VISIT}, NOON)) == {"a": VISIT}
        ledger.settle(DAY, {"a": Delivered(VISIT, VISIT, 2 * VISIT, 9 * VISIT)})
        assert ledger.allowances(DAY)["a"].free == 0

    def test_a_worker_out_of_time_gets_nothing_until_it_renews(self, ledger: Ledger) -> None:
        """Its leases stay its own until they are reclaimed."""
        ledger.open_day(DAY, {"a": 4})
        ledger.enter("w", "host", NOON)
        assert ledger.lease("w", DAY, {"a": VISIT}, NOON) == {}
        assert ledger.renew("w", LATER)
        assert dict(ledger.lease("w", DAY, {"a": VISIT}, SOON)) == {"a": VISIT}
        assert not ledger.renew("stranger", LATER)
        with pytest.raises(InputError, match="'w'"):
            ledger.enter("w", "host", LATER)

    def test_leases_of_the_gone_come_back_less_what_was_reserved(self, ledger: Ledger) -> None:
        """Only of the gone, only of the host asked for, and once; who was reclaimed cannot renew."""
        ledger.open_day(DAY, {"a": 8})
        ledger.enter("w", "host", SOON)
        ledger.enter("x", "other host", SOON)
        ledger.lease("w", DAY, {"a": 2 * VISIT}, NOON)
        assert ledger.gone("host", NOON) == ()
        assert ledger.reclaim("w", {}, NOON) == 0
        assert ledger.gone("host", LATER) == ("w",)
        assert ledger.reclaim("w", {(DAY, "a"): VISIT // 4}, LATER) == 2 * VISIT - VISIT // 4
        assert ledger.reclaim("w", {}, LATER) == 0
        assert ledger.allowances(DAY)["a"].leased == VISIT // 4
        assert not ledger.renew("w", LATER)
        ledger.give_back("w", DAY, {"a": VISIT})
        assert ledger.allowances(DAY)["a"].leased == VISIT // 4

    def test_a_host_that_does_not_come_back_is_given_up_and_may_come_back_late(self, ledger: Ledger) -> None:
        """4 visits leased, 1 known to be reserved: 3 are free; 2 more that are drained late are leased again."""
        ledger.open_day(DAY, {"a": 8})
        ledger.enter("w", "host", SOON)
        ledger.lease("w", DAY, {"a": 4 * VISIT}, NOON)
        assert ledger.recall("w", {}, NOON) == 0
        assert ledger.gone(None, LATER) == ("w",)
        assert ledger.recall("w", {(DAY, "a"): VISIT}, LATER) == 3 * VISIT
        assert ledger.recall("w", {(DAY, "a"): VISIT}, LATER) == 0
        assert ledger.allowances(DAY)["a"].leased == VISIT
        assert not ledger.renew("w", LATER)
        assert ledger.lease("w", DAY, {"a": VISIT}, NOON) == {}
        ledger.give_back("w", DAY, {"a": VISIT})
        assert ledger.recall("w", {(DAY, "a"): 2 * VISIT}, LATER) == -VISIT
        assert ledger.allowances(DAY)["a"].leased == 2 * VISIT
        assert ledger.gone("host", LATER) == ("w",)
        assert ledger.reclaim("w", {(DAY, "a"): 3 * VISIT}, LATER) == -VISIT
        assert ledger.allowances(DAY)["a"].leased == 3 * VISIT
        assert ledger.gone(None, LATER) == ()

    def test_near_the_capacity_workers_share(self, ledger: Ledger) -> None:
        """One of two workers gets at most half of what is free, at least a visit."""
        ledger.open_day(DAY, {"a": 8})
        for worker in ("w", "x"):
            ledger.enter(worker, "host", SOON)
        assert dict(ledger.lease("w", DAY, {"a": 8 * VISIT}, NOON)) == {"a": 2 * VISIT}
        granted = 2 * VISIT
        for turn in range(12):
            granted += ledger.lease("xw"[turn % 2], DAY, {"a": 8 * VISIT}, NOON).get("a", 0)
        assert granted == 8 * VISIT

    def test_many_providers(self, ledger: Ledger) -> None:
        """More than fits in one statement's parameters."""
        names = [f"p{i}" for i in range(2500)]
        ledger.open_day(DAY, dict.fromkeys(names, 2.0))
        ledger.enter("w", "host", SOON)
        assert len(ledger.lease("w", DAY, dict.fromkeys(names, VISIT), NOON)) == 2500
        ledger.give_back("w", DAY, dict.fromkeys(names, VISIT))
        ledger.settle(DAY, dict.fromkeys(names, Delivered(organic=VISIT)))
        assert {one.free for one in ledger.allowances(DAY).values()} == {VISIT}

    def test_pacings(self, ledger: Ledger) -> None:
        """Versions increase; a pacing is its plan's; floats come back exact."""
        tomorrow = DAY + timedelta(days=1)
        made = [
            ledger.add_pacing(Pacing(0, day, plan, NOON, {"a": 0.1 + 0.2, "店": -1 / 3}))
            for day, plan in ((DAY, 1), (DAY, 1), (tomorrow, 1), (DAY, 2))
        ]
        versions = [one.version for one in made]
        assert versions == sorted(set(versions)) and versions[0] >= 1
        assert ledger.pacing(1) == made[2]
        assert ledger.pacing(1, DAY) == made[1]
        assert ledger.pacing(2, tomorrow) is None
        assert ledger.pacing(1, version=versions[0]) == made[0]
        assert ledger.pacing(2, version=versions[0]) is None

    @pytest.mark.parametrize("seed", range(4))
    def test_no_order_of_steps_goes_above_the_capacity(self, ledger: Ledger, seed: int) -> None:
        """Random leases, reservations, visits, expiries, returns, deaths: held + kept <= capacity throughout."""
        rng = random.Random(seed)
        capacity = {"a": 6.0, "b": 2.25, "c": 11.0}
        ledger.open_day(DAY, capacity)
        held: dict[str, dict[str, int]] = {}
        reserved: dict[tuple[str, str], int] = {}
        kept = {name: {"committed": 0, "outstanding": 0, "released": 0, "organic": 0} for name in capacity}
        for step in range(120):
            name, act = rng.choice(sorted(capacity)), rng.random()
            if not held or act < 0.08:
                ledger.enter(f"w{step}", "host", SOON)
                held[f"w{step}"] = dict.fromkeys(capacity, 0)
                continue
            worker = rng.choice(sorted(held))
            unit = rng.choice([VISIT, VISIT // 2, VISIT // 3])
            if act < 0.4:
                for key, amount in ledger.lease(worker, DAY, {name: rng.randint(1, 4) * VISIT}, NOON).items():
                    held[worker][key] += amount
            elif act < 0.7 and held[worker][name] >= unit:
                held[worker][name] -= unit
                reserved[worker, name] = reserved.get((worker, name), 0) + unit
                kept[name]["outstanding"] += unit
            elif act < 0.8:
                became = rng.choice(["committed", "released"])
                kept[name][became] += kept[name]["outstanding"]
                kept[name]["outstanding"] = 0
            elif act < 0.84:
                kept[name]["organic"] += VISIT // 2
            elif act < 0.9:
                ledger.give_back(worker, DAY, {name: held[worker][name]})
                held[worker][name] = 0
            elif act < 0.94:
                left = {(DAY, key): amount for (who, key), amount in reserved.items() if who == worker}
                assert ledger.renew(worker, NOON - timedelta(seconds=1))
                assert ledger.reclaim(worker, left, NOON) == sum(held.pop(worker).values())
            ledger.settle(DAY, {key: Delivered(**parts) for key, parts in kept.items()})
            for key, visits in capacity.items():
                holding = sum(one[key] for one in held.values())
                assert holding + kept[key]["committed"] + kept[key]["outstanding"] <= visits * VISIT
                assert ledger.allowances(DAY)[key].leased == (
                    holding + kept[key]["committed"] + kept[key]["outstanding"] + kept[key]["released"]
                )
