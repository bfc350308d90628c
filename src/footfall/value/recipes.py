"""Recipes: which events make a visit, and what a visit earns. A new one is a new entry here, and no other code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from footfall.errors import ConfigError
from footfall.model import Recipe

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe(
                name="store",
                # Being at the provider. What shows a provider elsewhere (lists, impressions, messages) is no visit.
                visit_events=(
                    "visit",
                    "session_start",
                    "page_view",
                    "screen_view",
                    "view_item",
                    "add_to_wishlist",
                    "add_to_cart",
                    "remove_from_cart",
                    "begin_checkout",
                    "add_payment_info",
                    "app_open",
                ),
                order_events=("purchase",),
                refund_events=("refund",),
            ),
            Recipe(
                name="clicks",
                visit_events=("visit", "impression"),
                order_events=("click", "select_item"),
                refund_events=(),
                unit_reward=True,
            ),
        )
    }
)


def recipe(name: str) -> Recipe:
    """The recipe of that name; ConfigError lists the known ones."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}", f"known recipes: {', '.join(RECIPES)}")
    return RECIPES[name]


def reward_exponent(chosen: Recipe, currency_exponent: int) -> int:
    """Decimal places of ``amount_minor`` in facts: the currency's, or 0 where every order earns one unit."""
    return 0 if chosen.unit_reward else currency_exponent
