"""Offers of footfall.toml, what they take off, and codes that survive being typed."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall import config
from footfall.errors import ConfigError
from footfall.retain.offers import ALPHABET, new_code, offers_of, tidy
from footfall.stores.offers import off_minor


def code_of(signs: list[str]) -> str:
    left = iter(signs)
    return new_code(lambda _: next(left))


CODES = st.lists(st.sampled_from(ALPHABET), min_size=11, max_size=11).map(code_of)


def offers(text: str) -> dict:
    return offers_of(config.parse(text).offers, 2)


def test_offers_are_read_in_minor_units() -> None:
    (spring,) = offers("[offers.spring]\npercent = 12.5\nmost = 20.0\ncount = 5\nmoney = 99.9\n").values()
    assert (spring.percent, spring.most_minor, spring.count, spring.money_minor) == (12.5, 2000, 5, 9990)
    assert spring.code == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[offers.a]\npercent = 5\ncolour = 'red'\n", r"unknown key 'colour' in \[offers.a\]"),
        ("[offers.a]\n", "takes nothing off"),
        ("[offers.a]\nkind = 'gift'\npercent = 5\n", "is a gift and takes money off"),
        ("[offers.a]\namount = 1.005\n", "too many decimals"),
        ("[offers.a]\npercent = 101\n", "at most 100"),
        ("[offers.a]\npercent = 5\ncode = 'X'\n[offers.b]\npercent = 6\ncode = 'X'\n", "share the code 'X'"),
    ],
)
def test_offers_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        offers(text)


@given(order=st.integers(0, 10**12), percent=st.integers(0, 10_000).map(lambda p: p / 100))
def test_percents_are_exact(order: int, percent: float) -> None:
    (offer,) = offers(f"[offers.a]\npercent = {percent}\namount = 0.01\n").values()
    whole = Fraction(order) * Fraction(round(percent * 100), 10_000)
    expected = min(-(-whole.numerator // whole.denominator) + 1, order)
    assert off_minor(offer, order) == expected


@given(code=CODES)
def test_codes_are_read_however_they_are_typed(code: str) -> None:
    assert len(code) == 14
    assert tidy(code.lower().replace("-", " ")) == code


@given(code=CODES, at=st.integers(0, 11), other=st.sampled_from(ALPHABET))
def test_one_wrong_sign_or_two_in_turn_do_not_check_out(code: str, at: int, other: str) -> None:
    signs = list(code.replace("-", ""))
    wrong = signs.copy()
    wrong[at] = other
    swapped = signs.copy()
    swapped[at - 1], swapped[at] = swapped[at], swapped[at - 1]
    for typed in (wrong, swapped) if at else (wrong,):
        if typed != signs:
            assert tidy("".join(typed)) == "".join(typed)  # no code of ours: left as it was typed
