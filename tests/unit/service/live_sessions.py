"""A session with time in the test's hands, and what it says, read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from wsproto.frame_protocol import FrameProtocol, Opcode

from schemas.access import Principal, rights_of
from schemas.events import Event, Topic
from service.live.frames import Text
from service.live.messages import Update, Watched
from service.live.session import Clock, Rules, Session
from service.live.steps import Close, Send, Step
from service.security.tokens import Identity

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
RULES = Rules(
    authenticate_seconds=10, heartbeat_seconds=25, messages_per_second=20, development=False
)
SOMEBODY = Principal("user-1", "org-1", frozenset({"viewer"}), rights_of(["viewer"]))
JOB = Watched("job", "a")


@dataclass
class Time:
    """Time that passes when it is told to."""

    seconds: float = 0.0

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: START + timedelta(seconds=self.seconds), lambda: self.seconds)


def new_session(time: Time, rules: Rules = RULES) -> Session:
    return Session(rules, time.clock, "correlation-1", "session-1")


def known_session(time: Time, lives: float | None = None) -> Session:
    """A session of somebody, whose token is good for so many seconds more."""
    session = new_session(time)
    say(session, "auth", action="authenticate", token="token-1")
    until = None if lives is None else time.clock.now() + timedelta(seconds=lives)
    session.identified(Identity(SOMEBODY, until))
    return session


def say(session: Session, kind: str, **data: Any) -> list[Step]:
    return session.receive(Text(json.dumps({"type": kind, "data": data})))


def subscribe(session: Session, names: str, action: str = "subscribe") -> list[Step]:
    return say(session, "message", action=action, message=names)


def update(version: int, place: int | None = None, topic: str = "a") -> Update:
    event = Event(Topic("job", topic), version, "org-1", "user-1", START, {"version": version})
    return Update(event, version if place is None else place)


def said(steps: Iterable[Step]) -> list[Any]:
    """The messages among these steps."""
    return [json.loads(text) for step in steps if isinstance(step, Send) for text in _texts(step)]


def _texts(step: Send) -> list[str]:
    reader = FrameProtocol(client=True, extensions=[])
    reader.receive_bytes(step.frame)
    return [str(f.payload) for f in reader.received_frames() if f.opcode is Opcode.TEXT]


def versions(steps: Iterable[Step]) -> list[int]:
    """The versions that a client learns of by these steps."""
    return [m["data"]["version"] for m in said(steps) if "version" in m.get("data", {})]


def close_of(steps: list[Step]) -> Close | None:
    """The close, which is to be the last step."""
    assert not any(isinstance(step, Close) for step in steps[:-1])
    return steps[-1] if steps and isinstance(steps[-1], Close) else None
