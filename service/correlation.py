"""The correlation id: taken from the request or made, returned, and in every log line between."""

from __future__ import annotations

import re
import uuid

import structlog
from flask import Flask, Response, g, request

from service.bootstrap import Wiring

HEADER = "X-Correlation-ID"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
"""Of https://www.w3.org/TR/trace-context/, version 00; a later version may have more to it."""


def install(app: Flask, wiring: Wiring) -> None:
    """Give every request an id. To be installed first, so that no answer is without one."""
    del wiring

    @app.before_request
    def begin() -> None:
        g.correlation_id = correlation_id_of(request.headers.get(HEADER))
        g.traceparent = traceparent_of(request.headers.get("traceparent"))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(correlation_id=g.correlation_id)

    @app.after_request
    def tell(response: Response) -> Response:
        response.headers[HEADER] = g.correlation_id
        return response

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        structlog.contextvars.clear_contextvars()


def correlation_id_of(given: str | None) -> str:
    """The id that was given if it is harmless, else a new one: it goes into headers and logs."""
    if given is not None and _ID.fullmatch(given):
        return given
    return uuid.uuid4().hex


def traceparent_of(given: str | None) -> str | None:
    """The trace context that was given, if it is well formed."""
    if given is not None and _TRACEPARENT.fullmatch(given):
        return given
    return None
