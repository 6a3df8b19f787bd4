"""Heeding a processor's rate limit before it is reached.

mParticle says with every answer what share of the limit is used. From ``SLOW_FROM`` per cent on,
calls are spread so that what is left lasts for the minute that the limit is about.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

SLOW_FROM = 80.0
WINDOW = 60.0
"""Seconds that a limit is about, and after which what was said of it is forgotten."""


class Pace:
    """When the next call may be made; ``clock`` gives seconds that only grow. For any thread."""

    def __init__(self, requests_per_minute: int, clock: Callable[[], float]) -> None:
        self._limit = requests_per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._spacing = 0.0
        self._noted_at = clock()
        self._next_at = self._held_until = float("-inf")

    def note(self, used_percent: float) -> None:
        """The processor said that so much of its limit is used."""
        with self._lock:
            self._noted_at = self._clock()
            self._spacing = self._spacing_at(used_percent)

    def hold(self, seconds: float) -> None:
        """The processor wants no call for so long."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)

    def reserve(self, most: float) -> float:
        """Take a turn: the seconds to wait for it. Beyond ``most`` no turn is taken."""
        with self._lock:
            now = self._clock()
            if now - self._noted_at >= WINDOW:
                self._spacing = 0.0
            wait = max(0.0, self._held_until - now, self._due_at() - now)
            if wait <= most:
                self._next_at = now + wait
            return wait

    def _due_at(self) -> float:
        return self._next_at + self._spacing if self._spacing else float("-inf")

    def _spacing_at(self, used_percent: float) -> float:
        if used_percent < SLOW_FROM:
            return 0.0
        left = self._limit * (100.0 - used_percent) / 100.0
        return WINDOW / max(1.0, left)
