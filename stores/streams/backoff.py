"""Patience: pauses between attempts, and the clock by which they are taken.

Pauses double from one attempt to the next and are drawn anew each time from zero to that bound
("full jitter"), so that readers that failed together do not come back together.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from schemas.errors import StoreUnavailable

ATTEMPTS = 9
"""Attempts in all: about 18 seconds of pauses, as a shard that was read 10 MB of rests for 5."""

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 10.0

Result = TypeVar("Result")


class Clock(Protocol):
    """The time, and waiting for it to pass."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float:
        """Seconds since some moment, which only grow."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """This machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row, at least 1."""
    bound = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (failures - 1))
    return random.uniform(0, bound)


def patiently(attempt: Callable[[], Result], clock: Clock) -> Result:
    """The result of the first attempt that is not met by ``StoreUnavailable``, raised at last."""
    for failures in range(1, ATTEMPTS):
        try:
            return attempt()
        except StoreUnavailable:
            clock.sleep(pause(failures))
    return attempt()
