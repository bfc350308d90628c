"""Exact money. Exponents from ISO 4217 (list one); amounts by hand."""

from decimal import Decimal

import pytest

from footfall.errors import ConfigError, InputError
from footfall.record.money import exponent, to_major, to_minor


@pytest.mark.parametrize(
    ("currency", "digits"), [("USD", 2), ("TWD", 2), ("CNY", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("CLF", 4)]
)
def test_exponents_of_iso_4217(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


def test_unknown_currency_is_refused() -> None:
    with pytest.raises(ConfigError, match="XYZ"):
        exponent("XYZ")


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("19.99", "USD", 1999),
        (19.99, "USD", 1999),
        (0.1 + 0.2, "USD", 30),  # 0.30000000000000004: noise of a binary float
        ("19.989999999999998", "USD", 1999),
        ("1e2", "USD", 10000),
        ("1250", "JPY", 1250),
        ("1.234", "KWD", 1234),
        ("-5", "USD", -500),
        ("90071992547409.93", "USD", 2**53 + 1),  # above what a double holds
    ],
)
def test_amounts(amount: str | float, currency: str, minor: int) -> None:
    assert to_minor(amount, currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("19.985", "USD"),
        ("1.5", "JPY"),
        ("nan", "USD"),
        ("inf", "USD"),
        ("1e400", "USD"),
        ("", "USD"),
        ("12,50", "USD"),
    ],
)
def test_amounts_that_are_refused(amount: str, currency: str) -> None:
    with pytest.raises(InputError):
        to_minor(amount, currency)


def test_there_and_back() -> None:
    assert to_major(to_minor("1234.50", "USD"), "USD") == Decimal("1234.50")


def test_an_exponent_without_end_is_no_amount() -> None:
    with pytest.raises(InputError, match="no amount of money"):
        to_minor("1e999999999", "USD")
