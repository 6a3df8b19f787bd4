"""Subjects of requests, as they are kept: found by a keyed hash, and sealed.

The parameter ``dsr-subject-key`` is the key of the hashes (HMAC-SHA256): who has the state alone
cannot try addresses against them. It is not to be replaced, or requests are not found any more.

The parameter ``dsr-seal-keys`` has one or several secrets, separated by blanks. The first one
seals, by AES-256-GCM; all open. So a key is replaced by adding a new one behind it, and putting
that first when every process knows it. A sealed part names its key, and belongs to one request: put
into another one it does not open.

    version 1 (1 byte) | key id (8) | nonce (12) | ciphertext and tag
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.dsr import Identity, Particulars
from schemas.errors import SecretUnusable, StoreError
from schemas.identities import normalised
from stores.parameters import ParameterStore, too_short

SUBJECT_KEY = "dsr-subject-key"
SEAL_KEYS = "dsr-seal-keys"

_SHORTEST_KEY = 32
_VERSION = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = 1 + _ID_BYTES


class SealBroken(StoreError):
    """What is sealed cannot be opened: its key is not known, or it was changed."""

    code = "seal_broken"


@dataclass(frozen=True)
class _SealKey:
    secret: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        return hmac.digest(self.secret, b"lethe seal key id", "sha256")[:_ID_BYTES]

    @property
    def cipher(self) -> AESGCM:
        return AESGCM(hmac.digest(self.secret, b"lethe seal", "sha256"))


class Subjects:
    """Hashes and seals. Does no I/O until it is used. For any number of threads.

    Every method may raise ``SecretUnusable`` for a key that is missing or too short, and what the
    parameter store raises.
    """

    def __init__(self, parameters: ParameterStore, plus_addressing: bool = False) -> None:
        self._parameters = parameters
        self._plus_addressing = plus_addressing

    def hash_of(self, identity: Identity) -> str:
        """64 hexadecimal digits that stand for an identity; those that are alike have the same."""
        value = normalised(identity, self._plus_addressing)
        return self._hashed("subject", identity.type, identity.format, value)

    def hashes_of(self, identities: Iterable[Identity]) -> tuple[str, ...]:
        """The hashes of all, each once, sorted."""
        return tuple(sorted({self.hash_of(identity) for identity in identities}))

    def pseudonym(self, purpose: str, value: str) -> str:
        """64 hexadecimal digits that stand for something else which must not be written down."""
        return self._hashed("pseudonym", purpose, value)

    def seal(self, request_id: str, particulars: Particulars) -> bytes:
        """The particulars, encrypted, for this request."""
        key = self._seal_keys()[0]
        header, nonce = _VERSION + key.id, os.urandom(_NONCE_BYTES)
        content = msgspec.json.encode(particulars)
        return header + nonce + key.cipher.encrypt(nonce, content, _bound(header, request_id))

    def open(self, request_id: str, sealed: bytes) -> Particulars:
        """The particulars of this request. Raises ``SealBroken``."""
        header, rest = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES:]
        nonce, content = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        key = self._key_of(header, request_id)
        try:
            plain = key.cipher.decrypt(nonce, content, _bound(header, request_id))
        except (InvalidTag, ValueError):
            raise SealBroken(f"request {request_id}: what is sealed was changed") from None
        return msgspec.json.decode(plain, type=Particulars)

    def _key_of(self, header: bytes, request_id: str) -> _SealKey:
        for key in self._seal_keys():
            if header == _VERSION + key.id:
                return key
        raise SealBroken(
            f"request {request_id}: the key that seals it is not known: add it to the parameter "
            f"{SEAL_KEYS!r}, behind the others"
        )

    def _hashed(self, *parts: str) -> str:
        key = self._parameters.get(SUBJECT_KEY).encode()
        if len(key) < _SHORTEST_KEY:
            raise too_short(SUBJECT_KEY, _SHORTEST_KEY)
        mac = hmac.new(key, digestmod=hashlib.sha256)
        for part in parts:
            content = part.encode()
            mac.update(len(content).to_bytes(8, "big") + content)
        return mac.hexdigest()

    def _seal_keys(self) -> tuple[_SealKey, ...]:
        text = self._parameters.get(SEAL_KEYS)
        keys = tuple(_SealKey(part.encode()) for part in text.split())
        if not keys or any(len(key.secret) < _SHORTEST_KEY for key in keys):
            raise SecretUnusable(
                f"the parameter {SEAL_KEYS!r} must hold keys of at least {_SHORTEST_KEY} bytes "
                "each, separated by blanks",
                parameter=SEAL_KEYS,
            )
        return keys


def _bound(header: bytes, request_id: str) -> bytes:
    """What a seal is bound to beside its content."""
    return header + request_id.encode()
