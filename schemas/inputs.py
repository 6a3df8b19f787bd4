"""What a delivery reads: files, the parts they are read in, and how far that has gone.

Positions are byte offsets in the decompressed content, so that they mean the same for a plain
file and a compressed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.changes import InputFormat


class Framing(StrEnum):
    """How documents follow each other."""

    LINES = "lines"
    STREAM = "stream"
    """Concatenated, or pretty-printed over several lines."""


class Compression(StrEnum):
    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZ2 = "bz2"


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the delivery was planned.

    ``size`` (bytes as stored) and ``etag`` tell whether it has changed since.
    """

    uri: str
    size: int
    etag: str
    format: InputFormat
    framing: Framing
    compression: Compression

    @property
    def splittable(self) -> bool:
        """Whether parts of it can be read apart from each other."""
        return self.framing is Framing.LINES and self.compression is Compression.NONE


@dataclass(frozen=True)
class Split:
    """A part of a file to be read by one worker: documents that start in [start, end).

    ``end`` is None for a part that goes to the end of the file. ``exact`` says that a document
    starts at ``start``; otherwise the first one is the first after it.
    """

    file: InputFile
    start: int = 0
    end: int | None = None
    exact: bool = True


@dataclass(frozen=True)
class CoveredRange:
    """A stretch of a file that was read, with the XXH3-128 of its bytes, in hex."""

    start: int
    end: int
    digest: str


@dataclass(frozen=True)
class Covered:
    """What reading a split covered.

    ``resume`` is where the next delivery goes on if the file grows. It lies before ``range.end``
    only when the file ended inside a line, which may yet be completed.
    """

    uri: str
    range: CoveredRange
    resume: int


@dataclass(frozen=True)
class SourcePosition:
    """How far a file has been delivered, over all commits."""

    uri: str
    size: int
    etag: str
    resume: int
    ranges: tuple[CoveredRange, ...]
