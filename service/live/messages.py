"""What clients are told, as JSON. Pure; ``docs/websocket.md`` is the specification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec

from schemas.events import Event, Topic, shown_time
from service.errors import Fault
from service.live.frames import text_frame

COLLECTIONS: Mapping[str, str] = {"job": "jobs", "run": "runs", "dsr": "dsrs"}
"""The kinds of things that can be watched, and how all of a kind are named."""


@dataclass(frozen=True)
class Watched:
    """One thing that is watched, or all of its kind if ``id`` is None."""

    kind: str
    id: str | None = None

    @property
    def name(self) -> str:
        """As clients name it."""
        return COLLECTIONS[self.kind] if self.id is None else f"{self.kind}:{self.id}"

    @property
    def topic(self) -> Topic:
        """What events of it speak of; it has to be one thing."""
        return Topic(self.kind, self.id or "")

    @staticmethod
    def of(topic: Topic) -> Watched:
        """The name of what an event speaks of."""
        return Watched(topic.kind, topic.id)


@dataclass(frozen=True)
class Update:
    """An event on its way to clients: encoded once, however many there are.

    ``place`` is its place among all events, None for one that was read again by its topic.
    """

    event: Event
    place: int | None = None

    @cached_property
    def text(self) -> bytes:
        """The message that says what became of its topic."""
        name = Watched.of(self.event.topic).name
        place = {} if self.place is None else {"place": self.place}
        version, state = self.event.version, self.event.payload
        return _message("update", resource=name, version=version, **place, state=state)

    @cached_property
    def frame(self) -> bytes:
        """The same as a frame."""
        return text_frame(self.text)


@dataclass(frozen=True)
class State:
    """What one thing is now."""

    watched: Watched
    version: int
    payload: Mapping[str, Any]


def authenticated(subject: str, session_id: str, expires_at: datetime | None) -> bytes:
    """The answer to a token that is good."""
    data = {
        "action": "authenticated",
        "subject": subject,
        "sessionId": session_id,
        "expiresAt": shown_time(expires_at),
    }
    return msgspec.json.encode({"type": "auth", "data": data})


def snapshot(state: State) -> bytes:
    """What a watched thing is now; updates follow."""
    return _message(
        "snapshot", resource=state.watched.name, version=state.version, state=state.payload
    )


def snapshot_of_all(watched: Watched, place: int, states: Iterable[State]) -> bytes:
    """The newest of a kind as they are now; updates follow."""
    items = [{"resource": s.watched.name, "version": s.version, "state": s.payload} for s in states]
    return _message("snapshot", resource=watched.name, place=place, items=items)


def resumed(watched: Watched, after: int) -> bytes:
    """Nothing that came after this number is lost: it follows."""
    return _message("resumed", resource=watched.name, after=after)


def unsubscribed(watched: Watched) -> bytes:
    """No updates of this will follow."""
    return _message("unsubscribed", resource=watched.name)


def pong() -> bytes:
    """The answer to a ping."""
    return b'{"type":"pong","data":{}}'


def refusal(fault: Fault, correlation: str, at: datetime, further: Mapping[str, Any]) -> bytes:
    """An error; ``further`` stands beside what errors have everywhere."""
    error = {**fault.body(correlation, at)["error"], **further}
    return msgspec.json.encode({"type": "error", "error": error})


def _message(action: str, **data: Any) -> bytes:
    return msgspec.json.encode({"type": "message", "data": {"action": action, **data}})
