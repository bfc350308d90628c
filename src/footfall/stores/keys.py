"""Keys of the service (``ports.Keys``): made here, shown once, kept as a hash.

A key reads ``ff_IIIIIIII_SSSS...``: 8 characters by which it is listed and found, then a secret of 256 random bits.
Such a secret cannot be guessed or searched, so one SHA-256 is enough: a slow hash protects passwords, which people
choose (NIST SP 800-63B, 5.1.1.2, asks for it below 112 bits).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from footfall.errors import InputError
from footfall.model import SCOPES, ServiceKey
from footfall.stores.database import OnDatabase
from footfall.stores.schema import api_keys

_FORM = re.compile(r"ff_([0-9A-Za-z]{8})_[0-9A-Za-z_-]{43}")
_LETTERS = string.ascii_letters + string.digits


class SqlKeys(OnDatabase):
    """``ports.Keys`` on SQLAlchemy; opening it brings the schema up to date."""

    def create(self, scopes: Sequence[str], name: str, at: datetime) -> tuple[ServiceKey, str]:
        """Make a key; the record and the secret text, which is not kept and cannot be shown again."""
        wanted = tuple(scope for scope in SCOPES if scope in scopes)
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not wanted:
            raise InputError(
                f"unknown scope {unknown[0]!r}" if unknown else "a key needs a scope",
                f"scopes are: {', '.join(SCOPES)}",
            )
        prefix = "".join(secrets.choice(_LETTERS) for _ in range(8))
        text = f"ff_{prefix}_{secrets.token_urlsafe(32)}"
        key = ServiceKey(prefix, wanted, name, at.astimezone(UTC), None)
        with self._writing() as connection:
            connection.execute(
                api_keys.insert().values(
                    prefix=prefix,
                    digest=digest_of(text),
                    scopes=",".join(wanted),
                    name=name,
                    created_at=key.created_at.replace(tzinfo=None),
                )
            )
        return key, text

    def find(self, text: str) -> ServiceKey | None:
        """The key of that secret text, unless it was revoked or never was."""
        form = _FORM.fullmatch(text)
        if form is None:
            return None
        query = sa.select(api_keys).where(api_keys.c.prefix == form.group(1), api_keys.c.revoked_at.is_(None))
        with self._reading() as connection:
            row = connection.execute(query).first()
        if row is None or not hmac.compare_digest(row.digest, digest_of(text)):
            return None
        return _key(row)

    def all(self) -> tuple[ServiceKey, ...]:
        """Every key that was made, revoked ones too, oldest first."""
        query = sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.prefix)
        with self._reading() as connection:
            return tuple(_key(row) for row in connection.execute(query))

    def any(self) -> bool:
        """Whether a key was ever made here."""
        with self._reading() as connection:
            return connection.execute(sa.select(api_keys.c.prefix).limit(1)).first() is not None

    def revoke(self, prefix: str, at: datetime) -> ServiceKey:
        """End a key, by its prefix or its text; a second time changes nothing. InputError if there is none."""
        whole = _FORM.fullmatch(prefix)
        wanted = whole.group(1) if whole else prefix.removeprefix("ff_")
        with self._writing() as connection:
            row = connection.execute(sa.select(api_keys).where(api_keys.c.prefix == wanted)).first()
            if row is None:
                raise InputError(f"there is no key {'ff_' + wanted[:8]!r}", "`footfall keys list` shows them")
            when = row.revoked_at or at.astimezone(UTC).replace(tzinfo=None)
            connection.execute(api_keys.update().where(api_keys.c.prefix == wanted).values(revoked_at=when))
            row = connection.execute(sa.select(api_keys).where(api_keys.c.prefix == wanted)).one()
        return _key(row)


def digest_of(text: str) -> bytes:
    """SHA-256 of a key's text, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def _key(row: sa.Row[tuple[object, ...]]) -> ServiceKey:
    return ServiceKey(
        row.prefix,
        tuple(row.scopes.split(",")),
        row.name,
        row.created_at.replace(tzinfo=UTC),
        row.revoked_at.replace(tzinfo=UTC) if row.revoked_at else None,
    )
