"""One thread a process that reads the outbox and publishes what is new to the hub.

It begins with the first connection, so that a process without any asks the database nothing.
"""

from __future__ import annotations

import threading

import structlog

from schemas.errors import LetheError
from service.errors import places_of
from service.live.frames import CloseCode
from service.live.hub import Hub
from stores.state.service_port import Outbox

_SLICE = 0.25
"""Seconds after which it looks whether the process is to end."""

_PAUSE = 1.0
_AT_ONCE = 200

_log = structlog.get_logger()


class Feed:
    """Publishes every event that is written after it began, in order, until ``closing`` is set.

    Then it closes all connections.
    """

    def __init__(self, outbox: Outbox, hub: Hub, closing: threading.Event) -> None:
        self._outbox = outbox
        self._hub = hub
        self._closing = closing
        self._lock = threading.Lock()
        self._runs = False

    def begin(self) -> None:
        """Publish from now on. Raises ``StoreError`` and ``StoreUnavailable``; may be repeated."""
        with self._lock:
            if self._runs:
                return
            place = self._outbox.newest()
            self._hub.begin_at(place)
            self._runs = True
            threading.Thread(target=self._run, args=(place,), name="feed", daemon=True).start()

    def _run(self, place: int) -> None:
        """A mistake ends all connections, which may come back: the next one begins it anew."""
        try:
            self._publish_all(place)
        except Exception as error:
            _log.error("updates stopped", error=type(error).__name__, places=places_of(error))
            with self._lock:
                self._runs = False
            self._hub.end_all(CloseCode.MISTAKE, "updates stopped")
        else:
            self._hub.close(CloseCode.GOING_AWAY, "the server is going away")

    def _publish_all(self, place: int) -> None:
        while not self._closing.is_set():
            try:
                place = self._publish_next(place)
            except LetheError as error:
                _log.warning("events could not be read", code=error.code)
                self._closing.wait(_PAUSE)

    def _publish_next(self, place: int) -> int:
        """Wait for a moment, and publish what is new; the place of the last event."""
        if not self._outbox.wait(place, _SLICE):
            return place
        for stored in self._outbox.after(place, _AT_ONCE):
            self._hub.publish(stored)
            place = stored.place
        return place
