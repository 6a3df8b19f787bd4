"""Read-aheads between two bundles: parked with their threads, and taken back where they stand.

An engine may make a new reader for every bundle, several a second, and pass it nothing but the
mark of the one before. So a reader holds a read-ahead for one bundle only. Whoever comes next with
exactly that mark goes on with it, and is first handed what had been read ahead before::

    bundle          1            2            3 was lost: back to mark 1
    reader          A ──┐    ┌── B ──┐        C
    mark                1 ───1       2        1, but mark 2 is what is parked:
    read-ahead      ════ parked ═════ parked  closed; C begins another one at mark 1

Nothing is parked for long: what nobody takes back, because its work went to another process, stops
asking the service.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Hashable
from dataclasses import dataclass

from stores.streams.backoff import Clock, SystemClock
from transforms.checkpoint import StreamMark
from transforms.read_ahead import ReadAhead

IDLE_SECONDS = 60.0
"""After which a parked read-ahead is closed."""

MOST = 64
"""Read-aheads that may be parked; those parked longest ago are closed for others."""


@dataclass(frozen=True)
class _Parked:
    mark: StreamMark
    ahead: ReadAhead
    since: float


class Parking:
    """Read-aheads that no bundle holds, one a part of a stream at the most. Safe for threads."""

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._parked: dict[Hashable, _Parked] = {}
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def park(self, part: Hashable, mark: StreamMark, ahead: ReadAhead) -> None:
        """Keep what has been handed on exactly up to ``mark``; closes what the part had here."""
        with self._lock:
            old = self._parked.pop(part, None)
            self._parked[part] = _Parked(mark, ahead, self._clock.monotonic())
            surplus = list(self._parked)[: -self._most]
            closing = [self._parked.pop(each) for each in surplus]
            self._sweep_later()
        _close([*closing, *([old] if old else [])])

    def take(self, part: Hashable, mark: StreamMark) -> ReadAhead | None:
        """What stands at exactly ``mark``; closes what the part has parked at any other."""
        with self._lock:
            found = self._parked.pop(part, None)
            self._sweep_later()
        if found is not None and found.mark != mark:
            found.ahead.close()
            found = None
        return None if found is None else found.ahead

    def sweep(self) -> None:
        """Close what has been parked for ``IDLE_SECONDS``; called by itself in time."""
        deadline = self._clock.monotonic() - IDLE_SECONDS
        with self._lock:
            idle = [key for key, each in self._parked.items() if each.since <= deadline]
            closing = [self._parked.pop(key) for key in idle]
            self._sweep_later()
        _close(closing)

    def close(self) -> None:
        """Close all that is parked."""
        with self._lock:
            closing = list(self._parked.values())
            self._parked.clear()
            self._sweep_later()
        _close(closing)

    def _sweep_later(self) -> None:
        """See to it that ``sweep`` comes when something has been idle for long enough."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._parked:
            self._timer = threading.Timer(self._seconds_left(), self.sweep)
            self._timer.daemon = True
            self._timer.start()

    def _seconds_left(self) -> float:
        oldest = min(each.since for each in self._parked.values())
        return max(0.0, oldest + IDLE_SECONDS - self._clock.monotonic())


def _close(parked: list[_Parked]) -> None:
    for each in parked:
        each.ahead.close()


PARKING = Parking(SystemClock())
"""This process's: an engine's readers have nothing else in common."""

atexit.register(PARKING.close)
