"""Names: what the columns and the events of other tools are called here.

Events carry Google Analytics 4 names. Segment's names of the ecommerce, video and mobile specifications are understood
as well, whatever their case (https://segment.com/docs/connections/spec/).
"""

from __future__ import annotations

import difflib

from footfall.model import EVENT_NAMES

# Events that are a visit's steps at a provider: without provider_id they could not be counted anywhere.
PROVIDER_EVENTS: tuple[str, ...] = (
    "visit",
    "page_view",
    "screen_view",
    "view_item_list",
    "view_item",
    "select_item",
    "impression",
    "click",
    "purchase",
)

# Segment's and other common names (lower case) -> ours.
EVENT_ALIASES: dict[str, str] = {
    "page": "page_view",
    "page viewed": "page_view",
    "pageview": "page_view",
    "$pageview": "page_view",
    "screen": "screen_view",
    "screen viewed": "screen_view",
    "session started": "session_start",
    "product list viewed": "view_item_list",
    "product viewed": "view_item",
    "product clicked": "select_item",
    "products searched": "search",
    "product added to wishlist": "add_to_wishlist",
    "product added": "add_to_cart",
    "product removed": "remove_from_cart",
    "checkout started": "begin_checkout",
    "payment info entered": "add_payment_info",
    "order completed": "purchase",
    "order refunded": "refund",
    "promotion viewed": "impression",
    "promotion clicked": "click",
    "product shared": "share",
    "cart shared": "share",
    "signed up": "sign_up",
    "account created": "sign_up",
    "signed in": "login",
    "logged in": "login",
    "video playback started": "video_start",
    "video content playing": "video_progress",
    "video playback completed": "video_complete",
    "video content completed": "video_complete",
    "application installed": "app_install",
    "first_open": "app_install",
    "application opened": "app_open",
    "email delivered": "message_sent",
    "email opened": "message_opened",
    "email link clicked": "message_clicked",
    "coupon applied": "coupon_redeemed",
    "view_search_results": "search",
    "view_promotion": "impression",
    "select_promotion": "click",
    "ad_impression": "impression",
    "ad_click": "click",
}

# Names of columns elsewhere (lower case) -> our field. The first of a field that a file has is taken; the field's own
# name always goes before. `--map field=column` goes before all.
FIELD_ALIASES: dict[str, tuple[str, ...]] = {
    "message_id": ("messageid", "event_id"),
    "ts": ("timestamp", "event_time", "event_timestamp", "time", "datetime", "originaltimestamp"),
    "name": ("event_name", "event", "event_type", "type"),
    "visitor_id": ("anonymousid", "anonymous_id", "user_pseudo_id", "client_id", "device_id"),
    "user_id": ("userid",),
    "previous_id": ("previousid",),
    "visit_id": ("session_id", "sessionid", "ga_session_id"),
    "provider_id": ("shop_id", "seller_id", "merchant_id", "creator_id"),
    "item_id": ("product_id", "productid"),
    "order_id": ("orderid", "transaction_id"),
    "amount": ("revenue", "value"),
    "currency": ("currency_code",),
}


def event_names() -> list[tuple[str, str]]:
    """Every (name in lower case, our name) that intake understands."""
    return [(name, name) for name in EVENT_NAMES] + list(EVENT_ALIASES.items())


def canonical_event(name: str) -> str | None:
    """Our name of an event, or None where it is unknown."""
    low = name.lower()
    return low if low in EVENT_NAMES else EVENT_ALIASES.get(low)


def _words(name: str) -> list[str]:
    return sorted(name.lower().replace("_", " ").split())


def near_events(name: str, count: int = 3) -> list[str]:
    """Known event names that look like ``name``, nearest first; before all those of the same words."""
    known = [given for given, _ in event_names()]
    words = _words(name)
    found = [n for n in known if _words(n) == words]
    found += difflib.get_close_matches(name.lower().replace(" ", "_"), known, count, 0.6)
    found += [n for n in difflib.get_close_matches(name.lower(), known, count, 0.6) if n not in found]
    return list(dict.fromkeys(EVENT_ALIASES.get(n, n) for n in found))[:count]
