"""Offering: the offers of footfall.toml, and coupons redeemed; retain's offers wired to a workspace."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from footfall.app import retention
from footfall.app.build import Workspace
from footfall.errors import InputError
from footfall.model import Offer, Redemption, Refusal
from footfall.record import money

HOLD_S = 900.0  # seconds that a reserved use waits for its order


def offer_in_words(here: Workspace, name: str) -> str:
    """An offer as letters name it: -10 %, -5.00 EUR, -500 JPY, -1.250 KWD, or a gift by its name."""
    one, currency = here.config.offers[name], here.config.workspace.currency
    if one.kind == "gift":
        return name
    parts = [f"-{one.percent:g} %"] if one.percent else []
    if one.amount:
        parts.append(f"-{one.amount:,.{money.exponent(currency)}f} {currency}")
    return " ".join(parts)


def offers_of(here: Workspace) -> tuple[dict[str, Offer], float]:
    """The offers of footfall.toml, and minor units in a major one."""
    from footfall.retain import offers

    exponent = money.exponent(here.config.workspace.currency)
    return offers.offers_of(here.config.offers, exponent), 10.0**exponent


def codes_left(here: Workspace) -> dict[str, int]:
    """offer -> how many codes of one's own can still be given out, for those with a ``count``."""
    known, _ = offers_of(here)
    issued = {count.offer: count.issued for count in here.offers.counts()}
    return {
        name: max(offer.count - issued.get(name, 0), 0)
        for name, offer in known.items()
        if offer.count is not None and not offer.code
    }


def redemption(
    here: Workspace, code: str, person: str, order_id: str, order_minor: int, provider_id: str
) -> Redemption | Refusal:
    """Redeem a coupon for an order, or say why not; the same order again gets the same answer.

    A coupon of a device on which the person has signed in is the person's, also before the next round.
    """
    from footfall.retain.offers import tidy

    known, _ = offers_of(here)
    code, now = tidy(code), here.clock.now()
    key = _key(provider_id, order_id, code)
    asked = (known, code, person, order_id, order_minor, provider_id, key, now, HOLD_S)
    found = here.offers.reserve(*asked)
    if isinstance(found, Refusal) and found.reason == "not yours" and _joined(here, code, person):
        found = here.offers.reserve(*asked)
    return here.offers.commit(found.redemption_id, now) if isinstance(found, Redemption) else found


def _joined(here: Workspace, code: str, person: str) -> bool:
    """Whether a coupon's owner has turned out to be this person; then coupons go along, and all else in the next round:
    one that is at work knows nothing of this."""
    owner = here.offers.owner(code)
    with here.engine() as engine:
        here.store.attach(engine)
        is_theirs = f"u:{person}" in retention.keys_now(engine, [owner]).values()
    if is_theirs:
        here.offers.join({owner: person}, code)
    return is_theirs


def _key(provider_id: str, order_id: str, code: str) -> str:
    """The key of an order's redemption; one for each order, whatever colons the parts hold."""
    if ":" in provider_id or ":" in code:  # otherwise the first colon and the last say where the order's id is
        return f"quoted:{quote(provider_id, safe='')}:{order_id}:{quote(code, safe='')}"
    return f"order:{provider_id}:{order_id}:{code}"


def redeemed(
    here: Workspace, code: str, person: str, order_id: str, order_minor: int, provider_id: str
) -> dict[str, Any]:
    """As ``redemption``, as a row; InputError says why not."""
    found = redemption(here, code, person, order_id, order_minor, provider_id)
    if isinstance(found, Refusal):
        raise InputError(found.message, f"refused: {found.reason}")
    return redemption_row(here, found)


def redemption_row(here: Workspace, found: Redemption) -> dict[str, Any]:
    """A redemption for people and programs, money in major units."""
    return {
        "redemption_id": found.redemption_id,
        "offer": found.offer,
        "code": found.code,
        "person": found.person,
        "order_id": found.order_id,
        "off": found.off_minor / 10.0 ** money.exponent(here.config.workspace.currency),
        "status": found.status,
    }
