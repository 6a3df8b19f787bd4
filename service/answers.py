"""Models of requests and answers, and JSON as the service writes and reads it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response
from flask.json.provider import JSONProvider
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from werkzeug.exceptions import PreconditionFailed

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class RequestModel(BaseModel):
    """What a client sends: names in camelCase, and none that is not known."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True
    )

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As the base's; kept, because the framework asks for it at every request."""
        return _schema_of(cls, args, tuple(sorted(kwargs.items())))


@cache
def _schema_of(
    model: type[RequestModel], args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]
) -> dict[str, Any]:
    return super(RequestModel, model).model_json_schema(*args, **dict(kwargs))


class AnswerModel(BaseModel):
    """What a client is sent: names in camelCase, times in UTC."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


def answer(
    body: BaseModel | Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer in JSON."""
    if isinstance(body, BaseModel):
        content = body.model_dump_json(by_alias=True).encode()
    else:
        content = msgspec.json.encode(body)
    return Response(content, status, headers, mimetype="application/json")


def conditional(response: Response, environ: WSGIEnvironment, **ranges: Any) -> Response:
    """This answer, or what RFC 9110 has in its stead for the conditions of the request.

    ``ranges`` are those of werkzeug's ``make_conditional``. Raises ``PreconditionFailed``, and
    ``RequestedRangeNotSatisfiable``.
    """
    response.make_conditional(environ, **ranges)
    if response.status_code == PreconditionFailed.code:
        response.close()
        raise PreconditionFailed
    return response


class JsonProvider(JSONProvider):
    """JSON by msgspec: RFC 3339 times, and none of what only Python takes for JSON."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        del kwargs
        return msgspec.json.encode(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Raises ``ValueError``, as the framework expects."""
        del kwargs
        try:
            return msgspec.json.decode(s)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError("malformed JSON") from error
