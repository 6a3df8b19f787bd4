"""Readings that cost something, and are asked for by scrapes as often as those like."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from service.observe.operations import Clock

Reading = TypeVar("Reading")

AT_MOST_EVERY = 5.0
SHARE_OF_TIME = 20.0


class Paced(Generic[Reading]):
    """What ``read`` gives, used again for some seconds, and for twenty times as long as it took.

    So scrapes take at most a twentieth of one thread's time, however often they come.
    """

    def __init__(self, read: Callable[[], Reading], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._reading: Reading | None = None
        self._good_until = float("-inf")

    def current(self) -> Reading:
        """The reading as it is, or was some seconds ago."""
        with self._lock:
            began = self._clock()
            if self._reading is None or began >= self._good_until:
                self._reading = self._read()
                took = self._clock() - began
                self._good_until = began + took + max(AT_MOST_EVERY, SHARE_OF_TIME * took)
            return self._reading
