"""The mock processor: what it keeps, how it signs, and how it misbehaves."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.verification import PolicyBuilder, Store

from runners.mock_processor.answers import CallbackDue, MockProcessor
from runners.mock_processor.identity import ProcessorIdentity
from runners.mock_processor.settings import ProcessorSettings, Signing
from runners.mock_server import Reply, Request
from schemas.opendsr.answers import decode_report
from schemas.opendsr.model import ProcessingStatus

DOMAIN = "processor.example"
IDENTITY = ProcessorIdentity(DOMAIN)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def mock(clock: Clock | None = None, **settings: Any) -> MockProcessor:
    return MockProcessor(ProcessorSettings(**settings), IDENTITY, clock or Clock())


def body(**changes: Any) -> bytes:
    fresh = str(uuid.uuid4())
    return json.dumps({
        "regulation": "gdpr", "subject_request_id": fresh, "subject_request_type": "erasure",
        "submitted_time": "2026-01-01T00:00:00Z",
        "subject_identities": {"email": {"value": fresh, "encoding": "raw"}},
        "status_callback_urls": ["http://127.0.0.1:1/callbacks"], **changes,
    }).encode()  # fmt: skip


def submit(processor: MockProcessor, content: bytes, base: str = "v3") -> Reply:
    return processor.reply(Request("POST", f"/{base}/requests", content))


def advanced(processor: MockProcessor) -> list[CallbackDue]:
    """The callbacks after a request was submitted and put into its next status."""
    submit(processor, body())
    processor.reply(Request("POST", "/advance"))
    return processor.callbacks()


def key() -> rsa.RSAPublicKey:
    public = x509.load_pem_x509_certificate(IDENTITY.chain).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    return public


def check(content: bytes, headers: Any, scheme: Any = None, prefix: str = "X-OpenDSR") -> None:
    signature = base64.b64decode(headers[f"{prefix}-Signature"])
    key().verify(signature, content, scheme or padding.PKCS1v15(), hashes.SHA256())


def test_certificate_is_good_by_its_root_and_for_its_domain() -> None:
    leaf, intermediate = x509.load_pem_x509_certificates(IDENTITY.chain)
    root = x509.load_pem_x509_certificate(IDENTITY.root)
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName(DOMAIN))
    assert verifier.verify(leaf, [intermediate])[0] == leaf


def test_answers_are_signed() -> None:
    reply = submit(mock(), body())
    check(reply.body, reply.headers)
    assert reply.headers["X-OpenDSR-Processor-Domain"] == DOMAIN


def test_callback_is_signed_over_its_body() -> None:
    (callback,) = advanced(mock())
    check(callback.body, callback.headers)


def test_wrong_signature_is_wrong() -> None:
    (callback,) = advanced(mock(signing=Signing.WRONG))
    with pytest.raises(InvalidSignature):
        check(callback.body, callback.headers)


def test_pss_signature_is_one_of_that_kind() -> None:
    (callback,) = advanced(mock(signing=Signing.PSS))
    check(
        callback.body,
        callback.headers,
        padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO),
    )


def test_signature_can_be_left_out() -> None:
    (callback,) = advanced(mock(signing=Signing.NONE))
    assert "X-OpenDSR-Signature" not in callback.headers


def test_legacy_headers_are_those_of_opengdpr() -> None:
    (callback,) = advanced(mock(legacy=True))
    check(callback.body, callback.headers, prefix="X-OpenGDPR")


def test_statuses_follow_each_other_in_time() -> None:
    clock = Clock()
    processor = mock(clock, step=10)
    submit(processor, body())
    told = []
    for _ in range(4):
        clock.sleep(10)
        told += [decode_report(callback.body).status for callback in processor.callbacks()]
    assert told == [ProcessingStatus.IN_PROGRESS, ProcessingStatus.COMPLETED]


def test_callbacks_are_repeated_and_shuffled() -> None:
    processor = mock(repeats=2, shuffled=True)
    submit(processor, body())
    processor.reply(Request("POST", "/advance"))
    processor.reply(Request("POST", "/advance"))
    told = [decode_report(callback.body).status.value for callback in processor.callbacks()]
    assert told == ["completed", "completed", "in_progress", "in_progress"]


def test_odd_times_have_seven_digits_and_no_zone() -> None:
    (callback,) = advanced(mock(odd_times=True))
    assert json.loads(callback.body)["expected_completion_time"] == "2026-01-15T00:00:00.0000007"


def test_sparse_callback_leaves_out_what_may_be_missing() -> None:
    (callback,) = advanced(mock(sparse=True))
    assert "status_callback_url" not in json.loads(callback.body)
    assert json.loads(callback.body)["expected_completion_time"] is None


def test_repeated_id_is_a_bad_request() -> None:
    processor, content = mock(), body()
    assert submit(processor, content).status == 201
    assert submit(processor, content).status == 400


def test_identities_in_progress_are_a_conflict_until_they_are_not() -> None:
    processor = mock()
    submit(processor, body(subject_identities={"email": {"value": "x"}}))
    again = body(subject_identities={"email": {"value": "x"}})
    assert submit(processor, again).status == 409
    for _ in range(2):
        processor.reply(Request("POST", "/advance"))
    assert submit(processor, again).status == 201


def test_lost_answer_is_cut_and_the_request_kept() -> None:
    processor = mock(lost=1.0)
    assert submit(processor, body()).cut
    assert len(json.loads(processor.reply(Request("GET", "/received")).body)) == 1


def test_outage_keeps_nothing() -> None:
    processor = mock(outage=True)
    assert submit(processor, body()).status == 503
    assert json.loads(processor.reply(Request("GET", "/received")).body) == []


@pytest.mark.parametrize("change", [b"[]", b'{"lost": 2}', b'{"wat": 1}', b'{"signing": "rot13"}'])
def test_bad_settings_change_nothing(change: bytes) -> None:
    processor = mock(latency=0.25)
    assert processor.reply(Request("PUT", "/settings", change)).status == 400
    assert json.loads(processor.reply(Request("GET", "/settings")).body)["latency"] == 0.25


def test_credentials_are_asked_for() -> None:
    guarded = MockProcessor(ProcessorSettings(), IDENTITY, Clock(), credentials="a:b")
    assert submit(guarded, body()).status == 401
    good = {"authorization": "Basic " + base64.b64encode(b"a:b").decode()}
    request = Request("POST", "/v3/requests", body(), good)
    assert guarded.reply(request).status == 201
    assert guarded.reply(replace(request, path="/v4/requests")).status == 404
