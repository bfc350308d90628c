"""Words of a query: one that an address does not know, or that stands there twice, is refused, never passed over.

``/healthz``, ``/readyz``, ``/schema`` and ``/metrics`` look at none: their answers depend on nothing that is asked, and
monitors add words of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, get_type_hints
from urllib.parse import parse_qsl

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from footfall.acquire.rules import near
from footfall.app.http.problems import Problem

_TOLD = 100  # characters of a word that is told back


def check_words(query: bytes, known: Sequence[str]) -> None:
    """Refuse a query (as sent, without ``?``) with a word that is not ``known``, or one more than once; Problem 400."""
    if not query:
        return
    words = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    for word, times in words.items():
        if word not in known:
            raise Problem(400, "bad-request", f"unknown word {word[:_TOLD]!r} in the query", _way_out(word, known))
        if times > 1:
            raise Problem(400, "bad-request", f"{word!r} stands {times} times in the query", "give it once")


def _way_out(word: str, known: Sequence[str]) -> str:
    if not known:
        return "this address takes no words"
    alike, all_known = near(word[:_TOLD], known), f"known: {', '.join(known)}"
    return alike if alike == all_known else f"{alike} {all_known}"


@lru_cache(64)
def words_of(handler: Callable[..., Any]) -> tuple[str, ...]:
    """The words that a Litestar handler takes from the query, by its annotations."""
    found = []
    for name, hint in get_type_hints(handler, include_extras=True).items():
        found += [part.name or name for part in getattr(hint, "__metadata__", ()) if isinstance(part, QueryParameter)]
    return tuple(found)


def known_words(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Litestar's guard of an address."""
    check_words(connection.scope["query_string"], words_of(handler.fn))
