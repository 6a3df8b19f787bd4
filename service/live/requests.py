"""What clients say, taken apart. Pure; ``docs/websocket.md`` is the specification.

A client's message is ``{"type", "data": {"action", "message", "sessionId", "token"}}``. What it
watches is named in ``message``: ``job:ID``, ``run:ID``, ``dsr:ID``, or all of a kind within reach,
``jobs``, ``runs`` and ``dsrs``; behind an ``@`` stands the number to go on from. No error repeats
what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationError

from schemas.errors import Invalid
from service.answers import RequestModel
from service.errors import invalid
from service.live.messages import COLLECTIONS, Watched

MOST_BYTES = 128 * 1024
"""The largest message: all fields at their longest, with every character escaped."""

MOST_NAMES = 100
"""Names in one message, and watches of one connection."""

_LONGEST_NUMBER = 18
_NAME = re.compile(
    rf"(?:(?P<kind>{'|'.join(COLLECTIONS)}):(?P<id>[A-Za-z0-9][A-Za-z0-9_-]{{0,63}})"
    rf"|(?P<all>{'|'.join(COLLECTIONS.values())}))"
    rf"(?:@(?P<after>[0-9]{{1,{_LONGEST_NUMBER}}}))?"
)
_KIND_OF = {name: kind for kind, name in COLLECTIONS.items()}


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
        raise _problem(
            "data.message", f"name {place} is not job:ID, run:ID, dsr:ID, jobs, runs or dsrs"
        )
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
