"""What trying again may cost: time within one call, and a share of all calls."""

from __future__ import annotations

import threading

from stores.streams.backoff import Clock

_SHARE = 0.2
_HELD = 10.0


class RetryBudget:
    """Lets one call in five be a repeat, and a few more after a quiet time.

    So a processor that is down is not called several times as often as one that is well. For any
    number of threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = _HELD

    def called(self) -> None:
        """A first call was made."""
        with self._lock:
            self._left = min(_HELD, self._left + _SHARE)

    def may_repeat(self) -> bool:
        """Take leave for one repeat, if there is any."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


class TimeBudget:
    """The seconds that one operation may take, with its repeats and pauses. For one thread."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic() + seconds

    @property
    def left(self) -> float:
        return self._until - self._clock.monotonic()

    def pause(self, seconds: float) -> bool:
        """Wait so long, if there is time; else at once False."""
        if seconds >= self.left:
            return False
        self._clock.sleep(seconds)
        return True
