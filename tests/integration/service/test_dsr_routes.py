"""Data subject requests over HTTP: submitting once, looking up, rights, and who sees what."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config.settings import Settings, load_settings
from schemas.access import Principal, Right, rights_of
from service.app import create_app
from service.bootstrap import Wiring
from stores.parameters import EnvironmentParameters, open_parameters
from tests.integration.service.principals import ADMIN, OPERATOR, VIEWER, Client, somebody

PRIVACY = somebody("privacy", subject="privacy-1")
SECOND = somebody("privacy", subject="privacy-2")
STRANGER = somebody("privacy", subject="privacy-9", organization="org-9")
EMAIL = "ana.canary@example.com"
DELETE = {"type": "gdpr_delete", "email": EMAIL}
RISKY = {"type": "gdpr_delete", "email": "ana.canary@throwaway.example"}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LETHE_ENV", "test")
    return load_settings(
        state={"folder": tmp_path / "state"},
        parameters={"source": "file", "folder": tmp_path / "keys"},
        dsr={"risk": {"review_at": 0.3, "disposable_domains": ["throwaway.example"]}},
    )


@pytest.fixture
def privacy(client: Client) -> FlaskClient:
    return client(PRIVACY)


def with_rights(*rights: str, subject: str = "machine-1") -> Principal:
    held = rights_of((), map(Right.parse, rights))
    return Principal(subject, "org-1", frozenset(), held)


def told(answer: TestResponse) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json


def submitted(asker: FlaskClient, **body: Any) -> str:
    return str(told(asker.post("/v1/dsr", json=body or DELETE))["id"])


def refused(answer: TestResponse) -> tuple[int, Any]:
    assert answer.json is not None
    assert "canary" not in answer.text
    return answer.status_code, answer.json["error"]


def test_request_is_queued_and_says_when_it_is_due(privacy: FlaskClient) -> None:
    answer = privacy.post("/v1/dsr", json=DELETE)
    body = told(answer)
    assert (answer.status_code, body["status"], body["type"]) == (202, "queued", "gdpr_delete")
    assert body["daysLeft"] in range(27, 32)
    assert told(privacy.get(answer.headers["Location"]))["id"] == body["id"]


def test_id_is_a_small_uuid_of_version_4(privacy: FlaskClient) -> None:
    made = submitted(privacy)
    assert (str(uuid.UUID(made)), uuid.UUID(made).version) == (made, 4)


def test_repeat_under_one_key_is_one_request(privacy: FlaskClient) -> None:
    headers = {"Idempotency-Key": "erase-ana-1"}
    first, second = (privacy.post("/v1/dsr", json=DELETE, headers=headers) for _ in range(2))
    assert told(first)["id"] == told(second)["id"]
    assert uuid.UUID(told(first)["id"]).version == 4


def test_identities_of_opendsr_are_taken(privacy: FlaskClient) -> None:
    identities = [
        {"type": "controller_customer_id", "value": "c-1"},
        {"type": "email", "value": "a" * 64, "format": "sha256"},
    ]
    body = told(privacy.post("/v1/dsr", json={"type": "export", "identities": identities}))
    assert (body["type"], body["requestType"], body["regulation"]) == (
        "export", "portability", "gdpr",
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"type": "gdpr_delete"},
        {"type": "forget", "email": EMAIL},
        {"type": "gdpr_delete", "email": "ana canary"},
        {"type": "gdpr_delete", "regulation": "ccpa", "email": EMAIL},
        {**DELETE, "identities": [{"type": "email", "value": EMAIL}]},
        {"type": "export", "identities": [{"type": "email", "value": "ana.canary"}]},
        {"type": "export", "identities": [{"type": "canary", "value": EMAIL}]},
        {"type": "export", "identities": []},
        {**DELETE, "extensions": {"x.example": {"a": "canary" * 5000}}},
        {**DELETE, "ana.canary@example.com": 1},
    ],
)
def test_what_cannot_be_is_refused_without_repeating_it(privacy: FlaskClient, body: Any) -> None:
    status, error = refused(privacy.post("/v1/dsr", json=body))
    assert (status, error["code"]) == (422, "invalid")


def test_fault_of_an_email_names_its_field(privacy: FlaskClient) -> None:
    _, error = refused(privacy.post("/v1/dsr", json={**DELETE, "email": "canary"}))
    assert error["message"] == "email: is no email address"


def test_same_subject_and_type_is_a_conflict_that_names_the_open_one(privacy: FlaskClient) -> None:
    first = submitted(privacy)
    again = {**DELETE, "email": EMAIL.upper()}
    status, error = refused(privacy.post("/v1/dsr", json=again))
    assert (status, error["details"]) == (409, {"reason": "duplicate", "requestId": first})


def test_conflict_names_nothing_to_who_may_not_read_it(
    client: Client, privacy: FlaskClient
) -> None:
    submitted(privacy)
    machine = client(with_rights("dsr:create:own", "dsr:read:own"))
    status, error = refused(machine.post("/v1/dsr", json=DELETE))
    assert (status, error["details"]) == (409, {"reason": "duplicate"})


def test_other_organizations_know_nothing_of_it(client: Client, privacy: FlaskClient) -> None:
    request_id = submitted(privacy)
    stranger = client(STRANGER)
    assert stranger.get(f"/v1/dsr/{request_id}").status_code == 404
    assert stranger.post("/v1/dsr:search", json={"email": EMAIL}).json["items"] == []
    assert stranger.post("/v1/dsr", json=DELETE).status_code == 202


def test_bulk_takes_each_item_on_its_own(privacy: FlaskClient) -> None:
    items = [
        DELETE,
        DELETE,
        {"type": "export", "email": "canary"},
        {"type": "export", "email": EMAIL},
    ]
    answer = privacy.post("/v1/dsr:bulk", json={"items": items})
    results = told(answer)["results"]
    assert answer.status_code == 207
    assert [result["status"] for result in results] == [202, 409, 422, 202]
    assert "canary" not in answer.text


def test_bulk_under_one_key_is_done_once(privacy: FlaskClient) -> None:
    body = {"items": [DELETE, {"type": "export", "email": EMAIL}]}
    answers = [
        privacy.post("/v1/dsr:bulk", json=body, headers={"Idempotency-Key": "bulk-0001"})
        for _ in range(2)
    ]
    assert answers[0].json == answers[1].json
    assert len(told(privacy.get("/v1/dsr"))["items"]) == 2


def test_requests_are_found_by_subject_and_status(privacy: FlaskClient) -> None:
    request_id = submitted(privacy)
    submitted(privacy, type="export", email="bo@example.com")
    searched = told(privacy.post("/v1/dsr:search", json={"email": f" {EMAIL.upper()} "}))
    listed = told(privacy.get("/v1/dsr", query_string={"email": EMAIL, "status": "queued"}))
    assert [item["id"] for item in searched["items"]] == [request_id]
    assert listed["items"][0]["id"] == request_id
    assert told(privacy.get("/v1/dsr?status=held"))["items"] == []


def test_unknown_subject_is_answered_as_a_known_one_without_requests(privacy: FlaskClient) -> None:
    answer = privacy.post("/v1/dsr:search", json={"email": "nobody@example.com"})
    assert told(answer) == {"items": [], "nextCursor": None}


def test_pages_go_on_where_the_one_before_ended(privacy: FlaskClient) -> None:
    ids = [submitted(privacy, type="export", email=f"p{n}@example.com") for n in range(5)]
    seen: list[str] = []
    query: dict[str, Any] | None = {"limit": 2}
    while query is not None:
        page = told(privacy.get("/v1/dsr", query_string=query))
        seen += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]
        query = None if cursor is None else {"limit": 2, "cursor": cursor}
    assert (len(seen), {*seen}) == (5, {*ids})


def test_cursor_of_another_list_is_refused(privacy: FlaskClient) -> None:
    assert privacy.get("/v1/dsr?cursor=MS5ydW4uMS5h").status_code == 422


def test_several_are_got_at_once(privacy: FlaskClient) -> None:
    request_id = submitted(privacy)
    body = told(privacy.post("/v1/dsr:batchGet", json={"ids": ["no-such", request_id, "no-such"]}))
    assert [item["id"] for item in body["items"]] == [request_id]
    assert body["missing"] == ["no-such"]


def test_queued_request_is_cancelled_and_may_be_made_again(privacy: FlaskClient) -> None:
    request_id = submitted(privacy)
    answer = privacy.delete(f"/v1/dsr/{request_id}")
    assert (answer.status_code, told(answer)["status"]) == (202, "cancelled")
    assert submitted(privacy) != request_id


def test_deadline_is_extended_once(privacy: FlaskClient) -> None:
    path = f"/v1/dsr/{submitted(privacy)}/extension"
    extended = told(privacy.post(path, json={"reason": "many systems"}))
    assert extended["extendedAt"] is not None
    assert extended["daysLeft"] > 80
    status, error = refused(privacy.post(path, json={"reason": "many systems"}))
    assert (status, error["details"]["reason"]) == (409, "extended")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, None])
def test_extension_needs_a_reason(privacy: FlaskClient, reason: Any) -> None:
    path = f"/v1/dsr/{submitted(privacy)}/extension"
    assert privacy.post(path, json={"reason": reason}).status_code == 422


def test_risky_request_waits_for_somebody_else(client: Client, privacy: FlaskClient) -> None:
    held = told(privacy.post("/v1/dsr", json=RISKY))
    assert (held["status"], len(held["risk"]["reasons"])) == ("held", 1)
    path = f"/v1/dsr/{held['id']}/review"
    verdict = {"decision": "approve", "reason": "called back"}
    assert refused(privacy.post(path, json=verdict))[0] == 403
    approved = told(client(SECOND).post(path, json=verdict))
    assert (approved["status"], approved["review"]["by"]) == ("queued", "privacy-2")


def test_denied_request_is_closed(client: Client, privacy: FlaskClient) -> None:
    path = f"/v1/dsr/{submitted(privacy, **RISKY)}/review"
    denied = told(client(SECOND).post(path, json={"decision": "deny", "reason": "not them"}))
    assert (denied["status"], denied["error"]["code"]) == ("cancelled", "review_denied")


def test_requests_due_soon_are_at_risk(privacy: FlaskClient) -> None:
    request_id = submitted(privacy)
    assert told(privacy.get("/v1/dsr:atRisk")) == {"items": [], "nextCursor": None}
    soon = told(privacy.get("/v1/dsr:atRisk?days=40"))
    assert [item["id"] for item in soon["items"]] == [request_id]


def test_pages_of_requests_at_risk_follow_one_another(privacy: FlaskClient) -> None:
    made = [
        submitted(privacy, **DELETE | {"email": f"canary{number}@example.com"})
        for number in range(3)
    ]
    path, found, cursor = "/v1/dsr:atRisk?days=40&limit=2", list[str](), ""
    for _ in range(2):
        page = told(privacy.get(path + cursor))
        found += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['nextCursor']}"
    assert (sorted(found), page["nextCursor"]) == (sorted(made), None)


def test_cursor_of_another_list_is_none_of_requests_at_risk(privacy: FlaskClient) -> None:
    for number in range(2):
        submitted(privacy, **DELETE | {"email": f"canary{number}@example.com"})
    cursor = told(privacy.get("/v1/dsr?limit=1"))["nextCursor"]
    assert refused(privacy.get(f"/v1/dsr:atRisk?cursor={cursor}"))[0] == 422


def test_history_is_that_of_the_audit_log(privacy: FlaskClient) -> None:
    request_id = submitted(privacy)
    privacy.delete(f"/v1/dsr/{request_id}")
    answer = privacy.get(f"/v1/dsr/{request_id}/audit")
    actions = [(entry["action"], entry["actor"]) for entry in told(answer)["items"]]
    assert actions == [("dsr.submitted", "privacy-1"), ("dsr.cancelled", "privacy-1")]
    assert "canary" not in answer.text


def test_identities_are_masked_and_only_for_those_who_may_approve(
    client: Client, privacy: FlaskClient
) -> None:
    path = f"/v1/dsr/{submitted(privacy)}"
    identity = {"type": "email", "format": "raw", "masked": "a***@example.com"}
    assert told(privacy.get(path))["identities"] == [identity]
    seen = client(VIEWER).get(path)
    assert "identities" not in told(seen)
    assert "canary" not in seen.text


def test_request_whose_key_is_lost_is_shown_without_its_subject(
    privacy: FlaskClient, wiring: Wiring, tmp_path: Path
) -> None:
    path = f"/v1/dsr/{submitted(privacy)}"
    (tmp_path / "keys" / "dsr-seal-keys").write_text("x" * 32)
    others = open_parameters(wiring.settings.parameters)
    later = replace(wiring, parameters=others, authenticate=lambda _: PRIVACY)
    seen = told(create_app(later).test_client().get(path))
    assert (seen["status"], seen["identities"]) == ("queued", None)


@pytest.mark.parametrize("missing", ["dsr-subject-key", "dsr-seal-keys"])
def test_request_waits_for_operators_if_a_secret_is_missing(
    wiring: Wiring, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {"dsr-subject-key", "dsr-seal-keys"} - {missing}:
        monkeypatch.setenv("LETHE_" + name.upper().replace("-", "_"), "x" * 32)
    bare = replace(wiring, parameters=EnvironmentParameters(), authenticate=lambda _: PRIVACY)
    status, error = refused(create_app(bare).test_client().post("/v1/dsr", json=DELETE))
    assert (status, error["code"]) == (503, "secret_unusable")
    assert f"{missing!r}" in error["message"]


def test_no_answer_to_those_who_submit_or_list_names_the_subject(privacy: FlaskClient) -> None:
    answers = [privacy.post("/v1/dsr", json=DELETE), privacy.get("/v1/dsr")]
    assert not any("canary" in answer.text or "example.com" in answer.text for answer in answers)


@pytest.mark.parametrize("who", [VIEWER, OPERATOR])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/v1/dsr", DELETE),
        ("post", "/v1/dsr:bulk", {"items": [DELETE]}),
        ("delete", "/v1/dsr/x", None),
        ("post", "/v1/dsr/x/extension", {"reason": "y"}),
        ("post", "/v1/dsr/x/review", {"decision": "deny", "reason": "y"}),
        ("get", "/v1/dsr/x/audit", None),
    ],
)
def test_who_may_only_read_changes_nothing(
    client: Client, who: Principal, method: str, path: str, body: Any
) -> None:
    assert client(who).open(path, method=method.upper(), json=body).status_code == 403


def test_own_requests_are_all_that_a_narrow_right_shows(
    client: Client, privacy: FlaskClient
) -> None:
    submitted(privacy)
    machine = client(with_rights("dsr:create:own", "dsr:read:own"))
    own = submitted(machine, type="export", email=EMAIL)
    listed = told(machine.post("/v1/dsr:search", json={"email": EMAIL}))
    assert [item["id"] for item in listed["items"]] == [own]


def test_admin_sees_all_organizations(client: Client) -> None:
    request_id = submitted(client(STRANGER))
    assert told(client(ADMIN).get(f"/v1/dsr/{request_id}"))["id"] == request_id


@pytest.mark.parametrize("path", ["", "/extension", "/review", "/audit"])
def test_unknown_request_is_not_there(privacy: FlaskClient, path: str) -> None:
    bodies = {"/extension": {"reason": "y"}, "/review": {"decision": "deny", "reason": "y"}}
    address = f"/v1/dsr/{uuid.uuid4()}{path}"
    body = bodies.get(path)
    answer = privacy.get(address) if body is None else privacy.post(address, json=body)
    assert answer.status_code == 404


def test_of_many_at_once_for_one_subject_one_is_taken(client: Client) -> None:
    app = client(PRIVACY).application

    def submit(_: int) -> int:
        return app.test_client().post("/v1/dsr", json=DELETE).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(submit, range(24)))
    assert statuses == [202] + [409] * 23


def test_what_is_out_of_reach_is_answered_as_what_does_not_exist(
    client: Client, privacy: FlaskClient
) -> None:
    stranger = client(STRANGER)
    theirs = stranger.get(f"/v1/dsr/{submitted(privacy)}").json
    nobodys = stranger.get(f"/v1/dsr/{uuid.uuid4()}").json
    assert theirs is not None
    assert nobodys is not None
    for body in (theirs, nobodys):
        del body["error"]["correlationId"], body["error"]["timestamp"]
    assert theirs == nobodys


def test_submissions_are_counted_by_type_and_result(client: Client, privacy: FlaskClient) -> None:
    for body in (DELETE, DELETE, {"type": "export", "email": "canary"}, RISKY):
        privacy.post("/v1/dsr", json=body)
    text = client(ADMIN).get("/metrics").text
    found = re.findall(r'lethe_dsr_submissions_total{result="(\w+)",type="(\w+)"} 1\.0', text)
    assert {*found} == {
        ("queued", "gdpr_delete"),
        ("conflict", "gdpr_delete"),
        ("invalid", "export"),
        ("held", "gdpr_delete"),
    }
    assert 'lethe_dsr_submission_duration_seconds_count{type="gdpr_delete"} 3.0' in text
