"""What can be asked by GraphQL, and who answers it: the functions that REST calls, and no others.

Values are checked by REST's own models, so what one refuses the other does. Each root field counts
as a request to the address that does the same, and is measured under its name in the schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

import strawberry
from flask import current_app, request
from graphql import DocumentNode, GraphQLError
from pydantic import BaseModel, Field, StringConstraints, ValidationError
from strawberry.extensions import DisableIntrospection, SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types.execution import ExecutionContext

from schemas.dsr import DsrStatus
from schemas.errors import NotFound, Unavailable
from schemas.identities import LONGEST
from service.answers import RequestModel
from service.bootstrap import Wiring
from service.context import principal
from service.dsr.shown import DsrSearch, NewDsr
from service.dsr.taking import Intake, one_shown, page_shown, submitter_here
from service.errors import invalid
from service.flags import Flags
from service.graphql.shapes import DsrsType, DsrType, IdentityInput, SubmitInput, member
from service.idempotency import HEADER
from service.limits.enforce import count_as
from service.openapi import Api

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Model = TypeVar("Model", bound=BaseModel)


class ByEmail(RequestModel):
    """Which requests, as ``dsrRequestsByEmail`` names it."""

    email: Annotated[str, StringConstraints(max_length=LONGEST)]
    status: DsrStatus | None = None
    first: int = Field(default=50, ge=1, le=200)
    after: str | None = Field(default=None, max_length=200)

    def search(self) -> DsrSearch:
        """The same as REST has it."""
        return DsrSearch(email=self.email, status=self.status, cursor=self.after, limit=self.first)


@dataclass(frozen=True)
class Asking:
    """What resolvers work with; ``document`` is what is asked, and within the limits."""

    wiring: Wiring
    intake: Intake
    document: DocumentNode

    @contextmanager
    def root(self, field: str, endpoint: str) -> Iterator[None]:
        """Count and measure a root field. Raises ``RateLimited``."""
        count_as(self.wiring.limiter, self.wiring.policy, endpoint)
        with self.wiring.observer.operations.measure(f"graphql.{field}"):
            yield


Info = strawberry.Info[Asking, None]


@strawberry.type
class Query:
    """What can be looked up."""

    @strawberry.field(description="A request; null if there is none, or none within reach.")
    def dsr_request(self, info: Info, id: strawberry.ID) -> DsrType | None:
        asking = info.context
        with asking.root("dsrRequest", "GET /v1/dsr/{request_id}"):
            try:
                # An id that can be none is none, as it is no address.
                known = _ID.fullmatch(id)
                return _of_type(one_shown(asking.intake.desk, id)) if known else None
            except NotFound:
                return None

    @strawberry.field(description="The requests of a subject, newest first.")
    def dsr_requests_by_email(
        self,
        info: Info,
        email: str,
        status: str | None = None,
        first: int | None = 50,
        after: str | None = None,
    ) -> DsrsType | None:
        asking = info.context
        given = {"email": email, "status": status, "first": first, "after": after}
        with asking.root("dsrRequestsByEmail", "POST /v1/dsr:search"):
            query = _checked(ByEmail, {k: v for k, v in given.items() if v is not None})
            return _of_type(page_shown(asking.intake.desk, query.search()))


@strawberry.type
class Mutation:
    """What can be done."""

    @strawberry.mutation(name="submitDSR", description="Submit a request, as `POST /v1/dsr`.")
    def submit_dsr(self, info: Info, input: SubmitInput) -> DsrType | None:
        asking = info.context
        with asking.root("submitDSR", "POST /v1/dsr"):
            return _of_type(_submitted(asking, input))


class _Parsed(SchemaExtension):
    """Has the document used that was parsed within the limits."""

    execution_context: ExecutionContext

    def on_parse(self) -> Iterator[None]:
        self.execution_context.graphql_document = self.execution_context.context.document
        yield


class _Schema(strawberry.Schema):
    """Leaves it to ``service.errors`` what is logged of an error: messages may be personal."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        del errors, execution_context


def schema_of(introspection: bool) -> strawberry.Schema:
    """The schema; with ``introspection`` it can be asked for."""
    extensions: list[Callable[[], SchemaExtension]] = [_Parsed]
    if not introspection:
        extensions.append(DisableIntrospection)
    return _Schema(
        query=Query,
        mutation=Mutation,
        extensions=extensions,
        config=StrawberryConfig(default_resolver=member),
    )


def _submitted(asking: Asking, given: SubmitInput) -> Mapping[str, Any]:
    _refuse_if_off(asking.wiring)
    submitter = submitter_here()
    body = _body_of(given)
    item = _checked(NewDsr, body)
    key = given.idempotency_key
    if key is None or key is strawberry.UNSET:
        key = request.headers.get(HEADER)
    attempt = asking.wiring.idempotency.attempt_at("POST /v1/dsr", body, key, principal())
    taken: Mapping[str, Any] = asking.intake.once(item, submitter, attempt).get_json()
    return taken


def _refuse_if_off(wiring: Wiring) -> None:
    if not Flags(wiring.settings.service.flags).enabled("dsr"):
        raise Unavailable("dsr is switched off here for now", flag="dsr")


def _body_of(given: SubmitInput) -> dict[str, Any]:
    """The same as the body of ``POST /v1/dsr``: what was not given is not in it."""
    body = _given(given, "type", "email", "regulation", "extensions")
    if given.identities is not strawberry.UNSET:
        body["identities"] = given.identities and [
            _given(one, "type", "value", "format") for one in given.identities
        ]
    return body


def _given(source: SubmitInput | IdentityInput, *names: str) -> dict[str, Any]:
    values = {name: getattr(source, name) for name in names}
    return {name: value for name, value in values.items() if value is not strawberry.UNSET}


def _checked(model: type[Model], given: Mapping[str, Any]) -> Model:
    """Raises ``Invalid``, which names no more than the fields."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        known = cast(Api, current_app).field_names | ByEmail.model_fields.keys()
        raise invalid(error, known) from None


def _of_type(shown: Mapping[str, Any]) -> Any:
    """What is shown, as resolvers declare to return it: ``member`` reads its fields."""
    return shown
