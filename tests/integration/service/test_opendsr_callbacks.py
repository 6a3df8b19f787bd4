"""Callbacks over HTTP: certificate fetched, signature checked, request changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from config.dsr import CallbackPeerSection, CallbacksSection
from config.settings import load_settings
from dsr.signing import OPENDSR, OPENGDPR
from schemas.access import Reach
from schemas.audit import AuditDraft
from schemas.dsr import Dsr, DsrStatus, Forwarding
from schemas.errors import UsageError
from service.app import create_app
from service.bootstrap import Wiring, wire
from service.routes.opendsr_callbacks import LEGACY_PATH, PATH
from tests.certificate_host import CertificateHost, certificate_host
from tests.dsr_requests import a_request
from tests.pki import DOMAIN, NOW, Pki, Signer, pem_of

PKI = Pki()
SIGNER = PKI.signer()
OURS = "https://lethe.example.com/v1/dsr/callbacks/opendsr"
ALL = Reach(None)


@pytest.fixture
def host() -> Iterator[CertificateHost]:
    with certificate_host(SIGNER.pem) as running:
        yield running


def callbacks_of(roots: Path, url: str) -> CallbacksSection:
    peer = CallbackPeerSection(domain=DOMAIN, certificate_url=url)
    return CallbacksSection(urls=(OURS,), roots=roots, processors={"example": peer})


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("roots") / "roots.pem"
    path.write_bytes(pem_of(PKI.root.certificate))
    return path


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wiring]:
    """Everything but the settings of callbacks, for all tests of this module."""
    folder = tmp_path_factory.mktemp("callbacks")
    settings = load_settings(
        env="test",
        state={"folder": folder / "state"},
        parameters={"source": "file", "folder": folder / "keys"},
        outbound={"plain_http": True, "networks": ["127.0.0.0/8"]},
    )
    built = replace(wire(settings), clock=lambda: NOW)
    yield built
    built.closing.set()
    built.state.close()


@pytest.fixture
def wiring(wired: Wiring, roots: Path, host: CertificateHost) -> Wiring:
    callbacks = callbacks_of(roots, host.url)
    return replace(wired, settings=wired.settings.model_copy(update={"callbacks": callbacks}))


@pytest.fixture
def client(wiring: Wiring) -> FlaskClient:
    return create_app(wiring).test_client()


@pytest.fixture
def dsr(wiring: Wiring) -> Dsr:
    """A request that was forwarded."""
    forwarding = Forwarding(processor="example", region="eu", controller_id="c-1")
    subject = uuid.uuid4().hex * 2
    made = a_request(
        status=DsrStatus.SUBMITTED, forwarding=forwarding, sealed=b"", subjects=(subject,)
    )
    wiring.state.dsr.add([made], [AuditDraft("me", "org-1", "dsr.submitted", f"dsr:{made.id}")])
    return made


def test_service_whose_roots_cannot_be_read_does_not_start(wiring, tmp_path: Path) -> None:
    callbacks = callbacks_of(tmp_path / "missing.pem", "https://example.com/a.pem")
    settings = wiring.settings.model_copy(update={"callbacks": callbacks})
    with pytest.raises(UsageError, match="roots"):
        wire(settings)


def body_of(request_id: str, status: str = "completed", **further: object) -> bytes:
    content = {"subject_request_id": request_id, "request_status": status, **further}
    return json.dumps(content).encode()


def send(
    client: FlaskClient, body: bytes, signer: Signer = SIGNER, path: str = PATH
) -> TestResponse:
    return client.post(path, data=body, headers=signer.headers(body))


def status_of(wiring: Wiring, dsr: Dsr) -> str:
    found = wiring.state.dsr.get(dsr.id, ALL)
    assert found is not None
    return found.status.value


def test_signed_callback_changes_the_request(client, wiring: Wiring, dsr: Dsr) -> None:
    answer = send(client, body_of(dsr.id))
    assert (answer.status_code, answer.data) == (202, b"")
    assert status_of(wiring, dsr) == "completed"


def test_change_comes_with_its_event_and_its_audit_entry(client, wiring, dsr: Dsr) -> None:
    place = wiring.state.outbox.newest()
    send(client, body_of(dsr.id))
    (event,) = wiring.state.outbox.after(place, 10)
    assert event.event.payload["status"] == "completed"
    *_, entry = wiring.state.audit.of(f"dsr:{dsr.id}", ALL)
    assert entry.draft.action == "dsr.told"


def test_callback_as_mparticle_writes_it_is_read(client, wiring, dsr: Dsr) -> None:
    body = body_of(
        dsr.id,
        "in_progress",
        controller_id="c-1",
        expected_completion_time="2026-12-01T10:20:30.1234567",
        status_callback_url=OURS,
        results_url=None,
        extensions={"x": {}},
    )
    assert send(client, body).status_code == 202
    assert status_of(wiring, dsr) == "in_progress"


def test_legacy_headers_and_path_are_honoured(client, wiring, dsr: Dsr) -> None:
    body = body_of(dsr.id)
    headers = SIGNER.headers(body, OPENGDPR)
    assert client.post(LEGACY_PATH, data=body, headers=headers).status_code == 202
    assert status_of(wiring, dsr) == "completed"


@pytest.mark.parametrize(
    "forger",
    [
        PKI.self_signed(),
        PKI.signer("opendsr.example.com.evil.example"),
        Pki("Evil").signer(),
    ],
)
def test_forged_callback_is_refused_and_changes_nothing(client, wiring, dsr, forger) -> None:
    answer = send(client, body_of(dsr.id), forger)
    assert answer.status_code == 401
    assert status_of(wiring, dsr) == "submitted"


def test_certificate_that_vouches_for_itself_is_refused(client, wiring, host, dsr: Dsr) -> None:
    forger = PKI.self_signed()
    host.content = forger.pem
    assert send(client, body_of(dsr.id), forger).status_code == 401
    assert status_of(wiring, dsr) == "submitted"


def test_swapped_body_is_refused(client, wiring, dsr: Dsr) -> None:
    headers = SIGNER.headers(body_of(str(uuid.uuid4())))
    answer = client.post(PATH, data=body_of(dsr.id), headers=headers)
    assert answer.status_code == 401
    assert status_of(wiring, dsr) == "submitted"


def test_all_refusals_read_alike(client, host, dsr: Dsr) -> None:
    unsigned = client.post(PATH, data=body_of(dsr.id))
    forged = send(client, body_of(dsr.id), PKI.signer("opendsr.evil.example"))
    assert unsigned.json["error"]["message"] == forged.json["error"]["message"]


def test_callback_meant_for_another_is_refused(client, wiring, dsr: Dsr) -> None:
    body = body_of(dsr.id, status_callback_url="https://other.example.com/callbacks")
    assert send(client, body).status_code == 401
    assert status_of(wiring, dsr) == "submitted"


def test_unknown_request_is_answered_like_a_known_one(client, dsr: Dsr) -> None:
    known, unknown = send(client, body_of(dsr.id)), send(client, body_of(str(uuid.uuid4())))
    assert (unknown.status_code, unknown.data) == (known.status_code, known.data)


def test_replay_is_answered_alike_and_changes_nothing(client, wiring, dsr: Dsr) -> None:
    began = body_of(dsr.id, "in_progress")
    for body in (began, body_of(dsr.id), began, began):
        assert send(client, body).status_code == 202
    found = wiring.state.dsr.get(dsr.id, ALL)
    assert (found.status, found.version) == ("completed", dsr.version + 2)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"request_status": "completed"}', "subject_request_id"),
        (body_of("canary-id"), "subject_request_id"),
        (body_of("5f6361c7-3ffe-4255-b2d0-934c6badff2d", "canary"), "request_status"),
    ],
)
def test_malformed_body_that_is_signed_is_refused_by_field(client, body: bytes, field: str) -> None:
    answer = send(client, body)
    assert (answer.status_code, answer.json["error"]["details"]["field"]) == (400, field)
    assert "canary" not in answer.text


def test_malformed_body_that_is_not_signed_is_not_read(client) -> None:
    assert client.post(PATH, data=b"{").status_code == 401


def test_body_that_is_too_large_is_refused(client) -> None:
    assert send(client, b" " * 70_000).status_code == 413


def test_certificate_that_cannot_be_had_has_the_processor_come_again(
    client, wiring, host: CertificateHost, dsr: Dsr
) -> None:
    host.status = 500
    answer = send(client, body_of(dsr.id))
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert status_of(wiring, dsr) == "submitted"


def test_certificate_is_fetched_once_for_many_callbacks(client, host, dsr: Dsr) -> None:
    for _ in range(3):
        send(client, body_of(dsr.id))
        send(client, body_of(dsr.id), PKI.self_signed())
    assert host.asked == 1


def test_callbacks_are_counted_by_outcome(client, wiring: Wiring, dsr: Dsr) -> None:
    def counts() -> list[float]:
        read = wiring.observer.metrics.registry.get_sample_value
        outcomes = ("applied", "unknown", "domain")
        return [read("lethe_dsr_callbacks_total", {"outcome": one}) or 0 for one in outcomes]

    before = counts()
    send(client, body_of(dsr.id))
    send(client, body_of(str(uuid.uuid4())))
    client.post(PATH, data=b"{}")
    assert [after - known for after, known in zip(counts(), before, strict=True)] == [1, 1, 1]


def test_checks_of_callbacks_are_timed_by_result(client, wiring: Wiring, dsr: Dsr) -> None:
    def counts() -> list[float]:
        read = wiring.observer.metrics.registry.get_sample_value
        name = "lethe_dsr_certificate_check_duration_seconds_count"
        return [read(name, {"result": one}) or 0 for one in ("good", "signature")]

    before = counts()
    send(client, body_of(dsr.id))
    send(client, body_of(dsr.id), PKI.self_signed())
    assert sum(counts()) - sum(before) == 2
    assert counts()[0] - before[0] == 1


def test_same_callback_many_times_at_once_is_applied_once(client, wiring, dsr: Dsr) -> None:
    body = body_of(dsr.id)
    application = client.application

    def ask(_: int) -> int:
        return send(application.test_client(), body).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {202}
    entries = list(wiring.state.audit.of(f"dsr:{dsr.id}", ALL))
    assert [entry.draft.action for entry in entries] == ["dsr.submitted", "dsr.told"]


@pytest.mark.parametrize("name", [OPENDSR.domain, OPENDSR.signature])
def test_header_that_comes_twice_is_refused(client, wiring, dsr: Dsr, name: str) -> None:
    body = body_of(dsr.id)
    headers = [*SIGNER.headers(body).items(), (name, SIGNER.headers(body)[name])]
    assert client.post(PATH, data=body, headers=headers).status_code == 401
    assert status_of(wiring, dsr) == "submitted"


_HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=200)


@given(domain=_HEADER | st.just(DOMAIN), signature=_HEADER, body=st.binary(max_size=100))
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_garbage_is_refused_and_never_breaks(client, domain, signature, body: bytes) -> None:
    headers = {OPENDSR.domain: domain, OPENDSR.signature: signature}
    assert client.post(PATH, data=body, headers=headers).status_code == 401
