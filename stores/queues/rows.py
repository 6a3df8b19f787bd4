"""The rows as their own queue: nothing beside them that could be lost."""

from __future__ import annotations

from datetime import datetime

from schemas.dsr import Dsr
from stores.state.dsr_port import DsrStore


class RowQueue:
    """See ``stores.queues.port.RequestQueue``; who drains is woken by the outbox."""

    has_waited = False

    def __init__(self, requests: DsrStore) -> None:
        self._requests = requests

    def put(self, dsr: Dsr) -> None:
        """The row is there."""

    def take(self, now: datetime, limit: int) -> list[Dsr]:
        return self._requests.waiting(now, limit)

    def settle(self, now: datetime) -> None:
        """The rows say what became of them."""
