"""What every store of machines' keys does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.errors import StoreError
from schemas.requests import ApiKey
from tests.integration.state.records import START, AnyState, Clock, there


def key(key_id: str = "k1", **more: Any) -> ApiKey:
    known: dict[str, Any] = {
        "digest": key_id * 32,
        "subject": "loader",
        "organization": "org-1",
        "roles": ("operator",),
        "created_at": START,
    }
    return ApiKey(key_id, **{**known, **more})


def test_a_key_is_found_by_its_digest_as_it_was_kept(state: AnyState) -> None:
    kept = key(rights=("run:read:all",), expires_at=START + timedelta(days=1))
    state.api_keys.add(kept)
    assert state.api_keys.find(kept.digest) == kept


def test_an_unknown_digest_is_none(state: AnyState) -> None:
    assert state.api_keys.find("0" * 64) is None


@pytest.mark.parametrize(("key_id", "digest"), [("k1", "x"), ("k2", "k1" * 32)])
def test_ids_and_digests_are_taken_once(state: AnyState, key_id: str, digest: str) -> None:
    state.api_keys.add(key())
    with pytest.raises(StoreError, match="there already"):
        state.api_keys.add(key(key_id, digest=digest))
    assert state.api_keys.all() == [key()]


def test_newest_keys_come_first(state: AnyState) -> None:
    for number in range(3):
        state.api_keys.add(key(f"k{number}", created_at=START + timedelta(seconds=number)))
    assert [found.id for found in state.api_keys.all()] == ["k2", "k1", "k0"]


def test_a_key_is_revoked_once_and_still_found(state: AnyState, clock: Clock) -> None:
    state.api_keys.add(key())
    assert state.api_keys.revoke("k1")
    assert there(state.api_keys.find(key().digest)).revoked_at == clock.now
    assert not state.api_keys.revoke("k1")


def test_an_expired_key_has_ended_already(state: AnyState) -> None:
    state.api_keys.add(key(expires_at=START))
    assert not state.api_keys.revoke("k1")


def test_an_unknown_key_cannot_be_revoked(state: AnyState) -> None:
    assert not state.api_keys.revoke("k1")
