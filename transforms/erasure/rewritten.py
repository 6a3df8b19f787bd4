"""What becomes of a file that an erasure rewrites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Sink(Protocol):
    """Where a file's bytes go; ``write`` takes all it is given."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True)
class Rewritten:
    """Rows of a file before and after; ``matched`` of them belong to the subjects.

    Where none matched, nothing was written.
    """

    rows_before: int
    matched: int
    rows_after: int
