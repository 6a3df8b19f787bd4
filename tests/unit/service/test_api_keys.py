"""API keys: looked up by digest, and refused once they are revoked or past their time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from schemas.access import ROLES, Right
from schemas.requests import ApiKey
from service.security.api_keys import KNOWN_FOR, ApiKeys
from service.security.tokens import Refused
from stores.tokens import Grant, digest_of, is_api_key, new_api_key

NOW = datetime(2026, 11, 21, tzinfo=UTC)
GRANT = Grant("bot", "org-1", ("submitter",))


class Store:
    """Keys in memory; counts look-ups."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys = {key.digest: key for key in keys}
        self.asked = 0
        self.seconds = 0.0

    def add(self, key: ApiKey) -> None:
        self.keys[key.digest] = key

    def find(self, digest: str) -> ApiKey | None:
        self.asked += 1
        return self.keys.get(digest)

    def all(self) -> list[ApiKey]:
        return [*self.keys.values()]

    def revoke(self, key_id: str) -> bool:
        for digest, key in self.keys.items():
            if key.id == key_id:
                self.keys[digest] = replace(key, revoked_at=NOW)
                return True
        return False

    def known(self) -> ApiKeys:
        return ApiKeys(self, lambda: NOW + timedelta(seconds=self.seconds), lambda: self.seconds)


def test_key_names_its_principal() -> None:
    secret, key = new_api_key(GRANT, NOW, timedelta(days=1))
    identity = Store(key).known().identify(secret)
    assert (identity.principal.subject, identity.principal.organization) == ("bot", "org-1")
    assert (identity.principal.rights, identity.expires_at) == (ROLES["submitter"], key.expires_at)


def test_key_has_its_single_rights() -> None:
    right = Right.parse("metrics:read:all")
    secret, key = new_api_key(Grant("bot", "o", (), (right,)), NOW, timedelta(days=1))
    assert Store(key).known().identify(secret).principal.rights == {right}


def test_key_has_256_random_bits_and_is_not_kept() -> None:
    secret, key = new_api_key(GRANT, NOW, timedelta(days=1))
    other, _ = new_api_key(GRANT, NOW, timedelta(days=1))
    assert (len(secret), is_api_key(secret), secret != other) == (46, True, True)
    assert secret not in repr(key)
    assert key.digest == digest_of(secret)


def test_unknown_key_is_refused_each_time_by_asking() -> None:
    store = Store()
    keys = store.known()
    for _ in range(2):
        with pytest.raises(Refused, match="unknown key"):
            keys.identify("lk_" + "a" * 43)
    assert store.asked == 2


def test_new_key_works_at_once_though_it_was_refused_before() -> None:
    secret, key = new_api_key(GRANT, NOW, timedelta(days=1))
    store = Store()
    keys = store.known()
    with pytest.raises(Refused):
        keys.identify(secret)
    store.add(key)
    assert keys.identify(secret).principal.subject == "bot"


def test_revoked_key_is_refused_within_five_seconds() -> None:
    secret, key = new_api_key(GRANT, NOW, timedelta(days=1))
    store = Store(key)
    keys = store.known()
    keys.identify(secret)
    store.revoke(key.id)
    store.seconds += KNOWN_FOR
    with pytest.raises(Refused, match="revoked key"):
        keys.identify(secret)
    assert KNOWN_FOR == 5


def test_key_is_refused_from_the_second_it_expires_in() -> None:
    secret, key = new_api_key(GRANT, NOW, timedelta(seconds=2))
    store = Store(key)
    keys = store.known()
    keys.identify(secret)
    store.seconds = 2
    with pytest.raises(Refused, match="expired key"):
        keys.identify(secret)


def test_busy_machine_costs_one_look_up_in_five_seconds() -> None:
    secret, key = new_api_key(GRANT, NOW, timedelta(days=1))
    store = Store(key)
    keys = store.known()
    for _ in range(100):
        keys.identify(secret)
    assert store.asked == 1


@pytest.mark.parametrize("text", ["", "lk_", "lk_" + "a" * 42, "lk_" + "a" * 44, "LK_" + "a" * 43])
def test_what_has_not_the_form_of_a_key_is_none(text: str) -> None:
    assert not is_api_key(text)
