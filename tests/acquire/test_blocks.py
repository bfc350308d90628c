"""Passes over blocks of rows in other processes, against one process and the passes of the solver."""

from __future__ import annotations

import multiprocessing
from dataclasses import fields, replace

import numpy as np
import pytest
from allocation_oracle import entropic_objective, random_problem, tau_of

from footfall.acquire import LinearLimit, blocks, solve
from footfall.acquire._passes import Passes
from footfall.acquire._work import entropic_work, plain_work
from footfall.errors import ProblemError

INERTIA = 0.3


def full_problem(seed=0):
    """No provider without capacity, so that the older passes see the same edges."""
    problem = random_problem(seed, (60, 12), "random")
    return replace(problem, capacity=np.maximum(problem.capacity, 1.0))


def entropic_blocks(problem, count):
    """Blocks with tau, by the two steps that a cluster takes."""
    made = blocks.split(problem, count)
    signals = [blocks.signal_part(block) for block in made]
    weight = sum(part[2] for part in signals)
    usual = sum(part[1] for part in signals) / weight if weight > 0 else 1.0
    return [blocks.with_tau(block, part[0], usual, INERTIA) for block, part in zip(made, signals, strict=True)]


def save(folder, number, block):
    arrays = {f.name: getattr(block, f.name) for f in fields(block) if isinstance(getattr(block, f.name), np.ndarray)}
    np.savez(folder / f"block{number}.npz", **arrays)


def work_on(folder, number, providers):
    """What one process does: its block from a file, prices from a file, parts into a file."""
    with np.load(folder / f"block{number}.npz") as arrays:
        block = blocks.Block(providers=providers, **arrays)
    prices = np.load(folder / "prices.npy")
    found = {}
    for at, price in enumerate(prices):
        for name, part in passes_of(block, price).items():
            found[f"{name}{at}.load"], found[f"{name}{at}.curve"] = part.load, part.curve
            found[f"{name}{at}.value"] = np.array([part.value, part.plain])
    np.savez(folder / f"parts{number}.npz", **found)


def passes_of(block, price):
    return {
        "entropy": blocks.entropy_part(block, price),
        "quick_entropy": blocks.quick_entropy_part(block, price)[0],
        "ridge": blocks.ridge_part(block, price, 0.2),
        "quick_ridge": blocks.quick_ridge_part(block, price, 0.2),
    }


def read_part(arrays, name):
    value, plain = arrays[f"{name}.value"]
    return blocks.Part(float(value), arrays[f"{name}.load"], arrays[f"{name}.curve"], float(plain))


def same(part, other, relative):
    for one, two in ((part.value, other.value), (part.plain, other.plain)):
        np.testing.assert_allclose(one, two, rtol=relative)
    for one, two in ((part.load, other.load), (part.curve, other.curve)):
        np.testing.assert_allclose(one, two, rtol=relative, atol=relative * np.abs(two).max(initial=0))


def test_two_processes_add_up_to_the_bits_of_one(tmp_path):
    problem = full_problem()
    halves, (whole,) = entropic_blocks(problem, 2), entropic_blocks(problem, 1)
    assert len(halves) == 2
    prices = np.random.default_rng(1).normal(0, 0.5, (3, problem.providers))
    np.save(tmp_path / "prices.npy", prices)
    # Here first: what is compiled is kept, else each process would compile it for itself.
    alone = [([passes_of(block, price) for block in halves], passes_of(whole, price)) for price in prices]
    spawn = multiprocessing.get_context("spawn")
    workers = []
    for number, block in enumerate(halves):
        save(tmp_path, number, block)
        workers.append(spawn.Process(target=work_on, args=(tmp_path, number, problem.providers)))
        workers[-1].start()
    for worker in workers:
        worker.join(100)
        assert worker.exitcode == 0
    found = [dict(np.load(tmp_path / f"parts{number}.npz")) for number in range(2)]
    for at, (here, at_once) in enumerate(alone):
        for name in here[0]:
            elsewhere = blocks.combine([read_part(arrays, f"{name}{at}") for arrays in found])
            same(elsewhere, blocks.combine([part[name] for part in here]), 0.0)
            same(elsewhere, at_once[name], 1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_parts_are_those_of_the_solvers_passes(seed):
    problem = full_problem(seed)
    price = np.random.default_rng(seed).normal(0, 0.5, problem.providers)
    made = entropic_blocks(problem, 3)
    worth = blocks.limits_part(price, problem.capacity, problem.floor)
    finite = price if np.isfinite(worth) else np.minimum(price, 0.0)
    worth = blocks.limits_part(finite, problem.capacity, problem.floor)
    with Passes(entropic_work(problem, INERTIA), 1) as passes:
        point = passes.entropy(finite, passes.work.tau)
        objective = passes.objective(point.share)
    part = blocks.combine([blocks.entropy_part(block, finite) for block in made])
    assert part.value + worth == pytest.approx(point.value, rel=1e-12)
    np.testing.assert_allclose(part.load, point.load, rtol=1e-11)
    np.testing.assert_allclose(part.curve, point.steep, rtol=1e-11)
    share = np.concatenate([blocks.entropy_shares(block, finite) for block in made])
    np.testing.assert_allclose(share, point.share, rtol=1e-11, atol=1e-200)
    cuts = np.cumsum([0, *(len(block.provider) for block in made)])
    worths = [blocks.worth_part(block, share[a:b]) for block, a, b in zip(made, cuts[:-1], cuts[1:], strict=True)]
    assert sum(w.reward - w.cost for w in worths) == pytest.approx(objective, rel=1e-12)
    with Passes(plain_work(problem), 1) as passes:
        ridge, bound = passes.ridge(finite, 0.2), passes.bound(finite)
    plain = blocks.split(problem, 3)
    part = blocks.combine([blocks.ridge_part(block, finite, 0.2) for block in plain])
    assert part.value + worth == pytest.approx(ridge.value, rel=1e-12)
    assert part.plain + worth == pytest.approx(bound, rel=1e-12)
    assert sum(blocks.bound_part(block, finite) for block in plain) + worth == pytest.approx(bound, rel=1e-12)
    np.testing.assert_allclose(part.load, ridge.load, rtol=1e-9, atol=1e-9)


def test_quick_passes_are_near_the_exact_ones():
    problem = full_problem(2)
    price = np.minimum(np.random.default_rng(2).normal(0, 0.5, problem.providers), 0.3)
    for block in entropic_blocks(problem, 2):
        exact = blocks.entropy_part(block, price)
        first, shift = blocks.quick_entropy_part(block, price)
        again, _ = blocks.quick_entropy_part(block, price, shift)
        for quick in (first, again):
            np.testing.assert_allclose(quick.load, exact.load, rtol=1e-4, atol=1e-5 * exact.load.max())
        plain, quick = blocks.ridge_part(block, price, 0.2), blocks.quick_ridge_part(block, price, 0.2)
        assert quick.plain == pytest.approx(plain.plain, rel=1e-5)
        np.testing.assert_allclose(quick.load, plain.load, rtol=1e-3, atol=1e-4 * plain.load.max())


def test_ascent_over_blocks_reaches_the_solvers_bound():
    """Multiplicative steps with nothing but combined parts end at the bound that ``solve`` certifies."""
    problem = random_problem(0, (60, 12), "change")
    made = entropic_blocks(problem, 3)
    price = np.zeros(problem.providers)
    for _ in range(400):
        part = blocks.combine([blocks.entropy_part(block, price) for block in made])
        rate = part.curve / part.load
        high = price + np.log(part.load / problem.capacity) / rate
        low = price + np.log(part.load / problem.floor) / rate
        price = np.where(high > 0, high, np.where(low < 0, low, 0.0))
    bound = part.value + blocks.limits_part(price, problem.capacity, problem.floor)
    assert bound == pytest.approx(solve(problem, INERTIA).bound, rel=1e-4)


def test_worth_is_the_objective_of_the_design():
    problem = full_problem(4)
    (block,) = entropic_blocks(problem, 1)
    share = problem.reference * 0.5
    got = blocks.worth_part(block, share)
    tau = tau_of(problem, INERTIA)
    if (tau > 0).all():
        assert got.reward - got.cost == pytest.approx(entropic_objective(problem, tau, share), rel=1e-12)


def test_refusals():
    problem = random_problem(0, (3, 5))
    with pytest.raises(ProblemError, match="largest shares"):
        blocks.split(replace(problem, upper=np.ones(problem.edges)), 2)
    limit = LinearLimit(np.array([0]), np.array([1.0]), 0.0, 1.0, "budget")
    with pytest.raises(ProblemError, match="linear limits"):
        blocks.split(replace(problem, limits=(limit,)), 2)
    with pytest.raises(ProblemError, match="count 0"):
        blocks.split(problem, 0)
    (block,) = blocks.split(problem, 1)
    with pytest.raises(ProblemError, match="with_tau"):
        blocks.entropy_part(block, np.zeros(problem.providers))
    with pytest.raises(ProblemError, match="inertia 0"):
        blocks.with_tau(block, np.ones(3), 1.0, 0.0)
    with pytest.raises(ProblemError, match="ridge"):
        blocks.ridge_part(block, np.zeros(problem.providers), 0.0)
    with pytest.raises(ProblemError, match="no parts"):
        blocks.combine([])
    with pytest.raises(ProblemError, match="no reference"):
        blocks.signal_part(replace(block, reference=None))
