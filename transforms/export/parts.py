"""Parts: rows on their way from workers to the archive, as sealed objects beside the lake's log.

Each is some MiB of NDJSON, encrypted (AES-256-GCM) by a key that is made for one export and kept
nowhere: what a killed process leaves behind, also in the older versions of a bucket, cannot be read
by anybody.

    nonce (12 bytes) | ciphertext and tag
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.erasure import FileKind
from schemas.errors import LakeError
from stores.objects.port import ObjectStore
from transforms.export.gather import Row

_PART_BYTES = 4 << 20
_NONCE_BYTES = 12

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, order=True)
class Member:
    """What rows are put into one file of the archive: those of a record type, or dead letters."""

    kind: FileKind
    type: str


@dataclass(frozen=True)
class Part:
    """Rows of a member, in an object of this key. ``columns`` are theirs, in order."""

    member: Member
    key: str
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class PartsArea:
    """Where the parts of one export lie: under keys that begin with ``prefix``."""

    store: ObjectStore
    prefix: str
    key: bytes = field(repr=False)

    @staticmethod
    def new(store: ObjectStore, prefix: str) -> PartsArea:
        """An area with a key of its own."""
        return PartsArea(store, prefix, AESGCM.generate_key(256))

    def write(self, content: bytes) -> str:
        """Keep a part's content under a new key."""
        key, nonce = f"{self.prefix}{uuid.uuid4().hex}.part", os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self.key).encrypt(nonce, content, key.encode())
        self.store.put(key, nonce + sealed)
        return key

    def read(self, part: Part) -> bytes:
        """The lines of a part. Raises ``ObjectMissing``, and ``LakeError`` if it was changed."""
        sealed = self.store.read(part.key)
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self.key).decrypt(nonce, rest, part.key.encode())
        except InvalidTag:
            raise LakeError(f"{part.key}: was changed while it was in use: run again") from None


class PartWriter:
    """Puts rows into parts as they come; memory holds a part of each member."""

    def __init__(self, area: PartsArea) -> None:
        self._area = area
        self._open: dict[Member, _OpenPart] = {}

    def add(self, member: Member, rows: Iterable[Row]) -> Iterator[Part]:
        """Take rows; the parts that are full by them."""
        for row in rows:
            part = self._open.setdefault(member, _OpenPart())
            part.add(row)
            if part.size >= _PART_BYTES:
                yield self._written(member)

    def finish(self) -> Iterator[Part]:
        """The parts that are left."""
        for member in list(self._open):
            yield self._written(member)

    def _written(self, member: Member) -> Part:
        part = self._open.pop(member)
        key = self._area.write(b"".join(part.lines))
        return Part(member, key, len(part.lines), tuple(part.columns))


class _OpenPart:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.columns: dict[str, None] = {}
        self.size = 0

    def add(self, row: Row) -> None:
        line = _encode(row) + b"\n"
        self.lines.append(line)
        self.columns.update(dict.fromkeys(row))
        self.size += len(line)
