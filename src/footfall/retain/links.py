"""The link that ends all messages: it names person and address, and only we can have written it."""

from __future__ import annotations

import base64
import hashlib
import hmac

import msgspec

_MAC = 16  # bytes of HMAC-SHA256: nobody guesses 128 bits


def token(secret: bytes, person: str, address: str) -> str:
    """What stands in the link, safe in a URL."""
    told = msgspec.json.encode([person, address])
    return _text(hmac.new(secret, told, hashlib.sha256).digest()[:_MAC] + told)


def read_token(secret: bytes, text: str) -> tuple[str, str] | None:
    """(person, address) of a link that we wrote; None for any other."""
    try:
        whole = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        told = whole[_MAC:]
        if not hmac.compare_digest(whole[:_MAC], hmac.new(secret, told, hashlib.sha256).digest()[:_MAC]):
            return None
        person, address = msgspec.json.decode(told, type=tuple[str, str])
    except (ValueError, msgspec.MsgspecError):
        return None
    return person, address


def _text(whole: bytes) -> str:
    return base64.urlsafe_b64encode(whole).decode("ascii").rstrip("=")
