"""Signatures of OpenDSR: RSA PKCS#1 v1.5 with SHA-256 over the bytes of a body (RFC 8017, 8.2).

A message says who signed it in ``X-OpenDSR-Processor-Domain``, and holds the signature, in base64,
in ``X-OpenDSR-Signature``. Older peers write ``X-OpenGDPR-...``. Pure but for the key's own checks.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

SMALLEST_KEY = 2048
"""Bits of an RSA key; one that has fewer signs nothing here."""


@dataclass(frozen=True)
class SignatureHeaders:
    """How the two headers of a signed message are called."""

    domain: str
    signature: str


OPENDSR = SignatureHeaders("X-OpenDSR-Processor-Domain", "X-OpenDSR-Signature")
OPENGDPR = SignatureHeaders("X-OpenGDPR-Processor-Domain", "X-OpenGDPR-Signature")
"""What OpenDSR was called before version 2."""

_BLANKS = re.compile(r"[ \t\r\n]+")
_LONGEST = 4096


class BadSignature(Exception):
    """A signature is not that of this key over this body; the message says no more than how."""


def sign(key: RSAPrivateKey, body: bytes) -> str:
    """The signature of a body, as it stands in a header."""
    return b64encode(key.sign(body, PKCS1v15(), SHA256())).decode()


def signed_headers(
    key: RSAPrivateKey, domain: str, body: bytes, names: SignatureHeaders = OPENDSR
) -> dict[str, str]:
    """The headers by which a body of ``domain`` is signed."""
    return {names.domain: domain, names.signature: sign(key, body)}


def check_signature(
    key: RSAPublicKey, body: bytes, signature: str, *, allows_pss: bool = False
) -> None:
    """Raise ``BadSignature`` unless this is the key's signature of the body.

    ``allows_pss`` takes one in PSS (RFC 8017, 8.1) as well, which no version of OpenDSR allows.
    """
    content = _decoded(signature)
    paddings: list[PKCS1v15 | PSS] = [PKCS1v15()]
    if allows_pss:
        paddings.append(PSS(MGF1(SHA256()), PSS.AUTO))
    if not any(_is_of(key, body, content, padding) for padding in paddings):
        raise BadSignature("not of this key and body")


def _decoded(signature: str) -> bytes:
    if len(signature) > _LONGEST:
        raise BadSignature("too long")
    try:
        return b64decode(_BLANKS.sub("", signature), validate=True)
    except (binascii.Error, ValueError):
        raise BadSignature("not base64") from None


def _is_of(key: RSAPublicKey, body: bytes, signature: bytes, padding: PKCS1v15 | PSS) -> bool:
    try:
        key.verify(signature, body, padding, SHA256())
    except InvalidSignature:
        return False
    return True
