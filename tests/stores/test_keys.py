"""Keys: shown once, kept as a hash, found by the whole text, ended by their beginning; on both databases."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from footfall.errors import InputError
from footfall.stores.keys import SqlKeys

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


class KeysContract:
    def test_a_key_is_found_by_its_text_only(self, keys: SqlKeys) -> None:
        key, text = keys.create(["read", "collect"], "web", NOW)
        assert text.startswith(f"ff_{key.prefix}_") and len(text) == 55
        assert keys.find(text) == key
        assert key.scopes == ("collect", "read") and key.created_at == NOW and key.revoked_at is None
        for other in (text[:-1], text[:-1] + ("A" if text[-1] != "A" else "B"), "", key.prefix, f"ff_{key.prefix}_"):
            assert keys.find(other) is None

    def test_the_secret_is_kept_as_its_sha256(self, keys: SqlKeys) -> None:
        _, text = keys.create(["admin"], "", NOW)
        with keys._engine.connect() as connection:
            row = connection.execute(sa.text("SELECT * FROM api_keys")).one()
        assert row.digest == hashlib.sha256(text.encode()).digest()
        assert text not in repr(row) and text.split("_", 2)[2] not in repr(row)

    def test_a_revoked_key_is_found_no_more(self, keys: SqlKeys) -> None:
        key, text = keys.create(["decide"], "", NOW)
        _, other = keys.create(["decide"], "", NOW + timedelta(seconds=1))
        gone = keys.revoke(f"ff_{key.prefix}", NOW + timedelta(days=1))
        assert gone.revoked_at == NOW + timedelta(days=1)
        assert keys.find(text) is None and keys.find(other) is not None
        assert keys.revoke(key.prefix, NOW + timedelta(days=9)) == gone
        assert keys.revoke(text, NOW + timedelta(days=9)) == gone
        assert [k.revoked_at is None for k in keys.all()] == [False, True]
        assert keys.any()

    def test_no_keys_at_first(self, keys: SqlKeys) -> None:
        assert keys.all() == () and not keys.any()

    @pytest.mark.parametrize("scopes", [[], ["write"], ["read", "all"]])
    def test_a_scope_that_is_none_is_refused(self, keys: SqlKeys, scopes: list[str]) -> None:
        with pytest.raises(InputError, match="scope"):
            keys.create(scopes, "", NOW)
        assert not keys.any()

    def test_revoking_what_is_not_there(self, keys: SqlKeys) -> None:
        with pytest.raises(InputError, match="no key 'ff_nothing'"):
            keys.revoke("ff_nothing", NOW)
        with pytest.raises(InputError) as told:
            keys.revoke("ff_abcdefgh_" + "s" * 43, NOW)
        assert "sss" not in str(told.value)

    def test_admin_may_all(self, keys: SqlKeys) -> None:
        key, _ = keys.create(["admin"], "", NOW)
        assert all(key.may(scope) for scope in ("collect", "decide", "read", "admin"))
        key, _ = keys.create(["collect"], "", NOW)
        assert key.may("collect") and not key.may("decide") and not key.may("admin")


class TestKeysOnSqlite(KeysContract):
    @pytest.fixture
    def keys(self, tmp_path: Path) -> Iterator[SqlKeys]:
        keys = SqlKeys(f"sqlite:///{tmp_path / 'state.db'}")
        yield keys
        keys.close()


class TestKeysOnPostgres(KeysContract):
    @pytest.fixture
    def keys(self, postgres_schema: str) -> Iterator[SqlKeys]:
        keys = SqlKeys(postgres_schema)
        yield keys
        keys.close()
