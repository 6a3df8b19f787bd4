"""What becomes of a file that an erasure rewrites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Sink(Protocol):
    """Where a file's bytes go; ``write`` takes all it is given."""

    def write(self, data: bytes, /) -> object: ...


class Part(Protocol):
    """A part of a file, with ``rows`` of which ``count`` match."""

    @property
    def rows(self) -> int: ...

    @property
    def count(self) -> int: ...


@dataclass(frozen=True)
class Rewritten:
    """Rows of a file before and after; ``matched`` of them belong to the subjects.

    Where none matched, nothing was written.
    """

    rows_before: int
    matched: int
    rows_after: int

    @staticmethod
    def of(parts: Iterable[Part], redacts: bool) -> Rewritten:
        """Of a file of these parts; rows that are redacted stay."""
        rows = matched = 0
        for part in parts:
            rows += part.rows
            matched += part.count
        return Rewritten(rows, matched, rows if redacts else rows - matched)
