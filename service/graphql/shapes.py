"""The types of the schema. What they hold is what REST shows: mappings, by camelCase names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import strawberry
from pydantic.alias_generators import to_camel
from strawberry.scalars import JSON


def member(source: Mapping[str, Any], name: str) -> Any:
    """The value of a field: null for what is shown only to others."""
    return source.get(to_camel(name))


@strawberry.type(name="Risk", description="How a request was judged: 0 is harmless.")
class RiskType:
    score: float
    reasons: list[str]


@strawberry.type(name="Review", description="Who reviewed a request.")
class ReviewType:
    at: str
    by: str
    approved: bool


@strawberry.type(name="DsrFailure", description="Why a request failed or was denied.")
class FailureType:
    code: str
    message: str | None


@strawberry.type(name="MaskedIdentity", description="An identity, hidden but for its first letter.")
class IdentityType:
    type: str
    format: str
    masked: str


@strawberry.type(name="DsrRequest", description="A data subject request.")
class DsrType:
    id: strawberry.ID
    type: str
    regulation: str
    request_type: str
    status: str
    received_at: str
    updated_at: str
    due_at: str
    days_left: int
    confirm_by: str | None
    extended_at: str | None
    risk: RiskType
    review: ReviewType | None
    cancel_requested: bool
    parked_reason: str | None
    closed_at: str | None
    minimised_at: str | None
    processor: str | None
    attempts: int
    expected_completion_at: str | None
    results_count: int | None
    lake: JSON | None = strawberry.field(
        description="The lake's part, as `GET /v1/dsr/{id}` has it."
    )
    version: int
    error: FailureType | None
    identities: list[IdentityType] | None = strawberry.field(
        description="Only of dsrRequest, for who holds dsr:approve; as the fields after it."
    )
    results_url: str | None
    lake_results_url: str | None
    extension_reason: str | None
    review_reason: str | None


@strawberry.type(name="DsrRequests", description="Requests, newest first.")
class DsrsType:
    items: list[DsrType]
    next_cursor: str | None = strawberry.field(
        description="Ask for the next page with `after`; null on the last one."
    )


@strawberry.input(name="IdentityInput", description="One identity of a subject.")
class IdentityInput:
    type: str
    value: str
    format: str | None = strawberry.UNSET


@strawberry.input(name="SubmitDSRInput", description="As the body of `POST /v1/dsr`.")
class SubmitInput:
    type: str
    email: str | None = strawberry.UNSET
    identities: list[IdentityInput] | None = strawberry.UNSET
    regulation: str | None = strawberry.UNSET
    extensions: JSON | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET, description="As the header `Idempotency-Key`, which it overrides."
    )
