"""A certificate authority of the tests' own: root, intermediate, and certificates for processors.

pki = Pki()
signer = pki.signer("opendsr.example.com")
signer.headers(body)          # what a processor of this domain sends with a body
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dsr.signing import OPENDSR, SignatureHeaders, signed_headers

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DOMAIN = "opendsr.example.com"

RsaKey = rsa.RSAPrivateKey
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str, bits: int = 2048) -> RsaKey:
    """The key of this name; made once a test run, for making one takes long."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Authority:
    """A certificate that signs others."""

    certificate: x509.Certificate
    key: RsaKey


@dataclass(frozen=True)
class Signer:
    """A processor: its certificate with what leads to the root, and its key."""

    domain: str
    chain: tuple[x509.Certificate, ...]
    key: RsaKey

    @property
    def pem(self) -> bytes:
        return pem_of(*self.chain)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def headers(self, body: bytes, names: SignatureHeaders = OPENDSR) -> dict[str, str]:
        return signed_headers(self.key, self.domain, body, names)


def pem_of(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


class Pki:
    """A root and an intermediate of it, in force for years around ``NOW``."""

    def __init__(self, name: str = "Lethe tests") -> None:
        self.name = name
        self.root = self._authority(f"{name} root", None)
        self.intermediate = self._authority(f"{name} intermediate", self.root)

    def _authority(self, name: str, issuer: Authority | None) -> Authority:
        key = rsa_key(name)
        issuing = key if issuer is None else issuer.key
        issuer_name = _name(name) if issuer is None else issuer.certificate.subject
        depth = 1 if issuer is None else 0
        built = (
            _builder(_name(name), issuer_name, key, NOW - timedelta(days=1000), 3000)
            .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(_authority_id(issuing), critical=False)
        )
        return Authority(built.sign(issuing, SHA256()), key)

    def key(self, domain: str) -> RsaKey:
        """The key of the processor of this domain."""
        return rsa_key(f"{self.name} {domain}")

    def certificate(
        self,
        domain: str = DOMAIN,
        key: Key | None = None,
        *,
        begins: datetime = NOW - timedelta(days=30),
        days: int = 90,
        issuer: Authority | None = None,
    ) -> x509.Certificate:
        """A certificate for this domain."""
        by = issuer or self.intermediate
        built = (
            _builder(_name(domain), by.certificate.subject, key or self.key(domain), begins, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_authority_id(by.key), critical=False)
        )
        return built.sign(by.key, SHA256())

    def signer(self, domain: str = DOMAIN, key: RsaKey | None = None) -> Signer:
        """A processor of this domain, as it should be."""
        own = key or self.key(domain)
        chain = (self.certificate(domain, own), self.intermediate.certificate)
        return Signer(domain, chain, own)

    def self_signed(self, domain: str = DOMAIN) -> Signer:
        """A processor that vouches for itself."""
        key = rsa_key(f"{domain} of its own")
        certificate = self.certificate(domain, key)
        own = Authority(certificate, key)
        return Signer(domain, (self.certificate(domain, key, issuer=own),), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, begins: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _authority_id(key: RsaKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
