"""Lethe as an OpenDSR processor: who may ask, what is answered, and how it is signed."""

from __future__ import annotations

import json
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config.settings import Settings, load_settings
from dsr.desk import open_desk
from dsr.signing import OPENDSR, OPENGDPR, SignatureHeaders
from dsr.submit import Order, Submitter, submit
from schemas.dsr import Identity, IdentityType
from schemas.errors import UsageError
from schemas.opendsr.answers import decode_reports
from service.app import create_app
from service.bootstrap import Wiring, utc_now, wire
from stores.tokens import Grant, new_api_key
from tests.pki import Pki

DOMAIN = "opendsr.lethe.example"
SIGNER = Pki().signer(DOMAIN)
URL = "https://lethe.example/opendsr/v3"
REQUESTS = "/opendsr/v3/requests"
LEGACY = "/opengdpr_requests"
IDENTITIES = [
    [{"identity_type": "email", "identity_value": "canary@example.com", "identity_format": "raw"}],
    {"email": {"value": "canary@example.com", "encoding": "raw"}},
]


def settings_in(folder: Path, key: bytes) -> Settings:
    (folder / "keys").mkdir()
    (folder / "keys" / "opendsr-key").write_bytes(key)
    (folder / "own.pem").write_bytes(SIGNER.pem)
    return load_settings(
        env="test",
        state={"folder": folder / "state"},
        parameters={"source": "file", "folder": folder / "keys"},
        opendsr={"domain": DOMAIN, "url": URL, "certificate": folder / "own.pem"},
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("processor"), SIGNER.key_pem)


@pytest.fixture(scope="module")
def wiring(settings: Settings) -> Iterator[Wiring]:
    built = wire(settings)
    yield built
    built.closing.set()
    built.state.close()


@pytest.fixture
def client(wiring: Wiring) -> FlaskClient:
    return create_app(wiring).test_client()


def key_of(wiring: Wiring, *roles: str) -> str:
    """A key of the controller ``acme``."""
    secret, key = new_api_key(Grant("acme", "org-1", roles), utc_now(), timedelta(days=1))
    wiring.state.api_keys.add(key)
    return secret


@pytest.fixture
def secret(wiring: Wiring) -> str:
    return key_of(wiring, "privacy")


def basic(secret: str, subject: str = "acme") -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{subject}:{secret}".encode()).decode()}


def body_of(identities: object = IDENTITIES[0], **changes: object) -> bytes:
    content = {
        "regulation": "gdpr",
        "subject_request_id": str(uuid.uuid4()),
        "subject_request_type": "erasure",
        "submitted_time": "2026-11-21T10:00:00Z",
        "subject_identities": identities,
        **changes,
    }
    return json.dumps(content).encode()


def check_signed(answer: TestResponse, names: SignatureHeaders = OPENDSR) -> None:
    """Raises unless the answer is signed by our key."""
    assert answer.headers[names.domain] == DOMAIN
    signature = b64decode(answer.headers[names.signature])
    SIGNER.key.public_key().verify(signature, answer.data, PKCS1v15(), SHA256())


def error_of(answer: TestResponse) -> tuple[int, str]:
    error = answer.json["error"]
    assert error["code"] == answer.status_code
    return answer.status_code, error["errors"][0]["reason"]


def test_discovery_promises_nothing_that_is_not_done(client: FlaskClient) -> None:
    answer = client.get("/opendsr/v3/discovery")
    assert answer.json == {
        "api_version": "3.0",
        "supported_identities": [],
        "supported_subject_request_types": [],
        "processor_certificate": f"{URL}/certificate",
    }


@pytest.mark.parametrize("path", ["discovery", "certificate"])
def test_anybody_may_ask_who_this_is_and_is_answered_signed(client, path: str) -> None:
    check_signed(client.get(f"/opendsr/v3/{path}"))


def test_certificate_is_that_of_the_settings(client: FlaskClient) -> None:
    assert client.get("/opendsr/v3/certificate").data == SIGNER.pem


@pytest.mark.parametrize("identities", IDENTITIES)
@pytest.mark.parametrize("kind", ["access", "portability", "erasure"])
def test_request_is_read_in_either_form_and_not_supported(client, secret, kind, identities) -> None:
    body = body_of(identities, subject_request_type=kind)
    answer = client.post(REQUESTS, data=body, headers=basic(secret))
    assert error_of(answer) == (501, "not_supported")
    check_signed(answer)


def test_key_may_come_as_everywhere_else(client: FlaskClient, secret: str) -> None:
    answer = client.post(REQUESTS, data=body_of(), headers={"X-Api-Key": secret})
    assert answer.status_code == 501


def test_legacy_path_is_honoured(client: FlaskClient, secret: str) -> None:
    answer = client.post(LEGACY, data=body_of(), headers=basic(secret))
    assert answer.status_code == 501


@pytest.mark.parametrize("method", ["get", "delete"])
def test_legacy_path_of_a_request_is_answered_and_signed_under_the_old_name(
    client, secret: str, method: str
) -> None:
    answer = client.open(f"{LEGACY}/{uuid.uuid4()}", method=method, headers=basic(secret))
    assert error_of(answer) == (404, "not_found")
    check_signed(answer, OPENGDPR)


def test_group_that_nobody_sent_is_empty(client: FlaskClient, secret: str) -> None:
    answer = client.get(f"{REQUESTS}?group_id=group-1", headers=basic(secret))
    assert (answer.status_code, answer.json) == (200, [])
    check_signed(answer)


def test_group_is_answered_with_where_its_requests_are(client, wiring: Wiring, secret) -> None:
    desk = open_desk(wiring.settings.dsr, wiring.state, wiring.parameters, wiring.clock)
    identity = Identity(IdentityType.EMAIL, "ana.canary@example.com")
    order = Order("gdpr_delete", [identity], group_id="group of ana")
    sent = submit(desk, order, Submitter("acme", "org-1", None), str(uuid.uuid4()))
    answer = client.get(f"{REQUESTS}?group_id=group of ana", headers=basic(secret))
    [shown] = answer.json
    assert (shown["subject_request_id"], shown["request_status"]) == (sent.id, "pending")
    assert (shown["group_id"], shown["controller_id"]) == ("group of ana", "acme")
    assert decode_reports(answer.data)[0].expected_completion_at == sent.due_at


def test_group_of_another_organization_is_empty(client, wiring: Wiring, secret: str) -> None:
    desk = open_desk(wiring.settings.dsr, wiring.state, wiring.parameters, wiring.clock)
    identity = Identity(IdentityType.EMAIL, "bob.canary@example.com")
    order = Order("gdpr_delete", [identity], group_id="group-9")
    submit(desk, order, Submitter("other", "org-9", None), str(uuid.uuid4()))
    answer = client.get(f"{REQUESTS}?group_id=group-9", headers=basic(secret))
    assert answer.json == []


def test_requests_are_listed_by_group_alone(client: FlaskClient, secret: str) -> None:
    answer = client.get(REQUESTS, headers=basic(secret))
    assert error_of(answer)[0] == 400
    assert "group_id" in answer.text


@pytest.mark.parametrize("method", ["get", "delete"])
def test_request_that_is_not_here_is_not_found(client, secret: str, method: str) -> None:
    answer = client.open(f"{REQUESTS}/{uuid.uuid4()}", method=method, headers=basic(secret))
    assert error_of(answer) == (404, "not_found")
    check_signed(answer)


def test_who_is_not_known_is_asked_for_a_password(client: FlaskClient) -> None:
    answer = client.post(REQUESTS, data=body_of())
    assert error_of(answer) == (401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    check_signed(answer)


@pytest.mark.parametrize("subject", ["other", "", "äöü", "acme:"])
def test_key_serves_its_own_subject_alone(client, secret: str, subject: str) -> None:
    answer = client.get(f"{REQUESTS}/x", headers=basic(secret, subject))
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "authorization", ["Basic", "Basic !", "Basic YQ==", "Basic /w==", "Bearer x", "Digest a=b"]
)
def test_broken_credentials_are_refused(client: FlaskClient, authorization: str) -> None:
    answer = client.get(f"{REQUESTS}/x", headers={"Authorization": authorization})
    assert answer.status_code == 401


def test_two_credentials_are_refused(client: FlaskClient, secret: str) -> None:
    headers = {**basic(secret), "X-Api-Key": secret}
    assert client.get(f"{REQUESTS}/x", headers=headers).status_code == 401


def test_who_may_only_look_may_not_submit(client: FlaskClient, wiring: Wiring) -> None:
    headers = basic(key_of(wiring, "viewer"))
    assert error_of(client.post(REQUESTS, data=body_of(), headers=headers)) == (403, "forbidden")
    assert client.get(f"{REQUESTS}/x", headers=headers).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        body_of(regulation="canary"),
        body_of(subject_request_id="canary"),
        body_of([{"identity_type": "canary", "identity_value": "canary"}]),
    ],
)
def test_malformed_request_is_refused_without_its_values(client, secret, body: bytes) -> None:
    answer = client.post(REQUESTS, data=body, headers=basic(secret))
    assert error_of(answer) == (400, "malformed_opendsr")
    assert "canary" not in answer.text


def test_body_that_is_too_large_is_refused(client: FlaskClient, secret: str) -> None:
    answer = client.post(REQUESTS, data=b" " * 300_000, headers=basic(secret))
    assert error_of(answer) == (413, "too_large")


def test_without_settings_there_is_no_processor(wiring: Wiring, settings: Settings) -> None:
    section = settings.opendsr.model_copy(update={"domain": None})
    bare = settings.model_copy(update={"opendsr": section})
    client = create_app(replace(wiring, settings=bare)).test_client()
    assert error_of(client.get("/opendsr/v3/discovery")) == (404, "not_found")


@pytest.mark.parametrize("pem", [b"no key", Pki().signer("opendsr.other.example").key_pem])
def test_service_whose_key_is_not_the_certificates_does_not_start(
    tmp_path: Path, pem: bytes
) -> None:
    with pytest.raises(UsageError, match="key"):
        wire(settings_in(tmp_path, pem))
