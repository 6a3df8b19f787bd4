"""The keys that the audit log's checkpoints are signed with, and checked by.

The parameter ``audit-keys`` has one or several secrets of 64 hexadecimal digits, separated by
blanks, each an Ed25519 private key. The first one signs; all are known. So a key is replaced by
putting the new one before it. A key's id is the beginning of the SHA-256 of its public half.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from schemas.audit import AuditCheckpoint, AuditHead
from schemas.audit_lines import checkpoint_text, signed_text
from schemas.errors import UsageError
from stores.parameters import ParameterStore

AUDIT_KEYS = "audit-keys"

_SECRET = re.compile(r"[0-9a-fA-F]{64}")
_ID_DIGITS = 16


@dataclass(frozen=True)
class PublicKeys:
    """Keys that signatures are checked by, by their ids."""

    keys: Mapping[str, Ed25519PublicKey]

    def is_signed(self, checkpoint: AuditCheckpoint) -> bool:
        """Whether one of these keys has signed this."""
        return self.have_signed(checkpoint.key_id, checkpoint.signature, signed_text(checkpoint))

    def have_signed(self, key_id: str, signature: str, text: bytes) -> bool:
        """Whether the key of this id is one of these, and has signed the text."""
        key = self.keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(bytes.fromhex(signature), text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class AuditKeys:
    """Lethe's own keys; the first one signs."""

    secrets: tuple[Ed25519PrivateKey, ...] = field(repr=False)

    @property
    def public(self) -> PublicKeys:
        """The public halves of all."""
        return _by_id(secret.public_key() for secret in self.secrets)

    @property
    def public_pem(self) -> str:
        """The public half of the one that signs, for outsiders: PEM, as RFC 8410 has it."""
        pem = (
            self.secrets[0]
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        return pem.decode()

    @property
    def key_id(self) -> str:
        """The id of the one that signs."""
        return _id_of(self.secrets[0].public_key())

    def sign(self, head: AuditHead, at: datetime) -> AuditCheckpoint:
        """The statement that the log was so far at this time."""
        signature = self.sign_text(checkpoint_text(head, at, self.key_id))
        return AuditCheckpoint(head.sequence, head.hash, at, self.key_id, signature)

    def sign_text(self, text: bytes) -> str:
        """The signature of a text, as hexadecimal digits. The text should hold ``key_id``."""
        return self.secrets[0].sign(text).hex()


def audit_keys(parameters: ParameterStore) -> AuditKeys:
    """The keys of the parameter store. Raises ``UsageError`` if they are none."""
    secrets = parameters.get(AUDIT_KEYS).split()
    if not secrets or not all(map(_SECRET.fullmatch, secrets)):
        raise UsageError(
            f"the parameter {AUDIT_KEYS!r} must hold keys of 64 hexadecimal digits each, "
            "separated by blanks: make one with openssl rand -hex 32"
        )
    return AuditKeys(tuple(map(_private_key, secrets)))


def public_keys(pems: Iterable[bytes]) -> PublicKeys:
    """The keys of PEM files. Raises ``UsageError`` if one is no public key of Ed25519."""
    return _by_id(map(_public_key, pems))


def _private_key(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))


def _public_key(pem: bytes) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError("the public key must be a PEM file of an Ed25519 key")
    return key


def _by_id(keys: Iterable[Ed25519PublicKey]) -> PublicKeys:
    return PublicKeys({_id_of(key): key for key in keys})


def _id_of(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:_ID_DIGITS]
