"""What single persons do: end all messages by the link in a letter, redeem a coupon.

``GET /u/TOKEN`` shows a page with one button, since mail scanners open every link; ``POST /u/TOKEN`` ends the messages,
from that button or from a mail program (RFC 8058). ``POST /v1/offers/redeem`` redeems a coupon for an order, once.
"""

from __future__ import annotations

import asyncio
import html

import msgspec

from footfall.app import messaging, offering
from footfall.app.http.bodies import REDEEM_PATH, RedeemBody
from footfall.app.http.context import Context
from footfall.app.http.limits import check_controls, check_depth, read_body
from footfall.app.http.problems import Problem, Receive, Scope, Send, answer_json, not_found, wrong_method
from footfall.model import Refusal
from footfall.record import money
from footfall.retain.links import read_token

UNSUBSCRIBE = "/u/"
REDEEM = REDEEM_PATH
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<style>body{{font:1.1rem/1.6 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}}
button{{font:inherit;padding:.5rem 1.2rem}}</style></head><body><p>{text}</p>{button}</body></html>"""
_BUTTON = '<form method="post"><button>No more messages / 不再接收訊息 / 不再接收消息</button></form>'


async def unsubscribe(context: Context, scope: Scope, receive: Receive, send: Send) -> None:
    """The link of a letter: shown on GET, carried out on POST."""
    here, token = context.here, scope["path"][len(UNSUBSCRIBE) :]
    secret = await asyncio.to_thread(messaging.unsubscribe_secret, here)
    found = read_token(secret, token)
    if found is None:
        raise not_found("this link is not one of ours, or it was cut", "open it from the letter once more")
    person, address = found
    if scope["method"] in ("GET", "HEAD"):
        await _page(send, f"{html.escape(address)}?", _BUTTON)
        return
    if scope["method"] != "POST":
        raise wrong_method("GET, HEAD, POST")
    await read_body(scope, receive, 64 * 1024, context.settings.body_timeout_s, 64 * 1024)
    await asyncio.to_thread(messaging.unsubscribe, here, person, address)
    await _page(send, f"{html.escape(address)}: no more messages. 不會再收到訊息。不会再收到消息。", "")


async def redeem(context: Context, scope: Scope, receive: Receive, send: Send) -> None:
    """Redeem a coupon for an order; 409 says why not."""
    await context.keys.check(scope, "decide")
    settings = context.settings
    body = await read_body(scope, receive, context.max_body, settings.body_timeout_s, context.max_unpacked)
    check_depth(body, settings.max_depth)
    try:
        asked = msgspec.json.decode(body, type=RedeemBody)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Problem(400, "bad-request", f"the body is no redemption: {error}", "see /schema") from None
    check_controls(body, asked.code, asked.person, asked.order_id, asked.provider_id)
    minor = money.to_minor(asked.amount, context.here.config.workspace.currency)
    if minor < 0:
        raise Problem(400, "bad-request", f"amount {asked.amount} is below 0", "give the order's amount")
    found = await asyncio.to_thread(
        offering.redemption, context.here, asked.code, asked.person, asked.order_id, minor, asked.provider_id
    )
    if isinstance(found, Refusal):
        raise Problem(409, "offer-refused", found.message, more={"reason": found.reason})
    await answer_json(send, msgspec.json.encode(offering.redemption_row(context.here, found)))


async def _page(send: Send, text: str, button: str) -> None:
    body = _PAGE.format(title="Messages", text=text, button=button).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
