"""Every error that a client is told of, made in one place and of one shape.

    {"error": {"type", "code", "message", "correlationId", "timestamp", "details"?}}

``type`` is one of a few families, by status; ``code`` says exactly what it is. A ``RequestError``
is told as it is. Of all other errors a client learns only that something is wrong here, for their
messages speak of paths, hosts and settings: these go to the log.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from flask import Flask, Response, g
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from werkzeug.exceptions import HTTPException

from schemas.errors import Invalid, LetheError, RequestError, SecretUnusable, StoreFull
from service.answers import answer
from service.bootstrap import Wiring
from service.context import correlation_id

_log = structlog.get_logger()

_TYPES: Mapping[int, str] = {
    401: "authentication",
    403: "authorization",
    404: "not_found",
    409: "conflict",
    412: "conflict",
    422: "validation",
    429: "rate_limit",
    503: "unavailable",
}

_MESSAGES: Mapping[int, str] = {
    400: "the request is not well formed",
    404: "there is nothing at this address",
    405: "this address does not take this method: the Allow header has those it takes",
    412: "it has changed, or is not what the request's conditions speak of",
    413: "the request is larger than is taken",
    415: "the body is of a media type that is not taken here",
    416: "there are no such bytes: the Content-Range header has the size",
}
"""What is said of errors that the framework raises."""

_CODES: Mapping[int, str] = {
    413: "too_large",
    414: "uri_too_long",
    415: "unsupported_type",
    416: "requested_range_not_satisfiable",
    422: "invalid",
}
"""Of errors that the framework raises, where the phrase of a status differs between Pythons."""

_KEPT_HEADERS = ("Allow", "Content-Range", "WWW-Authenticate", "Retry-After")
_RETRY_AFTER = 5
"""Seconds after which to come back when nobody knows better."""

_ROOM_AFTER = 60
"""Seconds after which to look whether somebody has made room, or set what was missing."""


class ErrorDetail(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    type: str = Field(description="The family: `validation`, `not_found`, `unavailable` ...")
    code: str = Field(description="What exactly it is; programs should look at this.")
    message: str = Field(description="What is wrong, where, and what to do, for people.")
    correlation_id: str = Field(description="Quote this when you ask for help.")
    timestamp: datetime
    details: dict[str, Any] | None = Field(default=None, description="More, by the code.")


class ErrorBody(BaseModel):
    """The body of every answer whose status is 400 or more."""

    error: ErrorDetail


@dataclass(frozen=True)
class Fault:
    """An error as a client is told of it."""

    status: int
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The family that it belongs to."""
        return _TYPES.get(self.status, "internal" if self.status >= 500 else "request")

    def body(self, correlation: str, at: datetime) -> dict[str, Any]:
        """The body of the answer, or of the message on a socket."""
        detail = ErrorDetail(
            type=self.type,
            code=self.code,
            message=self.message,
            correlation_id=correlation,
            timestamp=at,
            details=dict(self.details) or None,
        )
        return ErrorBody(error=detail).model_dump(mode="json", by_alias=True, exclude_none=True)


def install(app: Flask, wiring: Wiring) -> None:
    """Answer every exception."""

    def tell(error: Exception) -> Response:
        fault = tell_of(error)
        return answer(fault.body(correlation_id(), wiring.clock()), fault.status, fault.headers)

    app.register_error_handler(Exception, tell)
    app.register_error_handler(HTTPException, tell)


def tell_of(error: Exception) -> Fault:
    """What a client is told of an exception; what it is not told is logged."""
    fault = fault_of(error)
    g.error_code = fault.code
    _note(error, fault)
    return fault


def fault_of(error: Exception) -> Fault:
    """What a client is told of an exception."""
    if isinstance(error, RequestError):
        return _of_request(error)
    if isinstance(error, ValidationError):
        return _of_request(invalid(error, frozenset()))
    if isinstance(error, HTTPException):
        return _of_framework(error)
    if isinstance(error, LetheError) and error.retryable:
        message = "something that this needs does not answer: try again soon"
        return Fault(503, error.code, message, headers={"Retry-After": str(_RETRY_AFTER)})
    if isinstance(error, SecretUnusable):
        return _of_secret(error)
    if isinstance(error, StoreFull):
        message = "there is no room left here to keep this: try again when there is"
        return Fault(503, error.code, message, headers={"Retry-After": str(_ROOM_AFTER)})
    message = "something went wrong here: quote the correlation id when you report it"
    return Fault(500, "internal", message)


def _of_secret(error: SecretUnusable) -> Fault:
    """Names the secret, which the guide does, too, and not where it is kept: that the log says."""
    name = error.details.get("parameter")
    which = "that the log names" if name is None else repr(name)
    message = (
        "this service lacks a secret that this needs: have its operators set the parameter "
        f"{which}, then try again"
    )
    return Fault(503, error.code, message, headers={"Retry-After": str(_ROOM_AFTER)})


def invalid(error: ValidationError, known: frozenset[str]) -> Invalid:
    """What is wrong with a request, by place; ``known`` are the names of fields of our own.

    Other names are the client's, and may be anybody's address: they are shown as ``*``.
    """
    problems = [
        {"where": _place(problem["loc"], known), "problem": _problem(problem)}
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    shown = problems[:_MOST_PROBLEMS]
    first = shown[0]
    message = f"{first['where']}: {first['problem']}" if first["where"] else first["problem"]
    return Invalid(message, problems=shown, count=len(problems))


_MOST_PROBLEMS = 20
_ECHOING = {
    "union_tag_invalid": "is of no kind that is known here",
    "uuid_parsing": "should be a UUID",
    "url_parsing": "should be a URL",
}
"""Pydantic's messages of these kinds repeat what they were given."""


def _place(location: tuple[int | str, ...], known: frozenset[str]) -> str:
    parts = (str(p) if isinstance(p, int) or p in known else "*" for p in location)
    return ".".join(parts)


def _problem(problem: Any) -> str:
    text = _ECHOING.get(problem["type"], problem["msg"])
    return str(text).removeprefix("Value error, ")


def _of_request(error: RequestError) -> Fault:
    details = dict(error.details)
    return Fault(error.http_status, error.code, error.message, details, _headers_of(error, details))


def _headers_of(error: RequestError, details: dict[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    retry_after = details.pop("retry_after", None)
    if retry_after is not None or error.retryable:
        headers["Retry-After"] = str(_RETRY_AFTER if retry_after is None else retry_after)
    if error.http_status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="lethe"'
    return headers


def _of_framework(error: HTTPException) -> Fault:
    status = error.code or 500
    phrase = HTTPStatus(status).phrase
    headers = {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
    message = _MESSAGES.get(status, phrase.lower())
    code = _CODES.get(status, phrase.lower().replace(" ", "_"))
    return Fault(status, code, message, headers=headers)


def _note(error: Exception, fault: Fault) -> None:
    """Log what the client is not told; never an exception's own message, unless it is ours."""
    if isinstance(error, (RequestError, HTTPException)) or fault.status < 500:
        return
    if isinstance(error, LetheError):
        _log.error("a request failed", code=error.code, message=error.message)
        return
    _log.error("a request failed by a mistake", error=type(error).__name__, places=places_of(error))


def places_of(error: Exception) -> list[str]:
    """Where an exception happened, innermost last: what can be logged of one that is not ours."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
