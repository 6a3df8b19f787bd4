"""Data subject requests by GraphQL: the same as by REST, for the same people."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.bootstrap import Wiring
from tests.integration.service.principals import OPERATOR, VIEWER, Client, somebody

PRIVACY = somebody("privacy", subject="privacy-1")
STRANGER = somebody("privacy", subject="privacy-9", organization="org-9")
EMAIL = "ana.canary@example.com"
DELETE = {"type": "gdpr_delete", "email": EMAIL}
SUBMIT = "mutation($input: SubmitDSRInput!) { submitDSR(input: $input) { id status type } }"
SHOW = "query($id: ID!) { dsrRequest(id: $id) { id identities { masked } } }"
LIST = """query($email: String!, $first: Int, $after: String, $status: String) {
  dsrRequestsByEmail(email: $email, first: $first, after: $after, status: $status) {
    items { id status } nextCursor } }"""


@pytest.fixture
def privacy(client: Client) -> FlaskClient:
    return client(PRIVACY)


def ask(asker: FlaskClient, query: str, headers: Any = None, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    answer = asker.post("/graphql", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "canary" not in answer.text
    for error in answer.get_json().get("errors", []):
        assert error["extensions"]["correlationId"] == answer.headers["X-Correlation-ID"]
    return answer.get_json()


def submitted(asker: FlaskClient, headers: Any = None, **more: Any) -> str:
    answer = ask(asker, SUBMIT, headers, input={**DELETE, **more})
    return str(answer["data"]["submitDSR"]["id"])


def error_of(answer: Any) -> tuple[str, Any]:
    (error,) = answer["errors"]
    return error["extensions"]["code"], error["extensions"].get("details")


def test_what_is_submitted_by_graphql_is_read_by_rest(privacy: FlaskClient) -> None:
    request_id = submitted(privacy)
    shown = privacy.get(f"/v1/dsr/{request_id}").get_json()
    assert (shown["type"], shown["status"]) == ("gdpr_delete", "queued")
    assert shown["identities"][0]["masked"].startswith("a*")


def test_every_field_of_rest_is_the_same_by_graphql(privacy: FlaskClient) -> None:
    made = privacy.post("/v1/dsr", json=DELETE).get_json()
    shown = privacy.get(f"/v1/dsr/{made['id']}").get_json()
    within = {
        "risk": "{ score reasons }",
        "review": "{ at by approved }",
        "error": "{ code message }",
        "identities": "{ type format masked }",
    }
    fields = " ".join(f"{name} {within.get(name, '')}" for name in shown)
    query = f"query($id: ID!) {{ dsrRequest(id: $id) {{ {fields} }} }}"
    assert ask(privacy, query, id=made["id"]) == {"data": {"dsrRequest": shown}}


def test_requests_of_a_subject_come_in_pages_newest_first(privacy: FlaskClient) -> None:
    older = submitted(privacy)
    newer = submitted(privacy, type="export")
    page = ask(privacy, LIST, email=EMAIL, first=1)["data"]["dsrRequestsByEmail"]
    assert [item["id"] for item in page["items"]] == [newer]
    rest = ask(privacy, LIST, email=EMAIL, after=page["nextCursor"], status="queued")
    assert rest["data"]["dsrRequestsByEmail"] == {
        "items": [{"id": older, "status": "queued"}], "nextCursor": None,
    }  # fmt: skip


@pytest.mark.parametrize("request_id", ["canary", "ana.canary@example.com", "", "a" * 1000])
def test_unknown_ids_are_null(privacy: FlaskClient, request_id: str) -> None:
    assert ask(privacy, SHOW, id=request_id) == {"data": {"dsrRequest": None}}


def test_ids_out_of_reach_are_null_alike(client: Client, privacy: FlaskClient) -> None:
    request_id = submitted(privacy)
    stranger = client(STRANGER)
    assert ask(stranger, SHOW, id=request_id) == {"data": {"dsrRequest": None}}
    assert ask(stranger, LIST, email=EMAIL)["data"]["dsrRequestsByEmail"]["items"] == []


def test_who_may_not_approve_sees_no_identity(client: Client, privacy: FlaskClient) -> None:
    shown = ask(client(VIEWER), SHOW, id=submitted(privacy))["data"]["dsrRequest"]
    assert shown["identities"] is None


def test_who_may_not_submit_is_told_the_right(client: Client) -> None:
    answer = ask(client(OPERATOR), SUBMIT, input=DELETE)
    assert error_of(answer) == ("forbidden", {"right": "dsr:create"})
    assert answer["data"] == {"submitDSR": None}


@pytest.mark.parametrize(("query", "asked"), [(SHOW, {"id": "x"}), (LIST, {"email": EMAIL})])
def test_who_may_not_read_is_told_the_right(client: Client, query: str, asked: Any) -> None:
    answer = ask(client(somebody("submitter")), query, **asked)
    assert error_of(answer) == ("forbidden", {"right": "dsr:read"})


def test_who_is_not_known_is_refused_as_everywhere(client: Client) -> None:
    assert client(None).post("/graphql", json={"query": "{__typename}"}).status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "gdpr_delete"},
        {"type": "canary", "email": EMAIL},
        {"type": "gdpr_delete", "email": "ana canary"},
        {"type": "gdpr_delete", "regulation": "ccpa", "email": EMAIL},
        {"type": "export", "identities": []},
        {"type": "export", "identities": [{"type": "canary", "value": EMAIL}]},
        {**DELETE, "extensions": {"x.example": {"a": "canary" * 5000}}},
        {**DELETE, "extensions": ["canary"]},
    ],
)
def test_what_rest_refuses_graphql_refuses_in_the_same_words(
    privacy: FlaskClient, wrong: Any
) -> None:
    error = privacy.post("/v1/dsr", json=wrong).get_json()["error"]
    (same,) = ask(privacy, SUBMIT, input=wrong)["errors"]
    assert (same["message"], same["extensions"]["code"]) == (error["message"], error["code"])


@pytest.mark.parametrize("wrong", [{"first": 0}, {"first": 201}, {"after": "canary"}])
def test_wrong_page_is_refused_by_the_name_of_its_argument(
    privacy: FlaskClient, wrong: Any
) -> None:
    assert error_of(ask(privacy, LIST, email=EMAIL, **wrong))[0] == "invalid"


def test_key_of_the_input_makes_a_repeat_one_request(privacy: FlaskClient) -> None:
    first, second = (submitted(privacy, idempotencyKey="ticket-4711") for _ in range(2))
    assert first == second


def test_key_is_the_same_key_by_rest(privacy: FlaskClient) -> None:
    headers = {"Idempotency-Key": "ticket-4711"}
    first = submitted(privacy, headers)
    assert privacy.post("/v1/dsr", json=DELETE, headers=headers).get_json()["id"] == first


def test_key_that_was_used_for_another_request_is_a_conflict(privacy: FlaskClient) -> None:
    submitted(privacy, idempotencyKey="ticket-4711")
    other = {**DELETE, "type": "export", "idempotencyKey": "ticket-4711"}
    assert error_of(ask(privacy, SUBMIT, input=other)) == ("conflict", {"reason": "other_request"})


def test_key_that_can_be_none_is_refused(privacy: FlaskClient) -> None:
    answer = ask(privacy, SUBMIT, input={**DELETE, "idempotencyKey": ""})
    assert error_of(answer)[0] == "invalid"


def test_one_field_goes_wrong_and_the_others_have_their_data(privacy: FlaskClient) -> None:
    query = """mutation {
      right: submitDSR(input: {type: "export", email: "bo@example.com"}) { status }
      wrong: submitDSR(input: {type: "forget", email: "bo@example.com"}) { status } }"""
    answer = ask(privacy, query)
    assert answer["data"] == {"right": {"status": "queued"}, "wrong": None}
    assert answer["errors"][0]["path"] == ["wrong"]


def test_flag_that_closes_rest_closes_graphql(wiring: Wiring) -> None:
    service = wiring.settings.service.model_copy(update={"flags": {"dsr": False}})
    closed = replace(
        wiring,
        settings=wiring.settings.model_copy(update={"service": service}),
        authenticate=lambda _: PRIVACY,
    )
    answer = ask(create_app(closed).test_client(), SUBMIT, input=DELETE)
    assert error_of(answer) == ("unavailable", {"flag": "dsr"})
    assert answer["errors"][0]["extensions"]["retryAfter"] > 0
