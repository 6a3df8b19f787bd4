"""What a client is told of an error, and what not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestedRangeNotSatisfiable,
    RequestEntityTooLarge,
    RequestURITooLarge,
    UnsupportedMediaType,
)

from schemas.errors import (
    AccessDenied,
    Conflict,
    InputError,
    LetheError,
    NotAuthenticated,
    RateLimited,
    SecretUnusable,
    StoreFull,
    StoreUnavailable,
    UsageError,
)
from service.errors import fault_of, invalid

SECRET = "alice.example@example.com"
AT = datetime(2026, 11, 21, tzinfo=UTC)


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cat"]
    id: UUID


class Dog(BaseModel):
    kind: Literal["dog"]


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []
    names: dict[str, int] = {}
    count: int = 0


def told(value: Any) -> str:
    try:
        Everything.model_validate(value)
    except ValidationError as error:
        fault = fault_of(invalid(error, frozenset({"pets", "names", "count", "kind", "id"})))
        return str(fault.body("c-1", AT))
    return ""


def test_a_full_disk_is_no_mistake_and_its_place_is_not_told() -> None:
    fault = fault_of(StoreFull("/srv/files: No space left on device"))
    assert (fault.status, fault.code, fault.headers["Retry-After"]) == (503, "store_full", "60")
    assert "/srv" not in fault.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestEntityTooLarge(), "too_large"),
        (RequestURITooLarge(), "uri_too_long"),
        (UnsupportedMediaType(), "unsupported_type"),
        (RequestedRangeNotSatisfiable(), "requested_range_not_satisfiable"),
    ],
)
def test_code_does_not_follow_the_phrases_of_a_python(error: HTTPException, code: str) -> None:
    assert fault_of(error).code == code


def test_request_error_is_told_as_it_is() -> None:
    fault = fault_of(Conflict("it has ended", status="failed"))
    assert fault.body("c-1", AT) == {
        "error": {
            "type": "conflict",
            "code": "conflict",
            "message": "it has ended",
            "correlationId": "c-1",
            "timestamp": "2026-11-21T00:00:00Z",
            "details": {"status": "failed"},
        }
    }


@pytest.mark.parametrize("kind", [UsageError, InputError, AccessDenied, ValueError, KeyError])
def test_error_of_ours_is_not_told(kind: type[Exception]) -> None:
    fault = fault_of(kind(f"/srv/{SECRET}"))
    assert (fault.status, fault.code) == (500, "internal")
    assert SECRET not in str(fault.body("c-1", AT))


def test_store_that_does_not_answer_may_be_asked_again() -> None:
    fault = fault_of(StoreUnavailable("db.internal:5432 refused"))
    assert (fault.status, fault.type, fault.headers) == (503, "unavailable", {"Retry-After": "5"})
    assert "db.internal" not in fault.message


def test_secret_that_is_missing_is_a_matter_of_the_operators_and_named() -> None:
    error = SecretUnusable("SSM has no parameter /lethe/prod/dsr-seal-keys", parameter="seal-keys")
    fault = fault_of(error)
    assert (fault.status, fault.code, fault.type) == (503, "secret_unusable", "unavailable")
    assert "'seal-keys'" in fault.message
    assert "/lethe/prod" not in fault.message


def test_limited_client_is_told_when_to_come_back() -> None:
    fault = fault_of(RateLimited("too many", retry_after=17))
    assert (fault.headers["Retry-After"], fault.details) == ("17", {})


def test_unknown_client_is_told_how_to_make_itself_known() -> None:
    assert fault_of(NotAuthenticated("who?")).headers["WWW-Authenticate"].startswith("Bearer")


def test_framework_errors_have_our_words() -> None:
    assert fault_of(NotFound(f"no {SECRET}")).message == "there is nothing at this address"
    assert fault_of(MethodNotAllowed(["GET"])).headers == {"Allow": "GET"}


@pytest.mark.parametrize(
    "value",
    [
        {SECRET: 1},
        {"count": SECRET},
        {"names": {SECRET: "x"}},
        {"pets": [{"kind": SECRET}]},
        {"pets": [{"kind": "cat", "id": SECRET}]},
        {"pets": [{"kind": "cat", "id": "3", SECRET: 2}]},
        SECRET,
    ],
)
def test_invalid_input_is_never_repeated(value: Any) -> None:
    assert told(value)
    assert SECRET not in told(value)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.just(SECRET) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["pets", "names", "kind", "id", SECRET]), inner)
    ),
    max_leaves=8,
)


@given(JSON)
def test_no_input_at_any_place_is_repeated(value: Any) -> None:
    assert SECRET not in told(value)


def test_place_of_a_problem_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate({"pets": [{"kind": "cat", "id": "3"}]})
    error = invalid(caught.value, frozenset({"pets", "id"}))
    assert error.message == "pets.0.*.id: should be a UUID"


def test_many_problems_are_counted_and_some_are_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(list[int]).validate_python(["x"] * 1000)
    details: Mapping[str, Any] = invalid(caught.value, frozenset()).details
    assert (len(details["problems"]), details["count"]) == (20, 1000)


def test_every_error_of_the_tree_becomes_an_answer() -> None:
    def kinds(base: type[LetheError]) -> list[type[LetheError]]:
        return [base, *(k for sub in base.__subclasses__() for k in kinds(sub))]

    for kind in kinds(LetheError):
        assert 400 <= fault_of(kind("x")).status < 600
