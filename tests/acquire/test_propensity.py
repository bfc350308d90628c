"""Drawn against logged: what the log says was drawn with probability p is drawn that often.

For a provider, or for a tenth of the propensities, z = (drawn - sum p) / sqrt(sum p (1 - p)) over a run's decisions;
over runs with independent seeds the squares sum to a chi-square (scipy), and all z together are standard normal
(Kolmogorov-Smirnov, scipy).
"""

from __future__ import annotations

import numpy as np
import pytest
from live_cases import AT, decider_of, full_book, inputs_of
from plan_cases import NOW
from scipy import stats

from footfall.acquire.decide import Ask, decide_batch, slot_parts
from footfall.acquire.live import LivePlan, Rows
from footfall.acquire.plan import make_plan
from footfall.acquire.replay import Replay
from footfall.acquire.rules import Exclude, Pin, Rules
from footfall.model import VISIT, Floats, Ints, Pacing

RULES = Rules(pin=(Pin(segment="s1", provider="shop-3", share=0.2),), exclude=(Exclude(provider="shop-1"),))
PLAN = make_plan(inputs_of(6, providers=24, rules=RULES), "p", NOW)
LIVE = LivePlan.of(PLAN)
K = 12  # candidates of an ask


def asks(rng: np.random.Generator, count: int) -> Ints:
    """Random candidate sets of K, as positions, int64 (count, K)."""
    return np.argsort(rng.random((count, len(LIVE.providers))), axis=1)[:, :K].astype(np.int64)


def run(seed: int, count: int, slots: int, explore: float = 0.05) -> tuple[Ints, Ints, Floats, Floats]:
    """Candidates (b, K), chosen and propensity (b, slots), probability of the first slot (b, K).

    Capacities end within the run, so that the eligible change from draw to draw; a pacing is in force.
    """
    rng = np.random.default_rng((seed, 77))
    offsets = dict(zip(LIVE.providers, rng.normal(0, 0.4, len(LIVE.providers)).tolist(), strict=True))
    book = full_book(LIVE, visits=0)
    amount = rng.integers(count // 60, count // 3, len(LIVE.providers)) * VISIT
    book.credit(dict(zip(LIVE.providers, amount.tolist(), strict=True)))
    rows = Rows(LIVE, Pacing(1, PLAN.day, PLAN.version, NOW, offsets), book.roster)
    names = [*LIVE.segments, "a segment that nobody knows"]
    table = np.stack([rows.row(name) for name in names])
    candidates = asks(rng, count)
    row_of = rng.integers(0, len(names), count)
    uniform = rng.random((count, slots))
    parts = slot_parts((1.0, 0.5), slots)
    chosen, propensity, probability, _ = decide_batch(
        table, row_of, book.parts, candidates, uniform, explore, LIVE.newcomer_share, parts
    )
    assert book.parts.min() >= 0
    return candidates, chosen, propensity, probability


def z_of(drawn: Ints, mass: Floats) -> Floats:
    """z of each column: drawn counts (c,), and the probability of that column at each decision, mass (b, c)."""
    spread = np.sqrt((mass * (1 - mass)).sum(axis=0))
    return np.where(spread > 0, (drawn - mass.sum(axis=0)) / np.where(spread > 0, spread, 1.0), 0.0)


def provider_z(candidates: Ints, chosen: Ints, probability: Floats) -> Floats:
    m = len(LIVE.providers)
    mass = np.zeros((len(chosen), m))
    np.put_along_axis(mass, candidates, probability, axis=1)
    return z_of(np.bincount(chosen[chosen >= 0], minlength=m)[:m], mass)


def decile_z(candidates: Ints, chosen: Ints, probability: Floats) -> Floats:
    """By tenths of all propensities above 0; a decision falls into the tenth of what it chose."""
    edges = np.quantile(probability[probability > 0], np.arange(1, 10) / 10)
    bin_of = np.searchsorted(edges, probability)
    mass = np.zeros((len(chosen), 10))
    for k in range(10):
        mass[:, k] = np.where((bin_of == k), probability, 0.0).sum(axis=1)
    hit = candidates == chosen[:, None]
    drawn = np.bincount(bin_of[hit], minlength=10)
    return z_of(drawn, mass)


def p_values(z: Floats) -> Floats:
    """Over seeds (axis 0): chi-square of each column, times their number (Bonferroni), and KS of all together.

    Columns of one run are dependent, seeds are not: KS therefore takes one column a seed, turn by turn.
    """
    used = np.abs(z).sum(axis=0) > 0
    z = z[:, used]
    chi = stats.chi2.sf((z**2).sum(axis=0), len(z)) * z.shape[1]
    low = stats.chi2.cdf((z**2).sum(axis=0), len(z)) * z.shape[1]
    turn = z[np.arange(len(z)), np.arange(len(z)) % z.shape[1]]
    return np.array([chi.min(), low.min(), stats.kstest(turn, "norm").pvalue])


@pytest.mark.parametrize(
    ("seeds", "count"), [(6, 12_000), pytest.param(20, 1_000_000, marks=pytest.mark.slow)], ids=["short", "million"]
)
def test_drawn_agrees_with_logged(seeds: int, count: int) -> None:
    by_provider, by_decile = [], []
    for seed in range(seeds):
        drawn, logged = [], []
        for part in range(max(1, count // 100_000)):
            candidates, chosen, propensity, probability = run(1000 * seed + part, min(count, 100_000), 1)
            at = (candidates == chosen[:, :1]).argmax(axis=1)
            some = chosen[:, 0] >= 0
            assert np.array_equal(probability[some, at[some]], propensity[some, 0])
            drawn.append(provider_z(candidates, chosen[:, 0], probability))
            logged.append(decile_z(candidates, chosen[:, 0], probability))
        # independent parts of equal size: their z add up to one of the same law
        by_provider.append(np.sum(drawn, axis=0) / np.sqrt(len(drawn)))
        by_decile.append(np.sum(logged, axis=0) / np.sqrt(len(logged)))
    found = np.concatenate((p_values(np.array(by_provider)), p_values(np.array(by_decile))))
    print("p-values", found)
    assert (found > 0.001).all()


@pytest.mark.parametrize(
    ("seeds", "count"), [(6, 1_500), pytest.param(20, 50_000, marks=pytest.mark.slow)], ids=["short", "million"]
)
def test_drawn_agrees_with_logged_in_several_slots(seeds: int, count: int) -> None:
    """Three slots of live decisions, each over what those before it left: the probabilities come from the replay."""
    m, slots = len(LIVE.providers), 3
    at = {name: j for j, name in enumerate(LIVE.providers)}
    replay, z, zd = Replay(LIVE, None), [], []
    for seed in range(seeds):
        decider = decider_of(PLAN, seed, visits=count)
        rng = np.random.default_rng((seed, 5))
        sets = [tuple(rng.permutation(LIVE.providers)[:K].tolist()) for _ in range(200)]
        names = [*LIVE.segments, "nowhere"]
        mass, drawn = np.zeros((count * slots, m)), np.zeros(m, dtype=np.int64)
        bins, hit = np.zeros((count * slots, 10)), np.zeros(10, dtype=np.int64)
        tenths = np.array([0.002, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.4])
        for b in range(count):
            found = decider.decide(Ask("v", names[b % len(names)], sets[b % 200], AT, slots))
            weight, pool = replay.weights(found), -1.0
            for s, choice in enumerate(found.choices):
                p, pool = replay.spread(weight, pool, found.explore)
                where = [at[name] for name in sets[b % 200]]
                mass[b * slots + s, where] = p
                c = sets[b % 200].index(choice)
                assert p[c] == found.propensities[s]
                np.add.at(bins[b * slots + s], np.searchsorted(tenths, p), p)
                hit[np.searchsorted(tenths, p[c])] += 1
                drawn[at[choice]] += 1
                weight[c] = replay.closed
        z.append(z_of(drawn, mass))
        zd.append(z_of(hit, bins))
    found_p = np.concatenate((p_values(np.array(z)), p_values(np.array(zd))))
    print("p-values", found_p)
    assert (found_p > 0.001).all()


@pytest.mark.parametrize("wrong", ["explores less", "leans on one"])
def test_a_policy_that_draws_otherwise_is_found(wrong: str) -> None:
    """The same tests on a log that tells 5 % where 2 % were spread, or a provider drawn 3 % too often: p < 0.001."""
    z = []
    for seed in range(10):
        if wrong == "explores less":
            told = run(seed, 12_000, 1)
            really = run(seed, 12_000, 1, explore=0.02)
            z.append(decile_z(told[0], really[1][:, 0], told[3]))
        else:
            candidates, chosen, _, probability = run(seed, 12_000, 1)
            swap = np.random.default_rng(seed).random(len(chosen)) < 0.03
            first = candidates[:, 0]
            chosen = np.where(swap & (probability[:, 0] > 0), first, chosen[:, 0])
            z.append(decile_z(candidates, chosen, probability))
    assert p_values(np.array(z)).min() < 0.001
