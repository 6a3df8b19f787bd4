"""What clients say and are told, as values. Pure; ``docs/websocket.md`` is the specification.

A client's message is ``{"type", "data": {"action", "message", "sessionId", "token"}}``. What it
watches is named in ``message``: ``job:ID``, ``run:ID``, or all of a kind within reach, ``jobs`` and
``runs``; behind an ``@`` stands the number to go on from. No error repeats what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, ValidationError

from schemas.errors import Invalid
from schemas.events import Event, Topic, shown_time
from service.answers import RequestModel
from service.errors import Fault, invalid
from service.live.frames import text_frame

MOST_BYTES = 128 * 1024
"""The largest message: all fields at their longest, with every character escaped."""

MOST_NAMES = 100
"""Names in one message, and watches of one connection."""

COLLECTIONS: Mapping[str, str] = {"job": "jobs", "run": "runs"}
"""The kinds of things that can be watched, and how all of a kind are named."""

_LONGEST_NUMBER = 18
_NAME = re.compile(
    rf"(?:(?P<kind>{'|'.join(COLLECTIONS)}):(?P<id>[A-Za-z0-9][A-Za-z0-9_-]{{0,63}})"
    rf"|(?P<all>{'|'.join(COLLECTIONS.values())}))"
    rf"(?:@(?P<after>[0-9]{{1,{_LONGEST_NUMBER}}}))?"
)
_KIND_OF = {name: kind for kind, name in COLLECTIONS.items()}


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
class Authenticate:
    """Says who the client is; ``token`` never shows."""

    token: str = field(repr=False)
    session_id: str | None = None


@dataclass(frozen=True)
class Subscribe:
    """Watch these; each with the number to go on from, or None to begin with its state."""

    wanted: tuple[tuple[Watched, int | None], ...]


@dataclass(frozen=True)
class Unsubscribe:
    """Watch these no more."""

    unwanted: tuple[Watched, ...]


@dataclass(frozen=True)
class Ping:
    """Asks for a pong."""


Request = Authenticate | Subscribe | Unsubscribe | Ping


def _text(longest: int, alphabet: str, described: str) -> AfterValidator:
    allowed = re.compile(alphabet)

    def check(value: str) -> str:
        if not value:
            raise ValueError("is empty")
        if len(value) > longest:
            raise ValueError(f"is longer than {longest:,} characters")
        if not allowed.fullmatch(value):
            raise ValueError(f"has other characters than {described}")
        return value

    return AfterValidator(check)


class ClientData(RequestModel):
    """The fields of a client's message."""

    action: Annotated[str, _text(50, "[a-z_]+", "small letters and _")] | None = None
    message: (
        Annotated[str, _text(10_000, "[A-Za-z0-9:@_ -]+", "letters, digits, : @ _ - and blanks")]
        | None
    ) = None
    session_id: Annotated[str, _text(100, "[A-Za-z0-9_-]+", "letters, digits, _ and -")] | None = (
        None
    )
    token: (
        Annotated[str, _text(10_000, "[A-Za-z0-9._~+/=-]+", "those of a bearer token (RFC 6750)")]
        | None
    ) = None


class ClientMessage(RequestModel):
    """A client's message."""

    type: Literal["auth", "message", "ping"]
    data: ClientData = ClientData()


_NAMES_KNOWN = frozenset({"type", "data", "action", "message", "sessionId", "token"})

_FIELDS: Mapping[tuple[str, str | None], tuple[frozenset[str], frozenset[str]]] = {
    ("auth", "authenticate"): (frozenset({"token"}), frozenset({"session_id"})),
    ("message", "subscribe"): (frozenset({"message"}), frozenset({"session_id"})),
    ("message", "resume"): (frozenset({"message"}), frozenset({"session_id"})),
    ("message", "unsubscribe"): (frozenset({"message"}), frozenset({"session_id"})),
    ("ping", None): (frozenset(), frozenset({"session_id"})),
}
"""Which actions each type has, with the fields that each needs and those that it may have."""

_WIRE_NAMES = {"session_id": "sessionId"}


def parse(text: str, session_id: str | None) -> Request:
    """What a client asks for. Raises ``Invalid``, with one problem for each fault.

    ``session_id`` is the session's own; a message that names another one is refused.
    """
    try:
        message = ClientMessage.model_validate_json(text)
    except ValidationError as error:
        raise invalid(error, _NAMES_KNOWN) from None
    _check_fields(message)
    return _request(message, session_id)


def _check_fields(message: ClientMessage) -> None:
    known = _FIELDS.get((message.type, message.data.action))
    if known is None:
        actions = [action or "none" for kind, action in _FIELDS if kind == message.type]
        raise _problem("data.action", f"type {message.type} takes {' or '.join(actions)}")
    needed, possible = known
    given = {name for name, value in message.data if value is not None} - {"action"}
    problems = [(name, "is missing") for name in sorted(needed - given)]
    problems += [
        (name, "does not go with this action") for name in sorted(given - needed - possible)
    ]
    if problems:
        raise _problems([(f"data.{_WIRE_NAMES.get(n, n)}", what) for n, what in problems])


def _request(message: ClientMessage, session_id: str | None) -> Request:
    data = message.data
    if message.type == "auth":
        return Authenticate(data.token or "", data.session_id)
    if data.session_id is not None and data.session_id != session_id:
        raise _problem("data.sessionId", "is not the one of this connection")
    if message.type == "ping":
        return Ping()
    wanted = _names(data.message or "")
    if data.action == "unsubscribe":
        return _unsubscribe(wanted)
    return _subscribe(wanted, resumed=data.action == "resume")


def _subscribe(wanted: tuple[tuple[Watched, int | None], ...], resumed: bool) -> Subscribe:
    if any((after is None) == resumed for _, after in wanted):
        problem = "needs @NUMBER behind every name" if resumed else "takes no @NUMBER: use resume"
        raise _problem("data.message", problem)
    return Subscribe(wanted)


def _unsubscribe(unwanted: tuple[tuple[Watched, int | None], ...]) -> Unsubscribe:
    if any(after is not None for _, after in unwanted):
        raise _problem("data.message", "takes no @NUMBER with this action")
    return Unsubscribe(tuple(watched for watched, _ in unwanted))


def _names(text: str) -> tuple[tuple[Watched, int | None], ...]:
    words = text.split()
    if len(words) > MOST_NAMES:
        raise _problem("data.message", f"holds more than {MOST_NAMES} names")
    found = [_name(word, place) for place, word in enumerate(words, 1)]
    if not found:
        raise _problem("data.message", "holds no name")
    if len({watched for watched, _ in found}) < len(found):
        raise _problem("data.message", "holds a name twice")
    return tuple(found)


def _name(word: str, place: int) -> tuple[Watched, int | None]:
    match = _NAME.fullmatch(word)
    if match is None:
        raise _problem("data.message", f"name {place} is not job:ID, run:ID, jobs or runs")
    kind = match["kind"] or _KIND_OF[match["all"]]
    after = match["after"]
    return Watched(kind, match["id"]), None if after is None else int(after)


def _problem(where: str, problem: str) -> Invalid:
    return _problems([(where, problem)])


def _problems(found: Iterable[tuple[str, str]]) -> Invalid:
    problems = [{"where": where, "problem": problem} for where, problem in found]
    first = problems[0]
    message = f"{first['where']}: {first['problem']}"
    return Invalid(message, problems=problems, count=len(problems))


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
