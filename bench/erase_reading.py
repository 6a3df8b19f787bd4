"""A store that counts what is read of it: the bytes, and the objects that were opened."""

from __future__ import annotations

from collections import Counter
from typing import BinaryIO

from stores.objects import LocalObjectStore

_read: Counter[str] = Counter()
_opened: set[str] = set()


class CountedStore(LocalObjectStore):
    """A folder. Counts for the whole process, as Beam makes copies of a store."""

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        _opened.add(key)
        return _CountedStream(super().open(key, offset, etag), key)  # type: ignore[return-value]


class _CountedStream:
    """A file without a buffer of its own, so that nothing is read that was not asked for."""

    def __init__(self, stream: BinaryIO, key: str) -> None:
        self._stream = stream
        self._key = key

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        _read[self._key] += len(data)
        return data

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def __enter__(self) -> _CountedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def bytes_read(prefix: str = "") -> int:
    """Bytes that were read of objects whose keys begin so."""
    return sum(size for key, size in _read.items() if key.startswith(prefix))


def objects_opened(prefix: str = "") -> int:
    """Objects that were opened whose keys begin so."""
    return sum(key.startswith(prefix) for key in _opened)
