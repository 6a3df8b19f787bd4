"""One object as a file that can be read from anywhere, as readers of Parquet want it."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from stores.objects.port import ObjectInfo, ObjectStore


def open_seekable(store: ObjectStore, info: ObjectInfo) -> BinaryIO:
    """The object, to be read in any order; what is not asked for is not fetched.

    Raises ``ObjectMissing``, and ``ObjectChanged`` if it is not what ``info`` says any more, here
    or when it is read.
    """
    stream = store.open(info.key, etag=info.etag)
    if stream.seekable():
        return stream
    stream.close()
    return io.BufferedReader(_RangeFile(store, info), _BUFFERED)


_BUFFERED = 64 * 1024


class _RangeFile(io.RawIOBase):
    """Reads on from where it is; a jump begins another request."""

    def __init__(self, store: ObjectStore, info: ObjectInfo) -> None:
        self._store = store
        self._info = info
        self._place = 0
        self._stream: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._info.size}[whence]
        place = max(base + offset, 0)
        if place != self._place:
            self._let_go()
        self._place = place
        return place

    def readinto(self, buffer: Any) -> int:
        if self._place >= self._info.size:
            return 0
        if self._stream is None:
            self._stream = self._store.open(self._info.key, self._place, self._info.etag)
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def close(self) -> None:
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
