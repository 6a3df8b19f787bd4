"""The conversation by which a callback is believed, held without I/O."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr.signing import OPENDSR, OPENGDPR
from dsr.trust import Chain, Peer, Trust
from dsr.verification import (
    CallbackRefused,
    CertificateWanted,
    Check,
    Verified,
    check_address,
    signed,
    verification,
    verify,
)
from schemas.opendsr.model import ProcessingStatus, StatusReport
from tests.pki import DOMAIN, NOW, Pki, rsa_key

PKI = Pki()
SIGNER = PKI.signer()
PEER = Peer("example", DOMAIN)
TRUST = Trust([PKI.root.certificate])
BODY = b'{"request_status": "completed"}'


class Answers:
    """Gives these certificates one after the other, and keeps the questions."""

    def __init__(self, *chains: Chain) -> None:
        self._chains: Iterator[Chain] = iter(chains)
        self.questions: list[CertificateWanted] = []

    def __call__(self, question: CertificateWanted) -> Chain:
        self.questions.append(question)
        return next(self._chains)


def held(headers: dict[str, str], answers: Answers, body: bytes = BODY) -> Verified:
    message = signed(headers, body)
    return verify(verification(message, {DOMAIN: PEER}, TRUST, lambda: NOW), answers)


def refused(headers: dict[str, str], answers: Answers, body: bytes = BODY) -> Check:
    with pytest.raises(CallbackRefused) as caught:
        held(headers, answers, body)
    return caught.value.check


@pytest.mark.parametrize("names", [OPENDSR, OPENGDPR])
def test_signed_message_is_believed_under_either_name(names) -> None:
    answers = Answers(SIGNER.chain)
    assert held(SIGNER.headers(BODY, names), answers).peer is PEER
    assert answers.questions == [CertificateWanted(PEER)]


def test_no_certificate_is_asked_for_before_the_domain_is_allowed() -> None:
    answers = Answers()
    headers = PKI.signer("opendsr.other.example").headers(BODY)
    assert refused(headers, answers) is Check.DOMAIN
    assert answers.questions == []


def test_certificate_that_is_not_good_is_fetched_anew_once() -> None:
    answers = Answers(PKI.self_signed().chain, SIGNER.chain)
    assert held(SIGNER.headers(BODY), answers).peer is PEER
    assert answers.questions[1].other_than is not None


def test_signature_of_a_new_key_has_the_certificate_fetched_anew() -> None:
    renewed = PKI.signer(key=rsa_key("renewed"))
    answers = Answers(SIGNER.chain, renewed.chain)
    assert held(renewed.headers(BODY), answers).fingerprint


def test_it_is_not_fetched_a_third_time() -> None:
    forged = PKI.self_signed()
    answers = Answers(forged.chain, PKI.self_signed().chain)
    assert refused(forged.headers(BODY), answers) is Check.CERTIFICATE
    assert len(answers.questions) == 2


def test_same_certificate_fetched_anew_is_not_checked_again() -> None:
    answers = Answers(SIGNER.chain, SIGNER.chain)
    assert refused(SIGNER.headers(b"another body"), answers) is Check.SIGNATURE


def test_headers_of_both_kinds_are_not_mixed() -> None:
    headers = SIGNER.headers(BODY, OPENGDPR)
    headers[OPENDSR.domain] = headers.pop(OPENGDPR.domain)
    assert refused(headers, Answers()) is Check.SIGNATURE


@pytest.mark.parametrize("missing", [OPENDSR.domain, OPENDSR.signature])
def test_message_that_lacks_a_header_is_refused(missing: str) -> None:
    headers = {name: text for name, text in SIGNER.headers(BODY).items() if name != missing}
    refused(headers, Answers())


@given(st.text(max_size=100), st.text(max_size=400))
def test_garbage_in_headers_is_refused_and_never_breaks(domain: str, signature: str) -> None:
    headers = {OPENDSR.domain: domain, OPENDSR.signature: signature}
    refused(headers, Answers(SIGNER.chain, SIGNER.chain))


@given(st.binary(max_size=200))
def test_only_the_signed_bytes_are_believed(body: bytes) -> None:
    if body != BODY:
        answers = Answers(SIGNER.chain, SIGNER.chain)
        assert refused(SIGNER.headers(BODY), answers, body) is Check.SIGNATURE


OURS = ("https://lethe.example.com/v1/dsr/callbacks/opendsr",)


def report(url: str | None) -> StatusReport:
    return StatusReport("id", ProcessingStatus.COMPLETED, callback_url=url)


def test_callback_for_our_address_or_none_is_taken() -> None:
    check_address(report(OURS[0]), OURS)
    check_address(report(None), OURS)


@pytest.mark.parametrize("url", ["https://other.example.com/", OURS[0] + "/", OURS[0] + "?a=b"])
def test_callback_for_another_address_is_refused(url: str) -> None:
    with pytest.raises(CallbackRefused):
        check_address(report(url), OURS)
