"""Events: what happened to something that people watch, in the order in which it happened.

An event is written in the transaction that changes what it speaks of (the outbox pattern), and read
by every process that has clients to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Topic:
    """Something that can be watched: ``kind`` is ``job``, ``run`` or ``dsr``."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True)
class Event:
    """What became of ``topic``. ``payload`` is its state as a client is shown it.

    ``version`` is 1, 2, 3 ... within a topic, without a gap: by it a client knows what it has seen.
    ``organization`` and ``owner`` say whose it is; of a run that nobody asked the service for, both
    are None.
    """

    topic: Topic
    version: int
    organization: str | None
    owner: str | None
    at: datetime
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class StoredEvent:
    """An event with its place in the outbox. Places grow, and may have gaps."""

    place: int
    event: Event
