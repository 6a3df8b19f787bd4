"""The OpenAPI document: what every operation has in common, and the application that keeps it.

A feature begins with ``feature(...)``, so that its operations are tagged, secured, named after
their functions, and declare the errors that any of them may answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NoReturn

from flask import current_app
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.info import Info
from flask_openapi.models.tag import Tag
from flask_openapi.openapi import OpenAPI
from pydantic import ValidationError

from service.errors import ErrorBody, invalid

VERSION = "3.1.1"
"""Of the specification: what the tools around it know, Swagger UI among them."""

SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
"""Either lets a client in."""

_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "basic": {"type": "http", "scheme": "basic"},
}
_ERRORS: dict[int | str, Any] = dict.fromkeys(
    (400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 500, 503), ErrorBody
)


class Api(OpenAPI):
    """The application."""

    def __init__(self) -> None:
        super().__init__(
            "service",
            info=Info(title="Lethe", version="1.0.0", description=_DESCRIPTION),
            security_schemes=_SCHEMES,
            validation_error_model=ErrorBody,
            validation_error_callback=_refuse,
            doc_ui=False,
            static_folder=None,
        )
        self.openapi_version = VERSION

    @cached_property
    def field_names(self) -> frozenset[str]:
        """The names of all fields and parameters that the document speaks of."""
        return frozenset(_names(self.api_doc))


_DESCRIPTION = """\
Enrichment of contact files, data subject requests, and the runs of all of Lethe's pipelines.

Errors are all of one shape. `X-Correlation-ID` is taken from a request or made, and returned.
"""


def feature(name: str, title: str, description: str, *, secured: bool = True) -> APIBlueprint:
    """The blueprint of one feature; ``secured`` is what its operations say of themselves."""
    return APIBlueprint(
        name,
        f"service.routes.{name}",
        abp_tags=[Tag(name=title, description=description)],
        abp_security=SECURITY if secured else [],
        abp_responses=_ERRORS,
        operation_id_callback=_operation_id,
    )


def _operation_id(*, name: str, **_: str) -> str:
    return name


def _refuse(error: ValidationError) -> NoReturn:
    app: Any = current_app
    raise invalid(error, app.field_names)


def _names(node: Any) -> Iterator[str]:
    """The names of properties, and of parameters, at any depth."""
    if isinstance(node, list):
        for item in node:
            yield from _names(item)
    elif isinstance(node, dict):
        yield from node.get("properties", {})
        if "in" in node and "name" in node:
            yield node["name"]
        for item in node.values():
            yield from _names(item)
