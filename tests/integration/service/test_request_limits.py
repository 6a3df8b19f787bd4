"""What is wrong with a body is said before anything is done with it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Response, request
from flask.testing import FlaskClient
from pydantic import Field
from werkzeug.test import TestResponse

from service.answers import RequestModel, answer
from service.app import create_app
from service.bodies import streamed
from service.bootstrap import Wiring
from service.context import public
from service.openapi import feature

SECRET = "alice@example.com"
LIMIT = 2 * 1024 * 1024


class Note(RequestModel):
    """Something to be repeated."""

    note_text: str
    tags: dict[str, Any] = Field(default_factory=dict)


Post = Callable[..., TestResponse]


@pytest.fixture
def asker(wiring: Wiring) -> FlaskClient:
    """A client of the application with two further routes."""
    api = feature("notes", "Notes", "For tests.")

    @api.post("/v1/notes")
    @public
    def repeat(body: Note) -> Response:
        """Repeat a note."""
        return answer({"length": len(body.note_text)})

    @api.put("/v1/bytes")
    @public
    @streamed
    def count() -> Response:
        """Count bytes."""
        request.max_content_length = 10
        return answer({"length": len(request.stream.read())})

    app = create_app(wiring)
    app.register_api(api)
    return app.test_client()


@pytest.fixture
def post(asker: FlaskClient) -> Post:
    def send(body: Any, content_type: str | None = "application/json") -> TestResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asker.post("/v1/notes", data=data, content_type=content_type)

    return send


def test_well_formed_body_is_taken(post: Post) -> None:
    assert post({"noteText": "héllo"}).json == {"length": 5}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"noteText": NaN}', b"\xff", b"{'a': 1}", b'{"noteText": "\\udc00 x"}', b"\0"],
)
def test_malformed_json_is_a_bad_request(post: Post, body: bytes) -> None:
    refusal = post(body)
    assert (refusal.status_code, refusal.json["error"]["code"]) == (400, "bad_request")  # type: ignore[index]


@pytest.mark.parametrize("body", [[], 1, None, "{}", "[[[[[[[[[[[[[[[[[[[[[[[[[["])
def test_json_that_is_no_object_is_refused(post: Post, body: Any) -> None:
    assert post(body).status_code == 422


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_other_media_types_are_refused(post: Post, content_type: str | None) -> None:
    assert post({"noteText": "x"}, content_type).status_code == 415


def test_fields_that_are_wrong_are_named_and_not_repeated(post: Post) -> None:
    refusal = post({"noteText": [SECRET], SECRET: SECRET})
    assert refusal.status_code == 422
    assert "noteText" in refusal.text
    assert SECRET not in refusal.text


def test_oversized_body_is_refused_unread(asker: FlaskClient) -> None:
    body = io.BytesIO(b"x" * 100)
    told = {"CONTENT_LENGTH": str(LIMIT + 1)}
    refusal = asker.post(
        "/v1/notes", input_stream=body, content_type="application/json", environ_overrides=told
    )
    assert refusal.status_code == 413
    assert body.tell() == 0


def test_oversized_body_is_refused_where_none_is_expected(asker: FlaskClient) -> None:
    told = {"CONTENT_LENGTH": str(LIMIT + 1)}
    assert asker.get("/healthz", environ_overrides=told).status_code == 413


def test_oversized_body_of_no_told_length_is_refused(asker: FlaskClient) -> None:
    body = io.BytesIO(b'{"noteText": "' + b"x" * LIMIT + b'"}')
    refusal = asker.post(
        "/v1/notes",
        input_stream=body,
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert refusal.status_code == 413


def test_deep_body_is_refused(post: Post) -> None:
    assert post({"noteText": "x", "tags": {"a": nested(18)}}).status_code == 200
    assert post({"noteText": "x", "tags": {"a": nested(19)}}).status_code == 400
    assert post(b'{"a":' * 100_000).status_code == 400


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


def test_body_of_too_many_values_is_refused(post: Post) -> None:
    assert post({"noteText": "x", "tags": {"a": [0] * 100_001}}).status_code == 413


def test_view_of_bytes_has_a_limit_of_its_own(asker: FlaskClient) -> None:
    assert asker.put("/v1/bytes", data=b"0123456789").json == {"length": 10}
    assert asker.put("/v1/bytes", data=b"0123456789a").status_code == 413
