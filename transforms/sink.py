"""What writers of Parquet and Avro write into: a staged object in the shape of a file."""

from __future__ import annotations

from typing import Any

from stores.objects.port import StagedWriter


class Sink:
    """A staged writer in the shape of a file, that counts what goes through."""

    closed = False

    def __init__(self, staged: StagedWriter) -> None:
        self._staged = staged
        self.size = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._staged.write(view)
        self.size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The staged writer is closed by whoever opened it."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
