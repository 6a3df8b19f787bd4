"""The queue port: which of the queued requests come next, and who tells that there is one.

A request's row is the truth: it is queued because the row says so, whatever a queue has or has
lost. A queue tells the drain sooner, and spares it from looking through rows; what is put may be
lost or come twice, and yet no request is. Keep the row first, then put::

    state.dsr.add([dsr], ...)            # from here on it is queued
    queue.put(dsr)                       # may be lost
    ...
    for dsr in queue.take(now, limit):   # rows, as they are now; by whoever leads
        ...                              # forwarded, put off, parked: written to the row
    queue.settle(now)
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from schemas.dsr import Dsr


class RequestQueue(Protocol):
    """``put`` is for any thread, the rest for the one that drains."""

    @property
    def has_waited(self) -> bool:
        """Whether the last ``take`` waited for something to be put, in vain."""

    def put(self, dsr: Dsr) -> None:
        """Tell that a request, which has been kept, is queued. Raises nothing of the queue's."""

    def take(self, now: datetime, limit: int) -> list[Dsr]:
        """What is queued, due, and not parked; of a subject only the oldest that is queued.

        As ``DsrStore.waiting`` has it. May wait some seconds if there is nothing. Sooner or later
        each such request is among them, and until its row says otherwise again and again. Raises
        ``StoreError`` if rows cannot be read.
        """

    def settle(self, now: datetime) -> None:
        """All that was taken has been dealt with, as far as it can be. Raises ``StoreError``."""
