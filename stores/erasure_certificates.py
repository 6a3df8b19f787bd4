"""Certificates of erasure: signed, as one line of JSON that outsiders can check.

Members are sorted by name, without white space, but for ``signature``, which stands last: it is
made by Ed25519 over the line without ``,"signature":"..."`` and the line feed. ``statement`` says
what the line is, so that no other signed text passes for one.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import msgspec

from schemas.erasure import Certificate
from schemas.errors import LetheError
from stores.audit_keys import AuditKeys, PublicKeys

CERTIFICATES = "_lethe/certificates/"

STATEMENT = "lethe certificate of erasure"

_SIGNATURE = b',"signature":"'
_END = re.compile(rb'[0-9a-f]*"}\s*')


class CertificateBroken(LetheError):
    """A certificate is none, was changed, or says what is not so (any more)."""

    code = "certificate_broken"
    http_status = 409


def certificate_key(erasure_id: str) -> str:
    """Where a lake keeps the certificate of an erasure."""
    return f"{CERTIFICATES}{erasure_id}.json"


def signed(certificate: Certificate, keys: AuditKeys) -> Certificate:
    """The certificate with the signature of the first of these keys."""
    unsigned = replace(certificate, key_id=keys.key_id, signature="")
    return replace(unsigned, signature=keys.sign_text(_text(unsigned)))


def encode_certificate(certificate: Certificate) -> bytes:
    """The line as it is kept."""
    return b"".join((_text(certificate)[:-1], _SIGNATURE, certificate.signature.encode(), b'"}\n'))


def decode_certificate(content: bytes, keys: PublicKeys) -> Certificate:
    """The certificate of a line. Raises ``CertificateBroken`` unless one of the keys signed it."""
    certificate = _decoded(content)
    text, _, rest = content.rpartition(_SIGNATURE)
    if not _END.fullmatch(rest):  # what follows a signature is not signed
        raise CertificateBroken("the certificate was changed: something follows its signature")
    if certificate.key_id not in keys.keys:
        raise CertificateBroken(
            f"the certificate is signed by the key {certificate.key_id[:16]!r}, which is not "
            "known here: give the public key of whoever made it by --public-key"
        )
    if not keys.have_signed(certificate.key_id, certificate.signature, text + b"}"):
        raise CertificateBroken("the certificate was changed: its signature is of another text")
    return certificate


def _decoded(content: bytes) -> Certificate:
    try:
        found: Any = msgspec.json.decode(content)
        if found.pop("statement", None) == STATEMENT:
            return msgspec.convert(found, Certificate)
    except (msgspec.MsgspecError, AttributeError, ValueError, RecursionError):
        pass
    raise CertificateBroken("this is no certificate of an erasure")


def _text(certificate: Certificate) -> bytes:
    """What is signed."""
    members = msgspec.to_builtins(certificate)
    del members["signature"]
    members["statement"] = STATEMENT
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
