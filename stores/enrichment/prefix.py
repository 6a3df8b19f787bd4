"""The work area beside an output in an object store, under ``_lethe/enrich/<output's name>/``.

Objects cost a request each, so a part becomes one when it is finished, some thousand rows. A run
that ends by an error keeps what is finished of other parts too; one that is killed loses that of
the parts under way, as many as there are workers and a few. The store should let its owners alone
read the prefix: it holds what the input holds.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import xxhash

from schemas.contacts import BatchSummary, Part
from schemas.errors import ObjectMissing
from stores.enrichment.area import PLAN, RECEIPT, PartResults, WorkArea, done, known, some
from stores.enrichment.lock import ObjectLock
from stores.objects.port import ObjectStore, StagedWriter

_BUFFER = 1 << 20


class WorkPrefix(WorkArea):
    """The work area of the output ``key`` of ``store``."""

    poll_seconds = 1.0

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._base = f"_lethe/enrich/{key}/"
        self._lock = ObjectLock(store, f"{self._base}lock")
        self._run = f"enrich-{xxhash.xxh3_64_hexdigest(key.encode())}"

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker's copy holds no lock."""
        return type(self), (self._store, self._key)

    @property
    def name(self) -> str:
        return f"{self._store.uri}/{self._key}"

    @property
    def place(self) -> str:
        return f"{self._store.uri}/{self._base}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        self._store.check_writable()
        with self._lock.held(self.name):
            self._store.clear_staging(self._run)
            yield

    def _results(self, plan: str, part: Part) -> PartResults:
        complete, open_ = (self._base + name(plan, part.number) for name in (done, some))
        content = self._content(complete)
        found = known(content or b"", part)
        if len(found) < part.batches:
            if content is not None:
                self._store.delete(complete)  # spoiled, and not to be taken for finished
            content = self._content(open_)
            found = known(content or b"", part)
        return _ObjectResults(self._store, part, found, content or b"", open_, complete)

    @contextmanager
    def publishing(self) -> Iterator[BinaryIO]:
        writer = self._store.stage(self._key, self._run)
        try:
            sink = io.BufferedWriter(_Sink(writer), _BUFFER)
            yield cast(BinaryIO, sink)
            sink.flush()
            self._lock.check()
            staged = writer.close()
        except BaseException:
            writer.abort()
            raise
        self._store.publish([staged])

    def has_output(self) -> bool:
        return self._store.head(self._key) is not None

    def _read(self, name: str) -> bytes | None:
        return self._content(self._base + name)

    def _content(self, key: str) -> bytes | None:
        try:
            return self._store.read(key)
        except ObjectMissing:
            return None

    def _write(self, name: str, content: bytes) -> None:
        self._store.put(self._base + name, content)

    def _remove(self, name: str) -> None:
        self._store.delete(self._base + name)

    def _clear_but_receipt(self) -> None:
        self._remove(PLAN)
        kept = (self._base + RECEIPT, self._base + "lock")
        for info in self._store.list(self._base):
            if info.key not in kept:
                self._store.delete(info.key)


class _ObjectResults(PartResults):
    """Records held until they make a whole part, or the run ends by an error."""

    def __init__(
        self,
        store: ObjectStore,
        part: Part,
        found: Mapping[int, BatchSummary],
        content: bytes,
        key: str,
        complete: str,
    ) -> None:
        super().__init__(part, found)
        self._store = store
        self._records = [content] if found else []
        self._is_new = False
        self._key = key
        self._complete_key = complete
        self._is_open = not self.is_complete

    def _append(self, record: bytes) -> None:
        self._records.append(record)
        self._is_new = True

    def _complete(self) -> None:
        self._store.put(self._complete_key, b"".join(self._records))
        self._store.delete(self._key)
        self._records = []

    def _leave(self) -> None:
        if self._is_new:
            self._store.put(self._key, b"".join(self._records))
        self._records = []


class _Sink(io.RawIOBase):
    """A staged object as a file that is only written to."""

    def __init__(self, writer: StagedWriter) -> None:
        self._writer = writer
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        count = self._writer.write(memoryview(data))
        self._written += count
        return count

    def tell(self) -> int:
        return self._written
