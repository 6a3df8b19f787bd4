"""A lake in memory that can fail: before or after any call that changes it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import BinaryIO

from schemas.errors import ObjectExists, ObjectMissing, StoreUnavailable
from stores.objects.keys import staging_area
from stores.objects.port import (
    KeptVersion,
    ObjectInfo,
    ObjectStore,
    OldVersions,
    StagedObject,
    StagedWriter,
)


class MemoryStore(ObjectStore):
    """Keeps objects in a dictionary.

    Set ``fails_in`` to n, and the n-th change from then on fails; halves count, so that 2 fails
    after the first change was made, and 3 before the second is.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.times: dict[str, datetime] = {}
        self.now = datetime(2026, 1, 2, 12, tzinfo=UTC)
        self.fails_in = 0
        self._staged = 0

    @property
    def uri(self) -> str:
        return "memory"

    def _half(self) -> None:
        self.fails_in -= 1
        if self.fails_in == 0:
            raise StoreUnavailable("the store does not answer")

    def _write(self, key: str, data: bytes) -> ObjectInfo:
        self._half()
        self.objects[key], self.times[key] = data, self.now
        self._half()
        return self._info(key)

    def _info(self, key: str) -> ObjectInfo:
        data = self.objects[key]
        return ObjectInfo(key, len(data), hashlib.sha256(data).hexdigest(), self.times[key])

    def check_writable(self) -> None:
        """Always."""

    def head(self, key: str) -> ObjectInfo | None:
        return self._info(key) if key in self.objects else None

    def read(self, key: str) -> bytes:
        if key not in self.objects:
            raise ObjectMissing(f"{key} is not there")
        return self.objects[key]

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        return io.BytesIO(self.read(key)[offset:])

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        for key in sorted(self.objects):
            if key.startswith(prefix) and key > start_after:
                yield self._info(key)

    def put(self, key: str, data: bytes) -> ObjectInfo:
        return self._write(key, data)

    def put_if_absent(self, key: str, data: bytes) -> ObjectInfo:
        if key in self.objects:
            raise ObjectExists(f"{key} is there")
        return self._write(key, data)

    def put_if_match(self, key: str, data: bytes, etag: str) -> ObjectInfo:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def delete_if_match(self, key: str, etag: str) -> None:
        raise NotImplementedError

    def old_versions(self, key: str) -> tuple[KeptVersion, ...]:
        return ()

    def remove_old_versions(self, key: str) -> OldVersions:
        return OldVersions()

    def stage(self, key: str, run_id: str) -> StagedWriter:
        self._staged += 1
        token = f"{staging_area(run_id)}{self._staged}~{key.replace('/', '|')}"
        return _MemoryWriter(self, StagedObject(key, run_id, token, 0, ""))

    def settle(self, run_id: str) -> None:
        """Memory has no power cuts."""

    def publish(self, staged: Iterable[StagedObject]) -> None:
        for one in staged:
            self._half()
            if one.token in self.objects:
                assert one.key not in self.objects, "a published file is written over"
                self.objects[one.key] = self.objects.pop(one.token)
                self.times[one.key] = self.now
            elif one.key not in self.objects:
                raise ObjectMissing(f"{one.key}: its staged data is gone")
            self._half()

    def publish_if_match(self, staged: StagedObject, etag: str) -> None:
        raise NotImplementedError

    def list_staged(self, run_id: str) -> Iterator[StagedObject]:
        for info in self.list(staging_area(run_id)):
            key = info.key.partition("~")[2].partition("~")[2].replace("|", "/")
            yield StagedObject(key, run_id, info.key, 0, "")

    def discard(self, staged: StagedObject) -> None:
        self.objects.pop(staged.token, None)

    def clear_staging(self, run_id: str) -> None:
        for info in list(self.list(staging_area(run_id))):
            del self.objects[info.key]


class _MemoryWriter(StagedWriter):
    def __init__(self, store: MemoryStore, staged: StagedObject) -> None:
        self._store = store
        self._staged = staged
        self._data = bytearray()

    def write(self, data: bytes | memoryview) -> int:
        self._data += data
        return len(data)

    def close(self) -> StagedObject:
        data = bytes(self._data)
        self._store.put(self._staged.token, data)
        return replace(self._staged, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def abort(self) -> None:
        self._store.discard(self._staged)
