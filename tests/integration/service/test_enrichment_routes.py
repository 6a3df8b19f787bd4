"""Enrichment over HTTP: submitting once, watching, pages, outputs, and others' ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config.settings import Settings, load_settings
from schemas.access import Reach
from schemas.jobs import JobStatus
from service.bootstrap import Wiring
from tests.integration.service.enrichment_requests import (
    CONTACTS,
    completed,
    job,
    submission,
    uploaded,
)
from tests.integration.service.principals import OPERATOR, STRANGER, VIEWER, Client, somebody

EVERYBODY = Reach(None)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LETHE_ENV", "test")
    return load_settings(
        state={"folder": tmp_path / "state"},
        parameters={"source": "file", "folder": tmp_path / "keys"},
        service={"enrichment": {"api": "http://127.0.0.1:9", "max_contacts": 50}},
    )


@pytest.fixture
def operator(client: Client) -> FlaskClient:
    return client(OPERATOR)


def submitted(asker: FlaskClient, **more: Any) -> str:
    answer = asker.post("/v1/enrichment", json=submission(**more))
    assert answer.status_code == 202, answer.text
    assert answer.json is not None
    return str(answer.json["requestId"])


def told(answer: TestResponse) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json


def test_submission_is_accepted_with_where_to_look(operator: FlaskClient) -> None:
    answer = operator.post("/v1/enrichment", json=submission())
    body = told(answer)
    assert (answer.status_code, body["status"]) == (202, "queued")
    assert body["downloadUrl"] == f"/v1/enrichment/{body['requestId']}/output"
    assert told(operator.get(answer.headers["Location"]))["requestId"] == body["requestId"]


def test_inline_contacts_are_kept_under_an_id_of_ours(
    operator: FlaskClient, wiring: Wiring
) -> None:
    job_id = submitted(operator)
    content = wiring.files.read(f"enrichment/{job_id}/input.ndjson")
    assert content == b'{"id":"c-1","name":"Ana"}\n{"id":"c-2","name":"Bo"}\n'


def test_same_contacts_in_another_order_of_fields_are_the_same(operator: FlaskClient) -> None:
    job_id = submitted(operator)
    turned = [dict(reversed(contact.items())) for contact in CONTACTS]
    answer = operator.post("/v1/enrichment", json={"contacts": turned, "batchSize": 7})
    assert (answer.status_code, told(answer)["requestId"]) == (200, job_id)


@pytest.mark.parametrize(
    "other",
    [{"mapping": {"name": "title"}}, {"outputFormat": "csv"}, {"contacts": CONTACTS[::-1]}],
    ids=["mapping", "format", "order"],
)
def test_what_makes_another_output_is_another_request(
    operator: FlaskClient, other: dict[str, Any]
) -> None:
    assert submitted(operator) != submitted(operator, **other)


def test_input_of_a_repeat_is_not_kept(operator: FlaskClient, wiring: Wiring) -> None:
    submitted(operator)
    operator.post("/v1/enrichment", json=submission())
    assert len(list(wiring.files.list("enrichment/"))) == 1


def test_another_organization_shares_no_request(client: Client, operator: FlaskClient) -> None:
    assert submitted(operator) != submitted(client(STRANGER))


def test_whoever_sees_only_their_own_is_given_no_request_of_others(
    client: Client, operator: FlaskClient
) -> None:
    job_id = submitted(operator)
    own = client(somebody("submitter", subject="user-2"))
    assert submitted(own) != job_id


def test_idempotency_key_gives_the_same_request_and_the_same_answer(
    operator: FlaskClient, wiring: Wiring
) -> None:
    headers = {"Idempotency-Key": "key-12345678"}
    answers = [
        operator.post("/v1/enrichment", json=submission(force=True), headers=headers)
        for _ in range(2)
    ]
    assert answers[0].data == answers[1].data
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert len(wiring.state.jobs.unfinished(10)) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"contacts": []}, 422),
        ({"contacts": CONTACTS, "inputFileKey": "x"}, 422),
        ({"contacts": [1]}, 422),
        ({"contacts": CONTACTS, "outputFormat": "../../etc/passwd"}, 422),
        ({"contacts": CONTACTS, "batchSize": 0}, 422),
        ({"contacts": CONTACTS, "mapping": {"a": "x", "b": "x"}}, 422),
        ({"contacts": CONTACTS * 26}, 413),
        ({"inputFileKey": "uploads/../../etc/passwd"}, 404),
        ({"inputFileKey": "/etc/passwd"}, 404),
        ({"inputFileKey": "enrichment/job-0001/input.ndjson"}, 404),
        ({"inputFileKey": f"uploads/{'0' * 32}/contacts.csv"}, 404),
        ({"inputFileKey": f"uploads/{'0' * 32}/about.json"}, 404),
        ({"inputFileKey": "s3://bucket/key"}, 404),
    ],
)
def test_bad_submission_is_refused_and_leaves_nothing(
    operator: FlaskClient, wiring: Wiring, body: dict[str, Any], status: int
) -> None:
    assert operator.post("/v1/enrichment", json=body).status_code == status
    assert wiring.state.jobs.unfinished(10) == []
    assert list(wiring.files.list("enrichment/")) == []


def test_upload_of_another_organization_cannot_be_used(
    client: Client, operator: FlaskClient
) -> None:
    key = uploaded(operator)
    answer = client(STRANGER).post("/v1/enrichment", json={"inputFileKey": key})
    assert answer.status_code == 404


def test_upload_of_the_same_bytes_is_the_same_request(operator: FlaskClient) -> None:
    first = told(operator.post("/v1/enrichment", json={"inputFileKey": uploaded(operator)}))
    again = operator.post("/v1/enrichment", json={"inputFileKey": uploaded(operator)})
    assert (again.status_code, told(again)["requestId"]) == (200, first["requestId"])


def test_ids_of_another_organization_are_not_there(client: Client, wiring: Wiring) -> None:
    completed(wiring, b"{}\n")
    stranger, path = client(STRANGER), "/v1/enrichment/job-0001"
    answers = [
        stranger.get(path),
        stranger.get(f"{path}/output"),
        stranger.post(f"{path}:cancel"),
        stranger.delete(path),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert told(stranger.get("/v1/enrichment"))["items"] == []


def test_viewer_sees_and_changes_nothing(client: Client, wiring: Wiring) -> None:
    wiring.state.jobs.add([job(1)])
    viewer, path = client(VIEWER), "/v1/enrichment/job-0001"
    assert viewer.get(path).status_code == 200
    refused = [
        viewer.post("/v1/enrichment", json=submission()),
        viewer.post(f"{path}:cancel"),
        viewer.delete(path),
        viewer.post("/v1/uploads", json={"contentType": "text/csv", "size": 1, "sha256": "0" * 64}),
    ]
    assert {answer.status_code for answer in refused} == {403}


def test_status_is_sent_again_only_when_it_has_changed(
    operator: FlaskClient, wiring: Wiring
) -> None:
    wiring.state.jobs.add([job(1)])
    tag = operator.get("/v1/enrichment/job-0001").headers["ETag"]
    same = operator.get("/v1/enrichment/job-0001", headers={"If-None-Match": tag})
    wiring.state.jobs.begin("job-0001", "run-1")
    changed = operator.get("/v1/enrichment/job-0001", headers={"If-None-Match": tag})
    assert (same.status_code, same.data, changed.status_code) == (304, b"", 200)


def test_queued_request_is_cancelled_at_once_and_not_twice(
    operator: FlaskClient, wiring: Wiring
) -> None:
    wiring.state.jobs.add([job(1)])
    assert told(operator.post("/v1/enrichment/job-0001:cancel"))["status"] == "cancelled"
    assert operator.post("/v1/enrichment/job-0001:cancel").status_code == 409


def test_deleted_request_is_not_there_and_its_contacts_are_enriched_anew(
    operator: FlaskClient,
) -> None:
    job_id = submitted(operator)
    assert operator.delete(f"/v1/enrichment/{job_id}").status_code == 204
    assert operator.get(f"/v1/enrichment/{job_id}").status_code == 404
    assert operator.delete(f"/v1/enrichment/{job_id}").status_code == 404
    assert submitted(operator) != job_id


def test_output_is_given_whole_or_in_ranges(operator: FlaskClient, wiring: Wiring) -> None:
    completed(wiring, b"0123456789")
    path = "/v1/enrichment/job-0001/output"
    whole = operator.get(path)
    part = operator.get(path, headers={"Range": "bytes=2-4"})
    beyond = operator.get(path, headers={"Range": "bytes=20-"})
    assert (whole.data, whole.headers["Accept-Ranges"]) == (b"0123456789", "bytes")
    assert 'filename="enriched-job-0001.ndjson"' in whole.headers["Content-Disposition"]
    assert (part.status_code, part.data) == (206, b"234")
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    assert beyond.status_code == 416


def test_output_that_has_not_changed_is_not_sent_again(
    operator: FlaskClient, wiring: Wiring
) -> None:
    completed(wiring, b"0123456789")
    path = "/v1/enrichment/job-0001/output"
    tag = operator.get(path).headers["ETag"]
    assert operator.get(path, headers={"If-None-Match": tag}).status_code == 304


def test_output_is_there_only_when_the_request_is_completed(
    operator: FlaskClient, wiring: Wiring
) -> None:
    wiring.state.jobs.add([job(1)])
    answer = operator.get("/v1/enrichment/job-0001/output")
    assert answer.status_code == 409
    assert answer.json is not None
    assert answer.json["error"]["details"] == {"status": "queued"}


def test_list_is_filtered_by_status(operator: FlaskClient, wiring: Wiring) -> None:
    wiring.state.jobs.add([job(number) for number in range(4)])
    wiring.state.jobs.begin("job-0002", "run-1")
    found = told(operator.get("/v1/enrichment?status=running"))["items"]
    assert [item["requestId"] for item in found] == ["job-0002"]


def test_pages_by_offset_follow_each_other(operator: FlaskClient, wiring: Wiring) -> None:
    wiring.state.jobs.add([job(number) for number in range(5)])
    found = told(operator.get("/v1/enrichment?limit=2&offset=2"))["items"]
    assert [item["requestId"] for item in found] == ["job-0002", "job-0001"]


def bulk(asker: FlaskClient, *items: dict[str, Any], atomic: bool) -> TestResponse:
    return asker.post("/v1/enrichment:bulk", json={"items": [*items], "atomic": atomic})


UNKNOWN = {"inputFileKey": f"uploads/{'0' * 32}/contacts.csv"}


def test_bulk_gives_each_item_a_result_of_its_own(operator: FlaskClient, wiring: Wiring) -> None:
    answer = bulk(operator, submission(), UNKNOWN, submission(), atomic=False)
    results = told(answer)["results"]
    assert [result["status"] for result in results] == [202, 404, 200]
    assert results[0]["result"]["requestId"] == results[2]["result"]["requestId"]
    assert results[1]["error"]["code"] == "not_found"
    assert answer.status_code == 207


def test_atomic_bulk_makes_all(operator: FlaskClient, wiring: Wiring) -> None:
    results = told(bulk(operator, submission(), submission(outputFormat="csv"), atomic=True))
    assert [result["status"] for result in results["results"]] == [202, 202]
    assert len(wiring.state.jobs.unfinished(10)) == 2


def test_atomic_bulk_with_one_bad_item_makes_none(operator: FlaskClient, wiring: Wiring) -> None:
    assert bulk(operator, submission(), UNKNOWN, atomic=True).status_code == 404
    assert wiring.state.jobs.unfinished(10) == []


def test_repeated_atomic_bulk_makes_no_second_lot(operator: FlaskClient, wiring: Wiring) -> None:
    headers = {"Idempotency-Key": "key-12345678"}
    body = {"items": [submission(), submission(outputFormat="csv")], "atomic": True}
    answers = [operator.post("/v1/enrichment:bulk", json=body, headers=headers) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert len(wiring.state.jobs.unfinished(10)) == 2


def test_contacts_of_all_items_count_together(operator: FlaskClient) -> None:
    answer = bulk(operator, *[{"contacts": CONTACTS * 13}] * 2, atomic=False)
    assert answer.status_code == 413


def test_completed_request_says_where_its_output_is(operator: FlaskClient, wiring: Wiring) -> None:
    completed(wiring, b"{}\n")
    shown = told(operator.get("/v1/enrichment/job-0001"))
    assert (shown["status"], shown["outputFileKey"]) == (
        JobStatus.COMPLETED.value, "enrichment/job-0001/output.ndjson",
    )  # fmt: skip
    assert shown["downloadUrl"] == "/v1/enrichment/job-0001/output"
