"""The mock processor's callbacks, sent by a thread of their own, one after the other."""

from __future__ import annotations

import threading
from contextlib import suppress

import urllib3

from runners.mock_processor.answers import CallbackDue, MockProcessor
from runners.mock_server import Reply, Request

_LOOKS_EVERY = 0.05
_TIMEOUT = 5.0


class Courier:
    """Passes requests to the processor, and its callbacks on, one thread in it at a time."""

    def __init__(self, processor: MockProcessor) -> None:
        self._processor = processor
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._http = urllib3.PoolManager(retries=False, timeout=_TIMEOUT)
        self._thread = threading.Thread(target=self._deliver, name="callbacks", daemon=True)

    def answer(self, request: Request) -> Reply:
        """The processor's answer."""
        with self._lock:
            return self._processor.reply(request)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End; a callback under way is waited for."""
        self._stop.set()
        self._thread.join(_TIMEOUT)

    def _deliver(self) -> None:
        while not self._stop.wait(_LOOKS_EVERY):
            with self._lock:
                due = self._processor.callbacks()
            for callback in due:
                self._send(callback)

    def _send(self, callback: CallbackDue) -> None:
        outcome = "callbacks_unanswered"
        with suppress(urllib3.exceptions.HTTPError, OSError):
            answer = self._http.request(
                "POST", callback.url, body=callback.body, headers=callback.headers, redirect=False
            )
            outcome = f"callbacks_{answer.status}"
        with self._lock:
            self._processor.count(outcome)
