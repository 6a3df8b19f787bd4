"""Lethe as an OpenDSR processor: what it says of itself, and how it signs what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, DNSName, ExtensionNotFound, SubjectAlternativeName

from config.dsr import OpendsrSection
from dsr.lake import LakeOffer
from dsr.signing import OPENDSR, SMALLEST_KEY, SignatureHeaders, signed_headers
from schemas.dsr import Dsr, Particulars, RequestType
from schemas.errors import UsageError
from schemas.opendsr.model import Discovery, ProcessingStatus, StatusReport, SupportedIdentity
from stores.certificates import read_certificates
from stores.parameters import ParameterStore

API_VERSION = "3.0"


def discovery_of(certificate_url: str, offer: LakeOffer | None) -> Discovery:
    """What Lethe does as a processor: what its lake can do, and without a lake nothing."""
    if offer is None:
        return Discovery(API_VERSION, (), (), certificate_url)
    identities = tuple(SupportedIdentity(*one) for one in offer.formats)
    types = tuple(kind for kind in RequestType if kind in offer.types)
    return Discovery(API_VERSION, identities, types, certificate_url)


def report_of(
    dsr: Dsr, about: Particulars | None = None, now: datetime | None = None
) -> StatusReport:
    """Where a request is, as its controller is told that.

    With ``about`` where the results are, unless the lake's are past their time by ``now``.
    """
    status = ProcessingStatus.of(dsr.status)
    is_done = status is ProcessingStatus.COMPLETED
    return StatusReport(
        request_id=dsr.id,
        status=status,
        controller_id=dsr.owner,
        expected_completion_at=dsr.forwarding.expected_completion_at or dsr.due_at,
        results_url=None if about is None or not is_done else results_in(dsr, about, now),
        results_count=dsr.forwarding.results_count if is_done else None,
    )


def results_in(dsr: Dsr, about: Particulars, now: datetime | None = None) -> str | None:
    """The address of results: those of the lake, which answers for controllers."""
    return lake_results_in(dsr, about, now) or about.results_url


def lake_results_in(dsr: Dsr, about: Particulars, now: datetime | None = None) -> str | None:
    """The address of the lake's archive, unless the archive is past its time by ``now``."""
    made = None if dsr.lake is None else dsr.lake.export
    if made is not None and now is not None and made.expires_at <= now:
        return None
    return about.lake_results_url


@dataclass(frozen=True)
class Signer:
    """Signs for a domain; ``certificate`` is the PEM that says so to others."""

    domain: str
    certificate: bytes
    key: RSAPrivateKey = field(repr=False)

    def headers(self, body: bytes, names: SignatureHeaders = OPENDSR) -> dict[str, str]:
        """The headers that a body is sent with, an answer's or a callback's."""
        return signed_headers(self.key, self.domain, body, names)


class Signers:
    """The signer as the settings and the parameter have it now. For any number of threads."""

    def __init__(self, section: OpendsrSection, parameters: ParameterStore) -> None:
        self._section = section
        self._parameters = parameters
        self._made: tuple[str, Signer] | None = None

    def current(self) -> Signer | None:
        """The signer; None if Lethe is no processor here.

        Raises ``UsageError`` for a key or a certificate that cannot be used, or that do not belong
        together, and what the parameter store raises.
        """
        section = self._section
        if section.domain is None or section.certificate is None:
            return None
        text = self._parameters.get(section.key_parameter)
        if self._made is None or self._made[0] != text:
            pem = section.certificate.expanduser()
            chain = read_certificates(pem, "opendsr.certificate")
            key = _key_of(text, section.key_parameter)
            _check(chain[0], key, section.domain)
            self._made = text, Signer(section.domain, pem.read_bytes(), key)
        return self._made[1]


def _key_of(text: str, name: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError):
        raise UsageError(
            f"the parameter {name!r} must hold an RSA private key in PEM, without a password"
        ) from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < SMALLEST_KEY:
        raise UsageError(f"the parameter {name!r} must hold an RSA key of {SMALLEST_KEY} bits")
    return key


def _check(certificate: Certificate, key: RSAPrivateKey, domain: str) -> None:
    if certificate.public_key() != key.public_key():
        raise UsageError("opendsr.certificate: its first certificate is not that of the key")
    if domain not in _names(certificate):
        raise UsageError("opendsr.certificate: its first certificate does not name opendsr.domain")


def _names(certificate: Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return []
    return names.get_values_for_type(DNSName)
