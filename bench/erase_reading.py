"""A store that counts what is read of it: the bytes, and the objects that were opened.

Counted is what the system is asked for, so what a buffer reads in advance counts, too.
"""

from __future__ import annotations

import io
from collections import Counter
from typing import Any, BinaryIO, cast

from stores.objects import LocalObjectStore

_read: Counter[str] = Counter()
_opened: set[str] = set()


class CountedStore(LocalObjectStore):
    """A folder. Counts for the whole process, as Beam makes copies of a store."""

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        _opened.add(key)
        stream = cast("io.BufferedReader", super().open(key, offset, etag))
        return io.BufferedReader(_CountedFile(cast("io.FileIO", stream.detach()), key))


class _CountedFile(io.RawIOBase):
    """A file as the system has it."""

    def __init__(self, file: io.FileIO, key: str) -> None:
        self._file = file
        self._key = key

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        size = self._file.readinto(buffer) or 0
        _read[self._key] += size
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def bytes_read(prefix: str = "") -> int:
    """Bytes that were read of objects whose keys begin so."""
    return sum(size for key, size in _read.items() if key.startswith(prefix))


def objects_opened(prefix: str = "") -> int:
    """Objects that were opened whose keys begin so."""
    return sum(key.startswith(prefix) for key in _opened)
