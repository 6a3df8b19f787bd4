"""Lethe as the OpenDSR processor of a lake: what it takes, and what controllers see of that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from flask.testing import FlaskClient

from config.settings import Settings
from dsr.changing import Step, change
from dsr.desk import open_desk
from dsr.lake import held, taken
from schemas.access import Reach
from schemas.dsr import DsrStatus
from schemas.dsr_lake import LakePreview
from service.app import create_app
from service.bootstrap import Wiring, utc_now, wire
from service.dispatch.task import post_of
from service.dsr.shown import DsrShown
from stores.tokens import Grant, new_api_key
from tests.integration.service.test_opendsr_processor import (
    LEGACY,
    REQUESTS,
    SIGNER,
    basic,
    body_of,
    check_signed,
    error_of,
    settings_in,
)

CALLBACK = "https://93.184.216.34/callbacks?token=canary"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("lake-processor")
    made = settings_in(folder, SIGNER.key_pem)
    lake = made.dsr.lake.model_copy(update={"uri": str(folder / "lake")})
    return made.model_copy(update={"dsr": made.dsr.model_copy(update={"lake": lake})})


@pytest.fixture(scope="module")
def wiring(settings: Settings) -> Iterator[Wiring]:
    built = wire(settings)
    yield built
    built.closing.set()
    built.state.close()


@pytest.fixture(scope="module")
def client(wiring: Wiring) -> FlaskClient:
    return create_app(wiring).test_client()


def secret_of(wiring: Wiring, subject: str) -> str:
    """A key of somebody of this name."""
    secret, key = new_api_key(Grant(subject, "org-1", ("privacy",)), utc_now(), timedelta(days=1))
    wiring.state.api_keys.add(key)
    return secret


def key_of(wiring: Wiring, subject: str) -> dict[str, str]:
    """How a controller of this name makes itself known."""
    return basic(secret_of(wiring, subject), subject)


@pytest.fixture(scope="module")
def acme(wiring: Wiring) -> dict[str, str]:
    return key_of(wiring, "acme")


def of(email: str, **changes: Any) -> bytes:
    identity = {"identity_type": "email", "identity_value": email, "identity_format": "raw"}
    return body_of([identity], **changes)


def sent(client: FlaskClient, headers: dict[str, str], body: bytes) -> str:
    answer = client.post(REQUESTS, data=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json["subject_request_id"])


def test_discovery_says_what_the_lake_is_searched_by(client: FlaskClient) -> None:
    said = client.get("/opendsr/v3/discovery").json
    assert said["supported_subject_request_types"] == ["erasure"]
    found = {one["identity_type"] for one in said["supported_identities"]}
    assert "email" in found
    assert "roku_publisher_id" not in found


def test_erasure_is_taken_for_the_lake(client: FlaskClient, acme: dict[str, str]) -> None:
    answer = client.post(REQUESTS, data=of("one.canary@example.com"), headers=acme)
    assert answer.status_code == 201
    check_signed(answer)
    assert {*answer.json} == {
        "controller_id", "encoded_request", "expected_completion_time", "received_time",
        "subject_request_id",
    }  # fmt: skip
    shown = client.get(f"{REQUESTS}/{answer.json['subject_request_id']}", headers=acme)
    assert shown.json["request_status"] == "pending"
    check_signed(shown)


def test_legacy_address_takes_and_shows_the_same(client: FlaskClient, acme: Any) -> None:
    answer = client.post(LEGACY, data=of("two.canary@example.com"), headers=acme)
    assert answer.status_code == 201
    shown = client.get(f"{LEGACY}/{answer.json['subject_request_id']}", headers=acme)
    assert shown.json["controller_id"] == "acme"


@pytest.mark.parametrize("kind", ["access", "portability"])
def test_what_discovery_does_not_list_is_not_taken(
    client: FlaskClient, acme: Any, kind: str
) -> None:
    answer = client.post(
        REQUESTS, data=of("x@example.com", subject_request_type=kind), headers=acme
    )
    assert error_of(answer) == (501, "not_supported")


def test_identity_that_nothing_is_found_by_is_refused(client: FlaskClient, acme: Any) -> None:
    body = body_of([{"identity_type": "roku_publisher_id", "identity_value": "canary"}])
    answer = client.post(REQUESTS, data=body, headers=acme)
    assert error_of(answer) == (400, "invalid")
    assert "canary" not in answer.text
    check_signed(answer)


def test_repeated_id_is_refused_and_changes_nothing(client: FlaskClient, acme: Any) -> None:
    body = of("three.canary@example.com")
    sent(client, acme, body)
    again = client.post(REQUESTS, data=body, headers=acme)
    assert error_of(again) == (400, "repeated_request")


def test_same_subject_in_progress_is_a_duplicate(client: FlaskClient, acme: Any) -> None:
    sent(client, acme, of("four.canary@example.com"))
    again = client.post(REQUESTS, data=of("Four.canary@example.com"), headers=acme)
    assert error_of(again)[0] == 409
    assert "canary" not in again.text


def test_controller_sees_its_own_requests_alone(
    client: FlaskClient, wiring: Wiring, acme: Any
) -> None:
    request_id = sent(client, acme, of("five.canary@example.com", group_id="g5"))
    other = key_of(wiring, "other")
    assert client.get(f"{REQUESTS}/{request_id}", headers=other).status_code == 404
    assert client.delete(f"{REQUESTS}/{request_id}", headers=other).status_code == 404
    assert client.get(f"{REQUESTS}?group_id=g5", headers=other).json == []
    assert len(client.get(f"{REQUESTS}?group_id=g5", headers=acme).json) == 1


def test_pending_request_is_cancelled(client: FlaskClient, acme: Any) -> None:
    request_id = sent(client, acme, of("six.canary@example.com"))
    answer = client.delete(f"{REQUESTS}/{request_id}", headers=acme)
    assert (answer.status_code, answer.json["subject_request_id"]) == (202, request_id)
    check_signed(answer)
    shown = client.get(f"{REQUESTS}/{request_id}", headers=acme)
    assert shown.json["request_status"] == "cancelled"


def test_request_that_has_begun_is_not_cancelled(
    client: FlaskClient, wiring: Wiring, acme: Any
) -> None:
    request_id = sent(client, acme, of("seven.canary@example.com"))
    desk = open_desk(wiring.settings.dsr, wiring.state, wiring.parameters, wiring.clock)

    def begin(dsr: Any, _: Any) -> Step:
        return Step(replace(dsr, status=DsrStatus.IN_PROGRESS), "begun")

    change(desk, request_id, Reach(None), "lake", begin)
    answer = client.delete(f"{REQUESTS}/{request_id}", headers=acme)
    assert error_of(answer)[0] == 409


@pytest.mark.parametrize(("kind", "status"), [("email", 409), ("roku_publisher_id", 400)])
def test_address_is_not_kept_of_a_request_that_is_refused(
    client: FlaskClient, wiring: Wiring, acme: Any, kind: str, status: int
) -> None:
    client.post(REQUESTS, data=of("refused.canary@example.com"), headers=acme)
    identity = {"identity_type": kind, "identity_value": "refused.canary@example.com"}
    body = body_of([identity], status_callback_urls=[CALLBACK + kind])
    assert client.post(REQUESTS, data=body, headers=acme).status_code == status
    assert CALLBACK + kind not in [hook.url for hook in wiring.state.webhooks.find(Reach(None))]


def test_address_of_a_controller_is_kept_before_its_request(
    client: FlaskClient, wiring: Wiring, acme: Any
) -> None:
    body = of("eight.canary@example.com", status_callback_urls=[CALLBACK])
    sent(client, acme, body)
    assert CALLBACK in [hook.url for hook in wiring.state.webhooks.find(Reach(None))]


def test_address_that_is_not_public_is_refused(client: FlaskClient, acme: Any) -> None:
    body = of("nine.canary@example.com", status_callback_urls=["https://127.0.0.1/canary"])
    answer = client.post(REQUESTS, data=body, headers=acme)
    assert error_of(answer)[0] == 400
    assert "canary" not in answer.text


def test_what_was_counted_is_shown_and_let_go_on_by_a_reviewer(
    client: FlaskClient, wiring: Wiring, acme: Any
) -> None:
    request_id = sent(client, acme, of("eleven.canary@example.com"))
    desk = open_desk(wiring.settings.dsr, wiring.state, wiring.parameters, wiring.clock)
    preview = LakePreview("p1", 3, 100, 2, {"demand": 3})
    hold = partial(held, job_id="j1", preview=preview, reason="counted")
    for decide in (partial(taken, job_id="j1", counts_first=True), hold):
        change(desk, request_id, Reach(None), "lake", decide)
    verdict, place = {"decision": "approve", "reason": "right"}, f"/v1/dsr/{request_id}"
    assert client.post(f"{place}/review", json=verdict, headers=acme).status_code == 401
    own, reviewer = ({"X-Api-Key": secret_of(wiring, name)} for name in ("acme", "rita"))
    assert client.get(place, headers=reviewer).json["lake"]["preview"]["rows"] == 3
    assert client.post(f"{place}/review", json=verdict, headers=own).status_code == 403
    answer = client.post(f"{place}/review", json=verdict, headers=reviewer)
    DsrShown.model_validate_json(answer.data)
    assert (answer.json["lake"]["state"], answer.json["lake"]["reviewedBy"]) == ("waiting", "rita")


def test_what_waits_is_dispatched_as_one_job_that_names_nobody(
    client: FlaskClient, wiring: Wiring, acme: Any
) -> None:
    request_id = sent(client, acme, of("ten.canary@example.com"))
    with closing(wire(wiring.settings).state) as state:
        post_of(wiring, state).enlist()
    (job,) = wiring.state.jobs.unfinished(9)
    assert request_id in job.parameters["requests"]
    assert "canary" not in json.dumps(dict(job.parameters))
