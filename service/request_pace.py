"""How slowly a client may send a request: there is time for a pause, and beyond it a pace to keep.

A thread waits for each request that is on its way. Were only each read limited, a client could hold
the thread for ever, a byte at a time.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from gunicorn.http.unreader import SocketUnreader

SLOWEST = 1024
"""Bytes a second, on average, of the time that is spent waiting."""


class PacedUnreader(SocketUnreader):
    """Reads a connection as gunicorn's does, and gives a request up that drags on.

    That the socket ends reads by itself, after ``pause_seconds``, is for the caller to see to.
    """

    def __init__(
        self, sock: Any, pause_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(sock)
        self._pause = pause_seconds
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """What comes now is another request."""
        self._waited = 0.0
        self._received = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Raises ``ConnectionResetError`` for a client that is too slow."""
        began = self._clock()
        try:
            data: bytes = super().chunk(size_hint)
        except BlockingIOError:
            raise _too_slow() from None
        self._waited += self._clock() - began
        self._received += len(data)
        if self._waited > self._pause + self._received / SLOWEST:
            raise _too_slow()
        return data


def _too_slow() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "the request comes too slowly")
