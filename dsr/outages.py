"""Which processors are left alone for a while, because they did not answer the last requests.

A request that fails for itself must not hold up others; a processor that is down must not be asked
for each of thousands. So a few failures in a row, of whichever requests, pause a processor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dsr.pauses import Draw, Pauses
from stores.processors.errors import Misconfigured, ProcessorError, Throttled, Unreachable

TOLERATED = 3
"""Failures in a row before a processor is paused."""


@dataclass(frozen=True)
class _Trouble:
    """What is known of a processor that did not answer the last time."""

    since: datetime
    failures: int = 0
    until: datetime | None = None


class Outages:
    """What is known of all processors. For any number of threads."""

    def __init__(self, pauses: Pauses, draw: Draw, clock: Callable[[], datetime]) -> None:
        self._pauses = pauses
        self._draw = draw
        self._clock = clock
        self._lock = threading.Lock()
        self._troubles: dict[str, _Trouble] = {}
        self._well: set[str] = set()

    def may_ask(self, name: str) -> bool:
        """Whether the processor is not paused now."""
        trouble = self._troubles.get(name)
        return trouble is None or trouble.until is None or trouble.until <= self._clock()

    def heard(self, name: str, error: ProcessorError | None) -> None:
        """Note how a call went; errors that are about the request are answers, too."""
        with self._lock:
            if isinstance(error, Unreachable | Misconfigured | Throttled):
                known = self._troubles.get(name, _Trouble(self._clock()))
                self._troubles[name] = self._worse(known, error)
                self._well.discard(name)
            else:
                self._troubles.pop(name, None)
                self._well.add(name)

    def since(self, name: str) -> datetime | None:
        """Since when it has not answered; None if it did the last time."""
        trouble = self._troubles.get(name)
        return None if trouble is None else trouble.since

    def is_well(self, name: str) -> bool:
        """Whether it answered the last time; False also if it was not asked yet."""
        return name in self._well

    def _worse(self, known: _Trouble, error: ProcessorError) -> _Trouble:
        now, failures = self._clock(), known.failures + 1
        if isinstance(error, Throttled):
            return replace(known, until=now + timedelta(seconds=error.retry_after))
        if known.until is not None and now < known.until:
            # It was under way when the pause began. Counted, a moment's trouble of all that are
            # asked at once would pause a processor for as long as a row of failures does.
            return known
        if failures < TOLERATED:
            return replace(known, failures=failures)
        pause = self._pauses.drawn(failures - TOLERATED + 1, self._draw)
        return replace(known, failures=failures, until=now + pause)
