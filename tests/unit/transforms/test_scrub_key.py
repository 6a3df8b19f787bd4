"""The scrubbing key: looked up where it is used, never sent there."""

from __future__ import annotations

import pickle

import pytest

from schemas.errors import UsageError
from stores.parameters import EnvironmentParameters
from transforms.scrub import ScrubKey

KEY = "a-key-that-nobody-else-may-know!"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> ScrubKey:
    monkeypatch.setenv("LETHE_SCRUB_KEY", KEY)
    return ScrubKey.of(EnvironmentParameters())


def test_what_travels_to_a_worker_does_not_hold_the_key(key: ScrubKey) -> None:
    assert KEY.encode() not in pickle.dumps(key)


def test_a_worker_finds_the_same_key(key: ScrubKey) -> None:
    there = pickle.loads(pickle.dumps(key))
    assert there.scrubber().hash("a@example.com") == key.scrubber().hash("a@example.com")


def test_a_worker_with_another_key_is_refused(
    key: ScrubKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = pickle.loads(pickle.dumps(key))
    monkeypatch.setenv("LETHE_SCRUB_KEY", KEY[::-1])
    with pytest.raises(UsageError, match="another scrub-key"):
        there.scrubber()
