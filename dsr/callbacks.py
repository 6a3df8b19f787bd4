"""Callbacks of processors: whether they are believed, and what they make of a request.

``verification`` is a conversation: it says which certificates it needs, is sent them, and does no
I/O of its own. Its checks, in this order, and nothing is parsed before they have passed:

    domain allowed ──> certificate ──> signature over the raw body ──> (parse) ──> address ours
                           └── one of them fails ──> once more with the certificate fetched anew

``apply`` changes a request, once: what a callback says counts only if it takes the request further.
A callback has no time and no number, so that an old one can be sent again by whoever has seen it;
a status that is not ahead of the one there is changes nothing, nor does anything beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from dsr.changing import Decide, Step, change
from dsr.desk import Desk
from dsr.signing import OPENDSR, OPENGDPR, BadSignature, SignatureHeaders, check_signature
from dsr.trust import Chain, NotTrusted, Peer, Trust, peer_of
from schemas.access import Reach
from schemas.dsr import Dsr, DsrStatus, Forwarding
from schemas.errors import NotFound
from schemas.opendsr.model import StatusReport
from stores.subjects import Subjects

LARGEST = 64 * 1024
"""Bytes of a callback's body."""


class Check(StrEnum):
    """The checks that a callback has to pass."""

    DOMAIN = "domain"
    CERTIFICATE = "certificate"
    SIGNATURE = "signature"
    ADDRESS = "address"


class CallbackRefused(Exception):
    """A callback is not believed: which check it failed, and why; for the log, not the sender."""

    def __init__(self, check: Check, cause: str) -> None:
        super().__init__(check, cause)
        self.check = check
        self.cause = cause


@dataclass(frozen=True)
class Signed:
    """A body, and who is said to have signed it."""

    domain: str
    signature: str = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class CertificateWanted:
    """A question: the certificates of this peer, if there may be any, other than these."""

    peer: Peer
    other_than: Chain | None = None


@dataclass(frozen=True)
class Verified:
    """Whose callback it is, and the digest of the certificate that says so."""

    peer: Peer
    fingerprint: str


Verification = Generator[CertificateWanted, Chain, Verified]


def signed(headers: Mapping[str, str], body: bytes) -> Signed:
    """A message as it came; headers of OpenGDPR count if there are none of OpenDSR.

    Raises ``CallbackRefused`` if it has not both of either.
    """
    names = OPENGDPR if not _any_of(headers, OPENDSR) else OPENDSR
    domain, signature = headers.get(names.domain), headers.get(names.signature)
    if not domain:
        raise CallbackRefused(Check.DOMAIN, "no domain header")
    if not signature:
        raise CallbackRefused(Check.SIGNATURE, "no signature header")
    return Signed(domain, signature, body)


def _any_of(headers: Mapping[str, str], names: SignatureHeaders) -> bool:
    return names.domain in headers or names.signature in headers


def verification(
    message: Signed, peers: Mapping[str, Peer], trust: Trust, clock: Callable[[], datetime]
) -> Verification:
    """Whether a message is believed; ``peers`` are by domain. Raises ``CallbackRefused``.

    A signature that fails may be of a new key, whose certificate is not known yet: so it has the
    certificates fetched anew, too, as does a certificate that is not good.
    """
    try:
        peer = peer_of(peers, message.domain)
    except NotTrusted as error:
        raise CallbackRefused(Check.DOMAIN, str(error)) from None
    chain = yield CertificateWanted(peer)
    try:
        return _believed(message, peer, chain, trust, clock())
    except CallbackRefused:
        renewed = yield CertificateWanted(peer, chain)
        if renewed == chain:
            raise
    return _believed(message, peer, renewed, trust, clock())


def _believed(message: Signed, peer: Peer, chain: Chain, trust: Trust, now: datetime) -> Verified:
    try:
        key = trust.key_of(peer, chain, now)
        check_signature(key.key, message.body, message.signature, allows_pss=peer.allows_pss)
    except NotTrusted as error:
        raise CallbackRefused(Check.CERTIFICATE, str(error)) from None
    except BadSignature as error:
        raise CallbackRefused(Check.SIGNATURE, str(error)) from None
    return Verified(peer, key.fingerprint)


def verify(verification: Verification, answer: Callable[[CertificateWanted], Chain]) -> Verified:
    """Hold the conversation; ``answer`` gets certificates. Raises as both do."""
    try:
        question = next(verification)
        while True:
            question = verification.send(answer(question))
    except StopIteration as end:
        found: Verified = end.value
        return found


def check_address(report: StatusReport, ours: Collection[str]) -> None:
    """Raise ``CallbackRefused`` for what was to be told to somebody else."""
    if report.callback_url is not None and report.callback_url not in ours:
        raise CallbackRefused(Check.ADDRESS, "for another address than ours")


class Outcome(StrEnum):
    """What became of a callback that was believed."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"


class _LeftAlone(Exception):
    """The callback changes nothing."""


def apply(desk: Desk, message: Signed, report: StatusReport, by: Verified) -> Outcome:
    """Have the request be what the processor says, in one transaction with event and audit entry.

    ``UNKNOWN`` if this processor was not sent such a request. May raise ``Unavailable`` and
    ``StoreError``: then nothing was changed, and the callback is to be sent again.
    """
    evidence = {
        "told": report.status.value,
        "body_sha256": hashlib.sha256(message.body).hexdigest(),
        "certificate_sha256": by.fingerprint,
    }
    decide = _decision(report, by.peer, desk.subjects, evidence)
    try:
        change(desk, report.request_id, Reach(None), f"processor:{by.peer.name}", decide)
    except NotFound:
        return Outcome.UNKNOWN
    except _LeftAlone:
        return Outcome.UNCHANGED
    return Outcome.APPLIED


def _decision(
    report: StatusReport, peer: Peer, subjects: Subjects, evidence: Mapping[str, Any]
) -> Decide:
    def decide(dsr: Dsr, now: datetime) -> Step:
        if not concerns(dsr, peer, report):
            raise NotFound("this request is not at this processor")
        if not takes_further(dsr, report):
            raise _LeftAlone
        sealed = _with_results(dsr, report, subjects)
        return Step(replace(advanced(dsr, report, now), sealed=sealed), "told", evidence)

    return decide


def concerns(dsr: Dsr, peer: Peer, report: StatusReport) -> bool:
    """Whether the request was sent to this processor, by whom the report says it was."""
    forwarding = dsr.forwarding
    if forwarding.processor != peer.name:
        return False
    return None in {forwarding.controller_id, report.controller_id} or (
        forwarding.controller_id == report.controller_id
    )


def takes_further(dsr: Dsr, report: StatusReport) -> bool:
    """Whether the report is ahead of what is known.

    That a request is pending says too little of one that is still on its way: where it arrived is
    found out by whoever sent it.
    """
    status = report.status.as_status
    if status is DsrStatus.SUBMITTED and dsr.forwarding.region is None:
        return False
    return dsr.status.may_become(status)


def advanced(dsr: Dsr, report: StatusReport, now: datetime) -> Dsr:
    """The request as the report has it. What the report leaves out stays as it is."""
    status = report.status.as_status
    return replace(
        dsr,
        status=status,
        forwarding=_advanced(dsr.forwarding, report),
        parked_reason=None,
        closed_at=now if status.is_final else dsr.closed_at,
    )


def _advanced(known: Forwarding, report: StatusReport) -> Forwarding:
    return replace(
        known,
        controller_id=known.controller_id or report.controller_id,
        expected_completion_at=report.expected_completion_at or known.expected_completion_at,
        results_count=_first(report.results_count, known.results_count),
        next_try_at=None,
    )


def _first(told: int | None, known: int | None) -> int | None:
    return known if told is None else told


def _with_results(dsr: Dsr, report: StatusReport, subjects: Subjects) -> bytes:
    """Whoever has the address of results has the subject's data: it is kept sealed."""
    if report.results_url is None or not dsr.sealed:
        return dsr.sealed
    particulars = subjects.open(dsr.id, dsr.sealed)
    return subjects.seal(dsr.id, replace(particulars, results_url=report.results_url))
