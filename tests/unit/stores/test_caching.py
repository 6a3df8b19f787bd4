"""The cache keeps what it may for as long as it may, and loads a value once for all threads."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.caching import Cacheable
from stores.caching import Cache, CacheStatistics, Lookup
from stores.parameters import EnvironmentParameters


@dataclass(frozen=True)
class Rate(Cacheable):
    """Some reference data."""

    value: int


class FakeTime:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Gives 1, 2, 3 ... each time it is really asked."""

    asked = 0

    def __call__(self) -> Rate:
        self.asked += 1
        return Rate(self.asked)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def cache(time: FakeTime) -> Cache[str, Rate]:
    return Cache(2, 10.0, time)


def test_a_value_is_used_again_until_its_time_is_up(
    cache: Cache[str, Rate], source: Source, time: FakeTime
) -> None:
    seen = []
    for now in (0.0, 9.9, 10.0):
        time.now = now
        seen.append(cache.get("a", source).value)
    assert seen == [1, 1, 2]


def test_the_value_used_least_lately_goes_first(cache: Cache[str, Rate], source: Source) -> None:
    for key in ("a", "b", "a", "c"):
        cache.get(key, source)
    assert [cache.get(key, source).value for key in ("a", "c")] == [1, 3]


@given(st.lists(st.integers(0, 50), max_size=200))
def test_no_more_is_held_than_may_be(keys: list[int]) -> None:
    cache: Cache[int, Rate] = Cache(8, 10.0, FakeTime())
    for key in keys:
        assert cache.get(key, partial(Rate, key)) == Rate(key)
    assert cache.statistics().entries <= 8


def test_what_is_forgotten_is_loaded_anew(cache: Cache[str, Rate], source: Source) -> None:
    cache.get("a", source)
    cache.forget("a")
    assert cache.get("a", source) == Rate(2)


def test_what_is_forgotten_while_it_is_loaded_is_not_kept(
    cache: Cache[str, Rate], source: Source
) -> None:
    def changed_meanwhile() -> Rate:
        cache.forget("a")
        return Rate(0)

    assert cache.get("a", changed_meanwhile) == Rate(0)
    assert cache.get("a", source) == Rate(1)


def test_a_failure_is_not_kept(cache: Cache[str, Rate], source: Source) -> None:
    def fail() -> Rate:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        cache.get("a", fail)
    assert cache.get("a", source) == Rate(1)


def test_what_is_not_cacheable_is_refused(cache: Cache[str, Any]) -> None:
    with pytest.raises(TypeError, match="may not be cached"):
        cache.get("a", lambda: {"email": "ana@example.com"})
    assert cache.statistics().entries == 0


def test_look_ups_are_counted_and_told(time: FakeTime, source: Source) -> None:
    told: list[Lookup] = []
    cache: Cache[str, Rate] = Cache(2, 10.0, time, told.append)
    for key in ("a", "a", "b"):
        cache.get(key, source)
    assert told == ["miss", "hit", "miss"]
    assert cache.statistics() == CacheStatistics(1, 2, 0, 2)


class Gate:
    """A source that answers when it is opened."""

    def __init__(self, answer: Callable[[], Rate]) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.asked = 0
        self._answer = answer

    def __call__(self) -> Rate:
        self.asked += 1
        self.entered.set()
        assert self.opened.wait(10)
        return self._answer()


def ask_together(cache: Cache[str, Rate], gate: Gate) -> list[object]:
    """What eight threads are given that ask for one key while it is loaded."""
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(cache.get("a", gate))
        except ConnectionError as error:
            answers.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    threads[0].start()
    assert gate.entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while cache.statistics().waits < 7:
        threading.Event().wait(0.001)
    gate.opened.set()
    for thread in threads:
        thread.join(10)
    return answers


def test_threads_that_ask_together_load_once(cache: Cache[str, Rate], source: Source) -> None:
    gate = Gate(source)
    assert ask_together(cache, gate) == [Rate(1)] * 8
    assert gate.asked == 1


def test_threads_that_ask_together_fail_together(cache: Cache[str, Rate]) -> None:
    def fail() -> Rate:
        raise ConnectionError

    gate = Gate(fail)
    assert ask_together(cache, gate) == [ConnectionError] * 8
    assert gate.asked == 1


def test_a_store_of_parameters_travels_without_its_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_SCRUB_KEY", "0123456789abcdef-secret")
    store = EnvironmentParameters()
    store.get("scrub-key")
    packed = pickle.dumps(store)
    assert b"secret" not in packed
    assert pickle.loads(packed).get("scrub-key") == "0123456789abcdef-secret"
