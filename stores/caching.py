"""A cache: bounded in time and size, shared by threads, and asked elsewhere once for all of them.

    thread 1  get(key) ── load ────────────┬──> value
    thread 2       get(key) ── waits ──────┴──> the same value

It holds ``Cacheable`` values only, which the type checker sees to, and the cache itself where there
was none. A failure is handed to all who wait for it, and is not kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from cachetools import TTLCache

from schemas.caching import Cacheable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Cacheable)


class Lookup(StrEnum):
    """How a look-up went: the value was there, was loaded, or is being loaded by another."""

    HIT = "hit"
    MISS = "miss"
    WAIT = "wait"


@dataclass(frozen=True)
class CacheStatistics:
    """Look-ups so far, and values that are held now."""

    hits: int
    misses: int
    waits: int
    entries: int


class Cache(Generic[K, V]):
    """Keeps up to ``size`` values for ``seconds`` each; those used least lately go first.

    ``clock`` gives seconds that only grow; ``told`` hears how each look-up went, and must be quick.
    """

    def __init__(
        self,
        size: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        told: Callable[[Lookup], None] = lambda _: None,
    ) -> None:
        self._values: TTLCache[K, V] = TTLCache(size, seconds, clock)
        self._told = told
        self._lock = threading.Lock()
        self._flights: dict[K, Future[V]] = {}
        self._counts = dict.fromkeys(Lookup, 0)

    def get(self, key: K, load: Callable[[], V]) -> V:
        """The value that is kept, or what ``load`` gives now. Raises what ``load`` raises.

        ``load`` must not ask for the same key again. Raises ``TypeError`` for what is not
        ``Cacheable``.
        """
        with self._lock:
            value = self._values.get(key)
            flight = self._flights.get(key)
            lookup = self._classified(value, flight)
            if lookup is Lookup.MISS:
                flight = self._flights[key] = Future()
        self._told(lookup)
        if value is not None:
            return value
        assert flight is not None
        return flight.result() if lookup is Lookup.WAIT else self._land(key, flight, load)

    def forget(self, key: K) -> None:
        """Have the next look-up load it anew, even if it is being loaded right now."""
        with self._lock:
            self._values.pop(key, None)
            self._flights.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._flights.clear()

    def statistics(self) -> CacheStatistics:
        with self._lock:
            self._values.expire()
            counts = self._counts
            return CacheStatistics(
                counts[Lookup.HIT], counts[Lookup.MISS], counts[Lookup.WAIT], len(self._values)
            )

    def _classified(self, value: V | None, flight: Future[V] | None) -> Lookup:
        lookup = Lookup.MISS if flight is None else Lookup.WAIT
        lookup = lookup if value is None else Lookup.HIT
        self._counts[lookup] += 1
        return lookup

    def _land(self, key: K, flight: Future[V], load: Callable[[], V]) -> V:
        try:
            value = _checked(load())
        except BaseException as error:
            self._end(key, flight, None)
            flight.set_exception(error)
            raise
        self._end(key, flight, value)
        flight.set_result(value)
        return value

    def _end(self, key: K, flight: Future[V], value: V | None) -> None:
        """Keep the value, unless it was to be forgotten while it was loaded."""
        with self._lock:
            if self._flights.get(key) is not flight:
                return
            del self._flights[key]
            if value is not None:
                self._values[key] = value


def _checked(value: V) -> V:
    if not isinstance(value, Cacheable):
        raise TypeError(f"{type(value).__name__} may not be cached: it is not Cacheable")
    return value
