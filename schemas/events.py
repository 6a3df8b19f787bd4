"""Events: what happened to something that people watch, in the order in which it happened.

An event is written in the transaction that changes what it speaks of (the outbox pattern), and read
by every process that has clients to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, overload

EVENTS_KEPT = timedelta(days=1)
"""For so long whoever was away may go on from where they were."""


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


@overload
def shown_time(time: datetime) -> str: ...
@overload
def shown_time(time: datetime | None) -> str | None: ...
def shown_time(time: datetime | None) -> str | None:
    """A time as clients are shown it: RFC 3339, in UTC, to the microsecond."""
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
