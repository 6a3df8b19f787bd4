"""The object store port: what Lethe needs of the place where files are kept.

A key is a ``/``-separated path relative to the store's root; it never starts with ``/`` and never
holds ``.`` or ``..`` as a part. Every method may raise ``AccessDenied``, ``StoreFull`` or
``StoreUnavailable`` (see ``schemas.errors``); adapters retry what is retriable themselves, so a
raised ``StoreUnavailable`` is final for this call.

Data becomes visible by **stage, then publish**::

    writer = store.stage(key, run_id)     # nothing is visible
    writer.write(...); staged = writer.close()
    store.settle(run_id)                  # all that the run staged survives a power cut
    ...                                   # the commit names ``staged``
    store.publish([staged])               # idempotent: a second call changes nothing

Between the two, a process may die. ``list_staged(run_id)`` finds what it left behind and
``discard`` removes it; ``list("_lethe/staging/")`` shows which runs left something, as the part of
the keys that follows. Several attempts at one key may be staged at once, each on its own.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from schemas.errors import ObjectChanged, ObjectMissing

_PIECE = 1024 * 1024


@dataclass(frozen=True)
class ObjectInfo:
    """What a store says of one object; ``etag`` changes whenever the content does."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class StagedObject:
    """A whole object that waits, invisible, for its publication. Plain data: goes into the log.

    ``token`` is the adapter's own (a staging path; a multipart upload's id) and ``parts`` the
    entity tags of the uploaded parts, in order, where the adapter has any. ``etag`` is the entity
    tag that the published object will have; empty where that cannot be told beforehand.
    """

    key: str
    run_id: str
    token: str
    size: int
    sha256: str
    parts: tuple[str, ...] = ()
    etag: str = ""


def digest_of(stream: BinaryIO) -> str:
    """The SHA-256 of what is left of a stream, in hexadecimal."""
    digest = hashlib.sha256()
    while data := stream.read(_PIECE):
        digest.update(data)
    return digest.hexdigest()


class StagedWriter(ABC):
    """A binary sink for one staged object; either ``close`` or ``abort`` ends it.

    After a failed ``write`` or ``close``, ``abort`` removes what has been staged so far.
    """

    @abstractmethod
    def write(self, data: bytes | memoryview) -> int:
        """Append ``data`` and return its length in bytes."""

    @abstractmethod
    def close(self) -> StagedObject:
        """Make the staged object durable and return what ``publish`` needs."""

    @abstractmethod
    def abort(self) -> None:
        """Drop everything written so far. Safe to call twice, and after ``close``."""


@dataclass(frozen=True)
class KeptVersion:
    """An older version that was not removed, by the store's id of it, and why not.

    ``id`` is empty if the store did not even say which versions there are.
    """

    id: str
    reason: str


@dataclass(frozen=True)
class OldVersions:
    """What became of an object's older versions."""

    removed: int = 0
    kept: tuple[KeptVersion, ...] = ()


@dataclass(frozen=True)
class SignedPut:
    """Where to PUT an object; all these headers have to be sent."""

    url: str
    headers: Mapping[str, str]


class Presigner(Protocol):
    """Signs addresses by which a client reaches one object by itself, for some seconds."""

    def put(self, key: str, size: int, sha256: str, media_type: str, seconds: int) -> SignedPut:
        """An address to PUT an object of this size, SHA-256 (in hexadecimal) and type to, once."""

    def get(self, key: str, file_name: str, media_type: str, seconds: int) -> str:
        """An address to GET the object from, to be saved under this name of ours."""


class ObjectStore(ABC):
    """One place where objects are kept; picklable, so that workers can carry it."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """The root as a user would write it: ``/data/lake`` or ``s3://bucket/prefix``."""

    @property
    def presigner(self) -> Presigner | None:
        """What signs addresses for clients; None if they cannot reach this store by themselves."""
        return None

    @abstractmethod
    def check_writable(self) -> None:
        """Raise a clear error now if this store cannot be written to (missing bucket, rights)."""

    @abstractmethod
    def head(self, key: str) -> ObjectInfo | None:
        """Facts of one object, or None if there is none."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The whole content. Raises ``ObjectMissing``. For small objects."""

    def read_each(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Each of these keys, in their order, with the whole content. Raises ``ObjectMissing``.

        Where it is the store that is waited for, a few are read ahead.
        """
        return ((key, self.read(key)) for key in keys)

    @abstractmethod
    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        """A stream from byte ``offset`` to the end, in bounded memory. Raises ``ObjectMissing``.

        With ``etag`` it is of that content, or raises ``ObjectChanged``, here or when it is read.

        Empty if ``offset`` is at or beyond the end. The stream survives a cut connection by
        continuing where it was. If the object is replaced meanwhile, it goes on with the old
        content or raises ``ObjectChanged``, and never mixes the two.
        """

    @abstractmethod
    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key starts with ``prefix`` and sorts after ``start_after``, by key.

        Keys sort by Unicode code point. ``prefix`` need not end at a ``/``. Keys that start with
        ``_`` are among them, Lethe's own under ``_lethe/`` too.
        """

    @abstractmethod
    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Create or replace atomically: a reader sees the old content or the new, whole."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> ObjectInfo:
        """Create atomically. Raises ``ObjectExists`` if the key is taken.

        When a retried request finds its own earlier success, that is a success: the adapter
        compares contents before it raises. Where only one of several writers may win, ``data`` must
        therefore hold something of the writer's own, such as its run id.
        """

    @abstractmethod
    def put_if_match(self, key: str, data: bytes, etag: str) -> ObjectInfo:
        """Replace atomically if the object still has ``etag``.

        Raises ``ObjectChanged`` if it has another one, or is gone; an adapter may instead succeed
        if it holds ``data`` already, which a retried request cannot tell from its own success.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove; no error if there is nothing to remove."""

    @abstractmethod
    def delete_if_match(self, key: str, etag: str) -> None:
        """Remove if the object still has ``etag``; no error if there is nothing to remove.

        Raises ``ObjectChanged`` if it has another one.
        """

    @abstractmethod
    def old_versions(self, key: str) -> tuple[KeptVersion, ...]:
        """What a store that keeps versions has kept of ``key``, beside what is there now.

        One without an id if the store does not say which versions there are.
        """

    @abstractmethod
    def remove_old_versions(self, key: str) -> OldVersions:
        """Remove what a store that keeps versions has kept of ``key``, but not what is there now.

        Of an object that was deleted nothing is left. What the store refuses to remove is named
        in the answer: held by a lock or a legal hold, or beyond our rights.
        """

    @abstractmethod
    def stage(self, key: str, run_id: str) -> StagedWriter:
        """Begin an object that will be published under ``key``."""

    @abstractmethod
    def settle(self, run_id: str) -> None:
        """Make sure that what the run has staged and closed survives a power cut."""

    @abstractmethod
    def publish(self, staged: Iterable[StagedObject]) -> None:
        """Make staged objects visible under their keys. Idempotent.

        Takes what ``StagedWriter.close`` returned. Raises ``ObjectMissing`` if of one neither the
        staged data nor the published object exists; an object of another size is not the
        published one.
        """

    @abstractmethod
    def publish_if_match(self, staged: StagedObject, etag: str) -> None:
        """Put a staged object in the place of the one that has ``etag``. Idempotent.

        A call after a success, its own or another process's, changes nothing, as long as the object
        is still the one that was published. Raises ``ObjectChanged`` if the object has another tag
        or is gone, and ``ObjectMissing`` if the staged data is gone.
        """

    def holds(self, staged: StagedObject, found: ObjectInfo | None) -> bool:
        """Whether an object, by the facts of it, is the staged one, published.

        Reads it only if its size agrees and its entity tag could not be told beforehand.
        """
        if found is None or found.size != staged.size:
            return False
        if staged.etag:
            return found.etag == staged.etag
        with (
            suppress(ObjectMissing, ObjectChanged),
            self.open(found.key, etag=found.etag) as stream,
        ):
            return digest_of(stream) == staged.sha256
        return False

    @abstractmethod
    def list_staged(self, run_id: str) -> Iterator[StagedObject]:
        """What a run has staged and not published or discarded, to be discarded.

        Size and digest are unknown: 0 and "". An object whose publishing was interrupted may be
        among them although it is published; discarding it leaves the published object alone.
        """

    @abstractmethod
    def discard(self, staged: StagedObject) -> None:
        """Remove staged data for good, never what is published. No error if it is gone."""

    @abstractmethod
    def clear_staging(self, run_id: str) -> None:
        """Remove all that ``run_id`` has staged and not published, and its staging area itself."""
