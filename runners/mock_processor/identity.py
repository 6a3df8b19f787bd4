"""Who the mock processor is: a certificate of its own authority, and signatures by its key.

The authority is made at the start: a root, an intermediate, and the processor's certificate, which
is served together with the intermediate.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from runners.mock_processor.settings import Signing

_GOOD_FOR = timedelta(days=30)
_KEY_BITS = 2048

_Key = ec.EllipticCurvePrivateKey


class ProcessorIdentity:
    """The identity of a processor at ``domain``."""

    def __init__(self, domain: str) -> None:
        root_key, intermediate_key = _authority_key(), _authority_key()
        root = _authority("Mock processors' root", root_key, None, None, 1)
        intermediate = _authority("Mock processors", intermediate_key, root, root_key, 0)
        self._key = rsa.generate_private_key(65537, _KEY_BITS)
        leaf = _leaf(domain, self._key, intermediate, intermediate_key)
        self.domain = domain
        self.root = root.public_bytes(Encoding.PEM)
        """The certificate to trust, in PEM."""
        self.chain = leaf.public_bytes(Encoding.PEM) + intermediate.public_bytes(Encoding.PEM)
        """The processor's certificate and the one that it is signed by, in PEM."""

    def headers(self, body: bytes, signing: Signing, legacy: bool) -> Mapping[str, str]:
        """The headers that sign a body."""
        if signing is Signing.NONE:
            return {}
        prefix = "X-OpenGDPR" if legacy else "X-OpenDSR"
        signature = base64.b64encode(self._signature(body, signing)).decode()
        return {f"{prefix}-Processor-Domain": self.domain, f"{prefix}-Signature": signature}

    def _signature(self, body: bytes, signing: Signing) -> bytes:
        if signing is Signing.PSS:
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
            return self._key.sign(body, pss, hashes.SHA256())
        signed = body + b" " if signing is Signing.WRONG else body
        return self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())


def _authority_key() -> _Key:
    return ec.generate_private_key(ec.SECP256R1())


def _authority(
    name: str, key: _Key, issuer: x509.Certificate | None, issuer_key: _Key | None, length: int
) -> x509.Certificate:
    """A certificate that signs others; without an issuer it signs itself."""
    subject = _named(name)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    by = subject if issuer is None else issuer.subject
    signing_key = issuer_key or key
    return (
        _begun(subject, by, key.public_key(), signing_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
        .add_extension(usage, critical=True)
        .sign(signing_key, hashes.SHA256())
    )


def _leaf(
    domain: str, key: rsa.RSAPrivateKey, issuer: x509.Certificate, issuer_key: _Key
) -> x509.Certificate:
    """The processor's certificate, as web servers have one (RFC 5280, CA/Browser Forum)."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        _begun(_named(domain), issuer.subject, key.public_key(), issuer_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
        .add_extension(usage, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer_key: _Key,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _GOOD_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(authority, critical=False)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
