"""A signed POST to an address of the operator's: JSON, HMAC-SHA256 over time and body, told apart by the message id.

The receiver checks ``Footfall-Signature: t=<unix seconds>,v1=<hex>`` against HMAC-SHA256(secret, "<t>.<body>"), refuses
old times, and answers twins (``Idempotency-Key``) as it did before. So a POST without an answer may be tried again.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import httpx
import msgspec

from footfall.errors import ConfigError
from footfall.model import Letter, Receipt
from footfall.ports import Clock

_LATER = (408, 409, 425, 429)


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where letters go, the secret that signs them, and how long an answer may take."""

    url: str
    secret: str
    timeout_s: float


class WebhookChannel:
    """``ports.Channel`` by HTTP POST."""

    idempotent = True

    def __init__(self, name: str, settings: WebhookSettings, clock: Clock) -> None:
        """ConfigError where there is no URL or no secret."""
        if not settings.url.startswith(("http://", "https://")):
            raise ConfigError(
                f"[channels.{name}] url {settings.url!r} is no http(s) address", "https://example.com/hook"
            )
        if not settings.secret:
            raise ConfigError(
                f"[channels.{name}] has no secret to sign with", "set it in the environment; see the docs"
            )
        self.name = name
        self._settings = settings
        self._clock = clock
        self._client = httpx.Client(timeout=settings.timeout_s, follow_redirects=False)

    def send(self, letter: Letter) -> Receipt:
        """Hand a letter over."""
        body = msgspec.json.encode(
            {
                "message_id": letter.message_id,
                "to": letter.address,
                "subject": letter.subject,
                "text": letter.text,
                "html": letter.html,
                "unsubscribe_url": letter.unsubscribe_url,
                "context": msgspec.Raw(letter.context.encode() or b"{}"),
            }
        )
        seconds = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": letter.message_id,
            "Footfall-Signature": f"t={seconds},v1={signature(self._settings.secret, seconds, body)}",
        }
        try:
            answer = self._client.post(self._settings.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return Receipt("retry", f"no answer: {type(error).__name__}: {error}")
        told = f"HTTP {answer.status_code} {answer.text[:200]}".strip()
        if answer.is_success:
            return Receipt("sent", told)
        if answer.status_code == 410:
            return Receipt("dead", told, suppress=True)
        return Receipt("retry" if answer.status_code in _LATER or answer.status_code >= 500 else "dead", told)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


def signature(secret: str, seconds: int, body: bytes) -> str:
    """HMAC-SHA256 of "<seconds>.<body>", hex."""
    return hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
