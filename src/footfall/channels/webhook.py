"""A signed POST to an address of the operator's: JSON, HMAC-SHA256 over time and body, told apart by the message id.

The receiver checks ``Footfall-Signature: t=<unix seconds>,v1=<hex>`` against HMAC-SHA256(secret, "<t>.<body>"), refuses
old times, and answers twins (``Idempotency-Key``) as it did before. So a POST without an answer may be tried again.
"""

from __future__ import annotations

import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import msgspec

from footfall.errors import ConfigError
from footfall.model import Letter, Receipt
from footfall.ports import Clock

_LATER = (408, 409, 425, 429)
_AWAY = (401, 402, 403, 404, 405, 407, 410)  # said of the webhook, its key, account or address; not of the letter
_READ = 1000  # bytes of an answer


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where letters go, the secret that signs them, and how long an answer may take as a whole."""

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
        self._open()

    def _open(self) -> None:
        self._client = httpx.Client(timeout=self._settings.timeout_s, follow_redirects=False)
        self._post = ThreadPoolExecutor(1, thread_name_prefix=f"footfall-{self.name}")

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
            answer, text = self._post.submit(self._answer, body, headers).result(self._settings.timeout_s)
        except TimeoutError:  # each byte came in time, the whole did not
            self.close()
            self._open()
            return Receipt("retry", f"no whole answer within {self._settings.timeout_s:g} s", away=True)
        except httpx.HTTPError as error:
            return Receipt("retry", f"no answer: {type(error).__name__}: {error}", away=True)
        told = f"HTTP {answer.status_code} {text}".strip()
        if answer.is_success:
            return Receipt("sent", told)
        if answer.is_redirect or answer.status_code in _AWAY:
            return Receipt("retry", told, away=True)
        return Receipt("retry" if answer.status_code in _LATER or answer.status_code >= 500 else "dead", told)

    def _answer(self, body: bytes, headers: dict[str, str]) -> tuple[httpx.Response, str]:
        """The answer, and the beginning of what it says; the rest is not waited for."""
        with self._client.stream("POST", self._settings.url, content=body, headers=headers) as answer:
            said = b""
            for part in answer.iter_bytes():
                said += part
                if len(said) >= _READ:
                    break
            return answer, said[:_READ].decode("utf-8", "replace")[:200]

    def close(self) -> None:
        """Let go of the connections; one that still trickles ends by itself."""
        self._client.close()
        self._post.shutdown(wait=False, cancel_futures=True)


def signature(secret: str, seconds: int, body: bytes) -> str:
    """HMAC-SHA256 of "<seconds>.<body>", hex."""
    return hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
