"""Operators' rules: what is read, and what is refused with a way out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from footfall.acquire.rules import Rules, index_rules, near, parse_rules
from footfall.errors import ConfigError

TEXT = """
[[pin]]
segment = "ads"
provider = "shop-1"
share = 0.2
[[exclude]]
provider = "shop-2"
[[boost]]
provider = "shop-1"
factor = 1.5
segment = "mail"
[[floor]]
provider = "shop-1"
visits = 50
[[cap]]
provider = "shop-2"
visits = 80
"""


def test_every_rule_is_read() -> None:
    found = index_rules(parse_rules(TEXT), ["ads", "mail"], ["shop-1", "shop-2"])
    assert (found.pin_segment.tolist(), found.pin_provider.tolist(), found.pin_share.tolist()) == (
        [0],
        [0],
        [0.2],
    )
    assert (found.exclude_segment.tolist(), found.exclude_provider.tolist()) == ([-1], [1])
    assert (found.boost_segment.tolist(), found.boost_factor.tolist()) == ([1], [1.5])
    assert found.floor.tolist() == [50.0, 0.0]
    assert found.cap.tolist() == [np.inf, 80.0]


def test_a_pin_without_a_segment_is_one_in_each_and_yields_to_that_of_a_segment() -> None:
    text = '[[pin]]\nprovider="shop-1"\nshare=0.2\n' + '[[pin]]\nprovider="shop-1"\nshare=0.7\nsegment="mail"\n'
    found = index_rules(parse_rules(text), ["ads", "mail", "web"], ["shop-0", "shop-1"])
    assert found.pin_segment.tolist() == [0, 1, 2]
    assert found.pin_provider.tolist() == [1, 1, 1]
    assert found.pin_share.tolist() == [0.2, 0.7, 0.2]


@pytest.mark.parametrize(
    ("text", "message", "way_out"),
    [
        ("[[pinn]]\n", "unknown rule 'pinn'", "did you mean pin"),
        ("[pin]\nshare = 1\n", "pin must be a list", r"\[\[pin\]\]"),
        ('[[cap]]\nprovider = "a"\nvisit = 3\n', r"unknown key 'visit' in \[\[cap\]\] no. 1", "visits"),
        ('[[cap]]\nprovider = "a"\n', "visits", "docs/plan.md"),
        ('[[cap]]\nprovider = "a"\nvisits = "x"\n', "Expected `float`", "docs/plan.md"),
        ('[[cap]]\nprovider = "a"\nvisits = -1\n', "visits = -1.0 .* between 0 and", "correct visits"),
        ('[[cap]]\nprovider = "a"\nvisits = nan\n', "visits = nan .* between", "correct visits"),
        ('[[pin]]\nsegment="s"\nprovider="a"\nshare=1.2\n', "between 0 and 1", "correct share"),
        ('[[boost]]\nprovider="a"\nfactor=0\n', "between 0.001 and 1000", "correct factor"),
        ("[[pin]\n", "not valid TOML", "mend"),
    ],
)  # fmt: skip
def test_faults_are_refused_with_a_way_out(text: str, message: str, way_out: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_rules(text, "rules.toml")
    assert re.search(way_out, caught.value.way_out)


def test_pins_of_a_segment_above_one_are_refused() -> None:
    pins = "".join(f'[[pin]]\nsegment="s"\nprovider="p{k}"\nshare=0.6\n' for k in range(2))
    with pytest.raises(ConfigError, match=r"pins of segment 's' sum to 1\.2"):
        parse_rules(pins)


def test_pins_of_all_segments_count_in_each() -> None:
    wide = '[[pin]]\nprovider="a"\nshare=0.6\n'
    with pytest.raises(ConfigError, match=r"pins of segment 's' sum to 1\.2"):
        parse_rules(wide + '[[pin]]\nsegment="s"\nprovider="b"\nshare=0.6\n')
    with pytest.raises(ConfigError, match=r"pins of each segment sum to 1\.2"):
        parse_rules(wide + wide.replace('"a"', '"b"'))
    with pytest.raises(ConfigError, match=r"two \[\[pin\]\] rules for a in all segments"):
        parse_rules(wide + wide)
    with pytest.raises(ConfigError, match="names segment 'mial', which is not there"):
        index_rules(parse_rules('[[pin]]\nsegment="mial"\nprovider="a"\nshare=0.6\n'), ["mail"], ["a"])


def test_two_floors_for_one_provider_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"two \[\[floor\]\] rules for a"):
        parse_rules('[[floor]]\nprovider="a"\nvisits=1\n' * 2)


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ('[[exclude]]\nprovider = "shop1"\n', "did you mean shop-1"),
        ('[[exclude]]\nprovider = "shop-1"\nsegment = "mial"\n', "did you mean mail"),
        ('[[floor]]\nprovider = "zzz"\nvisits = 1\n', "known: shop-1, shop-2"),
    ],
)
def test_unknown_names_come_with_near_ones(text: str, way_out: str) -> None:
    with pytest.raises(ConfigError) as caught:
        index_rules(parse_rules(text), ["ads", "mail"], ["shop-1", "shop-2"])
    assert way_out in caught.value.way_out


@pytest.mark.parametrize("word", ["shop-1", "Shop 1", "shop_01", "shop1"])
def test_a_number_with_other_zeros_is_the_nearest(word: str) -> None:
    """Of a thousand names as alike by their letters as shop-100 is to shop-1."""
    known = [f"shop-{i:03}" for i in range(1000)]
    assert near(word, known).startswith("did you mean shop-001, shop-")
    assert near("zzz", known).startswith("known: shop-000, ")


def test_no_rules_is_a_fair_file() -> None:
    assert parse_rules("") == Rules()


def test_the_example_in_the_documentation_is_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")
    found = parse_rules(text.split("```toml\n")[1].split("```")[0])
    assert [len(kind) for kind in (found.pin, found.exclude, found.boost, found.floor, found.cap)] == [1] * 5
