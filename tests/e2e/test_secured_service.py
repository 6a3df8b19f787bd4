"""A real service of two worker processes: keys, limits and repeats hold for both together."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.mock_api import running_mock
from tests.service_process import Service, running_service
from tests.waiting import wait_until

PATH = "/v1/enrichment"
KEY = {"Idempotency-Key": "7c2f9a34-5d0e-4b8a-9a54-0c1f6f3c2d11"}
BODY = {"contacts": [{"id": "1", "email": "ana@example.com"}], "force": True}
"""Forced: so it is the key, not the content, by which repeats are known."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = {"GET /v1/runs": "10/d"}
    with running_mock() as mock:
        env = {
            "LETHE_SERVICE__ENRICHMENT__API": mock.url,
            "LETHE_SERVICE__LIMITS__ENDPOINTS": json.dumps(limits),
        }
        folder = tmp_path_factory.mktemp("secured")
        with running_service(folder, "--workers", 2, env=env) as service:
            yield service


@pytest.fixture(scope="module")
def token(service: Service) -> str:
    return service.token("operator")


def test_ten_a_day_is_ten_for_two_workers(service: Service, token: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: service.get("/v1/runs", token=token).status, range(40))
    assert Counter(answers) == {200: 10, 429: 30}


def test_another_principal_has_ten_of_their_own(service: Service) -> None:
    other = service.token("operator", subject="user-2")
    assert service.get("/v1/runs", token=other).headers["RateLimit-Remaining"] == "9"


def test_equal_requests_at_once_make_one_job(service: Service, token: str) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda _: service.post(PATH, BODY, token=token, headers=KEY), range(12))
        )
    assert {answer.status for answer in answers} <= {202, 409}
    made = {answer.json["requestId"] for answer in answers if answer.status == 202}
    listed = {item["requestId"] for item in service.get(PATH, token=token).json["items"]}
    assert (len(made), listed) == (1, made)
    wait_until_done(service, token, *made)


def test_repeat_is_told_as_such_and_another_body_refused(service: Service, token: str) -> None:
    repeat = service.post(PATH, BODY, token=token, headers=KEY)
    other = service.post(PATH, {**BODY, "batchSize": 7}, token=token, headers=KEY)
    assert (repeat.status, repeat.headers["Idempotent-Replayed"]) == (202, "true")
    assert (other.status, other.json["error"]["details"]["reason"]) == (409, "other_request")


def test_key_of_a_machine_works_until_it_is_revoked(service: Service) -> None:
    grant = ("--subject", "crm", "--organisation", "org-1", "--roles", "viewer")
    secret = service.lethe("token", "create", *grant, "--api-key")
    seen = [service.get(PATH, token=secret).status]
    service.lethe("token", "revoke", json.loads(service.lethe("token", "list", "--json"))["id"])
    until = time.monotonic() + 30
    while service.get(PATH, token=secret).status == 200 and time.monotonic() < until:
        time.sleep(0.2)
    # Both workers, each of which may remember it for a few seconds.
    time.sleep(5)
    seen += [service.get(PATH, token=secret).status for _ in range(8)]
    assert seen == [200, *[401] * 8]


def test_log_holds_no_credential_and_no_contact(service: Service, token: str) -> None:
    """Runs last: after everything that the service was asked here."""
    service.get(PATH, token=f"{token}x")
    service.get(f"{PATH}?access_token={token}")
    logged = service.logged()
    assert "credentials refused" in logged
    assert not any(
        secret in logged for secret in (token, "lk_", "ana@example", KEY["Idempotency-Key"])
    )


def wait_until_done(service: Service, token: str, request_id: str) -> None:
    """So that no process is left when the service ends."""

    def is_done() -> bool:
        status = service.get(f"{PATH}/{request_id}", token=token).json["status"]
        return bool(status == "completed")

    wait_until(is_done, "the job's end")
