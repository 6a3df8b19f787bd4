"""What went wrong, in GraphQL's shape; what is said of it is ``service.errors``' own.

    {"message", "locations"?, "path"?,
     "extensions": {"type", "code", "correlationId", "timestamp", "retryAfter"?, "details"?}}

Messages of GraphQL itself repeat names and values of the document and its variables, in which
anybody's address may be. So they are not told, only where in the document they point.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from graphql import GraphQLError

from schemas.errors import Invalid
from service.context import correlation_id
from service.errors import tell_of

_MOST_ERRORS = 20

_UNFIT = (
    "the document, or its variables, do not fit the schema at this place: compare the names and "
    "types of fields, arguments and variables"
)


def told(errors: Sequence[GraphQLError], now: datetime) -> list[dict[str, Any]]:
    """What a client is told of these; of a flood, of the first ones."""
    return [_told(error, now) for error in errors[:_MOST_ERRORS]]


def _told(error: GraphQLError, now: datetime) -> dict[str, Any]:
    fault = tell_of(cause_of(error))
    said = fault.body(correlation_id(), now)["error"]
    message = said.pop("message")
    if "Retry-After" in fault.headers:
        said["retryAfter"] = int(fault.headers["Retry-After"])
    shown: dict[str, Any] = {"message": message, "extensions": said}
    if error.locations:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    if error.path:
        shown["path"] = [*error.path]
    return shown


def cause_of(error: GraphQLError) -> Exception:
    """What was raised; ``Invalid`` for what GraphQL itself finds wrong with a request."""
    cause: Exception = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return Invalid(_UNFIT) if isinstance(cause, GraphQLError) else cause
