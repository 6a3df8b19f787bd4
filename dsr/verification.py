"""Whether a callback is believed: a conversation that does no I/O of its own.

It says which certificates it needs, and is sent them. Its checks, in this order; nothing is parsed
before the first three have passed:

    domain allowed ──> certificate ──> signature over the raw body ──> (parse) ──> address ours
                           └── either fails ──> once more, with the certificate fetched anew
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from dsr.signing import OPENDSR, OPENGDPR, BadSignature, SignatureHeaders, check_signature
from dsr.trust import Chain, NotTrusted, Peer, Trust, peer_of
from schemas.opendsr.model import StatusReport


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
