"""A rate limit as a token bucket: a steady rate, and a burst after a pause."""

from __future__ import annotations

import threading
from collections.abc import Callable


class TokenBucket:
    """Gives ``rate`` tokens a second and holds up to ``burst`` of them (1 or more); full at first.

    ``clock`` gives seconds that only grow. For any number of threads.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._at = clock()

    def take(self) -> float:
        """Take a token if there is one: 0. If not, the seconds until there may be one."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return (1 - self._tokens) / self._rate
            self._tokens -= 1
            return 0.0

    def reserve(self) -> float:
        """Take a token, if need be one of the future: the seconds to wait until it is there.

        Those who wait are served in the order in which they asked.
        """
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
            self._at = now
            return max(0.0, -self._tokens / self._rate)
