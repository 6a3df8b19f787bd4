"""GraphQL, over HTTP as the GraphQL working group's draft has it for ``application/json``.

What is no GraphQL request at all is refused by its status, as everywhere. To all others the answer
is 200, and ``errors`` say what went wrong.
"""

from __future__ import annotations

from typing import Any

import strawberry
from flask import Response, g, request
from flask_openapi.blueprint import APIBlueprint
from graphql import GraphQLError, get_operation_ast
from pydantic import Field

from dsr.desk import open_desk
from dsr.lake import offer_of
from schemas.errors import Invalid, RequestError, UnsupportedType
from service.answers import AnswerModel, RequestModel, answer
from service.bootstrap import Wiring
from service.dsr.taking import Intake
from service.graphql.errors import told
from service.graphql.limits import parsed
from service.graphql.schema import Asking, schema_of
from service.openapi import feature


class GraphqlRequest(RequestModel):
    """One operation; several in an array are not taken."""

    query: str = Field(min_length=1, description="The document.")
    variables: dict[str, Any] | None = None
    operation_name: str | None = Field(default=None, max_length=200)
    extensions: dict[str, Any] | None = Field(default=None, description="Not looked at.")


class GraphqlAnswer(AnswerModel):
    """What came of it: `data`, `errors`, or both where only a part went wrong."""

    data: dict[str, Any] | None = None
    errors: list[dict[str, Any]] = Field(default_factory=list)


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The route."""
    api = feature("graphql", "GraphQL", "Data subject requests by GraphQL.")
    known = (wiring.parameters, wiring.clock, wiring.model, offer_of(wiring.settings))
    desk = open_desk(wiring.settings.dsr, wiring.state, *known)
    intake = Intake(desk, wiring.idempotency, wiring.observer.metrics.count_submission)
    schema = schema_of(wiring.settings.service.graphql.introspection)

    @api.post("/graphql", responses={200: GraphqlAnswer})
    def ask_graphql(body: GraphqlRequest) -> Response:
        """Look requests up, or submit them, by GraphQL."""
        if request.mimetype != "application/json":
            raise UnsupportedType("the body has to be JSON: send Content-Type: application/json")
        data, errors = _outcome(wiring, intake, schema, body)
        if not errors:
            return answer({"data": data})
        shown = told(errors, wiring.clock())
        g.error_code = shown[0]["extensions"]["code"]
        return answer({"data": data, "errors": shown})

    return api


def _outcome(
    wiring: Wiring, intake: Intake, schema: strawberry.Schema, asked: GraphqlRequest
) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
    """The data, and what went wrong. Raises nothing that is the document's fault."""
    variables = asked.variables or {}
    try:
        document = parsed(asked.query, variables, wiring.settings.service.graphql)
        if get_operation_ast(document, asked.operation_name) is None:
            raise Invalid("operationName: name one of the operations of the document")
        result = schema.execute_sync(
            asked.query,
            variable_values=variables,
            context_value=Asking(wiring, intake, document),
            operation_name=asked.operation_name,
        )
    except RequestError as error:
        return None, [GraphQLError(error.message, original_error=error)]
    return result.data, result.errors or []
