"""What became of a file that an erasure rewrote."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rewritten:
    """Rows of a file before and after; ``matched`` of them belong to the subjects.

    Where none matched, nothing was written.
    """

    rows_before: int
    matched: int
    rows_after: int
