"""Offers: coupons and gifts as footfall.toml has them, their codes, and what one is expected to cost.

The ledger behind them is ``ports.Offers``; money is in minor units from here on.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from footfall.config import OfferSettings
from footfall.errors import ConfigError
from footfall.model import Offer

# No 0 O 1 I L: codes are read aloud and typed from paper. 31 signs, so that one wrong sign never checks out.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
LENGTH = 11  # 31^11 = 2.5e16: a code cannot be guessed


def offers_of(settings: Mapping[str, OfferSettings], exponent: int) -> dict[str, Offer]:
    """The offers of footfall.toml, money in minor units. ConfigError names the offer that cannot be."""
    found = {name: _offer(name, one, exponent) for name, one in settings.items()}
    shared: dict[str, str] = {}
    for offer in found.values():
        if offer.code and offer.code in shared:
            raise ConfigError(
                f"[offers.{offer.name}] and [offers.{shared[offer.code]}] share the code {offer.code!r}",
                "give each a code of its own",
            )
        shared[offer.code] = offer.name
    return found


def _offer(name: str, one: OfferSettings, exponent: int) -> Offer:
    def minor(amount: float, key: str) -> int:
        exact = amount * 10.0**exponent
        parts = round(exact)
        if abs(parts - exact) > 1e-6:
            raise ConfigError(f"[offers.{name}] {key} = {amount} has too many decimals", f"at most {exponent}")
        return parts

    if one.kind == "coupon" and not one.percent and not one.amount:
        raise ConfigError(f"[offers.{name}] takes nothing off", "set percent or amount")
    if one.kind == "gift" and (one.percent or one.amount):
        raise ConfigError(f"[offers.{name}] is a gift and takes money off", "make it a coupon, or leave that out")
    return Offer(
        name=name,
        kind=one.kind,
        code=one.code,
        percent=one.percent,
        amount_minor=minor(one.amount, "amount"),
        most_minor=minor(one.most, "most"),
        least_order_minor=minor(one.least_order, "least_order"),
        count=one.count or None,
        money_minor=minor(one.money, "money") or None,
        per_person=one.per_person,
        valid_days=one.valid_days,
        cost_minor=minor(one.cost, "cost"),
        providers=one.providers,
    )


def new_code(draw: Callable[[str], str] = secrets.choice) -> str:
    """A code of one's own: 11 signs by chance and one that checks them, in groups of four."""
    signs = "".join(draw(ALPHABET) for _ in range(LENGTH))
    whole = signs + _check(signs)
    return "-".join(whole[i : i + 4] for i in range(0, LENGTH + 1, 4))


def tidy(code: str) -> str:
    """A code as it was issued, however it was typed: capitals, groups of four; other texts as they are."""
    signs = "".join(sign for sign in code.upper() if sign.isalnum())
    if len(signs) != LENGTH + 1 or any(sign not in ALPHABET for sign in signs) or _check(signs[:-1]) != signs[-1]:
        return code.strip()
    return "-".join(signs[i : i + 4] for i in range(0, LENGTH + 1, 4))


def _check(signs: str) -> str:
    """A sign that changes with any one sign and with any two neighbours in turn: weights 2, 3, ... modulo a prime."""
    total = sum((i + 2) * ALPHABET.index(sign) for i, sign in enumerate(signs))
    return ALPHABET[-total % len(ALPHABET)]
